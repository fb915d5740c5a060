"""Where a point of one scan lies in another scan of the same patient: rigid or affine, from organs that both show.

Only the centers of complete organs are used, so no lesion is deformed away: the map has 6 (rigid) or 12
(affine) numbers for the whole body. It is fitted robustly, and its error is what leaving one organ out says, not the
residual of the fit. A lesion is then moved by what is left over at its own organ, since a liver breathes against
the spine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radvlm.types.anatomy import structure
from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import Measurements

#: Organs that move or fill by themselves and tell nothing about where the patient lies.
_MOVING = (
    "stomach",
    "small_bowel",
    "colon",
    "duodenum",
    "urinary_bladder",
    "rectum",
    "intestine",
    "gallbladder",
    "esophagus",
    "common_bile_duct",
    "appendix",
    "small_bowel_mesentery",
)
_KINDS = ("organ", "bone", "vessel")
#: Shared organs from which the affine map is tried, and how much better (leave-one-out) it must be.
AFFINE_FROM, AFFINE_GAIN = 10, 0.8
#: Residual (mm) at which an organ counts half in the fit.
HALF_WEIGHT_MM = 8.0


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map from RAS+ mm of the prior scan to those of the current one.

    Attributes:
        kind: ``affine``, ``rigid``, ``translation`` or ``identity``.
        matrix: 4x4, prior to current.
        error_mm: median distance by which it misses an organ left out of the fit; None when that cannot be told.
        organs: structures it was fitted to.
        offsets_mm: structure -> what is left over at it (current minus mapped prior).
    """

    kind: str
    matrix: np.ndarray
    error_mm: float | None
    organs: tuple[str, ...]
    offsets_mm: dict[str, tuple[float, float, float]]

    def apply(self, point_mm: tuple[float, float, float], host: str = "") -> np.ndarray:
        """A point of the prior scan in the current one, moved with its host organ where that was aligned."""
        moved = self.matrix[:3, :3] @ np.asarray(point_mm) + self.matrix[:3, 3]
        return moved + np.asarray(self.offsets_mm.get(host, (0.0, 0.0, 0.0)))


def align(current: Measurements, prior: Measurements) -> tuple[Alignment, Decision]:
    """The map from the prior scan to the current one, from organs that are complete in both."""
    names, target, source = _shared(current, prior)
    if len(names) >= 3 and _spread(source) > 5.0:
        weights = np.ones(len(names))
        matrix = _rigid(source, target, weights)
        for _ in range(10):
            missed = np.linalg.norm(_moved(matrix, source) - target, axis=1)
            weights = 1 / (1 + (missed / HALF_WEIGHT_MM) ** 2)
            matrix = _rigid(source, target, weights)
        kind, error = "rigid", _left_out(source, target, weights, _rigid)
        if len(names) >= AFFINE_FROM:
            loose = _left_out(source, target, weights, _affine)
            if loose < AFFINE_GAIN * error:
                kind, matrix, error = "affine", _affine(source, target, weights), loose
        alignment = _alignment(kind, matrix, error, names, source, target)
        return alignment, Decision(
            "alignment",
            f"Prior scan aligned to the current one ({kind}) on the centers of "
            f"{len(names)} organs; it misses an organ left out by {error:.1f} mm (median).",
            warning=error > 15,
        )
    matrix = np.eye(4)
    if names:
        matrix[:3, 3] = np.median(target - source, axis=0)
        kind, what = "translation", f"shifted by the centers of {', '.join(names)}, too few for a rotation"
    else:
        kind, what = "identity", "not aligned: no organ is complete in both scans, so positions are taken as they are"
    return (
        _alignment(kind, matrix, None, names, source, target),
        Decision("alignment", f"Prior scan {what}.", warning=True),
    )


def _shared(current: Measurements, prior: Measurements) -> tuple[list[str], np.ndarray, np.ndarray]:
    names, target, source = [], [], []
    for record in current.structures:
        row, other = structure(record.structure), prior.structure(record.structure)
        if row.kind not in _KINDS or row.name in _MOVING or other is None or record.cut_by or other.cut_by:
            continue
        ratio = record.volume_ml / other.volume_ml
        if 0.5 < ratio < 2:  # otherwise one of the masks is not the whole organ
            names.append(row.name)
            target.append(record.region.centroid_mm)
            source.append(other.region.centroid_mm)
    return names, np.array(target).reshape(-1, 3), np.array(source).reshape(-1, 3)


def _spread(points: np.ndarray) -> float:
    """Second largest standard deviation of the points: near 0 when they lie on a line."""
    return float(np.sqrt(np.linalg.eigvalsh(np.cov(points.T, bias=True))[1]))


def _alignment(
    kind: str, matrix: np.ndarray, error: float | None, names: list[str], source: np.ndarray, target: np.ndarray
) -> Alignment:
    left = target - _moved(matrix, source) if names else np.zeros((0, 3))
    offsets = {n: (float(o[0]), float(o[1]), float(o[2])) for n, o in zip(names, left, strict=True)}
    return Alignment(kind, matrix, error, tuple(names), offsets)


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _rigid(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least-squares rotation and translation (Kabsch 1976), 4x4."""
    w = weights / weights.sum()
    a, b = w @ source, w @ target
    u, _, vt = np.linalg.svd(((source - a) * w[:, None]).T @ (target - b))
    flip = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(vt.T @ u.T)))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ flip @ u.T
    matrix[:3, 3] = b - matrix[:3, :3] @ a
    return matrix


def _affine(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least-squares affine map, 4x4."""
    w = np.sqrt(weights)[:, None]
    design = np.column_stack([source, np.ones(len(source))])
    solution, *_ = np.linalg.lstsq(design * w, target * w, rcond=None)
    matrix = np.eye(4)
    matrix[:3] = solution.T
    return matrix


def _left_out(
    source: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> float:
    """Median over the organs of the distance by which a fit to all others misses one."""
    missed = []
    for n in range(len(source)):
        keep = np.arange(len(source)) != n
        if _spread(source[keep]) > 5.0:
            matrix = fit(source[keep], target[keep], weights[keep])
            missed.append(float(np.linalg.norm(_moved(matrix, source[n : n + 1])[0] - target[n])))
    return (
        float(np.median(missed))
        if missed
        else float(np.linalg.norm(_moved(fit(source, target, weights), source) - target, axis=1).max())
    )
