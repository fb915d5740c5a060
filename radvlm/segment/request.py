"""The text form of a segmenter: what ``--segment`` and ``generate_report(segmenter=...)`` take, read once.

``total,liver_lesions``      tasks of TotalSegmentator
``nnunet:FOLDER[@scheme]``   a model folder of nnU-Net v2, its labels by their names or by a label scheme
``bundle:FOLDER[@scheme]``   a MONAI bundle
``command:PROGRAM {ct} {out}``  any program; it takes the rest of the text, so it comes last
``best``                     the free tasks that the region of the scan calls for
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radvlm.errors import InputError

KINDS = ("task", "nnunet", "bundle", "command", "best")
_FORMS = "total,liver_lesions or nnunet:FOLDER[@scheme] or bundle:FOLDER[@scheme] or command:PROGRAM {ct} {out} or best"


@dataclass(frozen=True)
class Request:
    """One wanted segmenter: its kind, what it is (a task, a folder, a command line), and the scheme of its labels."""

    kind: str
    what: str = ""
    scheme: str = ""


def parse_requests(text: str | Sequence[str]) -> tuple[Request, ...]:
    """Read the text form, or several of them; the same one twice counts once. InputError where it says nothing.

    Example:
        >>> from radvlm.segment.request import parse_requests
        >>> [request.what for request in parse_requests("total, liver_lesions")]
        ['total', 'liver_lesions']
        >>> parse_requests("nnunet:no/such@btcv")
        (Request(kind='nnunet', what='no/such', scheme='btcv'),)
    """
    texts = [text] if isinstance(text, str) else list(text)
    found = [request for one in texts for request in _parse_one(one)]
    if not found:
        raise InputError("a segmenter is named", "nothing", f"Say {_FORMS}")
    return tuple(dict.fromkeys(found))


def _parse_one(text: str) -> list[Request]:
    if not isinstance(text, str):
        raise InputError("segmenter is a text, a Segmenter or a function", type(text).__name__, f"Say {_FORMS}")
    found: list[Request] = []
    rest = text.strip()
    while rest:
        if rest.startswith("command:"):
            return [*found, Request("command", _checked_command(rest.removeprefix("command:").strip()))]
        kind = next((k for k in ("nnunet", "bundle") if rest.startswith(f"{k}:")), "")
        word, rest = _next_word(rest, is_path=bool(kind))
        if kind:
            found.append(_with_scheme(kind, word.removeprefix(f"{kind}:").strip()))
        elif word:
            found.append(Request("best") if word == "best" else Request("task", _checked_task(word)))
    return found


def _next_word(text: str, *, is_path: bool) -> tuple[str, str]:
    """The part before a comma, and the rest; a folder with a comma in its name is taken whole where there is one."""
    parts = text.split(",")
    for count in range(1, len(parts) + 1):
        word = ",".join(parts[:count])
        folder = word.partition(":")[2].strip() if is_path else ""
        if is_path and (Path(folder).is_dir() or Path(folder.rpartition("@")[0] or folder).is_dir()):
            return word, ",".join(parts[count:]).strip()
    return parts[0].strip(), ",".join(parts[1:]).strip()


def _with_scheme(kind: str, text: str) -> Request:
    folder, at, scheme = text.rpartition("@")
    if not at or Path(text).is_dir() or ("/" in scheme and not scheme.lower().endswith(".csv")):
        folder, scheme = text, ""
    if not folder:
        raise InputError(f"{kind}: is followed by a folder", "nothing after it", f"Say {kind}:FOLDER")
    return Request(kind, str(Path(folder).expanduser()), scheme)


def _checked_task(word: str) -> str:
    head, colon, _ = word.partition(":")
    if colon:
        raise InputError("a segmenter is of a known kind", f"{head}:", f"Say {_FORMS}")
    return word


def _checked_command(text: str) -> str:
    words = command_words(text)
    missing = [part for part in ("{ct}", "{out}") if not any(part in word for word in words)]
    if missing:
        raise InputError(
            "a command line says where the scan and its output folder go, as {ct} and {out}",
            f"{text!r} without {' and '.join(missing)}",
            "Say for example command:my_tool -i {ct} -o {out}",
        )
    return text


def command_words(text: str) -> list[str]:
    """The words of a command line, quoted as in a shell; no shell runs it. InputError for an open quote."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError("a command line has its quotes closed", f"{text!r}: {error}", "Close the quote") from error
    if not words:
        raise InputError("a command line names a program", "nothing", "Say command:PROGRAM {ct} {out}")
    return words
