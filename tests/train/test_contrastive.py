"""Contrast against computations written out by hand; pairs that mean the same; one process or two."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from radvlm.errors import InputError
from radvlm.model.adapters.text_towers import TextTower, TextTowerConfig
from radvlm.model.adapters.token_encoder import TokenEncoder, TokenEncoderConfig, token_occupancy
from radvlm.model.inputs import InputSpec
from radvlm.model.organ_map import Organ
from radvlm.train import draws, gather
from radvlm.train.contrastive import (
    ContrastiveBatches,
    ContrastiveParts,
    ContrastiveWeights,
    info_nce,
    label_loss,
    organ_normal,
    same_meaning,
)
from radvlm.train.draws import Draws
from radvlm.train.loop import LoopConfig, run_stage
from radvlm.train.prepared import Augment, PreparedScans
from tests.train.tokens_made import open_masks, open_volume, write_study

SPEC = InputSpec((4.0, 4.0, 4.0), (24, 24, 24))
ORGANS = (
    Organ("liver", ("liver",), "liver", ("liver_lesion",)),
    Organ("spleen", ("spleen",), "spleen", ("spleen_lesion",)),
)
LABELS = ("liver_lesion", "spleen_lesion")
TEXT = TextTowerConfig(embedding=16, shape={"width": 16, "layers": 1, "heads": 2, "buckets": 64})
NETWORK = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "init_features": 4,
    "growth_rate": 4,
    "block_config": [1, 1],
    "norm": "instance",
}


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def value(x: Tensor) -> float:
    return float(x.detach())


def naive(image: Tensor, text: Tensor, scale: float, there: Tensor, same: Tensor) -> float:
    """InfoNCE as two loops, without a matrix."""
    groups = []
    for r in range(image.shape[1]):
        rows = [b for b in range(len(image)) if there[b, r]]
        if len(rows) < 2:
            continue
        total = 0.0
        for one, other in ((image, text), (text, image)):
            for b in rows:
                own = scale * float(one[b, r] @ other[b, r])
                against = [own] + [scale * float(one[b, r] @ other[c, r]) for c in rows if c != b and not same[r, b, c]]
                total += (math.log(sum(math.exp(v - own) for v in against))) / 2
        groups.append(total / len(rows))
    return sum(groups) / len(groups) if groups else 0.0


def test_info_nce_is_the_sum_written_out() -> None:
    image, text = unit(6, 3, 8), unit(6, 3, 8, seed=1)
    rng = np.random.Generator(np.random.PCG64(0))
    there = torch.from_numpy(rng.random((6, 3)) < 0.7)
    there[1:, 2] = False  # a group with one row has no loss
    ids = torch.from_numpy(rng.integers(0, 4, (6, 3)))
    normal = torch.from_numpy(rng.random((6, 3)) < 0.4)
    same = same_meaning(ids, normal)
    found = info_nce(image, text, 7.0, there=there, same=same)
    assert float(found) == pytest.approx(naive(image, text, 7.0, there, same), abs=1e-5)
    plain = info_nce(image[:, :1], text[:, :1], 7.0)
    target = torch.arange(6)
    scores = 7.0 * image[:, 0] @ text[:, 0].T
    usual = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    assert float(plain) == pytest.approx(float(usual), abs=1e-5)


def test_two_normal_organs_are_no_negatives() -> None:
    normal = torch.tensor([[True], [True], [False]])
    ids = torch.tensor([[1], [2], [3]])
    image, text = unit(3, 1, 4), unit(3, 1, 4, seed=1).requires_grad_()
    loss = info_nce(image[:2], text[:2], 5.0, same=same_meaning(ids[:2], normal[:2]))
    assert value(loss) == 0.0  # nothing pushes them apart
    moved = text.detach().clone()
    moved[0] = -moved[0]
    # between the normal organ 0 and the abnormal organ 2 there is a push, whatever organ 1 looks like
    one = info_nce(image[[0, 2]], moved[[0, 2]], 5.0, same=same_meaning(ids[[0, 2]], normal[[0, 2]]))
    assert float(one) > 0.01


def test_the_same_text_is_no_negative_of_itself() -> None:
    image = unit(2, 1, 4)
    text = unit(1, 1, 4, seed=1).expand(2, 1, 4)
    ids, normal = torch.tensor([[9], [9]]), torch.zeros(2, 1, dtype=torch.bool)
    assert float(info_nce(image, text, 5.0, same=same_meaning(ids, normal))) == 0.0
    assert float(info_nce(image, text, 5.0)) == pytest.approx(
        naive(image, text, 5.0, torch.ones(2, 1, dtype=torch.bool), torch.zeros(1, 2, 2, dtype=torch.bool)), abs=1e-5
    )


def test_nobody_to_compare_with_is_no_loss_and_no_nan() -> None:
    image = unit(3, 2, 4).requires_grad_()
    loss = info_nce(image, unit(3, 2, 4, seed=1), 5.0, there=torch.zeros(3, 2, dtype=torch.bool))
    loss.backward()
    assert value(loss) == 0 and image.grad is not None and torch.isfinite(image.grad).all()


def test_unknown_labels_teach_nothing() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]], requires_grad=True)
    truth, known = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1, 1], [1, 0]], dtype=torch.bool)
    loss = label_loss(logits, truth, known)
    by_hand = (math.log1p(math.exp(-2.0)) + math.log1p(math.exp(-1.0)) + math.log1p(math.exp(0.5))) / 3
    assert value(loss) == pytest.approx(by_hand, abs=1e-6)
    loss.backward()
    assert logits.grad is not None and logits.grad[1, 1] == 0 and logits.grad[0, 0] != 0


def test_an_organ_is_the_weighted_mean_of_its_tokens_on_the_encoder_s_own_axes() -> None:
    organs = torch.zeros(1, 4, 6, 8, dtype=torch.uint8)
    organs[0, 0:2, 0:3, 0:3] = 2  # fills cell (0, 0, 0) of (2, 2, 2) to three quarters
    shares = token_occupancy(organs, 2, (2, 2, 2), (2, 0, 1))  # grid along z, x, y
    assert shares.shape == (1, 2, 8) and shares[0, 0].sum() == 0
    assert shares[0, 1].tolist() == [0.75, 0, 0, 0, 0, 0, 0, 0]
    organs[0, 2:4, 3:6, 4:8] = 2
    shares = token_occupancy(organs, 2, (2, 2, 2), (2, 0, 1))
    assert shares[0, 1].tolist() == [0.75, 0, 0, 0, 0, 0, 0, 1.0]  # last cell in every axis
    encoder = made_parts().encoder
    tokens = torch.randn(1, 8, encoder.channels)
    inside = (0.75 * tokens[0, 0] + tokens[0, 7]) / 1.75
    expected = F.normalize(encoder.organ_project(inside), dim=-1)
    torch.testing.assert_close(encoder.organ_embeddings(tokens, shares)[0, 1], expected)


# --- the stage on made-up scans --------------------------------------------------------------------------------------
def made_parts(trained: bool = True) -> ContrastiveParts:
    encoder = TokenEncoder(TokenEncoderConfig("monai", 16, 2, network="DenseNet", arguments=NETWORK), SPEC)
    return ContrastiveParts(encoder, TextTower(replace(TEXT, trained=trained)))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[list, PreparedScans]:
    folder = tmp_path_factory.mktemp("scans")
    studies = [write_study(folder, n) for n in range(8)]
    return studies, PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS, cache=folder / "cache")


def made_batches(parts: ContrastiveParts, scans: tuple[list, PreparedScans], batch: int = 4) -> ContrastiveBatches:
    return ContrastiveBatches(
        parts,
        scans[0],
        scans[1],
        LABELS,
        Draws(batch, 0),
        augment=Augment(),
        weights=ContrastiveWeights(section_share=0.0),
    )


def test_a_step_has_every_loss_and_is_the_same_when_asked_again(scans: tuple[list, PreparedScans]) -> None:
    batches = made_batches(made_parts().eval(), scans)
    one, again, other = batches(3), batches(3), batches(4)
    assert set(one) == {"loss", "reports", "labels", "organs"}
    assert value(one["loss"]) == value(again["loss"]) != value(other["loss"])
    assert value(one["loss"]) == pytest.approx(value(one["reports"] + one["labels"] + 0.5 * one["organs"]), abs=1e-5)


def test_a_batch_holds_a_patient_once_and_is_split_over_processes(
    scans: tuple[list, PreparedScans], monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = [*scans[0], *(replace(s, name=f"{s.name} again") for s in scans[0])]
    whole = made_batches(made_parts(), (studies, scans[1]), batch=6).rows(5)
    assert len({studies[n].patient for n in whole}) == 6
    parts = []
    for number in range(2):
        monkeypatch.setattr(draws, "processes", lambda number=number: (number, 2))
        parts += made_batches(made_parts(), (studies, scans[1]), batch=3).rows(5)
    assert parts == whole


def test_organs_are_normal_only_when_that_is_known(scans: tuple[list, PreparedScans]) -> None:
    ill, well = scans[0][0], scans[0][1]
    assert not organ_normal(ill, ORGANS[0]) and organ_normal(well, ORGANS[0]) and organ_normal(ill, ORGANS[1])
    assert not organ_normal(well, Organ("lung", ("lung_*",), "lungs", ("nodule",)))


@pytest.mark.slow
def test_a_frozen_text_tower_stays_bit_for_bit_and_a_stopped_stage_goes_on_the_same(
    scans: tuple[list, PreparedScans], tmp_path: Path
) -> None:
    def train(folder: Path, stop: int | None) -> ContrastiveParts:
        parts = made_parts(trained=False)
        before = {k: v.clone() for k, v in parts.text.state_dict().items()}
        batches = made_batches(parts, scans)
        config = LoopConfig(4, 0.01, warmup=1, save_every_s=0.0)

        def loss_of(step: int) -> dict[str, Tensor]:
            if step == stop:
                raise KeyboardInterrupt
            return batches(step)

        try:
            run_stage("c", parts, loss_of, config, folder)
        except KeyboardInterrupt:
            return train(folder, None)
        assert all(torch.equal(v, before[k]) for k, v in parts.text.state_dict().items())
        return parts

    whole, resumed = train(tmp_path / "a", None), train(tmp_path / "b", 2)
    first = made_parts()
    assert all(torch.equal(v, resumed.state_dict()[k]) for k, v in whole.state_dict().items())
    assert not torch.equal(first.encoder.project.weight, whole.encoder.project.weight)


def test_labels_alone_need_no_text_and_reports_need_some(scans: tuple[list, PreparedScans]) -> None:
    bare = [s.__class__(s.name, s.patient, s.volume, labels=s.labels) for s in scans[0]]
    parts = made_parts()
    with pytest.raises(InputError, match="needs reports"):
        ContrastiveBatches(parts, bare, scans[1], LABELS, Draws(2, 0))
    only = ContrastiveBatches(
        parts, bare, scans[1], LABELS, Draws(2, 0), weights=ContrastiveWeights(reports=0.0, organs=0.0)
    )
    assert set(only(0)) == {"loss", "labels"}
    with pytest.raises(InputError, match="two patients"):
        ContrastiveBatches(parts, bare[:1], scans[1], LABELS, Draws(2, 0))


def _two_processes(number: int, folder: str, studies: list, queue: object) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    kept = PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS, cache=Path(folder) / "cache")
    parts = made_parts().eval()
    losses = made_batches(parts, (studies, kept), batch=3)(2)
    losses["loss"].backward()
    from radvlm.train.loop import _average

    _average(parts, list(parts.parameters()))
    if number == 0:
        queue.put({k: p.grad.numpy() for k, p in parts.named_parameters()})  # type: ignore[attr-defined]
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_take_the_step_of_one_with_the_whole_batch(
    scans: tuple[list, PreparedScans], tmp_path: Path
) -> None:
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_two_processes, args=(n, str(tmp_path), scans[0], queue)) for n in range(2)]
    for worker in workers:
        worker.start()
    found = queue.get()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    parts = made_parts().eval()
    made_batches(parts, scans, batch=6)(2)["loss"].backward()
    assert gather.processes() == (0, 1)
    for key, parameter in parts.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        np.testing.assert_allclose(found[key], wanted.numpy(), atol=2e-5, rtol=1e-3, err_msg=key)
