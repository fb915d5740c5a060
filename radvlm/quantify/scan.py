"""Every number of a scan and its masks in one call.

Nothing here runs over the whole scan. Each structure is measured inside its own tight box, instances
inside theirs. What is too small to be measured is kept as such: a place without a number (``UnmeasuredAreas``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np

from radvlm.errors import GridError, InputError
from radvlm.quantify.components import Component, components
from radvlm.quantify.dissection import with_dissection
from radvlm.quantify.foci import find_foci
from radvlm.quantify.impossible_hu import (
    impossible_attenuation,
    impossible_warning,
    outside_their_organ,
    outside_warning,
    without_comparison,
    without_impossible,
)
from radvlm.quantify.impossible_sizes import impossible_size_warning, impossible_sizes
from radvlm.quantify.lesion import Instance, measure_instance
from radvlm.quantify.location import Locator
from radvlm.quantify.mask_ends import without_sizes_at_mask_ends
from radvlm.quantify.organ import INSTANCE_KINDS, healthy_statistics, is_crumb, measure_structure
from radvlm.quantify.organ_indices import with_extras
from radvlm.quantify.parenchyma import EDGE_MM, tissue_hu, tissue_samples
from radvlm.quantify.phase import estimate_phase
from radvlm.quantify.spine import with_spine
from radvlm.quantify.statistics import HuStatistics
from radvlm.quantify.tumor_vessels import tumor_contacts
from radvlm.quantify.vessel_parts import with_vessels
from radvlm.quantify.withheld import without_attenuation, without_numbers
from radvlm.types.anatomy import structure
from radvlm.types.measurement import Measurement
from radvlm.types.provenance import Decision, bears_on_everything
from radvlm.types.region import Region
from radvlm.types.scan_measurements import (
    NOT_INTERPRETED,
    Focus,
    LesionMeasurements,
    Measurements,
    Phase,
    UnmeasuredAreas,
)
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Study
from radvlm.types.volume import Volume

#: Components with fewer voxels are not measured: the edge of so small a mask is all there is to it.
MIN_LESION_VOXELS = 4
#: Of areas that are not measured, so many have a place of their own; a mask of noise has thousands.
UNMEASURED_REGIONS = 12


def measure_scan(
    volume: Volume | None,
    segmentation: Segmentation,
    *,
    min_lesion_voxels: int = MIN_LESION_VOXELS,
    min_lesion_ml: float = 0.0,
    progress: Callable[[str], None] | None = None,
) -> Measurements:
    """Measure every present structure and every instance of the lesion and fluid structures.

    Args:
        volume: the CT, on the same grid as the masks; None gives geometry, and each HU quantity is an omission. So is
            it, with its reason, where the values cannot be trusted (``attenuation_doubt`` of the scan or the masks);
            a structure whose median nobody has (``types/possible_hu.csv``) loses its own.
        min_lesion_voxels, min_lesion_ml: smaller instances are counted, located and not measured (``unmeasured``).
        progress: called with a short line before each step.

    Raises: GridError when the grids differ, InputError for limits that make no sense.
    """
    if volume is not None and not volume.geometry.same_grid(segmentation.geometry):
        raise GridError(
            "masks and CT share one grid",
            f"masks {segmentation.geometry}, CT {volume.geometry}",
            "Load the masks with radvlm.load_segmentation(..., like=volume)",
        )
    if min_lesion_voxels < 1 or not min_lesion_ml >= 0:
        raise InputError(
            "min_lesion_voxels is at least 1 and min_lesion_ml at least 0", f"{min_lesion_voxels}, {min_lesion_ml}"
        )
    tell = progress or (lambda line: None)
    why = "" if volume is None else volume.attenuation_doubt or segmentation.attenuation_doubt
    doubt = f"{NOT_INTERPRETED}: {why}" if why else ""
    hu = None if volume is None or doubt else volume.hu
    crumbs = frozenset(name for name in segmentation.present if is_crumb(segmentation, name))
    read = (*segmentation.decisions, *(() if volume is None else volume.decisions))
    decisions = list(dict.fromkeys(d for d in read if bears_on_everything(d)))
    decisions += [_crumb_decision(segmentation, name) for name in segmentation.present if name in crumbs]
    lesions: list[LesionMeasurements] = []
    counts: dict[str, int] = {}
    unmeasured: list[UnmeasuredAreas] = []
    locator = Locator(segmentation, crumbs)

    @cache
    def healthy(host: str) -> HuStatistics | None:
        return None if hu is None else healthy_statistics(segmentation, host, hu)

    for name in segmentation.present:
        if structure(name).kind in INSTANCE_KINDS:
            tell(f"Measuring {structure(name).words}")
            numbered, kept, left = _sorted_by_size(segmentation, name, min_lesion_voxels, min_lesion_ml)
            found, noted = _instances(segmentation, name, hu, locator, healthy, (numbered, kept))
            if left:
                limit = f"fewer than {min_lesion_voxels} voxels"
                limit += f" or less than {min_lesion_ml:g} mL" if min_lesion_ml else ""
                regions = _unmeasured_regions(segmentation, name, numbered, left, len(kept))
                unmeasured.append(UnmeasuredAreas(name, len(left), limit, regions))
                decisions.append(_unmeasured_decision(unmeasured[-1], not kept))
            lesions += found
            decisions += noted
            counts[name] = len(found)
    tell("Measuring structures")
    hosts = {lesion.host for lesion in lesions}
    structures = tuple(
        measure_structure(segmentation, name, hu, _extra(name, counts, hosts, healthy))
        for name in segmentation.present
        if name not in crumbs and counts.get(name, 1)
    )
    structures, noted = with_vessels(segmentation, structures)
    structures = with_dissection(segmentation, structures)
    decisions += noted
    contacts = tumor_contacts(segmentation, tuple(lesions))
    lesions = [replace(x, contacts=contacts[x.region.id]) if x.region.id in contacts else x for x in lesions]
    oversized = impossible_sizes(segmentation, structures)
    outside = outside_their_organ(lesions)
    told = oversized | outside
    impossible = impossible_attenuation((*structures, *lesions)) | told
    structures = without_numbers(without_impossible(structures, impossible), segmentation.unsure)
    phase: Phase | None = None
    tissue = None if hu is None else cache(partial(tissue_samples, segmentation, hu))
    if doubt:
        phase = Phase("unknown", doubt)
    elif volume is not None:
        named = [r.structure for r in structures if r.structure in EDGE_MM and r.median_hu is not None]
        phase, noted_phase = estimate_phase(
            structures,
            volume.study,
            masks_given=segmentation.scheme != "threshold",
            tissue_hu={} if tissue is None else tissue_hu(named, tissue),
        )
        decisions += noted_phase
        impossible |= impossible_attenuation((*structures, *lesions), phase)
        structures = without_impossible(structures, impossible)
    structures = with_spine(segmentation, structures, hu)
    study = Study() if volume is None else volume.study
    structures = with_extras(segmentation, structures, hu, study, phase, tissue)
    structures, ends = without_sizes_at_mask_ends(segmentation, structures)
    decisions += ends
    structures = without_numbers(without_impossible(structures, impossible), segmentation.unsure)
    lesions = without_comparison(without_impossible(lesions, impossible), impossible | dict(segmentation.unsure))
    tips = {record.region.id for record in structures if segmentation.is_tip(record.structure)}
    decisions += impossible_warning({r: why for r, why in impossible.items() if r not in told and r not in tips})
    decisions += impossible_size_warning(oversized)
    decisions += outside_warning(outside)
    if doubt:
        structures = tuple(without_attenuation(record, doubt) for record in structures)
        lesions = [without_attenuation(lesion, doubt) for lesion in lesions]
    foci: tuple[Focus, ...] = ()
    if hu is not None and phase is not None and tissue is not None:
        foci = find_foci(segmentation, structures, hu, phase, study, tissue)
        foci = tuple(_placed(focus, locator) for focus in foci)
    head = (segmentation.absent, phase, segmentation.geometry, tuple(decisions))
    is_given = segmentation.scheme != "threshold"
    return Measurements(structures, tuple(lesions), *head, foci, tuple(unmeasured), is_given, tuple(sorted(crumbs)))


def _placed(focus: Focus, locator: Locator) -> Focus:
    """With the place of its largest region; of a whole organ and of calcium along a wall there is none."""
    if focus.kind in ("low_attenuation_organ", "wall_calcium"):
        return focus
    place = locator.place_in(focus.structure, focus.center_mm)
    return replace(focus, pole=place.pole, level=place.level, locations=place.locations)


Components = tuple[Component, ...]


def _sorted_by_size(
    segmentation: Segmentation, name: str, min_voxels: int, min_ml: float
) -> tuple[np.ndarray, Components, Components]:
    """The component map of a structure, the components that are measured, and those too small for it, largest first."""
    whole = segmentation.instances_in_box(name) if name in segmentation.findings else segmentation.mask_in_box(name)
    numbered, found = components(whole)
    voxel_ml = segmentation.geometry.voxel_volume_mm3 / 1000
    kept = tuple(c for c in found if c.voxels >= min_voxels and c.voxels * voxel_ml >= min_ml)
    return numbered, kept, found[len(kept) :]


def _unmeasured_regions(
    segmentation: Segmentation, name: str, numbered: np.ndarray, left: Components, measured: int
) -> tuple[Region, ...]:
    """Where the largest of them are; their numbers follow those that are measured."""
    outer = segmentation.boxes[name]
    areas = (Instance(name, n, c, numbered, outer) for n, c in enumerate(left[:UNMEASURED_REGIONS], measured + 1))
    return tuple(area.region(segmentation.geometry, area.counted(None)) for area in areas)


def _unmeasured_decision(areas: UnmeasuredAreas, is_all: bool) -> Decision:
    many = areas.count > 1
    what = f"{areas.count} area{'s' if many else ''} of {areas.structure} ({areas.limit}) not measured"
    return Decision("instances", what + ("; nothing larger was found." if is_all else "."), warning=is_all)


def _instances(
    segmentation: Segmentation,
    name: str,
    hu: np.ndarray | None,
    locator: Locator,
    healthy: Callable[[str], HuStatistics | None],
    measured: tuple[np.ndarray, Components],
) -> tuple[list[LesionMeasurements], list[Decision]]:
    """Every number of the components that are large enough, with the component map that they stand in."""
    box, (numbered, kept) = segmentation.boxes[name], measured
    decisions: list[Decision] = []
    lesions = [
        measure_instance(segmentation, Instance(name, number, component, numbered, box), hu, locator, healthy)
        for number, component in enumerate(kept, 1)
    ]
    for lesion in lesions:
        if lesion.locations and structure(name).kind == "fluid":
            sides = " and ".join(structure(n).side for n in lesion.locations)
            decisions.append(
                Decision(
                    "location",
                    f"{lesion.region.id} is on the {sides}, by the lung that it touches, "
                    "or by the midline where it touches none.",
                )
            )
    return lesions, decisions


def _extra(
    name: str, counts: dict[str, int], hosts: set[str], healthy: Callable[[str], HuStatistics | None]
) -> tuple[Measurement, ...]:
    """Number of instances of a lesion structure; HU without its lesions of an organ that has some."""
    if name in counts:
        return (Measurement("count", counts[name], "26-connected instances", None, name),)
    without = healthy(name) if name in hosts else None
    if without is None:
        return ()
    return (
        Measurement("host_mean_hu", without.mean, "organ mean without lesions", None, name),
        Measurement("host_sd_hu", without.sd, "organ standard deviation without lesions", None, name),
    )


def _crumb_decision(segmentation: Segmentation, name: str) -> Decision:
    voxels = segmentation.voxel_count(name)
    volume_ml = voxels * segmentation.geometry.voxel_volume_mm3 / 1000
    return Decision(
        "crumbs",
        f"{name} has {voxels} voxel{'s' if voxels > 1 else ''} ({volume_ml:.3f} mL) and was "
        "ignored as a crumb: it is reported neither as present nor as absent.",
    )
