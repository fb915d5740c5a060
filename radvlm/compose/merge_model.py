"""A model's scores beside the findings of the masks: who wins, who agrees, what only the model saw.

Masks always win. What they establish the model does not repeat; what they searched for and did not find it
may not say, and the disagreement is kept in words. Only where the masks are silent does a score become a finding, with
source ``model`` and its probability, and never with a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from radvlm.types.anatomy import ancestry, structure
from radvlm.types.finding import Citable, Finding, Source, Status, citable
from radvlm.types.finding_kinds import any_finding_kind, base_kind, is_sayable, side_of, sided_kind, vocabulary_name
from radvlm.types.mask_verdict import masks_say, sides_of
from radvlm.types.model_output import DENIES_NOTHING, MODEL_REGION, OUTSIDE_ITS_DOMAIN, FindingScore, ModelOutput
from radvlm.types.region import Region

#: Section of what a model says of a scan that is unlike those of its training.
OUTSIDE_DOMAIN = "outside_domain"
NOT_SHOWN = "nothing shows the organ in this scan"
NOT_SEEN = "the model does not see the organ, which the masks show"


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
    missing, outside, denied = frozenset(unseen), bool(model_output.outside_domain), 0
    found, agreements, disagreements, left_out = list(findings), [], [], []
    for score in model_output.scores:
        if not is_sayable(score.words):
            left_out.append(f"{score.words!r} cannot be said in a sentence of a report")
            continue
        verdict = masks_say(score.finding, score.site, findings)
        if verdict is None:
            reason = "" if score.site not in missing else NOT_SEEN if _shown(score.site, findings) else NOT_SHOWN
            if outside and (score.status is Status.ABSENT or (reason and score.status is not Status.PRESENT)):
                denied += 1  # nobody asks what it missed of a scan that it does not know
                continue
            found.append(as_finding(score, f"F{len(found) + 1}", reason, outside))
            continue
        text = f"{named(score)} (probability {score.probability:.2f})"
        if score.status is Status.INDETERMINATE and verdict.status is Status.ABSENT:
            left_out.append(f"possible {text}: {verdict.why}")
        elif score.status is Status.PRESENT and verdict.status is Status.ABSENT:
            disagreements.append(f"The model saw {text}; {verdict.why}.")
        elif score.status is Status.ABSENT and verdict.status is Status.PRESENT and verdict.is_exact:
            disagreements.append(f"The model did not see {text}; {verdict.why}.")
        elif score.status is verdict.status is Status.PRESENT:
            agreements.append(f"The model also saw {text}.")
    if denied:
        left_out.append(f"{denied} finding{'' if denied == 1 else 's'} that the model did not see: {DENIES_NOTHING}")
    return Reconciled(_renumbered(found), tuple(agreements), tuple(disagreements), tuple(left_out))


def named(score: FindingScore) -> str:
    """``hepatic cyst``, ``left renal cyst``, ``consolidation in the left lung``."""
    side = side_of(score.site)
    if side and score.section == "lungs":
        return f"{score.words} in the {structure(score.site).words}"
    return f"{side} {score.words}".strip()


def _shown(site: str, findings: Sequence[Finding]) -> bool:
    """Whether measured findings show an organ or a part of it."""
    return any(
        site in ancestry(region.structure) for f in findings if f.source is not Source.MODEL for region in f.regions
    )


def as_finding(score: FindingScore, number: str, unseen: str = "", is_outside: bool = False) -> Finding:
    """The finding of a score that the masks say nothing of; outside the model's domain it is not assessed.

    ``unseen``: why what is not there cannot be denied. ``is_outside``: the scan is unlike those of the training.
    """
    row = any_finding_kind(score.finding)
    status, reason = score.status, ""
    if is_outside:
        status, reason = Status.NOT_ASSESSED, f"the model is {OUTSIDE_ITS_DOMAIN}"
    elif unseen and status is not Status.PRESENT:
        status, reason = Status.NOT_ASSESSED, unseen
    elif status is Status.INDETERMINATE:
        reason = f"probability {score.probability:.2f} lies between the model's thresholds for absent and present"
    regions: tuple[Region, ...] = ()
    if score.region is not None and (is_outside or status in (Status.PRESENT, Status.INDETERMINATE)):
        own = score.region.id.removeprefix(MODEL_REGION)
        regions = (replace(score.region, id=f"{MODEL_REGION}{own}"),)
    return Finding(
        number,
        sided_kind(row.kind, side_of(score.site)),
        status,
        score.site,
        OUTSIDE_DOMAIN if is_outside else score.section,
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


def is_withheld(finding: Citable) -> bool:
    """Whether a finding is what a model says of a scan unlike those of its training: told with its probability, and
    not assessed."""
    return (
        finding.source is Source.MODEL and finding.section == OUTSIDE_DOMAIN and finding.status is Status.NOT_ASSESSED
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


def conflicts(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Findings of a model that the masks have settled: there may be none in a report."""
    settled = []
    for finding in findings:
        if finding.source is Source.MODEL and finding.status is not Status.NOT_ASSESSED:
            verdict = masks_say(vocabulary_name(finding), finding.site, findings)
            if verdict is not None:
                settled.append(f"{finding.id} ({finding.kind}): {verdict.why}")
    return tuple(settled)


def would_deny(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Whether "no <words>" of an absent finding would deny something that is there, or open, as well."""
    side = side_of(finding.site)
    for name in any_finding_kind(vocabulary_name(finding)).words_deny:
        same = set(any_finding_kind(name).same)
        for other in citable(findings):
            if other.status not in (Status.PRESENT, Status.INDETERMINATE):
                continue
            named_so = vocabulary_name(other) == name if other.source is Source.MODEL else base_kind(other.kind) in same
            if named_so and (not side or not sides_of(other) or side in sides_of(other)):
                return True
    return False
