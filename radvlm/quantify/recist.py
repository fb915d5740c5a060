"""RECIST 1.1 from the lesions of two scans: target lesions, sum of diameters, category of response.

It answers "not evaluable" with the reason when a target cannot be followed, and it never calls a lesion
malignant: which structures may be targets is a list that the caller can change. Source: Eisenhauer EA et al. Eur J
Cancer 2009;45:228-247 (RECIST 1.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.quantify.change import LesionChange, headline_size, lesion_family
from radvlm.types.scan_measurements import LesionMeasurements, Measurements

#: Lesion structures (without side) that may be targets: solid lesions that are not called benign by their name.
TARGET_FAMILIES = (
    "liver_lesion",
    "liver_tumor",
    "liver_metastasis",
    "spleen_lesion",
    "pancreas_lesion",
    "pancreas_tumor",
    "pancreas_pdac",
    "pancreas_pnet",
    "adrenal_lesion",
    "kidney_lesion",
    "kidney_tumor",
    "colon_lesion",
    "colon_tumor",
    "stomach_lesion",
    "esophagus_lesion",
    "duodenum_lesion",
    "lung_tumor",
    "lung_lesion",
    "lung_nodule",
    "peritoneal_lesion",
    "mediastinal_lesion",
    "soft_tissue_lesion",
    "breast_lesion",
    "prostate_lesion",
    "uterus_lesion",
    "bladder_lesion",
    "lymph_node",
)
MOST_TARGETS, MOST_PER_ORGAN = 5, 2
#: Smallest long axis of a target, short axis of a nodal target, and short axis below which a node is normal (mm).
LESION_MM, NODE_MM, NORMAL_NODE_MM = 10.0, 15.0, 10.0
#: Slices thicker than this ask for targets of twice their thickness.
SLICE_MM = 5.0
PROGRESSION_PERCENT, PROGRESSION_MM, RESPONSE_PERCENT = 20.0, 5.0, -30.0


@dataclass(frozen=True)
class Target:
    """A target lesion: its change, its diameter then and now (0 when it is gone), mm."""

    change: LesionChange
    prior_mm: float
    current_mm: float | None


@dataclass(frozen=True)
class Recist:
    """RECIST 1.1 of two scans, the prior one taken as baseline.

    Attributes:
        category: ``complete response``, ``partial response``, ``stable disease``, ``progressive disease`` or ``not
            evaluable``.
        reason: the numbers or facts that decided it.
        targets: chosen in the prior scan, largest first.
        baseline_mm, current_mm, nadir_mm: sums of diameters.
        new: new lesions that may be targets by kind.
    """

    category: str
    reason: str
    targets: tuple[Target, ...]
    baseline_mm: float
    current_mm: float | None
    nadir_mm: float
    new: tuple[LesionChange, ...]


def recist(
    prior: Measurements,
    changes: tuple[LesionChange, ...],
    *,
    families: tuple[str, ...] = TARGET_FAMILIES,
    baseline_mm: float | None = None,
    nadir_mm: float | None = None,
) -> Recist:
    """Category of response.

    Args:
        prior: where targets are chosen: up to 5, at most 2 an organ, the largest first.
        changes: from ``lesion_changes``.
        families: which lesion structures (without side) may be targets.
        baseline_mm: sum at baseline, when the prior scan is not the baseline.
        nadir_mm: smallest sum so far; by default the smaller of baseline and prior.
    """
    followed = [c for c in changes if lesion_family(c.lesion.structure) in families]
    targets = tuple(Target(c, _size(c.prior), _now(c)) for c in _choose(prior, followed))
    new = tuple(c for c in followed if c.status == "new" and not _is_normal_node(c.current))
    before = sum(t.prior_mm for t in targets)
    base = before if baseline_mm is None else baseline_mm
    nadir = min(before, base) if nadir_mm is None else nadir_mm
    if any(t.current_mm is None for t in targets):
        lost = next(t for t in targets if t.current_mm is None)
        if not new:
            return Recist(
                "not evaluable",
                f"{lost.change.lesion.region.id}: {lost.change.reason}",
                targets,
                base,
                None,
                nadir,
                new,
            )
    known = [t.current_mm for t in targets if t.current_mm is not None]
    now = sum(known) if len(known) == len(targets) else None
    category, reason = _category(targets, base, nadir, now, new, followed)
    return Recist(category, reason, targets, base, now, nadir, new)


def _category(
    targets: tuple[Target, ...],
    base: float,
    nadir: float,
    now: float | None,
    new: tuple[LesionChange, ...],
    followed: list[LesionChange],
) -> tuple[str, str]:
    if new:
        return "progressive disease", f"{len(new)} new lesion{'s' if len(new) > 1 else ''}"
    if not targets or now is None:
        return "not evaluable", "the prior scan has no measurable lesion"
    growth = now - nadir
    percent = 100 * growth / nadir if nadir > 0 else float("inf")
    if growth >= PROGRESSION_MM and percent >= PROGRESSION_PERCENT:
        return (
            "progressive disease",
            f"sum {now:.0f} mm, {percent:+.0f} percent and {growth:+.0f} mm from {nadir:.0f} mm",
        )
    left = [t for t in targets if t.current_mm and not _is_normal_node(t.change.current)]
    others = [c for c in followed if c.current is not None and not _is_normal_node(c.current)]
    if not left and not others:
        return "complete response", "no target is left and every lymph node is below 10 mm in short axis"
    response = 100 * (now - base) / base
    shown = f"sum {now:.0f} mm, {response:+.0f} percent from {base:.0f} mm"
    return ("partial response" if response <= RESPONSE_PERCENT else "stable disease"), shown


def _choose(prior: Measurements, followed: list[LesionChange]) -> list[LesionChange]:
    """Largest first, up to 5 and 2 an organ; both kidneys are two organs, all lymph nodes one."""
    slice_mm = prior.geometry.spacing_mm[2]
    limit = max(LESION_MM, 2 * slice_mm) if slice_mm > SLICE_MM else LESION_MM
    chosen: list[LesionChange] = []
    per_organ: dict[str, int] = {}
    for change in sorted((c for c in followed if c.prior is not None), key=lambda c: -_size(c.prior)):
        old = change.prior
        assert old is not None, "filtered above"
        is_node = old.structure == "lymph_node"
        organ = "lymph_node" if is_node else old.host or lesion_family(old.structure)
        organ = "lung" if organ.startswith("lung") else organ
        if _size(old) < (NODE_MM if is_node else limit) or old.cut_by or per_organ.get(organ, 0) >= MOST_PER_ORGAN:
            continue
        per_organ[organ] = per_organ.get(organ, 0) + 1
        chosen.append(change)
        if len(chosen) == MOST_TARGETS:
            break
    return chosen


def _size(lesion: LesionMeasurements | None) -> float:
    found = None if lesion is None else headline_size(lesion)
    return 0.0 if found is None else found.value


def _now(change: LesionChange) -> float | None:
    """Diameter now; 0 for a lesion that is gone; None when that cannot be told."""
    if change.status == "not comparable":
        return None
    return _size(change.current)


def _is_normal_node(lesion: LesionMeasurements | None) -> bool:
    return lesion is not None and lesion.structure == "lymph_node" and _size(lesion) < NORMAL_NODE_MM
