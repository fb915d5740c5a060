"""What to make: the parameters that are also the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from radvlm.errors import InputError
from radvlm.phantom.hu import phase_index
from radvlm.phantom.kinds import LESION_KINDS, lesion_kind
from radvlm.types.anatomy import structure

#: Region -> lowest and highest height in the patient's frame (mm; 0 is the T12/L1 disc).
REGIONS: Mapping[str, tuple[float, float]] = {
    "chest": (5.0, 322.0),
    "abdomen": (-215.0, 115.0),
    "abdomen-pelvis": (-378.0, 115.0),
    "chest-abdomen-pelvis": (-378.0, 322.0),
}
#: Field of view in the axial plane, square, mm.
IN_PLANE_FOV_MM = 420.0
#: Largest rotation of the grid about one axis; beyond it the grid would no longer be in RAS+ order.
MAX_ROTATION_DEG = 30.0
MAX_VOXELS = 1024 * 1024 * 1200


@dataclass(frozen=True)
class LesionSpec:
    """One abnormality to put in.

    Attributes:
        kind: a key of ``LESION_KINDS``.
        size: in the unit that the kind states (mm of largest diameter for focal lesions, mL, fraction of
            height lost ...); None draws one from the kind's range.
        side: ``left`` or ``right`` for paired hosts; None draws one.
        location: structure name it must lie in (``liver_segment_6``, ``pancreas_head``,
            ``lung_upper_lobe_right``, ``vertebrae_L1``); None draws one.
    """

    kind: str
    size: float | None = None
    side: str | None = None
    location: str | None = None

    def __post_init__(self) -> None:
        kind = lesion_kind(self.kind)
        if self.side not in (None, "left", "right"):
            raise InputError('the side of a lesion is "left", "right" or None', repr(self.side))
        if self.side is not None and not kind.paired:
            raise InputError(f"a side can be chosen only for paired hosts, and {self.kind} has none", repr(self.side))
        if self.size is not None:
            low, high = kind.limits
            if not (isinstance(self.size, (int, float)) and low <= self.size <= high):
                raise InputError(
                    f"the size of {self.kind} ({kind.size_means}) lies between {low:g} and {high:g}", repr(self.size)
                )
        if self.location is not None:
            structure(self.location)
            if self.location not in kind.locations:
                raise InputError(
                    f"{self.kind} lies in one of {', '.join(kind.locations) or 'no named place'}", repr(self.location)
                )
            side = structure(self.location).side
            if self.side is not None and side and side != self.side:
                raise InputError("side and location of a lesion agree", f"{self.side}, {self.location}")


@dataclass(frozen=True)
class PhantomSpec:
    """Parameters of a phantom. Equal specs give equal voxels.

    Attributes:
        seed: 0 or larger; anatomy, lesions and noise have independent streams drawn from it.
        region: key of ``REGIONS``.
        shape: voxels (right-left, anterior-posterior, superior-inferior), before ``crop``; None derives it.
        spacing_mm: one per axis; None derives it from the region and ``shape``. With neither: 2.5 x 2.5 x 2.5 mm.
        crop: kept share of each axis, (low, high) in 0..1: truncation.
        stored_axes: axis codes that a file of this scan would have (``LPS``); the arrays are RAS+ all the same.
        rotation_deg: rotation of the grid about its center (x, y, z): an oblique acquisition. The patient and
            the truth stay where they are.
        phase: non-contrast, arterial, portal venous or delayed.
        noise_hu: standard deviation of the (correlated) noise.
        streak_hu: amplitude of horizontal streaks through bone-rich slices.
        sex: F or M. age_years: 18 to 100; sets the trabecular bone.
        lesions: LesionSpec tuple, or a mapping kind -> count.
        healthy: True refuses lesions: a declared normal.
    """

    seed: int = 0
    region: str = "chest-abdomen-pelvis"
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    crop: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] = ((0, 1), (0, 1), (0, 1))
    stored_axes: str = "LPS"
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    phase: str = "portal venous"
    noise_hu: float = 12.0
    streak_hu: float = 0.0
    sex: str = "M"
    age_years: float = 55.0
    lesions: tuple[LesionSpec, ...] | Mapping[str, int] = ()
    healthy: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InputError("a seed is a whole number from 0", repr(self.seed))
        if self.region not in REGIONS:
            raise InputError(f"a region is one of {', '.join(REGIONS)}", repr(self.region))
        phase_index(self.phase)
        if self.sex not in ("F", "M"):
            raise InputError('the sex of a phantom is "F" or "M"', repr(self.sex))
        _between("age_years", self.age_years, 18, 100)
        _between("noise_hu", self.noise_hu, 0, 200)
        _between("streak_hu", self.streak_hu, 0, 200)
        if sorted(self.stored_axes.translate(str.maketrans("LPI", "RAS"))) != sorted("RAS"):
            raise InputError("stored_axes names one of R/L, one of A/P and one of S/I", repr(self.stored_axes))
        if len(self.rotation_deg) != 3:
            raise InputError("rotation_deg has three angles", repr(self.rotation_deg))
        for angle in self.rotation_deg:
            _between("rotation_deg", angle, -MAX_ROTATION_DEG, MAX_ROTATION_DEG)
        if len(self.crop) != 3 or any(len(c) != 2 or not 0 <= c[0] < c[1] <= 1 for c in self.crop):
            raise InputError("crop has three (low, high) pairs with 0 <= low < high <= 1", repr(self.crop))
        self._check_grid()
        object.__setattr__(self, "lesions", self._lesion_tuple())
        if self.healthy and self.lesions:
            raise InputError("a healthy phantom has no lesions", f"{len(self.lesions)} lesions")

    def _check_grid(self) -> None:
        if self.shape is not None:
            if len(self.shape) != 3 or any(not isinstance(n, int) or n < 1 for n in self.shape):
                raise InputError("shape has three positive whole numbers", repr(self.shape))
            if math.prod(self.shape) > MAX_VOXELS:
                raise InputError("a phantom has at most 1.2 billion voxels", repr(self.shape))
        if self.spacing_mm is not None:
            if len(self.spacing_mm) != 3:
                raise InputError("spacing_mm has three values", repr(self.spacing_mm))
            for value in self.spacing_mm:
                _between("spacing_mm", value, 0.2, 20)

    def _lesion_tuple(self) -> tuple[LesionSpec, ...]:
        if isinstance(self.lesions, Mapping):
            bad = {k: n for k, n in self.lesions.items() if not isinstance(n, int) or n < 0}
            if bad:
                raise InputError("lesion counts are whole numbers from 0", repr(bad))
            lesions = tuple(LesionSpec(kind) for kind, count in self.lesions.items() for _ in range(count))
        else:
            lesions = tuple(self.lesions)
        if any(not isinstance(lesion, LesionSpec) for lesion in lesions):
            raise InputError("lesions are LesionSpec objects or a mapping kind -> count", repr(lesions)[:80])
        for kind in {lesion.kind for lesion in lesions}:
            entry = LESION_KINDS[kind]
            if entry.sex not in ("", self.sex):
                raise InputError(f"{kind} needs a patient of sex {entry.sex}", self.sex)
        return lesions


def _between(name: str, value: float, low: float, high: float) -> None:
    if not (isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high):
        raise InputError(f"{name} lies between {low:g} and {high:g}", repr(value))
