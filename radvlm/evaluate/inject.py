"""Report pairs with known errors: a generator of CT reports, injection of each kind of error, graded, and controls.

A pair is made from facts, not by editing words. A report is a list of statements worded at random; an error
changes one fact, and both reports are then worded; so what is wrong is known by construction and no part of the
counter is used. Controls hold no error: ``paraphrase`` words the same facts again exactly as a faulty
candidate is worded, ``reorder`` shuffles sentences, ``style`` changes capitals, spelling, abbreviations or layout.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from radvlm.errors import InputError
from radvlm.evaluate.inject_grammar import ABBREVIATED, BY_ID, CHANGES, GRADES, LOBES, SIDES, TOPICS, UK, Topic
from radvlm.wording.sentences import capital

CATEGORIES = ("false_finding", "omission", "wrong_location", "wrong_severity", "false_comparison", "omitted_comparison")
STRENGTHS = ("slight", "clear", "gross")
CONTROLS = ("paraphrase", "reorder", "style")


@dataclass(frozen=True)
class Statement:
    """One fact of a synthetic report; fields that its topic does not have are empty."""

    topic: str
    side: str = ""
    place: str = ""
    grade: int = -1
    size_mm: int = 0
    change: str = ""


@dataclass(frozen=True)
class Injected:
    """An error put into the candidate: category, strength (how gross), topic concerned, and what was done."""

    category: str
    strength: str
    topic: str
    description: str


@dataclass(frozen=True)
class Pair:
    """A reference, a candidate, the errors in the candidate, and for a control its name."""

    id: str
    reference: str
    candidate: str
    errors: tuple[Injected, ...]
    control: str = ""


def pairs(
    n: int,
    seed: int = 0,
    categories: Sequence[str] = CATEGORIES,
    controls: Sequence[str] = CONTROLS,
    errors_per_pair: int = 1,
) -> Iterator[Pair]:
    """``n`` pairs for every category and for every control, in a fixed order for a seed.

    With ``errors_per_pair`` > 1 that many errors of different facts, drawn from ``categories``, go into each candidate.
    Raises InputError for an unknown category or control.
    """
    unknown = (set(categories) - set(CATEGORIES)) | (set(controls) - set(CONTROLS))
    if unknown:
        raise InputError(
            "errors are of " + ", ".join(CATEGORIES) + "; controls are " + ", ".join(CONTROLS), str(sorted(unknown))
        )
    for category in categories:
        for index in range(n):
            rng = random.Random(f"{seed}-{category}-{index}")
            yield _faulty(f"{category}-{index}", category, STRENGTHS[index % 3], errors_per_pair, categories, rng)
    for control in controls:
        for index in range(n):
            rng = random.Random(f"{seed}-{control}-{index}")
            facts = _facts(rng)
            yield Pair(f"{control}-{index}", *_control(facts, control, rng), (), control)


def _faulty(id: str, category: str, strength: str, count: int, categories: Sequence[str], rng: random.Random) -> Pair:
    while True:
        truth = _facts(rng)
        said, errors, used = list(truth), [], set[str]()
        for number in range(count):
            kind = category if number == 0 else rng.choice(list(categories))
            done = _inject(said, kind, strength, rng, used)
            if done is None:
                break
            said, error = done
            used.add(error.topic)
            errors.append(error)
        if len(errors) == count:
            reference = _write(truth, rng, {s.topic for s in said})
            return Pair(id, reference, _write(said, rng, {s.topic for s in truth}), tuple(errors))


def _facts(rng: random.Random) -> list[Statement]:
    """Three to eight facts about different things."""
    region = rng.choice(["chest", "abdomen", "chest abdomen"])
    topics = [t for t in TOPICS if t.region == "both" or t.region in region]
    return [_statement(t, rng) for t in rng.sample(topics, rng.randint(3, min(8, len(topics))))]


def _statement(topic: Topic, rng: random.Random) -> Statement:
    side = rng.choice(SIDES) if topic.sided else ""
    places = LOBES[side] if topic.places == "lobes" else topic.places
    return Statement(
        topic.id,
        side,
        rng.choice(list(places)) if places else "",
        rng.randrange(4) if topic.grade else -1,
        rng.randint(*topic.sizes_mm) if topic.sizes_mm else 0,
        rng.choice(list(CHANGES)) if topic.changes and rng.random() < 0.35 else "",
    )


def _inject(
    facts: list[Statement], category: str, strength: str, rng: random.Random, used: set[str]
) -> tuple[list[Statement], Injected] | None:
    """The facts with one error of that category, or None when none of them can carry it."""
    free = [i for i, s in enumerate(facts) if s.topic not in used]
    rng.shuffle(free)
    if category == "false_finding":
        stated = {s.topic for s in facts} | used
        weights = {"slight": ("benign", "minor"), "clear": ("minor", "actionable"), "gross": ("actionable",)}[strength]
        topics = [t for t in TOPICS if t.id not in stated and t.weight in weights and not _clash(t.id, stated)]
        made = replace(_statement(rng.choice(topics), rng), change="")
        at = rng.randint(0, len(facts))
        return [*facts[:at], made, *facts[at:]], Injected(category, strength, made.topic, f"added {made.topic}")
    for i in free:
        old, topic = facts[i], BY_ID[facts[i].topic]
        if category == "omission":
            return [*facts[:i], *facts[i + 1 :]], Injected(category, strength, old.topic, f"left out {old.topic}")
        new = _changed(old, topic, category, strength, rng)
        if new is not None:
            return [*facts[:i], new, *facts[i + 1 :]], Injected(category, strength, old.topic, f"{old} became {new}")
    return None


def _clash(topic: str, stated: set[str]) -> bool:
    """Findings that a reader may take for one another are not put into one report."""
    groups = ({"kidney_stone", "kidney_cyst"}, {"fracture", "bone_lesion"}, {"hernia", "hiatal"})
    return any(topic in g and g & stated for g in groups)


def _changed(old: Statement, topic: Topic, category: str, strength: str, rng: random.Random) -> Statement | None:
    if category == "wrong_location":
        return _moved(old, topic, strength, rng)
    if category == "wrong_severity":
        if old.size_mm:
            factor = {"slight": 1.45, "clear": 2.0, "gross": 3.0}[strength]
            larger = rng.random() < 0.5 or old.size_mm / factor < 3
            size = round(old.size_mm * factor) if larger else round(old.size_mm / factor)
            if topic.id in ("splenomegaly", "aaa", "thoracic_aorta", "nodes"):
                size = round(old.size_mm * min(factor, 1.6))  # a small one would be another finding
            return replace(old, size_mm=size + (3 if abs(size - old.size_mm) < 3 else 0))
        if old.grade >= 0:
            steps = {"slight": 1, "clear": 2, "gross": 3}[strength]
            options = [g for g in range(4) if abs(g - old.grade) == steps and {g, old.grade} != {0, 1}]
            return replace(old, grade=rng.choice(options)) if options else None
        return None
    if category == "false_comparison":
        if not topic.changes:
            return None
        if old.change:
            opposite = {
                "new": ("stable", "decreased"),
                "increased": ("stable", "decreased"),
                "decreased": ("increased", "stable", "new"),
                "stable": ("new", "increased", "decreased"),
            }
            return replace(old, change=rng.choice(opposite[old.change])) if strength == "gross" else None
        return replace(old, change="stable" if strength == "slight" else rng.choice(["new", "increased", "decreased"]))
    if not old.change:
        return None
    return replace(old, change="")


def _moved(old: Statement, topic: Topic, strength: str, rng: random.Random) -> Statement | None:
    """Another place; slight: on the same side, clear: the other side, gross: both where there are both."""
    other = {"left": "right", "right": "left"}.get(old.side, "")  # shares nothing with what counts the errors
    places = list(LOBES[old.side] if topic.places == "lobes" else topic.places)
    elsewhere = [p for p in places if p != old.place]
    if topic.id == "liver_lesion":
        elsewhere = [p for p in elsewhere if p.split()[1].rstrip("ab") != old.place.split()[1].rstrip("ab")]
    if strength == "slight" and elsewhere:
        return replace(old, place=rng.choice(elsewhere))
    if other:
        place = old.place
        if topic.places == "lobes" and place not in LOBES[other]:
            place = "lower lobe"
        if strength == "gross" and topic.places == "lobes":
            place = rng.choice([p for p in LOBES[other] if p != old.place])
        return replace(old, side=other, place=place)
    return replace(old, place=rng.choice(elsewhere)) if elsewhere else None


def _word(fact: Statement, rng: random.Random, avoid: str = "") -> str:
    topic = BY_ID[fact.topic]
    wordings = [t for t in topic.templates if t != avoid and (not fact.change or ("{clause}" in t and "{adj}" in t))]
    template = rng.choice(wordings or list(topic.templates))
    options = CHANGES[fact.change] if fact.change else (("", ""),)
    if "{adj}" not in template:
        options = tuple(o for o in options if not o[0])
    adj, clause = rng.choice(options)
    grade = GRADES[topic.grade][fact.grade] if topic.grade else ""
    text = template.format(
        size=_size(fact.size_mm, rng), side=fact.side, place=fact.place, grade=grade, adj=adj, clause=clause
    )
    text = re.sub(r"\s+", " ", text).replace(" ,", ",").replace(" .", ".").strip()
    text = re.sub(r",(?=[,.])", "", text)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return capital(text)


def _size(size_mm: int, rng: random.Random) -> str:
    if not size_mm:
        return ""
    if rng.random() < 0.3:
        short = max(2, round(size_mm * rng.uniform(0.7, 0.95)))
        return f"{size_mm} x {short} mm" if size_mm < 20 else f"{size_mm / 10:.1f} x {short / 10:.1f} cm"
    return f"{size_mm} mm" if size_mm < 10 or rng.random() < 0.5 else f"{size_mm / 10:.1f} cm"


def _normals(stated: set[str], rng: random.Random, count: int) -> list[str]:
    topics = [t for t in TOPICS if t.id not in stated and not _clash(t.id, stated)]
    return [rng.choice(t.normal) for t in rng.sample(topics, min(count, len(topics)))]


def _write(facts: Sequence[Statement], rng: random.Random, also: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """A report of these facts. ``also``: facts of the other report, whose absence may be stated or left unsaid."""
    stated = {s.topic for s in facts}
    body = [_word(s, rng) for s in facts]
    normals = _normals(stated | also, rng, rng.randint(1, 5))
    normals += [rng.choice(BY_ID[t].normal) for t in sorted(also - stated) if rng.random() < 0.4]
    for text in normals:
        body.insert(rng.randint(0, len(body)), text)
    style = rng.random()
    if style < 0.4:
        return " ".join(body)
    if style < 0.6:
        return "\n".join(body)
    main = [s for s in facts if BY_ID[s.topic].weight == "actionable"][:3] or list(facts[:1])
    closing = "\n".join(f"{n}. {_brief(s)}" for n, s in enumerate(main, 1))
    return f"FINDINGS:\n{' '.join(body)}\n\nIMPRESSION:\n{closing}"


def _brief(fact: Statement) -> str:
    """The fact as an impression repeats it: its first wording, as in the findings."""
    return _word(fact, random.Random(0))


def _control(facts: list[Statement], control: str, rng: random.Random) -> tuple[str, str]:
    if control == "paraphrase":
        return _write(facts, rng), _write(facts, rng)
    sentences = [_word(s, rng) for s in facts] + _normals({s.topic for s in facts}, rng, 3)
    if control == "reorder":
        return " ".join(sentences), " ".join(rng.sample(sentences, len(sentences)))
    text = " ".join(sentences)
    way = rng.choice(["capitals", "uk", "abbreviated", "lines", "unpunctuated"])
    if way == "capitals":
        return text, text.upper()
    if way == "lines":
        return text, "\n".join(f"- {s}" for s in sentences)
    if way == "unpunctuated":
        return text, "\n".join(s.rstrip(".") for s in sentences)
    other = text
    for a, b in UK if way == "uk" else ABBREVIATED:
        other = other.replace(a, b)
    return text, other
