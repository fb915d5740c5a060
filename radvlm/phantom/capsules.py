"""Many capsules at once: every (voxel, capsule) pair of a tube in flat arrays.

A tube of a hundred small pieces on a coarse grid costs a hundred times the overhead of numpy when each piece
is painted alone, and only once here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.phantom.shapes import Capsule


@dataclass(frozen=True, eq=False)
class CapsulePairs:
    """Capsules whose boxes touch the grid, with the first voxel and the size of each box (i, j, k)."""

    ends: np.ndarray  # (n, 2, 3) mm
    radii: np.ndarray  # (n, 2) mm
    front_of: np.ndarray  # (n,) mm, -inf for no limit
    start: np.ndarray  # (n, 3)
    count: np.ndarray  # (n, 3)
    mean_voxels: float  # of the whole boxes, so that what is cut off does not change how a tube is painted
    grid: tuple[int, int, int]
    matrix: np.ndarray
    origin: np.ndarray

    @classmethod
    def build(
        cls, capsules: Sequence[Capsule], grid: tuple[int, int, int], matrix: np.ndarray, origin: np.ndarray
    ) -> CapsulePairs | None:
        """None when no capsule touches the grid."""
        ends = np.array([(c.a, c.b) for c in capsules], dtype=float)
        radii = np.array([(c.ra, c.rb) for c in capsules], dtype=float)
        front = np.array([-np.inf if c.front_of is None else c.front_of for c in capsules])
        low = (ends - radii[:, :, None]).min(axis=1)
        high = (ends + radii[:, :, None]).max(axis=1)
        inverse = np.linalg.inv(matrix)
        middle = ((low + high) / 2 - origin) @ inverse.T
        half = ((high - low) / 2) @ np.abs(inverse).T
        first, last = np.floor(middle - half), np.ceil(middle + half) + 1
        mean_voxels = float((last - first).prod(axis=1).mean())
        start = np.maximum(first, 0).astype(np.int64)
        count = np.minimum(last, grid).astype(np.int64) - start
        keep = (count > 0).all(axis=1)
        if not keep.any():
            return None
        return cls(ends[keep], radii[keep], front[keep], start[keep], count[keep], mean_voxels, grid, matrix, origin)

    def evaluate(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flat voxel number in (k, j, i) order, value in mm, and change of the value across the voxel, per pair."""
        sizes = self.count.prod(axis=1)
        owner = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        begin = (np.cumsum(sizes) - sizes).astype(np.int32)
        local = np.arange(int(sizes.sum()), dtype=np.int32) - np.repeat(begin, sizes)
        per_row, rows = self.count[:, 0].astype(np.int32), self.count[:, 1].astype(np.int32)
        line, i = np.divmod(local, per_row[owner])
        k, j = np.divmod(line, rows[owner])
        first = self.start.astype(np.int32)
        i, j, k = i + first[owner, 0], j + first[owner, 1], k + first[owner, 2]
        flat = (k.astype(np.int64) * self.grid[1] + j) * self.grid[0] + i
        index = np.stack([i, j, k]).astype(np.float32)
        matrix = self.matrix.astype(np.float32)
        position = matrix @ index + self.origin.astype(np.float32)[:, None]
        a = self.ends[:, 0].astype(np.float32)
        along = (self.ends[:, 1] - self.ends[:, 0]).astype(np.float32)
        length2 = np.maximum((along * along).sum(axis=1), np.float32(1e-6))
        offset = position - a.T[:, owner]
        direction = along.T[:, owner]
        t = np.clip((offset * direction).sum(axis=0) / length2[owner], 0, 1)
        offset -= direction * t
        distance = np.sqrt((offset * offset).sum(axis=0))
        radii = self.radii.astype(np.float32)
        value = distance - (radii[owner, 0] + (radii[:, 1] - radii[:, 0])[owner] * t)
        slope = matrix.T @ (offset / np.maximum(distance, np.float32(1e-3)))
        width = np.sqrt((slope * slope).sum(axis=0))
        width = np.maximum(width, np.float32(0.3 * np.linalg.norm(self.matrix, axis=0).min()))
        if np.isfinite(self.front_of).any():
            behind = self.front_of.astype(np.float32)[owner] - position[1]
            width = np.where(behind > value, np.float32(np.linalg.norm(self.matrix[1])), width)
            value = np.maximum(value, behind)
        return flat, value, width
