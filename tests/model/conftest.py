"""A very small model with random weights, and scans for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from radvlm.dataset.questions import subjects
from radvlm.dataset.sentences import TINY_SECTIONS
from radvlm.dataset.vocabulary import anatomy_classes, part_classes
from radvlm.model.calibration import Calibration
from radvlm.model.decoder.causal_lm import Decoder, LlamaShape
from radvlm.model.decoder.fusion import EvidenceConfig
from radvlm.model.decoder.prompts import MARKERS
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder
from radvlm.model.questions import Subjects
from radvlm.model.tiny.encoder import PyramidConfig, PyramidEncoder, context_names
from radvlm.model.tiny.model import Settings, TableModel, Term
from radvlm.model.tiny.writer import ReportWriter
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.geometry import Geometry
from radvlm.types.records import record_from
from radvlm.types.volume import Volume

NOTICE = "Random weights for tests; means nothing."
TEXTS = [
    "Hepatic cyst in segment VI. No lesion in the spleen.",
    "Yes",
    " Yes",
    " No",
    "kidneys: Normal.",
    "Is there a lesion in the liver?",
    "Pleural effusion of 12 mm.",
] * 5


def small_config(**other: Any) -> PyramidConfig:
    terms = finding_kinds()
    given: dict[str, Any] = {
        "spacing_mm": 6.0,
        "channels": (4, 4, 8, 8, 8),
        "blocks": (1, 0, 0, 0, 0),
        "width": 4,
        "anatomy": tuple(anatomy_classes()),
        "findings": tuple(terms),
        "parents": tuple(t.parent_class for t in terms.values()),
        "parts": part_classes(),
        "context": tuple(context_names()),
        "embedding": 16,
        "hidden": 12,
    }
    return PyramidConfig(**{**given, **other})


def small_settings(config: PyramidConfig, *, familiar: float = 1e9, low: float = 0.2, high: float = 0.4) -> Settings:
    n = len(config.findings)
    terms = tuple(
        Term(k.name, k.words, k.section, k.site, k.sided, k.structure, k.parent_class)
        for k in (finding_kinds()[name] for name in config.findings)
    )
    offsets = tuple(-1 + 4 * (7 * i % n) / n for i in range(n))  # some present, some not
    calibration = Calibration(config.findings, (0.9,) * n, offsets, (low,) * n, (high,) * n)
    return Settings(
        "little",
        NOTICE,
        "nothing",
        terms,
        TINY_SECTIONS,
        calibration,
        (3.0, -0.5, 0.3, 0.6),
        1.3,
        familiar,
        {"seed": 3, "minutes": {"voxels": 0.1}},
        subjects=record_from(Subjects, subjects()),
    )


def small_model(
    *,
    seed: int = 0,
    lora: bool = False,
    context: int = 1024,
    familiar: float = 1e9,
    low: float = 0.2,
    high: float = 0.4,
) -> TableModel:
    torch.manual_seed(seed)
    config = small_config()
    encoder = PyramidEncoder(config)
    with torch.no_grad():  # maps that differ from place to place, so that some findings are seen
        encoder.voxels.head.weight.normal_(0, 2.0)
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        encoder.reader.mean.normal_(0, 0.5)
        encoder.reader.scale.uniform_(0.5, 3.0)
    text = HashedTextEncoder(HashedTextConfig(embedding=16, width=16, layers=1, heads=2, buckets=64, words=40))
    tokenizer = train_tokenizer(TEXTS, 300, MARKERS)
    decoder = Decoder.new_llama(
        tokenizer, LlamaShape(32, 1, 2, feed_forward=64, context=context, initializer_range=0.2), seed=seed
    )
    if lora:
        decoder.add_lora()
        with torch.no_grad():
            for key, value in decoder.named_parameters():
                if "lora_B" in key:
                    value.normal_(0, 0.05)
    writer = ReportWriter(decoder, EvidenceConfig(len(config.classes), config.columns + 1, 32, hidden=16))
    with torch.no_grad():
        writer.tokens.mean.normal_(0, 0.5)
        writer.tokens.spread.uniform_(0.5, 2.0)
    return TableModel(encoder, text, writer, small_settings(config, familiar=familiar, low=low, high=high))


@dataclass(frozen=True)
class Made:
    """What the tests of this folder build with."""

    config: Callable[..., PyramidConfig] = small_config
    settings: Callable[..., Settings] = small_settings
    model: Callable[..., TableModel] = small_model
    volume: Callable[..., Volume] = field(default=None)  # type: ignore[assignment]


def blob_volume(
    shape: tuple[int, int, int] = (36, 30, 40),
    spacing_mm: tuple[float, float, float] = (9.0, 8.0, 7.0),
    turn_deg: float = 0.0,
    origin: tuple[float, float, float] = (-150.0, -110.0, 40.0),
    seed: int = 0,
) -> Volume:
    """A body with a few balls in it, smooth, with noise."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing_mm)
    affine[:3, 3] = origin
    grid = np.stack(
        np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)], indexing="ij"),
        -1,
    )
    hu = np.full(shape, -1000.0)
    hu[(np.square(grid / np.array([130.0, 90.0, 1e9])).sum(-1)) < 1] = 30
    for center, radius, value in (
        ((60, 10, 20), 40, 110),
        ((-60, 0, 30), 30, 140),
        ((-20, -50, 0), 18, 400),
        ((30, 30, -60), 25, -300),
        ((70, 20, 30), 12, 5),
    ):
        hu[np.linalg.norm(grid - np.array(center), axis=-1) < radius] = value
    return Volume((hu + rng.normal(0, 6, shape)).astype(np.float32), Geometry(shape, affine))


@pytest.fixture(scope="session")
def made() -> Made:
    return Made(volume=blob_volume)


@pytest.fixture(scope="session")
def little(made: Made) -> TableModel:
    return made.model()


@pytest.fixture
def volume(made: Made) -> Volume:
    return made.volume()
