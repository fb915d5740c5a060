"""Labels of a report: present, absent, uncertain or not mentioned.

A label is a set of finding kinds (``lexicon/schemes.json``), so one reading of a report serves every scheme: the 18
CT-RATE labels, Merlin's 30 findings, or every kind that radvlm knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from radvlm.report_reader.frame import Frame, Reading
from radvlm.report_reader.lexicon import Lexicon, load_lexicon
from radvlm.report_reader.reading import read_report
from radvlm.report_reader.report_text import ReportText

if TYPE_CHECKING:
    from radvlm.types.report import Report


def label_report(
    report: str | ReportText | Report | Mapping[str, str], scheme: str = "ct-rate", lexicon: Lexicon | None = None
) -> dict[str, str]:
    """Label -> ``present``, ``absent``, ``uncertain`` or ``not mentioned``.

    Args:
        report: text, sections, ReportText or a structured radvlm Report.
        scheme: ``ct-rate``, ``merlin``, ``radvlm`` (every kind), or one that ``lexicon`` adds.
        lexicon: defaults to the built-in one; ``load_lexicon(path)`` adds a user's terms and schemes.

    One present mention makes a label present; an uncertain one counts before an absent one; an organ called normal
    makes its own labels absent (a normal spleen is not enlarged). Raises InputError for an unknown scheme.
    """
    lexicon = lexicon or load_lexicon()
    return label_frames(read_report(report, lexicon), scheme, lexicon)


def label_frames(reading: Reading, scheme: str, lexicon: Lexicon) -> dict[str, str]:
    """Labels from a reading; as ``label_report``."""
    labels = lexicon.labels(scheme)
    enlarged_only = lexicon.schemes[scheme].get("nodes") == "enlarged"
    states: dict[str, set[str]] = {}
    for frame in reading.frames:
        states.setdefault(frame.kind, set()).add(frame.status)
        if enlarged_only and frame.kind == "lymph_node":
            states.setdefault("lymph_node enlarged", set()).add(_enlarged(frame))
    out = {}
    for label, kinds in labels.items():
        if enlarged_only and "lymphadenopathy" in kinds:
            kinds = ("lymphadenopathy", "lymph_node enlarged")
        seen = {state for kind in kinds for state in states.get(kind, ())}
        state = next((s for s in ("present", "uncertain", "absent") if s in seen), "")
        if not state and any(
            site in reading.normal_sites
            for kind in kinds
            if kind in lexicon.kinds
            for site in lexicon.kinds[kind].normal
        ):
            state = "absent"
        out[label] = state or "not mentioned"
    return out


def _enlarged(node: Frame) -> str:
    """Status of a node where only an enlarged one counts: its smaller stated dimension from 10 mm (RECIST 1.1)."""
    if node.status not in ("present", "uncertain"):
        return node.status
    if node.sizes_mm:
        return "present" if node.sizes_mm[-1] >= 10 else "absent"
    return "absent" if node.small else ""
