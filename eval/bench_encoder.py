"""Merlin's image encoder beside the published implementation: time and agreement, one run, the same random weights.

    python eval/bench_encoder.py [--rounds 3] [--size 224 224 160]

Needs ``merlin-vlm`` and the openvino extra. The forms take turns within a round, and each is given by its fastest turn,
in wall seconds and in CPU seconds of this process; where other work shares the processor the CPU seconds are fairer, so
the ratios are given for both. No trained weights are involved: all taps are random, batch statistics are calibrated,
and the two inputs are phantoms. Two scans are nearly parallel in this space, so besides the plain cosine the cosine of
the *difference* of the two embeddings to that of the reference is reported.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from record import write_result
from torch import Tensor, nn

import radvlm.model.merlin.accelerate as acceleration
from radvlm.model.inputs import MERLIN_INPUT, InputSpec, prepare
from radvlm.model.merlin.accelerate import accelerate, fold
from radvlm.model.merlin.image import BLOCKS, image_encoder_from_state
from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom

TARGETS = {"default": 1.5, "extra": 4.0}


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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=3, default=MERLIN_INPUT.shape)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the published code checkpoints without gradients, and says so each time
    limits = {"cosine": acceleration.SMALLEST_COSINE, "difference_cosine": acceleration.SMALLEST_DIFFERENCE_COSINE}
    acceleration.SMALLEST_COSINE = acceleration.SMALLEST_DIFFERENCE_COSINE = -1.0  # measured here, not refused
    spec = InputSpec(MERLIN_INPUT.spacing_mm, tuple(args.size))
    images = phantoms(spec)
    reference = reference_network(F.interpolate(torch.cat(images), scale_factor=0.5, mode="trilinear"))
    encoder = image_encoder_from_state(reference.state_dict())
    folded = fold(encoder)
    with tempfile.TemporaryDirectory() as cache, torch.no_grad():
        bf16: dict[str, Any] = {"precision": "bfloat16", "probes": images}
        forms: dict[str, Callable[[Tensor], Tensor]] = {
            "merlin-vlm": reference,
            "encoder, not folded": lambda x: encoder(x).pooled,
            "default (folded, float32)": lambda x: folded(x).pooled,
        }
        built = {
            "openvino float32": accelerate(encoder, backend="openvino", cache_folder=cache),
            "torch bfloat16": accelerate(encoder, **bf16),
            "openvino bfloat16": accelerate(encoder, backend="openvino", cache_folder=cache, **bf16),
        }
        for name, fast in built.items():
            forms[name] = lambda x, fast=fast: fast(x).pooled  # type: ignore[misc]
        best: dict[str, list[float]] = {}
        vectors: dict[str, list[Tensor]] = {}
        load = [os.getloadavg()[0]]
        for number in range(args.rounds + 1):  # the first round compiles and warms up; it still gives vectors
            for name, form in forms.items():
                wall, cpu, out = timed(form, images[number % 2])
                if number < 2:
                    vectors.setdefault(name, []).append(out)
                if number:
                    old = best.get(name, [wall, cpu])
                    best[name] = [min(old[0], wall), min(old[1], cpu)]
                print(f"round {number} {name:28} wall {wall:6.2f} s cpu {cpu:6.2f} s", flush=True)
            load.append(os.getloadavg()[0])
    rows = [row(name, best, vectors) for name in forms]
    checks = {
        name: {**vars(fast.check), "passes": all(vars(fast.check)[key] >= low for key, low in limits.items())}
        for name, fast in built.items()
        if fast.check is not None
    }
    faster = {r["form"]: r["times_faster_cpu"] for r in rows}
    write_result(
        "encoder",
        args.rounds,
        {
            "input": list(args.size),
            "threads": torch.get_num_threads(),
            "weights": "random, all taps, calibrated",
            "load_average_1_min": [round(value, 1) for value in load],
            "cosine_of_the_two_phantoms_in_float32": float(F.cosine_similarity(*vectors["merlin-vlm"], dim=0)),
            "forms": rows,
            "self_checks": checks,
            "self_check_limits": limits,
            "targets": {
                "default at least 1.5 times": faster["default (folded, float32)"] >= TARGETS["default"],
                "with the extra at least 4 times": faster["openvino bfloat16"] >= TARGETS["extra"],
            },
        },
    )


def row(name: str, best: dict[str, list[float]], vectors: dict[str, list[Tensor]]) -> dict[str, Any]:
    (wall, cpu), (first, second) = best[name], vectors[name]
    true_first, true_second = vectors["merlin-vlm"]
    return {
        "form": name,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "times_faster_wall": round(best["merlin-vlm"][0] / wall, 2),
        "times_faster_cpu": round(best["merlin-vlm"][1] / cpu, 2),
        "smallest_cosine": min(
            float(F.cosine_similarity(a, b, dim=0)) for a, b in zip(vectors[name], vectors["merlin-vlm"], strict=True)
        ),
        "cosine_of_differences": float(F.cosine_similarity(first - second, true_first - true_second, dim=0)),
        "max_abs_difference": max(
            float((a - b).abs().max()) for a, b in zip(vectors[name], vectors["merlin-vlm"], strict=True)
        ),
    }


if __name__ == "__main__":
    main()
