"""Volume to Segmentation: simple thresholds without any model, or the TotalSegmentator package where installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radvlm.segment.threshold import segment_by_threshold
    from radvlm.segment.totalsegmentator import segment_with_totalsegmentator

_HOME = {
    "segment_by_threshold": "radvlm.segment.threshold",
    "segment_with_totalsegmentator": "radvlm.segment.totalsegmentator",
}
__all__ = ["segment_by_threshold", "segment_with_totalsegmentator"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'radvlm.segment' has no attribute {name!r}")
