"""radvlm: from a 3D CT scan to a grounded structured report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radvlm.files.late_names import late_names

#: Public name -> module that defines it. Nothing below is imported before it is used.
_HOME = {
    "load_volume": "radvlm.io",
    "load_segmentation": "radvlm.io",
    "measure": "radvlm.workflows.examine",
    "generate_report": "radvlm.workflows.report",
    "compare": "radvlm.workflows.compare_studies",
    "GeneratedReport": "radvlm.workflows.saved_report",
    "load_model": "radvlm.workflows.models",
    "classify_findings": "radvlm.workflows.examine",
    "answer": "radvlm.workflows.examine",
    "embed": "radvlm.workflows.examine",
    "embed_text": "radvlm.workflows.examine",
    "ReportIndex": "radvlm.retrieve",
    "Config": "radvlm.workflows.config",
    "Patient": "radvlm.types.study",
    "Volume": "radvlm.types.volume",
    "Segmentation": "radvlm.types.segmentation",
    "Geometry": "radvlm.types.geometry",
    "Measurements": "radvlm.types.scan_measurements",
    "Finding": "radvlm.types.finding",
    "Report": "radvlm.types.report",
    "Phantom": "radvlm.phantom",
    "RadvlmError": "radvlm.errors",
    "__version__": "radvlm.version",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from radvlm.errors import RadvlmError
    from radvlm.io import load_segmentation, load_volume
    from radvlm.phantom import Phantom
    from radvlm.retrieve import ReportIndex
    from radvlm.types.finding import Finding
    from radvlm.types.geometry import Geometry
    from radvlm.types.report import Report
    from radvlm.types.scan_measurements import Measurements
    from radvlm.types.segmentation import Segmentation
    from radvlm.types.study import Patient
    from radvlm.types.volume import Volume
    from radvlm.version import __version__
    from radvlm.workflows.compare_studies import compare
    from radvlm.workflows.config import Config
    from radvlm.workflows.examine import answer, classify_findings, embed, embed_text, measure
    from radvlm.workflows.models import load_model
    from radvlm.workflows.report import generate_report
    from radvlm.workflows.saved_report import GeneratedReport

__getattr__, __dir__ = late_names(__name__, _HOME)
