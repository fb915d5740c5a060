"""Which rows of an index may be found: exclusions and filters in one value."""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.errors import InputError
from radvlm.retrieve.records import check_date


@dataclass(frozen=True)
class Where:
    """Conditions on records and rows; all must hold. "" and () mean no condition.

    Attributes:
        exclude_patients: patients (or keys of patients) none of whose records may be found, nor any duplicate of them.
        exclude_studies: studies; the patients they belong to are excluded with them.
        before_date: YYYY-MM-DD; only studies strictly before it. A record without a date is not before anything.
        split: only records of this split.
        body_regions: only records of one of these; a record without a region passes.
        phase, kind: contrast phase and kind of study; a record without one passes.
        section, organ: of the row.
        site: only records of this site.
        about: section, organ or body region of that name, whichever the index knows.
    """

    exclude_patients: tuple[str, ...] = ()
    exclude_studies: tuple[str, ...] = ()
    before_date: str = ""
    split: str = ""
    body_regions: tuple[str, ...] = ()
    section: str = ""
    organ: str = ""
    site: str = ""
    about: str = ""
    phase: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        for name in ("exclude_patients", "exclude_studies", "body_regions"):
            if isinstance(getattr(self, name), str) or not all(isinstance(v, str) for v in getattr(self, name)):
                raise InputError(f"{name} is a tuple of texts", repr(getattr(self, name)))
        if self.before_date:
            check_date(self.before_date)
