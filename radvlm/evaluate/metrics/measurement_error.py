"""Errors of sizes: what a report states against what is true, in mm, mL and HU.

Only numbers that a report states are judged; a size that it leaves out is counted as unstated, never as an
error of the whole size. Truth may be another report (its measurements) or lesions whose size is known by construction,
such as those of ``radvlm.phantom``; they are recognized by their attributes, so any object that has them will do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from radvlm.errors import InputError
from radvlm.types.finding import Citable, Status
from radvlm.types.region import Region

if TYPE_CHECKING:
    from radvlm.types.report import Report

#: Units of which errors are summed -> how outputs name them.
UNIT_NAMES: Mapping[str, str] = MappingProxyType({"mm": "mm", "mL": "ml", "HU": "hu"})
#: Quantity of a measurement -> attribute of a true lesion.
_TRUE = {
    "long_axis": "long_axis_mm",
    "short_axis": "short_axis_mm",
    "diameter_3d": "diameter_3d_mm",
    "volume": "volume_ml",
    "mean_hu": "mean_hu",
}
_NUMBER = r"\d+(?:\.\d+)?"
_LENGTH = re.compile(
    rf"(?P<dims>{_NUMBER}(?:\s*(?:mm|cm)?\s*(?:x|×|by)\s*{_NUMBER})*)"
    r"\s*-?(?P<unit>mm|cm)\b(?!\s*[23³²])",
    re.IGNORECASE,
)
_VOLUME = re.compile(rf"({_NUMBER})\s*(?:ml|cc|cm3|cm³)(?![a-z])", re.IGNORECASE)
_DENSITY = re.compile(rf"(?<![\d.])([-−]?\s?{_NUMBER})\s*HU\b")
_PAST = re.compile(r"(?:previous(?:ly)?|prior|formerly|was|compared (?:to|with)|from)\W*$", re.IGNORECASE)


@runtime_checkable
class TrueLesion(Protocol):
    """A lesion whose sizes are known; None for a size it does not have."""

    id: str
    structure: str
    center_mm: tuple[float, float, float] | None
    long_axis_mm: float | None
    short_axis_mm: float | None
    diameter_3d_mm: float | None
    volume_ml: float | None
    mean_hu: float | None


@dataclass(frozen=True)
class SizeError:
    """One stated number and the true one, in ``unit``; ``error`` is stated minus true."""

    finding_id: str
    truth_id: str
    quantity: str
    unit: str
    stated: float
    true: float

    @property
    def error(self) -> float:
        return self.stated - self.true

    @property
    def relative(self) -> float | None:
        """Error as a share of the true size; None for HU, whose zero is water, and for a true 0."""
        return None if self.unit == "HU" or self.true == 0 else self.error / self.true


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of one unit: n, mean (bias), mean absolute, root mean square and largest absolute error."""

    unit: str
    n: int
    bias: float
    mean_absolute: float
    root_mean_square: float
    largest: float
    mean_absolute_relative: float | None


@dataclass(frozen=True)
class TruthComparison:
    """A report against known lesions.

    Attributes:
        errors: of every size that is stated and known.
        missed: ids of lesions that no finding describes. extra: ids of findings of lesion structures without a lesion.
        unstated: (finding id, quantity) known but not stated.
        left_out: ids of lesions without a center, or cut by the field of view, whose true size cannot be seen.
    """

    errors: tuple[SizeError, ...]
    missed: tuple[str, ...]
    extra: tuple[str, ...]
    unstated: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]


def paired_errors(candidate: Citable, reference: Citable) -> tuple[SizeError, ...]:
    """Errors of the quantities that both findings measure (the first of each), in mm, mL and HU."""
    out = []
    for quantity in dict.fromkeys(m.quantity for m in reference.measurements):
        ours, theirs = reference.measurement(quantity), candidate.measurement(quantity)
        if ours is not None and theirs is not None and ours.unit in UNIT_NAMES:
            out.append(SizeError(candidate.id, reference.id, quantity, ours.unit, theirs.value, ours.value))
    return tuple(out)


def errors_against_truth(
    report: Report, lesions: Iterable[TrueLesion], *, stated: str = "measurements", max_distance_mm: float = 15.0
) -> TruthComparison:
    """Sizes that a report gives to lesions whose true sizes are known.

    Args:
        report: present findings with regions are compared.
        lesions: such as ``phantom.truth.lesions``; those cut by or outside the field of view (``in_field``) are left
            out.
        stated: ``measurements`` takes the findings' numbers; ``text`` takes the numbers printed in sentences that state
            one region alone, rounded as they are printed, sizes after "previously" apart; printed HU count as a mean.
        max_distance_mm: a region and a lesion further apart than this, center to center, are not the same.

    Regions and lesions of one structure are paired one to one with the least sum of distances. Several findings of one
    region (a cyst, and its fluid attenuation) are one: the first that states a size counts.
    """
    if stated not in ("measurements", "text"):
        raise InputError("sizes are taken from measurements or text", repr(stated))
    if not max_distance_mm > 0:
        raise InputError("a largest distance is positive", f"{max_distance_mm} mm")
    known = list(lesions)
    usable = [x for x in known if x.center_mm is not None and getattr(x, "in_field", "inside") == "inside"]
    left_out = tuple(x.id for x in known if not any(x is y for y in usable))
    wanted = {x.structure for x in known if x.structure}
    by_region: dict[str, list[Citable]] = {}
    for finding in report.citable:
        if finding.status is Status.PRESENT and len(finding.regions) == 1 and finding.regions[0].structure in wanted:
            by_region.setdefault(finding.regions[0].id, []).append(finding)
    pairs = _nearest([group[0].regions[0] for group in by_region.values()], usable, max_distance_mm)
    errors, unstated = [], []
    for region, lesion in pairs:
        group = by_region[region.id]
        sizes = _measured(group) if stated == "measurements" else stated_sizes(report, group)
        for quantity, attribute in _TRUE.items():
            true = getattr(lesion, attribute)
            if true is None:
                continue
            if quantity not in sizes:
                unstated.append((group[0].id, quantity))
                continue
            value, unit = sizes[quantity]
            errors.append(SizeError(group[0].id, lesion.id, quantity, unit, value, float(true)))
    told, found = {r.id for r, _ in pairs}, {x.id for _, x in pairs}
    return TruthComparison(
        tuple(errors),
        tuple(x.id for x in usable if x.id not in found),
        tuple(g[0].id for id, g in by_region.items() if id not in told),
        tuple(unstated),
        left_out,
    )


def _nearest(regions: Sequence[Region], lesions: Sequence[TrueLesion], limit: float) -> list[tuple[Region, TrueLesion]]:
    if not regions or not lesions:
        return []
    from scipy.optimize import linear_sum_assignment

    cost = np.full((len(regions), len(lesions)), np.inf)
    for i, region in enumerate(regions):
        for j, lesion in enumerate(lesions):
            if lesion.structure == region.structure:
                apart = np.array(region.centroid_mm) - np.array(lesion.center_mm, dtype=float)
                cost[i, j] = float(np.linalg.norm(apart))
    far = limit * (1 + len(regions) + len(lesions))  # any real pair is cheaper than leaving it out
    rows, columns = linear_sum_assignment(np.where(cost <= limit, cost, far))
    return [(regions[i], lesions[j]) for i, j in zip(rows, columns, strict=True) if cost[i, j] <= limit]


def _measured(findings: Sequence[Citable]) -> dict[str, tuple[float, str]]:
    every = [m for f in findings for m in f.measurements if m.unit in UNIT_NAMES]
    return {m.quantity: (m.value, m.unit) for m in reversed(every)}


def stated_sizes(report: Report, findings: Sequence[Citable]) -> dict[str, tuple[float, str]]:
    """Quantity -> (value, unit) of the first numbers printed for these findings, which are of one region.

    Only sentences that state no other finding are read: in others a number cannot be given to one region. Two lengths
    are long and short axis, the larger first; a single one is the quantity of the first length that was measured.
    """
    alone = next((m.quantity for f in findings for m in f.measurements if m.unit == "mm"), "long_axis")
    ids = {f.id for f in findings}
    out: dict[str, tuple[float, str]] = {}
    for sentence in report.sentences:
        if not ids.issuperset(sentence.finding_ids):
            continue
        for quantity, value, unit in _printed(sentence.text, alone):
            out.setdefault(quantity, (value, unit))
    return out


def _printed(text: str, alone: str) -> Iterable[tuple[str, float, str]]:
    for match in _LENGTH.finditer(text):
        if _PAST.search(text[: match.start()]):
            continue
        scale = 10.0 if match["unit"].lower() == "cm" else 1.0
        sizes = sorted((scale * float(v) for v in re.findall(_NUMBER, match["dims"])), reverse=True)
        if len(sizes) == 1:
            yield alone, sizes[0], "mm"
        else:
            yield "long_axis", sizes[0], "mm"
            if len(sizes) == 2:
                yield "short_axis", sizes[1], "mm"
    for match in _VOLUME.finditer(text):
        if not _PAST.search(text[: match.start()]):
            yield "volume", float(match[1]), "mL"
    for match in _DENSITY.finditer(text):
        yield "mean_hu", float(match[1].replace("−", "-").replace(" ", "")), "HU"


def summarize_errors(errors: Iterable[SizeError]) -> dict[str, ErrorSummary]:
    """Unit -> summary; a unit without errors is left out."""
    by_unit: dict[str, list[SizeError]] = {}
    for error in errors:
        by_unit.setdefault(error.unit, []).append(error)
    out = {}
    for unit, group in by_unit.items():
        values = [e.error for e in group]
        shares = [abs(e.relative) for e in group if e.relative is not None]
        n = len(values)
        out[unit] = ErrorSummary(
            unit,
            n,
            sum(values) / n,
            sum(map(abs, values)) / n,
            math.sqrt(sum(v * v for v in values) / n),
            max(map(abs, values)),
            sum(shares) / len(shares) if shares else None,
        )
    return out
