"""The evidence table against hand-computed values, and the networks around it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from radvlm.errors import InputError
from radvlm.model.tiny.encoder import FEATURES, PyramidConfig, PyramidEncoder, evidence, split_maps

CELL_MM = 12.0  # twice the spacing of 6
ML = CELL_MM**3 / 1000


def _config(made: Any, **other: Any) -> PyramidConfig:
    given: dict[str, Any] = {
        "anatomy": ("outside", "soft_tissue", "liver", "lung"),
        "findings": ("cyst", "nodule"),
        "parents": ("liver", "lung"),
        "parts": ("none", "segment_1"),
        "context": ("liver",),
    }
    return made.config(**{**given, **other})


class Drawn:
    """Maps (1, K, 10, 8, 6) in which every cell is surely of one class, and HU that are even within a cell."""

    def __init__(self, config: PyramidConfig, shape: tuple[int, int, int] = (10, 8, 6)) -> None:
        self.config = config
        n = len(config.anatomy) + len(config.findings) + len(config.parts)
        self.maps = torch.zeros(1, n, *shape)
        self.maps[:, 0] = 40.0
        self.maps[:, len(config.anatomy) : len(config.anatomy) + len(config.findings)] = -40.0
        self.maps[:, len(config.anatomy) + len(config.findings)] = 40.0
        self.hu = torch.full((1, 1, *(2 * s for s in shape)), -1000.0)

    def put(self, name: str, box: tuple[slice, slice, slice], hu: float | None = None, logit: float = 40.0) -> None:
        config = self.config
        if name in config.anatomy:
            self.maps[0, : len(config.anatomy)][(slice(None), *box)] = 0
            self.maps[0, config.anatomy.index(name)][box] = logit
        elif name in config.findings:
            self.maps[0, len(config.anatomy) + config.findings.index(name)][box] = logit
        else:
            first = len(config.anatomy) + len(config.findings)
            self.maps[0, first:][(slice(None), *box)] = 0
            self.maps[0, first + config.parts.index(name)][box] = logit
        if hu is not None:
            self.hu[0, 0][tuple(slice(2 * s.start, 2 * s.stop) for s in box)] = hu

    def row(self, name: str) -> dict[str, float]:
        table = evidence(self.maps, self.hu, self.config)
        assert table.shape == (1, len(self.config.classes), self.config.columns)
        names = (*FEATURES, *self.config.parts)
        return dict(zip(names, table[0, self.config.classes.index(name)].tolist(), strict=True))


BODY = (slice(1, 9), slice(1, 7), slice(0, 6))


@pytest.fixture
def drawn(made: Any) -> Drawn:
    """A body of 8 x 6 x 6 cells, its middle at x 4.5, y 3.5; liver on its right, a cyst in it, a lung on the left."""
    out = Drawn(_config(made))
    out.put("soft_tissue", BODY, 40)
    out.put("liver", (slice(6, 9), slice(2, 5), slice(1, 4)), 100)
    out.put("lung", (slice(1, 3), slice(2, 4), slice(4, 6)), -800)
    out.put("cyst", (slice(7, 8), slice(3, 5), slice(1, 3)), 10)
    return out


def test_an_organ_by_hand(drawn: Drawn) -> None:
    liver = drawn.row("liver")
    assert liver["log_ml"] == pytest.approx(math.log1p(27 * ML), rel=1e-4)
    # 27 cells: 4 of them 10 HU, 23 of 100
    mean = (23 * 1.0 + 4 * 0.1) / 27
    assert liver["mean_hu"] == pytest.approx(mean, abs=1e-4)
    assert liver["sd_hu"] == pytest.approx(math.sqrt((23 + 4 * 0.01) / 27 - mean**2), abs=1e-4)
    assert liver["x"] == pytest.approx((7 - 4.5) * CELL_MM / 100, abs=1e-3), "higher x is the patient's right"
    assert liver["y"] == pytest.approx((3 - 3.5) * CELL_MM / 100, abs=1e-3), "lower y is posterior"
    assert liver["z"] == pytest.approx(2 / 5, abs=1e-4)
    assert liver["log_ml_right"] == pytest.approx(liver["log_ml"], rel=1e-4)
    assert liver["log_ml_left"] == pytest.approx(0, abs=1e-3)
    assert liver["log_slice_mm2"] == pytest.approx(math.log1p(9 * CELL_MM**2), rel=1e-4)
    assert liver["extent_z"] == pytest.approx(math.sqrt(2 / 3) * CELL_MM / 100, abs=1e-4)  # z 1, 2, 3
    assert liver["log_pieces"] == pytest.approx(math.log(2))
    assert liver["peak_right"] == liver["peak_logit"] > 5 > -5 > liver["peak_left"]
    lung = drawn.row("lung")
    assert lung["x"] == pytest.approx((1.5 - 4.5) * CELL_MM / 100, abs=1e-3)
    assert lung["log_ml_left"] == pytest.approx(math.log1p(8 * ML), rel=1e-4) and lung["peak_left"] > lung["peak_right"]
    assert lung["mean_hu"] == pytest.approx(-8, abs=1e-3)


def test_a_finding_by_hand(drawn: Drawn) -> None:
    """Of a finding every cell weighs the square of its probability."""
    config = drawn.config
    cell = (slice(8, 9), slice(3, 4), slice(5, 6))
    drawn.put("cyst", cell, 70, logit=0.0)  # probability 0.5, weight 0.25
    cyst = drawn.row("cyst")
    assert cyst["log_ml"] == pytest.approx(math.log1p(4.25 * ML), rel=1e-4)
    assert cyst["mean_hu"] == pytest.approx((4 * 0.1 + 0.25 * 0.7) / 4.25, abs=1e-4)
    assert cyst["x"] == pytest.approx(((4 * 7 + 0.25 * 8) / 4.25 - 4.5) * CELL_MM / 100, abs=1e-3)
    assert cyst["peak_logit"] == pytest.approx(40) and cyst["peak_left"] == pytest.approx(-40)
    assert cyst["log_pieces"] == pytest.approx(math.log(2)), "0.25 is below four tenths of the peak"
    drawn.put("cyst", cell, logit=1.0)  # weight 0.534
    assert drawn.row("cyst")["log_pieces"] == pytest.approx(math.log(3))
    nothing = drawn.row("nodule")
    assert nothing["log_ml"] == pytest.approx(0, abs=1e-4) and nothing["log_pieces"] == 0
    assert nothing["peak_logit"] == pytest.approx(-40)
    assert all(math.isfinite(v) for v in nothing.values())
    assert config.classes == (*config.anatomy, *config.findings)


def test_pieces_touch_at_corners(drawn: Drawn) -> None:
    for n, box in enumerate(((1, 1, 1), (2, 2, 2), (5, 5, 1), (5, 5, 3))):
        drawn.put("nodule", tuple(slice(v, v + 1) for v in box))  # type: ignore[arg-type]
        expected = (1, 1, 2, 3)[n]
        assert drawn.row("nodule")["log_pieces"] == pytest.approx(math.log1p(expected))


def test_shares_of_parts(drawn: Drawn) -> None:
    drawn.put("segment_1", (slice(7, 8), slice(3, 4), slice(1, 3)))  # half of the cyst
    cyst = drawn.row("cyst")
    assert cyst["segment_1"] == pytest.approx(0.5, abs=1e-4) and cyst["none"] == pytest.approx(0.5, abs=1e-4)
    assert drawn.row("liver")["segment_1"] == pytest.approx(2 / 27, abs=1e-4)


def test_top_logit_lies_between_mean_and_peak(drawn: Drawn) -> None:
    drawn.put("nodule", (slice(2, 3), slice(2, 3), slice(2, 3)), logit=3.0)
    row = drawn.row("nodule")
    assert row["peak_logit"] == pytest.approx(3.0) and row["top_logit"] == pytest.approx((3.0 - 7 * 40) / 8)


def test_a_mirrored_scan_swaps_the_sides(drawn: Drawn) -> None:
    """The middle of the body must not lie on a cell, for that cell is of the right side in both."""
    before = {name: drawn.row(name) for name in ("liver", "cyst", "lung")}
    drawn.maps, drawn.hu = drawn.maps.flip(2), drawn.hu.flip(2)
    for name, old in before.items():
        new = drawn.row(name)
        assert new["x"] == pytest.approx(-old["x"], abs=1e-4)
        for left, right in (("peak_left", "peak_right"), ("log_ml_left", "log_ml_right")):
            assert (new[left], new[right]) == pytest.approx((old[right], old[left]), abs=1e-4)
        for same in ("peak_logit", "log_ml", "mean_hu", "y", "z", "log_pieces", "extent_z"):
            assert new[same] == pytest.approx(old[same], abs=1e-4)


def test_uneven_volumes_average_what_is_there(made: Any) -> None:
    """An odd number of slices leaves half a cell, whose HU are those of its voxels and not of padding."""
    drawn = Drawn(_config(made))
    drawn.put("soft_tissue", BODY, 40)
    drawn.put("liver", (slice(2, 4), slice(2, 4), slice(5, 6)), 100)
    drawn.hu = drawn.hu[..., :-1]
    assert drawn.row("liver")["mean_hu"] == pytest.approx(1.0, abs=1e-4)


def test_metal_and_bad_air_are_clipped(drawn: Drawn) -> None:
    drawn.put("nodule", (slice(2, 3), slice(2, 3), slice(2, 3)), 30000)
    assert drawn.row("nodule")["mean_hu"] == pytest.approx(15, abs=1e-3)


@pytest.mark.parametrize("shape", [(33, 40, 17), (3, 4, 5), (32, 32, 32)])
def test_shapes(made: Any, shape: tuple[int, int, int]) -> None:
    config = _config(made)
    encoder = PyramidEncoder(config).eval()
    hu = torch.randn(2, 1, *shape) * 300
    with torch.no_grad():
        out = encoder(hu)
    half = tuple(-(-n // 2) for n in shape)
    assert out.voxel_logits is not None and out.voxel_logits.shape == (2, 4 + 2 + 2, *half)
    assert [m.shape[1] for m in split_maps(out.voxel_logits, config)] == [4, 2, 2]
    assert out.tokens.shape == (2, 6, config.columns) and out.token_grid == (6, 1, 1)
    assert out.logits("findings").shape == (2, 2) and torch.isfinite(out.logits("findings")).all()
    assert out.embedding is not None and torch.allclose(out.embedding.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(out.probabilities("findings"), out.logits("findings").sigmoid())
    with pytest.raises(InputError, match="Heads: findings"):
        out.logits("phenotypes")


def test_the_batch_changes_nothing(made: Any) -> None:
    torch.manual_seed(1)
    encoder = PyramidEncoder(_config(made)).eval()
    hu = torch.randn(3, 1, 20, 18, 16) * 300
    with torch.no_grad():
        together, alone = encoder(hu), [encoder(hu[n : n + 1]) for n in range(3)]
    for n, one in enumerate(alone):
        assert torch.allclose(together.logits("findings")[n], one.logits("findings")[0], atol=1e-4)
        assert torch.allclose(together.embedding[n], one.embedding[0], atol=1e-4)  # type: ignore[index]


def test_standardization(made: Any) -> None:
    reader = PyramidEncoder(_config(made)).reader
    tables = torch.randn(200, *reader.mean.shape) * 3 + 5
    tables[:, 1, 1] = 7.0  # constant: the spread has a floor
    reader.fit_scale(tables)
    scaled = reader.standardize(tables)
    assert torch.allclose(reader.mean, tables.mean(0)) and reader.scale[1, 1] == pytest.approx(0.05)
    assert scaled.mean(0).abs().max() < 0.05 and scaled[:, 1, 1].abs().max() < 1e-3
    assert (scaled[:, 0].std(0) - 1).abs().max() < 0.05
    assert reader.standardize(tables + 1e9).max() == 6 and reader.standardize(tables - 1e9).min() == -6
    assert {"mean", "scale"} <= set(reader.state_dict()), "kept with the weights"


def test_organ_embeddings_by_hand(made: Any) -> None:
    reader = PyramidEncoder(_config(made)).reader
    shares = torch.randn(3, 2, reader.rest.numel())
    members = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    found = reader.organ_embeddings(shares, members)
    for b in range(3):
        for g, rows in enumerate(([0], [0, 1], [])):
            total = sum((shares[b, f] for f in rows), reader.rest.detach())
            assert torch.allclose(found[b, g], total / total.norm(), atol=1e-6)


def test_a_finding_is_weighed_against_its_rivals_in_the_same_organ_alone(made: Any) -> None:
    config = _config(made, findings=("cyst", "tumor", "nodule"), parents=("liver", "liver", "lung"))
    reader = PyramidEncoder(config).reader.eval()
    table = torch.randn(1, *reader.mean.shape)
    with torch.no_grad():
        before = reader(table)[0][0]
        stronger = table.clone()
        stronger[0, len(config.anatomy) + 1, 0] += 5  # the tumor's peak
        after = reader(stronger)[0][0]
    assert after[0] != before[0], "the cyst has a rival"
    assert after[2] == before[2], "the nodule has not"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": (4, 4)}, "five levels"),
        ({"blocks": (1,) * 6}, "five levels"),
        ({"parents": ("liver",)}, "parent class"),
        ({"parents": ("liver", "knee")}, "knee"),
        ({"context": ("aorta",)}, "aorta"),
    ],
)
def test_bad_configs(made: Any, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _config(made, **change)
