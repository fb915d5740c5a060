"""Names of the columns in tables that users hand in, each in one place.

Tables of reports come from anywhere, so what a column holds is recognized by many names, written as ``plain`` gives
them. Tables made for radvlm (studies to train on, records of an index) have exactly the names given here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: What a column of a table of reports holds -> its usual names. The text is one column, or findings and impression.
REPORT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": (
        "id",
        "caseid",
        "case",
        "studyid",
        "studyinstanceuid",
        "accession",
        "accessionno",
        "accessionnumber",
        "volumename",
        "bdmapid",
        "imageid",
        "inputimagename",
        "filename",
    ),
    "text": ("text", "report", "reporttext", "fullreport", "generatedreport", "prediction", "narrativereport"),
    "findings": ("findings", "findingsen"),
    "impression": ("impression", "impressions", "impressionsen", "conclusion"),
    "patient_id": ("patientid", "patient", "subjectid", "subject", "mrn"),
}
#: The same for pairs of reports that radiologists rated; the first name that is there counts.
PAIR_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "report_id", "study_id", "case_id", "uid", "study"),
    "reference": ("reference", "reference_report", "gt_report", "ground_truth", "gt", "original_report"),
    "candidate": ("candidate", "candidate_report", "prediction", "generated_report", "m2tr", "generated"),
}
#: A table of studies to train on: what each row needs, what it may have, and beginnings of further columns.
STUDY_NEEDS = ("patient", "study", "volume")
STUDY_COLUMNS = (*STUDY_NEEDS, "masks", "report")
SECTION_COLUMN, LABEL_COLUMN = "section:", "label:"
#: What a record of an index needs; what else it may have are the fields of ``radvlm.retrieve.Record``.
RECORD_NEEDS = ("patient", "study", "text")


def plain(name: str) -> str:
    """A column's name without case, blanks, dashes and underscores."""
    return re.sub(r"[\s_\-]", "", name).lower()


def find_column(names: Iterable[str], columns: Iterable[str]) -> str | None:
    """The column that has the first of ``names`` that any has, compared as ``plain``; None when none has one."""
    by_name = {plain(column): column for column in columns}
    return next((by_name[plain(name)] for name in names if plain(name) in by_name), None)
