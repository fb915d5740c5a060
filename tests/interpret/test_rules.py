"""thresholds.yaml is read strictly, can be extended, and docs/rules.md is written from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from radvlm.errors import FileFormatError, InputError
from radvlm.interpret import load_rules, rules_markdown
from radvlm.types.urgency import Urgency, importance, urgency_of

ROOT = Path(__file__).parents[2]
RULE = {
    "id": "my_rule",
    "finding": "big_spleen",
    "words": "spleen size",
    "level": "structure",
    "structures": ["spleen"],
    "quantity": "volume",
    "unit": "mL",
    "classes": [{"below": 300}, {"category": "big"}],
    "source": "ours",
    "certainty": "medium",
}


def _write(tmp_path: Path, **data: object) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"version": 1, **data}), encoding="utf-8")
    return path


def test_docs_are_in_step_with_the_rules() -> None:
    """Run `python -c "..."` as in docs/rules.md's head when this fails: the document is generated."""
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == rules_markdown(load_rules())


def test_every_rule_names_its_source_and_certainty() -> None:
    rules = load_rules().rules
    assert len(rules) >= 15
    assert all(len(rule.source) > 10 and rule.certainty in ("high", "medium", "uncertain") for rule in rules)


@pytest.mark.parametrize(
    ("rule_id", "value", "category", "status"),
    [
        ("spleen_volume", 106, "small for an adult", "present"),
        ("spleen_volume", 107, "normal in size", "absent"),
        ("spleen_volume", 314, "normal in size", "absent"),
        ("spleen_volume", 315, "above the usual volume, not clearly enlarged", "indeterminate"),
        ("spleen_volume", 430, "above the usual volume, not clearly enlarged", "indeterminate"),
        ("spleen_volume", 431, "enlarged", "present"),
        ("bowel_diameter_colon", 60, "not dilated", "absent"),
        ("bowel_diameter_colon", 61, "wider than 6 cm, the limit of the colon without the cecum", "indeterminate"),
        ("bowel_diameter_colon", 90, "wider than 6 cm, the limit of the colon without the cecum", "indeterminate"),
        ("bowel_diameter_colon", 91, "dilated", "present"),
        ("nodule_attenuation_type", 5, "ground-glass", "present"),
        ("nodule_attenuation_type", 6, "part-solid", "present"),
        ("trachea_shape", 0.5, "narrow from side to side, tracheal index {value}", "present"),
        ("trachea_shape", 0.51, "tracheal index {value}, not narrow from side to side", "absent"),
        ("renal_lesion_attenuation", -10.0, None, "present"),
        ("renal_lesion_attenuation", -9.0, "fluid attenuation", "present"),
        ("liver_attenuation", 40, "in the range of moderate to severe steatosis", "present"),
        (
            "liver_attenuation",
            41,
            "between the limits of 40 and 48 HU for moderate to severe steatosis",
            "indeterminate",
        ),
        (
            "liver_attenuation",
            48,
            "between the limits of 40 and 48 HU for moderate to severe steatosis",
            "indeterminate",
        ),
        ("liver_attenuation", 49, "above 48 HU, which does not exclude steatosis", "indeterminate"),
        ("liver_spleen_difference", -10.1, "in the range of steatosis", "present"),
        ("liver_spleen_difference", -10.0, "slightly below the spleen", "indeterminate"),
        ("liver_spleen_difference", 0.0, "not below the spleen", "absent"),
        ("renal_lesion_attenuation", 20.0, "fluid attenuation", "present"),
        ("renal_lesion_attenuation", 21.0, "indeterminate attenuation", "indeterminate"),
        ("renal_lesion_attenuation", 69.0, "indeterminate attenuation", "indeterminate"),
        ("renal_lesion_attenuation", 70.0, "high attenuation", "present"),
        ("adrenal_attenuation", 10.0, "in the attenuation range of a lipid-rich adenoma", "present"),
        ("lymph_node_short_axis", 9.99, "not enlarged by short axis", "absent"),
        ("lymph_node_short_axis", 10.0, "enlarged by short axis", "present"),
        ("abdominal_aorta_diameter", 24.9, "not dilated", "absent"),
        ("abdominal_aorta_diameter", 25.0, "ectatic", "present"),
        ("abdominal_aorta_diameter", 30.0, "aneurysmal", "present"),
        ("descending_aorta_diameter", 34, "not dilated", "absent"),
        ("descending_aorta_diameter", 35, "dilated", "present"),
        ("descending_aorta_diameter", 39, "dilated", "present"),
        ("descending_aorta_diameter", 40, "aneurysmal", "present"),
        ("iliac_artery_diameter:M", 18, "ectatic", "present"),
        ("iliac_artery_diameter:M", 19, "aneurysmal", "present"),
        ("iliac_artery_diameter:F", 15, "not aneurysmal", "absent"),
        ("iliac_artery_diameter:F", 16, "aneurysmal", "present"),
        ("fleischner_size", 8.0, "6 to 8 mm by mean diameter", "present"),
    ],
)
def test_limits_fall_on_the_published_side(rule_id: str, value: float, category: str | None, status: str) -> None:
    name, _, sex = rule_id.partition(":")
    outcome = next(c for c in load_rules().rule(name).classes_for(sex or None) if c.holds(value))
    assert (outcome.category, outcome.status) == (category, status)


def test_own_file_adds_and_replaces_by_id(tmp_path: Path) -> None:
    own = load_rules(_write(tmp_path, rules=[RULE, {**RULE, "id": "spleen_volume"}]))
    base = load_rules()
    assert own.rule("my_rule").finding == "big_spleen"
    assert own.rule("spleen_volume").source == "ours"
    assert [r.id for r in own.rules] == [*(r.id for r in base.rules), "my_rule"]
    assert base.rule("spleen_volume").source != "ours"


def test_own_urgency_of_lesions_comes_first(tmp_path: Path) -> None:
    own = load_rules(_write(tmp_path, lesion_urgency=[{"structures": ["liver_cyst"], "urgency": "immediate"}]))
    assert (own.urgency_of("liver_cyst"), load_rules().urgency_of("liver_cyst")) == (
        Urgency.IMMEDIATE,
        Urgency.NO_ACTION,
    )
    assert load_rules().urgency_of("peritoneal_lesion") is own.urgency_of("unlisted") is Urgency.DAYS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "red"}, "color"),
        ({"unit": "cm3"}, "measured in mL"),
        ({"quantity": "weight"}, "weight"),
        ({"structures": ["spleeen"]}, "spleeen"),
        ({"structures": []}, "at least one"),
        ({"certainty": "sure"}, "certainty"),
        ({"classes": [{"below": 300, "category": "a"}]}, "last"),
        ({"classes": [{"below": 300}, {"below": 200}, {"category": "x"}]}, "ascend"),
        ({"classes": [{"below": 300, "up_to": 300}, {"category": "x"}]}, "not both"),
        ({"classes": [{"below": float("nan")}, {"category": "x"}]}, "finite"),
        ({"classes": [{"below": 1}, {"category": "x", "urgency": "days"}]}, "headline"),
        ({"classes": [{"below": 1}, {"category": "x", "importance": 5}]}, "`importance` is now `urgency`"),
        ({"classes": [{"category": "x", "urgency": "soon", "headline": "x"}]}, "immediate"),
        ({"classes": [{"below": 1}, {"category": "x", "status": "indeterminate"}]}, "reason"),
        ({"applies_when": {"phases": ["early"]}}, "early"),
        ({"applies_when": {"moon": "full"}}, "moon"),
        ({"level": "pair"}, "two"),
        ({"scale": "bsa"}, "body_size_known"),
        ({"classes_by_sex": {"F": [{"category": "x"}], "M": [{"category": "x"}]}}, "classes"),
        ({"reference": "liver"}, "reference"),
    ],
)
def test_bad_rules_are_refused_with_the_place(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_rules(_write(tmp_path, rules=[{**RULE, **change}]))
    assert "own.yaml" in caught.value.received and caught.value.remedy


def test_bad_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(FileFormatError):
        load_rules(path)
    path.write_text("rules: [", encoding="utf-8")
    with pytest.raises(FileFormatError, match="YAML"):
        load_rules(path)
    path.write_text("just text", encoding="utf-8")
    with pytest.raises(InputError):
        load_rules(path)
    with pytest.raises(InputError, match="unique"):
        load_rules(_write(tmp_path, rules=[RULE, RULE]))
    with pytest.raises(InputError, match="rule is named"):
        load_rules().rule("nothing")


# -- urgency ---------------------------------------------------------------------------------------------------------


def test_no_ratio_reaches_the_next_level_of_urgency() -> None:
    for level in Urgency:
        values = [importance(level, ratio) for ratio in (0.0, 1.0, 1.5, 2.0, 10.0, 1e9)]
        assert {urgency_of(value) for value in values} == {level}
        assert values == sorted(values) and (level is Urgency.NONE or len(set(values)) >= 4)


def test_further_beyond_a_limit_never_comes_later() -> None:
    """Within one urgency of one rule, on the abnormal side, importance rises with the distance from the limit."""
    judged = 0
    for rule in load_rules().rules:
        for classes in filter(None, (rule.classes, *rule.classes_by_sex.values())):
            limits = [c.limit for c in classes if c.limit is not None]
            low, high = min([*limits, 0]) - 60 if rule.unit == "HU" else 0.01, max([*limits, 0]) * 3 + 60
            values = [low + (high - low) * n / 300 for n in range(301)]
            for outwards in (values, values[::-1]):
                end = next(c for c in classes if c.holds(outwards[-1]))
                if end.urgency is Urgency.NONE:
                    continue
                beyond = []
                for value in reversed(outwards):  # from far beyond the limit back to it
                    outcome = next(c for c in classes if c.holds(value))
                    if outcome.urgency is not end.urgency:
                        break
                    beyond.append(importance(outcome.urgency, rule.ratio_to_limit(outcome, value)))
                assert beyond == sorted(beyond, reverse=True), rule.id
                judged += len(beyond)
    assert judged > 500


def test_every_urgency_of_none_has_a_reason() -> None:
    assert [
        (row.structures, bool(row.reason)) for row in load_rules().lesion_urgency if row.urgency is Urgency.NONE
    ] == [(("lymph_node",), True)]


def test_every_rule_says_in_whom_its_limit_was_found_and_certainty_is_earned(tmp_path: Path) -> None:
    for rule in load_rules().rules:
        assert rule.population, rule.id
        assert rule.certainty != "high" or rule.doi or rule.url, rule.id
    with pytest.raises(InputError, match="earned"):
        load_rules(_write(tmp_path, rules=[{**RULE, "certainty": "high", "population": "adults"}]))
    earned = {**RULE, "certainty": "high", "population": "adults", "doi": "10.1000/182"}
    assert load_rules(_write(tmp_path, rules=[earned])).rule("my_rule").doi == "10.1000/182"


def test_certainty_is_one_step_less_while_nobody_saw_the_limit(tmp_path: Path) -> None:
    check = {"day": "2026-11-29", "at": "https://example.org/abstract", "found": "limit and DOI"}
    high = {"certainty": "high", "population": "adults", "doi": "10.1000/182"}
    earned = {
        name: load_rules(_write(tmp_path, rules=[{**RULE, **more}])).rule("my_rule").earned_certainty
        for name, more in {
            "high, from memory": high,
            "medium, from memory": {},
            "high, checked": {**high, "checked": check},
            "high, limit not seen": {**high, "checked": {**check, "limit_seen": False}},
            "convention": {"certainty": "uncertain", "convention": True},
        }.items()
    }
    assert earned == {
        "high, from memory": "medium",
        "medium, from memory": "uncertain",
        "high, checked": "high",
        "high, limit not seen": "medium",
        "convention": "uncertain",
    }
    for wrong in ({"convention": True}, {"certainty": "uncertain", "convention": True, "checked": check}):
        with pytest.raises(InputError, match="convention"):
            load_rules(_write(tmp_path, rules=[{**RULE, **wrong}]))


def test_every_built_in_source_was_looked_up_or_is_a_convention_and_the_docs_say_which() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    for rule in load_rules().rules:
        assert rule.convention != (rule.checked is not None), rule.id
        words = "convention" if rule.convention else "checked" if rule.is_source_checked else "limit not seen"
        assert re.search(rf"^\| {rule.id} \| {rule.earned_certainty} \| .*{words}", text, re.MULTILINE), rule.id


def test_reports_carry_the_certainty_that_was_earned() -> None:
    from radvlm.interpret.assess import reference

    rule = load_rules().rule("spleen_volume_by_weight")
    assert (rule.certainty, rule.is_source_checked, reference(rule).certainty) == ("medium", False, "uncertain")


def test_a_rule_stands_in_for_all_before_it() -> None:
    stands_for = load_rules().alternatives()
    assert stands_for["muscle_area"] == ("muscle_index_from_60", "muscle_index_from_40", "muscle_index")
    assert stands_for["spleen_volume"] == ("spleen_volume_by_weight",)


def test_docs_show_both_sides_of_each_limit_in_the_words_of_reports() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    for words in (
        "| 2.4 cm: not dilated | 2.5 cm: ectatic | 2.5 cm +/- 0.2 cm: ectatic, at or near the limit of 2.5 cm within",
        "| 20 HU: fluid attenuation | 21 HU: indeterminate attenuation |",
        "doi 10.1161/CIR.0000000000001106",
        "out of it: children; heritable aortic disease",
    ):
        assert words in text, words
