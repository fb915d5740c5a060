"""Slices that do not follow each other: mirrored from one on, exchanged, in reverse, repeated or of another place.

Told from the voxels. Neighbors are more alike than slices two apart, and than one of them and the mirror image of the
other; how much more differs by thickness, noise and region, so every test is a ratio within the scan itself. In
phantoms of all regions at 4 to 24 mm and in real scans (plain, contrast; 2 and 3 mm) the difference of two neighbors is
at most 1.3 times that of the neighbors beside them; slices two apart differ at least 1.15 times as much as neighbors,
and the mirror image at least as much. What falls on the other side of one with a margin is no anatomy. A breathing
step, a gap or thick slices make a jump, but nothing that another order or a mirror mends.

A shift along the slices, a whole scan in reverse, and two patients whose slices happen to meet cannot be told so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np

from radvlm.io.hu_rulers import FEWEST_VALUES
from radvlm.io.odd_slices import upward_axis
from radvlm.types.provenance import Decision

#: Pixels read along each side of a slice, and those that are left when neighbors are averaged to lessen noise.
READ, KEPT = 96, 48
#: Soft tissue and fat in HU; what lies beyond counts as its end.
SOFT_HU = (-250.0, 250.0)
#: A slice with a smaller share of body says nothing, and neither does a scan of fewer slices.
LEAST_BODY, FEWEST_SLICES = 0.02, 6
#: Two neighbors differ so many times as much as those beside them do: something may be wrong there.
JUMP = 1.35
#: What mends it makes the difference smaller by this factor: another order, a mirror, two slices in the other order.
MENDED, UNMIRRORED, EXCHANGED = 0.75, 0.85, 0.9
#: Slices farther apart (mm) hide ribs and vertebrae from their neighbors, so that the last two say less.
THICK_MM, UNMIRRORED_THICK, EXCHANGED_THICK = 10.5, 0.8, 0.8
#: A slice that does not belong: those beside it are more alike by this factor, no metal shines in one of them, and its
#: shares of lung, fat, soft tissue and bone are not theirs. A patient who moves while it is made keeps these: phantoms
#: and real scans have at most 1.2 of what slices 25 mm apart differ by.
STRANGER, METAL_HU, OTHER_SHARES = 0.6, 2200, 1.4
TISSUES_HU = (-600, -200, -20, 120)
#: Less than this is no difference of shares.
LEAST_SHARES = 0.02
#: Two slices exchanged differ so much more from what lies before and after than slices there do. A step of breathing
#: back over slices that were made already does not.
AWAY = 1.08
#: A jump that an exchange of two parts would mend, and one that nothing mends: then by so many times as well more than
#: slices so far apart (mm). A step of breathing moves organs, but neither spine nor skin, and by 20 mm it makes slices
#: differ less than that; 30 mm of missing slices, which move all, make them differ more in four of five places.
GREAT_JUMP, BREAK, BEYOND_BREAK, BREAK_MM = 1.8, 1.9, 1.15, 15.0
#: Breathing moves organs by this much (mm) at most.
BREATHING_MM = 25.0
#: Ends of a scan that show less of the body than this, against the place of a jump, are alike anyhow (vertex, toes).
LEAST_END = 0.5
#: The axis along which a file stacks its slices, and the share of the largest slice that inner ones across a body hold.
STACKED, INNER_BODY = 2, 0.6
#: So many places of jumps are looked at.
MOST_JUMPS = 12
#: How a slice may have been turned: the axes of (rows, columns) that were flipped.
_FLIPS = ((1,), (0,), (0, 1))
_REMEDY = "Export the scan again."


def disordered_slices(hu: np.ndarray, affine: np.ndarray) -> tuple[Decision, ...]:
    """Warnings about slices of ``hu`` (I, J, K) that do not follow each other; () where all do.

    Args:
        hu: in stored order. Slices are looked at from foot to head; across, a body begins and ends too suddenly.
        affine: 4x4 from its index to RAS+ mm.
    """
    upwards = upward_axis(hu, affine)
    if upwards is None or hu.shape[upwards] < FEWEST_SLICES:
        return ()
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    flips = _words_of_flips(affine[:3, :3] / lengths, upwards)
    found = told(_sampled(hu, upwards), flips, float(lengths[upwards]))
    if not found and upwards != STACKED:
        found = told_across(_sampled(hu, STACKED), float(lengths[STACKED]))
    return tuple(Decision("slices", f"{what} {_REMEDY}", warning=True) for what in found)


def told(stack: np.ndarray, flips: tuple[str, str], spacing_mm: float) -> list[str]:
    """What is wrong with the order of the slices (K, rows, columns), in sentences.

    ``flips`` names what a flip of the columns and of the rows exchanges.
    """
    if len(np.unique(stack)) < FEWEST_VALUES:
        return []  # a drawing
    repeated = _repeated(stack)
    if repeated:
        return [f"{repeated}: slices of one place stand in another."]
    look = _Look(stack, spacing_mm)
    mirrored = _mirrored(look, flips)
    return mirrored or _out_of_order(look)


def told_across(stack: np.ndarray, spacing_mm: float) -> list[str]:
    """The same of coronal or sagittal slices, of which only copies and another order of the inner ones are told.

    A body begins and ends across them, and is nearly its own mirror image, so that no jump and no mirror counts.
    """
    if len(np.unique(stack)) < FEWEST_VALUES:
        return []
    body = ((stack > SOFT_HU[0]) & (stack < METAL_HU)).mean((1, 2))
    inner = np.flatnonzero(body >= INNER_BODY * body.max())
    first, last = int(inner[0]), int(inner[-1])
    if last - first + 1 < FEWEST_SLICES:
        return []
    repeated = _repeated(stack)
    if repeated:
        return [f"{repeated}: slices of one place stand in another."]
    look = _Look(stack[first : last + 1], spacing_mm)
    swapped = _exchanged(look, first)
    return swapped or [*_reversed(look, first)][:1]


class _Look:
    """Soft tissue of the slices, reduced, and how they differ from each other."""

    def __init__(self, stack: np.ndarray, spacing_mm: float) -> None:
        self.soft = soft = _averaged(stack)
        self.has_metal = np.asarray((stack > METAL_HU).any((1, 2)))
        self.is_flat = stack.min((1, 2)) == stack.max((1, 2))  # told by ``odd_slices``
        self.is_thick = spacing_mm > THICK_MM
        self.last = len(soft) - 1
        self.steps = _differences(soft[1:], soft[:-1])
        self.far, self.beyond = (
            min(max(2, int(np.ceil(mm / spacing_mm))), self.last) for mm in (BREATHING_MM, BREAK_MM)
        )
        ends = [np.count_nonzero(stack < limit, axis=(1, 2)) / stack[0].size for limit in TISSUES_HU]
        self.shares = np.diff(np.stack([np.zeros(len(stack)), *ends, np.ones(len(stack))], axis=1))
        self.body = (soft > SOFT_HU[0] + 50).mean((1, 2))
        has_body = (self.body >= LEAST_BODY) & ~self.is_flat
        self.has_body = has_body[1:] & has_body[:-1]
        jumps = [k for k in range(self.last) if self.has_body[k] and self.steps[k] > JUMP * self.usual(k) > 0]
        self.jumps = sorted(sorted(jumps, key=lambda k: -self.steps[k])[:MOST_JUMPS])

    def usual(self, k: int, beside: int = 0) -> float:
        """The middle of the steps beside step ``k``, ``beside`` steps of each side left out."""
        return float(
            np.median(
                [*self.steps[max(0, k - 4 - beside) : max(0, k - beside)], *self.steps[k + 1 + beside : k + 5 + beside]]
            )
        )

    def is_break(self, k: int) -> bool:
        """True when the slices of step ``k`` differ more than slices BREAK_MM apart, and so do those around it.

        One slice in which the patient moved leaves those alike.
        """
        apart = [self.apart(*pair) for pair in self._far_pairs(k, self.beyond) if not pair[0] <= k < pair[1]]
        if not apart or self.has_metal[k : k + 2].any():
            return False
        limit = max(BREAK * self.usual(k), BEYOND_BREAK * float(np.median(apart)))
        pairs = [(k, k + 1), (max(k - 1, 0), k + 1), (k, min(k + 2, self.last))]
        return all(self.apart(*pair) > limit for pair in pairs) and (
            0 < k < self.last - 1 or self.is_stranger(0 if k == 0 else self.last)
        )

    def is_stranger(self, k: int) -> bool:
        """True when slice ``k`` is unlike both of its neighbors in its tissues, too."""
        own = min(self._shares_apart(k, n) for n in (k - 1, k + 1) if 0 <= n <= self.last)
        apart = [self._shares_apart(*pair) for pair in self._far_pairs(k, self.far) if k not in pair]
        return bool(apart) and own > OTHER_SHARES * max(float(np.median(apart)), LEAST_SHARES)

    def _far_pairs(self, k: int, far: int) -> list[tuple[int, int]]:
        """Pairs of slices near ``k`` that lie ``far`` slices apart."""
        return [(n, n + far) for n in range(max(0, k - 2 * far), min(self.last - far, k + far) + 1)]

    def _shares_apart(self, one: int, other: int) -> float:
        return float(np.abs(self.shares[one] - self.shares[other]).sum())

    def apart(self, one: int, other: int) -> float:
        return float(_differences(self.soft[one], self.soft[other]))

    def mends(self, one: int, other: int, k: int) -> bool:
        """True when two slices follow each other as those there do, and far better than those of step ``k``."""
        return self.apart(one, other) < min(MENDED * self.steps[k], JUMP * self.usual(k))


def _sampled(hu: np.ndarray, axis: int) -> np.ndarray:
    """(slices, rows, columns) as stored, at most about 2 * READ pixels along each side."""
    strides = [1 if n == axis else max(1, size // READ) for n, size in enumerate(hu.shape)]
    return np.moveaxis(hu[tuple(slice(step // 2, None, step) for step in strides)], axis, 0)


def _averaged(stack: np.ndarray) -> np.ndarray:
    """Soft tissue, with neighboring pixels averaged."""
    soft = np.clip(stack, *SOFT_HU).astype(np.float32)
    rows, columns = (max(1, -(-size // KEPT)) for size in soft.shape[1:])
    soft = soft[:, : soft.shape[1] // rows * rows, : soft.shape[2] // columns * columns]
    count, height, width = soft.shape
    averaged: np.ndarray = soft.reshape(count, height // rows, rows, width // columns, columns).mean((2, 4))
    return averaged


def _differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference: np.ndarray = np.abs(one - other).mean((-2, -1))
    return difference


def _mirrored(look: _Look, flips: tuple[str, str]) -> list[str]:
    """Parts of the scan that are mirrored against the slices before."""
    soft, steps = look.soft, look.steps
    flipped = np.stack(
        [_differences(np.flip(soft[1:], tuple(1 + axis for axis in axes)), soft[:-1]) for axes in _FLIPS]
    )
    limit = UNMIRRORED_THICK if look.is_thick else UNMIRRORED
    found = np.flatnonzero(look.has_body & (flipped.min(0) < limit * steps))
    if not found.size:
        return []
    turns = [(int(k), " and ".join(flips[1 - axis] for axis in _FLIPS[int(flipped[:, k].argmin())])) for k in found]
    (first, how), *others = turns
    last = next((k for k, what in others if what == how), look.last)
    if last == look.last:
        part = f"Slices 1 to {first + 1} and those after lie"
        return [f"{part} mirrored against each other ({how}): the sides of one part are wrong."]
    return [f"{_named(first + 1, last)} mirrored against those before ({how}): the sides are wrong there."]


def _out_of_order(look: _Look) -> list[str]:
    """Slices that fit better elsewhere, or nowhere."""
    steps, last = look.steps, look.last
    two_apart = _differences(look.soft[2:], look.soft[:-2])
    strangers = [
        k
        for k in range(1, last)
        if two_apart[k - 1] < STRANGER * min(steps[k - 1], steps[k])
        and not (look.has_metal | look.is_flat)[k - 1 : k + 2].any()
        and look.is_stranger(k)
    ]
    if strangers:
        return [
            f"Slice {k + 1} does not belong where it lies: the slices beside it are more like each other than like it."
            for k in strangers[:3]
        ]
    return _exchanged(look) or [*_moved(look)][:1]


def _exchanged(look: _Look, first: int = 0) -> list[str]:
    """Two neighbors in the other order; ``first`` is the number of the first slice that is looked at."""
    steps, two_apart = look.steps, _differences(look.soft[2:], look.soft[:-2])
    for k in range(1, look.last - 1):
        before, after, usual = steps[k - 1], steps[k + 1], look.usual(k, beside=1)
        is_away = steps[k] < min(before, after) and before + after > 2 * AWAY * usual
        mended = two_apart[k - 1] + two_apart[k] < (before + after) * (EXCHANGED_THICK if look.is_thick else EXCHANGED)
        if is_away and mended and two_apart[k - 1] < before and two_apart[k] < after:
            names = f"Slices {first + k + 1} and {first + k + 2}"
            return [f"{names} fit better in the other order, as if they were exchanged."]
    return []


def _reversed(look: _Look, first: int = 0) -> Iterator[str]:
    """Blocks of slices that fit better in reverse."""
    for p, q in combinations(look.jumps, 2):
        if q - p >= 2 and look.mends(p, q, p) and look.mends(p + 1, q + 1, q):
            yield f"Slices {first + p + 2} to {first + q + 1} fit better in reverse order."


def _moved(look: _Look) -> Iterator[str]:
    """Blocks of slices that fit better in reverse or elsewhere, and a break that nothing mends."""
    last = look.last
    yield from _reversed(look)
    for p in look.jumps:
        if look.steps[p] < GREAT_JUMP * look.usual(p):
            continue
        for one, other, what, length in (
            (last, p, f"Slices {p + 2} to {last + 1} fit better in reverse order.", last - p),
            (0, p + 1, f"Slices 1 to {p + 1} fit better in reverse order.", p + 1),
            (last, 0, f"Slices 1 to {p + 1} fit better behind slice {last + 1}.", min(p + 1, last - p)),
        ):
            is_small = min(look.body[one], look.body[other]) < LEAST_END * look.body[p]
            if length >= 3 and not is_small and look.mends(one, other, p):
                yield what
    for p in look.jumps:
        if look.is_break(p):
            yield (
                f"Slices {p + 1} and {p + 2} do not follow each other, as if slices between them were missing, they "
                "were of two places or two scans, or the patient had moved."
            )


def _repeated(stack: np.ndarray) -> str:
    """Slices that are the copies of others that do not lie beside them; "" for none.

    Copies side by side are told by ``odd_slices``, or made by resampling.
    """
    places: dict[bytes, int] = {}
    pairs = []
    for k, pixels in enumerate(stack):
        if pixels.min() == pixels.max():
            continue
        first = places.setdefault(hashlib.blake2b(np.ascontiguousarray(pixels).tobytes()).digest(), k)
        if first != k:
            pairs.append((first, k))
    if not pairs or any(b - a == 1 for a, b in pairs):
        return ""
    if not all(len(np.unique(stack[b])) >= FEWEST_VALUES for _, b in pairs):
        return ""
    (source, start), *_ = pairs
    length = 1 + next((n for n, (a, b) in enumerate(pairwise(pairs)) if b[1] != a[1] + 1), len(pairs) - 1)
    if length == 1:
        return f"Slice {start + 1} is a copy of slice {source + 1}"
    end = pairs[length - 1][0]
    return f"Slices {start + 1} to {start + length} are copies of slices {source + 1} to {end + 1}"


def _named(first: int, last: int) -> str:
    return f"Slice {first + 1} lies" if first == last else f"Slices {first + 1} to {last + 1} lie"


def _words_of_flips(directions: np.ndarray, axis: int) -> tuple[str, str]:
    """What a flip of columns and of rows exchanges, where the slices lie along ``axis``."""
    words = ("right and left", "front and back", "head and foot")
    rows, columns = (n for n in range(3) if n != axis)
    return tuple(words[int(np.argmax(np.abs(directions[:3, n])))] for n in (columns, rows))  # type: ignore[return-value]
