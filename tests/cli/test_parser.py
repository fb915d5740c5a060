"""Misspelled words of the command line: what was meant is said, in one line."""

from __future__ import annotations

import pytest

from radvlm.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("reprot x -o y", "there is no 'reprot'; did you mean report?"),
        ("index bild x", "there is no 'bild'; did you mean build?"),
        ("--verison", "there is no option --verison; did you mean --version?"),
        ("report x --msks y -o z", "there is no option --msks; did you mean --masks?"),
        ("report x --msks=y -o z", "did you mean --masks?"),
        ("report x --MASKS y -o z", "did you mean --masks?"),
        ("report x --accept_misplaced -o z", "did you mean --accept-misplaced?"),
        ("report x --ouput z", "did you mean --output?"),  # before what is missing is told, which is the same word
        ("report x --style consise -o y", "--style: there is no 'consise'; did you mean concise?"),
        ("info schemas", "there is no 'schemas'; did you mean schemes?"),
        ("report x -o y --age old", "--age: 'old' is no number"),
        ("weights", "the following arguments are required: ACTION (one of list, show, fetch, verify, where)"),
        ("index", "ACTION (one of build, "),
        ("", "COMMAND (one of report, demo, "),
        ("report x", "the following arguments are required: -o/--output"),
    ],
)
def test_a_misspelled_word_is_told_in_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words.split())
    except SystemExit as stop:
        code = int(stop.code or 0)
    said_there = capsys.readouterr().err
    assert code == 2 and said_there.count("\n") == 1
    assert said in said_there


def test_nothing_is_suggested_where_nothing_is_alike(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "x", "--zzz", "-o", "y"])
    assert capsys.readouterr().err == "radvlm report: error: there is no option --zzz; see radvlm report --help\n"


def test_beginnings_of_options_stay_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nope.nii.gz", "--mask", "m", "-o", "out_of_a_test", "-q"]) == 2
    assert "nope.nii.gz, which does not exist" in capsys.readouterr().err
