"""Made-up cases: only case.json, which is all that language needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from radvlm.dataset.case import Case
from radvlm.dataset.vocabulary import part_classes
from radvlm.types.finding_kinds import finding_kind

ORGANS = (
    "liver",
    "gallbladder",
    "spleen",
    "pancreas",
    "adrenal_gland_left",
    "adrenal_gland_right",
    "kidney_left",
    "kidney_right",
    "urinary_bladder",
    "colon",
    "uterus",
    "lung_left",
    "lung_right",
    "heart",
    "aorta",
)
SIZES = {
    "steatosis": 20.0,
    "hepatomegaly": 2300.0,
    "splenomegaly": 600.0,
    "hydronephrosis": 22.0,
    "aortic_aneurysm": 42.0,
}
PARTS = {
    "liver": [p for p in part_classes() if p.startswith("liver")],
    "lung": [p for p in part_classes() if p.startswith("lung")],
    "pancreas": [p for p in part_classes() if p.startswith("pancreas")],
}


def lesion(
    finding: str,
    side: str = "",
    location: str = "",
    pole: str = "",
    in_field: str = "inside",
    size: float | None = None,
) -> dict[str, Any]:
    """A row of truth as ``radvlm.phantom.truth`` writes it."""
    return {
        "kind": finding,
        "side": side,
        "location": location,
        "pole": pole,
        "level": "vertebrae_L2",
        "size": SIZES.get(finding, 15.0) if size is None else size,
        "size_means": "largest diameter, mm",
        "long_axis_mm": 15.0,
        "short_axis_mm": 12.0,
        "center_mm": [1.0, 2.0, 3.0],
        "in_field": in_field,
    }


def document(
    lesions: Sequence[dict[str, Any]],
    without: Sequence[str] = (),
    sex: str = "F",
    volumes_ml: dict[str, float] | None = None,
) -> dict[str, Any]:
    volumes = {name: 100.0 for name in ORGANS if name not in without}
    volumes["liver"] = 2300.0 if any(row["kind"] == "hepatomegaly" for row in lesions) else 1400.0
    volumes["spleen"] = 600.0 if any(row["kind"] == "splenomegaly" for row in lesions) else 200.0
    volumes = {name: v for name, v in volumes.items() if name not in without}
    for row in lesions:
        kind = finding_kind(row["kind"])
        if kind.structure and row["in_field"] != "outside":
            volumes[kind.structure.format(side=row["side"])] = 1.0
    volumes.update(volumes_ml or {})
    return {
        "seed": 1,
        "affine_ras_mm": [[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]],
        "shape": [2, 3, 4],
        "truth": {"sex": sex, "phase": "portal venous", "lesions": list(lesions)},
        "volumes_ml": volumes,
    }


MakeCase = Callable[..., Case]


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    """make_case(rows, name="a", report=None, without=()) -> Case on disk."""

    def make(
        rows: Sequence[dict[str, Any]] = (), name: str = "a", report: dict[str, Any] | None = None, **options: Any
    ) -> Case:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "case.json").write_text(json.dumps(document(rows, **options)))
        if report is not None:
            (folder / "report.json").write_text(json.dumps(report))
        return Case(folder)

    return make
