"""Files whose content is elsewhere: links that lead nowhere, and the pointers that Git LFS and git-annex leave.

A data set that was cloned without its content (DataLad, git-annex) holds links into ``.git/annex/objects`` that lead
nowhere, or small text files in place of the images. What such a file is, and how its content is fetched, is said here.
Sources: the Git LFS pointer (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md), git-annex's pointer files
(https://git-annex.branchable.com/internals/pointer_file/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LFS = (b"version https://git-lfs", b"version https://hawser.github.com")
_ANNEX = b"/annex/objects/"
_FETCH_ANNEX = "Fetch it with `git annex get` or `datalad get`"


@dataclass(frozen=True)
class Unfetched:
    """What a file is in place of its content, in words, and how to get at the content."""

    what: str
    remedy: str


LFS_POINTER = Unfetched("a Git LFS pointer, not the file itself", "Fetch it with `git lfs pull`")
ANNEX_POINTER = Unfetched("a git-annex pointer, not the file itself", _FETCH_ANNEX)


def pointer(start: bytes) -> Unfetched | None:
    """What the first bytes of a file point to; None for a file that holds its content."""
    if start.startswith(_LFS):
        return LFS_POINTER
    if start.startswith(_ANNEX):
        return ANNEX_POINTER
    return None


def lost_link(path: Path) -> Unfetched | None:
    """What a link that leads nowhere, or in a circle, led to; None for everything else."""
    try:
        leads_to = path.readlink()
        if path.exists():
            return None
    except (OSError, ValueError):  # no link
        return None
    if "annex/objects" in leads_to.as_posix():
        return Unfetched("a link whose content was not fetched", _FETCH_ANNEX)
    what = f"a link that leads nowhere (to {leads_to})"
    return Unfetched(
        what, "Copy what it leads to; of a DataLad data set, fetch it with `git annex get` or `datalad get`"
    )


def lost_links(folder: Path) -> tuple[str, str]:
    """The links of a folder that lead nowhere, in words, and how to fetch what they stand for; "" where none are."""
    lost = {path.name: link for path in sorted(folder.iterdir()) if (link := lost_link(path)) is not None}
    if not lost:
        return "", ""
    first, link = next(iter(lost.items()))
    return f"{first}: {link.what}" + (f", and {len(lost) - 1} more" if len(lost) > 1 else ""), link.remedy
