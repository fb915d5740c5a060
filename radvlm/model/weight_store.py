"""The folder of weights: what lies in it, how a model gets there, and whether it is still what it was.

Nothing is fetched unless ``fetch`` is called, which ``radvlm weights fetch`` does and nothing else. A file gets its
place only when it is whole and its sha256 is the one that the table or the hub states; where neither states one, the
digest of the first fetch is recorded and holds from then on (``TRUSTED_FIRST_USE``). What a broken download left is
continued by the next one. Files of one's own, carried into a hospital without a network, take the same way.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError, MissingPackageError
from radvlm.files.atomic import sha256_of, utc_now, write_text
from radvlm.files.staging import name_beside
from radvlm.model.hub import commit_of, published_files, resumed_download
from radvlm.model.published import PublishedFile, PublishedModel, published_model, published_models

#: Environment variable that names the folder.
FOLDER_VARIABLE = "RADVLM_WEIGHTS"
RECORD = "fetched.json"
#: Where a digest comes from.
TRUSTED_TABLE, TRUSTED_HUB, TRUSTED_FIRST_USE = "table of radvlm", "hub", "first use"
#: Where half a download waits to be continued, inside the folder of its model.
_PARTIAL = ".partial"
#: Left free beside what is fetched.
_SPARE_BYTES = 64 << 20
_FORMAT, _VERSION = "radvlm-fetched", 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class FetchedFile:
    """What is recorded of a file when it gets its place.

    Attributes:
        model: whose file it is. repository, commit: of the hub; "" for a file of one's own.
        trusted: ``TRUSTED_TABLE``, ``TRUSTED_HUB`` or ``TRUSTED_FIRST_USE``.
        fetched: when, ISO 8601.
    """

    model: str
    sha256: str
    size_bytes: int
    trusted: str
    fetched: str
    repository: str = ""
    commit: str = ""


@dataclass(frozen=True)
class WeightsOnDisk:
    """A published model and what of it is at hand.

    Attributes:
        state: ``ready`` (every file is there), ``part`` (some are), or ``absent``.
        where: the folder, or the package that holds it; "" where it is absent.
        files: what lies there, with its size.
        words: one line for a list: "2 of 3 files", "in the package X 0.1.0".
    """

    model: PublishedModel
    state: str
    where: str = ""
    files: Mapping[str, int] = field(default_factory=dict)
    words: str = ""


def weights_folder() -> Path:
    """``$RADVLM_WEIGHTS``, else ``radvlm/weights`` in ``$XDG_DATA_HOME`` (``~/.local/share``)."""
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "radvlm" / "weights"


def folder_of(model: PublishedModel, folder: Path | None = None) -> Path:
    """Where the files of a model lie, or would lie."""
    return (folder or weights_folder()) / model.place


def recorded(model: PublishedModel, folder: Path | None = None) -> Mapping[str, FetchedFile]:
    """What was recorded of a model's files when they were fetched, by name."""
    names = {file.name for file in model.files}
    return {name: facts for name, facts in _record(folder_of(model, folder)).items() if name in names}


def weights_on_disk(folder: Path | None = None) -> tuple[WeightsOnDisk, ...]:
    """Every published model, and what of it is at hand; reads names and sizes only."""
    return tuple(state_of(model, folder) for model in published_models())


def state_of(model: PublishedModel, folder: Path | None = None) -> WeightsOnDisk:
    """What of one model is at hand: in its folder of weights, in a package, or nothing."""
    if model.how == "shipped":
        return WeightsOnDisk(model, "ready", "radvlm", {}, "in this package")
    place = folder_of(model, folder)
    held = {f.name: (place / f.name).stat().st_size for f in model.files if (place / f.name).is_file()}
    whole = [f for f in model.files if held.get(f.name) == f.size_bytes or (f.name in held and not f.size_bytes)]
    if model.files and len(whole) == len(model.files):
        return WeightsOnDisk(model, "ready", str(place), held, "on disk")
    parts = package_parts(model)
    if parts is not None:
        size = sum(part.stat().st_size for part in parts)
        return WeightsOnDisk(model, "ready", model.package, {model.files[0].name: size}, "in an installed package")
    waiting = (place / _PARTIAL).is_dir()
    if held or waiting:
        words = f"{len(whole)} of {len(model.files)} files" + (", a download was cut short" if waiting else "")
        return WeightsOnDisk(model, "part", str(place), held, words)
    return WeightsOnDisk(model, "absent", "", {}, "")


def package_parts(model: PublishedModel) -> tuple[Path, ...] | None:
    """The files that make up a model's one file in the packages that hold it; None where one is not installed.

    The packages are found, not imported: nothing of theirs runs.
    """
    found = []
    for module in model.parts:
        spec = find_spec(module)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).parent / model.part_file
        if origin is None or not origin.is_file():
            return None
        found.append(origin)
    return tuple(found) or None


def fetch(
    name: str,
    source: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    folder: Path | None = None,
    endpoint: str | None = None,
    say: Say = lambda line: None,
) -> Path:
    """Bring a model's files to its folder, from the hub or from a file or folder of one's own; returns that folder.

    Args:
        source: a file or a folder that holds files of the published names; None fetches from the hub.
        revision: commit of the hub repository (40 hex digits), where another than the table's is wanted.
        folder: of all weights, ``weights_folder()`` by default. endpoint: of a mirror of the hub.
        say: gets the licence first, then one line a file.

    Raises:
        InputError: a model that is not published this way, with what brings it; a disk that is too full.
        MissingPackageError: the network, the hub or the commit cannot be reached. What was fetched stays.
        FileFormatError: a file whose digest is another one; nothing of it gets its place.
    """
    model = published_model(name)
    place = folder_of(model, folder)
    say(f"{model.name}: {model.title}")
    say(f"Licence: {model.licence}")
    if source is not None:
        return _take(model, Path(source), place, say)
    if model.how != "hub":
        raise InputError(
            "a model that is fetched lies on a hub", f"{name}: {_other_way(model)}", model.install or _missing(model)
        )
    if revision is not None:
        commit_of(model.repository, revision)
    wanted = revision or model.commit or None
    listed = published_files(model.repository, wanted, [f.name for f in model.files], endpoint=endpoint)
    if wanted is None:
        say(f"The table knows no commit of {model.repository}; the current one is {listed.commit} and is recorded.")
    record = _record(place)
    todo = [f for f in model.files if not _is_in_place(f, place, record, listed.commit)]
    _need_space(place, sum(listed.sizes.get(f.name, f.size_bytes) for f in todo), place / _PARTIAL)
    for file in model.files:
        if file not in todo:
            say(f"{file.name}: is there already")
            continue
        staged = resumed_download(
            model.repository,
            file.name,
            listed.commit,
            place / _PARTIAL,
            size=listed.sizes.get(file.name),
            endpoint=endpoint,
        )
        found = sha256_of(staged)
        stated = file.sha256 or listed.digests.get(file.name, "")
        trusted = TRUSTED_TABLE if file.sha256 else TRUSTED_HUB if stated else TRUSTED_FIRST_USE
        if stated and found != stated:
            staged.unlink()
            raise _wrong_digest(file.name, found, stated, "It was removed; fetch it again")
        size = staged.stat().st_size
        (place / file.name).parent.mkdir(parents=True, exist_ok=True)
        staged.replace(place / file.name)
        record[file.name] = FetchedFile(model.name, found, size, trusted, utc_now(), model.repository, listed.commit)
        _write_record(place, record)
        say(f"{file.name}: {size} bytes, sha256 {found} ({_trust_words(trusted)})")
    shutil.rmtree(place / _PARTIAL, ignore_errors=True)
    return place


def _take(model: PublishedModel, source: Path, place: Path, say: Say) -> Path:
    """Files of one's own under the published names; what is recorded says that they came so."""
    if not model.files:
        raise InputError(f"{model.name} has files that radvlm knows by name", "none", model.install or model.missing)
    given = _given_files(model, source)
    _need_space(place, sum(path.stat().st_size for path in given.values()), place)
    record = _record(place)
    for file in model.files:
        if file.name not in given:
            continue
        path = given[file.name]
        found = sha256_of(path)
        before = record.get(file.name)
        if file.sha256 and found != file.sha256:
            raise _wrong_digest(path.name, found, file.sha256, "Copy it again from where you trust it")
        if not file.sha256 and before is not None and found != before.sha256:
            raise _wrong_digest(
                path.name,
                found,
                before.sha256,
                f"It was recorded on {before.fetched[:10]}; remove {place} to replace it",
            )
        trusted = TRUSTED_TABLE if file.sha256 else TRUSTED_FIRST_USE
        if not (place / file.name).is_file() or not path.samefile(place / file.name):
            place.mkdir(parents=True, exist_ok=True)
            beside = name_beside(place / file.name, "part")
            try:
                shutil.copyfile(path, beside)
                if sha256_of(beside) != found:
                    raise FileFormatError("a file is copied whole", path.name, "Check the disk, and copy it again")
                beside.replace(place / file.name)
            except OSError as error:
                if isinstance(error, FileFormatError):
                    raise
                raise FileFormatError(
                    "the folder of weights can be written", f"{place}: {error.strerror}", "Choose another folder"
                ) from error
            finally:
                beside.unlink(missing_ok=True)
        size = (place / file.name).stat().st_size
        record[file.name] = FetchedFile(model.name, found, size, trusted, utc_now())
        _write_record(place, record)
        say(f"{file.name}: {size} bytes, sha256 {found} ({_trust_words(trusted)})")
    for file in model.files:
        if file.name not in given and not (place / file.name).is_file():
            say(f"{file.name}: not in {source}")
    return place


def _given_files(model: PublishedModel, source: Path) -> dict[str, Path]:
    """Published name -> file of one's own; a single file may have any name where the model has one file."""
    names = [f.name for f in model.files]
    if source.is_file():
        if source.name in names:
            return {source.name: source}
        if len(names) == 1:
            return {names[0]: source}
    elif source.is_dir():
        found = {name: source / name for name in names if (source / name).is_file()}
        if found:
            return found
    else:
        raise FileFormatError("source= is a file or a folder", f"{source}: no such file or folder", "Check the path")
    raise FileFormatError(
        f"the source holds files of {model.name}: {', '.join(names)}", str(source), "Check the path and the names"
    )


@dataclass(frozen=True)
class Checked:
    """How one file was found: ``ok``, ``differs``, ``missing`` or ``unknown`` (nothing states a digest)."""

    model: str
    file: str
    state: str
    words: str


def verify(name: str | None = None, *, folder: Path | None = None) -> tuple[Checked, ...]:
    """Read the files of one model, or of all that are at hand, again and compare their sha256 with what is known.

    Raises InputError for a model that is not published, or of which nothing is at hand.
    """
    rows = published_models() if name is None else (published_model(name),)
    found: list[Checked] = []
    seen: set[Path] = set()
    for model in rows:
        state = state_of(model, folder)
        if state.state == "absent" or model.how == "shipped":
            if name is not None and model.how != "shipped":
                raise InputError(
                    "weights that are verified are here", f"nothing of {name}", model.install or _fetch_words(model)
                )
            continue
        parts = package_parts(model) if state.where == model.package else None
        for file in model.files:
            path = folder_of(model, folder) / file.name
            if parts is not None:
                if parts[0] not in seen:
                    seen.add(parts[0])
                    found.append(_compared(model, file, joined_digest(parts), None))
            elif path not in seen:
                seen.add(path)
                record = _record(path.parent).get(file.name)
                digest = sha256_of(path) if path.is_file() else None
                found.append(_compared(model, file, digest, record))
    return tuple(found)


def joined_digest(parts: tuple[Path, ...]) -> str:
    """sha256 of several files, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _compared(model: PublishedModel, file: PublishedFile, found: str | None, record: FetchedFile | None) -> Checked:
    if found is None:
        return Checked(model.name, file.name, "missing", "not there")
    stated = file.sha256 or (record.sha256 if record else "")
    if not stated:
        return Checked(model.name, file.name, "unknown", f"sha256 {found}; neither the table nor a record states one")
    trusted = TRUSTED_TABLE if file.sha256 else record.trusted if record else ""
    if found != stated:
        return Checked(model.name, file.name, "differs", f"sha256 {found}, expected {stated} ({_trust_words(trusted)})")
    return Checked(model.name, file.name, "ok", f"sha256 {found} ({_trust_words(trusted)})")


def _is_in_place(file: PublishedFile, place: Path, record: Mapping[str, FetchedFile], commit: str) -> bool:
    """Whether the file of that commit is there with the size that was recorded; its digest is ``verify``'s business."""
    held = record.get(file.name)
    path = place / file.name
    return held is not None and held.commit == commit and path.is_file() and path.stat().st_size == held.size_bytes


def _need_space(place: Path, needed: int, partial: Path) -> None:
    """InputError where the disk cannot hold ``needed`` bytes more than what a broken download already wrote."""
    there = sum(f.stat().st_size for f in partial.rglob("*.part")) if partial.is_dir() else 0
    nearest = place
    while not nearest.exists() and nearest.parent != nearest:
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free
    if needed - there + _SPARE_BYTES > free:
        raise InputError(
            "the disk holds the weights",
            f"{(needed - there) / 1e9:.2f} GB to fetch, {free / 1e9:.2f} GB free at {nearest}",
            f"Free some space, or set {FOLDER_VARIABLE} to a folder on another disk",
        )


def _record(place: Path) -> dict[str, FetchedFile]:
    """What was recorded in a folder; empty without a record. FileFormatError for a damaged one."""
    path = place / RECORD
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT or int(data["version"]) > _VERSION:
            raise ValueError(f"{data['format']} {data['version']}")
        return {str(name): FetchedFile(**facts) for name, facts in data["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            "a folder of weights holds the record that fetch wrote", f"{path}: {error}", "Remove it and fetch again"
        ) from error


def _write_record(place: Path, record: Mapping[str, FetchedFile]) -> None:
    held: dict[str, Any] = {"format": _FORMAT, "version": _VERSION}
    held["files"] = {name: asdict(file) for name, file in sorted(record.items())}
    write_text(place / RECORD, json.dumps(held, indent=2) + "\n")


def _wrong_digest(name: str, found: str, stated: str, remedy: str) -> FileFormatError:
    return FileFormatError("a file has the sha256 that is known", f"{name}: {found}, expected {stated}", remedy)


def _trust_words(trusted: str) -> str:
    words = {
        TRUSTED_TABLE: "as radvlm's table states",
        TRUSTED_HUB: "as the hub stated when it was fetched",
        TRUSTED_FIRST_USE: "recorded at first use: nothing states one",
    }
    return words.get(trusted, trusted)


def _other_way(model: PublishedModel) -> str:
    ways = {"shipped": "it ships with radvlm", "package": f"it comes in the package {model.package}"}
    return ways.get(model.how, "it is fetched by another program" if model.command else "nothing fetches it")


def _fetch_words(model: PublishedModel) -> str:
    return f"Fetch it: radvlm weights fetch {model.name}" if model.how == "hub" else _missing(model)


def _missing(model: PublishedModel) -> str:
    return f"Missing: {model.missing}" if model.missing else ""


def need_weights(name: str) -> tuple[PublishedModel, Path | tuple[Path, ...]]:
    """A published model and its folder, or the parts of its one file in packages, for whoever loads it.

    Raises MissingPackageError with the command that brings it where it is not at hand.
    """
    model = published_model(name)
    state = state_of(model)
    if state.state == "ready" and state.where != model.package:
        return model, folder_of(model)
    parts = package_parts(model)
    if parts is not None:
        return model, parts
    raise MissingPackageError(
        f"the weights of {name} are at hand",
        state.words or f"nothing of it is in {weights_folder()}",
        model.install or _fetch_words(model),
    )
