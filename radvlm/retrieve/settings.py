"""What can be chosen when an index is built."""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.errors import InputError

KINDS = ("auto", "flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq")
TRANSFORMS = ("auto", "none", "centre", "whiten")


@dataclass(frozen=True)
class IndexSettings:
    """Settings of a build; all are kept in the manifest.

    Attributes:
        levels: of ``records.LEVELS``; ``image`` needs volumes.
        kind: one of ``KINDS``; ``auto`` chooses by size and says why.
        transform: one of ``TRANSFORMS``; ``auto`` whitens from twice as many vectors as dimensions, centres below that,
            and leaves fewer than 32 vectors alone.
        recall_target: recall@10 against exact search that an approximate index is tuned to.
        near_duplicate: Jaccard similarity of word triples from which two reports are one (0 to 1).
        scrub: remove dates, names and comparisons (``remove``), refuse text with names or identifiers (``refuse``), or
            take the text as it is (``off``).
        seed: of everything drawn.
    """

    levels: tuple[str, ...] = ("image", "report", "paragraph", "sentence")
    kind: str = "auto"
    transform: str = "auto"
    recall_target: float = 0.99
    near_duplicate: float = 0.8
    scrub: str = "remove"
    seed: int = 0

    def __post_init__(self) -> None:
        from radvlm.retrieve.records import LEVELS

        for name, known in (("kind", KINDS), ("transform", TRANSFORMS), ("scrub", ("remove", "refuse", "off"))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is one of {', '.join(known)}", repr(getattr(self, name)))
        if not self.levels or set(self.levels) - set(LEVELS):
            raise InputError(f"levels are some of {', '.join(LEVELS)}", repr(self.levels))
        for name in ("recall_target", "near_duplicate"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} lies between 0 and 1", repr(getattr(self, name)))
