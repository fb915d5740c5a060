"""The folder of a report: which files are its own, and whether a report can be written there, asked before any work."""

from __future__ import annotations

import json
import os
from pathlib import Path

from radvlm.errors import FileFormatError
from radvlm.files.atomic import require_writable_folder

#: The files of a saved report, in the order in which a person would open them.
OUTPUT_FILES = (
    "report.html",
    "report.txt",
    "report.json",
    "measurements.csv",
    "measurements.json",
    "regions.nii.gz",
    "regions.csv",
    "manifest.json",
)
MANIFEST = "manifest.json"
#: A manifest is smaller than this; the list of the files of a thousand slices takes a fifth of a megabyte.
_MAX_MANIFEST_BYTES = 64 * 2**20


def require_report_folder(folder: str | os.PathLike[str], *, page: bool = True) -> None:
    """FileFormatError when a report cannot be written to ``folder``, or would replace a file that radvlm did not write.

    ``page``: whether report.html is written too. Links and folders that have the name of a file of the report are in
    the way, too.
    """
    require_writable_folder(folder)
    path = Path(folder)
    own = own_files(path)
    for name in OUTPUT_FILES:
        file = path / name
        if not page and name == "report.html" and name not in own:
            continue
        if file.is_dir() and not file.is_symlink():
            raise FileFormatError(
                "files of a report have free names", f"{file} is a folder", "Choose another folder, or move it away"
            )
        if name not in own and os.path.lexists(file):
            raise FileFormatError(
                "only files that an earlier report wrote are replaced",
                f"{file}, which radvlm did not write{'' if name == MANIFEST else ' (no manifest.json there lists it)'}",
                "Choose another folder, or move the file away",
            )


def own_files(folder: Path) -> frozenset[str]:
    """Names of OUTPUT_FILES that a report wrote to ``folder``, by the manifest there; none without one.

    Manifests of radvlm before they listed their files stand for all of them.
    """
    manifest = folder / MANIFEST
    try:
        if not manifest.is_file() or manifest.stat().st_size > _MAX_MANIFEST_BYTES:
            return frozenset()
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    if not isinstance(content, dict) or "radvlm" not in content or "configuration_sha256" not in content:
        return frozenset()
    listed = content.get("files", OUTPUT_FILES)
    return frozenset(OUTPUT_FILES).intersection(
        name for name in (listed if isinstance(listed, (list, tuple)) else ()) if isinstance(name, str)
    ) | {MANIFEST}
