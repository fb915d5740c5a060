"""Files in the published layout with random weights: for tests, for trying an installation, never for a patient.

They are exactly what the published files are, key for key and file name for file name, only small; whatever
loads them loads the real ones. Tokenizers are trained on a few sentences so that every prompt can be encoded.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from sentencepiece import SentencePieceTrainer
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor

from radvlm.model.merlin.checkpoint import FILES
from radvlm.model.merlin.layout import LanguageShape, MerlinShape, expected_keys
from radvlm.model.merlin.report import SECTIONS, section_prompt
from radvlm.model.merlin.text import TextShape

#: Everything a hundredth of the published size.
SMALL_SHAPE = MerlinShape(
    blocks=(1, 1, 1, 1),
    width=4,
    text=TextShape(vocabulary=320, hidden=32, layers=3, heads=4, feed_forward=64, positions=1100),
    language=LanguageShape(
        vocabulary=400, hidden=64, feed_forward=96, layers=2, heads=4, positions=1024, lora_rank=8, lora_alpha=16
    ),
)
TEXT_TOKENIZER, REPORT_TOKENIZER = "text_tokenizer", "report_tokenizer"
_SENTENCES = (
    "the liver is normal in size and attenuation .",
    "no focal lesion . no hydronephrosis .",
    "small pleural effusion on the right .",
    "gallstones are present without wall thickening .",
)


def random_state(layout: str, shape: MerlinShape = SMALL_SHAPE, *, seed: int = 0) -> dict[str, Tensor]:
    """A state dict of that layout whose activations stay of order one through the network."""
    generator = torch.Generator().manual_seed(seed)
    return {key: _draw(key, size, generator) for key, size in expected_keys(layout, shape).items()}


def write_random_files(
    folder: str | Path,
    shape: MerlinShape = SMALL_SHAPE,
    *,
    tasks: tuple[str, ...] = ("default", "five_year", "report"),
    seed: int = 0,
) -> Path:
    """Checkpoints of ``tasks`` under their published names, and both tokenizers in folders beside them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, task in enumerate(tasks):
        layout = "report" if task.startswith("report") else task
        torch.save(random_state(layout, shape, seed=seed + number), folder / FILES[task])
    write_text_tokenizer(folder / TEXT_TOKENIZER, shape.text.vocabulary)
    write_report_tokenizer(folder / REPORT_TOKENIZER, shape.language.vocabulary)
    return folder


def write_text_tokenizer(folder: str | Path, vocabulary: int) -> Path:
    """``vocab.json`` and ``merges.txt`` of exactly that many tokens, at least 270."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        _SENTENCES,
        vocab_size=vocabulary,
        min_frequency=1,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    )
    tokenizer.save_model(str(folder))
    return folder


def write_report_tokenizer(folder: str | Path, vocabulary: int) -> Path:
    """A Llama-like ``tokenizer.model`` of exactly that many tokens, at least 340."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [*(section_prompt(section).strip() for section in SECTIONS), *_SENTENCES]
    with warnings.catch_warnings():
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines * 4),
            model_prefix=str(folder / "tokenizer"),
            vocab_size=vocabulary,
            model_type="bpe",
            byte_fallback=True,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            minloglevel=2,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
        )
    (folder / "tokenizer.vocab").unlink()
    return folder


def _draw(key: str, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(100)
    noise = torch.randn(size, generator=generator)
    if key == "logit_scale":
        return torch.tensor(1.0)
    if key.endswith("running_var"):
        return 1 + 0.2 * noise.clamp(-3, 3)
    if len(size) == 1:
        return (0.0 if key.endswith(("bias", "running_mean")) else 1.0) + 0.1 * noise
    if "embed" in key:
        return noise
    return noise * (1.5 / torch.tensor(size[1:]).prod().item()) ** 0.5
