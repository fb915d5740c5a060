"""Putting structures into words: lists, pairs, vertebral ranges, and where a lesion lies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from radvlm.types.anatomy import LEVELS, USUAL_LEVELS, structure
from radvlm.types.finding import Finding
from radvlm.types.phrases import joined
from radvlm.wording.vocabulary import base_words, lexicon, plural, tokenize


def structure_list(names: Iterable[str], pair: str = "both", first: str = "") -> tuple[str, bool]:
    """Names in table order as one phrase, both sides of a pair as "both kidneys"; True when the phrase is plural.

    ``pair`` is the word before a pair: "both", or "the" where the sentence is negative. ``first`` is a plural phrase
    that opens the list, such as "the ribs".
    """
    rows = sorted((structure(n) for n in dict.fromkeys(names)), key=lambda row: row.rank)
    words: list[str] = [first] if first else []
    pairs: set[str] = set()
    for row in rows:
        base = base_words(row)
        longer = any(o.words.startswith(f"{row.words} and ") for o in rows)  # "trachea" in "trachea and bronchi"
        if base in pairs or row.words in {plural(p) for p in pairs} or longer:
            continue
        twin = any(o.side and row.side and o.side != row.side and base_words(o) == base for o in rows)
        if twin:
            phrase = plural(base) if pair == "the" and words else f"{pair} {plural(base)}"
            pairs.add(base)
        else:
            phrase = row.words if words and not words[-1].startswith("both ") else f"the {row.words}"
        words.append(phrase)
    many = len(words) > 1 or bool(pairs) or is_plural_word(words[0])
    return joined(words), many


def is_plural_word(words: str) -> bool:
    """Whether a phrase takes "are", by its last word; "ascites is", "pancreas is"."""
    last = words.split()[-1]
    return last.endswith("s") and last not in (
        "pancreas",
        "pelvis",
        "esophagus",
        "uterus",
        "trapezius",
        "maximus",
        "medius",
        "minimus",
        "abdominis",
        "humerus",
        "ascites",
        "radius",
        "sartorius",
        "transversospinalis",
        "brachii",
    )


def be(many: bool) -> str:
    return "are" if many else "is"


def runs_of_levels(names: Iterable[str]) -> list[list[str]]:
    """Vertebrae from the head down as runs of contiguous levels; T13 and L6 stand alone."""
    held = {n.removeprefix("vertebrae_") for n in names}
    runs: list[list[str]] = []
    previous = -2
    for level in LEVELS:
        if level not in held:
            continue
        if level not in USUAL_LEVELS:
            runs.append([level])
            continue
        place = USUAL_LEVELS.index(level)
        if place == previous + 1 and runs:
            runs[-1].append(level)
        else:
            runs.append([level])
        previous = place
    return runs


def level_runs(names: Iterable[str]) -> str:
    """``T10 to L2``, ``C7, T2 and T5 to T7``: three and more contiguous levels as ranges."""
    return joined([w for r in runs_of_levels(names) for w in (r if len(r) < 3 else [f"{r[0]} to {r[-1]}"])])


def place(finding: Finding, noun_words: str) -> str:
    """Where a lesion lies: ``in segment VI``, ``in the upper pole of the left kidney``, ``at L2``; "" when it is said
    by the noun already."""
    if finding.kind in lexicon().says_place:
        return ""
    sites = [n for n in finding.locations if not n.startswith("vertebrae_")]
    level = finding.level
    if finding.kind in ("vertebra_fracture", "bone_lesion") and level:
        return f"at {level.removeprefix('vertebrae_')}"
    if finding.kind in ("vertebra_fracture", "bone_lesion") and finding.locations:
        return f"at {finding.locations[0].removeprefix('vertebrae_')}" if not sites else f"in the {_words(sites[0])}"
    host = finding.host or structure(finding.kind).parent
    if finding.pole and host:
        return f"in the {finding.pole} of the {_words(host)}"
    if sites:
        lobes = [n for n in sites if _LOBE.fullmatch(n)]
        return f"in {places_text(lobes if len(lobes) == len(sites) else sites[:1])}"
    if host and not _is_said(host, noun_words):
        return f"in the {_words(host)}"
    if level and finding.section in ("nodes", "peritoneum", "soft_tissues"):
        return f"at the level of {level.removeprefix('vertebrae_')}"
    return ""


#: Lobes, of which all are named: to the reader the extent of a consolidation is the lobes that it lies in.
_LOBE = re.compile(r"lung_(upper|middle|lower)_lobe_(left|right)")
#: What a part of a vessel is called: the diameter of the aorta is that of its abdominal part.
_PARTS = {
    ("aorta", "diameter"): "abdominal aorta",
    ("aorta", "whole_diameter"): "imaged aorta",
    ("aorta", "ascending_diameter"): "ascending aorta",
    ("aorta", "arch_diameter"): "aortic arch",
    ("aorta", "descending_diameter"): "descending thoracic aorta",
    ("aorta", "suprarenal_diameter"): "suprarenal aorta",
    ("aorta", "infrarenal_diameter"): "infrarenal aorta",
    ("pulmonary_artery", "trunk_diameter"): "pulmonary trunk",
}


def part_words(site: str, quantity: str) -> str:
    """``ascending aorta``: the part of a vessel that a diameter is of, "" where it is of no named part."""
    return _PARTS.get((site, quantity), "")


def part_names() -> dict[str, str]:
    """Words of each named part -> the quantity of its diameter."""
    return {words: quantity for (_, quantity), words in _PARTS.items()}


def places_text(names: Iterable[str]) -> str:
    """``segment IV and segment VI``, ``the left kidney``: structures in which something lies, as one phrase."""
    words = [_words(name) for name in names]
    return joined([w if w.startswith("segment ") else f"the {w}" for w in words])


def _words(name: str) -> str:
    return structure(name).words


def _is_said(host: str, noun_words: str) -> bool:
    """Whether the noun names the host already ("liver lesion", "right renal cyst")."""
    tokens = tokenize(noun_words)
    row = structure(host)
    if row.side and row.side not in tokens:
        return False
    return any(host in term.names for word in tokens for term in lexicon().terms.get(word, ()) if len(term.tokens) == 1)
