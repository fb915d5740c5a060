"""US and UK spelling of the words of a report; the pairs are the ``uk`` table of ``vocabulary.yaml``.

Two tables stay elsewhere because they do another thing: ``types.label_scheme`` makes names of masks alike, plurals and
synonyms included, and the lexicon of ``report_reader`` also repairs misspellings of reports that others wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from radvlm.wording.vocabulary import lexicon


def to_uk(text: str) -> str:
    """US to UK spelling, word by word, keeping a capital."""
    return _respelled(text, lexicon().uk)


def to_us(text: str) -> str:
    return _respelled(text, {uk: us for us, uk in lexicon().uk.items()})


def _respelled(text: str, table: Mapping[str, str]) -> str:
    def swap(match: re.Match[str]) -> str:
        word = match.group(0)
        other = table.get(word.lower(), word)
        return other[0].upper() + other[1:] if word[0].isupper() and other is not word else other

    return re.sub(r"[A-Za-z]+", swap, text)
