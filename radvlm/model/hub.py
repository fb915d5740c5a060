"""Files of a model hub: a commit is required, nothing is fetched unless asked for, and one message says what is wrong.

A branch or tag is refused, so that what was loaded yesterday is what is loaded today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError, MissingPackageError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
#: How often a download that is cut short goes on by itself, as long as something came.
_ATTEMPTS = 5
_TIMEOUT_S = 30.0
#: What a model folder is made of; pickles and code are never fetched.
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.csv")


def is_hub_id(name: str | Path) -> bool:
    """Whether ``name`` can only be ``owner/repository`` of a hub: no such file or folder lies here."""
    path = Path(name)
    return not path.exists() and not path.suffix and bool(_HUB_ID.fullmatch(str(name)))


def commit_of(repository: str, revision: str | None) -> str:
    """``revision``, which must be a commit; InputError otherwise."""
    if revision is None or not _COMMIT.fullmatch(revision):
        raise InputError(
            "a hub id comes with the commit to load (40 hex digits), and needs a file or folder of that "
            "name not to exist",
            f"{repository!r}, revision {revision!r}",
            "Copy the commit from the repository's history page; a branch may change under you",
        )
    return revision


def fetch(repository: str, name: str, revision: str, *, offline: bool = True) -> Path:
    """A file of a hub repository at a commit, from the local cache or, with ``offline=False``, from the hub.

    Raises MissingPackageError with one clear message, whatever went wrong.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision, local_files_only=offline))
    except Exception as error:
        raise _not_at_hand(
            f"the weights {name} of {repository} at {revision[:12]} are at hand", error, offline
        ) from error


def fetch_folder(repository: str, revision: str, *, offline: bool = True) -> Path:
    """The folder of a model (JSON, safetensors, vocabularies) at a commit; errors as in ``fetch``."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(repository, revision=revision, local_files_only=offline, allow_patterns=list(_WANTED))
        )
    except Exception as error:
        raise _not_at_hand(f"the model {repository} at {revision[:12]} is at hand", error, offline) from error


@dataclass(frozen=True)
class ListedFiles:
    """What a hub states of a repository at one commit: sizes in bytes, and the sha256 of files that it stores so."""

    commit: str
    sizes: Mapping[str, int]
    digests: Mapping[str, str]


def published_files(
    repository: str, revision: str | None, names: Sequence[str], *, endpoint: str | None = None
) -> ListedFiles:
    """Commit, sizes and digests of files, as the hub states them; ``revision`` None for the current commit.

    Raises MissingPackageError where the hub cannot be reached, FileFormatError where the repository lacks a file.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi(endpoint=endpoint).model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:
        raise _not_fetched(f"the hub tells what {repository} holds", error) from error
    listed = {s.rfilename: s for s in info.siblings or ()}
    absent = [name for name in names if name not in listed]
    if absent or not info.sha:
        raise FileFormatError(
            f"{repository} holds its published files",
            f"at {str(info.sha)[:12]} it holds no {', '.join(absent)}",
            "They may have been renamed: look at its page, and take files of your own with --from",
        )
    sizes = {name: int(listed[name].size or 0) for name in names}
    digests = {name: str(lfs["sha256"]) for name in names if (lfs := listed[name].lfs)}
    return ListedFiles(str(info.sha), {n: size for n, size in sizes.items() if size}, digests)


def resumed_download(
    repository: str, name: str, commit: str, folder: Path, *, size: int | None = None, endpoint: str | None = None
) -> Path:
    """A file of a hub repository in ``folder``, going on where an earlier call was cut short.

    Its digest is not checked. The hub's own library begins anew in every process. The name of the part holds the
    commit, so that parts of two versions never meet. Raises MissingPackageError with what is there; the part stays.
    """
    part = folder / f"{commit[:12]}-{name.replace('/', '_')}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(_ATTEMPTS):
            if size is not None and part.is_file() and part.stat().st_size == size:
                break
            before = part.stat().st_size if part.is_file() else 0
            try:
                _receive(repository, name, commit, part, endpoint)
            except Exception as error:
                came = part.stat().st_size if part.is_file() else 0
                if attempt + 1 == _ATTEMPTS or not came > before:
                    raise _not_fetched(
                        f"{name} of {repository} at {commit[:12]} comes whole",
                        error,
                        f"{came} of {size or 'an unknown number of'} bytes are kept; the next fetch goes on from there",
                    ) from error
                continue
            if size is None or part.stat().st_size == size:
                break
    except OSError as error:
        if isinstance(error, MissingPackageError):
            raise
        raise FileFormatError(
            "the folder of weights can be written", f"{folder}: {error.strerror or error}", "Choose another folder"
        ) from error
    if size is not None and part.stat().st_size != size:
        got = part.stat().st_size
        part.unlink()
        raise FileFormatError(
            "a file has the size that the hub states", f"{name}: {got} of {size} bytes", "Fetch again"
        )
    return part


def _receive(repository: str, name: str, commit: str, part: Path, endpoint: str | None) -> None:
    """Append what is missing of a file to its part."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    held = part.stat().st_size if part.is_file() else 0
    headers = {**build_hf_headers(library_name="radvlm"), "Accept-Encoding": "identity"}
    if held:
        headers["Range"] = f"bytes={held}-"
    url = hf_hub_url(repository, name, revision=commit, endpoint=endpoint)
    session: Any = get_session()
    with session.stream("GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT_S) as response:
        if held and response.status_code == 416:  # more is here than there is: another file
            part.unlink()
            raise OSError("the part was longer than the file")
        hf_raise_for_status(response)
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {held}-")
        with part.open("ab" if held and goes_on else "wb") as file:
            for block in response.iter_bytes():
                file.write(block)


def _not_fetched(rule: str, error: Exception, kept: str = "") -> MissingPackageError:
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0][:200]}" + (f"; {kept}" if kept else "")
    if "Gated" in type(error).__name__:
        remedy = "Accept its terms on its page, log in (hf auth login), and fetch again; or take files with --from"
    else:
        remedy = "Check the network, the name and the commit; or carry the files here and take them with --from"
    return MissingPackageError(rule, reason, remedy)


def _not_at_hand(rule: str, error: Exception, offline: bool) -> MissingPackageError:
    reason = "it is not in the local cache" if offline else f"{type(error).__name__}: {error}".splitlines()[0][:200]
    remedy = (
        "Pass offline=False once, or download the files and pass their path"
        if offline
        else "Check the network, the name and the commit, or download the files and pass their path"
    )
    return MissingPackageError(rule, reason, remedy)
