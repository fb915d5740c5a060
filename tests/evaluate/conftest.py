"""Synthetic CT-like report pairs with the texture of real ones: numbers, units, brackets, numbered impressions."""

from __future__ import annotations

import random

import pytest

SENTENCES = (
    "The liver is enlarged, measuring {a} cm, with a mean attenuation of {h} HU.",
    "No focal hepatic lesion is seen.",
    "There is a {m} mm cyst in the lower pole of the left kidney (Bosniak I).",
    "A {m} x {n} mm solid nodule is present in the right upper lobe, series 3, image {h}.",
    "No pleural/pericardial effusion.",
    "The spleen is of normal size and contour.",
    "Mild, subsegmental atelectasis at both lung bases; unchanged since the prior examination.",
    "Atherosclerotic calcifications of the thoracic aorta and coronary arteries.",
    "No enlarged mediastinal, hilar or axillary lymph nodes were observed.",
    "Degenerative changes of the spine at L{k}-L5.",
    "The gallbladder contains a {m}-mm stone w/o signs of cholecystitis.",
    "Trachea and both main bronchi are patent.",
    "Heart size is normal (CTR<0.5). Calibration of vascular structures is natural.",
    "Sliding-type hiatal hernia; patient's stomach isn't distended.",
    'Ground-glass opacities in <{k}0% of the lungs, "crazy paving" absent.',
    "Ectatic ascending aorta: 4.{k} cm.",
)


def sentence(rng: random.Random) -> str:
    return rng.choice(SENTENCES).format(
        a=round(rng.uniform(9, 20), 1),
        h=rng.randint(20, 90),
        m=rng.randint(2, 40),
        n=rng.randint(2, 40),
        k=rng.randint(1, 5),
    )


def make_pairs(n: int, sentences: int = 10, seed: int = 0) -> tuple[list[str], list[str]]:
    """(references, candidates): each candidate drops, changes and reorders some sentences of its reference."""
    rng = random.Random(seed)
    references, candidates = [], []
    for _ in range(n):
        said = [sentence(rng) for _ in range(rng.randint(max(2, sentences - 4), sentences + 4))]
        kept = [sentence(rng) if rng.random() < 0.25 else s for s in said if rng.random() > 0.15] or [said[0]]
        if rng.random() < 0.5:
            rng.shuffle(kept)
        references.append(f"{' '.join(said)}\nIMPRESSION:\n1. {said[0]}")
        candidates.append(f"{' '.join(kept)}\nIMPRESSION:\n1. {kept[0]}")
    return references, candidates


@pytest.fixture(scope="session")
def pairs() -> tuple[list[str], list[str]]:
    return make_pairs(60)
