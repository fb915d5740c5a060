"""One generation of an index, open for reading: its segments, what was removed, and which reports are one.

A generation never changes; writers (``build``) read one and write the next, ``ReportIndex`` searches one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError
from radvlm.retrieve import storage
from radvlm.retrieve.index_segment import Segment
from radvlm.retrieve.records import LEVELS
from radvlm.retrieve.settings import IndexSettings
from radvlm.retrieve.transform import Transform


class Generation:
    """See the module; made by ``current``, closed by ``close``."""

    def __init__(self, folder: Path, name: str, manifest: Mapping[str, Any], digest: str) -> None:
        """Open a named generation; raises FileFormatError when it is damaged."""
        self.folder, self.name, self.manifest, self.digest = folder, name, manifest, digest
        self.dimension = int(manifest["encoder"]["dimension"])
        place = folder / "generations" / name
        storage.check_files(place, manifest["files"])
        self.transform = Transform.load(place / "transform.npz")
        self.removed: np.ndarray = np.load(place / "removed.npy", allow_pickle=False)
        self.duplicate_group: np.ndarray = np.load(place / "duplicates.npy", mmap_mode="r", allow_pickle=False)
        self.segments = tuple(Segment(folder / "segments" / s["name"], self.dimension) for s in manifest["segments"])
        #: Position of the first record of each segment among all, and the number of all at the end.
        self.starts = np.concatenate([[0], np.cumsum([len(s.records) for s in self.segments])]).astype(np.int64)
        if len(self.removed) != self.starts[-1] or len(self.duplicate_group) != self.starts[-1]:
            raise FileFormatError("a generation covers the records of its segments", f"{name} in {folder.name}")

    @classmethod
    def current(cls, folder: Path) -> Generation:
        """The current generation of a folder, by mapping its files (milliseconds, also for gigabytes)."""
        for attempt in range(20):
            name, manifest, digest = storage.read_current(folder)
            try:
                return cls(folder, name, manifest, digest)
            except (OSError, sqlite3.Error) as error:  # a writer may sweep this generation while it is being opened
                if attempt == 19 or storage.read_current(folder)[0] == name:
                    if isinstance(error, FileFormatError):
                        raise
                    raise FileFormatError(
                        "the files of an index are whole",
                        f"{folder.name}: {error}",
                        "Restore the folder from a copy, or build the index again",
                    ) from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        for segment in self.segments:
            segment.close()

    def __len__(self) -> int:
        """Records that can be found."""
        return int(np.count_nonzero(~self.removed))

    @property
    def levels(self) -> tuple[str, ...]:
        return tuple(level for level in LEVELS if any(level in s.levels for s in self.segments))

    @property
    def settings(self) -> IndexSettings:
        stored = dict(self.manifest["settings"])
        return IndexSettings(**{**stored, "levels": tuple(stored["levels"])})

    def counts(self) -> dict[str, int]:
        """Rows by level that can be found."""
        return {
            level: sum(
                int(np.count_nonzero(~self.removed[self.span(i)][s.rows[level]["record"]]))
                for i, s in enumerate(self.segments)
                if level in s.levels
            )
            for level in self.levels
        }

    def duplicates(self) -> list[tuple[str, ...]]:
        """Groups of record ids that are one report, exactly or nearly; removed ones left out."""
        ids = [i for s in self.segments for i in s.column("id")]
        groups: dict[int, list[str]] = {}
        for position in np.flatnonzero(~self.removed):
            groups.setdefault(int(self.duplicate_group[position]), []).append(ids[position])
        return [tuple(members) for members in groups.values() if len(members) > 1]

    def span(self, i: int) -> slice:
        """Where the records of a segment are among all."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))
