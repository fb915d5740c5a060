"""The report that a model helped to write: masks first, what only the model saw marked so, its prose where it is true.

Nothing depends on trusting the model. Every sentence passes ``verify``; a model's finding that the masks have
settled cannot enter; and when its prose still broke the report as a whole, the report is written without any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from radvlm.compose.check_drafts import MOST, Judged, place_drafts
from radvlm.compose.merge_model import Reconciled, reconcile
from radvlm.compose.report import examination_of, in_uk, sentences_of, settled_report
from radvlm.compose.verify.whole_report import contradictions
from radvlm.errors import VerificationError
from radvlm.types.finding import Finding
from radvlm.types.model_output import Draft, ModelOutput
from radvlm.types.model_record import DraftCounts, ModelRecord
from radvlm.types.report import Replacement, Report, Sentence
from radvlm.types.study import Study
from radvlm.wording.sentences import split_sentences
from radvlm.wording.spelling import to_us
from radvlm.wording.style import Style


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

    ``Report.model`` says what became of everything the model said.

    Raises VerificationError when a sentence is not true to the findings it cites, or a present finding is unsaid.
    """
    style = Style() if style is None else style
    joint = reconcile(findings, model_output, unseen)
    template = sentences_of(joint.findings, style)
    judged = _placed(template, model_output.drafts, joint.findings)
    head = tuple(examination) or examination_of(study)
    told = dict(provenance or {})
    try:
        return _report(joint, judged, model_output, style, head, told)
    except VerificationError as error:
        why = f"the report as a whole would not hold: {error.rule}"
        unused = [Replacement(text, why, "") for draft in model_output.drafts for text in split_sentences(draft.text)]
        return _report(joint, Judged(template, unused), model_output, style, head, told)


def _placed(template: Sequence[Sentence], drafts: Sequence[Draft], findings: Sequence[Finding]) -> Judged:
    """Drafts in their places, without those that contradict a sentence of the template or one another.

    Each sentence of a draft was true to what it cites; that does not keep two of them from saying different things.
    """
    refused: list[Replacement] = []
    for _ in range(MOST):
        judged = place_drafts(template, drafts, findings)
        drafted = [s for s in judged.sentences if s not in template]
        found = [c for c in contradictions((), judged.sentences, drafted) if c.sentence in drafted]
        if not found:
            return replace(judged, replacements=[*judged.replacements, *refused])
        wrong = {t: found[0].what for d in drafts for t in split_sentences(d.text) if _is_of(found[0].sentence, t)}
        refused += [Replacement(text, f"contradicted: {what}", "") for text, what in wrong.items()]
        if not wrong:
            break
        drafts = [replace(d, text=" ".join(t for t in split_sentences(d.text) if t not in wrong)) for d in drafts]
    unused = [Replacement(t, "the drafts contradicted each other", "") for d in drafts for t in split_sentences(d.text)]
    return Judged(list(template), [*unused, *refused])


def _is_of(sentence: Sentence | None, text: str) -> bool:
    """Whether a sentence is that of a draft, perhaps with words on who saw it after it."""
    return sentence is not None and sentence.text.startswith(text.rstrip(" ."))


def _report(
    joint: Reconciled,
    judged: Judged,
    model_output: ModelOutput,
    style: Style,
    head: tuple[tuple[str, str], ...],
    provenance: dict[str, Any],
) -> Report:
    findings, sentences = joint.findings, [replace(s, text=to_us(s.text)) for s in judged.sentences]
    if style.spelling == "uk":
        sentences = in_uk(sentences)
    record = model_record(joint, judged, model_output)
    return settled_report(Report(findings, tuple(sentences), head, tuple(judged.replacements), provenance, record))


def model_record(joint: Reconciled, judged: Judged, model_output: ModelOutput) -> ModelRecord:
    """What a report keeps of the model: who it is, its limits, and what became of what it said."""
    return ModelRecord(
        model_output.model,
        model_output.digest,
        model_output.notice,
        dict(model_output.thresholds),
        model_output.warnings,
        tuple(joint.agreements),
        tuple(joint.disagreements),
        tuple(joint.left_out),
        DraftCounts(judged.accepted, judged.absorbed, len(judged.replacements)),
        model_output.outside_domain,
    )
