"""Folders that are either the old index or the new one, also after kill -9 or a power cut.

Layout: ``segments/<id>/`` hold vectors and text and never change once named; ``generations/<number>/`` say which
segments count and what was removed; ``CURRENT`` is one line with the number and the sha256 of its manifest, replaced
atomically as the last act of every write. Files of a new segment are written under a name that nobody reads, flushed to
disk, and renamed. What no generation names is swept away by the next writer. Readers keep what they have open.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of, whole_file

FORMAT = "1"
_POINTER = "CURRENT"


def new_name() -> str:
    return uuid.uuid4().hex[:12]


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """One writer at a time; InputError when another holds it. The lock goes with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "LOCK").open("a+b") as file:
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            else:
                import fcntl

                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "an index has one writer at a time",
                f"{folder.name} is being written",
                "Wait for the other process to end",
            ) from error
        yield


def digests_of(folder: Path, leave_out: str = "") -> dict[str, dict[str, Any]]:
    return {
        p.name: {"bytes": p.stat().st_size, "sha256": sha256_of(p)}
        for p in sorted(folder.iterdir())
        if p.is_file() and p.name != leave_out
    }


def seal(folder: Path, facts: Mapping[str, Any], name: str) -> str:
    """Write ``facts`` with the digests of all other files of a folder as ``name``; the sha256 of that file."""
    document = {**facts, "files": digests_of(folder, name)}
    (folder / name).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    return sha256_of(folder / name)


def publish(folder: Path, generation: str, manifest_sha256: str) -> None:
    """Make a generation the current one: the moment at which a write happens."""
    with whole_file(folder / _POINTER, durable=True) as beside:
        beside.write_text(f"{generation} {manifest_sha256}\n", encoding="utf-8")


def exists(folder: Path) -> bool:
    return (folder / _POINTER).is_file()


def read_current(folder: Path) -> tuple[str, dict[str, Any], str]:
    """(generation, manifest, sha256 of the manifest); FileFormatError when there is none or it was altered."""
    pointer = folder / _POINTER
    if not pointer.is_file():
        raise FileFormatError(
            "a folder with an index has a file CURRENT",
            str(folder),
            "Build one: radvlm index build --reports reports.jsonl -o INDEX",
        )
    try:
        generation, digest = pointer.read_text(encoding="utf-8").split()
        content = (folder / "generations" / generation / "manifest.json").read_bytes()
    except ValueError as error:
        raise FileFormatError("CURRENT names a generation and its digest", str(folder)) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise FileFormatError(
            "the manifest of an index is as it was written",
            f"{folder.name}/{generation}",
            "Restore the folder from a copy, or build the index again",
        )
    manifest = json.loads(content)
    if manifest.get("format") != FORMAT:
        raise FileFormatError(
            f"an index has format {FORMAT}",
            str(manifest.get("format")),
            "Read it with the radvlm release that wrote it, or build it again",
        )
    return generation, manifest, digest


def verify_files(folder: Path, files: Mapping[str, Mapping[str, Any]], contents: bool) -> list[str]:
    """What is wrong with the files of a segment or generation: missing, of another size, or of other content."""
    wrong = []
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{folder.name}/{name} is missing")
        elif path.stat().st_size != facts["bytes"]:
            wrong.append(f"{folder.name}/{name} has {path.stat().st_size} bytes instead of {facts['bytes']}")
        elif contents and sha256_of(path) != facts["sha256"]:
            wrong.append(f"{folder.name}/{name} was altered")
    return wrong


def check_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """FileFormatError for files that are missing or of another size; their content is not read."""
    if wrong := verify_files(folder, files, contents=False):
        raise FileFormatError(
            "the files of an index are whole",
            "; ".join(wrong),
            "Restore the folder from a copy, or build the index again",
        )


def sweep(folder: Path, keep_generations: set[str], keep_segments: set[str]) -> None:
    """Remove what nothing names: left over from a killed writer, or from before the last write."""
    for kind, keep in (("generations", keep_generations), ("segments", keep_segments)):
        for path in (folder / kind).glob("*"):
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f".{_POINTER}.*"):
        path.unlink(missing_ok=True)
