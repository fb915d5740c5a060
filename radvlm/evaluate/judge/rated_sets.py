"""Report pairs whose errors radiologists counted, from files that the user has; radvlm ships none of them.

Formats: ``rexval`` (PhysioNet, 200 chest radiograph pairs, 6 raters), ``radevalx`` (PhysioNet, 100 pairs, consensus of
2), ``chest2error`` (400 chest CT pairs, 1 rater) and ``table``, a plain table for any other set. A blank count
is not taken for 0 unless the user says so; ReXVal's study numbers may start at 0 or 1, and which is decided by the
numbers themselves.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.inputs import parquet_rows
from radvlm.evaluate.metrics.errors import CATEGORIES
from radvlm.files.columns import PAIR_COLUMNS, find_column, plain

#: Keys under which raters' counts are kept; the same as the outputs of ``errors`` and of a judge.
COUNTS = ("total", "significant", *CATEGORIES, *(f"{c}_significant" for c in CATEGORIES))
REXVAL_REPORTS = "50_samples_gt_and_candidates.csv"
REXVAL_RATINGS = "6_valid_raters_per_rater_error_categories.csv"
REXVAL_CANDIDATES = ("radgraph", "bertscore", "s_emb", "bleu")
RADEVALX_SIGNIFICANT = "RadEval_clinically_significant_errors.csv"
RADEVALX_INSIGNIFICANT = "RadEval-clinically_insignificant_errors.csv"
_RADEVALX_CATEGORIES = ("one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True)
class RatedCase:
    """One pair and what its raters counted.

    Attributes:
        study: cases of one study are resampled together.
        ratings: rater -> count key (of ``COUNTS``) -> count; keys that a set does not give are missing.
    """

    id: str
    study: str
    reference: str
    candidate: str
    ratings: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RatedSet:
    """Rated cases of one data set, with what a reader should know about them."""

    name: str
    cases: tuple[RatedCase, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cases:
            raise InputError("a rated set has cases", self.name)
        ids = [c.id for c in self.cases]
        if len(set(ids)) != len(ids):
            raise InputError("ids are unique", f"{self.name}: {next(i for i in ids if ids.count(i) > 1)!r}")
        for case in self.cases:
            if not case.reference.strip():
                raise InputError("a reference has words", f"{self.name}: {case.id!r} is empty")
            if not case.ratings or any(not counts for counts in case.ratings.values()):
                raise InputError("each case has ratings", f"{self.name}: {case.id!r} has none")

    @property
    def raters(self) -> tuple[str, ...]:
        """Raters of every case, sorted."""
        common = set(self.cases[0].ratings).intersection(*(c.ratings for c in self.cases))
        return tuple(sorted(common))

    @property
    def keys(self) -> tuple[str, ...]:
        """Count keys that every rater of every case gives."""
        return tuple(k for k in COUNTS if all(k in r for c in self.cases for r in c.ratings.values()))


def load_calibration_set(kind: str, path: str | Path, blank_is_zero: bool = False) -> RatedSet:
    """A rated set from the user's files.

    Args:
        kind: ``rexval``, ``radevalx``, ``chest2error`` or ``table``.
        path: folder (rexval, radevalx) or file (chest2error, table), as downloaded.
        blank_is_zero: take an empty count for 0; an assumption that the notes of the set then state.

    Raises InputError for an unknown kind, FileFormatError when files or columns are missing, naming them.
    """
    loaders: dict[str, Callable[[Path, bool], RatedSet]] = {
        "rexval": _rexval,
        "radevalx": _radevalx,
        "chest2error": _chest2error,
        "table": _table,
    }
    if kind not in loaders:
        raise InputError("a rated set is " + ", ".join(loaders), repr(kind))
    path = Path(path)
    if not path.exists():
        raise FileFormatError(
            "the data set is on this computer",
            str(path),
            "radvlm ships and downloads none; see docs/judge.md for where to ask for it",
        )
    return loaders[kind](path, blank_is_zero)


def _rexval(path: Path, blank_is_zero: bool) -> RatedSet:
    reports, ratings = _rows(path / REXVAL_REPORTS), _rows(path / REXVAL_RATINGS)
    _need(reports, REXVAL_REPORTS, ("study_id", "gt_report"))
    _need(
        ratings,
        REXVAL_RATINGS,
        ("study_number", "candidate_type", "error_category", "clinically_significant", "rater_index", "num_errors"),
    )
    kinds = [c for c in REXVAL_CANDIDATES if c in reports[0]]
    if not kinds:
        raise FileFormatError(
            "the reports of ReXVal have columns " + ", ".join(REXVAL_CANDIDATES), ", ".join(reports[0])
        )
    numbers = {_number(r["study_number"], REXVAL_RATINGS, n) for n, r in enumerate(ratings, 2)}
    first = int(min(numbers))
    if first not in (0, 1) or numbers - set(range(first, first + len(reports))):
        raise FileFormatError(
            "study_number counts the rows of the reports from 0 or from 1",
            f"{first} to {int(max(numbers))} for {len(reports)} rows",
        )
    counts: dict[tuple[int, str], dict[str, dict[str, float]]] = {}
    for n, row in enumerate(ratings, 2):
        category = int(_number(row["error_category"], REXVAL_RATINGS, n))
        if not 1 <= category <= 6:
            raise FileFormatError("error_category is 1 to 6", f"{REXVAL_RATINGS} line {n}: {category}")
        key = (int(_number(row["study_number"], REXVAL_RATINGS, n)) - first, row["candidate_type"].strip())
        rater = counts.setdefault(key, {}).setdefault(row["rater_index"].strip(), dict.fromkeys(COUNTS, 0.0))
        _add(
            rater,
            CATEGORIES[category - 1],
            _truth(row["clinically_significant"], REXVAL_RATINGS, n),
            _count(row["num_errors"], blank_is_zero, REXVAL_RATINGS, n),
        )
    cases = []
    for number, row in enumerate(reports):
        for kind in kinds:
            if (number, kind) in counts:
                study = row["study_id"].strip() or str(number)
                cases.append(RatedCase(f"{study} {kind}", study, row["gt_report"], row[kind], counts[number, kind]))
    if not cases:
        raise FileFormatError(
            "candidate_type names columns of the reports", f"{sorted({k for _, k in counts})[:6]} and {kinds}"
        )
    return RatedSet("rexval", tuple(cases), _notes(blank_is_zero, "chest radiographs; reports are impressions"))


def _radevalx(path: Path, blank_is_zero: bool) -> RatedSet:
    significant, other = _rows(path / RADEVALX_SIGNIFICANT), _rows(path / RADEVALX_INSIGNIFICANT)
    id_name = _one_of("id", significant[0], RADEVALX_SIGNIFICANT)
    texts = significant
    if find_column(PAIR_COLUMNS["reference"], significant[0]) is None:
        texts = _rows(
            path / "reports.csv",
            "The counts hold no report text; make reports.csv with id, reference and "
            "candidate from IU-Xray and the released M2Tr reports",
        )
    text_id = _one_of("id", texts[0], "the reports")
    reference, candidate = (_one_of(what, texts[0], "the reports") for what in ("reference", "candidate"))
    pairs = {row[text_id].strip(): (row[reference], row[candidate]) for row in texts}
    counts: dict[str, dict[str, float]] = {}
    for rows, name, matters in ((significant, RADEVALX_SIGNIFICANT, True), (other, RADEVALX_INSIGNIFICANT, False)):
        own_id = _one_of("id", rows[0], name)
        columns = _radevalx_columns(rows[0], name)
        for n, row in enumerate(rows, 2):
            rater = counts.setdefault(row[own_id].strip(), dict.fromkeys(("total", "significant"), 0.0))
            for column in columns:
                value = _count(row[column], blank_is_zero, name, n)
                rater["total"] += value
                rater["significant"] += value * matters
    missing = [i for i in counts if i not in pairs]
    if missing:
        raise FileFormatError("each rated report has its text", f"no text for {missing[0]!r} ({id_name})")
    cases = tuple(RatedCase(i, i, *pairs[i], {"consensus": c}) for i, c in counts.items())
    return RatedSet(
        "radevalx",
        cases,
        _notes(
            blank_is_zero,
            "chest radiographs; 8 categories, compared as totals; "
            "one consensus of 2 raters, so no agreement between raters",
        ),
    )


def _radevalx_columns(row: Mapping[str, str], name: str) -> list[str]:
    """The eight count columns: named one to eight, 1 to 8, or the only eight that are neither id nor text."""
    by_name = {plain(column): column for column in row}
    for names in (_RADEVALX_CATEGORIES, tuple("12345678")):
        if set(names) <= set(by_name):
            return [by_name[n] for n in names]
    known = {plain(name) for names in PAIR_COLUMNS.values() for name in names}
    rest = [column for name, column in by_name.items() if name and name not in known]
    if len(rest) != 8:
        raise FileFormatError(
            "RadEvalX has eight count columns",
            f"{name}: {', '.join(row)}",
            "Name them one to eight, beside the id and the two reports",
        )
    return rest


def _chest2error(path: Path, blank_is_zero: bool) -> RatedSet:
    rows = _rows(path)
    _need(
        rows, path.name, ("anchor_id", "reference_report", "candidate_report", "rad_error_count", "rad_critical_count")
    )
    cases = []
    for n, row in enumerate(rows, 2):
        counts = {
            "total": _count(row["rad_error_count"], blank_is_zero, path.name, n),
            "significant": _count(row["rad_critical_count"], blank_is_zero, path.name, n),
        }
        for column, value in row.items():
            number = column.removeprefix("rad_cat_count_")[:1]
            if column.startswith("rad_cat_count_") and number in "123456":
                counts[CATEGORIES[int(number) - 1]] = _count(value, blank_is_zero, path.name, n)
        parts = [row["anchor_id"], row.get("reference_style", ""), row.get("variant_id", "")]
        cases.append(
            RatedCase(
                " ".join(p for p in map(str, parts) if p),
                str(row["anchor_id"]),
                str(row["reference_report"]),
                str(row["candidate_report"]),
                {"radiologist": counts},
            )
        )
    return RatedSet(
        "chest2error",
        tuple(cases),
        _notes(
            blank_is_zero,
            "chest CT; one radiologist, so no agreement between raters; 'critical' is taken for significant",
        ),
    )


def _table(path: Path, blank_is_zero: bool) -> RatedSet:
    """One row for each pair and rater: id, reference, candidate, columns of ``COUNTS``; rater and study if known."""
    rows = _rows(path)
    names = [_one_of(what, rows[0], path.name) for what in PAIR_COLUMNS]
    counted = [k for k in COUNTS if k in rows[0]]
    if not {"total", "significant"} & set(counted):
        raise FileFormatError(
            "a rated table has a column total or significant",
            f"{path.name}: {', '.join(rows[0])}",
            "Known columns: " + ", ".join(COUNTS),
        )
    found: dict[str, tuple[str, str, str, dict[str, dict[str, float]]]] = {}
    for n, row in enumerate(rows, 2):
        id, reference, candidate = (str(row[name]) for name in names)
        study = _text(row, "study") or _text(row, "patient_id") or id
        case = found.setdefault(id, (study, reference, candidate, {}))
        if case[1:3] != (reference, candidate):
            raise FileFormatError("one id has one pair of reports", f"{path.name} line {n}: {id!r}")
        rater = _text(row, "rater") or "rater 1"
        if rater in case[3]:
            raise FileFormatError("a rater counts a pair once", f"{path.name} line {n}: {id!r}, {rater!r}")
        case[3][rater] = {k: _count(row[k], blank_is_zero, path.name, n) for k in counted}
    return RatedSet(path.stem, tuple(RatedCase(i, *rest) for i, rest in found.items()), _notes(blank_is_zero))


def _add(counts: dict[str, float], category: str, significant: bool, value: float) -> None:
    for key in ("total", category, *(("significant", f"{category}_significant") if significant else ())):
        counts[key] += value


def _notes(blank_is_zero: bool, *notes: str) -> tuple[str, ...]:
    return (*notes, *(("empty counts are taken for 0, which is an assumption",) if blank_is_zero else ()))


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _one_of(what: str, row: Mapping[str, Any], file: str) -> str:
    found = find_column(PAIR_COLUMNS[what], row)
    if found is None:
        raise FileFormatError(f"a column for the {what}: " + ", ".join(PAIR_COLUMNS[what]), f"{file}: {', '.join(row)}")
    return found


def _need(rows: Sequence[Mapping[str, Any]], file: str, columns: Iterable[str]) -> None:
    missing = [c for c in columns if c not in rows[0]]
    if missing:
        raise FileFormatError(
            f"{file} has the columns {', '.join(columns)}", f"no {', '.join(missing)} among {', '.join(rows[0])}"
        )


def _number(value: Any, file: str, line: int) -> float:
    try:
        number = float(str(value).strip())
    except ValueError as error:
        raise FileFormatError("a number", f"{file} line {line}: {str(value)[:40]!r}") from error
    if number != number or number in (float("inf"), float("-inf")):
        raise FileFormatError("a number", f"{file} line {line}: {value!r}")
    return number


def _count(value: Any, blank_is_zero: bool, file: str, line: int) -> float:
    if value is None or not str(value).strip() or str(value).strip().lower() == "nan":
        if blank_is_zero:
            return 0.0
        raise FileFormatError(
            "every count is given",
            f"{file} line {line}: an empty count",
            "If empty means 0 in this set, say so with blank_is_zero=True (--blank-is-zero)",
        )
    number = _number(value, file, line)
    if number < 0:
        raise FileFormatError("a count is not negative", f"{file} line {line}: {value}")
    return number


def _truth(value: str, file: str, line: int) -> bool:
    plain = value.strip().lower()
    if plain in ("true", "1", "1.0", "yes"):
        return True
    if plain in ("false", "0", "0.0", "no"):
        return False
    raise FileFormatError("clinically_significant is true or false", f"{file} line {line}: {value[:40]!r}")


def _rows(path: Path, remedy: str = "") -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileFormatError("the file is there under its own name", str(path), remedy)
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            rows = parquet_rows(path)
        elif suffix in (".jsonl", ".ndjson"):
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        elif suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",", strict=True))
        else:
            raise FileFormatError("a rated set is .csv, .tsv, .jsonl or .parquet", path.name)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise FileFormatError("the file is well formed UTF-8", f"{path.name}: {error}") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise FileFormatError("the file has rows with named columns", path.name)
    uneven = next((n for n, row in enumerate(rows, 1) if set(row) != set(rows[0])), None)
    if uneven is not None and suffix in (".jsonl", ".ndjson"):
        raise FileFormatError("all rows have the same columns", f"{path.name} row {uneven}")
    ragged = next((n for n, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if suffix in (".csv", ".tsv") and ragged is not None:
        raise FileFormatError("each row has one value for each column", f"{path.name} row {ragged}")
    return rows
