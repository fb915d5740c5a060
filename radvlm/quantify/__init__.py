"""Segmentation and CT to Measurements: every number, where it was measured, and how sure it is.

Each quantity, its formula, its source and its limits are explained in docs/measurements.md.
"""

from __future__ import annotations

from radvlm.quantify.phase import estimate_phase
from radvlm.quantify.regions import merge_maps, paint_regions, region_mask
from radvlm.quantify.scan import measure_scan

__all__ = ["estimate_phase", "measure_scan", "merge_maps", "paint_regions", "region_mask"]
