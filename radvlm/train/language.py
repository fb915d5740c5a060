"""The text half: a base taught on text alone, then frozen; adapters and evidence tokens taught on scans.

Three kinds of lesson take turns by step: sections from what a detector saw, answers from the same, prose from facts of
masks. All of them teach to follow the words of the prompt (detector first): with evidence tokens alone the loss of
these lessons stayed, in five trials, where it is without a scan. What was seen is here the truth; at inference it is
what the calibrated encoder calls present and absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radvlm.dataset.case import Case
from radvlm.dataset.fact_pairs import fact_pairs
from radvlm.dataset.questions import Question, balanced, questions
from radvlm.dataset.sentences import TINY_SECTIONS, Statement, may_deny, report_text, statements
from radvlm.model.decoder.causal_lm import Decoder
from radvlm.model.decoder.prompts import question_prompt, section_prompt, seen_text
from radvlm.model.tiny.writer import ReportWriter
from radvlm.train.draws import generator
from radvlm.types.anatomy import structure
from radvlm.types.finding_kinds import finding_kinds

#: Share of lessons in which places are not told, and of denials that are left open: a detector is not always sure.
WITHOUT_PLACES, OPEN = 0.3, 0.15
#: Longest training text in tokens; what is longer is left out.
LONGEST = 220
#: Noise on the evidence of a lesson, as a share of the spread of each entry.
JITTER = 0.05


@dataclass(frozen=True)
class Lesson:
    """Prompt and target; ``case`` is the row of the evidence table, -1 for none."""

    prompt: str
    target: str
    case: int


@dataclass(frozen=True)
class Lessons:
    """Every lesson by kind."""

    sections: tuple[Lesson, ...]
    answers: tuple[Lesson, ...]
    facts: tuple[Lesson, ...]

    def texts(self) -> list[str]:
        return [f"{x.prompt} {x.target}" for kind in (self.sections, self.answers, self.facts) for x in kind]


def make_lessons(cases: Sequence[Case], *, seed: int = 0, fact_cases: int | None = None) -> Lessons:
    """Lessons of all cases; two wordings of each question, balanced so that no answer can be guessed.

    ``fact_cases``: only of so many cases that have a report of their masks; None for all.
    """
    rng = generator(seed, 29)
    sections, answers, facts = [], [], []
    told = 0
    row = {case.name: n for n, case in enumerate(cases)}
    pool: list[Question] = []
    for n, case in enumerate(cases):
        for section in TINY_SECTIONS:
            seen, said = seen_lesson(case, section, rng)
            if said:
                sections.append(Lesson(section_prompt(section, seen), " ".join(s.text for s in said), n))
        for w in range(2):
            pool += questions(case, seed + w, "train")
        if case.report is None or (fact_cases is not None and told >= fact_cases):
            continue
        told += 1
        for unit in ("section", "sentence"):
            facts += [Lesson(section_prompt(p.section, p.facts), p.text, n) for p in fact_pairs(case, unit) if p.facts]
    whole = [seen_whole(case) for case in cases]
    answers = [Lesson(question_prompt(q.text, whole[row[q.case]]), q.answer, row[q.case]) for q in balanced(pool, seed)]
    return Lessons(tuple(sections), tuple(answers), tuple(facts))


def seen_lesson(case: Case, section: str, rng: np.random.Generator) -> tuple[str, tuple[Statement, ...]]:
    """What a detector with the truth would see in a section, some of it left open, and the sentences that say it."""
    places = rng.random() >= WITHOUT_PLACES
    absent = [k.name for k in finding_kinds().values() if k.section == section and may_deny(case, k.name)]
    if rng.random() < 0.5:
        absent = [name for name in absent if rng.random() >= OPEN]
    said = tuple(s for s in statements(case, section, places=places) if s.present or set(s.findings) <= set(absent))
    return seen_of_statements(said, absent), said


def seen_of_statements(said: Sequence[Statement], absent: Sequence[str]) -> str:
    """The prompt's lines for sentences that hold, and findings (keys) that were ruled out."""
    terms = finding_kinds()
    return seen_text(
        [(terms[s.findings[0]].words, [structure(p).words for p in s.sites]) for s in said if s.present],
        [terms[name].words for name in absent],
    )


def seen_whole(case: Case) -> str:
    """What a detector with the truth would see in the whole scan, without what it rules out: for questions."""
    return seen_of_statements([s for section in TINY_SECTIONS for s in statements(case, section) if s.present], ())


def plain_texts(cases: Sequence[Case], lessons: Lessons) -> list[str]:
    """Text for the base: reports in both styles, line by line, and every lesson without its image."""
    lines = [
        line
        for case in cases
        for n, style in enumerate(("plain", "varied"))
        for line in report_text(case, n, style).splitlines()
    ]
    return [*lines, *lessons.texts()]


class BaseBatches:
    """Next-token loss on plain text at a step."""

    def __init__(self, decoder: Decoder, texts: Sequence[str], *, batch: int, seed: int) -> None:
        self.decoder, self.batch, self.seed = decoder, batch, seed
        self.texts = [t for t in texts if len(t) < 4 * LONGEST]

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = generator(self.seed, step)
        pool = rng.integers(0, len(self.texts), 8 * self.batch)
        # texts of like length share a batch: less padding
        ordered = sorted(pool, key=lambda n: len(self.texts[n]))
        start = int(rng.integers(0, 8)) * self.batch
        rows = [self.texts[n] for n in ordered[start : start + self.batch]]
        return {"loss": self.decoder.loss(None, self.decoder.text_batch(None, rows))}


class InstructBatches:
    """Loss of the writer at a step; kinds take turns."""

    def __init__(
        self, writer: ReportWriter, lessons: Lessons, tables: Tensor, logits: Tensor, *, batch: int, seed: int
    ) -> None:
        self.writer, self.tables, self.logits = writer, tables, logits
        self.batch, self.seed = batch, seed
        self.turns = [
            ("sections", lessons.sections),
            ("answers", lessons.answers),
            ("sections", lessons.sections),
            ("answers", lessons.answers),
            ("facts", lessons.facts),
        ]
        self.turns = [(name, held) for name, held in self.turns if held]
        # the rare lessons, in which something is there, come as often as the common ones
        self.weights = {}
        for name, held in dict(self.turns).items():
            weight = np.array([1.0 if name != "sections" or says_something(x.target) else 0.25 for x in held])
            self.weights[name] = weight / weight.sum()

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = generator(self.seed, step)
        name, held = self.turns[step % len(self.turns)]
        size = self.batch if name != "facts" else max(4, self.batch // 4)
        picked = [held[n] for n in rng.choice(len(held), 4 * size, p=self.weights[name])]
        picked.sort(key=lambda x: len(x.prompt) + len(x.target))
        start = int(rng.integers(0, 4)) * size
        rows = [x for x in picked[start : start + size] if len(x.prompt) + len(x.target) < 5 * LONGEST] or picked[:size]
        loss = lesson_loss(self.writer, rows, self.tables, self.logits)
        return {"loss": loss, name: loss}


def lesson_loss(writer: ReportWriter, lessons: Sequence[Lesson], tables: Tensor, logits: Tensor) -> Tensor:
    """Mean loss of some lessons; every entry of their scans' evidence is moved by ``JITTER`` times its spread."""
    index = torch.tensor([x.case for x in lessons])
    table = tables[index]
    table = table + JITTER * writer.tokens.spread[None, :, :-1] * torch.randn_like(table)
    batch = writer.decoder.text_batch([x.prompt for x in lessons], [f" {x.target}" for x in lessons])
    return writer(table, logits[index], batch)


def says_something(text: str) -> bool:
    """False for a section in which everything is absent or normal."""
    return any(not s.strip().lower().startswith(("no ", "the ")) for s in text.split(".") if s.strip())
