"""What a model outlines is held against masks and body: it is dropped where it cannot be, and never moved."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.quantify.model_regions import possible_regions
from radvlm.types.finding import Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.geometry import Box, Geometry
from radvlm.types.model_output import FindingScore, ModelOutput
from radvlm.types.region import Region
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

SHAPE, SPACING_MM = (40, 40, 40), 3.0
GRID = Geometry(SHAPE, np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]))


def _box(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[x[0] : x[1], y[0] : y[1], z[0] : z[1]] = True
    return mask


BODY = _box((4, 36), (4, 36), (0, 40))
ORGANS = {
    "lung_lower_lobe_left": _box((6, 16), (10, 30), (22, 40)),
    "lung_lower_lobe_right": _box((24, 34), (10, 30), (22, 40)),
    "colon": _box((6, 14), (10, 30), (2, 14)),
    "liver": _box((20, 34), (10, 30), (4, 20)),
    "liver_segment_7": _box((28, 34), (10, 20), (4, 20)),
    "liver_segment_4": _box((20, 27), (10, 30), (4, 20)),
    "vertebrae_T12": _box((17, 19), (6, 10), (14, 20)),
    "vertebrae_L1": _box((17, 19), (6, 10), (4, 13)),
}


def _segmentation(masks: dict[str, np.ndarray], searched: tuple[str, ...] = ()) -> Segmentation:
    layers = tuple(m.astype(np.uint8) for m in masks.values())
    places = {name: LabelPlace(n, 1) for n, name in enumerate(masks)}
    return Segmentation(layers, places, frozenset(masks) | frozenset(searched), GRID)


@pytest.fixture(scope="module")
def scan() -> Volume:
    hu = np.full(SHAPE, -1000, np.int16)
    hu[BODY] = 40
    for name in ("lung_lower_lobe_left", "lung_lower_lobe_right", "colon"):
        hu[ORGANS[name]] = -850 if name.startswith("lung") else -950
    return Volume(hu, GRID)


GIVEN = _segmentation(ORGANS, ("vertebrae_T11", "uterus"))


def _reading(*outlines: tuple[str, str, np.ndarray, float, tuple[str, ...]]) -> tuple[ModelOutput, Segmentation]:
    """A model's output with a region for each (finding, site, voxels, probability, locations)."""
    masks = {f"{'liver' if n == 0 else list(ORGANS)[n]}": o[2] for n, o in enumerate(outlines)}
    own = _segmentation(masks)
    scores = []
    for (finding, site, voxels, p, places), name in zip(outlines, masks, strict=True):
        row = finding_kinds()[finding]
        at = np.argwhere(voxels)
        box = Box(tuple(int(v) for v in at.min(0)), tuple(int(v) + 1 for v in at.max(0)))  # type: ignore[arg-type]
        count = int(voxels.sum())
        middle = tuple(float(v) for v in GRID.to_world(at.mean(axis=0)))
        region = Region(name, name, box, count, count * 0.027, middle)  # type: ignore[arg-type]
        scores.append(
            FindingScore(finding, row.words, row.section, site, p, Status.PRESENT, region, "voxel head", places)
        )
    return ModelOutput("fake", "0" * 64, "A fake.", tuple(scores)), own


IN_COLON = _box((8, 13), (12, 20), (4, 9))
IN_LIVER = _box((29, 33), (12, 16), (8, 12))
IN_LEFT_LUNG = _box((9, 13), (14, 18), (28, 32))
OUTSIDE = _box((0, 3), (10, 14), (10, 14))


@pytest.mark.parametrize(
    ("finding", "site", "voxels", "why"),
    [
        ("pneumothorax", "lung_left", IN_COLON, "100 percent lies in colon"),
        ("lung_nodule", "lung_left", OUTSIDE, "outside the body"),
        ("lung_nodule", "lung_right", IN_LEFT_LUNG, "100 percent lies in left lower lobe"),
        ("colon_tumor", "colon", IN_LIVER, "100 percent lies in liver"),
        ("liver_cyst", "liver", _box((8, 12), (31, 35), (30, 34)), "more than 12 mm away from liver"),
        ("kidney_cyst", "kidney_left", IN_LIVER, "100 percent lies in liver"),
        ("lytic_bone_lesion", "", IN_LIVER, "100 percent lies in liver"),
        ("ascites", "", IN_LIVER, "100 percent lies in liver"),
    ],
)
def test_a_region_where_its_finding_cannot_be_is_dropped_and_told(
    finding: str, site: str, voxels: np.ndarray, why: str, scan: Volume
) -> None:
    output, own = _reading((finding, site, voxels, 0.88, ()))
    checked = possible_regions(output, own, GIVEN, scan)
    assert checked.scores == ()
    (told,) = checked.warnings
    assert why in told.what and "probability 0.88" in told.what and told.what.startswith("Left out: ")


@pytest.mark.parametrize(
    ("finding", "site", "voxels"),
    [
        ("liver_cyst", "liver", IN_LIVER),
        ("lung_nodule", "lung_left", IN_LEFT_LUNG),
        ("pleural_effusion", "lung_left", _box((6, 16), (8, 12), (22, 30))),  # behind the lung, in no mask
        ("pneumothorax", "lung_left", _box((6, 16), (27, 31), (30, 40))),
        ("lung_nodule", "lung_right", _box((26, 30), (14, 18), (19, 24))),  # a coarse outline over the diaphragm
        ("lytic_bone_lesion", "", _box((17, 19), (6, 9), (15, 19))),
        ("ascites", "", _box((20, 34), (30, 34), (4, 20))),
        ("lymph_node", "", _box((15, 19), (11, 15), (4, 8))),
        ("kidney_cyst", "kidney_left", _box((8, 11), (6, 10), (15, 19))),  # a kidney that no mask has
    ],
)
def test_what_may_be_there_stays_as_it_was(finding: str, site: str, voxels: np.ndarray, scan: Volume) -> None:
    output, own = _reading((finding, site, voxels, 0.6, ()))
    assert possible_regions(output, own, GIVEN, scan) == output
    assert possible_regions(output, own, None, scan) == output


def test_without_masks_only_the_body_is_asked(scan: Volume) -> None:
    output, own = _reading(
        ("pneumothorax", "lung_left", IN_COLON, 0.9, ()), ("lung_nodule", "lung_left", OUTSIDE, 0.8, ())
    )
    checked = possible_regions(output, own, None, scan)
    assert [s.finding for s in checked.scores] == ["pneumothorax"]
    assert "outside the body" in checked.warnings[0].what


def test_a_place_without_a_voxel_of_the_finding_is_not_named(scan: Volume) -> None:
    places = ("liver_segment_7", "liver_segment_4")
    output, own = _reading(("liver_cyst", "liver", IN_LIVER, 0.9, places))
    checked = possible_regions(output, own, GIVEN, scan)
    assert checked.scores[0].locations == ("liver_segment_7",)
    assert checked.warnings[0].what.endswith("nothing of it lies in segment IV.")


def test_a_vertebra_is_named_only_where_the_finding_has_a_voxel_in_it(scan: Volume) -> None:
    outline = _box((17, 19), (6, 9), (5, 9))
    output, own = _reading(("vertebral_fracture", "", outline, 0.7, ("vertebrae_L1", "vertebrae_T12", "vertebrae_T11")))
    checked = possible_regions(output, own, GIVEN, scan)
    assert checked.scores[0].locations == ("vertebrae_L1",), "T12 is elsewhere, T11 was searched for and is not there"


def test_one_region_is_one_finding_the_most_probable(scan: Volume) -> None:
    near = _box((29, 33), (12, 16), (8, 13))
    apart = _box((22, 25), (22, 26), (8, 12))
    output, own = _reading(
        ("liver_abscess", "liver", near, 0.4, ()),
        ("liver_metastasis", "liver", IN_LIVER, 0.6, ()),
        ("liver_cyst", "liver", apart, 0.3, ()),
    )
    checked = possible_regions(output, own, GIVEN, scan)
    assert [s.finding for s in checked.scores] == ["liver_metastasis", "liver_cyst"]
    assert "liver abscess (liver), probability 0.40, which lies in the place of liver metastasis" in (
        checked.warnings[0].what
    )
