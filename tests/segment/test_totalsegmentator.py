"""The TotalSegmentator step against a stand-in package with the same functions."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import GridError, InputError, MissingPackageError, StructureError
from radvlm.segment import segment_with_totalsegmentator
from radvlm.types.geometry import Geometry
from radvlm.types.label_scheme import scheme_named
from radvlm.types.volume import Volume

AFFINE = np.array([[2.0, 0, 0, -10], [0, 1.5, 0, 20], [0, 0, 3.0, -40], [0, 0, 0, 1]])
VOLUME = Volume(np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10), Geometry((8, 9, 10), AFFINE))


def answer(image: Any, flip: bool = True) -> Any:
    """Liver in one corner, spleen in the other, stored LAS."""
    labels = np.zeros(image.shape, np.uint8)
    labels[6:, :3, :4] = 5
    labels[0, 8, 9] = 1
    affine = image.affine
    if flip:
        turned = Geometry(labels.shape, affine).reordered((0, 1, 2), (-1, 1, 1))
        labels, affine = labels[::-1], turned.affine
    return nib.Nifti1Image(labels, affine)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Install a stand-in whose totalsegmentator() calls ``run(image, libs, api)``; returns what it was called with."""

    def put(run: Callable[..., Any] | None = None, classes: dict[str, dict[int, str]] | None = None) -> dict[str, Any]:
        package, api, libs, table = (
            types.ModuleType(name)
            for name in (
                "totalsegmentator",
                "totalsegmentator.python_api",
                "totalsegmentator.libs",
                "totalsegmentator.map_to_binary",
            )
        )
        package.__path__ = []  # type: ignore[attr-defined]
        seen: dict[str, Any] = {"downloads": 0, "reports": 0}

        def totalsegmentator(
            input: Any,
            output: Any = None,
            ml: bool = False,
            fast: bool = False,
            task: str = "total",
            device: str = "gpu",
            quiet: bool = False,
        ) -> Any:
            seen.update(input=input, output=output, ml=ml, fast=fast, task=task, device=device, quiet=quiet)
            sys.stdout.write("chatter of the package\n")
            api.send_usage_stats({}, {})  # type: ignore[attr-defined]
            return run(input, libs, api) if run else answer(input)

        def download(*args: Any) -> None:
            seen["downloads"] += 1

        def report(*args: Any) -> None:
            seen["reports"] += 1

        api.totalsegmentator, api.send_usage_stats = totalsegmentator, report  # type: ignore[attr-defined]
        libs.download_url_and_unpack = download  # type: ignore[attr-defined]
        libs.download_model_with_license_and_unpack = download  # type: ignore[attr-defined]
        if classes is not None:
            table.class_map = classes  # type: ignore[attr-defined]
        for module in (package, api, libs, table):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return seen

    return put


def test_result_is_put_back_on_the_scan(install: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture) -> None:
    seen = install()
    found = segment_with_totalsegmentator(VOLUME, fast=True, device="cpu")
    assert set(found.places) == {"liver", "spleen"} and len(found.searched) == 117
    expected = np.zeros((8, 9, 10), bool)
    expected[6:, :3, :4] = True
    np.testing.assert_array_equal(found.layers[0] == found.places["liver"].label, expected)
    assert found.geometry.same_grid(VOLUME.geometry)
    called = {key: seen[key] for key in ("task", "fast", "device", "ml", "output")}
    assert called == {"task": "total", "fast": True, "device": "cpu", "ml": True, "output": None}
    np.testing.assert_array_equal(np.asarray(seen["input"].dataobj), VOLUME.hu)
    np.testing.assert_allclose(seen["input"].affine, AFFINE)
    assert seen["reports"] == 0  # usage reports are switched off
    assert capsys.readouterr().out == ""
    assert "task total, fast, on cpu" in found.decisions[0].what


def test_weights_are_not_downloaded_unless_allowed(install: Callable[..., dict[str, Any]]) -> None:
    def run(image: Any, libs: Any, api: Any) -> Any:
        libs.download_url_and_unpack("https://example.org", "there")
        return answer(image)

    seen = install(run)
    with pytest.raises(MissingPackageError, match="allow_download"):
        segment_with_totalsegmentator(VOLUME, device="cpu")
    assert seen["downloads"] == 0
    segment_with_totalsegmentator(VOLUME, device="cpu", allow_download=True)
    assert seen["downloads"] == 1


def test_missing_licence_ends_in_one_error(install: Callable[..., dict[str, Any]]) -> None:
    def run(image: Any, libs: Any, api: Any) -> Any:
        sys.stdout.write("ERROR: no licence number\n")
        sys.exit(1)

    install(run)
    with pytest.raises(MissingPackageError, match="no licence number"):
        segment_with_totalsegmentator(VOLUME, task="tissue_types", device="cpu")


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "totalsegmentator", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        segment_with_totalsegmentator(VOLUME)


def test_numbering_of_the_installed_version_wins(install: Callable[..., dict[str, Any]]) -> None:
    classes = dict(scheme_named("totalsegmentator").labels)
    classes[1], classes[5] = "liver", "spleen"
    install(classes={"total": classes})
    assert segment_with_totalsegmentator(VOLUME, device="cpu").voxel_count("spleen") == 2 * 3 * 4
    install(classes={"total": {1: "flux_capacitor"}})
    with pytest.raises(StructureError, match="flux_capacitor"):
        segment_with_totalsegmentator(VOLUME, device="cpu")


def test_answers_that_do_not_fit(install: Callable[..., dict[str, Any]]) -> None:
    install(lambda image, libs, api: nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)))
    with pytest.raises(GridError, match="grid of the scan"):
        segment_with_totalsegmentator(VOLUME, device="cpu")
    install(lambda image, libs, api: nib.Nifti1Image(np.full(image.shape, 200, np.uint8), image.affine))
    with pytest.raises(StructureError, match="200"):
        segment_with_totalsegmentator(VOLUME, device="cpu")


def test_bad_arguments(install: Callable[..., dict[str, Any]]) -> None:
    install()
    with pytest.raises(StructureError, match="known one"):
        segment_with_totalsegmentator(VOLUME, task="everything")
    with pytest.raises(InputError, match="device"):
        segment_with_totalsegmentator(VOLUME, device="tpu")
    for device in ("gpu:1", "mps"):
        segment_with_totalsegmentator(VOLUME, device=device)
