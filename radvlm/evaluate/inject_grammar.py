"""Wording for synthetic CT reports with known facts: what can be stated, and several ways to state each.

Written apart from the lexicon that reads reports and sharing nothing with it, so that errors injected with it test
the reading. A template has slots: {size}, {side}, {place}, {grade} and the two forms of a change, {adj} before the
noun and {clause} after it; every slot that a fact does not have becomes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

SIDES = ("right", "left")
LOBES = {"right": ("upper lobe", "middle lobe", "lower lobe"), "left": ("upper lobe", "lower lobe")}
SEGMENTS = ("segment II", "segment III", "segment IVa", "segment V", "segment VI", "segment VII", "segment VIII")
POLES = ("upper pole", "lower pole", "interpolar region")
STATIONS = ("right paratracheal", "subcarinal", "left hilar", "retroperitoneal", "left axillary", "porta hepatis")
PARTS = ("head", "body", "tail")
LEVELS = ("T8", "T11", "T12", "L1", "L2", "L4")
#: Words of severity by step; a finding uses the family that radiologists use for it.
GRADES = {"amount": ("trace", "small", "moderate", "large"), "degree": ("minimal", "mild", "moderate", "severe")}
#: (before the noun, after it), several wordings of each change.
CHANGES = {
    "new": (
        ("new ", ""),
        ("", ", new since the prior examination"),
        ("", ", not seen on the prior study"),
        ("newly developed ", ""),
    ),
    "increased": (
        ("enlarging ", ""),
        ("", ", increased in size from the prior examination"),
        ("", ", which has increased since the previous study"),
        ("", ", worsened compared with the prior CT"),
    ),
    "decreased": (
        ("", ", decreased in size from the prior examination"),
        ("", ", which has decreased since the previous study"),
        ("", ", improved compared with the prior CT"),
    ),
    "stable": (
        ("unchanged ", ""),
        ("stable ", ""),
        ("", ", unchanged from the prior examination"),
        ("", ", stable since the previous study"),
    ),
}


@dataclass(frozen=True)
class Topic:
    """A finding that the generator can state.

    Attributes:
        id: name of the fact.
        templates: at least two wordings.
        normal: wordings of its absence.
        places: list of places, or "lobes" for those of the side.
        sided, grade, sizes_mm: which attributes it has; ``sizes_mm`` is the range of its size.
        weight: benign, minor or actionable, the grade of leaving it out or making it up.
    """

    id: str
    templates: tuple[str, ...]
    normal: tuple[str, ...]
    places: tuple[str, ...] | str = ()
    sided: bool = False
    bilateral: bool = False
    grade: str = ""
    sizes_mm: tuple[int, int] | None = None
    weight: str = "actionable"
    changes: bool = True
    region: str = "chest"


TOPICS: tuple[Topic, ...] = (
    Topic(
        "nodule",
        (
            "There is a {adj}{size} nodule in the {side} {place}{clause}.",
            "{adj}{size} pulmonary nodule in the {side} {place}{clause}.",
            "A {adj}solid nodule measuring {size} is seen within the {side} {place}{clause}.",
            "Within the {side} {place}, there is a {adj}{size} nodule{clause}.",
        ),
        ("No suspicious pulmonary nodule.", "No pulmonary nodules or masses are identified."),
        "lobes",
        True,
        sizes_mm=(7, 26),
    ),
    Topic(
        "consolidation",
        (
            "{adj}{grade} consolidation in the {side} {place}{clause}.",
            "There is {adj}{grade} airspace consolidation within the {side} {place}{clause}.",
            "The {side} {place} shows {adj}{grade} consolidation{clause}.",
        ),
        ("No consolidation.", "There is no focal airspace consolidation."),
        "lobes",
        True,
        grade="degree",
    ),
    Topic(
        "effusion",
        (
            "{adj}{grade} {side} pleural effusion{clause}.",
            "There is a {adj}{grade} {side} pleural effusion{clause}.",
            "A {adj}{grade} pleural effusion is present on the {side}{clause}.",
        ),
        ("No pleural effusion.", "The pleural spaces are free of effusion."),
        (),
        True,
        grade="amount",
    ),
    Topic(
        "atelectasis",
        (
            "{adj}{grade} atelectasis in the {side} lower lobe{clause}.",
            "There is {adj}{grade} {side} lower lobe atelectasis{clause}.",
        ),
        ("No atelectasis.",),
        (),
        True,
        grade="degree",
        weight="minor",
    ),
    Topic(
        "pneumothorax",
        ("{adj}{grade} {side} pneumothorax{clause}.", "There is a {adj}{grade} pneumothorax on the {side}{clause}."),
        ("No pneumothorax.",),
        (),
        True,
        grade="amount",
    ),
    Topic(
        "emphysema",
        (
            "{adj}{grade} centrilobular emphysema{clause}.",
            "There is {adj}{grade} emphysema{clause}.",
            "{grade} emphysematous changes are present in both lungs{clause}.",
        ),
        ("No emphysema.",),
        grade="degree",
        weight="minor",
        changes=False,
    ),
    Topic(
        "pericardial",
        ("{adj}{grade} pericardial effusion{clause}.", "There is a {adj}{grade} pericardial effusion{clause}."),
        ("No pericardial effusion.", "There is no pericardial fluid."),
        grade="amount",
    ),
    Topic(
        "cardiomegaly",
        (
            "{grade} cardiomegaly{clause}.",
            "There is {grade} enlargement of the heart{clause}.",
            "The heart is enlarged, {grade}{clause}.",
        ),
        ("Heart size is normal.", "The heart is normal in size."),
        weight="actionable",
        changes=False,
    ),
    Topic(
        "coronary",
        (
            "{grade} coronary artery calcification.",
            "There are {grade} calcifications of the coronary arteries.",
            "{grade} calcified plaque in the coronary arteries.",
        ),
        ("No coronary artery calcification.",),
        grade="degree",
        weight="minor",
        changes=False,
    ),
    Topic(
        "nodes",
        (
            "{adj}enlarged {place} lymph node measuring {size}{clause}.",
            "There is a {adj}{size} enlarged {place} lymph node{clause}.",
            "{adj}{place} lymphadenopathy, {size}{clause}.",
        ),
        ("No enlarged lymph nodes.", "There is no lymphadenopathy."),
        STATIONS,
        sizes_mm=(13, 38),
    ),
    Topic(
        "thoracic_aorta",
        (
            "{adj}aneurysm of the ascending aorta measuring {size}{clause}.",
            "The ascending aorta is dilated, measuring {size}{clause}.",
        ),
        ("The thoracic aorta is normal in caliber.",),
        sizes_mm=(43, 62),
        changes=False,
    ),
    Topic(
        "thyroid",
        (
            "{adj}{size} nodule in the {side} lobe of the thyroid{clause}.",
            "There is a {adj}{size} {side} thyroid nodule{clause}.",
        ),
        ("The thyroid is unremarkable.",),
        (),
        True,
        sizes_mm=(8, 28),
        weight="minor",
    ),
    Topic(
        "hiatal",
        ("{grade} hiatal hernia.", "There is a {grade} sliding hiatal hernia."),
        ("No hiatal hernia.",),
        grade="amount",
        weight="minor",
        changes=False,
    ),
    Topic(
        "bronchiectasis",
        ("{grade} bronchiectasis in the {side} {place}.", "There is {grade} bronchiectasis of the {side} {place}."),
        ("No bronchiectasis.",),
        "lobes",
        True,
        grade="degree",
        weight="minor",
        changes=False,
    ),
    Topic(
        "liver_lesion",
        (
            "{adj}{size} hypoattenuating lesion in {place} of the liver{clause}.",
            "There is a {adj}{size} liver lesion in {place}{clause}.",
            "In the liver, a {adj}{size} lesion is seen in {place}{clause}.",
        ),
        ("No focal liver lesion.", "The liver is free of focal lesions."),
        SEGMENTS,
        sizes_mm=(12, 60),
        region="abdomen",
    ),
    Topic(
        "steatosis",
        ("{grade} hepatic steatosis.", "There is {grade} fatty infiltration of the liver.", "{grade} hepatosteatosis."),
        ("No hepatic steatosis.", "Liver attenuation is normal."),
        grade="degree",
        weight="minor",
        changes=False,
        region="abdomen",
    ),
    Topic(
        "splenomegaly",
        ("{grade} splenomegaly, {size}.", "The spleen is enlarged, measuring {size}."),
        ("The spleen is normal in size.", "Spleen is unremarkable."),
        sizes_mm=(140, 210),
        changes=False,
        region="abdomen",
    ),
    Topic(
        "gallstones",
        ("Gallstones are present.", "Cholelithiasis.", "There are multiple stones in the gallbladder."),
        ("No gallstones.", "The gallbladder is normal."),
        weight="minor",
        changes=False,
        region="abdomen",
    ),
    Topic(
        "biliary",
        ("{grade} biliary ductal dilatation{clause}.", "There is {grade} dilatation of the bile ducts{clause}."),
        ("No biliary ductal dilatation.", "The bile ducts are not dilated."),
        grade="degree",
        changes=False,
        region="abdomen",
    ),
    Topic(
        "pancreas_mass",
        (
            "{adj}{size} mass in the pancreatic {place}{clause}.",
            "There is a {adj}{size} mass in the {place} of the pancreas{clause}.",
        ),
        ("The pancreas is unremarkable.", "No pancreatic mass."),
        PARTS,
        sizes_mm=(14, 55),
        region="abdomen",
    ),
    Topic(
        "adrenal",
        (
            "{adj}{size} {side} adrenal nodule{clause}.",
            "There is a {adj}{size} nodule in the {side} adrenal gland{clause}.",
        ),
        ("The adrenal glands are normal.",),
        (),
        True,
        sizes_mm=(12, 45),
        region="abdomen",
    ),
    Topic(
        "kidney_cyst",
        (
            "{adj}{size} simple cyst in the {place} of the {side} kidney{clause}.",
            "There is a {adj}{size} cyst arising from the {place} of the {side} kidney{clause}.",
        ),
        ("No renal cysts.",),
        POLES,
        True,
        sizes_mm=(12, 70),
        weight="benign",
        region="abdomen",
    ),
    Topic(
        "kidney_stone",
        (
            "{adj}{size} nonobstructing calculus in the {place} of the {side} kidney{clause}.",
            "There is a {adj}{size} stone in the {place} of the {side} kidney{clause}.",
        ),
        ("No renal calculi.",),
        POLES,
        True,
        sizes_mm=(4, 18),
        weight="minor",
        region="abdomen",
    ),
    Topic(
        "hydronephrosis",
        ("{adj}{grade} {side} hydronephrosis{clause}.", "There is {adj}{grade} hydronephrosis on the {side}{clause}."),
        ("No hydronephrosis.",),
        (),
        True,
        grade="degree",
        region="abdomen",
    ),
    Topic(
        "aaa",
        (
            "{adj}infrarenal abdominal aortic aneurysm measuring {size}{clause}.",
            "There is a {adj}{size} aneurysm of the abdominal aorta{clause}.",
        ),
        ("No abdominal aortic aneurysm.", "The abdominal aorta is normal in caliber."),
        sizes_mm=(34, 68),
        region="abdomen",
    ),
    Topic(
        "ascites",
        ("{adj}{grade} ascites{clause}.", "There is a {adj}{grade} amount of ascites{clause}."),
        ("No ascites.", "No free fluid in the abdomen."),
        grade="amount",
        region="abdomen",
    ),
    Topic(
        "obstruction",
        ("Small bowel obstruction{clause}.", "There are findings of small bowel obstruction{clause}."),
        ("No bowel obstruction.", "There is no evidence of bowel obstruction."),
        changes=False,
        region="abdomen",
    ),
    Topic(
        "appendicitis",
        ("Acute appendicitis.", "Findings are consistent with acute appendicitis."),
        ("The appendix is normal.",),
        changes=False,
        region="abdomen",
    ),
    Topic(
        "fracture",
        (
            "{adj}{grade} compression fracture of {place}{clause}.",
            "There is a {adj}{grade} compression fracture of the {place} vertebral body{clause}.",
        ),
        ("No acute fracture.", "No fractures are identified."),
        LEVELS,
        grade="degree",
        region="both",
    ),
    Topic(
        "bone_lesion",
        (
            "{adj}{size} lytic lesion in the {place} vertebral body{clause}.",
            "There is a {adj}lytic bone lesion in {place} measuring {size}{clause}.",
        ),
        ("No suspicious osseous lesion.",),
        LEVELS,
        sizes_mm=(9, 35),
        region="both",
    ),
    Topic(
        "hernia",
        ("{grade} fat-containing umbilical hernia.", "There is a {grade} umbilical hernia containing fat."),
        ("No abdominal wall hernia.",),
        grade="amount",
        weight="benign",
        changes=False,
        region="abdomen",
    ),
    Topic(
        "diverticulosis",
        ("Sigmoid diverticulosis.", "Diverticula are present in the sigmoid colon."),
        ("No diverticulosis.",),
        weight="benign",
        changes=False,
        region="abdomen",
    ),
)
BY_ID = {t.id: t for t in TOPICS}
#: UK spelling and dictation habits for style controls.
UK = (
    ("hypoattenuating", "hypoattenuating"),
    ("esophag", "oesophag"),
    ("edema", "oedema"),
    ("tumor", "tumour"),
    ("caliber", "calibre"),
    ("centimeter", "centimetre"),
    ("color", "colour"),
)
ABBREVIATED = (
    ("right upper lobe", "RUL"),
    ("right middle lobe", "RML"),
    ("right lower lobe", "RLL"),
    ("left upper lobe", "LUL"),
    ("left lower lobe", "LLL"),
    ("pleural effusion", "effusion"),
    ("abdominal aortic aneurysm", "AAA"),
)
