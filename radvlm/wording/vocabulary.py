"""Words for structures: nouns, plurals, which phrases name which structures, and what else a sentence may say.

The vocabulary is closed. ``verify`` refuses a sentence with a word that is neither neutral (listed), nor the name of a
structure, nor in the cited findings, because such a word states something that nobody measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from radvlm.types.anatomy import Structure, structure, structures

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[A-Za-z]+(?:[-'’][A-Za-z]+)*\d*|[^\sA-Za-z0-9]")
_SIDES = ("left", "right")
#: Last word of the name of a general kind of lesion -> those of the kinds that it covers.
_COVERED = {
    "lesion": ("tumor", "metastasis", "cyst", "hemangioma", "abscess", "pdac", "pnet", "nodule", "hemorrhage"),
    "tumor": ("metastasis", "hemangioma", "pdac", "pnet"),
    "opacity": ("consolidation", "infiltrate", "atelectasis"),
}


def tokenize(text: str) -> tuple[str, ...]:
    """Words (with inner hyphens), numbers with their separators, and single marks, in lower case."""
    return tuple(t.lower() for t in _TOKEN.findall(text))


@dataclass(frozen=True)
class Term:
    """A phrase that names structures. ``every`` is True when it names all of them ("both kidneys", "kidneys")."""

    tokens: tuple[str, ...]
    names: frozenset[str]
    every: bool = False


@dataclass(frozen=True)
class Lexicon:
    nouns: Mapping[str, Mapping[str, str]]
    by_volume: frozenset[str]
    without_size: frozenset[str]
    says_place: frozenset[str]
    without_attenuation: frozenset[str]
    volume_of: frozenset[str]
    attenuation_of: frozenset[str]
    major: frozenset[str]
    plurals: Mapping[str, str]
    numerals: tuple[str, ...]
    neutral: frozenset[str]
    phrases: tuple[tuple[str, ...], ...]
    uk: Mapping[str, str]
    terms: Mapping[str, tuple[Term, ...]]  # by first token, longest first


@cache
def base_name(name: str) -> str:
    """The name without its side: ``kidney_cyst_left`` -> ``kidney_cyst``."""
    for side in _SIDES:
        if structure(name).side == side:
            return name.removesuffix(f"_{side}").replace(f"_{side}_", "_")
    return name


def base_words(row: Structure) -> str:
    """The words without their side: ``left kidney`` -> ``kidney``."""
    return row.words.removeprefix(f"{row.side} ") if row.side else row.words


def plural(words: str, irregular: Mapping[str, str] | None = None) -> str:
    """Plural of the last word."""
    table = lexicon().plurals if irregular is None else irregular
    head, _, last = words.rpartition(" ")
    many = table.get(last, last if last.endswith("s") else f"{last}s")
    return f"{head} {many}".strip()


def noun(name: str, count: int, with_side: bool = False) -> str:
    """What lesions are called: ``renal cyst``, ``renal cysts``, ``left renal cyst``; for 0 the form after "no"."""
    row, listed = structure(name), lexicon().nouns.get(base_name(name))
    if listed is not None:
        words = listed["one" if count < 2 else "many"]
        words = listed.get("none", words) if count == 0 else words
    else:
        words = base_words(row) if count < 2 else plural(base_words(row))
    return f"{row.side} {words}" if with_side and row.side else words


def is_kind_of(special: str, general: str) -> bool:
    """Whether a kind of lesion is one that a general kind of the same organ names as well.

    A liver metastasis is a liver tumor and a liver lesion, a left renal cyst is a renal lesion and no right one.
    """
    organ, _, word = base_name(general).rpartition("_")
    sides = {structure(special).side, structure(general).side}
    if sides == set(_SIDES) or word not in _COVERED:
        return False
    name = base_name(special)
    return name.startswith(f"{organ}_") and name.rpartition("_")[2] in _COVERED[word]


def number_word(count: int) -> str:
    return lexicon().numerals[count] if count < len(lexicon().numerals) else str(count)


@cache
def lexicon() -> Lexicon:
    data = yaml.safe_load(files("radvlm.wording").joinpath("vocabulary.yaml").read_text(encoding="utf-8"))
    return Lexicon(
        nouns=MappingProxyType(data["nouns"]),
        by_volume=frozenset(data["by_volume"]),
        without_size=frozenset(data["without_size"]),
        says_place=frozenset(data["says_place"]),
        without_attenuation=frozenset(data["without_attenuation"]),
        volume_of=frozenset(data["volume_of"]),
        attenuation_of=frozenset(data["attenuation_of"]),
        major=frozenset(data["major"]),
        plurals=MappingProxyType(data["plurals"]),
        numerals=tuple(data["numerals"]),
        neutral=frozenset(data["neutral"]),
        phrases=tuple(tokenize(p) for p in data["phrases"]),
        uk=MappingProxyType(data["uk"]),
        terms=_terms(data),
    )


def _terms(data: Mapping[str, dict]) -> Mapping[str, tuple[Term, ...]]:
    """Every phrase that names structures, from the anatomy table and the lexicon."""
    names: dict[tuple[tuple[str, ...], bool], set[str]] = {}

    def add(words: str, name: str, many: bool = False) -> None:
        names.setdefault((tokenize(words), many), set()).add(name)

    irregular = data["plurals"]
    for row in structures().values():
        lesion = row.kind in ("lesion", "fluid")
        listed = data["nouns"].get(base_name(row.name))
        one = listed["one"] if listed else base_words(row)
        many = listed["many"] if listed else plural(one, irregular)
        for prefix in {"", f"{row.side} " if row.side else ""}:
            add(prefix + one, row.name)
            if many != one or (row.side and not lesion and not prefix):
                add(prefix + many, row.name, bool(row.side) and not prefix and not lesion)
        add(row.words, row.name)
        if row.name.startswith("vertebrae_") and row.kind == "bone":
            level = row.name.removeprefix("vertebrae_")
            for words in (level, f"vertebra {level}", f"{level} vertebral body"):
                add(words, row.name)
            for words in ("vertebra", "vertebrae", "vertebral body", "vertebral bodies"):
                add(words, row.name)
        if row.name.startswith("rib"):
            add("rib", row.name)
            add("ribs", row.name)
            if row.side:
                add(f"{row.side} ribs", row.name)
        kind = {"muscle": "muscles", "bone": "bones", "vessel": "vessels"}.get(row.kind)
        if kind:
            add(kind, row.name)
        if row.section == "soft_tissues" and row.kind in ("muscle", "tissue"):
            add("soft tissues", row.name)
        if row.kind == "lesion":
            add("lesion", row.name)
            add("lesions", row.name)
        for head in data["head_nouns"]:
            if lesion and re.search(rf"\b{head}s?\b", one):
                add(head, row.name)
                add(plural(head, irregular), row.name)
    for phrase, listed_names in data["synonyms"].items():
        for name in listed_names:
            structure(name)
            add(phrase, name)
    table: dict[str, list[Term]] = {}
    for (tokens, every), found in names.items():
        table.setdefault(tokens[0], []).append(Term(tokens, frozenset(found), every))
    return MappingProxyType(
        {first: tuple(sorted(terms, key=lambda t: (-len(t.tokens), not t.every))) for first, terms in table.items()}
    )
