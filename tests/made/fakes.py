"""A model of a few lines that follows ``radvlm.model.protocol``: it says what the test tells it to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.geometry import Box
from radvlm.types.model_output import Answer, Draft, FindingScore, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.region import Region
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

NOTICE = "Trained on phantoms only; never validated on patients."


def status_of(probability: float) -> Status:
    return Status.PRESENT if probability >= 0.7 else Status.ABSENT if probability <= 0.3 else Status.INDETERMINATE


def scores(
    probabilities: Mapping[str, float],
    regions: Mapping[str, Region] | None = None,
    locations: Mapping[str, tuple[str, ...]] | None = None,
    rest: float | None = 0.03,
) -> tuple[FindingScore, ...]:
    """One score per finding of the vocabulary and site; keys are ``finding`` or ``finding@site``.

    ``rest`` is the probability of what is not listed; None leaves it out.
    """
    made = []
    for kind in finding_kinds().values():
        for site in [f"{kind.site}_{s}" for s in ("right", "left")] if kind.sided else [kind.site]:
            key = next((k for k in (f"{kind.name}@{site}", kind.name) if k in probabilities), "")
            chance = probabilities[key] if key else rest
            if chance is None:
                continue
            status = status_of(chance)
            region = (regions or {}).get(key) if key and status is not Status.ABSENT else None
            own = region is not None and region.structure.startswith(kind.structure.split("{")[0] or "?")
            grounding = "not localized" if region is None else "voxel head" if own else "organ"
            where = (locations or {}).get(key, ()) if status is not Status.ABSENT else ()
            made.append(
                FindingScore(kind.name, kind.words, kind.section, site, chance, status, region, grounding, where)
            )
    return tuple(made)


def segmentation(volume: Volume, masks: Mapping[str, np.ndarray], searched: Sequence[str] = ()) -> Segmentation:
    """Each mask in a layer of its own."""
    layers = tuple(np.asarray(mask, dtype=np.uint8) for mask in masks.values())
    places = {name: LabelPlace(n, 1) for n, name in enumerate(masks)}
    return Segmentation(layers, places, frozenset([*masks, *searched]), volume.geometry, "fake model")


def region_of(volume: Volume, name: str, mask: np.ndarray) -> Region:
    where = np.argwhere(mask)
    lo, hi = where.min(axis=0), where.max(axis=0) + 1
    affine = volume.geometry.affine
    center = affine[:3, :3] @ where.mean(axis=0) + affine[:3, 3]
    return Region(
        name,
        name,
        Box(tuple(map(int, lo)), tuple(map(int, hi))),
        len(where),
        len(where) * volume.geometry.voxel_volume_mm3 / 1000,
        tuple(float(v) for v in center),
    )


@dataclass
class FakeModel:
    """Says ``probabilities``, ``drafts`` and the masks it is given; ``calls`` keeps what it was asked."""

    probabilities: Mapping[str, float] = field(default_factory=dict)
    drafts: tuple[Draft, ...] = ()
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    located: Mapping[str, str] = field(default_factory=dict)  # key of probabilities -> name in masks
    locations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    searched: tuple[str, ...] = ()
    rest: float | None = 0.03
    name: str = "fake"
    notice: str = NOTICE
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def _scores(self, volume: Volume) -> tuple[FindingScore, ...]:
        regions = {key: region_of(volume, name, self.masks[name]) for key, name in self.located.items()}
        return scores(self.probabilities, regions, self.locations, self.rest)

    def read(
        self, volume: Volume, *, findings: Sequence[Citable] = (), segmentation: Segmentation | None = None
    ) -> tuple[ModelOutput, Segmentation | None]:
        self.calls.append(("read", findings))
        own = globals()["segmentation"](volume, self.masks, self.searched) if self.masks else None
        model_output = ModelOutput(
            self.name,
            "0" * 64,
            self.notice,
            self._scores(volume),
            self.drafts,
            (Decision("model", "The field of view is unlike that of the training.", True),),
            {"liver_cyst": (0.3, 0.7)},
        )
        return model_output, own

    def classify(self, volume: Volume, findings: Sequence[str] | None = None) -> tuple[FindingScore, ...]:
        self.calls.append(("classify", findings))
        if findings is None:
            return self._scores(volume)
        return tuple(FindingScore(text, text, "liver", "", 0.5, Status.INDETERMINATE) for text in findings)

    def answer(
        self,
        volume: Volume,
        question: str,
        *,
        findings: Sequence[Finding] = (),
        segmentation: Segmentation | None = None,
    ) -> Answer:
        self.calls.append(("answer", findings))
        return Answer("Yes", 0.87, Status.PRESENT, evidence=("hepatic cyst 0.93",))

    def embed(self, volume: Volume) -> np.ndarray:
        return np.array([0.6, 0.8], np.float32)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([0.6, 0.8], np.float32), (len(texts), 1))
