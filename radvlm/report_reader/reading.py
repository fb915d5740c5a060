"""Reading a report: the one door of this package for those who ask what a report states.

``read_report`` takes a report in any form and gives its frames, one a mention of a finding; a report that was read
before is remembered, because several metrics and systems ask for the same reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from radvlm.report_reader import frames
from radvlm.report_reader.frame import Reading
from radvlm.report_reader.lexicon import Lexicon, load_lexicon
from radvlm.report_reader.report_text import ReportText
from radvlm.report_reader.structured import report_frames

if TYPE_CHECKING:
    from radvlm.types.report import Report

#: Reports whose reading is kept.
_KEPT = 4096
#: "..., at or near the limit of 2.5 cm for ectatic within the measurement error of 0.2 cm": no size of a finding.
_WITHIN_ERROR = re.compile(
    r"(?:,? (?:but possibly|at or near the limits?) (?:[^.;:()]|\.(?=\d)){1,160}?)?,? ?\bwithin the measurement error"
    r"(?: of \d+(?:\.\d+)? ?(?:mm2?|cm2?|mL|HU|%|percent|degrees?))?"
)
_READINGS: dict[tuple[str, str], Reading] = {}


def read_report(report: str | ReportText | Report | Mapping[str, str], lexicon: Lexicon | None = None) -> Reading:
    """Frames of a report: from its structured findings where it has them, otherwise from its text.

    Spans refer to ``ReportText.of("report", report).text``, which for a string is the string.
    """
    lexicon = lexicon or load_lexicon()
    if isinstance(report, str):
        text = report
    else:
        source = ReportText.of("report", report)
        if source.report is not None:
            return report_frames(source.report, source.text, lexicon)
        text = source.text
    done = _READINGS.get((lexicon.digest, text))
    if done is None:
        if len(_READINGS) >= _KEPT:
            _READINGS.clear()
        done = _READINGS[lexicon.digest, text] = frames.read_frames(_without_errors(text), lexicon)
    return done


def _without_errors(text: str) -> str:
    """The text with blanks, character for character, in place of measurement errors and of what is possible in them."""
    return _WITHIN_ERROR.sub(lambda found: " " * len(found.group()), text)


def forget() -> None:
    """Drop the remembered reports and sentences (for measurements of speed and memory)."""
    _READINGS.clear()
    frames.forget_sentences()
