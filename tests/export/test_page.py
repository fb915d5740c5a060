"""report.html as text: complete, escaped, the same every time, and usable with less."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import radvlm.export.page as page_module
from radvlm.errors import GridError
from radvlm.export import PageOptions, render_page
from radvlm.export.numbers import number_parts
from radvlm.export.regions import Caliper
from radvlm.export.tables import number_text, uncertainty_text
from radvlm.export.view import unpack_hu
from radvlm.types.anatomy import structure
from radvlm.types.finding import Finding, Status
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.region import Region
from radvlm.types.region_map import RegionMap
from radvlm.types.report import NOTICE, Replacement, Report, Sentence
from radvlm.types.volume import Volume

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \"' &amp; ]]> \u2028 {{ 7*7 }}"


class Elements(HTMLParser):
    """Every start tag with its attributes, the text outside scripts, and the raw text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.raw: list[tuple[str, str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        self.words.append("" if tag == "span" else " ")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""
        self.words.append("" if tag == "span" else " ")

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.raw.append((self._open, data))
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.tags if name == tag)


def _render(case, **changes) -> str:
    arguments = {
        "volume": case.volume,
        "regions": case.regions,
        "measurements": case.measurements,
        "manifest": case.manifest,
        **changes,
    }
    return render_page(arguments.pop("report", case.report), **arguments)


def _data(text: str) -> dict:
    return json.loads(re.search(r'id="page-data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def page(case) -> str:
    return _render(case)


def test_everything_is_said(case, page: str) -> None:
    text = Elements(page).text
    for sentence in case.report.sentences:
        assert sentence.text in text
    for words in (
        "Liver lesion 1",
        "Segment VI",
        "33.0 ± 1.5",
        "the patient's sex and height are not known",
        "Example Society guideline 2020, table 2",
        "One crumb of 2 voxels was ignored.",
        "abababababab",
        "cut by the field of view: inferior, superior",
        "model, p 0.64",
        "120 × 90 × 36 voxels",
        "Gallstone, renal stone",
    ):
        assert words in text, words
    assert text.count(NOTICE) == 2
    assert text.index("Impression") < text.index("Findings")
    below = Elements(_render(case, options=PageOptions(impression_first=False))).text
    assert below.index("Findings") < below.index("Impression")


def test_headings_and_landmarks(page: str) -> None:
    parsed = Elements(page)
    assert parsed.count("h1") == 1 and parsed.count("main") == 1
    assert ("html", {"lang": "en"}) in parsed.tags
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labeled = [attrs["aria-labelledby"] for _, attrs in parsed.tags if "aria-labelledby" in attrs]
    assert set(labeled) <= set(ids)


def test_policy_names_exactly_the_script_and_style_of_the_page(page: str) -> None:
    parsed = Elements(page)
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "unsafe" not in policy and "default-src 'none'" in policy
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    for name, text in (("script-src", script[0]), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    for tag, attrs in parsed.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
        for name in ("src", "href", "action", "data", "srcset"):
            assert not re.match(r"(?i)\s*(https?:|//|javascript:|file:)", attrs.get(name) or ""), (tag, attrs)


def test_same_input_same_page(case, page: str) -> None:
    assert _render(case) == page


@pytest.mark.slow
def test_embedded_ct_is_the_scan(case, page: str) -> None:
    data = _data(page)
    text = re.search(r'id="hu-data">(.*?)</script>', page, re.DOTALL)[1]
    assert data["view"]["shape"] == [120, 90, 36] and data["view"]["step"] == 1
    corner = unpack_hu(text, (120, 90, 36), 1)[:3, :, :]
    assert (corner == case.volume.hu.transpose(2, 1, 0)[:3]).all()


def test_regions_calipers_and_windows_reach_the_viewer(case, page: str) -> None:
    data = _data(page)
    by_id = {r["id"]: r for r in data["regions"]}
    lesion = by_id["liver_lesion/1"]
    assert lesion["home"] == [95, 42, 17] and lesion["group"] == "lesion" and not lesion["model"]
    assert set(by_id["liver"]["labels"]) == {case.regions.row("liver").label, *case.regions.row("liver").also}
    order = [r["id"] for r in data["regions"]]
    said = [[order[n] for n in s["regions"]] for s in data["sentences"]]
    assert said == [[r.id for r in s.regions] for s in case.report.sentences]
    assert [s["window"] for s in data["sentences"]] == [
        "soft",
        "lung",
        "liver",
        "liver",
        "liver",
        "soft",
        "soft",
        "soft",
        "soft",
        "soft",
        "bone",
        "liver",
        "soft",
    ]
    axis = next(c for c in data["calipers"] if order[c["region"]] == "liver_lesion/1" and c["words"] == "long axis")
    assert (axis["a"], axis["b"], axis["slice"], axis["label"]) == ([89.5, 42, 17], [100.5, 42, 17], 17, "33.0 mm")


def test_reduced_page_keeps_places_in_mm(case) -> None:
    data = _data(_render(case, options=PageOptions(max_in_plane=60, max_slices=18)))
    view = data["view"]
    assert view["factors"] == [2, 2, 2] and view["shape"] == [60, 45, 18]
    order = [r["id"] for r in data["regions"]]
    line = next(c for c in data["calipers"] if order[c["region"]] == "liver_lesion/1" and c["words"] == "long axis")
    ends = [np.array(view["affine"]) @ [*line[end], 1] for end in "ab"]
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(33.0, abs=0.01)
    assert np.allclose((ends[0] + ends[1])[:3] / 2, case.volume.geometry.to_world([95, 42, 17]), atol=0.01)
    assert line["slice"] == 8


def test_hostile_text_stays_text(case, make, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    words = replace(structure("spleen"), words=HOSTILE)
    for module in (page_module, page_module.tables):
        monkeypatch.setattr(module, "structure", lambda name: words if name == "spleen" else structure(name))
    monkeypatch.setattr("radvlm.export.regions.structure", lambda name: words if name == "spleen" else structure(name))
    evil = make(HOSTILE)
    report = replace(
        evil.report,
        examination=((HOSTILE, HOSTILE),),
        replacements=(Replacement(HOSTILE, HOSTILE, HOSTILE),),
        provenance={"warnings": [HOSTILE], HOSTILE: HOSTILE},
    )
    volume = Volume(
        evil.volume.hu,
        evil.volume.geometry,
        stored_axes="RAS",
        sources=(SourceFile(HOSTILE, 1, HOSTILE),),
        decisions=(Decision(HOSTILE, HOSTILE, True),),
    )
    manifest = {
        "radvlm": HOSTILE,
        "inputs": [{"role": HOSTILE, "name": HOSTILE, "size_bytes": 3, "sha256": HOSTILE}],
        "decisions": [{"step": HOSTILE, "what": HOSTILE, "warning": True}],
        HOSTILE: {HOSTILE: [HOSTILE]},
        "searched": [HOSTILE],
        "configuration": {HOSTILE: HOSTILE},
    }
    text = render_page(
        report,
        volume=volume,
        regions=evil.regions,
        measurements=evil.measurements,
        manifest=manifest,
        options=PageOptions(title=HOSTILE),
    )
    parsed, plain = Elements(text), Elements(page)
    assert "<script>alert" not in text and "<img" not in text and "<!--" not in text
    assert parsed.count("script") == plain.count("script")
    assert parsed.count("img") == 0
    assert " ".join(HOSTILE.split()) in parsed.text
    assert "49" not in parsed.text.split("{{ 7*7 }}")[0][-20:]
    assert any(HOSTILE.lower() in r["name"].lower() for r in _data(text)["regions"])


@pytest.mark.parametrize("missing", ["volume", "regions", "measurements", "manifest"])
def test_page_without_one_input(case, missing: str) -> None:
    text = _render(case, **{missing: None})
    words = Elements(text).text
    assert all(s.text in words for s in case.report.sentences)
    data = _data(text)
    if missing == "volume":
        assert "regions are drawn without it" in words and data["view"]["step"] == 0
        assert 'id="hu-data"' not in text and 'id="label-data"' in text
    if missing == "regions":
        assert "shown by the box around it" in words
        assert all(r["labels"] == [] and r["box"] for r in data["regions"])
    if missing == "measurements":
        assert "Numbers that the report cites" in words and "33.0 mm" in words
    if missing == "manifest":
        assert "Read as int16." in words


def test_page_of_a_report_alone(case) -> None:
    text = render_page(case.report, volume=None, regions=None, measurements=None)
    parsed = Elements(text)
    assert "No images" in parsed.text
    assert parsed.count("canvas") == 0 and parsed.count("image") == 0
    assert _data(text)["view"] is None


def test_empty_report_is_a_page() -> None:
    text = render_page(Report((), ()), volume=None, regions=None, measurements=None)
    assert "Nothing was measured." in Elements(text).text


def test_regions_of_another_grid_are_refused(case) -> None:
    geometry = Geometry(case.volume.geometry.shape, np.diag([1.0, 1, 1, 1]))
    other = RegionMap(case.regions.labels, geometry, case.regions.rows)
    with pytest.raises(GridError):
        _render(case, regions=other)


def test_limits_of_key_images(case) -> None:
    assert "Key images" not in Elements(_render(case, options=PageOptions(key_images=0))).text
    parsed = Elements(_render(case, options=PageOptions(key_images=1)))
    assert parsed.count("image") == 1
    (label,) = [a["aria-label"] for t, a in parsed.tags if t == "svg"]
    assert label == "Axial slice 18: Liver lesion 1, segment VI, 33 × 27 mm"


def test_size_of_a_small_page(page: str) -> None:
    assert len(page.encode()) < 1_500_000


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (23.44, "mm", "23.4"),
        (-0.04, "mm", "0.0"),
        (-12.3, "HU", "−12"),
        (-0.3, "HU", "0"),
        (1430.4, "mL", "1430"),
        (12.34, "mL", "12.3"),
        (1.234, "mL", "1.23"),
        (0.0123, "mL", "0.012"),
        (3, "1", "3"),
        (0.7, "1", "0.70"),
        (5.25, "degree", "5.3"),
    ],
)
def test_numbers_are_printed_with_sense(value: float, unit: str, text: str) -> None:
    assert number_text(value, unit) == text


def test_uncertainties_are_printed_with_sense() -> None:
    given = ((0.412, "mL"), (1.5, "mm"), (51.6, "mL"), (0.34, "mm"))
    assert [uncertainty_text(value, unit) for value, unit in given] == ["0.41", "1.5", "52", "0.3"]


def test_missing_number_carries_its_reason(case, page: str) -> None:
    assert "not measured: cut by the field of view" in html.unescape(page)


@pytest.mark.parametrize("shape", [(1, 1, 1), (700, 3, 1), (5, 4, 330)])
def test_odd_shapes_make_a_page(case, shape: tuple[int, int, int]) -> None:
    volume = Volume(np.full(shape, 40, np.float32), Geometry(shape, np.eye(4)))
    data = _data(render_page(Report((), ()), volume=volume, regions=None, measurements=None))
    assert data["view"]["native"] == list(shape)
    assert all(s * f >= n for s, f, n in zip(data["view"]["shape"], data["view"]["factors"], shape, strict=True))
    assert max(data["view"]["shape"]) <= 350


def test_a_report_of_schema_1_has_a_page() -> None:
    archived = Path(__file__).parents[1] / "types" / "data" / "report_schema1.json"
    report = Report.from_json(archived.read_text(encoding="utf-8"))
    text = html.unescape(render_page(report, volume=None, regions=None, measurements=None))
    assert all(s.text in text for s in report.sentences)
    assert "enlarged" in text and "Splenomegaly (" in text


def test_numbers_of_a_sentence_lead_to_what_was_measured() -> None:
    ends = ((0.0, 0.0, 0.0), (23.0, 0.0, 0.0))
    numbers = (
        Measurement("long_axis", 23.0, "hull", None, "liver_lesion/1", ends, 4),
        Measurement("short_axis", 9.0, "chord", None, "liver_lesion/1", ends, 4),
        Measurement("mean_hu", 45.0, "mean", None, "liver_lesion/1"),
    )
    region = Region("liver_lesion/1", "liver_lesion", Box((0, 0, 0), (9, 9, 9)), 50, 3.0, (0.0, 0.0, 0.0), (4, 4, 4))
    lesion = Finding("F1", "liver_lesion", Status.PRESENT, "liver", "liver", (region,), numbers)
    lines = [Caliper("liver_lesion/1", m.quantity, m.value, "mm", (0, 0, 4), (23, 0, 4), 4) for m in numbers[:2]]
    parts = number_parts(
        Sentence("2.3 x 0.9 cm liver lesion in segment VI, 45 HU.", "liver", (lesion,)), lines, {"liver_lesion/1": 0}
    )
    assert [(p.text, p.caliper, p.region) for p in parts] == [
        ("2.3 x 0.9 cm", 0, 0),
        (" liver lesion in segment VI, ", None, None),
        ("45 HU", None, 0),
        (".", None, None),
    ]
