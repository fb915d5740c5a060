"""The recipe of a token model (``kind: tokens``) as frozen dataclasses. A stage that is left out is not run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from radvlm.errors import InputError
from radvlm.files.settings import read_mapping, read_settings
from radvlm.model.adapters.text_towers import TextTowerConfig
from radvlm.model.adapters.token_encoder import TokenEncoderConfig
from radvlm.model.decoder.causal_lm import LlamaShape, LoraSettings
from radvlm.model.inputs import MERLIN_INPUT, InputSpec
from radvlm.model.organ_map import Organ
from radvlm.model.tokens.model import LabelTerm
from radvlm.model.tokens.visual_prefix import PrefixConfig
from radvlm.train.contrastive import ContrastiveWeights
from radvlm.train.loop import LoopConfig
from radvlm.train.prepared import Augment
from radvlm.train.selfsupervised import SelfSupervision

#: Recipes by the key ``kind``; a file without it is a ``table`` recipe (configs/tiny.yaml).
KINDS = ("table", "tokens", "preference")
_SEE = "See configs/merlin-contrastive.yaml and docs/training.md"


@dataclass(frozen=True)
class DataConfig:
    """Where the studies are.

    Attributes:
        table: CSV or JSON lines, see ``radvlm.train.data``; relative to the recipe's folder.
        root: folder that the table's relative paths start from; "" for the folder of the table.
        validation, test: shares of the patients; the test part is never looked at.
        labels: CSV with columns name, words, section, site, for long lists; "" to use ``labels`` of the recipe.
        scheme: label scheme of the masks, "" to recognize it (as in ``radvlm.load_segmentation``).
        accept_misplaced: train on masks that look mirrored, turned or shifted on their scan, too.
        cache: folder of prepared scans, relative to the output folder or absolute.
    """

    table: str
    root: str = ""
    validation: float = 0.1
    test: float = 0.1
    labels: str = ""
    scheme: str = ""
    accept_misplaced: bool = False
    cache: str = "cache"


@dataclass(frozen=True)
class Scans:
    """Scans of one step and process (``size``), and of one validation pass (``validate``; None for size)."""

    size: int
    validate: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or (self.validate is not None and self.validate < 1):
            raise InputError("a batch has at least one scan", repr(self))


@dataclass(frozen=True)
class WritingConfig:
    """The decoder and how it is taught.

    Attributes:
        folder: a local folder of transformers (safetensors, tokenizer), or "" for a new small Llama of ``shape``.
        shape, vocabulary: of the new one; its tokenizer is trained on the reports of the training part.
        dtype: of the base: float32 or bfloat16. lora: adapters. prefix: how tokens reach the decoder.
        hide_regions: share of the lessons of scans with masks that do not see the region tokens.
        longest: tokens of a target, longer ones are cut. checkpointing: recompute the decoder in the backward pass.
    """

    folder: str = ""
    shape: LlamaShape = field(default_factory=LlamaShape)
    vocabulary: int = 2000
    dtype: str = "float32"
    lora: LoraSettings = field(default_factory=LoraSettings)
    prefix: PrefixConfig = field(default_factory=PrefixConfig)
    hide_regions: float = 0.5
    longest: int = 512
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16"):
            raise InputError('dtype is "float32" or "bfloat16"', repr(self.dtype))


@dataclass(frozen=True)
class Hardware:
    """``device``: auto, cpu or cuda. ``threads``: of the CPU. ``peak_tflops``: dense peak of all devices, if known."""

    device: str = "auto"
    threads: int = 2
    peak_tflops: float | None = None

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError("device is auto, cpu or cuda", repr(self.device), "accelerate launch chooses the number")


@dataclass(frozen=True)
class TokensConfig:
    """A whole recipe. Stages run in the order of their fields; None leaves a stage out.

    Attributes:
        name, notice, trained_on: shown wherever the model speaks.
        start: weights of the encoder to begin with, see ``token_encoder.load_start``; "" for random ones.
        labels: the label head, in this order. organs: organ-level learning and region tokens.
        selfsupervised, contrastive, adapter, instruct: the stages; ``..._batch`` their batches.
    """

    name: str
    notice: str
    trained_on: str
    data: DataConfig
    kind: str = "tokens"
    seed: int = 0
    input: InputSpec = MERLIN_INPUT
    encoder: TokenEncoderConfig = field(default_factory=TokenEncoderConfig)
    start: str = ""
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    labels: tuple[LabelTerm, ...] = ()
    organs: tuple[Organ, ...] = ()
    augment: Augment = field(default_factory=Augment)
    selfsupervision: SelfSupervision = field(default_factory=SelfSupervision)
    selfsupervised: LoopConfig | None = None
    selfsupervised_batch: Scans = field(default_factory=lambda: Scans(4))
    weights: ContrastiveWeights = field(default_factory=ContrastiveWeights)
    contrastive: LoopConfig | None = None
    contrastive_batch: Scans = field(default_factory=lambda: Scans(8))
    writing: WritingConfig = field(default_factory=WritingConfig)
    base: LoopConfig | None = None
    adapter: LoopConfig | None = None
    adapter_batch: Scans = field(default_factory=lambda: Scans(8))
    instruct: LoopConfig | None = None
    instruct_batch: Scans = field(default_factory=lambda: Scans(8))
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        if self.kind != "tokens":
            raise InputError("this recipe is of the kind tokens", repr(self.kind))
        if not any((self.selfsupervised, self.contrastive, self.adapter, self.instruct)):
            raise InputError(
                "a recipe has at least one stage", "none of selfsupervised, contrastive, adapter, instruct", _SEE
            )
        if self.instruct and not self.adapter:
            raise InputError("instruct comes after adapter", "no adapter stage", "Give adapter some steps")
        if self.encoder.embedding != self.text.embedding:
            raise InputError(
                "encoder.embedding and text.embedding are the same length",
                f"{self.encoder.embedding} and {self.text.embedding}",
            )
        if self.encoder.labels:
            raise InputError(
                "the size of the label head follows from the labels",
                f"encoder.labels: {self.encoder.labels}",
                "Leave encoder.labels out",
            )
        if self.writing.prefix.regions and not self.organs:
            raise InputError("region tokens need a table of organs", "writing.prefix.regions: true, no organs")
        for what in ("labels", "organs"):
            names = [x.name for x in getattr(self, what)]
            if len(set(names)) != len(names):
                raise InputError(f"{what} have names of their own", ", ".join(n for n in names if names.count(n) > 1))
        unknown = {n for o in self.organs for n in o.labels} - {t.name for t in self.labels}
        if unknown and not self.data.labels:
            raise InputError("labels of an organ are labels of the recipe", ", ".join(sorted(unknown)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TokensConfig:
        """Read a YAML file; InputError for what is no such recipe, as in ``radvlm.files.settings``."""
        return read_settings(cls, path, "a recipe", _SEE)


def recipe_kind(path: str | os.PathLike[str]) -> str:
    """``table``, ``tokens`` or ``preference``; InputError for another kind."""
    kind = read_mapping(path, "a recipe", _SEE).get("kind", "table")
    if kind not in KINDS:
        raise InputError(f"the kind of a recipe is one of {', '.join(KINDS)}", repr(kind))
    return str(kind)
