"""Errors of a report judged by a language model: the same six categories by two as ``errors``, each with its place.

The model lists single errors with verbatim quotes, and counts are derived from the list; it is never asked
for a number. A case without a valid answer has a status and no score, so it can never look like a report without
errors. Importing this package loads none of its parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radvlm.files.late_names import late_names

_HOME = {
    "JudgeMetric": "radvlm.evaluate.judge.metric",
    "JudgeSettings": "radvlm.evaluate.judge.runner",
    "judge_errors": "radvlm.evaluate.judge.metric",
    "Judgment": "radvlm.evaluate.judge.judgment",
    "OpenAICompatible": "radvlm.evaluate.judge.openai_compatible",
    "azure": "radvlm.evaluate.judge.azure",
    "CallableBackend": "radvlm.evaluate.judge.callable",
    "LocalTransformers": "radvlm.evaluate.judge.local_transformers",
    "OfflineBatch": "radvlm.evaluate.judge.offline_batch",
    "calibrate": "radvlm.evaluate.judge.calibrate",
    "load_calibration_set": "radvlm.evaluate.judge.rated_sets",
}
__all__ = [
    "CallableBackend",
    "JudgeMetric",
    "JudgeSettings",
    "Judgment",
    "LocalTransformers",
    "OfflineBatch",
    "OpenAICompatible",
    "azure",
    "calibrate",
    "judge_errors",
    "load_calibration_set",
]

if TYPE_CHECKING:
    from radvlm.evaluate.judge.azure import azure
    from radvlm.evaluate.judge.calibrate import calibrate
    from radvlm.evaluate.judge.callable import CallableBackend
    from radvlm.evaluate.judge.judgment import Judgment
    from radvlm.evaluate.judge.local_transformers import LocalTransformers
    from radvlm.evaluate.judge.metric import JudgeMetric, judge_errors
    from radvlm.evaluate.judge.offline_batch import OfflineBatch
    from radvlm.evaluate.judge.openai_compatible import OpenAICompatible
    from radvlm.evaluate.judge.rated_sets import load_calibration_set
    from radvlm.evaluate.judge.runner import JudgeSettings

__getattr__, __dir__ = late_names(__name__, _HOME)
