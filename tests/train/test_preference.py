"""Pairs that teach what a hint is for, and the loss that prefers one side of them; beside trl and by hand."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import radvlm
from radvlm.compose import guided_report
from radvlm.dataset.case import Case
from radvlm.dataset.sentences import Statement, plain_absent_words, plain_words, wording
from radvlm.errors import InputError
from radvlm.model.decoder.causal_lm import Decoder, LlamaShape, LoraSettings
from radvlm.model.decoder.generation import generate_sections
from radvlm.model.decoder.prior_text import MOST_HINTS, hinted_prompt, hints_for
from radvlm.model.decoder.prompts import section_prompt
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.tiny import model as tiny_model
from radvlm.train.pairs import FRAMES, KINDS, Pairs, framed
from radvlm.train.preference import (
    PreferenceBatches,
    PreferenceConfig,
    dpo_loss,
    run_preference,
    sequence_log_probability,
)
from radvlm.types.finding import Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.model_output import Draft, FindingScore, ModelOutput
from radvlm.workflows.train_model import train_model

NAMES = list(finding_kinds())


def make_case(folder: Path, number: int, lesions: list[tuple[str, str, str]], patient: str = "") -> Case:
    """A case whose organs are all imaged, with lesions (finding, side, location)."""
    sites = {
        f"{f.site}{s}" for f in finding_kinds().values() for s in (("_left", "_right") if f.sided else ("",)) if f.site
    }
    volumes = dict.fromkeys(sorted(sites), 1500.0 if number % 2 else 1400.0)
    volumes["spleen"] = 200.0
    rows = []
    for kind, side, location in lesions:
        volumes[finding_kinds()[kind].structure.format(side=side)] = 5.0
        rows.append(
            {
                "kind": kind,
                "in_field": "inside",
                "side": side,
                "location": location,
                "pole": "",
                "level": "",
                "size": 20.0,
                "size_means": "diameter (mm)",
                "long_axis_mm": 20.0,
                "short_axis_mm": 18.0,
                "center_mm": [0, 0, 0],
                "cut": False,
            }
        )
    place = folder / f"phantom-{number}"
    place.mkdir(parents=True)
    data = {
        "patient": patient or place.name,
        "affine_ras_mm": np.diag([6.0, 6, 6, 1]).tolist(),
        "shape": [24, 20, 28],
        "volumes_ml": volumes,
        "truth": {"sex": "F", "phase": "portal venous", "lesions": rows},
    }
    (place / "case.json").write_text(json.dumps(data))
    rng = np.random.default_rng(number)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 20, 28)], indexing="ij"), -1)
    hu = np.where((grid[..., :2] ** 2).sum(-1) < 0.7, 40.0, -1000.0) + rng.normal(0, 10, (24, 20, 28))
    np.save(place / "hu.npy", hu.astype(np.int16))
    return Case(place)


LESIONS = [
    [("liver_cyst", "", "liver_segment_4"), ("kidney_stone", "left", "")],
    [("liver_metastasis", "", "liver_segment_7"), ("liver_metastasis", "", "liver_segment_2")],
    [("kidney_cyst", "right", ""), ("spleen_cyst", "", ""), ("gallstone", "", "")],
    [("pancreas_cyst", "", "pancreas_head"), ("liver_cyst", "", "liver_segment_6")],
    [],
    [("adrenal_lesion", "left", ""), ("kidney_tumor", "left", ""), ("ascites", "", "")],
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("corpus")
    return [make_case(folder, 10 + n, lesions) for n, lesions in enumerate(LESIONS)]


@pytest.fixture(scope="module")
def pairs(cases: list[Case]) -> Pairs:
    vectors = np.random.default_rng(0).standard_normal((len(cases), 6))
    return Pairs(cases, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


# -- wordings of sites -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "side", "sites", "there_is", "is_seen"),
    [
        (
            "liver_cyst",
            "",
            ("liver_segment_4",),
            "There is a hepatic cyst in segment IV.",
            "Hepatic cyst is seen in segment IV.",
        ),
        (
            "liver_cyst",
            "",
            ("liver_segment_4", "liver_segment_6"),
            "There are hepatic cysts in segment IV and segment VI.",
            "Hepatic cysts are seen in segment IV and segment VI.",
        ),
        (
            "adrenal_lesion",
            "left",
            ("adrenal_gland_left",),
            "There is an adrenal lesion in the left adrenal gland.",
            "Adrenal lesion is seen in the left adrenal gland.",
        ),
        ("ascites", "", (), "There is ascites.", "Ascites is seen."),
        ("steatosis", "", (), "There is hepatic steatosis.", "Hepatic steatosis is seen."),
        ("aortic_aneurysm", "", (), "There is an abdominal aortic aneurysm.", "Abdominal aortic aneurysm is seen."),
        ("pleural_effusion", "left", (), "There is a left pleural effusion.", "Left pleural effusion is seen."),
        (
            "lytic_bone_lesion",
            "",
            ("vertebrae_T10",),
            "There is a lytic bone lesion at T10.",
            "Lytic bone lesion is seen at T10.",
        ),
    ],
)
def test_sites_word_one_finding_differently(
    finding: str, side: str, sites: tuple[str, ...], there_is: str, is_seen: str
) -> None:
    plain = plain_words(finding, side, sites)
    said = Statement(plain, finding_kinds()[finding].section, (finding,), True, sites)
    assert [framed(said, frame) for frame in FRAMES] == [plain, there_is, is_seen]
    denied = Statement(plain_absent_words(finding), "liver", (finding,), False)
    assert {framed(denied, frame) for frame in FRAMES} == {denied.text}
    with pytest.raises(InputError, match="frame"):
        framed(said, "shouted")


@pytest.mark.parametrize("frame", FRAMES[1:])
@pytest.mark.parametrize("finding", [n for n in NAMES if n in wording()["nouns"] and not finding_kinds()[n].sided])
def test_a_true_sentence_in_the_wording_of_a_site_may_stand_in_a_report(finding: str, frame: str) -> None:
    """Otherwise all that is learned here would be thrown away by the verifier."""
    kind = finding_kinds()[finding]
    score = FindingScore(finding, kind.words, kind.section, kind.site, 0.9, Status.PRESENT)
    text = framed(Statement(plain_words(finding), kind.section, (finding,), True), frame)
    model_output = ModelOutput("m", "d" * 64, "n", (score,), (Draft(kind.section, text),))
    report = guided_report((), model_output, examination=(), provenance={}, unseen=frozenset())
    assert report.replacements == ()
    assert any(s.text.startswith(text.rstrip(".")) for s in report.sentences)


# -- prompts ---------------------------------------------------------------------------------------------------------


def test_only_labeled_lines_of_the_section_are_hints() -> None:
    block = "\n".join(
        [
            "Wording from reports of OTHER patients.",
            "[other patient 1; liver] Hepatic cyst.",
            "[other patient 2; spleen] Splenic cyst.",
            "[other patient 3] Ascites.",
            "Splenomegaly.",
            "[other patient 4; liver] Hepatic cyst.",
        ]
    )
    assert hints_for(block, "liver") == ("Hepatic cyst.", "Ascites.")
    assert hints_for(block, "spleen") == ("Splenic cyst.", "Ascites.")
    assert hints_for("", "liver") == ()
    many = "\n".join(f"[other patient {n}; liver] Text {n}." for n in range(9))
    assert len(hints_for(many, "liver")) == MOST_HINTS
    assert hinted_prompt(("A.", "B\nC."), "P") == "[1] A.\n[2] B C.\nP"
    assert hinted_prompt((), "P") == "P"


# -- pairs -----------------------------------------------------------------------------------------------------------


def _hints(prompt: str) -> list[str]:
    return [line.split("] ", 1)[1] for line in prompt.splitlines() if line.startswith("[")]


def _seen(prompt: str) -> set[str]:
    words = {f.words: name for name, f in finding_kinds().items()}
    lines = [line.removeprefix("<facts> ") for line in prompt.splitlines()]
    said = {line.removeprefix("seen: ").split(" | ")[0] for line in lines if line.startswith("seen: ")}
    return {words[w] for w in said - {"nothing"}}


def _affirmed(text: str) -> set[str]:
    nouns = {n: wording()["nouns"][n][0][0] for n in NAMES if n in wording()["nouns"]}
    said = [s.lower() for s in text.split(".") if s.strip() and not s.strip().lower().startswith("no ")]
    plural = {n: wording()["nouns"][n][0][1] for n in nouns}
    return {n for n, noun in nouns.items() if any(noun in s or plural[n] in s for s in said)}


def test_every_pair_is_what_its_kind_says(pairs: Pairs, cases: list[Case]) -> None:
    rng, directions = np.random.default_rng(1), set()
    for kind in KINDS:
        for _ in range(60):
            pair = pairs.draw(kind, rng)
            case, hints = cases[pair.case], _hints(pair.prompt)
            true = {n for n in NAMES if case.present(n)}
            assert pair.kind == kind and len(hints) <= MOST_HINTS and section_prompt("x")[:4] in pair.prompt
            assert _affirmed(pair.chosen) <= true, "what is preferred is true of the scan"
            assert _affirmed(pair.chosen) <= _seen(pair.prompt) <= true, "and was seen in it"
            assert (pair.rejected_prompt == pair.prompt) or "scan" in kind
            assert not any(h.startswith("No ") for h in hints)
            if kind == "scan":
                assert pair.chosen == pair.rejected
                other = cases[pair.rejected_case]
                assert other.patient != case.patient and pair.swapped == ""
                assert _seen(pair.rejected_prompt) <= {n for n in NAMES if other.present(n)}
            elif kind == "wording":
                assert pair.chosen != pair.rejected and _affirmed(pair.chosen) == _affirmed(pair.rejected) != set()
                assert hints and ("There " in pair.chosen) == any(h.startswith("There ") for h in hints)
            elif kind == "misleading":
                wrong = _affirmed(pair.rejected) - true
                assert wrong and wrong & _affirmed(" ".join(hints))
            elif kind == "organ in hint":
                wrong, lost = _affirmed(pair.rejected) - true, _affirmed(pair.chosen) - _affirmed(pair.rejected)
                assert len(wrong) == 1 and wrong <= _affirmed(" ".join(hints)) and len(lost) <= 1
                assert _affirmed(" ".join(hints)) - true == wrong, "the hint is true but for one finding"
                assert not lost & _affirmed(" ".join(hints))
                directions.add(("hint", len(lost)))
            else:
                assert pair.chosen == pair.rejected and pair.case == pair.rejected_case
                assert case.present(pair.swapped) != cases[pair.donor].present(pair.swapped)
                assert _seen(pair.prompt) ^ _seen(pair.rejected_prompt) == {pair.swapped}
                directions.add(("scan", int(case.present(pair.swapped))))
    assert directions == {("hint", 0), ("hint", 1), ("scan", 0), ("scan", 1)}, "else it learns to deny, or to affirm"


def test_hints_are_never_of_the_same_patient(tmp_path: Path) -> None:
    """Two scans of one patient, the only ones with a stone: a stone can never be hinted to either."""
    held = [make_case(tmp_path, n, [("kidney_stone", "left", "")], "twice") for n in (1, 2)]
    held += [make_case(tmp_path, n, [("kidney_cyst", "left", "")]) for n in (3, 4)]
    pairs = Pairs(held, np.eye(4))
    rng = np.random.default_rng(0)
    drawn = [pairs.lesson(rng, 0.0) for _ in range(300)]
    hints = [" ".join(_hints(x.prompt)).lower() for x in drawn if x.case < 2]
    assert any("renal cyst" in h for h in hints)
    assert not any("renal stone" in h for h in hints)
    with pytest.raises(InputError, match="other patients"):
        Pairs(held[:2], np.eye(2))
    with pytest.raises(InputError, match="with findings"):
        Pairs([make_case(tmp_path, n, []) for n in (5, 6)], np.eye(2)).draw("misleading", rng)


# -- the loss --------------------------------------------------------------------------------------------------------


def test_the_loss_by_hand() -> None:
    t = torch.tensor
    loss, margin = dpo_loss(t([-3.0]), t([-5.0]), t([-4.0]), t([-4.0]), 0.5)
    assert margin.tolist() == [2.0]  # (-3 + 4) - (-5 + 4)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1.0)))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    texts = ["Hepatic cyst in segment IV.", "No hepatic cyst.", "Splenic cyst.", "report liver: kidneys"] * 4
    made = Decoder.new_llama(train_tokenizer(texts, 300), LlamaShape(32, 2, 2, feed_forward=48, initializer_range=0.2))
    made.add_lora(LoraSettings(rank=4, target_modules=("q_proj", "v_proj", "down_proj")))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.2)
    return made.eval()


@pytest.mark.slow
@torch.no_grad()
def test_a_sequence_is_as_probable_as_its_tokens(decoder: Decoder) -> None:
    """Rows of different lengths in one batch against each alone, and the mean loss of the decoder."""
    prompts, targets = ["liver:", "liver: kidneys liver:"], [" Hepatic cyst in segment IV.", " No."]
    prefix = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    both = sequence_log_probability(decoder, prefix, decoder.text_batch(prompts, targets))
    for n in range(2):
        batch = decoder.text_batch([prompts[n]], [targets[n]])
        alone = sequence_log_probability(decoder, prefix[n : n + 1], batch)
        assert float(both[n]) == pytest.approx(float(alone[0]), abs=1e-4)
        mean = float(decoder.loss(prefix[n : n + 1], batch))
        assert float(alone[0]) == pytest.approx(-mean * batch.n_targets, abs=1e-3)


ROWS = [
    ("report liver:", " Hepatic cyst in segment IV.", " No hepatic cyst."),
    ("report kidneys:", " No.", " Splenic cyst. Hepatic cyst."),
    ("liver:", " Hepatic cyst.", " Splenic cyst."),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of trl and of the libraries that it loads
def test_loss_and_gradient_are_those_of_trl(decoder: Decoder, tmp_path: Path) -> None:
    """Text alone, which is all that trl's trainer carries: same pairs, same reference, same beta and weights."""
    trl = pytest.importorskip("trl", reason="trl is compared with where it is installed")
    datasets = pytest.importorskip("datasets")
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    policy, reference = deepcopy(decoder.model), deepcopy(decoder.model).merge_and_unload()
    with decoder.model.disable_adapter():
        reference.load_state_dict(
            {
                k.replace("base_model.model.", "").replace(".base_layer", ""): v
                for k, v in decoder.model.state_dict().items()
                if "lora_" not in k
            }
        )
    args = trl.DPOConfig(
        output_dir=str(tmp_path),
        beta=0.3,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 0.1],
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
    )
    trainer = trl.DPOTrainer(
        model=policy,
        ref_model=reference,
        args=args,
        processing_class=decoder.tokenizer,
        train_dataset=datasets.Dataset.from_list([{"prompt": p, "chosen": c, "rejected": r} for p, c, r in ROWS]),
    )
    batch = DataCollatorForPreference(pad_token_id=decoder.pad_id)(
        [
            {
                "prompt_ids": decoder.encode(p),
                "chosen_ids": decoder.encode(c, end=True),
                "rejected_ids": decoder.encode(r, end=True),
            }
            for p, c, r in ROWS
        ]
    )
    theirs = trainer.compute_loss(policy, batch)
    theirs.backward()

    ours = _text_loss(decoder, beta=0.3, keep=0.1)
    decoder.zero_grad()
    ours.backward()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    expected = {n: p.grad for n, p in policy.named_parameters() if p.grad is not None and "lora_" in n}
    assert expected
    for name, value in decoder.model.named_parameters():
        if "lora_" in name:
            assert torch.allclose(value.grad, expected[name], atol=1e-5), name


def _text_loss(decoder: Decoder, beta: float, keep: float) -> torch.Tensor:
    """``PreferenceBatches.loss`` on text alone."""

    class Writer:
        pass

    writer: Any = Writer()
    writer.decoder = decoder
    config: Any = Writer()
    config.beta, config.keep = beta, keep
    batches = PreferenceBatches.__new__(PreferenceBatches)
    batches.writer, batches.config = writer, config
    batches.prefix = lambda rows, swaps: torch.zeros(len(rows), 0, 32)  # type: ignore[method-assign]
    from radvlm.train.pairs import Pair

    return batches.loss([Pair("wording", p, c.strip(), r.strip(), 0, 0) for p, c, r in ROWS])["loss"]


def test_only_the_adapter_learns_and_the_reference_stays(decoder: Decoder) -> None:
    before = {n: p.detach().clone() for n, p in decoder.named_parameters()}
    decoder.zero_grad()
    _text_loss(decoder, 0.1, 0.0).backward()
    graded = {n for n, p in decoder.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert graded and all("lora_" in n for n in graded)
    assert all(p.requires_grad == ("lora_" in n) for n, p in decoder.named_parameters())
    assert all(torch.equal(before[n], p) for n, p in decoder.named_parameters())


# -- from recipe to model --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def makers() -> ModuleType:
    """tests/model/conftest.py: a very small model with random weights."""
    spec = importlib.util.spec_from_file_location(
        "radvlm_test_model_makers", Path(__file__).parents[1] / "model" / "conftest.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _recipe(folder: Path, **other: Any) -> Path:
    loop = {"learning_rate": 0.01, "warmup": 2, "log_every": 1}
    data = {
        "kind": "preference",
        "name": "little with hints",
        "notice": "Test.",
        "model": "little",
        "threads": 1,
        "scans": {"folder": str(folder / "corpus")},
        "hints": {**loop, "steps": 6},
        "preference": {**loop, "steps": 12, "learning_rate": 0.02},
        "hints_batch": 6,
        "preference_batch": 6,
        "lora": {"rank": 4, "alpha": 8.0},
        **other,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def trained(makers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interrupted and resumed run over six made scans."""
    folder = tmp_path_factory.mktemp("preference")
    makers.small_model().save_pretrained(folder / "little")
    for n, lesions in enumerate(LESIONS):
        make_case(folder / "corpus", 10 + n, lesions)
    recipe = _recipe(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreferenceBatches, "__call__", lambda *_: {}["stopped"])
        with pytest.raises(KeyError):
            train_model(recipe, folder / "out")
    assert (folder / "out" / "hinted").is_dir() and not (folder / "out" / "model").exists()
    with pytest.raises(InputError, match="not empty"):
        train_model(recipe, folder / "out")
    train_model(recipe, folder / "out", resume=True)
    return folder


@pytest.mark.slow
def test_a_run_goes_on_and_leaves_a_model_that_reads_hints(trained: Path, makers: ModuleType) -> None:
    logs = {
        p.name.split(".")[0]: [json.loads(x) for x in p.read_text().splitlines()]
        for p in (trained / "out").glob("*.log.jsonl")
    }
    assert [r["step"] for r in logs["hints"]] == list(range(1, 7)), "the first stage was not done twice"
    assert [r["step"] for r in logs["preference"]] == list(range(1, 13))
    assert np.mean([r["dpo"] for r in logs["preference"][-4:]]) < math.log(2)
    start: Any = radvlm.load_model(trained / "little")
    model: Any = radvlm.load_model(trained / "out" / "model")
    hinted: Any = radvlm.load_model(trained / "out" / "hinted")
    assert (start.uses_hints, hinted.uses_hints, model.uses_hints) == (False, True, True)
    assert model.name == "little with hints" and model.settings.training["preference"]["scans"] == 6
    scan = makers.blob_volume()
    assert [(s.finding, s.probability) for s in model.classify(scan)] == [
        (s.finding, s.probability) for s in start.classify(scan)
    ], "findings do not change"
    assert np.array_equal(model.embed(scan), start.embed(scan))
    assert model.draft(scan) == model.read(scan)[0].drafts
    plain = {d.section: d.text for d in model.draft(scan)}
    block = "[other patient 1; liver] There is a hepatic cyst in segment IV."
    with_hints = {d.section: d.text for d in model.draft(scan, hints=block)}
    assert {s for s in plain if plain[s] != with_hints[s]} <= {"liver"}, "a hint reaches its own section alone"


@pytest.mark.slow
def test_hints_that_do_not_fit_are_left_out_before_the_section_is(
    makers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = makers.small_model(context=420)
    scan = makers.blob_volume()
    asked: list[list[str]] = []

    def write(decoder: Any, prefix: Any, prompts: list[str], limits: Any) -> Any:
        asked.append(prompts)
        return generate_sections(decoder, prefix, prompts, limits)

    monkeypatch.setattr(tiny_model, "generate_sections", write)
    long = " ".join(["hepatic cyst"] * 40)
    model.draft(scan, hints=f"[other patient 1; liver] A cyst.\n[other patient 2; liver] {long}.")
    prompt = next(p for p in asked[0] if "liver" in p)
    assert prompt.startswith("[1] A cyst.\n") and long not in prompt


def test_bad_recipes_are_refused(trained: Path, tmp_path: Path) -> None:
    good = PreferenceConfig.load(trained / "recipe.yaml")
    for wrong, said in (
        ({"beta": 0.0}, "beta"),
        ({"shares": (1.0,)}, "shares"),
        ({"kind": "tokens"}, "kind"),
        ({"hints_batch": 0}, "row"),
    ):
        with pytest.raises(InputError, match=said):
            replace(good, **wrong)
    with pytest.raises(InputError, match="betta"):
        PreferenceConfig.load(_recipe(tmp_path, betta=1.0))
    with pytest.raises(InputError, match="from before"):
        run_preference(replace(good, model="out/model"), tmp_path / "o", folder=trained)
    seeded = replace(good.scans, seeds=(1, 2), spacing_mm=3.0)
    with pytest.raises(InputError, match="grid"):
        run_preference(replace(good, scans=seeded), tmp_path / "o", folder=trained)


def test_the_shipped_recipe_is_read() -> None:
    config = PreferenceConfig.load(Path(__file__).parents[2] / "configs" / "tiny-preference.yaml")
    assert config.model == "tiny" and config.scans.seeds is not None and config.fact_scans is not None
