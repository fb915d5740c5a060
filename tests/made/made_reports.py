"""Reports of many kinds for what must hold of every report: phantoms, made-up measurements, real scans."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import hand_made
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.io import load_segmentation, load_volume
from radvlm.phantom import Phantom
from radvlm.quantify import measure_scan
from radvlm.types.finding import Finding
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Measurements
from radvlm.types.study import Patient

REAL = Path(__file__).parents[2].parent / "shared" / "data"
REGIONS = ("abdomen", "chest", "abdomen-pelvis", "chest-abdomen-pelvis")
ORGANS = (
    "liver",
    "spleen",
    "pancreas",
    "gallbladder",
    "kidney_right",
    "kidney_left",
    "adrenal_gland_right",
    "adrenal_gland_left",
    "stomach",
    "duodenum",
    "colon",
    "aorta",
    "heart",
    "lung_lower_lobe_right",
    "lung_upper_lobe_left",
    "urinary_bladder",
    *(f"vertebrae_{level}" for level in ("T11", "T12", "L1", "L2", "L3")),
    "rib_left_9",
    "rib_right_9",
)
LESIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "liver_lesion": ("liver", tuple(f"liver_segment_{n}" for n in range(2, 9))),
    "liver_cyst": ("liver", ("liver_segment_8", "liver_segment_3")),
    "liver_metastasis": ("liver", ("liver_segment_5",)),
    "kidney_cyst_left": ("kidney_left", ()),
    "kidney_cyst_right": ("kidney_right", ()),
    "kidney_tumor_right": ("kidney_right", ()),
    "kidney_stone_left": ("kidney_left", ()),
    "adrenal_lesion_left": ("adrenal_gland_left", ()),
    "spleen_lesion": ("spleen", ()),
    "lung_nodule": ("", ("lung_lower_lobe_right", "lung_upper_lobe_left")),
    "vertebra_fracture": ("", ()),
    "pleural_effusion_left": ("", ()),
    "gallstone": ("gallbladder", ()),
    "ascites": ("", ()),
}


def made_up(seed: int) -> Measurements:
    """Random but possible measurements: some organs whole and some cut, some lesions, some searched and absent."""
    rng = random.Random(seed)
    usual = {"liver": 1500, "spleen": 220, "kidney_right": 160, "kidney_left": 155, "pancreas": 80, "heart": 600}
    held = [n for n in ORGANS if rng.random() < 0.6]
    faces = (("inferior",), ("superior",), ("inferior", "superior"))
    organs = [
        hand_made.organ(
            n,
            usual.get(n, 60) * rng.uniform(0.5, 1.8),
            round(rng.uniform(-5, 190), 2),
            rng.choice(faces) if rng.random() < 0.35 else (),
            rng.uniform(80, 150),
        )
        for n in held
    ]
    lesions = []
    chosen = rng.sample(sorted(LESIONS), rng.randint(1, 5))
    for name in chosen:
        host, places = LESIONS[name]
        fluid = name.startswith(("pleural", "ascites"))
        for number in range(1, 1 + (1 if fluid else rng.choice((1, 1, 2, 3, 7)))):
            long = rng.uniform(4, 70)
            lesions.append(
                hand_made.lesion(
                    name,
                    number,
                    long,
                    long * rng.uniform(0.4, 0.95),
                    rng.uniform(-20, 120),
                    host,
                    (rng.choice(places),) if places else (),
                    rng.choice(("upper pole", "lower pole", "interpolar region")) if host.startswith("kidney") else "",
                    f"vertebrae_{rng.choice(('T12', 'L1', 'L2', 'L3'))}" if name == "vertebra_fracture" else "",
                    rng.choice(("", "hypoattenuating", "isoattenuating", "hyperattenuating")),
                    rng.choice(faces) if rng.random() < 0.1 else (),
                    rng.uniform(0.5, 400),
                )
            )
        organs.append(hand_made.organ(name, rng.uniform(0.5, 400), 20.0))
    taken = {*held, *chosen}
    absent = tuple(sorted(n for n in (*ORGANS, *LESIONS) if n not in taken and rng.random() < 0.4))
    phase = rng.choice(("non-contrast", "arterial", "portal venous", "delayed"))
    grid = hand_made.grid(rng.randint(30, 400), rng.choice((0.625, 1.0, 2.5, 5.0)))
    return hand_made.numbers(organs, lesions, absent, phase, grid, rng.random() < 0.7)


def of_made_up(seed: int) -> Report:
    patient = Patient(sex=random.Random(seed).choice(("F", "M")), age_years=20 + seed % 60)
    return compose_report(interpret(made_up(seed), patient=patient))


def findings_of(case: Phantom) -> tuple[Finding, ...]:
    numbers = measure_scan(case.volume, case.segmentation)
    return interpret(numbers, patient=case.patient, study=case.volume.study)


def of_phantom(seed: int, region: str, spacing_mm: float = 5.0) -> Report:
    return compose_report(findings_of(Phantom.random(seed, region=region, spacing_mm=(spacing_mm,) * 3)))


def of_scan(ct: Path, masks: Path) -> Report:
    volume = load_volume(ct)
    numbers = measure_scan(volume, load_segmentation(masks, like=volume))
    return compose_report(interpret(numbers, patient=volume.study.patient, study=volume.study))


def reports(after_seed: int = 0) -> Iterator[tuple[str, Callable[[], Report]]]:
    """(name, what makes it), without end: real scans first, then a phantom before every ten made-up ones."""
    if REAL.exists():
        stack = REAL / "upper_abdomen_masks" / "segmentation.nii.gz"
        yield "real_stack", partial(of_scan, REAL / "upper_abdomen_dicom", stack)
        yield (
            "real_plain",
            partial(of_scan, REAL / "plain_abdomen" / "ct.nii.gz", REAL / "plain_abdomen" / "segmentation.nii.gz"),
        )
    first = seed = after_seed
    while True:
        seed += 1
        if (seed - first) % 10 == 1:
            region = REGIONS[(seed // 10) % len(REGIONS)]
            yield f"phantom_{seed}_{region}", partial(of_phantom, seed, region)
        yield f"made_up_{seed}", partial(of_made_up, seed)
