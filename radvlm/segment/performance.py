"""How well tasks do by what was published: rows of ``performance.csv``, each with the source that was read for it."""

from __future__ import annotations

from functools import cache

from radvlm.types.csv_tables import package_rows

NOT_PUBLISHED = "performance not published"


@cache
def _rows() -> tuple[dict[str, str], ...]:
    return tuple(package_rows("radvlm.segment", "performance.csv"))


def published_performance(task: str, structure: str = "") -> str:
    """What was published of a task, or of one structure of it, in words with the source; else that nothing was.

    Example:
        >>> from radvlm.segment.performance import published_performance
        >>> published_performance("liver_lesions")
        'performance not published'
    """
    found = [row for row in _rows() if row["task"] == task and (not structure or row["structure"] in ("", structure))]
    if not found:
        return NOT_PUBLISHED
    return "; ".join(_words(row, with_name=bool(row["structure"]) and not structure) for row in found)


def lesion_performance(performance: str, structure: str) -> str:
    """What ``MaskOrigin.performance`` says of one lesion or fluid; a mean over organs says nothing of it.

    Example:
        >>> from radvlm.segment.performance import lesion_performance, published_performance
        >>> lesion_performance(published_performance("pleural_pericard_effusion"), "pleural_effusion")
        'published sensitivity 0.99, specificity 0.98, median Dice 0.89 (96 test scans) (Sexauer, Invest Radiol 2022)'
        >>> lesion_performance(published_performance("total"), "kidney_cyst_left")
        'performance not published'
    """
    name = f"{structure.replace('_', ' ')}: "
    said = [part.removeprefix(name) for part in performance.split("; ") if part.startswith(name)]
    return said[0] if said else NOT_PUBLISHED


def _words(row: dict[str, str], *, with_name: bool) -> str:
    name = f"{row['structure'].replace('_', ' ')}: " if with_name else ""
    return f"{name}{row['words']} ({row['source']})"
