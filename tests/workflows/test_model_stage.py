"""What a model said is fitted to the patient before it reaches a report."""

from __future__ import annotations

import numpy as np
import pytest

from fakes import FakeModel
from radvlm.types.anatomy import structures
from radvlm.types.finding import Finding, Status
from radvlm.types.geometry import Box, Geometry
from radvlm.types.model_output import FindingScore, ModelOutput
from radvlm.types.region import Region
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.study import Patient
from radvlm.workflows.model_stage import ModelReading, for_patient, shown_by

OF_ONE_SEX = [s for s in structures().values() if s.sex]


def _output() -> ModelOutput:
    sites = ["", "spleen", *(s.name for s in OF_ONE_SEX)]
    scores = tuple(
        FindingScore(f"lesion {n}", f"{site or 'other'} lesion".replace("_", " "), "liver", site, 0.1, Status.ABSENT)
        for n, site in enumerate(sites)
    )
    return ModelOutput("fake", "0" * 64, "A fake.", scores)


@pytest.mark.parametrize("sex", ["F", "M"])
def test_organs_of_the_other_sex_are_not_spoken_of(sex: str) -> None:
    fitted = for_patient(_output(), Patient(sex=sex))
    gone = [s.name for s in OF_ONE_SEX if s.sex != sex]
    assert [s.site for s in fitted.scores] == ["", "spleen", *(s.name for s in OF_ONE_SEX if s.sex == sex)]
    (told,) = fitted.warnings
    assert all(f"{name} lesion".replace("_", " ") in told.what for name in gone) and "spleen" not in told.what


def test_nothing_is_left_out_where_the_sex_is_not_known() -> None:
    assert for_patient(_output(), Patient()) == _output()


def test_an_organ_of_the_other_sex_is_known_by_the_finding_too() -> None:
    score = FindingScore("uterine_fibroid", "uterine lesion", "reproductive", "", 0.9, Status.PRESENT)
    fitted = for_patient(ModelOutput("fake", "0" * 64, "A fake.", (score,)), Patient(sex="M"))
    assert fitted.scores == () and "uterine lesion" in fitted.warnings[0].what


def test_a_model_without_a_map_denies_nothing_of_organs_that_no_mask_shows() -> None:
    sites = ("liver", "kidney_left", "")
    scores = tuple(FindingScore(f"f{n}", "cyst", "liver", s, 0.1, Status.ABSENT) for n, s in enumerate(sites))
    region = Region("liver_segment_4", "liver_segment_4", Box((0, 0, 0), (1, 1, 1)), 1, 0.001, (0.0, 0.0, 0.0))
    shown = shown_by([Finding("F1", "organ", Status.PRESENT, "liver_segment_4", "liver", (region,))])
    assert shown == {"liver_segment_4", "liver"}
    output = ModelOutput("fake", "0" * 64, "A fake.", scores)
    assert ModelReading(FakeModel(), output, None, shown).unseen == {"kidney_left"}
    own = Segmentation(
        (np.ones((2, 2, 2), np.uint8),),
        {"liver": LabelPlace(0, 1)},
        frozenset({"liver", "spleen"}),
        Geometry((2, 2, 2), np.eye(4)),
    )
    assert ModelReading(FakeModel(), output, own, shown).unseen == {"spleen"}, "its own map knows better"
