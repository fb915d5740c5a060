"""Exports of a finished report: the offline page and the table that names the labels of the region file.

Importing this package loads none of its parts; each name is fetched when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radvlm.files.late_names import late_names

if TYPE_CHECKING:
    from radvlm.export.options import PageOptions
    from radvlm.export.page import render_page
    from radvlm.export.regions import regions_table

_HOME = {
    "PageOptions": "radvlm.export.options",
    "render_page": "radvlm.export.page",
    "regions_table": "radvlm.export.regions",
}
__all__ = ["PageOptions", "regions_table", "render_page"]

__getattr__, __dir__ = late_names(__name__, _HOME)
