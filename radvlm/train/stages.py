"""What every recipe keeps between its stages, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from radvlm.files.atomic import whole_folder, write_text
from radvlm.model.decoder.causal_lm import Decoder
from radvlm.train.gather import processes

Progress = Callable[[str], None]


class Minutes:
    """Wall minutes of each stage, kept over interruptions; the main process writes them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.held: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.held[stage] = round(self.held.get(stage, 0.0) + (time.monotonic() - start) / 60, 2)
            if processes()[0] == 0:
                write_text(self.file, json.dumps(self.held))


def kept_decoder(folder: Path, make: Callable[[], Decoder]) -> Decoder:
    """The decoder that an earlier run left in a folder, or a new one, which is kept there."""
    made = (folder / "base" / "config.json").exists()
    if processes()[1] > 1:
        torch.distributed.barrier()  # all have looked before one writes
    if made:
        return Decoder.from_pretrained(folder)
    decoder = make()
    if processes()[0] == 0:
        with whole_folder(folder) as beside:
            decoder.save_pretrained(beside)
    return decoder


def corpus_folder(folder: str, output: Path) -> Path:
    """Where a corpus of a recipe is: relative to the output folder, or absolute."""
    path = Path(folder)
    return path if path.is_absolute() else output / path
