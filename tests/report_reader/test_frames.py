"""Frames of sentences: kind, status, side, place, size, severity, change and span, one row a sentence."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import InputError
from radvlm.report_reader.frame import Frame
from radvlm.report_reader.frames import read_frames
from radvlm.report_reader.lexicon import expand, load_lexicon
from radvlm.report_reader.report_text import find_sections
from radvlm.report_reader.sentences import sentences

#: text -> kind, and what else has to hold of the first frame of that kind.
ROWS: list[tuple[str, str, dict[str, object]]] = [
    ("1. Critical: Left pneumothorax, 300 mL.", "pneumothorax", {"sides": {"left"}, "grade": None}),
    ("Urgent, if confirmed: Liver abscess.", "liver_abscess", {"grade": None}),
    (
        "A 2.3 x 1.8 cm mass in the left lower lobe.",
        "lung_mass",
        {"sizes_mm": (23.0, 18.0), "sides": {"left"}, "locations": {"lower_lobe"}},
    ),
    (
        "13x9.3 mm lymph node in the right paratracheal area",
        "lymph_node",
        {"sizes_mm": (13.0, 9.3), "locations": {"paratracheal"}, "sides": {"right"}},
    ),
    ("Nodules measuring up to 1,5 cm in both lungs.", "lung_nodule", {"sizes_mm": (15.0,), "sides": {"left", "right"}}),
    (
        "Nodule measuring 4 - 6 mm in the lingula.",
        "lung_nodule",
        {"sizes_mm": (6.0,), "sides": {"left"}, "locations": {"lingula"}},
    ),
    (
        "4.2 x 3.1 x 2.8 cm hypodense lesion in hepatic segment VII.",
        "liver_lesion",
        {"sizes_mm": (42.0, 31.0, 28.0), "locations": {"liver_segment_7"}},
    ),
    ("RUL nodule, 7mm.", "lung_nodule", {"sizes_mm": (7.0,), "sides": {"right"}, "locations": {"upper_lobe"}}),
    (
        "There is a mass in the uncinate process of the pancreas measuring 3 cm.",
        "pancreatic_mass",
        {"sizes_mm": (30.0,), "locations": {"pancreas_head"}},
    ),
    (
        "Nonobstructing 4 mm calculus in the lower pole of the right kidney.",
        "kidney_stone",
        {"sizes_mm": (4.0,), "sides": {"right"}, "locations": {"kidney_lower_pole"}},
    ),
    ("Compression fracture of L1, severe.", "fracture", {"locations": {"L1"}, "grade": 4.0}),
    ("Mild to moderate bilateral pleural effusions.", "pleural_effusion", {"grade": 2.25, "sides": {"left", "right"}}),
    (
        "Trace right pleural effusion, decreased from prior.",
        "pleural_effusion",
        {"grade": 1.0, "sides": {"right"}, "change": "decreased"},
    ),
    (
        "Small left effusion with adjacent right lower lobe atelectasis.",
        "pleural_effusion",
        {"grade": 1.5, "sides": {"left"}},
    ),
    (
        "Small left effusion with moderate right lower lobe atelectasis.",
        "atelectasis",
        {"grade": 3.0, "sides": {"right"}, "locations": {"lower_lobe"}},
    ),
    ("New 9 mm nodule in the left upper lobe.", "lung_nodule", {"change": "new"}),
    ("Nodule in the left upper lobe, unchanged since 2019.", "lung_nodule", {"change": "stable"}),
    (
        "No significant interval change in the 6 mm right lower lobe nodule.",
        "lung_nodule",
        {"change": "stable", "status": "present"},
    ),
    (
        "The right upper lobe nodule has increased in size, now 14 mm (previously 9 mm).",
        "lung_nodule",
        {"change": "increased", "sizes_mm": (14.0,)},
    ),
    (
        "There is a lesion in the pancreatic head. It measures 2.1 cm. This lesion is new compared with 2020.",
        "pancreatic_lesion",
        {"sizes_mm": (21.0,), "change": "new"},
    ),
    ("Multiple hepatic cysts. The largest measures 4 cm.", "liver_cyst", {"sizes_mm": (40.0,)}),
    ("The liver is normal in size. There is a 2 cm cyst.", "liver_cyst", {"sizes_mm": (20.0,)}),
    (
        "Right kidney: 2.4 cm exophytic cyst, upper pole.",
        "kidney_cyst",
        {"sides": {"right"}, "locations": {"kidney_upper_pole"}, "sizes_mm": (24.0,)},
    ),
    (
        "Atelectasis and consolidation in the left lower lobe.",
        "atelectasis",
        {"sides": {"left"}, "locations": {"lower_lobe"}},
    ),
    (
        "Mild right hydronephrosis secondary to a 5 mm calculus at the right ureterovesical junction.",
        "hydronephrosis",
        {"sizes_mm": (), "grade": 1.5},
    ),
    ("Subcentimetre mediastinal lymph nodes.", "lymph_node", {"small": True}),
    ("Lymph nodes smaller than 1 cm in the axilla.", "lymph_node", {"small": True}),
    ("Endotracheal tube tip is 3 cm above the carina.", "device", {"sizes_mm": ()}),
    ("Mass in the right lower lobe, series 4 image 56.", "lung_mass", {"sizes_mm": ()}),
    ("Patient with a history of lung cancer.", "lung_mass", {"status": "history"}),
    ("Evaluate for pulmonary embolism.", "pulmonary_embolism", {"status": "hypothetical"}),
    ("S/p repair of abdominal aortic aneurysm.", "abdominal_aortic_aneurysm", {"status": "history"}),
    # a question mark opens or ends what it doubts, and nothing beyond a comma
    ("?Pneumonia in the right lower lobe.", "pneumonia", {"status": "uncertain"}),
    ("Opacity in the right lower lobe (?pneumonia).", "pneumonia", {"status": "uncertain"}),
    ("Emphysema and atelectasis of both lungs, ?pneumonia.", "pneumonia", {"status": "uncertain"}),
    ("Emphysema and atelectasis of both lungs, ?pneumonia.", "emphysema", {"status": "present"}),
    ("Pneumonia?", "pneumonia", {"status": "uncertain"}),
    # ... which may stand six words after it
    ("Nodule of the right upper lobe posteriorly?", "lung_nodule", {"status": "uncertain"}),
    ("Nodule of the right upper lobe posteriorly again?", "lung_nodule", {"status": "present"}),
    # a doubt that the same sentence settles
    ("Pneumonia, suspected clinically, was ruled out.", "pneumonia", {"status": "absent"}),
    ("Pneumonia is suspected and not seen.", "pneumonia", {"status": "absent"}),
    ("Pneumonia is suspected.", "pneumonia", {"status": "uncertain"}),
    # a kind with a home of its own takes no place elsewhere
    ("Bronchiectasis in the left lower lobe.", "bronchiectasis", {"sides": {"left"}, "locations": {"lower_lobe"}}),
    ("Emphysema in both upper lobes.", "emphysema", {"locations": {"upper_lobe"}, "sides": {"left", "right"}}),
    ("Left pleural effusion with collapse of the lower lobe.", "pleural_effusion", {"locations": set()}),
    # of two organs named before it, the nearer one has it
    ("Liver and spleen: 2 cm cyst.", "liver_cyst", {"sizes_mm": (20.0,)}),
    ("In the liver, as in the left kidney, a 2 cm cyst.", "kidney_cyst", {"sides": {"left"}, "sizes_mm": (20.0,)}),
    # a place before it, two words away, comes before one that follows
    ("Hepatic surface omental cyst near the spleen.", "liver_cyst", {"site": "liver"}),
    ("Hepatic surface omental cyst at the spleen.", "liver_cyst", {"site": "liver"}),
    # ... and when the nearer one has no name for it, it is not of the farther one
    ("The liver is normal; the stomach is normal; a 2 cm cyst is seen.", "cyst", {"site": "", "sizes_mm": (20.0,)}),
    # an organ inside the name of another finding is not the place of this one
    ("No mass or adrenal nodularity in the liver.", "liver_tumor", {"status": "absent", "site": "liver"}),
    ("Mass and adrenal nodularity.", "mass", {"site": ""}),
    # a place of another organ is what it touches, not where it is
    ("Hepatic cyst reaching the right lower lobe.", "liver_cyst", {"locations": set()}),
    ("Cardiomegaly compressing the left lower lobe.", "cardiomegaly", {"locations": set()}),
    ("Bronchiectasis next to segment VI of the liver.", "bronchiectasis", {"locations": set()}),
]


@pytest.mark.parametrize(("text", "kind", "wanted"), ROWS)
def test_frame(text: str, kind: str, wanted: dict[str, object]) -> None:
    frame = next((f for f in read_frames(text).frames if f.kind == kind), None)
    assert frame is not None, [f.kind for f in read_frames(text).frames]
    got = {name: getattr(frame, name) for name in wanted}
    assert got == {name: frozenset(value) if isinstance(value, set) else value for name, value in wanted.items()}


def test_a_list_of_sizes_and_places_is_several_findings() -> None:
    frames = read_frames("Two hepatic cysts: 3.2 x 2.7 cm in segment VII, 5 HU; 1.8 x 1.4 cm in segment II.").frames
    assert [(f.kind, f.sizes_mm, set(f.locations)) for f in frames] == [
        ("liver_cyst", (32.0, 27.0), {"liver_segment_7"}),
        ("liver_cyst", (18.0, 14.0), {"liver_segment_2"}),
    ]
    nodules = read_frames("Nodules measuring 5 mm in the right upper lobe and 8 mm in the left lower lobe.").frames
    assert [(f.sizes_mm, set(f.sides)) for f in nodules] == [((5.0,), {"right"}), ((8.0,), {"left"})]
    one = read_frames("Cyst in the right kidney measuring 4 cm in length and 2 cm in width.").frames
    assert [f.sizes_mm for f in one] == [(40.0,)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [  # sides, severity, sizes of each finding
        ("Small right and large left pleural effusion.", [("right", 1.5, ()), ("left", 4.0, ())]),
        ("Large left, small right pleural effusion.", [("left", 4.0, ()), ("right", 1.5, ())]),
        ("Pleural effusions, moderate on the left and small on the right.", [("left", 3.0, ()), ("right", 1.5, ())]),
        ("Trace right pleural effusion and moderate left.", [("right", 1.0, ()), ("left", 3.0, ())]),
        ("A 9 mm right and a 2 cm left adrenal nodule.", [("right", None, (9.0,)), ("left", None, (20.0,))]),
        # nothing tells the sides apart: one finding of both
        ("Small right and small left pleural effusion.", [("left right", 1.5, ())]),
        ("Small right and left pleural effusions.", [("left right", 1.5, ())]),
        ("Mild to moderate bilateral pleural effusions, right and left.", [("left right", 2.25, ())]),
        # one side: a second severity is of no other
        ("Small and later large left pleural effusion.", [("left", 4.0, ())]),
    ],
)
def test_sides_that_are_described_apart_are_findings_apart(
    text: str, wanted: list[tuple[str, float | None, tuple[float, ...]]]
) -> None:
    assert [(" ".join(sorted(f.sides)), f.grade, f.sizes_mm) for f in read_frames(text).frames] == wanted


def test_sides_described_apart_keep_their_own_place_and_change() -> None:
    right, left = read_frames("Mild right upper lobe and severe left lower lobe atelectasis.").frames
    assert (right.locations, left.locations) == (frozenset({"upper_lobe"}), frozenset({"lower_lobe"}))
    right, left = read_frames("New right and stable left pleural effusion.").frames
    assert [(set(f.sides), f.change) for f in (right, left)] == [({"right"}, "new"), ({"left"}, "stable")]


def test_spans_point_at_the_words() -> None:
    text = (
        "FINDINGS: The lungs are clear.\nSmall LEFT Pleural Effusion, new since the prior examination.\n"
        "IMPRESSION:\n1. Small left effusion."
    )
    frames = read_frames(text).frames
    assert [text[f.start : f.stop] for f in frames] == ["Pleural Effusion", "effusion"]
    assert text[slice(*frames[0].change_span)] == "new since" or text[slice(*frames[0].change_span)].startswith("new")
    assert [f.section for f in frames] == ["findings", "impression"]
    assert text[slice(*frames[0].sentence)].strip().startswith("Small LEFT")


def test_sections_that_state_nothing_are_left_out() -> None:
    text = (
        "EXAM: CT chest\nCLINICAL HISTORY: pneumonia, r/o PE\nTECHNIQUE: 5 mm slices\n"
        "COMPARISON: nodule on CT of 2020\n\n"
        "FINDINGS: Emphysema.\nIMPRESSION: 1. Emphysema.\n2. No PE."
    )
    assert {f.kind for f in read_frames(text).frames} == {"emphysema", "pulmonary_embolism"}
    one_line = "Indication: suspected appendicitis. Findings: Gallstones. Impression: Gallstones."
    assert [f.kind for f in read_frames(one_line).frames] == ["gallstone", "gallstone"]
    no_findings_heading = "INDICATION: pneumonia\n\nSmall pleural effusion."
    assert [f.kind for f in read_frames(no_findings_heading).frames] == ["pleural_effusion"]
    organ_heading = "HISTORY: lymphoma\nLiver: Steatosis."
    assert [f.kind for f in read_frames(organ_heading).frames] == ["hepatic_steatosis"]
    organs = "HISTORY: lymphoma\nLiver: Steatosis.\n\nSpleen: 2 cm cyst."
    assert [f.kind for f in read_frames(organs).frames] == ["hepatic_steatosis", "spleen_lesion"]


def test_a_section_is_its_words_without_heading_and_blanks() -> None:
    text = "HISTORY:  Cough. \n\nFINDINGS:\n  Clear lungs.\nNo effusion.\n\nIMPRESSION:\n"
    assert [(s.name, text[s.start : s.stop]) for s in find_sections(text)] == [
        ("history", "Cough."),
        ("findings", "Clear lungs.\nNo effusion."),
        ("impression", ""),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Emphysema. It measures 2 cm.", [("emphysema", (20.0,), "")]),
        ("Emphysema. It comes with a new pneumothorax.", [("emphysema", (), ""), ("pneumothorax", (), "new")]),
        ("Emphysema. This is beside a pneumothorax of 2 cm.", [("emphysema", (), ""), ("pneumothorax", (20.0,), "")]),
        ("Emphysema. A cyst of 2 cm.", [("emphysema", (), ""), ("cyst", (20.0,), "")]),
    ],
)
def test_a_sentence_that_names_a_finding_does_not_complete_the_one_before(
    text: str, wanted: list[tuple[str, tuple[float, ...], str]]
) -> None:
    assert [(f.kind, f.sizes_mm, f.change) for f in read_frames(text).frames] == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A 2.5 cm nodule. No effusion.", ["A 2.5 cm nodule.", "No effusion."]),
        ("Nodule of 2.5 cm. in the lung.", ["Nodule of 2.5 cm. in the lung."]),
        ("Cyst, 4.6 cm. 4.5 x 3.7 cm stone.", ["Cyst, 4.6 cm.", "4.5 x 3.7 cm stone."]),
        ("Normal.The liver is large.", ["Normal.", "The liver is large."]),
        ('Effusion. "" Cardiomegaly.""Nodule', ["Effusion.", "Cardiomegaly.", "Nodule"]),
        ("No effusion\nNo nodule\n- cyst", ["No effusion", "No nodule", "- cyst"]),
        (
            "There is a nodule in the right upper lobe, which measures\nabout 5 mm.",
            ["There is a nodule in the right upper lobe, which measures\nabout 5 mm."],
        ),
        ("Known mass of stage\npT2 in the lung. Cyst.", ["Known mass of stage\npT2 in the lung.", "Cyst."]),
        (
            "Mosaic attenuation (small airway disease? small vessel disease?). Cyst.",
            ["Mosaic attenuation (small airway disease? small vessel disease?).", "Cyst."],
        ),
    ],
)
def test_sentences(text: str, wanted: list[str]) -> None:
    assert [text[s.start : s.stop].strip() for s in sentences(text)] == wanted


@pytest.mark.slow
def test_a_run_on_of_a_megabyte_is_read_in_time() -> None:
    text = "nodule, " * 120_000
    spans = sentences(text)
    assert max(s.stop - s.start for s in spans) <= 1500
    assert spans[0].start == 0 and all(a.stop == b.start for a, b in itertools.pairwise(spans))
    assert len(read_frames(text).frames) == 120_000


def test_a_turkish_capital_does_not_shift_spans() -> None:
    text = "İİİ. Small pleural effusion."
    frame = read_frames(text).frames[0]
    assert text[frame.start : frame.stop] == "pleural effusion"


_WORDS = [
    *("no", "without", "nodule", "effusion", ",", ".", ";", ":", "(", ")", "?", "and", "or", "with", "right", "left"),
    *("5", "mm", "x", "3", "cm", "liver", "the", "is", "not", "seen", "new"),
]


@settings(max_examples=60)
@given(st.text(max_size=300) | st.lists(st.sampled_from([*_WORDS, "\n"]), max_size=60).map(" ".join))
def test_any_text_is_read_and_spans_stay_inside(text: str) -> None:
    reading = read_frames(text)
    for frame in reading.frames:
        assert 0 <= frame.start <= frame.stop <= len(text)
        assert frame.status in ("present", "absent", "uncertain", "history", "hypothetical")
    assert read_frames(text) == reading


def test_reading_again_in_another_context_is_not_confused_by_the_cache() -> None:
    assert [f.kind for f in read_frames("The pancreas is seen. There is a 2 cm cyst.").frames] == ["pancreatic_cyst"]
    assert [f.kind for f in read_frames("The liver is seen. There is a 2 cm cyst.").frames] == ["liver_cyst"]
    assert [f.kind for f in read_frames("Kidneys: There is a 2 cm cyst.").frames] == ["kidney_cyst"]


def test_a_users_lexicon_adds_terms_kinds_and_schemes(tmp_path: Path) -> None:
    extra = tmp_path / "mine.json"
    extra.write_text(
        json.dumps(
            {
                "findings": {
                    "kinds": {
                        "left_sided_svc": {
                            "words": "left-sided SVC",
                            "home": "vein",
                            "family": "left_sided_svc",
                            "terms": ["left {sided|} svc", "persistent left svc"],
                        },
                        "emphysema": {"terms": ["vanishing lung"]},
                    }
                },
                "schemes": {"mine": {"labels": {"Variant": ["left_sided_svc"], "Emphysema": ["emphysema"]}}},
            }
        )
    )
    from radvlm.report_reader.labels import label_report

    lexicon = load_lexicon(extra)
    assert label_report("Persistent left SVC. Vanishing lung.", "mine", lexicon) == {
        "Variant": "present",
        "Emphysema": "present",
    }
    assert label_report("No left-sided SVC.", "mine", lexicon)["Variant"] == "absent"
    assert lexicon.digest != load_lexicon().digest
    assert label_report("Vanishing lung.", "ct-rate")["Emphysema"] == "not mentioned"


@pytest.mark.parametrize(
    "content", ["not json", '{"unknown": {}}', '{"schemes": {"x": {"labels": {"A": ["no_such_kind"]}}}}']
)
def test_a_bad_lexicon_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError):
        load_lexicon(path)


def test_an_unknown_scheme_is_one_clear_error() -> None:
    from radvlm.report_reader.labels import label_report

    with pytest.raises(InputError, match="label scheme"):
        label_report("Normal.", "chexpert")


def test_terms_expand() -> None:
    assert expand("a {b|c|} d") == ["a b d", "a c d", "a d"]
    assert expand("{a {b|c}|d}") == ["a b", "a c", "d"]


def test_every_site_names_known_structures_and_every_kind_has_a_home() -> None:
    from radvlm.types.anatomy import structures

    lexicon = load_lexicon()
    for site in lexicon.sites.values():
        assert set(site.structures) <= set(structures()), site.id
    for kind in lexicon.kinds.values():
        assert kind.home == "" or kind.home in lexicon.sites, kind.id
        assert set(kind.normal) <= set(lexicon.sites)


def test_frames_are_plain_values() -> None:
    assert Frame("ascites", "present", "peritoneum") == Frame("ascites", "present", "peritoneum")
    assert Frame("ascites", "present", "peritoneum").size_mm is None
