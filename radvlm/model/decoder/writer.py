"""The writing half of ``tiny``: evidence tokens in front of a decoder, and the prompts it was taught.

Unusual: a class of the evidence table is a token, so the decoder reads "what, how sure, how large, how dense, where"
and never a patch of pixels. The finding logits of the reader are one more column, so that prose and probabilities
have one origin.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from radvlm.model.decoder.causal_lm import Decoder, TextBatch
from radvlm.model.decoder.fusion import EvidenceConfig, EvidenceTokens
from radvlm.model.tiny.encoder import EvidenceReader

#: Markers of the prompts, one token each.
REPORT, FACTS, QUESTION, ANSWER = "<report>", "<facts>", "<question>", "<answer>"
MARKERS = (REPORT, FACTS, QUESTION, ANSWER)


def section_prompt(section: str, seen: str = "") -> str:
    """Prompt for one section from the images alone, after what the model itself sees there (``seen_text``)."""
    return _after(seen, f"{REPORT} {section.replace('_', ' ')}:")


def facts_prompt(section: str, facts: str) -> str:
    """Prompt for one section from structured findings."""
    return section_prompt(section, facts)


def question_prompt(question: str, seen: str = "") -> str:
    return _after(seen, f"{QUESTION} {question.strip()} {ANSWER}")


def _after(told: str, prompt: str) -> str:
    return f"{FACTS} {told}\n{prompt}" if told else prompt


def seen_text(seen: Sequence[tuple[str, Sequence[str]]], absent: Sequence[str] = ()) -> str:
    """What a detector found, as lines of a prompt.

        seen: hepatic cyst | segment VII
        not seen: liver metastasis, gallstone

    Unusual: evidence tokens alone never taught the small decoder what is there, however long it was trained; words did
    at once. So the findings of its own encoder come to it as words.
    """
    lines = [f"seen: {' | '.join((words, *places))}" for words, places in seen] or ["seen: nothing"]
    return "\n".join([*lines, *([f"not seen: {', '.join(absent)}"] if absent else [])])


class ReportWriter(nn.Module):
    """Evidence tables (B, classes, columns) and prompts to text."""

    def __init__(self, decoder: Decoder, config: EvidenceConfig) -> None:
        super().__init__()
        self.tokens = EvidenceTokens.from_config(config)
        self.decoder = decoder

    def prefix(self, table: Tensor, logits: Tensor) -> Tensor:
        """Evidence (B, classes, columns) and finding logits (B, F) -> prefix (B, classes, width)."""
        return self.tokens(with_logits(table, logits)).to(self.decoder.dtype)

    def forward(self, table: Tensor | None, logits: Tensor | None, batch: TextBatch) -> Tensor:
        prefix = None if table is None or logits is None else self.prefix(table, logits)
        return self.decoder.loss(prefix, batch)


def with_logits(table: Tensor, logits: Tensor) -> Tensor:
    """The table with one more column: the reader's logit of a finding, 0 in the rows of anatomy."""
    column = torch.cat([logits.new_zeros(len(logits), table.shape[1] - logits.shape[1]), logits], dim=1)
    return torch.cat([table, column[:, :, None]], dim=2)


@torch.no_grad()
def logits_of(reader: EvidenceReader, tables: Tensor) -> Tensor:
    """Finding logits (N, F) of kept tables."""
    reader.eval()
    return reader(tables)[0]


def best_answers(
    writer: ReportWriter, prefix: Tensor, question: str, choices: Sequence[str], seen: str = ""
) -> list[tuple[str, float]]:
    """Choices with their probability among the choices, the most probable first.

    A choice is scored with the space before it that every target of the training has; without it, it is other tokens.
    """
    scored = writer.decoder.score_choices(prefix, question_prompt(question, seen), [f" {choice}" for choice in choices])
    values = torch.tensor([c.log_probability for c in scored]).softmax(0).tolist()
    return sorted(zip(choices, values, strict=True), key=lambda pair: -pair[1])
