"""Scans as an encoder wants them, kept on disk, and what is varied when they are drawn.

The key of a kept scan is the *content* of its files and of the input specification, so a file that is replaced under
the same name is prepared again (MONAI's cache goes by path and would not notice). Intensities are kept as 16-bit
numbers and mapped, not read: a scan costs half of its float size, and drawing it touches only the pages it needs.

Left and right are never flipped: a report says the side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import whole_file
from radvlm.model.inputs import InputSpec, prepare
from radvlm.model.organ_map import Organ, organ_map
from radvlm.train.data import Study
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

#: Opens a scan; given by the join, because training knows no files.
LoadVolume = Callable[[Path], Volume]
#: Opens the masks of a scan that is open.
LoadMasks = Callable[[Path, Volume], Segmentation]
#: Counted up when what is written here changes.
VERSION = 1
_STEPS = 65535


@dataclass(frozen=True)
class Augment:
    """What is varied when a scan is drawn; zeros for nothing.

    Attributes:
        shift_mm: largest shift along each axis. gain: largest relative change of the intensities (of HU + 1000).
        offset_hu: largest shift of the intensities. noise_hu: largest standard deviation of added noise.
    """

    shift_mm: float = 12.0
    gain: float = 0.015
    offset_hu: float = 6.0
    noise_hu: float = 8.0

    def __post_init__(self) -> None:
        if min(self.shift_mm, self.gain, self.offset_hu, self.noise_hu) < 0:
            raise InputError("what is varied is not negative", repr(self))


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """``image`` (1, X, Y, Z) float32; ``organs`` (X, Y, Z) uint8 or None; ``affine_ras_mm``; ``key``: of the cache."""

    image: Tensor
    organs: Tensor | None
    affine_ras_mm: np.ndarray
    key: str


class PreparedScans:
    """Studies to tensors, through the folder ``cache`` (None to prepare anew each time)."""

    def __init__(
        self,
        spec: InputSpec,
        load_volume: LoadVolume,
        *,
        load_masks: LoadMasks | None = None,
        organs: Sequence[Organ] = (),
        cache: Path | None = None,
    ) -> None:
        self.spec, self.load_volume, self.load_masks = spec, load_volume, load_masks
        self.organs, self.cache = tuple(organs), cache
        self._digests: dict[tuple[str, int, int], str] = {}
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)

    def __call__(self, study: Study) -> PreparedScan:
        """The scan of a study; InputError (from ``prepare``) names the study when it cannot be used."""
        key = self.key(study)
        if self.cache is None:
            image, organs, affine = self._prepare(study)
            return PreparedScan(
                torch.from_numpy(image)[None], None if organs is None else torch.from_numpy(organs), affine, key
            )
        meta = self.cache / f"{key}.json"
        if not meta.is_file():
            self._keep(study, key)
        return self._kept(key)

    def key(self, study: Study) -> str:
        """sha256 of the files' bytes, the input specification and the table of organs."""
        masks = study.masks if self.load_masks is not None and self.organs else None
        said = json.dumps(
            {
                "version": VERSION,
                "spec": asdict(self.spec),
                "volume": self._digest(study.volume),
                "masks": self._digest(masks) if masks else "",
                "organs": [asdict(o) for o in self.organs] if masks else [],
            },
            sort_keys=True,
        )
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def _prepare(self, study: Study) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        try:
            volume = self.load_volume(study.volume)
            prepared = prepare(volume, self.spec)
            segmentation = None
            if study.masks is not None and self.load_masks is not None and self.organs:
                segmentation = self.load_masks(study.masks, volume)
        except InputError as error:
            raise InputError(
                "every scan of the table can be prepared",
                f"{study.name}: {error}",
                "Repair it or take it out of the table",
            ) from error
        organs = None
        if segmentation is not None:
            organs = organ_map(segmentation, self.organs, prepared.geometry)
        return prepared.tensor[0, 0].numpy(), organs, prepared.affine_ras_mm

    def _keep(self, study: Study, key: str) -> None:
        assert self.cache is not None
        image, organs, affine = self._prepare(study)
        low, high = self._range()
        whole = np.rint((np.clip(image, low, high) - low) / (high - low) * _STEPS).astype(np.uint16)
        self._write(f"{key}.npy", whole)
        if organs is not None:
            self._write(f"{key}.organs.npy", organs)
        said = {"study": study.name, "affine_ras_mm": affine.tolist(), "organs": organs is not None}
        self._write(f"{key}.json", json.dumps(said).encode())  # last: with it the entry is complete

    def _kept(self, key: str) -> PreparedScan:
        assert self.cache is not None
        try:
            said = json.loads((self.cache / f"{key}.json").read_text(encoding="utf-8"))
            whole = np.load(self.cache / f"{key}.npy", mmap_mode="r", allow_pickle=False)
            organs = np.load(self.cache / f"{key}.organs.npy", allow_pickle=False) if said["organs"] else None
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError("a kept scan is whole", f"{key}: {error}", "Delete the cache folder") from error
        low, high = self._range()
        image = torch.from_numpy(whole.astype(np.float32) * np.float32((high - low) / _STEPS) + np.float32(low))
        return PreparedScan(
            image[None], None if organs is None else torch.from_numpy(organs), np.array(said["affine_ras_mm"]), key
        )

    def _range(self) -> tuple[float, float]:
        """Values of the input that 16 bits span: 0 to 1, or HU where there is no window."""
        return (0.0, 1.0) if self.spec.hu_window is not None else (-1024.0, 3071.0)

    def _write(self, name: str, data: np.ndarray | bytes) -> None:
        assert self.cache is not None
        with whole_file(self.cache / name) as beside, beside.open("wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                np.save(file, data, allow_pickle=False)

    def _digest(self, path: Path) -> str:
        """sha256 of a file, or of the names and contents of a folder's files; hashed once for each change."""
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        whole = hashlib.sha256()
        for file in files:
            stat = file.stat()
            mark = (str(file), stat.st_size, stat.st_mtime_ns)
            if mark not in self._digests:
                with file.open("rb") as stream:
                    self._digests[mark] = hashlib.file_digest(stream, "sha256").hexdigest()
            whole.update(f"{file.relative_to(path) if path.is_dir() else ''}:{self._digests[mark]};".encode())
        return whole.hexdigest()


def augmented(
    scan: PreparedScan, augment: Augment, spec: InputSpec, rng: np.random.Generator
) -> tuple[Tensor, Tensor | None]:
    """Image (1, X, Y, Z) and organ map (X, Y, Z) of one draw; both are shifted alike."""
    span = 1.0 if spec.hu_window is None else 1 / (spec.hu_window[1] - spec.hu_window[0])
    zero = -1000.0 if spec.hu_window is None else (-1000.0 - spec.hu_window[0]) * span
    image, organs = scan.image, scan.organs
    steps = [round(float(rng.uniform(-1, 1)) * augment.shift_mm / s) for s in spec.fixed_spacing_mm]
    air = -1000.0 if spec.hu_window is None else 0.0
    image = shifted(image[0], steps, air)[None]
    organs = None if organs is None else shifted(organs, steps, 0)
    gain = 1 + float(rng.uniform(-1, 1)) * augment.gain
    offset = float(rng.uniform(-1, 1)) * augment.offset_hu * span
    image = (image - zero) * gain + zero + offset
    sigma = float(rng.uniform(0, 1)) * augment.noise_hu * span
    if sigma > 0:
        noise = rng.standard_normal(tuple(image.shape), dtype=np.float32)
        image = image + torch.from_numpy(noise) * sigma
    return (image if spec.hu_window is None else image.clamp(0, 1)), organs


def shifted(values: Tensor, steps: Sequence[int], fill: float) -> Tensor:
    """(X, Y, Z) moved by whole voxels; what comes in from outside is ``fill``."""
    out = torch.full_like(values, fill)
    to, source = [], []
    for n, step in zip(values.shape, steps, strict=True):
        step = max(-n, min(n, step))
        to.append(slice(max(0, step), n + min(0, step)))
        source.append(slice(max(0, -step), n - max(0, step)))
    out[tuple(to)] = values[tuple(source)]
    return out
