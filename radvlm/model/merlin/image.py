"""Merlin's image encoder: a ResNet-152 whose 2D kernels were inflated to 3D, with the published heads.

The network looks at (Z, X, Y) although its input is (X, Y, Z); the axes are permuted inside, as published weights
demand. The published stem reads the image three times over as if it were RGB; its weights are summed instead, the same
convolution for a third of the work. Depth is strided exactly as the plane is. Heads return logits, always.

Three published layouts name the same weights differently; ``published_layout`` and ``bare_keys`` translate.
Architecture: Blankemeier et al., "Merlin: A Vision Language Foundation Model for 3D Computed Tomography" (2024); the
bottleneck is that of He et al. 2016, strided on the 3x3x3 convolution; inflation after Carreira and Zisserman 2017.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from radvlm.errors import InputError
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.inputs import MERLIN_INPUT, InputSpec, check_image

#: Bottlenecks in each of the four stages of a ResNet-152.
BLOCKS = (3, 8, 36, 3)
WIDTH = 64
EXPANSION = 4
EMBEDDING = 512
#: Outputs of the classifier of each published checkpoint.
HEADS: Mapping[str, int] = {"phenotype": 1692, "five_year": 6}
#: Layout -> prefix of the image encoder's keys. Keys of the report layout number the modules instead of naming them.
LAYOUTS: Mapping[str, str] = {
    "default": "encode_image.i3_resnet.",
    "five_year": "",
    "report": "encode_image.vision_model.features.",
}
_NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 (strided), 1x1x1, and the shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = width * EXPANSION
        self.conv1 = nn.Conv3d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(after)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv3d(before, after, 1, stride=stride, bias=False), nn.BatchNorm3d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut, inplace=True)


class MerlinImageEncoder(nn.Module):
    """(B, 1, X, Y, Z), values 0 to 1 in RAS+ order -> EncoderOutput; published size (224, 224, 160).

    ``tokens`` are (B, 490, 2048) on a (Z, X, Y) grid of (10, 7, 7); ``pooled`` is their mean, (B, 2048), which is what
    Merlin calls the image embedding; ``embedding`` is (B, 512) of unit length in the space of the text encoder.
    ``heads`` holds the logits of the one classifier.

    Args:
        head: ``"phenotype"`` (default checkpoint; with ``embedding``), ``"five_year"``, or None (trunk of the report
            model). The five-year checkpoint carries a contrastive head too, but its trunk was trained on without text,
            so no embedding is returned.
        blocks, width: of the trunk; other than the published values only for tests and small models of one's own.
        checkpointing: recompute each bottleneck in the backward pass instead of keeping it (batch statistics are
            updated once, not twice).

    ``output.token_grid`` and the tokens are in (Z, X, Y) order, see ``token_axes``.
    """

    spec: InputSpec = MERLIN_INPUT
    #: RAS+ axis (0 x, 1 y, 2 z) of each axis of the token grid.
    token_axes = (2, 0, 1)

    def __init__(
        self,
        head: str | None = "phenotype",
        *,
        blocks: Sequence[int] = BLOCKS,
        width: int = WIDTH,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if head is not None and head not in HEADS:
            raise InputError(f"the head is one of {', '.join(HEADS)}, or None", repr(head))
        if len(blocks) != 4 or min(blocks) < 1:
            raise InputError("four stages have at least one block each", str(tuple(blocks)))
        self.head_name, self.checkpointing = head, checkpointing
        self.conv1 = nn.Conv3d(3, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        before = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            layer = nn.Sequential()
            for index in range(count):
                layer.append(Bottleneck(before, inner, stride=2 if stage and not index else 1))
                before = inner * EXPANSION
            setattr(self, f"layer{stage + 1}", layer)
        self.channels = before
        if head is not None:
            self.classifier = nn.Conv3d(before, HEADS[head], 1)
            self.contrastive_head = nn.Conv3d(before, EMBEDDING, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and not module.weight.is_meta and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def feature_map(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) -> (B, C, Z/16, X/32, Y/32), sizes rounded up."""
        check_image(image)
        x = image.permute(0, 1, 4, 2, 3)  # (B, 1, Z, X, Y)
        stem = self.conv1.weight.sum(1, keepdim=True)
        x = F.conv3d(x, stem, None, self.conv1.stride, self.conv1.padding)  # (B, 64, Z, X/2, Y/2)
        x = F.relu(self.bn1(x), inplace=True)
        x = F.max_pool3d(x, 3, 2, 1)  # (B, 64, Z/2, X/4, Y/4)
        for block in self.bottlenecks():
            x = self._checkpointed(block, x) if self.checkpointing and torch.is_grad_enabled() else block(x)
        return x

    def bottlenecks(self) -> Iterator[Bottleneck]:
        """All blocks in the order they run."""
        for name in ("layer1", "layer2", "layer3", "layer4"):
            yield from getattr(self, name)

    def forward(self, image: Tensor) -> EncoderOutput:
        return read_out(self, self.feature_map(image))

    def _checkpointed(self, block: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(
            block, x, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), _frozen_statistics(block))
        )


def read_out(encoder: MerlinImageEncoder, features: Tensor) -> EncoderOutput:
    """Tokens, pooled vector and heads from the (B, C, Z, X, Y) feature map."""
    tokens = features.flatten(2).transpose(1, 2)  # (B, Z*X*Y, C)
    pooled = (features if features.dtype == torch.float64 else features.float()).mean((2, 3, 4))  # (B, C)
    embedding, heads = None, {}
    if encoder.head_name is not None:
        heads[encoder.head_name] = _linear(encoder.classifier, pooled)
        if encoder.head_name == "phenotype":
            embedding = F.normalize(_linear(encoder.contrastive_head, pooled), dim=-1)
    return EncoderOutput(tokens, tuple(features.shape[2:]), pooled, embedding, heads)  # type: ignore[arg-type]


def _linear(conv: nn.Conv3d, pooled: Tensor) -> Tensor:
    """A 1x1x1 convolution of one voxel, as a product, (B, C) -> (B, D)."""
    bias = None if conv.bias is None else conv.bias.to(pooled.dtype)
    return F.linear(pooled, conv.weight.flatten(1).to(pooled.dtype), bias)


@contextlib.contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """While a block is recomputed for its gradient, its running statistics must not move a second time."""
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm3d) and m.training]
    kept = [(m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def bare_keys(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder in a published checkpoint's state dict, under this module's own names.

    The prefix ``encode_image.`` may be absent (the image encoder alone). Raises InputError where no layout fits.
    """
    for layout in ("default", "report", "five_year"):
        for prefix in dict.fromkeys((LAYOUTS[layout], LAYOUTS[layout].removeprefix("encode_image."))):
            first = prefix + ("0.weight" if layout == "report" else "conv1.weight")
            if first not in published:
                continue
            state = {key.removeprefix(prefix): value for key, value in published.items() if key.startswith(prefix)}
            if layout != "report":
                return state
            parts = {key: key.partition(".") for key in state}
            return {f"{_NUMBERED.get(n, n)}.{tail}": state[key] for key, (n, _, tail) in parts.items()}
    raise InputError(
        "the checkpoint holds Merlin's image encoder in one of its published layouts",
        f"{len(published)} keys, such as {', '.join(list(published)[:3])}",
    )


def published_layout(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """The reverse of ``bare_keys``: an encoder's own state dict under the names of a published layout."""
    if layout not in LAYOUTS:
        raise InputError(f"the layout is one of {', '.join(LAYOUTS)}", repr(layout))
    numbers = {name: number for number, name in _NUMBERED.items()}
    renamed = {}
    for key, value in state.items():
        name, _, tail = key.partition(".")
        renamed[LAYOUTS[layout] + (f"{numbers[name]}.{tail}" if layout == "report" else key)] = value
    return renamed


def image_encoder_from_state(published: Mapping[str, Tensor]) -> MerlinImageEncoder:
    """Build the encoder that a published (or own) state dict describes, in eval mode, sharing its tensors.

    Raises InputError that names missing, extra and misshapen keys.
    """
    state = bare_keys(published)
    head = None
    if "classifier.bias" in state:
        outputs = {count: name for name, count in HEADS.items()}
        count = state["classifier.bias"].shape[0]
        if count not in outputs:
            raise InputError(f"the classifier has {' or '.join(map(str, outputs))} outputs", str(count))
        head = outputs[count]
    blocks = [len({key.split(".")[1] for key in state if key.startswith(f"layer{n}.")}) for n in range(1, 5)]
    if blocks != list(BLOCKS):
        raise InputError(f"the trunk has {BLOCKS} blocks", f"{tuple(blocks)}", "Is the file complete?")
    with torch.device("meta"):
        encoder = MerlinImageEncoder(head)
    expected = encoder.state_dict()
    problems = [f"missing {key}" for key in expected if key not in state]
    problems += [f"extra {key}" for key in state if key not in expected]
    problems += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(
            "the checkpoint's keys are exactly those of Merlin's image encoder", "; ".join(problems[:5]) + more
        )
    encoder.load_state_dict(state, assign=True)
    return encoder.eval()


def inflated_weights(resnet2d: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The start of training: a 2D ResNet's state dict (torchvision's names) with each kernel in the middle depth tap.

    A scan that does not change along z then gives what the 2D network gives for its slice. ``fc`` is left out; load the
    result with ``strict=False``, the heads keep their random start.
    """
    depth = {"conv1.weight": 3}
    inflated = {}
    for key, value in resnet2d.items():
        if key.startswith("fc."):
            continue
        if value.ndim == 4:
            taps = depth.get(key, 3 if value.shape[-1] == 3 else 1)
            kernel = value.new_zeros(*value.shape[:2], taps, *value.shape[2:])
            kernel[:, :, taps // 2] = value
            value = kernel
        inflated[key] = value
    return inflated
