"""What the labels of a model mean: by its own names, by a label scheme, or by a table that the user filled in.

A model whose names radvlm does not know is not guessed at: it ends in one error, and a table with a row for each label
is written, to be filled in and given back after ``@``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError, StructureError
from radvlm.files.atomic import write_text
from radvlm.types.geometry import Geometry
from radvlm.types.label_scheme import (
    Scheme,
    SchemeEntry,
    fold,
    scheme_from_mapping,
    scheme_named,
    structure_from_name,
    with_near_names,
)
from radvlm.types.provenance import Decision, MaskOrigin
from radvlm.types.segmentation import LabelPlace, Segmentation

_COLUMNS = ("label", "name", "structure")


def model_scheme(labels: Mapping[int, str], given: str, model: str, *, template: Path | None = None) -> Scheme:
    """The structures of a model's labels.

    Args:
        labels: number -> the model's own name, without the background.
        given: "" (by the names), a label scheme, or a CSV file with the columns label, name and structure.
        model: what the model is called, for errors.
        template: where a table to fill in is written when names are not known; None: nothing is written.

    Raises StructureError for labels that are not known, FileFormatError for a table that cannot be read.
    """
    if given.lower().endswith(".csv"):
        return _from_table(Path(given), labels)
    if given:
        scheme = scheme_named(given)
        missing = sorted(set(labels) - set(scheme.labels))
        if missing:
            raise StructureError(
                f"the label scheme {given} has every label of the model",
                f"{model}: {', '.join(f'{label} ({labels[label]})' for label in missing[:8])}",
                "Name another scheme after @, or a table in CSV",
            )
        entries = tuple(entry for entry in scheme.entries if entry.label in labels)
        return Scheme(scheme.name, scheme.title, entries, scheme.source, scheme.licence)
    found = {label: structure_from_name(name) for label, name in labels.items()}
    unknown = [labels[label] for label, structure in found.items() if structure is None]
    if not unknown:
        return Scheme(model, model, tuple(SchemeEntry(n, labels[n], str(found[n])) for n in labels))
    written = "" if template is None else _write_template(template, labels)
    raise StructureError(
        "radvlm knows what every label of a model means",
        f"{model}: {with_near_names(unknown)}",
        f"{written}Say which structures they are: a label scheme after @, or a table in CSV (label, name, structure)",
    )


def _write_template(path: Path, labels: Mapping[int, str]) -> str:
    """Write the table with what is known filled in; what is to be said of it in the error."""
    rows = [
        {"label": label, "name": name, "structure": structure_from_name(name) or ""}
        for label, name in sorted(labels.items())
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if path.exists():
        return f"Fill in {path}, which is there already, and put @{path} after the folder. "
    try:
        write_text(path, text.getvalue())
    except FileFormatError:
        return ""
    return f"A table was written to {path}: check it, and put @{path} after the folder. "


def _from_table(path: Path, labels: Mapping[int, str]) -> Scheme:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        table = {int(row["label"]): (row["structure"] or "").strip() for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            "a table of labels is CSV with the columns label, name and structure", f"{path}: {error}"
        ) from error
    missing = sorted(set(labels) - set(table))
    if missing:
        raise StructureError(
            "a table of labels has every label of the model",
            f"{path}: no row for {', '.join(map(str, missing[:8]))}",
            "Add them; an empty structure leaves a label out",
        )
    return scheme_from_mapping({label: table[label] for label in labels}, path.name)


def background_free(labels: Mapping[int, str]) -> dict[int, str]:
    """Labels without 0 and what is called background."""
    return {label: name for label, name in labels.items() if label and fold(name) not in ("background", "")}


def segmentation_of(
    labels: np.ndarray, scheme: Scheme, geometry: Geometry, decisions: tuple[Decision, ...], origin: MaskOrigin
) -> Segmentation:
    """A label map of a model, in RAS+ order on ``geometry``, as a Segmentation.

    Labels that the scheme leaves out become background; several labels of one structure are united.
    """
    table = scheme.labels
    first: dict[str, int] = {}
    to = np.zeros(max([int(labels.max(initial=0)), *table]) + 1, np.uint16)
    for label in range(1, len(to)):
        structure = table.get(label, "")
        if structure:
            to[label] = first.setdefault(structure, label)
    mapped = to[labels]
    if mapped.max(initial=0) < 256:
        mapped = mapped.astype(np.uint8)
    held = set(np.unique(mapped).tolist())
    places = {structure: LabelPlace(0, label) for structure, label in first.items() if label in held}
    return Segmentation(
        (np.asfortranarray(mapped),),
        places,
        scheme.searched,
        geometry,
        scheme.name,
        decisions=decisions,
        origins=(origin,),
    )
