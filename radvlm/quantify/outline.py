"""Axial long and short axis of a mask, edge to edge.

The outline of a mask in a slice is its marching-squares contour at one half, whose vertices are the midpoints of pixel
edges. So one pixel of 1 mm measures 1 mm (its corners would give 1.4 mm, its center 0 mm), a run of n pixels measures
n, and a digitized disc is wrong by less than one pixel in every direction. Pixels that touch at a corner belong
together. The short axis is the longest chord inside that outline at a right angle to the long axis; it never crosses a
gap, so a U-shape is not measured across its opening. Definition of the axes: RECIST 1.1 (longest diameter in the axial
plane), WHO (largest perpendicular to it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Two lengths nearer than this are a tie, which the larger area and the longer short axis decide.
TIE_MM = 1e-6
_MAX_TIES = 16
_MAX_OFFSETS = 4096
_CELLS_AT_ONCE = 1 << 24

# Corners of a marching-squares cell: 1 = (i, j), 2 = (i+1, j), 4 = (i+1, j+1), 8 = (i, j+1); the four edge
# midpoints, as offsets from (i, j): 0 between corners 1 and 2, 1: 2-4, 2: 4-8, 3: 8-1.
_EDGE_MIDPOINTS = np.array([(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)])
# Corners inside -> edges joined by a segment. 5 and 10 (two opposite corners inside) stay connected.
_SEGMENTS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),),
    2: ((0, 1),),
    3: ((3, 1),),
    4: ((1, 2),),
    5: ((0, 1), (2, 3)),
    6: ((0, 2),),
    7: ((2, 3),),
    8: ((2, 3),),
    9: ((0, 2),),
    10: ((3, 0), (1, 2)),
    11: ((1, 2),),
    12: ((3, 1),),
    13: ((0, 1),),
    14: ((3, 0),),
}


@dataclass(frozen=True)
class PlanarAxes:
    """Long and short axis of one connected piece in one axial slice.

    Attributes:
        slice_index: index of the slice in the array that was given.
        long_mm, short_mm: lengths.
        long_ends, short_ends: ((i, j), (i, j)) in fractional indices of the array that was given.
        area_mm2: area of the piece.
    """

    slice_index: int
    long_mm: float
    short_mm: float
    long_ends: tuple[tuple[float, float], tuple[float, float]]
    short_ends: tuple[tuple[float, float], tuple[float, float]]
    area_mm2: float


@dataclass(frozen=True)
class _Piece:
    mask: np.ndarray
    origin: tuple[int, int]
    slice_index: int
    long_mm: float
    candidates: tuple[tuple[np.ndarray, np.ndarray], ...]  # pairs of end points, (2,) index of the piece

    @property
    def pixels(self) -> int:
        return int(np.count_nonzero(self.mask))


def planar_axes(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> PlanarAxes:
    """Axes of a boolean (I, J, K) mask with at least one voxel; axis 2 counts axial slices.

    The slice and the connected piece with the longest axis are chosen; ties go to the larger area, then to the
    longer short axis, then to the lower slice.
    """
    from scipy.ndimage import find_objects, label

    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[:, :, 1] = True
    pieces, _ = label(mask, structure=in_plane)
    boxes = [(number, box) for number, box in enumerate(find_objects(pieces), 1)]
    spacing = np.array(spacing_mm[:2])

    def reach(box: tuple[slice, ...]) -> float:
        return float(np.hypot(*((np.array([s.stop - s.start for s in box[:2]])) * spacing)))

    best: list[_Piece] = []
    longest = 0.0
    for number, box in sorted(boxes, key=lambda item: -reach(item[1])):
        if reach(box) < longest - TIE_MM:
            break
        piece = pieces[box][:, :, 0] == number
        length, candidates = long_axis(piece, spacing)
        if length < longest - TIE_MM:
            continue
        longest = max(longest, length)
        origin = (box[0].start, box[1].start)
        best.append(_Piece(piece, origin, box[2].start, length, candidates))
    best = [piece for piece in best if piece.long_mm >= longest - TIE_MM]
    largest = max(piece.pixels for piece in best)
    axes = [_with_short_axis(piece, spacing) for piece in best if piece.pixels == largest][:_MAX_TIES]
    widest = max(a.short_mm for a in axes)
    return min((a for a in axes if a.short_mm >= widest - TIE_MM), key=lambda a: (a.slice_index, a.long_ends))


def long_axis(piece: np.ndarray, spacing: np.ndarray) -> tuple[float, tuple[tuple[np.ndarray, np.ndarray], ...]]:
    """Longest distance in mm between two outline points of a (I, J) mask, and every pair of points that has it.

    The farthest points of a set are vertices of its convex hull, and only the first and last pixel of each row
    can carry one.
    """
    from scipy.spatial import ConvexHull

    rows = np.flatnonzero(piece.any(axis=1))
    first = piece[rows].argmax(axis=1)
    last = piece.shape[1] - 1 - piece[rows, ::-1].argmax(axis=1)
    points = np.concatenate(
        [
            np.stack([rows + di, ends + dj], axis=1)
            for ends, outward in ((first, -0.5), (last, 0.5))
            for di, dj in ((0.0, outward), (0.5, 0.0), (-0.5, 0.0))
        ]
    )
    points = points[ConvexHull(points * spacing).vertices]
    distances = np.linalg.norm((points[:, None] - points[None]) * spacing, axis=2)
    length = float(distances.max())
    pairs = np.argwhere(np.triu(distances) >= length - TIE_MM)
    return length, tuple((points[a], points[b]) for a, b in pairs[:_MAX_TIES])


def _with_short_axis(piece: _Piece, spacing: np.ndarray) -> PlanarAxes:
    from scipy.ndimage import binary_fill_holes

    segments = outline_segments(binary_fill_holes(piece.mask))
    options = []
    for start, stop in piece.candidates:
        length, chord = longest_chord(segments, spacing, (stop - start) * spacing)
        options.append((length, start, stop, chord))
    widest = max(option[0] for option in options)
    length, start, stop, chord = next(option for option in options if option[0] >= widest - TIE_MM)

    def ends(a: np.ndarray, b: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
        moved = sorted((float(p[0]) + piece.origin[0], float(p[1]) + piece.origin[1]) for p in (a, b))
        return moved[0], moved[1]

    return PlanarAxes(
        piece.slice_index,
        piece.long_mm,
        length,
        ends(start, stop),
        ends(*chord),
        piece.pixels * float(spacing[0] * spacing[1]),
    )


def outline_segments(piece: np.ndarray) -> np.ndarray:
    """(n, 2, 2) line segments, in index units, of the marching-squares contour of a (I, J) mask."""
    padded = np.pad(piece, 1).astype(np.uint8)
    cells = padded[:-1, :-1] + 2 * padded[1:, :-1] + 4 * padded[1:, 1:] + 8 * padded[:-1, 1:]
    found = []
    for case, edges in _SEGMENTS.items():
        where = np.argwhere(cells == case) - 1.0  # -1: the padding
        for a, b in edges:
            found.append(np.stack([where + _EDGE_MIDPOINTS[a], where + _EDGE_MIDPOINTS[b]], axis=1))
    return np.concatenate(found)


def longest_chord(
    segments: np.ndarray, spacing: np.ndarray, direction_mm: np.ndarray
) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Longest chord inside a closed outline at a right angle to a direction: (mm, its two ends in index units).

    The length of a chord is linear between two neighboring vertices, so the longest one lies at a vertex; it is
    taken at both ends of every gap between vertices. Outlines with more than 4096 such places are sampled.
    """
    along = direction_mm / np.linalg.norm(direction_mm)
    across = np.array([-along[1], along[0]])
    mm = segments * spacing
    t, s = mm @ along, mm @ across  # (n, 2) positions along and across the long axis
    places = np.unique(t)
    gaps = np.flatnonzero(np.diff(places) > TIE_MM)
    steps = np.diff(places)[gaps] * 1e-6
    offsets = np.concatenate([places[gaps] + steps, places[gaps + 1] - steps])
    if len(offsets) > _MAX_OFFSETS:
        offsets = np.sort(offsets)[np.linspace(0, len(offsets) - 1, _MAX_OFFSETS).astype(int)]
    best_length, best = 0.0, (0.0, 0.0, 0.0)
    chunk = max(1, _CELLS_AT_ONCE // len(segments))
    for begin in range(0, len(offsets), chunk):
        here = offsets[begin : begin + chunk]
        row, segment = np.nonzero((t[:, 0] < here[:, None]) != (t[:, 1] < here[:, None]))
        t0, t1 = t[segment, 0], t[segment, 1]
        position = s[segment, 0] + (here[row] - t0) / (t1 - t0) * (s[segment, 1] - s[segment, 0])
        order = np.lexsort((position, row))
        row, position = row[order], position[order]
        lengths = position[1::2] - position[::2]  # inside between crossings 0 and 1, 2 and 3, ...
        top = int(lengths.argmax())
        if lengths[top] > best_length + TIE_MM:
            best_length = float(lengths[top])
            best = (float(here[row[2 * top]]), float(position[2 * top]), float(position[2 * top + 1]))
    offset, low, high = best
    return best_length, ((offset * along + low * across) / spacing, (offset * along + high * across) / spacing)
