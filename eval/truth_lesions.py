"""Error of every quantity of lesions, lungs, body and change against shapes whose value is known by formula.

    python eval/truth_lesions.py [--n 200] [--name truth_lesions]

Each sample draws a shape, its size, its place between the voxels, its tilt, and one of three grids, paints it with
partial volume and noise where HU matter, measures it with the library's own functions, and compares. The result gives
for each quantity the number measured and omitted, the mean, the mean absolute and the worst error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from radvlm.quantify import measure_scan
from radvlm.quantify.texture import TEN_TO_NINETY
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.study import Study
from radvlm.types.volume import Volume

SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (0.8, 0.8, 1.5))
Pair = dict[str, tuple[float, float | None]]  # quantity -> (truth, measured or None)


def thomsen_area(a: float, b: float, c: float) -> float:
    """Surface of an ellipsoid with semi-axes a, b, c within 1.1 % (Thomsen's formula)."""
    p = 1.6075
    return float(4 * np.pi * (((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3) ** (1 / p))


class Scene:
    """A grid with points in mm; sub-voxel painting of anything given by a function of position."""

    def __init__(
        self,
        extent_mm: float | tuple[float, float, float],
        spacing: tuple[float, float, float],
        rng: np.random.Generator,
    ) -> None:
        extents = (extent_mm,) * 3 if isinstance(extent_mm, (int, float)) else extent_mm
        self.spacing, self.rng = spacing, rng
        self.shape = tuple(int(np.ceil(e / s)) + 1 for e, s in zip(extents, spacing, strict=True))
        middle = [(n - 1) * s / 2 for n, s in zip(self.shape, spacing, strict=True)]
        self.center = np.array(middle) + rng.uniform(-0.5, 0.5, 3) * spacing
        self.geometry = Geometry(self.shape, np.diag([*spacing, 1.0]))  # type: ignore[arg-type]

    def share(
        self,
        inside: Callable[[np.ndarray], np.ndarray],
        step_mm: float = 1.0,
        at: np.ndarray | None = None,
        reach_mm: float = 1e3,
    ) -> np.ndarray:
        """Mean of ``inside`` (0 to 1, of (..., 3) mm relative to the center) over each voxel, (I, J, K).

        Only voxels within ``reach_mm`` of ``at`` along each axis are asked; the others are 0.
        """
        parts = [max(1, int(np.ceil(s / step_mm))) for s in self.spacing]
        middle = self.center + (0 if at is None else at)
        low = [max(0, int((m - reach_mm) / s)) for m, s in zip(middle, self.spacing, strict=True)]
        high = [min(n, int((m + reach_mm) / s) + 2) for n, m, s in zip(self.shape, middle, self.spacing, strict=True)]
        whole = np.zeros(self.shape)
        total = np.zeros([b - a for a, b in zip(low, high, strict=True)])
        for i in range(parts[0]):
            for j in range(parts[1]):
                for k in range(parts[2]):
                    shift = [((q + 0.5) / p - 0.5) * s for q, p, s in zip((i, j, k), parts, self.spacing, strict=True)]
                    axes = [
                        np.arange(a, b) * s + d - c
                        for a, b, s, d, c in zip(low, high, self.spacing, shift, self.center, strict=True)
                    ]
                    total += inside(np.stack(np.meshgrid(*axes, indexing="ij"), -1))
        whole[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = total / np.prod(parts)
        return whole

    def noise(self, sd: float, width_mm: float = 0.6) -> np.ndarray:
        from scipy.ndimage import gaussian_filter

        field = gaussian_filter(self.rng.normal(size=self.shape), [width_mm / s for s in self.spacing])
        return field * (sd / field.std()) if sd else field * 0

    def measure(self, masks: dict[str, np.ndarray], hu: np.ndarray | None = None, study: Study | None = None) -> Any:
        layers = tuple(m.astype(np.uint8) for m in masks.values())
        places = {n: LabelPlace(i, 1) for i, n in enumerate(masks)}
        volume = None if hu is None else Volume(np.round(hu).astype(np.int16), self.geometry, study or Study())
        return measure_scan(volume, Segmentation(layers, places, frozenset(), self.geometry))


def value(record: Any, quantity: str) -> float | None:
    found = record.measurement(quantity)
    return None if found is None else found.value


def rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def spacing_of(rng: np.random.Generator) -> tuple[float, float, float]:
    return SPACINGS[int(rng.integers(len(SPACINGS)))]


def lesion_shape(rng: np.random.Generator) -> Pair:
    """A tilted ellipsoid of 10 to 40 mm."""
    radii = np.sort(rng.uniform(5, 20, 3))[::-1]
    turn, scene = rotation(rng), Scene(2 * float(radii[0]) + 8, spacing_of(rng), rng)
    mask = scene.share(lambda x: (((x @ turn) / radii) ** 2).sum(-1) <= 1, 3) >= 0.5
    found = scene.measure({"liver_lesion": mask}).lesions[0]
    a, b, c = (float(r) for r in radii)
    ball = (36 * np.pi * (4 / 3 * np.pi * a * b * c) ** 2) ** (1 / 3)
    return {
        "sphericity": (ball / thomsen_area(a, b, c), value(found, "sphericity")),
        "elongation": (b / a, value(found, "elongation")),
        "flatness": (c / a, value(found, "flatness")),
        "solidity": (1.0, value(found, "solidity")),
    }


def lesion_texture(rng: np.random.Generator) -> Pair:
    """A ball in a liver with a blurred edge, texture inside, and noise everywhere."""
    from scipy.special import ndtr

    radius, blur = float(rng.uniform(7, 14)), float(rng.uniform(0.05, 2.5))
    noise, unevenness = float(rng.uniform(5, 20)), float(rng.uniform(0, 30))
    step = float(rng.choice([-1, 1]) * rng.uniform(40, 90))
    scene = Scene(2 * radius + 30, spacing_of(rng), rng)
    share = scene.share(lambda x: ndtr((radius - np.sqrt((x**2).sum(-1))) / blur))
    mask = share >= 0.5
    hu = 100 + step * share + scene.noise(noise) + share * scene.noise(1.0, 1.5) * unevenness
    found = scene.measure({"liver": np.ones(scene.shape, bool), "liver_lesion": mask}, hu).lesions[0]
    return {
        "edge_width": (TEN_TO_NINETY * blur, value(found, "edge_width")),
        "noise_hu": (noise, value(found, "noise_hu")),
        "heterogeneity": (unevenness, value(found, "heterogeneity")),
        "contrast_to_host": (step, value(found, "contrast_to_host")),
    }


def nodule(rng: np.random.Generator) -> Pair:
    """A part-solid nodule (a solid ball within ground glass) beside a flat pleura, with vessels that end on it."""
    radius, spacing = float(rng.uniform(4, 10)), spacing_of(rng)
    solid, gap = radius * float(rng.uniform(0.3, 0.8)), float(rng.uniform(0, 15))
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    scene = Scene(2 * radius + 42, spacing, rng)
    distance = lambda x: np.sqrt((x**2).sum(-1))  # noqa: E731
    glass, core = scene.share(lambda x: distance(x) <= radius), scene.share(lambda x: distance(x) <= solid)
    wall = scene.share(lambda x: x @ normal >= radius + gap, 3)
    directions = [d for d in np.eye(3) * rng.choice([-1, 1], 3)[:, None] if d @ normal < 0.5]
    count = int(rng.integers(0, len(directions) + 1))
    vessels = np.zeros(scene.shape, bool)
    for d in directions[:count]:
        vessels |= (
            scene.share(
                lambda x, d=d: (
                    (x @ d > 0) & (x @ d < radius + 15) & (((x - (x @ d)[..., None] * d) ** 2).sum(-1) <= 1.8**2)
                ),
                3,
            )
            >= 0.5
        )
    mask = glass >= 0.5
    vessels &= ~mask
    hu = -850 + 300 * glass + 580 * core + 900 * wall + scene.noise(15)
    masks = {"lung_right": (wall < 0.5) & ~mask & ~vessels, "lung_nodule": mask}
    if vessels.any():
        masks["lung_vessels"] = vessels
    found = scene.measure(masks, hu).lesions[0]
    touching = value(found, "vessels_touching") if vessels.any() else None
    return {
        "mean_diameter": (2 * radius, value(found, "mean_diameter")),
        "solid_diameter": (2 * solid, value(found, "solid_diameter")),
        "distance_to_pleura": (gap, value(found, "distance_to_pleura")),
        "vessels_touching": (float(count), touching),
    }


def neighbor(rng: np.random.Generator) -> Pair:
    """A ball and a larger one beside it, apart or in contact."""
    radius, other, gap = float(rng.uniform(5, 12)), float(rng.uniform(15, 30)), float(rng.uniform(0, 4.5))
    direction = rotation(rng)[0]
    scene = Scene(2 * radius + 24, spacing_of(rng), rng)
    mask = scene.share(lambda x: (x**2).sum(-1) <= radius**2) >= 0.5
    beside = scene.share(lambda x: ((x - direction * (radius + gap + other)) ** 2).sum(-1) <= other**2) >= 0.5
    found = scene.measure({"liver_lesion": mask, "stomach": beside & ~mask}).lesions[0]
    near = next((n.distance_mm for n in found.neighbors if n.structure == "stomach"), None)
    return {"distance_to_neighbor": (gap, near)}


def organ_length(rng: np.random.Generator) -> Pair:
    """A tilted ellipsoid of the size of a kidney."""
    radii = np.array([float(rng.uniform(45, 65)), float(rng.uniform(22, 32)), float(rng.uniform(20, 28))])
    turn, scene = rotation(rng), Scene(2 * float(radii[0]) + 8, spacing_of(rng), rng)
    mask = scene.share(lambda x: (((x @ turn) / radii) ** 2).sum(-1) <= 1, 3) >= 0.5
    found = scene.measure({"kidney_right": mask}).structure("kidney_right")
    return {"length": (2 * float(radii[0]), value(found, "length"))}


def chest(rng: np.random.Generator) -> Pair:
    """Two ellipsoid lungs, a heart between them, layered fluid behind, emphysema, a trachea."""
    spacing = (2.0, 2.0, 1.5)
    half, deep, high = float(rng.uniform(55, 70)), float(rng.uniform(70, 90)), 70.0
    apart, beats = float(rng.uniform(55, 70)) + 12, float(rng.uniform(45, 75))
    level = float(rng.uniform(-0.9, 0.6)) * deep
    scene = Scene((2 * (apart + half) + 12, 2 * deep + 10, 2 * high + 10), spacing, rng)

    def lung(side: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: (((x - [side * apart, 0, 0]) / [half, deep, high]) ** 2).sum(-1) <= 1

    fluid_right = scene.share(lambda x: lung(1)(x) & (x[..., 1] < level), 3) >= 0.5
    right = (scene.share(lung(1), 3) >= 0.5) & ~fluid_right
    left = scene.share(lung(-1), 3) >= 0.5
    heart = (
        scene.share(lambda x: (np.abs(x[..., 0]) <= beats) & (np.abs(x[..., 1]) <= 30) & (np.abs(x[..., 2]) <= 40), 3)
        >= 0.5
    )
    share = float(rng.uniform(0, 30))
    hu = np.full(scene.shape, -860.0) + scene.noise(5)
    hu[left & (rng.uniform(size=scene.shape) < share / 100)] = -980
    masks = {"lung_right": right, "lung_left": left, "heart": heart}
    if fluid_right.any():
        masks["pleural_effusion_right"] = fluid_right
    found = scene.measure(masks, hu, Study(kernel="B30f", slice_thickness_mm=1.5))
    depth = percent = None
    fluid = found.structure("pleural_effusion_right")
    if fluid is not None:
        depth, percent = value(fluid, "depth"), value(fluid, "fraction")
    return {
        "cardiothoracic_ratio": (
            2 * beats / (2 * (apart + half)),
            value(found.structure("heart"), "cardiothoracic_ratio"),
        ),
        "effusion_depth": (level + deep, depth),
        "effusion_fraction": (100 * (level + deep) / (2 * deep), percent),
        "emphysema_index": (share, value(found.structure("lung_left"), "emphysema_index")),
    }


def body(rng: np.random.Generator) -> Pair:
    """An elliptic ring of muscle around L3, with fat streaks and noise; a trachea; pericardial fluid of known width."""
    spacing = spacing_of(rng)
    scene = Scene((180, 150, 34), spacing, rng)
    outer = np.array([float(rng.uniform(70, 85)), float(rng.uniform(55, 70))])
    inner = outer - rng.uniform(8, 16)
    ring = scene.share(lambda x: ((x[..., :2] / outer) ** 2).sum(-1) <= 1, 3)
    ring -= scene.share(lambda x: ((x[..., :2] / inner) ** 2).sum(-1) <= 1, 3)
    bone = scene.share(lambda x: ((x[..., :2] ** 2).sum(-1) <= 20**2) & (np.abs(x[..., 2]) <= 13), 3) >= 0.5
    hu = -100 + 155 * ring + scene.noise(10)
    found = scene.measure({"vertebrae_L3": bone, "skeletal_muscle": ring >= 0.5}, hu)
    true_cm2 = float(np.pi * (outer.prod() - inner.prod())) / 100
    area = value(found.structure("skeletal_muscle"), "area_l3")
    return {"area_l3_cm2": (true_cm2, None if area is None else area / 100)}


def tubes(rng: np.random.Generator) -> Pair:
    """A trachea of elliptic section with a narrow part, and a shell of pericardial fluid."""
    spacing = spacing_of(rng)
    scene = Scene((70, 70, 80), spacing, rng)
    wide, deep = float(rng.uniform(6, 11)), float(rng.uniform(7, 11))
    tight = float(rng.uniform(0.6, 0.9))
    tube = (
        scene.share(
            lambda x: (
                (
                    (x[..., :2] / (np.array([wide, deep]) * (1 - (1 - tight) * np.exp(-((x[..., 2:] / 12) ** 2))))) ** 2
                ).sum(-1)
                <= 1
            ),
            1.5,
        )
        >= 0.5
    )
    tube[:, :, :2] = tube[:, :, -2:] = False
    found = scene.measure({"trachea": tube}).structure("trachea")
    radius, width = float(rng.uniform(20, 26)), float(rng.uniform(4, 9))
    length = lambda x: np.sqrt((x**2).sum(-1))  # noqa: E731
    shell = scene.share(lambda x: (length(x) >= radius) & (length(x) <= radius + width), 1.5) >= 0.5
    fluid = scene.measure({"pericardial_effusion": shell}).structure("pericardial_effusion")
    return {
        "minimum_area": (np.pi * wide * deep * tight**2, value(found, "minimum_area")),
        "tracheal_index": (wide / deep, value(found, "tracheal_index")),
        "thickness": (width, value(fluid, "thickness")),
    }


def growth(rng: np.random.Generator) -> Pair:
    """A lesion that grows in a patient who lies differently: pairing, growth, doubling time, error of alignment."""
    from radvlm.workflows.compare_studies import compare

    organs = (
        "liver",
        "spleen",
        "kidney_right",
        "kidney_left",
        "pancreas",
        "aorta",
        "vertebrae_L1",
        "vertebrae_L3",
        "adrenal_gland_left",
        "adrenal_gland_right",
        "heart",
    )
    places = rng.uniform(-55, 55, (len(organs), 3))
    while min(np.linalg.norm(places[a] - places[b]) for a in range(len(organs)) for b in range(a)) < 22:
        places = rng.uniform(-58, 58, (len(organs), 3))
    radii = rng.uniform(7, 9, (len(organs), 3))
    before, factor, days = float(rng.uniform(5, 7)), float(rng.uniform(0.6, 1.6)), float(rng.uniform(30, 365))
    offset = rng.uniform(-3, 3, 3)
    turn = np.eye(3)
    for axis in range(3):
        angle, (a, b) = np.radians(rng.uniform(-8, 8)), [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    shift = rng.uniform(-15, 15, 3)
    numbers = []
    for size, matrix, move in ((before, np.eye(3), np.zeros(3)), (before * factor, turn, shift)):
        scene = Scene(200, (2.0, 2.0, 2.0), rng)
        masks = {}
        for name, place, radius in zip(organs, places, radii, strict=True):
            at = matrix @ place + move
            masks[name] = (
                scene.share(lambda x, at=at, r=radius, m=matrix: (((x - at) @ m / r) ** 2).sum(-1) <= 1, 3, at, 10)
                >= 0.5
            )
        at = matrix @ (places[0] + offset) + move
        masks["liver_lesion"] = (
            scene.share(lambda x, at=at, s=size: ((x - at) ** 2).sum(-1) <= s**2, 1.0, at, 14) >= 0.5
        )
        numbers.append(scene.measure(masks))
    found = compare(numbers[1], numbers[0], days=days)
    pair = next((c for c in found.changes if c.current and c.prior), None)
    rate = days * np.log(2) / (3 * np.log(factor))
    return {
        "paired": (1.0, float(pair is not None)),
        "growth_mm": (2 * before * (factor - 1), None if pair is None else pair.change_mm),
        "doublings_per_year": (
            365 / rate,
            None if pair is None or pair.doubling_days is None else 365 / pair.doubling_days,
        ),
        "alignment_error": (0.0, None if pair is None else pair.distance_mm),
    }


SAMPLERS = {
    "shape": lesion_shape,
    "texture": lesion_texture,
    "nodule": nodule,
    "neighbor": neighbor,
    "organ": organ_length,
    "chest": chest,
    "body": body,
    "tubes": tubes,
    "growth": growth,
}


def evaluate(n: int, names: tuple[str, ...] = tuple(SAMPLERS)) -> dict[str, dict[str, Any]]:
    """Per quantity: measured, omitted, mean error, mean absolute error, worst error, range of the truth."""
    pairs: dict[str, list[tuple[float, float | None]]] = {}
    for number in range(n):
        add_sample(pairs, number, names)
    return summary(pairs)


def add_sample(
    pairs: dict[str, list[tuple[float, float | None]]], number: int, names: tuple[str, ...] = tuple(SAMPLERS)
) -> None:
    """Sample ``number`` of every sampler; it is the same whichever others were drawn."""
    for name in names:
        for quantity, pair in SAMPLERS[name](np.random.default_rng([number, list(SAMPLERS).index(name)])).items():
            pairs.setdefault(quantity, []).append(pair)


def summary(pairs: dict[str, list[tuple[float, float | None]]]) -> dict[str, dict[str, Any]]:
    table = {}
    for quantity, found in pairs.items():
        held = np.array([(t, m) for t, m in found if m is not None]).reshape(-1, 2)
        error = held[:, 1] - held[:, 0]
        table[quantity] = (
            {
                "measured": len(held),
                "omitted": len(found) - len(held),
                "truth_from": round(float(held[:, 0].min()), 3),
                "truth_to": round(float(held[:, 0].max()), 3),
                "mean_error": round(float(error.mean()), 4),
                "mean_absolute_error": round(float(np.abs(error).mean()), 4),
                "worst_error": round(float(error[np.abs(error).argmax()]), 4),
            }
            if len(held)
            else {"measured": 0, "omitted": len(found)}
        )
    return table


WORDS = {
    "sphericity": ("sphericity, ellipsoids of 10 to 40 mm", "1"),
    "elongation": ("elongation", "1"),
    "flatness": ("flatness", "1"),
    "solidity": ("solidity of convex shapes", "1"),
    "edge_width": ("width of a blurred edge", "mm"),
    "noise_hu": ("noise of the host", "HU"),
    "heterogeneity": ("unevenness beyond the noise", "HU"),
    "contrast_to_host": ("contrast to the host", "HU"),
    "mean_diameter": ("mean diameter of nodules", "mm"),
    "solid_diameter": ("mean diameter of the solid part", "mm"),
    "distance_to_pleura": ("distance to the pleura", "mm"),
    "vessels_touching": ("vessels that touch", "1"),
    "distance_to_neighbor": ("gap to a neighbor", "mm"),
    "length": ("length of a tilted kidney", "mm"),
    "cardiothoracic_ratio": ("cardiothoracic ratio", "1"),
    "effusion_depth": ("depth of an effusion", "mm"),
    "effusion_fraction": ("the same of the hemithorax", "percent"),
    "emphysema_index": ("emphysema index", "percent"),
    "area_l3_cm2": ("muscle area at L3", "cm2"),
    "minimum_area": ("smallest area of the trachea", "mm2"),
    "tracheal_index": ("tracheal index", "1"),
    "thickness": ("thickness of pericardial fluid", "mm"),
    "paired": ("lesions paired in two scans", "1"),
    "growth_mm": ("growth of a lesion", "mm"),
    "doublings_per_year": ("volume doublings a year", "1"),
    "alignment_error": ("error of the alignment", "mm"),
}
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "measurements.md"
MARKS = ("<!-- measured: truth_lesions -->\n", "<!-- /measured -->")


def docs_table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = ["| quantity | n | omitted | truth | mean error | mean absolute | worst |", "|---|---|---|---|---|---|---|"]
    for quantity, row in result["quantities"].items():
        words, unit = WORDS[quantity]
        unit = "" if unit == "1" else f" {unit}"
        if row["measured"]:
            lines.append(
                f"| {words} | {row['measured']} | {row['omitted']} | {row['truth_from']:.3g} to "
                f"{row['truth_to']:.3g}{unit} | {row['mean_error']:+.2g} | {row['mean_absolute_error']:.2g} | "
                f"{row['worst_error']:+.2g} |"
            )
    return "\n".join(lines) + "\n"


def write_docs(path: Path) -> None:
    """Put the table of a result file between its marks in docs/measurements.md."""
    import json

    text = DOCUMENT.read_text(encoding="utf-8")
    start = text.index(MARKS[0]) + len(MARKS[0])
    stop = text.index(MARKS[1], start)
    table = docs_table(json.loads(path.read_text(encoding="utf-8")))
    DOCUMENT.write_text(text[:start] + table + text[stop:], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--name", default="truth_lesions")
    parser.add_argument("--docs", action="store_true", help="only write the table of docs/measurements.md again")
    options = parser.parse_args()
    if options.docs:
        write_docs(RESULTS / f"{options.name}.json")
        return
    pairs: dict[str, list[tuple[float, float | None]]] = {}
    for number in range(options.n):
        add_sample(pairs, number)
        if number + 1 in (25, 50, 100, options.n):  # what is known so far, should it be stopped
            result = {"spacings_mm": [list(s) for s in SPACINGS], "quantities": summary(pairs)}
            write_docs(write_result(options.name, number + 1, result))


if __name__ == "__main__":
    main()
