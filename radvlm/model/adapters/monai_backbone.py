"""Any MONAI network that gives a feature map, as an image encoder.

Nothing is assumed about the network's class. It is run once on zeros when it is wrapped, and the *last*
feature map it gives is used, whether that comes as one tensor (B, C, x, y, z), as a list of them from fine to coarse
(SwinUNETR's ``swinViT``), as a tuple of token sequence and hidden states (``ViT`` without classification), or as
logits, in which case the modules before the pooling are used (``DenseNet``, ``ResNet``). Others are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.inputs import InputSpec, check_image


class MonaiEncoder(nn.Module):
    """(B, 1, X, Y, Z) -> EncoderOutput from a MONAI backbone; tokens in (X, Y, Z) order.

    Args:
        network: the backbone, with one input channel.
        spec: the input it is trained on; its ``shape`` (or 64 voxels along each axis) is used to look at the network.
        embedding: length of a projection to the space shared with text; None for no embedding.
        heads: name -> number of outputs, each a linear layer on the pooled features.

    Raises InputError when the network gives no feature map.
    """

    #: RAS+ axis of each axis of the token grid.
    token_axes = (0, 1, 2)

    def __init__(
        self,
        network: nn.Module,
        spec: InputSpec,
        *,
        embedding: int | None = None,
        heads: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        size = spec.shape or (64, 64, 64)
        self.network = _without_classifier(network)
        self.patch = _patch_size(network)
        was_training = self.network.training
        with torch.no_grad():
            features = self._features(self.network.eval(), torch.zeros(1, 1, *size))
        self.network.train(was_training)
        self.channels = features.shape[1]
        self.projection = None if embedding is None else nn.Linear(self.channels, embedding)
        self.classifiers = nn.ModuleDict({name: nn.Linear(self.channels, n) for name, n in (heads or {}).items()})

    def feature_map(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) -> (B, C, x, y, z)."""
        check_image(image)
        return self._features(self.network, image)

    def forward(self, image: Tensor) -> EncoderOutput:
        features = self.feature_map(image)
        pooled = features.mean((2, 3, 4))  # (B, C)
        embedding = None if self.projection is None else F.normalize(self.projection(pooled), dim=-1)
        heads = {name: layer(pooled) for name, layer in self.classifiers.items()}
        return EncoderOutput(
            features.flatten(2).transpose(1, 2),
            tuple(features.shape[2:]),  # type: ignore[arg-type]
            pooled,
            embedding,
            heads,
        )

    def _features(self, network: nn.Module, image: Tensor) -> Tensor:
        return _feature_map(network(image), tuple(image.shape[2:]), self.patch, type(network).__name__)


def _feature_map(out: Any, size: Sequence[int], patch: tuple[int, ...] | None, name: str) -> Tensor:
    """The coarsest map (B, C, x, y, z) in what a network returned."""
    if isinstance(out, Tensor) and out.ndim == 5:
        return out
    if isinstance(out, (tuple, list)) and out:
        maps = [item for item in out if isinstance(item, Tensor) and item.ndim == 5]
        if maps:
            return min(maps, key=lambda item: item[0, 0].numel())
        out = out[0]
    if isinstance(out, Tensor) and out.ndim == 3 and patch is not None:
        grid = [n // p for n, p in zip(size, patch, strict=True)]
        extra = out.shape[1] - grid[0] * grid[1] * grid[2]
        if extra in (0, 1):  # a class token, where there is one, comes first
            return out[:, extra:].transpose(1, 2).unflatten(2, grid)  # (B, C, x, y, z)
    shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    raise InputError(
        "a backbone gives a feature map (B, C, x, y, z), a list of them, or tokens of patches",
        f"{name} gives {shape}",
        "Pass the part of the network before its pooling",
    )


def _without_classifier(network: nn.Module) -> nn.Module:
    """The convolutional part of MONAI's classifiers; any other network as it is."""
    if hasattr(network, "features") and hasattr(network, "class_layers"):  # DenseNet
        return network.features  # type: ignore[return-value]
    names = ("conv1", "bn1", "act", "layer1", "layer2", "layer3", "layer4")
    if all(hasattr(network, name) for name in (*names, "avgpool", "fc")):  # ResNet
        pool = () if network.no_max_pool else (network.maxpool,)
        parts = [getattr(network, name) for name in names]
        return nn.Sequential(*parts[:3], *pool, *parts[3:])
    if hasattr(network, "swinViT"):  # SwinUNETR: its encoder
        return network.swinViT  # type: ignore[return-value]
    return network


def _patch_size(network: nn.Module) -> tuple[int, ...] | None:
    """Voxels of a patch along each axis, for transformers over patches."""
    embedding = getattr(network, "patch_embedding", None)
    size = getattr(embedding, "patch_size", None)
    if size is None:
        projection = getattr(embedding, "patch_embeddings", None)
        if isinstance(projection, nn.Conv3d):
            return tuple(projection.kernel_size)
        return None
    return tuple(size) if isinstance(size, Sequence) else (size,) * 3
