"""Finding a judge's quote in the report it was taken from.

Models copy almost verbatim: they fold line breaks, change quotation marks and dashes, or leave words out with
an ellipsis. Each of these is undone; anything further is a quote that was not found, which the caller must not hide.
"""

from __future__ import annotations

import re

#: Typographic quotation marks, dashes, signs and blanks -> what a keyboard has.
_SAME = str.maketrans("“”„’‘–—‐‑−×‹\u00a0\u202f\u2009", '"""\'\'-----x<   ')
_EDGE = " \t\r\n\"'`.,;:"
_ELLIPSIS = re.compile(r"\s*(?:\.{3,}|…|\[\.\.\.\]|\[…\])\s*")
#: Parts of one quote lie at most this many characters apart.
MAX_GAP = 300
#: A quote that starts or ends inside a word is accepted only from this length on.
_LONG = 8


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Half-open span of ``quote`` in ``text``, or None. The first occurrence on word boundaries is taken."""
    exact = quote.strip()
    if not exact:
        return None
    found = _find(exact, text, 0)
    if found:
        return found
    folded, places = _fold(text)
    parts = [p for part in _ELLIPSIS.split(exact) if (p := _fold(part)[0].strip(_EDGE))]
    start: int | None = None
    at = 0
    for part in parts:
        span = _find(part, folded, at)
        if span is None or (start is not None and span[0] - at > MAX_GAP):
            return None
        start = span[0] if start is None else start
        at = span[1]
    return None if start is None else (places[start], places[at - 1] + 1)


def _find(part: str, text: str, at: int) -> tuple[int, int] | None:
    first = None
    while (at := text.find(part, at)) >= 0:
        stop = at + len(part)
        open_left = at == 0 or not (text[at - 1].isalnum() and part[0].isalnum())
        open_right = stop == len(text) or not (text[stop].isalnum() and part[-1].isalnum())
        if open_left and open_right:
            return at, stop
        first = first if first is not None else (at, stop)
        at += 1
    return first if first is not None and len(part) >= _LONG else None


def _fold(text: str) -> tuple[str, list[int]]:
    """Lower case, plain punctuation, single blanks; and the place in ``text`` of each character."""
    out: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text.translate(_SAME)):
        if character.isspace():
            if out and out[-1] != " ":
                out.append(" ")
                places.append(place)
            continue
        low = character.lower()
        out.append(low if len(low) == 1 else character)
        places.append(place)
    return "".join(out), places
