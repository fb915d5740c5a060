"""What is true of a phantom: parameters, not measurements.

``volume_basis`` says how each volume is known: ``analytic`` (a formula) or ``voxels`` (counted on this grid, for
irregular anatomy, fluid, and what the field of view cuts).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Point = tuple[float, float, float]


@dataclass(frozen=True)
class LesionTruth:
    """One abnormality.

    Attributes:
        id: ``L1`` ... in the order of the spec.
        kind, words: key of ``LESION_KINDS`` and how a radiologist would call it.
        structure: label in the lesion layer; "" when it shows only in the organ.
        host: structure it lies in, "" for none.
        location: liver segment, pancreas part, lobe or vertebra at its center, "" for none.
        side: left, right or "". pole: ``upper pole``, ``interpolar region``, ``lower pole`` of a kidney, or "".
        level: vertebra nearest in height, "" for what fills a cavity.
        size, size_means: the parameter and its meaning with unit.
        center_mm: RAS+ mm; None for what has no single center.
        semi_axes_mm, axes: of the ellipsoid; column a of ``axes`` is the direction of semi-axis a (world). () if none.
        long_axis_mm, short_axis_mm: in the world's axial plane through the center; None when not an ellipsoid.
        diameter_3d_mm: largest diameter in any direction.
        volume_ml, volume_basis: see the module docstring.
        mean_hu: noise-free mean; None when the HU are the organ's own.
        attenuation: hypo-, iso- or hyperattenuating to the host (more than 10 HU apart), "" without a host.
        in_field: ``inside``, ``cut`` or ``outside`` the field of view.
        facts: further (name, value, unit).
    """

    id: str
    kind: str
    words: str
    structure: str
    host: str
    location: str
    side: str
    pole: str
    level: str
    size: float
    size_means: str
    center_mm: Point | None
    semi_axes_mm: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    long_axis_mm: float | None
    short_axis_mm: float | None
    diameter_3d_mm: float | None
    volume_ml: float | None
    volume_basis: str
    mean_hu: float | None
    attenuation: str
    in_field: str
    facts: tuple[tuple[str, float, str], ...] = ()

    def plane_axes_mm(self, normal: tuple[float, float, float]) -> tuple[float, float] | None:
        """Long and short axis in the plane through the center with that normal (world); None if no ellipsoid.

        On an oblique grid the axial slices have another normal than (0, 0, 1).
        """
        return None if not self.axes else plane_axes(np.array(self.axes), self.semi_axes_mm, np.array(normal))


@dataclass(frozen=True)
class StructureTruth:
    """One structure in the field of view. ``hu`` is the noise-free parenchyma, None when it is mixed."""

    name: str
    volume_ml: float
    volume_basis: str
    hu: float | None
    complete: bool


@dataclass(frozen=True)
class PhantomTruth:
    """Everything that is true of one phantom."""

    sex: str
    age_years: float
    phase: str
    healthy: bool
    tilt: tuple[tuple[float, ...], ...]
    trabecular_hu: float
    aorta_mm: float
    structures: tuple[StructureTruth, ...]
    lesions: tuple[LesionTruth, ...]
    spec: dict[str, Any]

    def structure(self, name: str) -> StructureTruth | None:
        return next((s for s in self.structures if s.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        """JSON text, indented; floats in full, so that equal specs give equal text."""
        return json.dumps(self.to_dict(), indent=1)


def plane_axes(axes: np.ndarray, semi: tuple[float, ...], normal: np.ndarray) -> tuple[float, float]:
    """Longest and shortest diameter (mm) of the central section of an ellipsoid by a plane.

    The section of x' A x = 1 is the ellipse of A restricted to the plane; its largest chord perpendicular to
    the long axis is the minor axis.
    """
    n = normal / np.linalg.norm(normal)
    matrix = axes @ np.diag(1 / np.square(np.asarray(semi, dtype=float))) @ axes.T
    first = np.cross(n, (1.0, 0, 0) if abs(n[0]) < 0.9 else (0, 1.0, 0))
    first /= np.linalg.norm(first)
    basis = np.stack([first, np.cross(n, first)], axis=1)
    small, large = np.linalg.eigvalsh(basis.T @ matrix @ basis)
    return 2 / math.sqrt(small), 2 / math.sqrt(large)


def attenuation_words(lesion_hu: float, host_hu: float) -> str:
    if abs(lesion_hu - host_hu) <= 10:
        return "isoattenuating"
    return "hypoattenuating" if lesion_hu < host_hu else "hyperattenuating"
