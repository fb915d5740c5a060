"""One training loop for every stage: steps, schedule, precision, log, resume, early stopping.

A stage is a function from step to loss. The loop owns everything else, so every stage resumes bit for bit the same way:
batches are drawn from (seed, step) and not from the state of a generator. On several processes (started with
``accelerate launch``) there is no wrapper around the module that a loss would have to go through: each process computes
its share, then gradients and batch statistics are averaged, and the main process decides when a stage ends.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import whole_file
from radvlm.model.precision import check_precision, computing
from radvlm.model.tensor_files import differences

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast.

    Attributes:
        steps: optimizer steps. learning_rate: peak of a cosine with ``warmup`` steps of linear rise.
        minutes: stop the stage after so many minutes of this run and finish the schedule early; None for no limit.
        precision: float32 or bfloat16 (autocast). save_every_s: seconds between checkpoints.
        validate_every: steps between validations; patience: validations without a better value before the stage ends
            with the best weights, None never.
        accumulate: losses whose mean gradient makes one step; ``loss_of`` is asked for step * accumulate + 0, 1, ...
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 1.0
    precision: str = "float32"
    minutes: float | None = None
    log_every: int = 20
    save_every_s: float = 120.0
    validate_every: int | None = None
    patience: int | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.learning_rate > 0:
            raise InputError(
                "a stage has at least one step and a positive learning rate",
                f"{self.steps} steps, {self.learning_rate}",
            )
        check_precision(self.precision)
        if self.accumulate < 1:
            raise InputError("a step is made of at least one loss", f"accumulate: {self.accumulate}")


def run_stage(
    name: str,
    module: nn.Module,
    loss_of: Callable[[int], dict[str, Tensor]],
    config: LoopConfig,
    folder: Path,
    *,
    validate: Callable[[], float] | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Path:
    """Train ``module`` so that ``loss_of(step)["loss"]`` falls; returns the stage's log (JSON lines).

    Only parameters that require a gradient are trained, and only they and buffers are kept. ``validate`` returns a
    value to be maximized. A stage that was finished in ``folder`` is loaded and not trained again; an interrupted one
    goes on from its last checkpoint. Raises InputError when the loss is not finite, naming the step.
    """
    from accelerate import Accelerator

    folder.mkdir(parents=True, exist_ok=True)
    log, state_file, done_file = folder / f"{name}.log.jsonl", folder / f"{name}.state.pt", folder / f"{name}.done.pt"
    if done_file.exists():
        _load(module, torch.load(done_file, weights_only=True, map_location=device), done_file)
        return log
    accelerator = Accelerator(cpu=device == "cpu")  # precision is ours: accelerate allows one for a whole process
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    wrapped = accelerator.prepare_model(module, evaluation_mode=True)  # device and precision, no wrapper
    optimizer = accelerator.prepare_optimizer(optimizer)
    step, spent, best, stale, best_state = 0, 0.0, -math.inf, 0, None
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=device)
        _load(module, state["module"], state_file)
        optimizer.load_state_dict(state["optimizer"])
        step, spent = int(state["step"]), float(state["spent"])
        best, stale, best_state = state.get("best", best), state.get("stale", stale), state.get("best_state")
    if accelerator.is_main_process:
        _trim(log, step)
    start = saved = time.monotonic()
    wrapped.train()
    while step < config.steps:
        elapsed = spent + time.monotonic() - start
        share = max(step / config.steps, 0.0 if config.minutes is None else elapsed / (60 * config.minutes))
        share = _agreed(share, accelerator)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step, share, config.warmup)
        torch.manual_seed(_seed(name, step) + accelerator.process_index)
        for part in range(config.accumulate):
            with computing(config.precision, device):
                losses = loss_of(step * config.accumulate + part)
            if not torch.isfinite(losses["loss"]):
                raise InputError(
                    "the loss of a training step is finite",
                    f"{name}, step {step}: {losses['loss']}",
                    "Lower the learning rate or look at the data of this step",
                )
            accelerator.backward(losses["loss"] / config.accumulate)
        if accelerator.num_processes > 1:
            _average(module, trained)
        length = accelerator.clip_grad_norm_(trained, config.clip)
        if length is not None and not torch.isfinite(torch.as_tensor(length)):  # a step of it would ruin every weight
            raise InputError(
                "the gradient of a training step is finite",
                f"{name}, step {step}: {float(length)}",
                "Lower the learning rate, or train in float32",
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % config.log_every == 0 and accelerator.is_main_process:
            row = {
                "step": step,
                "seconds": round(elapsed, 1),
                "lr": optimizer.param_groups[0]["lr"],
                **{k: round(float(v.detach()), 5) for k, v in losses.items()},
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if progress:
                progress(f"{name} {step}/{config.steps} ({share:.0%}): loss {row['loss']:.4f}")
        if validate is not None and config.validate_every and step % config.validate_every == 0:
            wrapped.eval()
            value = _agreed(validate(), accelerator)
            wrapped.train()
            if accelerator.is_main_process:
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": step, "validation": round(value, 5)}) + "\n")
            if value > best:
                best, stale = value, 0
                best_state = {k: v.detach().clone() for k, v in changing(module).items()}
            else:
                stale += 1
                if config.patience is not None and stale >= config.patience:
                    break
        if time.monotonic() - saved > config.save_every_s and accelerator.is_main_process:
            _save(
                {
                    "module": changing(module),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "spent": spent + time.monotonic() - start,
                    "best": best,
                    "stale": stale,
                    "best_state": best_state,
                },
                state_file,
            )
            saved = time.monotonic()
    if best_state is not None:
        module.load_state_dict(best_state, strict=False)
    module.eval()
    if accelerator.is_main_process:
        _save(changing(module), done_file)
        state_file.unlink(missing_ok=True)
    accelerator.free_memory()
    return log


def rate(step: int, share: float, warmup: int) -> float:
    """Share of the peak learning rate: linear rise, then a cosine to zero over ``share`` 0..1."""
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def changing(module: nn.Module) -> dict[str, Tensor]:
    """What training can change: the state without parameters that are frozen, such as a decoder's base of 13 GB."""
    frozen = {n for n, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {key: value for key, value in module.state_dict().items() if key not in frozen}


def _load(module: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """All that training changes, or an error: a module loaded in part would train on as if nothing had happened."""
    if said := differences(module.state_dict(), state, needed=changing(module), most=5):
        raise FileFormatError(
            "a stage goes on with the module that it began with",
            f"{file.name}: {said}",
            "The recipe was changed: train into a new folder",
        )
    module.load_state_dict(state, strict=False)


def _trim(log: Path, step: int) -> None:
    """Drop rows of steps that are done again, and a last row that was cut off in writing."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(f"{line}\n")
        except (ValueError, KeyError, TypeError):
            continue
    log.write_text("".join(kept), encoding="utf-8")


def _agreed(value: float, accelerator: Any) -> float:
    """The main process's value, so that all processes take the same decisions."""
    if accelerator.num_processes == 1:
        return value
    held = torch.tensor(
        [value], dtype=torch.float64 if accelerator.device.type != "mps" else torch.float32, device=accelerator.device
    )
    torch.distributed.broadcast(held, 0)
    return float(held)


def _average(module: nn.Module, trained: list[nn.Parameter]) -> None:
    """Gradients, and floating-point buffers such as batch statistics, become their mean over processes.

    A parameter without a gradient in one process (a branch that its rows did not need) counts as zero there.
    """
    count = torch.distributed.get_world_size()
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    held = [p.grad for p in trained if p.grad is not None]
    held += [b for b in module.buffers() if b.is_floating_point()]
    waiting = [torch.distributed.all_reduce(t, async_op=True) for t in held]
    for work, tensor in zip(waiting, held, strict=True):
        work.wait()
        tensor.div_(count)


def _seed(name: str, step: int) -> int:
    from zlib import crc32

    return crc32(f"{name}/{step}".encode()) & 0x7FFFFFFF


def _save(state: object, path: Path) -> None:
    with whole_file(path) as beside:
        torch.save(state, beside)
