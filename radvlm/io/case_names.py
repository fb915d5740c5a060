"""Masks of several cases in one folder, told by the names of the files: ``case01_liver`` beside ``case02_spleen``.

A number before the name of a structure says which case it is, or counts the masks. It says the case where a
word beside it does (case, patient, scan ...), where it is as long as no table of labels has it, and where several masks
share one number and others another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from radvlm.types.phrases import first_of

#: Words that stand before the number of a case, and words that stand before the number of a mask.
_CASE = re.compile(r"(case|patient|pat|pt|subject|subj|sub|study|scan|ct|img|image|vol|volume|exam|s|p|id|bdmap|amos)")
_MASK = re.compile(r"(label|labels|mask|seg|segment|segmentation|roi|class|organ|structure|part|layer|channel|l|m)")
#: A number with so many digits counts no labels.
LONG_NUMBER = 4
_SPLIT = re.compile(r"[_\s.-]+")


def several_cases(names: Mapping[str, str], structure_of: Callable[[str], str | None]) -> tuple[str, ...]:
    """Numbers of the cases that the names of files (stem -> structure) state, where these are two and more; else ().

    ``structure_of`` gives the structure that a name means, None where it means none.
    """
    held: dict[str, list[str]] = {}
    is_case: set[str] = set()
    for stem, structure in names.items():
        found = _case_of(stem, structure, structure_of)
        if found is None:
            return ()  # the files are not named by cases
        case, is_sure = found
        held.setdefault(case, []).append(structure)
        if is_sure:
            is_case.add(case)
    are_shared = any(len(set(structures)) > 1 for structures in held.values())
    if len(held) < 2 or not (are_shared or len(is_case) == len(held)):
        return ()
    return tuple(held)


def in_words(cases: tuple[str, ...]) -> str:
    """The warning about masks of several cases."""
    return (
        f"The names of the masks state {len(cases)} cases ({first_of([*cases], 4)}), and a report is of one: masks of "
        "another case may be among them. Pass the masks of each case by themselves."
    )


def _case_of(stem: str, structure: str, structure_of: Callable[[str], str | None]) -> tuple[str, bool] | None:
    """(what says the case, whether it cannot be the number of a mask); None where nothing in the name is either."""
    tokens = _SPLIT.split(stem)
    for count in range(1, min(4, len(tokens))):
        case, rest = tokens[:count], tokens[count:]
        if not _has_number(case) or structure_of(" ".join(rest)) != structure:
            continue
        word = "".join(re.findall(r"[a-z]", " ".join(case).lower()))
        if _MASK.fullmatch(word):
            return None
        digits = max(len(number) for number in re.findall(r"\d+", " ".join(case)))
        return "_".join(case), bool(_CASE.fullmatch(word)) or digits >= LONG_NUMBER
    return None


def _has_number(tokens: list[str]) -> bool:
    return any(re.search(r"\d", token) for token in tokens)
