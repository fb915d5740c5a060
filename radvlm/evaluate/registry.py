"""Metric names, as in ``metrics=["lexical", "findings"]``, and where each is defined.

A name may carry one option after a colon (``lexical:coco``), passed to the metric as its only argument.
Nothing is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from radvlm.errors import InputError
from radvlm.evaluate.metric import Metric

#: Name -> module and class.
METRICS: Mapping[str, str] = {
    "lexical": "radvlm.evaluate.metrics.lexical:LexicalMetric",
    "meteor": "radvlm.evaluate.metrics.lexical:MeteorMetric",
    "bertscore": "radvlm.evaluate.metrics.bertscore:BertScoreMetric",
    "findings": "radvlm.evaluate.metrics.labels:FindingsMetric",
    "errors": "radvlm.evaluate.metrics.errors:ErrorsMetric",
    "grounding": "radvlm.evaluate.metrics.grounding:GroundingMetric",
    "vqa": "radvlm.evaluate.metrics.vqa:VqaMetric",
    "radgraph": "radvlm.evaluate.metrics.model_metrics:radgraph",
    "radbert": "radvlm.evaluate.metrics.model_metrics:radbert",
    "green": "radvlm.evaluate.metrics.model_metrics:green",
    "ratescore": "radvlm.evaluate.metrics.model_metrics:ratescore",
}
#: What is computed when nothing is asked for: everything that needs neither weights nor a network.
DEFAULT_METRICS = ("lexical", "findings", "errors")


def make_metrics(metrics: Sequence[str | Metric]) -> tuple[Metric, ...]:
    """Metrics from names and objects; InputError for an unknown name or two metrics of one name."""
    made = tuple(make_metric(m) if isinstance(m, str) else m for m in metrics)
    if not made:
        raise InputError("at least one metric is asked for", "none", "Known: " + ", ".join(METRICS))
    names = [m.name for m in made]
    if len(set(names)) != len(names):
        raise InputError("metrics have different names", ", ".join(names))
    return made


def make_metric(name: str) -> Metric:
    """The metric of that name, such as ``lexical`` or ``lexical:vlm3d``."""
    base, _, option = name.partition(":")
    if base not in METRICS:
        raise InputError("a metric is one of " + ", ".join(METRICS), repr(name))
    module, _, attribute = METRICS[base].partition(":")
    try:
        factory = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError("a metric of this release", repr(name), "It is not part of this installation") from error
    return factory(option) if option else factory()
