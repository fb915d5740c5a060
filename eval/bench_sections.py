"""Thirteen report sections for one CT: one encoder pass and one shared prefix, against encoding anew for each section.

The reference loop is the published way (Merlin's demo): for each section the image encoder runs again, the 490 image
tokens are read again, and transformers' own ``generate`` writes one answer. Both arms use the same networks, random
weights in float32 and the same input: radvlm's Merlin trunk at its full input size, a linear adapter and a Llama. The
tokens must be the same. Wall and CPU seconds are both recorded: on a shared machine the CPU ratio is the fairer one.

    python eval/bench_sections.py [--new-tokens 32] [--layers 8] [--hidden 512] [--small]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from record import write_result
from reference_loop import reference_loop

from radvlm.model.decoder.causal_lm import Decoder, LlamaShape
from radvlm.model.decoder.fusion import LinearConfig, LinearResampler
from radvlm.model.decoder.generation import WritingLimits, generate_sections
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.merlin.image import MerlinImageEncoder

SECTIONS = (
    "lower thorax",
    "liver",
    "gallbladder",
    "spleen",
    "pancreas",
    "adrenal glands",
    "kidneys",
    "bowel",
    "peritoneum",
    "pelvic",
    "circulatory",
    "lymph nodes",
    "musculoskeletal",
)


def timed(work: Callable[[], object]) -> tuple[object, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, {"wall_s": round(time.perf_counter() - wall, 2), "cpu_s": round(time.process_time() - cpu, 2)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--new-tokens", type=int, default=32)
    options.add_argument("--layers", type=int, default=8)
    options.add_argument("--hidden", type=int, default=512)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--small", action="store_true", help="try the script: small trunk and input, not recorded")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    shape = (96, 96, 64) if chosen.small else MerlinImageEncoder.spec.shape
    encoder = MerlinImageEncoder(None, blocks=(1, 1, 1, 1), width=8) if chosen.small else MerlinImageEncoder(None)
    for name, parameter in encoder.eval().named_parameters():
        if name.endswith("bn3.weight"):  # random residual branches at a fifth: fifty full ones would overflow
            torch.nn.init.constant_(parameter, 0.2)
    image = torch.rand(1, 1, *shape)
    prompts = [f"Generate a radiology report for {section}###\n" for section in SECTIONS]
    tokenizer = train_tokenizer(prompts * 2, 600)
    decoder = Decoder.new_llama(
        tokenizer, LlamaShape(chosen.hidden, chosen.layers, 8, context=1024, tied=False, initializer_range=0.08)
    ).eval()
    adapter = LinearResampler(LinearConfig(encoder.channels, chosen.hidden, rms=0.08)).eval()
    limits = WritingLimits(chosen.new_tokens, repetition_penalty=1.2)

    spent = {"wall_s": 0.0, "cpu_s": 0.0}

    @torch.no_grad()
    def encode() -> torch.Tensor:
        tokens, seconds = timed(lambda: adapter(encoder(image).tokens))
        for clock, value in seconds.items():
            spent[clock] += value
        assert isinstance(tokens, torch.Tensor)
        return tokens

    def arm(work: Callable[[], object]) -> tuple[object, dict[str, float]]:
        spent.update(wall_s=0.0, cpu_s=0.0)
        result, seconds = timed(work)
        return result, {**seconds, **{f"decoder_{clock}": round(seconds[clock] - spent[clock], 2) for clock in spent}}

    prefix = encode()  # warms up both arms
    assert torch.isfinite(prefix).all()
    reference_loop(decoder, lambda: prefix, prompts[:1], WritingLimits(2))
    generate_sections(decoder, prefix, prompts[:2], WritingLimits(2))
    shared, ours = arm(lambda: generate_sections(decoder, encode(), prompts, limits))
    plain, loop = arm(lambda: reference_loop(decoder, encode, prompts, limits))
    written = [generation.token_ids for generation in shared]  # type: ignore[attr-defined]
    same = [a == b for a, (_, b) in zip(written, plain, strict=True)]  # type: ignore[call-overload]
    assert all(same), f"{sum(same)} of {len(same)} sections have the same tokens"
    values = {
        "peer": "reference loop: encoder, prefill and transformers generate once for each section",
        "weights": "random, float32",
        "image_tokens": prefix.shape[1],
        "sections": len(prompts),
        "decoder": f"Llama {chosen.layers} layers of {chosen.hidden}",
        "new_tokens": chosen.new_tokens,
        "threads": chosen.threads,
        "same_tokens": f"{sum(same)} of {len(same)}",
        "different_texts": len(set(written)),
        "shared": ours,
        "reference": loop,
        "ratio_wall": round(loop["wall_s"] / ours["wall_s"], 2),
        "ratio_cpu": round(loop["cpu_s"] / ours["cpu_s"], 2),
        "ratio_decoder_wall": round(loop["decoder_wall_s"] / ours["decoder_wall_s"], 2),
        "ratio_decoder_cpu": round(loop["decoder_cpu_s"] / ours["decoder_cpu_s"], 2),
    }
    if chosen.small:
        print(values)
        return
    write_result("sections", 1, values)


if __name__ == "__main__":
    main()
