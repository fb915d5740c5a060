"""What kind of study the query is: routing to the priors of the same body region, phase and kind.

Nothing is decided from pixels here. The caller brings which structures its masks or the encoder's zero-shot scores
show; a record that does not say its region, phase or kind is never routed away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from radvlm.errors import InputError
from radvlm.types.anatomy import structure
from radvlm.types.provenance import Decision

#: Section of the anatomy table -> body region. Vessels, bones, nodes and soft tissues run through several.
_REGION_OF_SECTION: Mapping[str, str] = {
    "head": "head",
    "neck": "neck",
    "heart": "chest",
    "mediastinum": "chest",
    "airways": "chest",
    "lungs": "chest",
    "pleura": "chest",
    "breast": "chest",
    "liver": "abdomen",
    "biliary": "abdomen",
    "spleen": "abdomen",
    "pancreas": "abdomen",
    "adrenals": "abdomen",
    "kidneys": "abdomen",
    "peritoneum": "abdomen",
    "reproductive": "pelvis",
}
BODY_REGIONS = ("head", "neck", "chest", "abdomen", "pelvis")


@dataclass(frozen=True)
class QueryContext:
    """Where a search is routed to; empty means anywhere.

    Attributes:
        body_regions: of the records that may be found; one that names several regions needs one in common.
        phase, kind: contrast phase and kind of study, compared with the record's own words.
        decisions: how this was decided; they reach the search result.
    """

    body_regions: tuple[str, ...] = ()
    phase: str = ""
    kind: str = ""
    decisions: tuple[Decision, ...] = ()


def context_of(
    present: Iterable[str] = (), zero_shot: Mapping[str, float] | None = None, *, phase: str = "", kind: str = ""
) -> QueryContext:
    """Body regions from the structures found in masks, or from zero-shot probabilities where there are no masks.

    Args:
        present: names of structures with voxels. A region counts when at least two of its structures are there, so
            that the lung bases on an abdominal scan do not make it a chest CT by themselves.
        zero_shot: body region -> probability (0 to 1); from 0.5 it counts.

    Raises StructureError for an unknown structure, InputError for an unknown region or a probability out of range.
    """
    organs = {_organ(name): structure(name).section for name in present if structure(name).kind in ("organ", "part")}
    seen = Counter(_REGION_OF_SECTION.get(section, "") for section in organs.values())
    regions = tuple(r for r in BODY_REGIONS if seen[r] >= 2)
    how = "the structures in the masks"
    if not regions and zero_shot:
        for region, p in zero_shot.items():
            if region not in BODY_REGIONS or not 0 <= p <= 1:
                raise InputError(f"zero-shot scores are probabilities of {', '.join(BODY_REGIONS)}", f"{region}: {p}")
        regions = tuple(r for r in BODY_REGIONS if zero_shot.get(r, 0.0) >= 0.5)
        how = "the encoder's zero-shot scores"
    said = (
        f"Searched priors of {', '.join(regions)}, decided from {how}."
        if regions
        else "The body region could not be decided; priors of every region were searched."
    )
    return QueryContext(regions, phase, kind, (Decision("retrieve", said, warning=not regions),))


def _organ(name: str) -> str:
    """The organ without side and lobe, so that five lobes are one lung."""
    return re.sub(r"_(?:left|right)$", "", re.sub(r"_(?:upper|middle|lower)_lobe\w*$", "", name))
