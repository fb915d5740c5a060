"""An image as a file stores it, before it becomes a Volume or a Segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from radvlm.io.rescale import refuse_nonfinite, rescaled
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


@dataclass(frozen=True)
class StoredSegment:
    """One segment that a segmentation file describes.

    Attributes:
        name: as written in the file.
        layer, label: which label map of the file, and which value in it.
        color: red, green, blue from 0 to 255, where the file states one.
        codes: (scheme, code, meaning) of its type, the type's modifier, its region and the region's modifier, as
            DICOM segments have them; () where there are none.
    """

    name: str
    layer: int
    label: int
    color: tuple[int, int, int] | None = None
    codes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class StoredImage:
    """One image file with its rescale *not yet* applied: what ``load_volume`` needs to judge the rescale.

    Attributes:
        array: (I, J, K) in stored order and native byte order.
        affine: 4x4, index to RAS+ mm; may be sheared.
        slope, intercept: 1 and 0 where the header asks for no rescale.
        names: label value -> name found in the header.
        more_layers: further label maps on the same grid, where a file holds several.
        segments: what the file says of its segments.
        step: what decisions about its values are filed under.
    """

    array: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    names: Mapping[int, str] = field(default_factory=dict)
    sources: tuple[SourceFile, ...] = ()
    decisions: tuple[Decision, ...] = ()
    more_layers: tuple[np.ndarray, ...] = ()
    segments: tuple[StoredSegment, ...] = ()
    step: str = "nifti"


def rescaled_image(stored: StoredImage) -> RawImage:
    """The image with the rescale of its header applied: the stored type where there is none, else int16 or float32."""
    array, decisions = stored.array, stored.decisions
    if (stored.slope, stored.intercept) != (1.0, 0.0):
        array = rescaled(array, stored.slope, stored.intercept)
        refuse_nonfinite(array, stored.sources[0].name)
        decisions = (
            *decisions,
            Decision(
                stored.step, f"Voxels were rescaled once by the header: x {stored.slope:g} {stored.intercept:+g}."
            ),
        )
    return RawImage(array, stored.affine, stored.names, sources=stored.sources, decisions=decisions)
