"""Findings to a report: sentences by template, an impression, and the proof that each is true to its findings.

With a model, ``guided_report`` also takes what it saw and wrote, marked and verified.
"""

from __future__ import annotations

from radvlm.compose.guided_report import guided_report
from radvlm.compose.report import compose_report, sentences_of
from radvlm.compose.verify.sentence import verify_report, verify_sentence
from radvlm.wording.style import Style

__all__ = ["Style", "compose_report", "guided_report", "sentences_of", "verify_report", "verify_sentence"]
