"""Synthetic CT with masks and exact truth.

    phantom = make_phantom(PhantomSpec(seed=1, lesions=(LesionSpec("liver_cyst", size=24),)))
    phantom.volume, phantom.segmentation, phantom.truth.lesions[0].long_axis_mm

The parameters are the truth; nothing is measured from the image to know it. See docs/phantom.md for what a
phantom is and is not.
"""

from __future__ import annotations

from radvlm.phantom.insert import Insertion, insert_lesions
from radvlm.phantom.kinds import LESION_KINDS, LesionKind
from radvlm.phantom.make import Phantom, make_phantom, random_spec
from radvlm.phantom.spec import REGIONS, LesionSpec, PhantomSpec
from radvlm.phantom.truth import LesionTruth, PhantomTruth, StructureTruth

__all__ = [
    "LESION_KINDS",
    "REGIONS",
    "Insertion",
    "LesionKind",
    "LesionSpec",
    "LesionTruth",
    "Phantom",
    "PhantomSpec",
    "PhantomTruth",
    "StructureTruth",
    "insert_lesions",
    "make_phantom",
    "random_spec",
]
