"""Lessons and preference pairs for a decoder that is shown prior texts: what to take from them, and what never.

A hint may lend its wording and nothing else. So "retrieval was needed" is here a question of words (the truth in the
wording of the hint's site, against the truth in other words), and "retrieval misled" one of findings (the truth,
against what the hint says). A wrong image is that of a *wrong patient*, never noise (MMed-RAG's code): noise is told
from a scan without looking at any organ. Counterfactuals change one finding, of the hint or of the scan's own evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radvlm.dataset.case import Case
from radvlm.dataset.sentences import TINY_SECTIONS, Statement, plain_absent_words, statements, wording
from radvlm.errors import InputError
from radvlm.model.decoder.prior_text import MOST_HINTS, hinted_prompt
from radvlm.model.decoder.prompts import section_prompt
from radvlm.train.language import Lesson, seen_of_statements

#: Ways in which a site words what is there; what is absent is worded alike everywhere.
FRAMES = ("plain", "there is", "is seen")
#: Kinds of pairs, see ``Pairs.draw``.
KINDS = ("scan", "wording", "misleading", "organ in hint", "organ in scan")
#: Nearest other patients that a donor of hints is drawn from, half of the time; else it is anyone.
NEAREST = 12
#: Chance that a lesson is of a section with a finding, with hints and without: what is looked up is what was found, so
#: sections with hints more often have something; more often still, and the model would learn to find too much.
OFTEN = (0.5, 0.25)
#: Draws of one kind before the scans are said to give no such pair.
TRIES = 200
_WITHOUT_ARTICLE = ("steatosis", "hepatomegaly", "splenomegaly", "hydronephrosis")


def framed(statement: Statement, frame: str) -> str:
    """A plain statement as a site words it; a denial stays as it is. InputError for an unknown frame.

    ``Hepatic cyst in segment IV.``, ``There is a hepatic cyst in segment IV.``, ``Hepatic cyst is seen in segment IV.``
    """
    if frame not in FRAMES:
        raise InputError(f"a frame is one of {', '.join(FRAMES)}", repr(frame))
    if frame == "plain" or not statement.present:
        return statement.text
    bare = statement.text.rstrip(".")
    nouns = wording()["nouns"].get(statement.findings[0])
    several = nouns is not None and nouns[0][0] != nouns[0][1] and nouns[0][1] in bare.lower()
    if frame == "is seen":
        cut = min((n for n in (bare.find(" in "), bare.find(" at ")) if n > 0), default=len(bare))
        return f"{bare[:cut]} {'are' if several else 'is'} seen{bare[cut:]}."
    low = bare[0].lower() + bare[1:]
    bare_noun = nouns[0][0] if nouns is not None else ""
    if several or bare_noun in wording()["uncounted"] or statement.findings[0] in _WITHOUT_ARTICLE:
        return f"There {'are' if several else 'is'} {low}."
    return f"There is {'an' if low[0] in 'aeiou' else 'a'} {low}."


def worded(said: Sequence[Statement], frame: str) -> str:
    """Statements as one text in the wording of a site."""
    return " ".join(framed(s, frame) for s in said)


@dataclass(frozen=True)
class Pair:
    """Two ways to answer one prompt, of which the first is to be preferred.

    Attributes:
        kind: one of ``KINDS``.
        prompt, chosen, rejected: texts; the same chosen and rejected where only the scan differs.
        case, rejected_case: rows of the evidence behind each.
        swapped: finding whose evidence is that of ``donor`` on the rejected side; "" for none.
        donor: row that it comes from.
        rejected_prompt: where the scan differs, what its detector saw differs too; "" for the same prompt.
    """

    kind: str
    prompt: str
    chosen: str
    rejected: str
    case: int
    rejected_case: int
    swapped: str = ""
    donor: int = -1
    rejected_prompt: str = ""

    def __post_init__(self) -> None:
        if not self.rejected_prompt:
            object.__setattr__(self, "rejected_prompt", self.prompt)


class Pairs:
    """Lessons and pairs from labeled scans, drawn by a generator: no pair has hints of its own patient.

    Args:
        cases: of the training part. embeddings: (N, D) of unit length; donors are mostly drawn near a scan, as
            retrieval would find them.

    Raises InputError for fewer than two patients.
    """

    def __init__(self, cases: Sequence[Case], embeddings: np.ndarray) -> None:
        if len({c.patient for c in cases}) < 2:
            raise InputError("hints come from other patients", f"{len(cases)} scans of one patient", "Use more scans")
        self.cases = list(cases)
        alike = np.asarray(embeddings, float) @ np.asarray(embeddings, float).T
        patients = np.array([c.patient for c in cases])
        alike[patients[:, None] == patients[None, :]] = -np.inf
        self.others = [np.flatnonzero(np.isfinite(row)) for row in alike]
        self.nearest = [
            np.argsort(-row, kind="stable")[: min(NEAREST, len(o))] for row, o in zip(alike, self.others, strict=True)
        ]

    @cached_property
    def said(self) -> list[Mapping[str, tuple[Statement, ...]]]:
        """Plain statements of each case by section."""
        return [{s: tuple(statements(c, s)) for s in TINY_SECTIONS} for c in self.cases]

    def prompt(
        self, case: int, section: str, hints: Sequence[str] = (), said: Sequence[Statement] | None = None
    ) -> str:
        """Hints, what a detector with the truth saw (or would have, had ``said`` been true), and the section."""
        held = self.said[case][section] if said is None else said
        absent = [f for s in held if not s.present for f in s.findings]
        return hinted_prompt(hints, section_prompt(section, seen_of_statements(held, absent)))

    @cached_property
    def _there(self) -> list[list[str]]:
        """Sections of each case in which something is there."""
        return [[s for s, held in said.items() if any(x.present for x in held)] for said in self.said]

    # --- lessons ----------------------------------------------------------------------------------------------------
    def lesson(self, rng: np.random.Generator, without: float = 0.25) -> Lesson:
        """A section with hints as retrieval finds them; a share of ``without`` has none, and the plain wording."""
        case = int(rng.integers(len(self.cases)))
        shown = rng.random() >= without
        section = self._section(case, rng, OFTEN[0] if shown else OFTEN[1])
        frame = str(rng.choice(FRAMES))
        hints = self._hints(case, section, frame, rng) if shown else []
        target = worded(self.said[case][section], frame if hints else "plain")
        return Lesson(self.prompt(case, section, hints), target, case)

    # --- pairs ------------------------------------------------------------------------------------------------------
    def draw(self, kind: str, rng: np.random.Generator) -> Pair:
        """A pair of one kind.

        ``scan``: the truth with the scan, against the same text with the scan of another patient of whom it is not
        true. ``wording``: retrieval was needed; the truth in the hints' wording, against the plain one.
        ``misleading``: the truth, against what the hint of another patient says. ``organ in hint``: one finding of a
        true hint is foreign; the truth, against the truth changed in the same way. ``organ in scan``: the same text
        with the evidence of one finding taken from a scan of which it is not true.

        Raises InputError when the cases give no such pair in ``TRIES`` draws.
        """
        made: dict[str, Callable[[np.random.Generator], Pair | None]] = {
            "scan": self._scan,
            "wording": self._wording,
            "misleading": self._misleading,
            "organ in hint": self._organ_in_hint,
            "organ in scan": self._organ_in_scan,
        }
        if kind not in made:
            raise InputError(f"a kind of pair is one of {', '.join(KINDS)}", repr(kind))
        for _ in range(TRIES):
            if (pair := made[kind](rng)) is not None:
                return pair
        raise InputError(
            f"the scans give pairs of the kind {kind!r}",
            f"none in {TRIES} draws of {len(self.cases)}",
            "Use more scans with findings",
        )

    def _scan(self, rng: np.random.Generator) -> Pair | None:
        case = int(rng.integers(len(self.cases)))
        section, other = self._section(case, rng, 0.6), self._other(case, rng)
        if _claims(self.said[case][section]) == _claims(self.said[other][section]):
            return None
        frame = str(rng.choice(FRAMES))
        hints = self._hints(case, section, frame, rng) if rng.random() < 0.5 else []
        text = worded(self.said[case][section], frame if hints else "plain")
        prompts = self.prompt(case, section, hints), self.prompt(other, section, hints)
        return Pair("scan", prompts[0], text, text, case, other, rejected_prompt=prompts[1])

    def _wording(self, rng: np.random.Generator) -> Pair | None:
        case, section = self._positive(rng)
        frame = str(rng.choice(FRAMES[1:]))
        hints = self._hints(case, section, frame, rng)
        if not hints:
            return None
        said = self.said[case][section]
        return Pair(
            "wording", self.prompt(case, section, hints), worded(said, frame), worded(said, "plain"), case, case
        )

    def _misleading(self, rng: np.random.Generator) -> Pair | None:
        """Half of the time the scan has something else in that section, half of the time mostly nothing."""
        case, section = self._positive(rng) if rng.random() < 0.5 else (int(rng.integers(len(self.cases))), "")
        other = self._other(case, rng)
        if not self._there[other]:
            return None
        section = section or str(rng.choice(self._there[other]))
        mine, theirs = self.said[case][section], self.said[other][section]
        if not mine or not _present(theirs) - _present(mine):
            return None
        frame = str(rng.choice(FRAMES))
        hints = [framed(s, frame) for s in theirs if s.present]
        hints += self._hints(case, section, frame, rng) if rng.random() < 0.5 else []
        hints = list(dict.fromkeys(hints))[:MOST_HINTS]
        prompt = self.prompt(case, section, [hints[n] for n in rng.permutation(len(hints))])
        return Pair("misleading", prompt, worded(mine, frame), worded(theirs, frame), case, case)

    def _organ_in_hint(self, rng: np.random.Generator) -> Pair | None:
        """The hint has a finding more than the scan, or another in the place of one."""
        case, section = self._positive(rng) if rng.random() < 0.6 else (int(rng.integers(len(self.cases))), "")
        found = self._foreign(case, self._other(case, rng), rng, section)
        if found is None:
            return None
        section, foreign = found
        mine = self.said[case][section]
        held = [s for s in mine if s.present]
        gone = held[int(rng.integers(len(held)))] if held and rng.random() < 0.7 else None
        frame = str(rng.choice(FRAMES))
        said = [foreign, *(s for s in held if gone is None or s.findings != gone.findings)]
        denied = [s for s in mine if not s.present and not set(s.findings) & set(foreign.findings)]
        if gone is not None:
            denied.append(Statement(plain_absent_words(gone.findings[0]), section, gone.findings, False))
        hints = [framed(s, frame) for s in said[:MOST_HINTS]]
        prompt = self.prompt(case, section, [hints[n] for n in rng.permutation(len(hints))])
        return Pair("organ in hint", prompt, worded(mine, frame), worded([*said, *denied], frame), case, case)

    def _organ_in_scan(self, rng: np.random.Generator) -> Pair | None:
        """The evidence of one finding is taken from a scan that shows it, or from one that does not."""
        case, section = self._positive(rng)
        other = self._other(case, rng)
        if rng.random() < 0.5:
            held = [s for s in self.said[case][section] if s.present and not self.cases[other].present(s.findings[0])]
            if not held or not self.cases[other].imaged(held[0].findings[0]):
                return None
            swapped = held[int(rng.integers(len(held)))].findings[0]
            said = [s for s in self.said[case][section] if swapped not in s.findings]
            said.append(Statement(plain_absent_words(swapped), section, (swapped,), False))
        else:
            found = self._foreign(case, other, rng)
            if found is None:
                return None
            section, swapped = found[0], found[1].findings[0]
            said = [found[1], *(s for s in self.said[case][section] if swapped not in s.findings)]
        frame = str(rng.choice(FRAMES))
        hints = self._hints(case, section, frame, rng)
        text = worded(self.said[case][section], frame if hints else "plain")
        prompts = self.prompt(case, section, hints), self.prompt(case, section, hints, said)
        return Pair("organ in scan", prompts[0], text, text, case, case, swapped, other, prompts[1])

    # --- parts ------------------------------------------------------------------------------------------------------
    def _section(self, case: int, rng: np.random.Generator, there: float) -> str:
        """A section of a case that says something; one with a finding with a chance of ``there``, else any."""
        pool = (
            self._there[case]
            if self._there[case] and rng.random() < there
            else [s for s, held in self.said[case].items() if held]
        )
        return str(rng.choice(pool))

    def _positive(self, rng: np.random.Generator) -> tuple[int, str]:
        pool = [n for n, sections in enumerate(self._there) if sections]
        if not pool:
            raise InputError("pairs need scans with findings", "none")
        case = int(rng.choice(pool))
        return case, str(rng.choice(self._there[case]))

    def _other(self, case: int, rng: np.random.Generator) -> int:
        return int(rng.choice(self.nearest[case] if rng.random() < 0.5 else self.others[case]))

    def _hints(self, case: int, section: str, frame: str, rng: np.random.Generator) -> list[str]:
        """What one to four other patients have in that section, in the wording of one site; denials never get in."""
        lines: list[str] = []
        for _ in range(int(rng.integers(1, MOST_HINTS + 1))):
            other = self._other(case, rng)
            lines += [framed(s, frame) for s in self.said[other][section] if s.present]
        if not lines:  # someone, anyone, who has something there
            pool = [n for n in self.others[case] if section in self._there[n]]
            if pool:
                lines = [framed(s, frame) for s in self.said[int(rng.choice(pool))][section] if s.present]
        return list(dict.fromkeys(lines))[:MOST_HINTS]

    def _foreign(self, case: int, other: int, rng: np.random.Generator, only: str = "") -> tuple[str, Statement] | None:
        """A finding of another patient (of a section) that this one is known not to have, and its section."""
        denied = {
            (section, f) for section, held in self.said[case].items() for s in held if not s.present for f in s.findings
        }
        pool = [
            (section, s)
            for section in self._there[other]
            for s in self.said[other][section]
            if s.present and (section, s.findings[0]) in denied and only in ("", section)
        ]
        return pool[int(rng.integers(len(pool)))] if pool else None


def _present(said: Sequence[Statement]) -> set[str]:
    return {f for s in said if s.present for f in s.findings}


def _claims(said: Sequence[Statement]) -> frozenset[tuple[str, tuple[str, ...], bool]]:
    return frozenset((f, s.sites, s.present) for s in said for f in s.findings)
