"""A CT volume: Hounsfield units on a Geometry.

A Volume is always in RAS+ order (axis 0 most nearly to the patient's right, 1 anterior, 2 superior),
whatever the file held, so axis 2 counts axial slices from the feet up everywhere in the library. The reader
reorders (a view, no copy) and remembers the file's own axes in ``stored_axes``, so that masks can be written
back on the file's grid. Values have been rescaled to HU exactly once, by the reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from radvlm.errors import GridError, InputError
from radvlm.types.geometry import Geometry
from radvlm.types.provenance import Decision, SourceFile, cautions
from radvlm.types.study import Study


@dataclass(frozen=True, eq=False)
class Volume:
    """``hu`` is (I, J, K), int16 or float32, in HU, finite; build one with ``radvlm.load_volume``.

    Attributes:
        stored_axes: axis codes of the file, such as ``LPS``; the axes used to write results back.
        sources: the files that were read, with their digests.
        decisions: everything the reader had to decide.
        attenuation_doubt: why the values cannot be trusted to be HU ("cut to a window of -160 to 240 HU"), else "".
            Nothing is then measured or said of attenuation; sizes stand.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), 40, np.int16)
        >>> scan = radvlm.Volume(hu, radvlm.Geometry(hu.shape, np.diag([2.0, 2.0, 3.0, 1.0])))
        >>> scan.geometry.spacing_mm
        (2.0, 2.0, 3.0)
    """

    hu: np.ndarray
    geometry: Geometry
    study: Study = field(default_factory=Study)
    stored_axes: str = "RAS"
    sources: tuple[SourceFile, ...] = ()
    decisions: tuple[Decision, ...] = ()
    attenuation_doubt: str = ""

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape:
            raise GridError("the array has the shape of its grid", f"array {self.hu.shape}, grid {self.geometry.shape}")
        if self.hu.dtype not in (np.dtype(np.int16), np.dtype(np.float32)):
            raise InputError(
                "HU are held as int16 or float32",
                str(self.hu.dtype),
                "Use radvlm.load_volume(array, affine=...), which converts",
            )
        if not self.geometry.is_canonical:
            raise GridError(
                "a Volume is in RAS+ order",
                self.geometry.axis_codes,
                "Use radvlm.load_volume, which reorders from the affine",
            )
        view = self.hu.view()
        view.setflags(write=False)
        object.__setattr__(self, "hu", view)

    def __repr__(self) -> str:
        return f"Volume({self.geometry!r}, {self.hu.dtype})"


def doubts_of(scan: Volume) -> tuple[str, ...]:
    """What must be known of a scan before anything that rests on it: cautions, then a doubt about its HU."""
    doubt = f"Its values may not be HU: {scan.attenuation_doubt}."
    return (*cautions(scan.decisions), *((doubt,) if scan.attenuation_doubt else ()))
