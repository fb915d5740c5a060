"""An image as a file stores it, before it becomes a Volume or a Segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from radvlm.types.geometry import Geometry, to_canonical
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.study import Study


@dataclass(frozen=True, eq=False)
class RawImage:
    """Array in stored axis order, its affine to RAS+ mm, and what the header said.

    Attributes:
        array: (I, J, K) in stored order.
        affine: 4x4, index to RAS+ mm.
        names: label value -> name found in the header of a mask file; empty otherwise.
        study: facts from a DICOM header.
    """

    array: np.ndarray
    affine: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)
    study: Study = field(default_factory=Study)
    sources: tuple[SourceFile, ...] = ()
    decisions: tuple[Decision, ...] = ()

    def canonical(self) -> tuple[np.ndarray, Geometry, str]:
        """RAS+-ordered view of the array, its Geometry, and the stored axis codes (such as ``LPS``)."""
        return to_canonical(self.array, self.affine)
