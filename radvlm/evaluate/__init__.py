"""Evaluation of generated reports: lexical, findings, errors, grounding; with intervals and trivial baselines.

Importing this package loads none of its parts; each name is fetched when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radvlm.files.late_names import late_names

#: Public name -> module that defines it.
_HOME = {
    "evaluate": "radvlm.evaluate.run",
    "EvaluationOptions": "radvlm.evaluate.run",
    "EvaluationTable": "radvlm.evaluate.results.table",
    "ReportText": "radvlm.report_reader.report_text",
    "Score": "radvlm.evaluate.score",
    "Mark": "radvlm.evaluate.score",
    "Metric": "radvlm.evaluate.metric",
    "Output": "radvlm.evaluate.metric",
    "read_reports": "radvlm.evaluate.inputs",
    "compare_systems": "radvlm.evaluate.results.table",
    "markdown": "radvlm.evaluate.results.writing",
    "save": "radvlm.evaluate.results.writing",
    "label_report": "radvlm.report_reader.labels",
    "count_errors": "radvlm.evaluate.metrics.errors",
}
__all__ = [
    "EvaluationOptions",
    "EvaluationTable",
    "Mark",
    "Metric",
    "Output",
    "ReportText",
    "Score",
    "compare_systems",
    "count_errors",
    "evaluate",
    "label_report",
    "markdown",
    "read_reports",
    "save",
]

if TYPE_CHECKING:
    from radvlm.evaluate.inputs import read_reports
    from radvlm.evaluate.metric import Metric, Output
    from radvlm.evaluate.metrics.errors import count_errors
    from radvlm.evaluate.results.table import EvaluationTable, compare_systems
    from radvlm.evaluate.results.writing import markdown, save
    from radvlm.evaluate.run import EvaluationOptions, evaluate
    from radvlm.evaluate.score import Mark, Score
    from radvlm.report_reader.labels import label_report
    from radvlm.report_reader.report_text import ReportText

__getattr__, __dir__ = late_names(__name__, _HOME)
