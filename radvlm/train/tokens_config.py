"""The recipe of a token model (``kind: tokens``) as frozen dataclasses; the YAML holds values only.

Unusual: types are checked against the dataclasses, so that ``learning_rate: 1e-4`` (which YAML reads as text, for want
of a dot) is told with its remedy and not found out after a night. A stage that is left out is not run.
"""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from radvlm.errors import InputError
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
        cache: folder of prepared scans, relative to the output folder or absolute.
    """

    table: str
    root: str = ""
    validation: float = 0.1
    test: float = 0.1
    labels: str = ""
    scheme: str = ""
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
        """Read a YAML; InputError for an unknown or missing key and for a value of another type, naming it."""
        made: TokensConfig = _made(cls, read_yaml(path), "recipe")
        return made


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file; InputError when it is none."""
    file = Path(path)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError("a recipe is a YAML file", f"{file.name}: {error}", _SEE) from error
    if not isinstance(data, dict):
        raise InputError("a recipe is a mapping", type(data).__name__, _SEE)
    return data


def recipe_kind(path: str | os.PathLike[str]) -> str:
    """``table``, ``tokens`` or ``preference``; InputError for another kind."""
    kind = read_yaml(path).get("kind", "table")
    if kind not in KINDS:
        raise InputError(f"the kind of a recipe is one of {', '.join(KINDS)}", repr(kind))
    return str(kind)


def read_recipe(cls: type, path: str | os.PathLike[str]) -> Any:
    """A YAML file as a dataclass; InputError for an unknown or missing key and for a value of another type."""
    return _made(cls, read_yaml(path), "recipe")


def _made(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise InputError(f"{where} is a mapping", repr(data))
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls) if f.init}
    unknown = sorted(str(k) for k in set(data) - set(known))
    if unknown:
        raise InputError(f"keys of {where} are {', '.join(known)}", ", ".join(unknown))
    missing = [n for n, f in known.items() if n not in data and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise InputError(f"{where} has its required keys", f"missing {', '.join(missing)}", _SEE)
    return cls(**{k: _value(hints[k], v, f"{where}.{k}".removeprefix("recipe.")) for k, v in data.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    """A YAML value as the type that a field asks for."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        options = [a for a in args if a is not type(None)]
        errors = []
        for option in options:
            try:
                return _value(option, value, where)
            except InputError as error:
                errors.append(error)
        raise errors[0]
    if is_dataclass(kind):
        return _made(kind, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is a list", repr(value))
        inner = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(inner) != len(value):
            raise InputError(f"{where} has {len(inner)} values", repr(value))
        return tuple(_value(a, v, f"{where}[{n}]") for n, (a, v) in enumerate(zip(inner, value, strict=True)))
    if origin is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is a mapping", repr(value))
        return dict(value)
    wanted: Any = {int: int, float: (int, float), str: str, bool: bool}.get(kind)
    if wanted is None or (isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))):
        return float(value) if kind is float else value
    remedy = "Write 1.0e-4 and not 1e-4: YAML takes the latter for text" if kind is float else ""
    name = getattr(kind, "__name__", "mapping")
    raise InputError(f"{where} is of type {name}", repr(value), remedy)
