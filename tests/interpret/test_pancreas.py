"""Every row of the tables of T stage and resectability is reached, from hand-made contacts and from masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hand_made
from radvlm.compose.report import compose_report
from radvlm.interpret import interpret
from radvlm.interpret.pancreas import ADVANCED, BORDERLINE, OPEN, RESECTABLE, resectability
from radvlm.quantify import measure_scan
from radvlm.quantify.tumor_vessels import VESSELS
from radvlm.types.anatomy import structure
from radvlm.types.finding import Status, citable
from radvlm.types.geometry import Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import VesselContact
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.study import Patient

PATIENT = Patient(age_years=60, sex="M")
SMA, CA, CHA = "superior_mesenteric_artery", "celiac_trunk", "hepatic_artery"


@pytest.mark.parametrize(
    ("angles", "place", "category", "because"),
    [
        ({}, "head", RESECTABLE, "no arterial"),
        ({SMA: 190}, "head", ADVANCED, "superior mesenteric artery"),
        ({SMA: 180}, "head", BORDERLINE, "superior mesenteric artery"),
        ({SMA: 180.1}, "body or tail", ADVANCED, "superior mesenteric artery"),
        ({CA: 200}, "body or tail", ADVANCED, "celiac"),
        ({CA: 200}, "head", ADVANCED, "celiac"),
        ({CA: 60, "aorta": 40}, "body or tail", ADVANCED, "aorta"),
        ({"aorta": 40}, "head", OPEN, "aorta alone"),
        ({CA: 60}, "body or tail", BORDERLINE, "body or tail"),
        ({CA: 60}, "head", OPEN, "head"),
        ({CA: 60}, "", OPEN, "place not known"),
        ({CHA: 300}, "head", BORDERLINE, "hepatic"),
        ({CHA: 90, CA: 20}, "head", OPEN, "head"),
        ({"portal_vein": 181}, "head", BORDERLINE, "vein"),
        ({"superior_mesenteric_vein": 300}, "", BORDERLINE, "vein"),
        ({"portal_vein": 180}, "head", OPEN, "vein"),
        ({"inferior_vena_cava": 30}, "head", BORDERLINE, "cava"),
        ({"inferior_vena_cava": 30, "portal_vein": 40}, "head", BORDERLINE, "cava"),
        ({"splenic_artery": 360, "splenic_vein": 360}, "body or tail", RESECTABLE, "no arterial"),
    ],
)
def test_every_row_of_the_table_of_resectability(angles, place, category, because):
    verdict = resectability(angles, place)
    assert verdict.category == category and because in verdict.because
    assert bool(verdict.reason) == (category == OPEN)


def contacts(angles=None, unknown=(), free=True):
    """Contacts of one tumor: the given angles, unknown vessels, and all others free."""
    found = []
    for vessel in VESSELS:
        if vessel in (angles or {}):
            angle = Measurement("angle", angles[vessel], "given", 10.0, region_id="pancreas_pdac/1")
            found.append(VesselContact(vessel, True, (angle, Measurement("length", 12.0, "given"))))
        elif vessel in unknown:
            found.append(VesselContact(vessel, None, (), "no mask was provided"))
        else:
            found.append(VesselContact(vessel, False, (Measurement("distance", 12.0, "given"),)))
    return tuple(found)


def judged(size=24.0, structure="pancreas_pdac", cut=(), **more):
    lesion = hand_made.lesion(structure, 1, size, 18, 50, "pancreas", ("pancreas_head",), cut=cut)
    lesion = replace(lesion, contacts=contacts(**more))
    numbers = hand_made.numbers([hand_made.organ("pancreas", 80), hand_made.organ(structure, 8)], [lesion])
    findings = interpret(numbers, patient=PATIENT)
    compose_report(findings)  # every sentence verified
    return {
        kind: next((f for f in citable(findings) if f.kind == kind), None)
        for kind in ("pancreatic_t_stage", "pancreatic_resectability")
    }, findings


@pytest.mark.parametrize(
    ("size", "stage"),
    [
        (4.9, "cT1a"),
        (5.0, "cT1a"),
        (5.4, "cT1a"),
        (5.5, "cT1b"),
        (9.4, "cT1b"),
        (9.5, "cT1c"),
        (10, "cT1c"),
        (20, "cT1c"),
        (20.4, "cT1c"),
        (20.5, "cT2"),
        (40, "cT2"),
        (40.4, "cT2"),
        (40.5, "cT3"),
        (90, "cT3"),
    ],
)
def test_t_stage_by_size(size, stage):
    found, _ = judged(size)
    assert found["pancreatic_t_stage"].category == f"stage {stage} by size (AJCC 8)"
    assert found["pancreatic_t_stage"].rule.id == "pancreas_t_stage"
    assert "NCCN" in found["pancreatic_resectability"].category


@pytest.mark.parametrize("artery", [SMA, CA, CHA])
def test_contact_with_an_artery_is_t4_at_any_size(artery):
    found, _ = judged(8.0, angles={artery: 30.0})
    assert "cT4" in found["pancreatic_t_stage"].category
    assert found["pancreatic_t_stage"].measurements[0].value == 30
    with_gap, _ = judged(8.0, angles={artery: 30.0}, unknown=tuple(v for v in (SMA, CA, CHA) if v != artery))
    assert "cT4" in with_gap["pancreatic_t_stage"].category  # another artery cannot lower it


def test_a_vessel_that_was_not_searched_forbids_the_stage():
    found, _ = judged(unknown=(SMA,))
    for finding in found.values():
        assert finding.status is Status.NOT_ASSESSED and "superior mesenteric artery was not judged" in finding.reason
    found, _ = judged(unknown=("portal_vein",))
    assert found["pancreatic_t_stage"].status is Status.PRESENT
    assert "portal vein" in found["pancreatic_resectability"].reason
    found, _ = judged(unknown=("portal_vein",), angles={SMA: 200.0})
    assert found["pancreatic_resectability"].category.startswith(ADVANCED)  # no vein can change that
    found, _ = judged(unknown=("aorta",))
    assert found["pancreatic_resectability"].category.startswith(RESECTABLE)  # the aorta counts with the coeliac only
    found, _ = judged(unknown=("aorta",), angles={CA: 40.0})
    assert found["pancreatic_resectability"].status is Status.NOT_ASSESSED


def test_a_contact_within_its_uncertainty_leaves_the_stage_open():
    found, findings = judged(angles={SMA: 7.0})
    stage = found["pancreatic_t_stage"]
    assert stage.status is Status.INDETERMINATE and "uncertainty" in stage.reason
    assert "stage cT4 if the minimal arterial contact is real (AJCC 8)" in compose_report(findings).text
    found, _ = judged(angles={SMA: 7.0, CA: 40.0})
    assert found["pancreatic_t_stage"].status is Status.PRESENT


def test_cut_tumors_and_other_lesions():
    found, _ = judged(cut=("inferior",))
    assert "cut by" in found["pancreatic_t_stage"].reason and "cut by" in found["pancreatic_resectability"].reason
    found, findings = judged(structure="pancreas_lesion", angles={SMA: 100.0})
    assert found == {"pancreatic_t_stage": None, "pancreatic_resectability": None}
    assert any(f.kind == "vessel_contact" and f.site == SMA and f.status is Status.PRESENT for f in citable(findings))


def test_the_sentences_state_angle_length_and_distance():
    _, findings = judged(angles={SMA: 151.3}, unknown=("splenic_vein",))
    text = compose_report(findings).text
    assert (
        "Vessels beside the pancreatic lesion labeled as ductal adenocarcinoma: the superior mesenteric artery is "
        "in contact (angle 151 degrees, length 1.2 cm); "
    ) in text
    assert "are not in contact" in text
    assert "stage cT4 by arterial contact (AJCC 8)" in text
    assert "borderline resectable by vascular contact (NCCN)" in text
    assert "contact of the pancreatic lesion (segmented as ductal adenocarcinoma) with the splenic vein" in text


def phantom_masks(tumor_at, radius=9.0, side=1.0):
    """Vessels as straight tubes and one tumor at an offset (mm) from one of them; 1 mm grid."""
    shape = (110, 80, 90)
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    masks = {
        "aorta": (x - 50) ** 2 + (y - 15) ** 2 <= 9**2,
        SMA: ((x - 52) ** 2 + (y - 38) ** 2 <= 4**2) & (z < 55),
        "superior_mesenteric_vein": ((x - 68) ** 2 + (y - 40) ** 2 <= 5**2) & (z < 55),
        "inferior_vena_cava": (x - 80) ** 2 + (y - 15) ** 2 <= 9**2,
        "portal_vein": ((x - 70) ** 2 + (y - 40) ** 2 <= 6**2) & (z >= 55),
    }
    masks = {n: np.broadcast_to(m, shape).copy() for n, m in masks.items()}
    trunk = ((x - 50) ** 2 + (z - 70) ** 2 <= 4**2) & (y > 22) & (y < 46)
    hepatic = ((y - 44) ** 2 + (z - 70) ** 2 <= 3**2) & (x >= 50) & (x < 82)
    splenic = ((y - 44) ** 2 + (z - 70) ** 2 <= 3**2) & (x <= 50) & (x > 12)
    masks[CA] = trunk | hepatic | splenic
    masks["pancreas"] = np.zeros(shape, bool)
    masks["pancreas"][20:90, 45:70, 30:65] = True
    tumor = (x - tumor_at[0]) ** 2 + (y - tumor_at[1]) ** 2 + (z - tumor_at[2]) ** 2 <= radius**2
    for mask in masks.values():
        if mask is not masks["pancreas"]:
            tumor = tumor & ~mask
    masks["pancreas_pdac"] = tumor
    layers = tuple(m.astype(np.uint8) for m in masks.values())
    return Segmentation(
        layers, {n: LabelPlace(i, 1) for i, n in enumerate(masks)}, frozenset(), Geometry(shape, np.eye(4))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tumor_at", "touched"),
    [
        ((52, 50, 30), {SMA}),
        ((68, 53, 30), {"superior_mesenteric_vein"}),
        ((74, 53, 70), {"portal_vein", CHA}),
        ((28, 55, 70), {"splenic_artery"}),
        ((90, 65, 20), set()),
    ],
)
def test_each_vessel_and_each_branch_of_the_celiac_mask_on_its_own(tumor_at, touched):
    segmentation = phantom_masks(tumor_at)
    lesion = next(x for x in measure_scan(None, segmentation).lesions if x.structure == "pancreas_pdac")
    by_vessel = {c.vessel: c for c in lesion.contacts}
    assert {v for v, c in by_vessel.items() if c.touches} == touched
    assert by_vessel["splenic_vein"].touches is None and by_vessel["splenic_vein"].reason == "no mask was provided"
    for vessel in touched:
        assert 5 < by_vessel[vessel].measurement("angle").value < 170
    findings = interpret(measure_scan(None, segmentation), patient=PATIENT)
    stage = next(f for f in citable(findings) if f.kind == "pancreatic_t_stage")
    assert ("cT4" in stage.category) == bool(touched & {SMA, CA, CHA}), stage
    compose_report(findings)


def cuff(axis, center, radius, degrees, span, facing=90.0, thick=5.0, shape=(110, 80, 90)):
    """Voxels within ``thick`` of a straight vessel along an axis, over an angle about a direction of its plane."""
    grid = np.ogrid[: shape[0], : shape[1], : shape[2]]
    a, b = (n for n in range(3) if n != axis)
    u, v = grid[a] - center[0], grid[b] - center[1]
    away = np.abs((np.degrees(np.arctan2(v, u)) - facing + 180) % 360 - 180)
    inside = (u**2 + v**2 > radius**2) & (u**2 + v**2 <= (radius + thick) ** 2) & (away <= degrees / 2)
    return np.broadcast_to(inside & (grid[axis] >= span[0]) & (grid[axis] < span[1]), shape)


def ball(center, radius, shape=(110, 80, 90)):
    grid = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return np.broadcast_to(sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)) <= radius**2, shape)


SMA_CUFF = {"axis": 2, "center": (52, 38), "radius": 4, "span": (20, 40)}
PV_CUFF = {"axis": 2, "center": (70, 40), "radius": 6, "span": (75, 89), "facing": 60}
CA_CUFF = {"axis": 1, "center": (50, 70), "radius": 4, "span": (27, 37), "facing": 180}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tumor", "part", "stage", "verdict"),
    [
        (ball((90, 60, 20), 2), "head", "cT1a", RESECTABLE),
        (ball((90, 60, 20), 3.5), "head", "cT1b", RESECTABLE),
        (ball((90, 60, 20), 7), "head", "cT1c", RESECTABLE),
        (ball((90, 62, 22), 14), "head", "cT2", RESECTABLE),
        (
            np.roll(ball((55, 40, 13), 12), (30, 24, 0), (0, 1, 2)) | ball((60, 70, 13), 8) | ball((72, 68, 13), 9),
            "head",
            "cT3",
            RESECTABLE,
        ),
        (cuff(degrees=230, **SMA_CUFF), "head", "cT4", ADVANCED),
        (cuff(degrees=90, **SMA_CUFF), "head", "cT4", BORDERLINE),
        (cuff(degrees=240, **CA_CUFF), "tail", "cT4", ADVANCED),
        (cuff(degrees=90, **CA_CUFF), "tail", "cT4", BORDERLINE),
        (cuff(degrees=90, **CA_CUFF), "head", "cT4", OPEN),
        (cuff(degrees=90, **CA_CUFF), "", "cT4", OPEN),
        (ball((79, 51, 70), 5), "head", "cT4", BORDERLINE),
        (cuff(2, (50, 15), 9, 60, (40, 60)), "head", "cT", OPEN),
        (cuff(degrees=240, **PV_CUFF), "head", "cT", BORDERLINE),
        (cuff(degrees=90, **PV_CUFF), "head", "cT", OPEN),
        (cuff(2, (80, 15), 9, 70, (20, 45), facing=0.0), "head", "cT", BORDERLINE),
        (
            cuff(2, (50, 15), 9, 60, (58, 66), 90.0, 14.0) | cuff(1, (50, 70), 4, 120, (24, 34), -90.0),
            "tail",
            "cT4",
            ADVANCED,
        ),
    ],
)
def test_every_branch_of_both_tables_is_reached_from_masks(tumor, part, stage, verdict):
    whole = phantom_masks((0, 0, 0), radius=0.1)
    masks = {n: whole.mask(n) for n in whole.places}
    free = tumor.copy()
    for name, mask in masks.items():
        if name not in ("pancreas", "pancreas_pdac"):
            free &= ~mask
    masks["pancreas"] = masks["pancreas"] | free
    masks["pancreas_pdac"] = free
    if part:
        masks[f"pancreas_{part}"] = masks["pancreas"]
    layers = tuple(m.astype(np.uint8) for m in masks.values())
    numbers = measure_scan(
        None, Segmentation(layers, {n: LabelPlace(i, 1) for i, n in enumerate(masks)}, frozenset(), whole.geometry)
    )
    lesion = next(x for x in numbers.lesions if x.structure == "pancreas_pdac")
    angles = {c.vessel: m.value for c in lesion.contacts if (m := c.measurement("angle")) is not None}
    findings = interpret(numbers, patient=PATIENT)
    found = {f.kind: f for f in citable(findings) if f.kind in ("pancreatic_t_stage", "pancreatic_resectability")}
    assert f"stage {stage}" in found["pancreatic_t_stage"].category, (lesion.long_axis_mm, angles)
    assert found["pancreatic_resectability"].category == f"{verdict} (NCCN)", (lesion.long_axis_mm, angles)
    compose_report(findings)


def test_contacts_are_nested_in_the_tumor_and_open_ones_stand_alone():
    _, findings = judged(angles={SMA: 151.3}, unknown=("splenic_vein",))
    (tumor,) = [f for f in findings if f.kind == "pancreas_pdac"]
    contact = {a.site: a for a in tumor.assessments if a.kind == "vessel_contact"}
    assert contact[SMA].status is Status.PRESENT and contact[SMA].reference == "pancreas_pdac"
    assert contact[CA].status is Status.ABSENT and "splenic_vein" not in contact
    alone = [f.site for f in findings if f.kind == "vessel_contact"]
    assert alone == ["splenic_vein"]


@pytest.mark.parametrize("parts", [("pancreas_head", "pancreas_tail"), (None, None)])
def test_of_several_tumors_each_has_the_vessels_beside_it(parts):
    def tumor(n, size, part):
        held = hand_made.lesion("pancreas_tumor", n, size, size - 2, 50, "pancreas", (part,) if part else ())
        return replace(held, contacts=contacts(angles={SMA: 40.0} if n == 1 else {}))

    lesions = [tumor(n + 1, 24.0 - 6 * n, part) for n, part in enumerate(parts)]
    organs = [hand_made.organ("pancreas", 80), hand_made.organ("pancreas_tumor", 8)]
    text = compose_report(interpret(hand_made.numbers(organs, lesions), patient=PATIENT)).text
    at = [f" in the {structure(part).words}" if part else "" for part in parts]
    assert f"2.4 x 2.2 cm pancreatic tumor{at[0]}: the superior mesenteric artery is in contact (angle 40" in text
    assert f"1.8 x 1.6 cm pancreatic tumor{at[1]}: " in text
