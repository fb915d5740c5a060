"""report.html: one file with the report, the images and everything behind them; opens offline.

The page carries its own small viewer (``assets/page.js``, no library) and a content security policy that
allows nothing but this file's own script and style, named by their hashes. All text is escaped by Jinja; data for the
script is JSON in which ``<``, ``>`` and ``&`` are written as escapes, so no text can end the element it stands in.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from radvlm.export import tables
from radvlm.export.key_images import KeyImage, key_images
from radvlm.export.model_part import model_badge, model_context, whole_notice
from radvlm.export.numbers import number_parts
from radvlm.export.options import PageOptions
from radvlm.export.regions import (
    CALIPER_WORDS,
    Caliper,
    all_regions,
    caliper_slice,
    calipers,
    home_voxel,
    is_of_model,
    model_regions,
    region_names,
)
from radvlm.export.view import LOWEST_HU, PackedHu, ViewGrid, choose_view, fit_grid, pack_labels, view_labels
from radvlm.export.windows import WINDOWS, Window, section_window
from radvlm.types.anatomy import SECTIONS, structure
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.geometry import Geometry
from radvlm.types.region import Region
from radvlm.types.region_map import RegionMap
from radvlm.types.report import NOTICE, Report, Sentence
from radvlm.types.scan_measurements import Measurements
from radvlm.types.volume import Volume
from radvlm.wording.sentences import capital

#: Color group of each kind of structure; the colors are in page.js and page.css.
KIND_GROUP = {"lesion": "lesion", "fluid": "fluid", "device": "device", "vessel": "vessel", "bone": "bone"}
GROUP_WORDS = {
    "lesion": "Lesion",
    "fluid": "Fluid",
    "organ": "Organ or part",
    "vessel": "Vessel",
    "bone": "Bone",
    "device": "Device",
}


@dataclass(frozen=True)
class _View:
    """What the viewer shows: the grid of the copy and the packed arrays (None where there is none)."""

    grid: ViewGrid
    hu: PackedHu | None
    label_copy: np.ndarray | None


def render_page(
    report: Report,
    *,
    volume: Volume | None,
    regions: RegionMap | None,
    measurements: Measurements | None,
    manifest: Mapping[str, Any] | None = None,
    options: PageOptions | None = None,
) -> str:
    """The whole of report.html as text (write it as UTF-8).

    Args:
        volume: the CT; None: regions are drawn without it, and the page says so.
        regions: the painted regions, on the grid of ``volume``; None: a region is shown by its bounding box.
        measurements: all numbers; None: the tables hold the numbers that findings cite.
        manifest: provenance as in manifest.json; inputs and decisions come from ``volume`` without it.

    The same arguments give the same text. Raises GridError when ``regions`` lie on another grid than ``volume``.
    """
    options = options or PageOptions()
    geometry = _geometry(volume, regions, measurements)
    named = all_regions(report, regions, measurements)
    view = _view(volume, regions, geometry, options)
    lines = calipers(report, measurements, np.linalg.inv(geometry.affine)) if geometry else ()
    pictures: tuple[KeyImage, ...] = ()
    if volume is not None and options.key_images:
        pictures = key_images(report, volume, regions, measurements, lines, _region_windows(report), options.key_images)
    names = region_names(named.values())
    data = _viewer_data(report, regions, named, names, view, lines)
    context = {
        "title": options.title or _title(report),
        "notice": whole_notice(report, NOTICE),
        "report": report,
        "options": options,
        **_report_context(report, lines, named if view else {}),
        **_table_context(report, names, measurements),
        **_provenance_context(report, volume, measurements, manifest, view),
        "model": model_context(report, manifest),
        "priors": report.retrieval,
        "pictures": [_picture(p, report, measurements, names) for p in pictures],
        "view": data["view"],
        "groups": _groups(named),
        "group_words": GROUP_WORDS,
        "windows": list(WINDOWS.values()),
        "data_json": _safe_json(data),
        "hu_text": view.hu.text if view and view.hu else "",
        "label_text": data.pop("_label_text"),
        "has_ct": volume is not None,
        "has_regions": regions is not None,
    }
    return _fill(context)


def _fill(context: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    assets = files("radvlm.export").joinpath("assets")
    style = assets.joinpath("page.css").read_text(encoding="utf-8").replace("\r\n", "\n")
    script = assets.joinpath("page.js").read_text(encoding="utf-8").replace("\r\n", "\n")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src '{_digest(script)}'; style-src '{_digest(style)}'"
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["capital"] = capital
    environment.filters["heading"] = lambda section: SECTIONS.get(section, "")
    template = environment.from_string(assets.joinpath("template.html.j2").read_text(encoding="utf-8"))
    return template.render(**context, style=Markup(style), script=Markup(script), policy=policy)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _safe_json(data: Mapping[str, Any]) -> Any:
    from markupsafe import Markup

    text = json.dumps(
        {k: v for k, v in data.items() if not k.startswith("_")},
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _geometry(volume: Volume | None, regions: RegionMap | None, measurements: Measurements | None) -> Geometry | None:
    for item in (volume, regions, measurements):
        if item is not None:
            return item.geometry
    return None


def _view(
    volume: Volume | None, regions: RegionMap | None, geometry: Geometry | None, options: PageOptions
) -> _View | None:
    if geometry is None or (volume is None and regions is None):
        return None
    packed = None
    if volume is not None:
        grid, packed = choose_view(volume.hu, geometry, options)
    else:
        grid = fit_grid(geometry, options)
    return _View(grid, packed, None if regions is None else view_labels(regions, grid))


def _title(report: Report) -> str:
    return (
        next((text for label, text in report.examination if label.lower() == "examination" and text.strip()), "CT")
        + " report"
    )


def _group(region: Region) -> str:
    return KIND_GROUP.get(structure(region.structure).kind, "organ")


def _groups(named: Mapping[str, Region]) -> list[str]:
    present = {_group(region) for region in named.values()}
    return [group for group in GROUP_WORDS if group in present]


def _sentence_window(sentence: Sentence) -> Window:
    """Window of the section in which the first cited finding is reported; bones always in the bone window."""
    if sentence.regions and structure(sentence.regions[0].structure).kind == "bone":
        return WINDOWS["bone"]
    return section_window(sentence.findings[0].section)


def _region_windows(report: Report) -> dict[str, Window]:
    windows: dict[str, Window] = {}
    for finding in report.findings:
        for region in finding.regions:
            bone = structure(region.structure).kind == "bone"
            windows.setdefault(region.id, WINDOWS["bone"] if bone else section_window(finding.section))
    return windows


def _viewer_data(
    report: Report,
    region_map: RegionMap | None,
    named: Mapping[str, Region],
    names: Mapping[str, str],
    view: _View | None,
    lines: tuple[Caliper, ...],
) -> dict[str, Any]:
    """Everything page.js needs beside the arrays, with indices on the grid of the copy."""
    index = {region_id: number for number, region_id in enumerate(named)}
    from_model = model_regions(report)
    items = []
    for region in named.values():
        row = region_map.row(region.id) if region_map else None
        labels = frozenset() if row is None else frozenset((row.label, *row.also))
        item: dict[str, Any] = {
            "id": region.id,
            "name": names[region.id],
            "group": _group(region),
            "ml": round(region.volume_ml, 3),
            "model": region.id in from_model,
        }
        if view is not None:
            box = view.grid.box_to_view(region.box)
            item |= {
                "labels": sorted(labels),
                "box": [list(box.start), list(box.stop)],
                "home": list(home_voxel(region, labels, view.label_copy, view.grid, caliper_slice(lines, region.id))),
            }
        items.append(item)
    data: dict[str, Any] = {
        "view": None,
        "regions": items,
        "_label_text": "",
        "sentences": [
            {"regions": [index[r.id] for r in s.regions], "window": _sentence_window(s).key} for s in report.sentences
        ],
        "windows": [{"key": w.key, "name": w.name, "width": w.width, "level": w.level} for w in WINDOWS.values()],
        "calipers": [],
    }
    if view is not None:
        packed = None if view.label_copy is None else pack_labels(view.label_copy)
        grid = view.grid
        data["view"] = {
            "shape": list(grid.shape),
            "spacing": [round(s, 5) for s in grid.spacing_mm],
            "factors": list(grid.factors),
            "native": list(grid.native.shape),
            "affine": np.round(grid.affine, 5).tolist(),
            "lowest": LOWEST_HU,
            "step": view.hu.step if view.hu else 0,
            "labelBytes": packed.bytes_per_voxel if packed else 0,
        }
        data["_label_text"] = packed.text if packed else ""
        data["calipers"] = [_caliper_item(line, index, grid) for line in lines if line.region_id in index]
    return data


def _caliper_item(line: Caliper, index: Mapping[str, int], grid: ViewGrid) -> dict[str, Any]:
    ends = grid.to_view(np.array([line.start, line.stop]))
    words = CALIPER_WORDS.get(line.quantity, line.quantity.replace("_", " "))
    return {
        "region": index[line.region_id],
        "a": np.round(ends[0], 3).tolist(),
        "b": np.round(ends[1], 3).tolist(),
        "words": words,
        "label": f"{tables.number_text(line.value, line.unit)} {tables.UNIT_WORDS[line.unit]}",
        "slice": line.slice_index // grid.factors[2] if line.slice_index is not None and line.is_planar else None,
    }


def _badge(sentence: Sentence) -> tuple[str, str, str] | None:
    """(class, text, explanation) for what was not measured in the masks; None for what was."""
    sources = {f.source: f for f in sentence.findings}
    if Source.MODEL in sources:
        return model_badge([f for f in sentence.findings if isinstance(f, Finding) and f.source is Source.MODEL])
    if any(f.status is Status.INDETERMINATE for f in sentence.findings):
        reason = next(f.reason for f in sentence.findings if f.status is Status.INDETERMINATE)
        return "indeterminate", "indeterminate", reason
    if sentence.section not in ("technique", "impression") and Source.VOXELS in sources and Source.MASKS not in sources:
        return "voxels", "from voxels", "Seen in the CT numbers themselves, without masks"
    return None


def _urgency(sentence: Sentence) -> tuple[str, str, str] | None:
    """(class, text, whose category that is) of what somebody must be told of; None for all other sentences."""
    words = sentence.urgency_words
    return (str(sentence.urgency), words, capital(sentence.urgency_basis)) if words else None


def _report_context(
    report: Report, lines: tuple[Caliper, ...] = (), named: Mapping[str, Region] | None = None
) -> dict[str, Any]:
    rules = tables.rule_references(report)
    number = {rule: n for n, rule in enumerate(rules, 1)}
    index = {region_id: n for n, region_id in enumerate(named or {})}
    lines = tuple(line for line in lines if line.region_id in index)  # as the viewer numbers them
    items = []
    for position, sentence in enumerate(report.sentences):
        regions = sentence.regions
        items.append(
            {
                "n": position,
                "text": sentence.text,
                "parts": number_parts(sentence, lines, index),
                "section": sentence.section,
                "badge": _badge(sentence),
                "urgency": _urgency(sentence),
                "group": _group(regions[0]) if regions else "",
                "count": len(regions),
                "notes": [number[r] for r in dict.fromkeys(f.rule for f in sentence.findings if f.rule is not None)],
            }
        )
    sections = [
        {"key": key, "heading": heading, "sentences": [i for i in items if i["section"] == key]}
        for key, heading in SECTIONS.items()
        if key not in ("impression", "technique")
    ]
    return {
        "sections": [s for s in sections if s["sentences"]],
        "impression": [i for i in items if i["section"] == "impression"],
        "technique": [i for i in items if i["section"] == "technique"],
        "rules": rules,
        "not_assessed": report.not_assessed_lines,
    }


def _table_context(report: Report, names: Mapping[str, str], measurements: Measurements | None) -> dict[str, Any]:
    known = set(names)
    if measurements is None:
        return {
            "lesions": [],
            "structures": [],
            "numbers": tables.cited_rows(report, names),
            "known": known,
            "filled_lesions": frozenset(),
            "filled_structures": frozenset(),
            "complete": False,
            "absent": [],
            "phase": None,
        }
    lesions, structures = tables.lesion_rows(measurements, names), tables.structure_rows(measurements)
    return {
        "lesions": lesions,
        "structures": structures,
        "filled_lesions": tables.filled(lesions),
        "filled_structures": tables.filled(structures),
        "numbers": tables.number_rows(measurements, names),
        "known": known,
        "complete": True,
        "absent": [structure(name).words for name in measurements.absent],
        "phase": measurements.phase,
    }


def _provenance_context(
    report: Report,
    volume: Volume | None,
    measurements: Measurements | None,
    manifest: Mapping[str, Any] | None,
    view: _View | None,
) -> dict[str, Any]:
    decisions = tables.decisions_of(volume, measurements, manifest)
    told = {d.what for d in decisions}
    warnings = [d.what for d in decisions if d.warning]
    for text in report.provenance.get("warnings") or ():
        if str(text) not in told:
            warnings.append(str(text))
    skip = frozenset(
        {
            "inputs",
            "decisions",
            "geometry",
            "configuration",
            "searched",
            "grid",
            "warnings",
            "phase",
            "model",
            "retrieval",
        }
    )
    source = dict(manifest) if manifest else dict(report.provenance)
    return {
        "warnings": warnings,
        "decisions": decisions,
        "inputs": tables.input_rows(volume, manifest),
        "geometry": _geometry_facts(_geometry(volume, None, measurements), volume, view),
        "facts": tables.facts(source, skip),
        "settings": tables.facts(source.get("configuration") or {}),
        "searched": [tables.structure_words(str(n)) for n in source.get("searched") or ()],
        "generator": str(source.get("radvlm", "")),
    }


def _geometry_facts(geometry: Geometry | None, volume: Volume | None, view: _View | None) -> list[tuple[str, str]]:
    if geometry is None:
        return []
    rows = [
        (
            "Grid",
            " × ".join(map(str, geometry.shape)) + " voxels (right–left × anterior–posterior × superior–inferior)",
        ),
        ("Voxel size", " × ".join(f"{s:.3g}" for s in geometry.spacing_mm) + " mm"),
        ("Coverage", " × ".join(f"{s:.0f}" for s in geometry.extent_mm) + " mm"),
    ]
    if geometry.obliquity_degrees > 0.1:
        rows.append(("Tilt to the patient axes", f"{geometry.obliquity_degrees:.1f}°"))
    if volume is not None:
        rows.append(("Axes of the file", volume.stored_axes))
    if view is not None:
        rows.append(("Images in this page", _view_words(view)))
    return rows


def _view_words(view: _View) -> str:
    words = (
        "every voxel of the scan"
        if view.grid.is_native
        else (
            " × ".join(map(str, view.grid.shape))
            + " voxels, means of "
            + " × ".join(map(str, view.grid.factors))
            + " voxels of the scan"
        )
    )
    if view.hu and view.hu.step > 1:
        words += f", HU in steps of {view.hu.step}"
    return words + ". All numbers come from the full scan."


def _picture(
    picture: KeyImage, report: Report, measurements: Measurements | None, names: Mapping[str, str]
) -> dict[str, Any]:
    region_id = picture.region.id
    lesions = measurements.lesions if measurements else ()
    lesion = next((item for item in lesions if item.region.id == region_id), None)
    sentence = next((n for n, s in enumerate(report.sentences) if any(r.id == region_id for r in s.regions)), None)
    place = tables.place_words(lesion) if lesion else ""
    return {
        "image": picture,
        "name": names[region_id],
        "place": place,
        "size": _size_words(picture, lesion),
        "sentence": sentence,
        "group": _group(picture.region),
        "of_model": is_of_model(picture.region),
        "region": region_id,
        "text": report.sentences[sentence].text if sentence is not None else "",
    }


def _size_words(picture: KeyImage, lesion: Any) -> str:
    if is_of_model(picture.region):
        return "outlined by the model, not measured"
    if lesion is not None and lesion.long_axis_mm is not None:
        size = f"{lesion.long_axis_mm:.0f}"
        if lesion.short_axis_mm is not None:
            size += f" × {lesion.short_axis_mm:.0f}"
        return f"{size} mm"
    return f"{tables.number_text(picture.region.volume_ml, 'mL')} mL"
