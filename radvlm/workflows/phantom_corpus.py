"""A folder of labeled phantoms to train a model on: images, voxel classes, truth and the report of the masks.

    write_corpus("corpus/train", range(1000, 2000), CorpusOptions(spacing_mm=3.0))

A case is complete or absent (its folder is renamed into place), so an interrupted run goes on where it stopped. Arrays
are cropped to the body and stored as plain ``.npy``, so that training maps them instead of reading them. Noise varies
from phantom to phantom; everything else is ``Phantom.random``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.dataset.vocabulary import anatomy_classes, class_of, part_classes, voxel_classes
from radvlm.errors import RadvlmError
from radvlm.files.atomic import whole_folder
from radvlm.phantom.kinds import LESION_KINDS
from radvlm.phantom.make import Phantom, make_phantom, random_spec
from radvlm.phantom.spec import LesionSpec, PhantomSpec
from radvlm.types.finding import citable
from radvlm.types.finding_json import finding_to_dict
from radvlm.types.finding_kinds import finding_kinds

#: Air around the body is left out beyond this many voxels.
MARGIN_VOXELS = 4
BODY_HU = -400


@dataclass(frozen=True)
class CorpusOptions:
    """What the phantoms of a corpus are like, and what is written of them.

    Attributes:
        spacing_mm: isotropic; None for that of ``Phantom.random``.
        noise_hu: lowest and highest standard deviation of the noise, uniform between.
        crowded: share of phantoms that have 6 to 8 kinds of lesions instead of 0 to 5; 0 for evaluation.
        left_out: kinds of lesions that are never put in.
        reports: False leaves out the report of the masks.
    """

    spacing_mm: float | None = 3.0
    noise_hu: tuple[float, float] = (5.0, 16.0)
    crowded: float = 0.0
    left_out: tuple[str, ...] = ()
    reports: bool = True


def corpus_spec(seed: int, options: CorpusOptions) -> PhantomSpec:
    """The phantom of one seed."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 17])))
    noise = float(rng.uniform(*options.noise_hu))
    count = None if rng.random() >= options.crowded else int(rng.integers(6, 9))
    spacing = None if options.spacing_mm is None else (options.spacing_mm,) * 3
    spec = random_spec(seed, spacing_mm=spacing, lesions=count, noise_hu=noise)
    drop = set(options.left_out)
    kept = tuple(s for s in spec.lesions if isinstance(s, LesionSpec) and s.kind not in drop)
    return replace(spec, lesions=kept, healthy=not kept)


def write_corpus(
    folder: str | os.PathLike[str],
    seeds: Iterable[int],
    options: CorpusOptions | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make every phantom that is not there yet. Raises RadvlmError of the first phantom that fails."""
    target, made_as = Path(folder), options or CorpusOptions()
    target.mkdir(parents=True, exist_ok=True)
    wanted = list(seeds)
    missing = [s for s in wanted if not (target / case_name(s)).is_dir()]
    done = len(wanted) - len(missing)
    if workers <= 1:
        for seed in missing:
            _write_case(target, seed, made_as)
            done += 1
            if progress:
                progress(done, len(wanted))
        return target
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        try:
            for future in as_completed([pool.submit(_write_case, target, seed, made_as) for seed in missing]):
                future.result()
                done += 1
                if progress:
                    progress(done, len(wanted))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # or the error would wait for every other phantom
            raise
    return target


def case_name(seed: int) -> str:
    return f"phantom-{seed:07d}"


def _write_case(folder: Path, seed: int, options: CorpusOptions) -> None:
    phantom = None
    spec = corpus_spec(seed, options)
    for attempt in range(5):  # crowded hosts can have no room left: fewer lesions then
        lesions: tuple[Any, ...] = tuple(spec.lesions)
        kept = lesions[: max(1, len(lesions) - 2 * attempt)]
        try:
            phantom = make_phantom(replace(spec, lesions=kept))
            break
        except RadvlmError:
            if attempt == 4:
                raise
    assert phantom is not None
    case = folder / case_name(seed)
    try:
        with whole_folder(case, replace=False) as beside:
            _save(beside, phantom, options.reports)
    except OSError:
        if not case.is_dir():  # else another process was faster
            raise


def _save(folder: Path, phantom: Phantom, reports: bool) -> None:
    hu = phantom.volume.hu
    body = _body_box(hu)
    classes, parts = voxel_labels(phantom)
    np.save(folder / "hu.npy", np.ascontiguousarray(hu[body]))
    np.save(folder / "classes.npy", np.ascontiguousarray(classes[body]))
    np.save(folder / "parts.npy", np.ascontiguousarray(parts[body]))
    write_truth(folder, phantom, body)
    if reports:
        from radvlm.workflows.report import generate_report

        made = generate_report(phantom.volume, segmentation=phantom.segmentation)
        cited = {i for s in made.sentences for i in s.finding_ids}
        keep = {f.id: finding_to_dict(f) for f in made.findings if cited & {c.id for c in citable([f])}}
        rows = [{"text": s.text, "section": s.section, "findings": list(s.finding_ids)} for s in made.sentences]
        (folder / "report.json").write_text(json.dumps({"sentences": rows, "findings": keep}), encoding="utf-8")


def write_truth(folder: Path, phantom: Phantom, body: tuple[slice, slice, slice] | None = None) -> None:
    """Write ``case.json`` alone: the truth of a phantom, cut to ``body`` (default: nothing is cut)."""
    geometry = phantom.volume.geometry
    box = body or tuple(slice(0, n) for n in geometry.shape)
    affine = geometry.affine.copy()
    affine[:, 3] = geometry.affine @ np.array([*(float(s.start) for s in box), 1.0])
    case = {
        "seed": phantom.spec.seed,
        "affine_ras_mm": affine.tolist(),
        "shape": [s.stop - s.start for s in box],
        "full_shape": list(geometry.shape),
        "truth": {**phantom.truth.to_dict(), "structures": []},
        "volumes_ml": {s.name: float(s.volume_ml) for s in phantom.truth.structures},
    }
    (folder / "case.json").write_text(json.dumps(case), encoding="utf-8")


def _body_box(hu: np.ndarray) -> tuple[slice, slice, slice]:
    inside = hu > BODY_HU
    box = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(inside.sum(axis=other) > 20)
        low, high = (0, hu.shape[axis] - 1) if where.size == 0 else (int(where[0]), int(where[-1]))
        box.append(slice(max(0, low - MARGIN_VOXELS), min(hu.shape[axis], high + 1 + MARGIN_VOXELS)))
    return tuple(box)  # type: ignore[return-value]


def voxel_labels(phantom: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """Class and part of every voxel, uint8 (I, J, K): indices into ``voxel_classes()`` and ``part_classes()``.

    A finding covers the organ it lies in. Kinds that share one structure (lytic and sclerotic bone lesions,
    solid and ground-glass nodules) are told apart by the nearest true center.
    """
    segmentation = phantom.segmentation
    names = voxel_classes()
    classes = np.zeros(segmentation.geometry.shape, np.uint8)
    parts = np.zeros(segmentation.geometry.shape, np.uint8)
    part_number = {name: n for n, name in enumerate(part_classes())}
    lesion_structures = {
        kind.structure.format(side=side)
        for kind in LESION_KINDS.values()
        if kind.structure
        for side in ("left", "right")
    }
    order = sorted(
        range(len(segmentation.layers)), key=lambda n: ({"subcutaneous_fat": 0}.get(_first(segmentation, n), 1), n)
    )
    for number in order:  # tissues first, then organs
        layer = segmentation.layers[number]
        table = np.zeros(256, np.uint8)
        part_table = np.zeros(256, np.uint8)
        for name, place in segmentation.places.items():
            if place.layer == number and name not in lesion_structures:
                own = class_of(name)
                table[place.label] = own if _draws(name, own) else 0
                part_table[place.label] = part_number.get(name, 0)
        values = table[layer]
        np.copyto(classes, values, where=values > 0)
        values = part_table[layer]
        np.copyto(parts, values, where=values > 0)
    for pelvis in {"renal_pelvis_left", "renal_pelvis_right"} & set(segmentation.places):
        classes[segmentation.mask(pelvis)] = names.index("renal_pelvis")
    for structure in sorted(lesion_structures & set(segmentation.places)):
        where = np.nonzero(segmentation.mask(structure))
        classes[where] = _kinds_at(phantom, structure, where)
    return classes, parts


def _first(segmentation: Any, layer: int) -> str:
    held = {name for name, place in segmentation.places.items() if place.layer == layer}
    return "subcutaneous_fat" if "subcutaneous_fat" in held else ""


def _draws(name: str, own: int) -> bool:
    """Parts of an organ (lobes, chambers, segments) say where, and change no class."""
    return not (
        own == list(anatomy_classes()).index("soft_tissue")
        and name not in ("subcutaneous_fat", "skeletal_muscle", "torso_fat", "spinal_cord")
        and not name.startswith(("pectoralis", "autochthon", "iliopsoas", "quadratus", "gluteus"))
    )


def _kinds_at(phantom: Phantom, structure: str, where: tuple[np.ndarray, ...]) -> np.ndarray:
    names = voxel_classes()
    own = [
        f.name
        for f in finding_kinds().values()
        if f.structure and structure in {f.structure.format(side=s) for s in ("left", "right")}
    ]
    lesions = [t for t in phantom.truth.lesions if t.kind in own]
    kinds = {t.kind for t in lesions} or {own[0]}
    if len(kinds) == 1:
        return np.full(where[0].shape, names.index(next(iter(kinds))), np.uint8)
    affine = phantom.segmentation.geometry.affine
    points = np.stack(where, axis=1) @ affine[:3, :3].T + affine[:3, 3]
    centers = np.array([t.center_mm for t in lesions if t.center_mm is not None])
    numbers = np.array([names.index(t.kind) for t in lesions if t.center_mm is not None], np.uint8)
    nearest = np.square(points[:, None, :] - centers[None]).sum(axis=2).argmin(axis=1)
    return numbers[nearest]
