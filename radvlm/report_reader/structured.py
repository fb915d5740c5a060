"""Frames of a structured radvlm Report: its findings as they are, with measured sizes, no parsing of its text."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from radvlm.report_reader.frame import Frame, Reading
from radvlm.report_reader.lexicon import Lexicon
from radvlm.types.anatomy import structures
from radvlm.types.finding import Citable, Finding, Status

if TYPE_CHECKING:
    from radvlm.types.report import Report

_STATUS = {Status.PRESENT: "present", Status.ABSENT: "absent", Status.INDETERMINATE: "uncertain"}
_SIZES = ("long_axis", "short_axis")
_ALONE = ("diameter", "diameter_3d")
#: What follows the class of a value near a limit; older reports said "but possibly".
_DOUBT = re.compile(r", (?:but possibly|at or near the limits?) ")
_POLES = {
    "upper": "kidney_upper_pole",
    "lower": "kidney_lower_pole",
    "interpolar": "kidney_mid",
    "mid": "kidney_mid",
    "middle": "kidney_mid",
}


def report_frames(report: Report, text: str, lexicon: Lexicon) -> Reading:
    """Frames of the findings; ``text`` is what the report was turned into, for spans of the citing sentences."""
    places = _places(lexicon.digest, lexicon)
    spans = _spans(report, text)
    frames = []
    for finding in report.citable:
        kind = _kind(finding, lexicon)
        status = _told_status(finding)
        if kind is None or status is None:
            continue
        frames.append(_frame(finding, kind, status, places, spans.get(finding.id, (0, 0)), lexicon))
    return Reading(tuple(frames), frozenset())


def _kind(finding: Citable, lexicon: Lexicon) -> str | None:
    """The lexicon's kind of a finding; None for facts about the scan and whole organs."""
    name = finding.kind.removesuffix("_left").removesuffix("_right")
    kind = lexicon.report_kinds.get(name, name)
    return kind if kind in lexicon.kinds else None


def _told_status(finding: Citable) -> str | None:
    """The status that the words state first: of "not dilated, at or near the limit of 3.0 cm for dilated", absent."""
    own, *doubt = _DOUBT.split(finding.category, maxsplit=1)
    if doubt and finding.status is Status.INDETERMINATE:
        return "absent" if own.startswith(("not ", "no ")) else "present"
    return _STATUS.get(finding.status)


def _frame(
    finding: Citable, kind: str, status: str, places: dict[str, str], span: tuple[int, int], lexicon: Lexicon
) -> Frame:
    sizes = sorted((m.value for q in _SIZES if (m := finding.measurement(q)) is not None), reverse=True)
    if not sizes:
        sizes = [m.value for q in _ALONE if (m := finding.measurement(q)) is not None][:1]
    placed = finding.locations if isinstance(finding, Finding) else ()
    names = [name for name in (finding.site, *placed, *(r.structure for r in finding.regions)) if name]
    sides = {structures()[name].side for name in names} - {""}
    for suffix in ("left", "right"):
        if finding.kind.endswith("_" + suffix):
            sides.add(suffix)
    home = lexicon.kinds[kind].home
    located = {places[name] for name in placed if name in places}
    pole = _POLES.get(finding.pole.split(" ")[0]) if isinstance(finding, Finding) else None
    if pole and home == "kidney":
        located.add(pole)
    locations = frozenset(
        site
        for site in located
        if site in lexicon.sites and (not home or (home in lexicon.sites[site].lineage and site != home))
    )
    return Frame(
        kind,
        status,
        home,
        frozenset(sides),
        locations,
        tuple(sizes),
        start=span[0],
        stop=span[1],
        sentence=span,
        section=finding.section,
        measured=True,
    )


def _spans(report: Report, text: str) -> dict[str, tuple[int, int]]:
    """Finding id -> span of the first sentence that cites it."""
    spans: dict[str, tuple[int, int]] = {}
    for sentence in report.sentences:
        at = text.find(sentence.text)
        if at >= 0:
            for id in sentence.finding_ids:
                spans.setdefault(id, (at, at + len(sentence.text)))
    return spans


@cache
def _places_of(digest: str) -> dict[str, str]:
    return {}


def _places(digest: str, lexicon: Lexicon) -> dict[str, str]:
    """Structure name -> site, the most specific first."""
    found = _places_of(digest)
    if not found:
        for site in sorted(lexicon.sites.values(), key=lambda s: (-len(s.lineage), s.id)):
            for name in site.structures:
                found.setdefault(name, site.id)
    return found
