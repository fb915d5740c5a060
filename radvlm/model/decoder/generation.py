"""Writing: every section of every case in one batch, from one reading of each image.

The image prefix runs through the decoder once for a case; its key/value cache is repeated for the prompts of that case,
which follow it padded on the left. Padding is masked and takes no position, so a row writes what it would write alone.
Rows end one by one, and ended rows leave the batch. The tests and ``eval/bench_sections.py`` compare with the plain
way: encode, read and write again for each section, through transformers' own ``generate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from radvlm.errors import InputError
from radvlm.model.decoder.causal_lm import Decoder

#: (case, prompt, ids written so far) -> ids that may come next, or None for all.
Allowed = Callable[[int, int, tuple[int, ...]], Sequence[int] | None]


@dataclass(frozen=True)
class WritingLimits:
    """How a text is written and when it ends. Always greedy: the same input gives the same report.

    Attributes:
        max_new_tokens: of one text.
        repetition_penalty: CTRL's (Keskar et al. 2019, arXiv:1909.05858), on tokens already *written* only, never on
            those of the prompt; 1.0 for none. Above 1 it damages repeated digits, so leave it at 1 for numbers.
        stop: texts that end a row; they and what follows are cut off.
        stop_ids: tokens that end a row beside the tokenizer's end token.
    """

    max_new_tokens: int = 128
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not self.repetition_penalty > 0:
            raise InputError("max_new_tokens is at least 1 and repetition_penalty above 0", repr(self))
        if isinstance(self.stop, str) or "" in self.stop:
            raise InputError("stop is a tuple of non-empty texts", repr(self.stop))


@dataclass(frozen=True)
class Generation:
    """One text that the decoder wrote.

    Attributes:
        text: without control tokens and without the stop text.
        token_ids: everything written, an end token included.
        mean_log_probability: natural logarithm, mean over ``token_ids``, of the model's own distribution (before
            penalty and constraint); a confidence, not calibrated.
        ended_by: "end" (end token), "stop" (stop text) or "length" (max_new_tokens reached: the text is cut short).
    """

    text: str
    token_ids: tuple[int, ...]
    mean_log_probability: float
    ended_by: Literal["end", "stop", "length"]


@dataclass(frozen=True)
class Choice:
    """One possible answer. log_probability: natural logarithm of the whole answer given image and prompt."""

    text: str
    log_probability: float
    n_tokens: int


@dataclass
class _Row:
    """A row that is being written."""

    case: int
    prompt: int
    ids: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    ended_by: Literal["end", "stop", "length"] | None = None
    text: str = ""


@torch.no_grad()
def generate(
    decoder: Decoder,
    prefixes: Tensor | None,
    prompts: Sequence[Sequence[str]],
    limits: WritingLimits = WritingLimits(),
    *,
    prefix_mask: Tensor | None = None,
    allowed: Allowed | None = None,
) -> list[list[Generation]]:
    """Write an answer to every prompt of every case.

    Args:
        prefixes: (B, P, width), one for each case; None for text alone.
        prompts: B lists of prompts, of any lengths.
        prefix_mask: (B, P) true where the prefix holds something; None for everywhere.
        allowed: constraint; called for each row before each token.

    Returns: B lists, in the order of the prompts; the same texts as B single calls.

    Raises InputError for an empty prompt, a prompt that does not leave room for max_new_tokens in the context,
    a stop token that does not exist, and an architecture whose cache cannot be repeated.
    """
    rows = [_Row(case, number) for case, texts in enumerate(prompts) for number in range(len(texts))]
    prefix, mask = decoder.check_prefix(prefixes, prefix_mask, len(prompts))
    if not rows:
        return [[] for _ in prompts]
    ids = [decoder.encode(prompts[row.case][row.prompt]) for row in rows]
    _check_prompts(decoder, ids, rows, prefix.shape[1], limits)
    decoder.check_ids(limits.stop_ids, "stop tokens")
    with _evaluating(decoder):
        cache, mask = _read_prefix(decoder, prefix, mask, [row.case for row in rows])  # mask (R, P)
        width = max(len(row) for row in ids)
        padded = torch.full((len(rows), width), decoder.pad_id)  # (R, L), padded on the left
        shown = torch.zeros_like(padded, dtype=torch.bool)
        for number, row in enumerate(ids):
            padded[number, width - len(row) :] = torch.tensor(row)
            shown[number, width - len(row) :] = True
        mask = torch.cat([mask, shown.to(decoder.device)], dim=1)  # (R, P + L)
        _write(decoder, rows, padded.to(decoder.device), mask, cache, limits, allowed)
    found: list[list[Generation]] = [[] for _ in prompts]
    for written in rows:
        assert written.ended_by is not None
        found[written.case].append(
            Generation(written.text, tuple(written.ids), written.log_probability / len(written.ids), written.ended_by)
        )
    return found


def generate_sections(
    decoder: Decoder,
    prefix: Tensor | None,
    prompts: Sequence[str],
    limits: WritingLimits = WritingLimits(),
    *,
    prefix_mask: Tensor | None = None,
    allowed: Allowed | None = None,
) -> list[Generation]:
    """Answers to the prompts of one case from one prefix (1, P, width) that is read once; see ``generate``."""
    return generate(decoder, prefix, [prompts], limits, prefix_mask=prefix_mask, allowed=allowed)[0]


def _write(
    decoder: Decoder,
    rows: list[_Row],
    ids: Tensor,
    mask: Tensor,
    cache: DynamicCache,
    limits: WritingLimits,
    allowed: Allowed | None,
) -> None:
    """Fill the rows, token by token. ids (R, L), mask (R, P + L)."""
    enders = {decoder.end_id, *limits.stop_ids}
    position = mask.long().cumsum(dim=1)[:, -ids.shape[1] :].sub(1).clamp(min=0)  # (R, L)
    seen = torch.zeros(len(rows), decoder.vocabulary_size, dtype=torch.bool, device=decoder.device)
    active = list(rows)
    for step in range(limits.max_new_tokens):
        logits = decoder.logits(decoder.embed(ids), mask, position, cache, keep=1)[:, -1].float()  # (R, V)
        scores = _penalized(logits, seen, limits.repetition_penalty)
        if allowed is not None:
            scores = scores + _forbidden(decoder, active, scores, allowed)
        chosen = scores.argmax(dim=-1)  # (R,)
        log_probability = (logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(dim=-1)).tolist()
        seen[torch.arange(len(active), device=seen.device), chosen] = True
        last = step + 1 == limits.max_new_tokens
        for row, token, value in zip(active, chosen.tolist(), log_probability, strict=True):
            if row.ended_by is None:
                row.ids.append(token)
                row.log_probability += value
                _end(decoder, row, token in enders, limits.stop, last)
        going = [number for number, row in enumerate(active) if row.ended_by is None]
        if not going:
            return
        if 2 * len(going) <= len(active):  # ended rows leave once they are half: each move copies the cache
            keep = torch.tensor(going, device=decoder.device)
            cache.batch_select_indices(keep)
            chosen, seen, mask, position = chosen[keep], seen[keep], mask[keep], position[keep]
            active = [active[number] for number in going]
        ids = chosen[:, None]  # (R, 1)
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        position = position[:, -1:] + 1


def _end(decoder: Decoder, row: _Row, is_end: bool, stop: tuple[str, ...], last: bool) -> None:
    """Mark a row as ended, with its text, when its newest token ends it."""
    if is_end:
        row.ended_by, row.text = "end", decoder.decode(row.ids[:-1])
        return
    if stop:
        window = 4 * max(map(len, stop)) + 4  # a character takes at most four byte tokens
        if any(text in decoder.decode(row.ids[-window:]) for text in stop):
            whole = decoder.decode(row.ids)
            cuts = [whole.index(text) for text in stop if text in whole]
            if cuts:
                row.ended_by, row.text = "stop", whole[: min(cuts)]
                return
    if last:
        row.ended_by, row.text = "length", decoder.decode(row.ids)


def _penalized(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits (R, V) with those of seen tokens divided (above 0) or multiplied (below 0) by the penalty."""
    if penalty == 1.0:
        return logits
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _forbidden(decoder: Decoder, rows: Sequence[_Row], scores: Tensor, allowed: Allowed) -> Tensor:
    """(R, V): 0 where a token may come next, minus infinity elsewhere."""
    bias = torch.zeros_like(scores)
    for number, row in enumerate(rows):
        tokens = None if row.ended_by is not None else allowed(row.case, row.prompt, tuple(row.ids))
        if tokens is None:
            continue
        if len(tokens) == 0:
            raise InputError(
                "a constraint allows at least one token",
                f"none after {decoder.decode(row.ids)!r}",
                "Allow the end token where a text may end",
            )
        decoder.check_ids(tokens, "allowed tokens")
        bias[number] = -torch.inf
        bias[number, list(tokens)] = 0
    return bias


def _read_prefix(decoder: Decoder, prefix: Tensor, mask: Tensor, cases: Sequence[int]) -> tuple[DynamicCache, Tensor]:
    """Cache of the prefix (B, P, width), read once, repeated to one row for each prompt; its mask (R, P)."""
    cache = DynamicCache(config=decoder.base_model.config)
    index = torch.tensor(list(cases), device=decoder.device)
    if prefix.shape[1]:
        position = (mask.long().cumsum(dim=1) - 1).clamp(min=0)  # (B, P)
        decoder.logits(prefix, mask, position, cache, keep=1)
        if not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
            raise InputError(
                "every layer of the decoder keeps keys and values, so that prompts can share them",
                type(decoder.base_model).__name__,
                "Choose an attention-only model",
            )
        if list(cases) != list(range(len(prefix))):
            cache.batch_select_indices(index)
    return cache, mask[index]


def _check_prompts(
    decoder: Decoder, ids: Sequence[Sequence[int]], rows: Sequence[_Row], prefix: int, limits: WritingLimits
) -> None:
    for row, tokens in zip(rows, ids, strict=True):
        if not tokens:
            raise InputError("a prompt holds at least one token", f"prompt {row.prompt} of case {row.case} is empty")
        decoder.check_ids(tokens, "prompt tokens")
    longest = max(map(len, ids))
    if decoder.context is not None and prefix + longest + limits.max_new_tokens > decoder.context:
        raise InputError(
            "image, prompt and answer fit the context of the decoder",
            f"{prefix} image tokens + prompt of {longest} + {limits.max_new_tokens} new tokens, "
            f"context {decoder.context}",
            "Shorten the prompt or lower max_new_tokens",
        )


@contextmanager
def _evaluating(decoder: Decoder) -> Iterator[None]:
    """Dropout off inside, as before afterwards."""
    training = decoder.model.training
    decoder.model.eval()
    try:
        yield
    finally:
        decoder.model.train(training)


@torch.no_grad()
def score_choices(
    decoder: Decoder,
    prefixes: Tensor | None,
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    *,
    prefix_mask: Tensor | None = None,
    end: bool = True,
) -> list[list[Choice]]:
    """Log probability of each possible answer to one prompt a case, from one reading of each image.

    Args:
        prefixes: (B, P, width) or None. prompts: B. choices: B lists of answers.
        end: the answer ends there, so "no" is not the beginning of "no lesion".
    """
    if not len(prompts) == len(choices) or any(isinstance(some, str) or not some for some in choices):
        raise InputError("each prompt has a list of at least one choice", f"{len(prompts)} prompts, {choices!r}")
    rows = [_Row(case, number) for case, texts in enumerate(choices) for number in range(len(texts))]
    heads = [decoder.encode(prompts[row.case]) for row in rows]
    tails = [decoder.encode(choices[row.case][row.prompt], end=end) for row in rows]
    if not all(tails):
        raise InputError("a choice holds at least one token", repr(choices))
    prefix, mask = decoder.check_prefix(prefixes, prefix_mask, len(prompts))
    longest = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
    _check_prompts(
        decoder, heads, rows, prefix.shape[1], WritingLimits(max_new_tokens=max(1, longest - max(map(len, heads))))
    )
    ids = torch.full((len(rows), longest), decoder.pad_id)  # (R, L), padded on the right
    shown, answer = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
    for number, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        ids[number, : len(head) + len(tail)] = torch.tensor([*head, *tail])
        shown[number, : len(head) + len(tail)] = True
        answer[number, len(head) : len(head) + len(tail)] = True
    ids, shown, answer = (part.to(decoder.device) for part in (ids, shown, answer))
    with _evaluating(decoder):
        cache, mask = _read_prefix(decoder, prefix, mask, [row.case for row in rows])
        mask = torch.cat([mask, shown], dim=1)  # (R, P + L)
        position = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -longest:]
        logits = decoder.logits(decoder.embed(ids), mask, position, cache, keep=longest)[:, :-1].float()
    value = logits.log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]  # (R, L - 1)
    total = (value * answer[:, 1:]).sum(dim=1).tolist()
    found: list[list[Choice]] = [[] for _ in prompts]
    for row, tail, log_probability in zip(rows, tails, total, strict=True):
        found[row.case].append(Choice(choices[row.case][row.prompt], log_probability, len(tail)))
    return found


def best_answers(
    decoder: Decoder, prefix: Tensor, prompt: str, choices: Sequence[str], *, prefix_mask: Tensor | None = None
) -> list[tuple[str, float]]:
    """Choices with their probability among the choices, the most probable first.

    A choice is scored with the space before it that every target of the training has; without it, it is other tokens.
    """
    spaced = [f" {choice}" for choice in choices]
    scored = score_choices(decoder, prefix, [prompt], [spaced], prefix_mask=prefix_mask)[0]
    values = torch.tensor([c.log_probability for c in scored]).softmax(0).tolist()
    return sorted(zip(choices, values, strict=True), key=lambda pair: -pair[1])
