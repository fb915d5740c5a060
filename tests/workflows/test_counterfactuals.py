"""One change of a scan changes exactly what depends on it: a lesion less, a mirror, another attenuation or age."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, make_phantom
from radvlm.quantify import measure_scan
from radvlm.types.anatomy import structures
from radvlm.types.finding import Finding, citable
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume

pytestmark = pytest.mark.slow
#: Judged or measured from one side of the body, or of a pair as that of its first organ.
_OF_ONE_SIDE = ("liver_length", "kidney_asymmetry")
_MEASURED_FROM_A_SIDE = ("extent", "midclavicular", "portal", "splenic", "right_branch", "left_branch", "trunk")
ADULT = Patient(sex="F", age_years=63)


@pytest.fixture(scope="module")
def case() -> Phantom:
    lesions = (LesionSpec("kidney_cyst", 20.0, "left"), LesionSpec("liver_cyst", 28.0))
    spec = PhantomSpec(seed=5, region="abdomen", spacing_mm=(5.0, 5.0, 5.0), phase="non-contrast", lesions=lesions)
    return make_phantom(spec)


def _report(volume: Volume, masks: Segmentation) -> Report:
    return compose_report(interpret(measure_scan(volume, masks), patient=ADULT))


@pytest.fixture(scope="module")
def numbers(case: Phantom) -> Measurements:
    return measure_scan(case.volume, case.segmentation)


@pytest.fixture(scope="module")
def report(numbers: Measurements) -> Report:
    return compose_report(interpret(numbers, patient=ADULT))


def _facts(findings: tuple[Finding, ...], swap: bool = False) -> Counter[tuple[str, ...]]:
    """What findings say, without their ids and places on the grid."""

    def other(name: str) -> str:
        return _swapped(name) if swap and (not name or _swapped(name) in structures()) else name

    return Counter(
        (
            other(c.kind),
            str(c.status),
            other(c.site),
            *sorted(
                f"{m.quantity} {m.value:.1f} {m.unit}"
                for m in c.measurements
                if not m.quantity.startswith(_MEASURED_FROM_A_SIDE)
            ),
        )
        for c in citable(findings)
        if c.kind not in _OF_ONE_SIDE
    )


def _swapped(text: str) -> str:
    sides = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"left|right|Left|Right", lambda m: sides[m.group()], text)


def _without(masks: Segmentation, name: str) -> Segmentation:
    place = masks.places[name]
    layers = list(masks.layers)
    layers[place.layer] = np.where(layers[place.layer] == place.label, 0, layers[place.layer]).astype(np.uint8)
    return replace(masks, layers=tuple(layers), places={n: p for n, p in masks.places.items() if n != name})


def test_a_deleted_lesion_takes_exactly_its_sentences_with_it(case: Phantom, report: Report) -> None:
    for name, words in (("kidney_cyst_left", "left renal cyst"), ("liver_cyst", "hepatic cyst")):
        less = _report(case.volume, _without(case.segmentation, name))
        own = {f.id for f in report.findings if f.kind == name} | {
            a.id for f in report.findings if f.kind == name for a in f.assessments
        }
        stays = {s.text for s in report.sentences if not own & set(s.finding_ids)}
        now = {s.text for s in less.sentences}
        said = "\n".join(sorted(now))
        assert "No" in said and re.search(rf"No [^.]*{words.removeprefix('left ')}[^.]* segmented", said), name
        missing = {t for t in stays - now if "cyst" not in t and not t.startswith("No ")}
        assert not missing, missing
        assert not [
            s.text for s in less.sentences if any(f.kind == name and f.status.value != "absent" for f in s.findings)
        ]


def test_a_mirrored_scan_changes_exactly_the_sides(case: Phantom, report: Report) -> None:
    volume = replace(case.volume, hu=np.ascontiguousarray(case.volume.hu[::-1]))
    names = set(structures())
    places = {_swapped(n) if _swapped(n) in names else n: p for n, p in case.segmentation.places.items()}
    searched = frozenset(_swapped(n) if _swapped(n) in names else n for n in case.segmentation.searched)
    layers = tuple(np.ascontiguousarray(layer[::-1]) for layer in case.segmentation.layers)
    masks = replace(case.segmentation, layers=layers, places=places, searched=searched)
    mirrored = _report(volume, masks)
    there, here = _facts(mirrored.findings, swap=True), _facts(report.findings)
    assert there == here, (sorted((there - here).items())[:5], sorted((here - there).items())[:5])
    lesions = ("kidney_cyst_left", "kidney_cyst_right", "liver_cyst")
    told, was = (
        [s.text for s in r.sentences if any(f.kind in lesions and f.regions for f in s.findings)]
        for r in (mirrored, report)
    )
    assert [_swapped(text) for text in told] == was


def test_another_attenuation_of_one_organ_changes_exactly_what_depends_on_it(case: Phantom, report: Report) -> None:
    hu = case.volume.hu.copy()
    hu[case.segmentation.mask("spleen")] += 9
    changed = _report(replace(case.volume, hu=hu), case.segmentation)
    before = {(f.kind, f.site): f for f in report.findings}
    after = {(f.kind, f.site): f for f in changed.findings}
    for key in set(before) | set(after):
        of_spleen = "spleen" in key[1] or key[0] == "contrast_phase"
        one, other = before.get(key), after.get(key)
        about = {a.reference for f in (one, other) if f is not None for a in f.assessments} | {key[1]}
        if not of_spleen and "spleen" not in about:
            assert one is not None and other is not None and _facts((one,)) == _facts((other,)), key
    spleen, now = (r.findings for r in (report, changed))
    means = [
        next(f for f in found if (f.kind, f.site) == ("organ", "spleen")).measurement("mean_hu")
        for found in (spleen, now)
    ]
    assert (
        means[0] is not None and means[1] is not None and means[1].value - means[0].value == pytest.approx(9, abs=0.1)
    )


def test_another_age_and_sex_change_only_judgements(numbers: Measurements, report: Report) -> None:
    for patient in (Patient(sex="M", age_years=63), Patient(sex="F", age_years=20), Patient()):
        other = compose_report(interpret(numbers, patient=patient))
        assert _numbers(other) == _numbers(report)


def _numbers(report: Report) -> Counter[tuple[str, ...]]:
    """All that was measured of organs and lesions, whatever is made of it."""
    return Counter(
        (f.kind, f.site, *sorted(f"{m.quantity} {m.value:.3f}" for m in f.measurements))
        for f in report.findings
        if f.regions and (f.kind == "organ" or f.kind in structures())
    )
