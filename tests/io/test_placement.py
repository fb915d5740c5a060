"""Masks that do not lie on their scan are refused with what would mend them; masks that do lie there never are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import InputError, StructureError
from radvlm.io.label_names import table_as_xml
from radvlm.io.mask_fit import fit_of, sample_points
from radvlm.io.masks import load_segmentation
from radvlm.io.placement import placement_of
from radvlm.io.volumes import load_volume
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Geometry
from radvlm.types.label_scheme import scheme_named
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
CHANGES: dict[str, tuple[Change, str]] = {
    "mirrored x": (lambda a, m: (a[::-1], m), "mirrored along x"),
    "mirrored y": (lambda a, m: (a[:, ::-1], m), "mirrored along y"),
    "mirrored z": (lambda a, m: (a[:, :, ::-1], m), "mirrored along z"),
    "LPS for RAS": (lambda a, m: (a, np.diag([-1.0, -1, 1, 1]) @ m), "LPS taken for RAS|mirrored along x.* and y"),
    "identity": (lambda a, m: (a, np.eye(4)), "affine of the masks is not that of the scan"),
    "transposed": (lambda a, m: (a.transpose(1, 0, 2), m), "x and y of the masks look exchanged"),
    "shifted right": (lambda a, m: (np.roll(a, 8, 0), m), "shifted by about (30|45) mm toward the patient's right"),
    "shifted down": (lambda a, m: (np.roll(a, -8, 2), m), "shifted by about (45|60) mm toward the patient's feet"),
}
PARTS: dict[str, Collection[str]] = {
    "whole": (),
    "liver and spleen": ("liver", "spleen"),
    "kidneys": ("kidney_left", "kidney_right"),
    "liver": ("liver",),
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(seed=1, region="abdomen", spacing_mm=(5.0, 5.0, 6.0), phase="non-contrast"))


def only(masks: Segmentation, names: Collection[str]) -> Segmentation:
    """The masks of some structures alone."""
    places = {name: place for name, place in masks.places.items() if not names or name in names}
    layers = []
    for number, layer in enumerate(masks.layers):
        kept = [place.label for place in places.values() if place.layer == number]
        layers.append(np.where(np.isin(layer, kept), layer, 0).astype(layer.dtype))
    return Segmentation(tuple(layers), places, frozenset(places), masks.geometry)


def label_map(masks: Segmentation) -> tuple[np.ndarray, dict[int, str]]:
    """TotalSegmentator's numbers of the masks that it has."""
    numbers = {name: label for label, name in scheme_named("totalsegmentator").labels.items()}
    labels = np.zeros(masks.geometry.shape, np.uint8)
    for name in masks.places:
        if name in numbers:
            labels[masks.mask(name)] = numbers[name]
    return labels, {label: name for name, label in numbers.items()}


def swapped(masks: Segmentation) -> Segmentation:
    """The same masks with left and right exchanged in their names."""

    def other(name: str) -> str:
        exchanged = name.replace("right", "?").replace("left", "right").replace("?", "left")
        return exchanged if structure(name).side and exchanged in masks.places else name

    places = {other(name): place for name, place in masks.places.items()}
    return Segmentation(masks.layers, places, frozenset(places), masks.geometry)


def renamed(masks: Segmentation, old_names: dict[str, str]) -> Segmentation:
    """The structures of ``old_names`` alone, called by its keys."""
    part = only(masks, tuple(old_names.values()))
    places = {new: part.places[old] for new, old in old_names.items()}
    return Segmentation(part.layers, places, frozenset(places), part.geometry)


def mirrored_scan(volume: Volume) -> Volume:
    return replace(volume, hu=np.ascontiguousarray(volume.hu[::-1]))


def mirrored_masks(masks: Segmentation) -> Segmentation:
    return Segmentation(
        tuple(np.ascontiguousarray(layer[::-1]) for layer in masks.layers), masks.places, masks.searched, masks.geometry
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", CHANGES)
def test_misplaced_masks_are_refused(phantom: Phantom, change: str, part: str) -> None:
    masks = only(phantom.segmentation, PARTS[part])
    labels, names = label_map(masks)
    array, affine = CHANGES[change][0](labels, phantom.volume.geometry.affine)
    scheme = {label: names[label] for label in np.unique(labels) if label}
    if change == "identity" and part != "whole":
        pytest.skip("outside the scan's millimeters")
    with pytest.raises(InputError, match="the masks lie on this scan") as caught:
        load_segmentation((array, affine), like=phantom.volume, scheme=scheme)
    assert caught.value.remedy and "--accept-misplaced" in caught.value.remedy
    if part == "whole":
        with pytest.raises(InputError, match=CHANGES[change][1]):
            load_segmentation((array, affine), like=phantom.volume, scheme=scheme)


@pytest.mark.parametrize("part", [*PARTS, "lungs"])
def test_masks_in_place_pass_in_silence(phantom: Phantom, part: str) -> None:
    names = PARTS.get(part) or (
        [n for n in phantom.segmentation.places if n.startswith("lung_")] if part == "lungs" else ()
    )
    found = load_segmentation(only(phantom.segmentation, names), like=phantom.volume)
    assert not [d.what for d in found.decisions if d.warning]


def test_names_in_the_header_do_not_save_mirrored_masks(phantom: Phantom, tmp_path: Path) -> None:
    labels, names = label_map(phantom.segmentation)
    image = nib.Nifti1Image(labels[::-1].copy(), phantom.volume.geometry.affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table_as_xml(names)))
    nib.save(image, tmp_path / "seg.nii.gz")
    with pytest.raises(InputError, match=r"left and right are swapped \(\d+ of \d+ right-left pairs"):
        load_segmentation(tmp_path / "seg.nii.gz", like=phantom.volume)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["mirrored x", "mirrored y", "mirrored z", "transposed", "shifted right"])
def test_misplaced_masks_without_names_are_no_question_of_the_scheme(phantom: Phantom, change: str) -> None:
    labels, _ = label_map(phantom.segmentation)
    assert load_segmentation((labels, phantom.volume.geometry.affine), like=phantom.volume).scheme == "totalsegmentator"
    apply, what = CHANGES[change]
    moved = apply(labels, phantom.volume.geometry.affine)
    with pytest.raises(InputError, match=f"({what}).*numbers were read as totalsegmentator"):
        load_segmentation(moved, like=phantom.volume)
    found = load_segmentation(moved, like=phantom.volume, scheme="totalsegmentator", accept_misplaced=True)
    assert any(d.step == "placement" and d.warning for d in found.decisions)


@pytest.mark.slow
def test_masks_in_place_of_an_unknown_scheme_are_a_question_of_the_scheme(phantom: Phantom) -> None:
    labels, _ = label_map(phantom.segmentation)
    used = np.unique(labels)[1:]
    other = np.zeros(256, np.uint8)
    other[used] = np.random.default_rng(1).permutation(used)
    with pytest.raises(StructureError) as raised:
        load_segmentation((other[labels], phantom.volume.geometry.affine), like=phantom.volume)
    assert "follow another scheme, or the masks do not lie on this scan" in str(raised.value)
    assert ", ." not in str(raised.value) and "more labels" in str(raised.value)


def test_a_folder_that_lost_its_affines(phantom: Phantom, tmp_path: Path) -> None:
    for name in ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "aorta", "vertebrae_L1", "vertebrae_L2"):
        nib.save(
            nib.Nifti1Image(phantom.segmentation.mask(name).astype(np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz"
        )
    with pytest.raises(InputError, match="affine of the masks is not that of the scan"):
        load_segmentation(tmp_path, like=phantom.volume)


def test_accepted_masks_go_on_and_say_so(phantom: Phantom) -> None:
    found = load_segmentation(mirrored_masks(phantom.segmentation), like=phantom.volume, accept_misplaced=True)
    said = [d for d in found.decisions if d.step == "placement"]
    assert len(said) == 1 and said[0].warning and "left and right are swapped" in said[0].what


@pytest.mark.slow
def test_masks_of_another_patient_are_warned_of(phantom: Phantom) -> None:
    """Another body at the same place, with the same organs nearly where they are here."""
    other = make_phantom(PhantomSpec(seed=3, region="abdomen", spacing_mm=(5.0, 5.0, 6.0))).segmentation
    found = load_segmentation(other, like=phantom.volume)
    said = [d.what for d in found.decisions if d.step == "placement" and d.warning]
    assert len(said) == 1 and "another patient" in said[0] and found.attenuation_doubt


@pytest.mark.slow
@pytest.mark.parametrize("noise_hu", [0.0, 50.0])
def test_random_parts_of_masks_in_place_are_never_doubted(phantom: Phantom, noise_hu: float) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, noise_hu, phantom.volume.hu.shape)
    volume = replace(phantom.volume, hu=np.clip(phantom.volume.hu + noise, -1024, 3071).astype(np.int16))
    for size in (1, 2, 3, 5, 10, 20, 1, 2, 3, 5):
        names = rng.choice(list(phantom.segmentation.places), size, replace=False)
        placement = placement_of(volume, only(phantom.segmentation, set(names)))
        assert (placement.problem, placement.doubts) == ("", ()), names


# -- mirror images --------------------------------------------------------------------------------------------------


def test_exchanged_names_are_told_from_mirrored_masks(phantom: Phantom) -> None:
    placement = placement_of(phantom.volume, swapped(phantom.segmentation))
    assert "names left and right look exchanged" in placement.problem


def test_scan_and_masks_mirrored_together_are_refused(phantom: Phantom) -> None:
    placement = placement_of(mirrored_scan(phantom.volume), mirrored_masks(phantom.segmentation))
    assert "scan and masks look mirrored together" in placement.problem


def test_situs_inversus_is_accepted_with_a_warning(phantom: Phantom) -> None:
    """The body mirrored, and its masks named by the side on which they lie, as a segmenter names them."""
    found = load_segmentation(mirrored_masks(swapped(phantom.segmentation)), like=mirrored_scan(phantom.volume))
    said = [d.what for d in found.decisions if d.warning]
    assert len(said) == 1 and "situs inversus" in said[0]


def test_organs_called_by_the_names_of_others_lie_on_the_wrong_side(phantom: Phantom) -> None:
    """Labels off by one: the spleen as a right kidney far to the left of a liver that is called stomach."""
    wrong = renamed(phantom.segmentation, {"kidney_right": "spleen", "stomach": "liver"})
    assert "left and right are swapped" in placement_of(phantom.volume, wrong).problem
    situs = renamed(mirrored_masks(phantom.segmentation), {"kidney_right": "kidney_left", "stomach": "stomach"})
    assert placement_of(mirrored_scan(phantom.volume), situs).problem == ""


def test_one_kidney_with_the_name_of_the_other_side(phantom: Phantom) -> None:
    wrong = renamed(phantom.segmentation, {"kidney_right": "kidney_left", "liver": "liver", "spleen": "spleen"})
    assert "left and right are swapped" in placement_of(phantom.volume, wrong).problem


def test_lobes_of_one_lung_do_not_lie_in_two(phantom: Phantom) -> None:
    """Labels of TotalSegmentator one too high: the left lower lobe is called the right upper one."""
    names = {"lung_upper_lobe_right": "lung_lower_lobe_left", "lung_lower_lobe_right": "lung_lower_lobe_right"}
    wrong = renamed(phantom.segmentation, names)
    assert "lie in both lungs" in placement_of(phantom.volume, wrong).problem


@pytest.mark.slow
def test_ribs_in_another_order_are_warned_of() -> None:
    """Numbers that begin in the middle, or a third of the ribs with the name of the other side; not one missed rib."""
    chest = make_phantom(PhantomSpec(seed=1, region="chest", spacing_mm=(6.0, 6.0, 6.0)))
    own = {f"rib_{side}_{n}": f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)}
    assert set(own) <= set(chest.segmentation.places)
    turned = {f"rib_left_{n}": f"rib_left_{(n + 5) % 12 + 1}" for n in range(1, 13)}
    exchanged = {f"rib_{a}_{n}": f"rib_{b}_{n}" for n in (2, 4, 6) for a, b in (("left", "right"), ("right", "left"))}
    for wrong, what in ((turned, "order of their numbers"), (exchanged, "name of the other side")):
        found = placement_of(chest.volume, renamed(chest.segmentation, own | wrong))
        assert found.problem == "" and len(found.doubts) == 1 and what in found.doubts[0], found
    missed = {f"rib_left_{n}": f"rib_left_{n + (n > 4)}" for n in range(1, 12)}
    del own["rib_left_12"]
    assert placement_of(chest.volume, renamed(chest.segmentation, own | missed)).doubts == ()


def test_a_single_kidney_or_a_pelvic_one_is_no_reversal(phantom: Phantom) -> None:
    masks = phantom.segmentation
    for names in (("kidney_left",), ("kidney_right", "liver")):
        assert placement_of(phantom.volume, only(masks, names)).problem == ""
    shift = 20
    hu, layers = phantom.volume.hu.copy(), tuple(layer.copy() for layer in masks.layers)
    place = masks.places["kidney_left"]
    where = np.argwhere(layers[place.layer] == place.label)
    hu[tuple(where.T)], layers[place.layer][tuple(where.T)] = -90, 0
    there = where - [0, 0, shift]
    there = there[there[:, 2] >= 0]
    hu[tuple(there.T)] = 32
    for layer in layers:
        layer[tuple(there.T)] = 0
    layers[place.layer][tuple(there.T)] = place.label
    pelvic = Segmentation(
        layers,
        {n: p for n, p in masks.places.items() if (layers[p.layer] == p.label).any()},
        masks.searched,
        masks.geometry,
    )
    assert placement_of(replace(phantom.volume, hu=hu), pelvic).problem == ""


# -- numbers --------------------------------------------------------------------------------------------------------


def test_contrast_of_a_sharp_edge_is_its_information() -> None:
    """A cube in air: inside and outside share no attenuation, so the contrast is the entropy of the two shares."""
    hu = np.full((60, 60, 60), -1000, np.int16)
    hu[20:40, 20:40, 20:40] = 50
    labels = np.zeros(hu.shape, np.uint8)
    labels[20:40, 20:40, 20:40] = 1
    masks = Segmentation((labels,), {"liver": LabelPlace(0, 1)}, frozenset(), Geometry(hu.shape, np.eye(4)))
    points = sample_points(masks)
    assert points is not None
    inside = points.inside.mean()
    entropy = -(inside * np.log(inside) + (1 - inside) * np.log(1 - inside))
    fit = fit_of(points, hu)
    assert fit.contrast == pytest.approx(entropy, abs=1e-9) and fit.plausible == 1.0
    assert fit_of(points, np.full_like(hu, -1000)).plausible == 0.0


@pytest.mark.slow
def test_real_masks_pass_and_their_mirror_images_do_not(real_data: Path) -> None:
    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    image = nib.load(real_data / "plain_abdomen" / "segmentation.nii.gz")
    array = np.asarray(image.dataobj).astype(np.uint8)
    found = load_segmentation((array, image.affine), like=volume, scheme="totalsegmentator")
    assert not any(d.step == "placement" for d in found.decisions)
    for axis in range(3):
        with pytest.raises(InputError, match=f"mirrored along {'xyz'[axis]}"):
            load_segmentation((np.flip(array, axis), image.affine), like=volume, scheme="totalsegmentator")
