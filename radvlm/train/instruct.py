"""The writing half of a token model: the adapter first with everything else frozen, then LoRA with it.

The encoder is frozen, so each scan passes it once and its tokens are kept on disk in half precision; an epoch
over the lessons then costs the decoder alone. Lessons are sections from images, answers from images, and prose from
structured findings (masks as text in the prompt); a share of the lessons of scans with masks hides the region tokens,
because most scans at inference have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from radvlm.errors import InputError
from radvlm.files.atomic import whole_file
from radvlm.model.adapters.token_encoder import TokenEncoder
from radvlm.model.decoder.prompts import question_prompt, section_prompt
from radvlm.model.precision import computing
from radvlm.model.tensor_files import tensor_digest
from radvlm.model.tokens.visual_prefix import ScanTokens, TokenWriter, scan_tokens, stacked
from radvlm.train.data import Study
from radvlm.train.draws import Draws, generator
from radvlm.train.gather import processes
from radvlm.train.prepared import PreparedScans
from radvlm.types.anatomy import SECTIONS

KINDS = ("sections", "answers", "facts")


@dataclass(frozen=True)
class TokenLesson:
    """Prompt and target of the study with that number."""

    kind: str
    prompt: str
    target: str
    study: int


def token_lessons(studies: Sequence[Study]) -> list[TokenLesson]:
    """Every lesson that the studies hold, in a fixed order.

    A study with ``facts`` of a section gives the lesson "these facts, that text"; a study with a report but without
    sections gives one lesson, its report as the impression.

    Raises InputError when there is none.
    """
    found = []
    for n, study in enumerate(studies):
        sections = study.sections or ({"impression": study.report} if study.report else {})
        for key in (k for k in SECTIONS if k in sections):
            found.append(TokenLesson("sections", section_prompt(key), sections[key], n))
            if study.facts.get(key):
                found.append(TokenLesson("facts", section_prompt(key, study.facts[key]), sections[key], n))
        found += [TokenLesson("answers", question_prompt(q), a, n) for q, a in study.questions]
    if not found:
        raise InputError(
            "instruction tuning needs reports, sections or questions",
            "a table with none of them",
            "Add a report column, or leave the stages adapter and instruct out",
        )
    return found


class FrozenScans:
    """Tokens of studies from an encoder that no longer learns, kept in ``folder`` by content of scan and weights."""

    def __init__(
        self, encoder: TokenEncoder, scans: PreparedScans, folder: Path, *, precision: str = "float32"
    ) -> None:
        self.encoder, self.scans, self.folder, self.precision = encoder.eval(), scans, folder, precision
        folder.mkdir(parents=True, exist_ok=True)
        self.digest = tensor_digest(encoder.state_dict()) + precision

    def __call__(self, study: Study) -> ScanTokens:
        key = hashlib.sha256(f"{self.scans.key(study)}{self.digest}".encode()).hexdigest()[:32]
        file = self.folder / f"{key}.safetensors"
        if not file.is_file():
            self._keep(study, file)
        with safe_open(file, framework="pt") as held:
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 (no mapping)
        grid: Any = tuple(int(n) for n in tensors.pop("grid"))
        return ScanTokens(tensors.pop("tokens").float(), grid, **tensors)

    def _keep(self, study: Study, file: Path) -> None:
        scan = self.scans(study)
        organs = None if scan.organs is None else scan.organs.numpy()
        with computing(self.precision, next(self.encoder.parameters()).device):
            made = scan_tokens(self.encoder, scan.image[None], scan.affine_ras_mm, organs, len(self.scans.organs))
        tensors = {**made.tensors(), "tokens": made.tokens.half(), "grid": torch.tensor(made.token_grid)}
        with whole_file(file) as beside:
            save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, beside)


class TokenInstructBatches:
    """Loss of the writer at a step; kinds take turns, sections and answers twice as often as facts."""

    def __init__(
        self,
        writer: TokenWriter,
        scans: FrozenScans,
        studies: Sequence[Study],
        lessons: Sequence[TokenLesson],
        draws: Draws,
        *,
        hide_regions: float = 0.5,
        longest: int = 512,
    ) -> None:
        if not 0 <= hide_regions <= 1:
            raise InputError("a share lies between 0 and 1", f"hide_regions: {hide_regions}")
        self.writer, self.scans, self.studies, self.draws = writer, scans, list(studies), draws
        self.hide_regions, self.longest = hide_regions, longest
        by_kind = {kind: [x for x in lessons if x.kind == kind] for kind in KINDS}
        order = ("sections", "answers", "sections", "answers", "facts")
        self.turns = [(kind, by_kind[kind]) for kind in order if by_kind[kind]]

    def __call__(self, step: int) -> dict[str, Tensor]:
        self.draws.start()
        rng = generator(self.draws.seed, step, processes()[0])
        kind, held = self.turns[step % len(self.turns)]
        pool = sorted(rng.integers(0, len(held), 4 * self.draws.batch), key=lambda n: len(held[n].target))
        start = int(rng.integers(0, 4)) * self.draws.batch  # texts of like length share a batch: less padding
        rows = [held[n] for n in pool[start : start + self.draws.batch]]
        loss = self.loss(rows, rng)
        return {"loss": loss, kind: loss, **self.draws.speed()}

    def loss(self, rows: Sequence[TokenLesson], rng: np.random.Generator | None = None) -> Tensor:
        """Mean loss of some lessons; regions are hidden at random where a generator is given."""
        scan = stacked([self.scans(self.studies[x.study]) for x in rows]).to(self.draws.device)
        if rng is not None and scan.there is not None:
            kept = torch.from_numpy(rng.random(len(rows)) >= self.hide_regions).to(scan.there.device)
            scan = replace(scan, there=scan.there & kept[:, None])
        targets = [self._cut(f" {x.target}") for x in rows]
        return self.writer(scan, self.writer.decoder.text_batch([x.prompt for x in rows], targets))

    def _cut(self, text: str) -> str:
        decoder = self.writer.decoder
        ids = decoder.encode(text)
        return text if len(ids) <= self.longest else decoder.decode(ids[: self.longest])


@torch.no_grad()
def validation_score(batches: TokenInstructBatches, lessons: Sequence[TokenLesson], *, most: int = 256) -> float:
    """Minus the mean loss of at most that many validation lessons, evenly spaced; higher is better."""
    if not lessons:
        raise InputError("validation needs lessons", "none in the validation part")
    chosen = [lessons[n] for n in np.linspace(0, len(lessons) - 1, min(most, len(lessons))).round().astype(int)]
    values = [
        (float(batches.loss(chosen[s : s + batches.draws.batch])), len(chosen[s : s + batches.draws.batch]))
        for s in range(0, len(chosen), batches.draws.batch)
    ]
    return -float(np.average([v for v, _ in values], weights=[n for _, n in values]))
