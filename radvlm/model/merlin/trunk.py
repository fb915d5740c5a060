"""Image encoders of Merlin's shape that come without heads: an embedding of the scan, and nothing else.

Networks that were trained further on top of Merlin, such as Astra's, are published so. They give the pooled vector of
2048 numbers; there is no text in that space and no classifier, and whoever asks for one is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of
from radvlm.model.inputs import ASTRA_CHEST_INPUT, MERLIN_INPUT, InputSpec, prepare
from radvlm.model.merlin.accelerate import FastEncoder, accelerate, fold
from radvlm.model.merlin.image import MerlinImageEncoder
from radvlm.model.merlin.layout import PUBLISHED_SHAPE, MerlinShape, check_keys, trunk_alone
from radvlm.model.precision import check_precision
from radvlm.model.protocol import not_offered
from radvlm.model.tensor_files import read_joined_tensors, read_tensors
from radvlm.model.weight_store import need_weights
from radvlm.types.provenance import Decision
from radvlm.types.volume import Volume

#: A chest has at least this share of lung (``lung_share``) in the box that the network sees. Measured on eight scans:
#: chests of phantoms 0.047 and 0.053, abdomens with the bases of the lungs 0.008 to 0.015, 40 mm around them 0.035.
LEAST_LUNG_SHARE = 0.02
#: HU of aerated lung.
_LUNG_HU = (-950.0, -500.0)
_STEP = "encoder"
#: Where trainers keep the tensors of a file that holds more.
_ENTRY = "state_dict"


@dataclass(frozen=True)
class PublishedTrunk:
    """What goes with a published trunk: the input that it was trained with, and the notice of what it is."""

    spec: InputSpec
    notice: str
    chest_only: bool = False


_ASTRA = (
    "Astra's image trunk gives an embedding of 2048 numbers, no text and no findings. It is a research model, not a "
    "medical device. "
)
TRUNKS: Mapping[str, PublishedTrunk] = {
    "astra": PublishedTrunk(
        ASTRA_CHEST_INPUT, _ASTRA + "This is its input for chests; for abdomens load astra-abdomen.", chest_only=True
    ),
    "astra-abdomen": PublishedTrunk(
        MERLIN_INPUT, _ASTRA + "This is its input for abdomens (Merlin's); for chests load astra."
    ),
    "merlin-image": PublishedTrunk(
        MERLIN_INPUT,
        "Merlin's image trunk alone gives an embedding of 2048 numbers, no text and no findings. It is a research "
        "model trained on abdominal CTs of one institution, not a medical device.",
    ),
}
NOTICE = (
    "A trunk of Merlin's shape gives an embedding of 2048 numbers, no text and no findings. It is shown what Merlin is "
    "shown, which may not be what this one was trained on."
)


@dataclass(frozen=True, eq=False)
class TrunkFeatures:
    """What one pass gives.

    Attributes:
        pooled: (C,) float32, not normalized. tokens: (N, C) on ``token_grid`` (Z, X, Y).
        notes: what was decided about the input; warnings where the result may mislead.
    """

    pooled: np.ndarray
    tokens: np.ndarray
    token_grid: tuple[int, int, int]
    notes: tuple[Decision, ...]


class MerlinTrunkModel:
    """An embedder of CTs: ``embed`` gives the pooled vector at unit length; everything else is not offered.

    Attributes:
        offers: ``("embed",)``. dimension: of the vector. digest: sha256 of the file of the weights.
        spec: the input that the network was trained with.
        encoder: the folded network in float32, or its bfloat16 form that passed its check.
    """

    offers = ("embed",)

    def __init__(
        self,
        state: Mapping[str, Tensor],
        digest: str,
        *,
        name: str = "merlin-trunk",
        published: PublishedTrunk = PublishedTrunk(MERLIN_INPUT, NOTICE),
        shape: MerlinShape = PUBLISHED_SHAPE,
        device: str | torch.device = "cpu",
        precision: str = "float32",
    ) -> None:
        check_precision(precision)
        self.name, self.digest, self.notice = name, digest, published.notice
        self.spec, self.chest_only = published.spec, published.chest_only
        self.device = torch.device(device)
        encoder = trunk_encoder(state, shape, name)
        encoder.spec = self.spec
        self.dimension = int(encoder.channels)
        self.encoder: FastEncoder = (
            fold(encoder).to(self.device)
            if precision == "float32"
            else accelerate(encoder, precision=precision, device=str(device))
        )

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        spec: InputSpec | None = None,
        shape: MerlinShape = PUBLISHED_SHAPE,
        device: str | torch.device = "cpu",
        precision: str = "float32",
    ) -> MerlinTrunkModel:
        """From the name of a published trunk (``TRUNKS``) that is at hand, or from a file of one.

        Args:
            spec: another input than the published one.
            shape: other sizes, for models of one's own.

        Raises: MissingPackageError for a published trunk that is not at hand, with what brings it. FileFormatError for
        a file that is damaged, is no trunk, or has other keys.
        """
        text = str(source)
        if text in TRUNKS and not Path(text).exists():
            state, digest = published_trunk(text)
            name, published = text, TRUNKS[text]
        else:
            path = Path(source)
            found = trunk_in(path)
            if found is None:
                raise FileFormatError(
                    "the file is an image encoder of Merlin's shape without heads", path.name, "Use MerlinModel.load"
                )
            state, digest, name, published = found, sha256_of(path), path.name, PublishedTrunk(MERLIN_INPUT, NOTICE)
        if spec is not None:
            published = PublishedTrunk(spec, published.notice, published.chest_only)
        return cls(state, digest, name=name, published=published, shape=shape, device=device, precision=precision)

    @torch.inference_mode()
    def features(self, volume: Volume) -> TrunkFeatures:
        """One pass over a scan. Raises InputError for what is no CT (``prepare``)."""
        prepared = prepare(volume, self.spec)
        output = self.encoder(prepared.tensor.to(self.device))
        notes = (*prepared.notes, *self._domain_notes(prepared.tensor))
        return TrunkFeatures(
            output.pooled[0].float().cpu().numpy(), output.tokens[0].float().cpu().numpy(), output.token_grid, notes
        )

    def embed(self, volume: Volume) -> np.ndarray:
        """(2048,) float32 of unit length; in no space that text shares."""
        pooled = self.features(volume).pooled
        return pooled / np.linalg.norm(pooled)

    def embed_text(self, texts: Sequence[str]) -> NoReturn:
        """Never offered: no text encoder was published with it."""
        raise not_offered(self.name, "embed_text", self.offers, "Search its index with a scan, or text with hashed")

    def classify(self, volume: Volume, findings: Sequence[str] | None = None) -> NoReturn:
        """Never offered: there is no classifier."""
        raise not_offered(self.name, "classify", self.offers, "Use tiny or Merlin, or the neighbors of an index")

    def read(self, volume: Volume, **given: Any) -> NoReturn:
        """Never offered: it says nothing of findings."""
        raise not_offered(self.name, "read", self.offers, "Leave the model out: the report of the masks needs none")

    def answer(self, volume: Volume, question: str, **given: Any) -> NoReturn:
        """Never offered."""
        raise not_offered(self.name, "answer", self.offers, "Use tiny")

    def _domain_notes(self, image: Tensor) -> tuple[Decision, ...]:
        """A warning where a network of chests is shown a scan that holds hardly any lung."""
        if not self.chest_only or self.spec.hu_window is None:
            return ()
        share = lung_share(image, self.spec.hu_window)
        if share >= LEAST_LUNG_SHARE:
            return ()
        return (
            Decision(
                _STEP,
                f"{self.name} was trained on this input with chests, and {share:.1%} of what it is shown is lung "
                f"(a chest has more than {LEAST_LUNG_SHARE:.0%}): what it finds similar may be meaningless.",
                warning=True,
            ),
        )


def trunk_in(path: Path) -> dict[str, Tensor] | None:
    """The trunk in a file of one, under its own names; None where the file holds something else."""
    return trunk_alone(read_tensors(path, entry=_ENTRY))


def lung_share(image: Tensor, hu_window: tuple[float, float]) -> float:
    """Share of an input (1, 1, X, Y, Z) that lies in blocks of 7 x 7 x 5 voxels of aerated lung, 0 to 1.

    Blocks, because the border of air and skin has the attenuation of lung too, one voxel thick.
    """
    low, high = hu_window
    first, last = ((hu - low) / (high - low) for hu in _LUNG_HU)
    lung = ((image > first) & (image < last)).float()
    size = tuple(min(wanted, n) for wanted, n in zip((7, 7, 5), image.shape[2:], strict=True))
    return float((F.avg_pool3d(lung, size) > 0.9).float().mean())


def trunk_encoder(state: Mapping[str, Tensor], shape: MerlinShape, name: str) -> MerlinImageEncoder:
    """The network of a trunk's own state dict, in float32 and eval mode; FileFormatError names keys that differ."""
    with torch.device("meta"):
        encoder = MerlinImageEncoder(None, blocks=shape.blocks, width=shape.width)
    check_keys(state, {key: tuple(value.shape) for key, value in encoder.state_dict().items()}, name)
    exact = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    encoder.load_state_dict(exact, assign=True)
    return encoder.requires_grad_(False).eval()


def published_trunk(name: str) -> tuple[dict[str, Tensor], str]:
    """Tensors and sha256 of a published trunk, from the folder of weights or from the package that ships it."""
    model, at = need_weights(name)
    file = model.files[0]
    if isinstance(at, Path):
        digest = sha256_of(at / file.name)
        if digest != file.sha256:
            raise FileFormatError(
                "a file has the sha256 that is known", f"{file.name}: {digest}, not {file.sha256}", "Fetch it again"
            )
        loaded = read_tensors(at / file.name, entry=_ENTRY)
    else:
        loaded = read_joined_tensors(at, file.name, file.sha256, entry=_ENTRY)
    found = trunk_alone(loaded)
    if found is None:
        raise InputError("the file is an image encoder of Merlin's shape without heads", file.name)
    return found, file.sha256
