"""Placing abnormalities: which organ changes, and where each focal lesion lies.

Placement works in the patient's frame on the scene, never on voxels, so it does not depend on the grid. Every
lesion has a random stream of its own; a later lesion never moves an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from radvlm.errors import InputError
from radvlm.phantom import fluids
from radvlm.phantom.frame import VERTEBRAE, Anatomy, Frame
from radvlm.phantom.hu import phase_index
from radvlm.phantom.kinds import LESION_KINDS, LesionKind
from radvlm.phantom.scene import Scene
from radvlm.phantom.shapes import Ellipsoid, PointCoords, Shape, rotation
from radvlm.phantom.skeleton import vertebral_body, wedged_body
from radvlm.phantom.spec import LesionSpec

#: Distance kept between a lesion and the surface of its host, and between two lesions (mm).
HOST_MARGIN_MM, APART_MM = 1.0, 6.0
_FIXED = ("aorta", "inferior_vena_cava", "vertebrae", "rib", "hip", "sacrum", "lung", "heart", "spinal")


@dataclass(frozen=True, eq=False)
class Stroke:
    """One thing to paint: ``hu`` None paints only the label; ``organ`` rewrites the organ layer too."""

    shape: Shape
    hu: float | None
    structure: str
    only: frozenset[str] | None = None
    organ: str | None = None


@dataclass(frozen=True, eq=False)
class Placed:
    """A lesion with its place. ``ellipsoid`` is None for fluid and for organ-wide kinds."""

    spec: LesionSpec
    kind: LesionKind
    number: int
    size: float
    side: str = ""
    location: str = ""
    ellipsoid: Ellipsoid | None = None
    strokes: tuple[Stroke, ...] = ()
    facts: tuple[tuple[str, float, str], ...] = field(default=())

    @property
    def structure(self) -> str:
        return self.kind.structure.format(side=self.side)

    @property
    def host(self) -> str:
        if self.kind.placement == "vertebra":
            return self.location
        return self.kind.host.format(side=self.side)


def draw(seed: int, lesions: Sequence[LesionSpec]) -> list[Placed]:
    """Resolve what is left open: sizes and sides (and the level of vertebral lesions)."""
    out: list[Placed] = []
    taken: set[tuple[str, str]] = set()
    for number, spec in enumerate(lesions):
        rng, kind = stream(seed, number), LESION_KINDS[spec.kind]
        size = float(rng.uniform(*kind.typical)) if spec.size is None else float(spec.size)
        side = ""
        if kind.paired:
            sides = [spec.side] if spec.side else _sides(spec.location) or ["right", "left"]
            if kind.placement in ("organ", "fluid", "adrenal"):
                sides = [s for s in sides if (spec.kind, s) not in taken]
            if not sides:
                raise InputError("a paired abnormality occurs at most once a side", spec.kind)
            side = str(rng.choice(sides))
        location = spec.location or ""
        if kind.placement == "vertebra" and not location:
            free = [level for level in kind.locations if (kind.placement, level) not in taken]
            if kind.size_means.endswith("mm"):  # a lesion needs a body that can hold it
                free = [v for v in free if VERTEBRAE[v[10:]][1] * 0.95 * 2 > size * 1.05] or free[-5:]
            if not free:
                raise InputError("each vertebra has at most one lesion", spec.kind)
            location = str(rng.choice(free))
        unique = (kind.placement if kind.placement == "vertebra" else spec.kind, location or side)
        if kind.placement in ("organ", "fluid", "vertebra", "adrenal"):
            if unique in taken:
                raise InputError(
                    "an organ-wide abnormality, and one in a given vertebra, occurs at most once",
                    f"{spec.kind} {location or side}".strip(),
                )
            taken.add(unique)
        out.append(Placed(spec, kind, number, size, side, location))
    return out


def stream(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 1, number])))


def _sides(location: str | None) -> list[str]:
    return [s for s in ("right", "left") if location and location.endswith(s)]


def organ_changes(placed: Sequence[Placed]) -> Anatomy:
    """The anatomy that organ-wide kinds ask for."""
    anatomy = Anatomy()
    for p in placed:
        match p.kind.name:
            case "splenomegaly":
                anatomy.spleen_ml = p.size
            case "hepatomegaly":
                anatomy.liver_ml = p.size
            case "steatosis":
                anatomy.liver_hu_plain = p.size
            case "aortic_aneurysm":
                anatomy.aorta_mm = p.size
            case "hydronephrosis":
                anatomy.pelvis_mm[p.side] = p.size
            case "vertebral_fracture":
                anatomy.height_loss[p.location[10:]] = p.size
    return anatomy


def place(frame: Frame, scene: Scene, drawn: Sequence[Placed], seed: int, heights: tuple[float, float]) -> list[Placed]:
    """Give every lesion its shape: fluid first, then the large, then the small. Order of the result = spec."""
    order = sorted(drawn, key=lambda p: (p.kind.placement != "fluid", -p.size if p.kind.hu else 0))
    done: list[Placed] = []
    for p in order:
        rng = stream(seed, p.number)
        rng.uniform(size=16)
        match p.kind.placement:
            case "organ":
                done.append(replace(p, facts=((p.kind.name, p.size, p.kind.size_means.rsplit(", ", 1)[-1]),)))
            case "fluid":
                done.append(replace(p, strokes=_fluid_strokes(frame, p)))
            case "stone":
                done.append(_with_ellipsoid(frame, p, _stone(frame, scene, p, rng)))
            case "vertebra" if p.kind.name == "vertebral_fracture":
                done.append(_fracture(frame, p))
            case _:
                done.append(_focal(frame, scene, p, rng, done, heights))
    return sorted(done, key=lambda p: p.number)


def _fluid_strokes(frame: Frame, p: Placed) -> tuple[Stroke, ...]:
    shape, only, organ = fluids.fluid(frame, p.kind.name, p.side, p.size)
    return (Stroke(shape, p.kind.hu[phase_index(frame.phase)], p.structure, only, organ),)


def _fracture(frame: Frame, p: Placed) -> Placed:
    level = p.location[10:]
    body = vertebral_body(frame, level)
    height = 2 * body.semi[2]
    facts = (
        ("height_loss", p.size, "1"),
        ("posterior_height", height, "mm"),
        ("anterior_height", height * (1 - p.size), "mm"),
    )
    stroke = Stroke(wedged_body(frame, level, p.size), None, p.structure, frozenset({p.location}))
    return replace(p, strokes=(stroke,), facts=facts)


def _with_ellipsoid(frame: Frame, p: Placed, ellipsoid: Ellipsoid, location: str = "") -> Placed:
    column = phase_index(frame.phase)
    organ = p.host if p.kind.placement == "adrenal" else None
    strokes = [Stroke(ellipsoid, p.kind.hu[column], p.structure, None, organ)]
    if p.kind.core is not None:
        share, hu = p.kind.core
        core = replace(ellipsoid, semi=tuple(share * v for v in ellipsoid.semi))
        strokes.append(Stroke(core, hu[column], ""))
    return replace(p, ellipsoid=ellipsoid, strokes=tuple(strokes), location=location or p.location)


def _semi_axes(p: Placed, rng: np.random.Generator) -> tuple[float, float, float]:
    a = p.size / 2
    b, c = sorted(rng.uniform(p.kind.aspect, 1.0, 2), reverse=True)
    return a, a * b, a * c


_GOLDEN = np.pi * (3 - np.sqrt(5))


def _sphere(count: int = 60) -> np.ndarray:
    """(count, 3) nearly even unit directions."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * _GOLDEN
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


def _filling(shape: Ellipsoid) -> np.ndarray:
    """Positions 2 mm apart (closer in small lesions) that fill an ellipsoid: thin neighbors are found too."""
    step = min(2.0, min(shape.semi) / 3)
    axes = [np.arange(-v, v + step, step) for v in shape.semi]
    local = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    local = local[(np.square(local / np.array(shape.semi)).sum(axis=1) <= 1.05)]
    return np.asarray(shape.center) + local @ shape.directions.T


def _focal(
    frame: Frame,
    scene: Scene,
    p: Placed,
    rng: np.random.Generator,
    done: Sequence[Placed],
    heights: tuple[float, float],
) -> Placed:
    """Rejection sampling: wholly inside the host, in one named place, clear of other lesions."""
    size_is_free = p.spec.size is None
    for _ in range(4 if size_is_free else 2):
        semi = _semi_axes(p, rng)
        for allow_share in (False, True):
            found = _search(frame, scene, p, semi, rng, done, heights, allow_share)
            if found is not None:
                return _with_ellipsoid(frame, p, *found)
        if size_is_free:
            p = replace(p, size=max(p.kind.limits[0], p.size * 0.75))
    raise InputError(
        f"a lesion of kind {p.kind.name} fits into its host",
        f"{p.size:.1f} mm in {p.spec.location or p.host or 'the fat'}",
        "Choose a smaller size, another location, a region that holds it, or another seed",
    )


def _search(
    frame: Frame,
    scene: Scene,
    p: Placed,
    semi: tuple[float, float, float],
    rng: np.random.Generator,
    done: Sequence[Placed],
    heights: tuple[float, float],
    allow_share: bool,
) -> tuple[Ellipsoid, str] | None:
    low, high = _where(frame, scene, p, rng)
    low, high = low.copy(), high.copy()
    low[2], high[2] = max(low[2], heights[0]), min(high[2], heights[1])
    if (high <= low).any():
        return None
    partition = scene.partition(p.host)
    wanted = p.location if partition is not None and p.location in partition.parts else ""
    directions = _sphere()
    upright = p.kind.placement == "vertebra"
    for _ in range(12):
        centers = rng.uniform(low, high, (96, 3))
        turns = rng.uniform(-180, 180, (96, 3))
        good = _allowed(scene, p, centers)
        if wanted:
            good &= partition.classify(PointCoords(centers)) == partition.parts.index(wanted)  # type: ignore[union-attr]
        chosen = np.flatnonzero(good)[:12]
        for start in range(0, len(chosen), 4):  # a few at a time: the first often fits
            ellipsoids, surfaces = [], []
            for n in chosen[start : start + 4]:
                axes = rotation(0, 0, turns[n][2]) if upright else rotation(*turns[n])
                ellipsoids.append(Ellipsoid(centers[n], semi, axes))
                surfaces.append(centers[n] + directions * (np.array(semi) + HOST_MARGIN_MM) @ axes.T)
            inside = _allowed(scene, p, np.concatenate(surfaces)).reshape(len(ellipsoids), -1).all(axis=1)
            for shape, surface, ok in zip(ellipsoids, surfaces, np.asarray(inside).tolist(), strict=True):
                if not ok or not _apart(shape, surface, done) or not _allowed(scene, p, _filling(shape)).all():
                    continue
                if partition is None:
                    return shape, ""
                parts = partition.classify(PointCoords(np.vstack([surface, [shape.center]])))
                share = float((parts == parts[-1]).mean())
                if share == 1.0 or (allow_share and share > 0.6):
                    return shape, partition.parts[int(parts[-1])]
    return None


def _where(frame: Frame, scene: Scene, p: Placed, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Box in which centers are sampled."""
    if p.kind.placement == "node":
        return fluids.node_station(frame, rng, p.size)
    if p.kind.placement == "adrenal":
        low, high = scene.bounds(p.host)
        return low - p.size / 3, high + p.size / 3
    if p.kind.placement == "vertebra":
        return vertebral_body(frame, p.location[10:]).bounds()
    return scene.bounds(p.host)


def _allowed(scene: Scene, p: Placed, points: np.ndarray) -> np.ndarray:
    """Which positions the lesion may cover."""
    owner = scene.key_at(points)
    if p.kind.placement == "node":
        table = [item.key in ("cavity", "mediastinal_fat", "pericardial_fat") for item in scene.items]
    elif p.kind.placement == "adrenal":
        table = [
            item.key != "skin"
            and item.key != "subcutaneous_fat"
            and item.key != "muscle_wall"
            and not str(item.organ).startswith(_FIXED)
            for item in scene.items
        ]
    elif p.kind.placement == "vertebra":
        table = [item.key == p.location for item in scene.items]
    else:
        table = [item.organ == p.host for item in scene.items]
    return np.array([*table, False])[owner]


def _apart(shape: Ellipsoid, surface: np.ndarray, done: Sequence[Placed]) -> bool:
    center = np.asarray(shape.center)
    for other in done:
        if other.ellipsoid is not None:
            gap = np.linalg.norm(center - np.asarray(other.ellipsoid.center))
            if gap < max(shape.semi) + max(other.ellipsoid.semi) + APART_MM:
                return False
        elif other.kind.placement == "fluid":
            low, high = other.strokes[0].shape.bounds()
            if (surface.max(axis=0) < low).any() or (surface.min(axis=0) > high).any():
                continue
            if (other.strokes[0].shape.value(PointCoords(surface)) < APART_MM).any():
                return False
    return True


def _stone(frame: Frame, scene: Scene, p: Placed, rng: np.random.Generator) -> Ellipsoid:
    """On the dependent (posterior) wall of the gallbladder or the renal pelvis."""
    key = "gallbladder" if p.kind.name == "gallstone" else f"renal_pelvis_{p.side}"
    room = scene.item(key).shapes[0]
    assert isinstance(room, Ellipsoid)
    semi = _semi_axes(p, rng)
    left = np.array(room.semi) - max(semi) - 0.4
    if (left <= 0).any():
        raise InputError(
            "a stone fits into the lumen that holds it", f"{p.size:.1f} mm in {key}", "Choose a smaller size"
        )
    local = _sphere(60) * rng.uniform(0.5, 1.0, (60, 1))
    world = np.asarray(room.center) + (local * left) @ room.directions.T
    best = np.argsort(world[:, 1])[:12]
    return Ellipsoid(world[int(rng.choice(best))], semi, rotation(*rng.uniform(-180, 180, 3)))
