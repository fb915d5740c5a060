"""What a question to a model asks: which findings, and which of their properties.

A question of a known kind is never left to a decoder. It is understood here by its words, and answered from the scores
and the evidence that a report would be written from, so that an answer and a report of the same scan cannot disagree.
What is not understood here goes to the decoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from radvlm.types.anatomy import structures
from radvlm.types.finding import Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.model_output import FindingScore

#: How a question begins that is answered by yes or no.
_YES_NO = re.compile(
    r"(is|are) (there|a|an|any|the)\b|(does|do|did|has|have|can|could|would|should|any)\b|"
    r"(is|are) .*\b(present|seen|visible)\b"
)
_ENLARGED = frozenset({"enlarged", "enlargement", "larger", "large", "increased"})
_ABNORMAL = frozenset({"abnormal", "abnormality", "abnormalities", "anything"})
_MEASURE_WORDS = "large big size volume diameter attenuation density hu measure long wide heavy far"
_MEASURES = frozenset(_MEASURE_WORDS.split())
_WHERE = frozenset({"segment", "lobe", "part", "where", "segments", "lobes"})
_SEVERAL = ("how many", "several", "more than one", "single", "one or")
#: A second side is answered when its peak logit is above 0 and at most this far below the first one's; this gap was
#: right most often on validation phantoms.
BOTH_SIDES_GAP = 2.0
#: Words of a question that ask nothing of their own: with any other, "is there" is not all that is asked.
_NEUTRAL_WORDS = """
    a abnormal abnormality abnormalities an and any anything are area areas as be can chest abdomen could ct did do
    does demonstrate demonstrated evidence examination exam find finding focal for found had has have here how i
    image images in included is it lesion lesions left let me normal of on or please patient present report reported
    right s scan seen see should show shown shows side sign signs study tell the them there they this visible was
    were with would you your either both kind one some contain contains suspicious
"""
_NEUTRAL = frozenset(_NEUTRAL_WORDS.split())
#: Words of names that say nothing by themselves: without another one, a question is about no structure or finding.
_GENERAL_WORDS = """
    air before bridge central common compartment crown external face first second third fourth fifth sixth seventh
    eighth ninth tenth eleventh twelfth thirteenth false foot free ground glass half hand hard head inferior internal
    lower main major middle minor non oblique origin outflow perhaps process proper segmented small soft space superior
    table tail tree true unspecified upper whole within
"""
_GENERAL = (_NEUTRAL | frozenset(_GENERAL_WORDS.split())) - {"lesion", "lesions"}
#: What a question about a scan may name beside structures and findings.
_IMAGE_WORDS = (
    "abnormal abnormality abnormalities contrast ct diagnosis findings image images impression phase scan study"
)
#: Words of one stem differ by at most so many letters ("vertebra", "vertebral"; not "liver", "Liverpool").
_STEM_LETTERS, _ENDING_LETTERS = 5, 3
#: Kinds of questions on whether something is there -> the answers if it is, and if not.
VERDICTS = {"presence": ("Yes", "No"), "normal": ("Abnormal", "Normal"), "healthy": ("No", "Yes")}


@dataclass(frozen=True)
class Subjects:
    """What can be asked about: words that training stored beside the weights.

    Attributes:
        nouns: finding -> its names, singular and plural.
        organs: organ word -> findings of it. lesions: organ word -> those that are focal lesions.
        sizes: organ word -> the finding that it is enlarged.
        groups: noun of a kind of lesion ("cyst") -> organ as an answer ("Kidneys") -> finding.
        parts: finding -> structures (segments, lobes) by which its place is told.
    """

    nouns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    organs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lesions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a question asks.

    Attributes:
        kind: presence, normal, healthy ("is it normal?"), side, location, count, organ, or measure, which no model
            here can answer.
        findings: that the answer is about. side: "left", "right" or "" as the question narrows it.
        answers: finding -> answer, for the kind organ.
    """

    kind: str
    findings: tuple[str, ...]
    side: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """Where a finding is, from the evidence: peak logits of both sides, pieces, part -> share of the finding."""

    peak_left: float
    peak_right: float
    pieces: float
    parts: Mapping[str, float]


def understand(question: str, subjects: Subjects) -> Asked | None:
    """The kind and subject of a question, None where it is of no known kind or names none or several subjects.

    A question for a size is always understood, for masks answer it whatever it names.

    The longest name counts: "lung mass" is no "mass", "ground-glass pulmonary nodule" is no "pulmonary nodule".
    """
    words = re.findall(r"[a-z0-9-]+", question.lower())
    said, held = f" {' '.join(words)} ", frozenset(words)
    named = _longest(said, subjects.nouns)
    organ = _organ_asked(said, subjects)
    sides = {"left", "right"} & held
    side = "".join(sides) if len(sides) == 1 else ""
    if len(named) > 1:
        return Asked("measure", (), side) if _is_measure(held) else None
    if named:
        return _of_finding(named[0], said, held, sides, side, subjects)
    if organ:
        return _of_organ(organ, held, side, subjects, _YES_NO.match(said.strip()) is not None)
    groups = _longest(said, {g: (g, f"{g}s") for g in subjects.groups})
    if len(groups) == 1 and ("organ" in held or "where" in held):
        answers = subjects.groups[groups[0]]
        return Asked("organ", tuple(answers.values()), "", {f: a for a, f in answers.items()})
    return Asked("measure", (), side) if _is_measure(held) else None


def names_any(question: str, names: Iterable[str]) -> bool:
    """Whether a question has a word of one of the names that says something by itself; "What is the weather?" has none.

    Words of one stem are the same: "vertebral" names the vertebrae.
    """
    asked = {w for w in _content_words(question) if w not in _GENERAL}
    known = {w for name in names for w in _content_words(name) if w not in _GENERAL}
    stems: dict[str, set[str]] = {}
    for word in known:
        stems.setdefault(word[:_STEM_LETTERS], set()).add(word)
    return any(
        abs(len(word) - len(other)) <= _ENDING_LETTERS
        for word in asked
        for other in stems.get(word[:_STEM_LETTERS], ())
    )


@cache
def names_of_ct() -> tuple[str, ...]:
    """Names of every structure and finding, and words about images: what a question about a CT has one of."""
    of_findings = [name for kind in finding_kinds().values() for name in (kind.words, *kind.aliases)]
    return (*(s.words for s in structures().values()), *of_findings)


def is_of_ct(question: str, names: Iterable[str] = ()) -> bool:
    """Whether a question names a structure, a finding, one of ``names`` or the scan itself."""
    about_images = set(_IMAGE_WORDS.split()) & set(_content_words(question))
    return bool(about_images) or names_any(question, (*names_of_ct(), *names))


def _content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 2 or word == "ct"]


def _of_finding(
    name: str, said: str, held: frozenset[str], sides: set[str], side: str, subjects: Subjects
) -> Asked | None:
    if _is_measure(held):
        return Asked("measure", (name,), side)
    if "side" in held or len(sides) == 2:
        return Asked("side", (name,))
    if _WHERE & held and name in subjects.parts:
        return Asked("location", (name,), side)
    if any(s in said for s in _SEVERAL):
        return Asked("count", (name,), side)
    if _YES_NO.match(said.strip()) and _asks_no_more(held, [*subjects.nouns[name], *subjects.organs]):
        return Asked("presence", (name,), side)
    return None


def _of_organ(organ: str, held: frozenset[str], side: str, subjects: Subjects, yes_no: bool) -> Asked | None:
    if _is_measure(held):
        return Asked("measure", subjects.organs[organ], side)
    if _ENLARGED & held and organ in subjects.sizes and yes_no:
        sizes = [*subjects.organs, " ".join(_ENLARGED), "size too than usual normal"]
        return Asked("presence", (subjects.sizes[organ],)) if _asks_no_more(held, sizes) else None
    if not _asks_no_more(held, list(subjects.organs)):
        return None
    if "normal" in held:
        if "abnormal" in held:
            return Asked("normal", subjects.organs[organ], side)
        return Asked("healthy", subjects.organs[organ], side) if yes_no else None
    if _ABNORMAL & held and yes_no:
        return Asked("presence", subjects.organs[organ], side)
    if {"lesion", "lesions"} & held and subjects.lesions.get(organ) and yes_no:
        return Asked("presence", subjects.lesions[organ], side)
    return None


def _is_measure(held: frozenset[str]) -> bool:
    return bool({"how", "what"} & held and _MEASURES & held) and not {"many", "normal"} & held


def _asks_no_more(held: frozenset[str], names: Sequence[str]) -> bool:
    """Whether the question has no word beside neutral ones and those of the names."""
    return held <= _NEUTRAL | {word for name in names for word in name.split()}


def _longest(said: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Keys whose longest name in the text is the longest of all, and others that are not inside one of those."""
    found = {
        key: max((f" {n} " for n in forms if f" {n} " in said), key=len, default="") for key, forms in names.items()
    }
    kept = {key: n for key, n in found.items() if n}
    return [key for key, n in kept.items() if not any(n != other and n.strip() in other for other in kept.values())]


def _organ_asked(said: str, subjects: Subjects) -> str:
    named = _longest(said, {o: (o,) for o in subjects.organs})
    same = {subjects.organs[o] for o in named}
    return named[0] if len(same) == 1 else ""


def named_side(question: str) -> str:
    """``left`` or ``right`` where a question names just one of them, else ""."""
    sides = {"left", "right"} & set(re.findall(r"[a-z]+", question.lower()))
    return "".join(sides) if len(sides) == 1 else ""


def of_side(scores: Sequence[FindingScore], side: str) -> list[FindingScore]:
    """The scores of one side, those without a side among them; all where the question names none."""
    other = {"left": "_right", "right": "_left"}.get(side)
    return [s for s in scores if other is None or not s.site.endswith(other)]


def verdict(kind: str, scores: Sequence[FindingScore]) -> tuple[str, float]:
    """Answer and its confidence to whether something is there.

    "No" only where all are absent, as a report would say; where the model is open, the answer is the cautious one and
    its confidence the probability of the finding, which may be below one half.
    """
    there, gone = VERDICTS[kind]
    first = max(scores, key=lambda s: (s.status is Status.PRESENT, s.status is not Status.ABSENT, s.probability))
    if first.status is Status.ABSENT:
        return gone, 1 - max(s.probability for s in scores)
    return there, first.probability


def property_of(asked: Asked, scores: Sequence[FindingScore], shown: Shown) -> tuple[str, float]:
    """Answer and confidence to which organ, side, part or how many; the confidence is the finding's probability times
    the share of the answer, and no calibrated number."""
    best = max(scores, key=lambda s: s.probability)
    if asked.kind == "organ":
        of_finding = {f: max((s.probability for s in scores if s.finding == f), default=0.0) for f in asked.answers}
        total = sum(of_finding.values())
        return asked.answers[best.finding], best.probability * best.probability / max(total, 1e-9)
    if asked.kind == "side":
        low, high = sorted((shown.peak_left, shown.peak_right))
        if low > 0 and high - low < BOTH_SIDES_GAP:
            return "Both sides", best.probability * 0.5
        text = "Left" if shown.peak_left > shown.peak_right else "Right"
        return text, best.probability
    if asked.kind == "count":
        return ("More than one" if shown.pieces >= 2 else "One"), best.probability
    if not shown.parts:
        return "", 0.0
    part = max(shown.parts, key=lambda p: shown.parts[p])
    return part, best.probability * shown.parts[part]
