"""Damaged bytes: a Volume or one RadvlmError, never another exception, never silence about a checksum."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radvlm.errors import RadvlmError
from radvlm.io import load_volume
from radvlm.io.label_names import table_as_xml
from radvlm.types.volume import Volume

FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def damage(draw, content: bytes, header: int = 0):
    """Some bytes changed (half of the time within ``header``), some cut out or repeated, the end cut off."""
    out = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        limit = header if header and draw(st.booleans()) else len(out)
        out[draw(st.integers(0, limit - 1))] = draw(st.integers(0, 255))
    kind = draw(st.sampled_from(["none", "none", "cut", "hole", "repeat"]))
    if kind != "none":
        start = draw(st.integers(0, len(out)))
        length = draw(st.integers(0, 64))
        if kind == "cut":
            del out[start:]
        elif kind == "hole":
            del out[start : start + length]
        else:
            out[start:start] = out[start : start + length]
    return bytes(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def attempt(path: Path, content: bytes) -> Volume | None:
    path.write_bytes(content)
    try:
        volume = load_volume(path)
    except RadvlmError as error:
        assert 20 < len(str(error)) < 2000 and "\n" not in str(error)
        return None
    assert np.isfinite(volume.hu).all()
    return volume


def small_nifti() -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(0)
    hu = np.rint(rng.choice([-1000, -100, 40], (7, 6, 5)) + rng.normal(0, 10, (7, 6, 5))).clip(-1024).astype(np.int16)
    image = nib.Nifti1Image(hu, np.diag([1, 1, 2, 1]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table_as_xml({1: "liver"})))
    return image.to_bytes(), hu


NIFTI, HU = small_nifti()
PACKED = gzip.compress(NIFTI, mtime=0)


@pytest.mark.slow
@FUZZ
@given(content=damage(NIFTI, header=360))
def test_nifti(folder, content):
    attempt(folder / "a.nii", content)


@pytest.mark.slow
@FUZZ
@given(content=damage(PACKED))
def test_gzipped_nifti(folder, content):
    """Whatever comes out of a damaged gzip file is exactly what went in."""
    volume = attempt(folder / "a.nii.gz", content)
    if volume is not None:
        np.testing.assert_array_equal(volume.hu, HU)


@pytest.mark.slow
@FUZZ
@given(content=damage(NIFTI, header=360))
def test_gzipped_damaged_nifti(folder, content):
    attempt(folder / "b.nii.gz", gzip.compress(content, 1))


@FUZZ
@given(content=st.binary(max_size=1000), name=st.sampled_from(["a.nii", "a.nii.gz", "a.dcm", "a", "a.zip", "a.hdr"]))
def test_any_bytes(folder, content, name):
    assert attempt(folder / name, content) is None


@pytest.fixture(scope="module")
def series(writer, tmp_path_factory) -> dict[str, list[Path]]:
    base = tmp_path_factory.mktemp("series")
    return {
        syntax: writer.write(base / syntax, syntax=syntax, count=3, size=(40, 36))
        for syntax in (
            "1.2.840.10008.1.2.1",
            "1.2.840.10008.1.2",
            "1.2.840.10008.1.2.5",
            "1.2.840.10008.1.2.4.80",
            "1.2.840.10008.1.2.4.90",
            "1.2.840.10008.1.2.4.70",
        )
    }


@pytest.mark.slow
@settings(FUZZ, max_examples=200)
@given(data=st.data())
def test_dicom(series, data):
    syntax = data.draw(st.sampled_from(sorted(series)))
    paths = series[syntax]
    whole = paths[1].read_bytes()
    # Half of the damage goes to the header: everything before the pixels.
    changed = data.draw(damage(whole, header=max(200, whole.rindex(b"\xe0\x7f\x10\x00"))))
    try:
        attempt(paths[1], changed)
        with contextlib.suppress(RadvlmError):
            load_volume(paths[0].parent)
    finally:
        paths[1].write_bytes(whole)
