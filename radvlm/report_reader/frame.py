"""A frame: one mention of a finding with what is said of it; and the reading of a whole report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """One mention of a finding.

    Attributes:
        kind: key of the lexicon's kinds.
        status: present, absent, uncertain, history (not now), hypothetical (only asked for).
        site: site the mention was attached to; the kind's home when none was written.
        sides: subset of {"left", "right"}; both for bilateral, empty when not stated.
        locations: finer sites inside the home (upper_lobe, liver_segment_6, T12), empty when not stated.
        sizes_mm: stated dimensions, largest first; () when none.
        grade: severity from 1 (trace) over 1.5 (mild), 3 (moderate) to 4 (severe, large); None when not stated.
        change: new, increased, decreased, stable or "".
        small: said to be below 1 cm or not enlarged by size.
        start, stop: span of the mention in the report.
        sentence: span of its sentence.
        section: findings or impression.
        measured: from a structured report, so numbers are exact.
        change_span: span of the words of change, or () when none.
    """

    kind: str
    status: str
    site: str
    sides: frozenset[str] = frozenset()
    locations: frozenset[str] = frozenset()
    sizes_mm: tuple[float, ...] = ()
    grade: float | None = None
    change: str = ""
    small: bool = False
    start: int = 0
    stop: int = 0
    sentence: tuple[int, int] = (0, 0)
    section: str = "findings"
    measured: bool = False
    change_span: tuple[int, int] | tuple[()] = ()

    @property
    def size_mm(self) -> float | None:
        """The largest stated dimension, mm."""
        return self.sizes_mm[0] if self.sizes_mm else None


@dataclass(frozen=True, slots=True)
class Reading:
    """Frames of a report, sites called normal, and spans of comparisons that name no finding."""

    frames: tuple[Frame, ...]
    normal_sites: frozenset[str]
    comparisons: tuple[tuple[int, int, str], ...] = ()


def present(frames: Iterable[Frame]) -> list[Frame]:
    """Frames that assert a finding, sure or not."""
    return [f for f in frames if f.status in ("present", "uncertain")]
