"""One table of finding kinds: what a report calls them, where they lie, and which kinds of the masks speak of them."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.types.finding_kinds import (
    UNLISTED_URGENCY,
    FindingKind,
    any_finding_kind,
    finding_kind,
    finding_kinds,
    sharing,
)

#: (same, narrower, broader, denied by, urgency) of every finding, in the order of a model's outputs.
JUDGED = {
    "liver_cyst": ("liver_cyst", "", "liver_lesion", "", "no action"),
    "liver_metastasis": ("liver_metastasis", "", "liver_lesion liver_tumor", "", "days"),
    "liver_tumor": ("liver_tumor", "", "liver_lesion", "", "days"),
    "liver_hemangioma": ("liver_hemangioma", "", "liver_lesion", "", "no action"),
    "liver_abscess": ("liver_abscess", "", "liver_lesion", "", "hours"),
    "liver_calcification": ("liver_calcification", "", "liver_lesion", "", "no action"),
    "steatosis": ("steatosis", "", "", "", "incidental"),
    "hepatomegaly": ("hepatomegaly", "", "", "below the usual adult volume", "incidental"),
    "gallstone": ("gallstone", "", "", "", "incidental"),
    "splenomegaly": ("splenomegaly", "", "", "small for an adult", "days"),
    "spleen_cyst": ("spleen_cyst", "", "spleen_lesion", "", "no action"),
    "spleen_lesion": ("spleen_lesion", "", "", "", "days"),
    "pancreas_tumor": ("pancreas_tumor", "pancreas_pdac pancreas_pnet", "pancreas_lesion", "", "days"),
    "pancreas_cyst": ("pancreas_cyst", "", "pancreas_lesion", "", "days"),
    "adrenal_lesion": ("adrenal_lesion", "", "", "", "days"),
    "kidney_cyst": ("kidney_cyst", "", "kidney_lesion", "", "no action"),
    "kidney_tumor": ("kidney_tumor", "", "kidney_lesion", "", "days"),
    "kidney_stone": ("kidney_stone", "", "", "", "incidental"),
    "hydronephrosis": ("hydronephrosis", "", "", "", "hours"),
    "colon_tumor": ("colon_tumor", "", "colon_lesion", "", "days"),
    "bladder_lesion": ("bladder_lesion", "", "", "", "days"),
    "uterine_fibroid": ("uterus_lesion", "", "", "", "days"),
    "lung_nodule": ("lung_nodule", "", "lung_lesion", "", "days"),
    "ground_glass_nodule": ("lung_nodule", "", "lung_lesion", "", "days"),
    "lung_tumor": ("lung_tumor", "", "lung_lesion", "", "days"),
    "lung_consolidation": ("lung_consolidation", "", "", "", "hours"),
    "lung_atelectasis": ("lung_atelectasis", "", "", "", "days"),
    "pleural_effusion": ("pleural_effusion", "", "", "", "days"),
    "pneumothorax": ("pneumothorax", "", "", "", "immediate"),
    "pericardial_effusion": ("pericardial_effusion", "", "", "", "days"),
    "ascites": ("ascites", "", "", "", "days"),
    "pneumoperitoneum": ("pneumoperitoneum", "", "", "", "immediate"),
    "lymph_node": ("lymphadenopathy lymph_node", "", "", "", "days"),
    "aortic_aneurysm": ("abdominal_aortic_aneurysm", "", "", "ectatic", "days"),
    "vertebral_fracture": ("vertebra_fracture", "", "", "", "hours"),
    "lytic_bone_lesion": ("bone_lesion", "", "", "", "days"),
    "sclerotic_bone_lesion": ("bone_lesion", "", "", "", "days"),
}


def _judged(row: FindingKind) -> tuple[str, str, str, str, str]:
    return (" ".join(row.same), " ".join(row.narrower), " ".join(row.broader), row.denied_by, str(row.urgency))


def test_rows_stand_in_the_order_of_a_models_outputs() -> None:
    """The shipped weights were trained with this order; another one would give every output a wrong name."""
    config = json.loads(files("radvlm").joinpath("weights/tiny/config.json").read_text(encoding="utf-8"))
    assert list(finding_kinds()) == config["encoder"]["findings"] == list(JUDGED)
    for term in config["settings"]["terms"]:
        row = finding_kind(term["finding"])
        assert {name: getattr(row, name) for name in term if name != "finding"} == {
            name: value for name, value in term.items() if name != "finding"
        }


def test_what_establishes_and_denies_each_finding() -> None:
    assert {name: _judged(row) for name, row in finding_kinds().items()} == JUDGED
    assert {n: row.kind for n, row in finding_kinds().items() if row.kind != n} == {
        "uterine_fibroid": "uterus_lesion",
        "ground_glass_nodule": "lung_nodule",
        "aortic_aneurysm": "abdominal_aortic_aneurysm",
        "vertebral_fracture": "vertebra_fracture",
        "lytic_bone_lesion": "bone_lesion",
        "sclerotic_bone_lesion": "bone_lesion",
    }
    assert {n: row.words_deny for n, row in finding_kinds().items() if row.words_deny} == {
        "liver_tumor": ("liver_metastasis",),
        "spleen_lesion": ("spleen_cyst",),
        "lung_nodule": ("ground_glass_nodule",),
    }
    assert {n: row.denials for n, row in finding_kinds().items() if row.denials} == {
        "steatosis": ("the liver is normal in attenuation",),
        "hepatomegaly": ("the liver is normal in size",),
        "splenomegaly": ("the spleen is normal in size",),
        "hydronephrosis": ("the kidneys are not hydronephrotic",),
        "aortic_aneurysm": ("the abdominal aorta is normal in caliber",),
    }
    assert finding_kind("vertebral_fracture").aliases == (
        "compression fracture",
        "vertebral compression fracture",
        "vertebral fracture",
    )
    assert sum(len(row.aliases) for row in finding_kinds().values()) == 33


def test_every_place_and_mask_of_a_row_is_a_structure() -> None:
    for row in finding_kinds().values():
        assert row.section in SECTIONS
        for name in filter(None, (row.site, row.structure)):
            sided = [name.format(side=s) if "{side}" in name else f"{name}_{s}" for s in ("left", "right")]
            assert name in structures() or all(n in structures() for n in sided), name
        assert not row.sided or all(f"{row.site}_{side}" in structures() for side in ("left", "right"))
        assert set(row.words_deny) <= set(finding_kinds())


def test_a_name_that_the_table_lacks() -> None:
    with pytest.raises(InputError, match=r"in the vocabulary.*liver_cyst"):
        finding_kind("liver cyst")
    free = any_finding_kind("Portal-vein gas!")
    assert (free.kind, free.same, free.urgency) == ("portal_vein_gas", ("portal_vein_gas",), UNLISTED_URGENCY)
    assert any_finding_kind("?").kind == "finding"
    assert any_finding_kind("spleen_cyst") is finding_kind("spleen_cyst")
    assert sharing("bone_lesion") == {"lytic_bone_lesion", "sclerotic_bone_lesion"}
    assert sharing("kidney_cyst_left") == {"kidney_cyst"}
