"""Names of labels kept inside a NIfTI header extension.

Two forms are read: the XML label table that TotalSegmentator, Connectome Workbench and MITK write (an element
``Label`` with a ``Key`` and the name as its text), and plain JSON tables. The XML comes from outside, so
documents with a DOCTYPE or entity declarations are not parsed at all.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from typing import Any

#: Longer tables are not parsed; a table of 10 000 long names is below 2 MB.
MAX_TABLE_BYTES = 8 * 2**20


def names_from_extension(contents: Iterable[bytes]) -> tuple[dict[int, str], list[str]]:
    """{label: name} from the first extension that holds a table, and what was wrong with others, in words."""
    doubts: list[str] = []
    for content in contents:
        text = content.strip(b"\0 \t\r\n")
        if len(text) > MAX_TABLE_BYTES:
            doubts.append("A header extension was too long to be read as a table of label names.")
            continue
        names: dict[int, str] = {}
        if text.startswith(b"<"):
            names, doubt = _from_xml(text)
            doubts += [doubt] if doubt else []
        elif text.startswith((b"{", b"[")):
            names = _from_json(text)
        if names:
            return names, doubts
    return {}, doubts


def table_as_xml(names: Mapping[int, str]) -> bytes:
    """The XML label table that TotalSegmentator's tools and 3D Slicer's plug-ins read."""
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for label, name in sorted(names.items()):
        red, green, blue = _color(label)
        element = ElementTree.SubElement(table, "Label", Key=str(label), Red=red, Green=green, Blue=blue, Alpha="1")
        element.text = name
    ElementTree.SubElement(volume, "VolumeType").text = "Label"
    return b'<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, encoding="unicode").encode()


def _color(label: int) -> tuple[str, str, str]:
    """A color of its own for each label: hues a golden ratio apart."""
    import colorsys

    return tuple(f"{part:.4f}" for part in colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 0.9))  # type: ignore[return-value]


def _from_xml(text: bytes) -> tuple[dict[int, str], str]:
    if b"<!DOCTYPE" in text.upper() or b"<!ENTITY" in text.upper():
        return {}, "A header extension declares XML entities and was not read."
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding
        return {}, "A header extension holds damaged XML; label names in it were not read."
    found = ((element.get("Key"), element.text or element.get("Name") or "") for element in root.iter("Label"))
    return _cleaned(found), ""


def _from_json(text: bytes) -> dict[int, str]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if isinstance(table, dict):
        for key in ("labels", "label_map", "names"):
            if isinstance(table.get(key), (dict, list)):
                table = table[key]
                break
    if isinstance(table, dict):  # {"1": "liver"} or nnU-Net's {"liver": 1}
        return _cleaned((k, v) if isinstance(v, str) else (v, k) for k, v in table.items())
    if isinstance(table, list):
        rows = [row for row in table if isinstance(row, dict)]
        return _cleaned((row.get("value", row.get("label", row.get("id"))), row.get("name")) for row in rows)
    return {}


def _cleaned(pairs: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, value in pairs:
        try:
            label = int(key)
        except (TypeError, ValueError, OverflowError):
            continue
        name = value.strip() if isinstance(value, str) else ""
        if name and label > 0:
            names[label] = name
    return names
