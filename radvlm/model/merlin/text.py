"""Merlin's text side: Clinical-Longformer, the projection to the space shared with images, and text preparation.

There is no sliding-window machinery. The published model sets no global attention, so each token sees the tokens at
most 256 away, and nothing else. Up to 257 tokens that is plain attention; above, it is plain attention under a band
mask: the same numbers as the chunked original at a fraction of the time. Only the first token is used, so each layer
computes only the tokens that can still reach it (the last layer one, the one before 257, ...). The weights ``*_global``
and ``pooler`` are in the published file and are held, but nothing reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional

from radvlm.errors import FileFormatError, InputError

#: Longest text in tokens, the two control tokens included (the published inference code; the rest is cut off).
MAX_TOKENS = 1024
#: Control tokens of a RoBERTa vocabulary and the ids that the published weights were trained with.
CONTROL_IDS = {"<s>": 0, "<pad>": 1, "</s>": 2}
_PAD = CONTROL_IDS["<pad>"]
#: A word, or a run of characters that are neither word nor white space (NLTK's wordpunct of 2024, on Python's ``re``;
#: NLTK 3.10 uses another engine, which takes superscripts and combining marks for punctuation).
_WORD_OR_PUNCTUATION = re.compile(r"\w+|[^\w\s]+")
#: Tokens (padding included) of one forward pass of ``MerlinTextModel.encode``.
_TOKENS_A_BATCH = 8192


@dataclass(frozen=True)
class TextShape:
    """Sizes of the text network; the defaults are those of the published files.

    Attributes:
        vocabulary: number of tokens.
        hidden, layers, heads, feed_forward: of the transformer.
        positions: rows of the position table; the first two are never used.
        reach: how many tokens away a token sees, on either side (half of Longformer's window).
        embedding: length of the vector shared with images.
        layer_norm_eps: of every layer norm (Longformer's configuration file; it is not in the weights).
    """

    vocabulary: int = 50265
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    feed_forward: int = 3072
    positions: int = 4098
    reach: int = 256
    embedding: int = 512
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise InputError("the hidden size is a multiple of the heads", f"{self.hidden} and {self.heads}")


class _SelfAttention(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value, self.query_global, self.key_global, self.value_global = (
            nn.Linear(shape.hidden, shape.hidden) for _ in range(6)
        )

    def forward(self, x: Tensor, mask: Tensor | None, wanted: int) -> Tensor:
        batch, length, hidden = x.shape

        def split(y: Tensor, rows: int) -> Tensor:
            return y.view(batch, rows, self.heads, hidden // self.heads).transpose(1, 2)  # (B, heads, n, c)

        out = functional.scaled_dot_product_attention(
            split(self.query(x[:, :wanted]), wanted),
            split(self.key(x), length),
            split(self.value(x), length),
            attn_mask=None if mask is None else mask[..., :wanted, :],
        )
        return out.transpose(1, 2).reshape(batch, wanted, hidden)


class _Residual(nn.Module):
    """Linear map, sum with what came before, layer norm."""

    def __init__(self, inner: int, shape: TextShape) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, shape.hidden)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + before)


class _Attention(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.self = _SelfAttention(shape)
        self.output = _Residual(shape.hidden, shape)


class _Dense(nn.Module):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, outer)


class _Layer(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.attention = _Attention(shape)
        self.intermediate = _Dense(shape.hidden, shape.feed_forward)
        self.output = _Residual(shape.feed_forward, shape)

    def forward(self, x: Tensor, mask: Tensor | None, wanted: int) -> Tensor:
        x = self.attention.output(self.attention.self(x, mask, wanted), x[:, :wanted])
        return self.output(functional.gelu(self.intermediate.dense(x)), x)


class _Embeddings(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocabulary, shape.hidden)
        self.token_type_embeddings = nn.Embedding(1, shape.hidden)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.layer_norm_eps)
        self.position_embeddings = nn.Embedding(shape.positions, shape.hidden)

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != _PAD
        positions = real.cumsum(1) * real + _PAD  # (B, n): 2, 3, 4 ... for tokens, 1 for padding
        return self.LayerNorm(
            self.word_embeddings(ids) + self.position_embeddings(positions) + self.token_type_embeddings.weight[0]
        )


class _Encoder(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))


class LocalTransformer(nn.Module):
    """Longformer without global attention, first token only; keys are those of transformers' LongformerModel."""

    def __init__(self, shape: TextShape = TextShape()) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = _Embeddings(shape)
        self.encoder = _Encoder(shape)
        self.pooler = _Dense(shape.hidden, shape.hidden)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, n) token ids, padded at the end with 1 -> (B, hidden), the first token of the last layer."""
        x, reach, layers = self.embeddings(ids), self.shape.reach, self.shape.layers
        mask = attention_mask(ids, reach)
        for number, layer in enumerate(self.encoder.layer):
            wanted = min(x.shape[1], reach * (layers - 1 - number) + 1)
            x = layer(x, None if mask is None else mask[..., : x.shape[1]], wanted)
        return x[:, 0]


def attention_mask(ids: Tensor, reach: int) -> Tensor | None:
    """(B or 1, 1, n, n) True where token i may see token j: j is no padding and |i - j| <= reach; None when all may."""
    length = ids.shape[1]
    mask = None
    real = ids != _PAD
    if not bool(real.all()):
        mask = real[:, None, None, :].expand(-1, 1, length, -1)
    if length > reach + 1:
        place = torch.arange(length, device=ids.device)
        band = ((place[:, None] - place[None, :]).abs() <= reach)[None, None]
        # A row of padding far from any token would see nothing and become NaN, so each token also sees itself.
        mask = band if mask is None else (mask & band) | torch.eye(length, dtype=torch.bool, device=ids.device)
    return mask


class MerlinTextEncoder(nn.Module):
    """Transformer and projection, keys as below ``encode_text.`` of the published file."""

    def __init__(self, shape: TextShape = TextShape()) -> None:
        super().__init__()
        self.text_encoder = LocalTransformer(shape)
        self.linear_layer = nn.Linear(shape.hidden, shape.embedding)

    @property
    def shape(self) -> TextShape:
        return self.text_encoder.shape

    def forward(self, ids: Tensor) -> Tensor:
        """(B, n) token ids, padded with 1 -> (B, embedding), *not* of unit length."""
        return self.linear_layer(self.text_encoder(ids))


def prepare_text(text: str) -> str:
    """Lower case, words and punctuation marks apart, single spaces; as the published model was trained.

    Raises InputError for anything that is not text, and for text without a word or a mark.
    """
    if not isinstance(text, str):
        raise InputError("a prompt is text", type(text).__name__)
    prepared = " ".join(_WORD_OR_PUNCTUATION.findall(text.lower()))
    if not prepared:
        raise InputError("a prompt has at least one word", repr(text))
    return prepared


def load_text_tokenizer(folder: str | Path, shape: TextShape = TextShape()) -> Tokenizer:
    """The RoBERTa tokenizer in a local folder: ``vocab.json`` with ``merges.txt``, or ``tokenizer.json``.

    Raises FileFormatError where there is none, and where it does not belong to the weights: another number of tokens,
    other ids of the control tokens, or letters that it does not know.
    """
    folder = Path(folder)
    vocabulary, merges, whole = (folder / name for name in ("vocab.json", "merges.txt", "tokenizer.json"))
    try:
        if vocabulary.is_file() and merges.is_file():
            tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges), unk_token="<unk>"))
        elif whole.is_file():
            tokenizer = Tokenizer.from_file(str(whole))
        else:
            raise FileFormatError(
                "the folder holds a RoBERTa tokenizer",
                str(folder),
                "Put vocab.json and merges.txt of yikuan8/Clinical-Longformer there",
            )
    except FileFormatError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise FileFormatError("the folder holds a readable RoBERTa tokenizer", f"{folder}: {error}") from error
    _check_tokenizer(tokenizer, folder, shape)
    # The pipeline around the vocabulary is fixed here, whatever a tokenizer.json says of it.
    known = [name for name in (*CONTROL_IDS, "<unk>", "<mask>") if tokenizer.token_to_id(name) is not None]
    tokenizer.add_special_tokens([AddedToken(name, lstrip=name == "<mask>") for name in known])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", CONTROL_IDS["</s>"]), ("<s>", CONTROL_IDS["<s>"]), add_prefix_space=False
    )
    tokenizer.enable_truncation(min(MAX_TOKENS, shape.positions - 2))
    return tokenizer


def _check_tokenizer(tokenizer: Tokenizer, folder: Path, shape: TextShape) -> None:
    rule, remedy = "the tokenizer belongs to the text encoder", "Use the files of yikuan8/Clinical-Longformer"
    size = tokenizer.get_vocab_size()
    if size != shape.vocabulary:
        raise FileFormatError(rule, f"{size} tokens in {folder}, {shape.vocabulary} rows in the weights", remedy)
    if not isinstance(tokenizer.model, models.BPE) or tokenizer.normalizer is not None:
        raise FileFormatError(rule, f"{type(tokenizer.model).__name__} in {folder}, expected byte-level BPE", remedy)
    wrong = {
        name: tokenizer.token_to_id(name)
        for name, wanted in CONTROL_IDS.items()
        if tokenizer.token_to_id(name) != wanted
    }
    if wrong:
        raise FileFormatError(rule, f"ids {json.dumps(wrong)} in {folder}, expected {json.dumps(CONTROL_IDS)}", remedy)
    lost = [sign for sign in sorted(pre_tokenizers.ByteLevel.alphabet()) if tokenizer.token_to_id(sign) is None]
    if lost:
        raise FileFormatError(rule, f"{len(lost)} of 256 byte tokens are missing in {folder}", remedy)


class MerlinTextModel:
    """Text to unit vectors in the space shared with images."""

    def __init__(self, encoder: MerlinTextEncoder, tokenizer: Tokenizer) -> None:
        self.encoder = encoder.eval()
        self.tokenizer = tokenizer

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text after ``prepare_text``, control tokens included, cut off at 1024."""
        if isinstance(texts, str):
            raise InputError("texts come as a sequence", "one string", "Put it into a list")
        return [encoding.ids for encoding in self.tokenizer.encode_batch([prepare_text(text) for text in texts])]

    @torch.inference_mode()
    def project(self, texts: Sequence[str]) -> Tensor:
        """(N, embedding) before normalization, on the encoder's device. Texts of like length share a pass."""
        ids = self.token_ids(texts)
        weight = self.encoder.linear_layer.weight
        out = torch.empty(len(ids), weight.shape[0], device=weight.device, dtype=weight.dtype)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        while order:
            count = max(1, min(len(order), _TOKENS_A_BATCH // len(ids[order[-1]])))
            # No text of up to 257 tokens goes through the band mask because of a longer neighbor.
            chosen = [i for i in order[-count:] if self._short(ids[i]) == self._short(ids[order[-1]])]
            longest = len(ids[order[-1]])
            padded = [ids[i] + [_PAD] * (longest - len(ids[i])) for i in chosen]
            out[torch.tensor(chosen, device=out.device)] = self.encoder(torch.tensor(padded, device=out.device))
            del order[-len(chosen) :]
        return out

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(N, embedding) float32 of unit length; N may be 0."""
        if not len(texts):
            return np.zeros((0, self.encoder.shape.embedding), np.float32)
        return functional.normalize(self.project(texts).float(), dim=-1).cpu().numpy()

    def _short(self, ids: Sequence[int]) -> bool:
        return len(ids) <= self.encoder.shape.reach + 1
