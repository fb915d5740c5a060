"""Two studies of one patient: what grew, what is new, what is gone, and the RECIST 1.1 category.

A sentence of change cites regions of *both* studies, and every number in it is one of the few ways to write a
measurement of the lesion in one of them or the difference of the two (``verify_change``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from radvlm.errors import InputError, VerificationError
from radvlm.quantify.alignment import Alignment, align
from radvlm.quantify.change import LesionChange, lesion_changes
from radvlm.quantify.recist import TARGET_FAMILIES, Recist, recist
from radvlm.types.anatomy import structure
from radvlm.types.csv_tables import csv_text
from radvlm.types.provenance import Decision, cautions
from radvlm.types.scan_measurements import NOT_INTERPRETED, LesionMeasurements, Measurements
from radvlm.wording.numbers import axes_text, length_text, rounded, signed
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import places_text
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import noun

_STYLE = Style()
#: Columns of ``Comparison.rows``.
_COLUMNS = (
    "structure",
    "status",
    "current",
    "prior",
    "size",
    "current_mm",
    "prior_mm",
    "change_mm",
    "change_percent",
    "current_ml",
    "prior_ml",
    "volume_change_percent",
    "doubling_days",
    "distance_mm",
    "reason",
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class ChangeSentence:
    """One sentence, the region ids that it cites in the current study and those in the prior one."""

    text: str
    current_regions: tuple[str, ...]
    prior_regions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SavedStudy:
    """A study read from files: its numbers, and its date (ISO) or "" where that is not known."""

    measurements: Measurements
    study_date: str = ""


def load_study(path: str | Path) -> SavedStudy:
    """What ``radvlm report`` wrote into a folder, or a measurements.json of ``radvlm measure --format json``.

    Raises InputError when there is no measurements.json or it cannot be read.
    """
    place = Path(path)
    file = place / "measurements.json" if place.is_dir() else place
    if not file.is_file():
        raise InputError(
            "a study is a folder that radvlm report wrote, or a measurements.json",
            str(path),
            "Write one with `radvlm report` or `radvlm measure --format json -o FILE`",
        )
    numbers = Measurements.from_json(file.read_text(encoding="utf-8"))
    manifest = file.parent / "manifest.json"
    if not manifest.is_file():
        return SavedStudy(numbers)
    try:
        study = json.loads(manifest.read_text(encoding="utf-8"))["study"]
        return SavedStudy(numbers, study.get("study_date") or "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("manifest.json is what radvlm report wrote", f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything said about two studies. ``days`` is None when one of the dates is not known.

    ``cautions`` are the doubts about masks, sizes and HU of either study, which stand in the head of the text.
    """

    current_date: str
    prior_date: str
    days: float | None
    alignment: Alignment
    changes: tuple[LesionChange, ...]
    recist: Recist
    sentences: tuple[ChangeSentence, ...]
    decisions: tuple[Decision, ...]
    cautions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Dates, one line per sentence, and what was decided."""
        gap = "" if self.days is None else f" ({self.days:.0f} days)"
        head = f"COMPARISON: {self.current_date or 'current study'} with {self.prior_date or 'prior study'}{gap}"
        notes = [f"- {d.what}" for d in self.decisions]
        doubts = [f"CAUTION: {what}" for what in self.cautions]
        return "\n".join([head, *doubts, "", *(s.text for s in self.sentences), "", "NOTES:", *notes, ""])

    def rows(self) -> list[dict[str, str | float | None]]:
        """One flat row per lesion of either study."""
        found = []
        for c in self.changes:
            row: dict[str, str | float | None] = {
                "structure": c.lesion.structure,
                "status": c.status,
                "current": None if c.current is None else c.current.region.id,
                "prior": None if c.prior is None else c.prior.region.id,
                "size": c.size,
                "current_mm": _value(c.current, c.size),
                "prior_mm": _value(c.prior, c.size),
                "change_mm": c.change_mm,
                "change_percent": c.change_percent,
                "current_ml": None if c.current is None else c.current.volume_ml,
                "prior_ml": None if c.prior is None else c.prior.volume_ml,
                "volume_change_percent": c.volume_change_percent,
                "doubling_days": c.doubling_days,
                "distance_mm": c.distance_mm,
                "reason": c.reason,
            }
            found.append({k: round(v, 4) + 0.0 if isinstance(v, float) else v for k, v in row.items()})
        return found

    def to_csv(self) -> str:
        """CSV text, one line per lesion; an empty number of a pair has its reason beside it."""
        return csv_text(_COLUMNS, self.rows())

    def to_json(self) -> str:
        """JSON text with dates, alignment, lesions, RECIST and sentences."""
        r = self.recist
        return json.dumps(
            {
                "current_date": self.current_date,
                "prior_date": self.prior_date,
                "days": self.days,
                "cautions": list(self.cautions),
                "alignment": {
                    "kind": self.alignment.kind,
                    "prior_to_current_ras_mm": self.alignment.matrix.tolist(),
                    "error_mm": self.alignment.error_mm,
                    "organs": list(self.alignment.organs),
                },
                "lesions": self.rows(),
                "recist": {
                    "category": r.category,
                    "reason": r.reason,
                    "baseline_mm": r.baseline_mm,
                    "current_mm": r.current_mm,
                    "nadir_mm": r.nadir_mm,
                    "targets": [
                        {
                            "prior": t.change.prior.region.id if t.change.prior else None,
                            "current": t.change.current.region.id if t.change.current else None,
                            "prior_mm": t.prior_mm,
                            "current_mm": t.current_mm,
                        }
                        for t in r.targets
                    ],
                    "new": [c.lesion.region.id for c in r.new],
                },
                "sentences": [asdict(s) for s in self.sentences],
                "decisions": [asdict(d) for d in self.decisions],
            },
            indent=2,
        )


def compare(
    current: Any,
    prior: Any,
    *,
    days: float | None = None,
    baseline_mm: float | None = None,
    nadir_mm: float | None = None,
    families: tuple[str, ...] = TARGET_FAMILIES,
) -> Comparison:
    """What changed between two studies of one patient.

    Args:
        current, prior: what ``generate_report`` or ``measure`` returned, or the path of it on disk (``load_study``).
        days: from prior to current; by default from the study dates of two reports.
        baseline_mm, nadir_mm, families: see ``radvlm.quantify.recist.recist``.

    Raises InputError for other things, two different patients, or a prior that is later than the current study.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> before = radvlm.measure(scan, masks)
        >>> labels[10:20, 10:20, 15] = 1
        >>> after = radvlm.measure(scan, (labels, scan.geometry.affine), scheme={1: "liver"})
        >>> compared = radvlm.compare(after, before, days=90)
    """
    current, prior = (load_study(s) if isinstance(s, (str, Path)) else s for s in (current, prior))
    now, then = _numbers(current, "current"), _numbers(prior, "prior")
    _check_patient(current, prior)
    dates = (_date(current), _date(prior))
    if days is None and all(dates):
        days = float((date.fromisoformat(dates[0]) - date.fromisoformat(dates[1])).days)
    if days is not None and days < 0:
        raise InputError(
            "the prior study is the earlier one", f"{days:.0f} days from prior to current", "Exchange the two studies"
        )
    alignment, decision = align(now, then)
    changes = lesion_changes(now, then, alignment, days)
    outcome = recist(then, changes, families=families, baseline_mm=baseline_mm, nadir_mm=nadir_mm)
    notes = [decision]
    if days is None:
        notes.append(Decision("dates", "The dates of both studies are not known, so no doubling time is given."))
    if baseline_mm is None:
        notes.append(
            Decision(
                "recist",
                "The prior study was taken as baseline and nadir; new lesions and growth were "
                "not reviewed, and non-target lesions were not judged.",
            )
        )
    sentences = (*(_sentence(c) for c in changes), _recist_sentence(outcome))
    for sentence in sentences:
        reason = verify_change(sentence, changes, outcome)
        if reason:
            raise VerificationError(
                "a comparison is written only when each of its sentences is true to both studies",
                "two studies for which one would not be",
                "This is a fault of radvlm: please report it",
            ) from VerificationError("a sentence of change is true", f"{sentence.text!r}: {reason}")
    doubts = (*_cautions(current, now, "current study"), *_cautions(prior, then, "prior study"))
    return Comparison(*dates, days, alignment, changes, outcome, sentences, tuple(notes), doubts)


def _cautions(study: Any, numbers: Measurements, which: str) -> list[str]:
    """What must be known of a study before its numbers are compared, as in the head of its report."""
    report = getattr(study, "report", None)
    told = [what for label, what in getattr(report, "examination", ()) if label == "Caution"]
    told += [what for what in cautions(numbers.decisions) if what not in told]
    for areas in numbers.unmeasured:
        many = f"{areas.count} areas" if areas.count > 1 else "1 area"
        told.append(f"{many} of {areas.limit} labeled as {structure(areas.structure).words} not measured or compared.")
    if numbers.phase is not None and numbers.phase.reason.startswith(NOT_INTERPRETED):
        told.append(f"{numbers.phase.reason}.")
    return [f"{capital(which)}: {what}" for what in told]


def _numbers(study: Any, which: str) -> Measurements:
    found = study if isinstance(study, Measurements) else getattr(study, "measurements", None)
    if not isinstance(found, Measurements):
        raise InputError(
            "a study is what generate_report or measure returned",
            f"{which}: {type(study).__name__}",
            "Call radvlm.generate_report or radvlm.measure on each study first",
        )
    return found


def _check_patient(current: Any, prior: Any) -> None:
    keys = [getattr(getattr(getattr(s, "volume", None), "study", None), "patient_key", "") for s in (current, prior)]
    if all(keys) and keys[0] != keys[1]:
        raise InputError("both studies are of one patient", "the patient identifiers in the headers differ")


def _date(study: Any) -> str:
    saved = getattr(study, "study_date", "")
    return saved or getattr(getattr(getattr(study, "volume", None), "study", None), "study_date", "") or ""


def _value(lesion: LesionMeasurements | None, quantity: str) -> float | None:
    found = None if lesion is None else lesion.measurement(quantity)
    return None if found is None else found.value


def _size_text(lesion: LesionMeasurements) -> str:
    long, short = lesion.long_axis_mm, lesion.short_axis_mm
    return axes_text(long, short, _STYLE) if long is not None and short is not None else "not measured"


def _where(lesion: LesionMeasurements) -> str:
    place = next((n for n in lesion.locations if not n.startswith("vertebrae_")), "") or lesion.host
    if lesion.pole and lesion.host:
        return f" in the {lesion.pole} of the {structure(lesion.host).words}"
    if place:
        return f" in {places_text([place])}"
    return f" at the level of {lesion.level.removeprefix('vertebrae_')}" if lesion.level else ""


def _sentence(change: LesionChange) -> ChangeSentence:
    lesion = change.lesion
    where = _where(lesion)
    side = structure(lesion.structure).side
    head = capital(noun(lesion.structure, 1, with_side=not (side and f" {side} " in where))) + where
    cited = (tuple(x.region.id for x in (change.current,) if x), tuple(x.region.id for x in (change.prior,) if x))
    if change.change_mm is not None and change.current and change.prior and change.change_percent is not None:
        axis = change.size.replace("_", " ")
        parts = [f"{axis} {signed(change.change_mm)} mm ({signed(change.change_percent)} percent)"]
        if change.volume_change_percent is not None:
            parts.append(f"volume {signed(change.volume_change_percent)} percent")
        if change.doubling_days is not None:
            word = "doubling" if change.doubling_days > 0 else "halving"
            parts.append(f"volume {word} time {rounded(abs(change.doubling_days), '1')} days")
        words = {"unchanged": "unchanged within the precision of both grids"}.get(change.status, change.status)
        sizes = f"{_size_text(change.current)}, previously {_size_text(change.prior)}"
        text = f"{head}: {sizes}; {', '.join(parts)}; {words}."
    elif change.status == "new":
        text = f"{head}: {_size_text(lesion)}, new; no such lesion there in the prior study."
    elif change.status == "resolved":
        text = f"{head}: previously {_size_text(lesion)}, no longer found."
    else:
        text = f"{head}: {_size_text(lesion)}, not comparable, {change.reason}."
    return ChangeSentence(text, *cited)


def _recist_sentence(outcome: Recist) -> ChangeSentence:
    targets = [t.change for t in outcome.targets]
    everyone = [*targets, *outcome.new]
    text = f"RECIST 1.1, prior study as baseline: {outcome.category} ({outcome.reason})."
    return ChangeSentence(
        text,
        tuple(c.current.region.id for c in everyone if c.current),
        tuple(c.prior.region.id for c in everyone if c.prior),
    )


def verify_change(sentence: ChangeSentence, changes: Iterable[LesionChange], outcome: Recist) -> str | None:
    """Why a sentence of change says more than the studies do, or None.

    Every number must be a rendering of a size or a change of a lesion that it cites, or of the RECIST sums.
    """
    ids = (set(sentence.current_regions), set(sentence.prior_regions))
    cited = [
        c
        for c in changes
        if (c.current is not None and c.current.region.id in ids[0])
        or (c.prior is not None and c.prior.region.id in ids[1])
    ]
    if sentence.text.startswith("RECIST"):
        allowed = {"1.1", *_NUMBER.findall(outcome.reason)}
        sums = {f"{v:.0f}" for v in (outcome.baseline_mm, outcome.current_mm, outcome.nadir_mm) if v is not None}
        if not allowed & sums and "sum" in outcome.reason:
            return "its sums are not those of the targets"
    else:
        if not cited:
            return "it cites no lesion of either study"
        allowed = {number for c in cited for number in _renderings(c)}
    words = re.sub(r"\b[A-Z]\d+\b", "", sentence.text)  # vertebral levels
    wrong = [n for n in _NUMBER.findall(words) if n not in allowed]
    return f"{wrong[0]} is no measurement of what it cites" if wrong else None


def _renderings(change: LesionChange) -> set[str]:
    found: set[str] = set()
    for lesion in (change.current, change.prior):
        if lesion is not None:
            found |= set(_NUMBER.findall(_size_text(lesion)))
            found |= {
                n
                for m in (lesion.long_axis_mm, lesion.short_axis_mm)
                if m is not None
                for n in _NUMBER.findall(length_text(m, _STYLE))
            }
    for value in (change.change_mm, change.change_percent, change.volume_change_percent):
        if value is not None:
            found.add(signed(value))
    if change.doubling_days is not None:
        found.add(rounded(abs(change.doubling_days), "1"))
    return found
