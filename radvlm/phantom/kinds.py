"""The abnormalities that a phantom can hold: one row a kind, with its own appearance and place.

The table is data (``lesion_kinds.csv``); this module only reads it. Its ``hu`` has the four columns of
``radvlm.phantom.hu``; how a kind is placed and drawn is in ``lesions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from radvlm.errors import InputError
from radvlm.types.anatomy import LIVER_SEGMENTS, LUNG_LOBES, PANCREAS_PARTS, USUAL_LEVELS, structures
from radvlm.types.csv_tables import package_rows

VERTEBRAE = tuple(f"vertebrae_{n}" for n in USUAL_LEVELS[USUAL_LEVELS.index("T4") : USUAL_LEVELS.index("S1")])


@dataclass(frozen=True)
class LesionKind:
    """One row.

    Attributes:
        name: key of ``LESION_KINDS``.
        structure: structure it is labeled as in the lesion layer, ``{side}`` filled in; "" when it shows only
            in the organ itself (steatosis, splenomegaly, aneurysm).
        host: structure it lies in, ``{side}`` filled in; "" for none.
        placement: ``inside`` (an ellipsoid wholly inside the host), ``stone``, ``node``, ``adrenal``, ``vertebra``,
            ``fluid`` (fills part of a cavity) or ``organ`` (changes the anatomy).
        size_means: what ``LesionSpec.size`` is, with its unit.
        typical: range from which an unstated size is drawn. limits: range that is accepted.
        hu: attenuation in the four phases; () when the organ's own changes.
        core: share of the semi-axes filled by a core, and its HU; None for a uniform lesion.
        aspect: smallest ratio of a semi-axis to the largest.
        locations: structures that ``LesionSpec.location`` may name.
        words: how a radiologist would call it.
        region_z: part of the body, (low, high) mm, in which it can be seen; used to pick random kinds.
        sided: it has a side although neither structure nor host names one.
    """

    name: str
    structure: str
    host: str
    placement: str
    words: str
    hu: tuple[float, ...]
    typical: tuple[float, float]
    limits: tuple[float, float]
    size_means: str
    core: tuple[float, tuple[float, ...]] | None
    aspect: float
    locations: tuple[str, ...]
    region_z: tuple[float, float]
    sided: bool

    @property
    def sex(self) -> str:
        """``F`` or ``M`` where its host is an organ of one sex, else ``""``."""
        return structures()[self.host].sex if self.host in structures() else ""

    @property
    def paired(self) -> bool:
        return self.sided or "{side}" in self.structure + self.host

    def mean_hu(self, phase_column: int) -> float:
        """Mean attenuation of the whole lesion without noise: the core counts by its share of the volume."""
        mean = float(self.hu[phase_column])
        if self.core is None:
            return mean
        share = self.core[0] ** 3
        return mean * (1 - share) + self.core[1][phase_column] * share


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


def _read_kinds() -> Mapping[str, LesionKind]:
    """Every row of the table by its name, in table order."""
    named_places = {
        "": (),
        "liver segments": LIVER_SEGMENTS,
        "lung lobes": LUNG_LOBES,
        "pancreas parts": PANCREAS_PARTS,
        "vertebrae": VERTEBRAE,
    }
    kinds = {}
    for row in package_rows("radvlm.phantom", "lesion_kinds.csv"):
        typical_low, typical_high = _numbers(row["typical"])
        low, high = _numbers(row["limits"])
        z_low, z_high = _numbers(row["region_z"])
        kinds[row["name"]] = LesionKind(
            name=row["name"],
            structure=row["structure"],
            host=row["host"],
            placement=row["placement"],
            words=row["words"],
            hu=_numbers(row["hu"]),
            typical=(typical_low, typical_high),
            limits=(low, high),
            size_means=row["size_means"],
            core=(float(row["core_share"]), _numbers(row["core_hu"])) if row["core_share"] else None,
            aspect=float(row["aspect"]),
            locations=named_places[row["locations"]],
            region_z=(z_low, z_high),
            sided=row["sided"] == "yes",
        )
    return MappingProxyType(kinds)


#: Every kind by name.
LESION_KINDS: Mapping[str, LesionKind] = _read_kinds()


def lesion_kind(name: str) -> LesionKind:
    """The row of that name; InputError with the known names otherwise."""
    if name not in LESION_KINDS:
        raise InputError("a lesion kind is known", repr(name), f"Choose one of {', '.join(LESION_KINDS)}")
    return LESION_KINDS[name]
