"""Names of masks in people's own words: what they mean, and what must not be guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from radvlm.types.anatomy import structures
from radvlm.types.label_scheme import schemes, structure_from_name
from radvlm.types.mask_names import without_shared_start

DATA = Path(__file__).with_name("data")
#: Share of names of a list that must be right; the held-out list was written last and changes nothing.
LISTS = {
    "prompts_tuned.tsv": 1.0,
    "prompts_further.tsv": 1.0,
    "prompts_held_out.tsv": 0.95,
    "names_not_understood.tsv": 1.0,
}


def cases(name: str) -> list[tuple[str, str]]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


@pytest.mark.parametrize("name", LISTS)
def test_names_of_free_text(name: str) -> None:
    wrong = [(text, want, found) for text, want in cases(name) if (found := structure_from_name(text) or "") != want]
    assert len(wrong) <= (1 - LISTS[name]) * len(cases(name)), wrong


@pytest.mark.parametrize("name", LISTS)
def test_what_is_not_understood_is_never_another_organ(name: str) -> None:
    """Where the right answer is missed, nothing is named, or something of the same section of the report."""
    for text, want in cases(name):
        found = structure_from_name(text)
        if found is not None:
            assert want, (text, found)
            assert structures()[found].section == structures()[want].section, (text, found)


@pytest.mark.parametrize("before", ["", "case_", "ct001_", "s0011_", "patient 12 ", "BDMAP_00000007_", "img0042-"])
@pytest.mark.parametrize("write", [str, str.upper, str.title, lambda text: text.replace(" ", "_")])
def test_case_and_separators_change_nothing(before: str, write) -> None:  # type: ignore[no-untyped-def]
    for text, want in (
        ("left kidney", "kidney_left"),
        ("cyst of the left kidney", "kidney_cyst_left"),
        ("pleural effusion on the right", "pleural_effusion_right"),
        ("lesion in segment 6 of the liver", "liver_lesion"),
    ):
        assert structure_from_name(before + write(text)) == want


ORGANS = [row for row in structures().values() if row.kind in ("organ", "vessel", "bone", "muscle") and not row.parent]


@pytest.mark.parametrize(
    "form", ["no {}", "{} xyzzy", "xyzzy {}", "not the {}", "{} without tumor", "fat around the {}"]
)
def test_a_word_that_is_not_understood_leaves_no_organ(form: str) -> None:
    for row in ORGANS:
        assert structure_from_name(form.format(row.words)) is None, row.name


def test_two_organs_are_neither() -> None:
    for one, other in zip(ORGANS, ORGANS[7:], strict=False):
        found = structure_from_name(f"{one.words} and {other.words}")
        assert found is None, (one.name, other.name, found)


def test_mirrored_names_have_mirrored_meanings() -> None:
    swap = {"left": "right", "right": "left", "LUL": "RUL", "LLL": "RLL", "RUL": "LUL"}
    for name in LISTS:
        for text, want in cases(name):
            if want and structures()[want].side and "left" in text.lower().split():
                mirrored = " ".join(swap.get(word.lower(), word) for word in text.split())
                assert structure_from_name(mirrored) == want.replace("left", "right"), text


def test_every_name_of_every_scheme_means_what_its_scheme_says_or_nothing() -> None:
    for scheme in schemes().values():
        for entry in scheme.entries:
            if entry.structure and len(entry.name.split()) > 1:
                found = structure_from_name(entry.name)
                assert found in (None, entry.structure) or structures()[found].section == (
                    structures()[entry.structure].section
                ), (scheme.name, entry, found)


def test_a_beginning_that_all_names_share_is_left_out() -> None:
    assert without_shared_start(["smith_liver", "smith_left kidney"]) == {
        "smith_liver": "liver",
        "smith_left kidney": "left kidney",
    }
    kept = ["left_kidney", "left_adrenal_gland"]
    assert without_shared_start(kept) == {name: name.replace("_", " ") for name in kept}
    assert without_shared_start(["smith_liver"]) == {"smith_liver": "smith liver"}
