"""All numbers of one scan: what ``radvlm.measure`` returns.

Plain records; the computing lives in ``radvlm.quantify``. A number that could not be measured is not in the
record but in ``omissions`` with its reason.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from radvlm.errors import InputError
from radvlm.types.anatomy import structure
from radvlm.types.csv_tables import csv_text
from radvlm.types.geometry import Geometry
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.provenance import Decision
from radvlm.types.records import record_from
from radvlm.types.region import Region

#: Why a part of a vessel has no number when the scan does not reach it; nothing is said of such a part.
NOT_IMAGED = "no section of this part is imaged"
#: How the reason begins where the values of a scan, or of a mask, cannot be trusted to be HU.
NOT_INTERPRETED = "attenuation not interpreted"
#: Said of an attenuation that its structure cannot have, before the limits of what is possible.
NOT_POSSIBLE = "possible are"
#: How the reason of a phase ends where the header names a contrast agent that the voxels do not show, and what is told.
AGENT_NAMED, AGENT_BY_HEADER = "; the header names a contrast agent", "contrast agent given by the header"
#: Contrast phases that can be told apart from organ HU.
PHASES = ("non-contrast", "arterial", "portal venous", "delayed", "unknown")
#: Those in which blood and organs hold contrast.
ENHANCED_PHASES = ("arterial", "portal venous", "delayed")
#: Finer timing -> the phase that it belongs to. ``mixed`` shows the signs of two injections.
PHASE_OF_TIMING = {
    **{name: name for name in PHASES},
    "pulmonary arterial": "arterial",
    "early arterial": "arterial",
    "late arterial": "arterial",
    "excretory": "delayed",
    "mixed": "unknown",
}


@dataclass(frozen=True)
class Phase:
    """Contrast phase with the reason for it.

    Attributes:
        name: one of PHASES, which rules ask for.
        reason: why, with the HU of the structures that say so.
        certain: False near a boundary, and where too few structures say so or one speaks against it.
        timing: a key of ``PHASE_OF_TIMING`` where the phase is known more finely than by its name, else "".
        possible: every phase that it may be; () where even that is not known.
    """

    name: str
    reason: str
    certain: bool = False
    timing: str = ""
    possible: tuple[str, ...] = ()


def _value(measurements: tuple[Measurement, ...], quantity: str) -> float | None:
    return next((m.value for m in measurements if m.quantity == quantity), None)


@dataclass(frozen=True)
class StructureMeasurements:
    """Numbers of one present structure. ``cut_by`` names the faces of the field of view that it touches."""

    structure: str
    region: Region
    measurements: tuple[Measurement, ...]
    cut_by: tuple[str, ...] = ()
    omissions: tuple[Omission, ...] = ()

    @property
    def volume_ml(self) -> float:
        return self.region.volume_ml

    @property
    def mean_hu(self) -> float | None:
        return _value(self.measurements, "mean_hu")

    @property
    def median_hu(self) -> float | None:
        return _value(self.measurements, "median_hu")

    def measurement(self, quantity: str) -> Measurement | None:
        return next((m for m in self.measurements if m.quantity == quantity), None)


@dataclass(frozen=True)
class Neighbor:
    """A structure near a lesion: the gap between both surfaces in mm (0 where they touch) and, where they touch, the
    area of the lesion's surface that does, in mm2."""

    structure: str
    distance_mm: float
    contact_mm2: float = 0.0


@dataclass(frozen=True)
class VesselContact:
    """How one lesion lies to one vessel or branch.

    Attributes:
        vessel: structure name, also of a branch that was told apart within a larger mask.
        touches: None when it could not be judged; ``reason`` says why.
        measurements: ``angle`` and ``length`` of a contact, else ``distance`` (none when farther than 2 cm).
    """

    vessel: str
    touches: bool | None
    measurements: tuple[Measurement, ...] = ()
    reason: str = ""

    def measurement(self, quantity: str) -> Measurement | None:
        return next((m for m in self.measurements if m.quantity == quantity), None)


@dataclass(frozen=True)
class LesionMeasurements:
    """Numbers of one 26-connected instance of a lesion or fluid structure.

    Attributes:
        structure: lesion structure, such as ``liver_lesion``.
        instance: 1 for the largest of its structure, then by falling volume.
        host: structure it lies in (``liver``, ``kidney_left``), "" when none was searched or touched.
        locations: finer places, largest overlap first (``liver_segment_6``, ``lung_upper_lobe_left``,
            ``pancreas_head``).
        pole: ``upper pole``, ``interpolar region`` or ``lower pole`` of a kidney, else "".
        level: vertebra at the height of the centroid (``vertebrae_L2``), else "".
        attenuation: ``hypoattenuating``, ``isoattenuating`` or ``hyperattenuating`` to the host, else "".
        neighbors: structures that are neither the host nor a part of it, nearest first.
        station: where a lymph node lies, by the nearest landmark (``para-aortic``), else "".
    """

    structure: str
    instance: int
    region: Region
    measurements: tuple[Measurement, ...]
    host: str = ""
    locations: tuple[str, ...] = ()
    pole: str = ""
    level: str = ""
    attenuation: str = ""
    cut_by: tuple[str, ...] = ()
    omissions: tuple[Omission, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    station: str = ""
    contacts: tuple[VesselContact, ...] = ()

    def measurement(self, quantity: str) -> Measurement | None:
        return next((m for m in self.measurements if m.quantity == quantity), None)

    @property
    def volume_ml(self) -> float:
        return self.region.volume_ml

    @property
    def long_axis_mm(self) -> float | None:
        return _value(self.measurements, "long_axis")

    @property
    def short_axis_mm(self) -> float | None:
        return _value(self.measurements, "short_axis")

    @property
    def diameter_3d_mm(self) -> float | None:
        return _value(self.measurements, "diameter_3d")

    @property
    def mean_hu(self) -> float | None:
        return _value(self.measurements, "mean_hu")


#: What attenuation alone shows in an organ and no mask names: kind -> words for one, words for several.
FOCUS_WORDS = {
    "high_attenuation_focus": ("focus of high attenuation", "foci of high attenuation"),
    "gas_focus": ("focus of gas", "foci of gas"),
    "low_attenuation_area": ("area of low attenuation", "areas of low attenuation"),
    "low_attenuation_organ": ("attenuation in the range of tissue mixed with fat",) * 2,
    "wall_calcium": ("foci of calcium attenuation along the wall",) * 2,
    "calcium_focus": ("focus of calcium attenuation", "foci of calcium attenuation"),
}
FOCUS_KINDS = tuple(FOCUS_WORDS)


def focus_region_id(kind: str, name: str) -> str:
    """Id of the region of what attenuation alone shows: ``gas_focus:liver``; that of a whole organ is the organ's."""
    return name if kind == "low_attenuation_organ" else f"{kind}:{name}"


def focus_kind_of(region: Region) -> str:
    """The key of ``FOCUS_WORDS`` that a region belongs to, "" for one of the masks."""
    kind, colon, _ = region.id.partition(":")
    return kind if colon and kind in FOCUS_WORDS else ""


@dataclass(frozen=True)
class Focus:
    """What attenuation alone shows in one structure and no mask names: of low certainty, and never a diagnosis.

    Attributes:
        kind: one of FOCUS_KINDS. structure: where it lies. count: how many separate ones.
        measurements: numbers of the largest (``diameter``, ``mean_hu``, of a dense one also ``peak_hu``), the
            ``volume`` and the ``count`` of all.
        center_mm: center of the largest, RAS+ mm. pole, level, locations: of the kidney, the vertebra and the part of
            the organ in which that lies.
        omissions: what was not measured of it, and why.
        region: all of them together; no mask holds its voxels.
        voxels: which voxels of the region's box they are; None where the whole organ is meant, and after reading JSON.
    """

    kind: str
    structure: str
    count: int
    measurements: tuple[Measurement, ...]
    center_mm: tuple[float, float, float]
    omissions: tuple[Omission, ...] = ()
    region: Region | None = None
    voxels: np.ndarray | None = field(default=None, repr=False, compare=False)
    pole: str = ""
    level: str = ""
    locations: tuple[str, ...] = ()


def _without_voxels(focus: Focus) -> dict[str, object]:
    """What JSON keeps of a focus; its voxels are in regions.nii.gz."""
    return {key: value for key, value in asdict(replace(focus, voxels=None)).items() if key != "voxels"}


@dataclass(frozen=True)
class UnmeasuredAreas:
    """Areas of one lesion or fluid structure that are too small to be measured.

    Attributes:
        structure: what the masks call them.
        count: how many separate ones.
        limit: what they are below (``fewer than 4 voxels``).
        regions: where the largest of them are, largest first; at least one, and not more than a reader looks at.
    """

    structure: str
    count: int
    limit: str
    regions: tuple[Region, ...]


Row = dict[str, str | float | int | None]
#: Columns of ``Measurements.rows``; the first seven say what was measured.
_COLUMNS = (
    "region",
    "structure",
    "instance",
    "level",
    "host",
    "location",
    "cut_by",
    "quantity",
    "value",
    "unit",
    "uncertainty",
    "method",
    "slice",
    "reason_missing",
)


def _row(
    head: Row,
    quantity: str,
    value: float | None = None,
    unit: str = "",
    uncertainty: float | None = None,
    method: str = "",
    slice_index: int | None = None,
    reason_missing: str = "",
) -> Row:
    value, uncertainty = (None if v is None else round(v, 4) for v in (value, uncertainty))
    row = (quantity, value, unit, uncertainty, method, slice_index, reason_missing)
    return {**head, **dict(zip(_COLUMNS[-len(row) :], row, strict=True))}


def _measured_rows(head: Row, measurements: tuple[Measurement, ...]) -> list[Row]:
    return [_row(head, m.quantity, m.value, m.unit, m.uncertainty, m.method, m.slice_index) for m in measurements]


def _contact_rows(head: Row, contact: VesselContact) -> list[Row]:
    """Rows of one contact; ``location`` is the vessel. A contact without a number has its reason."""
    if contact.measurements:
        return _measured_rows(head, contact.measurements)
    quantity, reason = ("angle", contact.reason) if contact.reason else ("distance", "farther than 20 mm")
    return [_row(head, quantity, reason_missing=reason)]


def _neighbor_rows(head: Row, near: Neighbor) -> list[Row]:
    """Gap (mm) and, where they touch, area of contact (mm2); ``location`` is the neighbor."""
    rows = [_row(head, "gap", near.distance_mm, "mm", method="surface to surface")]
    if near.contact_mm2 > 0:
        rows.append(_row(head, "contact_area", near.contact_mm2, "mm2", method="shared voxel faces x 2/3"))
    return rows


@dataclass(frozen=True)
class Measurements:
    """Everything measured on one scan.

    Attributes:
        structures: one record per present structure (lesions and fluid as a whole included), table order.
        lesions: one record per instance, grouped by structure, largest first.
        absent: structures searched for and not found.
        phase: contrast phase, None without a CT.
        geometry: grid of the masks.
        decisions: what was decided on the way (crumbs ignored, phase, ...).
        foci: what attenuation alone shows and no mask names.
        unmeasured: areas of lesion and fluid structures that are too small to be measured.
        masks_given: False where thresholds alone made the masks.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> numbers = radvlm.measure(scan, masks)
        >>> numbers.structure("liver").mean_hu
        40.0
        >>> print(numbers.to_csv().splitlines()[1])
        liver,liver,,structure,,,,volume,12.0,mL,2.4,voxel count,,
    """

    structures: tuple[StructureMeasurements, ...]
    lesions: tuple[LesionMeasurements, ...]
    absent: tuple[str, ...]
    phase: Phase | None
    geometry: Geometry
    decisions: tuple[Decision, ...] = ()
    foci: tuple[Focus, ...] = ()
    unmeasured: tuple[UnmeasuredAreas, ...] = ()
    masks_given: bool = True
    crumbs: tuple[str, ...] = ()

    def structure(self, name: str) -> StructureMeasurements | None:
        """The record of a structure, None when it is not present."""
        return next((s for s in self.structures if s.structure == name), None)

    def searched(self, name: str) -> bool:
        labeled = any(areas.structure == name for areas in self.unmeasured)
        return name in self.absent or name in self.crumbs or labeled or self.structure(name) is not None

    def rows(self) -> list[Row]:
        """One flat row per number, the form of ``to_csv``."""
        rows: list[Row] = []
        records: list[StructureMeasurements | LesionMeasurements] = [*self.structures, *self.lesions]
        for record in records:
            head: Row = {
                "region": record.region.id,
                "structure": record.structure,
                "instance": record.instance if isinstance(record, LesionMeasurements) else None,
                "level": "lesion" if isinstance(record, LesionMeasurements) else "structure",
                "host": record.host if isinstance(record, LesionMeasurements) else structure(record.structure).parent,
                "location": " ".join(record.locations) if isinstance(record, LesionMeasurements) else "",
                "cut_by": " ".join(record.cut_by),
            }
            rows += _measured_rows(head, record.measurements)
            rows += [_row(head, o.quantity, reason_missing=o.reason) for o in record.omissions]
            for contact in record.contacts if isinstance(record, LesionMeasurements) else ():
                rows += _contact_rows({**head, "level": "contact", "location": contact.vessel}, contact)
            for near in record.neighbors if isinstance(record, LesionMeasurements) else ():
                rows += _neighbor_rows({**head, "level": "neighbor", "location": near.structure}, near)
        for focus in self.foci:
            named: Row = {"region": focus_region_id(focus.kind, focus.structure), "structure": focus.structure}
            where = " ".join(focus.locations)
            place: Row = {"instance": focus.count, "level": "focus", "host": "", "location": where, "cut_by": ""}
            rows += _measured_rows({**named, **place}, focus.measurements)
            rows += [_row({**named, **place}, o.quantity, reason_missing=o.reason) for o in focus.omissions]
        return rows

    def to_csv(self) -> str:
        """CSV text, one line per number; an empty ``value`` always has a ``reason_missing``."""
        return csv_text(_COLUMNS, self.rows())

    def to_json(self) -> str:
        """JSON text with the full records, indented."""
        return json.dumps(
            {
                "structures": [asdict(s) for s in self.structures],
                "lesions": [asdict(lesion) for lesion in self.lesions],
                "absent": list(self.absent),
                "phase": None if self.phase is None else asdict(self.phase),
                "grid": {
                    "shape": list(self.geometry.shape),
                    "affine": self.geometry.affine.tolist(),
                    "spacing_mm": list(self.geometry.spacing_mm),
                },
                "decisions": [asdict(d) for d in self.decisions],
                "foci": [_without_voxels(f) for f in self.foci],
                "unmeasured": [asdict(areas) for areas in self.unmeasured],
                "masks_given": self.masks_given,
            },
            indent=2,
        )

    @classmethod
    def from_json(cls, text: str) -> Measurements:
        """Read ``to_json`` back; InputError for anything else."""
        try:
            data = json.loads(text)
            return cls(
                tuple(record_from(StructureMeasurements, s) for s in data["structures"]),
                tuple(record_from(LesionMeasurements, s) for s in data["lesions"]),
                tuple(data["absent"]),
                None if data["phase"] is None else record_from(Phase, data["phase"]),
                Geometry(tuple(data["grid"]["shape"]), np.array(data["grid"]["affine"])),
                tuple(Decision(**d) for d in data["decisions"]),
                tuple(record_from(Focus, f) for f in data.get("foci", ())),
                tuple(record_from(UnmeasuredAreas, a) for a in data.get("unmeasured", ())),
                bool(data.get("masks_given", True)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("measurements.json is what radvlm wrote", f"{type(error).__name__}: {error}") from error
