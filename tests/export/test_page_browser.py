"""The page in headless Chromium: what a reader sees and does, measured on pixels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.export import PageOptions, render_page
from radvlm.export.windows import WINDOWS, gray_levels

pytestmark = pytest.mark.browser

#: Elements with a text of their own whose contrast to the background is below 4.5 (WCAG 2.2, 1.4.3 AA).
LOW_CONTRAST = """() => {
  const parts = c => c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255);
  const light = c => parts(c).map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, n) => sum + x * [0.2126, 0.7152, 0.0722][n], 0);
  const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)|transparent/.test(c) && !c.startsWith('color(')) return c; } return 'rgb(255,255,255)'; };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = Array.from(e.childNodes).some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.getClientRects().length || e.closest('svg, script, .plane, .loading, noscript')) continue;
    const a = light(getComputedStyle(e).color), b = light(back(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)} ${e.textContent.slice(0, 30)}`);
  }
  return low; }"""
LESION = (95, 42, 17)  # middle of liver_lesion/1 in voxels; its calipers lie on axial slice 17


class Opened:
    """One open page with everything it logged and asked for."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
        self.tab = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", self._log)
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())
        self.ready = self.tab.evaluate("window.radvlmPage.ready")
        self.settle()

    def _log(self, message: Any) -> None:
        if "willReadFrequently" not in message.text:  # these tests read many pixels; the page itself reads none
            self.problems.append(message.text)

    def settle(self) -> None:
        self.tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def state(self) -> dict[str, Any]:
        return self.tab.evaluate("window.radvlmPage.state()")

    def place(self, plane: str, voxel: tuple[int, int, int]) -> dict[str, float]:
        return self.tab.evaluate("([p, v]) => window.radvlmPage.locate(p, v)", [plane, list(voxel)])

    def pixel(self, plane: str, voxel: tuple[int, int, int]) -> list[int]:
        """Color of the canvas at the middle of a voxel."""
        return self.tab.evaluate(
            """([plane, voxel]) => { const c = document.getElementById(plane), r = window.devicePixelRatio;
            const at = window.radvlmPage.locate(plane, voxel); return Array.from(c.getContext("2d").getImageData(
            Math.round(at.x * r - 0.5), Math.round(at.y * r - 0.5), 1, 1).data.slice(0, 3)); }""",
            [plane, list(voxel)],
        )

    def slices(self) -> tuple[int, int, int]:
        """Displayed index along i, j, k as the canvases say."""
        return tuple(int(self.tab.get_attribute(f"#{p}", "data-slice")) for p in ("sagittal", "coronal", "axial"))

    def click_voxel(self, plane: str, voxel: tuple[int, int, int], button: str = "left") -> None:
        self.tab.click(f"#{plane}", position=self.place(plane, voxel), button=button)
        self.settle()

    def choose(self, number: int) -> None:
        self.tab.click(f"#s{number}")
        self.tab.mouse.move(5, 880)
        self.settle()


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Any:
    page = Opened(browser, page_file)
    yield page
    page.context.close()
    assert page.problems == []


@pytest.fixture
def plain(opened: Opened) -> Opened:
    """Without crosshair, calipers and interpolation, so that pixels are voxels."""
    for name in ("cross", "calipers", "smooth"):
        opened.tab.click(f"[data-toggle={name}]")
    opened.settle()
    return opened


def test_page_opens_alone_and_silent(opened: Opened, page_file: Path) -> None:
    assert opened.ready is True
    assert [url for url in opened.requests if not url.startswith("data:")] == [page_file.as_uri()]
    assert opened.tab.is_hidden("#loading")


def test_every_voxel_arrives(opened: Opened, case) -> None:
    random = np.random.default_rng(1)
    for voxel in random.integers(0, case.volume.geometry.shape, (200, 3)).tolist():
        assert opened.tab.evaluate("v => window.radvlmPage.value(v)", voxel) == case.volume.hu[tuple(voxel)]


def test_right_is_left_and_front_is_up(plain: Opened, case) -> None:
    """The liver (patient's right) stands left of the spleen, the spine below; lungs above; front left in sagittal."""
    liver, spleen, spine = (84, 50, 20), (24, 36, 20), (60, 18, 20)
    assert plain.place("axial", liver)["x"] < plain.place("axial", spleen)["x"]
    assert plain.place("axial", spine)["y"] > plain.place("axial", liver)["y"]
    assert plain.place("coronal", liver)["x"] < plain.place("coronal", spleen)["x"]
    assert plain.place("coronal", (84, 50, 34))["y"] < plain.place("coronal", liver)["y"]
    assert plain.place("sagittal", liver)["x"] < plain.place("sagittal", (84, 18, 20))["x"]
    # and the pixels agree: look for the liver on the canvas itself, in the bone window nothing else is that bright
    plain.tab.click("[data-window=soft]")
    plain.click_voxel("axial", (84, 50, 18))
    plain.tab.keyboard.press("Escape")
    plain.settle()
    columns = plain.tab.evaluate(
        """() => { const c = document.getElementById("axial");
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let left = 0, right = 0; for (let n = 0; n < d.length; n += 4) if (d[n] > 150 && d[n] < 175)
        if (n / 4 % c.width < c.width / 2) left++; else right++; return [left, right]; }"""
    )
    assert columns[0] > 3 * columns[1]  # the liver is more than three times the spleen


@pytest.mark.slow
def test_gray_value_is_the_window_formula(plain: Opened, case) -> None:
    plain.click_voxel("axial", (60, 60, 18))
    voxels = [(i, j, plain.slices()[2]) for i in range(6, 114, 9) for j in (30, 36, 42, 48, 60)]
    for key, window in (("1", "soft"), ("2", "lung"), ("3", "bone"), ("4", "liver"), ("5", "brain")):
        plain.tab.keyboard.press(key)
        plain.tab.keyboard.press("Escape")
        plain.settle()
        for at in voxels:
            expected = int(gray_levels(case.volume.hu[at][None], WINDOWS[window])[0])
            assert plain.pixel("axial", at) == [expected] * 3, at
    plain.tab.fill("#window-width", "300")
    plain.tab.fill("#window-level", "-20")
    plain.settle()
    at = (60, 60, 18)
    scaled = ((float(case.volume.hu[at]) + 20.5) / 299 + 0.5) * 255
    assert plain.pixel("axial", at)[0] == round(min(max(scaled, 0), 255))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_aspect_follows_the_voxels(opened: Opened, plane: str) -> None:
    axis = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    a, b, c = opened.place(plane, (10, 10, 10)), [10, 10, 10], [10, 10, 10]
    b[axis[0]] += 5
    c[axis[1]] += 5
    across = a["x"] - opened.place(plane, tuple(b))["x"]
    along = a["y"] - opened.place(plane, tuple(c))["y"]
    spacing = (3.0, 3.0, 5.0)
    assert across > 0 and along > 0
    assert along / across == pytest.approx(spacing[axis[1]] / spacing[axis[0]], rel=1e-6)


def test_each_sentence_lights_up_its_regions_on_their_best_slice(plain: Opened, case, page_file: Path) -> None:
    data = json.loads(re.search(r'id="page-data">(.*?)</script>', page_file.read_text(encoding="utf-8"), re.DOTALL)[1])
    for number, sentence in enumerate(case.report.sentences):
        plain.tab.keyboard.press("Escape")
        plain.choose(number)
        assert plain.tab.get_attribute(f"#s{number}", "aria-pressed") == "true"
        if not sentence.regions:
            assert "no region" in plain.tab.inner_text("#selection")
            continue
        region = sentence.regions[0]
        home = next(r["home"] for r in data["regions"] if r["id"] == region.id)
        assert plain.slices() == tuple(home)
        lit = [plain.pixel(plane, tuple(home)) for plane in ("axial", "coronal", "sagittal")]
        assert all(max(color) - min(color) > 15 for color in lit), (sentence.text, lit)
        plain.tab.keyboard.press("Escape")
        plain.settle()
        off = [plain.pixel(plane, tuple(home)) for plane in ("axial", "coronal", "sagittal")]
        assert all(max(color) == min(color) for color in off), (sentence.text, off)


def test_best_slice_has_the_largest_area_or_the_calipers(plain: Opened, case) -> None:
    plain.choose(3)
    assert plain.slices()[2] == 17 and plain.slices()[:2] == LESION[:2]
    plain.choose(7)  # spleen
    mask = case.regions.labels == case.regions.row("spleen").label
    areas = mask.sum(axis=(0, 1))
    assert areas[plain.slices()[2]] == areas.max()
    assert mask[plain.slices()]


def test_highlight_ends_where_the_mask_ends(plain: Opened, case) -> None:
    plain.choose(2)  # the liver, with the lesions and the segment that lie over it
    row = case.regions.row("liver")
    k = plain.slices()[2]
    mask = np.isin(case.regions.labels[:, :, k], (row.label, *row.also))
    inner = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
    outer = ~(mask | np.roll(mask, 1, 0) | np.roll(mask, -1, 0) | np.roll(mask, 1, 1) | np.roll(mask, -1, 1))
    random = np.random.default_rng(2)
    for wanted, where in ((True, np.argwhere(inner)), (False, np.argwhere(outer))):
        for i, j in random.permutation(where)[:40].tolist():
            color = plain.pixel("axial", (i, j, k))
            assert (max(color) - min(color) > 15) == wanted, (i, j, color)


def test_hover_previews_and_leaves_everything_as_it_was(opened: Opened) -> None:
    opened.choose(7)
    before = opened.state()
    opened.tab.hover("#s8")
    opened.tab.locator("#s8.on").wait_for()
    assert opened.state()["point"] != before["point"]
    opened.tab.mouse.move(5, 880)
    opened.tab.locator("#s7.on").wait_for()
    assert opened.state() == before


def test_images_never_jump(opened: Opened) -> None:
    size = opened.tab.locator("#axial").bounding_box()
    for number in (3, 5, 1):
        opened.choose(number)
        assert opened.tab.locator("#axial").bounding_box() == size
    opened.click_voxel("axial", (95, 42, 17))
    assert opened.tab.locator("#axial").bounding_box() == size


def test_window_follows_the_section_unless_told_not_to(opened: Opened) -> None:
    pressed = "() => document.querySelector('.window[aria-pressed=true]')?.dataset.window"
    for number, window in ((1, "lung"), (10, "bone"), (2, "liver"), (7, "soft")):
        opened.choose(number)
        assert opened.tab.evaluate(pressed) == window
    opened.tab.uncheck("#auto-window")
    opened.choose(1)
    assert opened.tab.evaluate(pressed) == "soft"


def test_second_press_goes_to_the_next_region(opened: Opened) -> None:
    opened.choose(3)
    first = opened.slices()
    opened.choose(3)
    assert opened.slices() == (74, 60, 22) != first
    opened.choose(3)
    assert opened.slices() == first
    opened.tab.click("#selection .chip:nth-of-type(2)")
    opened.settle()
    assert opened.slices() == (74, 60, 22)


def test_point_in_an_image_names_regions_and_marks_their_sentences(opened: Opened, case) -> None:
    opened.choose(3)
    opened.tab.keyboard.press("Escape")
    opened.click_voxel("axial", (95, 42, 17))
    assert opened.slices() == (95, 42, 17)
    marked = opened.tab.evaluate("Array.from(document.querySelectorAll('.s.cites')).map(e => +e.dataset.s)")
    assert sorted(marked) == [3, 11]
    text = opened.tab.inner_text("#point")
    assert f"{case.volume.hu[95, 42, 17]} HU" in text.replace("−", "-")
    assert "R 105.0, A 6.0, I 815.0 mm" in text
    assert "Liver lesion 1, Segment VI, Liver" in text
    opened.click_voxel("coronal", (24, 42, 22))
    assert opened.slices() == (24, 42, 22)
    assert opened.tab.inner_text("#selection .chip") == "Spleen"
    opened.click_voxel("axial", (60, 80, 22))
    assert "No region" in opened.tab.inner_text("#selection")


def test_keyboard_alone(opened: Opened) -> None:
    press = opened.tab.keyboard.press
    press("Tab")
    assert opened.tab.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    press("Tab")
    assert opened.tab.evaluate("document.activeElement.id") == "s11"  # the impression stands first
    assert opened.tab.evaluate("document.querySelector('#s11').classList.contains('on')")
    assert opened.slices() == LESION
    press("Enter")
    opened.settle()
    assert opened.slices() == (74, 60, 22)
    press("ArrowDown")
    press("j")
    press("j")
    opened.settle()
    assert opened.tab.evaluate("document.activeElement.id") == "s1"
    press("k")
    press("k")
    assert opened.tab.evaluate("document.activeElement.id") == "s12"
    opened.settle()
    before = opened.slices()
    press("+")
    press("+")
    press("-")
    opened.settle()
    assert opened.slices()[2] == before[2] + 1
    press("a")
    assert opened.tab.evaluate("document.activeElement.id") == "axial"
    press("PageDown")
    press("ArrowLeft")  # toward the patient's right: i grows
    press("ArrowUp")
    opened.settle()
    assert opened.slices() == (before[0] + 1, before[1] + 1, before[2])
    press("Escape")
    opened.settle()
    assert opened.tab.evaluate("document.querySelectorAll('.s.on, .s.cites').length") == 0
    assert opened.state()["regions"] == []


def test_focus_is_visible(opened: Opened) -> None:
    opened.tab.focus("#s11")
    opened.tab.keyboard.press("j")
    style = opened.tab.evaluate("""() => { const s = getComputedStyle(document.activeElement);
        return [s.outlineStyle, parseFloat(s.outlineWidth)]; }""")
    assert style[0] == "solid" and style[1] >= 2


def test_wheel_drag_and_slider_scroll_and_right_drag_windows(opened: Opened) -> None:
    box = opened.tab.locator("#axial").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    start = opened.slices()[2]
    opened.tab.mouse.move(x, y)
    opened.tab.mouse.wheel(0, 100)
    opened.settle()
    assert opened.slices()[2] == start - 1
    opened.tab.mouse.wheel(0, -100)
    opened.tab.mouse.wheel(0, -100)
    opened.settle()
    assert opened.slices()[2] == start + 1
    opened.tab.mouse.down()
    opened.tab.mouse.move(x, y - 80, steps=4)
    opened.tab.mouse.up()
    opened.settle()
    assert opened.slices()[2] > start + 2
    opened.tab.locator("#plane-coronal .slider").fill("11")
    opened.settle()
    assert opened.slices()[1] == 10
    before = opened.state()
    opened.tab.mouse.move(x, y)
    opened.tab.mouse.down(button="right")
    opened.tab.mouse.move(x + 30, y - 20, steps=3)
    opened.tab.mouse.up(button="right")
    after = opened.state()
    assert (after["width"], after["level"]) == (before["width"] + 60, before["level"] + 40)
    assert after["point"] == before["point"]


def test_calipers_are_drawn_on_their_slice_only(opened: Opened) -> None:
    opened.tab.click("[data-toggle=cross]")
    opened.choose(3)
    ends = opened.place("axial", (89, 42, 17)), opened.place("axial", (101, 42, 17))
    middle = (98, 42, 17)
    assert min(opened.pixel("axial", middle)) > 170
    assert abs(ends[1]["x"] - ends[0]["x"]) > 20
    opened.tab.keyboard.press("+")
    opened.settle()
    assert min(opened.pixel("axial", (98, 42, 18))) < 150
    opened.tab.keyboard.press("-")
    opened.tab.keyboard.press("c")
    opened.settle()
    assert min(opened.pixel("axial", middle)) < 150


def test_beside_the_viewer_no_table_is_cut(opened: Opened) -> None:
    opened.tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    widths = "[...document.querySelectorAll('.scroll')].map((e) => [e.scrollWidth, e.clientWidth])"
    for wide in (1440, 1280):
        opened.tab.set_viewport_size({"width": wide, "height": 900})
        assert opened.tab.evaluate(widths) and all(held <= seen for held, seen in opened.tab.evaluate(widths))


def test_magnified_view_keeps_the_voxel_under_the_mouse(opened: Opened) -> None:
    opened.choose(3)
    spot = opened.place("axial", (80, 50, 17))
    box = opened.tab.locator("#axial").bounding_box()
    opened.tab.mouse.move(box["x"] + spot["x"], box["y"] + spot["y"])
    opened.tab.keyboard.down("Control")
    opened.tab.mouse.wheel(0, -240)
    opened.tab.keyboard.up("Control")
    opened.settle()
    assert opened.state()["zoom"] > 2
    after = opened.place("axial", (80, 50, 17))
    assert (after["x"], after["y"]) == pytest.approx((spot["x"], spot["y"]), abs=2)
    opened.tab.keyboard.press("0")
    opened.settle()
    assert opened.state()["zoom"] == 1


def test_tables_link_to_regions_and_sort_with_the_missing_last(opened: Opened, case) -> None:
    opened.tab.click(".measurements table tbody button[data-region='spleen']")
    opened.settle()
    assert opened.state()["regions"] == [opened.state()["main"]]
    assert "Spleen" in opened.tab.inner_text("#selection")
    assert opened.tab.evaluate("document.querySelector('#s7').classList.contains('cites')")
    table = ".measurements table >> nth=1"
    names = lambda: [t.split("\n")[0] for t in opened.tab.locator(table).locator("tbody th").all_inner_texts()]  # noqa: E731
    opened.tab.locator(table).locator("th .sort").nth(1).click()
    volumes = sorted((s.volume_ml, s.structure) for s in case.measurements.structures)
    assert names()[0].lower().startswith("l1") and volumes[0][1] == "vertebrae_L1"
    opened.tab.locator(table).locator("th .sort").nth(1).click()
    assert names()[0] == "Liver"
    assert opened.tab.locator(table).locator("th").nth(1).get_attribute("aria-sort") == "descending"


def test_key_image_leads_to_its_sentence(opened: Opened) -> None:
    opened.tab.click(".picture .link >> nth=1")
    opened.settle()
    assert opened.slices() == (74, 60, 22)
    assert opened.tab.evaluate("document.querySelector('#s3').classList.contains('on')")


def test_link_opens_at_a_sentence(browser: Any, page_file: Path) -> None:
    page = Opened(browser, page_file)
    page.tab.goto(page_file.as_uri() + "#s7")
    page.tab.reload()
    page.tab.evaluate("window.radvlmPage.ready")
    assert page.tab.evaluate("document.querySelector('#s7').classList.contains('on')")
    page.context.close()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (360, 640), (820, 1180), (1024, 768), (1440, 900)])
def test_no_sideways_scrolling(browser: Any, page_file: Path, width: int, height: int) -> None:
    page = Opened(browser, page_file, viewport={"width": width, "height": height}, has_touch=width < 900)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    page.choose(3)
    assert page.slices()[2] == 17
    viewer = page.tab.locator("#viewer").bounding_box()
    assert viewer["y"] < height / 2 and viewer["height"] <= height
    assert page.problems == []
    page.context.close()


def test_phone_taps_and_tabs(browser: Any, page_file: Path) -> None:
    page = Opened(
        browser,
        page_file,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    page.tab.tap("#s11")
    page.settle()
    assert page.slices()[2] == 17
    page.tab.tap("[data-tab=coronal]")
    page.settle()
    assert page.tab.is_visible("#coronal") and page.tab.is_hidden("#axial")
    color = page.pixel("coronal", (97, 42, 18))
    assert max(color) - min(color) > 15
    page.context.close()


def test_dark_and_light_text_have_contrast(browser: Any, page_file: Path) -> None:
    for scheme in ("light", "dark"):
        page = Opened(browser, page_file, color_scheme=scheme)
        page.choose(3)
        page.click_voxel("axial", (95, 42, 17))
        assert page.tab.evaluate(LOW_CONTRAST) == []
        page.context.close()


def test_print_holds_report_and_key_images_but_no_controls(opened: Opened, tmp_path: Path) -> None:
    opened.tab.emulate_media(media="print")
    assert opened.tab.is_hidden("#viewer")
    assert opened.tab.locator(".picture svg").first.is_visible()
    assert opened.tab.locator(".measurements table").first.is_visible()
    assert opened.tab.is_visible(".notice.top")
    with_images = opened.tab.pdf(format="A4", print_background=True)
    (tmp_path / "report.pdf").write_bytes(with_images)
    assert len(re.findall(rb"/Subtype\s*/Image", with_images)) >= 2


def test_page_without_images_still_works_by_keyboard(browser: Any, case, tmp_path: Path) -> None:
    path = tmp_path / "bare.html"
    path.write_text(render_page(case.report, volume=None, regions=None, measurements=None), encoding="utf-8")
    page = Opened(browser, path)
    page.tab.keyboard.press("j")
    assert page.tab.evaluate("document.activeElement.classList.contains('on')")
    page.tab.keyboard.press("Escape")
    assert page.problems == []
    page.context.close()


def test_regions_without_paint_are_boxed_and_regions_without_ct_are_drawn(browser: Any, case, tmp_path: Path) -> None:
    for name, changes in (("boxes", {"regions": None}), ("no-ct", {"volume": None})):
        path = tmp_path / f"{name}.html"
        arguments = {"volume": case.volume, "regions": case.regions, "measurements": case.measurements, **changes}
        path.write_text(render_page(case.report, **arguments), encoding="utf-8")
        page = Opened(browser, path)
        page.tab.click("[data-toggle=cross]")
        page.choose(7)
        colored = page.tab.evaluate(
            """() => { const c = document.getElementById("axial");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            let n = 0; for (let q = 0; q < d.length; q += 4) if (d[q + 2] - d[q] > 60) n++; return n; }"""
        )
        assert colored > 100
        assert page.problems == []
        page.context.close()


def test_reduced_page_shows_every_region(browser: Any, case, tmp_path: Path) -> None:
    path = tmp_path / "small.html"
    path.write_text(
        render_page(
            case.report,
            volume=case.volume,
            regions=case.regions,
            measurements=case.measurements,
            options=PageOptions(max_in_plane=48, max_slices=20),
        ),
        encoding="utf-8",
    )
    page = Opened(browser, path)
    for name in ("cross", "calipers"):
        page.tab.click(f"[data-toggle={name}]")
    for number, sentence in enumerate(case.report.sentences):
        if sentence.regions:
            page.tab.keyboard.press("Escape")
            page.choose(number)
            color = page.pixel("axial", page.slices())
            assert max(color) - min(color) > 15, sentence.text
    assert "mean of 3×2×2 voxels" in page.tab.inner_text("#point")
    assert page.problems == []
    page.context.close()


def test_damaged_images_are_said_and_the_report_stays(browser: Any, page_file: Path, tmp_path: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    start = text.index('id="hu-data">') + len('id="hu-data">')
    path = tmp_path / "damaged.html"
    path.write_text(text[:start] + "AAAA" + text[start + 4 :], encoding="utf-8")
    page = Opened(browser, path)
    assert page.ready is False
    assert page.tab.is_visible("#loading") and page.tab.inner_text("#loading")
    assert page.tab.is_visible("#s3")
    page.context.close()


def test_browser_without_decompression_says_so(browser: Any, page_file: Path) -> None:
    context = browser.new_context()
    context.add_init_script("delete window.DecompressionStream")
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    assert tab.evaluate("window.radvlmPage.ready") is False
    assert "cannot unpack the images" in tab.inner_text("#loading")
    context.close()


def test_hostile_text_runs_nothing(browser: Any, make, tmp_path: Path) -> None:
    evil = make("</script><img src=x onerror=alert(1)><svg onload=alert(2)>")
    path = tmp_path / "evil.html"
    path.write_text(
        render_page(evil.report, volume=evil.volume, regions=evil.regions, measurements=evil.measurements),
        encoding="utf-8",
    )
    page = Opened(browser, path)
    dialogs: list[str] = []
    page.tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.choose(3)
    assert "<img src=x onerror=alert(1)>" in page.tab.inner_text("#s3")
    assert dialogs == [] and page.problems == [] and page.tab.locator("img").count() == 0
    page.context.close()


def test_a_click_on_a_number_scrolls_to_its_caliper(opened: Opened) -> None:
    number = opened.tab.locator("#s3 .number").first
    number.click()
    opened.settle()
    state = opened.state()
    line = opened.tab.evaluate("n => JSON.parse(document.getElementById('page-data').textContent).calipers[n]", 0)
    assert state["sentence"] == 3 and state["caliper"] is not None and state["point"][2] == 17
    assert line["words"] in opened.tab.inner_text("#selection") and number.get_attribute("class") == "number on"
    opened.tab.keyboard.press("Escape")
    opened.settle()
    assert opened.state()["caliper"] is None
