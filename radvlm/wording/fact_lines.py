"""Structured findings as short lines of text: what the prompt of a decoder holds of what masks show.

    hepatic cyst | segment VIII | 3.6 x 3.3 cm | 4 HU | fluid attenuation
    spleen | volume 177 mL | normal in size
    absent: splenic lesion, splenic cyst

One function (``facts_of``) writes the lines for training, from ``report.json`` of a case, and for inference, from the
findings of a report that is being written, so that the two cannot drift apart. Numbers are written as the sentences
write them (long x short axis in cm from 10 mm on, whole HU), so that a decoder copies and never rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS, USUAL_LEVELS, is_lesion_kind, structure, structures
from radvlm.types.finding import Assessment, Citable, Finding, Status
from radvlm.types.measurement import Measurement
from radvlm.wording.numbers import axes_text, hu_text, length_text, rounded, spacing_text, volume_text
from radvlm.wording.structure_names import runs_of_levels
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import lexicon

_STYLE = Style()
#: Vertebrae told as runs; the sacrum is named.
_COUNTED_LEVELS = USUAL_LEVELS[:-1]
_NAMES = {
    "extent_superior_inferior": "craniocaudal extent",
    "diameter": "diameter",
    "volume": "volume",
    "slice_spacing": "spacing",
    "coverage": "coverage",
    "thickness": "slice thickness",
    "count": "slices",
    "difference_hu": "difference",
    "short_axis": "short axis",
    "long_axis": "long axis",
    "angle": "angle",
    "fraction": "fraction",
}


def facts_of(cited: Iterable[Citable], section: str) -> str:
    """The findings of one section as lines; "" when it has none.

    Args:
        cited: any findings and assessments; those of other sections are left out. ``impression`` takes the lines of
            all with importance above 0, most important first, and what the field of view cuts; without any, the
            normal sizes.
        section: key of ``anatomy.SECTIONS``; InputError otherwise.

    Order: organs with their verdicts, lesions (largest first as given), what is absent, what is merely imaged.
    """
    if section not in SECTIONS:
        raise InputError("a section is a key of radvlm.types.anatomy.SECTIONS", repr(section))
    held = list(cited)
    return _impression(held) if section == "impression" else fact_lines([f for f in held if f.section == section])


def facts_by_section(cited: Sequence[Citable]) -> dict[str, str]:
    """Section -> lines, without sections that have none: what a decoder is given at inference.

    Training pairs hold what sentences cite alone (``fact_pairs``); so does a prompt (``radvlm.types.report.cited``).
    """
    lines = {section: facts_of(cited, section) for section in SECTIONS}
    return {section: text for section, text in lines.items() if text}


# -- lines ---------------------------------------------------------------------------------------------------


def _impression(cited: Sequence[Citable]) -> str:
    stated = [c for c in cited if c.status is not Status.NOT_ASSESSED and c.kind != "organ"]
    # a lesion and the verdicts on it are one line, whichever of them is important
    lines_of = {f.id: [f, *_own(f, stated)] for f in stated if isinstance(f, Finding) and is_lesion_kind(f.kind)}
    weight: dict[str, float] = {}
    for line in lines_of.values():
        heaviest = max(c.importance for c in line)
        weight |= {c.id: heaviest if c.regions else c.importance for c in line if heaviest > 0}
    held = [c for c in stated if c.importance > 0 or c.id in weight]
    held.sort(key=lambda c: -weight.get(c.id, c.importance))
    lines = [fact_lines(held)]
    if not held:
        sizes = ("volume", "diameter")
        lines = [
            _line(_verdict(c))
            for c in stated
            if c.status is Status.ABSENT
            and c.rule is not None
            and c.site
            and c.measurements
            and c.measurements[0].quantity in sizes
        ]
    cut = [f for f in cited if isinstance(f, Finding) and f.kind == "organ" and f.cut_by and f.site in lexicon().major]
    if len(cut) > 1:
        lines += [_line(_verdict(c)) for c in cited if c.kind == "coverage"]
        lines.append(f"incompletely imaged: {', '.join(_words(f.site) for f in cut)}")
    return "\n".join(line for line in lines if line)


def _own(finding: Finding, cited: Sequence[Citable]) -> list[Citable]:
    """Assessments of a lesion itself among what is cited, in that order."""
    own = {a.id for a in finding.assessments if a.site == finding.site}
    return [c for c in cited if c.id in own]


def fact_lines(cited: Sequence[Citable]) -> str:
    """Any findings and assessments as lines, in the order of ``facts_of``."""
    words = lexicon()
    findings = [f for f in cited if isinstance(f, Finding)]
    lesions = [f for f in findings if is_lesion_kind(f.kind) and f.status is Status.PRESENT]
    of_lesions = {c.id for f in lesions for c in _own(f, cited)}
    verdicts = [
        c
        for c in cited
        if not is_lesion_kind(c.kind)
        and c.kind != "organ"
        and c.id not in of_lesions
        and c.status is not Status.NOT_ASSESSED
    ]
    organs = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT]
    told = [o for o in organs if o.site in words.volume_of | words.attenuation_of and not o.cut_by]
    rows = [*map(_organ, told), *map(_verdict, verdicts), *(_lesion(f, _own(f, cited)) for f in lesions)]
    for organ in organs:  # told though nothing judges it
        bone = organ.measurement("trabecular_hu")
        if bone is not None and not any(bone in verdict.measurements for verdict in verdicts):
            rows.append((_words(organ.site), f"trabecular attenuation {hu_text(bone.value)}"))
    lines = [_line(row) for row in rows]
    lines += _absent([f for f in findings if is_lesion_kind(f.kind) and f.status is Status.ABSENT])
    imaged = [o for o in organs if o not in told]
    for cut, label in ((False, "imaged"), (True, "incompletely imaged")):
        names = [o.site for o in imaged if bool(o.cut_by) is cut and not _is_part(o, organs)]
        if names:
            lines.append(f"{label}: {', '.join(_listed(names))}")
    lines += [
        f"not seen: {_words(f.site)}"
        for f in findings
        if f.kind == "organ" and f.status is Status.ABSENT and f.is_expected
    ]
    return "\n".join(line for line in lines if line)


def measured_rows(finding: Finding) -> list[tuple[str, ...]]:
    """What was measured of a finding and judged by its rules, in the words of the lines: a name, then what is said.

    Verdicts on a lesion itself stand in its own row; what the field of view cuts has no size.
    """
    own = _own(finding, finding.assessments) if is_lesion_kind(finding.kind) else []
    rows = [_verdict(a) for a in finding.assessments if a not in own and a.measurements]
    if not finding.measurements or finding.status is Status.NOT_ASSESSED:
        return rows
    if finding.kind == "organ":
        first = () if finding.cut_by else _organ(finding)
    else:
        first = _lesion(finding, own) if is_lesion_kind(finding.kind) else _verdict(finding)
    return [first, *rows] if len(first) > 1 else rows


def _lesion(finding: Finding, verdicts: Sequence[Citable]) -> tuple[str, ...]:
    """``hepatic cyst | segment VIII | 3.6 x 3.3 cm | hypoattenuating | 4 HU | fluid attenuation``."""
    parts = [structure(finding.kind).words, place_words(finding)]
    long, short, volume = (finding.measurement(q) for q in ("long_axis", "short_axis", "volume"))
    fluid = structure(finding.kind).kind == "fluid"
    words = lexicon()
    if finding.kind not in words.without_size:
        if (fluid or finding.kind in words.by_volume) and volume is not None:
            parts.append(volume_text(volume.value))
        elif long is not None and short is not None:
            parts.append(axes_text(long.value, short.value, _STYLE))
        elif long is not None:
            parts.append(length_text(long.value, _STYLE))
    if finding.kind not in words.without_attenuation:
        parts.append(finding.attenuation)
        mean = finding.measurement("core_mean_hu") or finding.measurement("mean_hu")
        parts.append("" if mean is None else hu_text(mean.value))
    parts += [finding.category, *(v.category for v in verdicts), "cut" if finding.cut_by else ""]
    if finding.confidence is not None:
        parts.append(f"probability {rounded(finding.confidence, '0.01')}")
    return _row(parts)


def told_attenuation(organ: Finding) -> Measurement | None:
    """The attenuation that rules judge and sentences tell: that of the parenchyma, else the mean of the mask."""
    return organ.measurement("parenchyma_hu") or organ.measurement("mean_hu")


def _organ(finding: Finding) -> tuple[str, ...]:
    parts = [_words(finding.site)]
    volume, mean = finding.measurement("volume"), told_attenuation(finding)
    if volume is not None and finding.site in lexicon().volume_of:
        parts.append(f"volume {volume_text(volume.value)}")
    if mean is not None and finding.site in lexicon().attenuation_of:
        parts.append(hu_text(mean.value))
    return _row(parts)


def _verdict(item: Citable) -> tuple[str, ...]:
    """``spleen | volume 177 mL | normal in size``; of the scan: ``coverage | slices 233 | spacing 3 mm | ...``."""
    sites = [_words(item.site)] if item.site else [item.kind.replace("_", " ")]
    reference = item.reference if isinstance(item, Assessment) else ""
    parts = [" minus ".join([*sites, _words(reference)]) if reference else sites[0]]
    parts += [_number(m) for m in item.measurements]
    return _row([*parts, item.category])


def _absent(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for scope in dict.fromkeys(f.scope for f in findings):
        names = [structure(f.kind).words for f in findings if f.scope == scope]
        lines.append(f"absent{f' in the {scope}' if scope else ''}: {', '.join(dict.fromkeys(names))}")
    return lines


def place_words(finding: Finding) -> str:
    """Where a lesion lies: its first segment or lobe, its level, the part of its kidney, or its organ."""
    host = finding.host or (structures()[finding.kind].parent if finding.kind in structures() else "")
    parts = [name for name in finding.locations if not name.startswith("vertebrae_")]
    level = finding.level or next((n for n in finding.locations if n.startswith("vertebrae_")), "")
    if finding.kind in ("vertebra_fracture", "bone_lesion", "lymph_node") and level:
        return level.removeprefix("vertebrae_")
    if finding.pole and host:
        return f"{finding.pole} of the {_words(host)}"
    return _words(parts[0]) if parts else _words(host) if host else _words(finding.site) if finding.site else ""


def _listed(names: Sequence[str]) -> list[str]:
    """Words for structures, with vertebrae as runs ("T1 to L5") and ribs as one."""
    levels = [n for n in names if n.startswith("vertebrae_") and n.removeprefix("vertebrae_") in _COUNTED_LEVELS]
    words = [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs_of_levels(levels)]
    if any(name.startswith("rib_") for name in names):
        words.append("ribs")
    return [*words, *dict.fromkeys(_words(n) for n in names if n not in levels and not n.startswith("rib_"))]


def _row(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p for p in parts if p))


def _line(row: Sequence[str]) -> str:
    return " | ".join(row)


def _words(name: str) -> str:
    return structure(name).words


def _is_part(finding: Finding, held: Sequence[Finding]) -> bool:
    """Whether the structure belongs to one that is listed too, and need not be named."""
    names, parent = {f.site for f in held}, structure(finding.site).parent
    while parent:
        if parent in names:
            return True
        parent = structure(parent).parent
    return False


def _number(m: Measurement) -> str:
    plain = m.unit == "HU" and m.quantity != "difference_hu"  # "55 HU" needs no name
    name = "" if plain else f"{_NAMES.get(m.quantity, m.quantity.replace('_', ' '))} "
    if m.quantity in ("slice_spacing", "thickness", "pixel_spacing"):
        return f"{name}{spacing_text(m.value)}"
    if m.quantity == "coverage":
        return f"{name}{rounded(m.value, '1')} mm"
    if m.unit == "mm":
        return f"{name}{length_text(m.value, _STYLE)}"
    if m.unit == "mL":
        return f"{name}{volume_text(m.value)}"
    unit = {"HU": " HU", "percent": " percent", "degree": " degrees"}.get(m.unit, "")
    return f"{name}{rounded(m.value, '1' if m.unit != '1' or m.quantity == 'count' else '0.01')}{unit}"
