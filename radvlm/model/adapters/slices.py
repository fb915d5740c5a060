"""A CT read slice by slice with a 2D image-text model in open_clip's format, such as BiomedCLIP.

The three color channels carry three CT windows instead of one gray picture three times, and the slices are brought
together by attention that starts as a plain mean, so a model without further training already gives the mean of its
slices. Slices are turned as a radiologist sees them (anterior up, the patient's right on the left), because that is how
figures in papers, on which such models were trained, show them. The model comes from a local folder
(``open_clip_config.json`` and safetensors, the files of a hub repository); nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from radvlm.errors import FileFormatError, InputError
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.inputs import InputSpec, check_image

#: HU windows of the red, green and blue channel: soft tissue, lung, bone.
WINDOWS_HU = ((-160.0, 240.0), (-1000.0, 200.0), (-200.0, 1000.0))
#: 2 mm pixels over 448 mm, a slice every 6 mm over 480 mm.
SLICES_INPUT = InputSpec(spacing_mm=(2.0, 2.0, 6.0), shape=(224, 224, 80))
CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")


class SlicePooling(nn.Module):
    """(B, S, C) slices -> (B, C): attention with one learned query per head; the plain mean before any training."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        if width % heads:
            raise InputError("the width is a multiple of the heads", f"{width} and {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, heads)
        self.position = nn.Linear(3, heads, bias=False)
        for layer in (self.score, self.position):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled (B, C) and the attention (B, S), the mean over heads, which sums to 1."""
        batch, count, width = slices.shape
        height = torch.linspace(-1, 1, count, device=slices.device, dtype=slices.dtype)
        where = torch.stack((height, height.square(), height**3), 1)  # (S, 3)
        weight = (self.score(self.norm(slices)) + self.position(where)).softmax(1)  # (B, S, H)
        values = slices.view(batch, count, self.heads, width // self.heads)
        pooled = torch.einsum("bsh,bshd->bhd", weight, values).reshape(batch, width)
        return pooled, weight.mean(2)


class SliceEncoder(nn.Module):
    """(B, 1, X, Y, Z), values 0 to 1 over ``spec.hu_window`` -> EncoderOutput with one token per slice.

    ``tokens`` are (B, S, C) of the picture tower, feet first; ``embedding`` is in the space of the model's own text
    tower, see ``embed_text``.

    Args:
        clip: a model of open_clip.
        preprocess: its ``preprocess_cfg``: ``mean`` and ``std`` of the three channels.
        spec: the input; its hu_window must hold all windows.
        windows_hu: the three windows.
        batch_slices: slices that go through the tower at once.
        checkpointing: recompute the tower in the backward pass.
        heads: name -> number of outputs on the pooled slices.
    """

    #: RAS+ axis of each axis of the token grid.
    token_axes = (0, 1, 2)

    low: Tensor
    width: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        clip: Any,
        preprocess: Mapping[str, Any],
        *,
        spec: InputSpec = SLICES_INPUT,
        windows_hu: Sequence[tuple[float, float]] = WINDOWS_HU,
        batch_slices: int = 16,
        checkpointing: bool = False,
        heads: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        window = spec.hu_window
        if len(windows_hu) != 3 or not all(low < high for low, high in windows_hu):
            raise InputError("windows_hu is three pairs (low, high)", str(windows_hu))
        if window is None or any(low < window[0] or high > window[1] for low, high in windows_hu):
            raise InputError("the input's hu_window holds all windows", f"{window} and {tuple(windows_hu)}")
        if batch_slices < 1:
            raise InputError("batch_slices is at least 1", str(batch_slices))
        self.spec, self.batch_slices, self.checkpointing = spec, batch_slices, checkpointing
        self.clip: Any = clip
        size = clip.visual.image_size
        self.picture_size: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)
        span = window[1] - window[0]
        bounds = torch.tensor([((low - window[0]) / span, (high - window[0]) / span) for low, high in windows_hu])
        self.register_buffer("low", bounds[:, 0].view(1, 3, 1, 1), persistent=False)
        self.register_buffer("width", (bounds[:, 1] - bounds[:, 0]).view(1, 3, 1, 1), persistent=False)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(preprocess[name]).float().view(1, 3, 1, 1), persistent=False)
        with torch.no_grad():
            self.channels = int(clip.encode_image(torch.zeros(1, 3, *self.picture_size)).shape[-1])
        self.pooling = SlicePooling(self.channels, heads=8 if self.channels % 8 == 0 else 1)
        self.classifiers = nn.ModuleDict({name: nn.Linear(self.channels, n) for name, n in (heads or {}).items()})

    def pictures(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) -> (B * Z, 3, H, W): axial slices as seen on a screen, windowed and normalized."""
        check_image(image)
        seen = image[:, 0].permute(0, 3, 2, 1).flip(2, 3)  # (B, Z, row: anterior first, column: right side first)
        flat = seen.flatten(0, 1)[:, None]  # (B*Z, 1, Y, X)
        colored = ((flat - self.low) / self.width).clamp(0, 1)  # (B*Z, 3, Y, X)
        if tuple(colored.shape[2:]) != self.picture_size:
            colored = F.interpolate(colored, self.picture_size, mode="bilinear", antialias=True, align_corners=False)
        return (colored - self.mean) / self.std

    def forward(self, image: Tensor) -> EncoderOutput:
        batch, slices = image.shape[0], image.shape[-1]
        pictures = self.pictures(image)
        parts = [self._tower(part) for part in pictures.split(self.batch_slices)]
        tokens = torch.cat(parts).unflatten(0, (batch, slices))  # (B, Z, C)
        pooled, _ = self.pooling(tokens)
        heads = {name: layer(pooled) for name, layer in self.classifiers.items()}
        return EncoderOutput(tokens, (1, 1, slices), pooled, F.normalize(pooled, dim=-1), heads)

    def slice_attention(self, tokens: Tensor) -> Tensor:
        """(B, S) weight of each slice in the embedding, feet first, summing to 1."""
        return self.pooling(tokens)[1]

    def embed_text(self, token_ids: Tensor) -> Tensor:
        """(B, L) ids of the model's own tokenizer -> (B, D) of unit length."""
        return F.normalize(self.clip.encode_text(token_ids), dim=-1)

    def _tower(self, pictures: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self.clip.encode_image, pictures, use_reentrant=False)
        return self.clip.encode_image(pictures)


def load_slice_encoder(
    folder: str | Path,
    *,
    random_weights: bool = False,
    spec: InputSpec = SLICES_INPUT,
    heads: Mapping[str, int] | None = None,
) -> SliceEncoder:
    """Build a SliceEncoder from a folder in the format of open_clip's hub repositories; nothing is downloaded.

    Args:
        folder: holds ``open_clip_config.json`` and safetensors; where the text tower is a transformers model, its
            ``config.json`` and tokenizer files too (BiomedCLIP keeps them in the same repository).
        random_weights: build without weights, for training from scratch and tests.

    Raises FileFormatError for a folder without these files, or weights that do not fit the configuration.
    """
    import open_clip
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        data = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        model_config, preprocess = data["model_cfg"], data["preprocess_cfg"]
        width = int(model_config["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"the folder holds {CONFIG} with model_cfg and preprocess_cfg",
            f"{folder.name}: {error!r}",
            "Pass a folder with the files of an open_clip hub repository",
        ) from error
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None and not random_weights:
        raise FileFormatError(
            "the folder holds the weights as safetensors",
            f"none of {', '.join(WEIGHTS)}",
            "Convert open_clip_pytorch_model.bin to safetensors first; pickles are not read",
        )
    text = model_config.get("text_cfg", {})
    if "hf_model_name" in text:  # a transformers text tower: its configuration from this folder, weights from the file
        text = {**text, "hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
    tower = model_config["vision_cfg"]
    if "timm_model_name" in tower:
        tower = {**tower, "timm_model_pretrained": False}
    custom = "hf_model_name" in text or model_config.get("custom_text")
    clip = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(embed_dim=width, vision_cfg=tower, text_cfg=text)
    if weights is not None:
        try:
            clip.load_state_dict(load_file(weights))
        except (RuntimeError, OSError) as error:
            raise FileFormatError(
                "the weights fit the configuration",
                f"{weights.name}: {error}".splitlines()[0][:300],
                "Are both files of the same model?",
            ) from error
    return SliceEncoder(clip.eval(), preprocess, spec=spec, heads=heads)
