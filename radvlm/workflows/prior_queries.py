"""What is looked up for a scan, and where: words of its findings, its organs alone, the route to priors of its kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from radvlm.errors import GridError, InputError
from radvlm.model.protocol import VisionLanguageModel
from radvlm.types.anatomy import NOT_OF_THE_BODY, structure, structures
from radvlm.types.finding import Citable, Finding, Status, citable
from radvlm.types.geometry import Box
from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import Phase
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume
from radvlm.workflows.model_stage import ModelReading

if TYPE_CHECKING:
    from radvlm.retrieve import QueryContext, ReportIndex

#: What lies outside of an organ that is looked at alone.
AIR_HU = -1000
#: A phase or kind of study is decided from zero-shot scores when the best is this probable and all others this little.
LIKELY, UNLIKELY = 0.7, 0.3


def query_words(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """(words, section) of each present finding that matters, most important first; each once, without sizes."""
    seen = [
        f
        for f in citable(findings)
        if f.status is Status.PRESENT and f.importance > 0 and f.kind != "coverage" and f.section not in NOT_OF_THE_BODY
    ]
    rows = [(_words(f), f.section) for f in sorted(seen, key=lambda f: -f.importance)]
    return list(dict.fromkeys(row for row in rows if row[0]))


def _words(finding: Citable) -> str:
    site = structure(finding.site).words if finding.site else ""
    if isinstance(finding, Finding) and finding.kind in structures():
        words = structure(finding.kind).words
        place = next((structure(n).words for n in finding.locations), "")
    else:
        words, place = finding.category.split(",")[0] or finding.kind.replace("_", " "), site
    return f"{words} in {place}" if place and place not in words else words


def organ_queries(scan: Volume, masks: Segmentation, findings: Sequence[Finding]) -> list[tuple[Any, str, str]]:
    """(organs alone, words, section) of each section in which something is there."""
    made = []
    for section in dict.fromkeys(section for _, section in query_words(findings)):
        view = organ_view(scan, masks, section)
        if view is not None:
            made.append((view, f"the {section.replace('_', ' ')} of the scan", section))
    return made


def organ_view(scan: Volume, masks: Segmentation, region: str, *, margin_mm: float = 15.0) -> Volume | None:
    """The structures of a section (``liver``), or one structure (``kidney_left``), with a margin; the rest is air.

    A box alone would not do: the box around a liver holds a kidney. The voxels keep their place and the study of the
    scan, so that a search still knows whose it is. Returns None when the masks hold none of it. Raises GridError for
    masks of another grid, InputError for a negative margin.
    """
    if not masks.geometry.same_grid(scan.geometry):
        raise GridError("masks and CT share one grid", f"masks {masks.geometry}, CT {scan.geometry}")
    if margin_mm < 0:
        raise InputError("a margin is not negative", f"{margin_mm} mm")
    names = [n for n in masks.places if n == region or structure(n).section == region]
    if not names:
        return None
    tight = reduce(Box.union, [masks.boxes[n] for n in names])
    spacing_mm = scan.geometry.spacing_mm
    box = tight.grown([math.ceil(margin_mm / s) for s in spacing_mm], scan.geometry.shape)
    inside = np.logical_or.reduce([masks.mask_in_box(n, box) for n in names])
    near = ndimage.distance_transform_edt(~inside, sampling=spacing_mm) <= margin_mm
    hu = np.where(near, scan.hu[box.slices], AIR_HU).astype(scan.hu.dtype)
    return replace(scan, hu=hu, geometry=scan.geometry.cropped(box))


def route(
    scan: Volume,
    masks: Segmentation | None,
    *,
    index: ReportIndex,
    phase: Phase | None = None,
    reading: ModelReading | None = None,
) -> QueryContext:
    """Body region, phase and kind of study of a scan, for the choice of priors.

    The region: from the masks where there are any; else from the organs that the model's own map shows;
    else from the model's zero-shot scores of the body regions. The phase: from what
    was measured where that is certain, else zero-shot; the kind of study: zero-shot. Both among the words that the
    records of the index use, and only where one of at least two stands out (``LIKELY``, ``UNLIKELY``); nothing is
    routed away by a guess.
    """
    from radvlm.retrieve import context_of
    from radvlm.retrieve.context import BODY_REGIONS

    phases = {v for s in index.segments for v in s.values("phase")} - {""}
    name = phase.name if phase is not None and phase.certain and phase.name in phases else ""
    kind, told = "", list[Decision]()
    if reading is not None:
        if not name:
            name, told = _zero_shot(reading.model, scan, phases, "{} phase", "phase")
        kind, more = _zero_shot(
            reading.model, scan, {v for s in index.segments for v in s.values("kind")} - {""}, "{}", "kind of study"
        )
        told += more
    if masks is not None:
        context = context_of(masks.places, phase=name, kind=kind)
    elif reading is None:
        context = context_of((), phase=name, kind=kind)
    elif reading.has_map:
        context = context_of(
            {s.site for s in reading.output.scores if s.site and s.site not in reading.unseen}, phase=name, kind=kind
        )
        context = replace(
            context,
            decisions=tuple(
                replace(d, what=d.what.replace("the structures in the masks", "the organs that the model shows"))
                for d in context.decisions
            ),
        )
    else:
        scores = reading.model.classify(scan, [f"CT of the {region}" for region in BODY_REGIONS])
        regions = {r: s.probability for r, s in zip(BODY_REGIONS, scores, strict=True)}
        context = context_of((), regions, phase=name, kind=kind)
    return replace(context, decisions=(*context.decisions, *told))


def _zero_shot(
    model: VisionLanguageModel, scan: Volume, known: set[str], template: str, what: str
) -> tuple[str, list[Decision]]:
    """Which of the words of an index a scan is, "" where none stands out; nothing is asked of fewer than two."""
    names = sorted(known)
    if len(names) < 2:
        return "", []
    scores = [s.probability for s in model.classify(scan, [template.format(n) for n in names])]
    best = max(range(len(names)), key=lambda n: scores[n])
    if scores[best] < LIKELY or any(p > UNLIKELY for n, p in enumerate(scores) if n != best):
        return "", [
            Decision("retrieve", f"The {what} could not be decided from the image; priors of every one were searched.")
        ]
    said = f"Searched priors of the {what} {names[best]}, decided from the encoder's zero-shot scores"
    return names[best], [Decision("retrieve", f"{said} ({scores[best]:.2f}).")]
