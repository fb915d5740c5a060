"""Sentences about vessels beside a tumor and about vertebrae: contact, distance, preserved height, bone density."""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.compose.lesions import size_text
from radvlm.types.anatomy import structure
from radvlm.types.finding import Assessment, Finding, Status
from radvlm.types.phrases import joined
from radvlm.types.report import Sentence
from radvlm.wording.numbers import hu_text, length_text, rounded
from radvlm.wording.structure_names import be, level_runs, place, structure_list
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import noun

#: A vessel that is not in contact but this near gets its distance said (mm).
NEAR_MM = 10.0


def contact_sentences(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """One sentence a tumor, which is told by size and place where it is not the only one: vessels in contact with
    their angle, near ones with their distance, then all others."""
    sentences: list[Sentence] = []
    for lesion in findings:
        own = [a for a in lesion.assessments if a.kind == "vessel_contact"]
        if not own:
            continue
        words = noun(lesion.kind, 1)
        alone = sum(f.kind == lesion.kind and f.status is Status.PRESENT for f in findings) == 1
        told = " ".join(filter(None, (size_text(lesion, style), words, place(lesion, words))))
        head = f"Vessels beside the {words}" if alone else told[:1].upper() + told[1:]
        far = [f for f in own if f.status is Status.ABSENT and not _is_near(f)]
        clauses = [
            f"the {structure(f.site).words} is {f.category}{_numbers(f, style)}"
            for f in sorted(own, key=lambda f: f.status is Status.ABSENT)
            if f not in far
        ]
        if far:
            names, many = structure_list((f.site for f in far), pair="the")
            clauses.append(f"{names} {be(many)} {far[0].category}")
        text = f"{head}: {'; '.join(clauses)}."
        sentences.append(Sentence(text, section, (*own, lesion)))
    return sentences


def _is_near(finding: Assessment) -> bool:
    distance = finding.measurement("distance")
    return distance is not None and distance.value <= NEAR_MM


def _numbers(finding: Assessment, style: Style) -> str:
    parts = []
    angle, length, distance = (finding.measurement(q) for q in ("angle", "length", "distance"))
    if angle is not None:
        parts.append(f"angle {rounded(angle.value, '1')} degrees")
    if length is not None:
        parts.append(f"length {length_text(length.value, style)}")
    if distance is not None:
        parts.append(f"distance {length_text(distance.value, style)}")
    return f" ({', '.join(parts)})" if parts else ""


def _loss_text(judged: Assessment) -> str:
    return f"{rounded(judged.measurements[0].value, '1')} percent"


def _levels_with_losses(judged: Sequence[tuple[Finding, Assessment]]) -> str:
    """``T4 and T7 (height loss 15 percent) and L5 (17 percent)``: downward, neighbors of one loss together."""
    runs: list[tuple[str, list[str]]] = []
    for finding, assessment in judged:
        loss = _loss_text(assessment)
        if runs and runs[-1][0] == loss:
            runs[-1][1].append(finding.site)
        else:
            runs.append((loss, [finding.site]))
    named = [(level_runs(sites), loss) for loss, sites in runs]
    return joined([f"{levels} ({'' if n else 'height loss '}{loss})" for n, (levels, loss) in enumerate(named)])


def vertebra_sentences(findings: Sequence[Finding]) -> list[Sentence]:
    """Vertebrae of preserved height in one sentence, those in doubt by their loss, and the attenuation of L1."""
    sentences = []
    judged = [(f, a) for f in findings if f.kind == "organ" and f.status is Status.PRESENT for a in f.assessments]
    heights = [(f, a) for f, a in judged if a.kind == "vertebral_height_loss"]
    preserved = [(f, a) for f, a in heights if a.status is Status.ABSENT]
    doubtful = [(f, a) for f, a in heights if a.status is Status.INDETERMINATE and not a.headline]
    grouped = [preserved]
    grouped += [[x for x in doubtful if x[1].category == key] for key in dict.fromkeys(a.category for _, a in doubtful)]
    for kept in filter(None, grouped):
        word = "Vertebra" if len(kept) == 1 else "Vertebrae"
        losses = dict.fromkeys(_loss_text(a) for _, a in kept if a.status is Status.INDETERMINATE)
        levels, tail = level_runs(f.site for f, _ in kept), ""
        if len(losses) > 1:
            levels = _levels_with_losses(kept)
        elif losses:
            tail = f" (height loss {next(iter(losses))})"
        text = f"{word} {levels} {be(len(kept) > 1)} {kept[0][1].category}{tail}."
        sentences.append(Sentence(text, "bones", (*(f for f, _ in kept), *(a for _, a in kept))))
    for finding, density in judged:
        value = density.measurement("trabecular_hu")
        if density.kind == "bone_density" and value is not None and density.category:
            level = finding.site.removeprefix("vertebrae_")
            text = f"Trabecular attenuation of {level} {hu_text(value.value)}, {density.category}."
            sentences.append(Sentence(text, "bones", (finding, density)))
    return sentences
