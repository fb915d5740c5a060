"""Two real scans: the numbers are those that a radiologist would expect of them."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_segmentation, load_volume
from radvlm.quantify import measure_scan, paint_regions, region_mask


@pytest.fixture(scope="module")
def plain(real_data):
    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    return volume, load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=volume)


@pytest.mark.slow
def test_plain_abdomen(plain):
    found = measure_scan(*plain)
    assert (found.phase.name, found.phase.certain) == ("non-contrast", True)
    assert found.structure("aorta").mean_hu == pytest.approx(42, abs=1)
    assert found.structure("liver").mean_hu == pytest.approx(45, abs=1)
    assert found.structure("liver").cut_by == ("inferior", "superior")
    assert found.structure("pancreas").mean_hu < 0  # fatty
    assert not found.structure("pancreas").cut_by
    assert found.structure("lung_middle_lobe_right") is None
    assert any("lung_middle_lobe_right has 1 voxel" in d.what for d in found.decisions)
    assert found.lesions == () and "kidney_cyst_left" in found.absent


@pytest.mark.slow
def test_every_number_equals_plain_numpy(plain):
    volume, masks = plain
    for record in measure_scan(volume, masks).structures:
        values = volume.hu[masks.mask(record.structure)].astype(float)
        assert record.mean_hu == pytest.approx(values.mean())
        assert record.measurement("p95_hu").value == pytest.approx(np.percentile(values, 95))
        assert record.volume_ml == pytest.approx(values.size * 0.027, rel=1e-4)


def _values(found, name):
    return {str(m.quantity): m.value for m in found.structure(name).measurements}


def _why(found, name):
    return {str(o.quantity): o.reason for o in found.structure(name).omissions}


@pytest.mark.slow
def test_aorta_and_vertebrae_of_the_plain_abdomen(plain):
    """An aorta that narrows downwards from 24 to 19 mm, as usual in an adult; one whole vertebra among cut ones."""
    found = measure_scan(*plain)
    aorta = _values(found, "aorta")
    downwards = [aorta[f"{part}_diameter"] for part in ("descending", "suprarenal", "infrarenal")]
    assert downwards == pytest.approx([23.6, 21.8, 19.2], abs=0.5)
    assert aorta["diameter"] == pytest.approx(21.8, abs=0.5)
    assert set(found.structure("aorta").cut_by) == {"inferior", "superior"}
    for part in ("ascending", "arch"):
        assert f"{part}_diameter" not in aorta
        assert _why(found, "aorta")[f"{part}_diameter"] == "no section of this part is imaged"
    whole = _values(found, "vertebrae_L1")
    assert 20 < min(whole["middle_height"], whole["anterior_height"]) < whole["posterior_height"] < 35
    assert whole["trabecular_hu"] == pytest.approx(118, abs=3), "of an adult without contrast"
    assert "no complete neighboring vertebra" in _why(found, "vertebrae_L1")["crush_loss"]
    for name in ("vertebrae_T11", "vertebrae_T12", "vertebrae_L2"):
        assert found.structure(name).cut_by and "middle_height" not in _values(found, name)
        assert _why(found, name)["middle_height"] == _why(found, name)["trabecular_hu"] == "cut by the field of view"


@pytest.mark.slow
def test_aorta_and_vertebrae_of_the_upper_abdomen(real_data):
    volume = load_volume(real_data / "upper_abdomen_dicom")
    masks = load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=volume)
    found = measure_scan(volume, masks)
    aorta = _values(found, "aorta")
    assert aorta["descending_diameter"] == pytest.approx(30.3, abs=0.5) and "infrarenal_diameter" not in aorta
    assert set(found.structure("aorta").cut_by) == {"inferior", "superior"}
    for name, cut in (("vertebrae_T11", "superior"), ("vertebrae_T12", "inferior")):
        assert found.structure(name).cut_by == (cut,)
        assert _why(found, name)["anterior_height"] == "cut by the field of view"


@pytest.mark.slow
def test_upper_abdomen_dicom(real_data):
    volume = load_volume(real_data / "upper_abdomen_dicom")
    masks = load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=volume)
    found = measure_scan(volume, masks)
    assert found.phase.name == "portal venous"
    assert not any(d.warning for d in found.decisions)
    assert found.structure("liver").mean_hu == pytest.approx(89, abs=2)
    assert {"inferior", "superior"} == set(found.structure("spleen").cut_by)
    painted = paint_regions(masks, [s.region for s in found.structures])
    for row in painted.rows:
        box, mask = region_mask(masks, row.region)
        assert (np.isin(painted.labels[box.slices], (row.label, *row.also)) == mask).all()


@pytest.mark.slow
def test_inserted_lesion_in_a_real_liver(plain):
    """A 20 mm sphere 30 HU below the liver, written into the scan: found where it is, as large as it is."""
    volume, masks = plain
    middle_mm = measure_scan(None, masks).structure("liver").region.centroid_mm
    center = np.round(masks.geometry.to_index(middle_mm)).astype(int)
    grid = np.stack(np.meshgrid(*map(np.arange, masks.geometry.shape), indexing="ij"), -1)
    ball = np.linalg.norm((grid - center) * 3.0, axis=-1) <= 10
    hu = volume.hu.copy()
    hu[ball] = 15
    layers = (*masks.layers, ball.astype(np.uint8))
    places = {**masks.places, "liver_lesion": type(masks.places["liver"])(len(masks.layers), 1)}
    with_lesion = type(masks)(layers, places, masks.searched, masks.geometry)
    found = measure_scan(type(volume)(hu, volume.geometry), with_lesion)
    lesion = found.lesions[0]
    assert lesion.host == "liver" and lesion.attenuation == "hypoattenuating"
    assert lesion.long_axis_mm == pytest.approx(20, abs=3)
    assert lesion.measurement("contrast_to_host").value == pytest.approx(-30, abs=2)
    assert lesion.level.startswith("vertebrae_")
