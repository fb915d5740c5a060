"""Training: voxel supervision, contrastive with findings, language model, instruction tuning; see ``run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radvlm.train.run import run as run

__all__ = ["run"]


def __getattr__(name: str) -> object:
    if name == "run":
        from radvlm.train.run import run

        return run
    raise AttributeError(name)
