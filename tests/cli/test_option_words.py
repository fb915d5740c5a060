"""Messages for Python in the words of the command line, and schemes given on it."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from radvlm.cli.arguments import scheme_argument
from radvlm.cli.main import main
from radvlm.cli.option_words import in_options
from radvlm.io import save_labels
from radvlm.types.geometry import Geometry

NAMES = ("scheme", "series", "rescale", "acquisition", "exclude_patient", "patient_not_indexed", "ct", "run")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Say which with scheme=, a scheme name or {label: structure}.",
            "Say which with --scheme, a scheme name or LABEL=STRUCTURE,....",
        ),
        ("Pass scheme={segment number: structure}.", "Pass --scheme LABEL=STRUCTURE,...."),
        ('Pass scheme={0: "lung_nodule", 1: "liver"}.', "Pass --scheme 0=lung_nodule,1=liver."),
        (
            "Pass rescale='none' if so, 'header', or (slope, intercept), such as (1, -1024).",
            "Pass --rescale none if so, header, or SLOPE,INTERCEPT, such as 1,-1024.",
        ),
        ("series= chooses among DICOM files.", "--series chooses among DICOM files."),
        ("choose one with series= (--series).", "choose one with --series."),
        ("a.yaml: [Errno 2] No such file or directory: 'a.yaml'.", "a.yaml: no such file or directory."),
        ("or pass scheme={label: structure}.", "or pass --scheme LABEL=STRUCTURE,...."),
        ("to go on, accept_misplaced=True (--accept-misplaced).", "to go on, --accept-misplaced."),
        ("Pass --rescale 1,-1000 (rescale= in Python) if so.", "Pass --rescale 1,-1000 if so."),
        (
            'Pass exclude_patient="P1", or patient_not_indexed=True when',
            "Pass --exclude-patient P1, or --patient-not-indexed when",
        ),
        (
            "affine= belongs to an array; a==b; x.scheme=1; file scheme=old.nii",
            "affine= belongs to an array; a==b; x.scheme=1; file scheme=old.nii",
        ),
    ],
)
def test_arguments_become_options(message: str, shown: str) -> None:
    assert in_options(message, NAMES) == shown


def test_schemes_on_the_command_line() -> None:
    assert scheme_argument("totalsegmentator") == "totalsegmentator"
    assert scheme_argument("1=liver, 7=") == {1: "liver", 7: ""}
    assert scheme_argument("Liver=liver,PTV=") == {"Liver": "liver", "PTV": ""}
    for text in ("1=liver,1=spleen", "1=liver,spleen", "=liver"):
        with pytest.raises(argparse.ArgumentTypeError):
            scheme_argument(text)


def test_messages_of_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong first, then the rule, then an option that helps; and it does help."""
    grid = Geometry((12, 12, 12), np.diag([2.0, 2.0, 2.0, 1.0]))
    labels = np.zeros(grid.shape, np.uint8)
    labels[3:9, 3:9, 3:9], labels[1, 1, 1] = 1, 2
    path = save_labels(tmp_path / "m.nii.gz", labels, grid, names={})
    assert main(["measure", "--masks", str(path)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("radvlm: Received: labels 1-2") and "Required: " in shown
    assert "--scheme" in shown and "scheme=" not in shown
    assert main(["measure", "--masks", str(path), "--scheme", "1=liver,2="]) == 0
    assert "liver" in capsys.readouterr().out
    assert main(["measure", "nope.nii.gz", "--masks", str(path)]) == 2
    assert "Received: nope.nii.gz, which does not exist. Required: the path exists." in capsys.readouterr().err


@pytest.mark.parametrize("text", ["foo", "0,5", "1", "nan,0", "1,2,3"])
def test_a_rescale_is_checked_before_anything_is_read(text, capsys):
    with pytest.raises(SystemExit):
        main(["report", "no-such.nii.gz", "-o", "out", f"--rescale={text}"])
    assert "is not auto, none, header or SLOPE,INTERCEPT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--age", "-4"), ("Received: age -4.", "Required: an age is 0 to 130 years.", "Pass --age in years")),
        (("--height", "1.7"), ("Received: height 1.7.", "a height is 20 to 260 cm", "meters: pass --height 170.")),
        (("--weight", "0"), ("Received: weight 0.", "a weight is 0.3 to 500 kg", "--weight")),
    ],
)
def test_facts_of_the_patient_are_asked_for_in_options(options, said, capsys) -> None:
    assert main(["report", "no-such.nii.gz", "-o", "out", *options]) == 2
    shown = capsys.readouterr().err
    assert all(words in shown for words in said) and "_" not in shown and "Python" not in shown


def test_labels_that_the_option_does_not_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = Geometry((12, 12, 12), np.diag([2.0, 2.0, 2.0, 1.0]))
    labels = np.zeros(grid.shape, np.uint8)
    labels[3:9, 3:9, 3:9], labels[1, 1, 1] = 1, 2
    path = save_labels(tmp_path / "m.nii.gz", labels, grid, names={})
    assert main(["measure", "--masks", str(path), "--scheme", "1=liver"]) == 2
    shown = capsys.readouterr().err
    assert "Received: m.nii.gz: not named are 2 (1 voxels). Required: --scheme names every label of the masks." in shown
    assert "LABEL=STRUCTURE" in shown and "caller" not in shown and "{" not in shown
