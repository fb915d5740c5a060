"""Zero-shot wordings: enough of them, the held-out ones really held out, and none that reads as the opposite."""

from __future__ import annotations

import pytest

from radvlm.dataset.prompts import heldout_words, normalized, prompts
from radvlm.dataset.sentences import TINY_SECTIONS, statements
from radvlm.errors import InputError
from radvlm.report_reader.labels import label_report
from radvlm.types.finding_kinds import finding_kinds
from tests.dataset.conftest import MakeCase, lesion

#: Finding -> labels of radvlm.evaluate that say it.
LABELS: dict[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in (
            "liver_cyst",
            "liver_metastasis",
            "liver_hemangioma",
            "liver_calcification",
            "hepatomegaly",
            "gallstone",
            "splenomegaly",
            "adrenal_lesion",
            "kidney_cyst",
            "kidney_stone",
            "hydronephrosis",
            "bladder_lesion",
            "pleural_effusion",
            "pneumothorax",
            "pericardial_effusion",
            "ascites",
            "pneumoperitoneum",
        )
    },
    "liver_tumor": ("liver_tumor",),
    "liver_abscess": ("liver_abscess", "abscess"),
    "steatosis": ("hepatic_steatosis",),
    "spleen_cyst": ("spleen_lesion",),
    "spleen_lesion": ("spleen_lesion",),
    "pancreas_tumor": ("pancreatic_mass",),
    "pancreas_cyst": ("pancreatic_cyst",),
    "kidney_tumor": ("kidney_mass",),
    "colon_tumor": ("bowel_mass",),
    "uterine_fibroid": ("fibroid",),
    "lung_nodule": ("lung_nodule",),
    "ground_glass_nodule": ("lung_nodule",),
    "lung_tumor": ("lung_mass",),
    "lung_consolidation": ("consolidation",),
    "lung_atelectasis": ("atelectasis",),
    "lymph_node": ("lymphadenopathy",),
    "aortic_aneurysm": ("abdominal_aortic_aneurysm",),
    "vertebral_fracture": ("fracture",),
    "lytic_bone_lesion": ("bone_lesion",),
    "sclerotic_bone_lesion": ("bone_lesion",),
}


def _texts(split: str) -> list[tuple[str, bool, str]]:
    return [
        (name, positive, text)
        for name in finding_kinds()
        for positive, texts in ((True, prompts(name, split).positive), (False, prompts(name, split).negative))
        for text in texts
    ]


@pytest.mark.parametrize("name", list(finding_kinds()))
def test_there_are_enough_wordings(name: str) -> None:
    train, held = prompts(name), prompts(name, "heldout")
    assert len(train.positive) >= 6 and len(train.negative) >= 4
    assert len(held.positive) >= 3 and len(held.negative) >= 2


def test_no_wording_is_used_twice_and_heldout_ones_are_not_in_training() -> None:
    train = [normalized(text) for _, _, text in _texts("train")]
    held = [normalized(text) for _, _, text in _texts("heldout")]
    assert len(set(train)) == len(train) and len(set(held)) == len(held)
    assert not set(train) & set(held)
    assert not {" ".join(sorted(t.split())) for t in train} & {" ".join(sorted(t.split())) for t in held}
    assert not [h for h in held if any(f" {h} " in f" {t} " for t in train)], "a held-out wording inside a training one"


@pytest.mark.slow
def test_no_training_text_is_a_heldout_wording(make_case: MakeCase) -> None:
    held = {normalized(text) for _, _, text in _texts("heldout")}
    said: set[str] = set()
    for name, rows in (
        ("sick", [lesion(n, "left" if k.sided else "") for n, k in finding_kinds().items()]),
        ("well", []),
    ):
        case = make_case(rows, name=name)
        for seed in range(60):
            for section in (*TINY_SECTIONS, "impression"):
                said |= {normalized(s.text) for s in statements(case, section, seed, "varied")}
    assert len(said) > 500 and not said & held


@pytest.mark.slow
def test_the_labeler_never_reads_a_wording_as_its_opposite() -> None:
    """Where it knows the finding it must agree; it may read another, more general kind, or nothing."""
    agreed, opposite, total = 0, [], 0
    for split in ("train", "heldout"):
        for name, positive, text in _texts(split):
            labels = label_report(text[0].upper() + text[1:].removesuffix(".") + ".", "radvlm")
            got = {labels[k] for k in LABELS[name]} - {"not mentioned"}
            total += 1
            agreed += ("present" if positive else "absent") in got
            if ("absent" if positive else "present") in got:
                opposite.append((name, text, got))
    assert not opposite
    assert agreed / total > 0.85, f"{agreed} of {total} wordings are read as they are meant"


def test_new_words_of_heldout_wordings_are_few_and_listed() -> None:
    new = heldout_words()
    assert "hydrothorax" in new["pleural_effusion"]
    assert "cyst" not in {w for words in new.values() for w in words}
    assert "thin-walled" not in heldout_words(["a thin-walled cyst"]).get("liver_cyst", ())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="vocabulary"):
        prompts("thumb")
    with pytest.raises(InputError, match="split"):
        prompts("liver_cyst", "test")
