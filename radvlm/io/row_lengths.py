"""Rows of another length than the header says, as a wrong number of columns, a lost byte or a reshaped array make them.

Pixels under each other are alike, so that in the order in which a file holds them, a pixel resembles most the one that
lies a row further on. Where it resembles one at another distance more, the rows are of that length, and what is read
is no picture of a body: halves side by side (Rows / 2, Columns * 2), lines torn apart (the reverse), or a slanted
picture. The same holds for slices, whose rows repeat after the number of rows of a slice.

In phantoms of all regions and in real scans, in every order of their axes, pixels one column beside the one below
differ at least 1.22 times as much as the one below, and no other distance comes near. Rows wrong by one column give
0.46 to 0.78, others less.
"""

from __future__ import annotations

import numpy as np

from radvlm.errors import GridError
from radvlm.io.hu_rulers import FEWEST_VALUES

#: Rows of a slice that are looked at; rows of all slices, and columns of each, where slices are compared.
ROWS, LINES, COLUMNS = 48, 1600, 24
#: A smaller image says nothing.
FEWEST_COLUMNS, FEWEST_ROWS, FEWEST_SLICES = 40, 40, 6
#: Soft tissue and fat in HU; what lies beyond counts as its end.
SOFT_HU = (-250.0, 250.0)
#: Pixels so far apart differ by less than this share of what those one row apart do: the rows have that length.
ALIKE = 0.85
#: The same for slices, whose distance may be much more than a pixel; another number of rows lies farther off than this.
ALIKE_SLICES, ROWS_OFF = 0.7, 0.125
#: Vertebrae and ribs repeat after some slices, and a tilted gantry moves each, so that none is compared with the second
#: next.
MOST_SLICES = 1.9
#: Two things beside each other in one picture: of the pairs of pixels, at least this share lies within a row of the
#: stated length, and those that do not differ so many times as much. Rows of another length give 0.9 to 1.2.
LEAST_SHARE_WITHIN, TWICE_WITHIN = 0.2, 2.0
#: Less than this variance (HU squared) is no body.
LEAST_VARIANCE = 400.0


def refuse_wrong_rows(hu: np.ndarray) -> None:
    """Raise GridError when the pixels of ``hu`` (I, J, K), in memory as in its file, make no rows of their length."""
    if hu.ndim != 3 or min(hu.strides) <= 0:
        return
    stored = hu.transpose(np.argsort([-step for step in hu.strides], kind="stable"))
    slices, rows, columns = stored.shape
    if columns < FEWEST_COLUMNS or rows < FEWEST_ROWS:
        return
    length = _row_length(stored[slices // 3])
    if length and length == _row_length(stored[2 * slices // 3]):
        raise GridError(
            "pixels under each other are alike",
            f"they fit rows of {length} pixels, and the header says {columns}",
            "The numbers of rows and columns are wrong, or the array was reshaped. Export the scan again",
        )
    count = _rows_of_a_slice(stored) if slices >= FEWEST_SLICES else 0
    if count:
        raise GridError(
            "slices that lie beside each other are alike",
            f"they fit slices of {count} rows, and the header says {rows}",
            "The sizes of the axes are wrong, or the array was reshaped. Export the scan again",
        )


def _row_length(image: np.ndarray) -> int:
    """The number of columns that the pixels of an image fit, 0 where it is its own."""
    count, columns = image.shape
    first = max(0, (count - ROWS) // 2)
    return _best(image[first : first + ROWS].reshape(-1, 1), columns, ALIKE)


def _rows_of_a_slice(stored: np.ndarray) -> int:
    """The number of rows after which the rows of slices repeat, 0 where it is their own."""
    slices, rows, columns = stored.shape
    taken = min(slices, max(FEWEST_SLICES, -(-LINES // rows)))
    first = (slices - taken) // 2
    part = stored[first : first + taken, :, :: max(1, columns // COLUMNS)]
    found = _best(part.reshape(taken * rows, -1), rows, ALIKE_SLICES, int(MOST_SLICES * rows))
    return found if abs(found - rows) > ROWS_OFF * rows else 0


def _best(lines: np.ndarray, stated: int, alike: float, longest: int | None = None) -> int:
    """The distance at which lines (N, M) are most alike, 0 where it is the stated one, or not much better."""
    last = min(len(lines) // 3, longest or len(lines))
    if last <= stated:
        return 0
    values = np.clip(lines, *SOFT_HU).astype(np.float32)
    values -= values.mean()
    differences = _differences(values)
    if differences[0] < LEAST_VARIANCE or differences[stated] <= 0:
        return 0
    shortest = max(12, stated // 4)
    found = shortest + int(np.argmin(differences[shortest:last]))
    if differences[found] >= alike * differences[stated] or len(np.unique(lines)) < FEWEST_VALUES:
        return 0
    return 0 if _repeats_within(values, found, stated) else found


def _repeats_within(values: np.ndarray, found: int, stated: int) -> bool:
    """Whether lines (N, M) so far apart are alike only within a row of the stated length, as two legs are.

    Where rows have another length, what lies that far apart is alike wherever the stated rows are cut.
    """
    if stated - found < LEAST_SHARE_WITHIN * stated:
        return False
    difference = ((values[found:] - values[:-found]) ** 2).mean(axis=1)
    is_within = np.arange(len(difference)) % stated < stated - found
    within, across = float(difference[is_within].mean()), float(difference[~is_within].mean())
    return across > TWICE_WITHIN * within


def _differences(values: np.ndarray) -> np.ndarray:
    """Mean squared difference of lines (N, M) that lie so far apart, by distance; at 0 their variance."""
    count = len(values)
    squares = (values.astype(np.float64) ** 2).mean(axis=1)
    size = 1 << (2 * count - 1).bit_length()
    power = (np.abs(np.fft.rfft(values, size, axis=0)) ** 2).mean(axis=1)
    products = np.fft.irfft(power, size)[:count]
    before = np.concatenate([[0.0], np.cumsum(squares)])
    distance = np.arange(count)
    found: np.ndarray = (before[count - distance] + before[-1] - before[distance] - 2 * products) / (count - distance)
    found[0] = squares.mean()
    return found
