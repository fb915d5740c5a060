"""radvlm: from a 3D CT scan to a grounded structured report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: Public name -> module that defines it. Nothing below is imported before it is used.
_HOME = {
    "load_volume": "radvlm.io",
    "load_segmentation": "radvlm.io",
    "measure": "radvlm.pipeline",
    "generate_report": "radvlm.pipeline",
    "compare": "radvlm.comparison",
    "GeneratedReport": "radvlm.pipeline",
    "load_model": "radvlm.neural",
    "classify_findings": "radvlm.neural",
    "answer": "radvlm.neural",
    "embed": "radvlm.neural",
    "embed_text": "radvlm.neural",
    "ReportIndex": "radvlm.retrieve",
    "Config": "radvlm.config",
    "Patient": "radvlm.study",
    "Volume": "radvlm.volume",
    "Segmentation": "radvlm.segmentation",
    "Geometry": "radvlm.geometry",
    "Measurements": "radvlm.measurements",
    "Finding": "radvlm.finding",
    "Report": "radvlm.report",
    "Phantom": "radvlm.phantom",
    "RadvlmError": "radvlm.errors",
}
__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from radvlm.comparison import compare
    from radvlm.config import Config
    from radvlm.errors import RadvlmError
    from radvlm.finding import Finding
    from radvlm.geometry import Geometry
    from radvlm.io import load_segmentation, load_volume
    from radvlm.measurements import Measurements
    from radvlm.neural import answer, classify_findings, embed, embed_text, load_model
    from radvlm.phantom import Phantom
    from radvlm.pipeline import GeneratedReport, generate_report, measure
    from radvlm.report import Report
    from radvlm.retrieve import ReportIndex
    from radvlm.segmentation import Segmentation
    from radvlm.study import Patient
    from radvlm.volume import Volume


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'radvlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
