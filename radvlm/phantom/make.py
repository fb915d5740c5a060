"""From a spec to a phantom: volume, masks, truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.phantom.frame import VERTEBRAE, Frame
from radvlm.phantom.hu import PHASE_NAMES, phase_index
from radvlm.phantom.kinds import LESION_KINDS
from radvlm.phantom.lesions import Placed, draw, organ_changes, place
from radvlm.phantom.patient import build_scene
from radvlm.phantom.render import LESION, ORGAN, PART, Canvas, render_scene
from radvlm.phantom.scene import Scene
from radvlm.phantom.searched import SEARCHED
from radvlm.phantom.shapes import Ellipsoid, rotation
from radvlm.phantom.spec import IN_PLANE_FOV_MM, REGIONS, LesionSpec, PhantomSpec
from radvlm.phantom.truth import LesionTruth, PhantomTruth, StructureTruth, attenuation_words, plane_axes
from radvlm.phantom.tubes import abdominal_aorta_mm, aneurysm_center
from radvlm.types.anatomy import KIDNEY_POLES, structures
from radvlm.types.geometry import Geometry
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.study import Patient, Study
from radvlm.types.volume import Volume

#: Structures that are one shape which nothing covers: their volume is a formula.
ANALYTIC = ("spleen", "urinary_bladder", "prostate", "gallbladder")
#: Structures of one material -> its HU is stated in the truth.
UNIFORM = frozenset(
    """
liver spleen pancreas gallbladder urinary_bladder prostate uterus aorta inferior_vena_cava superior_vena_cava
portal_vein_and_splenic_vein superior_mesenteric_vein pulmonary_artery spinal_cord trachea autochthon_left
autochthon_right iliopsoas_left iliopsoas_right costal_cartilages
""".split()  # noqa: SIM905
)


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic scan with its masks and its truth; build one with `make_phantom` or `Phantom.random`.

    Example:
        >>> import radvlm
        >>> case = radvlm.Phantom.random(1, region="abdomen", spacing_mm=(6.0, 6.0, 6.0))
        >>> [lesion.kind for lesion in case.truth.lesions]
        ['colon_tumor', 'splenomegaly', 'ascites', 'liver_hemangioma']
    """

    volume: Volume
    segmentation: Segmentation
    truth: PhantomTruth
    spec: PhantomSpec

    @property
    def patient(self) -> Patient:
        return self.volume.study.patient

    @classmethod
    def random(
        cls,
        seed: int,
        *,
        region: str = "chest-abdomen-pelvis",
        shape: tuple[int, int, int] | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        phase: str | None = None,
        lesions: int | None = None,
        noise_hu: float = 12.0,
    ) -> Phantom:
        """A patient with sex, age, phase and lesions drawn from the seed.

        ``lesions`` is the number of different kinds (None: 1 to 5); only kinds that the region shows are drawn.
        """
        return make_phantom(
            random_spec(
                seed, region=region, shape=shape, spacing_mm=spacing_mm, phase=phase, lesions=lesions, noise_hu=noise_hu
            )
        )


def random_spec(
    seed: int,
    *,
    region: str = "chest-abdomen-pelvis",
    shape: tuple[int, int, int] | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    phase: str | None = None,
    lesions: int | None = None,
    noise_hu: float = 12.0,
) -> PhantomSpec:
    """The spec that `Phantom.random` makes."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 3])))
    if region not in REGIONS:
        raise InputError(f"a region is one of {', '.join(REGIONS)}", repr(region))
    sex = str(rng.choice(["F", "M"]))
    age = float(rng.integers(25, 88))
    drawn = str(rng.choice(PHASE_NAMES, p=[0.3, 0.15, 0.45, 0.1]))
    low, high = REGIONS[region]
    possible = [
        k.name
        for k in LESION_KINDS.values()
        if k.sex in ("", sex) and k.region_z[0] >= low - 25 and k.region_z[1] <= high + 25
    ]
    count = int(rng.integers(1, 6)) if lesions is None else lesions
    if not 0 <= count <= len(possible):
        raise InputError(f"between 0 and {len(possible)} kinds of lesions", str(count))
    kinds = [str(k) for k in rng.choice(possible, count, replace=False)]
    many = {"liver_metastasis", "liver_cyst", "lung_nodule", "kidney_cyst", "lymph_node"}
    specs = [LesionSpec(k) for k in kinds for _ in range(int(rng.integers(1, 4)) if k in many else 1)]
    return PhantomSpec(
        seed=seed,
        region=region,
        shape=shape,
        spacing_mm=spacing_mm,
        phase=phase or drawn,
        sex=sex,
        age_years=age,
        noise_hu=noise_hu,
        lesions=tuple(specs),
        healthy=not specs,
    )


def make_phantom(spec: PhantomSpec) -> Phantom:
    """Make the scan of a spec. Equal specs give equal voxels; InputError when a lesion cannot be placed."""
    lesions = spec.lesions
    assert isinstance(lesions, tuple)
    drawn = draw(spec.seed, lesions)
    frame = Frame(spec.seed, spec.sex, spec.age_years, spec.phase, organ_changes(drawn))
    scene = build_scene(frame)
    low, high = REGIONS[spec.region]
    placed = place(frame, scene, drawn, spec.seed, (low + 4, high - 4))
    canvas = Canvas(grid(spec), frame.tilt)
    render_scene(canvas, scene)
    for p in sorted(placed, key=lambda p: p.kind.placement != "fluid"):
        for stroke in p.strokes:
            canvas.paint_lesion(stroke.shape, stroke.hu, stroke.structure, stroke.only, stroke.organ)
    canvas.add_noise(spec.noise_hu, spec.streak_hu, spec.seed)
    segmentation = _segmentation(canvas)
    patient = Patient(sex=spec.sex, age_years=spec.age_years)
    study = Study(
        modality="CT",
        description=f"Synthetic CT, {spec.region}",
        body_part=spec.region.upper(),
        manufacturer="radvlm phantom",
        patient=patient,
        contrast_agent="" if spec.phase == "non-contrast" else "synthetic iodine",
    )
    volume = Volume(
        canvas.hu.T,
        canvas.geometry,
        study,
        stored_axes=spec.stored_axes,
        decisions=(Decision("phantom", f"synthetic scan, seed {spec.seed}: not a patient"),),
    )
    truth = PhantomTruth(
        sex=spec.sex,
        age_years=spec.age_years,
        phase=spec.phase,
        healthy=not placed,
        tilt=tuple(tuple(float(v) for v in row) for row in frame.tilt),
        trabecular_hu=frame.trabecular,
        aorta_mm=frame.anatomy.aorta_mm or abdominal_aorta_mm(frame),
        structures=_structure_truth(scene, segmentation),
        lesions=tuple(_lesion_truth(frame, scene, p, segmentation) for p in placed),
        spec=asdict(spec),
    )
    return Phantom(volume, segmentation, truth, spec)


def grid(spec: PhantomSpec) -> Geometry:
    """The grid of a spec, cropped and rotated."""
    low, high = REGIONS[spec.region]
    extent = np.array([IN_PLANE_FOV_MM, IN_PLANE_FOV_MM, high - low])
    if spec.shape is not None:
        shape = np.array(spec.shape)
        spacing = np.array(spec.spacing_mm) if spec.spacing_mm is not None else extent / shape
    else:
        spacing = np.array(spec.spacing_mm if spec.spacing_mm is not None else (2.5, 2.5, 2.5))
        shape = np.maximum(1, np.round(extent / spacing)).astype(int)
    turn = rotation(*spec.rotation_deg)
    start = np.array([int(np.floor(c[0] * n + 1e-9)) for c, n in zip(spec.crop, shape, strict=True)])
    stop = np.array(
        [max(s + 1, int(np.ceil(c[1] * n - 1e-9))) for c, n, s in zip(spec.crop, shape, start, strict=True)]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    center = np.array([0.0, 0.0, (low + high) / 2])
    affine[:3, 3] = center + affine[:3, :3] @ (start - (shape - 1) / 2)
    return Geometry(tuple(int(n) for n in stop - start), affine)  # type: ignore[arg-type]


def _segmentation(canvas: Canvas) -> Segmentation:
    layers = tuple(layer.T for layer in canvas.layers)
    counts = [
        np.bincount(layer.reshape(-1), minlength=256) if layer.size < 2**24 else _counts(layer)
        for layer in canvas.layers
    ]
    places = {
        name: LabelPlace(n, label)
        for n in (ORGAN, PART, LESION)
        for name, label in canvas.names[n].items()
        if name and counts[n][label]
    }
    return Segmentation(layers, places, SEARCHED | frozenset(places), canvas.geometry, scheme="radvlm phantom")


def _counts(layer: np.ndarray) -> np.ndarray:
    return sum((np.bincount(part.reshape(-1), minlength=256) for part in layer), np.zeros(256, dtype=np.int64))


def _structure_truth(scene: Scene, segmentation: Segmentation) -> tuple[StructureTruth, ...]:
    out = []
    cut = _cut(segmentation)
    per_voxel = segmentation.geometry.voxel_volume_mm3 / 1000
    hu = {item.organ: item.hu for item in scene.items if item.key in UNIFORM}
    for name in segmentation.present:
        volume, basis = segmentation.voxel_count(name) * per_voxel, "voxels"
        if name in ANALYTIC and name not in cut:
            shape = scene.item(name).shapes[0]
            assert isinstance(shape, Ellipsoid)
            volume, basis = shape.volume_ml, "analytic"
        out.append(StructureTruth(name, float(volume), basis, hu.get(name), name not in cut))
    return tuple(out)


def _lesion_truth(frame: Frame, scene: Scene, p: Placed, segmentation: Segmentation) -> LesionTruth:
    world = frame.tilt.T
    mean_hu, center, facts = None, None, p.facts
    semi: tuple[float, ...] = ()
    axes: tuple[tuple[float, ...], ...] = ()
    long_axis = short_axis = diameter = volume = None
    basis = ""
    if p.kind.hu:
        mean_hu = p.kind.mean_hu(phase_index(frame.phase))
    if p.ellipsoid is not None:
        center = np.asarray(p.ellipsoid.center)
        turned = world @ p.ellipsoid.directions
        semi = tuple(float(v) for v in p.ellipsoid.semi)
        axes = tuple(tuple(float(v) for v in row) for row in turned)
        long_axis, short_axis = plane_axes(turned, semi, np.array([0, 0, 1.0]))
        diameter, volume, basis = 2 * max(semi), p.ellipsoid.volume_ml, "analytic"
    elif p.kind.name == "aortic_aneurysm":
        center, widest = aneurysm_center(frame)
        facts = (("diameter", widest, "mm"),)
    elif p.kind.placement == "vertebra":
        center = np.asarray(frame.vertebra(p.location[10:])[0])
    elif p.kind.name == "splenomegaly":
        volume, basis = p.size, "analytic"
    counted = "liver" if p.kind.name == "hepatomegaly" else p.structure
    if volume is None and counted in segmentation.places:
        volume, basis = segmentation.voxel_count(counted) * segmentation.geometry.voxel_volume_mm3 / 1000, "voxels"
    host_hu = _host_hu(frame, scene, p.host)
    center_world = None if center is None else tuple(float(v) for v in world @ center)
    return LesionTruth(
        id=f"L{p.number + 1}",
        kind=p.kind.name,
        words=p.kind.words,
        structure=p.structure,
        host=p.host,
        location=p.location,
        side=p.side or _side(p.location),
        pole=_pole(scene, p),
        size=p.size,
        level="" if center is None else _level(frame, float(center[2])),
        size_means=p.kind.size_means,
        center_mm=center_world,  # type: ignore[arg-type]
        semi_axes_mm=semi,
        axes=axes,
        long_axis_mm=long_axis,
        short_axis_mm=short_axis,
        diameter_3d_mm=diameter,
        volume_ml=volume,
        volume_basis=basis,
        mean_hu=mean_hu,
        attenuation="" if host_hu is None or mean_hu is None else attenuation_words(mean_hu, host_hu),
        in_field=_in_field(p, center_world, axes, semi, segmentation),
        facts=facts,
    )


def _host_hu(frame: Frame, scene: Scene, host: str) -> float | None:
    if host in UNIFORM:
        return scene.item(host).hu
    if host.startswith("kidney"):
        return 0.65 * frame.hu("kidney_cortex") + 0.35 * frame.hu("kidney_medulla")
    if host.startswith("lung"):
        return frame.hu("lung")
    if host.startswith("vertebrae"):
        return frame.trabecular
    return frame.hu("adrenal") if host.startswith("adrenal") else None


def _side(location: str) -> str:
    return structures()[location].side if location else ""


def _pole(scene: Scene, p: Placed) -> str:
    if not p.host.startswith("kidney") or p.ellipsoid is None:
        return ""
    kidney = scene.item(p.host).shapes[0]
    assert isinstance(kidney, Ellipsoid)
    low, high = kidney.bounds()
    share = (np.asarray(p.ellipsoid.center)[2] - low[2]) / (high[2] - low[2])
    return KIDNEY_POLES[2 if share > 2 / 3 else 0 if share < 1 / 3 else 1]


def _level(frame: Frame, z: float) -> str:
    if z < frame.vertebra("L5")[0][2] - 25:
        return "sacrum"
    return "vertebrae_" + min(VERTEBRAE, key=lambda level: abs(frame.vertebra(level)[0][2] - z))


def _in_field(
    p: Placed,
    center: Sequence[float] | None,
    axes: tuple[tuple[float, ...], ...],
    semi: tuple[float, ...],
    segmentation: Segmentation,
) -> str:
    geometry = segmentation.geometry
    if semi and center is not None:
        index = geometry.to_index(center)
        inverse = np.linalg.inv(geometry.affine[:3, :3])
        reach = np.sqrt(np.square(inverse @ np.array(axes) * np.array(semi)).sum(axis=1))
        top = np.array(geometry.shape) - 0.5
        if ((index - reach >= -0.5) & (index + reach <= top)).all():
            return "inside"
        return "outside" if ((index + reach < -0.5) | (index - reach > top)).any() else "cut"
    name = p.structure or p.host
    if name not in segmentation.places:
        return "outside"
    return "cut" if name in _cut(segmentation) else "inside"


def _cut(segmentation: Segmentation) -> frozenset[str]:
    """Structures with a voxel on a face of the grid (only the faces are read)."""
    held: set[tuple[int, int]] = set()
    for number, layer in enumerate(segmentation.layers):
        for axis in range(3):
            if layer.shape[axis] > 1:
                for end in (0, -1):
                    held |= {(number, int(v)) for v in np.unique(layer[(slice(None),) * axis + (end,)])}
    return frozenset(name for name, place in segmentation.places.items() if (place.layer, place.label) in held)
