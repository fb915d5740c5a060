"""What is painted, in which order: the phantom before it has voxels.

Later items cover earlier ones, so structures never overlap except where an item says that it is only texture
or where a partition divides its host. Because the scene can say what is at any point (`Scene.key_at`), lesions
are placed without a grid, and the same parameters give the same truth on every grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from radvlm.phantom.shapes import Capsule, Coords, PointCoords, Shape


@dataclass(frozen=True, eq=False)
class Item:
    """Shapes of one material, painted together.

    Attributes:
        key: unique name in the scene.
        shapes: their union is painted.
        hu: attenuation.
        organ: structure written to the organ layer; "" clears it, None leaves both label layers alone
            (texture, such as vessels inside the lung).
        part: structure written to the part layer; "" clears it.
        only: paint only where the organ layer holds one of these structures.
        insets: further (depth mm, hu) shells painted inside the same shapes, such as marrow inside cortex.
    """

    key: str
    shapes: tuple[Shape, ...]
    hu: float
    organ: str | None = ""
    part: str = ""
    only: frozenset[str] | None = None
    insets: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Partition:
    """Parts that divide a host: ``classify`` gives 0..n-1 for each position, the index into ``parts``."""

    host: str
    parts: tuple[str, ...]
    classify: Callable[[Coords], np.ndarray]


@dataclass(eq=False)
class Scene:
    """Items in painting order, and partitions."""

    items: list[Item] = field(default_factory=list)
    partitions: list[Partition] = field(default_factory=list)

    def add(
        self,
        key: str,
        shapes: Shape | Iterable[Shape],
        hu: float,
        organ: str | None = "",
        part: str = "",
        *,
        insets: tuple[tuple[float, float], ...] = (),
        only: frozenset[str] | None = None,
    ) -> None:
        group = tuple(shapes) if isinstance(shapes, Iterable) else (shapes,)
        self.items.append(Item(key, group, float(hu), organ, part, only, insets))

    @cached_property
    def _solid(self) -> tuple[list[tuple[int, Shape]], np.ndarray, np.ndarray]:
        """Every shape that owns what it covers, with the number of its item; lower and upper corners of their boxes."""
        shapes = [(n, shape) for n, item in enumerate(self.items) if item.organ is not None for shape in item.shapes]
        low, high = np.empty((len(shapes), 3)), np.empty((len(shapes), 3))
        tubes = [n for n, (_, shape) in enumerate(shapes) if isinstance(shape, Capsule)]
        ends = np.array([(shapes[n][1].a, shapes[n][1].b) for n in tubes])  # type: ignore[attr-defined]
        radii = np.array([(shapes[n][1].ra, shapes[n][1].rb) for n in tubes])[:, :, None]  # type: ignore[attr-defined]
        low[tubes], high[tubes] = (ends - radii).min(axis=1), (ends + radii).max(axis=1)
        for n in set(range(len(shapes))) - set(tubes):
            low[n], high[n] = shapes[n][1].bounds()
        return shapes, low, high

    def item(self, key: str) -> Item:
        return next(item for item in self.items if item.key == key)

    def bounds(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        boxes = [shape.bounds() for shape in self.item(key).shapes]
        return np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)

    def key_at(self, points: np.ndarray) -> np.ndarray:
        """Index of the uppermost item at each (N, 3) position; -1 in air."""
        owner = np.full(len(points), -1)
        low, high = points.min(axis=0), points.max(axis=0)
        shapes, lows, highs = self._solid
        met = np.flatnonzero(((highs >= low) & (lows <= high)).all(axis=1))
        boxed = np.ones((len(met), len(points)), dtype=bool)  # which positions lie in the box of which shape
        for axis in range(3):
            along = points[:, axis]
            boxed &= (along >= lows[met, axis, None]) & (along <= highs[met, axis, None])
        for row in np.flatnonzero(boxed.any(axis=1)):
            number, shape = shapes[met[row]]
            near = np.flatnonzero(boxed[row])
            inside = shape.value(PointCoords(points[near])) < 0
            if self.items[number].only is not None:
                names = [self.items[n].organ if n >= 0 else "" for n in owner[near]]
                inside &= np.array([name in self.items[number].only for name in names])
            owner[near[inside]] = number
        return owner

    def partition(self, host: str) -> Partition | None:
        return next((p for p in self.partitions if p.host == host), None)
