"""Merlin's report model: image tokens, one linear map, a Llama with LoRA, one prompt for each of thirteen sections.

Nothing but the published file and a tokenizer is needed. The language model is built on meta tensors from sizes that
are written down, then the file's own tensors are put in; no base is fetched and no remote code is trusted. The image is
read once and all sections are written as rows of one batch, where the published code makes one call for each. A section
ends at "###" or at the end token, whichever comes first; the published code's own stop token lies outside of its
vocabulary and never fires.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from radvlm.errors import FileFormatError, InputError
from radvlm.model.decoder.causal_lm import Decoder
from radvlm.model.decoder.generation import WritingLimits, generate
from radvlm.model.merlin.checkpoint import MerlinCheckpoint
from radvlm.model.merlin.image import MerlinImageEncoder
from radvlm.model.merlin.layout import LanguageShape

#: The published sections in their order -> the section of a radvlm report that holds them.
SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "lower thorax": "lungs",
        "liver": "liver",
        "gallbladder": "biliary",
        "spleen": "spleen",
        "pancreas": "pancreas",
        "adrenal glands": "adrenals",
        "kidneys": "kidneys",
        "bowel": "bowel",
        "peritoneum": "peritoneum",
        "pelvic": "reproductive",
        "circulatory": "vessels",
        "lymph nodes": "nodes",
        "musculoskeletal": "bones",
    }
)
STOP = "###"
#: Greedy; the penalty falls on written tokens only, because the prompt enters as embeddings (published demo).
LIMITS = WritingLimits(max_new_tokens=128, repetition_penalty=1.2, stop=(STOP,))


def section_prompt(section: str) -> str:
    """The exact prompt that the model was trained with; InputError for a section it does not know."""
    if section not in SECTIONS:
        raise InputError(f"a section is one of {', '.join(SECTIONS)}", repr(section))
    return f"Generate a radiology report for {section}{STOP}\n"


@dataclass(frozen=True)
class SectionText:
    """What the model wrote for one section.

    Attributes:
        section: key of ``SECTIONS``.
        text: without "###" and what follows, stripped; may be empty.
        token_ids: everything written.
        ended_by: ``end``, ``stop`` or ``length`` (cut short at 128 tokens).
        mean_log_probability: of the written tokens, natural logarithm.
    """

    section: str
    text: str
    token_ids: tuple[int, ...]
    ended_by: str
    mean_log_probability: float


def build_language_model(state: Mapping[str, Tensor], shape: LanguageShape, *, merge: bool = True) -> Any:
    """Llama with the published LoRA from tensors named as peft names them; they are used as they are, not copied.

    Args:
        state: ``MerlinCheckpoint.language``.
        merge: add the LoRA update to the base weights once (new tensors for q and v; nothing is written to the file).

    Returns: LlamaForCausalLM, or the peft model around it without ``merge``; in eval mode, without gradients.
    """
    from peft import LoraConfig, get_peft_model

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.positions,
        rms_norm_eps=shape.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    lora = LoraConfig(
        r=shape.lora_rank,
        lora_alpha=shape.lora_alpha,
        lora_dropout=0.1,
        bias="none",
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        model: Any = get_peft_model(LlamaForCausalLM(config), lora)
    model.load_state_dict(dict(state), strict=True, assign=True)
    with torch.device("cpu"):  # its buffers are in no file
        model.get_base_model().model.rotary_emb = LlamaRotaryEmbedding(config=config)
    model.requires_grad_(False).eval()
    if merge:
        model = model.merge_and_unload(safe_merge=True)
    left = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta]
    if left:
        raise FileFormatError("the file holds every weight of the language model", f"{len(left)} are empty: {left[0]}")
    return model


def load_report_tokenizer(folder: str | Path, shape: LanguageShape | None = None) -> PreTrainedTokenizerBase:
    """The Llama tokenizer in a local folder: ``tokenizer.model`` (preferred) or ``tokenizer.json``.

    Other files beside it (configurations that name remote code) are not read. Raises FileFormatError where there is
    none, and where it does not belong to the weights: another number of tokens, other control tokens, or ids that
    differ from sentencepiece's own for the prompts.
    """
    shape = shape or LanguageShape()
    folder = Path(folder)
    pieces, whole = folder / "tokenizer.model", folder / "tokenizer.json"
    try:
        if pieces.is_file():
            with tempfile.TemporaryDirectory() as alone:
                shutil.copyfile(pieces, Path(alone) / pieces.name)
                tokenizer: PreTrainedTokenizerBase = LlamaTokenizer.from_pretrained(alone, local_files_only=True)
        elif whole.is_file():
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_file=str(whole),
                bos_token="<s>",
                eos_token="</s>",
                unk_token="<unk>",
                clean_up_tokenization_spaces=False,
            )
        else:
            raise FileFormatError(
                "the folder holds the Llama tokenizer of the report model",
                str(folder),
                "Put tokenizer.model of StanfordAIMI/RadLLaMA-7b there",
            )
    except FileFormatError:
        raise
    except Exception as error:  # tokenizers and sentencepiece raise what they like
        raise FileFormatError(
            "the folder holds a readable Llama tokenizer", f"{folder}: {error}".splitlines()[0]
        ) from error
    _check_tokenizer(tokenizer, folder, shape, pieces if pieces.is_file() else None)
    return tokenizer


def _check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, folder: Path, shape: LanguageShape, pieces: Path | None
) -> None:
    rule, remedy = "the tokenizer belongs to the report model", "Use the files of StanfordAIMI/RadLLaMA-7b"
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) != shape.vocabulary:
        raise FileFormatError(
            rule, f"{len(vocabulary)} tokens in {folder}, {shape.vocabulary} rows in the weights", remedy
        )
    control = {name: vocabulary.get(name) for name in ("<unk>", "<s>", "</s>")}
    if list(control.values()) != [0, 1, 2]:
        raise FileFormatError(rule, f"control tokens {control} in {folder}, expected 0, 1, 2", remedy)
    prompts = [section_prompt(section) for section in SECTIONS]
    encoded = [list(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts]
    if any(0 in ids or not ids for ids in encoded):
        raise FileFormatError(rule, f"unknown tokens in the prompts, with the files in {folder}", remedy)
    if pieces is not None:
        from sentencepiece import SentencePieceProcessor

        if [list(ids) for ids in SentencePieceProcessor(model_file=str(pieces)).encode(prompts)] != encoded:
            raise FileFormatError("the tokenizer gives the ids of sentencepiece", f"others for {pieces}", remedy)


class MerlinReportModel:
    """Image encoder trunk, adapter and decoder of the report checkpoint.

    Build one with ``load``. ``decoder`` is a ``radvlm.model.decoder.causal_lm.Decoder``, so compiling it for a GPU is
    the same as for any other.
    """

    def __init__(self, encoder: MerlinImageEncoder, adapter: nn.Linear, decoder: Decoder) -> None:
        if adapter.in_features != encoder.channels or adapter.out_features != decoder.width:
            raise InputError(
                "the adapter leads from image tokens to the decoder's embeddings",
                f"{adapter.in_features} to {adapter.out_features}, expected {encoder.channels} to {decoder.width}",
            )
        self.encoder, self.adapter, self.decoder = encoder.eval(), adapter.eval(), decoder.eval()

    @classmethod
    def load(
        cls,
        checkpoint: MerlinCheckpoint,
        tokenizer: str | Path,
        *,
        merge: bool = True,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
    ) -> MerlinReportModel:
        """From a report checkpoint that ``checkpoint.open_checkpoint`` opened.

        Args:
            tokenizer: folder with the language model's tokenizer files.
            merge: LoRA is added to the base weights; False computes it beside them, as the published code does.
            dtype: of the decoder; None for that of the file (float32, 28 GB). bfloat16 halves memory and may change
                words. Encoder and adapter stay float32.
        """
        if checkpoint.layout != "report":
            raise InputError("reports are written by the report checkpoint", f"layout {checkpoint.layout}")
        sizes = checkpoint.shape
        words = load_report_tokenizer(tokenizer, sizes.language)
        with torch.device("meta"):
            encoder = MerlinImageEncoder(None, blocks=sizes.blocks, width=sizes.width)
            adapter = nn.Linear(sizes.channels, sizes.language.hidden)
        encoder.load_state_dict(dict(checkpoint.trunk), assign=True)
        adapter.load_state_dict(
            {key.removeprefix("linear2."): value for key, value in checkpoint.adapter.items()}, assign=True
        )
        encoder.requires_grad_(False)
        adapter.requires_grad_(False)
        model = build_language_model(checkpoint.language, sizes.language, merge=merge)
        for weight in model.parameters():  # one by one, and no buffer: rotary frequencies stay float32
            weight.data = weight.data.to(device, dtype)
        model = model.to(device)
        # Decoder reads from the signature what forward takes, and peft's wrapper hides that behind **kwargs.
        decoder = Decoder(model if merge else model.get_base_model(), words)
        decoder.model = model
        return cls(encoder.to(device), adapter.to(device), decoder)

    @torch.inference_mode()
    def tokens(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) prepared images -> (B, N, channels) image tokens; N is 490 at the published size."""
        image = image.to(self.adapter.weight.device)
        return self.encoder.feature_map(image).flatten(2).transpose(1, 2)

    @torch.inference_mode()
    def prefix(self, tokens: Tensor) -> Tensor:
        """(B, N, channels) image tokens -> (B, N, hidden) embeddings that stand before the prompt."""
        return self.adapter(tokens.to(self.adapter.weight))

    def write(
        self, image: Tensor, sections: Sequence[str] = tuple(SECTIONS), *, limits: WritingLimits = LIMITS
    ) -> list[list[SectionText]]:
        """Report sections of each prepared image (B, 1, X, Y, Z), in the order asked for.

        ``limits``: other than the published ones for experiments.
        """
        return self.write_from_tokens(self.tokens(image), sections, limits=limits)

    def write_from_tokens(
        self, tokens: Tensor, sections: Sequence[str] = tuple(SECTIONS), *, limits: WritingLimits = LIMITS
    ) -> list[list[SectionText]]:
        """As ``write``, from image tokens that another pass of an equal trunk has made."""
        prompts = [section_prompt(section) for section in sections]
        written = generate(self.decoder, self.prefix(tokens), [prompts] * len(tokens), limits)
        return [
            [
                SectionText(section, one.text.strip(), one.token_ids, one.ended_by, one.mean_log_probability)
                for section, one in zip(sections, row, strict=True)
            ]
            for row in written
        ]
