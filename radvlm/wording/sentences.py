"""The edges of a sentence: its capital, and the article of a noun."""

from __future__ import annotations


def capital(text: str) -> str:
    """First letter large, the rest as it is (``segment VI`` -> ``Segment VI``)."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """``a cyst``, ``an abscess``, ``a uterine lesion``, ``an unusual mass``."""
    vowel = noun[0] in "aeio" or noun.startswith("un")  # "a uterine", "a urinary"
    return f"{'an' if vowel else 'a'} {noun}"
