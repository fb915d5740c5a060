"""Any encoder that gives tokens, with the heads that training needs: an embedding shared with text, labels, organs.

The trunk is Merlin's, a MONAI backbone or a slice encoder, and everything behind it is the same three linear
layers, so that one recipe trains them all. An organ's vector is the mean of the tokens in which the organ lies,
weighted by how much of each cell it fills, so an organ smaller than a cell still has one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.inputs import InputSpec
from radvlm.model.tensor_files import read_tensors

KINDS = ("merlin", "monai", "slices")
#: Name of the head of finding labels.
LABELS = "labels"
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class TokenEncoderConfig:
    """Which trunk, of what size.

    Attributes:
        kind: ``merlin`` (inflated ResNet), ``monai`` (any backbone of monai.networks.nets) or ``slices`` (open_clip).
        embedding: length of the vector shared with text. labels: outputs of the label head; 0 for none.
        blocks, width: of Merlin's trunk; the defaults are the published sizes (ResNet-152).
        network, arguments: class of monai.networks.nets and what it is called with.
        folder: of the slice encoder: ``open_clip_config.json`` and, for a start, its weights.
        checkpointing: recompute activations in the backward pass (Merlin: by bottleneck, slices: by tower).
        frozen_norms: batch statistics stay those of the start; for batches of one or two scans.
        seed: of the random weights.
    """

    kind: str = "merlin"
    embedding: int = 512
    labels: int = 0
    blocks: tuple[int, ...] = (3, 8, 36, 3)
    width: int = 64
    network: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    checkpointing: bool = False
    frozen_norms: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"the kind of an encoder is one of {', '.join(KINDS)}", repr(self.kind))
        if self.embedding < 1 or self.labels < 0:
            raise InputError(
                "an embedding has at least one number and labels are not negative", f"{self.embedding}, {self.labels}"
            )
        if (self.kind == "monai") != bool(self.network):
            raise InputError(
                "network names a class of monai.networks.nets exactly when the kind is monai",
                f"kind {self.kind}, network {self.network!r}",
            )
        if self.kind == "monai" and self.checkpointing:
            raise InputError(
                "a MONAI backbone recomputes activations by its own argument",
                "checkpointing: true",
                "Pass use_checkpoint in arguments where the network has it",
            )
        if (self.kind == "slices") != bool(self.folder):
            raise InputError("folder is given exactly when the kind is slices", f"kind {self.kind}, {self.folder!r}")


class TokenEncoder(nn.Module):
    """(B, 1, X, Y, Z) -> EncoderOutput with an embedding in the space of text and logits of labels."""

    def __init__(self, config: TokenEncoderConfig, spec: InputSpec, *, random_weights: bool = True) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.trunk = _trunk(config, spec, random_weights)
            self.channels = int(self.trunk.channels)
            self.project = nn.Linear(self.channels, config.embedding)
            self.organ_project = nn.Linear(self.channels, config.embedding)
            self.classify = nn.Linear(self.channels, config.labels) if config.labels else None
        if config.kind == "slices" and self.channels == config.embedding:  # it starts in the space of its own text
            nn.init.eye_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    @property
    def token_axes(self) -> tuple[int, int, int]:
        """RAS+ axis of each axis of the token grid."""
        return self.trunk.token_axes

    def forward(self, image: Tensor) -> EncoderOutput:
        out = self.trunk(image)
        pooled = out.pooled.float()
        heads = {} if self.classify is None else {LABELS: self.classify(pooled)}
        return EncoderOutput(
            out.tokens, out.token_grid, pooled, F.normalize(self.project(pooled).float(), dim=-1), heads
        )

    def organ_embeddings(self, tokens: Tensor, occupancy: Tensor) -> Tensor:
        """Tokens (B, N, C) inside organs (B, R, N; shares of each cell) -> (B, R, D) of unit length.

        Where an organ fills no cell its row is of the projected zero vector and must be masked.
        """
        weight = occupancy / occupancy.sum(2, keepdim=True).clamp_min(1e-6)
        inside = weight.to(tokens.dtype) @ tokens  # (B, R, C)
        return F.normalize(self.organ_project(inside.float()).float(), dim=-1)

    def train(self, mode: bool = True) -> TokenEncoder:
        super().train(mode)
        if self.config.frozen_norms:
            for module in self.trunk.modules():
                if isinstance(module, _NORMS):
                    module.eval()
        return self


def token_occupancy(organs: Tensor, count: int, token_grid: Sequence[int], token_axes: Sequence[int]) -> Tensor:
    """Organ map (B, X, Y, Z), organ n has the value n + 1 -> share of each token's cell, (B, count, N) float32."""
    moved = organs.permute(0, *(a + 1 for a in token_axes))  # the encoder's own axes
    grid: Any = tuple(token_grid)
    shares = [F.adaptive_avg_pool3d((moved == n + 1).float()[:, None], grid).flatten(1) for n in range(count)]
    return torch.stack(shares, 1) if shares else organs.new_zeros(len(organs), 0, math.prod(token_grid)).float()


def load_start(encoder: TokenEncoder, path: str | Path) -> list[str]:
    """Put weights that exist into the trunk; returns the names that keep their random start.

    Args:
        path: for a Merlin trunk, a published checkpoint (any layout; its projection to text comes along where it has
            one) or a 2D ResNet's state dict as safetensors (torchvision's names), which is inflated; for the others
            a safetensors file of the trunk's own state dict.

    Raises InputError when nothing in the file fits, and for shapes that differ.
    """
    from radvlm.model.merlin.image import bare_keys, inflated_weights

    file = Path(path)
    state = dict(read_tensors(file))
    if encoder.config.kind == "merlin":
        flat = state.get("conv1.weight")
        state = inflated_weights(state) if flat is not None and flat.ndim == 4 else bare_keys(state)
    held = encoder.trunk.state_dict()
    wrong = [k for k, v in state.items() if k in held and held[k].shape != v.shape]
    fitting = {k: v for k, v in state.items() if k in held}
    if wrong or not fitting:
        raise InputError(
            "the weights fit the trunk",
            f"{file.name}: {', '.join(wrong[:3]) or 'no key is known'}",
            "Give the sizes (blocks, width, network) that the file was trained with",
        )
    encoder.trunk.load_state_dict(fitting, strict=False)
    projection = state.get("contrastive_head.weight")
    if projection is not None and projection.flatten(1).shape == encoder.project.weight.shape:
        with torch.no_grad():
            encoder.project.weight.copy_(projection.flatten(1))
            encoder.project.bias.copy_(state["contrastive_head.bias"])
    return sorted(set(held) - set(fitting))


def _trunk(config: TokenEncoderConfig, spec: InputSpec, random_weights: bool) -> Any:
    if config.kind == "merlin":
        from radvlm.model.merlin.image import MerlinImageEncoder

        trunk = MerlinImageEncoder(None, blocks=config.blocks, width=config.width, checkpointing=config.checkpointing)
        trunk.spec = spec
        return trunk
    if config.kind == "slices":
        from radvlm.model.adapters.slices import load_slice_encoder

        slices = load_slice_encoder(config.folder, random_weights=random_weights, spec=spec)
        slices.checkpointing = config.checkpointing
        return slices
    from monai.networks import nets

    from radvlm.model.adapters.monai_backbone import MonaiEncoder

    made = getattr(nets, config.network, None)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise InputError(
            "network is a class of monai.networks.nets",
            repr(config.network),
            "Such as DenseNet121, resnet via ResNet, SwinUNETR, ViT",
        )
    try:
        network = made(**config.arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"arguments are those of monai's {config.network}", f"{error}") from error
    return MonaiEncoder(network, spec)
