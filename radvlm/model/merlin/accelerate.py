"""Faster inference for Merlin's image encoder: exact by default, bfloat16 only after it has proved itself.

Nothing here changes a result in silence. ``fold`` is the same arithmetic in another order (batch norms in the kernels,
a one-channel stem, channels last), agreeing to rounding. bfloat16 is opt-in, and the encoder is run beside its float32
twin on probe scans first; where the difference of two embeddings points elsewhere, it is refused. OpenVINO (an extra)
runs the folded network through ONNX; its file is cached under the digest of the weights.
"""

from __future__ import annotations

import copy
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from radvlm.errors import InputError
from radvlm.files.optional import require_package
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.inputs import InputSpec, check_image
from radvlm.model.merlin.image import Bottleneck, MerlinImageEncoder, read_out
from radvlm.model.precision import PRECISIONS
from radvlm.model.tensor_files import tensor_digest

BACKENDS = ("torch", "openvino")
#: A reduced precision is refused when the pooled vector of any probe has a smaller cosine with float32's.
SMALLEST_COSINE = 0.999
#: ... or when the difference of the pooled vectors of two probes has: embeddings of two scans are nearly parallel, so
#: the plain cosine hides what matters for retrieval and zero-shot reading. Random weights measure 0.99.
SMALLEST_DIFFERENCE_COSINE = 0.97


@dataclass(frozen=True)
class SelfCheck:
    """How near a reduced precision came to float32 on the probes; each the worst case over probes or pairs."""

    precision: str
    probes: int
    cosine: float
    difference_cosine: float
    max_abs_difference: float
    max_probability_change: float


class FoldedBottleneck(nn.Module):
    """A bottleneck whose batch norms are inside its kernels."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.conv1 = fuse_conv_bn_eval(block.conv1, block.bn1)
        self.conv2 = fuse_conv_bn_eval(block.conv2, block.bn2)
        self.conv3 = fuse_conv_bn_eval(block.conv3, block.bn3)
        self.shortcut = None if block.downsample is None else fuse_conv_bn_eval(*block.downsample)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu_(self.conv1(x))
        out = F.relu_(self.conv2(out))
        out = self.conv3(out)
        shortcut = x if self.shortcut is None else self.shortcut(x)
        if torch.jit.is_tracing():  # the ONNX exporter knows no addition in place
            return F.relu(out + shortcut)
        return F.relu_(out.add_(shortcut))


class FoldedTrunk(nn.Module):
    """(B, 1, X, Y, Z) -> (B, 2048, Z/16, X/32, Y/32): stem and stages, for inference only."""

    def __init__(self, encoder: MerlinImageEncoder) -> None:
        super().__init__()
        stem = copy.deepcopy(encoder.conv1)
        stem.weight = nn.Parameter(encoder.conv1.weight.detach().sum(1, keepdim=True))
        stem.in_channels = 1
        self.stem = fuse_conv_bn_eval(stem.eval(), encoder.bn1)
        self.blocks = nn.Sequential(*(FoldedBottleneck(block) for block in encoder.bottlenecks()))
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, image: Tensor) -> Tensor:
        x = image.permute(0, 1, 4, 2, 3)  # (B, 1, Z, X, Y)
        if not torch.jit.is_tracing():  # ONNX knows no memory formats
            x = x.to(self.stem.weight.dtype).contiguous(memory_format=torch.channels_last_3d)
        x = F.max_pool3d(F.relu_(self.stem(x)), 3, 2, 1)
        return self.blocks(x)


class FastEncoder(nn.Module):
    """A trunk in some form and the published heads; called as the encoder that it came from, without gradients.

    Attributes:
        spec: the input it expects.
        precision, backend: what it runs.
        check: how it compares with float32; None where it is float32.
    """

    def __init__(
        self, encoder: MerlinImageEncoder, trunk: Callable[[Tensor], Tensor], precision: str, backend: str
    ) -> None:
        super().__init__()
        self.spec: InputSpec = encoder.spec
        self.token_axes, self.channels = encoder.token_axes, encoder.channels
        self.precision, self.backend = precision, backend
        self.check: SelfCheck | None = None
        self.trunk: Any = trunk
        heads = MerlinImageEncoder.__new__(MerlinImageEncoder)  # the heads alone, under their own names
        nn.Module.__init__(heads)
        heads.head_name = encoder.head_name
        if encoder.head_name is not None:
            heads.classifier = copy.deepcopy(encoder.classifier)
            heads.contrastive_head = copy.deepcopy(encoder.contrastive_head)
        self.heads = heads.requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> EncoderOutput:
        check_image(image)
        return read_out(self.heads, self.trunk(image))


def fold(encoder: MerlinImageEncoder) -> FastEncoder:
    """The same function in float32: batch norms folded, one-channel stem, channels last. The encoder is left as it is.

    Raises InputError for an encoder in training mode, whose batch norms are not constants.
    """
    if encoder.training:
        raise InputError("an encoder is folded for inference", "an encoder in training mode", "Call .eval() first")
    return FastEncoder(encoder, FoldedTrunk(encoder), "float32", "torch")


def accelerate(
    encoder: MerlinImageEncoder,
    *,
    backend: str = "torch",
    precision: str = "float32",
    device: str = "cpu",
    compiled: bool = False,
    probes: Sequence[Tensor] | None = None,
    cache_folder: str | Path | None = None,
) -> FastEncoder:
    """The fastest form of an encoder that was asked for.

    Args:
        backend: ``torch``, or ``openvino`` (CPU; needs the extra of that name).
        precision: ``float32`` is exact to rounding; ``bfloat16`` is checked against it on the probes (``SelfCheck``).
        device: a torch device such as ``cuda``.
        compiled: torch.compile the trunk (pays on CUDA; the first call takes a minute).
        probes: at least two inputs (1, 1, X, Y, Z) for the check, of the size that will be read, best real scans;
            smooth random fields are used otherwise.
        cache_folder: where OpenVINO's files are kept; the user's cache folder by default.

    Raises InputError for unknown settings, a device that is not there, or a precision that fails its check;
    MissingPackageError without OpenVINO.
    """
    if backend not in BACKENDS or precision not in PRECISIONS:
        raise InputError(
            f"the backend is one of {', '.join(BACKENDS)} and the precision one of {', '.join(PRECISIONS)}",
            f"{backend}, {precision}",
        )
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise InputError("the device is there", device, "Use device='cpu'")
    if backend == "openvino" and (where.type != "cpu" or compiled):
        raise InputError("OpenVINO runs on the CPU and compiles by itself", f"device {device}, compiled {compiled}")
    exact = fold(encoder)
    if backend == "openvino":
        fast = FastEncoder(encoder, OpenVinoTrunk(encoder, exact.trunk, precision, cache_folder), precision, backend)
    else:
        if precision == "float32" and where.type == "cpu" and not compiled:
            return exact
        trunk: Any = copy.deepcopy(exact.trunk).to(where, getattr(torch, precision))
        fast = FastEncoder(encoder, torch.compile(trunk) if compiled else trunk, precision, backend).to(where)
    if precision != "float32":
        fast.check = checked(fast, exact.to(where), probes or random_probes(encoder.spec.shape))
    return fast


def checked(fast: FastEncoder, exact: FastEncoder, probes: Sequence[Tensor]) -> SelfCheck:
    """Compare two forms of one encoder on probes; InputError when they differ by more than this module's limits."""
    if len(probes) < 2:
        raise InputError("the self-check needs at least two probes", str(len(probes)))
    device = next(exact.trunk.parameters()).device
    outputs = [(fast(probe.to(device)), exact(probe.to(device))) for probe in probes]
    vectors = [(a.pooled.flatten().double(), b.pooled.flatten().double()) for a, b in outputs]
    cosine = min(float(F.cosine_similarity(a, b, dim=0)) for a, b in vectors)
    difference = min(
        float(F.cosine_similarity(a - c, b - d, dim=0)) for (a, b), (c, d) in itertools.combinations(vectors, 2)
    )
    change = max(
        (float((a.probabilities(head) - b.probabilities(head)).abs().max()) for a, b in outputs for head in a.heads),
        default=0.0,
    )
    check = SelfCheck(
        fast.precision, len(probes), cosine, difference, max(float((a - b).abs().max()) for a, b in vectors), change
    )
    if not (cosine >= SMALLEST_COSINE and difference >= SMALLEST_DIFFERENCE_COSINE):
        raise InputError(
            f"{fast.precision} agrees with float32: cosine at least {SMALLEST_COSINE}, of differences at "
            f"least {SMALLEST_DIFFERENCE_COSINE}",
            f"{cosine:.5f} and {difference:.4f}",
            "Use precision='float32' with these weights",
        )
    return check


def random_probes(shape: tuple[int, int, int] | None, count: int = 2) -> tuple[Tensor, ...]:
    """Smooth random fields (1, 1, X, Y, Z) of values 0 to 1, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    shape = shape or (96, 96, 96)
    return tuple(
        F.interpolate(
            torch.rand(1, 1, *(max(2, n // 16) for n in shape), generator=generator), size=shape, mode="trilinear"
        )
        for _ in range(count)
    )


class OpenVinoTrunk:
    """A folded trunk in OpenVINO; compiled once for every input size that comes, from a cached file."""

    def __init__(
        self, encoder: MerlinImageEncoder, trunk: nn.Module, precision: str, cache_folder: str | Path | None
    ) -> None:
        require_package("openvino", "the openvino backend needs OpenVINO")
        self.folder = Path(cache_folder) if cache_folder else default_cache_folder()
        self.digest = tensor_digest(trunk.state_dict())
        self.precision = precision
        self.threads = torch.get_num_threads()
        self._source = trunk
        self._spec = encoder.spec
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, image: Tensor) -> Tensor:
        size = tuple(image.shape[2:])
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        run = self._compiled[size]
        maps = [torch.from_numpy(run(one[None].float().contiguous().numpy())[0].copy()) for one in image]
        return torch.cat(maps)

    def _compile(self, size: tuple[int, ...]) -> Any:
        import openvino

        path = self.folder / f"merlin-{self.digest[:16]}-{'x'.join(map(str, size))}.xml"
        core = openvino.Core()
        if not path.is_file():
            self._export(core, path, size)
        return core.compile_model(
            core.read_model(path),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[self.precision],
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )

    def _export(self, core: Any, path: Path, size: tuple[int, ...]) -> None:
        """Trace to ONNX, read that, and save OpenVINO's form in float32; moved into place when it is whole."""
        import openvino

        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracing exporter is marked as legacy
            onnx = Path(scratch) / "trunk.onnx"
            torch.onnx.export(
                self._source,
                (torch.zeros(1, 1, *size),),
                str(onnx),
                opset_version=17,
                dynamo=False,
                input_names=["image"],
                output_names=["features"],
            )
            model = core.read_model(onnx)
            openvino.save_model(model, Path(scratch) / "trunk.xml", compress_to_fp16=False)
            del model
            Path(scratch, "trunk.bin").replace(path.with_suffix(".bin"))
            Path(scratch, "trunk.xml").replace(path)


def default_cache_folder() -> Path:
    """``radvlm/openvino`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "radvlm" / "openvino"
