"""Questions that the truth of a case answers, for training and testing visual question answering.

A question is asked only when the truth has exactly one right answer (a side where there is one side, a segment where
there is one lesion), every question lists its choices, and ``balanced`` evens the answers out for each subject, so that
no answer can be guessed from the question alone. ``constant_baseline`` says what guessing gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from radvlm.dataset.case import Case
from radvlm.dataset.prompts import SPLITS
from radvlm.dataset.sentences import organs, random_of, wording
from radvlm.errors import InputError
from radvlm.types.anatomy import structure
from radvlm.types.finding_kinds import finding_kinds
from radvlm.wording.sentences import capital, with_article

KINDS = ("presence", "lesion", "side", "location", "organ", "count", "size", "normal")
YES_NO = ("Yes", "No")
SIDES = ("Left", "Right", "Both sides")
COUNTS = ("One", "More than one")
NORMAL = ("Normal", "Abnormal")
#: Levels at which a baseline may know the question: nothing, its kind, or its kind and subject.
GROUPS = ("all", "kind", "subject")


@dataclass(frozen=True)
class Question:
    """One question with its answer.

    Attributes:
        text: the question.
        answer: one of ``choices``.
        kind: one of ``KINDS``.
        subject: finding (key of ``finding_kinds.csv``), organ or group that it is about.
        choices: every answer of questions of that kind and subject, the order is fixed.
        case: name of the case that answers it.
    """

    text: str
    answer: str
    kind: str
    subject: str
    choices: tuple[str, ...]
    case: str


@dataclass(frozen=True)
class ConstantBaseline:
    """What always giving the commonest answer gets. ``answers``: group -> that answer; ``accuracy``: 0 to 1."""

    accuracy: float
    answers: Mapping[tuple[str, ...], str]


def questions(case: Case, seed: int = 0, split: str = "train") -> tuple[Question, ...]:
    """Every question that the case answers, one wording each, in a fixed order.

    Args:
        seed: chooses the wordings.
        split: ``train`` or ``heldout`` wordings.

    Nothing is asked of what is not in the field of view. InputError for another split.
    """
    if split not in SPLITS:
        raise InputError(f"a split is one of {', '.join(SPLITS)}", repr(split))
    rng = random_of(case.name, "questions", split, seed)
    asked = _Asked(case, split, rng)
    _presence(asked)
    _lesions(asked)
    _places(asked)
    _groups(asked)
    _organs(asked)
    return tuple(asked.found)


def balanced(pool: Iterable[Question], seed: int = 0, per_kind: int | None = None) -> list[Question]:
    """Questions in random order, thinned so that within a kind and subject no answer leads.

    Each answer of a (kind, subject) is kept at most as often as the second commonest one; of two answers both are then
    equally common. Subjects with a single answer are left out: the question would give the answer away.
    ``per_kind`` caps the questions of a kind (chosen at random).
    """
    rng = random_of("balanced", seed)
    table: dict[tuple[str, str], dict[str, list[Question]]] = {}
    for question in pool:
        table.setdefault((question.kind, question.subject), {}).setdefault(question.answer, []).append(question)
    kept: dict[str, list[Question]] = {}
    for (kind, _), by_answer in sorted(table.items()):
        counts = sorted((len(held) for held in by_answer.values()), reverse=True)
        if len(counts) < 2:
            continue
        for _, held in sorted(by_answer.items()):
            chosen = rng.permutation(len(held))[: counts[1]]
            kept.setdefault(kind, []).extend(held[n] for n in sorted(chosen))
    found = [q for held in kept.values() for q in _some(held, per_kind, rng)]
    return [found[n] for n in rng.permutation(len(found))]


def constant_baseline(asked: Sequence[Question], group: str = "kind") -> ConstantBaseline:
    """Accuracy of the best constant answer, overall (``all``), for each ``kind``, or for each kind and ``subject``.

    InputError for no question or another group.
    """
    if group not in GROUPS:
        raise InputError(f"a group is one of {', '.join(GROUPS)}", repr(group))
    if not asked:
        raise InputError("a baseline needs at least one question")
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for q in asked:
        key = {"all": (), "kind": (q.kind,), "subject": (q.kind, q.subject)}[group]
        counts.setdefault(key, Counter())[q.answer] += 1
    best = {key: min(held, key=lambda a, held=held: (-held[a], a)) for key, held in counts.items()}  # type: ignore[misc]
    right = sum(held[best[key]] for key, held in counts.items())
    return ConstantBaseline(right / len(asked), MappingProxyType(best))


def answers() -> tuple[str, ...]:
    """Every answer of every question, each once: the classes of a closed-set answer head."""
    names = [name for row in _data()["parts"].values() for name in row["names"]]
    organ_words = [capital(_data()["organs"][o]["words"]) for row in _data()["groups"].values() for o in row]
    return tuple(dict.fromkeys((*YES_NO, *SIDES, *COUNTS, *NORMAL, *map(_part, names), *organ_words)))


def subjects() -> dict[str, Any]:
    """Words by which questions name findings, organs and kinds of lesions: what a model stores to understand them.

    Keys and values as in ``radvlm.model.questions.Subjects``.
    """
    nouns = {
        name: [
            kind.words,
            name.replace("_", " "),
            *(form for pair in wording()["nouns"].get(name, ()) for form in pair),
        ]
        for name, kind in finding_kinds().items()
    }
    rows = _data()["organs"]
    forms = {
        organ: dict.fromkeys((row["words"], organ.replace("_", " "), *row.get("also", ())))
        for organ, row in rows.items()
    }
    parts = {
        name: list(_data()["parts"][kind.site]["names"])
        for name, kind in finding_kinds().items()
        if kind.site in _data()["parts"]
    }
    return {
        "nouns": {name: list(dict.fromkeys(held)) for name, held in nouns.items()},
        "organs": {word: list(organs()[organ]) for organ, words in forms.items() for word in words},
        "lesions": {word: list(rows[organ]["lesions"]) for organ, words in forms.items() for word in words},
        "sizes": {word: finding for organ, finding in _data()["sizes"].items() for word in forms[organ]},
        "groups": {
            group: {capital(rows[organ]["words"]): finding for organ, finding in row.items()}
            for group, row in _data()["groups"].items()
        },
        "parts": parts,
    }


class _Asked:
    """Questions of one case while they are made."""

    def __init__(self, case: Case, split: str, rng: np.random.Generator) -> None:
        self.case, self.split, self.rng, self.found = case, split, rng, list[Question]()

    def noun(self, finding: str) -> tuple[str, str]:
        """One of the nouns of a finding, (one, many); the first word of an organ's state where it has none."""
        nouns = wording()["nouns"].get(finding)
        if nouns is None:
            return (finding_kinds()[finding].words, finding_kinds()[finding].words)
        one, many = nouns[int(self.rng.integers(len(nouns)))]
        return one, many

    def add(self, kind: str, subject: str, answer: str, choices: Sequence[str], **words: str) -> None:
        frames = _data()["frames"][kind][self.split]
        text = frames[int(self.rng.integers(len(frames)))].format(**words)
        self.found.append(Question(capital(text), answer, kind, subject, tuple(choices), self.case.name))


def _presence(asked: _Asked) -> None:
    for name in finding_kinds():
        if not asked.case.known[list(finding_kinds()).index(name)]:
            continue
        one, many = asked.noun(name)
        if not asked.case.present(name) and any(map(asked.case.present, wording()["denies"].get(one, ()))):
            continue  # "is there a splenic lesion" of a spleen with a cyst has no certain answer
        several = one not in wording()["uncounted"] and name in wording()["nouns"]
        article = f"{with_article(one)}" if several or name == "aortic_aneurysm" else one
        asked.add("presence", name, YES_NO[0 if asked.case.present(name) else 1], YES_NO, a=article, nouns=many)


def _lesions(asked: _Asked) -> None:
    for organ, row in _data()["organs"].items():
        if row["lesions"] and all(asked.case.known[_index(name)] for name in row["lesions"]):
            held = any(asked.case.present(name) for name in row["lesions"])
            if held or not any(asked.case.present(name) for name in row.get("unclear", ())):
                asked.add(
                    "lesion",
                    organ,
                    YES_NO[0 if held else 1],
                    YES_NO,
                    organ=row["words"],
                    Do="Do" if row.get("plural") else "Does",
                )


def _places(asked: _Asked) -> None:
    for name, kind in finding_kinds().items():
        held = asked.case.of(name)
        if not held:
            continue
        one, many = asked.noun(name)
        sides = {lesion.side for lesion in held}
        if kind.sided and "" not in sides:
            answer = SIDES[2] if len(sides) > 1 else capital(sides.pop())
            asked.add("side", name, answer, SIDES, noun=one)
        parts = _data()["parts"].get(kind.site)
        locations = {lesion.location for lesion in held}
        if parts and len(locations) == 1 and locations <= set(parts["names"]):
            choices = tuple(_part(p) for p in parts["names"])
            asked.add("location", name, _part(locations.pop()), choices, noun=one, part=parts["words"])
        if name in wording()["nouns"] and one not in wording()["uncounted"]:
            asked.add("count", name, COUNTS[0 if len(held) == 1 else 1], COUNTS, noun=one, nouns=many)


def _groups(asked: _Asked) -> None:
    for group, row in _data()["groups"].items():
        held = [organ for organ, name in row.items() if asked.case.present(name)]
        unclear = any(asked.case.present(name) for name in _data()["not_asked_with"].get(group, ()))
        if len(held) == 1 and not unclear:
            choices = tuple(capital(_data()["organs"][organ]["words"]) for organ in row)
            answer = capital(_data()["organs"][held[0]]["words"])
            asked.add("organ", group, answer, choices, group=group)


def _organs(asked: _Asked) -> None:
    for organ, finding in _data()["sizes"].items():
        if asked.case.known[_index(finding)]:
            asked.add(
                "size",
                organ,
                YES_NO[0 if asked.case.present(finding) else 1],
                YES_NO,
                organ=_data()["organs"][organ]["words"],
            )
    for organ, row in _data()["organs"].items():
        names = organs()[organ]
        if all(asked.case.known[_index(name)] for name in names):
            abnormal = any(asked.case.present(name) for name in names)
            verb = "are" if row.get("plural") or " and " in row["words"] else "is"
            asked.add(
                "normal",
                organ,
                NORMAL[1 if abnormal else 0],
                NORMAL,
                organ=row["words"],
                Is=capital(verb),
                it="it" if verb == "is" else "they",
                **{"is": verb},
            )


@cache
def _data() -> Mapping[str, Any]:
    text = files("radvlm.dataset").joinpath("questions.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return MappingProxyType(data)


def _some(held: Sequence[Question], most: int | None, rng: np.random.Generator) -> list[Question]:
    chosen = range(len(held)) if most is None else sorted(rng.permutation(len(held))[:most])
    return [held[n] for n in chosen]


def _index(finding: str) -> int:
    return list(finding_kinds()).index(finding)


def _part(name: str) -> str:
    return capital(structure(name).words)
