"""Masks of hollow and blood-filled organs in tissue that those never hold: shifted in the plane by centimeters.

A vessel that is moved along fat, lung and muscle keeps a little contrast at its edges, so that neither its edges nor
other places for it prove anything. What lies inside does: in the middle of the aorta there is no fat and no lung, and
in that of the trachea nothing but gas. Looked at are voxels whose neighbors in the plane are all of the structure, each
as the mean of them, so that neither borders nor noise count. In two real scans and phantoms of all regions at most 1 %
of such voxels of a vessel lay below -30 HU (12 % of a duodenum in fat), and moved by 35 mm in the plane a fifth and
more in four of five.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from radvlm.types.segmentation import Segmentation

#: Structures whose inside is blood, bile or urine, and those that hold gas and food: in neither there is fat.
_BLOOD = ("aorta", "inferior_vena_cava", "superior_vena_cava", "portal_vein_and_splenic_vein", "pulmonary_artery")
_NO_FAT = ("gallbladder", "urinary_bladder", "stomach", "duodenum")
_GAS = ("trachea",)
#: What may hold gas, and whose inside is no lung.
_NO_LUNG = ("esophagus", "duodenum")
#: HU of fat and of gas, and shares that nobody has.
FAT_HU, GAS_HU, MOST_FAT, LEAST_GAS = (-150.0, -30.0), -500.0, 0.25, 0.6
#: Of an organ that the scan or its masks cut, which may be a few folds beside fat (26 % of half of a real duodenum).
MOST_FAT_OF_PART = 0.4
#: HU of lung, between soft tissue and gas, and a share that nobody has.
LUNG_HU, MOST_LUNG = (-920.0, -400.0), 0.6
#: Slices of a structure that are looked at, and fewest voxels that say anything.
SLICES, FEWEST_VOXELS = 24, 15


def wrong_tissues(segmentation: Segmentation, hu: np.ndarray) -> Iterator[tuple[str, float, str]]:
    """(structure, share of its inside, where that lies in words) of masks in tissue that they cannot hold."""
    for name in (*_BLOOD, *_NO_FAT, *_GAS, "esophagus"):
        if name not in segmentation.places or segmentation.is_tip(name):
            continue
        values = _inside(segmentation, name, hu)
        if len(values) < FEWEST_VOXELS:
            continue
        fat = float(np.mean((values >= FAT_HU[0]) & (values < FAT_HU[1])))
        low = float(np.mean(values < FAT_HU[1]))
        gas = float(np.mean(values < GAS_HU))
        lung = float(np.mean((values >= LUNG_HU[0]) & (values < LUNG_HU[1])))
        if name in _NO_LUNG and lung > MOST_LUNG:
            yield name, lung, "lies in lung"
        elif name in _GAS and gas < LEAST_GAS:
            yield name, 1 - gas, "holds no gas"
        elif name in _BLOOD and low > MOST_FAT:
            yield name, low, "lies in fat, lung or gas"
        elif name in _NO_FAT and fat > (MOST_FAT_OF_PART if _is_part(segmentation, name) else MOST_FAT):
            yield name, fat, "lies in fat"


def _is_part(segmentation: Segmentation, name: str) -> bool:
    return bool(segmentation.cut_faces(name) or segmentation.end_faces(name))


def _inside(segmentation: Segmentation, name: str, hu: np.ndarray) -> np.ndarray:
    """Mean HU of 3 x 3 voxels in the plane that are all of the structure, on some of its slices."""
    box, place = segmentation.boxes[name], segmentation.places[name]
    step = max(1, box.shape[2] // SLICES)
    window = (*box.slices[:2], slice(box.start[2], box.stop[2], step))
    mask = segmentation.layers[place.layer][window] == place.label
    if min(mask.shape[:2]) < 3:
        return np.empty(0)
    values, held = hu[window].astype(np.float32), mask.astype(np.uint8)
    for axis in (0, 1):
        parts = [slice(None)] * 3
        sums = []
        for array in (values, held):
            shifted = []
            for first in range(3):
                parts[axis] = slice(first, array.shape[axis] - 2 + first)
                shifted.append(array[tuple(parts)])
            sums.append(shifted[0] + shifted[1] + shifted[2])
        values, held = sums
    inside: np.ndarray = values[held == 9] / 9
    return inside
