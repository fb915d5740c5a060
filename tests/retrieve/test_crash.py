"""kill -9 at any moment leaves the old index or the new one; readers go on while another process writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from radvlm.retrieve import HashedText, Record, ReportIndex, SearchOptions

WRITER = textwrap.dedent("""
    import sys
    from radvlm.retrieve import HashedText, Record, ReportIndex

    folder, first = sys.argv[1], int(sys.argv[2])
    def records(a, n):
        return [Record(f"P{i}", f"S{i}", f"A {i} mm cyst in the liver. The spleen has {i} calcifications.")
                for i in range(a, a + n)]
    print("ready", flush=True)
    if first == 0:
        index = ReportIndex.build(records(0, 40), HashedText(16), folder, overwrite=True)
    else:
        index = ReportIndex.load(folder)
    for step in range(3):
        print("step", flush=True)
        index = index.add(records(1000 * (first + 1) + 10 * step, 10))
        index = index.remove(ids=[f"S{1000 * (first + 1) + 10 * step}"])
        if step == 1:
            index = index.rebuild()
    if first == 0:  # and once more over the index that is there
        ReportIndex.build(records(0, 40), HashedText(16), folder, overwrite=True)
    print("done", flush=True)
""")


def _writer(folder: Path, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path: Path) -> None:
    """Each round kills a writer after a random time; what is left is whole and is a state between two writes."""
    rng = random.Random(4)
    folder = tmp_path / "index"
    whole = _writer(folder, 0)  # once to the end: how long it takes here
    assert whole.stdout is not None and whole.stdout.readline() == "ready\n"
    start = time.perf_counter()
    _, err = whole.communicate()
    assert whole.returncode == 0, err
    seconds = time.perf_counter() - start
    killed = 0
    for round_ in range(1, 7):
        process = _writer(folder, 0 if round_ == 4 else round_)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.8 * seconds))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.communicate()
        with ReportIndex.load(folder) as index:
            found = index.check(queries=5)
            assert found["problems"] == []
            base = {f"S{i}" for i in range(40)}
            ids = [i for s in index.segments for i in s.column("id")]
            live = {i for i, gone in zip(ids, index.removed, strict=True) if not gone}
            assert base <= live
            for block in {int(i[1:]) // 10 for i in live - base}:
                here = {i for i in live - base if int(i[1:]) // 10 == block}
                assert len(here) in (9, 10), "an add is whole or absent, a removal too"
    assert killed >= 4
    with ReportIndex.load(folder) as index:  # and the folder can be written again
        more = index.add([Record("PX", "SX", "A cyst.")])
        assert more.check(queries=5)["ok"]
        assert not list((folder / "segments").glob("tmp-*")), "the next writer sweeps what the killed ones left"
        more.close()


def test_killed_first_build_is_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped just before the pointer is replaced, there is no index; the same build then works."""
    from radvlm.errors import FileFormatError
    from radvlm.retrieve import storage

    with monkeypatch.context() as patch:
        patch.setattr(storage, "publish", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ReportIndex.build([Record("P", "S", "A cyst.")], HashedText(16), tmp_path / "i")
    with pytest.raises(FileFormatError, match="CURRENT"):
        ReportIndex.load(tmp_path / "i")
    assert len(ReportIndex.build([Record("P", "S", "A cyst.")], HashedText(16), tmp_path / "i")) == 1


@pytest.mark.slow
def test_readers_during_writes(tmp_path: Path) -> None:
    """While a writer adds, removes and rebuilds, every load gives a whole index and every search all its rows."""
    folder = tmp_path / "index"
    first = ReportIndex.build(
        [Record(f"P{i}", f"S{i}", f"A {i} mm cyst in the liver.") for i in range(40)], HashedText(16), folder
    )
    process = _writer(folder, 7)
    digests = set()
    try:
        while process.poll() is None:
            with ReportIndex.load(folder) as index:
                digests.add(index.digest)
                assert len(index.search("cyst", 1000, SearchOptions(level="report"))) == len(index)
        assert len(first.search("cyst", 1000, SearchOptions(level="report"))) == 40, "an open index outlives its files"
    finally:
        process.kill()
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.endswith("done\n") and len(digests) > 2


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    from radvlm.errors import InputError
    from radvlm.retrieve.storage import writer_lock

    index = ReportIndex.build([Record("P", "S", "A cyst.")], HashedText(16), tmp_path / "i")
    with writer_lock(tmp_path / "i"), pytest.raises(InputError, match="one writer"):
        index.add([Record("Q", "T", "A cyst.")])
    assert len(index.add([Record("Q", "T", "A cyst.")])) == 2
