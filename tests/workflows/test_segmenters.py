"""Several segmenters on one scan: once each, kept, merged, told; what fails is not searched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm import generate_report
from radvlm.errors import FileFormatError, InputError, MissingPackageError
from radvlm.phantom import Phantom, make_phantom
from radvlm.phantom.spec import LesionSpec, PhantomSpec
from radvlm.segment.mask_cache import MaskCache
from radvlm.segment.merge import merged_masks
from radvlm.segment.request import Request, parse_requests
from radvlm.types.geometry import Geometry
from radvlm.types.provenance import Decision, MaskOrigin
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume
from radvlm.workflows.config import Config, Segmenting
from radvlm.workflows.report import ReportOptions
from radvlm.workflows.segmenters import segmented

GEOMETRY = Geometry((10, 8, 6), np.diag([2.0, 2.0, 2.0, 1.0]))
SCAN = Volume(np.arange(480, dtype=np.int16).reshape(10, 8, 6), GEOMETRY)


def masks(searched: set[str] = frozenset(), who: str = "A 1.0", **boxes: tuple[slice, slice, slice]) -> Segmentation:  # type: ignore[assignment]
    layer = np.zeros(GEOMETRY.shape, np.uint8)
    for label, box in enumerate(boxes.values(), 1):
        layer[box] = label
    places = {name: LabelPlace(0, label) for label, name in enumerate(boxes, 1)}
    looked_for = frozenset(searched) | frozenset(boxes)
    origin = MaskOrigin(who, "2026-01-02", "CC0", looked_for, "performance not published", 1.0)
    return Segmentation((layer,), places, looked_for, GEOMETRY, who, origins=(origin,))


@dataclass
class Made:
    """A Segmenter whose masks are given; counts how often it is run."""

    name: str
    answer: Any
    looks_for: frozenset[str] = frozenset()
    version: str = "1"
    calls: list[str] = field(default_factory=list)

    @property
    def searched(self) -> frozenset[str]:
        return self.looks_for

    def require(self) -> None:
        self.calls.append("require")

    def identity(self) -> str:
        return f"{self.name} {self.version}" if self.version else ""

    def segment(self, volume: Volume) -> Segmentation:
        self.calls.append("segment")
        if isinstance(self.answer, Exception):
            raise self.answer
        found: Segmentation = self.answer
        return found


LIVER = masks(liver=np.s_[1:6, 1:6, 1:5], spleen=np.s_[7:9, 1:3, 1:3])
LESIONS = masks(who="B 2.0", liver_lesion=np.s_[2:4, 2:4, 2:4])
OFF = Segmenting(cache="off")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("total", [Request("task", "total")]),
        (" total , liver_lesions,total", [Request("task", "total"), Request("task", "liver_lesions")]),
        ("best", [Request("best")]),
        ("nnunet:a/b@btcv,total", [Request("nnunet", "a/b", "btcv"), Request("task", "total")]),
        ("bundle:x/y@z/w", [Request("bundle", "x/y@z/w")]),
        (
            "total,command:tool -i {ct},x -o {out}",
            [Request("task", "total"), Request("command", "tool -i {ct},x -o {out}")],
        ),
    ],
)
def test_text_form(text: str, expected: list[Request]) -> None:
    assert list(parse_requests(text)) == expected


def test_folders_with_commas_and_at_signs_are_taken_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a,b@c"
    folder.mkdir()
    assert parse_requests(f"nnunet:{folder},total") == (Request("nnunet", str(folder)), Request("task", "total"))
    assert parse_requests(f"nnunet:{folder}@btcv") == (Request("nnunet", str(folder), "btcv"),)


@pytest.mark.parametrize(
    "text", ["", " , ", "nnunet:", "other:x", "command:", "command:tool {ct}", "command:tool '{ct} {out}"]
)
def test_texts_that_say_nothing(text: str) -> None:
    with pytest.raises(InputError):
        parse_requests(text)


def test_lesion_segment_and_organ_lie_over_each_other() -> None:
    part = masks(who="C", liver_segment_4=np.s_[1:4, 1:6, 1:5])
    found = merged_masks([("A", LIVER), ("B", LESIONS), ("C", part)])
    assert found.voxel_count("liver") == 5 * 5 * 4 and found.voxel_count("liver_segment_4") == 3 * 5 * 4
    assert found.voxel_count("liver_lesion") == 8 and len(found.origins) == 3
    assert not [d for d in found.decisions if d.step == "segment"]


def test_one_structure_of_two_tasks_is_that_of_the_first_with_both_volumes() -> None:
    second = masks(who="B", liver=np.s_[1:6, 1:6, 1:4], kidney_left=np.s_[0:1, 0:1, 0:1])
    found = merged_masks([("A", LIVER), ("B", second)])
    assert found.voxel_count("liver") == 100 and "kidney_left" in found.places
    told = [d for d in found.decisions if "liver" in d.what]
    assert len(told) == 1 and "0.8 mL by A and 0.6 mL by B (Dice 0.86)" in told[0].what and not told[0].warning
    assert found.origins[1].searched == {"kidney_left"}


def test_what_one_found_and_the_other_did_not() -> None:
    empty = masks({"liver_lesion"}, who="none found", kidney_left=np.s_[0:1, 0:1, 0:1])
    first = merged_masks([("A", empty), ("B", LESIONS)])
    assert first.voxel_count("liver_lesion") == 8 and any("none by A" in d.what and d.warning for d in first.decisions)
    given = merged_masks([("the given", empty), ("B", LESIONS)], given_first=True)
    assert given.voxel_count("liver_lesion") == 0 and any("found none, is used" in d.what for d in given.decisions)


def test_voxels_of_two_organs_stay_with_the_first() -> None:
    kidney = masks(who="B", kidney_right=np.s_[5:8, 1:6, 1:5])
    found = merged_masks([("A", LIVER), ("B", kidney)])
    assert found.voxel_count("liver") == 100
    assert found.voxel_count("kidney_right") == 60 - 20 - 4  # less the liver's and the spleen's
    told = [d for d in found.decisions if "that B calls right kidney" in d.what]
    assert len(told) == 2 and all(d.warning for d in told)
    np.testing.assert_array_equal(found.mask("kidney_right") & (found.mask("liver") | found.mask("spleen")), False)
    lungs = merged_masks(
        [("A", masks(lung_left=np.s_[0:4, 0:4, 0:4])), ("B", masks(who="B", lung=np.s_[0:8, 0:4, 0:4]))]
    )
    assert lungs.voxel_count("lung") == 128  # the whole and its side are no conflict


def test_each_task_runs_once_and_its_masks_are_kept(tmp_path: Path) -> None:
    settings = Segmenting(cache=str(tmp_path / "kept"))
    one, two = Made("one", LIVER), Made("two", RuntimeError("killed here"), frozenset({"liver_lesion"}))
    first = segmented(SCAN, [one, two], settings)
    assert "liver_lesion" not in first.searched
    again = Made("two", LESIONS)
    lines: list[str] = []
    second = segmented(SCAN, [one, again], settings, progress=lines.append)
    assert one.calls == ["require", "segment", "require"] and again.calls == ["require", "segment"]
    assert any("kept from an earlier run" in line for line in lines)
    np.testing.assert_array_equal(second.mask("liver"), LIVER.mask("liver"))
    assert second.origins[0] == LIVER.origins[0] and second.geometry.same_grid(GEOMETRY)
    # another scan, another grid, other weights: run anew
    moved = Volume(SCAN.hu, Geometry(GEOMETRY.shape, np.diag([2.0, 2.0, 2.5, 1.0])))
    other = Made("one", LIVER)
    with pytest.raises(InputError):
        segmented(moved, other, settings)
    assert other.calls == ["require", "segment"]
    turned = Made("one", LIVER)
    segmented(Volume(SCAN.hu, GEOMETRY, stored_axes="LPS"), turned, settings)
    assert turned.calls == ["require", "segment"]
    newer = Made("one", LIVER, version="2")
    segmented(SCAN, newer, settings)
    assert newer.calls == ["require", "segment"]


def test_a_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    settings = Segmenting(cache=str(tmp_path))
    segmented(SCAN, Made("one", LIVER), settings)
    for stored in (next(tmp_path.glob("*/layers.npz")), next(tmp_path.glob("*/about.json"))):
        stored.write_bytes(stored.read_bytes()[:40])
        one = Made("one", LIVER)
        assert segmented(SCAN, one, settings).voxel_count("liver") == 100
        assert "segment" in one.calls


def test_tidying_a_cache_touches_nothing_of_others(tmp_path: Path) -> None:
    cache = MaskCache(tmp_path)
    cache.put("scan", "A 1.0", masks({"liver"}, liver=(slice(0, 2), slice(0, 2))))
    (entry,) = tmp_path.iterdir()
    (fresh := tmp_path / ("a" * 40)).mkdir()
    others = []
    for name in ("project", "b" * 40, ".mine", "c" * 40):
        (tmp_path / name).mkdir()
        about = entry / "about.json" if name == "c" * 40 else None
        (tmp_path / name / "about.json").write_text(about.read_text() if about else '{"form": "masks 1"}')
        (tmp_path / name / "data.txt").write_text("keep")
        others.append(tmp_path / name / "data.txt")
    old = time.time() - 40 * 86400
    for place in (*tmp_path.iterdir(),):
        if place != fresh:
            os.utime(place, (old, old))
    (entry / "notes.txt").write_text("keep")
    os.utime(entry, (old, old))
    cache.tidy()
    assert all(path.is_file() and (path.parent / "about.json").is_file() for path in others) and fresh.is_dir()
    assert [path.name for path in entry.iterdir()] == ["notes.txt"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = segmented(SCAN, Made("one", LIVER), Segmenting(cache=str(tmp_path / "file" / "x")))
    assert found.voxel_count("liver") == 100 and any("could not be kept" in d.what for d in found.decisions)


def test_a_network_that_is_missing_is_told_with_a_way_without_one(phantom: Phantom) -> None:
    import urllib.error

    def offline(volume: Volume) -> Segmentation:
        raise RuntimeError("x" * 400) from urllib.error.URLError("http://example.org/weights: no route to host " * 9)

    lines: list[str] = []
    with pytest.raises(MissingPackageError, match=r"network cannot be reached.*copy its folder to ") as told:
        segmented(phantom.volume, offline, OFF, progress=lines.append)
    assert len(str(told.value)) < 500 and lines[-1] == "offline failed"

    def long_winded(volume: Volume) -> Segmentation:
        raise RuntimeError("a cause in words " * 40)

    with pytest.raises(FileFormatError, match=r"\[\.\.\.\]\. Required: at least one segmenter that runs to its end"):
        segmented(phantom.volume, long_winded, OFF)


def test_what_fails_is_not_searched_and_stands_in_the_head() -> None:
    lost = Made("lesions", RuntimeError("no memory\nlong trace"), frozenset({"liver_lesion", "liver"}))
    found = segmented(SCAN, [Made("one", LIVER), lost], OFF)
    told = [d for d in found.decisions if d.warning]
    assert [d.step for d in told] == ["unsearched"]
    assert told[0].what == "lesions failed (RuntimeError: no memory); not searched: liver lesion."
    with pytest.raises(FileFormatError, match="at least one"):
        segmented(SCAN, [lost, Made("two", ValueError("x"))], OFF)
    with pytest.raises(InputError, match="a rule"):
        segmented(SCAN, Made("one", InputError("a rule", "x")), OFF)


def test_nothing_starts_when_one_cannot_run() -> None:
    class Missing(Made):
        def require(self) -> None:
            raise MissingPackageError("weights are installed", "none")

    one = Made("one", LIVER)
    with pytest.raises(MissingPackageError):
        segmented(SCAN, [one, Missing("two", LESIONS)], OFF)
    assert "segment" not in one.calls


def test_functions() -> None:
    def mine(volume: Volume) -> dict[str, np.ndarray]:
        return {"liver": volume.hu > 100, "spleen": np.zeros(volume.geometry.shape, bool)}

    found = segmented(SCAN, mine, OFF)
    assert found.voxel_count("liver") == 379 and found.voxel_count("spleen") == 0
    assert found.origins[0].by == "mine (a function)"
    with pytest.raises(InputError, match="Return the masks"):
        segmented(SCAN, lambda volume: None, OFF)
    with pytest.raises(InputError, match="segmenter is"):
        segmented(SCAN, 7, OFF)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    lesion = LesionSpec("liver_metastasis", 25, location="liver_segment_6")
    return make_phantom(PhantomSpec(seed=7, region="abdomen", spacing_mm=(5.0, 5.0, 5.0), lesions=(lesion,)))


def test_report_of_a_bare_scan(phantom: Phantom) -> None:
    """With the true masks by a function the report is that of the masks, but for who made them."""
    config = Config(segmenting=OFF)

    def truth(volume: Volume) -> Segmentation:
        return phantom.segmentation

    made = generate_report(phantom.volume, segmenter=truth, patient=phantom.patient, config=config)
    given = generate_report(phantom.volume, segmentation=phantom.segmentation, patient=phantom.patient, config=config)
    assert [s.text for s in made.sentences] == [s.text for s in given.sentences]
    masks_line = dict(made.report.examination)["Masks"]
    assert (
        "by truth (a function)" in masks_line
        and "no radiologist's" in masks_line
        and made.manifest["segmented_by"][0]["by"] == "truth (a function)"
    )


def test_failure_is_told_in_the_report(phantom: Phantom) -> None:
    def broken(volume: Volume) -> Any:
        raise RuntimeError("out of patience")

    def organs(volume: Volume) -> Any:
        return {"liver": phantom.segmentation.mask("liver"), "spleen": phantom.segmentation.mask("spleen")}

    made = generate_report(
        phantom.volume, segmenter=[organs, broken], config=Config(segmenting=OFF), options=ReportOptions()
    )
    cautions = [text for label, text in made.report.examination if label == "Caution"]
    assert cautions == ["broken failed (RuntimeError: out of patience); what it looks for was not searched."]
    assert "broken failed" in made.text


def test_given_masks_win(phantom: Phantom) -> None:
    def other(volume: Volume) -> Any:
        return {"liver": phantom.segmentation.mask("spleen"), "stomach": phantom.segmentation.mask("stomach")}

    given = {"liver": phantom.segmentation.mask("liver"), "spleen": phantom.segmentation.mask("spleen")}
    affine = phantom.volume.geometry.affine
    made = generate_report(
        phantom.volume,
        segmentation={name: (mask, affine) for name, mask in given.items()},
        segmenter=other,
        config=Config(segmenting=OFF),
    )
    assert made.segmentation.voxel_count("liver") == int(given["liver"].sum()) and "stomach" in made.segmentation.places
    told = [d.what for d in made.segmentation.decisions if d.step == "segment"]
    assert any("that of the masks that were given is used" in what for what in told)
    assert any("the given masks count" in what for what in told)


def test_memory_error_of_a_gpu_falls_back() -> None:
    from radvlm.segment.protocol import with_cpu_after_memory_error

    def run(device: str) -> str:
        if device != "cpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return "done"

    assert with_cpu_after_memory_error("gpu", run)[:2] == ("done", "cpu")
    fail: Callable[[str], str] = lambda device: (_ for _ in ()).throw(RuntimeError("another"))  # noqa: E731
    with pytest.raises(RuntimeError, match="another"):
        with_cpu_after_memory_error("gpu", fail)


def test_decisions_of_a_part_stay() -> None:
    import dataclasses

    told = dataclasses.replace(LIVER, decisions=(Decision("segment", "by A"),))
    assert Decision("segment", "by A") in merged_masks([("A", told), ("B", LESIONS)]).decisions


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_saved_masks_come_back_whole(tmp_path: Path, tilt: float) -> None:
    from radvlm.io import load_segmentation
    from radvlm.io.saved_masks import save_masks

    merged = merged_masks([("A", LIVER), ("B", LESIONS), ("C", masks({"kidney_left"}, who="C"))])
    folder = save_masks(tmp_path / "out", merged, stored_axes="LPS")
    back = load_segmentation(folder, like=SCAN.geometry)
    assert back.searched == merged.searched and back.origins == merged.origins and back.scheme == merged.scheme
    for name in merged.present:
        np.testing.assert_array_equal(back.mask(name), merged.mask(name))
    # what other programs read
    named = load_segmentation(folder / "masks.seg.nrrd", like=SCAN.geometry)
    assert set(named.places) == set(merged.places) and "kidney_left" in named.searched
    np.testing.assert_array_equal(named.mask("liver_lesion"), merged.mask("liver_lesion"))
    flat = load_segmentation(folder / "labels.nii.gz", like=SCAN.geometry)
    np.testing.assert_array_equal(flat.mask("liver"), merged.mask("liver") & ~merged.mask("liver_lesion"))
    (folder / "masks.seg.nrrd").write_bytes((folder / "masks.seg.nrrd").read_bytes()[:300])
    with pytest.raises(FileFormatError):
        load_segmentation(folder, like=SCAN.geometry)


def test_report_of_saved_masks_is_identical(phantom: Phantom, tmp_path: Path) -> None:
    from radvlm.io.saved_masks import save_masks

    def truth(volume: Volume) -> Segmentation:
        return phantom.segmentation

    found = segmented(phantom.volume, truth, OFF)
    folder = save_masks(tmp_path / "masks", found)
    direct = generate_report(phantom.volume, segmenter=truth, patient=phantom.patient, config=Config(segmenting=OFF))
    later = generate_report(phantom.volume, segmentation=folder, patient=phantom.patient, config=Config(segmenting=OFF))
    assert later.text == direct.text


def test_lesions_by_a_task_are_not_read_as_a_radiologists(phantom: Phantom) -> None:
    def lesions(volume: Volume) -> Segmentation:
        return phantom.segmentation

    made = generate_report(phantom.volume, segmenter=lesions, config=Config(segmenting=OFF))
    told = [text for label, text in made.report.examination if label == "Certainty"]
    assert told == ["Liver metastasis by lesions (a function) (performance not published), not by a radiologist."]
    assert "CERTAINTY: Liver metastasis by lesions" in made.text
    given = generate_report(phantom.volume, segmentation=phantom.segmentation)
    assert not [text for label, text in given.report.examination if label == "Certainty"]


def test_best_follows_the_region(phantom: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    from radvlm.segment.protocol import SegmentOptions
    from radvlm.workflows.segmenters import resolve_segmenters

    lines: list[str] = []
    found = resolve_segmenters("best", phantom.volume, SegmentOptions(), lines.append)
    names = [one.name.removeprefix("TotalSegmentator ") for one in found]
    assert names[0] == "total" and {"liver_segments", "liver_lesions", "kidney_cysts"} <= set(names)
    assert "cerebral_bleed" not in names and len(lines) == 1 and "abdomen" in lines[0]
    air = Volume(np.full((20, 20, 20), -1000, np.int16), Geometry((20, 20, 20), np.eye(4)))
    lines.clear()
    assert [one.name for one in resolve_segmenters("best", air, SegmentOptions(), lines.append)] == [
        "TotalSegmentator total"
    ]
    assert "could not be told" in lines[0]


def test_expected_times_say_where_they_are_from() -> None:
    from radvlm.segment.run_times import expected_time

    litre = Volume(np.zeros((100, 100, 100), np.int16), Geometry((100, 100, 100), np.eye(4)))
    published = expected_time("total", fast=False, on_gpu=False, volume=litre)
    assert published.startswith("about 6 s, an estimate from a published time on a Core i9")
    assert expected_time("liver_lesions", fast=False, on_gpu=False, volume=litre) == "time not known"
    assert expected_time("x", fast=False, on_gpu=False, volume=litre, earlier=120.0) == (
        "about 2 min, by the last run on this machine"
    )
