"""From a bare scan to masks: every wanted segmenter once, its masks kept, failures told, all merged.

What is wanted comes as a text (``radvlm.segment.request``), a Segmenter, a function, or several of these. All of them
are asked whether they can run before the first one starts. Each is looked up among the kept masks, so a run that was
stopped goes on where it was. One that fails while it runs is told in the head of the report, and what it would have
looked for stays "not searched"; when all fail there is one error.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError, MissingPackageError, RadvlmError
from radvlm.io import load_segmentation
from radvlm.segment.mask_cache import MaskCache, default_cache_folder, scan_digest
from radvlm.segment.merge import merged_masks
from radvlm.segment.protocol import Segmenter, SegmentOptions, origin_of
from radvlm.segment.request import Request, parse_requests
from radvlm.types.anatomy import structure
from radvlm.types.provenance import UNSEARCHED, Decision
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume
from radvlm.workflows.config import Segmenting

Progress = Callable[[str], None]
#: More structures than this are counted and not named.
_NAMED = 6
#: Longest cause of a failure that is shown, in characters; it ends with a word.
_LONGEST_CAUSE = 300
#: Errors of a network that cannot be reached, by the package and name of their class.
_NO_NETWORK = {
    ("requests", "ConnectionError"),
    ("urllib", "URLError"),
    ("urllib3", "MaxRetryError"),
    ("socket", "gaierror"),
}
_HOST = re.compile(r"(?:host='|https?://)([\w.-]+)")


def segmented(
    volume: Volume,
    segmenter: Any,
    settings: Segmenting | None = None,
    *,
    given: Segmentation | None = None,
    progress: Progress = lambda _: None,
) -> Segmentation:
    """Masks of a scan by one or several segmenters.

    Args:
        segmenter: a text (``total,liver_lesions``, ``nnunet:FOLDER``, ``bundle:FOLDER``, ``command:...``, ``best``), a
            Segmenter, a function that takes the Volume and gives anything that ``load_segmentation`` takes, or a
            sequence of these.
        settings: device, cache and consent; default ``Segmenting()``.
        given: masks that were given for the same scan; they win over what the segmenters find.
        progress: called with a short line before and after each task.

    Raises: what a segmenter raises when it cannot run here, before any work; RadvlmError when every one of them fails.
    """
    settings = settings or Segmenting()
    options = settings.options()
    wanted = resolve_segmenters(segmenter, volume, options, progress)
    for one in wanted:
        one.require()
    cache = _cache(settings)
    scan = scan_digest(volume) if cache is not None else ""
    parts: list[tuple[str, Segmentation]] = [] if given is None else [("the masks that were given", given)]
    failures: list[tuple[Segmenter, Exception]] = []
    notes: list[Decision] = []
    earlier = {} if cache is None else cache.seconds_per_litre()
    for number, one in enumerate(wanted, 1):
        progress(f"Segmenting, {number} of {len(wanted)}: {one.name} ({_estimate(one, volume, earlier)})")
        began = time.monotonic()
        try:
            found, kept, told = _once(one, volume, cache, scan)
        except Exception as error:  # noqa: BLE001 - whatever a foreign network raises, the other tasks go on
            failures.append((one, error))
            progress(f"{one.name} failed" if len(wanted) == 1 else f"{one.name} failed: {_first_line(error)}")
            continue
        if told is not None and told not in notes:
            notes.append(told)
            progress(told.what)
        took = f"{time.monotonic() - began:.1f} s" if not kept else "kept from an earlier run"
        progress(f"{one.name}: {len(found.places)} of {len(found.searched)} structures found, {took}")
        parts.append((one.name, found))
    if len(failures) == len(wanted):
        raise _all_failed(failures)
    merged = merged_masks(parts, given_first=given is not None)
    searched = merged.searched
    notes += [_failed(one, error, searched) for one, error in failures]
    if given is not None:
        notes.append(
            Decision(
                "segment",
                "Masks were given and tasks were run as well: for what both looked for, the given masks count.",
            )
        )
    return dataclasses.replace(merged, decisions=(*merged.decisions, *notes)) if notes else merged


def require_segmenters(segmenter: Any, settings: Segmenting) -> None:
    """Raise what ``segmented`` would raise before any work, as far as it can be told without the scan."""
    if isinstance(segmenter, (list, tuple)):
        for one in segmenter:
            require_segmenters(one, settings)
    elif isinstance(segmenter, str):
        for request in parse_requests(segmenter):
            if request.kind != "best":
                for found in _of_request(request, None, settings.options(), lambda _: None):
                    found.require()
    else:
        for found in resolve_segmenters(segmenter, None, settings.options()):
            found.require()


def resolve_segmenters(
    segmenter: Any, volume: Volume | None, options: SegmentOptions, progress: Progress = lambda _: None
) -> list[Segmenter]:
    """The segmenters that a text, an object, a function or a sequence of these names; ``best`` needs the volume."""
    if isinstance(segmenter, str):
        found: list[Segmenter] = []
        for request in parse_requests(segmenter):
            found += _of_request(request, volume, options, progress)
        return _distinct(found)
    if isinstance(segmenter, Segmenter):
        return [segmenter]
    if isinstance(segmenter, Sequence) and segmenter and not isinstance(segmenter, bytes):
        return _distinct([s for one in segmenter for s in resolve_segmenters(one, volume, options, progress)])
    if callable(segmenter):
        return [FunctionSegmenter(segmenter)]
    raise InputError(
        "segmenter is a text, a Segmenter, a function or a sequence of these",
        type(segmenter).__name__,
        "See docs/segmentation.md",
    )


def _distinct(found: Sequence[Segmenter]) -> list[Segmenter]:
    """Each object, and each task that radvlm makes of the same words, once."""
    kept: dict[Any, Segmenter] = {}
    for one in found:
        held = vars(one) if _is_own(one) else {}
        what = next((str(held[name]) for name in ("task", "given", "folder", "line") if name in held), "")
        key = (type(one), what, held.get("scheme", "")) if what else id(one)
        kept.setdefault(key, one)
    return list(kept.values())


def _is_own(one: Segmenter) -> bool:
    return type(one).__module__.startswith("radvlm.segment.")


def _of_request(
    request: Request, volume: Volume | None, options: SegmentOptions, progress: Progress
) -> list[Segmenter]:
    from radvlm.segment.totalsegmentator import TotalSegmentatorTask

    if request.kind == "best":
        if volume is None:
            raise InputError("best is asked for with a scan", "no scan")
        return [TotalSegmentatorTask(task, options) for task in _best(volume, options, progress)]
    if request.kind == "nnunet":
        from radvlm.segment.nnunet import NnunetModel

        return [NnunetModel(request.what, request.scheme, options)]
    if request.kind == "bundle":
        from radvlm.segment.monai_bundle import MonaiBundle

        return [MonaiBundle(request.what, request.scheme, options)]
    if request.kind == "command":
        from radvlm.io.writing import save_volume
        from radvlm.segment.command import CommandSegmenter

        return [CommandSegmenter(request.what, save_volume, _read_folder)]
    return [TotalSegmentatorTask(request.what, options)]


def _read_folder(folder: Path, volume: Volume) -> Segmentation:
    """The masks that a command left: binary files named after structures, or one label file."""
    inside = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return load_segmentation(inside[0] if len(inside) == 1 else folder, like=volume.geometry)


def _best(volume: Volume, options: SegmentOptions, progress: Progress) -> list[str]:
    """Free tasks that the region of the scan calls for, told before the first one starts."""
    from radvlm.segment.region import scan_region
    from radvlm.types.csv_tables import package_rows

    region = scan_region(volume)
    tasks = [
        row["task"]
        for row in package_rows("radvlm.segment", "best_tasks.csv")
        if row["region"] == "any" or row["region"] in region.parts
    ]
    shown = " and ".join(region.parts) if region.parts else "a region that could not be told"
    progress(f"The scan shows {shown} ({region.how}): tasks {', '.join(tasks)}")
    return tasks


@dataclasses.dataclass(frozen=True)
class FunctionSegmenter:
    """A function of the user: it takes a Volume and gives anything that ``load_segmentation`` takes."""

    function: Callable[[Volume], Any]

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__)).replace("<lambda>", "a function")

    @property
    def searched(self) -> frozenset[str]:
        return frozenset()

    def require(self) -> None:
        """Nothing can be asked of a function before it is called."""

    def identity(self) -> str:
        """Never cached: what a function does may change from call to call."""
        return ""

    def segment(self, volume: Volume) -> Segmentation:
        answer = self.function(volume)
        if answer is None:
            raise InputError(
                "a segmenter gives a Segmentation, {structure: mask}, (labels, affine) or a path",
                "None",
                "Return the masks",
            )
        return load_segmentation(_with_grid(answer, volume), like=volume.geometry)


def _with_grid(answer: Any, volume: Volume) -> Any:
    """Bare arrays of the shape of the scan, alone or by structure, on its grid."""
    import numpy as np

    if isinstance(answer, dict):
        return {name: _with_grid(mask, volume) for name, mask in answer.items()}
    if isinstance(answer, np.ndarray) and answer.shape == volume.geometry.shape:
        return (answer, volume.geometry.affine)
    return answer


def _once(
    one: Segmenter, volume: Volume, cache: MaskCache | None, scan: str
) -> tuple[Segmentation, bool, Decision | None]:
    """Masks of one segmenter, whether they were kept from before, and what is to be told of keeping them."""
    identity = one.identity() if cache is not None else ""
    if cache is not None and identity:
        kept = cache.get(scan, identity, volume)
        if kept is not None:
            return kept, True, None
    began = time.monotonic()
    found = one.segment(volume)
    if not isinstance(found, Segmentation):
        found = load_segmentation(_with_grid(found, volume), like=volume.geometry)
    if not found.origins:  # a function or an object of the user that names no maker
        kind = "a function" if isinstance(one, FunctionSegmenter) else "a given segmenter"
        found = dataclasses.replace(found, origins=(origin_of(f"{one.name} ({kind})", found.searched, began),))
    if not found.geometry.same_grid(volume.geometry):
        raise InputError("a segmenter answers on the grid of the scan", f"{one.name}: {found.geometry!r}")
    if cache is None:
        return found, False, None
    identity = identity or one.identity()  # weights that were only now downloaded
    if identity:
        try:
            cache.put(scan, identity, found)
        except OSError as error:
            what = f"Masks could not be kept for a later run in {cache.folder} ({error.strerror or error})."
            return found, False, Decision("segment", what)
    return found, False, None


def _cache(settings: Segmenting) -> MaskCache | None:
    if settings.cache == "off":
        return None
    cache = MaskCache(default_cache_folder() if settings.cache == "auto" else Path(settings.cache).expanduser())
    cache.tidy()
    return cache


def _estimate(one: Segmenter, volume: Volume, earlier: Mapping[str, float]) -> str:
    """How long a task may take; ``earlier``: seconds for a liter of scan in the last runs here, by their makers."""
    from radvlm.segment.run_times import expected_time
    from radvlm.segment.totalsegmentator import TotalSegmentatorTask

    if not isinstance(one, TotalSegmentatorTask):
        known = [seconds for by, seconds in earlier.items() if by.startswith(one.name)]
        return expected_time("", fast=False, on_gpu=False, volume=volume, earlier=known[-1] if known else None)
    return expected_time(one.task, fast=one.is_fast, on_gpu=one.on_gpu(), volume=volume, earlier=earlier.get(one.by))


def _failed(one: Segmenter, error: Exception, searched: frozenset[str]) -> Decision:
    lost = sorted(one.searched - searched, key=lambda name: structure(name).rank)
    if not lost:
        words = (
            "what it looks for was searched by other tasks" if one.searched else "what it looks for was not searched"
        )
    elif len(lost) > _NAMED:
        words = f"{len(lost)} structures were not searched"
    else:
        words = f"not searched: {', '.join(structure(name).words for name in lost)}"
    return Decision(UNSEARCHED, f"{one.name} failed ({_first_line(error)}); {words}.", warning=True)


def _all_failed(failures: Sequence[tuple[Segmenter, Exception]]) -> RadvlmError:
    """One error for all; the only one itself where it says what is wrong."""
    if len(failures) == 1 and isinstance(failures[0][1], RadvlmError):
        return failures[0][1]
    told = "; ".join(f"{one.name}: {_first_line(error)}" for one, error in failures)
    if any(_is_network(error) for _, error in failures):
        from radvlm.segment.totalsegmentator_weights import weights_folder

        return MissingPackageError(
            "weights on disk, or a network that brings them",
            told,
            f"Fetch them where there is a network, with `totalseg_download_weights`, and copy its folder to "
            f"{weights_folder()}; `radvlm doctor` names the task",
        )
    return FileFormatError("at least one segmenter that runs to its end", told, "Nothing was written")


def _first_line(error: Exception) -> str:
    if isinstance(error, RadvlmError):
        return error.received or error.rule
    if _is_network(error):
        host = _HOST.search(str(error))
        return f"weights are missing and the network cannot be reached{f' ({host[1]})' if host else ''}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return f"{type(error).__name__}: {textwrap.shorten(lines[0], _LONGEST_CAUSE, placeholder=' [...]')}"


def _is_network(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, is of a connection that could not be made, by requests, urllib or sockets."""
    while error is not None:
        kinds = {(kind.__module__.split(".")[0], kind.__name__) for kind in type(error).__mro__}
        if kinds & _NO_NETWORK:
            return True
        error = error.__cause__ or error.__context__
    return False
