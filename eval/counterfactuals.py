"""Counterfactuals: one thing of a scan is changed, and exactly what depends on it changes in the report.

    python eval/counterfactuals.py               # 10 phantoms, and the real scans where there are any
    python eval/counterfactuals.py --phantoms 3

A lesion is taken away (its voxels and its mask), the scan and its masks are mirrored with the names of the sides
exchanged, the attenuation of the spleen or the pancreas is raised. ``tests/made/one_change.py`` says what may
change; whatever else differs is printed. The result is eval/results/counterfactuals.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from record import write_result

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "made"))

import made_reports
import one_change as made
from radvlm.io import load_segmentation, load_volume
from radvlm.phantom import LesionSpec, PhantomSpec, insert_lesions, make_phantom
from radvlm.phantom.kinds import LESION_KINDS
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume

PHASES = ("portal venous", "non-contrast", "arterial", "delayed")
KINDS = {
    "abdomen": (
        "liver_metastasis",
        "kidney_cyst",
        "spleen_cyst",
        "gallstone",
        "pancreas_cyst",
        "liver_cyst",
        "kidney_tumor",
    ),
    "chest": ("lung_nodule", "lung_tumor", "sclerotic_bone_lesion", "lung_consolidation", "lytic_bone_lesion"),
}


@dataclass(frozen=True)
class Case:
    """A scan with a last lesion of ``kind``, and the same scan without that one."""

    name: str
    kind: str
    volume: Volume
    masks: Segmentation
    without: tuple[Volume, Segmentation]
    patient: Patient


def phantom(number: int, spacing_mm: float = 6.0) -> Case:
    """A phantom of one of the regions and phases with three lesions; the kind of the last one goes round."""
    region = ("abdomen", "abdomen", "chest")[number % 3]
    kinds = KINDS[region]
    chosen = tuple(
        LesionSpec(k, 9.0 if "bone" in k else 16.0 + number % 5)
        for k in (kinds[(number + n) % len(kinds)] for n in range(3))
    )
    sex, phase = "MF"[number % 2], PHASES[number % 4]
    specs = [
        PhantomSpec(800 + number, region, spacing_mm=(spacing_mm,) * 3, phase=phase, sex=sex, lesions=lesions)
        for lesions in (chosen, chosen[:-1])
    ]
    with_it, without = (make_phantom(s) for s in specs)
    kind = with_it.truth.lesions[-1].structure
    masks = (with_it.volume, with_it.segmentation)
    return Case(
        f"phantom {number} ({region}, {phase})", kind, *masks, (without.volume, without.segmentation), with_it.patient
    )


def real(folder: Path) -> Iterator[Case]:
    """The real scans, each with two lesions put in."""
    plain = folder / "plain_abdomen"
    scans = (
        ("real plain abdomen", plain / "ct.nii.gz", plain / "segmentation.nii.gz", "non-contrast"),
        (
            "real upper abdomen",
            folder / "upper_abdomen_dicom",
            folder / "upper_abdomen_masks" / "segmentation.nii.gz",
            "portal venous",
        ),
    )
    for name, ct, path, phase in scans:
        volume = load_volume(ct)
        masks = load_segmentation(path, like=volume)
        specs = (LesionSpec("spleen_cyst", 13), LesionSpec("liver_metastasis", 17))
        more = insert_lesions(volume, masks, specs, 2, phase)
        fewer = insert_lesions(volume, masks, specs[:-1], 2, phase)
        yield Case(name, LESION_KINDS["liver_metastasis"].structure, *more[:2], fewer[:2], volume.study.patient)


def wrong(case: Case) -> Iterator[tuple[str, list[made.Line]]]:
    """(change, what it changed and should not have) of each change."""
    whole = made.report_of(case.volume, case.masks, case.patient)
    without = made.report_of(*case.without, case.patient)
    yield "nothing withdrawn", made.withdrawn(whole, without)
    yield "lesion taken away", made.beyond_lesion(whole, without, case.kind)
    masks = made.two_sided(case.masks)
    pair = [made.report_of(v, m, case.patient) for v, m in ((case.volume, masks), made.mirrored(case.volume, masks))]
    yield "mirrored", made.beyond_sides(*pair)
    for organ in ("spleen", "pancreas"):
        if organ in case.masks.places:
            raised = made.report_of(made.brighter(case.volume, case.masks, organ, 7), case.masks, case.patient)
            yield f"{organ} 7 HU brighter", made.beyond_attenuation(whole, raised, organ, 7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=10)
    options = parser.parse_args()
    cases: list[Case | int] = list(range(options.phantoms))
    if made_reports.REAL.exists():
        cases += real(made_reports.REAL)
    tried: dict[str, int] = {}
    failed: dict[str, int] = {}
    for item in cases:
        case = phantom(item) if isinstance(item, int) else item
        for change, lines in wrong(case):
            tried[change] = tried.get(change, 0) + 1
            failed[change] = failed.get(change, 0) + bool(lines)
            print(
                f"{case.name}: {change}{' of ' + case.kind if change.startswith('lesion') else ''}: {lines or 'exact'}",
                flush=True,
            )
    result = {"scans": len(cases), "tried": tried, "not_exact": failed}
    write_result("counterfactuals", sum(tried.values()), result)


if __name__ == "__main__":
    main()
