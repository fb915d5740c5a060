"""What a model said is fitted to the patient before it reaches a report."""

from __future__ import annotations

import pytest

from radvlm.types.anatomy import structures
from radvlm.types.finding import Status
from radvlm.types.model_output import FindingScore, ModelOutput
from radvlm.types.study import Patient
from radvlm.workflows.model_stage import for_patient

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
