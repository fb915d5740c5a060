"""Sentences by template: what a radiologist would dictate from the same findings, section by section.

Structures are said in groups ("the stomach and duodenum are incompletely imaged", "vertebrae T10 to L2"), so
that a hundred structures read like a report; each grouped sentence cites all of its findings. Nothing is called
unremarkable: only what was judged is called normal, in the words of the rule that judged it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from radvlm.compose.anatomy_sentences import contact_sentences, vertebra_sentences
from radvlm.compose.bare_sentences import bare_sentences
from radvlm.compose.disease_sentences import disease_sentences
from radvlm.compose.focus_sentences import focus_sentences
from radvlm.compose.lesions import cited, group_sentence, is_unmeasured, lesion_groups, own_assessments, unmeasured_text
from radvlm.compose.model_sentences import is_model, marked_sentences
from radvlm.types.anatomy import SECTIONS, is_lesion_kind, structure
from radvlm.types.finding import Assessment, Citable, Finding, Status, citable
from radvlm.types.phrases import joined
from radvlm.types.report import Sentence
from radvlm.types.scan_measurements import AGENT_BY_HEADER, AGENT_NAMED
from radvlm.wording.fact_lines import told_attenuation
from radvlm.wording.numbers import hu_text, length_text, named_number, rounded, spacing_text, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import be, level_runs, part_words, structure_list
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import base_name, base_words, is_kind_of, lexicon, noun, plural

#: Sections whose heading names the organ, so that its sentences need no subject.
_SINGLE = {"liver": "liver", "spleen": "spleen", "pancreas": "pancreas"}
_SIZE_QUANTITIES = ("volume", "length", "extent_superior_inferior", "diameter")
_MUSCLE_LIST = 6
_UNIT_WORDS = {"percent": "percent", "degree": "degrees"}
#: A list of more structures than this is said as "the segmented structures"; of complete ones, which are no news.
_LONGEST_LIST = {"incompletely imaged": 14, "included in the scan": 8}


def template_sentences(findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """Sentences of all sections but the impression, in reading order. Every present finding is in one of them.

    What only a model says comes last in its section, see ``model_sentences``.
    """
    everything = findings
    findings = [f for f in findings if not is_model(f)]
    sentences = _technique(findings, style)
    body = [f for f in findings if f.kind == "organ" and f.site and structure(f.site).kind in ("body", "cavity")]
    held = {f.id for s in sentences for f in s.findings} | {f.id for f in body}
    judgements = [
        c
        for c in citable(findings)
        if not is_lesion_kind(c.kind) and c.kind != "organ" and c.category and c.status is not Status.NOT_ASSESSED
    ]
    for section in SECTIONS:
        if section not in ("technique", "impression"):
            own = [f for f in findings if f.section == section and f.id not in held]
            judged = [c for c in judgements if c.section == section and c.id not in held]
            sentences += _section(section, own, judged, style)
            sentences += marked_sentences(everything, section)
    return sentences


def _technique(findings: Sequence[Finding], style: Style) -> list[Sentence]:
    sentences = []
    for finding in findings:
        text = ""
        also: tuple[Finding, ...] = ()
        if finding.kind == "coverage" and finding.status is Status.PRESENT:
            text = _coverage_text(finding)
            also = tuple(
                f
                for f in findings
                if f.kind == "organ" and f.status is Status.PRESENT and structure(f.site).kind in ("body", "cavity")
            )
        elif finding.kind == "contrast_phase" and finding.status is Status.PRESENT:
            phase = finding.category
            text = "Non-contrast" if phase == "non-contrast" else f"{capital(phase)} phase"
            text += ", inferred from organ attenuation."
        elif finding.kind == "contrast_phase" and finding.status is Status.INDETERMINATE:
            text = "Contrast phase uncertain" + (f", possibly {finding.category}" if finding.category else "")
            text += f"; {AGENT_BY_HEADER}." if finding.reason.endswith(AGENT_NAMED) else "."
        elif finding.section == "technique" and finding.status is Status.PRESENT and finding.measurements:
            spacing = finding.measurement("slice_spacing")
            if spacing is not None:
                text = f"Slice spacing {spacing_text(spacing.value)}, {finding.category}."
        if text:
            sentences.append(Sentence(text, "technique", (finding, *also)))
    return [*sentences, *bare_sentences("technique", findings, style)]


def _coverage_text(finding: Finding) -> str:
    count, spacing, coverage = (finding.measurement(q) for q in ("count", "slice_spacing", "coverage"))
    assert count is not None and spacing is not None and coverage is not None, "interpret measures all three"
    thickness = finding.measurement("thickness")
    thick = "" if thickness is None else f"slice thickness {spacing_text(thickness.value)}, "
    return (
        f"{rounded(count.value, '1')} axial slices at {spacing_text(spacing.value)} spacing, "
        f"{thick}coverage {rounded(coverage.value, '1')} mm."
    )


def _section(section: str, findings: Sequence[Finding], judged: Sequence[Citable], style: Style) -> list[Sentence]:
    organs = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT]
    tops, attached = _tops(organs)
    sentences = disease_sentences(section, findings, style)
    if section == "bones":
        sentences += _bones(tops, attached) + vertebra_sentences(findings)
    elif section in ("soft_tissues", "head", "neck") and sum(structure(f.site).kind == "muscle" for f in tops) > 0:
        muscles = [f for f in tops if structure(f.site).kind == "muscle"]
        rest = [f for f in tops if f not in muscles]
        sentences += _organs(section, rest, attached, style) + _muscles(section, muscles, attached, style)
    else:
        told = any(f.kind == "low_attenuation_organ" for f in findings)  # its sentence says the attenuation
        sentences += _organs(section, tops, attached, replace(style, attenuation=style.attenuation and not told))
    sentences += bare_sentences(section, findings, style)
    sentences += _not_seen(section, findings)
    said = {f.id for s in sentences for f in s.findings}
    phase_said = False
    for group in lesion_groups(findings):
        text = group_sentence(group, style, names_phase=not phase_said)
        phase_said = phase_said or " phase" in text
        sentences.append(Sentence(text, section, cited(group, text)))
    sentences += [Sentence(unmeasured_text(f), section, (f,)) for f in findings if is_unmeasured(f)]
    sentences += contact_sentences(section, findings, style)
    sentences += focus_sentences(section, findings, style)
    sentences += no_lesions(section, findings)
    sentences += _unjudged_numbers(section, findings, sentences, style)
    said |= {f.id for s in sentences for f in s.findings}
    sentences += [
        _remaining(section, f, style)
        for f in judged
        if f.id not in said
        and (f.status in (Status.PRESENT, Status.INDETERMINATE) or (style.is_full and _is_told_when_normal(f)))
    ]
    return sentences


def _unjudged_numbers(
    section: str, findings: Sequence[Finding], sentences: Sequence[Sentence], style: Style
) -> list[Sentence]:
    """The numbers whose judgement waits for the age or the sex of the patient: "Abdominal aorta diameter 2.4 cm."

    The caliper that another part of the vessel has already is not said again as that of this part.
    """
    organs = {f.site: f for f in findings if f.kind == "organ" and f.status is Status.PRESENT}
    texts: dict[str, Sentence] = {}
    for waiting in findings:
        organ = organs.get(waiting.site)
        if waiting.status is not Status.NOT_ASSESSED or not waiting.measurements or organ is None:
            continue
        first = waiting.measurements[0]
        if organ.measurement(first.quantity) is None or first.quantity in ("difference_hu", "mean_hu", "parenchyma_hu"):
            continue
        part = part_words(waiting.site, first.quantity)
        number = f"diameter {length_text(first.value, style)}" if part else quantity_text(waiting, style)
        digits = number.split()[-2] if number.split()[-1].isalpha() else number.split()[-1]
        if any(organ in s.findings and f" {digits} " in f"{s.text} " for s in sentences):
            continue  # said already, as the volume of an organ is
        site = part or structure(waiting.site).words
        alone = not part and _SINGLE.get(section) == waiting.site
        text = number if alone else f"{site} {number}" if part else f"{site}: {number}"
        if first.quantity == "trabecular_hu":  # as where it is judged
            level = waiting.site.removeprefix("vertebrae_")
            text = f"trabecular attenuation of {level} {hu_text(first.value)}"
        texts.setdefault(text, Sentence(f"{capital(text)}.", section, (organ,)))
    return list(texts.values())


def _is_told_when_normal(finding: Citable) -> bool:
    """Normal values that a reader looks for: calibers of vessels and the size of the heart."""
    quantity = finding.measurements[0].quantity if finding.measurements else ""
    return finding.status is Status.ABSENT and (quantity.endswith("diameter") or quantity == "cardiothoracic_ratio")


def _tops(organs: Sequence[Finding]) -> tuple[list[Finding], dict[str, list[Finding]]]:
    """Structures to be named, and the parts that are cited along with each of them."""
    sites = {f.site for f in organs}
    tops: list[Finding] = []
    attached: dict[str, list[Finding]] = {}
    for finding in organs:
        parent = structure(finding.site).parent
        while parent and parent not in sites:
            parent = structure(parent).parent
        if parent:
            while structure(parent).parent in sites:
                parent = structure(parent).parent
            attached.setdefault(parent, []).append(finding)
        else:
            tops.append(finding)
    return tops, attached


def _organs(section: str, tops: Sequence[Finding], attached: dict[str, list[Finding]], style: Style) -> list[Sentence]:
    """Organs with something to say of their own one by one, the others in two lists: complete and cut."""
    sentences: list[Sentence] = []
    complete: list[Finding] = []
    cut: list[Finding] = []
    twins = _normal_twins(section, tops, attached, style)
    sentences += twins
    said = {f.id for s in twins for f in s.findings}
    for finding in tops:
        if finding.id in said:
            continue
        own = [a for a in own_assessments(finding) if a.section == section]
        alone = _SINGLE.get(section) == finding.site
        text, used = _statement(finding, own, style, alone)
        if text:
            sentences.append(Sentence(text, section, (finding, *used, *attached.get(finding.site, ()))))
            sentences += _difference(section, finding, own, style)
        else:
            (cut if finding.cut_by else complete).append(finding)
    sentences += _pairs(section, tops, style)
    for held, state, is_short in _listed(complete, cut):
        if held:
            words, many = structure_list(f.site for f in held)
            if is_short:
                kinds = {structure(f.site).kind for f in held}
                other = "other " if sentences else ""
                words, many = f"the {other}segmented {'vessels' if kinds == {'vessel'} else 'structures'}", True
            parts = [p for f in held for p in attached.get(f.site, ())]
            sentences.append(Sentence(f"{capital(words)} {be(many)} {state}.", section, (*held, *parts)))
            if state == "incompletely imaged" and style.is_full and style.attenuation:
                sentences += _attenuation_of_cut(section, held)
    return sentences


def _listed(complete: Sequence[Finding], cut: Sequence[Finding]) -> list[tuple[Sequence[Finding], str, bool]]:
    """Structures, what is said of their extent, and whether they are "the other segmented ones".

    Those that are said without names come last, and never both: beside the names of the ones that are cut.
    """
    rows = [(complete, "included in the scan"), (cut, "incompletely imaged")]
    long = [len({base_words(structure(f.site)) for f in held}) > _LONGEST_LIST[state] for held, state in rows]
    if long[0] and cut:
        return [(cut, rows[1][1], False), (complete, rows[0][1], True)]
    return [(held, state, is_long) for (held, state), is_long in zip(rows, long, strict=True)]


def _normal_twins(
    section: str, tops: Sequence[Finding], attached: dict[str, list[Finding]], style: Style
) -> list[Sentence]:
    """In the one-word style: "Both kidneys are of usual length", when both sides were judged and found so."""
    if style.detail != "normal-in-one-word":
        return []
    sentences = []
    for right in tops:
        left = next(
            (
                f
                for f in tops
                if structure(right.site).side == "right" and f.site == right.site.replace("right", "left")
            ),
            None,
        )
        if left is None:
            continue
        verdicts = [[a for a in own_assessments(f) if a.section == section] for f in (right, left)]
        if all(len(v) == 1 and v[0].status is Status.ABSENT for v in verdicts):
            (one,), (other,) = verdicts
            if one.category == other.category:
                words, many = structure_list((right.site, left.site))
                text = f"{capital(words)} {be(many)} {one.category}."
                parts = [p for f in (right, left) for p in attached.get(f.site, ())]  # such as the renal pelvis
                sentences.append(Sentence(text, section, (right, left, one, other, *parts)))
    return sentences


def _attenuation_of_cut(section: str, held: Sequence[Finding]) -> list[Sentence]:
    known = [(f, m) for f in held if f.site in lexicon().attenuation_of and (m := told_attenuation(f)) is not None]
    sentences = []
    for quantity, words in (("parenchyma_hu", "Parenchymal"), ("mean_hu", "Mean")):
        own = [(f, m) for f, m in known if m.quantity == quantity]
        parts = [f"{structure(f.site).words} {hu_text(m.value)}" for f, m in own]
        text = f"{words} attenuation of the imaged part: {', '.join(parts)}."
        sentences += [Sentence(text, section, tuple(f for f, _ in own))] if own else []
    return sentences


def _statement(
    finding: Finding, judged: Sequence[Assessment], style: Style, alone: bool
) -> tuple[str, list[Assessment]]:
    """One sentence on one organ: size and its category, then attenuation and its category; "" when it has neither."""
    size, used = _size_words(finding, judged, style)
    cut = bool(finding.cut_by)
    density, more = _density_words(finding, judged, style)
    if cut and not alone and not more:
        return "", []
    if not size and not cut and not (alone or density):
        return "", []
    if cut:
        size = "incompletely imaged"
    elif not size:
        size = "included in the scan"
    text = "; ".join(filter(None, [size, density]))
    if not alone:
        text = f"{structure(finding.site).words} {text}"
    return capital(text) + ".", [*used, *more]


def _size_words(finding: Finding, judged: Sequence[Assessment], style: Style) -> tuple[str, list[Assessment]]:
    """``volume 210 mL, normal in size``; the shortest true words in the one-word style."""
    parts, used = [], []
    volume = finding.measurement("volume") if finding.site in lexicon().volume_of else None
    by_quantity = {j.measurements[0].quantity: j for j in judged if j.measurements}
    for quantity in _SIZE_QUANTITIES:
        verdict = None if part_words(finding.site, quantity) else by_quantity.get(quantity)
        if quantity == "volume" and verdict is None:
            if volume is not None and style.volumes and style.detail != "normal-in-one-word":
                parts.append(f"volume {volume_text(volume.value)}")
            continue
        if verdict is None:
            continue
        used.append(verdict)
        normal = verdict.status is Status.ABSENT
        if normal and (style.detail == "normal-in-one-word" or not style.volumes):
            parts.append(verdict.category)
            continue
        value = verdict.measurements[0].value
        shown = {
            "volume": f"volume {volume_text(value)}" if quantity == "volume" else "",
            "length": f"length {length_text(value, style)}",
            "extent_superior_inferior": f"craniocaudal extent {length_text(value, style)}",
            "diameter": f"diameter {length_text(value, style)}",
        }[quantity]
        parts.append(f"{shown}, {verdict.category}")
    return "; ".join(parts), used


def _density_words(finding: Finding, judged: Sequence[Assessment], style: Style) -> tuple[str, list[Assessment]]:
    """``mean attenuation 45 HU, borderline for steatosis``; bare attenuation only in the full style."""
    verdicts = [j for j in judged if j.measurements and j.measurements[0].quantity in ("mean_hu", "parenchyma_hu")]
    mean = told_attenuation(finding)
    of_tissue = mean is not None and mean.quantity == "parenchyma_hu"
    words = "parenchymal attenuation" if of_tissue else "mean attenuation"
    wanted = style.is_full and style.attenuation and finding.site in lexicon().attenuation_of
    abnormal = any(v.status is not Status.ABSENT for v in verdicts)
    if mean is None or not (wanted or abnormal):
        return "", []
    where = f"{words} of the imaged part" if finding.cut_by else words
    return ", ".join([f"{where} {hu_text(mean.value)}", *(v.category for v in verdicts)]), verdicts


def _difference(section: str, finding: Finding, judged: Sequence[Assessment], style: Style) -> list[Sentence]:
    sentences = []
    for verdict in judged:
        difference = verdict.measurement("difference_hu")
        if difference is None or (verdict.status is Status.ABSENT and not style.is_full):
            continue
        reference = structure(verdict.reference).words
        words = f"{structure(finding.site).words} minus {reference}"
        text = f"Attenuation difference {words} {hu_text(difference.value)}, {verdict.category}."
        sentences.append(Sentence(text, section, (finding, verdict)))
    return sentences


def _pairs(section: str, tops: Sequence[Finding], style: Style) -> list[Sentence]:
    """Verdicts on two organs together, such as asymmetric kidneys."""
    sentences = []
    judged: dict[tuple[str, str], list[Assessment]] = {}
    for verdict in (a for f in tops for a in f.assessments if a.twin and a.category and a.section == section):
        if verdict.status is not Status.ABSENT or style.is_full:
            judged.setdefault((verdict.site, verdict.twin), []).append(verdict)
    for pair, verdicts in judged.items():
        organs = [f for f in tops if f.site in pair]
        if len(organs) == 2:  # "symmetric in length and asymmetric in volume"
            words, many = structure_list((f.site for f in organs), pair="the")
            said = " and ".join(v.category for v in verdicts)
            sentences.append(Sentence(f"{capital(words)} {be(many)} {said}.", section, (*organs, *verdicts)))
    return sentences


def _bones(tops: Sequence[Finding], attached: dict[str, list[Finding]]) -> list[Sentence]:
    sentences = []
    spine = [f for f in tops if f.site.startswith("vertebrae_") and structure(f.site).kind == "bone"]
    ribs = [f for f in tops if f.site.startswith("rib")]
    others = [f for f in tops if f not in spine and f not in ribs]
    if spine:
        cut, whole = [f for f in spine if f.cut_by], [f for f in spine if not f.cut_by]
        first = whole or cut
        word = "Vertebra" if len(first) == 1 else "Vertebrae"
        state = "included in the scan" if whole else "incompletely imaged"
        text = f"{word} {level_runs(f.site for f in first)} {be(len(first) > 1)} {state}"
        if cut and whole:
            text += f"; {level_runs(f.site for f in cut)} {be(len(cut) > 1)} incompletely imaged"
        sentences.append(Sentence(text + ".", "bones", tuple(spine)))
    grouped = len(ribs) > 1
    if not grouped:
        others = sorted([*others, *ribs], key=lambda f: structure(f.site).rank)
    whole, cut = ([f for f in others if bool(f.cut_by) is is_cut] for is_cut in (False, True))
    for held, state, is_short in _listed(whole, cut):
        here = ribs if grouped and any(f.cut_by for f in ribs) is (state == "incompletely imaged") else []
        if held or here:
            words, many = structure_list((f.site for f in held), first=_rib_words(here))
            if is_short:
                words, many = f"the {'other ' if sentences else ''}segmented bones", True
            parts = tuple(p for f in held for p in attached.get(f.site, ()))
            sentences.append(Sentence(f"{capital(words)} {be(many)} {state}.", "bones", (*here, *held, *parts)))
    return sentences


def _rib_words(ribs: Sequence[Finding]) -> str:
    """``the ribs``, ``the left ribs``, or "" for none."""
    sides = {structure(f.site).side for f in ribs}
    if not sides:
        return ""
    return f"the {sides.pop()} ribs" if len(sides) == 1 and "" not in sides else "the ribs"


def _muscles(
    section: str, muscles: Sequence[Finding], attached: dict[str, list[Finding]], style: Style
) -> list[Sentence]:
    """One sentence; each muscle by name only in the full style and when there are few."""
    parts = tuple(p for f in muscles for p in attached.get(f.site, ()))
    cut = [f for f in muscles if f.cut_by]
    state = "incompletely imaged" if cut else "included in the scan"
    bases = dict.fromkeys(base_words(structure(f.site)) for f in muscles)
    if style.is_full and len(bases) <= _MUSCLE_LIST and len(cut) in (0, len(muscles)):
        words, many = structure_list(f.site for f in muscles)
        return [Sentence(f"{capital(words)} {be(many)} {state}.", section, (*muscles, *parts))]
    return [Sentence(f"The muscles are {state}.", section, (*muscles, *parts))]


def _not_seen(section: str, findings: Sequence[Finding]) -> list[Sentence]:
    """Organs that one expects in the imaged part of the body, and that the masks did not find."""
    held = [f for f in findings if f.kind == "organ" and f.status is Status.ABSENT and f.is_expected]
    if not held:
        return []
    words, many = structure_list((f.site for f in held), pair="the")
    return [Sentence(f"{capital(words)} {be(many)} {held[0].category}.", section, tuple(held))]


def no_lesions(section: str, findings: Sequence[Finding]) -> list[Sentence]:
    """``No renal cyst or stone segmented.`` One sentence for each extent that was searched."""
    absent = [f for f in findings if f.status is Status.ABSENT and is_lesion_kind(f.kind)]
    sentences = []
    for scope in dict.fromkeys(f.scope for f in absent):
        held = [f for f in absent if f.scope == scope]
        kinds = {f.kind for f in held}
        words: dict[str, Finding | None] = {}
        for finding in held:
            row = structure(finding.kind)
            twin = any(base_name(k) == base_name(finding.kind) and k != finding.kind for k in kinds)
            word = noun(row.name, 0, with_side=not twin)
            words[word] = words.get(word) or _covered_by(finding, findings)
        others = {w: seen for w, seen in words.items() if seen is not None}
        where = {"": "", "imaged part": " in the imaged part", "imaged range": " in the imaged range"}[scope]
        listed = joined([*(w for w in words if w not in others), *(f"other {w}" for w in others)], "or")
        beside = {f.id: f for f in others.values()}
        sentences.append(Sentence(f"No {listed} segmented{where}.", section, (*held, *beside.values())))
    return sentences


def _covered_by(denied: Finding, findings: Sequence[Finding]) -> Finding | None:
    """The lesion that is there and that the denied kind would name as well: a metastasis is a liver tumor."""
    seen = (f for f in findings if f.status is Status.PRESENT and is_lesion_kind(f.kind))
    return next((f for f in seen if is_kind_of(f.kind, denied.kind)), None)


def _remaining(section: str, finding: Citable, style: Style) -> Sentence:
    """A present verdict that no other sentence stated."""
    first = finding.measurements[0] if finding.measurements else None
    site = structure(finding.site).words if finding.site and _SINGLE.get(section) != finding.site else ""
    value = "" if first is None or finding.says_value else quantity_text(finding, style)
    if first is not None and first.quantity == "cardiothoracic_ratio":
        site = ""  # the heading says whose it is
    part = part_words(finding.site, first.quantity) if first is not None else ""
    if first is not None and part and finding.status is not Status.ABSENT:
        text = f"{part} diameter {length_text(first.value, style)}, {finding.category}."
        return Sentence(capital(text), section, (finding,))
    if first is not None and site and finding.status is Status.ABSENT:
        if part and first.quantity != "diameter":
            value = length_text(first.value, style)  # the part is named already
        return Sentence(f"The {part or site} {be(False)} {finding.category} ({value}).", section, (finding,))
    if first is not None and site and first.quantity.endswith("_diameter"):  # "trunk diameter of the pulmonary artery"
        name = first.quantity.replace("_", " ")
        return Sentence(
            f"{capital(name)} of the {site}{value.removeprefix(name)}, {finding.category}.", section, (finding,)
        )
    said = ", ".join(filter(None, (value, finding.category)))
    return Sentence(capital(f"{site}{': ' if site else ''}{said}."), section, (finding,))


def quantity_text(finding: Citable, style: Style) -> str:
    """The headline number of a finding with its unit and, where it needs one, its name."""
    first = finding.measurements[0]
    named = named_number(first, style)
    if named:
        return named
    if first.quantity == "difference_hu":
        return f"difference {hu_text(first.value)}"
    if first.quantity == "trabecular_hu":
        return f"trabecular attenuation {hu_text(first.value)}"
    if first.quantity in ("wedge_loss", "biconcave_loss", "crush_loss"):
        return f"height loss {rounded(first.value, '1')} percent"
    if first.quantity.endswith("_diameter"):
        return f"{first.quantity.replace('_', ' ')} {length_text(first.value, style)}"
    if first.unit == "HU":
        return hu_text(first.value)
    if first.unit == "mL":
        return volume_text(first.value)
    if first.quantity == "slice_spacing":
        return f"spacing {spacing_text(first.value)}"
    if first.unit in ("percent", "degree"):
        which = "" if first.quantity == "fraction" else f"{first.quantity.replace('_', ' ')} "
        return f"{which}{rounded(first.value, '1')} {_UNIT_WORDS[first.unit]}"
    if first.quantity == "thickness":
        return f"thickness {length_text(first.value, style)}"
    name = {
        "extent_superior_inferior": "craniocaudal ",
        "short_axis": "short axis ",
        "diameter": "diameter ",
        "length": "length ",
    }
    return f"{name.get(first.quantity, '')}{length_text(first.value, style)}"


def names_of(findings: Iterable[Finding]) -> str:
    return structure_list(f.site for f in findings)[0]


__all__ = ["names_of", "no_lesions", "plural", "quantity_text", "template_sentences"]
