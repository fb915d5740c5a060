"""Findings to a verified Report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from radvlm.compose.impression import impression
from radvlm.compose.template import template_sentences
from radvlm.compose.verify.sentence import verify_report
from radvlm.compose.verify.whole_report import settled
from radvlm.types.finding import Assessment, Finding, Status
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import NOT_INTERPRETED
from radvlm.types.study import Study
from radvlm.wording.spelling import to_uk
from radvlm.wording.style import Style


def compose_report(
    findings: Sequence[Finding],
    *,
    style: Style | None = None,
    examination: Sequence[tuple[str, str]] = (),
    provenance: Mapping[str, Any] | None = None,
    study: Study | None = None,
) -> Report:
    """The report of these findings, every sentence of it verified.

    Args:
        findings: what ``radvlm.interpret.interpret`` returns.
        style: wording; the default is full, US spelling.
        examination: (label, text) lines of the head. Where it is empty they are taken from ``study``. Doubts that
            the findings carry (misplaced masks that were accepted, values that are no HU) are added where none are.
        provenance: JSON-ready facts to be stored in the report.

    What two statements contradict is withdrawn where it is less certain, listed as not assessed, and told in the head.

    Raises VerificationError when a sentence is not true to the findings it cites, or a present finding is unsaid.
    """
    style = Style() if style is None else style
    sentences = sentences_of(findings, style)
    if style.spelling == "uk":
        sentences = in_uk(sentences)
    head = with_doubts(tuple(examination) or examination_of(study), findings)
    return settled_report(Report(tuple(findings), tuple(sentences), head, (), dict(provenance or {})))


def settled_report(report: Report) -> Report:
    """The report without what its own statements contradict, told in its head and warnings, and verified."""
    kept, sentences, withdrawn = settled(report.findings, report.sentences)
    told, head = report.provenance, report.examination
    if withdrawn:
        told = {**told, "warnings": [*told.get("warnings", ()), *withdrawn]}
        head = (*head, *(("Caution", what) for what in withdrawn))
    report = replace(report, findings=kept, sentences=tuple(sentences), examination=head, provenance=told)
    verify_report(report)
    return report


def sentences_of(findings: Sequence[Finding], style: Style | None = None) -> list[Sentence]:
    """The sentences of the template about findings, section by section, then the impression; US spelling."""
    style = style or Style()
    return _with_organs([*template_sentences(findings, style), *impression(findings, style)], findings)


def _with_organs(sentences: Sequence[Sentence], findings: Sequence[Finding]) -> list[Sentence]:
    """The sentences; one on a judgement also cites the organs that were measured for it, where it has no region.

    "The aorta is not dilated" denies something and points at the aorta all the same; a difference of two organs points
    at both.
    """
    organs = {f.site: f for f in findings if f.kind == "organ" and f.regions and f.status is not Status.ABSENT}
    holders = {a.id: f for f in findings for a in f.assessments}
    found = []
    for sentence in sentences:
        more: dict[str, Finding] = {}
        for said in sentence.findings:
            if not isinstance(said, Assessment) or not said.measurements:
                continue
            if not sentence.regions and said.id in holders:
                more[holders[said.id].id] = holders[said.id]
            if said.measurement("difference_hu") is not None and said.reference in organs:
                more[organs[said.reference].id] = organs[said.reference]
        new = tuple(f for n, f in more.items() if n not in sentence.finding_ids)
        found.append(replace(sentence, findings=(*sentence.findings, *new)) if new else sentence)
    return found


def in_uk(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Sentences in UK spelling; findings are the same in every style."""
    return [replace(s, text=to_uk(s.text)) for s in sentences]


def with_doubts(head: tuple[tuple[str, str], ...], findings: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    """The head of a report with the doubts about masks, sizes and HU that findings were made under."""
    told = {label for label, _ in head}
    lines = []
    for finding in findings:
        if finding.kind == "coverage" and finding.reason and "Caution" not in told:
            lines.append(("Caution", finding.reason))
        if (
            finding.kind == "contrast_phase"
            and finding.reason.startswith(NOT_INTERPRETED)
            and "Attenuation" not in told
        ):
            lines.append(("Attenuation", f"{finding.reason.removeprefix('attenuation ')}."))
    return (*head, *lines)


def examination_of(study: Study | None) -> tuple[tuple[str, str], ...]:
    """Lines of the head that the study alone gives."""
    if study is None:
        return ()
    lines = [("Examination", study.description or "CT"), ("Date", study.study_date)]
    return tuple((label, text) for label, text in lines if text)
