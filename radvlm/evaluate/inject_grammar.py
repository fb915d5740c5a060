"""Wording for synthetic CT reports with known facts: what can be stated, and several ways to state each.

The topics are data (``inject_grammar.yaml``). They share nothing with the lexicon that reads reports, so that errors
injected with them test the reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

SIDES = ("right", "left")
LOBES = {"right": ("upper lobe", "middle lobe", "lower lobe"), "left": ("upper lobe", "lower lobe")}
#: Words of severity by step; a finding uses the family that radiologists use for it.
GRADES = {"amount": ("trace", "small", "moderate", "large"), "degree": ("minimal", "mild", "moderate", "severe")}


@dataclass(frozen=True)
class Topic:
    """A finding that the generator can state.

    Attributes:
        id: name of the fact.
        templates: at least two wordings.
        normal: wordings of its absence.
        places: list of places, or "lobes" for those of the side.
        sided, grade, sizes_mm: which attributes it has; ``sizes_mm`` is the range of its size.
        weight: benign, minor or actionable, the grade of leaving it out or making it up.
    """

    id: str
    templates: tuple[str, ...]
    normal: tuple[str, ...]
    places: tuple[str, ...] | str = ()
    sided: bool = False
    grade: str = ""
    sizes_mm: tuple[int, int] | None = None
    weight: str = "actionable"
    changes: bool = True
    region: str = "chest"


def _read_wording() -> tuple[dict[str, tuple[tuple[str, str], ...]], tuple[Topic, ...]]:
    """Changes and topics of ``inject_grammar.yaml``."""
    data = yaml.safe_load(files("radvlm.evaluate").joinpath("inject_grammar.yaml").read_text(encoding="utf-8"))
    changes = {change: tuple((before, after) for before, after in ways) for change, ways in data["changes"].items()}
    topics: list[dict[str, Any]] = data["topics"]
    rows: list[dict[str, Any]] = [
        {key: tuple(v) if isinstance(v, list) else v for key, v in topic.items()} for topic in topics
    ]
    return changes, tuple(Topic(**row) for row in rows)


#: (before the noun, after it), several wordings of each change.
CHANGES, TOPICS = _read_wording()
BY_ID = {t.id: t for t in TOPICS}
#: UK spelling and dictation habits for style controls.
UK = (
    ("esophag", "oesophag"),
    ("edema", "oedema"),
    ("tumor", "tumour"),
    ("caliber", "calibre"),
    ("centimeter", "centimetre"),
    ("color", "colour"),
)
ABBREVIATED = (
    ("right upper lobe", "RUL"),
    ("right middle lobe", "RML"),
    ("right lower lobe", "RLL"),
    ("left upper lobe", "LUL"),
    ("left lower lobe", "LLL"),
    ("pleural effusion", "effusion"),
    ("abdominal aortic aneurysm", "AAA"),
)
