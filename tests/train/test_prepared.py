"""Kept scans follow the content of their files; what is varied moves image and organs together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from radvlm.errors import InputError
from radvlm.model.inputs import InputSpec, prepare
from radvlm.model.organ_map import Organ, nearest, organ_map
from radvlm.train.prepared import Augment, PreparedScan, PreparedScans, augmented, shifted
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from tests.train.tokens_made import open_masks, open_volume, write_study

SPEC = InputSpec((4.0, 4.0, 4.0), (20, 24, 26))
ORGANS = (Organ("liver", ("liver",), "liver"), Organ("spleen", ("spleen",), "spleen"))


def test_a_kept_scan_is_the_prepared_one_within_its_16_bits(tmp_path: Path) -> None:
    study = write_study(tmp_path, 0)
    opened: list[Path] = []

    def load(path: Path):  # type: ignore[no-untyped-def]
        opened.append(path)
        return open_volume(path)

    scans = PreparedScans(SPEC, load, load_masks=open_masks, organs=ORGANS, cache=tmp_path / "cache")
    first, again = scans(study), scans(study)
    assert len(opened) == 1 and torch.equal(first.image, again.image)
    exact = prepare(open_volume(study.volume), SPEC)
    assert float((first.image - exact.tensor[0]).abs().max()) <= 0.5 / 65535 + 1e-7
    np.testing.assert_array_equal(first.affine_ras_mm, exact.affine_ras_mm)
    fresh = PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS)(study)
    assert torch.equal(fresh.image, exact.tensor[0])
    assert fresh.organs is not None and first.organs is not None and torch.equal(fresh.organs, first.organs)


def test_the_key_is_the_content_and_not_the_path(tmp_path: Path) -> None:
    study, other = write_study(tmp_path, 0), write_study(tmp_path, 1)
    scans = PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS, cache=tmp_path / "cache")
    before = scans(study)
    copied = replace(study, volume=tmp_path / "moved.npy")
    copied.volume.write_bytes(study.volume.read_bytes())
    assert scans.key(copied) == scans.key(study)
    study.volume.write_bytes(other.volume.read_bytes())  # another scan under the same name
    assert not torch.equal(scans(study).image, before.image)
    assert PreparedScans(replace(SPEC, shape=(20, 24, 24)), open_volume).key(other) != scans.key(other)
    without = PreparedScans(SPEC, open_volume)
    assert without.key(study) != scans.key(study) and without(study).organs is None


def test_a_scan_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    study = write_study(tmp_path, 0)
    np.save(study.volume, np.zeros((24, 24, 24), np.float32))
    with pytest.raises(InputError, match=r"ct-0: .*every voxel is 0"):
        PreparedScans(SPEC, open_volume)(study)


def test_organs_lie_where_the_input_grid_says(tmp_path: Path) -> None:
    study = write_study(tmp_path, 0)
    volume = open_volume(study.volume)
    masks = open_masks(study.masks, volume)  # type: ignore[arg-type]
    found = organ_map(masks, ORGANS, prepare(volume, SPEC).geometry)
    # x is cropped by 2 on either side of 24, z padded by 1: same spacing, so nothing is interpolated
    np.testing.assert_array_equal(found[:, :, 1:25], masks.layers[0][2:22])
    assert not found[:, :, 0].any() and not found[:, :, 25].any()


def test_patterns_overlap_in_the_order_of_the_table() -> None:
    geometry = Geometry((3, 1, 1), np.eye(4))
    layers = (np.array([1, 1, 0], np.uint8).reshape(3, 1, 1), np.array([0, 1, 0], np.uint8).reshape(3, 1, 1))
    places = {"liver": LabelPlace(0, 1), "liver_cyst": LabelPlace(1, 1)}
    masks = Segmentation(layers, places, frozenset(places), geometry)
    table = (Organ("organ", ("liver",), "liver"), Organ("lesion", ("liver_*",), "liver"))
    assert organ_map(masks, table, geometry).ravel().tolist() == [1, 2, 0]
    assert organ_map(masks, (Organ("all", ("liver", "liver_*"), "liver"),), geometry).ravel().tolist() == [1, 1, 0]


def test_nearest_against_a_loop_on_a_turned_grid() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    values = rng.integers(0, 5, (5, 6, 7)).astype(np.uint8)
    turn = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [2.0, 2.0, 3.0]
    source, grid = Geometry((5, 6, 7), affine), Geometry((9, 8, 6), np.diag([1.5, 1.5, 2.5, 1.0]))
    found = nearest(values, source, grid)
    for index in np.ndindex(grid.shape):
        at = np.rint(source.to_index(grid.to_world(np.array(index)))).astype(int)
        inside = bool((at >= 0).all() and (at < values.shape).all())
        assert found[index] == (values[tuple(at)] if inside else 0)


def test_image_and_organs_are_shifted_alike_and_nothing_is_mirrored() -> None:
    image = torch.zeros(1, 20, 24, 26)
    image[0, 3:6, 10:12, 10:12] = 0.5
    scan = PreparedScan(image, (image[0] > 0).to(torch.uint8), np.eye(4), "k")
    only_shift = Augment(shift_mm=12.0, gain=0.0, offset_hu=0.0, noise_hu=0.0)
    seen = set()
    for seed in range(40):
        moved, organs = augmented(scan, only_shift, SPEC, np.random.Generator(np.random.PCG64(seed)))
        assert organs is not None and torch.equal(moved[0] > 0, organs > 0)
        x = torch.nonzero(organs.any(2).any(1))[:, 0]
        seen.add(int(x.min()))
        assert int(x.max()) < 10  # it never comes to the other side
    assert min(seen) == 0 and max(seen) == 6  # 3 voxels of 4 mm either way


def test_intensities_vary_as_much_as_is_said_and_stay_in_the_window() -> None:
    scan = PreparedScan(torch.full((1, 20, 24, 26), 0.5), None, np.eye(4), "k")  # 0 HU
    offsets = [
        float(augmented(scan, Augment(0.0, 0.0, 10.0, 0.0), SPEC, np.random.Generator(np.random.PCG64(n)))[0].mean())
        for n in range(50)
    ]
    hu = (np.array(offsets) - 0.5) * 2000
    assert 8 < np.abs(hu).max() <= 10.001
    gained = [
        float(augmented(scan, Augment(0.0, 0.1, 0.0, 0.0), SPEC, np.random.Generator(np.random.PCG64(n)))[0].mean())
        for n in range(50)
    ]
    assert 80 < np.abs((np.array(gained) - 0.5) * 2000).max() <= 100.001  # a tenth of 0 - (-1000) HU
    bright = PreparedScan(torch.ones(1, 20, 24, 26), None, np.eye(4), "k")
    noisy, _ = augmented(bright, Augment(), SPEC, np.random.Generator(np.random.PCG64(1)))
    assert float(noisy.max()) <= 1.0 and float(noisy.std()) > 0
    with pytest.raises(InputError, match="not negative"):
        Augment(shift_mm=-1.0)


def test_a_shift_by_more_than_the_size_leaves_nothing() -> None:
    values = torch.arange(6.0).reshape(3, 2, 1)
    assert shifted(values, [1, 0, 0], -1).flatten().tolist() == [-1, -1, 0, 1, 2, 3]
    assert shifted(values, [0, -1, 0], -1).flatten().tolist() == [1, -1, 3, -1, 5, -1]
    assert (shifted(values, [9, 0, 0], -1) == -1).all()
