"""The decoder against plain loops, hand-computed losses and transformers' own generate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference_loop import reference_loop
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from radvlm.errors import FileFormatError, InputError
from radvlm.model.decoder.causal_lm import Decoder, LlamaShape, LoraSettings, collate
from radvlm.model.decoder.generation import WritingLimits, generate, generate_sections, score_choices
from radvlm.model.decoder.tokenizer import load_tokenizer, train_tokenizer

TEXTS = [
    f"The liver measures {i} mm. No lesion in the spleen; left kidney {i / 10} cm, unremarkable.\n" for i in range(200)
]
PROMPTS = ["liver###\n", "spleen measures 12.5 mm ###\n", "k", "No lesion in the left kidney, unremarkable. liver"]
WIDTH, PREFIX = 64, 11
STEPS = 350


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 400, ("<report>",))


def _llama(tokenizer: PreTrainedTokenizerFast, kv_heads: int = 4, seed: int = 0) -> Decoder:
    # wide random weights, so that no two tokens are nearly tied
    shape = LlamaShape(WIDTH, 2, 4, kv_heads, context=256, tied=False, initializer_range=0.3)
    return Decoder.new_llama(tokenizer, shape, seed=seed).eval()


def _gpt2(tokenizer: PreTrainedTokenizerFast) -> Decoder:
    config = GPT2Config(
        vocab_size=320,
        n_embd=WIDTH,
        n_layer=2,
        n_head=4,
        n_positions=256,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        attn_pdrop=0.3,
        resid_pdrop=0.3,
    )
    return Decoder.from_config(config, tokenizer).eval()


@pytest.fixture(params=["llama", "grouped", "gpt2"])
def decoder(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Decoder:
    if request.param == "gpt2":
        return _gpt2(tokenizer)
    return _llama(tokenizer, 4 if request.param == "llama" else 2)


@pytest.fixture
def llama(tokenizer: PreTrainedTokenizerFast) -> Decoder:
    return _llama(tokenizer)


def _prefix(rows: int = 1, length: int = PREFIX, seed: int = 3) -> torch.Tensor:
    return torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def _naive(decoder: Decoder, prefix: torch.Tensor, prompt: str, limits: WritingLimits) -> tuple[list[int], float]:
    """Token ids and mean log probability: no cache, no padding, no batch, everything anew for each token."""
    ids = decoder.encode(prompt)
    written: list[int] = []
    total = 0.0
    with torch.no_grad():
        while len(written) < limits.max_new_tokens:
            tokens = torch.tensor([[*ids, *written]])
            embeddings = torch.cat([prefix, decoder.model.get_input_embeddings()(tokens)], dim=1)
            logits = decoder.model(inputs_embeds=embeddings).logits[0, -1]
            scores = logits.clone()
            for token in set(written):
                scores[token] = (
                    scores[token] / limits.repetition_penalty
                    if scores[token] > 0
                    else scores[token] * limits.repetition_penalty
                )
            written.append(int(scores.argmax()))
            total += float(logits.log_softmax(0)[written[-1]])
            if written[-1] in (2, *limits.stop_ids):
                break
    return written, total / len(written)


# --- writing --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_shared_prefix_writes_what_the_plain_loops_write(decoder: Decoder) -> None:
    limits, prefix = WritingLimits(24, 1.2), _prefix()
    shared = generate_sections(decoder, prefix, PROMPTS, limits)
    plain = reference_loop(decoder, lambda: prefix, PROMPTS, limits)
    for prompt, generation, (text, ids) in zip(PROMPTS, shared, plain, strict=True):
        naive, confidence = _naive(decoder, prefix, prompt, limits)
        assert list(generation.token_ids) == naive == list(ids)
        assert generation.text == text
        assert generation.mean_log_probability == pytest.approx(confidence, abs=1e-4)
    assert len({generation.token_ids for generation in shared}) == len(PROMPTS)


@pytest.mark.slow
def test_without_penalty_too(llama: Decoder) -> None:
    limits, prefix = WritingLimits(24), _prefix()
    shared = generate_sections(llama, prefix, PROMPTS, limits)
    assert [(g.text, g.token_ids) for g in shared] == reference_loop(llama, lambda: prefix, PROMPTS, limits)
    assert shared != generate_sections(llama, prefix, PROMPTS, WritingLimits(24, 1.2))


@pytest.mark.slow
def test_the_prefix_is_read_once_and_the_image_matters(llama: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = llama.logits
    monkeypatch.setattr(
        llama,
        "logits",
        lambda embeddings, *rest, **more: (calls.append(tuple(embeddings.shape[:2])), plain(embeddings, *rest, **more))[
            1
        ],
    )
    one = generate_sections(llama, _prefix(), PROMPTS, WritingLimits(6))
    assert calls[0] == (1, PREFIX)
    assert [length for _, length in calls[1:]] == [max(len(llama.encode(p)) for p in PROMPTS)] + [1] * 5
    assert one != generate_sections(llama, _prefix(seed=4), PROMPTS, WritingLimits(6))


@pytest.mark.slow
def test_four_cases_at_once_are_four_single_cases(decoder: Decoder) -> None:
    limits, prefixes = WritingLimits(20, 1.1), _prefix(4)
    prompts = [PROMPTS, PROMPTS[:1], [], PROMPTS[1:3]]
    together = generate(decoder, prefixes, prompts, limits)
    for case, texts in enumerate(prompts):
        single = generate_sections(decoder, prefixes[case : case + 1], texts, limits)
        assert [g.token_ids for g in together[case]] == [g.token_ids for g in single]


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_has_no_influence_even_without_an_image(tokenizer: PreTrainedTokenizerFast, attention: str) -> None:
    decoder = _llama(tokenizer)
    decoder.model.set_attn_implementation(attention)
    for prefix in (None, _prefix()):
        single = [generate_sections(decoder, prefix, [p], WritingLimits(16))[0] for p in PROMPTS]
        together = generate_sections(decoder, prefix, PROMPTS, WritingLimits(16))
        assert [g.token_ids for g in together] == [g.token_ids for g in single]
        assert [g.mean_log_probability for g in together] == pytest.approx(
            [g.mean_log_probability for g in single], abs=1e-4
        )


@pytest.mark.slow
def test_prefixes_of_different_length_are_masked(decoder: Decoder) -> None:
    limits, short, long = WritingLimits(12), _prefix(1, 5), _prefix(1, 9, seed=5)
    for before in (0, 2, 4):  # padding at the end, on both sides, at the beginning
        padded = torch.full((1, 9, WIDTH), 7.0)
        padded[:, before : before + 5] = short
        mask = torch.ones(2, 9, dtype=torch.bool)
        mask[0] = (torch.arange(9) >= before) & (torch.arange(9) < before + 5)
        together = generate(decoder, torch.cat([padded, long]), [PROMPTS[:2]] * 2, limits, prefix_mask=mask)
        for found, alone in zip(together, (short, long), strict=True):
            expected = generate_sections(decoder, alone, PROMPTS[:2], limits)
            assert [g.token_ids for g in found] == [g.token_ids for g in expected]


@pytest.mark.slow
def test_rows_end_one_by_one(decoder: Decoder) -> None:
    free = generate_sections(decoder, _prefix(), PROMPTS, WritingLimits(20))
    stop_id = free[0].token_ids[4]
    limits = WritingLimits(20, stop_ids=(stop_id,))
    ended = generate_sections(decoder, _prefix(), PROMPTS, limits)
    for before, after in zip(free, ended, strict=True):
        cut = before.token_ids.index(stop_id) + 1 if stop_id in before.token_ids else 20
        assert after.token_ids == before.token_ids[:cut]
        assert after.ended_by == ("end" if cut < 20 or stop_id in before.token_ids else before.ended_by)
        assert after.text == decoder.decode(after.token_ids[:-1] if after.ended_by == "end" else after.token_ids)
    assert len({len(g.token_ids) for g in ended}) > 1
    assert [(g.text, g.token_ids) for g in ended] == reference_loop(decoder, _prefix, PROMPTS, limits)


@pytest.mark.slow
def test_stop_texts_cut_the_row_where_they_begin(llama: Decoder) -> None:
    free = generate_sections(llama, _prefix(), PROMPTS, WritingLimits(20))
    whole = free[1].text
    stop = next(whole[i : i + 2] for i in range(5, len(whole) - 2) if "�" not in whole[i : i + 2])
    stopped = generate_sections(llama, _prefix(), PROMPTS, WritingLimits(20, stop=(stop,)))
    assert stopped[1].text == whole[: whole.index(stop)]
    assert stopped[1].ended_by == "stop"
    assert len(stopped[1].token_ids) < 20
    for before, after in zip(free, stopped, strict=True):
        assert after.text == before.text.split(stop)[0]
    assert [text for text, _ in reference_loop(llama, _prefix, PROMPTS, WritingLimits(20, stop=(stop,)))] == [
        g.text for g in stopped
    ]


@pytest.mark.slow
def test_a_constraint_is_obeyed_row_by_row(llama: Decoder) -> None:
    words = [llama.encode("liver 12 mm", end=True), llama.encode("No lesion", end=True)]

    def allowed(case: int, prompt: int, written: tuple[int, ...]) -> list[int] | None:
        assert case == 0
        return [words[prompt][len(written)]] if prompt < 2 else None

    found = generate_sections(llama, _prefix(), PROMPTS[:3], WritingLimits(20), allowed=allowed)
    assert [g.text for g in found[:2]] == ["liver 12 mm", "No lesion"]
    assert found[2].token_ids == generate_sections(llama, _prefix(), PROMPTS[2:3], WritingLimits(20))[0].token_ids
    # the confidence of forced text is what the model thinks of it: the same as scoring it as a choice
    scored = score_choices(llama, _prefix(), PROMPTS[:1], [["liver 12 mm"]])[0][0]
    assert found[0].mean_log_probability == pytest.approx(scored.log_probability / scored.n_tokens, abs=1e-4)
    with pytest.raises(InputError, match="allows at least one token"):
        generate_sections(llama, _prefix(), PROMPTS[:1], allowed=lambda case, prompt, written: [])


@pytest.mark.slow
def test_choices_are_scored_as_if_each_stood_alone(decoder: Decoder) -> None:
    prefixes, choices = _prefix(2), [["yes", "no lesion", "no", "left kidney 12.5 cm"], ["no", "yes"]]
    prompts = PROMPTS[:2]
    found = score_choices(decoder, prefixes, prompts, choices)
    for case in range(2):
        for choice, text in zip(found[case], choices[case], strict=True):
            head, tail = decoder.encode(prompts[case]), decoder.encode(text, end=True)
            with torch.no_grad():
                words = decoder.embed(torch.tensor([[*head, *tail]]))
                logits = decoder.model(inputs_embeds=torch.cat([prefixes[case : case + 1], words], dim=1)).logits[0]
            steps = logits.log_softmax(-1)[PREFIX + len(head) - 1 : -1]
            truth = sum(float(steps[i, token]) for i, token in enumerate(tail))
            assert choice.log_probability == pytest.approx(truth, abs=1e-3)
            assert (choice.text, choice.n_tokens) == (text, len(tail))
    single = score_choices(decoder, prefixes[:1], prompts[:1], choices[:1])[0]
    assert [c.log_probability for c in single] == pytest.approx([c.log_probability for c in found[0]], abs=1e-3)
    longer = score_choices(decoder, prefixes[:1], prompts[:1], [["no"]], end=False)[0][0]
    assert longer.log_probability > single[2].log_probability


@pytest.mark.slow
def test_dropout_is_off_while_writing_and_back_on_afterwards(tokenizer: PreTrainedTokenizerFast) -> None:
    decoder = _gpt2(tokenizer).train()
    first, second = (generate_sections(decoder, _prefix(), PROMPTS, WritingLimits(12)) for _ in range(2))
    assert first == second
    assert decoder.model.training


# --- training -------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_loss_is_the_hand_computed_one_on_targets_alone(decoder: Decoder) -> None:
    prompts, targets, prefix = PROMPTS[:3], ["12 mm", "No lesion in the spleen.", "left"], _prefix(3)
    total, count = 0.0, 0
    for row in range(3):
        head, tail = decoder.encode(prompts[row]), [*decoder.encode(targets[row]), 2]
        with torch.no_grad():
            words = decoder.embed(torch.tensor([[*head, *tail]]))
            logits = decoder.model(inputs_embeds=torch.cat([prefix[row : row + 1], words], dim=1)).logits[0]
        for step, token in enumerate(tail):
            row_logits = logits[PREFIX + len(head) + step - 1].double()
            total -= float(row_logits[token] - row_logits.exp().sum().log())
            count += 1
    batch = decoder.text_batch(prompts, targets)
    assert batch.n_targets == count
    assert decoder.loss(prefix, batch).item() == pytest.approx(total / count, rel=1e-5)
    # what pads the prefix has no influence
    padded = torch.cat([torch.full((3, 2, WIDTH), 5.0), prefix], dim=1)
    mask = torch.arange(PREFIX + 2).expand(3, -1) >= 2
    assert decoder.loss(padded, batch, mask).item() == pytest.approx(total / count, rel=1e-5)


def test_labels_lie_on_targets_and_their_end(llama: Decoder) -> None:
    batch = collate([[5, 6], [7]], [[8, 2], [9, 10, 11, 2]], pad_id=0)
    assert batch.input_ids.tolist() == [[5, 6, 8, 2, 0], [7, 9, 10, 11, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert batch.labels.tolist() == [[-100, -100, 8, 2, -100], [-100, 9, 10, 11, 2]]
    alone = llama.text_batch(None, ["liver"])
    assert alone.labels[0].tolist() == [-100, *llama.encode("liver", end=True)]
    assert torch.isfinite(llama.loss(None, alone))


@pytest.mark.slow
def test_gradients_reach_the_prefix_and_checkpointing_leaves_them(llama: Decoder) -> None:
    batch = llama.text_batch(PROMPTS[:2], ["12 mm", "No lesion"])
    llama.train().add_lora(LoraSettings(2))
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            llama.use_gradient_checkpointing()
        prefix = _prefix(2).requires_grad_()
        llama.loss(prefix, batch).backward()
        assert prefix.grad is not None
        grads.append(prefix.grad)
    assert grads[0].abs().sum() > 0
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.slow
def test_a_tiny_decoder_learns_to_copy_a_number_from_the_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    decoder = Decoder.new_llama(tokenizer, LlamaShape(48, 2, 2, context=32))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    numbers = torch.randint(100, 1000, (STEPS, 64), generator=torch.Generator().manual_seed(1))
    held_out = set(range(100, 1000, 9))
    for step, row in enumerate(numbers):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 30, (STEPS - step) / 100)
        values = [str(int(n)) for n in row if int(n) not in held_out]
        loss = decoder(None, decoder.text_batch([f"{v}#" for v in values], [f"is {v} mm." for v in values]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = [str(n) for n in sorted(held_out)]
    written = generate_sections(decoder, None, [f"{n}#" for n in unseen], WritingLimits(9))
    right = sum(g.text == f"is {n} mm." for g, n in zip(written, unseen, strict=True))
    assert right >= 0.95 * len(unseen)
    assert {g.ended_by for g in written} == {"end"}


# --- adapters and files -----------------------------------------------------------------------------------------------
def _train_adapters(decoder: Decoder, steps: int = 3) -> None:
    batch, prefix = decoder.text_batch(PROMPTS[:2], ["12 mm", "No lesion"]), _prefix(2)
    optimizer = torch.optim.SGD([p for p in decoder.parameters() if p.requires_grad], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        decoder.loss(prefix, batch).backward()
        optimizer.step()


def test_adapters_learn_and_the_base_stays(decoder: Decoder) -> None:
    before = {name: tensor.clone() for name, tensor in decoder.base_model.state_dict().items()}
    untouched = decoder.loss(_prefix(2), decoder.text_batch(PROMPTS[:2], ["12 mm", "No lesion"])).item()
    decoder.add_lora(LoraSettings(4, 8.0))
    batch = decoder.text_batch(PROMPTS[:2], ["12 mm", "No lesion"])
    assert decoder.loss(_prefix(2), batch).item() == pytest.approx(untouched, rel=1e-6)  # B starts at zero
    assert all(".lora_" in name for name, p in decoder.named_parameters() if p.requires_grad)
    _train_adapters(decoder)
    assert decoder.loss(_prefix(2), batch).item() < untouched
    after = {n.replace(".base_layer.", "."): t for n, t in decoder.base_model.state_dict().items() if ".lora_" not in n}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.slow
def test_merged_equals_unmerged(decoder: Decoder) -> None:
    decoder.add_lora(LoraSettings(4, 8.0, dropout=0.2))
    _train_adapters(decoder)
    decoder.eval()
    batch = decoder.text_batch(PROMPTS, ["12 mm"] * 4)
    apart = decoder.loss(_prefix(4), batch).item()
    text = generate_sections(decoder, _prefix(), PROMPTS, WritingLimits(12))
    decoder.merge()
    assert not decoder.has_lora
    assert decoder.loss(_prefix(4), batch).item() == pytest.approx(apart, rel=1e-5)
    assert [g.token_ids for g in generate_sections(decoder, _prefix(), PROMPTS, WritingLimits(12))] == [
        g.token_ids for g in text
    ]
    with pytest.raises(InputError, match="only a decoder with adapters"):
        decoder.save_adapter("unused")


def test_a_model_that_peft_wrapped_already_still_gets_positions(decoder: Decoder) -> None:
    """peft's forward does not name position_ids and passes them on; padding must not shift the words."""
    limits = WritingLimits(12)
    expected = [g.token_ids for g in generate_sections(decoder, _prefix(), PROMPTS, limits)]
    again = Decoder(decoder.add_lora().model, decoder.tokenizer)
    assert "position_ids" in again._parameters_of_forward and again.has_lora
    assert [g.token_ids for g in generate_sections(again, _prefix(), PROMPTS, limits)] == expected  # B starts at zero


@pytest.mark.slow
def test_saved_and_loaded_is_identical(decoder: Decoder, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    decoder.add_lora(LoraSettings(4))
    _train_adapters(decoder)
    decoder.eval().save_pretrained(tmp_path / "whole")
    again = Decoder.from_pretrained(tmp_path / "whole").eval()
    own, other = decoder.state_dict(), again.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    limits = WritingLimits(12)
    assert generate_sections(again, _prefix(), PROMPTS, limits) == generate_sections(
        decoder, _prefix(), PROMPTS, limits
    )
    names = {p.relative_to(tmp_path / "whole").as_posix() for p in (tmp_path / "whole").rglob("*") if p.is_file()}
    assert {"base/model.safetensors", "base/tokenizer.json", "adapter/adapter_model.safetensors"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "whole").rglob("*.json"))
    assert capfd.readouterr() == ("", "")
    # the base alone is an ordinary transformers folder; adapters travel separately
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "whole" / "base", local_files_only=True)
    base = Decoder(plain, load_tokenizer(tmp_path / "whole" / "base")).eval()
    base.load_adapter(tmp_path / "whole" / "adapter")
    assert generate_sections(base, _prefix(), PROMPTS, limits) == generate_sections(decoder, _prefix(), PROMPTS, limits)


def test_the_same_seed_gives_the_same_decoder(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, two, other = _llama(tokenizer, seed=1), _llama(tokenizer, seed=1), _llama(tokenizer, seed=2)
    for model in (one, two):
        model.add_lora(LoraSettings(2, seed=5))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(one.embed(torch.tensor([[5]])), other.embed(torch.tensor([[5]])))


def test_bfloat16_runs_and_keeps_its_type(llama: Decoder) -> None:
    llama.to(torch.bfloat16)
    assert llama.dtype == torch.bfloat16
    assert all(g.text is not None for g in generate_sections(llama, _prefix(), PROMPTS, WritingLimits(5)))
    assert llama.loss(_prefix(1), llama.text_batch(PROMPTS[:1], ["12"])).dtype == torch.float32


# --- tokens -----------------------------------------------------------------------------------------------------------
def test_digits_stand_alone_and_text_comes_back(tokenizer: PreTrainedTokenizerFast, llama: Decoder) -> None:
    digits = [tokenizer.convert_ids_to_tokens(i) for i in llama.encode("measures 120.5 mm, -7")]
    assert [d for d in digits if any(c.isdigit() for c in d)] == ["1", "2", "0", "5", "7"]
    for text in ("The liver  measures 12 mm.\n\nä µg 肝 </s> <s> <pad> x", "<report> kidney", " 1", "a\tb"):
        assert llama.decode(llama.encode(text)) == text
    assert len(llama.encode("<report>")) == 1
    assert not {0, 1, 2} & set(llama.encode("</s><s><pad> liver</s>"))  # control tokens in text stay text
    assert llama.encode("liver", end=True)[-1] == llama.token_id("</s>") == 2


def test_a_tokenizer_is_reproducible_and_survives_a_file(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    again = train_tokenizer(TEXTS, 400, ("<report>",))
    assert again.get_vocab() == tokenizer.get_vocab()
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    text = "The spleen measures 13.7 cm </s> <report>"
    assert Decoder(_llama(tokenizer).model, loaded).encode(text) == _llama(tokenizer).encode(text)


# --- bad input --------------------------------------------------------------------------------------------------------
def test_bad_input_says_what_is_wrong(llama: Decoder, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"11 image tokens \+ prompt of .* context 256"):
        generate_sections(llama, _prefix(), ["liver " * 400])
    with pytest.raises(InputError, match="context"):
        generate_sections(llama, _prefix(), ["liver"], WritingLimits(250))
    with pytest.raises(InputError, match="context"):
        score_choices(llama, _prefix(), ["liver"], [["yes " * 300]])
    with pytest.raises(InputError, match="context"):
        llama.loss(_prefix(), llama.text_batch(["liver"], ["x " * 300]))
    with pytest.raises(InputError, match=r"48134.*stop tokens are ids of tokens that exist"):
        generate_sections(llama, _prefix(), ["liver"], WritingLimits(stop_ids=(48134,)))
    with pytest.raises(InputError, match=r"<image>.*exists in the vocabulary"):
        llama.token_id("<image>")
    with pytest.raises(InputError, match="ids of tokens that exist"):
        llama.loss(_prefix(), collate([[4]], [[900, 2]], 0))
    with pytest.raises(InputError, match="prompt 1 of case 0 is empty"):
        generate_sections(llama, _prefix(), ["liver", ""])
    with pytest.raises(InputError, match=r"shape \(1, P, 64\)"):
        generate_sections(llama, torch.zeros(1, 3, 32), ["liver"])
    with pytest.raises(InputError, match="before the first target"):
        llama.loss(None, collate([[]], [[4, 2]], 0))
    with pytest.raises(InputError, match="one target for each prompt"):
        llama.text_batch(["a"], ["b", "c"])
    with pytest.raises(InputError, match="every token of the tokenizer has an embedding"):
        Decoder(_llama(tokenizer).model, train_tokenizer(TEXTS, 400, ("<a>", "<b>")))
    with pytest.raises(InputError, match=r"layers to adapt exist.*q_proj"):
        llama.add_lora(LoraSettings(target_modules=("query",)))
    with pytest.raises(InputError, match="adapters to merge"):
        llama.merge()
    with pytest.raises(InputError, match="at least 259"):
        train_tokenizer(TEXTS, 100)
    with pytest.raises(FileFormatError, match="local folder"):
        Decoder.from_pretrained(tmp_path / "absent")
    with pytest.raises(FileFormatError, match="adapter_config"):
        llama.load_adapter(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(FileFormatError, match="causal language model"):
        Decoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("bad", [{"max_new_tokens": 0}, {"repetition_penalty": 0.0}, {"stop": ("",)}])
def test_limits_are_checked(bad: dict) -> None:
    with pytest.raises(InputError):
        replace(WritingLimits(), **bad)
    with pytest.raises(InputError):
        LlamaShape(hidden=30, heads=4)


def test_adapters_of_another_base_are_refused(
    llama: Decoder, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    llama.add_lora(LoraSettings(2)).save_adapter(tmp_path)
    with pytest.raises(FileFormatError, match="adapters fit the base"):
        Decoder.new_llama(tokenizer, LlamaShape(32, 2, 4)).load_adapter(tmp_path)
    with pytest.raises(FileFormatError, match="adapters fit the base"):
        _gpt2(tokenizer).load_adapter(tmp_path)


@pytest.mark.slow
def test_a_sliding_window_is_the_context(tokenizer: PreTrainedTokenizerFast) -> None:
    config = MistralConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=48,
        max_position_embeddings=4096,
        initializer_range=0.3,
    )
    decoder = Decoder.from_config(config, tokenizer).eval()
    assert decoder.context == 48
    limits = WritingLimits(48 - PREFIX - max(len(decoder.encode(p)) for p in PROMPTS))
    shared = generate_sections(decoder, _prefix(), PROMPTS, limits)
    assert [list(g.token_ids) for g in shared] == [_naive(decoder, _prefix(), p, limits)[0] for p in PROMPTS]


def test_the_own_llama_is_transformers_llama(tokenizer: PreTrainedTokenizerFast) -> None:
    decoder = Decoder.new_llama(tokenizer, LlamaShape(64, 3, 4, 2, tied=True))
    assert isinstance(decoder.model, LlamaForCausalLM)
    assert isinstance(decoder.model.config, LlamaConfig)
    assert decoder.width == 64
    assert decoder.model.lm_head.weight is decoder.model.get_input_embeddings().weight
