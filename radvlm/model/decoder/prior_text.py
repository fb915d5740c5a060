"""Prior texts in a prompt of a small decoder: which lines of a block belong to a section, and how they are written.

The block that arrives is the one of ``radvlm.retrieve`` with its statement for large language models; a
decoder that was taught what such lines are needs neither the statement nor the lines of other sections, and every
token counts for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Lines that are shown for one section at most.
MOST_HINTS = 4
_LINE = re.compile(r"^\[other patient \d+(?:; (?P<section>\w+))?\] (?P<text>.+)$")


def hints_for(block: str, section: str) -> tuple[str, ...]:
    """Texts of a block of hints for one section, best first: those labeled with it, then those without a section.

    Lines without the label of another patient are no hints and are left out.
    """
    found = [m for m in map(_LINE.match, block.splitlines()) if m is not None]
    own = [m["text"].strip() for m in found if m["section"] == section]
    bare = [m["text"].strip() for m in found if m["section"] is None]
    return tuple(dict.fromkeys((*own, *bare)))[:MOST_HINTS]


def hinted_prompt(hints: Sequence[str], prompt: str) -> str:
    """The prompt with numbered hints before it, each on its line; the prompt itself without any."""
    lines = [f"[{n}] {' '.join(text.split())}" for n, text in enumerate(hints, 1)]
    return "\n".join([*lines, prompt])
