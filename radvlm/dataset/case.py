"""One labeled scan of a training corpus, and a corpus: a folder of them.

Nothing is read before it is asked for (arrays are memory-mapped, truth is one small JSON), and the split is a hash of
the patient, so that a corpus that grows never moves a patient from training to validation.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.types.anatomy import structure
from radvlm.types.finding_kinds import FindingKind, finding_kind, finding_kinds

#: Organ-wide kinds: a lesion of that kind counts from this parameter on (its ``size``; unit behind it). The limits are
#: those that the rules of ``radvlm.interpret`` judge by where they have one, else the lowest that a phantom accepts.
_FROM = {
    "hepatomegaly": (1900.0, "mL"),
    "splenomegaly": (320.0, "mL"),
    "hydronephrosis": (15.0, "mm"),
    "aortic_aneurysm": (30.0, "mm"),
}
#: Steatosis counts up to this attenuation of the liver without contrast (HU).
STEATOSIS_HU = 40.0
#: Volumes at which the organ of a size kind must show what the truth says (mL); the kind is undecided otherwise.
_VOLUME_OF = {"hepatomegaly": "liver", "splenomegaly": "spleen"}
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Lesion:
    """One abnormality that the scan shows.

    Attributes:
        finding: key of ``finding_kinds.csv``.
        side: left, right or "".
        location: liver segment, pancreas part, lobe or vertebra (canonical name), "" for none.
        pole: ``upper pole``, ``interpolar region``, ``lower pole`` of a kidney, or "".
        level: vertebra nearest in height, "" for what fills a cavity.
        size: the parameter of its kind, see ``size_means`` (a diameter in mm for most).
        size_means: meaning and unit of ``size``.
        long_axis_mm, short_axis_mm: in the axial plane; None when it is no ellipsoid.
        center_mm: RAS+ mm; None for what has no center.
        cut: the field of view cuts it.
    """

    finding: str
    side: str
    location: str
    pole: str
    level: str
    size: float
    size_means: str
    long_axis_mm: float | None
    short_axis_mm: float | None
    center_mm: tuple[float, float, float] | None
    cut: bool

    @property
    def kind(self) -> FindingKind:
        return finding_kind(self.finding)

    @property
    def site(self) -> str:
        """Canonical structure it lies in, with its side (``kidney_left``); "" where its kind has no single host."""
        site = self.kind.site
        return f"{site}_{self.side}" if site and self.kind.sided and self.side else site

    @property
    def structure(self) -> str:
        """Name of its mask, "" when it shows only in the organ."""
        return self.kind.structure.format(side=self.side)


class Case:
    """One folder of a corpus.

    Args:
        folder: holds ``case.json`` and, for training on images, ``hu.npy``, ``classes.npy``, ``parts.npy``.

    Raises FileFormatError when ``case.json`` is missing or malformed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            data = json.loads((self.folder / "case.json").read_text(encoding="utf-8"))
            self.affine_ras_mm = np.array(data["affine_ras_mm"], dtype=float)
            self.shape: tuple[int, int, int] = tuple(int(n) for n in data["shape"])  # type: ignore[assignment]
            self.volumes_ml: Mapping[str, float] = dict(data["volumes_ml"])
            self.truth: Mapping[str, Any] = data["truth"]
            self.lesions = _lesions(self.truth["lesions"], self.volumes_ml)
        except FileNotFoundError:
            raise FileFormatError("a case is a folder with case.json", str(self.folder)) from None
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise FileFormatError(
                "case.json is what radvlm.workflows.phantom_corpus writes",
                f"{self.folder.name}: {type(error).__name__}: {error}",
            ) from error
        if self.affine_ras_mm.shape != (4, 4) or len(self.shape) != 3:
            raise FileFormatError(
                "case.json has a 4 x 4 affine and a shape of three",
                f"{self.folder.name}: {self.affine_ras_mm.shape}, {self.shape}",
            )
        self.patient = str(data.get("patient", self.folder.name))

    def __repr__(self) -> str:
        return f"Case({self.name!r})"

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def sex(self) -> str:
        return str(self.truth["sex"])

    @property
    def phase(self) -> str:
        return str(self.truth["phase"])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        lengths = np.linalg.norm(self.affine_ras_mm[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @cached_property
    def hu(self) -> np.ndarray:
        """HU, (I, J, K) in RAS+ order, memory-mapped and read-only."""
        return self._array("hu")

    @cached_property
    def classes(self) -> np.ndarray:
        """Index into ``vocabulary.voxel_classes()`` of every voxel, uint8 (I, J, K), memory-mapped."""
        return self._array("classes")

    @cached_property
    def parts(self) -> np.ndarray:
        """Index into ``vocabulary.part_classes()`` of every voxel, uint8 (I, J, K), memory-mapped."""
        return self._array("parts")

    def _array(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{name}.npy is an array of the case", f"{path}: {error}") from error
        if array.shape != self.shape:
            raise FileFormatError(f"{name}.npy has the shape of case.json", f"{path}: {array.shape}, not {self.shape}")
        return array

    def of(self, finding: str) -> tuple[Lesion, ...]:
        """Lesions of one kind; InputError for a finding that the vocabulary lacks."""
        finding_kind(finding)
        return tuple(lesion for lesion in self.lesions if lesion.finding == finding)

    def present(self, finding: str) -> bool:
        """Whether the scan shows the finding."""
        return bool(self.of(finding))

    def imaged(self, finding: str) -> bool:
        """Whether the organ in which the finding would lie is in the field of view, so that "no" may be said."""
        kind = finding_kind(finding)
        wanted = [f"{kind.site}_left", f"{kind.site}_right"] if kind.sided else [kind.site]
        return not kind.site or any(self.volumes_ml.get(name, 0.0) > 0 for name in wanted)

    @cached_property
    def findings(self) -> np.ndarray:
        """Truth, bool (F,), in the order of ``types.finding_kinds``."""
        held = {lesion.finding for lesion in self.lesions}
        return np.array([name in held for name in finding_kinds()], dtype=bool)

    @cached_property
    def known(self) -> np.ndarray:
        """Where ``findings`` may be taught, bool (F,): the organ is imaged and the truth is on one side of a limit."""
        listed = {row["kind"] for row in self.truth["lesions"] if row["in_field"] != "outside"}
        settled = [(name in listed) == self.present(name) for name in finding_kinds()]
        return np.array(
            [ok and self.imaged(name) for ok, name in zip(settled, finding_kinds(), strict=True)], dtype=bool
        )

    @cached_property
    def report(self) -> Mapping[str, Any] | None:
        """``report.json`` (sentences of the masks and the findings they cite); None where the corpus has none."""
        path = self.folder / "report.json"
        if not path.is_file():
            return None
        try:
            data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileFormatError("report.json is JSON", f"{path}: {error}") from error
        return data


class Corpus(Sequence[Case]):
    """Every case of a folder, in the order of their names. Truth is read when a case is first asked for.

    Raises FileFormatError when the folder holds no case.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        found = sorted(path.parent for path in self.folder.glob("*/case.json") if not path.parent.name.startswith("."))
        if not found:
            raise FileFormatError(
                "a corpus is a folder of folders with case.json",
                str(folder),
                "Make one with radvlm.workflows.phantom_corpus.write_corpus",
            )
        self._folders = tuple(found)
        self._cases: dict[int, Case] = {}

    def __len__(self) -> int:
        return len(self._folders)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        if number not in self._cases:
            self._cases[number] = Case(self._folders[number])
        return self._cases[number]

    def __iter__(self) -> Iterator[Case]:
        return (self[n] for n in range(len(self)))

    def truth(self) -> np.ndarray:
        """Truth of all cases, bool (N, F)."""
        return np.stack([case.findings for case in self])

    def split(self, part: str, *, validation: float = 0.1, test: float = 0.0, seed: int = 0) -> tuple[Case, ...]:
        """Cases of one part: ``train``, ``validation`` or ``test``; all scans of a patient fall into one.

        ``validation`` and ``test`` are the expected shares; a patient's part depends on its name and ``seed`` alone.
        """
        if part not in PARTS:
            raise InputError(f"a part is one of {', '.join(PARTS)}", repr(part))
        if min(validation, test) < 0 or validation + test >= 1:
            raise InputError("shares are not negative and leave some for training", f"{validation} and {test}")
        return tuple(case for case in self if part_of(case.patient, validation, test, seed) == part)


def part_of(patient: str, validation: float, test: float, seed: int = 0) -> str:
    """The part that a patient falls into: a uniform number from the hash of seed and name, cut at the shares."""
    digest = hashlib.sha256(f"{seed}/{patient}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if share < test else "validation" if share < test + validation else "train"


def _lesions(rows: Sequence[Mapping[str, Any]], volumes_ml: Mapping[str, float]) -> tuple[Lesion, ...]:
    """Rows that the scan shows: in the field of view, with voxels where the kind has a mask, past its limit."""
    found = []
    for row in rows:
        if row["in_field"] == "outside":
            continue
        for name in (row["location"], row["level"]):
            if name:
                structure(name)
        center = row["center_mm"]
        lesion = Lesion(
            row["kind"],
            row["side"],
            row["location"],
            row["pole"],
            row["level"],
            float(row["size"]),
            row["size_means"],
            row["long_axis_mm"],
            row["short_axis_mm"],
            None if center is None else (float(center[0]), float(center[1]), float(center[2])),
            row["in_field"] == "cut",
        )
        if _shows(lesion, volumes_ml):
            found.append(lesion)
    return tuple(found)


def _shows(lesion: Lesion, volumes_ml: Mapping[str, float]) -> bool:
    if lesion.kind.has_voxels:
        return volumes_ml.get(lesion.structure, 0.0) > 0
    if lesion.finding == "steatosis":
        return lesion.size <= STEATOSIS_HU
    limit = _FROM[lesion.finding][0]
    organ = _VOLUME_OF.get(lesion.finding)
    return lesion.size >= limit and (organ is None or lesion.cut or volumes_ml.get(organ, 0.0) >= limit)
