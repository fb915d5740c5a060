"""Everything that can be asked of one scan short of a report: its numbers, a model's findings, answers and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radvlm.errors import InputError
from radvlm.io import load_segmentation, load_volume
from radvlm.types.model_output import Answer, FindingScore
from radvlm.types.provenance import Decision, cautions
from radvlm.types.scan_measurements import Measurements
from radvlm.types.volume import Volume
from radvlm.workflows.config import Config
from radvlm.workflows.model_stage import unsure_values
from radvlm.workflows.models import resolve_model
from radvlm.workflows.neighbor_votes import VoteCalibration, vote
from radvlm.workflows.open_index import opened

if TYPE_CHECKING:
    from radvlm.retrieve import SearchOptions

#: Longest question, in characters.
LONGEST_QUESTION = 500


def measure(
    volume: Any,
    segmentation: Any = None,
    *,
    config: Config | None = None,
    scheme: Any = None,
    accept_misplaced: bool = False,
) -> Measurements:
    """Every number of a scan and its masks; ``measure(None, masks)`` gives geometry without HU.

    ``measure(volume)``, without masks, gives what thresholds find, as the report of a bare scan has it.

    Args:
        volume: a Volume, anything that ``load_volume`` takes, or None.
        segmentation: a Segmentation or anything that ``load_segmentation`` takes; None: body, fat and aerated lung by
            thresholds, and nothing of organs.
        config: settings; ``config.reading`` and ``config.measuring`` are used.
        scheme: label scheme of the masks, as in ``load_segmentation``.
        accept_misplaced: as in ``load_segmentation``; so does ``config.reading.accept_misplaced``.

    Raises: InputError, FileFormatError, GridError, StructureError with one clear message.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> volume = radvlm.measure(scan, masks).structure("liver").measurement("volume")
        >>> volume.value, volume.unit, volume.method
        (12.0, 'mL', 'voxel count')
    """
    from radvlm.quantify import measure_scan

    chosen = config or Config()
    how, settings = chosen.reading, chosen.measuring
    scan = None if volume is None else load_volume(volume, acquisition=how.acquisition, rescale=how.rescale)
    accepted = accept_misplaced or how.accept_misplaced
    if segmentation is not None:
        masks = load_segmentation(segmentation, like=scan, scheme=scheme, accept_misplaced=accepted)
    elif scan is None:
        raise InputError("a CT, masks or both", "neither", "Give the CT, volume=, or segmentation=")
    elif scheme is not None or accept_misplaced:
        raise InputError("scheme= and accept_misplaced= say how masks are read", "no masks")
    else:
        from radvlm.segment import segment_by_threshold

        masks = segment_by_threshold(scan)
    return measure_scan(scan, masks, min_lesion_voxels=settings.min_lesion_voxels, min_lesion_ml=settings.min_lesion_ml)


def classify_findings(
    volume: Any,
    *,
    model: Any = "tiny",
    findings: Sequence[str] | None = None,
    affine: Any = None,
    series: str | None = None,
    index: Any = None,
    search: SearchOptions | None = None,
    vote_calibration: VoteCalibration | None = None,
) -> tuple[FindingScore, ...]:
    """How probable findings are, from the images alone.

    Args:
        volume: as in ``generate_report``; ``affine`` and ``series`` as in ``load_volume``.
        model: a model, or what ``load_model`` takes.
        findings: any texts (zero-shot), or None for the model's own vocabulary. A name of that vocabulary stands for
            its finding.
        index: a ReportIndex or its folder: the scans nearest to this one vote beside the model, and the scores are
            ``radvlm.workflows.neighbor_votes.VotedScore``. The votes change probabilities only through
            ``vote_calibration`` (default: the one stored with the index); without one they stand beside them,
            ``is_calibrated=False``.
        search: whose scan it is, as in ``ReportIndex.search``.

    Returns: one score per finding and site, calibrated; ``status`` by the thresholds stored with the model.

    Example:
        >>> import radvlm
        >>> from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
        >>> stone = LesionSpec("kidney_stone", 9, side="left")
        >>> case = make_phantom(PhantomSpec(seed=1, region="abdomen", spacing_mm=(4.0, 4.0, 4.0), lesions=(stone,)))
        >>> scores = radvlm.classify_findings(case.volume)
        >>> best = max(scores, key=lambda score: score.probability)
        >>> best.finding, best.site
        ('kidney_stone', 'kidney_left')
    """
    texts = None if findings is None else _texts(findings, "findings")
    asked, scan = resolve_model(model), load_volume(volume, affine=affine, series=series)
    scores = asked.classify(scan, texts)
    if index is None:
        return scores
    with opened(index, asked) as priors:
        return vote(asked, scan, priors, scores, search=search, calibration=vote_calibration)


def answer(
    volume: Any,
    question: str,
    *,
    model: Any = "tiny",
    segmentation: Any = None,
    affine: Any = None,
    scheme: Any = None,
    series: str | None = None,
    accept_misplaced: bool = False,
) -> Answer:
    """The answer to a question about one CT, with confidence, region and evidence.

    With ``segmentation`` the answer rests on what was measured in the masks, where they say something.

    Example:
        >>> import radvlm
        >>> from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
        >>> stone = LesionSpec("kidney_stone", 9, side="left")
        >>> case = make_phantom(PhantomSpec(seed=1, region="abdomen", spacing_mm=(4.0, 4.0, 4.0), lesions=(stone,)))
        >>> told = radvlm.answer(case.volume, "Is there a renal stone?", segmentation=case.segmentation)
        >>> told.text, str(told.status), told.evidence[0]
        ('Yes', 'present', 'the masks show renal stone')
    """
    if not isinstance(question, str) or not any(c.isalnum() for c in question):
        raise InputError("a question has words", repr(question))
    if len(question) > LONGEST_QUESTION:
        raise InputError(f"a question has at most {LONGEST_QUESTION} characters", f"{len(question)}", "Ask in parts")
    asked = resolve_model(model)
    scan = load_volume(volume, affine=affine, series=series)
    if segmentation is None:
        return _with_doubts(asked.answer(scan, question), scan)
    from radvlm.interpret import interpret
    from radvlm.quantify import measure_scan

    masks = load_segmentation(segmentation, like=scan, scheme=scheme, accept_misplaced=accept_misplaced)
    findings = interpret(measure_scan(scan, masks), patient=scan.study.patient, study=scan.study)
    told = asked.answer(scan, question, findings=findings, segmentation=masks)
    return _with_doubts(told, scan, masks.decisions)


def _with_doubts(told: Answer, scan: Volume, decisions: Sequence[Decision] = ()) -> Answer:
    """An answer with what must be known of the scan, and of ``decisions`` about masks, among its evidence."""
    doubts = cautions((*decisions, *scan.decisions))
    if scan.attenuation_doubt:
        doubts += (unsure_values(scan),)
    return replace(told, evidence=(*told.evidence, *doubts))


def embed(volume: Any, *, model: Any = "tiny", affine: Any = None, series: str | None = None) -> np.ndarray:
    """(D,) float32 of unit length, in the space that ``embed_text`` shares.

    Example:
        >>> import radvlm
        >>> radvlm.embed(radvlm.Phantom.random(1, region="abdomen", spacing_mm=(6.0, 6.0, 6.0)).volume).shape
        (256,)
    """
    return resolve_model(model).embed(load_volume(volume, affine=affine, series=series))


def embed_text(texts: Sequence[str], *, model: Any = "tiny") -> np.ndarray:
    """(N, D) float32 of unit length, one row a text.

    Example:
        >>> import radvlm
        >>> spleen, same, other = radvlm.embed_text(["Splenomegaly.", "Enlarged spleen.", "Renal stone."])
        >>> bool(spleen @ same > spleen @ other)
        True
    """
    return resolve_model(model).embed_text(_texts(texts, "texts"))


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
