"""METEOR 1.5 through its own Java program, where ``pycocoevalcap`` and Java are installed.

Denkowski and Lavie (2014), WMT. The program and its 60 MB of paraphrases come with ``pycocoevalcap``; it takes about
a minute for 1,000 reports, so it is not among the default metrics. Only the matches are taken from Java;
the score is computed here from their sums, with the parameters for English, so that a bootstrap needs no Java.
NLTK's METEOR is another metric (WordNet, no paraphrases) and its values do not compare.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from radvlm.errors import MissingPackageError
from radvlm.files.optional import install_command

#: English parameters of METEOR 1.5 (its ``rank`` task).
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
#: Weights of exact, stem, synonym and paraphrase matches.
MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
_FIELDS = 23


def missing() -> str:
    """Why METEOR cannot run here; "" when it can."""
    if find_spec("pycocoevalcap") is None or not _folder().joinpath("meteor-1.5.jar").is_file():
        return "METEOR needs the package pycocoevalcap, which brings METEOR 1.5 and its data"
    if shutil.which("java") is None:
        return "METEOR needs Java"
    return ""


def _folder() -> Path:
    spec = find_spec("pycocoevalcap")
    return Path(next(iter(spec.submodule_search_locations or [""])) if spec else "") / "meteor"


def statistics(references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """(cases, 23) sums of METEOR: lengths, function words, matches of four kinds, chunks, matched words.

    Raises MissingPackageError when Java or the program is missing or it fails.
    """
    if why := missing():
        raise MissingPackageError(why, remedy=f"{install_command('pycocoevalcap')}, and install a Java runtime")
    lines = [f"SCORE ||| {_plain(r)} ||| {_plain(c)}" for r, c in zip(references, candidates, strict=True)]
    done = subprocess.run(
        ["java", "-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=_folder(),
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    if done.returncode or len(rows) != len(lines) or any(len(row) != _FIELDS for row in rows):
        raise MissingPackageError(
            "METEOR 1.5 runs in Java and answers one line a case",
            f"exit code {done.returncode}, {len(rows)} lines for {len(lines)} cases, {done.stderr.strip()[-200:]!r}",
        )
    table = np.array(rows, dtype=float)
    # Two equal texts are one chunk that METEOR counts as none.
    same = (table[:, 0] == table[:, 21]) & (table[:, 1] == table[:, 22]) & (table[:, 20] <= 1)
    table[same, 20] = 0
    return table


def _plain(text: str) -> str:
    return " ".join(text.replace("|||", " ").split())


def score(stats: np.ndarray) -> np.ndarray:
    """METEOR of 0 to 1 from sums (..., 23)."""
    matched = stats[..., 4:20].reshape(*stats.shape[:-1], 4, 4)  # kind x (content, content, function, function)
    weighted = np.einsum("...kf,k->...f", matched, MATCH_WEIGHTS)

    def share(side: int) -> np.ndarray:
        whole = DELTA * (stats[..., side] - stats[..., 2 + side]) + (1 - DELTA) * stats[..., 2 + side]
        part = DELTA * weighted[..., side] + (1 - DELTA) * weighted[..., 2 + side]
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    precision, recall = share(0), share(1)
    below = ALPHA * precision + (1 - ALPHA) * recall
    f = np.divide(precision * recall, below, out=np.zeros_like(below), where=below > 0)
    words = (stats[..., 21] + stats[..., 22]) / 2
    fragmentation = np.divide(stats[..., 20], words, out=np.zeros_like(words), where=words > 0)
    return (1 - GAMMA * fragmentation**BETA) * f
