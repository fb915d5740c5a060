"""Lesions in the wrong place beside organs that lie right: mirrored, of the other side, or far from their organ."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.io.masks import load_segmentation
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, make_phantom
from radvlm.quantify import measure_scan
from radvlm.types.anatomy import structure
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

LESIONS = ("kidney_cyst_left", "lung_nodule", "liver_metastasis")
ORGANS = ("liver", "spleen", "kidney_left", "kidney_right", "aorta", "vertebrae_L1")
LOBES = tuple(f"lung_{lobe}" for lobe in ("upper_lobe_left", "lower_lobe_left")) + tuple(
    f"lung_{lobe}_lobe_right" for lobe in ("upper", "middle", "lower")
)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    lesions = (
        LesionSpec("kidney_cyst", 25, side="left"),
        LesionSpec("lung_nodule", 16, side="right"),
        LesionSpec("liver_metastasis", 30, location="liver_segment_7"),
    )
    return make_phantom(
        PhantomSpec(seed=5, region="chest-abdomen-pelvis", spacing_mm=(5.0, 5.0, 6.0), sex="F", lesions=lesions)
    )


def masks_of(phantom: Phantom, names: tuple[str, ...], turned: dict[str, int | np.ndarray]) -> Segmentation:
    """Masks of the phantom, some mirrored along an axis or given as an array."""
    layers = []
    for name in names:
        how = turned.get(name)
        if isinstance(how, np.ndarray):
            mask = how
        else:
            mask = phantom.segmentation.mask(name)
            mask = mask if how is None else np.flip(mask, how)
        layers.append(mask.astype(np.uint8))
    places = {name: LabelPlace(number, 1) for number, name in enumerate(names)}
    return Segmentation(tuple(layers), places, frozenset(places), phantom.segmentation.geometry)


def loaded(phantom: Phantom, names: tuple[str, ...], turned: dict[str, int | np.ndarray]) -> Segmentation:
    return load_segmentation(masks_of(phantom, names, turned), like=phantom.volume)


@pytest.mark.parametrize(
    ("lesions", "axis"), [(LESIONS, 0), (LESIONS, 2), (LESIONS[:1], 0), (LESIONS[2:], 0), (LESIONS[2:], 2)]
)
def test_mirrored_lesions_beside_right_organs_are_refused(
    phantom: Phantom, lesions: tuple[str, ...], axis: int
) -> None:
    with pytest.raises(InputError, match="lie outside the masks of their organs, and in them") as e:
        loaded(phantom, (*ORGANS, *LOBES, *lesions), dict.fromkeys(lesions, axis))
    assert f"mirrored along {'xyz'[axis]}" in str(e.value) and structure(lesions[-1]).words in str(e.value)


def test_lesions_in_their_organs_pass_in_silence(phantom: Phantom) -> None:
    found = loaded(phantom, (*ORGANS, *LOBES, *LESIONS), {})
    assert not [d for d in found.decisions if d.warning]


def test_lesions_in_their_organs_are_measured_as_before(phantom: Phantom) -> None:
    names = ("liver", "kidney_left", "kidney_right", "liver_metastasis", "kidney_cyst_left")
    measured = measure_scan(phantom.volume, masks_of(phantom, names, {}))
    assert {lesion.structure: lesion.host for lesion in measured.lesions} == {
        "kidney_cyst_left": "kidney_left",
        "liver_metastasis": "liver",
    }
    assert not [d for d in measured.decisions if "far from its organ" in d.what]


def test_a_left_lesion_in_the_right_organ_is_refused(phantom: Phantom) -> None:
    kidney = phantom.segmentation.mask("kidney_right")
    middle = np.argwhere(kidney).mean(axis=0).astype(int)
    cyst = np.zeros(kidney.shape, bool)
    cyst[tuple(slice(m - 2, m + 2) for m in middle)] = True
    names = ("liver", "kidney_left", "kidney_right", "vertebrae_L1", "kidney_cyst_left")
    with pytest.raises(InputError, match=r"left renal cyst lies in the organ of the other side|mirrored along x"):
        loaded(phantom, names, {"kidney_cyst_left": cyst})
    with pytest.raises(InputError, match=r"left renal cyst lies .* mm to the right of the midline"):
        loaded(phantom, ("liver", "spleen", "vertebrae_L1", "kidney_cyst_left"), {"kidney_cyst_left": cyst})


@pytest.mark.parametrize(("gap_mm", "is_outside"), [(5, False), (50, True)])
def test_a_lesion_far_from_its_organ_is_warned_of_and_not_interpreted(
    phantom: Phantom, gap_mm: int, is_outside: bool
) -> None:
    """A block behind the lowest slice of the liver, which mirrored along no axis lies in it."""
    liver = phantom.segmentation.mask("liver")
    low = np.argwhere(liver)[np.argwhere(liver)[:, 2].argmin()]
    block = np.zeros(liver.shape, bool)
    top = int(low[2] - round(gap_mm / 6.0))
    block[low[0] - 2 : low[0] + 2, low[1] - 2 : low[1] + 2, max(top - 4, 0) : top + 1] = True
    segmentation = masks_of(phantom, ("liver", "spleen", "liver_lesion"), {"liver_lesion": block})
    measured = measure_scan(phantom.volume, segmentation)
    lesion = measured.lesions[0]
    warned = [d for d in measured.decisions if d.warning and "far from its organ" in d.what]
    assert bool(warned) == is_outside == (lesion.host == "")
    assert is_outside == any("lies outside the mask of its organ" in o.reason for o in lesion.omissions)
    if is_outside:
        assert not [m for m in lesion.measurements if m.quantity in ("median_hu", "contrast_to_host")]
        assert "liver lesion 1 lies outside the mask of its organ" in warned[0].what


def test_stones_of_a_ureter_and_gallstones_may_leave_their_organ(phantom: Phantom) -> None:
    volume: Volume = phantom.volume
    kidney = np.argwhere(phantom.segmentation.mask("kidney_left"))
    low = kidney[kidney[:, 2].argmin()]
    stone = np.zeros(volume.hu.shape, bool)
    stone[low[0] + 2 : low[0] + 4, low[1] : low[1] + 2, low[2] - 12 : low[2] - 10] = True
    names = ("kidney_left", "kidney_right", "kidney_stone_left")
    measured = measure_scan(volume, masks_of(phantom, names, {"kidney_stone_left": stone}))
    assert not [d for d in measured.decisions if "far from its organ" in d.what]
