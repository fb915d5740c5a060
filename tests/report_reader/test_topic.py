"""What a sentence is about, and whether it says only that something is normal: one row a sentence."""

from __future__ import annotations

import pytest

from radvlm.report_reader.topic import says_only_normal, subject
from radvlm.types.anatomy import SECTIONS, structures


@pytest.mark.parametrize(
    ("text", "section", "organ"),
    [
        ("The spleen is enlarged.", "spleen", "spleen"),
        ("Renal cysts on both sides.", "kidneys", "kidney"),
        ("The kidneys are normal.", "kidneys", "kidney"),
        ("No hydronephrosis.", "kidneys", "kidney"),
        ("Both ureters and the urinary bladder are normal.", "kidneys", "ureter"),
        ("A 12 mm nodule in the right lobe of the thyroid.", "neck", "thyroid_gland"),
        ("A 12 mm nodule in the right upper lobe.", "lungs", "lung_upper_lobe"),
        ("Consolidation in the lingula.", "lungs", "lung"),
        ("Mass in the head of the pancreas.", "pancreas", "pancreas"),
        ("A cyst in segment VII.", "liver", "liver_segment_7"),
        ("Enlarged left hilar lymph node.", "nodes", ""),
        ("Right paratracheal lymphadenopathy.", "nodes", ""),
        ("The liver is normal, and there is no lymphadenopathy.", "liver", "liver"),
        ("A nodule in the right lung, probably a lymph node.", "lungs", "lung"),
        ("The hila are not enlarged.", "mediastinum", ""),
        ("Mid-clavicular length of the liver 17 cm.", "liver", "liver"),
        ("A 21 mm mass at the level of L2.", "", ""),
        ("The superior mesenteric artery is patent.", "vessels", "superior_mesenteric_artery"),
        ("Coarse calcification of the aortic arch.", "vessels", "aorta"),
        ("Scattered vascular calcifications.", "vessels", ""),
        ("Thrombus in the portal vein.", "vessels", "portal_vein"),
        ("Coronary artery calcifications.", "heart", "coronary_arteries"),
        ("Small hiatal hernia.", "mediastinum", "esophagus"),
        ("Colonic tumor.", "bowel", "colon"),
        ("No bowel obstruction.", "bowel", "bowel"),
        ("The pleura is thick.", "pleura", "pleura"),
        ("No AAA.", "vessels", "aorta"),
        ("Ascites.", "peritoneum", ""),
        ("The skull is intact.", "head", "skull"),
        ("Small effusion.", "pleura", "pleura"),
        ("Left subclavian central venous catheter in the SVC.", "devices", ""),
        ("The stomach is distended around a nasogastric tube.", "bowel", "stomach"),
        ("It is homogeneous.", "", ""),
    ],
)
def test_subject(text: str, section: str, organ: str) -> None:
    assert subject(text) == (section, organ)


def test_every_structure_that_is_an_organ_is_of_its_own_section() -> None:
    names = ("liver", "spleen", "pancreas", "kidney_left", "adrenal_gland_right", "gallbladder", "urinary_bladder")
    names += (
        "stomach",
        "duodenum",
        "colon",
        "heart",
        "aorta",
        "trachea",
        "prostate",
        "esophagus",
        "lung_left",
        "brain",
    )
    for name in names:
        assert subject(structures()[name].words)[0] == structures()[name].section, name


@pytest.mark.parametrize("text", ["A lesion.", "The abdomen is normal.", "Axillary fat.", "Fat in the groin."])
def test_a_section_is_one_of_the_report(text: str) -> None:
    assert subject(text)[0] in ("", *SECTIONS)


@pytest.mark.parametrize(
    ("sentence", "normal"),
    [
        ("The liver is normal.", True),
        ("No focal lesion.", True),
        ("There is no pleural effusion or pneumothorax.", True),
        ("Gallbladder without stones.", True),
        ("A cyst without enhancement.", False),
        ("Normal liver with a 9 mm cyst.", False),
        ("No ascites, but a small hernia.", False),
        ("Splenomegaly.", False),
        ("Normal size; mild steatosis.", False),
        ("The aorta measures 21 mm.", False),
        ("Skeletal muscle area 133.3 cm2, not below that of healthy adults.", False),
        ("Pericardial effusion-thickening was not observed.", True),
        ("Previously seen anasarca has resolved.", True),
        ("Large right pneumothorax, not seen on the prior study.", False),
        ("Mild prostatomegaly; otherwise the pelvic organs are normal.", False),
        ("Otherwise unremarkable, no stones or hydronephrosis.", True),
        ("No worsening of ascites, which remains moderate.", False),
        ("Filling defect may be artifact rather than thrombus.", False),
        ("Metastatic disease cannot be excluded.", False),
        ("Except for a splenule, normal.", False),
        ("The left adrenal gland is not seen in the imaged range.", False),
        ("No parenchymal atrophy.", True),
        ("No abnormality.", True),
        ("Not for clinical decisions.", False),
    ],
)
def test_says_only_normal(sentence: str, normal: bool) -> None:
    assert says_only_normal(sentence) is normal
