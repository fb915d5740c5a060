"""Centring and whitening learnt from the vectors of an index.

Encoders of CT tend to collapse (one shared mean and a few directions hold nearly all variance), so that raw cosines
of all pairs lie within a hundredth of each other. Text and image vectors of one encoder also sit around two different
means. Each modality is therefore centred by its own mean; the whitening matrix is shared, so that the two stay
comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError

#: Below this many vectors a mean says little; they are left as they are.
FEWEST_FOR_A_MEAN = 32
#: Never less shrinkage than this: directions of hardly any variance would otherwise be blown up to noise.
LEAST_SHRINKAGE = 0.1


@dataclass(frozen=True)
class Transform:
    """x -> unit(matrix @ (x - mean of its modality)).

    Attributes:
        kind: ``none``, ``centre`` or ``whiten``.
        means: modality (``text``, ``image``) -> (D,); a modality that was not seen at build is centred by the other's.
        matrix: (D, D) symmetric, or None.
        shrinkage: weight of the sphere in the covariance (Ledoit and Wolf 2004), 0 to 1; None without whitening.
        n: vectors learnt from.
    """

    kind: str
    means: Mapping[str, np.ndarray]
    matrix: np.ndarray | None = None
    shrinkage: float | None = None
    n: int = 0

    def apply(self, unit: np.ndarray, modality: str) -> np.ndarray:
        """(N, D) unit vectors to (N, D) unit vectors; one that equals the mean becomes zero, like to nothing."""
        out = unit.astype(np.float32, copy=True)
        mean = self.means.get(modality, next(iter(self.means.values()), None))
        if mean is not None:
            out -= mean
        if self.matrix is not None:
            out = out @ self.matrix
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        out /= np.where(norms < 1e-6, np.inf, norms)
        return np.ascontiguousarray(out)

    def save(self, path: Path) -> None:
        arrays = {f"mean_{name}": mean for name, mean in self.means.items()}
        if self.matrix is not None:
            arrays["matrix"] = self.matrix
        arrays["kind"], arrays["n"] = np.array(self.kind), np.array(self.n)
        if self.shrinkage is not None:
            arrays["shrinkage"] = np.array(self.shrinkage)
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Transform:
        try:
            with np.load(path, allow_pickle=False) as data:
                means = {name[5:]: data[name] for name in data.files if name.startswith("mean_")}
                shrinkage = float(data["shrinkage"]) if "shrinkage" in data.files else None
                return cls(
                    str(data["kind"]),
                    means,
                    data["matrix"] if "matrix" in data.files else None,
                    shrinkage,
                    int(data["n"]),
                )
        except (OSError, KeyError, ValueError) as error:
            raise FileFormatError(
                "an index holds its transform", f"{path.name}: {error}", "Build the index again"
            ) from error


def learn(samples: Mapping[str, np.ndarray], kind: str) -> Transform:
    """The transform of unit vectors, {modality: (N, D)}; ``kind`` as in ``IndexSettings.transform``."""
    samples = {name: x for name, x in samples.items() if len(x)}
    n = sum(len(x) for x in samples.values())
    if kind == "none" or (kind == "auto" and n < FEWEST_FOR_A_MEAN) or not samples:
        return Transform("none", {}, n=n)
    means = {name: x.mean(axis=0, dtype=np.float64).astype(np.float32) for name, x in samples.items()}
    dimension = next(iter(means.values())).shape[0]
    if kind == "centre" or (kind == "auto" and n < 2 * dimension):
        return Transform("centre", means, n=n)
    centered = np.concatenate([x.astype(np.float32) - means[name] for name, x in samples.items()]).astype(np.float64)
    covariance = centered.T @ centered / n
    sphere = np.trace(covariance) / dimension
    apart = float(((covariance - sphere * np.eye(dimension)) ** 2).sum())
    noise = float((np.einsum("nd,nd->n", centered, centered) ** 2).sum() / n**2 - (covariance**2).sum() / n)
    shrinkage = float(np.clip(noise / apart if apart > 0 else 1.0, LEAST_SHRINKAGE, 1.0))
    values, directions = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * sphere * np.eye(dimension))
    scale = 1.0 / np.sqrt(np.maximum(values, 1e-12 * max(float(values[-1]), 1e-30)))
    matrix = (directions * scale) @ directions.T  # (D, D), symmetric: closest whitening to the identity
    return Transform("whiten", means, matrix.astype(np.float32), shrinkage, n)
