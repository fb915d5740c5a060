"""Where a model meets the rest: loading it, reading a scan with it, asking it, and painting what it points at.

Unusual: nothing here knows what a model is made of; it only needs the methods of ``VisionLanguageModel``, so a test can
pass a few lines of Python. Loading one is the only thing that imports PyTorch, and it happens when it is asked for.
Regions of a model lie in its own segmentation: they are painted beside those of the masks and never measured.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radvlm.errors import GridError, InputError, MissingPackageError
from radvlm.model.protocol import VisionLanguageModel
from radvlm.types.anatomy import SECTIONS
from radvlm.types.finding import Finding
from radvlm.types.model_output import MODEL_REGION, Answer, FindingScore, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.region import Region
from radvlm.types.region_map import RegionLabel, RegionMap
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume

if TYPE_CHECKING:
    from radvlm.types.report import Report
    from radvlm.workflows.neighbor_votes import VoteCalibration

#: Longest question, in characters.
LONGEST_QUESTION = 500
#: Organs of one sex only.
_OF_SEX = {
    "F": frozenset({"uterus", "ovary_left", "ovary_right"}),
    "M": frozenset({"prostate", "seminal_vesicle", "seminal_vesicle_left", "seminal_vesicle_right"}),
}
_METHODS = ("read", "classify", "answer", "embed", "embed_text")


def load_model(
    name_or_path: str | os.PathLike[str] = "tiny",
    *,
    revision: str | None = None,
    device: str = "cpu",
    offline: bool = True,
) -> VisionLanguageModel:
    """A model by name (``tiny`` ships with the package), folder, checkpoint file or hub id.

    Args:
        revision: of a hub id, pinned and recorded.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
        offline: never touch the network; with False a hub id is downloaded once.

    Raises: MissingPackageError without PyTorch, InputError or FileFormatError for what cannot be loaded.
    """
    try:
        from radvlm.model.registry import load_model as load
    except ImportError as error:
        if isinstance(error, MissingPackageError) or (error.name or "").startswith("radvlm"):
            raise
        raise MissingPackageError(
            "a model needs the packages of the extra `model`", str(error.name or error), "pip install radvlm[model]"
        ) from error
    return load(name_or_path, revision=revision, device=device, offline=offline)


def resolve_model(model: Any) -> VisionLanguageModel:
    """``model`` itself, or the one of that name or path; InputError for anything else."""
    if isinstance(model, (str, os.PathLike)):
        return load_model(model)
    missing = [name for name in _METHODS if not callable(getattr(model, name, None))]
    if missing:
        raise InputError(
            "a model is a name, a path, or an object that load_model returns",
            f"{type(model).__name__} without {', '.join(missing)}",
            "Pass radvlm.load_model(...)",
        )
    return model


def notice_of(model: VisionLanguageModel) -> str:
    return str(getattr(model, "notice", "") or "")


def classify_findings(
    volume: Any,
    *,
    model: Any = "tiny",
    findings: Sequence[str] | None = None,
    affine: Any = None,
    series: str | None = None,
    index: Any = None,
    exclude_patient: str | Sequence[str] | None = None,
    patient_not_indexed: bool = False,
    vote_calibration: VoteCalibration | None = None,
) -> tuple[FindingScore, ...]:
    """How probable findings are, from the images alone.

    Args:
        volume: as in ``generate_report``.
        model: a model, or what ``load_model`` takes.
        findings: any texts (zero-shot), or None for the model's own vocabulary. A name of that vocabulary stands for
            its finding.
        index: a ReportIndex or its folder: the scans nearest to this one vote beside the model, and the scores are
            ``radvlm.workflows.neighbor_votes.VotedScore``. The votes change probabilities only through
            ``vote_calibration`` (default: the one stored with the index); without one they stand beside them,
            ``is_calibrated=False``.
        exclude_patient, patient_not_indexed: whose scan it is, as in ``ReportIndex.search``.

    Returns: one score per finding and site, calibrated; ``status`` by the thresholds stored with the model.
    """
    texts = None if findings is None else _texts(findings, "findings")
    asked, scan = resolve_model(model), _volume(volume, affine, series)
    scores = asked.classify(scan, texts)
    if index is None:
        return scores
    from radvlm.workflows.neighbor_votes import vote
    from radvlm.workflows.prior_reports import opened

    with opened(index, asked) as priors:
        return vote(
            asked,
            scan,
            priors,
            scores,
            exclude_patient=exclude_patient,
            patient_not_indexed=patient_not_indexed,
            calibration=vote_calibration,
        )


def answer(
    volume: Any,
    question: str,
    *,
    model: Any = "tiny",
    segmentation: Any = None,
    affine: Any = None,
    scheme: Any = None,
    series: str | None = None,
) -> Answer:
    """The answer to a question about one CT, with confidence, region and evidence.

    With ``segmentation`` the answer rests on what was measured in the masks, where they say something.
    """
    if not isinstance(question, str) or not any(c.isalnum() for c in question):
        raise InputError("a question has words", repr(question))
    if len(question) > LONGEST_QUESTION:
        raise InputError(f"a question has at most {LONGEST_QUESTION} characters", f"{len(question)}", "Ask in parts")
    asked = resolve_model(model)
    scan = _volume(volume, affine, series)
    if segmentation is None:
        return asked.answer(scan, question)
    from radvlm.interpret import interpret
    from radvlm.io import load_segmentation
    from radvlm.quantify import measure_scan

    masks = load_segmentation(segmentation, like=scan, scheme=scheme)
    findings = interpret(measure_scan(scan, masks), patient=scan.study.patient, study=scan.study)
    return asked.answer(scan, question, facts=facts_by_section(findings), segmentation=masks)


def embed(volume: Any, *, model: Any = "tiny", affine: Any = None, series: str | None = None) -> np.ndarray:
    """(D,) float32 of unit length, in the space that ``embed_text`` shares."""
    return resolve_model(model).embed(_volume(volume, affine, series))


def embed_text(texts: Sequence[str], *, model: Any = "tiny") -> np.ndarray:
    """(N, D) float32 of unit length, one row a text."""
    return resolve_model(model).embed_text(_texts(texts, "texts"))


def facts_by_section(findings: Sequence[Finding]) -> dict[str, str]:
    """Measured findings as the lines of text that a decoder was taught to read; sections with nothing are left out.

    They are those that the report without a model states, as in the training pairs: a verdict that no sentence of it
    says is in no line.
    """
    from radvlm.compose import Style
    from radvlm.compose.impression import impression
    from radvlm.compose.template import template_sentences
    from radvlm.wording.fact_lines import facts_by_section as facts_of_sentences

    style = Style()
    lines = facts_of_sentences([*template_sentences(findings, style), *impression(findings, style)])
    return {section: lines[section] for section in SECTIONS if lines.get(section)}


def read_scan(
    model: VisionLanguageModel, scan: Volume, masks: Segmentation | None, findings: Sequence[Finding]
) -> tuple[ModelOutput, Segmentation | None]:
    """What the model says, checked for form, and its regions in a segmentation on the grid of the scan."""
    facts = None if masks is None else facts_by_section(findings)
    model_output, own = model.read(scan, facts=facts, segmentation=masks)
    if not isinstance(model_output, ModelOutput):
        raise InputError("a model returns a ModelOutput", type(model_output).__name__)
    if own is not None and not own.geometry.same_grid(scan.geometry):
        raise GridError("a model's regions lie on the grid of the CT", f"{own.geometry!r}, CT {scan.geometry!r}")
    for score in model_output.scores:
        if score.region is not None and (own is None or score.region.structure not in own.places):
            raise InputError(
                "a model's region lies in the segmentation that it returns",
                f"{score.finding}: {score.region.structure}",
            )
    return model_output, own


def for_patient(model_output: ModelOutput, patient: Patient) -> ModelOutput:
    """Without scores of organs that a patient of that sex does not have; "no uterine lesion" is not said of a man."""
    other = {"M": "F", "F": "M"}.get(patient.sex or "")
    gone = [s for s in model_output.scores if other is not None and s.site in _OF_SEX[other]]
    if not gone:
        return model_output
    words = ", ".join(dict.fromkeys(s.words for s in gone))
    told = Decision("model", f"Not considered in a patient of this sex: {words}.")
    kept = tuple(s for s in model_output.scores if s not in gone)
    return replace(model_output, scores=kept, warnings=(*model_output.warnings, told))


def model_head(model_output: ModelOutput) -> tuple[tuple[str, str], ...]:
    """Lines for the head of a report: who the model is, and what it warns of, so that the bare text says it too."""
    said = [w.what.strip().rstrip(".") for w in model_output.warnings if w.warning]
    caution = " ".join(f"{text[:1].upper()}{text[1:]}." for text in said)
    lines = [("Model", f"{model_output.model}. {model_output.notice}".strip()), ("Model caution", caution)]
    return tuple(line for line in lines if line[1])


def unseen_structures(own: Segmentation | None) -> frozenset[str]:
    """What the model looked for and did not find."""
    return frozenset() if own is None else own.searched - set(own.places)


def model_decisions(report: Report, model_output: ModelOutput) -> tuple[Decision, ...]:
    """What a reader of the report should know of the model: its notice, its warnings, where the masks overruled it."""
    said = report.provenance.get("model") or {}
    notice = (Decision("model", model_output.notice, True),) if model_output.notice else ()
    overruled = tuple(Decision("model", text, True) for text in said.get("disagreements", ()))
    left_out = tuple(Decision("model", text) for text in said.get("left_out", ()))
    return (*notice, *model_output.warnings, *overruled, *left_out)


def paint_with_model(base: RegionMap, own: Segmentation | None, regions: Sequence[Region]) -> RegionMap:
    """``base`` with the model's regions (ids that start with ``model:``) painted over it; none of either is lost."""
    if own is None or not regions:
        return base
    from radvlm.quantify import paint_regions

    bare = [replace(r, id=r.id.removeprefix(MODEL_REGION)) for r in regions]
    painted = paint_regions(own, bare)
    rows = tuple(replace(row, region=replace(row.region, id=f"{MODEL_REGION}{row.region.id}")) for row in painted.rows)
    return merge_maps(base, RegionMap(painted.labels, painted.geometry, rows))


def merge_maps(base: RegionMap, top: RegionMap) -> RegionMap:
    """Two painted maps of one grid as one: each combination of their labels gets a label of its own."""
    inside = top.labels > 0
    under, over = base.labels[inside].astype(np.int64), top.labels[inside].astype(np.int64)
    width = int(top.labels.max(initial=0)) + 1
    codes, place = np.unique(under * width + over, return_inverse=True)
    first = int(base.labels.max(initial=0)) + 1
    if first + len(codes) > np.iinfo(np.uint16).max:
        raise InputError("a region map has at most 65535 labels", f"{first + len(codes)} combinations of regions")
    labels = base.labels.astype(np.uint16)
    labels[inside] = (first + np.arange(len(codes), dtype=np.uint16))[place]
    counts = np.bincount(labels.ravel(order="K"), minlength=first + len(codes))
    used = [n for n in range(1, len(counts)) if counts[n]]
    lut = np.zeros(len(counts), dtype=np.uint16 if len(used) > 255 else np.uint8)
    lut[used] = np.arange(1, len(used) + 1)
    pairs = [(first + n, int(code) // width, int(code) % width) for n, code in enumerate(codes)]

    def row(old: RegionLabel, column: int, kept: Sequence[int]) -> RegionLabel:
        own = {old.label, *old.also}
        held = [n for n in kept if n in own and counts[n]] + [pair[0] for pair in pairs if pair[column] in own]
        main = old.label if column == 1 and old.label in held else max(held, key=lambda n: int(counts[n]))
        return RegionLabel(int(lut[main]), old.region, tuple(sorted(int(lut[n]) for n in held if n != main)))

    rows = (*(row(r, 1, range(1, first)) for r in base.rows), *(row(r, 2, ()) for r in top.rows))
    return RegionMap(lut[labels], base.geometry, rows)


def _volume(volume: Any, affine: Any, series: str | None) -> Volume:
    from radvlm.io import load_volume

    return load_volume(volume, affine=affine, series=series)


def _texts(texts: Sequence[str], name: str) -> list[str]:
    if isinstance(texts, str):
        raise InputError(f"{name} is a list of texts", "one text", f"Pass {name}=[...]")
    listed = list(texts)
    if not listed:
        raise InputError(f"{name} holds at least one text", "none")
    for text in listed:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"each of {name} has words", repr(text))
    twice = next((t for t in listed if listed.count(t) > 1), None)
    if name == "findings" and twice is not None:
        raise InputError("each finding is asked once", repr(twice))
    return listed
