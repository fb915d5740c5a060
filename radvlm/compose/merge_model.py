"""A model's scores beside the findings of the masks: who wins, who agrees, what only the model saw.

Masks always win. What they establish the model does not repeat; what they searched for and did not find it
may not say, and the disagreement is kept in words. Only where the masks are silent does a score become a finding, with
source ``model`` and its probability, and never with a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from radvlm.types.anatomy import structure, structures
from radvlm.types.finding import Citable, Finding, Source, Status, citable
from radvlm.types.finding_kinds import (
    ModelFinding,
    base_kind,
    is_sayable,
    model_finding,
    sharing,
    side_of,
    sided_kind,
    vocabulary_name,
)
from radvlm.types.model_output import MODEL_REGION, FindingScore, ModelOutput
from radvlm.types.region import Region


@dataclass(frozen=True)
class Verdict:
    """What the masks say of a score: present, indeterminate or absent, by which finding, and why in words.

    ``is_exact``: they speak of that very finding, not of a kind that it shares with others.
    """

    status: Status
    finding: Citable
    why: str
    is_exact: bool = True


@dataclass(frozen=True)
class Reconciled:
    """``findings`` are those of the masks, then the model's; the rest are sentences for provenance and page."""

    findings: tuple[Finding, ...]
    agreements: tuple[str, ...]
    disagreements: tuple[str, ...]
    left_out: tuple[str, ...]


def reconcile(findings: Sequence[Finding], model_output: ModelOutput, unseen: Iterable[str] = ()) -> Reconciled:
    """Findings of masks and model together.

    Args:
        findings: of the masks, as ``radvlm.interpret.interpret`` returns them.
        unseen: structures that the model looked for and did not find in this scan; what lies in them is then
            not assessed instead of absent.
    """
    missing = frozenset(unseen)
    found, agreements, disagreements, left_out = list(findings), [], [], []
    for score in model_output.scores:
        if not is_sayable(score.words):
            left_out.append(f"{score.words!r} cannot be said in a sentence of a report")
            continue
        verdict = masks_say(score, findings)
        if verdict is None:
            found.append(as_finding(score, f"F{len(found) + 1}", score.site in missing))
            continue
        text = f"{named(score)} (probability {score.probability:.2f})"
        if score.status is Status.PRESENT and verdict.status is Status.ABSENT:
            disagreements.append(f"The model saw {text}; {verdict.why}.")
        elif score.status is Status.ABSENT and verdict.status is Status.PRESENT and verdict.is_exact:
            disagreements.append(f"The model did not see {text}; {verdict.why}.")
        elif score.status is verdict.status is Status.PRESENT:
            agreements.append(f"The model also saw {text}.")
    return Reconciled(_renumbered(found), tuple(agreements), tuple(disagreements), tuple(left_out))


def named(score: FindingScore) -> str:
    """``hepatic cyst``, ``left renal cyst``, ``consolidation in the left lung``."""
    side = side_of(score.site)
    if side and score.section == "lungs":
        return f"{score.words} in the {structure(score.site).words}"
    return f"{side} {score.words}".strip()


def as_finding(score: FindingScore, number: str, is_unseen: bool = False) -> Finding:
    """The finding of a score that the masks say nothing of."""
    row = model_finding(score.finding)
    status, reason = score.status, ""
    if is_unseen and status is not Status.PRESENT:
        status, reason = Status.NOT_ASSESSED, "the model does not see the organ in this scan"
    elif status is Status.INDETERMINATE:
        reason = f"probability {score.probability:.2f} lies between the model's thresholds for absent and present"
    regions: tuple[Region, ...] = ()
    if score.region is not None and status in (Status.PRESENT, Status.INDETERMINATE):
        own = score.region.id.removeprefix(MODEL_REGION)
        regions = (replace(score.region, id=f"{MODEL_REGION}{own}"),)
    return Finding(
        number,
        sided_kind(row.kind, side_of(score.site)),
        status,
        score.site,
        score.section,
        regions,
        locations=score.locations if status is not Status.ABSENT else (),
        category=score.words,
        reason=reason,
        source=Source.MODEL,
        confidence=score.probability,
        importance=row.importance if status is Status.PRESENT else 0,
        model_term=score.finding,
        grounding=score.grounding if regions else "not localized",
    )


def _renumbered(found: list[Finding]) -> tuple[Finding, ...]:
    """Ids of the model's findings are new, whatever ids the others have."""
    taken = {f.id for f in citable(found) if f.source is not Source.MODEL}
    out, number = [], 0
    for finding in found:
        if finding.source is Source.MODEL:
            number += 1
            while f"M{number}" in taken:
                number += 1
            finding = replace(finding, id=f"M{number}")
        out.append(finding)
    return tuple(out)


def masks_say(score: FindingScore, findings: Sequence[Finding]) -> Verdict | None:
    """What findings that are not a model's say of the score; None where they are silent."""
    return _say(model_finding(score.finding), score.site, findings)


def conflicts(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Findings of a model that the masks have settled: there may be none in a report."""
    settled = []
    for finding in findings:
        if finding.source is Source.MODEL and finding.status is not Status.NOT_ASSESSED:
            verdict = _say(model_finding(vocabulary_name(finding)), finding.site, findings)
            if verdict is not None:
                settled.append(f"{finding.id} ({finding.kind}): {verdict.why}")
    return tuple(settled)


def would_deny(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Whether "no <words>" of an absent finding would deny something that is there, or open, as well."""
    side = side_of(finding.site)
    for name in model_finding(vocabulary_name(finding)).words_deny:
        same = set(model_finding(name).same)
        for other in citable(findings):
            if other.status not in (Status.PRESENT, Status.INDETERMINATE):
                continue
            named_so = vocabulary_name(other) == name if other.source is Source.MODEL else base_kind(other.kind) in same
            if named_so and (not side or not _sides(other) or side in _sides(other)):
                return True
    return False


def _say(row: ModelFinding, site: str, findings: Sequence[Finding]) -> Verdict | None:
    measured = [f for f in citable(findings) if f.source is not Source.MODEL and f.status is not Status.NOT_ASSESSED]
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
    for finding in measured:
        if finding.kind == "organ" and finding.status is Status.ABSENT and site and finding.site == site:
            words = structure(site).words
            return Verdict(Status.ABSENT, finding, f"the masks do not show the {words} in the imaged range")
    return None


def _by_kind(kind: str, row: ModelFinding, side: str, measured: Sequence[Citable]) -> Verdict | None:
    held = [f for f in measured if base_kind(f.kind) == kind]
    if not held:
        return None
    words = structures()[kind].words if kind in structures() else kind.replace("_", " ")
    denying = {row.denied_by} - {""}
    seen = [f for f in held if f.status is not Status.ABSENT and f.category not in denying]
    here = [f for f in seen if not side or not _sides(f) or side in _sides(f)]
    if here:
        best = next((f for f in here if f.status is Status.PRESENT), here[0])
        return Verdict(best.status, best, f"the masks show {words}")
    none = [f for f in held if f not in seen]
    without_side = next((f for f in none if not _sides(f)), None)
    if without_side is not None:
        if without_side.status is not Status.ABSENT:
            return Verdict(Status.ABSENT, without_side, f"it was measured and is {without_side.category}")
        return Verdict(Status.ABSENT, without_side, _searched(words, without_side))
    sides = {s: f for f in none for s in _sides(f)}
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


def _sides(finding: Citable) -> set[str]:
    locations = finding.locations if isinstance(finding, Finding) else ()
    names = {finding.site, *locations, *(r.structure for r in finding.regions)}
    if finding.kind in structures():
        names.add(finding.kind)
    return {structure(n).side for n in names - {""}} - {""}
