"""A file or folder is the old one or the new one, whatever goes wrong at whatever step."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Thread

import pytest

from radvlm.errors import FileFormatError
from radvlm.files import atomic


class Boom(Exception):
    """What the tests let go wrong."""


def _content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def failing_rename(monkeypatch):
    """Lets the nth rename or replace from now on fail; the others work."""

    def arm(nth: int) -> None:
        count = 0

        def failing(real):
            def move(*args, **kwargs):
                nonlocal count
                count += 1
                if count == nth:
                    raise OSError(28, "No space left on device")
                return real(*args, **kwargs)

            return move

        monkeypatch.setattr(os, "rename", failing(os.rename))
        monkeypatch.setattr(os, "replace", failing(os.replace))

    return arm


def test_write_text_and_bytes(tmp_path):
    assert atomic.write_text(tmp_path / "a.txt", "µ\n").read_bytes() == "µ\n".encode()
    assert atomic.write_bytes(str(tmp_path / "a.txt"), b"new").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_cannot_be_written_is_named(tmp_path, failing_rename):
    with pytest.raises(FileFormatError, match=r"b\.txt: No such file.*Create the folder"):
        atomic.write_text(tmp_path / "absent" / "b.txt", "x")
    atomic.write_text(tmp_path / "b.txt", "old")
    failing_rename(1)
    with pytest.raises(FileFormatError, match="No space left"):
        atomic.write_text(tmp_path / "b.txt", "new")
    assert _content(tmp_path) == {"b.txt": "old"}


@pytest.mark.parametrize("durable", [False, True])
def test_whole_file(tmp_path, durable):
    target = tmp_path / "m.bin"
    with atomic.whole_file(target, durable=durable) as beside:
        beside.write_text("old")
        assert not target.exists() and beside.parent == tmp_path
    with pytest.raises(Boom), atomic.whole_file(target, durable=durable) as beside:
        beside.write_text("half")
        raise Boom
    assert _content(tmp_path) == {"m.bin": "old"}
    with atomic.whole_file(target, durable=durable) as beside:
        beside.write_text("new")
    assert _content(tmp_path) == {"m.bin": "new"}


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Each writes beside the target under a name of its own: the file is one of the two, never a mixture."""
    texts = [letter * 200_000 for letter in "ab"]

    def write(text):
        for _ in range(40):
            atomic.write_text(tmp_path / "x", text)

    threads = [Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "x").exists():
            seen.add((tmp_path / "x").read_text())
    assert seen <= set(texts) and [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("durable", [False, True])
def test_whole_folder(tmp_path, durable):
    target = tmp_path / "made" / "model"
    with atomic.whole_folder(target, durable=durable) as beside:
        (beside / "deep").mkdir()
        (beside / "deep" / "w").write_text("1")
        assert not target.exists() and beside.parent == target.parent
    assert _content(tmp_path) == {"made/model/deep/w": "1"}
    with atomic.whole_folder(target, durable=durable) as beside:
        (beside / "other").write_text("2")
        assert (target / "deep" / "w").read_text() == "1"
    assert _content(tmp_path) == {"made/model/other": "2"}
    with pytest.raises(Boom), atomic.whole_folder(target, durable=durable) as beside:
        (beside / "half").write_text("3")
        raise Boom
    assert _content(tmp_path) == {"made/model/other": "2"}
    assert [p.name for p in target.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("nth", [1, 2])
def test_the_old_folder_is_back_when_a_rename_fails(tmp_path, failing_rename, nth):
    """First the old one moves out, then the new one in: whichever fails."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").write_text("old")
    failing_rename(nth)
    with pytest.raises(OSError, match="No space left"), atomic.whole_folder(tmp_path / "model") as beside:
        (beside / "w").write_text("new")
    assert _content(tmp_path) == {"model/w": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_the_old_folder_is_never_deleted_while_nothing_is_in_its_place(tmp_path, monkeypatch):
    """Even where it cannot be put back: it lies beside."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").write_text("old")
    real, calls = os.rename, []

    def rename(*args, **kwargs):
        calls.append(args)
        if len(calls) > 1:
            raise OSError(5, "Input/output error")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="Input/output"), atomic.whole_folder(tmp_path / "model") as beside:
        (beside / "w").write_text("new")
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".old") and (left / "w").read_text() == "old"


NAMES = ("a", "b", "c")


def _together(folder: Path, **texts: str) -> None:
    with atomic.whole_files(folder, NAMES) as beside:
        for name, text in texts.items():
            (beside / name).write_text(text)


def test_whole_files(tmp_path):
    folder = tmp_path / "report"
    _together(folder, a="1", b="1")
    assert _content(tmp_path) == {"report/a": "1", "report/b": "1"}
    (folder / "mine").write_text("kept")
    _together(folder, b="2", c="2")
    assert _content(tmp_path) == {"report/b": "2", "report/c": "2", "report/mine": "kept"}
    with pytest.raises(Boom), atomic.whole_files(folder, NAMES) as beside:
        (beside / "a").write_text("3")
        raise Boom
    assert _content(tmp_path) == {"report/b": "2", "report/c": "2", "report/mine": "kept"}
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_files_go_back_when_one_cannot_be_placed(tmp_path, failing_rename, nth):
    folder = tmp_path / "report"
    _together(folder, a="1", b="1")
    failing_rename(nth)
    with pytest.raises(OSError, match="No space left"):
        _together(folder, a="2", b="2", c="2")
    assert _content(tmp_path) == {"report/a": "1", "report/b": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_what_was_taken_away_comes_back_too(tmp_path, failing_rename):
    folder = tmp_path / "report"
    _together(folder, a="1", b="1")
    failing_rename(1)  # a was removed by then
    with pytest.raises(OSError, match="No space left"):
        _together(folder, b="2")
    assert _content(tmp_path) == {"report/a": "1", "report/b": "1"}


def test_durable_reaches_the_disk_in_order(tmp_path, monkeypatch):
    """The content before the rename, the names after it."""
    done: list[str] = []
    sync, rename, replace = os.fsync, os.rename, os.replace

    def where(handle: int) -> str:
        return next(p.name for p in [*tmp_path.rglob("*"), tmp_path] if p.stat().st_ino == os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", lambda h: (done.append(re.sub(r"^\..*", "beside", where(h))), sync(h)))
    monkeypatch.setattr(os, "rename", lambda *a, **k: (done.append("rename"), rename(*a, **k)))
    monkeypatch.setattr(os, "replace", lambda *a, **k: (done.append("rename"), replace(*a, **k)))
    with atomic.whole_file(tmp_path / "f", durable=True) as beside:
        beside.write_text("x")
    assert done == ["beside", "rename", tmp_path.name]
    done.clear()
    with atomic.whole_folder(tmp_path / "d", durable=True) as beside:
        (beside / "in").write_text("x")
    assert done == ["in", "beside", "rename", tmp_path.name]
    done.clear()
    atomic.write_text(tmp_path / "g", "x")
    assert done == ["rename"]


@pytest.mark.parametrize("mode", ["file", "files"])
def test_killed_while_writing(tmp_path, mode):
    """kill -9 in the middle: the old content is there."""
    body = {
        "file": "with atomic.whole_file(folder / 'a') as beside: beside.write_text('new'); wait()",
        "files": "with atomic.whole_files(folder, ['a']) as beside: (beside / 'a').write_text('new'); wait()",
    }[mode]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a").write_text("old")
    code = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from radvlm.files import atomic
        def wait():
            print("in", flush=True); time.sleep(60)
        folder = Path(sys.argv[1])
        {body}
    """)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "report")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "report" / "a").read_text() == "old"


def test_digest_and_clock(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert atomic.sha256_of(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", atomic.utc_now())


def test_an_output_that_cannot_be_written_is_told_beforehand(tmp_path, monkeypatch):
    """A file in the way, a missing parent, a closed folder, no space, an impossible name; and nothing is left."""
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path, tmp_path / "new", tmp_path / "a" / "b" / "c"):
        atomic.require_writable_folder(folder)
    atomic.require_writable_file(tmp_path / "new.csv")
    for folder in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "file" / "a" / "b"):
        with pytest.raises(FileFormatError, match=re.escape(f"{tmp_path / 'file'} is a file")):
            atomic.require_writable_folder(folder)
    with pytest.raises(FileFormatError, match=re.escape(str(tmp_path / "absent"))):
        atomic.require_writable_file(tmp_path / "absent" / "a.csv")
    with pytest.raises(FileFormatError, match="is a folder"):
        atomic.require_writable_file(tmp_path)
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(FileFormatError, match="can be written"):
            atomic.require_writable_folder(tmp_path / name)
    usage = atomic.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(FileFormatError, match="free"):
        atomic.require_writable_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_folder_that_nobody_can_write_to():
    for folder in ("/proc/out", "/proc/self/a/b"):
        with pytest.raises(FileFormatError, match="can be written"):
            atomic.require_writable_folder(folder)


def test_files_go_to_a_folder_in_a_closed_one(tmp_path, monkeypatch):
    """As a container is given it: the output folder can be written to, the folder that holds it cannot."""
    out = tmp_path / "out"
    out.mkdir()
    make = Path.mkdir

    def closed(self, *args, **kwargs):
        if self.parent == tmp_path:
            raise OSError(30, "Read-only file system")
        make(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", closed)
    with atomic.whole_files(out, ("a.txt",)) as beside:
        (beside / "a.txt").write_text("x")
    assert _content(tmp_path) == {"out/a.txt": "x"}
