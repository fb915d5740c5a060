"""Crops and targets of a hand-made case, and the loss against a plain one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from radvlm.errors import InputError
from radvlm.model.tiny.encoder import PyramidConfig, VoxelNetwork
from radvlm.train.voxels import Crops, LabeledScan, _any_of_two, _FocalNegative, voxel_loss

ANATOMY = ("outside", "soft_tissue", "liver", "renal_pelvis", "aorta", "lung")
FINDINGS = ("liver_cyst", "steatosis", "hydronephrosis", "aortic_aneurysm", "lung_nodule")
PARENTS = ("liver", "liver", "renal_pelvis", "aorta", "lung")
CLASSES = (*ANATOMY, "liver_cyst", "lung_nodule")
CONFIG = PyramidConfig(
    3.0,
    (4, 4, 4, 4, 4),
    (0, 0, 0, 0, 0),
    4,
    ANATOMY,
    FINDINGS,
    PARENTS,
    ("none", "segment"),
    ("liver",),
    embedding=8,
    hidden=8,
)
SHAPE = (24, 20, 40)
ORIGIN = (-36.0, -30.0, 100.0)


def _lesion(
    kind: str, index: tuple[float, float, float] | None = None, side: str = "", in_field: str = "inside"
) -> dict[str, Any]:
    center = None if index is None else [3.0 * i + o for i, o in zip(index, ORIGIN, strict=True)]
    return {"kind": kind, "center_mm": center, "side": side, "in_field": in_field}


def _scan(folder: Path, lesions: list[dict[str, Any]]) -> LabeledScan:
    """Body x 2..21; liver on the right with a cyst, a pelvis on each side, the aorta along z."""
    folder.mkdir(parents=True)
    labels, parts = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    labels[2:22, 2:18] = CLASSES.index("soft_tissue")
    labels[13:20, 4:12, 6:20] = CLASSES.index("liver")
    parts[13:16, 4:12, 6:20] = 1
    labels[15:18, 6:9, 10:13] = CLASSES.index("liver_cyst")
    labels[4:6, 10:12, 14:18] = labels[18:20, 13:15, 14:18] = CLASSES.index("renal_pelvis")
    labels[11:13, 13:16, :] = CLASSES.index("aorta")
    hu = np.where(labels > 0, 40, -1000).astype(np.int16)
    hu += np.arange(SHAPE[2], dtype=np.int16)  # so that a crop's place can be read from it
    for name, array in (("hu", hu), ("classes", labels), ("parts", parts)):
        np.save(folder / f"{name}.npy", array)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = ORIGIN
    (folder / "case.json").write_text(json.dumps({"affine_ras_mm": affine.tolist(), "truth": {"lesions": lesions}}))
    return LabeledScan.open(folder)


ALL = [
    _lesion("liver_cyst", (16, 7, 11)),
    _lesion("steatosis"),
    _lesion("hydronephrosis", side="right"),
    _lesion("aortic_aneurysm", (12, 14, 20)),
    _lesion("lung_nodule", (1, 1, 1), in_field="outside"),
]


def _whole(scan: LabeledScan) -> tuple[Tensor, Tensor, Tensor, dict[str, np.ndarray]]:
    """The scan as one crop without a shift."""
    crops = Crops([scan], CONFIG, CLASSES, shape=SHAPE, batch=1, seed=0)
    crops._start = lambda *_: (0, 0, 0)  # type: ignore[method-assign]
    hu, anatomy, parts, found = crops(0)
    return hu, anatomy[0], parts[0], {FINDINGS[n]: m.numpy() for n, m in found[0]}


def _pooled(mask: np.ndarray) -> np.ndarray:
    """Any of eight, voxel by voxel."""
    out = np.zeros([n // 2 for n in mask.shape], bool)
    for index in np.argwhere(mask):
        out[tuple(index // 2)] = True
    return out


def test_targets_by_hand(tmp_path: Path) -> None:
    scan = _scan(tmp_path / "a", ALL)
    hu, anatomy, parts, found = _whole(scan)
    labels = scan.array("classes")
    assert hu.shape == (1, 1, *SHAPE) and anatomy.shape == parts.shape == tuple(n // 2 for n in SHAPE)
    expected = np.where(labels == CLASSES.index("liver_cyst"), ANATOMY.index("liver"), labels)[::2, ::2, ::2]
    assert np.array_equal(anatomy, expected), "a finding's voxels are anatomy of the organ around it"
    assert np.array_equal(parts, scan.array("parts")[::2, ::2, ::2])
    assert set(found) == {"liver_cyst", "steatosis", "hydronephrosis", "aortic_aneurysm"}
    assert np.array_equal(found["liver_cyst"], _pooled(labels == CLASSES.index("liver_cyst")))
    assert np.array_equal(found["steatosis"], _pooled(labels == CLASSES.index("liver")))
    pelvis = labels == CLASSES.index("renal_pelvis")
    pelvis[:12] = False  # the right one has high x
    assert np.array_equal(found["hydronephrosis"], _pooled(pelvis)) and found["hydronephrosis"].any()
    aorta = labels == CLASSES.index("aorta")
    aorta[:, :, [z for z in range(SHAPE[2]) if abs(z - 20) * 3 > 25]] = False
    assert np.array_equal(found["aortic_aneurysm"], _pooled(aorta))


def test_the_other_side(tmp_path: Path) -> None:
    _, _, _, found = _whole(_scan(tmp_path / "a", [_lesion("hydronephrosis", side="left")]))
    assert found["hydronephrosis"][2, 5, 8] and not found["hydronephrosis"][9:].any()


def test_pooling_keeps_a_single_voxel() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((8, 6, 4)) < 0.1
    assert np.array_equal(_any_of_two(mask).numpy(), _pooled(mask))


def test_crops_depend_on_seed_and_step_alone(tmp_path: Path) -> None:
    scans = [_scan(tmp_path / name, ALL if name == "a" else []) for name in "ab"]

    def crops(seed: int) -> Crops:
        return Crops(scans, CONFIG, CLASSES, shape=(16, 16, 16), batch=3, seed=seed)

    def equal(a: Any, b: Any) -> bool:
        return (
            all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
            and [[n for n, _ in row] for row in a[3]] == [[n for n, _ in row] for row in b[3]]
            and all(
                torch.equal(x, y) for r, s in zip(a[3], b[3], strict=True) for (_, x), (_, y) in zip(r, s, strict=True)
            )
        )

    one, other = crops(1), crops(1)
    ordered = [one(n) for n in range(4)]
    for n in (3, 0, 2, 1):  # whatever was asked before, and whatever was prepared ahead
        assert equal(other(n), ordered[n])
    assert not equal(ordered[0], ordered[1]) and not equal(crops(2)(0), ordered[0])


def test_a_crop_is_a_piece_of_the_scan_with_air_around(tmp_path: Path) -> None:
    """HU and labels of a crop belong together, also beyond the border."""
    scan = _scan(tmp_path / "a", ALL)
    crops = Crops([scan], CONFIG, CLASSES, shape=(32, 24, 16), batch=4, seed=3)
    seen = set()
    for step in range(6):
        hu, anatomy, _, _ = crops(step)
        for row in range(4):
            body = anatomy[row] > 0
            values = hu[row, 0, ::2, ::2, ::2]
            assert body.any() and values[body].min() > -100 and values[~body].max() < -800
            heights = values[body].round()
            seen.add(int(heights.min()))
    assert len(seen) > 3, "crops lie at several heights"


@pytest.mark.slow
def test_every_finding_is_drawn_about_as_often(tmp_path: Path) -> None:
    """The cyst is in one scan of six, but a crop is drawn around it far more often than in one of six."""
    scans = [_scan(tmp_path / f"{n}", ALL[:1] if n == 0 else []) for n in range(6)]
    crops = Crops(scans, CONFIG, CLASSES, shape=(24, 20, 10), batch=1, seed=0)
    held = sum(any(FINDINGS[n] == "liver_cyst" for n, _ in crops._make(step)[3][0]) for step in range(120))
    assert held / 120 > 0.15
    often = Crops(scans, CONFIG, CLASSES, shape=(24, 20, 10), batch=1, seed=0, often=("liver_cyst",))
    again = sum(any(FINDINGS[n] == "liver_cyst" for n, _ in often._make(step)[3][0]) for step in range(120))
    assert again > 1.3 * held
    with pytest.raises(InputError, match="kidny"):
        Crops(scans, CONFIG, CLASSES, shape=(24, 20, 10), batch=1, seed=0, often=("kidny",))


def _batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, list[list[tuple[int, Tensor]]]]:
    generator = torch.Generator().manual_seed(seed)
    hu = torch.randn(2, 1, 12, 10, 8, generator=generator) * 300
    anatomy = torch.randint(0, len(ANATOMY), (2, 6, 5, 4), generator=generator)
    parts = torch.randint(0, 2, (2, 6, 5, 4), generator=generator)
    one, two, three = (torch.rand(6, 5, 4, generator=generator) < p for p in (0.05, 0.3, 0.1))
    return hu, anatomy, parts, [[(0, one), (2, two)], [(2, three)]]


def _plain_loss(maps: Tensor, batch: Any, kept: Tensor) -> Tensor:
    """Written out, one voxel after the other, with autograd all the way."""
    _, anatomy, parts, found = batch
    a = len(ANATOMY)
    organ, part, negative, count = [], [], [], 0
    positive = []
    for row in range(len(anatomy)):
        taken: dict[int, Tensor] = dict(found[row])
        for number, mask in taken.items():
            logits = [maps[(row, a + number, *i)] for i in mask.nonzero().tolist()]
            values = [(1 - x.sigmoid()) ** 2 * F.softplus(-x) for x in logits]
            positive.append(torch.stack(values).mean())
            count += 1
        for index in kept[row].nonzero().tolist():
            v = maps[(row, slice(None), *index)]
            organ.append(F.cross_entropy(v[None, :a], anatomy[(row, *index)][None]))
            part.append(F.cross_entropy(v[None, a + len(FINDINGS) :], parts[(row, *index)][None]))
            for f in range(len(FINDINGS)):
                if not (f in taken and taken[f][tuple(index)]):
                    negative.append(v[a + f].sigmoid() ** 2 * F.softplus(v[a + f]))
    return (
        torch.stack(organ).mean()
        + 0.3 * torch.stack(part).mean()
        + 2 * torch.stack(positive).sum() / count
        + torch.stack(negative).sum() / (40.0 * len(found))
    )


def test_the_loss_and_its_gradient_against_a_plain_one() -> None:
    torch.manual_seed(0)
    network = VoxelNetwork(CONFIG)
    with torch.no_grad():
        network.head.weight.normal_(0, 1)
        network.head.bias.normal_(0, 1)  # type: ignore[union-attr]
    batch = _batch()
    torch.manual_seed(7)
    kept = (batch[1] > 0) | (torch.rand(batch[1].shape) < 0.1)  # one in ten of the outside, as drawn
    for row, masks in enumerate(batch[3]):
        for _, mask in masks:
            kept[row] |= mask
    torch.manual_seed(7)
    losses = voxel_loss(network, batch)
    gradients = torch.autograd.grad(losses["loss"], list(network.parameters()))
    network.zero_grad()
    for module in network.modules():  # the same batch statistics once more
        if isinstance(module, torch.nn.BatchNorm3d):
            module.reset_running_stats()
    plain = _plain_loss(network(batch[0])[0], batch, kept)
    assert losses["loss"].item() == pytest.approx(plain.item(), rel=1e-5)
    expected = torch.autograd.grad(plain, list(network.parameters()))
    for one, other in zip(gradients, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    total = losses["organ"] + 0.3 * losses["part"] + 2 * losses["positive"] + losses["negative"]
    assert losses["loss"].item() == pytest.approx(total.item())


def test_a_crop_without_findings_has_a_loss() -> None:
    torch.manual_seed(0)
    network = VoxelNetwork(CONFIG)
    hu, anatomy, parts, _ = _batch()
    losses = voxel_loss(network, (hu, anatomy, parts, [[], []]))
    losses["loss"].backward()
    assert losses["positive"].item() == 0 and losses["negative"].item() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_focal_derivative() -> None:
    x = torch.linspace(-8, 8, 41, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_FocalNegative.apply, (x,))
    expected = (F.softplus(x) * x.sigmoid().square()).sum()
    assert _FocalNegative.apply(x).item() == pytest.approx(expected.item())
