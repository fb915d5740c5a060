"""The edges of a sentence: where it ends, its capital, and the article of a noun.

``split_sentences`` is for prose that a model wrote. Reports that people wrote, with headings, wrapped lines and missing
full stops, are read by ``report_reader.sentences``.
"""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?])\s+(?=[^\s])|\n+")
_BULLET = re.compile(r"(?m)^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+")


def capital(text: str) -> str:
    """First letter large, the rest as it is (``segment VI`` -> ``Segment VI``)."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """``a cyst``, ``an abscess``, ``a uterine lesion``, ``an unusual mass``."""
    vowel = noun[0] in "aeio" or noun.startswith("un")  # "a uterine", "a urinary"
    return f"{'an' if vowel else 'a'} {noun}"


def split_sentences(text: str) -> list[str]:
    """Sentences of prose; decimal points end none, bullets and control characters are dropped."""
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    parts = (" ".join(p.split()) for p in _END.split(_BULLET.sub("", clean)))
    return [p for p in parts if any(c.isalnum() for c in p)]
