"""The joins of the steps: measure a scan, generate its report, save everything.

``generate_report`` is the main call: it reads, segments where nothing was given, measures, interprets, asks a model
where one is given, composes and verifies. Its result holds what the report was made from, so that the page and the
region file can be written later without another pass.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from radvlm import __version__
from radvlm.config import Config
from radvlm.errors import FileFormatError, GridError, InputError, RadvlmError
from radvlm.finding import Finding
from radvlm.geometry import Geometry
from radvlm.measurements import Measurements
from radvlm.provenance import Decision, SourceFile
from radvlm.reading import MODEL_REGION, Reading
from radvlm.region_map import RegionLabel, RegionMap
from radvlm.report import Report, Sentence
from radvlm.segmentation import Segmentation
from radvlm.study import Patient, Study
from radvlm.volume import Volume

Progress = Callable[[str], None]
#: The files of a saved report, in the order in which a person would open them.
OUTPUT_FILES = (
    "report.html",
    "report.txt",
    "report.json",
    "measurements.csv",
    "measurements.json",
    "regions.nii.gz",
    "regions.csv",
    "manifest.json",
)
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

    ``reading`` is what a model said and ``model_segmentation`` holds the regions it pointed at; None without a model.
    """

    report: Report
    measurements: Measurements
    volume: Volume
    segmentation: Segmentation
    config: Config
    patient: Patient
    reading: Reading | None = None
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
        from radvlm.neural import paint_with_model
        from radvlm.quantify import paint_regions

        cited = {r.id: r for r in self.report.regions if not r.id.startswith(MODEL_REGION)}
        lesions = {lesion.region.id: lesion.region for lesion in self.measurements.lesions}
        measured = paint_regions(self.segmentation, tuple({**cited, **lesions}.values()))
        pointed_at = [r for r in self.report.regions if r.id.startswith(MODEL_REGION)]
        return paint_with_model(measured, self.model_segmentation, pointed_at)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Everything that was decided on the way, in order."""
        measured = (*self.volume.decisions, *self.segmentation.decisions, *self.measurements.decisions)
        if "retrieval" in self.report.provenance:
            from radvlm.prior import prior_decisions

            measured = (*prior_decisions(self.report), *measured)
        if self.reading is None:
            return measured
        from radvlm.neural import model_decisions

        return (*model_decisions(self.report, self.reading), *measured)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Inputs, geometry, versions, configuration and decisions, ready for JSON; no patient identifiers."""
        geometry = self.volume.geometry
        study = self.volume.study
        return {
            "radvlm": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
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
            "searched": sorted(self.segmentation.searched),
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _VERSIONED}},
            "configuration": self.config.to_dict(),
            "configuration_sha256": self.config.digest,
            **({} if self.reading is None else {"model": _model_row(self.report, self.reading)}),
            **{key: self.report.provenance[key] for key in ("retrieval",) if key in self.report.provenance},
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

        Files of an earlier report in the folder are replaced, anything else in it is left alone. With
        ``page=False`` no report.html is written, and one from an earlier report is removed with the rest.
        """
        from radvlm.export import regions_table
        from radvlm.io import save_labels

        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise InputError("the output is a folder", f"{target.name} is a file", "Choose another -o")
        texts = {
            "report.txt": self.report.text,
            "report.json": self.report.to_json(),
            "measurements.csv": self.measurements.to_csv(),
            "measurements.json": self.measurements.to_json(),
            "regions.csv": regions_table(self.regions),
            "manifest.json": json.dumps(self.manifest, indent=2),
        }
        if page:
            texts["report.html"] = self.page()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        except OSError as error:
            raise FileFormatError(
                "the output folder can be written",
                f"{target}: {error.strerror}",
                "Choose another -o or its permissions",
            ) from error
        try:
            for name, text in texts.items():
                (beside / name).write_text(text, encoding="utf-8")
            names = {row.label: row.region.id for row in self.regions.rows}
            save_labels(
                beside / "regions.nii.gz",
                self.regions.labels,
                self.regions.geometry,
                names=names,
                stored_axes=self.volume.stored_axes,
            )
            _move_into_place(beside, target)
        except OSError as error:
            raise FileFormatError(
                "the output folder can be written",
                f"{target}: {error.strerror or error}",
                "Free some space or choose another -o",
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
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


def _model_row(report: Report, reading: Reading) -> dict[str, Any]:
    """The model of a run: who it is, what became of what it said, and every score."""
    scores = [
        {
            "finding": s.finding,
            "site": s.site,
            "probability": round(s.probability, 4),
            "status": str(s.status),
            "grounding": s.grounding,
        }
        for s in reading.scores
    ]
    return {**report.provenance["model"], "scores": scores}


def _input_row(role: str, source: SourceFile) -> dict[str, Any]:
    return {"role": role, **asdict(source)}


def _move_into_place(beside: Path, target: Path) -> None:
    """Rename the finished folder; where the target exists, its files of ours one by one."""
    if not target.exists():
        beside.chmod(0o755)
        beside.rename(target)
        return
    for name in OUTPUT_FILES:
        if (beside / name).exists():
            (beside / name).replace(target / name)
        else:
            (target / name).unlink(missing_ok=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _quiet(_: str) -> None:
    return None


def measure(volume: Any, segmentation: Any, *, config: Config | None = None, scheme: Any = None) -> Measurements:
    """Every number of a scan and its masks; ``measure(None, masks)`` gives geometry without HU.

    Args:
        volume: a Volume, anything that ``load_volume`` takes, or None.
        segmentation: a Segmentation or anything that ``load_segmentation`` takes.
        config: settings; only ``config.measuring`` is used.
        scheme: label scheme of the masks, as in ``load_segmentation``.

    Raises: InputError, FileFormatError, GridError, StructureError with one clear message.
    """
    from radvlm.io import load_segmentation, load_volume
    from radvlm.quantify import measure_scan

    settings = (config or Config()).measuring
    scan = None if volume is None else load_volume(volume)
    masks = load_segmentation(segmentation, like=scan, scheme=scheme)
    return measure_scan(scan, masks, min_lesion_voxels=settings.min_lesion_voxels, min_lesion_ml=settings.min_lesion_ml)


def generate_report(
    volume: Any,
    *,
    segmentation: Any = None,
    model: Any = None,
    patient: Patient | None = None,
    config: Config | None = None,
    affine: Any = None,
    scheme: Any = None,
    series: str | None = None,
    index: Any = None,
    exclude_patient: str | Sequence[str] | None = None,
    patient_not_indexed: bool = False,
    use_hints: bool = True,
    progress: Progress | None = None,
) -> GeneratedReport:
    """A grounded report of one CT.

    Args:
        volume: a Volume, a path (NIfTI, DICOM folder), a NumPy array in HU with ``affine``, a nibabel image or a
            MONAI MetaTensor.
        segmentation: a Segmentation or anything that ``load_segmentation`` takes; None: only what thresholds can
            show is reported, and the rest is "not assessed" or comes from the model.
        model: a model of ``load_model``, or its name or path; None: none. What only it saw is marked so, with its
            probability; masks always win; its prose stands where it is true to the findings.
        patient: facts that rules need; what is None is taken from the DICOM header.
        config: settings, default ``Config()``.
        affine: 4x4 index to RAS+ mm, needed with a bare array.
        scheme: label scheme of the masks.
        series: which DICOM series, as in ``load_volume``.
        index: a ReportIndex or its folder; prior texts of other patients are looked up, recorded with the report, and
            shown to a model that was taught to use them. No finding comes from them (docs/retrieval.md).
        exclude_patient, patient_not_indexed: whose scan it is, as in ``ReportIndex.search``.
        use_hints: False keeps the prior texts from the model and records them all the same, to see what they change.
        progress: called with a short line before each step.

    Returns: GeneratedReport; every sentence of it has been verified against the findings it cites.
    """
    from radvlm.compose import compose_report, guided_report
    from radvlm.interpret import interpret, load_rules
    from radvlm.io import load_segmentation, load_volume
    from radvlm.quantify import measure_scan

    tell = progress or _quiet
    settings = config or Config()
    rules = load_rules(settings.rules_file)
    reader = None
    if model is not None:
        from radvlm.neural import for_patient, model_head, read_scan, resolve_model, unseen_structures

        tell("Loading the model")
        reader = resolve_model(model)
    tell("Reading the CT")
    scan = load_volume(volume, affine=affine, series=series)
    if segmentation is None:
        from radvlm.segment import segment_by_threshold

        tell("Looking for body and lungs by thresholds")
        masks = segment_by_threshold(scan)
    else:
        tell("Reading the masks")
        masks = load_segmentation(segmentation, like=scan, scheme=scheme)
    if not masks.geometry.same_grid(scan.geometry):
        raise GridError(
            "masks and CT share one grid",
            f"masks {masks.geometry}, CT {scan.geometry}",
            "Load the masks with load_segmentation(..., like=volume)",
        )
    tell("Measuring")
    numbers = measure_scan(
        scan,
        masks,
        min_lesion_voxels=settings.measuring.min_lesion_voxels,
        min_lesion_ml=settings.measuring.min_lesion_ml,
    )
    known = merge_patient(patient, scan.study.patient)
    findings = interpret(numbers, patient=known, rules=rules, study=scan.study)
    head, facts = examination(scan, masks, known), provenance(numbers, masks, scan, settings)
    seen = None if segmentation is None else masks
    if reader is None:
        tell("Interpreting and writing")
        report = compose_report(findings, style=settings.style, examination=head, provenance=facts)
        made = GeneratedReport(report, numbers, scan, masks, settings, known)
    else:
        tell("Reading with the model")
        reading, own = read_scan(reader, scan, seen, findings)
        reading = for_patient(reading, known)
        tell("Interpreting and writing")
        report = guided_report(
            findings,
            reading,
            style=settings.style,
            examination=(*head, *model_head(reading)),
            provenance=facts,
            unseen=unseen_structures(own),
        )
        made = GeneratedReport(report, numbers, scan, masks, settings, known, reading, own)
    if index is None:
        return made
    tell("Looking for prior texts")
    return _look_up(made, index, reader, findings, seen, exclude_patient, patient_not_indexed, use_hints)


def _look_up(
    made: GeneratedReport,
    index: Any,
    model: Any,
    findings: Sequence[Finding],
    masks: Segmentation | None,
    exclude_patient: str | Sequence[str] | None,
    patient_not_indexed: bool,
    use_hints: bool,
) -> GeneratedReport:
    """A finished report with prior texts beside it; where the model uses them its prose is written, and verified, anew.

    ``masks`` are those that were given, None where thresholds stood in for them.
    """
    from radvlm.compose import guided_report
    from radvlm.neural import facts_by_section, unseen_structures
    from radvlm.prior import find_priors, hinted_drafts, opened, route, uses_hints, with_priors

    own = made.model_segmentation
    unseen = unseen_structures(own)
    with opened(index, model) as priors_of:
        context = route(
            made.volume,
            masks,
            index=priors_of,
            phase=made.measurements.phase,
            model=model,
            reading=made.reading,
            unseen=unseen,
            has_map=own is not None and bool(own.searched),
        )
        priors = find_priors(
            priors_of,
            made.volume,
            made.findings,
            exclude_patient=exclude_patient,
            patient_not_indexed=patient_not_indexed,
            context=context,
        )
    why_not = "" if priors.hints else "Nothing was near enough to be of use."
    if priors.hints and (model is None or not uses_hints(model)):
        why_not = (
            "They were not given to a model."
            if model is None
            else f"The model {made.reading.model if made.reading else ''} was not taught to use them and "
            "did not see them."
        )
    elif priors.hints and not use_hints:
        why_not = "They were kept from the model, as asked."
    if why_not or made.reading is None:
        return replace(made, report=with_priors(made.report, priors, fed=False, why_not=why_not))
    facts = None if masks is None else facts_by_section(findings)
    drafts = hinted_drafts(model, made.volume, facts, masks, priors)
    reading = replace(made.reading, drafts=drafts)
    base = {key: value for key, value in made.report.provenance.items() if key != "model"}
    report = guided_report(
        findings, reading, style=made.config.style, examination=made.report.examination, provenance=base, unseen=unseen
    )
    return replace(
        made, reading=reading, report=with_priors(report, priors, fed=True, before=made.report, drafts=drafts)
    )


def merge_patient(given: Patient | None, header: Patient) -> Patient:
    """What the caller gave, completed from the header."""
    if given is None:
        return header
    return replace(header, **{key: value for key, value in asdict(given).items() if value is not None})


def examination(volume: Volume, segmentation: Segmentation, patient: Patient) -> tuple[tuple[str, str], ...]:
    """Head of the report: examination, date, patient, comparison, source of the masks."""
    study = volume.study
    who = [{"F": "female", "M": "male"}.get(patient.sex or "", "")]
    if patient.age_years is not None:
        who.append(f"{patient.age_years:.0f} years")
    lines = [("Examination", _title(study))]
    if study.study_date:
        lines.append(("Date", study.study_date))
    if any(who):
        lines.append(("Patient", ", ".join(part for part in who if part)))
    lines.append(("Comparison", "None."))
    lines.append(("Masks", _mask_words(segmentation)))
    return tuple(lines)


def _title(study: Study) -> str:
    place = study.body_part.replace("_", " ").strip().lower()
    return f"CT {place}" if place and place not in ("partialbody", "wholebody", "ct") else "CT"


def _mask_words(segmentation: Segmentation) -> str:
    present, searched = len(segmentation.places), len(segmentation.searched)
    if segmentation.scheme == "threshold":
        return "none given; body and aerated lung by thresholds."
    return f"{segmentation.scheme or 'own names'}, {present} of {searched} searched structures present."


def provenance(numbers: Measurements, segmentation: Segmentation, volume: Volume, config: Config) -> Mapping[str, Any]:
    """JSON facts kept inside the report itself, so that report.json stands alone."""
    decisions = (*volume.decisions, *segmentation.decisions, *numbers.decisions)
    geometry: Geometry = volume.geometry
    return {
        "radvlm": __version__,
        "configuration_sha256": config.digest,
        "label_scheme": segmentation.scheme,
        "phase": None if numbers.phase is None else asdict(numbers.phase),
        "grid": {"shape": list(geometry.shape), "affine_ras_mm": geometry.affine.tolist()},
        "warnings": [d.what for d in decisions if d.warning],
    }
