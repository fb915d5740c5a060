"""From frames to facts: a finding told twice (findings and impression) is one fact, whatever the order of sentences.

Frames are merged from the most to the least specific, so that the result does not depend on which was told
first; a mention without side, place or size joins the fact it could belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from radvlm.evaluate.metrics.clinical_significance import Significance
from radvlm.report_reader.frame import Frame, present
from radvlm.report_reader.lexicon import Lexicon

#: Places that overlap although neither contains the other.
OVERLAPS: dict[str, frozenset[str]] = {
    "lung_base": frozenset({"lower_lobe", "middle_lobe", "lingula"}),
    "lung_apex": frozenset({"upper_lobe"}),
    "liver_right_lobe": frozenset({f"liver_segment_{n}" for n in (5, 6, 7, 8)} | {"hepatic_dome"}),
    "liver_left_lobe": frozenset({f"liver_segment_{n}" for n in (2, 3, 4)}),
    "hepatic_dome": frozenset({"liver_segment_4", "liver_segment_7", "liver_segment_8", "liver_segment_2"}),
    "caudate": frozenset({"liver_segment_1"}),
    "abdominal_aorta": frozenset({"iliac_artery"}),
    "fissure": frozenset({"upper_lobe", "middle_lobe", "lower_lobe"}),
    "retroperitoneum": frozenset({"abdomen", "mesentery"}),
}
#: Liver segments that touch: calling one the other is within what readers disagree on.
NEIGHBORS = frozenset(
    frozenset({f"liver_segment_{a}", f"liver_segment_{b}"})
    for a, b in ((2, 3), (2, 4), (3, 4), (4, 5), (4, 8), (5, 6), (5, 8), (6, 7), (7, 8))
)
#: Places so wide that they say nothing about where in the home it is.
_WIDE = frozenset(
    "lung liver kidney bone artery abdomen chest bowel pelvis heart aorta spine soft_tissue".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One finding of a report, with everything said of it and where.

    Attributes as in Frame; ``spans`` are all mentions, ``sure`` is False when it was only said to be possible.
    """

    kind: str
    family: str
    sure: bool
    sides: frozenset[str]
    locations: frozenset[str]
    sizes_mm: tuple[float, ...]
    grade: float | None
    change: str
    spans: tuple[tuple[int, int], ...]
    change_spans: tuple[tuple[int, int], ...]
    measured: bool

    @property
    def size_mm(self) -> float | None:
        return self.sizes_mm[0] if self.sizes_mm else None


def facts(frames: Iterable[Frame], lexicon: Lexicon, table: Significance) -> tuple[Fact, ...]:
    """Facts of a report in a canonical order. Absent, past and only asked-for mentions are no facts."""
    told = present(list(frames))
    named = {(f.start, f.stop) for f in told if f.kind != "metastasis" and f.stop > f.start}
    told = [f for f in told if f.kind != "metastasis" or (f.start, f.stop) not in named]  # one fact
    waiting = sorted((_fact(f, lexicon) for f in told if not lexicon.kinds[f.kind].hidden), key=_order)
    merged: list[Fact] = []
    for fact in waiting:
        fitting = [i for i, other in enumerate(merged) if same(fact, other, lexicon, table)]
        if fitting:
            merged[fitting[0]] = _join(merged[fitting[0]], fact, lexicon)
        else:
            merged.append(fact)
    return tuple(sorted(merged, key=_order))


def _fact(frame: Frame, lexicon: Lexicon) -> Fact:
    return Fact(
        frame.kind,
        lexicon.kinds[frame.kind].family,
        frame.status == "present",
        frame.sides,
        frame.locations - _WIDE,
        frame.sizes_mm,
        frame.grade,
        frame.change,
        ((frame.start, frame.stop),),
        (frame.change_span,) if frame.change_span else (),
        frame.measured,
    )


def _order(fact: Fact) -> tuple[object, ...]:
    """The most specific first; ties by content, never by position."""
    said = (
        3 * bool(fact.sizes_mm)
        + 2 * bool(fact.locations)
        + 2 * (len(fact.sides) == 1)
        + bool(fact.sides)
        + (fact.grade is not None)
        + bool(fact.change)
        + fact.sure
    )
    return (
        -said,
        fact.kind,
        sorted(fact.sides),
        sorted(fact.locations),
        [-s for s in fact.sizes_mm],
        fact.grade or 0,
        fact.change,
    )


def compatible(a: str, b: str, lexicon: Lexicon) -> bool:
    """Whether two kinds may be one thing in other words: equal, or of one family with one of them vague."""
    if a == b:
        return True
    first, second = lexicon.kinds[a], lexicon.kinds[b]
    return first.family == second.family and (first.general or second.general)


def places_agree(a: frozenset[str], b: frozenset[str], lexicon: Lexicon) -> bool:
    """Whether two sets of places can mean one: common, nested or overlapping places; an empty set says nothing."""
    if not a or not b:
        return True
    for x in a:
        for y in b:
            if (
                x == y
                or (x in lexicon.sites and y in lexicon.sites[x].lineage)
                or (y in lexicon.sites and x in lexicon.sites[y].lineage)
            ):
                return True
            if y in OVERLAPS.get(x, ()) or x in OVERLAPS.get(y, ()):
                return True
    return False


def same(a: Fact, b: Fact, lexicon: Lexicon, table: Significance) -> bool:
    """Whether two mentions in one report can be the same finding."""
    if not compatible(a.kind, b.kind, lexicon):
        return False
    if a.sides and b.sides and not (a.sides <= b.sides or b.sides <= a.sides):
        return False
    if not places_agree(a.locations, b.locations, lexicon):
        return False
    if a.grade is not None and b.grade is not None and abs(a.grade - b.grade) > 1.5 and not a.sizes_mm:
        return False
    if a.change and b.change and a.change != b.change and {a.change, b.change} != {"new", "increased"}:
        return False
    return not (a.sizes_mm and b.sizes_mm and table.sizes_differ(a.sizes_mm[0], b.sizes_mm[0]))


def _join(a: Fact, b: Fact, lexicon: Lexicon) -> Fact:
    """One fact of two mentions; the more specific kind and whatever either states."""
    kind = b.kind if lexicon.kinds[a.kind].general and not lexicon.kinds[b.kind].general else a.kind
    sides = a.sides if a.sides and (not b.sides or a.sides <= b.sides) else b.sides or a.sides
    if len(a.sides | b.sides) == 2 and not a.sizes_mm and not b.sizes_mm:
        sides = a.sides | b.sides
    locations = a.locations or b.locations
    return replace(
        a,
        kind=kind,
        sure=a.sure or b.sure,
        sides=sides,
        locations=locations,
        sizes_mm=a.sizes_mm or b.sizes_mm,
        grade=a.grade if a.grade is not None else b.grade,
        change=a.change or b.change,
        spans=tuple(sorted({*a.spans, *b.spans})),
        change_spans=tuple(sorted({*a.change_spans, *b.change_spans})),
        measured=a.measured or b.measured,
    )
