"""Texts of a decoder written the plain way, one after the other: what tests and bench_sections.py compare with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from radvlm.model.decoder.causal_lm import Decoder
from radvlm.model.decoder.generation import WritingLimits


@torch.no_grad()
def reference_loop(
    decoder: Decoder, encode: Callable[[], Tensor], prompts: Sequence[str], limits: WritingLimits
) -> list[tuple[str, tuple[int, ...]]]:
    """The plain way, for comparison: for each prompt encode the image again and call transformers' own ``generate``.

    Args:
        encode: returns the prefix (1, P, width); called once for each prompt.

    Returns: (text, token ids) for each prompt; as in ``generate``, but rows run to the end token or the limit and the
    stop text is cut off afterwards.
    """
    found = []
    decoder.eval()
    with warnings.catch_warnings():
        # transformers warns that the penalty leaves the prompt alone, which is what is meant
        warnings.filterwarnings("ignore", message="Passing `repetition_penalty` with `inputs_embeds`")
        for prompt in prompts:
            ids = torch.tensor([decoder.encode(prompt)], device=decoder.device)
            embeddings = torch.cat([encode().to(decoder.device, decoder.dtype), decoder.embed(ids)], dim=1)
            written = decoder.base_model.generate(
                inputs_embeds=embeddings,
                attention_mask=embeddings.new_ones(embeddings.shape[:2], dtype=torch.long),
                max_new_tokens=limits.max_new_tokens,
                do_sample=False,
                num_beams=1,
                repetition_penalty=limits.repetition_penalty,
                eos_token_id=[decoder.end_id, *limits.stop_ids],
                pad_token_id=decoder.pad_id,
            )[0].tolist()
            body = written[:-1] if written and written[-1] in (decoder.end_id, *limits.stop_ids) else written
            text = decoder.decode(body)
            cuts = [text.index(stop) for stop in limits.stop if stop in text]
            found.append((text[: min(cuts)] if cuts else text, tuple(written)))
    return found
