"""The body as a ruler of lengths: a scan whose units were lost (cm, m or um read as mm) or whose spacing is wrong.

A scan alone says little: a hand is as small as an abdomen in cm. It is refused only where no person could be so (wider
than any scanner's opening, taller than any table, voxels of micro-CT), and warned of where a whole body, of which
little is bone, measures less than an infant's wrist. Masks say more: two and more whole organs, each two hundred
times too small, or most twenty times too large, or four times too long or too short from head to foot for their width,
are no organs of a person of any age. A newborn's organs hold about a twentieth of an adult's (ICRP Publication 89,
reference values).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from radvlm.errors import GridError
from radvlm.types.geometry import Geometry
from radvlm.types.provenance import SIZE, Decision
from radvlm.types.segmentation import Segmentation

#: Gantries open to 90 cm and reconstruct to 82 cm; tables move 2 m, and the tallest people stay below the last.
WIDEST_MM, TALLEST_MM = 1100.0, 2600.0
#: The finest clinical CT (photon counting, temporal bone) has voxels of 0.1 mm and more.
FINEST_MM = 0.06
#: Slices farther apart than this follow no organ.
FARTHEST_SLICES_MM = 25.0
#: A whole cross-section narrower than this (equivalent diameter), with less bone than a limb, is doubtful.
NARROWEST_BODY_MM, LIMB_BONE_SHARE = 60.0, 0.1
#: The same of voxels of exactly 1 mm, which is what a lost spacing becomes; the trunk of a child of one year is wider.
NARROWEST_BODY_OF_1_MM = 115.0
#: Pixels are square: two sides of a voxel differ by less than this factor.
SQUARE = 1.1
#: A view as narrow with so many pixels is one of bone (inner ear, teeth, a finger), or its voxels have lost their unit.
NARROW_VIEW_PIXELS = 96
#: A cross-section of fewer pixels is not that of a scanner, whose images have 256 and more, or of one made coarser.
FEWEST_PIXELS = 48
#: Usual volume (mL) of an adult and usual height divided by the root of width x depth, of organs told by their prefix.
USUAL: Mapping[str, tuple[float, float]] = {
    "liver": (1500, 1.0),
    "spleen": (200, 1.5),
    "kidney_": (150, 1.9),
    "heart": (600, 0.9),
    "pancreas": (70, 1.0),
    "lung_left": (2300, 2.0),
    "lung_right": (2500, 2.0),
    "lung_upper_lobe": (1100, 1.3),
    "lung_lower_lobe": (1100, 1.5),
    "lung_middle_lobe": (380, 0.9),
    "gallbladder": (35, 1.3),
    "urinary_bladder": (200, 0.8),
    "stomach": (350, 1.2),
    "brain": (1350, 0.9),
    "vertebrae_": (35, 0.5),
}
_NOT_WHOLE = ("liver_", "heart_", "pancreas_", "vertebrae_body", "brain_", "kidney_cyst", "kidney_lesion")
#: Outside, of at least two organs: volume against the usual one, and height for width against the usual one.
LEAST_VOLUME, MOST_VOLUME, SHAPE_FACTOR = 1 / 200, 20.0, 4.0
#: So many whole organs whose middle one is so much too long or short are doubtful, and fewer with the last factor. In
#: phantoms the middle one is 0.94 to 1.05, and single ones of a real scan 0.63 to 1.36.
MANY_ORGANS, DOUBTFUL_SHAPE, DOUBTFUL_SHAPE_OF_FEW = 5, 1.9, 2.6
_REMEDY = "Repair the voxel sizes (or the units) in the header of the scan and of the masks; radvlm reads mm"


def check_scan_size(hu: np.ndarray, geometry: Geometry, attenuation_is_sure: bool) -> tuple[Decision, ...]:
    """Warnings about the sizes of a scan in RAS+ order; GridError for what no scan of a person has."""
    spacing, extent = geometry.spacing_mm, geometry.extent_mm
    told = f"{' x '.join(f'{e:.3g}' for e in extent)} mm of voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm"
    if max(extent[:2]) > WIDEST_MM or extent[2] > TALLEST_MM:
        raise GridError(
            f"a scan of a person is at most {WIDEST_MM:.0f} mm wide and {TALLEST_MM:.0f} mm long", told, _REMEDY
        )
    if max(spacing) < FINEST_MM:
        raise GridError(f"voxels of a CT of a person are longer than {FINEST_MM} mm", told, _REMEDY)
    if spacing[2] > FARTHEST_SLICES_MM:
        what = f"The slices lie {spacing[2]:.0f} mm apart: either most are missing or the spacing is wrong."
        return (Decision(SIZE, what, warning=True),)
    if not attenuation_is_sure:
        return ()
    width = _whole_width_mm(hu, geometry)
    low, middle, high = sorted(spacing)
    if width is not None and min(middle / low, high / middle) > SQUARE:
        what = (
            f"No two sides of a voxel are alike ({told.split(' of ')[-1]}): the pixels of a CT are square, so that one"
        )
        return (
            Decision(SIZE, f"{what} of the voxel sizes looks wrong; check them before any size is used.", warning=True),
        )
    if width is not None and width < NARROWEST_BODY_OF_1_MM and np.allclose(spacing, 1.0, atol=1e-6):
        what = f"The voxels are 1 mm by the header, and the body measures {width:.2g} mm across: the voxel sizes were"
        return (Decision(SIZE, f"{what} probably lost (1 mm is written then); no size is right.", warning=True),)
    if width is not None and width < NARROWEST_BODY_MM:
        seen = f"The body in this scan measures {width:.2g} mm across"
    elif width is None and max(extent[:2]) < NARROWEST_BODY_MM and _is_soft_view(hu):
        seen = f"The field of view is {max(extent[:2]):.2g} mm wide and shows hardly any bone"
    else:
        return ()
    what = "its units may have been lost (cm read as mm), or it is no adult's; check the voxel sizes before any size"
    return (Decision(SIZE, f"{seen}: {what} is used.", warning=True),)


def _is_soft_view(hu: np.ndarray) -> bool:
    """Whether a view of many pixels shows soft tissue and hardly any bone, as no narrow view of a scanner does."""
    if min(hu.shape[:2]) < NARROW_VIEW_PIXELS or hu.shape[2] < 8:
        return False
    grid = hu[tuple(slice(None, None, -(-n // 96)) for n in hu.shape)]
    tissue = grid > -300
    return bool(tissue.mean() >= 0.2 and np.mean(grid[tissue] > 200) < LIMB_BONE_SHARE)


def _whole_width_mm(hu: np.ndarray, geometry: Geometry) -> float | None:
    """Equivalent diameter of a usual cross-section; None where the view cuts the body, or it is a limb by its bone."""
    if min(hu.shape[:2]) < FEWEST_PIXELS or hu.shape[2] < 8:
        return None
    index = tuple(slice(None, None, -(-n // 96)) for n in hu.shape)
    grid = hu[index]
    tissue = grid > -300
    faces = (tissue[0], tissue[-1], tissue[:, 0], tissue[:, -1])
    areas = tissue.sum(axis=(0, 1))
    if any(face.mean() > 0.02 for face in faces) or not (grid[0] < -850).any():
        return None
    if areas.max(initial=0) < 100 or np.mean(grid[tissue] > 200) >= LIMB_BONE_SHARE:
        return None
    pixel = float(np.prod([s * (i.step or 1) for s, i in zip(geometry.spacing_mm[:2], index[:2], strict=True)]))
    area = float(np.median(areas[areas >= 0.25 * areas.max()])) * pixel
    return 2 * float(np.sqrt(area / np.pi))


def check_organ_sizes(segmentation: Segmentation) -> tuple[Decision, ...]:
    """Warnings about the proportions of whole organs; GridError where two or more have none that a person's have."""
    cut = _cut_together(segmentation)
    sizes: dict[str, tuple[float, float]] = {}
    for name in segmentation.places:
        usual = _usual(name)
        if usual is None or name in cut or segmentation.cut_faces(name):
            continue
        box = segmentation.boxes[name]
        extent = [n * s for n, s in zip(box.shape, segmentation.geometry.spacing_mm, strict=True)]
        volume_ml = segmentation.voxel_count(name) * segmentation.geometry.voxel_volume_mm3 / 1000
        if segmentation.voxel_count(name) >= 200 and min(box.shape) >= 3:
            shape = extent[2] / float(np.sqrt(extent[0] * extent[1]))
            sizes[name] = volume_ml / usual[0], shape / usual[1]
    if len(sizes) < 2:
        return ()
    volumes = np.array([volume for volume, _ in sizes.values()])
    shapes = np.array([shape for _, shape in sizes.values()])
    example = max(sizes, key=lambda name: segmentation.voxel_count(name))
    held = segmentation.voxel_count(example) * segmentation.geometry.voxel_volume_mm3 / 1000
    told = f"{len(sizes)} whole organs, such as {example.replace('_', ' ')} with {held:.3g} mL"
    if volumes.max() < LEAST_VOLUME or np.median(volumes) > MOST_VOLUME:
        how = "small" if volumes.max() < LEAST_VOLUME else "large"
        raise GridError("organs have the sizes of a person's", f"{told}, are all far too {how}", _REMEDY)
    for far, how in ((shapes > SHAPE_FACTOR, "long"), (shapes < 1 / SHAPE_FACTOR, "short")):
        if far.mean() >= 0.75:
            raise GridError(
                "organs have the proportions of a person's",
                f"{told}, are all far too {how} from head to foot for their width",
                "The slice spacing or the pixel spacing is wrong. " + _REMEDY,
            )
    middle = float(np.median(shapes))
    doubtful = DOUBTFUL_SHAPE if len(shapes) >= MANY_ORGANS else DOUBTFUL_SHAPE_OF_FEW
    if 1 / doubtful <= middle <= doubtful:
        return ()
    how, times = ("long", middle) if middle > 1 else ("short", 1 / middle)
    what = (
        f"{len(sizes)} whole organs are {times:.1f} times as {how} from head to foot for their width as a person's: "
        "the slice spacing or the pixel spacing looks wrong. Check the voxel sizes before any size is used."
    )
    return (Decision(SIZE, what, warning=True),)


def _usual(name: str) -> tuple[float, float] | None:
    if name.startswith(_NOT_WHOLE) or name.endswith(("_lesion", "_cyst", "_tumor")):
        return None
    return next((usual for prefix, usual in USUAL.items() if name.startswith(prefix)), None)


def _cut_together(segmentation: Segmentation) -> set[str]:
    """Structures that end with two others in one outermost plane of all masks: there the masks end, not the organs."""
    cut: set[str] = set()
    for axis in range(3):
        for end in (0, 1):
            planes = {n: (b.start, b.stop)[end][axis] for n, b in segmentation.boxes.items()}
            if not planes:
                continue
            outermost = max(planes.values()) if end else min(planes.values())
            if Counter(planes.values())[outermost] >= 3:
                cut |= {name for name, plane in planes.items() if plane == outermost}
    return cut
