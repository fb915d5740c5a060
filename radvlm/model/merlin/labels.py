"""What Merlin's outputs are called, and the warnings that go with them.

A name is never invented. The 1692 phenotypes are named by the published csv or not at all, and the sixth
five-year output carries a warning, because the published demo and the dataset disagree about it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError
from radvlm.model.merlin.image import HEADS
from radvlm.model.merlin.prompts import FindingPrompts
from radvlm.types.provenance import Decision

NOTICE = (
    "Merlin (Stanford MIMI) is a research model trained on abdominal CTs of one institution; it is not a medical "
    "device, and what it says is unverified."
)
#: Outputs of the five-year checkpoint, in order. The sixth: see ``SIXTH_LABEL``.
FIVE_YEAR = (
    "cardiovascular disease",
    "ischemic heart disease",
    "hypertension",
    "diabetes mellitus",
    "chronic kidney disease",
    "osteoporosis",
)
SIXTH_LABEL = Decision(
    "merlin",
    "Output 6 of the five-year model is taken as osteoporosis, as the dataset's columns "
    "have it; the published demo prints chronic liver disease there, which is almost certainly "
    "wrong. Do not rely on it before you have checked it.",
    warning=True,
)
UNCALIBRATED = Decision(
    "merlin",
    "Zero-shot probabilities are not calibrated: they grow with the margin of cosines, "
    "and present means that the positive sentences are nearer than the negative ones.",
    warning=True,
)
PROSE = Decision(
    "merlin",
    "Prose of the published report model tends to be boilerplate and to miss masses; compare it "
    "with the scores and with measurements.",
    warning=True,
)
#: Margin of cosines -> logit where no calibration was given. A convention, not a measurement.
MARGIN_SLOPE = 20.0


@dataclass(frozen=True)
class ZeroShotScore:
    """Mean cosines of one image with the positive and the negative sentences of a finding, -1 to 1."""

    prompts: FindingPrompts
    positive: float
    negative: float

    @property
    def margin(self) -> float:
        return self.positive - self.negative


@dataclass(frozen=True)
class LabeledProbability:
    """One output of a classifier head: code ("" where there is none), name and probability (sigmoid of the logit)."""

    code: str
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class MerlinFeatures:
    """What one pass over a scan gives; fields are None where the file for them was not loaded.

    Attributes:
        pooled: (2048,) image embedding before any head, not normalized; not in the space of text.
        embedding: (512,) of unit length, in the space of text.
        phenotypes: (1692,) probabilities in the order of the published csv.
        five_year: (6,) probabilities in the order of ``FIVE_YEAR``.
        notes: what was decided when the scan was prepared.
    """

    pooled: np.ndarray | None
    embedding: np.ndarray | None
    phenotypes: np.ndarray | None
    five_year: np.ndarray | None
    notes: tuple[Decision, ...]


def load_phenotypes(path: str | Path) -> tuple[tuple[str, str], ...]:
    """(phecode, name) in the order of the outputs, from the published ``phenotypes.csv``.

    Raises FileFormatError unless it has the columns phecode and phecode_str and 1692 different codes.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = tuple((row["phecode"], row["phecode_str"]) for row in rows)
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise FileFormatError(
            "a file of phenotypes has the columns phecode and phecode_str", f"{path}: {error}"
        ) from error
    codes = {code for code, _ in names}
    if len(names) != HEADS["phenotype"] or len(codes) != len(names) or not all(code and name for code, name in names):
        raise FileFormatError(
            f"a file of phenotypes has {HEADS['phenotype']} different codes with names",
            f"{len(names)} rows, {len(codes)} codes in {path}",
            "Use the csv published with the weights",
        )
    return names
