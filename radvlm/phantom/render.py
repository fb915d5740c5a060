"""Voxels from a scene.

Rules. A voxel belongs to a structure when its *center* does. Its HU is blended by the share of the voxel that
a surface covers, from the signed value at the center and the change of that value across the voxel, so thick
slices get thick partial volume. Shapes are evaluated only inside their boxes and in slabs of a few million
voxels; arrays are (k, j, i) inside and handed out as RAS+ views.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from radvlm.phantom.capsules import CapsulePairs
from radvlm.phantom.scene import Item, Scene
from radvlm.phantom.shapes import Bounds, Capsule, GridCoords, Shape
from radvlm.types.geometry import Geometry

_SLAB_VOXELS = 2_000_000
#: Capsules whose boxes hold fewer voxels than this on average are painted together.
_SPARSE_VOXELS = 3000
ORGAN, PART, LESION = 0, 1, 2


@dataclass(eq=False)
class Canvas:
    """HU and three label layers on a grid; ``tilt`` rotates world into the patient's frame."""

    geometry: Geometry
    tilt: np.ndarray
    hu: np.ndarray = field(init=False)
    layers: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False)
    names: tuple[dict[str, int], dict[str, int], dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        shape = self.geometry.shape[::-1]
        self.hu = np.full(shape, -1000, dtype=np.int16)
        self.layers = tuple(np.zeros(shape, dtype=np.uint8) for _ in range(3))  # type: ignore[assignment]
        self.names = ({"": 0}, {"": 0}, {"": 0})
        self.matrix = self.tilt @ self.geometry.affine[:3, :3]
        self.origin = self.tilt @ self.geometry.affine[:3, 3]
        self.inverse = np.linalg.inv(self.matrix)
        self.reach = 0.8 * max(self.geometry.spacing_mm)

    def label(self, layer: int, name: str) -> int:
        return self.names[layer].setdefault(name, len(self.names[layer]))

    def box(self, bounds: Bounds, margin_mm: float) -> tuple[tuple[int, int], ...] | None:
        """(start, stop) along k, j, i of the voxels that a box in the patient's frame can touch."""
        low, high = bounds[0] - margin_mm, bounds[1] + margin_mm
        corners = np.array(
            [[(low, high)[a][0], (low, high)[b][1], (low, high)[c][2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        )
        index = (corners - self.origin) @ self.inverse.T
        ranges = []
        for axis in (2, 1, 0):
            start = max(0, int(np.floor(index[:, axis].min())))
            stop = min(self.geometry.shape[axis], int(np.ceil(index[:, axis].max())) + 1)
            if stop <= start:
                return None
            ranges.append((start, stop))
        return tuple(ranges)

    def slabs(self, bounds: Bounds, margin_mm: float = 0.0) -> Iterator[tuple[tuple[slice, slice, slice], GridCoords]]:
        """Slabs of the voxels near a box, each with coordinates padded by one voxel on every side."""
        ranges = self.box(bounds, margin_mm)
        if ranges is None:
            return
        (k0, k1), (j0, j1), (i0, i1) = ranges
        step = max(1, _SLAB_VOXELS // max(1, (j1 - j0) * (i1 - i0)))
        for start in range(k0, k1, step):
            stop = min(start + step, k1)
            coords = GridCoords(
                self.matrix, self.origin, (start - 1, j0 - 1, i0 - 1), (stop - start + 2, j1 - j0 + 2, i1 - i0 + 2)
            )
            yield (slice(start, stop), slice(j0, j1), slice(i0, i1)), coords

    def paint_item(self, item: Item) -> None:
        only = self._allowed(item.only)
        organ = None if item.organ is None else self.label(ORGAN, item.organ)
        part = None if item.organ is None else self.label(PART, item.part)
        writes = ((ORGAN, organ), (PART, part))
        shells = ((0.0, item.hu), *item.insets)
        capsules = [shape for shape in item.shapes if isinstance(shape, Capsule)]
        if len(capsules) == len(item.shapes):
            pairs = CapsulePairs.build(capsules, self.geometry.shape, self.matrix, self.origin)
            if pairs is None:
                return
            if pairs.mean_voxels < _SPARSE_VOXELS:
                self._paint_pairs(pairs, shells, writes, only)
                return
        if len(item.shapes) == 1:
            self._paint(item.shapes[0], shells, writes, only)
            return
        for depth, hu in shells:  # the whole outer surface first, so no wall is left inside at the joints
            for shape in item.shapes:
                self._paint(shape, ((depth, hu),), writes if depth == 0 else (), only)

    def paint_lesion(
        self, shape: Shape, hu: float | None, structure: str, only: frozenset[str] | None, organ: str | None = None
    ) -> None:
        """A lesion in its own layer; ``organ`` also rewrites the organ layer ("" clears it).

        With ``hu`` None only the label is written; with ``structure`` "" only the HU.
        """
        writes: tuple[tuple[int, int | None], ...] = ((LESION, self.label(LESION, structure) if structure else None),)
        if organ is not None:
            writes += ((ORGAN, self.label(ORGAN, organ)), (PART, 0))
        self._paint(shape, ((0.0, hu),), writes, self._allowed(only))

    def _allowed(self, only: frozenset[str] | None) -> np.ndarray | None:
        """Which labels of the organ layer may be painted over; None for all."""
        if only is None:
            return None
        table = np.zeros(256, dtype=bool)
        table[[n for name, n in self.names[ORGAN].items() if name in only]] = True
        return table

    def _paint(
        self,
        shape: Shape,
        shells: tuple[tuple[float, float | None], ...],
        writes: tuple[tuple[int, int | None], ...],
        only: np.ndarray | None,
    ) -> None:
        bounds = shape.bounds()
        for box, coords in self.slabs(bounds):
            value = shape.value(coords)
            if value.shape != coords.shape:
                value = np.ascontiguousarray(np.broadcast_to(value, coords.shape))
            allowed = None if only is None else only[self.layers[ORGAN][box]]
            for number, (depth, hu) in enumerate(shells):
                inside = self._blend(box, value, np.float32(-depth), hu, allowed)
                if number == 0 and inside is not None:
                    for layer, label in writes:
                        if label is not None:
                            np.copyto(self.layers[layer][box], np.uint8(label), where=inside)

    def _paint_pairs(
        self,
        pairs: CapsulePairs,
        shells: tuple[tuple[float, float], ...],
        writes: tuple[tuple[int, int | None], ...],
        only: np.ndarray | None,
    ) -> None:
        """All capsules of a tube in one go, on the voxels near them (many small pieces on a coarse grid)."""
        flat, value, width = pairs.evaluate()
        low = int(flat.min())
        size = int(flat.max()) - low + 1
        for number, (depth, hu) in enumerate(shells):
            cover = np.clip(np.float32(0.5) - (value + np.float32(depth)) / width, 0, 1)
            best = np.zeros(size, dtype=np.float32)
            np.maximum.at(best, flat - low, cover)
            at = np.flatnonzero(best)
            place = at + low
            if only is not None:
                keep = only[self.layers[ORGAN].ravel()[place]]
                at, place = at[keep], place[keep]
            target = self.hu.reshape(-1)
            old = target[place].astype(np.float32)
            target[place] = np.rint(old + (np.float32(hu) - old) * best[at]).astype(np.int16)
            if number == 0:
                inside = place[best[at] > 0.5]
                for layer, label in writes:
                    if label is not None:
                        self.layers[layer].reshape(-1)[inside] = label

    def _blend(
        self,
        box: tuple[slice, slice, slice],
        value: np.ndarray,
        level: np.float32,
        hu: float | None,
        allowed: np.ndarray | None,
    ) -> np.ndarray | None:
        """Blend HU over the part of the box where ``value < level``; returns the mask by voxel center."""
        core = value[1:-1, 1:-1, 1:-1]
        inside = core < level
        near = np.abs(core - level) < self.reach if level else np.abs(core) < self.reach
        if allowed is not None:
            inside &= allowed
            near &= allowed
        if hu is None:
            return inside
        target = self.hu[box]
        at = np.nonzero(near)
        if at[0].size:
            k, j, i = (axis + 1 for axis in at)
            here = value[k, j, i]
            square = np.zeros_like(here)
            for low, high in (
                (value[k - 1, j, i], value[k + 1, j, i]),
                (value[k, j - 1, i], value[k, j + 1, i]),
                (value[k, j, i - 1], value[k, j, i + 1]),
            ):
                square += np.maximum(np.abs(high - here), np.abs(here - low)) ** 2
            cover = np.clip(np.float32(0.5) - (here - level) / np.sqrt(np.maximum(square, np.float32(1e-6))), 0, 1)
            old = target[at].astype(np.float32)
            np.copyto(target, np.int16(round(hu)), where=inside)
            target[at] = np.rint(old + (np.float32(hu) - old) * cover).astype(np.int16)
        elif inside.any():
            np.copyto(target, np.int16(round(hu)), where=inside)
        else:
            return None
        return inside

    def partition(self, scene: Scene) -> None:
        """Write the parts of every partitioned host."""
        for partition in scene.partitions:
            host = self.names[ORGAN].get(partition.host)
            if host is None:
                continue
            labels = np.array([self.label(PART, part) for part in partition.parts], dtype=np.uint8)
            for box, padded in self.slabs(scene.bounds(partition.host)):
                coords = GridCoords(
                    padded.matrix,
                    padded.origin,
                    tuple(s + 1 for s in padded.start),  # type: ignore[arg-type]
                    tuple(n - 2 for n in padded.shape),  # type: ignore[arg-type]
                )
                mask = self.layers[ORGAN][box] == host
                if mask.any():
                    np.copyto(self.layers[PART][box], labels[partition.classify(coords)], where=mask)

    def add_noise(self, noise_hu: float, streak_hu: float, seed: int) -> None:
        """Gaussian noise, correlated over neighboring voxels, and streaks along rows through much bone."""
        if noise_hu == 0 and streak_hu == 0:
            return
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 2])))
        rows, columns = self.hu.shape[1:]
        previous = None
        for k in range(self.hu.shape[0]):
            fine = rng.standard_normal((rows + 2, columns + 2), dtype=np.float32)
            smooth = fine[1:-1] + np.float32(0.6) * (fine[:-2] + fine[2:])
            smooth = smooth[:, 1:-1] + np.float32(0.6) * (smooth[:, :-2] + smooth[:, 2:])
            smooth *= np.float32(1 / 1.72)  # the kernel (0.6, 1, 0.6) squared sums to 1.72 along each axis
            mixed = smooth if previous is None else np.float32(0.3) * previous + np.float32(0.954) * smooth
            previous = mixed
            total = mixed * np.float32(noise_hu)
            if streak_hu:
                bone = (self.hu[k] > 250).mean(axis=1, dtype=np.float32)
                strength = np.minimum(1, bone * 12) * np.float32(streak_hu)
                total += (strength * rng.standard_normal(rows, dtype=np.float32))[:, None]
            np.clip(np.rint(self.hu[k] + total), -1024, 3071, out=total)
            self.hu[k] = total


def render_scene(canvas: Canvas, scene: Scene) -> None:
    for item in scene.items:
        canvas.paint_item(item)
    canvas.partition(scene)
