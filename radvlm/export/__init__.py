"""Exports of a finished report: the offline page and the table that names the labels of the region file.

Importing this package costs almost nothing (settings only); what does the work is loaded when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radvlm.export.options import PageOptions

if TYPE_CHECKING:
    from radvlm.export.page import render_page
    from radvlm.export.regions import regions_table

__all__ = ["PageOptions", "regions_table", "render_page"]

_HOME = {"render_page": "radvlm.export.page", "regions_table": "radvlm.export.regions"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'radvlm.export' has no attribute {name!r}")
