"""Where data came from and what was done to it: small facts that travel with a Volume and a Segmentation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Step of the decisions about where masks lie on their scan: their warnings stand in the head of every report.
PLACEMENT = "placement"
#: Step of the decisions about images that were given and not read: their warnings stand in the head of every report.
UNREAD = "unread"
#: Step of the decisions that doubt the sizes of a scan: their warnings stand in the head of every report.
SIZE = "size"
#: Step of the decisions about tasks of a segmenter that failed: what they look for was not searched.
UNSEARCHED = "unsearched"


@dataclass(frozen=True)
class SourceFile:
    """One input file: its name (never its folder), size in bytes and sha256 in hex."""

    name: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _printable(self.name))


@dataclass(frozen=True)
class Decision:
    """One thing that a reader or a step decided, such as a resampling or the choice of a series.

    ``step`` names the place (``dicom``, ``nifti``, ``masks``, ``phase`` ...), ``what`` is one sentence for a
    person, ``warning`` is True when a reader of the report should know of it.
    """

    step: str
    what: str
    warning: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", _printable(self.what))


@dataclass(frozen=True)
class MaskOrigin:
    """A program that made masks, so that they are not taken for a radiologist's.

    Attributes:
        by: program, version and task ("TotalSegmentator 2.18.0, task liver_lesions").
        date: day on which it made them, ISO 8601.
        licence: that of its code and weights, as far as known.
        searched: the structures that it looked for and that were taken from it.
        performance: how well it does by what was published, with the source; says so where nothing was.
        seconds: how long it took.
    """

    by: str
    date: str
    licence: str = ""
    searched: frozenset[str] = frozenset()
    performance: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", _printable(self.by))
        object.__setattr__(self, "searched", frozenset(self.searched))

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "by": self.by,
            "date": self.date,
            "licence": self.licence,
            "searched": sorted(self.searched),
            "performance": self.performance,
            "seconds": round(self.seconds, 1),
        }


def _printable(text: str) -> str:
    r"""Text that can be written as UTF-8: a byte of a file name that is none becomes ``\xff``."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def bears_on_everything(decision: Decision) -> bool:
    """Whether a decision is a doubt that must be known before any number or sentence is read."""
    return decision.warning and decision.step in (PLACEMENT, UNREAD, SIZE, UNSEARCHED)


def cautions(decisions: Iterable[Decision]) -> tuple[str, ...]:
    """What must be known before anything else is read, each once: of the place of masks first, then of the scan."""
    told = [d for d in decisions if bears_on_everything(d)]
    return tuple(dict.fromkeys(d.what for d in sorted(told, key=lambda d: d.step != PLACEMENT)))
