"""The report that a model helped to write: masks first, what only the model saw marked so, its prose where it is true.

Nothing depends on trusting the model. Every sentence passes ``verify``; a model's finding that the masks have
settled cannot enter; and when its prose still broke the report as a whole, the report is written without any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from radvlm.compose.check_drafts import Judged, place_drafts, split_sentences
from radvlm.compose.merge_model import Reconciled, reconcile
from radvlm.compose.report import examination_of, sentences_of
from radvlm.compose.verify.sentence import verify_report
from radvlm.errors import VerificationError
from radvlm.types.finding import Finding
from radvlm.types.model_output import ModelOutput
from radvlm.types.report import Replacement, Report
from radvlm.types.study import Study
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import to_uk, to_us


def guided_report(
    findings: Sequence[Finding],
    model_output: ModelOutput,
    *,
    style: Style | None = None,
    examination: Sequence[tuple[str, str]] = (),
    provenance: Mapping[str, Any] | None = None,
    study: Study | None = None,
    unseen: Iterable[str] = (),
) -> Report:
    """The report of measured findings and of a model's reading, every sentence of it verified.

    Args:
        findings: what ``radvlm.interpret.interpret`` returns, from masks or thresholds.
        reading: scores and drafts of the model.
        style, examination, provenance, study: as in ``compose_report``.
        unseen: structures that the model looked for and did not find; what lies in them is not assessed.

    ``provenance["model"]`` of the report says what became of everything the model said.

    Raises VerificationError when a sentence is not true to the findings it cites, or a present finding is unsaid.
    """
    style = Style() if style is None else style
    joint = reconcile(findings, model_output, unseen)
    template = sentences_of(joint.findings, style)
    judged = place_drafts(template, model_output.drafts, joint.findings)
    head = tuple(examination) or examination_of(study)
    facts = dict(provenance or {})
    try:
        return _report(joint, judged, model_output, style, head, facts)
    except VerificationError as error:
        why = f"the report as a whole would not hold: {error.rule}"
        unused = [Replacement(text, why, "") for draft in model_output.drafts for text in split_sentences(draft.text)]
        return _report(joint, Judged(template, unused), model_output, style, head, facts)


def _report(
    joint: Reconciled,
    judged: Judged,
    model_output: ModelOutput,
    style: Style,
    head: tuple[tuple[str, str], ...],
    provenance: dict[str, Any],
) -> Report:
    spelled = to_uk if style.spelling == "uk" else to_us
    sentences = [replace(s, text=spelled(s.text)) for s in judged.sentences]
    facts = {**provenance, "model": model_facts(joint, judged, model_output)}
    report = Report(joint.findings, tuple(sentences), head, tuple(judged.replacements), facts)
    verify_report(report)
    return report


def model_facts(joint: Reconciled, judged: Judged, model_output: ModelOutput) -> dict[str, Any]:
    """What a report keeps of the model: who it is, its limits, and what became of what it said; JSON-ready."""
    return {
        "name": model_output.model,
        "sha256": model_output.digest,
        "notice": model_output.notice,
        "thresholds": {name: list(pair) for name, pair in model_output.thresholds.items()},
        "warnings": [w.what for w in model_output.warnings if w.warning],
        "decisions": [asdict(w) for w in model_output.warnings],
        "agreements": list(joint.agreements),
        "disagreements": list(joint.disagreements),
        "left_out": list(joint.left_out),
        "drafts": {
            "accepted": judged.accepted,
            "said_by_template": judged.absorbed,
            "replaced": len(judged.replacements),
        },
    }
