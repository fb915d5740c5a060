"""Words put into a list: the piece of English that the text of a ``Report`` and every floor above it need."""

from __future__ import annotations

from collections.abc import Sequence


def joined(words: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def first_of(words: Sequence[str], most: int, rest: str = "more") -> str:
    """``a, b``, or ``a, b and 3 more`` where there are over ``most``; ``rest`` names the others."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} {rest}" if len(words) > most else "")
