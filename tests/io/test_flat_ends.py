"""Masks of a scan's own shape that end flat inside it: they cover a part, and what they cut has no size."""

from __future__ import annotations

import numpy as np
import pytest

import radvlm
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.types.segmentation import Segmentation

KEPT = (
    "liver", "spleen", "kidney_left", "kidney_right", "pancreas", "stomach", "aorta", "inferior_vena_cava", "colon",
    "vertebrae_T11", "vertebrae_T12", "vertebrae_L1", "vertebrae_L2", "vertebrae_L3", "vertebrae_L4",
)  # fmt: skip


@pytest.fixture(scope="module")
def case() -> Phantom:
    return make_phantom(PhantomSpec(seed=5, region="abdomen", spacing_mm=(6, 6, 6), sex="M", age_years=60))


def _loaded(case: Phantom, blank: tuple[slice, slice, slice], names: tuple[str, ...] = KEPT) -> Segmentation:
    """The masks, with every voxel of a part of the grid emptied, as binary masks of the scan's shape."""
    masks = {}
    for name in names:
        if name in case.segmentation.places:
            mask = case.segmentation.mask(name).copy()
            mask[blank] = False
            masks[name] = (mask, case.volume.geometry.affine)
    return radvlm.load_segmentation(masks, like=case.volume)


def _blank(case: Phantom, axis: int, upper: bool) -> tuple[tuple[slice, slice, slice], int]:
    """What lies on one side of the middle of the kidneys (x: of the spine), and where it begins."""
    boxes = case.segmentation.boxes
    box = boxes["vertebrae_L2"] if axis == 0 else boxes["kidney_left"]
    plane = (box.start[axis] + box.stop[axis]) // 2
    parts = [slice(None)] * 3
    parts[axis] = slice(plane, None) if upper else slice(plane)
    return (parts[0], parts[1], parts[2]), plane


@pytest.mark.parametrize(("axis", "upper"), [(2, True), (2, False), (0, True), (1, False)])
def test_masks_that_end_flat_cover_a_part(case: Phantom, axis: int, upper: bool) -> None:
    blank, plane = _blank(case, axis, upper)
    found = _loaded(case, blank)
    assert found.covered is not None
    edge = found.covered.stop if upper else found.covered.start
    assert edge[axis] == plane
    assert any(d.warning and "The masks cover" in d.what for d in found.decisions)
    assert not [name for name in found.absent if name in ("spleen", "kidney_left", "kidney_right")]  # not "not seen"


def test_what_ends_with_the_masks_has_no_size_and_no_grade(case: Phantom) -> None:
    blank, _ = _blank(case, 2, upper=True)
    measured = radvlm.measure(
        case.volume, _loaded(case, blank, ("spleen", "kidney_left", "kidney_right", "vertebrae_L1", "vertebrae_L2"))
    )
    left = measured.structure("kidney_left")
    assert left is not None and left.measurement("volume") is None
    assert any("masks cover" in o.reason for o in left.omissions)
    top = max((s for s in measured.structures if "vertebrae" in s.structure), key=lambda s: s.region.centroid_mm[2])
    assert top.measurement("crush_loss") is None
    assert any(o.quantity == "crush_loss" and "mask ends" in o.reason for o in top.omissions)


def test_whole_masks_cover_the_scan(case: Phantom) -> None:
    found = _loaded(case, (slice(0, 0), slice(None), slice(None)))
    assert found.covered is None and not any("cover" in d.what for d in found.decisions)
    given = radvlm.load_segmentation(case.segmentation, like=case.volume)
    assert given.covered is None and given.searched == case.segmentation.searched


def test_a_box_is_no_organ_that_was_cut() -> None:
    labels = np.zeros((40, 30, 40), np.uint8)
    labels[8:18, 8:22, 5:15], labels[22:30, 8:22, 5:15] = 1, 2
    found = radvlm.load_segmentation((labels, np.diag([4.0, 4, 5, 1])), scheme={1: "liver", 2: "spleen"})
    assert found.covered is None
