"""A language model of the Transformers library in this process, from files on this computer.

Nothing is downloaded. One request at a time, in plain generation without an enforced schema: right for a few
hundred cases or a first look; for more, serve the same model with vLLM on this computer and use the ``openai`` backend,
which batches and enforces the schema.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.judge.backend import BackendFailure, Reply
from radvlm.evaluate.judge.request import JudgeRequest


class LocalTransformers:
    """Backend for a causal language model with a chat template.

    Args:
        folder: of the model, with tokenizer and weights.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` (as stored), ``float32``, ``bfloat16``, ``float16``.

    Raises FileFormatError when the folder holds no such model, InputError when it has no chat template.
    """

    name = "transformers"
    place = "this process"
    max_concurrency: int | None = 1

    def __init__(self, folder: str | Path, device: str = "auto", dtype: str = "auto") -> None:
        self._folder = Path(folder)
        if not (self._folder / "config.json").is_file():
            raise FileFormatError(
                "a model folder has config.json, tokenizer and weights",
                str(folder),
                "Download the model once; nothing is downloaded here",
            )
        if dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise InputError("a dtype is auto, float32, bfloat16 or float16", repr(dtype))
        self._dtype = dtype
        self._device = device
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def describe(self) -> Mapping[str, Any]:
        from importlib.metadata import version

        return {
            "folder": self._folder.name,
            "device": self._device,
            "dtype": self._dtype,
            "transformers": version("transformers"),
            "torch": version("torch"),
        }

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    self._folder,
                    local_files_only=True,
                    dtype="auto" if self._dtype == "auto" else getattr(torch, self._dtype),
                )
            except (OSError, ValueError, KeyError) as error:
                raise FileFormatError(
                    "a folder of a causal language model that Transformers can read", f"{self._folder}: {error}"
                ) from error
            if not getattr(tokenizer, "chat_template", None):
                raise InputError(
                    "a judge's model has a chat template",
                    self._folder.name,
                    "Use the instruction-tuned variant of the model",
                )
            device = self._device
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
            self._loaded = tokenizer, model.to(device).eval()
        return self._loaded

    def send(self, request: JudgeRequest, idempotency_key: str) -> Reply:
        """Generate; greedy at temperature 0, else sampled with the request's seed."""
        import torch

        with self._lock:
            try:
                tokenizer, model = self._model()
            except (FileFormatError, InputError) as error:
                raise BackendFailure("server_error", str(error), fatal=True) from error
            messages = [{"role": role, "content": content} for role, content in request.messages]
            inputs = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(model.device)
            n_input = int(inputs["input_ids"].shape[1])
            longest = getattr(model.config, "max_position_embeddings", None)
            if longest is not None and n_input >= longest:
                raise BackendFailure("rejected", f"{n_input} tokens, the model takes {longest}")
            room = request.params.max_tokens if longest is None else min(request.params.max_tokens, longest - n_input)
            sampling: dict[str, Any] = {"do_sample": False}
            if request.params.temperature:
                sampling = {
                    "do_sample": True,
                    "temperature": request.params.temperature,
                    "top_p": request.params.top_p or 1.0,
                    "top_k": 0,
                }
            devices = [model.device] if model.device.type == "cuda" else []
            try:
                with torch.inference_mode(), torch.random.fork_rng(devices=devices):
                    torch.manual_seed(request.seed or 0)
                    made = model.generate(**inputs, max_new_tokens=room, pad_token_id=_padding(tokenizer), **sampling)
            except torch.OutOfMemoryError as error:
                raise BackendFailure("rejected", "not enough memory for this case") from error
            new = made[0, n_input:]
            finish = "length" if len(new) >= room else "stop"
            return Reply(
                tokenizer.decode(new, skip_special_tokens=True),
                self._folder.name,
                finish=finish,
                input_tokens=n_input,
                output_tokens=len(new),
            )


def _padding(tokenizer: Any) -> int | None:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
