"""Rows of the page's tables: lesions, structures, every number, what was not assessed, where it all came from.

A missing number is an empty cell with its reason beside it, never a zero or a dash that could be read as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from radvlm.export.regions import region_name
from radvlm.types.anatomy import structure, structures
from radvlm.types.finding import RuleReference
from radvlm.types.measurement import Measurement
from radvlm.types.provenance import Decision
from radvlm.types.report import Report
from radvlm.types.scan_measurements import LesionMeasurements, Measurements, StructureMeasurements
from radvlm.types.volume import Volume
from radvlm.wording.numbers import rounded
from radvlm.wording.sentences import capital

#: Units as they are printed.
UNIT_WORDS = {"mm": "mm", "mm2": "mm²", "mL": "mL", "HU": "HU", "degree": "°", "percent": "%", "1": ""}
QUANTITY_WORDS = {
    "volume": "Volume",
    "mean_hu": "Mean HU",
    "sd_hu": "SD of HU",
    "median_hu": "Median HU",
    "core_mean_hu": "Mean HU off the edge",
    "parenchyma_hu": "HU of the parenchyma",
    "p05_hu": "5th percentile of HU",
    "p25_hu": "25th percentile of HU",
    "p75_hu": "75th percentile of HU",
    "p95_hu": "95th percentile of HU",
    "peak_hu": "Peak HU",
    "extent_right_left": "Extent right–left",
    "extent_anterior_posterior": "Extent anterior–posterior",
    "extent_superior_inferior": "Extent superior–inferior",
    "long_axis": "Long axis",
    "short_axis": "Short axis",
    "diameter_3d": "3D diameter",
    "contrast_to_host": "Contrast to host organ",
    "host_mean_hu": "Mean HU of host organ",
    "host_sd_hu": "SD of HU of host organ",
    "difference_hu": "Difference of HU",
    "total_volume": "Total volume",
}
#: Parts of the names of quantities that are not words.
_IN_WORDS = {"hu": "HU", "sd": "SD", "l3": "at L3", "3d": "3D", "p05": "5th percentile of", "p95": "95th percentile of"}
EXTENTS = ("extent_right_left", "extent_anterior_posterior", "extent_superior_inferior")
#: Quantities with a column of their own in the table of structures; others stand under "further".
_COLUMNS = {"volume", "mean_hu", "sd_hu", "median_hu", "p05_hu", "p25_hu", "p75_hu", "p95_hu", *EXTENTS}


@dataclass(frozen=True)
class Cell:
    """Text of a cell, the number that it sorts by, and a hint: uncertainty and method, or why it is empty."""

    text: str = ""
    sort: float | None = None
    hint: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table: the region it links to ("" for none), its name, and its cells by column."""

    region_id: str
    name: str
    cells: Mapping[str, Cell] = field(default_factory=dict)


def filled(rows: Iterable[Row]) -> frozenset[str]:
    """Columns in which some row has a text or a reason; the page leaves the others out."""
    return frozenset(name for row in rows for name, c in row.cells.items() if c.text or c.hint)


def quantity_words(quantity: str) -> str:
    """``Mean HU``, ``Mean HU at L3``: a quantity as the head of a row."""
    words = " ".join(_IN_WORDS.get(part, part) for part in quantity.split("_"))
    return QUANTITY_WORDS.get(quantity, words if words[:2].isupper() else capital(words))


def _within_text(words: str) -> str:
    """``mean HU`` of ``Mean HU``; an abbreviation keeps its capitals."""
    return words if words[:2].isupper() or words[:1].isdigit() else f"{words[:1].lower()}{words[1:]}"


def number_text(value: float, unit: str) -> str:
    """A value as it is printed: mm with one decimal, HU whole, mL with two or three figures."""
    magnitude = abs(value)
    if unit in ("HU", "degree", "mm2", "percent"):
        step = "1" if magnitude >= 10 or unit == "HU" else "0.1"
    elif unit == "mL":
        step = "1" if magnitude >= 100 else "0.1" if magnitude >= 10 else "0.01" if magnitude >= 0.1 else "0.001"
    elif unit == "1":
        step = "1" if value == int(value) else "0.01"
    else:
        step = "0.1"
    return rounded(value, step).replace("-", "−")


def uncertainty_text(uncertainty: float, unit: str) -> str:
    """Two figures below 1, one decimal below 10, whole above."""
    return rounded(uncertainty, "1" if uncertainty >= 10 else "0.1" if uncertainty >= 1 or unit == "mm" else "0.01")


def cell(measurement: Measurement | None, missing: str = "") -> Cell:
    if measurement is None:
        return Cell(hint=missing)
    unit = UNIT_WORDS[measurement.unit]
    text, hint = number_text(measurement.value, measurement.unit), measurement.method
    if measurement.uncertainty is not None:
        text += f" ± {uncertainty_text(measurement.uncertainty, measurement.unit)}"
    return Cell(text, measurement.value, " ".join(filter(None, (unit, f"({hint})" if hint else ""))))


def _find(record: StructureMeasurements | LesionMeasurements, quantity: str) -> Cell:
    reason = next((o.reason for o in record.omissions if o.quantity == quantity), "")
    return cell(record.measurement(quantity), reason)


def _hu_cell(record: StructureMeasurements | LesionMeasurements) -> Cell:
    mean, spread = record.measurement("mean_hu"), record.measurement("sd_hu")
    if mean is None or spread is None:
        return _find(record, "mean_hu")
    return Cell(f"{number_text(mean.value, 'HU')} (SD {number_text(spread.value, 'HU')})", mean.value, mean.method)


def structure_words(name: str) -> str:
    """Words of a structure; the name itself where another release of the table wrote it."""
    known = structures().get(name)
    return known.words if known else name


def place_words(lesion: LesionMeasurements) -> str:
    """Where a lesion lies: parts (else the host organ), pole, vertebral level."""
    parts = [structure(name).words for name in lesion.locations]
    if lesion.pole:
        parts.append(lesion.pole)
    if lesion.host and not any(structure(name).parent == lesion.host for name in lesion.locations):
        parts.append(structure(lesion.host).words)
    level = structure(lesion.level).words if lesion.level else ""
    if level and level not in parts:
        parts.append(f"level {level.removesuffix(' vertebra')}")
    return ", ".join(parts)


def lesion_rows(measurements: Measurements, names: Mapping[str, str]) -> list[Row]:
    rows = []
    for lesion in measurements.lesions:
        axis = lesion.measurement("long_axis")
        index = axis.slice_index if axis else None
        rows.append(
            Row(
                lesion.region.id,
                names[lesion.region.id],
                {
                    "place": Cell(place_words(lesion)),
                    "long_axis": _find(lesion, "long_axis"),
                    "short_axis": _find(lesion, "short_axis"),
                    "diameter_3d": _find(lesion, "diameter_3d"),
                    "volume": _find(lesion, "volume"),
                    "hu": _hu_cell(lesion),
                    "contrast": _find(lesion, "contrast_to_host"),
                    "slice": Cell() if index is None else Cell(str(index + 1), index),
                    "cut_by": Cell(", ".join(lesion.cut_by)),
                },
            )
        )
    return rows


def structure_rows(measurements: Measurements) -> list[Row]:
    rows = []
    for record in measurements.structures:
        extents = [record.measurement(q) for q in EXTENTS]
        known = [m for m in extents if m is not None]
        further = [m for m in record.measurements if m.quantity not in _COLUMNS]
        rows.append(
            Row(
                record.region.id,
                capital(structure(record.structure).words),
                {
                    "volume": _find(record, "volume"),
                    "hu": _hu_cell(record),
                    "median_hu": _find(record, "median_hu"),
                    "extent": Cell(" × ".join(f"{m.value:.0f}" for m in known), max(m.value for m in known))
                    if len(known) == 3
                    else Cell(),
                    "further": Cell(
                        "; ".join(f"{_within_text(quantity_words(m.quantity))} {with_unit(m)}" for m in further)
                    ),
                    "cut_by": Cell(", ".join(record.cut_by)),
                },
            )
        )
    return rows


def with_unit(m: Measurement) -> str:
    """``23.4 ± 0.8 mm``."""
    spread = "" if m.uncertainty is None else f" ± {uncertainty_text(m.uncertainty, m.unit)}"
    return f"{number_text(m.value, m.unit)}{spread} {UNIT_WORDS[m.unit]}".rstrip()


def number_rows(measurements: Measurements, names: Mapping[str, str]) -> list[Row]:
    """One row per number and per omission, lesions first."""
    rows = []
    records: list[LesionMeasurements | StructureMeasurements] = [*measurements.lesions, *measurements.structures]
    for record in records:
        name = names.get(record.region.id) or capital(region_name(record.region))
        for m in record.measurements:
            rows.append(_number_row(record.region.id, name, m))
        for omission in record.omissions:
            rows.append(
                Row(
                    record.region.id,
                    name,
                    {
                        "quantity": Cell(quantity_words(omission.quantity)),
                        "value": Cell(),
                        "uncertainty": Cell(),
                        "slice": Cell(),
                        "method": Cell(f"not measured: {omission.reason}"),
                    },
                )
            )
    return rows


def _number_row(region_id: str, name: str, m: Measurement) -> Row:
    spread = "" if m.uncertainty is None else f"± {uncertainty_text(m.uncertainty, m.unit)}"
    index = m.slice_index
    return Row(
        region_id,
        name,
        {
            "quantity": Cell(quantity_words(m.quantity)),
            "value": Cell(f"{number_text(m.value, m.unit)} {UNIT_WORDS[m.unit]}".rstrip(), m.value),
            "uncertainty": Cell(spread, m.uncertainty),
            "slice": Cell() if index is None else Cell(str(index + 1), index),
            "method": Cell(m.method),
        },
    )


def cited_rows(report: Report, names: Mapping[str, str]) -> list[Row]:
    """The numbers that findings cite, for a page without the full Measurements."""
    seen: dict[tuple[Any, ...], Row] = {}
    for finding in report.citable:
        for m in finding.measurements:
            name = names.get(m.region_id) or (structure(finding.site).words if finding.site else "whole scan")
            seen.setdefault((m.region_id, name, m.quantity, m.value), _number_row(m.region_id, capital(name), m))
    return list(seen.values())


def rule_references(report: Report) -> list[RuleReference]:
    """Rules behind the categories of said findings, each once, in order of the sentences."""
    rules = [f.rule for s in report.sentences for f in s.findings if f.rule is not None]
    return list(dict.fromkeys(rules))


def decisions_of(
    volume: Volume | None, measurements: Measurements | None, manifest: Mapping[str, Any] | None
) -> list[Decision]:
    """Decisions of the manifest, else of the volume and the measurements; each once, warnings first."""
    found: list[Decision] = []
    for entry in (manifest or {}).get("decisions") or ():
        if isinstance(entry, Mapping) and entry.get("what"):
            found.append(Decision(str(entry.get("step", "")), str(entry["what"]), bool(entry.get("warning", False))))
    found += [*(volume.decisions if volume else ()), *(measurements.decisions if measurements else ())]
    unique = list(dict.fromkeys(found))
    return sorted(unique, key=lambda d: not d.warning)


def input_rows(volume: Volume | None, manifest: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Inputs with role, name, size and sha256."""
    listed = (manifest or {}).get("inputs")
    if not isinstance(listed, (list, tuple)):
        listed = [
            {"role": "ct", "name": s.name, "size_bytes": s.size_bytes, "sha256": s.sha256}
            for s in (volume.sources if volume else ())
        ]
    rows = []
    for entry in listed:
        if isinstance(entry, Mapping):
            size = entry.get("size_bytes")
            rows.append(
                {
                    "role": str(entry.get("role", "")),
                    "name": str(entry.get("name", "")),
                    "size": f"{size:,}" if isinstance(size, int) else "",
                    "sha256": str(entry.get("sha256", "")),
                }
            )
    return rows


def facts(data: Mapping[str, Any], skip: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """A nested mapping as flat (name, text) rows: ``study · kernel: B30``; empty values are left out."""
    rows: list[tuple[str, str]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and prefix == "versions":
            rows.append((prefix, ", ".join(f"{name} {_scalar(number)}" for name, number in value.items())))
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{prefix} · {words(key)}" if prefix else words(key), inner)
        elif isinstance(value, (list, tuple)):
            text = ", ".join(_scalar(v) for v in value)
            if text:
                rows.append((prefix, text))
        elif value not in (None, ""):
            rows.append((prefix, _scalar(value)))

    def words(key: Any) -> str:
        return str(key).replace("_", " ")

    for key, value in data.items():
        if key not in skip:
            walk(words(key), value)
    return rows


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
