"""Files to Volume and Segmentation, and back: the only place that flips axes or rescales."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radvlm.io.masks import load_segmentation
    from radvlm.io.volumes import load_volume
    from radvlm.io.writing import save_labels

_HOME = {"load_volume": "radvlm.io.volumes", "load_segmentation": "radvlm.io.masks", "save_labels": "radvlm.io.writing"}
__all__ = ["load_segmentation", "load_volume", "save_labels"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'radvlm.io' has no attribute {name!r}")
