"""What the findings of masks say of a finding that somebody else names: present, open, absent, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from radvlm.types.anatomy import ancestry, structure, structures
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status, citable
from radvlm.types.finding_kinds import FindingKind, any_finding_kind, base_kind, sharing, side_of


@dataclass(frozen=True)
class Verdict:
    """What the masks say of a score: present, indeterminate or absent, by which finding, and why in words.

    ``is_exact``: they speak of that very finding, not of a kind that it shares with others.
    """

    status: Status
    finding: Citable
    why: str
    is_exact: bool = True

    @property
    def is_partial(self) -> bool:
        """Whether it was searched for in the imaged part alone."""
        return isinstance(self.finding, Finding) and bool(self.finding.scope)


def masks_say(name: str, site: str, findings: Sequence[Finding]) -> Verdict | None:
    """What findings that are not a model's say of one that a model knows, at a site; None where they are silent."""
    row = any_finding_kind(name)
    measured = _measured(findings)
    side = side_of(site)
    for kind in row.same:
        verdict = _by_kind(kind, row, side, measured)
        if verdict is not None:
            return replace(verdict, is_exact=len(sharing(row.kind)) < 2)
    for kind in row.narrower:
        verdict = _by_kind(kind, row, side, measured)
        if verdict is not None and verdict.status is not Status.ABSENT:
            return verdict
    for kind in row.broader:
        verdict = _by_kind(kind, row, side, measured)
        if verdict is not None:
            return replace(verdict, is_exact=False)
    gone = _organ_not_seen(site, measured)
    if gone is not None:
        return Verdict(Status.ABSENT, gone, f"the masks do not show the {structure(site).words} in the imaged range")
    return None


def _organ_not_seen(site: str, measured: Sequence[Citable]) -> Citable | None:
    """The finding that an organ, or every part of it that was searched for, is not seen; None where any of it is."""
    held = [f for f in measured if site and f.kind == "organ" and f.site and site in ancestry(f.site)]
    if not held or any(f.status is not Status.ABSENT for f in held):
        return None
    return next((f for f in held if f.site == site), held[0])


def masks_show(name: str, site: str, findings: Sequence[Finding]) -> tuple[Citable, ...]:
    """Every finding of masks that is a very one of those that a model knows by that name, at that site."""
    row = any_finding_kind(name)
    if len(sharing(row.kind)) > 1:
        return ()
    measured = _measured(findings)
    return tuple(f for kind in row.same for f in _seen(kind, row, measured) if _is_on(side_of(site), f))


def _measured(findings: Sequence[Finding]) -> list[Citable]:
    """What anything but a model has assessed."""
    return [f for f in citable(findings) if f.source is not Source.MODEL and f.status is not Status.NOT_ASSESSED]


def _seen(kind: str, row: FindingKind, measured: Sequence[Citable]) -> list[Citable]:
    """Findings of a kind that are there, or open."""
    held = (f for f in measured if base_kind(f.kind) == kind and f.status is not Status.ABSENT)
    return [f for f in held if not _denies(f, row)]


def _possible(finding: Citable) -> tuple[str, ...]:
    """Words of every class that a judged number may belong to."""
    return (isinstance(finding, Assessment) and finding.possible) or (finding.category,)


def _denies(finding: Citable, row: FindingKind) -> bool:
    """Whether a finding of the kind is none of this name: an ectatic aorta, or one between not dilated and ectatic."""
    words = _possible(finding)
    if not row.denied_by or row.denied_by not in words:
        return False
    return len(words) == 1 or (len(words) == 2 and finding.status is Status.INDETERMINATE)


def _is_on(side: str, finding: Citable) -> bool:
    return not side or not sides_of(finding) or side in sides_of(finding)


def _by_kind(kind: str, row: FindingKind, side: str, measured: Sequence[Citable]) -> Verdict | None:
    held = [f for f in measured if base_kind(f.kind) == kind]
    if not held:
        return None
    words = structures()[kind].words if kind in structures() else kind.replace("_", " ")
    seen = _seen(kind, row, held)
    here = [f for f in seen if _is_on(side, f)]
    if here:
        best = next((f for f in here if f.status is Status.PRESENT), here[0])
        is_open = row.denied_by != "" and row.denied_by in _possible(best)
        return Verdict(Status.INDETERMINATE if is_open else best.status, best, f"the masks show {words}")
    none = [f for f in held if f not in seen]
    without_side = next((f for f in none if not sides_of(f)), None)
    if without_side is not None:
        if without_side.status is not Status.ABSENT:
            return Verdict(Status.ABSENT, without_side, f"it was measured and is {without_side.category}")
        return Verdict(Status.ABSENT, without_side, _searched(words, without_side))
    sides = {s: f for f in none for s in sides_of(f)}
    if side in sides:
        return Verdict(Status.ABSENT, sides[side], _searched(words, sides[side]))
    if not side and {"left", "right"} <= set(sides):
        return Verdict(Status.ABSENT, sides["left"], _searched(words, sides["left"]))
    elsewhere = next((f for f in seen if kind in structures() and f.kind == kind), None)  # one mask for both sides
    if elsewhere is not None:
        return Verdict(Status.ABSENT, elsewhere, f"the masks show {words} on the other side only")
    return None


def _searched(words: str, finding: Citable) -> str:
    if finding.rule is not None:
        return f"it was measured and is {finding.category}"
    return f"the masks searched for {words} and found none"


def sides_of(finding: Citable) -> set[str]:
    """Left, right, both or neither, by all structures that a finding names."""
    locations = finding.locations if isinstance(finding, Finding) else ()
    names = {finding.site, *locations, *(r.structure for r in finding.regions)}
    if finding.kind in structures():
        names.add(finding.kind)
    return {structure(n).side for n in names - {""}} - {""}
