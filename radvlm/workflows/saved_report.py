"""A generated report with everything it was made from, and the folder that it is saved to and read from."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError, RadvlmError
from radvlm.files.atomic import is_full, utc_now, whole_files
from radvlm.files.report_folder import MANIFEST, OUTPUT_FILES, own_files, require_report_folder
from radvlm.files.staging import remove_abandoned
from radvlm.types.finding import Finding
from radvlm.types.model_output import MODEL_REGION, ModelOutput
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.region import Region
from radvlm.types.region_map import RegionLabel, RegionMap
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume
from radvlm.version import __version__
from radvlm.workflows.config import Config

_VERSIONED = (
    "numpy",
    "scipy",
    "nibabel",
    "pydicom",
    "highdicom",
    "isal",
    "pylibjpeg-openjpeg",
    "pyjpegls",
    "python-gdcm",
)


@dataclass(frozen=True, eq=False)
class GeneratedReport:
    """A report with everything it was made from; ``save`` writes the folder that ``radvlm report`` writes.

    ``model_output`` is what a model said, ``model_segmentation`` holds the regions it pointed at; None without a model.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> made = radvlm.generate_report(scan, segmentation=masks)
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     folder = made.save(Path(folder) / "out")
        ...     for path in sorted(folder.iterdir()):
        ...         print(path.name)
        manifest.json
        measurements.csv
        measurements.json
        regions.csv
        regions.nii.gz
        report.html
        report.json
        report.txt
    """

    report: Report
    measurements: Measurements
    volume: Volume
    segmentation: Segmentation
    config: Config
    patient: Patient
    model_output: ModelOutput | None = None
    model_segmentation: Segmentation | None = None

    @property
    def text(self) -> str:
        return self.report.text

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.report.findings

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        return self.report.sentences

    @cached_property
    def regions(self) -> RegionMap:
        """Every cited region and every lesion instance, painted into one label map."""
        from radvlm.quantify import paint_regions

        cited = {r.id: r for r in self.report.regions if not r.id.startswith(MODEL_REGION)}
        lesions = {lesion.region.id: lesion.region for lesion in self.measurements.lesions}
        voxels = {
            f.region.id: f.voxels for f in self.measurements.foci if f.region is not None and f.voxels is not None
        }
        measured = paint_regions(self.segmentation, tuple({**cited, **lesions}.values()), voxels)
        pointed_at = [r for r in self.report.regions if r.id.startswith(MODEL_REGION)]
        return _paint_with_model(measured, self.model_segmentation, pointed_at)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Everything that was decided on the way, in order."""
        measured = tuple(
            dict.fromkeys((*self.volume.decisions, *self.segmentation.decisions, *self.measurements.decisions))
        )
        if self.report.retrieval is not None:
            measured = (*self.report.retrieval.decisions, *measured)
        if self.model_output is None:
            return measured
        from radvlm.workflows.model_stage import model_decisions

        return (*model_decisions(self.report, self.model_output), *measured)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Inputs, geometry, versions, configuration and decisions, ready for JSON; no patient identifiers."""
        geometry = self.volume.geometry
        study = self.volume.study
        return {
            "radvlm": __version__,
            "created": utc_now(),
            "inputs": [_input_row("ct", s) for s in self.volume.sources]
            + [_input_row("masks", s) for s in self.segmentation.sources],
            "geometry": {
                "shape": list(geometry.shape),
                "spacing_mm": list(geometry.spacing_mm),
                "affine_ras_mm": geometry.affine.tolist(),
                "stored_axes": self.volume.stored_axes,
                "obliquity_degrees": round(geometry.obliquity_degrees, 3),
            },
            "study": {
                key: value
                for key, value in asdict(study).items()
                if key
                in (
                    "modality",
                    "description",
                    "study_date",
                    "body_part",
                    "manufacturer",
                    "kernel",
                    "kvp",
                    "slice_thickness_mm",
                    "contrast_agent",
                )
            },
            "patient": asdict(self.patient),
            "label_scheme": self.segmentation.scheme,
            **({"segmented_by": [o.to_dict() for o in self.segmentation.origins]} if self.segmentation.origins else {}),
            "searched": sorted(self.segmentation.searched),
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _VERSIONED}},
            "configuration": self.config.to_dict(),
            "configuration_sha256": self.config.digest,
            **({} if self.model_output is None else {"model": _model_row(self.report, self.model_output)}),
            **({} if self.report.retrieval is None else {"retrieval": self.report.retrieval.to_dict()}),
            "decisions": [asdict(d) for d in self.decisions],
        }

    def page(self) -> str:
        """The offline HTML page as text."""
        from radvlm.export import render_page

        return render_page(
            self.report,
            volume=self.volume,
            regions=self.regions,
            measurements=self.measurements,
            manifest=self.manifest,
            options=self.config.page,
        )

    def save(self, folder: str | os.PathLike[str], *, page: bool = True) -> Path:
        """Write OUTPUT_FILES into ``folder``; all of them are complete before the first one appears.

        Files of an earlier report in the folder are replaced, by the list in its manifest.json; anything else in it is
        left alone. With ``page=False`` no report.html is written, and one from an earlier report is removed with the
        rest. Raises FileFormatError when the folder cannot be written, and when a file that no report wrote has the
        name of one that is to be written.
        """
        from radvlm.export import regions_table
        from radvlm.io import save_labels

        require_report_folder(folder, page=page)
        for left in remove_abandoned(folder):
            warnings.warn(f"Removed {left}, which a run that was stopped had left.", stacklevel=2)
        target = Path(folder)
        written = [name for name in OUTPUT_FILES if page or name != "report.html"]
        texts = {
            "report.txt": self.report.text,
            "report.json": self.report.to_json(),
            "measurements.csv": self.measurements.to_csv(),
            "measurements.json": self.measurements.to_json(),
            "regions.csv": regions_table(self.regions),
            MANIFEST: json.dumps({**self.manifest, "files": written}, indent=2),
        }
        if page:
            texts["report.html"] = self.page()
        try:
            # The manifest goes first: what a kill in between leaves is then known for a report's own.
            names = sorted(own_files(target).union(written), key=lambda name: name != MANIFEST)
            with whole_files(target, names) as beside:
                for name, text in texts.items():
                    (beside / name).write_text(text, encoding="utf-8")
                save_labels(
                    beside / "regions.nii.gz",
                    self.regions.labels,
                    self.regions.geometry,
                    names={row.label: row.region.id for row in self.regions.rows},
                    stored_axes=self.volume.stored_axes,
                )
        except OSError as error:
            raise FileFormatError(
                "the output folder can be written",
                f"{target}: {error.strerror or error}",
                "Free some space" if is_full(error) else "Choose another -o, or change its permissions",
            ) from error
        return target


def load_regions(folder: str | os.PathLike[str]) -> RegionMap | None:
    """The regions of a saved report, from its regions.nii.gz, regions.csv and report.json; None where there is no file.

    Raises FileFormatError for a damaged file, InputError when table and report disagree.
    """
    import csv
    import io as text_io

    from radvlm.io.nifti import read_nifti

    place = Path(folder)
    if not (place / "regions.nii.gz").is_file():
        return None
    labels, geometry, _ = read_nifti(place / "regions.nii.gz").canonical()
    try:
        regions = {r.id: r for r in Report.from_json((place / "report.json").read_text(encoding="utf-8")).regions}
        table = csv.DictReader(text_io.StringIO((place / "regions.csv").read_text(encoding="utf-8")))
        rows = [
            RegionLabel(int(row["label"]), regions[row["region"]], tuple(int(v) for v in row["also"].split()))
            for row in table
            if row["region"] in regions
        ]
    except RadvlmError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            "regions.csv and report.json stand beside regions.nii.gz, as radvlm wrote them",
            f"{place.name}: {type(error).__name__}: {error}",
            "Use the files of one run",
        ) from error
    missing = sorted(set(regions) - {row.region.id for row in rows})
    if missing:
        raise InputError(
            "regions.csv lists every region that report.json cites", ", ".join(missing[:5]), "Use the files of one run"
        )
    return RegionMap(labels, geometry, tuple(rows))


def _model_row(report: Report, model_output: ModelOutput) -> dict[str, Any]:
    """The model of a run: who it is, what became of what it said, and every score."""
    scores = [
        {
            "finding": s.finding,
            "site": s.site,
            "probability": round(s.probability, 4),
            "status": str(s.status),
            "grounding": s.grounding,
        }
        for s in model_output.scores
    ]
    return {**(report.model.to_dict() if report.model else {}), "scores": scores}


def _input_row(role: str, source: SourceFile) -> dict[str, Any]:
    return {"role": role, **asdict(source)}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _paint_with_model(base: RegionMap, own: Segmentation | None, regions: Sequence[Region]) -> RegionMap:
    """``base`` with the model's regions (ids that start with ``model:``) painted over it; none of either is lost."""
    if own is None or not regions:
        return base
    from radvlm.quantify import merge_maps, paint_regions

    bare = [replace(r, id=r.id.removeprefix(MODEL_REGION)) for r in regions]
    painted = paint_regions(own, bare)
    rows = tuple(replace(row, region=replace(row.region, id=f"{MODEL_REGION}{row.region.id}")) for row in painted.rows)
    return merge_maps(base, RegionMap(painted.labels, painted.geometry, rows))
