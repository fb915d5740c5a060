"""Masks of any common kind to one Segmentation on the grid of the scan.

Three things that look alike are kept apart. An empty mask means searched and absent; a missing file means
not searched; a structure that got lost on the way (nothing left after resampling) is neither, and is said so. The
scheme of a label file is never guessed from numbers when two answers are possible.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, InputError, RadvlmError, StructureError
from radvlm.io.archives import unpacked_archive
from radvlm.io.case_names import in_words, several_cases
from radvlm.io.dicom_seg import (
    DicomSeg,
    is_dicom_seg,
    read_dicom_seg,
    require_same_patient,
    segment_structure,
    unnamed_segments,
)
from radvlm.io.file_bytes import (
    missing_file,
    named_path,
    path_exists,
    refuse_cut_archive,
    require_listing,
    require_regular,
)
from radvlm.io.finding_stacks import finding_sentences, unstacked
from radvlm.io.grids_apart import require_overlap, require_own_affine
from radvlm.io.image_files import read_image, read_stored, stem_of
from radvlm.io.lesion_places import misplaced_lesions
from radvlm.io.mask_as_stored import masks_as_stored
from radvlm.io.mask_check import check_masks_fit, sample_labels, scheme_plausibility
from radvlm.io.mask_grid import covered_box, label_box, onto_box, onto_grid, shared_coverage
from radvlm.io.mask_layers import LayerPacker, count_labels, whole_labels
from radvlm.io.mask_sides import with_sides
from radvlm.io.mask_sources import canonical_grid, image_files, mask_files, raw_from_object, read_ahead, sidecar_names
from radvlm.io.masks_beside import unread_masks
from radvlm.io.placement import placement_of
from radvlm.io.raw import RawImage, StoredImage, StoredSegment, rescaled_image
from radvlm.io.rtstruct import (
    Contours,
    Filled,
    contour_decisions,
    filled,
    is_structure_set,
    read_structure_set,
    slice_axis,
)
from radvlm.io.saved_masks import is_saved, read_saved
from radvlm.io.shear import perpendicular
from radvlm.io.size_rulers import check_organ_sizes
from radvlm.io.sparse_masks import partly_covered, with_ends, without_unsearched
from radvlm.io.united_masks import grouped, with_united
from radvlm.io.width_rulers import check_widths
from radvlm.types.geometry import Box, Geometry
from radvlm.types.label_scheme import (
    GIVEN_SCHEME,
    Scheme,
    SchemeEntry,
    detect_scheme,
    fold,
    implausible_schemes,
    scheme_from_mapping,
    scheme_named,
    schemes,
    structure_from_name,
    unknown_names,
    with_near_names,
)
from radvlm.types.mask_names import without_shared_start
from radvlm.types.provenance import PLACEMENT, UNREAD, Decision, SourceFile
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

__all__ = ["check_masks_fit", "load_segmentation"]

#: A scheme as users give it: a name, {label or file stem: structure}, a Scheme, or None to detect it.
SchemeLike = str | Scheme | Mapping[int, str] | Mapping[str, str] | None
#: Less of the scan than this covered by the masks' grid is worth a warning.
FULL_COVERAGE = 0.99
#: So many guesses of a scheme are tried for masks that no scheme explains.
MOST_GUESSED = 2
#: An archive in an archive is unpacked so often.
MOST_NESTED = 2


def load_segmentation(
    source: Any, *, like: Volume | Geometry | None = None, scheme: SchemeLike = None, accept_misplaced: bool = False
) -> Segmentation:
    """Load masks, name their labels, and put them on the grid of the scan.

    Args:
        source: a multi-label file (NIfTI, NRRD, MetaImage); a folder that ``radvlm segment`` wrote; a segmentation of
            3D Slicer (``.seg.nrrd``); a folder of binary masks named after structures (its ``segmentations`` subfolder
            is found); a zip of these; a DICOM SEG or RTSTRUCT file or a folder with one; (array, affine); a nibabel
            image; a MONAI MetaTensor; {structure: any of these}; a Segmentation.
        like: the scan (or its Geometry). Masks on another grid are resampled to it by nearest neighbor. With a
            Volume the masks are also checked against its voxels (``check_masks_fit``).
        scheme: name of a label scheme (``totalsegmentator``, ``abdomenatlas`` ...) or {label: structure}; for a
            folder also {file stem: structure}; for a DICOM SEG {segment number: structure}. None: detected from the
            header's names, a label table beside the file, file names, and only then from numbers; stated in a Decision.
        accept_misplaced: go on with masks that look mirrored, turned or shifted on this scan, and say so in the report.

    Raises:
        StructureError: unknown labels or names, or several schemes fit.
        GridError: masks and scan do not overlap in mm.
        InputError: fractions, negative or not finite values, an empty label file, masks of another patient or scan.
        FileFormatError: a file that cannot be read.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> masks.present, masks.voxel_count("liver")
        (('liver',), 1000)
    """
    if like is not None and not isinstance(like, (Volume, Geometry)):
        raise InputError("like is a Volume or a Geometry", type(like).__name__, "Load the scan with radvlm.load_volume")
    if isinstance(source, Segmentation):
        found = _regridded(source, canonical_grid(like))
    elif isinstance(source, Mapping):
        found = _from_mapping(source, like)
    elif isinstance(source, (str, PathLike)):
        found = _from_path(named_path(source, "a mask"), like, scheme)
    else:
        found = _from_label_image(raw_from_object(source, like), "the mask", like, scheme)
    found = without_unsearched(found if found.covered is not None else with_ends(found))
    if isinstance(like, Volume):
        found = _checked(found, source, like, accept_misplaced)
    return with_sides(found, like if isinstance(like, Volume) else None)


def _checked(found: Segmentation, source: Any, like: Volume, accept_misplaced: bool) -> Segmentation:
    """The masks with what is to be said of their place on the scan; InputError where they are misplaced."""
    if isinstance(source, Segmentation) and any(d.step == PLACEMENT for d in source.decisions):
        return found  # judged when it was loaded, and accepted by the caller
    sizes = check_organ_sizes(found) or check_widths(found, like.study.patient.age_years)
    placement = placement_of(like, found, lambda: masks_as_stored(source, like, found))
    if not placement.problem:
        placement = misplaced_lesions(found, like, placement)
    doubts = (Decision(PLACEMENT, doubt, warning=True) for doubt in placement.doubts)
    notes, fits = [*sizes, *doubts], placement.fits
    if placement.problem:
        if not accept_misplaced:
            raise InputError(
                "the masks lie on this scan",
                placement.problem,
                f"{placement.remedy}; to go on all the same, accept_misplaced=True (--accept-misplaced)",
            )
        notes.append(Decision(PLACEMENT, f"Masks accepted although {placement.problem}.", warning=True))
    else:
        try:
            notes += check_masks_fit(like, found)
        except InputError as error:
            if not accept_misplaced:
                raise
            notes.append(Decision(PLACEMENT, f"Masks accepted although {error.received}.", warning=True))
            fits = False
    if not notes:
        return found
    doubt = "" if fits else "the masks look misplaced"
    unsure = {**dict(placement.unsure), **dict(found.unsure)}
    return dataclasses.replace(found, decisions=(*found.decisions, *notes), attenuation_doubt=doubt, unsure=unsure)


def _from_path(path: Path, like: Volume | Geometry | None, scheme: SchemeLike, depth: int = 0) -> Segmentation:
    if not path_exists(path):
        raise missing_file(path, "the masks exist")
    require_regular(path)
    if path.is_dir():
        require_listing(path)
        if is_saved(path):
            saved = read_saved(path)
            return saved if like is None else _regridded(saved, canonical_grid(like))
        inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        if not image_files(path):
            objects = [p for p in inside if is_dicom_seg(p) or is_structure_set(p)]
            if len(objects) > 1:
                raise InputError(
                    "one DICOM segmentation is given",
                    f"{path} holds {len(objects)}: {', '.join(p.name for p in objects[:5])}",
                    "Pass the file that is meant",
                )
            if objects:
                return _from_path(objects[0], like, scheme)
        return _from_folder(path, like, scheme)
    if is_structure_set(path):
        return _from_structure_set(path, like, scheme)
    if _is_dicom(path):
        return _from_dicom(path, like, scheme)
    if zipfile.is_zipfile(path):
        with unpacked_archive(path) as folder:
            inner = _only_entry(folder)
            if inner.is_dir() and not any(item.is_file() for item in inner.rglob("*")):
                raise FileFormatError("an archive of masks holds masks", f"{path.name}: it is empty", "Check the path")
            if depth >= MOST_NESTED and zipfile.is_zipfile(inner):
                raise FileFormatError(
                    "an archive holds masks", f"{path.name}: archives within archives", "Unpack it first"
                )
            return _from_path(inner, like, scheme, depth + 1)
    refuse_cut_archive(path)
    stored = read_stored(path)
    if stored.segments:
        return _from_segments(stored, path.name, like, scheme)
    if stored.array.ndim == 4:
        return _from_findings(stored, path, like, scheme)
    raw = rescaled_image(stored)
    if not raw.names and scheme is None:
        names, table = sidecar_names(path)
        if names:
            raw = dataclasses.replace(
                raw, names=names, decisions=(*raw.decisions, Decision("masks", f"Label names were taken from {table}."))
            )
        elif (structure := structure_from_name(stem_of(path))) is not None:
            labels = np.unique(raw.array[raw.array != 0])
            if labels.size <= 1 and (labels.size == 0 or labels[0] > 0):
                return _from_masks(
                    [(structure, path.name, lambda: raw)],
                    like,
                    "file name",
                    (Decision("masks", f"{path.name} holds one label and was taken as {structure} by its name."),),
                )
    return _from_label_image(raw, path.name, like, scheme)


def _only_entry(folder: Path) -> Path:
    """The folder, or what alone lies in it, however deep."""
    while folder.is_dir():
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(inside) != 1:
            break
        folder = inside[0]
    return folder


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


# -- label images ---------------------------------------------------------------------------------------------------


def _from_label_image(raw: RawImage, name: str, like: Volume | Geometry | None, scheme: SchemeLike) -> Segmentation:
    array, decisions = whole_labels(raw.array, name)
    straight = perpendicular(RawImage(array, raw.affine), is_scan=False)
    labels, geometry, _ = straight.canonical()
    decisions += straight.decisions
    counts = count_labels(labels)
    kept, target, covered = counts, canonical_grid(like), None
    if target is not None and not target.same_grid(geometry):
        covered = covered_box(target, geometry)
        decisions += _grid_decisions(target, geometry)
        labels, geometry = onto_grid(labels, geometry, target), target
        kept = count_labels(labels)
    hu = like.hu if isinstance(like, Volume) and not like.attenuation_doubt else None
    sample = cache(partial(sample_labels, labels, geometry, hu))
    try:
        chosen, decision = _chosen_scheme(scheme, counts, raw.names, name, sample)
    except StructureError as error:
        if scheme is not None or hu is None or not isinstance(like, Volume):
            raise
        raise _unnamed_or_misplaced(error, raw, labels, like, sample) from None
    meaning = _meaning(chosen, counts, name)
    labels, places = _named(labels, meaning, kept)
    merged = grouped((structure, str(label)) for label, structure in meaning.items() if structure)
    lost = set(merged) - set(places)
    found = Segmentation(
        (labels,),
        places,
        (chosen.searched | set(places)) - lost,
        geometry,
        chosen.name,
        raw.sources,
        (
            *raw.decisions,
            *decisions,
            decision,
            *_unused_decision(_unused_labels(chosen, counts), name),
            *_lost_decision(lost),
            *_empty_decision(counts, name),
        ),
        covered=covered,
    )
    return with_united(found, merged, f"labels of {name}")


def _chosen_scheme(
    given: SchemeLike, counts: np.ndarray, names: Mapping[int, str], name: str, sample: Callable[[], Any]
) -> tuple[Scheme, Decision]:
    labels = {int(label) for label in np.flatnonzero(counts) if label}
    if given is not None:
        chosen = _given_scheme(given)
        if not chosen.labels:
            if not names:
                raise StructureError(
                    "a label file follows a scheme with numbers",
                    f"{name}: scheme {chosen.name!r} has names only",
                    "Pass {label: structure}",
                )
            resolved = {label: structure_from_name(word, chosen) for label, word in names.items()}
            entries = tuple(SchemeEntry(label, names[label], found) for label, found in resolved.items() if found)
            chosen = dataclasses.replace(chosen, entries=entries)
        return chosen, Decision("masks", f"Labels of {name} follow the scheme {_with_versions(chosen)}, as given.")
    if not labels and not names:
        raise InputError(
            "a mask holds at least one label",
            f"{name}: every voxel is 0",
            "Check the file; if it is right that nothing was found, say what was searched with scheme=",
        )
    samples: list[Any] = []

    def plausibility(candidate: Scheme) -> tuple[int, int]:
        if not samples:
            samples.append(sample())
        return scheme_plausibility(candidate, samples[0])

    try:
        chosen, reason = detect_scheme(labels, names, plausibility=plausibility)
    except StructureError as error:
        voxels = ", ".join(f"{label}: {counts[label]}" for label in sorted(labels)[:12])
        raise StructureError(
            error.rule,
            f"{error.received}; voxels of {name} by label {voxels}"
            + (f" and of {len(labels) - 12} more labels" if len(labels) > 12 else ""),
            error.remedy,
        ) from None
    by_numbers = "number" in reason
    return chosen, Decision(
        "masks",
        f"Labels of {name} follow the scheme {_with_versions(chosen)}, recognized {reason}.",
        warning=by_numbers,
    )


def _unnamed_or_misplaced(
    error: StructureError, raw: RawImage, labels: np.ndarray, scan: Volume, sample: Callable[[], Any]
) -> RadvlmError:
    """What to say of labels that no scheme explains: misplaced where the voxels prove it, whatever their names.

    How edges of masks follow those of the scan does not depend on names, and only that is believed here: pairs that are
    reversed under a guessed scheme may have other names.
    """
    found = {int(label) for label in np.flatnonzero(count_labels(labels)) if label}
    candidates = implausible_schemes(found, lambda candidate: scheme_plausibility(candidate, sample()))
    for candidate in candidates[:MOST_GUESSED]:
        named, places = _named(labels.copy(), {label: candidate.labels[label] for label in found}, count_labels(labels))
        masks = Segmentation((named,), places, frozenset(places), scan.geometry)
        placement = placement_of(scan, masks, partial(masks_as_stored, (raw.array, raw.affine), scan, masks))
        if placement.by_voxels:
            return InputError(
                "the masks lie on this scan",
                f"{placement.by_voxels}; the file names no label, so its numbers were read as {candidate.name}",
                f"{placement.remedy}; to go on all the same, scheme={candidate.name!r} (or the right one) together "
                "with accept_misplaced=True (--accept-misplaced)",
            )
    if not candidates:
        return error
    return StructureError(
        error.rule,
        f"{error.received}; none of them is plausible here: either the labels follow another scheme, or the masks do "
        "not lie on this scan",
        f"{error.remedy}; check too that the masks are of this scan and have its affine",
    )


def _unused_labels(chosen: Scheme, counts: np.ndarray) -> str:
    """The filled labels that the scheme takes for no structure of ours, with their names; background is none."""
    return ", ".join(
        f"{entry.label} {entry.name!r} ({counts[entry.label]} voxels)"
        for entry in chosen.entries
        if entry.label is not None
        and entry.label < counts.size
        and counts[entry.label]
        and not entry.structure
        and fold(entry.name) not in ("", "background", "ignore")
    )


def _with_versions(scheme: Scheme) -> str:
    return f"{scheme.name} ({scheme.versions})" if scheme.versions else scheme.name


def _given_scheme(given: SchemeLike) -> Scheme:
    if isinstance(given, Scheme):
        return given
    if isinstance(given, str):
        return scheme_named(given)
    if isinstance(given, Mapping) and all(isinstance(key, (int, np.integer)) for key in given):
        return scheme_from_mapping({int(key): value for key, value in given.items()})
    raise InputError("scheme is a name or {label: structure}", repr(given)[:80], "`radvlm info schemes` lists names")


def _meaning(chosen: Scheme, counts: np.ndarray, name: str) -> dict[int, str]:
    """Label -> structure ("" = background) for every label with a voxel."""
    table = chosen.labels
    labels = [int(label) for label in np.flatnonzero(counts) if label]
    unknown = [label for label in labels if label not in table]
    if unknown:
        shown = ", ".join(f"{label} ({counts[label]} voxels)" for label in unknown[:10])
        fitting = [other for other in schemes().values() if set(labels) <= set(other.labels)]
        fitting.sort(key=lambda other: -sum(other.labels[label] == table.get(label) for label in labels))
        nearest = ", ".join(other.name for other in fitting[:3])
        holding = f"({nearest} know all of them) " if nearest else ""
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        if chosen.name == GIVEN_SCHEME:
            raise StructureError(
                "scheme= (--scheme) names every label of the masks",
                f"{name}: not named are {shown}{more}",
                'Name them too, {label: structure}; map a label to "" to leave it out',
            )
        raise StructureError(
            f"every label belongs to the scheme {chosen.name}",
            f"{name}: {shown}{more}",
            f'Pass another scheme= {holding}or {{label: structure}}; map a label to "" to leave it out',
        )
    return {label: table[label] for label in labels}


def _named(
    labels: np.ndarray, meaning: Mapping[int, str], counts: np.ndarray
) -> tuple[np.ndarray, dict[str, LabelPlace]]:
    """Labels renumbered where two mean the same structure or one means background; no copy otherwise."""
    first: dict[str, int] = {}
    table = np.arange(int(np.iinfo(labels.dtype).max) + 1, dtype=labels.dtype)
    for label, structure in sorted(meaning.items()):
        table[label] = first.setdefault(structure, label) if structure else 0
    if any(table[label] != label for label in meaning if label < counts.size and counts[label]):
        labels = table[labels]
    held = {int(table[label]) for label in meaning if label < counts.size and counts[label]}
    return labels, {name: LabelPlace(0, label) for name, label in first.items() if name and label in held}


# -- segmentations of 3D Slicer ---------------------------------------------------------------------------------------


def _from_segments(stored: StoredImage, name: str, like: Volume | Geometry | None, scheme: SchemeLike) -> Segmentation:
    """A file that describes its segments; several layers where they overlap."""
    layers = (stored.array, *stored.more_layers)
    segments = [segment for segment in stored.segments if segment.layer < len(layers)]
    by_code = {segment.name: found for segment in segments if (found := _coded_structure(segment)) is not None}
    coded = sorted(segment for segment in by_code if structure_from_name(segment) is None)
    notes = stored.decisions
    if coded:
        what = ", ".join(f"{segment} ({by_code[segment]})" for segment in coded)
        notes += (Decision("masks", f"Segments of {name} were named by their codes: {what}."),)
    words = {segment: by_code[segment.name] if segment.name in coded else segment.name for segment in segments}
    if scheme is None and all(structure_from_name(word) is None for word in words.values()):
        raise unknown_names(list(dict.fromkeys(words.values())), "segments")
    by_name = isinstance(scheme, Mapping) and bool(scheme) and all(isinstance(key, str) for key in scheme)
    if len(layers) == 1 and not by_name:
        names = {segment.label: words[segment] for segment in segments}
        raw = RawImage(stored.array, stored.affine, names, sources=stored.sources, decisions=notes)
        return _colored(_from_label_image(raw, name, like, scheme), {words[s]: s.color for s in segments})
    given = {str(key): str(value) for key, value in scheme.items()} if isinstance(scheme, Mapping) and by_name else {}
    if scheme is not None and not by_name:
        raise InputError(
            "segments in several layers are named one by one",
            f"{name}: {len(layers)} layers",
            "Pass scheme={name of the segment: structure}",
        )
    chosen = {segment: structure_from_name(given.get(segment.name, words[segment])) for segment in segments}
    unknown = [segment.name for segment in segments if chosen[segment] is None and given.get(segment.name) != ""]
    if unknown and not any(chosen.values()):
        raise unknown_names(unknown, "segments")
    notes += _unused_decision(with_near_names(unknown), name)

    def reader(layer: np.ndarray, label: int) -> Callable[[], RawImage]:
        return lambda: RawImage(layer == label, stored.affine, sources=stored.sources)

    masks = [(found, name, reader(layers[segment.layer], segment.label)) for segment, found in chosen.items() if found]
    segmentation = _from_masks(masks, like, "3D Slicer", notes, "segments")
    return _colored(segmentation, {structure: segment.color for segment, structure in chosen.items() if structure})


def _colored(found: Segmentation, colors: Mapping[str, tuple[int, int, int] | None]) -> Segmentation:
    """With the colors that a file gives its segments, by name of the segment or structure."""
    named = {structure_from_name(name): color for name, color in colors.items() if color is not None}
    return dataclasses.replace(
        found, colors={name: color for name, color in named.items() if name is not None and name in found.searched}
    )


def _coded_structure(segment: StoredSegment) -> str | None:
    """The structure that the codes of a segment state, by the rules for DICOM segments."""
    if not segment.codes:
        return None
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def coded(code: tuple[str, str, str]) -> Dataset:
        item = Dataset()
        item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning = code
        return item

    kind, kind_modifier, region, region_modifier = segment.codes
    item = Dataset()
    item.SegmentLabel = segment.name
    item.SegmentedPropertyTypeCodeSequence = Sequence([coded(kind)])
    if kind_modifier[1]:
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = Sequence(
            [coded(kind_modifier)]
        )
    if region[1]:
        item.AnatomicRegionSequence = Sequence([coded(region)])
        if region_modifier[1]:
            item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = Sequence([coded(region_modifier)])
    return segment_structure(item)


# -- findings stacked in one file -------------------------------------------------------------------------------------


def _from_findings(stored: StoredImage, path: Path, like: Volume | Geometry | None, scheme: SchemeLike) -> Segmentation:
    """One mask for each finding; what it is comes from its sentence, or is given for its number."""
    sentences, table = finding_sentences(path)
    axes = like.stored_axes if isinstance(like, Volume) else "RAS"
    masks, affine, notes = unstacked(stored, path.name, len(sentences), canonical_grid(like), axes)
    if sentences and len(sentences) != len(masks):
        raise FileFormatError(
            "there is one sentence for each finding",
            f"{path.name}: {len(masks)} findings, {len(sentences)} sentences in {table}",
            "Correct the table",
        )
    given = {str(key): str(value) for key, value in scheme.items()} if isinstance(scheme, Mapping) else {}
    words = [given.get(str(number), sentences[number] if sentences else "") for number in range(len(masks))]
    chosen = _given_scheme(scheme) if scheme is not None and not isinstance(scheme, Mapping) else None
    structures = [structure_from_name(word, chosen) if word else None for word in words]
    if not any(structures):
        raise StructureError(
            "a stack of masks has a sentence for each finding that says what it is",
            f"{path.name}: {len(masks)} findings, " + (f"such as {words[0]!r}" if any(words) else "no table beside it"),
            'Pass scheme={number of the finding, from 0: structure}, such as {0: "lung_nodule"}',
        )
    unknown = [words[number] or f"finding {number}" for number, found in enumerate(structures) if found is None]
    said = "; ".join(f"{number}: {found}" for number, found in enumerate(structures) if found)
    notes += (Decision("masks", f"Findings of {path.name}{f' by {table}' if table else ''}: {said}."),)

    def reader(mask: np.ndarray) -> Callable[[], RawImage]:
        return lambda: RawImage(mask, affine, sources=stored.sources)

    found = _from_masks(
        [(name, path.name, reader(masks[number])) for number, name in enumerate(structures) if name],
        like,
        "findings",
        (*stored.decisions, *notes),
        "findings",
    )
    unused = _unused_decision(with_near_names(unknown), path.name)
    drawn = [(name, RawImage(masks[number], affine)) for number, name in enumerate(structures) if name]
    return dataclasses.replace(
        found, sources=stored.sources, decisions=(*found.decisions, *unused), findings=_finding_numbers(found, drawn)
    )


def _finding_numbers(found: Segmentation, drawn: list[tuple[str, RawImage]]) -> dict[str, np.ndarray]:
    """The finding of each voxel of the structures that several findings are, in their boxes; the first one keeps it.

    A finding of which half and more is another one's is that one again.
    """
    numbers: dict[str, np.ndarray] = {}
    names = [name for name, _ in drawn]
    for name, raw in drawn:
        if names.count(name) < 2 or name not in found.places:
            continue
        mask, geometry, _ = perpendicular(RawImage(raw.array != 0, raw.affine), is_scan=False).canonical()
        target = found.geometry
        mask = mask if target.same_grid(geometry) else onto_grid(mask.astype(np.uint8), geometry, target) > 0
        own = mask[found.boxes[name].slices]
        held = numbers.setdefault(name, np.zeros(own.shape, np.uint16))
        taken = np.bincount(held[own])
        taken[0] = 0
        again = 2 * taken.max() >= own.sum()
        held[own & (held == 0)] = int(taken.argmax()) if again else int(held.max()) + 1
    return {name: held for name, held in numbers.items() if held.max() > 1}


# -- binary masks ---------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, like: Volume | Geometry | None, scheme: SchemeLike) -> Segmentation:
    files = mask_files(folder)
    stems = {path: stem_of(path) for path in files}
    if isinstance(scheme, Mapping) and all(isinstance(key, str) for key in scheme):
        chosen, reason = (
            Scheme(
                GIVEN_SCHEME,
                "",
                tuple(
                    SchemeEntry(None, str(stem), structure_from_name(str(given)) or "")
                    for stem, given in scheme.items()
                ),
            ),
            "",
        )
        bad = [str(given) for given in scheme.values() if given and structure_from_name(str(given)) is None]
        if bad:
            raise unknown_names(bad)
    elif scheme is not None:
        chosen, reason = _given_scheme(scheme), "as given"
    else:
        chosen, reason = detect_scheme(set(), file_names=list(stems.values()))
    shorter = without_shared_start(list(stems.values()))
    named = {
        path: structure_from_name(stem, chosen) or structure_from_name(shorter[stem], chosen)
        for path, stem in stems.items()
    }
    unknown = [stems[path] for path, structure in named.items() if structure is None]
    if unknown and len(files) == 1:
        return _from_path(files[0], like, scheme)
    if len(unknown) == len(files):
        raise unknown_names(unknown, "mask files are named after structures that")
    masks: list[tuple[str, str, Callable[[], RawImage]]] = [
        (structure, path.name, partial(read_image, path)) for path, structure in named.items() if structure
    ]
    note = Decision(
        "masks",
        f"{len(masks)} mask files follow the scheme {chosen.name}"
        + (f", {'recognized ' if scheme is None else ''}{reason}." if reason else "."),
    )
    read = [
        f"{stems[path]!r} as {structure}"
        for path, structure in named.items()
        if structure and fold(stems[path]) not in (*chosen.names, fold(structure))
    ]
    if read:
        more = f"; and {len(read) - 20} more" if len(read) > 20 else ""
        note = dataclasses.replace(note, what=f"{note.what} Names were read: {'; '.join(read[:20])}{more}.")
    beside = unread_masks(folder, files[0].parent, [structure for structure, _, _ in masks])
    cases = several_cases(
        {stems[path]: found for path, found in named.items() if found}, lambda name: structure_from_name(name, chosen)
    )
    if cases:
        beside += (Decision(UNREAD, in_words(cases), warning=True),)
    unused = _unused_decision(with_near_names(unknown), folder.name)
    return _from_masks(masks, like, chosen.name, (note, *unused, *beside))


def _from_mapping(source: Mapping[Any, Any], like: Volume | Geometry | None) -> Segmentation:
    if not source:
        raise InputError("a {structure: mask} mapping holds at least one mask", "an empty mapping")
    named = {key: structure_from_name(key) if isinstance(key, str) else None for key in source}
    unknown = [str(key) for key, structure in named.items() if structure is None]
    if unknown:
        raise unknown_names(unknown)

    def reader(key: str, value: Any) -> Callable[[], RawImage]:
        if isinstance(value, (str, PathLike)):
            path = named_path(value, "a mask")
            return lambda: read_image(path)
        return lambda: raw_from_object(value, like, key)

    masks = [(str(named[key]), str(key), reader(key, value)) for key, value in source.items()]
    return _from_masks(masks, like, "radvlm", (), "masks")


def _from_masks(
    masks: list[tuple[str, str, Callable[[], RawImage]]],
    like: Volume | Geometry | None,
    scheme: str,
    notes: tuple[Decision, ...],
    kind: str = "files",
) -> Segmentation:
    """Pack binary masks, each (structure, name of its file, reader), as they are read; ``kind`` is what they were."""
    target = canonical_grid(like)
    packer: LayerPacker | None = None
    decisions: list[Decision] = list(notes)
    sources: list[SourceFile] = []
    lost: set[str] = set()
    names = grouped((structure, name) for structure, name, _ in masks)
    grids: list[tuple[str, Geometry]] = []  # each with the first file on it
    for (structure, name, _), raw in zip(masks, read_ahead([read for _, _, read in masks]), strict=True):
        array, doubts = whole_labels(raw.array, name)
        straight = perpendicular(RawImage(array, raw.affine), is_scan=False)
        mask, geometry, _ = straight.canonical()
        doubts += straight.decisions
        target = target or geometry
        packer = packer or LayerPacker(target)
        sources += raw.sources
        decisions += [decision for decision in (*raw.decisions, *doubts) if decision not in decisions]
        if not any(geometry.same_grid(grid) for _, grid in grids):
            decisions += _resampling(target, geometry)
            grids.append((name, geometry))
        placed = _binary_on(mask, geometry, target, name)
        if placed is not None and placed[0].any():
            packer.add(structure, *placed)
            lost.discard(structure)
        elif placed is not None and structure not in packer.places:
            lost.add(structure)
    assert packer is not None and target is not None
    for name, geometry in grids if len(grids) > 1 else ():
        require_own_affine(target, geometry, name)
    decisions += _coverage_decision(target, [geometry for _, geometry in grids])
    empty = set(names) - set(packer.places) - lost
    decisions.append(
        Decision(
            "masks",
            f"{len(packer.places)} structures are present, {len(empty)} were searched and not found.",
            warning=not packer.places,
        )
    )
    found = Segmentation(
        packer.finished(),
        packer.places,
        frozenset(set(names) - lost),
        target,
        scheme,
        tuple(sources),
        (*decisions, *_lost_decision(lost)),
        covered=covered_box(target, grids[0][1]) if len(grids) == 1 else None,
    )
    return with_united(found, names, kind)


def _binary_on(mask: np.ndarray, geometry: Geometry, target: Geometry, name: str) -> tuple[np.ndarray, Box] | None:
    """Boolean mask and its box on ``target``; None when the file is empty, all False when nothing is left of it."""
    box = label_box(mask)
    if box is None:
        return None
    window = mask[box.slices]
    values = np.flatnonzero(count_labels(window))
    if (values > 0).sum() > 1:
        raise InputError(
            "a file among binary masks holds one label",
            f"{name}: labels {values[values > 0][:8].tolist()}",
            "Pass a multi-label file on its own",
        )
    if target.same_grid(geometry):
        return window != 0, box
    placed = onto_box(mask, geometry, target)
    if placed is None:
        return np.zeros((1, 1, 1), bool), Box((0, 0, 0), (1, 1, 1))
    return placed[0] != 0, placed[1]


# -- DICOM and Segmentation -----------------------------------------------------------------------------------------


def _from_dicom(path: Path, like: Volume | Geometry | None, scheme: SchemeLike) -> Segmentation:
    target = canonical_grid(like)
    seg = read_dicom_seg(path, target)
    decisions = [*seg.decisions]
    if isinstance(like, Volume):
        decisions += require_same_patient(seg, like.study)
    parts = [RawImage(part.array, part.affine).canonical()[:2] for part in seg.parts]
    counts = {int(label): int(n) for labels, _ in parts for label, n in enumerate(count_labels(labels)) if label and n}
    structures = _segment_names(seg, counts, scheme)
    unused = [number for number in counts if number not in structures]
    structures |= dict.fromkeys(unused, "")
    shown = with_near_names(seg.names.get(number) or f"segment {number}" for number in unused)
    if target is not None:
        for _, geometry in parts[:1]:
            if not target.same_grid(geometry):
                decisions += _grid_decisions(target, geometry, sparse=True)
    target = target or parts[0][1]
    packer = LayerPacker(target)
    for labels, geometry in parts:
        placed = (
            (labels, Box((0, 0, 0), labels.shape)) if target.same_grid(geometry) else onto_box(labels, geometry, target)
        )
        if placed is not None:
            _pack_labels(packer, placed[0], placed[1], structures)
    merged = grouped((structures[number], str(number)) for number in counts if structures[number])
    lost = set(merged) - set(packer.places)
    searched = (frozenset(structures.values()) | set(packer.places)) - lost - {""}
    given = " as given" if scheme is not None else ", by their labels and codes"
    decisions.append(Decision("masks", f"Segments of {path.name} were named{given}."))
    found = Segmentation(
        packer.finished(),
        packer.places,
        searched,
        target,
        "DICOM SEG",
        seg.sources,
        (
            *decisions,
            *_unused_decision(shown, path.name),
            *_lost_decision(lost),
            *_empty_decision(np.array([0, *counts.values()]), path.name),
        ),
    )
    return with_united(found, merged, f"segments of {path.name}")


def _from_structure_set(path: Path, like: Volume | Geometry | None, scheme: SchemeLike) -> Segmentation:
    target = canonical_grid(like)
    if target is None:
        raise InputError(
            "contours become masks on the grid of a scan",
            f"{path.name}, an RT structure set, without the scan",
            "Pass the scan (like= in Python)",
        )
    structures = read_structure_set(path)
    notes: tuple[Decision, ...] = ()
    if isinstance(like, Volume):
        identity = DicomSeg((), {}, {}, structures.study, (structures.source,), ())
        notes = tuple(require_same_patient(identity, like.study))
    named = _region_names(structures.regions, scheme)
    drawn = [region for region in structures.regions if region.polygons_mm]
    known = [(structure, region) for region in drawn if (structure := named[region])]
    unknown = [region.name for region in drawn if named[region] is None]
    if not known:
        raise unknown_names(unknown, "contours")
    axis = slice_axis(structures, target)
    results: dict[str, Filled] = {}

    def reader(region: Contours) -> Callable[[], RawImage]:
        def read() -> RawImage:
            results[region.name] = done = filled(region, target, axis)
            return RawImage(done.mask, target.affine, sources=(structures.source,))

        return read

    masks = [(structure, f"{path.name} ({region.name})", reader(region)) for structure, region in known]
    segmentation = _from_masks(masks, target, "RTSTRUCT", notes, "contours")
    return dataclasses.replace(
        segmentation,
        sources=(structures.source,),
        decisions=(
            *segmentation.decisions,
            *contour_decisions(results, path.name),
            *_unused_decision(with_near_names(unknown), path.name),
        ),
        colors={structure: region.color for structure, region in known if region.color is not None},
    )


def _region_names(regions: Iterable[Contours], scheme: SchemeLike) -> dict[Contours, str | None]:
    """Structure of each region ("" = left out, None = unknown), by its name or as given."""
    given = scheme if isinstance(scheme, Mapping) else {}
    chosen = _given_scheme(scheme) if scheme is not None and not isinstance(scheme, Mapping) else None
    named: dict[Contours, str | None] = {}
    for region in regions:
        word = {str(key): str(value) for key, value in given.items()}.get(region.name, region.name)
        named[region] = structure_from_name(word, chosen) if word else ""
    return named


def _segment_names(seg: DicomSeg, counts: Mapping[int, int], scheme: SchemeLike) -> dict[int, str]:
    if scheme is None:
        if counts and not set(counts) & set(seg.structures):
            raise unnamed_segments(seg, counts)
        return dict(seg.structures)
    chosen = _given_scheme(scheme)
    table = (
        dict(chosen.labels)
        if isinstance(scheme, Mapping)
        else {number: found for number, name in seg.names.items() if (found := structure_from_name(name, chosen))}
    )
    if counts and not set(counts) & set(table):
        raise unnamed_segments(dataclasses.replace(seg, structures=table), counts)
    return table


def _pack_labels(packer: LayerPacker, labels: np.ndarray, box: Box, structures: Mapping[int, str]) -> None:
    from scipy.ndimage import find_objects

    for number, found in enumerate(find_objects(labels), start=1):
        if found is None or not structures[number]:
            continue
        inner = Box.from_slices(found)
        start = tuple(a + b for a, b in zip(box.start, inner.start, strict=True))
        stop = tuple(a + b for a, b in zip(box.start, inner.stop, strict=True))
        packer.add(structures[number], labels[found] == number, Box(start, stop))  # type: ignore[arg-type]


def _regridded(source: Segmentation, target: Geometry | None) -> Segmentation:
    if target is None or target.same_grid(source.geometry):
        return source
    decisions = _grid_decisions(target, source.geometry)
    layers = tuple(onto_grid(layer, source.geometry, target) for layer in source.layers)
    counts = [count_labels(layer) for layer in layers]
    places = {
        name: place
        for name, place in source.places.items()
        if place.label < counts[place.layer].size and counts[place.layer][place.label]
    }
    lost = set(source.places) - set(places)
    return Segmentation(
        layers,
        places,
        source.searched - lost,
        target,
        source.scheme,
        source.sources,
        (*source.decisions, *decisions, *_lost_decision(lost)),
        covered=covered_box(target, source.geometry),
        colors=source.colors,
        origins=source.origins,
    )


# -- what is recorded -----------------------------------------------------------------------------------------------


def _grid_decisions(target: Geometry, source: Geometry, sparse: bool = False) -> tuple[Decision, ...]:
    """Record a resampling from ``source`` to ``target``; ``sparse``: outside the source grid nothing was left out."""
    return (*_resampling(target, source, sparse), *(() if sparse else _coverage_decision(target, [source])))


def _resampling(target: Geometry, source: Geometry, sparse: bool = False) -> tuple[Decision, ...]:
    if target.same_grid(source):
        return ()
    require_overlap(target, source, "the masks")
    change = max(abs(a / b - 1) for a, b in zip(source.spacing_mm, target.spacing_mm, strict=True))
    if sparse and change < 0.01:
        return ()
    what = (
        f"Masks were resampled by nearest neighbor from {_grid_words(source)} onto the scan's grid of "
        f"{_grid_words(target)}."
    )
    return (Decision("masks", what, warning=change >= 0.01),)


def _coverage_decision(target: Geometry, sources: Sequence[Geometry]) -> tuple[Decision, ...]:
    """The warning that all masks together cover a part of the scan; nothing where one of them has its grid."""
    if any(target.same_grid(source) for source in sources):
        return ()
    covered = shared_coverage(target, sources)
    if covered >= FULL_COVERAGE:
        return ()
    return (partly_covered(covered),)


def _grid_words(grid: Geometry) -> str:
    spacing = " x ".join(f"{s:.3g}" for s in grid.spacing_mm)
    return f"{' x '.join(map(str, grid.shape))} voxels of {spacing} mm"


def _unused_decision(unused: str, name: str) -> tuple[Decision, ...]:
    """The warning for masks that no known structure is meant by; ``unused`` lists them."""
    if not unused:
        return ()
    return (
        Decision(
            "masks",
            f"{name} holds masks whose names mean no known structure; they were not used: {unused}.",
            warning=True,
        ),
    )


def _lost_decision(lost: Iterable[str]) -> tuple[Decision, ...]:
    names = sorted(lost)
    if not names:
        return ()
    return (
        Decision(
            "masks",
            "No voxel was left on the scan's grid of these structures, which therefore count as not "
            f"searched: {', '.join(names)}.",
            warning=True,
        ),
    )


def _empty_decision(counts: np.ndarray, name: str) -> tuple[Decision, ...]:
    if counts[1:].any():
        return ()
    return (
        Decision(
            "masks", f"{name} holds no label at all: everything it searched for is reported as not found.", warning=True
        ),
    )
