"""Sizes of Merlin's networks, and the exact keys and shapes of its three published files.

Nothing is guessed from a file. A layout is computed from the sizes (on meta tensors where there is a module,
spelled out for the language model), so a file either fits it key for key or is refused by name. Names of layouts are
those of ``image.LAYOUTS``: ``default`` (image, text, phenotypes), ``five_year`` (image only), ``report`` (trunk,
adapter, language model with LoRA).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from radvlm.errors import FileFormatError, InputError
from radvlm.model.merlin.image import BLOCKS, LAYOUTS, WIDTH, MerlinImageEncoder, bare_keys, published_layout
from radvlm.model.merlin.text import MerlinTextEncoder, TextShape

TEXT_PREFIX = "encode_text."
ADAPTER_PREFIX = "adapter."
LANGUAGE_PREFIX = "decode_text.text_decoder."
#: Head of the image encoder in each layout.
HEAD_OF_LAYOUT: Mapping[str, str | None] = {"default": "phenotype", "five_year": "five_year", "report": None}
#: Where Astra's whole checkpoint keeps its image encoder.
_ASTRA_PREFIX = "visual_encoder.model.encode_image.i3_resnet."
#: Parts of the image encoder that are no trunk.
HEAD_KEYS = ("classifier.", "contrastive_head.")
_NAMED = 10


@dataclass(frozen=True)
class LanguageShape:
    """Sizes of the report decoder; the defaults are those of the published file (Llama 2 7B with LoRA on q and v).

    Attributes:
        vocabulary, hidden, feed_forward, layers, heads: of the Llama model; ``heads`` also counts key/value heads.
        positions: longest sequence that the base was made for.
        rope_theta, rms_norm_eps: not in the weights; from the base model's configuration.
        lora_rank, lora_alpha: the update of a weight is ``B @ A * lora_alpha / lora_rank``.
    """

    vocabulary: int = 32000
    hidden: int = 4096
    feed_forward: int = 11008
    layers: int = 32
    heads: int = 32
    positions: int = 4096
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    lora_rank: int = 512
    lora_alpha: int = 16


@dataclass(frozen=True)
class MerlinShape:
    """Sizes of everything; the defaults are the published ones, others serve tests and models of one's own."""

    blocks: tuple[int, ...] = BLOCKS
    width: int = WIDTH
    text: TextShape = field(default_factory=TextShape)
    language: LanguageShape = field(default_factory=LanguageShape)

    @property
    def channels(self) -> int:
        """Channels of the image encoder's last feature map (2048)."""
        return self.width * 32

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MerlinShape:
        """From what ``dataclasses.asdict`` made of it, after JSON; FileFormatError for anything else."""
        try:
            return cls(
                tuple(data["blocks"]), data["width"], TextShape(**data["text"]), LanguageShape(**data["language"])
            )
        except (KeyError, TypeError, InputError) as error:
            raise FileFormatError(
                "a manifest holds the sizes of the networks", f"{type(error).__name__}: {error}"
            ) from error


PUBLISHED_SHAPE = MerlinShape()


def expected_keys(layout: str, shape: MerlinShape = PUBLISHED_SHAPE) -> dict[str, tuple[int, ...]]:
    """Every key of a published file of that layout, with the shape of its tensor."""
    if layout not in LAYOUTS:
        raise InputError(f"the layout is one of {', '.join(LAYOUTS)}", repr(layout))
    with torch.device("meta"):
        image = MerlinImageEncoder(HEAD_OF_LAYOUT[layout], blocks=shape.blocks, width=shape.width)
        keys = _shapes(published_layout(image.state_dict(), layout))
        if layout == "default":
            text = _shapes(MerlinTextEncoder(shape.text).state_dict())
            keys |= {TEXT_PREFIX + key: size for key, size in text.items()}
            keys["logit_scale"] = ()
    if layout == "report":
        keys[ADAPTER_PREFIX + "linear2.weight"] = (shape.language.hidden, shape.channels)
        keys[ADAPTER_PREFIX + "linear2.bias"] = (shape.language.hidden,)
        keys |= {LANGUAGE_PREFIX + key: size for key, size in language_keys(shape.language).items()}
    return keys


def language_keys(shape: LanguageShape) -> dict[str, tuple[int, ...]]:
    """Keys of the Llama model as peft wraps it, LoRA on the query and value projections."""
    top, hidden, rank = "base_model.model.", shape.hidden, shape.lora_rank
    keys: dict[str, tuple[int, ...]] = {f"{top}model.embed_tokens.weight": (shape.vocabulary, hidden)}
    for number in range(shape.layers):
        layer = f"{top}model.layers.{number}."
        for name in ("q_proj", "v_proj"):
            keys[f"{layer}self_attn.{name}.base_layer.weight"] = (hidden, hidden)
            keys[f"{layer}self_attn.{name}.lora_A.default.weight"] = (rank, hidden)
            keys[f"{layer}self_attn.{name}.lora_B.default.weight"] = (hidden, rank)
        for name in ("k_proj", "o_proj"):
            keys[f"{layer}self_attn.{name}.weight"] = (hidden, hidden)
        for name in ("gate_proj", "up_proj"):
            keys[f"{layer}mlp.{name}.weight"] = (shape.feed_forward, hidden)
        keys[f"{layer}mlp.down_proj.weight"] = (hidden, shape.feed_forward)
        for name in ("input_layernorm", "post_attention_layernorm"):
            keys[f"{layer}{name}.weight"] = (hidden,)
    keys[f"{top}model.norm.weight"] = (hidden,)
    keys[f"{top}lm_head.weight"] = (shape.vocabulary, hidden)
    return keys


def layout_of(keys: Mapping[str, Any]) -> str | None:
    """The layout whose image encoder's keys are there; None when there are none."""
    for layout in ("default", "report", "five_year"):
        prefix = LAYOUTS[layout]
        if prefix + ("4.0.conv1.weight" if layout == "report" else "layer1.0.conv1.weight") in keys:
            return layout
    return None


def trunk_alone(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The image encoder of a checkpoint that has no head, under its own names; None where this is no such file.

    Of Astra's whole checkpoint only the image encoder is taken. A file with some of the heads is none: it is damaged.
    """
    inside = {k.removeprefix(_ASTRA_PREFIX): v for k, v in state.items() if k.startswith(_ASTRA_PREFIX)}
    if not inside and any(key.startswith((TEXT_PREFIX, ADAPTER_PREFIX, LANGUAGE_PREFIX)) for key in state):
        return None
    try:
        bare = bare_keys(inside or state)
    except InputError:
        return None
    return None if any(key.startswith(HEAD_KEYS) for key in bare) else bare


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], name: str) -> None:
    """One FileFormatError that names missing, extra and misshapen keys, the first ten of each, with counts."""
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {size}"
        for key, size in expected.items()
        if key in state and tuple(state[key].shape) != size
    ]
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:_NAMED])}{', ...' if len(keys) > _NAMED else ''})"
        for keys, what in ((missing, "missing"), (extra, "extra"), (misshapen, "of another shape"))
        if keys
    ]
    if parts:
        raise FileFormatError(
            "the keys of a checkpoint are exactly those of the published file",
            f"{name}: " + "; ".join(parts),
            "Is the file complete, and of the task that was asked for?",
        )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
