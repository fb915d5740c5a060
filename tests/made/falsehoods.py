"""Sentences about typed findings that are true, and ones that are false in a single fact, in many wordings.

Truth is decided here from the typed findings alone, never by the verifier. A ``Fact`` is one thing that findings say;
its wordings are sentences with slots; filling a slot with a value that the findings rule out makes a falsehood. Two
lists of wordings exist: one that the verifier was made with, and one that was written before and is kept apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from radvlm.types.anatomy import LEVELS, is_lesion_kind, structure, structures
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status
from radvlm.types.report import Report, Sentence
from radvlm.wording.vocabulary import base_name, lexicon, noun, number_word

SIDES = {"left": "right", "right": "left"}
POLES = ("upper pole", "lower pole", "interpolar region")
SEGMENTS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
DENSITIES = ("hypoattenuating", "hyperattenuating", "isoattenuating")
PHASES = ("non-contrast", "arterial", "portal venous", "delayed")
ORGANS = (
    "liver",
    "spleen",
    "pancreas",
    "gallbladder",
    "heart",
    "stomach",
    "urinary bladder",
    "duodenum",
    "aorta",
    "brain",
)
KINDS = ("cyst", "tumor", "metastasis", "stone", "abscess", "hemangioma")
#: What no finding of a single scan says, put before or after a true statement.
NEVER_SAID = (
    "{}, unchanged",
    "{}, increased since the prior examination",
    "{}, smaller than before",
    "{}, larger than the other",
    "{}, at least",
    "{}, suspicious for malignancy",
    "{}, consistent with metastasis",
    "{}, benign",
    "{}, cannot be excluded",
    "Possible {}",
    "Probably {}",
    "Likely {}",
    "Questionable {}",
    "{} is not excluded",
    "No definite {}",
    "{}, new",
    "{}, enhancing",
    "{}, calcified",
    "{}, above the upper limit",
    "{}, below the limit",
    "{}, within the reference range",
    "{}, within limits",
    "Resolved {}",
    "{}, not seen",
    "{}, incompletely characterized",
)


@dataclass(frozen=True)
class Wording:
    """``text`` has slots in braces; ``held_out`` wordings were not looked at while the verifier was made."""

    text: str
    held_out: bool = False


@dataclass(frozen=True)
class Said:
    """A sentence, whether it is true, and for a falsehood which kind of fact is wrong in it.

    ``is_settled``: false whatever of its section is cited beside, since no other lesion of the kind could be meant.
    """

    text: str
    section: str
    cited: tuple[Citable, ...]
    is_true: bool
    kind: str
    held_out: bool = False
    is_settled: bool = False


@dataclass
class Fact:
    """One statement: its cited findings, the true value of each slot, and the values of each slot that are false.

    ``false`` maps the kind of a fact to (slot, values).
    """

    name: str
    section: str
    cited: tuple[Citable, ...]
    wordings: Sequence[Wording]
    true: dict[str, str]
    false: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    contrary: Sequence[tuple[str, Wording]] = ()  # (kind, wording) that is false as a whole
    is_settled: bool = True
    sayable_more: bool = False  # "possible ..." and the like are put around it


def _w(seen: Sequence[str], held_out: Sequence[str]) -> tuple[Wording, ...]:
    return (*(Wording(t) for t in seen), *(Wording(t, True) for t in held_out))


WHOLE = _w(
    (
        "The {organ} is included in the scan.",
        "{Organ} completely imaged.",
        "The {organ} is fully visualized.",
        "The {organ} is seen in its entirety.",
        "{Organ}: completely included in the field of view.",
        "The {organ} is entirely within the field of view.",
        "The {organ} is completely covered by the scan.",
        "{Organ} imaged in its entirety.",
        "The {organ} is imaged in full.",
        "{Organ} fully included in this examination.",
        "The {organ} is visualized in its entirety on this scan.",
        "The {organ} is wholly included.",
        "{Organ} entirely imaged.",
        "The entire {organ} is included in the scan.",
    ),
    (
        "The {organ} lies completely within the field of view.",
        "{Organ} is covered in its entirety.",
        "The complete {organ} is imaged.",
        "{Organ}: included in full.",
        "The {organ} is shown in its entirety on this study.",
        "The {organ} has been fully imaged.",
    ),
)
CUT = _w(
    (
        "The {organ} is incompletely imaged.",
        "{Organ} only partially visualized.",
        "The {organ} is partly imaged.",
        "The {organ} is partially included in the field of view.",
        "{Organ}: incompletely included in the scan.",
        "The {organ} is not completely imaged.",
        "The {organ} is truncated by the field of view.",
        "The {organ} is not fully included in the scan.",
        "{Organ} cut off by the field of view.",
        "Only part of the {organ} is imaged.",
        "The {organ} is seen only in part.",
        "Partially imaged {organ}.",
        "The {organ} extends beyond the field of view.",
    ),
    (
        "The {organ} is cut off by the field of view.",
        "The {organ} is included only in part.",
        "{Organ}, partially visualized.",
        "{Organ} incompletely covered.",
        "A portion of the {organ} is visualized.",
        "The {organ} is partially outside the field of view.",
        "The {organ} has been only partly included in the scan.",
    ),
)
UNSEEN = _w(
    (
        "The {organ} is not seen in the imaged range.",
        "{Organ} not visualized.",
        "The {organ} is not identified on this scan.",
        "{Organ}: not seen.",
        "The {organ} is not visible in the imaged range.",
        "The {organ} is not depicted.",
        "{Organ} is not demonstrated.",
    ),
    ("{Organ} could not be identified.", "The {organ} cannot be seen.", "No {organ} is seen in the imaged range."),
)
VOLUME = _w(
    (
        "The {organ} has a volume of {value} {unit}.",
        "{Organ} volume {value} {unit}.",
        "{Organ} measures {value} {unit}.",
        "Volume of the {organ}: {value} {unit}.",
        "The volume of the {organ} is approximately {value} {unit}.",
        "{Organ} ({value} {unit}).",
        "The {organ} measures {value} {unit} in volume.",
        "{Organ} volume is {value}{unit}.",
        "The {organ}, {value} {unit}.",
        "{Organ} with a volume of about {value} {unit}.",
        "Measured volume of the {organ} {value} {unit}.",
    ),
    (
        "{Organ} is {value} {unit} in volume.",
        "The {organ} volume amounts to {value} {unit}.",
        "{Organ}: {value} {unit}.",
        "{Organ} size: {value} {unit}.",
        "The {organ} shows a volume of {value} {unit}.",
    ),
)
ATTENUATION = _w(
    (
        "The {organ} has a mean attenuation of {value} {unit}.",
        "{Organ} mean attenuation {value} {unit}.",
        "Mean attenuation of the {organ} {value} {unit}.",
        "{Organ} attenuation: {value} {unit}.",
        "{Organ} measures {value} {unit}.",
        "Average density of the {organ} is {value} {unit}.",
        "The {organ} measures approximately {value} {unit}.",
        "{Organ} mean density {value} {unit}.",
        "Mean CT number of the {organ}: {value} {unit}.",
    ),
    (
        "{Organ} density of {value} {unit}.",
        "{Organ}: {value} {unit} mean.",
        "The mean density of the {organ} amounts to {value} {unit}.",
        "The {organ} is {value} {unit} in mean attenuation.",
    ),
)
VERDICT = _w(
    (
        "The {organ} is {verdict}.",
        "{Organ} {verdict}.",
        "{Organ}: {verdict}.",
        "{Organ} is {verdict} ({value} {unit}).",
        "{Organ} measures {value} {unit}, {verdict}.",
        "The {organ}, {value} {unit}, is {verdict}.",
        "The {organ} appears {verdict}.",
    ),
    (
        "{Organ} is {verdict}, measuring {value} {unit}.",
        "There is a {verdict} {organ}.",
        "{Organ} volume is {value} {unit}, which is {verdict}.",
    ),
)
LESION = _w(
    (
        "{long} x {short} {unit} {lesion}{place}.",
        "{Lesion}{place}, {long} x {short} {unit}.",
        "There is a {long} x {short} {unit} {lesion}{place}.",
        "{Lesion}{place} measuring {long} by {short} {unit}.",
        "{Lesion}{place}: {long} x {short} {unit}.",
        "A {lesion} is seen{place}, measuring {long} {unit}.",
        "{Lesion}{place} with a long axis of {long} {unit}.",
        "A {lesion} measuring {long} {unit} x {short} {unit} is present{place}.",
        "{Lesion}{place}, up to {long} {unit}.",
        "{Lesion}{place}, approximately {long} x {short} {unit}.",
        "Note is made of a {lesion}{place}, {long} {unit} in maximum diameter.",
        "{Lesion} ({long} x {short} {unit}){place}.",
        "{Lesion} {long}x{short}{unit}{place}.",
    ),
    (
        "{Lesion} of {long} x {short} {unit}{place}.",
        "Within the scan, {long} x {short} {unit} {lesion}{place}.",
        "{Lesion}{place}, size {long} x {short} {unit}.",
        "There is evidence of a {lesion}{place} measuring approximately {long} x {short} {unit}.",
        "{Lesion} identified{place}, largest dimension {long} {unit}.",
        "The {lesion}{place} measures {long} x {short} {unit}.",
        "A {long}-{unit} {lesion} is located{place}.",
    ),
)
DENSITY = _w(
    (
        "{density} {lesion}{place}.",
        "{Lesion}{place}, {density}.",
        "{Lesion}{place}, {density}, {hu} {hu_unit}.",
        "{Lesion}{place}, {hu} {hu_unit}.",
        "A {density} {lesion} is noted{place}.",
        "{Lesion}{place} of {hu} {hu_unit}.",
        "The {lesion}{place} measures {hu} {hu_unit}.",
    ),
    (
        "The {lesion}{place} is {density}.",
        "{Lesion}{place} appears {density}.",
        "{Lesion}{place} with attenuation of {hu} {hu_unit}.",
        "{Lesion}{place}, density {hu} {hu_unit}.",
    ),
)
COUNT = _w(
    (
        "{count} {lesions}.",
        "There are {count} {lesions}.",
        "{count} {lesions}, the largest {long} x {short} {unit}.",
        "{count} {lesions}, the largest measuring {long} {unit}.",
        "{count} {lesions}, measuring up to {long} {unit}.",
        "{count} {lesions} are seen, the largest of which measures {long} x {short} {unit}.",
        "A total of {count} {lesions} up to {long} {unit}.",
        "{count} {lesions} are present.",
        "{count} {lesions}; the largest is {long} {unit}.",
    ),
    (
        "{count} {lesions} are identified, measuring up to {long} {unit}.",
        "{count} {lesions} with the largest measuring {long} x {short} {unit}.",
        "The scan shows {count} {lesions}.",
        "{Lesions}, {count} in number.",
        "{count} {lesions} can be seen.",
    ),
)
ABSENT = _w(
    (
        "No {lesion}.",
        "No evidence of {lesion}.",
        "There is no {lesion}.",
        "No {lesion} is identified.",
        "A {lesion} is not seen.",
        "Negative for {lesion}.",
        "Without evidence of {lesion}.",
        "No {lesion} is seen.",
        "{Lesion}: none.",
        "No {lesion} detected.",
        "No sign of {lesion}.",
        "{Lesion} is absent.",
        "{Lesion} was not found.",
    ),
    (
        "{Lesion} not identified.",
        "There is no evidence of {lesion}.",
        "No {lesion} can be seen.",
        "No {lesion} could be identified.",
        "No visible {lesion}.",
        "No {lesion} was found.",
    ),
)
SEEN = _w(
    (
        "A {lesion} is seen.",
        "{Lesion}.",
        "There is a {lesion}.",
        "Evidence of {lesion}.",
        "{Lesion} is present.",
        "{Lesion} noted.",
        "A {lesion} is identified.",
        "Findings include a {lesion}.",
        "Presence of {lesion}.",
    ),
    ("The scan shows a {lesion}.", "{Lesion} was found.", "Positive for {lesion}."),
)
OPEN = _w(
    (
        "{What} were not assessed.",
        "{What} not assessed.",
        "{What} were not evaluated.",
        "{What} could not be assessed.",
        "{What}: not assessed.",
        "Assessment of {what} was not performed.",
        "{What} cannot be evaluated.",
    ),
    ("{What} are not assessable.", "No assessment of {what} was made.", "{What} have not been assessed."),
)
LEVEL = _w(
    (
        "{Lesion} at {level}.",
        "{Lesion} of {level}.",
        "There is a {lesion} at {level}.",
        "{level} {lesion}.",
        "A {lesion} is seen at {level}.",
        "{Lesion} is noted at {level}.",
        "{Lesion}, {level}.",
    ),
    ("The {level} vertebra shows a {lesion}.", "{Level}: {lesion}.", "{Lesion} involving {level}."),
)
TECHNIQUE = _w(
    (
        "{count} axial slices at {spacing} mm spacing, coverage {coverage} {unit}.",
        "{count} slices, spacing {spacing} mm, coverage {coverage} {unit}.",
        "{count} axial images, slice spacing {spacing} mm, covering {coverage} {unit}.",
        "Coverage of {coverage} {unit} with {count} slices.",
    ),
    (
        "The scan comprises {count} slices with {spacing} mm spacing.",
        "{coverage} {unit} of coverage in {count} axial slices.",
    ),
)
PHASE = _w(
    (
        "{Phase}.",
        "{Phase} phase.",
        "Contrast phase: {phase}.",
        "The scan is in the {phase} phase.",
        "Imaged in the {phase} phase.",
        "{Phase} phase CT.",
        "Phase of contrast: {phase}.",
    ),
    ("{Phase} phase of contrast.", "The phase is {phase}.", "CT in the {phase} phase."),
)
PHASE_OPEN = _w(
    (
        "Contrast phase uncertain, possibly {phase}.",
        "Contrast phase unclear, probably {phase}.",
        "Uncertain contrast phase, possibly {phase}.",
        "The contrast phase is uncertain, likely {phase}.",
        "Possibly {phase} phase; contrast phase uncertain.",
    ),
    ("The phase of contrast is unclear; it is probably {phase}.", "Contrast phase not certain, presumably {phase}."),
)
#: Category of a rule -> (other true words, words that are false wherever it holds).
VERDICTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "normal in size": (
        ("normal in size", "of normal size", "not enlarged", "within normal limits in size"),
        (
            "enlarged",
            "small for an adult",
            "markedly enlarged",
            "larger than normal",
            "increased in size",
            "above the normal range",
            "not normal in size",
        ),
    ),
    "enlarged": (
        ("enlarged", "increased in size", "abnormally large"),
        (
            "normal in size",
            "not enlarged",
            "within normal limits in size",
            "small for an adult",
            "unremarkable",
            "markedly enlarged",
            "of normal size",
        ),
    ),
    "within the usual adult volume": (
        ("within the usual adult volume", "normal in size", "of normal volume", "not enlarged"),
        (
            "enlarged",
            "above the usual adult volume",
            "below the usual adult volume",
            "increased in volume",
            "outside normal limits",
        ),
    ),
    "above the usual adult volume": (
        ("above the usual adult volume", "larger than usual"),
        (
            "within the usual adult volume",
            "normal in size",
            "not enlarged",
            "below the usual adult volume",
            "unremarkable",
        ),
    ),
    "below the usual adult volume": (
        ("below the usual adult volume", "smaller than usual"),
        (
            "within the usual adult volume",
            "normal in size",
            "above the usual adult volume",
            "enlarged",
            "within normal limits",
        ),
    ),
    "of usual length": (
        ("of usual length", "normal in length", "of normal length"),
        ("long", "short", "enlarged", "not of usual length", "longer than usual"),
    ),
}


def digits(value: float, step: str) -> str:
    quantum = Decimal(step)
    number = (Decimal(repr(float(value))) / quantum).quantize(Decimal(1), ROUND_HALF_UP) * quantum
    return str(abs(number)) if number == 0 else str(number)


def _wrong_numbers(value: float, step: str, others: Sequence[float] = ()) -> tuple[str, ...]:
    """Numbers that no rounding of the value gives, nor of the others."""
    right = Decimal(digits(value, step))
    unit = Decimal(step)
    tried = [
        right + 2 * unit,
        right - 2 * unit,
        right + 7 * unit,
        right * 10,
        right + 100 * unit,
        right * 2 + unit,
        -right,
    ]
    held = [Decimal(repr(float(v))) for v in (value, *others)]
    wrong = []
    for number in tried:
        coarse = max(unit, Decimal(10) if abs(number) >= 1000 else unit)
        if all(abs(number - v) > coarse for v in held) and (number > 0 or step == "1"):
            wrong.append(str(number))
    return tuple(dict.fromkeys(wrong))


def _length(value_mm: float) -> tuple[str, str, str]:
    """(digits, unit, step) as reports write a length."""
    if value_mm >= 10:
        return digits(value_mm / 10, "0.1"), "cm", "0.1"
    return digits(value_mm, "1"), "mm", "1"


def facts(report: Report) -> Iterator[Fact]:
    """Every fact of a report that is put into words here."""
    measured = [f for f in report.findings if f.source is not Source.MODEL]
    organs = [f for f in measured if f.kind == "organ"]
    for organ in organs:
        yield from _organ(organ, organs)
    lesions = [f for f in measured if is_lesion_kind(f.kind)]
    for lesion in lesions:
        yield from _lesion(lesion, lesions)
    yield from _groups(lesions)
    yield from _open(measured)
    yield from _scan(measured)


def _organ(organ: Finding, organs: Sequence[Finding]) -> Iterator[Fact]:
    words = structure(organ.site).words
    row = structure(organ.site)
    present = {structure(f.site).words for f in organs if f.status is not Status.ABSENT}
    others = tuple(o for o in ORGANS if o not in present and o != words)
    swaps: dict[str, tuple[str, tuple[str, ...]]] = {"organ": ("organ", others)}
    other_side = next((f for f in organs if row.side and f.site == organ.site.replace(row.side, SIDES[row.side])), None)
    if row.side:
        twin = words.replace(row.side, SIDES[row.side])
        if other_side is None:
            swaps["side"] = ("organ", (twin,))
    true = {"organ": words}
    if organ.status is Status.ABSENT:
        contrary = [("inclusion", w) for w in (*WHOLE, *CUT)]
        contrary.append(("negation", Wording("The {organ} is seen.")))
        yield Fact("unseen", organ.section, (organ,), UNSEEN, true, {}, contrary)
        return
    if organ.status is not Status.PRESENT:
        yield Fact("crumbs", organ.section, (organ,), (), true, {}, [("certainty", w) for w in WHOLE])
        return
    state, opposite = (CUT, WHOLE) if organ.cut_by else (WHOLE, CUT)
    contrary = [("completeness", w) for w in opposite] + [("inclusion", w) for w in UNSEEN]
    contrary += [("negation", Wording("No {organ}.")), ("count", Wording("Two {organ}s."))]
    yield Fact("state", organ.section, (organ,), state, true, swaps, contrary)
    if (
        other_side is not None
        and other_side.status is Status.PRESENT
        and bool(other_side.cut_by) is not bool(organ.cut_by)
    ):
        pair = {"organ": f"{words} and {structure(other_side.site).words}"}
        wrong = [("completeness", w) for w in (*WHOLE, *CUT)]
        yield Fact("pair", organ.section, (organ, other_side), (), pair, {}, wrong)
    volume, mean = organ.measurement("volume"), organ.measurement("mean_hu")
    if volume is not None and not organ.cut_by and volume.value >= 10:
        step = "10" if volume.value >= 1000 else "1"
        numbers = _wrong_numbers(volume.value, step, [mean.value] if mean else [])
        false = {
            **swaps,
            "number": ("value", numbers),
            "unit": (
                "unit",
                ("cm", "mm", "HU" if mean is None or abs(mean.value - volume.value) > 1 else "mm", "percent"),
            ),
        }
        yield Fact(
            "volume",
            organ.section,
            (organ,),
            VOLUME,
            {**true, "value": digits(volume.value, step), "unit": "mL"},
            false,
        )
    if mean is not None:
        held = {digits(m.value, "1") for m in organ.measurements if m.unit == "HU"}  # of the parenchyma as well
        numbers = [n for n in _wrong_numbers(mean.value, "1", [volume.value] if volume else []) if n not in held]
        false = {**swaps, "number": ("value", numbers), "unit": ("unit", ("mm", "cm", "percent"))}
        yield Fact(
            "attenuation",
            organ.section,
            (organ,),
            ATTENUATION,
            {**true, "value": digits(mean.value, "1"), "unit": "HU"},
            false,
        )
    for verdict in organ.assessments:
        if verdict.category in VERDICTS and verdict.site == organ.site and not verdict.twin and verdict.measurements:
            yield from _verdict(organ, verdict, true, swaps)


def _verdict(organ: Finding, verdict: Assessment, true: dict[str, str], swaps: dict) -> Iterator[Fact]:
    says, never = VERDICTS[verdict.category]
    first = verdict.measurements[0]
    held = {a.category for a in organ.assessments if a is not verdict}
    also = {w for c in held for w in VERDICTS.get(c, ((), ()))[0]} | held
    never = tuple(w for w in never if w not in also)
    if first.unit == "mL":
        step = "10" if first.value >= 1000 else "1" if first.value >= 10 else "0.1"
        written, unit = digits(first.value, step), "mL"
    elif first.unit == "mm":
        written, unit, step = _length(first.value)
    else:
        return
    numbers = _wrong_numbers(first.value / 10 if unit == "cm" else first.value, step)
    for words in says:
        given = {**true, "verdict": words, "value": written, "unit": unit}
        false = {**swaps, "comparison": ("verdict", never), "number": ("value", numbers)}
        wordings = VERDICT if unit == "mL" else [w for w in VERDICT if "value" not in w.text]
        yield Fact("verdict", organ.section, (organ, verdict), wordings, given, false)


def _lesion(lesion: Finding, lesions: Sequence[Finding]) -> Iterator[Fact]:
    row = structure(lesion.kind)
    words = noun(lesion.kind, 1)
    if lesion.status is Status.ABSENT:
        name = noun(lesion.kind, 0, with_side=True)
        searched = {noun(f.kind, 0, with_side=True) for f in lesions if f.status is Status.ABSENT}
        false: dict[str, tuple[str, tuple[str, ...]]] = {}
        if row.side:
            twin = name.replace(row.side, SIDES[row.side])
            both = {"side": ("lesion", (noun(lesion.kind, 0),))}
            if twin not in searched:
                false["side"] = ("lesion", (twin, *both["side"][1]))
            else:  # true as soon as the other side is cited beside
                yield Fact("absent on one side", lesion.section, (lesion,), ABSENT, {}, both, is_settled=False)
        parent = row.parent
        if parent and name.split()[-1] in KINDS:
            wider = tuple(" ".join([*name.split()[:-1], k]) for k in (*KINDS, "lesion") if k != name.split()[-1])
            false["kind"] = ("lesion", tuple(w for w in wider if w not in searched))
        yield Fact(
            "absent", lesion.section, (lesion,), ABSENT, {"lesion": name}, false, [("negation", w) for w in SEEN]
        )
        return
    if lesion.status is not Status.PRESENT or lesion.kind in lexicon().without_size or row.kind == "fluid":
        level = lesion.level
        if lesion.status is Status.PRESENT and lesion.kind in lexicon().without_size and level:
            name = level.removeprefix("vertebrae_")
            near = [
                n for n in LEVELS if n != name and f"vertebrae_{n}" not in lesion.locations and n not in ("T13", "L6")
            ]
            given = {"lesion": words, "level": name}
            yield Fact(
                "level",
                lesion.section,
                (lesion,),
                LEVEL,
                given,
                {"level": ("level", tuple(near[::5]))},
                [("negation", w) for w in ABSENT],
                sayable_more=True,
            )
        return
    long, short = lesion.measurement("long_axis"), lesion.measurement("short_axis")
    if long is None or short is None or lesion.kind in lexicon().by_volume:
        return
    place, false = place_of(lesion, row.side)
    scale, unit, step = (10.0, "cm", "0.1") if round(long.value) >= 10 else (1.0, "mm", "1")
    lengths = [m.value / scale for m in lesion.measurements if m.unit == "mm"]
    if digits(short.value / scale, step) in ("0", "0.0"):
        return
    true = {
        "lesion": words,
        "place": place,
        "long": digits(long.value / scale, step),
        "short": digits(short.value / scale, step),
        "unit": unit,
    }
    numbers = {
        "number": ("long", _wrong_numbers(long.value / scale, step, lengths)),
        "number of the short axis": ("short", _wrong_numbers(short.value / scale, step, lengths)),
        "unit": ("unit", ("mm" if unit == "cm" else "cm", "HU")),
    }
    kind = _other_kinds(words, lesion)
    alone = sum(base_name(f.kind) == base_name(lesion.kind) for f in lesions if f.status is Status.PRESENT) == 1
    contrary = [("negation", Wording("No {lesion}{place}.")), ("negation", Wording("A {lesion}{place} is not seen."))]
    if alone:
        contrary += [("count", Wording(f"{n} {{lesion}}s{{place}}.")) for n in ("Two", "Three", "Multiple", "Numerous")]
        contrary += [("plural", Wording("{Lesion}s{place}."))] if not words.endswith(("s", "is")) else []
    contrary += [("completeness", Wording("{Lesion}{place}, incompletely imaged."))] if not lesion.cut_by else []
    host = structure(lesion.host).words if lesion.host else ""
    if host and (lesion.attenuation or lesion.measurement("mean_hu")):
        contrary.append(
            ("organ instead of lesion", Wording(f"The {host} is {lesion.attenuation or 'hypoattenuating'}."))
        )
        contrary.append(("organ instead of lesion", Wording(f"The {host} measures {{long}} {{unit}}.")))
    yield Fact("lesion", lesion.section, (lesion,), LESION, true, {**false, **numbers, **kind}, contrary, alone, True)
    mean = lesion.measurement("core_mean_hu") or lesion.measurement("mean_hu")
    if mean is not None and lesion.attenuation in DENSITIES and lesion.kind not in lexicon().without_attenuation:
        held = [m.value for m in lesion.measurements if m.unit == "HU"]
        true = {
            "lesion": words,
            "place": place,
            "density": lesion.attenuation,
            "hu": digits(mean.value, "1"),
            "hu_unit": "HU",
        }
        wrong = {
            **false,
            **kind,
            "number": ("hu", _wrong_numbers(mean.value, "1", held)),
            "unit": ("hu_unit", ("mm", "cm", "mL")),
            "attenuation": ("density", tuple(d for d in DENSITIES if d != lesion.attenuation)),
        }
        own = (lesion, *(a for a in lesion.assessments if a.status is not Status.ABSENT and a.site == lesion.site))
        yield Fact("density", lesion.section, own, DENSITY, true, wrong, is_settled=alone)


def _other_kinds(words: str, lesion: Finding) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The noun with another head, where no structure of that name holds this lesion."""
    head = words.split()[-1]
    if head not in (*KINDS, "lesion", "nodule", "mass"):
        return {}
    other = [" ".join([*words.split()[:-1], k]) for k in (*KINDS, "nodule") if k != head]
    return {"kind": ("lesion", tuple(o for o in other if o != noun(lesion.kind, 1)))}


def place_of(lesion: Finding, side: str) -> tuple[str, dict[str, tuple[str, tuple[str, ...]]]]:
    """Words for where a lesion lies, and the places where it does not."""
    segments = [n for n in lesion.locations if re.fullmatch(r"liver_segment_\d[a-z]?", n)]
    host = structure(lesion.host).words if lesion.host else ""
    if len(segments) == 1 and segments[0][-1].isdigit():
        own = SEGMENTS[int(segments[0][-1]) - 1]
        wrong = tuple(f" in segment {s}" for s in SEGMENTS if s != own)
        return f" in segment {own}", {"segment": ("place", wrong)}
    if lesion.pole and host:
        poles = tuple(f" in the {p} of the {host}" for p in POLES if p != lesion.pole)
        false = {"pole": ("place", poles)}
        if side:
            false["side"] = ("place", (f" in the {lesion.pole} of the {host.replace(side, SIDES[side])}",))
        return f" in the {lesion.pole} of the {host}", false
    if side:
        return f" on the {side}", {"side": ("place", (f" on the {SIDES[side]}", " on both sides"))}
    lobes = [n for n in lesion.locations if "lobe" in n]
    if len(lobes) == 1 == len(lesion.locations):
        words = structure(lobes[0]).words
        others = [structure(n).words for n in structures() if n.startswith("lung_") and "lobe" in n and n != lobes[0]]
        return f" in the {words}", {"lobe": ("place", tuple(f" in the {o}" for o in others))}
    if host and host not in noun(lesion.kind, 1):
        wrong = tuple(f" in the {o}" for o in ORGANS if o != host)[:5]
        return f" in the {host}", {"organ": ("place", wrong)}
    return "", {}


def _groups(lesions: Sequence[Finding]) -> Iterator[Fact]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for lesion in lesions:
        if lesion.status is Status.PRESENT and structure(lesion.kind).kind == "lesion":
            groups.setdefault((base_name(lesion.kind), lesion.section), []).append(lesion)
    for held in groups.values():
        axes = [(f.measurement("long_axis"), f.measurement("short_axis")) for f in held]
        sizes = [(a, b) for a, b in axes if a is not None and b is not None]
        if len(held) < 2 or held[0].kind in (*lexicon().without_size, *lexicon().by_volume, "lymph_node"):
            continue
        if len(sizes) < len(held):
            continue
        (long, short) = max(sizes, key=lambda pair: pair[0].value)
        scale, unit, step = (10.0, "cm", "0.1") if round(long.value) >= 10 else (1.0, "mm", "1")
        smaller = [a for a, _ in sizes if a is not long]
        lengths = [m.value / scale for f in held for m in f.measurements if m.unit == "mm"]
        if digits(short.value / scale, step) in ("0", "0.0"):
            continue
        right = Decimal(digits(long.value / scale, step))
        wrong = [digits(a.value / scale, step) for a in smaller]
        wrong = [w for w in wrong if abs(Decimal(w) - right) > 2 * Decimal(step) and Decimal(w) > 0]
        counts = [number_word(n).capitalize() for n in range(1, 9) if n != len(held)]
        counts += ["Single", "Numerous"] if len(held) < 6 else ["Single"]
        if len(held) >= len(lexicon().numerals):
            continue
        true = {
            "count": number_word(len(held)).capitalize(),
            "lesions": noun(held[0].kind, 2),
            "long": str(right),
            "short": digits(short.value / scale, step),
            "unit": unit,
        }
        false = {
            "count": ("count", tuple(counts)),
            "number": ("long", (*_wrong_numbers(long.value / scale, step, lengths), *wrong)),
            "unit": ("unit", ("mm" if unit == "cm" else "cm",)),
        }
        yield Fact(
            "count",
            held[0].section,
            tuple(held),
            COUNT,
            true,
            false,
            [("negation", Wording("No {lesions}."))],
            sayable_more=True,
        )


def _open(findings: Sequence[Finding]) -> Iterator[Fact]:
    for finding in findings:
        if finding.status is Status.NOT_ASSESSED and finding.category.startswith("focal "):
            one = finding.category.removesuffix("s")
            contrary = [
                ("certainty", Wording("No {what}.")),
                ("certainty", Wording("{What} are present.")),
                ("certainty", Wording("{What} were assessed.")),
                ("certainty", Wording(f"A {one} is seen.")),
                ("certainty", Wording("{What} are not seen.")),
            ]
            yield Fact("open", finding.section, (finding,), OPEN, {"what": finding.category}, {}, contrary)


def _scan(findings: Sequence[Finding]) -> Iterator[Fact]:
    for finding in findings:
        if finding.kind == "coverage" and finding.status is Status.PRESENT:
            count, spacing, coverage = (finding.measurement(q) for q in ("count", "slice_spacing", "coverage"))
            if count is None or spacing is None or coverage is None:
                continue
            held = [m.value for m in finding.measurements]
            true = {
                "count": digits(count.value, "1"),
                "spacing": digits(spacing.value, "0.01").rstrip("0").rstrip("."),
                "coverage": digits(coverage.value, "1"),
                "unit": "mm",
            }
            false = {
                "count": ("count", _wrong_numbers(count.value, "1", held)),
                "number": (
                    "coverage",
                    tuple(n for n in _wrong_numbers(coverage.value, "1", held) if not n.startswith("-")),
                ),
                "unit": ("unit", ("cm", "HU")),
            }
            yield Fact("technique", "technique", (finding,), TECHNIQUE, true, false)
        if finding.kind == "contrast_phase" and finding.category:
            wrong = tuple(p for p in PHASES if p != finding.category)
            false = {"phase": ("phase", wrong)}
            true = {"phase": finding.category}
            if finding.status is Status.PRESENT:
                contrary = [("certainty", w) for w in PHASE_OPEN]
                wordings = [
                    w
                    for w in PHASE
                    if finding.category != "non-contrast" or w.text in ("{Phase}.", "Contrast phase: {phase}.")
                ]
                yield Fact("phase", "technique", (finding,), wordings, true, false, contrary)
            elif finding.status is Status.INDETERMINATE:
                yield Fact("phase", "technique", (finding,), PHASE_OPEN, true, false, [("certainty", w) for w in PHASE])


def _filled(text: str, slots: dict[str, str]) -> str:
    given = {**slots, **{k.capitalize(): v[:1].upper() + v[1:] for k, v in slots.items()}}
    words = text.format_map(given)
    return words[:1].upper() + words[1:]


def _slots(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"\{(\w+)\}", text)}


def statements(fact: Fact) -> Iterator[Said]:
    """Every true wording of a fact, then every falsehood of it."""
    seen: set[str] = set()

    def said(text: str, is_true: bool, kind: str, held_out: bool) -> Iterator[Said]:
        if text not in seen:
            seen.add(text)
            yield Said(text, fact.section, fact.cited, is_true, kind, held_out, fact.is_settled)

    for wording in fact.wordings:
        if _slots(wording.text) <= set(fact.true):
            yield from said(_filled(wording.text, fact.true), True, fact.name, wording.held_out)
    for wording in fact.wordings:
        for kind, (slot, values) in fact.false.items():
            if slot in _slots(wording.text) and _slots(wording.text) <= {*fact.true, slot}:
                for value in values:
                    yield from said(_filled(wording.text, {**fact.true, slot: value}), False, kind, wording.held_out)
    for kind, wording in fact.contrary:
        yield from said(_filled(wording.text, fact.true), False, kind, wording.held_out)
    if fact.sayable_more:
        for wording in fact.wordings:
            if _slots(wording.text) <= set(fact.true):
                inner = _filled(wording.text, fact.true).rstrip(".")
                first = sum(map(ord, inner))
                for around in (NEVER_SAID[(first + n) % len(NEVER_SAID)] for n in range(0, 25, 5)):
                    text = around.format(inner if around.startswith("{}") else inner[:1].lower() + inner[1:])
                    yield from said(f"{text}.", False, "certainty or comparison", wording.held_out)


def altered(sentence: Sentence, report: Report) -> Iterator[Said]:
    """A sentence of a report in its own words with one fact wrong: number, unit, side, place, negation, count."""
    text, cited = sentence.text, sentence.findings
    if any(f.source is Source.MODEL for f in cited):
        return
    held = [Decimal(repr(m.value)) for f in cited for m in f.measurements]
    held += [v / 10 for v in held]

    def said(words: str, kind: str) -> Iterator[Said]:
        if words != text:
            yield Said(words, sentence.section, cited, False, kind)

    for match in re.finditer(r"(?<![\w.-])\d+(?:\.\d+)?(?= (?:mL|cm|mm|HU|x|axial))", text):
        number = match.group()
        step = Decimal(1).scaleb(-len(number.partition(".")[2]))
        for wrong in (Decimal(number) + 3 * step, Decimal(number) + 20 * step, Decimal(number) * 3 + 7 * step):
            coarse = Decimal(11) if wrong >= 1000 else 2 * step
            if all(abs(wrong - v) > coarse for v in held):
                yield from said(f"{text[: match.start()]}{wrong}{text[match.end() :]}", "number")
    for match in re.finditer(r"(?<=\d )(mL|cm|mm|HU)\b", text):
        swap = {"mL": "HU", "HU": "mL", "cm": "mL", "mm": "HU"}[match.group()]
        before = re.search(r"(-?\d+(?:\.\d+)?) $", text[: match.start()])
        value = Decimal(before.group(1)) if before else Decimal(0)
        if all(
            abs(value - v) > 1
            for f in cited
            for m in f.measurements
            if m.unit == swap
            for v in [Decimal(repr(m.value))]
        ):
            yield from said(text[: match.start()] + swap + text[match.end() :], "unit")
    lesion_sides = {structure(n).side for f in cited if is_lesion_kind(f.kind) for n in f.names | {f.kind}} - {""}
    if len(lesion_sides) == 1 and all(
        is_lesion_kind(f.kind) or f.site not in structures() or not structure(f.site).side for f in cited
    ):
        for match in re.finditer(r"\b([Ll]eft|[Rr]ight)\b", text):
            other = SIDES[match.group().lower()]
            other = other.capitalize() if match.group()[0].isupper() else other
            yield from said(text[: match.start()] + other + text[match.end() :], "side")
    for match in re.finditer(r"\bsegment ([IV]+)\b", text):
        own = {n for f in cited if isinstance(f, Finding) for n in f.locations}
        for position, roman in enumerate(SEGMENTS, 1):
            if not any(n.startswith(f"liver_segment_{position}") for n in own):
                yield from said(f"{text[: match.start(1)]}{roman}{text[match.end(1) :]}", "segment")
    sites = {f.site for f in cited} | {n for f in cited if isinstance(f, Finding) for n in (*f.locations, f.level)}
    for match in re.finditer(r"\b([TL]\d+)\b", text):
        for level in LEVELS[::6]:
            if f"vertebrae_{level}" not in sites:
                yield from said(text[: match.start()] + level + text[match.end() :], "level")
    for word, other in (("Two", "Three"), ("Three", "Two"), ("Four", "Six"), ("Numerous", "Two"), ("two", "four")):
        if re.match(rf"{word}\b", text):
            yield from said(text.replace(word, other, 1), "count")
    if text.startswith("No "):
        yield from said(text[3:4].upper() + text[4:], "negation")
    elif "not" not in text.split():
        yield from said(f"No {text[:1].lower()}{text[1:]}", "negation")
    for one, other, is_cut in (
        ("included in the scan", "incompletely imaged", False),
        ("incompletely imaged", "included in the scan", True),
    ):
        organs = [f for f in cited if isinstance(f, Finding) and f.kind == "organ" and f.status is Status.PRESENT]
        if text.count(one) == 1 and other not in text and organs and all(bool(f.cut_by) is is_cut for f in organs):
            yield from said(text.replace(one, other), "completeness")


def all_statements(report: Report) -> Iterator[Said]:
    """Everything that is tried on one report, each text once for each set of findings that it cites."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for source in (*(statements(f) for f in facts(report)), *(altered(s, report) for s in report.sentences)):
        for said in source:
            key = (said.text, tuple(f.id for f in said.cited))
            if key not in seen:
                seen.add(key)
                yield said
