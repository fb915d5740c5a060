"""One table of finding kinds: what a report calls them, where they lie, and which kinds of the masks speak of them."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.types.finding_kinds import (
    UNLISTED_IMPORTANCE,
    FindingKind,
    any_finding_kind,
    finding_kind,
    finding_kinds,
    sharing,
)

#: (same, narrower, broader, denied by, importance) of every finding, in the order of a model's outputs.
JUDGED = {
    "liver_cyst": ("liver_cyst", "", "liver_lesion", "", 20),
    "liver_metastasis": ("liver_metastasis", "", "liver_lesion liver_tumor", "", 92),
    "liver_tumor": ("liver_tumor", "", "liver_lesion", "", 90),
    "liver_hemangioma": ("liver_hemangioma", "", "liver_lesion", "", 20),
    "liver_abscess": ("liver_abscess", "", "liver_lesion", "", 92),
    "liver_calcification": ("liver_calcification", "", "liver_lesion", "", 0),
    "steatosis": ("steatosis", "", "", "", 50),
    "hepatomegaly": ("hepatomegaly", "", "", "below the usual adult volume", 60),
    "gallstone": ("gallstone", "", "", "", 50),
    "splenomegaly": ("splenomegaly", "", "", "small for an adult", 60),
    "spleen_cyst": ("spleen_cyst", "", "spleen_lesion", "", 20),
    "spleen_lesion": ("spleen_lesion", "", "", "", 80),
    "pancreas_tumor": ("pancreas_tumor", "pancreas_pdac pancreas_pnet", "pancreas_lesion", "", 90),
    "pancreas_cyst": ("pancreas_cyst", "", "pancreas_lesion", "", 60),
    "adrenal_lesion": ("adrenal_lesion", "", "", "", 70),
    "kidney_cyst": ("kidney_cyst", "", "kidney_lesion", "", 20),
    "kidney_tumor": ("kidney_tumor", "", "kidney_lesion", "", 90),
    "kidney_stone": ("kidney_stone", "", "", "", 50),
    "hydronephrosis": ("hydronephrosis", "", "", "", 75),
    "colon_tumor": ("colon_tumor", "", "colon_lesion", "", 90),
    "bladder_lesion": ("bladder_lesion", "", "", "", 90),
    "uterine_fibroid": ("uterus_lesion", "", "", "", 70),
    "lung_nodule": ("lung_nodule", "", "lung_lesion", "", 50),
    "ground_glass_nodule": ("lung_nodule", "", "lung_lesion", "", 50),
    "lung_tumor": ("lung_tumor", "", "lung_lesion", "", 90),
    "lung_consolidation": ("lung_consolidation", "", "", "", 85),
    "lung_atelectasis": ("lung_atelectasis", "", "", "", 60),
    "pleural_effusion": ("pleural_effusion", "", "", "", 70),
    "pneumothorax": ("pneumothorax", "", "", "", 95),
    "pericardial_effusion": ("pericardial_effusion", "", "", "", 60),
    "ascites": ("ascites", "", "", "", 70),
    "pneumoperitoneum": ("pneumoperitoneum", "", "", "", 95),
    "lymph_node": ("lymphadenopathy lymph_node", "", "", "", 60),
    "aortic_aneurysm": ("abdominal_aortic_aneurysm", "", "", "ectatic", 85),
    "vertebral_fracture": ("vertebra_fracture", "", "", "", 85),
    "lytic_bone_lesion": ("bone_lesion", "", "", "", 85),
    "sclerotic_bone_lesion": ("bone_lesion", "", "", "", 85),
}


def _judged(row: FindingKind) -> tuple[str, str, str, str, int]:
    return (" ".join(row.same), " ".join(row.narrower), " ".join(row.broader), row.denied_by, row.importance)


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
    assert (free.kind, free.same, free.importance) == ("portal_vein_gas", ("portal_vein_gas",), UNLISTED_IMPORTANCE)
    assert any_finding_kind("?").kind == "finding"
    assert any_finding_kind("spleen_cyst") is finding_kind("spleen_cyst")
    assert sharing("bone_lesion") == {"lytic_bone_lesion", "sclerotic_bone_lesion"}
    assert sharing("kidney_cyst_left") == {"kidney_cyst"}
