"""The joins of the steps: measure a scan, generate its report.

``generate_report`` is the main call: it reads, segments where nothing was given, measures, interprets, asks a model
where one is given, composes and verifies. Its result holds what the report was made from, so that the page and the
region file can be written later without another pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from radvlm.errors import GridError
from radvlm.types.finding import Finding
from radvlm.types.geometry import Geometry
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient, Study
from radvlm.types.volume import Volume
from radvlm.version import __version__
from radvlm.workflows.config import Config
from radvlm.workflows.saved_report import GeneratedReport

Progress = Callable[[str], None]


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
        from radvlm.workflows.models import for_patient, model_head, read_scan, resolve_model, unseen_structures

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
        model_output, own = read_scan(reader, scan, seen, findings)
        model_output = for_patient(model_output, known)
        tell("Interpreting and writing")
        report = guided_report(
            findings,
            model_output,
            style=settings.style,
            examination=(*head, *model_head(model_output)),
            provenance=facts,
            unseen=unseen_structures(own),
        )
        made = GeneratedReport(report, numbers, scan, masks, settings, known, model_output, own)
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
    from radvlm.workflows.models import facts_by_section, unseen_structures
    from radvlm.workflows.prior_reports import find_priors, hinted_drafts, opened, route, uses_hints, with_priors

    own = made.model_segmentation
    unseen = unseen_structures(own)
    with opened(index, model) as priors_of:
        context = route(
            made.volume,
            masks,
            index=priors_of,
            phase=made.measurements.phase,
            model=model,
            model_output=made.model_output,
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
            else f"The model {made.model_output.model if made.model_output else ''} was not taught to use them and "
            "did not see them."
        )
    elif priors.hints and not use_hints:
        why_not = "They were kept from the model, as asked."
    if why_not or made.model_output is None:
        return replace(made, report=with_priors(made.report, priors, fed=False, why_not=why_not))
    facts = None if masks is None else facts_by_section(findings)
    drafts = hinted_drafts(model, made.volume, facts, masks, priors)
    model_output = replace(made.model_output, drafts=drafts)
    base = {key: value for key, value in made.report.provenance.items() if key != "model"}
    report = guided_report(
        findings,
        model_output,
        style=made.config.style,
        examination=made.report.examination,
        provenance=base,
        unseen=unseen,
    )
    return replace(
        made, model_output=model_output, report=with_priors(report, priors, fed=True, before=made.report, drafts=drafts)
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
