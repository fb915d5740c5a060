"""load_segmentation: every kind of source, the three kinds of missing, other grids, and bad input."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radvlm.errors import FileFormatError, GridError, InputError, StructureError
from radvlm.io.label_names import table_as_xml
from radvlm.io.mask_check import check_masks_fit, sample_labels
from radvlm.io.mask_layers import LayerPacker, whole_labels
from radvlm.io.masks import load_segmentation
from radvlm.types.geometry import Box, Geometry
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

AFFINE = np.array([[2.0, 0, 0, -10], [0, 1.5, 0, 20], [0, 0, 3.0, -40], [0, 0, 0, 1]])
ORDERS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, names: dict[int, str] | None = None) -> Path:
    image = nib.Nifti1Image(array, affine)
    if names:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table_as_xml(names)))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def block(*boxes: tuple[slice, slice, slice], shape: tuple[int, int, int] = (8, 9, 10), label: int = 1) -> np.ndarray:
    array = np.zeros(shape, np.uint8)
    for box in boxes:
        array[box] = label
    return array


def stored(
    array: np.ndarray, affine: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The same image with other stored axes."""
    geometry = Geometry(array.shape, affine).reordered(order, signs)
    flips = tuple(slice(None, None, sign) for sign in signs)
    return np.ascontiguousarray(array.transpose(order)[flips]), geometry.affine


def same(first: Segmentation, second: Segmentation) -> None:
    assert dict(first.places) == dict(second.places)
    assert first.searched == second.searched
    assert first.geometry.corner_distance_mm(second.geometry) < 1e-6
    for name in first.places:
        np.testing.assert_array_equal(first.mask(name), second.mask(name))


LIVER, SPLEEN = (slice(4, 8), slice(1, 5), slice(2, 6)), (slice(0, 2), slice(5, 8), slice(3, 9))


# -- sources --------------------------------------------------------------------------------------------------------


def label_map() -> np.ndarray:
    array = block(LIVER, label=5)
    array[SPLEEN] = 1
    return array


def check_label_map(found: Segmentation) -> None:
    assert set(found.places) == {"liver", "spleen"}
    assert found.voxel_count("liver") == 4 * 4 * 4
    assert found.boxes["spleen"] == Box.from_slices(SPLEEN)


def test_file_with_names_in_its_header(tmp_path: Path) -> None:
    path = save(tmp_path / "seg.nii.gz", label_map(), names={1: "spleen", 5: "liver", 52: "aorta"})
    found = load_segmentation(path)
    check_label_map(found)
    assert found.absent == ("aorta",)
    assert found.scheme == "totalsegmentator"
    assert len(found.sources) == 1 and found.sources[0].name == "seg.nii.gz"
    assert any("header" in decision.what and not decision.warning for decision in found.decisions)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seg.json", json.dumps({"1": "spleen", "5": "liver"})),
        ("dataset.json", json.dumps({"labels": {"background": 0, "spleen": 1, "liver": 5}})),
        ("seg.csv", "label,name,volume\n1,spleen,3\n5,liver,4\n"),
        ("seg_labels.tsv", "index\tname\n1\tspleen\n5\tliver\n"),
        ("labels.txt", '# ITK-SNAP\n0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "spleen"\n5 0 255 0 1 1 1 "liver"\n'),
    ],
)
def test_table_beside_the_file(tmp_path: Path, name: str, text: str) -> None:
    path = save(tmp_path / "seg.nii.gz", label_map())
    (tmp_path / name).write_text(text)
    found = load_segmentation(path)
    check_label_map(found)
    assert any(name in decision.what for decision in found.decisions)


def test_objects_in_memory() -> None:
    scheme = {1: "spleen", 5: "liver"}
    check_label_map(load_segmentation((label_map(), AFFINE), scheme=scheme))
    check_label_map(load_segmentation(nib.Nifti1Image(label_map(), AFFINE), scheme="totalsegmentator"))
    first = load_segmentation((label_map(), AFFINE), scheme=scheme)
    assert load_segmentation(first) is first
    assert load_segmentation(first, like=first.geometry) is first


@pytest.mark.slow
def test_metatensor() -> None:
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("monai.data")
    tensor = data.MetaTensor(torch.from_numpy(label_map()[None].astype(np.float32)), affine=torch.from_numpy(AFFINE))
    check_label_map(load_segmentation(tensor, scheme="totalsegmentator"))


def test_bare_array_needs_a_grid_without_doubt() -> None:
    volume = Volume(np.zeros((8, 9, 10), np.int16) + 50, Geometry((8, 9, 10), AFFINE))
    check_label_map(load_segmentation(label_map(), like=volume, scheme="totalsegmentator"))
    with pytest.raises(InputError, match="affine"):
        load_segmentation(label_map(), scheme="totalsegmentator")
    flipped = Volume(volume.hu, volume.geometry, stored_axes="LPS")
    with pytest.raises(InputError, match="stored as LPS"):
        load_segmentation(label_map(), like=flipped, scheme="totalsegmentator")
    with pytest.raises(InputError, match="shape of the scan"):
        load_segmentation(label_map()[1:], like=volume, scheme="totalsegmentator")
    with pytest.raises(InputError, match="Segmentation"):
        load_segmentation(3.5)
    with pytest.raises(InputError, match="like is a Volume"):
        load_segmentation(label_map(), like=label_map())  # type: ignore[arg-type]


def test_folder_of_binary_masks(tmp_path: Path) -> None:
    folder = tmp_path / "BDMAP_1"
    save(folder / "ct.nii.gz", np.full((8, 9, 10), -1000, np.int16))
    save(folder / "combined_labels.nii.gz", label_map())
    masks = folder / "segmentations"
    save(masks / "liver.nii.gz", block(LIVER))
    save(masks / "spleen.nii.gz", block(SPLEEN, label=255))
    save(masks / "postcava.nii.gz", block())
    save(masks / "hepatic_lesion.nii.gz", block((slice(5, 7), slice(2, 4), slice(3, 5))))
    (masks / "statistics.json").write_text("{}")
    (masks / "._liver.nii.gz").write_bytes(b"resource fork")
    found = load_segmentation(folder)
    check_label_map_in = set(found.places)
    assert check_label_map_in == {"liver", "spleen", "liver_lesion"}
    assert found.absent == ("inferior_vena_cava",)
    assert "aorta" not in found.searched
    assert found.voxel_count("liver") == 64 and found.voxel_count("liver_lesion") == 8
    assert len(found.layers) == 2  # the lesion lies in the liver, all else shares a layer
    assert found.scheme == "abdomenatlas"
    assert len(found.sources) == 4


def test_folder_with_an_unknown_file(tmp_path: Path) -> None:
    save(tmp_path / "liver.nii.gz", block(LIVER))
    save(tmp_path / "splen.nii.gz", block(SPLEEN))
    partly = load_segmentation(tmp_path)
    assert set(partly.places) == partly.searched == {"liver"}
    assert any("not used: 'splen' (near: spleen" in decision.what for decision in partly.decisions if decision.warning)
    found = load_segmentation(tmp_path, scheme={"splen": "spleen"})
    check_label_map(found)


def test_two_versions_of_one_task_are_asked_about_and_named(tmp_path: Path) -> None:
    """34 is the left femur in total_mr of TotalSegmentator 2.4 and the left clavicle since 2.5."""
    labels = np.zeros(label_map().shape, np.uint8)
    labels.reshape(-1)[:50] = np.arange(1, 51)
    with pytest.raises(StructureError, match=r"total_mr"):
        load_segmentation((labels, np.eye(4)))
    for scheme, name, version in (
        ("total_mr", "clavicula_left", "2.5 and later"),
        ("total_mr-2.4", "femur_left", "2.2 to 2.4"),
    ):
        found = load_segmentation((labels, np.eye(4)), scheme=scheme)
        assert found.mask(name).sum() == 1 and found.mask(name)[labels == 34].all()
        assert any(version in decision.what for decision in found.decisions)
    with pytest.raises(StructureError, match=r"\(total_mr-2.4[^)]* know all of them\)"):
        load_segmentation((np.where(labels == 50, 56, labels).astype(np.uint8), np.eye(4)), scheme="total_mr")


def test_folder_of_a_program_that_takes_free_text(tmp_path: Path) -> None:
    """VoxTell and its like write one file a prompt, named case_prompt.nii.gz."""
    save(tmp_path / "ct001_the liver.nii.gz", block(LIVER))
    save(tmp_path / "ct001_spleen.nii.gz", block(SPLEEN))
    save(tmp_path / "ct001_lesion in segment 6 of the liver.nii.gz", block())
    save(tmp_path / "ct001_wall of the aorta.nii.gz", block())
    found = load_segmentation(tmp_path)
    assert set(found.places) == {"liver", "spleen"} and found.searched == {"liver", "spleen", "liver_lesion"}
    assert any("'ct001_the liver' as liver" in decision.what for decision in found.decisions)
    assert any("wall of the aorta" in decision.what for decision in found.decisions if decision.warning)


def test_folder_of_empty_masks_is_an_answer(tmp_path: Path) -> None:
    save(tmp_path / "liver_tumor.nii.gz", block())
    found = load_segmentation(tmp_path)
    assert not found.places and found.searched == {"liver_tumor"}
    assert any(decision.warning for decision in found.decisions)


def test_folder_with_one_label_file_and_folder_with_nothing(tmp_path: Path) -> None:
    save(tmp_path / "a" / "segmentation.nii.gz", label_map(), names={1: "spleen", 5: "liver"})
    check_label_map(load_segmentation(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    with pytest.raises(FileFormatError, match="holds masks"):
        load_segmentation(tmp_path / "b")
    with pytest.raises(FileFormatError, match="exist"):
        load_segmentation(tmp_path / "c")


def test_two_labels_in_a_binary_file(tmp_path: Path) -> None:
    save(tmp_path / "liver.nii.gz", label_map())
    save(tmp_path / "aorta.nii.gz", block())
    with pytest.raises(InputError, match=r"\[1, 5\].*one label"):
        load_segmentation(tmp_path)


def test_one_binary_file_is_named_by_its_file_name(tmp_path: Path) -> None:
    path = save(tmp_path / "left kidney.nii.gz", block(LIVER, label=255))
    assert load_segmentation(path).voxel_count("kidney_left") == 64
    empty = load_segmentation(save(tmp_path / "liver_tumor.nii.gz", block()))
    assert empty.absent == ("liver_tumor",)


def test_mapping_of_masks(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", block(SPLEEN))
    found = load_segmentation({"liver": (block(LIVER), AFFINE), "Spleen": path})
    check_label_map(found)
    with pytest.raises(StructureError, match="livver"):
        load_segmentation({"livver": path})
    with pytest.raises(InputError, match="at least one"):
        load_segmentation({})


def test_two_files_of_one_structure_are_united(tmp_path: Path) -> None:
    save(tmp_path / "liver_tumor.nii.gz", block((slice(0, 2), slice(0, 2), slice(0, 2))))
    save(tmp_path / "hepatic_tumor.nii.gz", block((slice(1, 3), slice(0, 2), slice(0, 2))))
    save(tmp_path / "liver.nii.gz", block((slice(0, 8), slice(0, 9), slice(0, 10))))
    found = load_segmentation(tmp_path)
    assert found.voxel_count("liver_tumor") == 12
    assert any("united" in decision.what for decision in found.decisions)


# -- schemes --------------------------------------------------------------------------------------------------------


def test_unknown_labels_are_named_with_their_voxels() -> None:
    array = label_map()
    array[0, 0, :3] = 9
    with pytest.raises(StructureError, match=r"9 \(3 voxels\)"):
        load_segmentation((array, AFFINE), scheme={1: "spleen", 5: "liver"})
    found = load_segmentation((array, AFFINE), scheme={1: "spleen", 5: "liver", 9: ""})
    check_label_map(found)


def test_numbers_alone_are_refused() -> None:
    with pytest.raises(StructureError, match="scheme="):
        load_segmentation((label_map(), AFFINE))


def test_two_labels_of_one_structure_become_one() -> None:
    array = block(LIVER, label=26)
    array[SPLEEN] = 130
    found = load_segmentation((array, AFFINE), scheme="vista3d")
    assert set(found.places) == {"liver_tumor"}
    assert found.voxel_count("liver_tumor") == 64 + 36
    assert "lung_tumor" not in found.searched and "spleen" in found.searched


def test_scheme_of_the_wrong_kind() -> None:
    with pytest.raises(InputError, match="scheme is a name"):
        load_segmentation((label_map(), AFFINE), scheme=5)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match="has names only"):
        load_segmentation((label_map(), AFFINE), scheme="radvlm")


# -- bad input ------------------------------------------------------------------------------------------------------


def test_all_zero_mask() -> None:
    with pytest.raises(InputError, match="every voxel is 0"):
        load_segmentation((block(), AFFINE))
    found = load_segmentation((block(), AFFINE), scheme="btcv")
    assert not found.places and len(found.absent) == 13
    assert any(decision.warning for decision in found.decisions)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "finite"),
        (np.inf, "finite"),
        (-1.0, "0 or more"),
        (-1024.0, "looks like an image"),
        (0.5, "Threshold a probability"),
        (70000.0, "at most 65535"),
    ],
)
def test_float_masks_that_are_none(value: float, message: str) -> None:
    array = label_map().astype(np.float32)
    array[3, 3, 3] = value
    with pytest.raises(InputError, match=message):
        load_segmentation((array, AFFINE), scheme="totalsegmentator")


def test_whole_numbers_in_any_type() -> None:
    for dtype in (np.float32, np.float64, np.int16, np.int64, np.uint16):
        check_label_map(load_segmentation((label_map().astype(dtype), AFFINE), scheme="totalsegmentator"))
    found = load_segmentation((label_map().astype(np.float32), AFFINE), scheme="totalsegmentator")
    assert any("float32" in decision.what for decision in found.decisions)
    assert whole_labels(np.array([[[300.0]]]), "x")[0].dtype == np.uint16
    assert whole_labels(np.array([[[True]]]), "x")[0].dtype == np.uint8
    with pytest.raises(InputError, match="whole numbers"):
        whole_labels(np.array([[[1j]]]), "x")
    with pytest.raises(InputError, match="three axes"):
        whole_labels(np.zeros((2, 3, 4, 5)), "x")


def test_a_text_file_named_nii(tmp_path: Path) -> None:
    (tmp_path / "seg.nii").write_text("not an image")
    with pytest.raises(FileFormatError, match="text file"):
        load_segmentation(tmp_path / "seg.nii", scheme="btcv")


# -- orientation ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=25)
def test_stored_axes_never_matter(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5))
    array = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 5])))
    other = Geometry(
        (4, 5, 3),
        np.diag([1.7, 1.2, 2.9, 1]) + np.array([[0, 0, 0, -9.1], [0, 0, 0, 20.3], [0, 0, 0, -39], [0, 0, 0, 0]]),
    )
    expected = load_segmentation((array, AFFINE), scheme="totalsegmentator")
    resampled = load_segmentation((array, AFFINE), scheme="totalsegmentator", like=other)
    for order, signs in data.draw(st.lists(st.sampled_from(ORDERS), min_size=6, max_size=6)):
        source = stored(array, AFFINE, order, signs)
        same(load_segmentation(source, scheme="totalsegmentator"), expected)
        same(load_segmentation(source, scheme="totalsegmentator", like=other), resampled)


def test_all_48_orientations_of_one_map(tmp_path: Path) -> None:
    expected = load_segmentation((label_map(), AFFINE), scheme="totalsegmentator")
    for number, (order, signs) in enumerate(ORDERS):
        array, affine = stored(label_map(), AFFINE, order, signs)
        path = save(tmp_path / f"{number}.nii", array, affine)
        same(load_segmentation(path, scheme="totalsegmentator", like=expected.geometry), expected)


# -- other grids ----------------------------------------------------------------------------------------------------


def reference_nearest(labels: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Nearest neighbor, one voxel at a time."""
    out = np.zeros(target.shape, labels.dtype)
    for index in np.ndindex(*target.shape):
        at = np.floor(source.to_index(target.to_world(index)) + 0.5 + 1e-4).astype(int)
        if ((at >= 0) & (at < source.shape)).all():
            out[index] = labels[tuple(at)]
    return out


def rotated(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    center = np.eye(4)
    center[:3, 3] = AFFINE[:3, :3] @ np.array([3.5, 4, 4.5]) + AFFINE[:3, 3]
    return center @ turn @ np.linalg.inv(center) @ AFFINE


@pytest.mark.parametrize("degrees", [0.0, 12.0, 40.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.5, 3.0), (3.1, 2.2, 4.0)])
def test_resampling_equals_the_slow_reference(degrees: float, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    array = rng.integers(0, 4, (8, 9, 10)).astype(np.uint8)
    array[:2] = 0
    scheme = {1: "liver", 2: "spleen", 3: "aorta"}
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-9.3, 20.9, -38.0)
    target = Geometry((11, 10, 9), affine)
    source = Geometry((8, 9, 10), rotated(degrees))
    found = load_segmentation((array, source.affine), like=target, scheme=scheme)
    expected = reference_nearest(array, source, target)
    np.testing.assert_array_equal(found.layers[0], expected)
    assert any("resampled" in decision.what for decision in found.decisions)
    by_file = load_segmentation(
        {name: ((array == label).astype(np.uint8), source.affine) for label, name in scheme.items()}, like=target
    )
    for label, name in scheme.items():
        np.testing.assert_array_equal(by_file.mask(name), expected == label)


def test_spacing_change_and_partial_cover_are_warned_of() -> None:
    target = Geometry((8, 9, 20), AFFINE)
    found = load_segmentation((label_map(), AFFINE), like=target, scheme="totalsegmentator")
    assert any("cover 50%" in decision.what and decision.warning for decision in found.decisions)
    fine = Geometry((16, 18, 20), AFFINE @ np.diag([0.5, 0.5, 0.5, 1.0]))
    found = load_segmentation((label_map(), AFFINE), like=fine, scheme="totalsegmentator")
    assert any("resampled" in decision.what and decision.warning for decision in found.decisions)
    assert abs(found.voxel_count("liver") / 8 - 64) <= 32  # half a voxel of shift at each face at most


def test_masks_elsewhere_are_refused() -> None:
    far = AFFINE.copy()
    far[:3, 3] += 500
    with pytest.raises(GridError, match="where the scan lies"):
        load_segmentation((label_map(), AFFINE), like=Geometry((8, 9, 10), far), scheme="totalsegmentator")
    with pytest.raises(GridError, match="where the scan lies"):
        load_segmentation({"liver": (block(LIVER), AFFINE)}, like=Geometry((8, 9, 10), far))


def test_a_small_crop_inside_a_large_scan_is_fine() -> None:
    large = Geometry(
        (110, 100, 105),
        np.diag([1.0, 1, 1, 1]) + np.array([[0, 0, 0, -50], [0, 0, 0, -30], [0, 0, 0, -90], [0, 0, 0, 0]]),
    )
    found = load_segmentation((block(LIVER), AFFINE), like=large, scheme={1: "liver_lesion"})
    assert found.voxel_count("liver_lesion") == pytest.approx(64 * 2 * 1.5 * 3, rel=0.02)


def test_a_structure_lost_in_resampling_counts_as_not_searched() -> None:
    array = label_map()
    array[7, 8, 9] = 52
    coarse = Geometry(
        (2, 3, 3), np.diag([8.0, 5, 10, 1]) + np.array([[0, 0, 0, -8], [0, 0, 0, 21], [0, 0, 0, -36], [0, 0, 0, 0]])
    )
    found = load_segmentation((array, AFFINE), like=coarse, scheme="totalsegmentator")
    assert "aorta" not in found.searched and "gallbladder" in found.searched
    assert any("aorta" in decision.what and decision.warning for decision in found.decisions)
    masks = {
        "liver": (block(LIVER), AFFINE),
        "aorta": ((array == 52).astype(np.uint8), AFFINE),
        "gallbladder": (block(), AFFINE),
    }
    assert load_segmentation(masks, like=coarse).searched == {"liver", "gallbladder"}
    again = load_segmentation(load_segmentation((array, AFFINE), scheme="totalsegmentator"), like=coarse)
    assert "aorta" not in again.searched and set(again.places) == set(found.places)


def test_like_may_be_stored_in_any_order() -> None:
    turned = Geometry((8, 9, 10), AFFINE).reordered((2, 0, 1), (-1, 1, -1))
    found = load_segmentation((label_map(), AFFINE), like=turned, scheme="totalsegmentator")
    check_label_map(found)
    assert found.geometry.is_canonical


# -- packing --------------------------------------------------------------------------------------------------------


@given(st.lists(hnp.arrays(bool, (4, 3, 5)), min_size=1, max_size=7))
@settings(max_examples=60)
def test_packing_loses_no_voxel(masks: list[np.ndarray]) -> None:
    names = ["liver", "spleen", "aorta", "liver_lesion", "liver_segment_1", "heart", "lung"][: len(masks)]
    packer = LayerPacker(Geometry((4, 3, 5), AFFINE))
    for name, mask in zip(names, masks, strict=True):
        if mask.any():
            packer.add(name, mask, Box((0, 0, 0), (4, 3, 5)))
    found = Segmentation(packer.finished(), packer.places, frozenset(names), packer.geometry)
    for name, mask in zip(names, masks, strict=True):
        kept = found.mask(name) if name in found.places else np.zeros_like(mask)
        np.testing.assert_array_equal(kept, mask)
    assert len(found.layers) <= max(1, int(np.sum(masks, axis=0).max() * len(masks)))


def test_more_than_255_masks_open_another_layer() -> None:
    packer = LayerPacker(Geometry((300, 1, 1), np.eye(4)))
    for number in range(300):
        packer.add(f"s{number}", np.ones((1, 1, 1), bool), Box((number, 0, 0), (number + 1, 1, 1)))
    assert [int(np.count_nonzero(layer)) for layer in packer.layers] == [255, 45]


# -- plausibility ---------------------------------------------------------------------------------------------------


def scan_with(values: dict[str, float]) -> tuple[Volume, Segmentation]:
    hu = np.full((20, 20, 20), -1000, np.int16)
    masks = {}
    for number, (name, value) in enumerate(values.items()):
        mask = np.zeros((20, 20, 20), np.uint8)
        mask[:, :, 2 * number : 2 * number + 2] = 1
        hu[:, :, 2 * number : 2 * number + 2] = value
        masks[name] = (mask, np.eye(4))
    return Volume(hu, Geometry((20, 20, 20), np.eye(4))), load_segmentation(masks)


def test_masks_that_lie_on_the_scan_pass() -> None:
    assert check_masks_fit(*scan_with({"liver": 100, "spleen": 110, "lung_left": -850, "vertebrae_L1": 200})) == ()
    assert check_masks_fit(*scan_with({"stomach": -900, "colon": -900})) == ()  # gas belongs there
    assert check_masks_fit(*scan_with({"liver": -20, "vertebrae_L1": 40})) == ()  # fatty, osteoporotic


def test_one_odd_structure_is_a_warning() -> None:
    decisions = check_masks_fit(*scan_with({"liver": 100, "spleen": 110, "lung_left": 300}))
    assert len(decisions) == 1 and decisions[0].warning and "left lung 300 HU" in decisions[0].what
    assert check_masks_fit(*scan_with({"liver": 100, "lung_left": 60})) == ()  # collapsed


def test_masks_of_another_scan_are_refused() -> None:
    volume, masks = scan_with({"liver": -900, "spleen": -950, "vertebrae_L1": -200, "lung_left": -850})
    with pytest.raises(InputError, match="3 of 4 checkable"):
        check_masks_fit(volume, masks)
    with pytest.raises(InputError, match="lie on this scan"):
        load_segmentation(masks, like=volume)


def test_numbers_with_the_anatomy_of_one_scheme() -> None:
    """Labels without names: only one numbering makes their densities, sides and levels come true."""
    hu = np.full((60, 20, 60), -1000, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    places = {
        1: (0, 50),
        2: (40, 50),
        3: (10, 50),
        4: (50, 20),
        5: (45, 60),
        6: (15, 40),
        7: (30, 60),
        8: (35, 50),
        9: (25, 60),
        10: (5, -850),
        11: (6, -850),
        12: (52, -850),
        13: (54, -850),
        14: (56, -850),
        **dict.fromkeys(range(27, 45), (28, 250)),
        52: (20, 60),
    }
    for number, (label, (x, value)) in enumerate(places.items()):
        level = label + 5 if 27 <= label <= 44 else number  # vertebrae from L5 upwards
        box = (slice(x, x + 4), slice(None), level)
        labels[box], hu[box] = label, value
    volume = Volume(hu, Geometry(hu.shape, np.diag([2.0, 2, 2, 1])))
    found = load_segmentation((labels, volume.geometry.affine), like=volume)
    assert found.scheme == "totalsegmentator"
    assert any(decision.warning and "numbers" in decision.what for decision in found.decisions)


def test_samples_are_exact_on_a_small_grid() -> None:
    labels = label_map()
    hu = np.arange(labels.size, dtype=np.int16).reshape(labels.shape)
    found = sample_labels(labels, Geometry(labels.shape, AFFINE), hu)
    assert found[5].voxels == 64 and found[5].median_hu == float(np.median(hu[labels == 5]))
    assert found[5].volume_ml == pytest.approx(64 * 9 / 1000)
    np.testing.assert_allclose(found[5].center_mm, Geometry(labels.shape, AFFINE).to_world((5.5, 2.5, 3.5)))


# -- real scans -----------------------------------------------------------------------------------------------------


def test_real_masks(real_data: Path) -> None:
    label_file = load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz")
    folder = load_segmentation(real_data / "plain_abdomen" / "segmentation_folder", like=label_file.geometry)
    assert label_file.scheme == folder.scheme == "totalsegmentator"
    assert len(label_file.places) == 41 and len(folder.places) == 40
    assert len(label_file.searched) == len(folder.searched) == 117
    assert label_file.voxel_count("lung_middle_lobe_right") == 1
    assert len(folder.layers) == 1
    liver = [s.mask("liver") for s in (label_file, folder)]
    assert 2 * (liver[0] & liver[1]).sum() / (liver[0].sum() + liver[1].sum()) > 0.95


@pytest.mark.slow
def test_real_masks_on_their_dicom_series(real_data: Path) -> None:
    volumes = pytest.importorskip("radvlm.io.volumes")
    volume = volumes.load_volume(real_data / "upper_abdomen_dicom")
    found = load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=volume)
    assert found.geometry.same_grid(volume.geometry)
    assert not any(decision.warning for decision in found.decisions)
    liver = volume.hu[found.mask("liver")]
    assert 50 < np.median(liver) < 200
    wrong = real_data / "plain_abdomen" / "segmentation.nii.gz"
    with pytest.raises(GridError):
        load_segmentation(wrong, like=volume)


def _box_files(folder: Path, affines: Mapping[str, np.ndarray], shape: tuple[int, int, int] = (40, 30, 20)) -> Path:
    """One binary mask of a box for each name, stored with its affine."""
    folder.mkdir()
    labels = np.zeros(shape, np.uint8)
    labels[8:30, 8:22, 5:15] = 1
    for name, affine in affines.items():
        nib.save(nib.Nifti1Image(labels, affine), folder / f"{name}.nii.gz")
    return folder


PLACED = np.array([[4.0, 0, 0, -80], [0, 4, 0, -60], [0, 0, 5, -400], [0, 0, 0, 1]])


@pytest.mark.parametrize("lost", [np.eye(4), np.diag([4.0, 4, 5, 1]), np.diag([-1.0, -1, 1, 1])])
def test_one_file_of_a_folder_that_lost_its_affine_is_an_error(tmp_path: Path, lost: np.ndarray) -> None:
    near = PLACED.copy()
    near[:3, 3] = (-20, -10, -5)  # the lost file overlaps the scan, so that places alone do not tell
    folder = _box_files(tmp_path / "masks", {"liver": near, "spleen": lost})
    with pytest.raises(GridError, match=r"spleen\.nii\.gz.* affine of the masks was lost") as caught:
        load_segmentation(folder, like=Geometry((40, 30, 20), near))
    assert "Copy the affine of the scan" in str(caught.value)


def test_coverage_is_that_of_all_files_together(tmp_path: Path) -> None:
    scan = Geometry((40, 30, 40), PLACED)
    upper = PLACED.copy()
    upper[2, 3] += 20 * 5
    both = load_segmentation(_box_files(tmp_path / "both", {"liver": PLACED, "spleen": upper}), like=scan)
    assert not any("cover" in d.what for d in both.decisions) and both.covered is None
    one = load_segmentation(_box_files(tmp_path / "one", {"liver": PLACED}), like=scan)
    assert any("The masks cover 50% of the scan" in d.what for d in one.decisions)
    whole = _box_files(tmp_path / "whole", {"liver": upper})
    nib.save(nib.Nifti1Image(np.ones(scan.shape, np.uint8), scan.affine), whole / "spleen.nii.gz")
    beside = load_segmentation(whole, like=scan)
    assert not any("cover" in d.what for d in beside.decisions) and beside.covered is None
