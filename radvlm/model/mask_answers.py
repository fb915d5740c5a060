"""What masks answer by themselves: whether something is there, which side, where, how many and how large.

Text and status come from typed findings and their measurements, so an answer cannot contradict what a report of the
same masks says. What they leave open is left to the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from radvlm.model.questions import VERDICTS, Asked
from radvlm.types.finding import Citable, Finding, Status, citable
from radvlm.types.mask_verdict import Verdict, masks_say, masks_show, sides_of
from radvlm.types.model_output import Answer, FindingScore
from radvlm.wording.fact_lines import facts_by_section, measured_rows, place_words
from radvlm.wording.sentences import capital

#: Lines of one section that an answer cites.
MOST_LINES = 4
_SIDES = {"left", "right"}


def answer_of_masks(
    question: str, asked: Asked, about: Sequence[FindingScore], findings: Sequence[Finding]
) -> Answer | None:
    """The answer that findings of masks settle, with the reason as its evidence; None where they leave it open.

    Args:
        about: the scores of what is asked, for their findings and sites alone.
    """
    if asked.kind == "measure":
        return _sizes(question, findings)
    told = told_by_findings(about, findings)
    if told is None:
        return None
    denied = told.status is Status.ABSENT
    if asked.kind in VERDICTS:
        text = VERDICTS[asked.kind][denied]
    elif denied:
        text = "0" if _asks_a_number(question) else f"No {about[0].words}" if asked.kind != "organ" else "None"
    else:
        text = _property(question, asked, about, findings)
    return _answer(text, told.status, told.why, told.finding) if text else None


def told_by_findings(about: Sequence[FindingScore], findings: Sequence[Finding]) -> Verdict | None:
    """What findings of masks say of those that a question asks for: one is there, one is open, or none is.

    None where the masks leave it open: what is absent in the imaged part alone, or what they show under a wider name,
    says nothing of it.
    """
    verdicts = [masks_say(score.finding, score.site, findings) for score in about]
    for status in (Status.PRESENT, Status.INDETERMINATE):
        for verdict in verdicts:
            if verdict is not None and verdict.status is status and verdict.is_exact:
                return verdict
    denied = [v for v in verdicts if v is not None and v.status is Status.ABSENT and not v.is_partial]
    return denied[0] if denied and len(denied) == len(verdicts) else None


def cited_lines(findings: Sequence[Finding], sections: frozenset[str] | None = None) -> list[str]:
    """The first lines of facts of some sections, or of all, as evidence of an answer."""
    told = facts_by_section(citable(findings))
    held = [text for section, text in told.items() if sections is None or section in sections]
    return [f"masks: {line}" for text in held for line in text.splitlines()[:MOST_LINES]]


def _property(question: str, asked: Asked, about: Sequence[FindingScore], findings: Sequence[Finding]) -> str:
    """Side, place, number or organ of what the masks show; "" where they do not say."""
    shown = {f.id: f for s in about for f in masks_show(s.finding, s.site, findings)}.values()
    if asked.kind == "count":
        return str(len(shown)) if _asks_a_number(question) else "One" if len(shown) == 1 else "More than one"
    if asked.kind == "side":
        sides = {side for f in shown for side in sides_of(f)}
        return "Both sides" if len(sides) == 2 else "".join(sides).capitalize()
    if asked.kind == "location":
        return capital(" and ".join(dict.fromkeys(place_words(f) for f in shown if isinstance(f, Finding))))
    held = (asked.answers[s.finding] for s in about if masks_show(s.finding, s.site, findings))
    return ", ".join(dict.fromkeys(held))


def _sizes(question: str, findings: Sequence[Finding]) -> Answer | None:
    """All that was measured of what a question names: each word of its name is asked, a side only where one is."""
    asked = _stems(question)
    unasked = set() if asked & _SIDES else _SIDES
    rows = {row: finding for finding in findings for row in measured_rows(finding)}
    named = {row: finding for row, finding in rows.items() if _stems(row[0]) - unasked <= asked}
    if not named:
        return None
    text = "; ".join(f"{capital(name)}: {', '.join(said)}" for name, *said in named)
    return _answer(text, Status.PRESENT, "measured in the masks", next(iter(named.values())))


def _answer(text: str, status: Status, why: str, finding: Citable) -> Answer:
    region = None if status is Status.ABSENT else next(iter(finding.regions), None)
    return Answer(text, 0.5 if status is Status.INDETERMINATE else 1.0, status, region, (why,))


def _asks_a_number(question: str) -> bool:
    return "how many" in question.lower()


def _stems(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z0-9-]+", text.lower())}
