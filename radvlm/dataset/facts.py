"""Structured findings as short lines of text, and the sentences that say them: what a decoder learns prose from.

    hepatic cyst | segment VIII | 3.6 x 3.3 cm | 4 HU | fluid attenuation
    spleen | volume 177 mL | normal in size
    absent: splenic lesion, splenic cyst

Unusual: one function (``facts_of``) writes the lines for training, from ``report.json`` of a case, and for inference,
from the findings of a report that is being written, so that the two cannot drift apart. Numbers are written as the
sentences write them (long x short axis in cm from 10 mm on, whole HU), so that a decoder copies and never rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from radvlm.dataset.case import Case
from radvlm.errors import FileFormatError, InputError
from radvlm.types.anatomy import SECTIONS, structure, structures
from radvlm.types.finding import Finding, Status
from radvlm.types.finding_json import finding_from_dict
from radvlm.types.measurement import Measurement
from radvlm.types.report import Sentence

UNITS_OF_PAIRS = ("section", "sentence")
#: Organs whose volume and attenuation are told; of the others only that they are in the picture.
_VOLUME_OF = (
    "liver",
    "spleen",
    "pancreas",
    "kidney_right",
    "kidney_left",
    "prostate",
    "thyroid_gland",
    "lung_right",
    "lung_left",
    "lung",
    "brain",
)
_ATTENUATION_OF = ("liver", "spleen", "pancreas")
#: A scan that cuts two or more of these says so in its impression.
_MAJOR = ("liver", "spleen", "pancreas", "kidney_right", "kidney_left", "heart", "brain")
_LEVELS = tuple(
    f"vertebrae_{region}{n}" for region, last in (("C", 7), ("T", 12), ("L", 5)) for n in range(1, last + 1)
)
#: Lesions told by their volume, and lesions whose attenuation says nothing.
_BY_VOLUME = ("lung_consolidation", "lung_atelectasis", "lung_covid_infiltrate")
_WITHOUT_SIZE = ("vertebra_fracture",)
_WITHOUT_HU = (
    "vertebra_fracture",
    "pneumothorax",
    "pneumoperitoneum",
    "gallstone",
    "kidney_stone_left",
    "kidney_stone_right",
    "kidney_stone",
    "ureter_stone",
    "lung_nodule",
    "lung_consolidation",
    "lung_atelectasis",
    "lung_covid_infiltrate",
    "bone_lesion",
    "liver_calcification",
)
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


@dataclass(frozen=True)
class FactPair:
    """Facts and the text that says them. ``text`` may be one sentence or a whole section."""

    section: str
    facts: str
    text: str


def facts_of(findings: Iterable[Finding], section: str) -> str:
    """The findings of one section as lines; "" when it has none.

    Args:
        findings: any findings; those of other sections are left out. ``impression`` takes the lines of all with
            importance above 0, most important first, and what the field of view cuts; without any, the normal sizes.
        section: key of ``anatomy.SECTIONS``; InputError otherwise.

    Order: organs with their verdicts, lesions (largest first as given), what is absent, what is merely imaged.
    """
    if section not in SECTIONS:
        raise InputError("a section is a key of radvlm.types.anatomy.SECTIONS", repr(section))
    held = list(findings)
    return _impression(held) if section == "impression" else _lines([f for f in held if f.section == section])


def facts_by_section(sentences: Iterable[Sentence]) -> dict[str, str]:
    """Section -> lines, from the findings that the sentences of a report cite: what a decoder is given at inference.

    Training pairs hold cited findings alone (``fact_pairs``); a verdict that no sentence states is in neither.
    """
    held = list(sentences)
    cited = {f.id: f for s in held for f in s.findings}
    return {section: facts_of(cited.values(), section) for section in dict.fromkeys(s.section for s in held)}


def fact_pairs(case: Case, unit: str = "section") -> list[FactPair]:
    """Pairs from ``report.json`` of a case, in reading order; [] when the case has none.

    ``unit``: one pair for each ``section`` (its findings, its sentences), or for each ``sentence`` (what it cites).
    Raises FileFormatError when the report is not what ``radvlm.workflows.phantom_corpus`` writes.
    """
    if unit not in UNITS_OF_PAIRS:
        raise InputError(f"a unit is one of {', '.join(UNITS_OF_PAIRS)}", repr(unit))
    if case.report is None:
        return []
    try:
        by_id = {name: finding_from_dict(row) for name, row in case.report["findings"].items()}
        said = [(s["section"], s["text"], [by_id[i] for i in s["findings"]]) for s in case.report["sentences"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            "report.json holds sentences and the findings they cite", f"{case.folder}: {type(error).__name__}: {error}"
        ) from error
    if unit == "sentence":
        return [FactPair(section, _lines(cited), text) for section, text, cited in said]
    own: dict[str, list[str]] = {}
    for section, text, _ in said:
        own.setdefault(section, []).append(text)
    return [FactPair(section, facts_of(by_id.values(), section), " ".join(texts)) for section, texts in own.items()]


# -- lines ---------------------------------------------------------------------------------------------------


def _impression(findings: Sequence[Finding]) -> str:
    stated = [f for f in findings if f.status is not Status.NOT_ASSESSED and f.kind != "organ"]
    held = [f for f in stated if f.importance > 0]
    # a lesion and the verdicts on it are one line, whichever of them is important
    regions = {r for f in held for r in (_subjects(f) or {region.id for region in f.regions})}
    lesions = {f.regions[0].id for f in stated if _is_lesion(f) and f.regions and f.regions[0].id in regions}
    weight = {
        r: max(f.importance for f in stated if r in _subjects(f) or any(g.id == r for g in f.regions)) for r in lesions
    }
    held += [
        f
        for f in stated
        if f not in held and (_subjects(f) & lesions or (_is_lesion(f) and f.regions and f.regions[0].id in lesions))
    ]
    held.sort(key=lambda f: -(weight.get(f.regions[0].id, f.importance) if f.regions else f.importance))
    lines = [_lines(held)]
    if not held:
        sizes = ("volume", "diameter")
        lines = [
            _verdict(f)
            for f in findings
            if f.status is Status.ABSENT
            and f.rule is not None
            and f.site
            and not _is_lesion(f)
            and f.measurements
            and f.measurements[0].quantity in sizes
        ]
    cut = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT and f.site in _MAJOR and f.cut_by]
    if len(cut) > 1:
        lines += [_verdict(f) for f in findings if f.kind == "coverage"]
        lines.append(f"incompletely imaged: {', '.join(_words(f.site) for f in cut)}")
    return "\n".join(line for line in lines if line)


def _lines(findings: Sequence[Finding]) -> str:
    lesions = [f for f in findings if _is_lesion(f) and f.status is Status.PRESENT]
    regions = {f.regions[0].id for f in lesions if f.regions}
    verdicts = [f for f in findings if not _is_lesion(f) and f.kind != "organ"]
    of_lesions = [v for v in verdicts if _subjects(v) & regions]
    organs = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT]
    told = [o for o in organs if o.site in (*_VOLUME_OF, *_ATTENUATION_OF) and not o.cut_by]
    lines = [_organ(o) for o in told]
    lines += [_verdict(v) for v in verdicts if v not in of_lesions and v.status is not Status.NOT_ASSESSED]
    lines += [_lesion(f, [v for v in of_lesions if f.regions and f.regions[0].id in _subjects(v)]) for f in lesions]
    lines += _absent([f for f in findings if _is_lesion(f) and f.status is Status.ABSENT])
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


def _lesion(finding: Finding, verdicts: Sequence[Finding]) -> str:
    """``hepatic cyst | segment VIII | 3.6 x 3.3 cm | hypoattenuating | 4 HU | fluid attenuation``."""
    parts = [structure(finding.kind).words, _place(finding)]
    long, short, volume = (finding.measurement(q) for q in ("long_axis", "short_axis", "volume"))
    fluid = structure(finding.kind).kind == "fluid"
    if finding.kind not in _WITHOUT_SIZE:
        if (fluid or finding.kind in _BY_VOLUME) and volume is not None:
            parts.append(_volume(volume.value))
        elif long is not None and short is not None:
            parts.append(_axes(long.value, short.value))
        elif long is not None:
            parts.append(_length(long.value))
    if finding.kind not in _WITHOUT_HU:
        parts.append(finding.attenuation)
        mean = finding.measurement("core_mean_hu") or finding.measurement("mean_hu")
        parts.append("" if mean is None else f"{_rounded(mean.value, '1')} HU")
    parts += [finding.category, *(v.category for v in verdicts), "cut" if finding.cut_by else ""]
    if finding.confidence is not None:
        parts.append(f"probability {_rounded(finding.confidence, '0.01')}")
    return _row(parts)


def _organ(finding: Finding) -> str:
    parts = [_words(finding.site)]
    volume, mean = finding.measurement("volume"), finding.measurement("mean_hu")
    if volume is not None and finding.site in _VOLUME_OF:
        parts.append(f"volume {_volume(volume.value)}")
    if mean is not None and finding.site in _ATTENUATION_OF:
        parts.append(f"{_rounded(mean.value, '1')} HU")
    return _row(parts)


def _verdict(finding: Finding) -> str:
    """``spleen | volume 177 mL | normal in size``; of the scan: ``coverage | slices 233 | spacing 3 mm | ...``."""
    sites = [_words(finding.site)] if finding.site else [finding.kind.replace("_", " ")]
    reference = finding.reference
    parts = [" minus ".join([*sites, _words(reference)]) if reference else sites[0]]
    parts += [_number(m) for m in finding.measurements]
    return _row([*parts, finding.category])


def _absent(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for scope in dict.fromkeys(f.scope for f in findings):
        names = [structure(f.kind).words for f in findings if f.scope == scope]
        lines.append(f"absent{f' in the {scope}' if scope else ''}: {', '.join(dict.fromkeys(names))}")
    return lines


def _place(finding: Finding) -> str:
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
    held = [n for n, level in enumerate(_LEVELS) if level in names]
    runs: list[list[int]] = []
    for n in held:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    ends = [[_LEVELS[n].removeprefix("vertebrae_") for n in (run[0], run[-1])] for run in runs]
    words = [first if first == last else f"{first} to {last}" for first, last in ends]
    if any(name.startswith("rib_") for name in names):
        words.append("ribs")
    return [*words, *dict.fromkeys(_words(n) for n in names if n not in _LEVELS and not n.startswith("rib_"))]


def _row(parts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(p for p in parts if p))


def _words(name: str) -> str:
    return structure(name).words


def _is_lesion(finding: Finding) -> bool:
    return finding.kind in structures() and structure(finding.kind).kind in ("lesion", "fluid")


def _is_part(finding: Finding, held: Sequence[Finding]) -> bool:
    """Whether the structure belongs to one that is listed too, and need not be named."""
    names, parent = {f.site for f in held}, structure(finding.site).parent
    while parent:
        if parent in names:
            return True
        parent = structure(parent).parent
    return False


def _subjects(finding: Finding) -> set[str]:
    return set(finding.subjects)


# -- numbers: as radvlm.wording.numbers writes them (tests compare the two) ---------------------------------------


def _number(m: Measurement) -> str:
    plain = m.unit == "HU" and m.quantity != "difference_hu"  # "55 HU" needs no name
    name = "" if plain else f"{_NAMES.get(m.quantity, m.quantity.replace('_', ' '))} "
    if m.quantity in ("slice_spacing", "thickness", "pixel_spacing"):
        return f"{name}{_rounded(m.value, '0.01').rstrip('0').rstrip('.')} mm"
    if m.quantity == "coverage":
        return f"{name}{_rounded(m.value, '1')} mm"
    if m.unit == "mm":
        return f"{name}{_length(m.value)}"
    if m.unit == "mL":
        return f"{name}{_volume(m.value)}"
    unit = {"HU": " HU", "percent": " percent", "degree": " degrees"}.get(m.unit, "")
    return f"{name}{_rounded(m.value, '1' if m.unit != '1' or m.quantity == 'count' else '0.01')}{unit}"


def _axes(long_mm: float, short_mm: float) -> str:
    if Decimal(_rounded(long_mm, "1")) >= 10:
        return f"{_visible(long_mm / 10, '0.1')} x {_visible(short_mm / 10, '0.1')} cm"
    return f"{_visible(long_mm, '1')} x {_visible(short_mm, '1')} mm"


def _length(value_mm: float) -> str:
    large = Decimal(_rounded(value_mm, "1")) >= 10
    return f"{_visible(value_mm / 10, '0.1')} cm" if large else f"{_visible(value_mm, '1')} mm"


def _volume(value_ml: float) -> str:
    return f"{_visible(value_ml, '10' if value_ml >= 1000 else '1' if value_ml >= 10 else '0.1')} mL"


def _rounded(value: float, step: str) -> str:
    quantum = Decimal(step)
    number = (Decimal(repr(float(value))) / quantum).quantize(Decimal(1), ROUND_HALF_UP) * quantum
    number = number.quantize(min(quantum, Decimal(1)))
    return str(abs(number)) if number == 0 else str(number)


def _visible(value: float, step: str) -> str:
    """Finer steps until an amount does not read as none."""
    text = _rounded(value, step)
    while Decimal(text) == 0 and abs(value) > 1e-9:
        step = str(Decimal(step) / 10)
        text = _rounded(value, step)
    return text
