"""Every record of a scan is said, listed with its reason, or of a kind that only the tables hold."""

from __future__ import annotations

import csv
import io

import pytest

import hand_made
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.phantom import Phantom
from radvlm.quantify import measure_scan
from radvlm.types.anatomy import structure, structures
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Measurements
from radvlm.types.study import Patient

ADULT = Patient(sex="F", age_years=63)


#: Measured and tabled, no subject of a sentence.
TABLED = ("body", "cavity", "tissue")


def _lost(report: Report, numbers: Measurements) -> list[str]:
    """Records that are neither cited nor listed. Lesions are told one by one, collections together or one by one."""
    told = {r.id for r in report.regions} | {r.id for f in report.not_assessed for r in f.regions}
    told |= {record.structure for record in numbers.lesions if record.region.id in told}
    kinds = {record.region.id: structure(record.structure).kind for record in (*numbers.structures, *numbers.lesions)}
    return [
        record.region.id
        for record in (*numbers.structures, *numbers.lesions)
        if kinds[record.region.id] not in TABLED
        and record.region.id not in told
        and not (kinds[record.region.id] == "fluid" and record.structure in told)
    ]


def _is_tabled(numbers: Measurements) -> bool:
    """Whether the table has a row for each number and each omission."""
    rows = list(csv.DictReader(io.StringIO(numbers.to_csv())))
    held = [(r.region.id, m.quantity) for r in (*numbers.structures, *numbers.lesions) for m in r.measurements]
    held += [(r.region.id, o.quantity) for r in (*numbers.structures, *numbers.lesions) for o in r.omissions]
    return set(held) <= {(row["region"], row["quantity"]) for row in rows} and all(
        row["value"] or row["reason_missing"] for row in rows
    )


@pytest.mark.parametrize("cut", [(), pytest.param(("inferior",), marks=pytest.mark.slow)])
def test_every_structure_of_the_table_at_once(cut: tuple[str, ...]) -> None:
    names = [n for n, s in structures().items() if s.sex in ("", "F")]
    lesions = [
        hand_made.lesion(name, number, 22.0 - number, 17.0 - number, cut=cut)
        for name in names
        if structure(name).kind in ("lesion", "fluid")
        for number in (1, 2)
    ]
    numbers = hand_made.numbers([hand_made.organ(name, 20.0, cut=cut) for name in names], lesions)
    report = compose_report(interpret(numbers, patient=ADULT))
    assert _lost(report, numbers) == [] and _is_tabled(numbers)


def test_what_is_too_small_for_a_sentence_is_listed_with_its_reason() -> None:
    organs = [hand_made.organ("spleen", 1, voxels=9), hand_made.organ("liver_cyst", 0.01), hand_made.organ("liver")]
    numbers = hand_made.numbers(organs)
    report = compose_report(interpret(numbers, patient=ADULT))
    assert _lost(report, numbers) == []
    assert "- spleen: fewer than 10 voxels are labeled, which may be an error of the masks" in report.text
    assert "- hepatic cyst: only crumbs too small to count as a lesion are labeled" in report.text


@pytest.mark.slow
def test_of_a_phantom_with_many_lesions_nothing_is_lost() -> None:
    case = Phantom.random(1, region="abdomen", spacing_mm=(7.0, 7.0, 7.0), lesions=7)
    numbers = measure_scan(case.volume, case.segmentation)
    report = compose_report(interpret(numbers, patient=case.patient))
    assert _lost(report, numbers) == [] and _is_tabled(numbers)
    assert len(numbers.lesions) >= 3
