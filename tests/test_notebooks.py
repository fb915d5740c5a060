"""Every notebook in examples/ runs from top to bottom, says what its stored outputs say, and is fit to be committed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
#: What the stored and the fresh outputs of a notebook hold.
SAYS = {
    "compare_two_systems": (
        "reports in which the errors counted are exactly those put in: 46 of 48",
        "| errors total | 0.50 [0.29, 0.75] | 1.96 [1.62, 2.29] |",
        "| | A | B | normal report | random report | nearest report |",
        "| category | A: put in | A: counted | B: put in | B: counted |",
        "<mark",
        "image/png",
    ),
    "report_with_tiny": (
        "trained on synthetic phantoms only",
        "Right pleural effusion, seen by the model only",
        "Splenomegaly, seen by the model only",
        "The region of the model meets the effusion.",
        "Splenomegaly (519 mL).",
        "sentences that contradict the masks: 0",
        "this scan is unlike those that tiny was trained on",
        "image/png",
    ),
    "zero_shot": (
        "trained on synthetic phantoms only",
        "The scan with the highest probability is the right one for",
        "37 findings, 48 scores",
        "(6, 256) (3, 256) lengths 1.0",
        "image/png",
    ),
    "vqa": (
        "trained on synthetic phantoms only",
        "| Is there a pleural effusion? | Yes |",
        "of 8 right; the best constant answer gets 5",
        "region: pleural_effusion_left ; it meets the effusion",
        "masks: splenic cyst",
        "Received: 800. Required: a question has at most 500 characters. Ask in parts.",
        "image/png",
    ),
    "retrieval": (
        "left out: {'same patient': 1, \"copy of the patient's report\": 1}",
        "a record of P7 or the copy among the hits: False",
        "everyone excluded, 500 asked for: 0 hits",
        "after the gap below #3",
        "findings are those without prior texts: True",
        "in the report  kidneys | There is a renal stone in the left kidney.",
        "poison | findings unchanged: True",
        "orders | findings unchanged: True",
        "in the report: []",
    ),
}
nbformat = pytest.importorskip("nbformat", reason="notebooks are read with nbformat")


def outputs(notebook: Any) -> str:
    """All outputs as one text; of pictures only their kind."""
    parts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output.text
            parts.append(output.get("text", ""))
            for kind, data in output.get("data", {}).items():
                parts.append(kind if kind.startswith("image/") else data)
    return "\n".join(parts)


def test_no_notebook_is_forgotten() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SAYS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs_are_there_small_and_name_no_place(path: Path) -> None:
    assert path.stat().st_size < 300_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    stored = outputs(notebook)
    for said in SAYS[path.stem]:
        assert said in stored
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not re.search(r"/(?:home|root|tmp|work|Users)/|[A-Z]:\\\\", path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the messaging library of the notebook's kernel, not of this library
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="notebooks run with nbclient")
    pytest.importorskip("ipykernel", reason="notebooks run in ipykernel")
    pytest.importorskip("matplotlib", reason="notebooks draw with matplotlib")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    fresh = outputs(notebook)
    for said in SAYS[path.stem]:
        assert said in fresh
