"""Paired structures that are one label get their sides where pieces and midline tell them, and never otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io.mask_sides import with_sides
from radvlm.io.masks import load_segmentation
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, make_phantom
from radvlm.quantify.scan import measure_scan
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

KITS = {1: "kidney", 2: "kidney_tumor", 3: "kidney_cyst"}
Range = tuple[int, int]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    lesions = (LesionSpec("kidney_tumor", 25, side="left"), LesionSpec("kidney_cyst", 20, side="right"))
    return make_phantom(PhantomSpec(seed=3, region="abdomen", spacing_mm=(5.0, 5.0, 5.0), lesions=lesions))


def kits(phantom: Phantom, names: tuple[str, ...] = ("kidney_left", "kidney_right")) -> np.ndarray:
    """Kidneys, tumor and cyst as KiTS has them: three labels without sides."""
    masks = phantom.segmentation
    labels = np.zeros(masks.geometry.shape, np.uint8)
    for name in names:
        labels[masks.mask(name)] = 1
    for name in masks.places:
        if name.startswith(("kidney_tumor", "kidney_lesion")):
            labels[masks.mask(name)] = 2
        if name.startswith("kidney_cyst"):
            labels[masks.mask(name)] = 3
    return labels


def boxes(
    name: str, *parts: tuple[Range, Range, Range], extra: dict[str, tuple[Range, Range, Range]] | None = None
) -> Segmentation:
    """Boxes of voxels of 2 mm, world x = 2 i."""
    labels = np.zeros((120, 60, 60), np.uint8)
    places = {name: LabelPlace(0, 1)}
    for part in parts:
        labels[tuple(slice(*r) for r in part)] = 1
    for number, (other, part) in enumerate((extra or {}).items(), 2):
        labels[tuple(slice(*r) for r in part)] = number
        places[other] = LabelPlace(0, number)
    return Segmentation((labels,), places, frozenset(places), Geometry(labels.shape, np.diag([2.0, 2.0, 2.0, 1.0])))


def test_lesions_of_one_label_kidneys_get_side_host_and_pole(phantom: Phantom) -> None:
    labels = kits(phantom)
    found = load_segmentation((labels, phantom.volume.geometry.affine), like=phantom.volume, scheme=KITS)
    assert {"kidney_left", "kidney_right"} <= set(found.places) and "kidney" not in found.searched
    for side in ("left", "right"):
        truth = phantom.segmentation.mask(f"kidney_{side}") & (labels == 1)
        np.testing.assert_array_equal(found.mask(f"kidney_{side}"), truth)
    hosts = {lesion.structure: (lesion.host, lesion.pole) for lesion in measure_scan(phantom.volume, found).lesions}
    assert hosts["kidney_tumor"][0] == "kidney_left" and hosts["kidney_cyst"][0] == "kidney_right"
    assert all(pole for _, pole in hosts.values())


def test_masks_alone_are_enough_for_two_kidneys(phantom: Phantom) -> None:
    found = load_segmentation((kits(phantom), phantom.volume.geometry.affine), scheme=KITS)
    assert {"kidney_left", "kidney_right"} <= set(found.places)
    assert any("told apart" in d.what and not d.warning for d in found.decisions)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_single_kidney_has_its_side_by_the_body(phantom: Phantom, side: str) -> None:
    labels = kits(phantom, (f"kidney_{side}",))
    labels[labels > 1] = 0
    found = load_segmentation((labels, phantom.volume.geometry.affine), like=phantom.volume, scheme=KITS)
    other = "right" if side == "left" else "left"
    assert f"kidney_{side}" in found.places and f"kidney_{other}" in found.absent
    alone = load_segmentation((labels, phantom.volume.geometry.affine), scheme=KITS)
    assert "kidney" in alone.places and any("cannot be told" in d.what for d in alone.decisions)


def test_a_horseshoe_kidney_stays_one() -> None:
    horseshoe = boxes(
        "kidney", ((20, 40), (20, 40), (10, 50)), ((80, 100), (20, 40), (10, 50)), ((20, 100), (30, 40), (10, 16))
    )
    found = with_sides(horseshoe, None)
    assert set(found.places) == {"kidney"} and "cannot be told" in found.decisions[-1].what


def test_a_kidney_in_pieces_keeps_them_on_its_side() -> None:
    """A tumor divides the right kidney (higher x) into two pieces."""
    found = with_sides(
        boxes(
            "kidney", ((20, 40), (20, 40), (10, 50)), ((80, 100), (20, 40), (10, 26)), ((80, 100), (20, 40), (34, 50))
        ),
        None,
    )
    assert found.voxel_count("kidney_right") == 2 * 20 * 20 * 16 and found.voxel_count("kidney_left") == 20 * 20 * 40


@pytest.mark.parametrize("name", ["adrenal_gland", "lung", "femur", "humerus"])
def test_other_pairs_by_the_spine(name: str) -> None:
    spine = {"vertebrae_L1": ((54, 66), (5, 20), (20, 40))}
    both = with_sides(boxes(name, ((20, 40), (20, 40), (10, 50)), ((80, 100), (20, 40), (10, 50)), extra=spine), None)
    assert both.voxel_count(f"{name}_left") == both.voxel_count(f"{name}_right") == 20 * 20 * 40
    one = with_sides(boxes(name, ((80, 100), (20, 40), (10, 50)), extra=spine), None)
    assert f"{name}_right" in one.places and f"{name}_left" in one.absent


def test_pieces_that_overlap_across_the_midline_keep_together() -> None:
    """The left lung reaches over the midline in front: its piece stays whole."""
    left = (((10, 58), (5, 50), (10, 50)), ((58, 62), (5, 14), (10, 50)))
    right = ((64, 110), (16, 50), (10, 50))
    spine = {"vertebrae_T8": ((54, 64), (50, 60), (20, 40))}
    found = with_sides(boxes("lung", *left, right, extra=spine), None)
    assert found.voxel_count("lung_right") == 46 * 34 * 40
    assert found.voxel_count("lung_left") == 48 * 45 * 40 + 4 * 9 * 40


def test_what_has_sides_already_is_left_alone(phantom: Phantom) -> None:
    assert with_sides(phantom.segmentation, phantom.volume) is phantom.segmentation
    volume = Volume(np.full((120, 60, 60), 40, np.int16), Geometry((120, 60, 60), np.diag([2.0, 2.0, 2.0, 1.0])))
    assert set(with_sides(boxes("liver", ((20, 40), (20, 40), (10, 50))), volume).places) == {"liver"}
