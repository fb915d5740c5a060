"""What a search of an index is told: whose scan it is, which rows may be found, and which level is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radvlm.errors import InputError
from radvlm.retrieve.context import QueryContext
from radvlm.retrieve.records import LEVELS, check_date

#: What the vector of a query was made from.
MODALITIES = ("text", "image")


@dataclass(frozen=True)
class SearchOptions:
    """Exclusions and filters of a search; all must hold. None, "" and () mean no condition.

    Attributes:
        exclude_patient: whose scan it is (name, key or several); none of their records is found, nor any copy of one
            under another name. A scan with ``study.patient_key`` excludes its own patient as well.
        patient_not_indexed: say so when the patient is nobody in the index; a scan or vector needs one of the two.
        exclude_studies: their patients are excluded.
        before_date: YYYY-MM-DD; only studies strictly before it. A record without a date is not before anything.
        split: only records of this split.
        evaluation: only the training split; an index that names none is refused.
        region: section, organ or body region of that name, whichever the index knows.
        organ, section: of the row, exactly that.
        site: only records of this site.
        level: ``image``, ``report``, ``paragraph`` or ``sentence``. Default: sentences for a text, otherwise
            paragraphs when an organ or section is asked for and reports when not.
        modality: of a query that is a vector: ``text`` or ``image``.
        context: body region, phase and kind of the query; a record that does not say its own passes.

    Raises InputError for a patient or studies that are no names, a date that is none, or an unknown level or modality.
    """

    exclude_patient: str | Sequence[str] | None = None
    patient_not_indexed: bool = False
    exclude_studies: Sequence[str] = ()
    before_date: str = ""
    split: str = ""
    evaluation: bool = False
    region: str = ""
    organ: str = ""
    section: str = ""
    site: str = ""
    level: str = ""
    modality: str = "text"
    context: QueryContext | None = None

    def __post_init__(self) -> None:
        if self.exclude_patient is not None and not all(isinstance(n, str) and n.strip() for n in self.patients):
            raise InputError("exclude_patient names a patient", repr(self.exclude_patient))
        if isinstance(self.exclude_studies, str) or not all(isinstance(s, str) for s in self.exclude_studies):
            raise InputError("exclude_studies is a list of studies", repr(self.exclude_studies))
        if self.before_date:
            check_date(self.before_date)
        if self.level and self.level not in LEVELS:
            raise InputError(f"level is one of {', '.join(LEVELS)}", repr(self.level))
        if self.modality not in MODALITIES:
            raise InputError("modality is text or image", repr(self.modality))

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients that ``exclude_patient`` names."""
        named = self.exclude_patient
        return () if named is None else (named,) if isinstance(named, str) else tuple(named)

    @property
    def body_regions(self) -> tuple[str, ...]:
        return self.context.body_regions if self.context is not None else ()

    @property
    def narrowed(self) -> bool:
        """Whether one organ, section or region is asked for."""
        return bool(self.region or self.organ or self.section)
