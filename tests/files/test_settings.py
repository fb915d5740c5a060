"""YAML to dataclass: exact types come out, and whatever does not fit is named with its place and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import pytest

from radvlm.errors import InputError
from radvlm.files.settings import read_mapping, read_settings, settings_from


@dataclass(frozen=True)
class Inner:
    rate: float
    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("there is a step", str(self.steps))


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, float] | None = None
    either: int | str | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)
    mode: Literal["a", "b"] = "a"
    on: bool = False
    made: int = field(default=3, init=False)


GOOD: dict[str, Any] = {"name": "x", "inner": {"rate": 1}}


def test_values_have_the_types_of_their_fields() -> None:
    more = {"many": [{"rate": 0.5, "steps": 2}], "pair": [1, 2], "either": "y", "shape": {"k": [1]}, "maybe": None}
    made = settings_from(Outer, {**GOOD, **more}, "a file")
    assert made == Outer("x", Inner(1.0), None, (Inner(0.5, 2),), (1, 2.0), "y", {"k": [1]})
    assert isinstance(made.inner.rate, float) and made.pair is not None and isinstance(made.pair[1], float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, r"Received: nmae.*Required: keys of a file are name.*Did you mean name\?"),
        ({"zzzzz": 1}, r"Received: zzzzz\. .*Remove it"),
        ({"made": 1}, r"Received: made"),
        (
            {"inner": {"rate": 1.0, "stps": 2}},
            r"Received: inner\.stps.*Required: keys of inner are rate, steps.*Did you mean st",
        ),
        ({"inner": {"steps": 2}}, r"Received: missing rate.*Required: inner has its required keys.*See the manual"),
        ({"inner": 5}, r"Received: 5.*Required: inner is a mapping of settings"),
        ({"inner": None}, r"Received: None.*Required: inner is a mapping of settings"),
        ({"inner": {"rate": "1e-4"}}, r"inner\.rate is of type float.*YAML reads 1e-4 as text\. Write 1\.0e-4"),
        ({"inner": {"rate": True}}, r"Received: True.*Required: inner\.rate is of type float"),
        ({"inner": {"rate": 1.0, "steps": 2.0}}, r"Received: 2\.0.*Required: inner\.steps is of type int"),
        ({"inner": {"rate": 1.0, "steps": True}}, r"Received: True.*Required: inner\.steps is of type int"),
        ({"inner": {"rate": 1.0, "steps": 0}}, r"there is a step"),
        ({"maybe": {"rat": 1}}, r"Received: maybe\.rat"),
        ({"many": {"rate": 1}}, r"many is a list"),
        ({"many": [{"rate": 1.0}, {"rate": "x"}]}, r"many\[1\]\.rate is of type float"),
        ({"pair": [1]}, r"Received: \[1\].*Required: pair has 2 values"),
        ({"pair": ["a", 1]}, r"pair\[0\] is of type int"),
        ({"either": 1.5}, r"Received: 1\.5.*Required: either is of type "),
        ({"shape": [1]}, r"shape is of type"),
        ({"mode": "c"}, r"'c'.*mode is of type .*'a' or 'b'"),
        ({"on": 1}, r"Received: 1.*Required: on is of type bool"),
        ({"name": 5}, r"Received: 5.*Required: name is of type str"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_from(Outer, {**GOOD, **change}, "a file", "See the manual")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: ö\ninner: {rate: 2}\n", encoding="utf-8")
    assert read_settings(Outer, path, "a file") == Outer("ö", Inner(2.0))
    path.write_text("# nothing\n")
    assert read_mapping(path, "a file") == {}
    for text, message in (
        (b"- 1", r"Received: list.*Required: a file is a mapping of settings.*See the manual"),
        (b"a: [", r"Received: s\.yaml: .*Required: a file is a readable YAML file.*See the manual"),
        (b"a: \xff", r"Received: s\.yaml.*Required: a file is a readable YAML file"),
        (b"a: 2020-13-45", "a file is a readable YAML file"),
        (b"a: !!float ''", "a file is a readable YAML file"),
        (b"{" * 3000, "a file is a readable YAML file"),
        (b"a: !!python/object/apply:os.system ['true']", "a file is a readable YAML file"),
    ):
        path.write_bytes(text)
        with pytest.raises(InputError, match=f"(?s){message}"):
            read_mapping(path, "a file", "See the manual")
    with pytest.raises(InputError, match=r"Received: none\.yaml.*Required: a file is a readable YAML file"):
        read_mapping(tmp_path / "none.yaml", "a file")


def test_a_file_of_the_package() -> None:
    source = files("radvlm.interpret").joinpath("thresholds.yaml")
    assert "rules" in read_mapping(source, "a file")
    with pytest.raises(InputError, match=r"Received: no\.yaml: "):
        read_mapping(source.parent / "no.yaml", "a file")
