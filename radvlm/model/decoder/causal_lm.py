"""Any causal language model of transformers as the writing half: training loss, LoRA, saving.

The image reaches the language model as embeddings (a *prefix*), never as token ids, so one decoder serves every
encoder. Prompts have no beginning-of-text token, because the prefix stands there. Text is encoded so that control
tokens spelled out in a report or a question stay text. What writes with it is ``radvlm.model.decoder.generation``.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PretrainedConfig, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from radvlm.errors import FileFormatError, InputError
from radvlm.model.decoder.tokenizer import load_tokenizer

#: Label of a position that is not learned from (the value PyTorch's cross entropy ignores by default).
IGNORED = -100
BASE, ADAPTER = "base", "adapter"


@dataclass(frozen=True)
class LlamaShape:
    """Size of an own Llama-type base.

    Attributes:
        hidden: width of the embeddings. layers: blocks. heads: attention heads, a divisor of ``hidden``.
        kv_heads: key/value heads (grouped-query attention), a divisor of ``heads``; None for as many as heads.
        feed_forward: width inside a block; None for 8/3 of hidden rounded up to 64, as Llama has it.
        context: longest sequence in tokens, image prefix included.
        tied: input and output embeddings are one matrix.
        initializer_range: standard deviation of the random weights.
    """

    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int | None = None
    feed_forward: int | None = None
    context: int = 1024
    tied: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        kv = self.heads if self.kv_heads is None else self.kv_heads
        if min(self.hidden, self.layers, self.heads, kv, self.context) < 1:
            raise InputError("sizes of a decoder are positive", repr(self))
        if self.hidden % (2 * self.heads) or self.heads % kv:
            raise InputError("hidden is a multiple of twice the heads, and heads a multiple of kv_heads", repr(self))


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): update = alpha / rank * B A, B starting at zero.

    Attributes:
        rank, alpha, dropout: as in the paper.
        target_modules: names of the layers; "all-linear" for every one but the output; None for the
            choice peft makes for the architecture (Llama: q_proj and v_proj, as Merlin has it).
        seed: of the random A.
    """

    rank: int = 16
    alpha: float = 32.0
    target_modules: tuple[str, ...] | str | None = "all-linear"
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise InputError("LoRA has rank >= 1, alpha > 0 and 0 <= dropout < 1", repr(self))


@dataclass(frozen=True)
class TextBatch:
    """Prompts and targets of one training step, padded on the right.

    Attributes:
        input_ids: (B, L) long; prompt, target, end token, padding.
        attention_mask: (B, L) long; 0 on padding.
        labels: (B, L) long; the id on targets and their end token, -100 elsewhere.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    @property
    def n_targets(self) -> int:
        """Tokens that are learned from, over the whole batch."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device | str) -> TextBatch:
        return TextBatch(self.input_ids.to(device), self.attention_mask.to(device), self.labels.to(device))


class Decoder(nn.Module):
    """A causal language model with its tokenizer.

    Args:
        model: from ``AutoModelForCausalLM`` (any architecture whose forward takes ``inputs_embeds`` and a cache).
        tokenizer: with an end token; where it has no padding token, padding is masked and the end token stands in.

    Raises InputError when the tokenizer has ids that the model has no embedding for.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        # of the base: peft's own forward names fewer and passes the others on
        self._parameters_of_forward = frozenset(inspect.signature(self.base_model.forward).parameters)
        self._compiled: Any = None
        if "inputs_embeds" not in self._parameters_of_forward:
            raise InputError("a decoder takes embeddings", type(model).__name__, "Choose a model with inputs_embeds")
        largest = max(tokenizer.get_vocab().values())
        if largest >= self.vocabulary_size:
            raise InputError(
                "every token of the tokenizer has an embedding in the model",
                f"largest token id {largest}, {self.vocabulary_size} embeddings",
                "Use the tokenizer that the model was trained with, or resize and train the embeddings",
            )
        if tokenizer.eos_token_id is None:
            raise InputError("a decoder's tokenizer has an end token", type(tokenizer).__name__, "Set eos_token")

    # --- making one -------------------------------------------------------------------------------------------------
    @classmethod
    def new_llama(
        cls, tokenizer: PreTrainedTokenizerBase, shape: LlamaShape | None = None, *, seed: int = 0
    ) -> Decoder:
        """A small Llama with random weights for that tokenizer; the same seed gives the same weights."""
        shape = shape or LlamaShape()
        feed_forward = shape.feed_forward or -(-shape.hidden * 8 // 3 // 64) * 64
        config = LlamaConfig(
            vocab_size=max(tokenizer.get_vocab().values()) + 1,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads or shape.heads,
            intermediate_size=feed_forward,
            max_position_embeddings=shape.context,
            tie_word_embeddings=shape.tied,
            initializer_range=shape.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        return cls.from_config(config, tokenizer, seed=seed)

    @classmethod
    def from_config(cls, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int = 0) -> Decoder:
        """Random weights of any transformers configuration; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(AutoModelForCausalLM.from_config(config), tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, dtype: torch.dtype | None = None) -> Decoder:
        """A decoder saved by ``save_pretrained``, or any local transformers folder with safetensors and a tokenizer.

        Args:
            dtype: of the weights; None for the one they were saved in.

        Nothing is downloaded and nothing is unpickled. Raises FileFormatError when the folder is not complete.
        """
        path = Path(folder)
        base = path / BASE if (path / BASE).is_dir() else path
        tokenizer = load_tokenizer(base)
        try:
            with _quiet():
                model = AutoModelForCausalLM.from_pretrained(
                    base, dtype=dtype or "auto", local_files_only=True, use_safetensors=True, trust_remote_code=False
                )
        except (OSError, ValueError) as error:
            raise FileFormatError(
                "the folder holds a causal language model as safetensors",
                f"{path}: {error}",
                "Expected config.json and model.safetensors",
            ) from error
        decoder = cls(model, tokenizer)
        if (path / ADAPTER).is_dir():
            decoder.load_adapter(path / ADAPTER)
        return decoder

    @classmethod
    def from_form(cls, folder: str | Path) -> Decoder:
        """A decoder with random weights, of the configuration and tokenizer that ``save_form`` wrote."""
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return cls.from_config(config, load_tokenizer(folder))

    def save_form(self, folder: str | Path) -> None:
        """Write configuration and tokenizer without any weight, for models that keep all weights in one file."""
        self.base_model.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``base/`` (weights, config, tokenizer) and ``adapter/`` when there are adapters; returns the folder."""
        path = Path(folder)
        base, state = self.base_model, None
        if self.has_lora:
            self.save_adapter(path / ADAPTER)
            prefix = "base_model.model."
            state = {
                name.removeprefix(prefix).replace(".base_layer.", "."): tensor
                for name, tensor in self.model.state_dict().items()
                if ".lora_" not in name
            }
        with _quiet():
            base.save_pretrained(path / BASE, state_dict=state)
        self.tokenizer.save_pretrained(path / BASE)
        return path

    # --- facts ------------------------------------------------------------------------------------------------------
    @property
    def base_model(self) -> Any:
        """The transformers model, without the peft wrapper."""
        return self.model.get_base_model() if self.has_lora else self.model

    @property
    def has_lora(self) -> bool:
        """Whether the model is wrapped by peft; a bare one with adapters inside (Merlin's, not merged) is not."""
        return hasattr(self.model, "get_base_model")

    @property
    def width(self) -> int:
        """Width of the embeddings that a prefix must have."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def vocabulary_size(self) -> int:
        """Rows of the input embedding; every token id is below it."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def context(self) -> int | None:
        """Longest sequence in tokens, or None where the architecture sets no limit.

        A sliding window counts as the limit, so that every token sees the whole image prefix.
        """
        config = self.base_model.config.get_text_config()
        limits = [getattr(config, "max_position_embeddings", None)]
        if getattr(config, "use_sliding_window", True):
            limits.append(getattr(config, "sliding_window", None))
        known = [limit for limit in limits if limit]
        return min(known) if known else None

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.get_input_embeddings().weight.dtype

    @property
    def end_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self.end_id if pad is None else int(pad)

    # --- text <-> tensors -------------------------------------------------------------------------------------------
    def encode(self, text: str, *, end: bool = False) -> list[int]:
        """Token ids of a text, without beginning token, with the end token on request; control tokens stay text."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return [*ids, self.end_id] if end else list(ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def token_id(self, token: str) -> int:
        """Id of one token; InputError when the vocabulary has no such token (instead of the unknown token's id)."""
        vocabulary = self.tokenizer.get_vocab()
        if token not in vocabulary:
            raise InputError(
                "the token exists in the vocabulary",
                repr(token),
                f"The vocabulary has {len(vocabulary)} tokens; use encode() for text",
            )
        return int(vocabulary[token])

    def check_ids(self, ids: Sequence[int] | Tensor, what: str) -> None:
        """InputError unless every id has an embedding."""
        flat = torch.as_tensor(ids).flatten()
        if flat.numel() and (int(flat.min()) < 0 or int(flat.max()) >= self.vocabulary_size):
            bad = flat[(flat < 0) | (flat >= self.vocabulary_size)][0]
            raise InputError(
                f"{what} are ids of tokens that exist", str(int(bad)), f"Ids run from 0 to {self.vocabulary_size - 1}"
            )

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, width) embeddings."""
        return self.model.get_input_embeddings()(ids)

    def text_batch(self, prompts: Sequence[str] | None, targets: Sequence[str]) -> TextBatch:
        """Tensors of one training step, on the CPU: prompt, then target and end token, padded on the right.

        Args:
            prompts: one a row; None to learn from the targets alone, each after the beginning token.
        """
        if prompts is None:
            if self.tokenizer.bos_token_id is None:
                raise InputError(
                    "text without a prompt begins with the beginning token", "a tokenizer without one", "Pass prompts"
                )
            heads = [[int(self.tokenizer.bos_token_id)]] * len(targets)
        else:
            heads = [self.encode(prompt) for prompt in prompts]
        if len(heads) != len(targets) or not targets:
            raise InputError("there is one target for each prompt", f"{len(heads)} prompts, {len(targets)} targets")
        return collate(heads, [self.encode(target, end=True) for target in targets], self.pad_id)

    # --- training ---------------------------------------------------------------------------------------------------
    def forward(self, prefix: Tensor | None, batch: TextBatch, prefix_mask: Tensor | None = None) -> Tensor:
        """``loss``, so that wrappers which only know ``forward`` (accelerate, DDP) can train a decoder."""
        return self.loss(prefix, batch, prefix_mask)

    def loss(self, prefix: Tensor | None, batch: TextBatch, prefix_mask: Tensor | None = None) -> Tensor:
        """Mean cross entropy (natural logarithm) over the target tokens of the batch, in float32.

        Args:
            prefix: (B, P, width) visual embeddings before each prompt, or None for text alone.
            batch: from ``text_batch`` or ``collate``.
            prefix_mask: (B, P) true where the prefix holds something; None for everywhere. What is masked has no
                influence, and takes no position.

        Raises InputError for a sequence over the context.
        """
        logits, labels = self.target_logits(prefix, batch, prefix_mask)
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    def target_logits(
        self, prefix: Tensor | None, batch: TextBatch, prefix_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) in float32 and the labels (B, T) that they predict, from the first target onwards only."""
        batch = batch.to(self.device)
        self.check_ids(batch.input_ids, "training tokens")
        embeddings = self.embed(batch.input_ids)  # (B, L, H)
        prefix, prefix_mask = self.check_prefix(prefix, prefix_mask, len(batch.input_ids))
        length = prefix.shape[1] + embeddings.shape[1]
        if self.context is not None and length > self.context:
            raise InputError(
                "prefix, prompt and target fit the context of the decoder",
                f"{prefix.shape[1]} + {embeddings.shape[1]} tokens, context {self.context}",
                "Shorten the texts or use fewer image tokens",
            )
        learned = (batch.labels != IGNORED).any(dim=0).nonzero()
        if learned.numel() == 0:
            raise InputError("a training batch has at least one target token", "none")
        first = int(learned[0])
        if first == 0 and prefix.shape[1] == 0:
            raise InputError(
                "something stands before the first target token",
                "no prefix and no prompt",
                "Pass prompts=None to text_batch, which begins with the beginning token",
            )
        mask = torch.cat([prefix_mask, batch.attention_mask.bool()], dim=1)  # (B, P + L)
        logits = self.logits(
            torch.cat([prefix, embeddings], dim=1), mask, positions_of(mask), None, keep=embeddings.shape[1] - first + 1
        )  # (B, L - first + 1, V)
        return logits[:, :-1].float(), batch.labels[:, first:]  # the logits before a label predict it

    def check_prefix(self, prefix: Tensor | None, mask: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
        """A prefix (B, P, width) in the decoder's dtype and its boolean mask (B, P); P is 0 without a prefix."""
        if prefix is None:
            prefix = torch.zeros(rows, 0, self.width, device=self.device, dtype=self.dtype)
        if prefix.ndim != 3 or prefix.shape[0] != rows or prefix.shape[2] != self.width:
            raise InputError(
                f"the prefix has the shape ({rows}, P, {self.width})",
                str(tuple(prefix.shape)),
                "One row for each case, as wide as the decoder's embeddings",
            )
        if mask is None:
            mask = torch.ones(prefix.shape[:2], dtype=torch.bool)
        if mask.shape != prefix.shape[:2]:
            raise InputError(
                "the prefix mask has the shape of the prefix",
                f"{tuple(mask.shape)}",
                f"Expected {tuple(prefix.shape[:2])}",
            )
        return prefix.to(self.device, self.dtype), mask.to(self.device, torch.bool)

    def logits(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: Any, keep: int) -> Tensor:
        """One pass of the model.

        Args:
            embeddings: (B, L, width). mask: (B, cached + L) bool. positions: (B, L) long.
            cache: a transformers cache, which grows by L; None for no cache.
            keep: positions at the end to compute logits for.

        Returns: (B, keep, V).
        """
        inputs: dict[str, Any] = {
            "inputs_embeds": embeddings,
            "attention_mask": mask.long(),
            "use_cache": cache is not None,
        }
        if "position_ids" in self._parameters_of_forward:
            inputs["position_ids"] = positions
        if cache is not None:
            inputs["past_key_values"] = cache
        if "logits_to_keep" in self._parameters_of_forward:
            inputs["logits_to_keep"] = keep
        run = self.model if self._compiled is None or cache is None else self._compiled
        return run(**inputs).logits[:, -keep:]

    # --- adapters ---------------------------------------------------------------------------------------------------
    def add_lora(self, settings: LoraSettings | None = None) -> Decoder:
        """Freeze the base and add trainable low-rank adapters; returns self."""
        from peft import LoraConfig, get_peft_model

        settings = settings or LoraSettings()
        self._refuse_second_adapter()
        targets: Any = settings.target_modules
        if isinstance(targets, tuple):
            targets = list(targets)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides by it
            lora_dropout=settings.dropout,
            bias="none",
            target_modules=targets,
            task_type="CAUSAL_LM",
            fan_in_fan_out=any(isinstance(m, Conv1D) for m in self.model.modules()),
        )
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(settings.seed)
            try:
                self.model = get_peft_model(self.model, config)
            except ValueError as error:
                names = sorted(
                    {
                        name.rsplit(".", 1)[-1]
                        for name, module in self.model.named_modules()
                        if isinstance(module, nn.Linear | Conv1D)
                    }
                )
                raise InputError(
                    "the layers to adapt exist in the decoder", repr(targets), f"Linear layers: {', '.join(names)}"
                ) from error
        return self

    def _refuse_second_adapter(self) -> None:
        self._compiled = None
        if self.has_lora:
            raise InputError("a decoder has one set of adapters", "a second one", "Call merge() first")

    def save_adapter(self, folder: str | Path) -> Path:
        """Write the adapters alone in peft's own format (adapter_model.safetensors); returns the folder."""
        if not self.has_lora:
            raise InputError(
                "only a decoder with adapters can save them",
                "none, or merged already",
                "Save the adapters before merge(), or call save_pretrained",
            )
        for config in self.model.peft_config.values():
            config.base_model_name_or_path = None  # a path of this machine, or nothing
        self.model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        (Path(folder) / "README.md").unlink(missing_ok=True)  # peft's empty model card
        return Path(folder)

    def load_adapter(self, folder: str | Path) -> Decoder:
        """Put saved adapters on this base; returns self. Raises FileFormatError when they do not fit it."""
        from peft import PeftModel

        self._refuse_second_adapter()
        path = Path(folder)
        if not (path / "adapter_model.safetensors").is_file() or not (path / "adapter_config.json").is_file():
            raise FileFormatError(
                "a folder of adapters holds adapter_config.json and adapter_model.safetensors", str(path)
            )
        try:
            with _quiet():
                self.model = PeftModel.from_pretrained(self.model, str(path), local_files_only=True)
        except (RuntimeError, ValueError) as error:
            raise FileFormatError(
                "the adapters fit the base",
                f"{path}: {error}".splitlines()[0],
                "Load the base that they were trained on",
            ) from error
        return self

    def merge(self) -> Decoder:
        """Add the adapters to the base weights, for inference; returns self. Save the adapters first."""
        if not self.has_lora:
            raise InputError("there are adapters to merge", "none")
        self.model, self._compiled = self.model.merge_and_unload(safe_merge=True), None
        return self

    def use_gradient_checkpointing(self) -> Decoder:
        """Recompute activations in the backward pass: less memory, about a third more time; returns self."""
        base = self.base_model
        if hasattr(base, "activation_checkpointing_enable"):  # the name from transformers 5.2x on
            base.activation_checkpointing_enable({"use_reentrant": False})
        else:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return self

    def compile_writing(self) -> Decoder:
        """Compile the pass that writes (``torch.compile``, dynamic shapes), for many cases on a GPU; returns self.

        Compile last: adding or merging adapters drops the compiled pass.
        """
        self._compiled = torch.compile(self.model.forward, dynamic=True)
        return self


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers, and no warning that peft 0.21 asks transformers 5 for a property's old name."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", category=FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def positions_of(mask: Tensor) -> Tensor:
    """(B, S) bool -> (B, S) positions that count real tokens only; masked ones get a position that nobody reads."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def collate(prompt_ids: Sequence[Sequence[int]], target_ids: Sequence[Sequence[int]], pad_id: int) -> TextBatch:
    """One TextBatch of ragged token ids; targets carry their end token already."""
    rows = [[*prompt, *target] for prompt, target in zip(prompt_ids, target_ids, strict=True)]
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)  # (B, L)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for number, (row, prompt) in enumerate(zip(rows, prompt_ids, strict=True)):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
        labels[number, len(prompt) : len(row)] = ids[number, len(prompt) : len(row)]
    return TextBatch(ids, mask, labels)
