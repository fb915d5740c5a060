"""Masks on the grid of a scan, and what was searched for.

Structures overlap (a segment lies in the liver, a lesion in a segment), so labels are kept in *layers*, each a plain
label map; a structure lives at one (layer, label). And three things are kept apart: a structure that is present, one
that was searched for and not found, and one that nobody looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

from radvlm.errors import GridError, InputError, StructureError
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box, Geometry
from radvlm.types.provenance import Decision, MaskOrigin, SourceFile

#: The six faces of a RAS+ grid: (axis, 0 for the low side or 1 for the high side) -> name.
FACES: Mapping[tuple[int, int], str] = MappingProxyType(
    {(0, 0): "left", (0, 1): "right", (1, 0): "posterior", (1, 1): "anterior", (2, 0): "inferior", (2, 1): "superior"}
)

#: A structure that meets the edge of its mask's grid with this share of its largest cross-section goes on beyond it.
ENDS_SHARE = 0.2
#: And with this share, where another structure ends there with half of its own.
BESIDE_SHARE, FULL_SHARE = 0.05, 0.5
#: So many slices, and what they cut off a ball of this radius (mm), are the tip of an organ.
TIP_SLICES, TIP_RADIUS_MM = 2, 60.0


@dataclass(frozen=True)
class LabelPlace:
    """Where a structure's voxels are: which layer, and which value in it."""

    layer: int
    label: int


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Label maps on one RAS+ grid.

    Attributes:
        layers: each (I, J, K), uint8 or uint16, 0 = background, on ``geometry``.
        places: structure name -> LabelPlace, for every structure with at least one voxel.
        searched: every structure that was looked for; a superset of the structures in ``places``.
        geometry: the grid, in RAS+ order.
        scheme: name of the label scheme that the labels came in.
        sources, decisions: provenance, as in Volume.
        covered: the part of the grid that the masks' own grid reached, where that is not the whole; None: all of it.
        attenuation_doubt: why what lies under the masks is not the attenuation of their structures ("they look
            misplaced"), else "".
        colors: structure -> red, green, blue from 0 to 255, where the file of the masks states them.
        findings: structure -> number of the finding of each voxel in its tight box (0 outside it), where the masks came
            finding by finding; two findings that touch stay two.
        unsure: structure -> why its mask may be another one's, so that nothing of it is interpreted; already warned of.
        origins: the programs that made the masks, where radvlm ran them; () for masks that were given.

    Raises InputError when a non-zero label has no name, StructureError for an unknown structure.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> masks.mask("liver").shape, masks.mask_in_box("liver").shape, masks.cut_faces("liver")
        ((30, 30, 20), (10, 10, 10), ())
    """

    layers: tuple[np.ndarray, ...]
    places: Mapping[str, LabelPlace]
    searched: frozenset[str]
    geometry: Geometry
    scheme: str = ""
    sources: tuple[SourceFile, ...] = ()
    decisions: tuple[Decision, ...] = ()
    attenuation_doubt: str = ""
    covered: Box | None = None
    colors: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    findings: Mapping[str, np.ndarray] = field(default_factory=dict)
    unsure: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[MaskOrigin, ...] = ()
    _counts: tuple[np.ndarray, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.geometry.is_canonical:
            raise GridError(
                "a Segmentation is in RAS+ order",
                self.geometry.axis_codes,
                "Use radvlm.load_segmentation, which reorders from the affine",
            )
        for layer in self.layers:
            if layer.shape != self.geometry.shape:
                raise GridError("every layer has the shape of the grid", f"{layer.shape}, grid {self.geometry.shape}")
            if layer.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
                raise InputError("labels are uint8 or uint16", str(layer.dtype))
        for name in set(self.places) | set(self.searched):
            structure(name)
        counts = tuple(_count_labels(layer) for layer in self.layers)
        named = {(place.layer, place.label) for place in self.places.values()}
        if len(named) != len(self.places):
            raise InputError("each structure has a label of its own", str(dict(self.places)))
        for number, count in enumerate(counts):
            held = {(number, int(label)) for label in np.flatnonzero(count) if label}
            if held - named:
                raise StructureError(
                    "every non-zero label is named",
                    f"labels {sorted(v for _, v in held - named)}",
                    "Pass scheme= or a {label: structure} mapping",
                )
        empty = [n for n, p in self.places.items() if p.layer >= len(counts) or counts[p.layer][p.label] == 0]
        if empty:
            raise InputError(
                "a placed structure has at least one voxel", ", ".join(sorted(empty)), "List it in `searched` only"
            )
        object.__setattr__(self, "places", MappingProxyType(dict(self.places)))
        object.__setattr__(self, "colors", MappingProxyType(dict(self.colors)))
        object.__setattr__(self, "unsure", MappingProxyType(dict(self.unsure)))
        object.__setattr__(self, "findings", MappingProxyType(dict(self.findings)))
        object.__setattr__(self, "searched", frozenset(self.searched) | frozenset(self.places))
        object.__setattr__(self, "_counts", counts)
        for name, numbers in self.findings.items():
            if name not in self.places or numbers.shape != self.boxes[name].shape:
                raise InputError("findings are numbered in the tight box of a present structure", name)

    def __repr__(self) -> str:
        return (
            f"Segmentation({len(self.places)} structures present of {len(self.searched)} searched, "
            f"{self.scheme or 'own names'}, {self.geometry!r})"
        )

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the structures with at least one voxel, in the order of the anatomy table."""
        return tuple(sorted(self.places, key=lambda name: structure(name).rank))

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the structures that were searched for and not found."""
        return tuple(sorted(self.searched - set(self.places), key=lambda name: structure(name).rank))

    def voxel_count(self, name: str) -> int:
        """Voxels of a structure; 0 when it was searched and not found. Raises when it was not searched."""
        place = self.places.get(name)
        if place is not None:
            return int(self._counts[place.layer][place.label])
        if name in self.searched:
            return 0
        raise StructureError("the structure was searched for", name, "Ask `name in segmentation.searched` first")

    @cached_property
    def boxes(self) -> Mapping[str, Box]:
        """Tight bounding box of every present structure."""
        from scipy.ndimage import find_objects

        found = [
            find_objects(layer, max_label=len(count) - 1)
            for layer, count in zip(self.layers, self._counts, strict=True)
        ]
        return MappingProxyType(
            {name: Box.from_slices(found[place.layer][place.label - 1]) for name, place in self.places.items()}
        )

    def mask(self, name: str) -> np.ndarray:
        """Boolean mask of a present structure on the whole grid. Raises StructureError when it is not present."""
        place = self._place(name)
        return self.layers[place.layer] == place.label

    def mask_in_box(self, name: str, box: Box | None = None) -> np.ndarray:
        """The part of ``mask`` inside ``box`` (default: the structure's own tight box, see ``boxes``).

        Reads no voxel outside the box. Raises StructureError when the structure is not present.
        """
        place = self._place(name)
        window = self.boxes[name] if box is None else box
        return self.layers[place.layer][window.slices] == place.label

    def instances_in_box(self, name: str, box: Box | None = None) -> np.ndarray:
        """Like ``mask_in_box``, with the number of its finding at each voxel (1 where masks came in one piece)."""
        window = self.boxes[name] if box is None else box
        mask = self.mask_in_box(name, window).astype(np.uint16)
        if name in self.findings:
            mask *= self.findings[name][window.relative_to(self.boxes[name]).slices]
        return mask

    def _place(self, name: str) -> LabelPlace:
        if name not in self.places:
            raise StructureError(
                "the structure is present in the masks", name, "Ask `name in segmentation.places` first"
            )
        return self.places[name]

    def cut_faces(self, name: str) -> tuple[str, ...]:
        """Faces of the field of view that a structure touches, such as ``("inferior",)``; () when none.

        A structure in the outermost voxel layer continues, as far as anyone can tell, beyond the scan.
        A face counts only along an axis that is more than one voxel long.
        """
        box, shape = self.boxes[name], self.geometry.shape
        return tuple(
            face
            for (axis, end), face in FACES.items()
            if shape[axis] > 1 and (box.start[axis] == 0 if end == 0 else box.stop[axis] == shape[axis])
        )

    def is_tip(self, name: str) -> bool:
        """True when the scan shows one or two slices through the end of an organ, and no more of it.

        Such a slice holds what lies beside the organ too, up to the cap that a slice cuts off a ball of TIP_RADIUS_MM.
        """
        box, depth = self.boxes[name], self.geometry.shape[2]
        thickness_mm, pixel_mm2 = self.geometry.spacing_mm[2], float(np.prod(self.geometry.spacing_mm[:2]))
        slices = box.shape[2]
        if slices > TIP_SLICES or (box.start[2] > 0 and box.stop[2] < depth) or structure(name).kind != "organ":
            return False
        area_mm2 = self.voxel_count(name) / slices * pixel_mm2
        return area_mm2 <= 2 * np.pi * TIP_RADIUS_MM * slices * thickness_mm

    def end_faces(self, name: str) -> tuple[str, ...]:
        """Faces of ``covered`` inside the field of view at which a structure ends because its mask does.

        A structure that only touches such a face with its tip, as in masks that were cropped to it, is whole.
        """
        return tuple(
            face
            for key, face in FACES.items()
            if self._share_at_end(name, *key) >= (BESIDE_SHARE if key in self._full_ends else ENDS_SHARE)
        )

    @cached_property
    def _full_ends(self) -> frozenset[tuple[int, int]]:
        """Faces of ``covered`` inside the field of view at which a structure ends with much of its cross-section."""
        return frozenset(
            key for key in FACES if any(self._share_at_end(name, *key) >= FULL_SHARE for name in self.places)
        )

    def _share_at_end(self, name: str, axis: int, end: int) -> float:
        """Share of its largest cross-section with which a structure meets a face of ``covered``; 0 away from it."""
        if self.covered is None:
            return 0.0
        box, edge = self.boxes[name], (self.covered.start, self.covered.stop)[end][axis]
        if (box.start, box.stop)[end][axis] != edge or edge in (0, self.geometry.shape[axis]):
            return 0.0
        return self.face_share(name, axis, end)

    def face_share(self, name: str, axis: int, end: int) -> float:
        """Share of its largest cross-section with which a structure ends on one side of an axis (0 low, 1 high)."""
        areas = self.mask_in_box(name).sum(axis=tuple(a for a in range(3) if a != axis))
        return float(areas[0 if end == 0 else -1] / areas.max())


def _count_labels(layer: np.ndarray) -> np.ndarray:
    """Voxels per label value, slice by slice so that no large temporary is made."""
    size = 256 if layer.dtype == np.uint8 else int(layer.max(initial=0)) + 1
    total = np.zeros(size, dtype=np.int64)
    slowest = int(np.argmax(np.abs(layer.strides)))
    for part in np.moveaxis(layer, slowest, 0):  # views: `take` would copy a Fortran-ordered array each time
        total += np.bincount(part.ravel(order="K"), minlength=size)
    return total
