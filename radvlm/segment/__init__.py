"""Volume to Segmentation: simple thresholds without any model, or the TotalSegmentator package where installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radvlm.files.late_names import late_names

if TYPE_CHECKING:
    from radvlm.segment.threshold import segment_by_threshold
    from radvlm.segment.totalsegmentator import segment_with_totalsegmentator

_HOME = {
    "segment_by_threshold": "radvlm.segment.threshold",
    "segment_with_totalsegmentator": "radvlm.segment.totalsegmentator",
}
__all__ = ["segment_by_threshold", "segment_with_totalsegmentator"]

__getattr__, __dir__ = late_names(__name__, _HOME)
