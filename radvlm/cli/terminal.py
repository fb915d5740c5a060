"""What commands show: progress on stderr, results on stdout or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from radvlm.types.provenance import Decision, cautions

if TYPE_CHECKING:
    from radvlm.types.volume import Volume


class Steps:
    """Progress on stderr: a bar on a terminal, plain lines otherwise, nothing when quiet."""

    def __init__(self, quiet: bool, total: int) -> None:
        self._bar: Any = None
        self._quiet = quiet
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, bar_format="{n}/{total} {desc} [{elapsed}]", leave=False)

    def __call__(self, step: str) -> None:
        """Begin a step."""
        if self._bar is not None:
            self._bar.update(1)
            self._bar.set_description_str(step)
        elif not self._quiet:
            print(step, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def deliver(text: str, file: str | None) -> None:
    """Write a result to a file, or to stdout without one."""
    if file:
        from radvlm.files.atomic import write_text

        write_text(file, text)
    else:
        sys.stdout.write(text)


def print_cautions(decisions: Iterable[Decision]) -> None:
    """Doubts about where masks lie, sizes, and images that were not read, on stderr: told even when all is quiet."""
    for what in cautions(decisions):
        print(f"note: {what}", file=sys.stderr)


def print_doubts(scan: Volume, whose: str = "") -> None:
    """Doubts about a scan that no report goes with, on stderr: told even when all else is quiet."""
    from radvlm.types.volume import doubts_of

    for what in doubts_of(scan):
        print(f"note: {whose}{what}", file=sys.stderr)


def printable(text: str) -> str:
    """Text of a model without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
