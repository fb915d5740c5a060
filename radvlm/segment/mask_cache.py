"""Masks of a task kept in a folder, so that a run that was stopped, or the same scan once more, does no task twice.

An entry is found by what its masks depend on: the voxels and the grid of the scan, and the identity of the task
(program, version, options, digest of its weights). It is written beside its place and renamed, so a kill leaves
nothing half-written; an entry that cannot be read is made anew. Entries hold masks and no names of patients or files,
are open to their owner alone, and are removed when they have not been used for ``KEPT_DAYS``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import RadvlmError
from radvlm.files.atomic import whole_folder
from radvlm.files.staging import remove_abandoned
from radvlm.types.provenance import Decision, MaskOrigin
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

#: Entries that nobody read or wrote for so long are removed.
KEPT_DAYS = 30
#: Changes when entries of older versions cannot be read any more.
_FORM = "masks 1"
_LAYERS, _ABOUT = "layers.npz", "about.json"


def default_cache_folder() -> Path:
    """``$RADVLM_CACHE``, else ``radvlm`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; below it, ``masks``."""
    given = os.environ.get("RADVLM_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "radvlm"
    return base / "masks"


def scan_digest(volume: Volume) -> str:
    """sha256 over the voxels and the grid of a scan, and the axes it was stored in, which some models see."""
    total = hashlib.sha256(f"{volume.hu.dtype} {volume.geometry.shape} {volume.stored_axes}".encode())
    total.update(np.ascontiguousarray(volume.geometry.affine, np.float64).round(6).tobytes())
    for k in range(volume.geometry.shape[2]):  # slice by slice: no copy of the whole
        total.update(np.ascontiguousarray(volume.hu[:, :, k]).tobytes())
    return total.hexdigest()


class MaskCache:
    """A folder of masks by scan and task."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, scan: str, identity: str, volume: Volume) -> Segmentation | None:
        """Masks that were kept, or None; an entry that is damaged or of another version counts as none."""
        place = self._place(scan, identity)
        try:
            about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
            if about["form"] != _FORM or about["scan"] != scan or about["identity"] != identity:
                return None
            with (place / _LAYERS).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                layers = tuple(stored[f"layer_{n}"] for n in range(about["layers"]))
            found = Segmentation(
                layers,
                {name: LabelPlace(*at) for name, at in about["places"].items()},
                frozenset(about["searched"]),
                volume.geometry,
                about["scheme"],
                decisions=tuple(Decision(*row) for row in about["decisions"]),
                origins=tuple(MaskOrigin(**row) for row in about["origins"]),
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError, RadvlmError, zipfile.BadZipFile, zlib.error):
            return None
        with contextlib.suppress(OSError):
            os.utime(place)
        return found

    def put(self, scan: str, identity: str, found: Segmentation) -> None:
        """Keep masks. Raises OSError where they cannot be written."""
        place = self._place(scan, identity)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = {
            "form": _FORM,
            "scan": scan,
            "identity": identity,
            "layers": len(found.layers),
            "places": {name: [at.layer, at.label] for name, at in found.places.items()},
            "searched": sorted(found.searched),
            "scheme": found.scheme,
            "litres": float(np.prod(found.geometry.extent_mm)) / 1e6,
            "decisions": [[d.step, d.what, d.warning] for d in found.decisions],
            "origins": [{**o.to_dict(), "seconds": o.seconds} for o in found.origins],
        }
        with whole_folder(place) as beside:
            beside.chmod(0o700)
            layers: dict[str, Any] = {f"layer_{n}": layer for n, layer in enumerate(found.layers)}
            np.savez_compressed(beside / _LAYERS, **layers)
            (beside / _ABOUT).write_text(json.dumps(about), encoding="utf-8")

    def seconds_per_litre(self) -> dict[str, float]:
        """How long each task took here the last time, for a liter of scan, by ``MaskOrigin.by``."""
        found: dict[str, float] = {}
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.glob(f"*/{_ABOUT}"), key=lambda path: path.stat().st_mtime):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
                    about = json.loads(path.read_text(encoding="utf-8"))
                    found.update({row["by"]: row["seconds"] / about["litres"] for row in about["origins"]})
        return found

    def tidy(self) -> None:
        """Remove what killed runs left, and entries that were not used for ``KEPT_DAYS``.

        Only what bears the names and the content of an entry is touched, whatever else lies in the folder.
        """
        oldest = time.time() - KEPT_DAYS * 86400
        with contextlib.suppress(OSError):
            for place in list(self.folder.iterdir()):
                name = place.name[1:].split(".")[0] if place.name.startswith(".") else place.name
                if not re.fullmatch("[0-9a-f]{40}", name) or place.is_symlink():
                    continue
                if place.name.startswith("."):
                    remove_abandoned(self.folder / name)
                elif place.stat().st_mtime < oldest and _is_entry(place):
                    _remove_entry(place)

    def _place(self, scan: str, identity: str) -> Path:
        return self.folder / _name_of(f"{_FORM}\n{scan}\n{identity}")


def _is_entry(place: Path) -> bool:
    """Whether a folder is an entry of this cache, by what its own file says."""
    try:
        about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
        key = f"{about['form']}\n{about['scan']}\n{about['identity']}"
        return str(about["form"]).startswith("masks ") and _name_of(key) == place.name
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _remove_entry(place: Path) -> None:
    """Remove the files of an entry and its folder, which stays where there is more in it."""
    with contextlib.suppress(OSError):
        for name in (_LAYERS, _ABOUT):
            (place / name).unlink(missing_ok=True)
        place.rmdir()


def _name_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40]
