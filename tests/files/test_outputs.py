"""Where output goes: asked before the work, written through links and mounts, and cleared of what killed runs left."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from radvlm.cli.arguments import require_output
from radvlm.cli.main import build_parser, main
from radvlm.errors import FileFormatError
from radvlm.files import atomic
from radvlm.files.report_folder import OUTPUT_FILES, own_files, require_report_folder
from radvlm.files.staging import name_beside, remove_abandoned

NAMES = ("a.txt", "b.txt")


def _write(folder: Path | str) -> None:
    with atomic.whole_files(Path(folder), NAMES) as beside:
        for name in NAMES:
            (beside / name).write_text("new")


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_current_folder_is_written_into(tmp_path, monkeypatch):
    """``.`` has no name; what else lies there stays, also when the current folder is named by a link or by ``..``."""
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "mine").write_text("kept")
    monkeypatch.chdir(work)
    atomic.require_writable_folder(".")
    for folder in (".", "sub/..", "./"):
        _write(folder)
        assert _tree(tmp_path) == ["work", "work/a.txt", "work/b.txt", "work/mine", "work/sub"]
    monkeypatch.chdir(work / "sub")
    _write("..")
    assert _tree(tmp_path) == ["work", "work/a.txt", "work/b.txt", "work/mine", "work/sub"]
    assert (work / "mine").read_text() == "kept" and (work / "a.txt").read_text() == "new"


@pytest.mark.parametrize("folder", ["", "/"])
def test_no_folder_of_its_own(folder, capsys):
    with pytest.raises(FileFormatError):
        atomic.require_writable_folder(folder)
    assert main(["report", "nothing.nii.gz", "-o", folder]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and ("root of the file system" in told or "variable of the shell" in told)


def test_a_linked_folder_is_written_into_on_its_own_disk(tmp_path):
    """Beside the link there may be another file system, to which nothing can be renamed."""
    real = tmp_path / "elsewhere" / "real"
    real.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(real)
    _write(link)
    assert link.is_symlink() and _tree(real) == ["a.txt", "b.txt"]
    (tmp_path / "link.csv").symlink_to(real / "a.txt")
    atomic.write_text(tmp_path / "link.csv", "through")
    assert (real / "a.txt").read_text() == "through" and (tmp_path / "link.csv").is_symlink()


def test_a_folder_that_is_there_is_staged_inside(tmp_path):
    """A bind mount cannot be told from its parent, and nothing can be renamed across it."""
    with atomic.whole_files(tmp_path, NAMES) as beside:
        assert beside.parent == tmp_path
    assert _tree(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs devices")
def test_a_device_is_written_to_and_not_replaced(tmp_path):
    atomic.require_writable_file("/dev/null")
    atomic.write_text("/dev/null", "x")
    assert Path("/dev/null").is_char_device()
    code = "from radvlm.files import atomic; atomic.require_writable_file('/dev/stdout'); "
    code += "atomic.write_text('/dev/stdout', 'said')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "said"
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log)
    assert (tmp_path / "log").read_text() == "said" and Path("/dev/stdout").is_symlink()


def test_links_that_lead_nowhere_are_told_beforehand(tmp_path):
    (tmp_path / "lost").symlink_to(tmp_path / "gone" / "out")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for folder in ("lost", "circle", "lost/in/it", "circle/in/it"):
        with pytest.raises(FileFormatError, match=r"leads nowhere.*remove the link"):
            atomic.require_writable_folder(tmp_path / folder)
    with pytest.raises(FileFormatError, match="leads nowhere"):
        atomic.require_writable_file(tmp_path / "circle")
    with pytest.raises(FileFormatError, match="there is no folder"):
        atomic.require_writable_file(tmp_path / "lost")
    (tmp_path / "later").symlink_to(tmp_path / "later.csv")  # a link to a file that can be made
    atomic.require_writable_file(tmp_path / "later")
    atomic.write_text(tmp_path / "later", "x")
    assert (tmp_path / "later.csv").read_text() == "x" and (tmp_path / "later").is_symlink()


def test_a_long_name_is_written(tmp_path):
    for name in ("x" * 250, "ü" * 125):
        atomic.require_writable_folder(tmp_path / name)
        _write(tmp_path / name)
        atomic.write_text(tmp_path / f"{name}.t", "x")
        assert (tmp_path / name / "a.txt").read_text() == "new"


def _manifest(**more: object) -> str:
    return json.dumps({"radvlm": "0.1.0", "configuration_sha256": "0" * 64, **more})


def test_only_files_of_a_report_are_replaced(tmp_path):
    require_report_folder(tmp_path / "new")
    for name in OUTPUT_FILES:
        folder = tmp_path / f"foreign-{name}"
        folder.mkdir()
        (folder / "thesis.doc").write_text("mine")
        require_report_folder(folder)
        (folder / name).write_text("mine")
        with pytest.raises(
            FileFormatError, match=rf"{re.escape(name)}, which radvlm did not write.*Choose another folder"
        ):
            require_report_folder(folder)
    require_report_folder(tmp_path / "foreign-report.html", page=False)
    ours = tmp_path / "ours"
    ours.mkdir()
    for name in OUTPUT_FILES:
        (ours / name).write_text("an earlier report")
    (ours / "manifest.json").write_text(_manifest())  # of a version that did not list its files
    assert own_files(ours) == set(OUTPUT_FILES)
    require_report_folder(ours)
    (ours / "manifest.json").write_text(_manifest(files=[n for n in OUTPUT_FILES if n != "report.html"]))
    require_report_folder(ours, page=False)
    with pytest.raises(FileFormatError, match=r"report\.html"):
        require_report_folder(ours)
    for content in ("{", "[]", '{"name": "of another program"}', '"radvlm"', "[" * 5000):
        (ours / "manifest.json").write_text(content)
        with pytest.raises(FileFormatError, match="earlier report"):
            require_report_folder(ours)


def test_a_folder_or_a_link_with_the_name_of_a_file(tmp_path):
    (tmp_path / "manifest.json").write_text(_manifest())
    (tmp_path / "report.json").mkdir()
    with pytest.raises(FileFormatError, match=r"report\.json is a folder.*move it away"):
        require_report_folder(tmp_path)
    (tmp_path / "report.json").rmdir()
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "report.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(FileFormatError, match=r"report\.txt"):
        require_report_folder(tmp_path)


def test_the_command_asks_before_it_works(tmp_path, capsys):
    """Nothing is read for an output that is refused: the scan does not even exist."""
    (tmp_path / "report.txt").write_text("mine")
    (tmp_path / "lost").symlink_to(tmp_path / "gone")
    for command in (["report", "nothing.nii.gz"], ["demo"]):
        for folder in (tmp_path, tmp_path / "lost"):
            assert main([*command, "-o", str(folder)]) == 2
            told = capsys.readouterr().err
            assert told.count("\n") == 1 and str(folder) in told and "nothing.nii.gz" not in told
    assert (tmp_path / "report.txt").read_text() == "mine"


@pytest.mark.parametrize("arguments", [["report", "", "-o", "out"], ["report", "a.nii", "--masks", "", "-o", "out"]])
def test_an_empty_argument_is_no_path(tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "variable of the shell" in told
    assert ("--masks with nothing after it" in told) == ("--masks" in arguments)
    assert _tree(tmp_path) == []


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("how", ["whole_file(place)", "whole_files(place, ['a.txt'])", "whole_folder(place)"])
def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, how, there):
    """Of this output, not of one whose name begins alike."""
    target, other = tmp_path / "report", tmp_path / "report2"
    if there and "whole_file(" not in how:
        target.mkdir()
    code = textwrap.dedent(f"""
        import sys, time
        from contextlib import ExitStack
        from pathlib import Path
        from radvlm.files.atomic import whole_file, whole_files, whole_folder
        with ExitStack() as writing:
            for place in map(Path, sys.argv[1:]):
                writing.enter_context({how})
            print("in", flush=True)
            time.sleep(60)
    """)
    run = subprocess.Popen([sys.executable, "-c", code, target, other], stdout=subprocess.PIPE)
    try:
        assert run.stdout is not None and run.stdout.readline() == b"in\n"
        alive = [path for path in _tree(tmp_path) if path.endswith(".part")]
        assert len(alive) == 2 and remove_abandoned(target) == ()
        assert [path for path in _tree(tmp_path) if path.endswith(".part")] == alive
    finally:
        run.kill()
        run.communicate()
    (removed,) = remove_abandoned(target)
    (left,) = [path for path in _tree(tmp_path) if path.endswith(".part")]
    assert ".report2." in left and ".report." in removed.name and not removed.exists()


def test_only_what_the_library_named_is_removed(tmp_path):
    """Names of others, links and backups stay; names in a folder go only where its files are written one by one."""
    kept = [
        ".out.part",
        ".out.0123456789ab.old",
        "out.0123456789ab.part",
        ".out.0123456789AB.part",
        ".out2.0123456789ab.part",
    ]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".out.aaaaaaaaaaaa.part").symlink_to(tmp_path / kept[0])
    out = tmp_path / "out"
    out.mkdir()
    (out / ".result.json.0123456789ab.part").write_text("half")
    assert remove_abandoned(out) == ()
    assert remove_abandoned(out, files_inside=True) == (out / ".result.json.0123456789ab.part",)
    assert sorted([*kept, ".out.aaaaaaaaaaaa.part", "out"]) == _tree(tmp_path)


def test_without_locks_nothing_is_taken_for_abandoned(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = name_beside(tmp_path / "out", "part")
    left.mkdir()
    _write(tmp_path / "out")
    assert remove_abandoned(tmp_path / "out") == () and left.exists()


def test_the_command_says_what_it_removed(tmp_path, capsys):
    left = name_beside(tmp_path / "out", "part")
    left.mkdir()
    (left / "report.txt").write_text("half")
    require_output(build_parser().parse_args(["demo", "-o", str(tmp_path / "out")]))
    assert f"note: Removed {left}, which a run that was stopped had left.\n" in capsys.readouterr().err
    assert not left.exists() and _tree(tmp_path) == []
