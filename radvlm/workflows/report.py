"""The report of one scan, in four stages: read; measure and interpret; ask the model and look up priors; compose.

The result holds what the report was made from, so that the page and the region file can be written later without
another pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from radvlm.errors import GridError, VerificationError
from radvlm.io import load_segmentation, load_volume
from radvlm.types.anatomy import structure
from radvlm.types.finding import Finding
from radvlm.types.provenance import Decision, cautions
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient, Study
from radvlm.types.volume import Volume
from radvlm.version import __version__
from radvlm.workflows.config import Config
from radvlm.workflows.doctor import commands_for_organs
from radvlm.workflows.model_stage import ModelReading, model_head, read_scan
from radvlm.workflows.models import resolve_model
from radvlm.workflows.prior_reports import PriorQuestion, hinted_drafts, look_up, why_not_shown, with_priors
from radvlm.workflows.saved_report import GeneratedReport

if TYPE_CHECKING:
    from radvlm.interpret.rules import Rules
    from radvlm.retrieve import SearchOptions

Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    return None


@dataclass(frozen=True)
class ReportOptions:
    """What few reports need to say: how the files are to be read, and what a model may not see.

    Attributes:
        affine: 4x4 index to RAS+ mm, needed with a bare array.
        series: which DICOM series, as in ``load_volume``.
        acquisition: which acquisition of it, as in ``load_volume``; None: as the configuration says.
        rescale: what makes the stored values HU, as in ``load_volume``; None: as the configuration says.
        scheme: label scheme of the masks, as in ``load_segmentation``.
        accept_misplaced: go on with masks that look mirrored, turned or shifted on the scan; so does
            ``config.reading.accept_misplaced``.
        use_hints: False keeps the prior texts from the model and records them all the same, to see what they change.
        progress: called with a short line before each step.
    """

    affine: Any = None
    series: str | None = None
    acquisition: str | int | None = None
    rescale: Any = None
    scheme: Any = None
    accept_misplaced: bool = False
    use_hints: bool = True
    progress: Progress = _quiet


@dataclass(frozen=True, eq=False)
class Examined:
    """One scan read, measured and interpreted: all that a report without a model is made of.

    ``given`` are the masks that were given, None where thresholds stood in for them.
    """

    volume: Volume
    segmentation: Segmentation
    given: Segmentation | None
    measurements: Measurements
    findings: tuple[Finding, ...]
    patient: Patient
    config: Config


def generate_report(
    volume: Any,
    *,
    segmentation: Any = None,
    segmenter: Any = None,
    model: Any = None,
    patient: Patient | None = None,
    config: Config | None = None,
    index: Any = None,
    search: SearchOptions | None = None,
    options: ReportOptions | None = None,
) -> GeneratedReport:
    """A grounded report of one CT.

    Args:
        volume: a Volume, a path (NIfTI, NRRD, MetaImage, DICOM folder), a nibabel image, a MONAI MetaTensor or a NumPy
            array in HU with the affine of ``options``.
        segmentation: a Segmentation or anything that ``load_segmentation`` takes; None: only what thresholds can
            show is reported, and the rest is "not assessed" or comes from the model.
        segmenter: what makes masks of a bare scan: tasks ("total,liver_lesions"), ``nnunet:FOLDER``, ``bundle:FOLDER``,
            ``command:...``, ``best``, a Segmenter, a function of the Volume, or several; default that of
            ``config.segmenting``. Masks that were given as well win. See docs/segmentation.md.
        model: a model of ``load_model``, or its name or path; None: none. What only it saw is marked so, with its
            probability; masks always win; its prose stands where it is true to the findings.
        patient: facts that rules need; what is None is taken from the DICOM header.
        config: settings, default ``Config()``.
        index: a ReportIndex or its folder; prior texts of other patients are looked up, recorded with the report, and
            shown to a model that was taught to use them. No finding comes from them (docs/retrieval.md).
        search: whose scan it is and which records may be found, as in ``ReportIndex.search``; level, section and
            context are those of each query.
        options: the rest, default ``ReportOptions()``.

    Returns: GeneratedReport; every sentence of it has been verified against the findings it cites.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> made = radvlm.generate_report(scan, segmentation=masks, patient=radvlm.Patient(sex="F", age_years=63))
        >>> made.sentences[1].text
        'Contrast phase uncertain.'
        >>> made.report.impression[0].text
        'Liver volume below the usual adult range (12 mL).'
    """
    from radvlm.interpret import load_rules

    settings, rest = config or Config(), options or ReportOptions()
    tell = rest.progress
    rules = load_rules(settings.rules_file)
    if model is not None:
        tell("Loading the model")
    reader = None if model is None else resolve_model(model)

    asked = settings.segmenting.segmenter if segmenter is None else segmenter
    if asked is not None:
        from radvlm.workflows.segmenters import require_segmenters

        require_segmenters(asked, settings.segmenting)
    tell("Reading the CT")
    rescale = settings.reading.rescale if rest.rescale is None else rest.rescale
    acquisition = settings.reading.acquisition if rest.acquisition is None else rest.acquisition
    scan = load_volume(volume, affine=rest.affine, series=rest.series, acquisition=acquisition, rescale=rescale)
    given = _given_masks(scan, segmentation, asked, settings, rest)
    if given is None:
        from radvlm.segment import segment_by_threshold

        tell("Looking for body and lungs by thresholds")
    masks = segment_by_threshold(scan) if given is None else given

    tell("Measuring")
    examined = _examine(scan, masks, given, patient, settings, rules)

    if reader is not None:
        tell("Reading with the model")
    reading = None if reader is None else read_scan(reader, scan, given, examined.findings, examined.patient)

    tell("Interpreting and writing")
    report = _compose(examined, reading)
    if index is not None:
        tell("Looking for prior texts")
        own = PriorQuestion(index, search, rest.use_hints)
        report, reading = _with_prior_texts(examined, reading, report, own)
    return GeneratedReport(
        report,
        examined.measurements,
        scan,
        examined.segmentation,
        settings,
        examined.patient,
        None if reading is None else reading.output,
        None if reading is None else reading.segmentation,
    )


def _given_masks(
    scan: Volume, segmentation: Any, segmenter: Any, settings: Config, options: ReportOptions
) -> Segmentation | None:
    """The masks that were given and those that segmenters make, on the grid of the scan; None without either."""
    accept = options.accept_misplaced or settings.reading.accept_misplaced
    masks = None
    if segmentation is not None:
        options.progress("Reading the masks")
        masks = load_segmentation(segmentation, like=scan, scheme=options.scheme, accept_misplaced=accept)
        if not masks.geometry.same_grid(scan.geometry):
            raise GridError(
                "masks and CT share one grid",
                f"masks {masks.geometry}, CT {scan.geometry}",
                "Load the masks with load_segmentation(..., like=volume)",
            )
    if segmenter is None:
        return masks
    from radvlm.workflows.segmenters import segmented

    made = segmented(scan, segmenter, settings.segmenting, given=masks, progress=options.progress)
    return load_segmentation(made, like=scan, accept_misplaced=accept)


def _examine(
    scan: Volume, masks: Segmentation, given: Segmentation | None, patient: Patient | None, config: Config, rules: Rules
) -> Examined:
    """Numbers and findings of a scan."""
    from radvlm.interpret import interpret
    from radvlm.quantify import measure_scan

    numbers = measure_scan(
        scan, masks, min_lesion_voxels=config.measuring.min_lesion_voxels, min_lesion_ml=config.measuring.min_lesion_ml
    )
    known = merge_patient(patient, scan.study.patient)
    findings = tuple(interpret(numbers, patient=known, rules=rules, study=scan.study))
    return Examined(scan, masks, given, numbers, findings, known, config)


def _compose(examined: Examined, reading: ModelReading | None) -> Report:
    """The report, or one clear error where a sentence would not be true to what was measured: nobody is shown it."""
    try:
        return _verified(examined, reading)
    except VerificationError as error:
        spacing = " x ".join(f"{s:.3g}" for s in examined.volume.geometry.spacing_mm)
        raise VerificationError(
            "a report is written only when each of its sentences is true to what was measured",
            f"a scan with voxels of {spacing} mm for which one would not be",
            "Check the voxel sizes of the scan; if they are right, this is a fault of radvlm: please report it",
        ) from error


def _verified(examined: Examined, reading: ModelReading | None) -> Report:
    """Verified sentences from the findings, and from what a model said of the scan where one was asked."""
    from radvlm.compose import compose_report, guided_report

    head = examination(examined.volume, examined.segmentation, examined.patient, examined.measurements.decisions)
    facts = provenance(examined.measurements, examined.segmentation, examined.volume, examined.config)
    style = examined.config.style
    if reading is None:
        return compose_report(examined.findings, style=style, examination=head, provenance=facts)
    return guided_report(
        examined.findings,
        reading.output,
        style=style,
        examination=(*head, *model_head(reading.output)),
        provenance=facts,
        unseen=reading.unseen,
    )


def _with_prior_texts(
    examined: Examined, reading: ModelReading | None, report: Report, asked: PriorQuestion
) -> tuple[Report, ModelReading | None]:
    """A report with prior texts beside it; where the model uses them its prose is written, and verified, anew."""
    priors = look_up(asked, examined.volume, examined.given, examined.measurements.phase, report.findings, reading)
    why_not = why_not_shown(asked, priors, reading)
    if why_not or reading is None:
        return with_priors(report, priors, fed=False, why_not=why_not), reading
    drafts = hinted_drafts(reading, examined.volume, examined.given, examined.findings, priors)
    informed = replace(reading, output=replace(reading.output, drafts=drafts))
    rewritten = _compose(examined, informed)
    return with_priors(rewritten, priors, fed=True, before=report, drafts=drafts), informed


def merge_patient(given: Patient | None, header: Patient) -> Patient:
    """What the caller gave, completed from the header."""
    if given is None:
        return header
    return replace(header, **{key: value for key, value in asdict(given).items() if value is not None})


def examination(
    volume: Volume, segmentation: Segmentation, patient: Patient, decisions: Sequence[Decision] = ()
) -> tuple[tuple[str, str], ...]:
    """Head of the report: examination, date, patient, comparison, source of the masks, doubts about them and the HU.

    ``decisions`` are those of the measuring, beside those of the masks.
    """
    study = volume.study
    who = [{"F": "female", "M": "male"}.get(patient.sex or "", "")]
    if patient.age_years is not None:
        who.append(f"{patient.age_years:.0f} years")
    lines = [("Examination", _title(study))]
    if study.study_date:
        lines.append(("Date", study.study_date))
    if any(who):
        lines.append(("Patient", ", ".join(part for part in who if part)))
    acquired = _acquisition(study)
    if acquired:
        lines.append(("Acquisition", acquired))
    lines.append(("Comparison", "Not provided."))
    lines.append(("Masks", _mask_words(segmentation)))
    lines += _certainties(segmentation)
    if segmentation.scheme == "threshold":
        lines.append(("More", _how_to_get_masks()))
    lines += [("Caution", what) for what in cautions((*segmentation.decisions, *decisions, *volume.decisions))]
    if volume.attenuation_doubt:
        lines.append(("Attenuation", f"not interpreted: {volume.attenuation_doubt}."))
    return tuple(lines)


def _title(study: Study) -> str:
    place = study.body_part.replace("_", " ").strip().lower()
    return f"CT {place}" if place and place not in ("partialbody", "wholebody", "ct") else "CT"


def _acquisition(study: Study) -> str:
    """``120 kVp; 97 s after the injection, by the header.``: what attenuation and phase depend on; "" where the header
    says neither."""
    told = [f"{study.kvp:g} kVp"] if study.kvp else []
    if study.contrast_delay_s is not None:
        told.append(f"{study.contrast_delay_s:.0f} s after the injection")
    return f"{'; '.join(told)}, by the header." if told else ""


def _how_to_get_masks() -> str:
    return (
        f"organs and lesions need masks: {', then '.join(commands_for_organs())} (docs/segmentation.md); "
        "or give your own with --masks."
    )


def _certainties(segmentation: Segmentation) -> list[tuple[str, str]]:
    """One line for each present lesion or fluid that a program found: by what, and how well that does."""
    from radvlm.segment.performance import lesion_performance

    makers = {name: origin for origin in segmentation.origins for name in origin.searched}
    found = [name for name in segmentation.present if name in makers and structure(name).kind in ("lesion", "fluid")]
    lines = []
    for name in found:
        who, how_well = makers[name].by, lesion_performance(makers[name].performance, name)
        words = structure(name).words
        lines.append(("Certainty", f"{words[:1].upper()}{words[1:]} by {who} ({how_well}), not by a radiologist."))
    return lines


def _mask_words(segmentation: Segmentation) -> str:
    present, searched = len(segmentation.places), len(segmentation.searched)
    if segmentation.scheme == "threshold":
        return "none given; what is said of the body is by thresholds."
    if segmentation.origins:
        makers = "; ".join(f"{o.by}, {o.date}{f' ({o.licence})' if o.licence else ''}" for o in segmentation.origins)
        made = frozenset[str]().union(*(o.searched for o in segmentation.origins))
        given = "given masks and " if segmentation.searched - made else ""
        return f"{given}by {makers}; no radiologist's. {present} of {searched} searched structures present."
    return f"{segmentation.scheme or 'own names'}, {present} of {searched} searched structures present."


def provenance(numbers: Measurements, segmentation: Segmentation, volume: Volume, config: Config) -> Mapping[str, Any]:
    """JSON facts kept inside the report itself, so that report.json stands alone."""
    decisions = dict.fromkeys((*volume.decisions, *segmentation.decisions, *numbers.decisions))
    geometry, phase = volume.geometry, numbers.phase
    return {
        "radvlm": __version__,
        "configuration_sha256": config.digest,
        "label_scheme": segmentation.scheme,
        "phase": None if phase is None else {**asdict(phase), "possible": list(phase.possible)},
        "grid": {"shape": list(geometry.shape), "affine_ras_mm": geometry.affine.tolist()},
        **({"segmented_by": [o.to_dict() for o in segmentation.origins]} if segmentation.origins else {}),
        "warnings": [d.what for d in decisions if d.warning],
    }
