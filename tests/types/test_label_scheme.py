"""Label schemes: the tables themselves, names in many spellings, and refusing to guess."""

from __future__ import annotations

import pytest

from radvlm.errors import InputError, StructureError
from radvlm.types.anatomy import structures
from radvlm.types.label_scheme import (
    Scheme,
    SchemeEntry,
    detect_scheme,
    fold,
    scheme_from_mapping,
    scheme_named,
    schemes,
    structure_from_name,
    unknown_names,
)


def test_every_entry_of_every_scheme_is_a_known_structure() -> None:
    for scheme in schemes().values():
        for entry in scheme.entries:
            assert entry.structure == "" or entry.structure in structures(), (scheme.name, entry)
        numbers = [entry.label for entry in scheme.entries if entry.label is not None]
        assert len(numbers) == len(set(numbers)), scheme.name
        if scheme.name != "radvlm":
            assert scheme.source and scheme.licence and scheme.certainty, scheme.name


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("totalsegmentator", 117),
        ("totalsegmentator-v1", 104),
        ("total_mr", 50),
        ("total_mr-2.4", 56),
        ("verse", 28),
        ("saros", 14),
        ("cads", 167),
        ("mrsegmentator", 40),
        ("btcv", 13),
        ("amos", 15),
        ("flare22", 13),
        ("kits", 3),
        ("lits", 2),
        ("abdomenatlas-1.0", 9),
        ("abdomenatlas-1.1", 25),
        ("liver_segments", 8),
        ("teeth", 77),
        ("abdominal_muscles", 22),
    ],
)
def test_sizes_of_the_public_schemes(name: str, count: int) -> None:
    assert len(scheme_named(name).labels) == count


@pytest.mark.parametrize(
    ("scheme", "label", "structure"),
    [
        ("totalsegmentator", 5, "liver"),
        ("totalsegmentator", 52, "aorta"),
        ("totalsegmentator", 117, "costal_cartilages"),
        ("totalsegmentator-v1", 7, "aorta"),
        ("totalsegmentator-v3", 26, "vertebrae_L6"),
        ("totalsegmentator", 26, "vertebrae_S1"),
        ("btcv", 6, "liver"),
        ("btcv", 11, "pancreas"),
        ("amos", 10, "pancreas"),
        ("flare22", 13, "kidney_left"),
        ("kits", 1, "kidney"),
        ("kits", 3, "kidney_cyst"),
        ("lits", 2, "liver_tumor"),
        ("cads", 7, "aorta"),
        ("cads", 58, "urinary_bladder"),
        ("cads", 93, "rib_right_1"),
        ("cads", 146, "submandibular_gland_left"),
        ("cads", 167, "spinal_cord"),
        ("vista3d", 5, "kidney_right"),
        ("vista3d", 63, "rib_left_1"),
        ("vista3d", 28, "lung_upper_lobe_left"),
        ("vista3d", 132, "lung_airways"),
        ("vista3d", 255, ""),
        ("mrsegmentator", 2, "kidney_right"),
        ("mrsegmentator", 31, "autochthon_left"),
        ("abdomenatlas-1.1", 7, "inferior_vena_cava"),
        ("word", 3, "kidney_left"),
    ],
)
def test_entries_worth_knowing(scheme: str, label: int, structure: str) -> None:
    assert scheme_named(scheme).labels[label] == structure


def test_kidneys_as_one_class_get_no_side() -> None:
    assert all(not structures()[name].side for name in scheme_named("kits").structures)


def test_vista3d_did_not_search_for_tumors_by_default() -> None:
    vista = scheme_named("vista3d")
    assert "lung_tumor" in vista.structures
    assert "lung_tumor" not in vista.searched
    assert "spleen" in vista.searched


def test_canonical_names_never_collide_when_folded() -> None:
    folded = [fold(name) for name in structures()]
    assert len(folded) == len(set(folded))
    assert all(structure_from_name(name) == name for name in structures())


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("left kidney", "kidney_left"),
        ("Kidney-Left", "kidney_left"),
        ("LeftKidney", "kidney_left"),
        ("kidney_l", "kidney_left"),
        ("R KIDNEY", "kidney_right"),
        ("postcava", "inferior_vena_cava"),
        ("gall_bladder", "gallbladder"),
        ("Oesophagus", "esophagus"),
        ("liver tumour", "liver_tumor"),
        ("hepatic_lesion", "liver_lesion"),
        ("L1 vertebra", "vertebrae_L1"),
        ("Couinaud segment VI", "liver_segment_6"),
        ("Liver lesion 2", "liver_lesion"),
        ("right middle lobe", "lung_middle_lobe_right"),
        ("SMA", "superior_mesenteric_artery"),
        ("coeliac trunk", "celiac_trunk"),
        ("lung_upper_left_lobe", "lung_upper_lobe_left"),
        ("common_bile_duct_stent", "common_bile_duct_stent"),
        ("CBD stent", "common_bile_duct_stent"),
        ("thyroid_left", "thyroid_lobe_left"),
        ("right thyroid lobe", "thyroid_lobe_right"),
        ("left_patella", "patella_left"),
        ("fibula_right", "fibula_right"),
        ("ulna left", "ulna_left"),
        ("carpal_right", "carpal_right"),
        ("fingers_left", "phalanges_hand_left"),
        ("toes_right", "phalanges_feet_right"),
        ("subcutaneous_tissue", "subcutaneous_tissue"),
        ("adrenal_gland_lesion", "adrenal_lesion"),
        ("CHA", "hepatic_artery"),
        ("trachea_and_bronchie", "lung_trachea_bronchia"),
    ],
)
def test_names_in_other_spellings(name: str, structure: str) -> None:
    assert structure_from_name(name) == structure


MOOSE = """adrenal_gland_left bladder brain gallbladder kidney_right liver lung_lower_lobe_left pancreas spleen stomach
thyroid_left thyroid_right trachea carpal_left carpal_right clavicle_left clavicle_right femur_left fibula_left
fibula_right fingers_left fingers_right humerus_right metacarpal_left metatarsal_right patella_left radius_left
scapula_right skull tarsal_left tibia_right toes_left toes_right ulna_left rib_left_1 rib_left_13 rib_right_13 sternum
Legs Body Head Arms skeletal_muscle subcutaneous_fat visceral_fat"""


@pytest.mark.parametrize("name", MOOSE.split())
def test_class_names_of_moose(name: str) -> None:
    found = structure_from_name(name)
    assert found is not None
    side = {"left", "right"} & set(name.split("_"))
    assert not side or structures()[found].side in side


@pytest.mark.parametrize("name", ["lesion", "tumor", "cyst", "L1", "Segment_1", "label 3", "", "unknown", "rib 3"])
def test_vague_names_mean_nothing(name: str) -> None:
    assert structure_from_name(name) is None


def test_a_scheme_gives_its_own_names_their_meaning() -> None:
    assert structure_from_name("tumor", scheme_named("lits")) == "liver_tumor"
    assert structure_from_name("tumor", scheme_named("kits")) == "kidney_tumor"


def test_unknown_scheme_names_the_near_ones() -> None:
    with pytest.raises(StructureError, match="totalsegmentator"):
        scheme_named("totalsegmentor")


def test_header_names_decide_over_numbers() -> None:
    table = scheme_named("btcv").labels
    scheme, reason = detect_scheme({1, 6}, {label: name.replace("_", " ") for label, name in table.items()})
    assert scheme.name == "btcv"
    assert "header" in reason


def test_a_part_of_a_scheme_in_the_header_searched_only_that_part() -> None:
    names = {1: "spleen", 5: "liver", 52: "aorta"}
    scheme, _ = detect_scheme({5}, names)
    assert scheme.name == "totalsegmentator"
    assert scheme.searched == {"spleen", "liver", "aorta"}


def test_own_numbers_with_names_make_a_scheme_of_their_own() -> None:
    scheme, _ = detect_scheme({1, 2}, {1: "aorta", 2: "liver lesion", 7: "background"})
    assert dict(scheme.labels) == {1: "aorta", 2: "liver_lesion", 7: ""}


def test_a_label_that_the_header_leaves_unnamed_is_refused() -> None:
    with pytest.raises(StructureError, match=r"9 \(not named\)"):
        detect_scheme({1, 9}, {1: "aorta"})
    scheme, _ = detect_scheme({1, 9}, {1: "aorta", 9: "flux capacitor"})
    assert dict(scheme.labels) == {1: "aorta", 9: ""} and scheme.searched == {"aorta"}


def test_names_that_no_table_knows_are_in_the_message() -> None:
    with pytest.raises(StructureError, match=r"names 'livr' \(near: liver.*'gizmo'.*labels 1-2"):
        detect_scheme({1, 2}, {1: "livr", 2: "gizmo"})


def test_few_numbers_are_never_enough() -> None:
    with pytest.raises(StructureError, match="scheme=") as caught:
        detect_scheme({1, 2, 3}, plausibility=lambda scheme: (20, 20))
    assert "kits" in str(caught.value) or "more" in str(caught.value)


def test_numbers_outside_every_scheme_are_named() -> None:
    with pytest.raises(StructureError, match="400"):
        detect_scheme({1, 2, 400})


def test_two_versions_of_a_task_are_never_guessed_by_their_numbers() -> None:
    """TotalSegmentator 2.5 renumbered total_mr from 32 on: the tibia of before is the right scapula now."""
    both = {"total_mr": (20, 20), "total_mr-2.4": (20, 20)}
    labels = set(range(1, 51))
    with pytest.raises(StructureError, match=r"total_mr .*total_mr-2.4"):
        detect_scheme(labels, plausibility=lambda scheme: both.get(scheme.name, (6, 20)))
    same = set(range(1, 32))  # up to 31 they agree
    assert detect_scheme(same, plausibility=lambda scheme: both.get(scheme.name, (6, 20)))[0].labels[31]
    old = {label: name for label, name in scheme_named("total_mr-2.4").labels.items() if label <= 47}
    found, _ = detect_scheme(set(old), old)
    assert found.name == "total_mr-2.4" and found.labels[33] == "tibia" and found.labels[34] == "femur_left"
    wrong = {label for label in labels if scheme_named("total_mr").labels[label] != old.get(label, "")}
    assert wrong >= set(range(32, 51))


def test_every_scheme_with_versions_says_so() -> None:
    for name in ("totalsegmentator", "totalsegmentator-v1", "total_mr", "total_mr-2.4", "flare22", "saros"):
        assert schemes()[name].versions and schemes()[name].versions in schemes()[name].note


def test_numbers_of_one_scheme_only() -> None:
    scheme, reason = detect_scheme(({*range(1, 123)} - {16}) | {255})
    assert scheme.name == "vista3d"
    assert "number" in reason


def test_the_most_plausible_scheme_wins_only_with_a_lead() -> None:
    labels = set(range(1, 14))
    for best, others, decided in (
        (20, 16, True),
        (20, 17, False),
        (19, 16, False),
        (18, 15, False),
        (18, 8, True),
        (15, 2, False),
        (0, 0, False),
    ):

        def votes(scheme: Scheme, best: int = best, others: int = others) -> tuple[int, int]:
            return (best if scheme.name == "flare22" else others), 20

        if decided:
            assert detect_scheme(labels, plausibility=votes)[0].name == "flare22"
        else:
            with pytest.raises(StructureError, match="fit exactly one scheme"):
                detect_scheme(labels, plausibility=votes)
    with pytest.raises(StructureError, match="fit exactly one scheme"):
        detect_scheme(labels, plausibility=lambda s: (0, 0))


def test_schemes_that_agree_on_the_labels_present_are_no_rivals() -> None:
    labels = set(range(1, 26))  # v2 and v3 of TotalSegmentator differ in label 26 only
    close = {"totalsegmentator": (18, 20), "totalsegmentator-v3": (18, 20)}
    assert detect_scheme(labels, plausibility=lambda s: close.get(s.name, (6, 20)))[0].name == "totalsegmentator"


def test_file_names() -> None:
    assert detect_scheme(set(), file_names=["liver", "postcava", "pancreatic_pdac"])[0].name == "abdomenatlas"
    assert detect_scheme(set(), file_names=["liver", "kidney_left", "rib_left_3"])[0].name == "totalsegmentator"
    assert detect_scheme(set(), file_names=["kidney", "tumor", "cyst"])[0].name == "kits"
    scheme, _ = detect_scheme(set(), file_names=["kidney", "liver", "tumor"])
    assert structure_from_name("tumor", scheme) is None  # of the kidney in one scheme, of the liver in another
    with pytest.raises(StructureError, match="tumor"):
        detect_scheme(set(), file_names=["tumor"])


def test_mapping_given_by_the_caller() -> None:
    scheme = scheme_from_mapping({1: "left kidney", 2: "", 0: "background"})
    assert dict(scheme.labels) == {1: "kidney_left", 2: ""}
    assert scheme.searched == {"kidney_left"}
    with pytest.raises(StructureError, match="livver"):
        scheme_from_mapping({1: "livver"})
    with pytest.raises(InputError, match="whole numbers"):
        scheme_from_mapping({-1: "liver"})
    with pytest.raises(InputError, match="at least one"):
        scheme_from_mapping({3: ""})


def test_unknown_names_suggest_near_ones() -> None:
    message = str(unknown_names(["livr", "kidny_left"]))
    assert "'livr' (near: liver" in message
    assert "kidney_left" in message


def test_scheme_properties_of_a_hand_made_scheme() -> None:
    scheme = Scheme(
        "x",
        "t",
        (
            SchemeEntry(1, "a", "liver"),
            SchemeEntry(2, "b", "spleen", False),
            SchemeEntry(3, "c", ""),
            SchemeEntry(None, "d", "aorta"),
        ),
        source="s",
    )
    assert scheme.labels == {1: "liver", 2: "spleen", 3: ""}
    assert scheme.searched == {"liver", "aorta"}
    assert scheme.structures == {"liver", "spleen", "aorta"}
    assert scheme.note == "t; s"
