"""Files of a model hub: a commit is required, nothing is fetched unless asked for, and one message says what is wrong.

A branch or tag is refused, so that what was loaded yesterday is what is loaded today.
"""

from __future__ import annotations

import re
from pathlib import Path

from radvlm.errors import InputError, MissingPackageError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
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


def _not_at_hand(rule: str, error: Exception, offline: bool) -> MissingPackageError:
    reason = "it is not in the local cache" if offline else f"{type(error).__name__}: {error}".splitlines()[0][:200]
    remedy = (
        "Pass offline=False once, or download the files and pass their path"
        if offline
        else "Check the network, the name and the commit, or download the files and pass their path"
    )
    return MissingPackageError(rule, reason, remedy)
