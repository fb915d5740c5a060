"""Values that no scanner made, whatever their scale: wrapped at 8 bits, on a curve, lost in single voxels, mere noise.

Each is told by what holds in every CT, of any region, phase, noise or padding: neighbors in a body are alike; one exact
value fills areas (padding, blanked air) and is not strewn among others; the narrow peak of soft tissue lies below that
of enhanced blood; and values do not end at both ends of the range of 8 bits.
"""

from __future__ import annotations

import numpy as np

#: Values that end at both ends of 8 bits, of which so many (each half, of all) lie near its end.
EIGHT_BITS, NEAR_END, SHARE_AT_END = ((-128.0, 127.0), (0.0, 255.0)), 8.0, 0.004
#: Neighbors differ as much as any two values do, by this share of the variance, and vary by more than noise (HU).
UNLIKE_SHARE, NOISE_HU = 0.85, 150.0
#: What lies beyond counts as its end there: metal and padding.
BODY_HU = (-1100.0, 600.0)
#: An exact value above air that holds so many voxels, no more often beside itself than by chance and this.
STREWN_SHARE, STREWN_MARGIN = 0.02, 0.12
#: It stands out so far against the exact values beside it, where values are rounded, too.
STANDS_OUT, NEAR_HU = 2.5, 25.0
#: An exact value far from tissue between two voxels of tissue, in so many of such places.
LOST_SHARE = 0.02
METAL_HU = 2500.0
AIR_END_HU, TISSUE_HU = -900.0, (-200.0, 250.0)
#: Tissue on a curve: the fullest so many HU above ``DENSE_HU`` hold most of what is dense, and much of all values.
#: Blood with contrast at 70 kV reaches 700 HU.
PEAK_WIDTH_HU, DENSE_HU, OF_DENSE, OF_ALL = 200, 750.0, 0.6, 0.1
#: Then hardly any air lies where it belongs, and less soft tissue than in that peak.
LEAST_AIR = 0.02
#: A slice of fewer pixels a side is no picture of a body.
LEAST_PIXELS = 24
#: So many voxels are looked at.
SAMPLE = 200_000


def broken_values(hu: np.ndarray) -> tuple[str, str] | None:
    """What is wrong with values (I, J, K) as a phrase, and the remedy; None for what may be a CT."""
    if hu.ndim != 3 or min(hu.shape) < 3 or min(hu.shape[:2]) < LEAST_PIXELS:
        return None
    centers, before, after = _triples(hu)
    if centers.size < 1000:
        return None
    remedy = "Export the scan again"
    low, high = float(centers.min()), float(centers.max())
    for bottom, top in EIGHT_BITS:
        ends = np.mean(centers <= bottom + NEAR_END), np.mean(centers >= top - NEAR_END)
        if bottom <= low <= bottom + 2 and top - 2 <= high <= top and min(ends) >= SHARE_AT_END:
            return f"the values end at {low:g} and {high:g}, as if they had been stored as 8-bit numbers", remedy
    first, second = (np.clip(values, *BODY_HU) for values in (before, after))
    spread = float(first.var())
    if spread > NOISE_HU**2 and float(np.mean((second - first) ** 2)) > 2 * UNLIKE_SHARE * spread:
        return "neighboring voxels have nothing in common, as in noise or scrambled pixels", remedy
    strewn = _strewn(centers, before, after)
    if strewn is not None:
        return f"exactly {strewn:g} HU is strewn among other values, as if single voxels had been lost", remedy
    return _curved(centers)


def _triples(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels and their neighbors on both sides along the axis of most voxels, as flat float32."""
    long = int(np.argmax(hu.shape))
    view = np.moveaxis(hu, long, 0)
    steps = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(view.shape, steps, strict=True)]) > SAMPLE:
        widest = max(range(3), key=lambda axis: view.shape[axis] / steps[axis])
        steps[widest] += 1
    rest = tuple(slice(step // 2, None, step) for step in steps[1:])
    parts = (slice(1, -1, steps[0]), slice(0, -2, steps[0]), slice(2, None, steps[0]))
    centers, before, after = (view[(part, *rest)].astype(np.float32).ravel() for part in parts)
    return centers, before, after


def _strewn(centers: np.ndarray, before: np.ndarray, after: np.ndarray) -> float | None:
    """An exact value that stands alone among others; None where there is none."""
    held, counts = np.unique(centers, return_counts=True)
    low, high = TISSUE_HU
    in_tissue = (before > low) & (before < high) & (after > low) & (after < high)
    for k in np.argsort(counts)[::-1][:6]:
        value, share = float(held[k]), counts[k] / centers.size
        own = centers == value
        if value > AIR_END_HU and STREWN_SHARE <= share < 0.5:
            near = counts[[n for n in (k - 1, k + 1) if 0 <= n < len(held) and abs(held[n] - value) < NEAR_HU]]
            beside = float(np.mean((before[own] == value) | (after[own] == value)))
            if counts[k] > STANDS_OUT * near.max(initial=0) and beside < 1 - (1 - share) ** 2 + STREWN_MARGIN:
                return value
        elif not low <= value <= high and in_tissue.sum() >= 500 and np.mean(own[in_tissue]) >= LOST_SHARE:
            return value
    return None


def _curved(values: np.ndarray) -> tuple[str, str] | None:
    """Tissue on a logarithmic or root curve: no air in its place, and the narrow peak of tissue far above it."""
    dense = values[(values > DENSE_HU) & (values < METAL_HU)]
    if dense.size < OF_ALL * values.size:
        return None
    exact, counts = np.unique(values[values < -940], return_counts=True)
    air = int(counts.sum() - counts.max(initial=0)) if exact.size else 0
    if air >= LEAST_AIR * values.size:
        return None
    histogram = np.bincount(((dense - DENSE_HU) / 20).astype(np.int64))
    window = np.convolve(histogram, np.ones(PEAK_WIDTH_HU // 20), mode="same")
    fullest = int(window.max())
    soft = int(np.count_nonzero((values > -20) & (values < 180)))
    if fullest < max(OF_DENSE * dense.size, OF_ALL * values.size, float(soft)):
        return None
    return (
        f"most tissue lies near {DENSE_HU + 20 * float(window.argmax()):.0f} HU and no air at -1000, as on a "
        "logarithmic or root curve",
        "Pass the scan itself",
    )
