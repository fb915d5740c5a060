"""Sentences about vessels beside a tumor and about vertebrae: contact, distance, preserved height, bone density."""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.types.anatomy import structure
from radvlm.types.finding import Finding, Status
from radvlm.types.report import Sentence
from radvlm.wording.numbers import hu_text, length_text, rounded
from radvlm.wording.structure_names import be, level_runs, place, structure_list
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import noun

#: A vessel that is not in contact but this near gets its distance said (mm).
NEAR_MM = 10.0


def contact_sentences(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """One sentence a tumor: vessels in contact with their angle, near ones with their distance, then all others."""
    sentences: list[Sentence] = []
    held = [f for f in findings if f.kind == "vessel_contact" and f.status is not Status.NOT_ASSESSED]
    for region in dict.fromkeys(f.lesion_id for f in held):
        lesion = next(
            f for f in findings if f.regions and f.regions[0].id == region and f.kind == f.regions[0].structure
        )
        words = noun(lesion.kind, 1)
        alone = sum(f.kind == lesion.kind and f.status is Status.PRESENT for f in findings) == 1
        tumor = f"the {words}" if alone else f"the {words} {place(lesion, words)}".rstrip()
        own = [f for f in held if f.lesion_id == region]
        far = [f for f in own if f.status is Status.ABSENT and not _is_near(f)]
        clauses = [
            f"the {structure(f.site).words} is {f.category}{_numbers(f, style)}"
            for f in sorted(own, key=lambda f: f.status is Status.ABSENT)
            if f not in far
        ]
        if far:
            names, many = structure_list((f.site for f in far), pair="the")
            clauses.append(f"{names} {be(many)} {far[0].category}")
        text = f"Vessels beside {tumor}: {'; '.join(clauses)}."
        sentences.append(Sentence(text, section, (*own, lesion)))
    return sentences


def _is_near(finding: Finding) -> bool:
    distance = finding.measurement("distance")
    return distance is not None and distance.value <= NEAR_MM


def _numbers(finding: Finding, style: Style) -> str:
    parts = []
    angle, length, distance = (finding.measurement(q) for q in ("angle", "length", "distance"))
    if angle is not None:
        parts.append(f"angle {rounded(angle.value, '1')} degrees")
    if length is not None:
        parts.append(f"length {length_text(length.value, style)}")
    if distance is not None:
        parts.append(f"distance {length_text(distance.value, style)}")
    return f" ({', '.join(parts)})" if parts else ""


def vertebra_sentences(findings: Sequence[Finding]) -> list[Sentence]:
    """Vertebrae of preserved height in one sentence, and the trabecular attenuation of L1."""
    sentences = []
    kept = [f for f in findings if f.kind == "vertebral_height_loss" and f.status is Status.ABSENT]
    if kept:
        word = "Vertebra" if len(kept) == 1 else "Vertebrae"
        text = f"{word} {level_runs(f.site for f in kept)} {be(len(kept) > 1)} {kept[0].category}."
        sites = {f.site for f in kept}
        organs = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT and f.site in sites]
        sentences.append(Sentence(text, "bones", (*organs, *kept)))
    for finding in findings:
        value = finding.measurement("trabecular_hu")
        organ = next(
            (f for f in findings if f.kind == "organ" and f.site == finding.site and f.status is Status.PRESENT), None
        )
        if finding.kind == "bone_density" and value is not None and finding.category and organ is not None:
            level = finding.site.removeprefix("vertebrae_")
            text = f"Trabecular attenuation of {level} {hu_text(value.value)}, {finding.category}."
            sentences.append(Sentence(text, "bones", (organ, finding)))
    return sentences
