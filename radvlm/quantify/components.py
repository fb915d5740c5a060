"""26-connected instances of a mask, largest first.

The components are found inside the tight box of the structure, never on the whole scan, and their order
does not depend on the package that found them: by falling number of voxels, then by first voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.quantify.voxel_counts import memory_order, slabs
from radvlm.types.geometry import Box


@dataclass(frozen=True)
class Component:
    """One instance: its value in the component map, voxels, and its box within that map."""

    value: int
    voxels: int
    box: Box


def connected_components(mask: np.ndarray, *, fast: bool = True) -> np.ndarray:
    """Map of the 26-connected components of a boolean (I, J, K) mask, 0 = background, numbered in no set order.

    Uses connected-components-3d (extra ``fast``) when it is installed and ``fast`` is True, else SciPy.
    """
    if fast:
        try:
            import cc3d
        except ImportError:
            pass
        else:
            return cc3d.connected_components(mask, connectivity=26)
    from scipy.ndimage import label

    return label(mask, structure=np.ones((3, 3, 3), dtype=bool))[0]


def connected_instances(numbers: np.ndarray, *, fast: bool = True) -> np.ndarray:
    """``connected_components`` of each number of a map by itself, so that what touches and has two numbers is two."""
    most = int(numbers.max(initial=0))
    if most < 2:
        return connected_components(numbers > 0, fast=fast)
    whole = np.zeros(numbers.shape, np.int32)
    for number in range(1, most + 1):
        own = connected_components(numbers == number, fast=fast)
        whole[own > 0] = own[own > 0] + int(whole.max())
    return whole


def components(mask: np.ndarray, *, fast: bool = True) -> tuple[np.ndarray, tuple[Component, ...]]:
    """The component map of a boolean (I, J, K) mask, or of each number of a map, and its components, largest first."""
    from scipy.ndimage import find_objects

    numbered = connected_components(mask, fast=fast) if mask.dtype == bool else connected_instances(mask, fast=fast)
    counts = np.zeros(int(numbered.max(initial=0)) + 1, dtype=np.int64)
    order = memory_order(numbered)
    view = numbered.transpose(order)
    for part in slabs(numbered, order):
        counts += np.bincount(view[part].ravel(), minlength=len(counts))
    found = []
    for value, box in enumerate(find_objects(numbered), 1):
        if box is not None:
            found.append(Component(value, int(counts[value]), Box.from_slices(box)))
    single = {c.voxels for c in found}
    if len(single) < len(found):  # equal sizes: the first voxel decides
        return numbered, tuple(sorted(found, key=lambda c: (-c.voxels, first_voxel(numbered, c))))
    return numbered, tuple(sorted(found, key=lambda c: -c.voxels))


def first_voxel(numbered: np.ndarray, component: Component) -> tuple[int, int, int]:
    """Index, in the component map, of the first voxel of a component in C order."""
    window = numbered[component.box.slices] == component.value
    index = np.unravel_index(int(window.argmax()), window.shape)
    return tuple(int(i) + s for i, s in zip(index, component.box.start, strict=True))  # type: ignore[return-value]
