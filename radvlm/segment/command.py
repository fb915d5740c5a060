"""Any program as a source of masks: it gets the scan as NIfTI and leaves a folder of masks named after structures.

For tools that need an environment of their own (VoxTell with its older PyTorch, a container). The command is a list of
words without a shell, in which ``{ct}`` is the scan and ``{out}`` an empty folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from radvlm.errors import FileFormatError, InputError
from radvlm.segment.protocol import origin_of
from radvlm.segment.request import command_words
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

#: How long a program has to end by itself when it is asked to.
_GRACE_S = 3.0


@dataclass(frozen=True)
class CommandSegmenter:
    """A command line as a Segmenter.

    Attributes:
        line: the command line with ``{ct}`` and ``{out}``, quoted as in a shell; no shell runs it.
        write: writes the scan to a path (``radvlm.io`` does).
        read: reads a folder of masks for the scan.
    """

    line: str
    write: Callable[[Path, Volume], object]
    read: Callable[[Path, Volume], Segmentation]

    @property
    def name(self) -> str:
        return f"command {Path(command_words(self.line)[0]).name}"

    @property
    def searched(self) -> frozenset[str]:
        return frozenset()

    def require(self) -> None:
        """FileFormatError when there is no such program."""
        program = command_words(self.line)[0]
        if shutil.which(program) is None:
            raise FileFormatError(
                "the program of a command is there and may be run", program, "Install it, or give its whole path"
            )

    def identity(self) -> str:
        """Never cached: what a program does may change from call to call."""
        return ""

    def segment(self, volume: Volume) -> Segmentation:
        began = time.monotonic()
        with _ending_on_signals(), tempfile.TemporaryDirectory(prefix="radvlm_") as made:
            scan, out = Path(made) / "ct.nii.gz", Path(made) / "out"
            out.mkdir()
            self.write(scan, volume)
            words = [w.replace("{ct}", str(scan)).replace("{out}", str(out)) for w in command_words(self.line)]
            try:
                ended = _run(words)
            except OSError as error:
                raise FileFormatError("the program of a command can be run", f"{words[0]}: {error.strerror}") from error
            if ended.returncode != 0:
                last = [line for line in f"{ended.stdout}\n{ended.stderr}".splitlines() if line.strip()]
                told = f": {last[-1].strip()[:300]}" if last else ""
                raise FileFormatError("a command ends with 0", f"{self.name} ended with {ended.returncode}{told}")
            if not any(out.iterdir()):
                raise InputError("a command writes its masks into {out}", f"{self.name} left the folder empty")
            found = self.read(out, volume)
        origin = origin_of(self.name, found.searched, began)
        decision = Decision("segment", f"Masks by {self.name}.")
        return replace(found, origins=(origin,), decisions=(*found.decisions, decision), sources=())


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program; it and what it started end with this call, however that ends."""
    started = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = started.communicate()
    except BaseException:
        _end(started)
        raise
    return subprocess.CompletedProcess(words, started.returncode, out, err)


def _end(started: subprocess.Popen[str]) -> None:
    """End a program with all that it started: asked first, forced after ``_GRACE_S``."""
    for name in ("SIGTERM", "SIGKILL"):
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(started.pid, getattr(signal, name))
            else:
                started.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(_GRACE_S)
    for pipe in (started.stdout, started.stderr):
        if pipe is not None:
            pipe.close()


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP end the process as an exit does, so that nothing of the scan is left."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    plain = [number for number in wanted if signal.getsignal(number) is signal.SIG_DFL]
    for number in plain:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in plain:
            signal.signal(number, signal.SIG_DFL)
