"""Known lesions in real scans (and in a phantom that plays the scan)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import GridError, InputError
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, insert_lesions, make_phantom
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume


@pytest.fixture(scope="module")
def scan() -> Phantom:
    return make_phantom(PhantomSpec(seed=5, region="abdomen", spacing_mm=(3.0, 3.0, 4.0), noise_hu=15))


def check(volume: Volume, masks: Segmentation, before: Volume, truth: object) -> None:
    mask = masks.mask(truth.structure)  # type: ignore[attr-defined]
    geometry = volume.geometry
    counted = mask.sum() * geometry.voxel_volume_mm3 / 1000
    voxels = truth.volume_ml * 1000 / geometry.voxel_volume_mm3  # type: ignore[attr-defined]
    assert counted == pytest.approx(truth.volume_ml, rel=0.03 + 1 / np.sqrt(voxels))  # type: ignore[attr-defined]
    center = geometry.to_world(np.argwhere(mask).mean(axis=0))
    assert np.linalg.norm(center - truth.center_mm) < 0.6 * max(geometry.spacing_mm)  # type: ignore[attr-defined]
    host = masks.places[truth.host]  # type: ignore[attr-defined]
    assert (masks.layers[host.layer][mask] == host.label).all()


@pytest.mark.slow
def test_inserted_lesions_have_their_size_place_and_hu(scan: Phantom) -> None:
    specs = (LesionSpec("liver_cyst", 36), LesionSpec("spleen_lesion", 18), LesionSpec("kidney_cyst", 14, side="left"))
    volume, masks, inserted = insert_lesions(scan.volume, scan.segmentation, specs, seed=3)
    assert [t.kind for t in inserted.lesions] == [s.kind for s in specs]
    for truth in inserted.lesions:
        check(volume, masks, scan.volume, truth)
    cyst = inserted.lesions[0]
    from scipy.ndimage import binary_erosion

    core = binary_erosion(masks.mask("liver_cyst"))
    assert volume.hu[core].mean() == pytest.approx(cyst.mean_hu, abs=4)
    assert 5 < volume.hu[core].std() < 20  # the texture of the scan stays
    elsewhere = masks.layers[masks.places["liver_cyst"].layer] == 0
    near = np.zeros_like(elsewhere)
    for truth in inserted.lesions:
        i, j, k = np.round(scan.volume.geometry.to_index(truth.center_mm)).astype(int)
        near[i - 12 : i + 13, j - 12 : j + 13, max(0, k - 10) : k + 11] = True
    assert (volume.hu[~near] == scan.volume.hu[~near]).all()
    assert any(d.warning for d in volume.decisions)
    assert set(scan.segmentation.places) < set(masks.places)


def test_insertion_is_repeatable_and_the_input_is_untouched(scan: Phantom) -> None:
    before = scan.volume.hu.copy()
    first = insert_lesions(scan.volume, scan.segmentation, (LesionSpec("liver_tumor", 20),), seed=1)
    second = insert_lesions(scan.volume, scan.segmentation, (LesionSpec("liver_tumor", 20),), seed=1)
    other = insert_lesions(scan.volume, scan.segmentation, (LesionSpec("liver_tumor", 20),), seed=2)
    assert (first[0].hu == second[0].hu).all() and first[2] == second[2] != other[2]
    assert (scan.volume.hu == before).all()


def test_insertion_refuses_what_it_cannot_do(scan: Phantom) -> None:
    for lesion in (
        LesionSpec("ascites"),
        LesionSpec("splenomegaly"),
        LesionSpec("uterine_fibroid"),
        LesionSpec("kidney_cyst", 40),
    ):
        with pytest.raises(InputError):
            insert_lesions(scan.volume, scan.segmentation, (lesion,))
    affine = scan.volume.geometry.affine.copy()
    affine[:3, 3] += 40
    moved = Volume(scan.volume.hu, Geometry(scan.volume.hu.shape, affine))
    with pytest.raises(GridError):
        insert_lesions(moved, scan.segmentation, (LesionSpec("liver_cyst"),))


def test_lesions_can_be_put_into_a_real_scan(real_data: Path) -> None:
    from radvlm.io import load_segmentation, load_volume

    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    masks = load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=volume)
    specs = (LesionSpec("liver_cyst", 24), LesionSpec("liver_metastasis", 18), LesionSpec("spleen_cyst", 15))
    new_volume, new_masks, inserted = insert_lesions(volume, masks, specs, seed=0, phase="non-contrast")
    assert inserted.phase == "non-contrast"
    for truth in inserted.lesions:
        check(new_volume, new_masks, volume, truth)
