"""Sentences as radiologists dictate them, true and false, by a grammar of its own: a second adversary of the verifier.

``falsehoods`` swaps the value in a slot; here what is false lies in the construction: passive voice, British words,
abbreviations, fractions and ranges, comparisons without a prior, denials of denials, pronouns, coordination, numbers of
lesions, certainty, relations. Truth comes from the typed findings. Each list was written before the verifier was tried
on it; nothing in the package knows of either.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from falsehoods import SIDES, digits, place_of
from radvlm.types.anatomy import LEVELS, is_lesion_kind, structure, structures
from radvlm.types.finding import Citable, Finding, Source, Status
from radvlm.types.report import Report
from radvlm.wording.vocabulary import base_name, lexicon, noun, number_word

LOBES = {
    "right upper lobe": "RUL",
    "right middle lobe": "RML",
    "right lower lobe": "RLL",
    "left upper lobe": "LUL",
    "left lower lobe": "LLL",
}
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
ORDINAL = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@dataclass(frozen=True)
class Dictated:
    """A sentence, what it may cite, whether it is true, and the construction that it comes from."""

    text: str
    section: str
    cited: tuple[Citable, ...]
    is_true: bool
    construction: str


#: The only lesion of its kind: N noun, ns plural, P place, L and S axes in cm, LM and SM in mm; w values are wrong.
TRUE_LESION = {
    "passive": "A {n}{P} was measured at {L} x {S} cm.",
    "passive, long": "A {n}{P} has been measured at {L} cm in its greatest dimension.",
    "approx.": "{N}{P}, approx. {L} cm.",
    "ca.": "{N} of ca. {LM} mm{P}.",
    "mm": "{N}{P}: {LM} x {SM} mm.",
    "mm spelled, British": "{N}{P} of {LM} by {SM} millimetres.",
    "hyphen": "{LM}-mm {n}{P}.",
    "found to": "{N}{P} was found to measure {L} cm.",
    "demonstrates": "CT demonstrates a {L} x {S} cm {n}{P}.",
    "we see": "We see a {n}{P}, {L} cm in size.",
    "one": "One {n}{P} ({L} x {S} cm).",
    "solitary": "Solitary {n}{P}, {LM} mm.",
    "its": "{N}{P}, its long axis is {L} cm.",
    "it": "{N}{P}; it measures {L} x {S} cm.",
    "two sentences": "There is a {n}{P}. It measures {L} x {S} cm.",
    "visualised": "A {n} is visualised{P}, {L} cm.",
    "w/": "{N}{P} w/ a long axis of {L} cm.",
    "up to": "{N}{P} measuring up to {L} cm.",
    "again passive": "Identified{P} is a {n} of {L} cm.",
    "short axis": "{N}{P}, short axis {S} cm.",
    "single": "A single {n} is appreciated{P}.",
    "telegram": "{P_} {n} {L} x {S} cm.",
    "in the transverse plane": "{N}{P} of {L} x {S} cm in the axial plane.",
}
TRUE_DENSITY = {
    "dense": "A {dense} {n} is seen{P}.",
    "dense, HU": "{N}{P} is {dense}, {H} HU.",
    "averaging": "{N}{P} averaging {H} HU.",
    "mean density": "{N}{P} with a mean density of {H} Hounsfield units.",
}
FALSE_LESION = {
    "passive": "A {n}{P} was measured at {wL} x {S} cm.",
    "passive, short": "A {n}{P} was measured at {L} x {wS} cm.",
    "approx.": "{N}{P}, approx. {wL} cm.",
    "inches": "{N}{P} measuring {L} in.",
    "inches spelled": "{N}{P} measuring {L} inches.",
    "range above": "{N}{P}, {wL}-{wL2} cm.",
    "range above, to": "{N}{P} measuring {wL} to {wL2} cm.",
    "up to less": "{N}{P} measuring up to {S} cm in greatest dimension.",
    "less than": "{N}{P}, less than {less} cm.",
    "more than": "{N}{P}, more than {wL} cm.",
    "at least": "{N}{P} of at least {wL} cm.",
    "under a centimetre": "{N}{P} under {less} centimetres.",
    "< sign": "{N}{P} < {less} cm.",
    "fraction": "{N}{P}, a quarter of a centimetre in size.",
    "one and a half": "{N}{P}, nine and a half centimetres.",
    "number words": "{N}{P} of nineteen centimetres.",
    "mm for cm": "{N}{P} measuring {L} mm.",
    "no longer": "The {n}{P} is no longer seen.",
    "resolved": "The previously noted {n}{P} has resolved.",
    "resolution": "Interval resolution of the {n}{P}.",
    "stable": "Stable {n}{P}, {L} cm.",
    "grown": "{N}{P}, now {L} cm, previously smaller.",
    "new": "Newly appeared {n}{P}, {L} x {S} cm.",
    "shrunk": "{N}{P} has decreased to {L} cm.",
    "not unlike prior": "{N}{P} is the same as before.",
    "multiple": "Multiple {ns}{P}.",
    "several": "Several {ns} up to {L} cm.",
    "two": "Two {ns}, the larger {L} cm.",
    "both sides": "Bilateral {ns}.",
    "b/l": "B/l {ns}.",
    "no": "No {n}{P} on this study.",
    "w/o": "W/o {n}.",
    "not": "{N} is not present{P}.",
    "ruled out": "{N}{P} has been ruled out.",
    "negative": "Examination negative for {n}.",
    "definite malignancy": "{N}{P}, {L} cm, diagnostic of malignancy.",
    "metastasis": "{N}{P} representing a definite metastasis.",
    "benign": "{N}{P} of {L} cm, certainly benign.",
    "abutting": "{N}{P}, {L} cm, abutting the {elsewhere}.",
    "invading": "{N}{P}, {L} cm, invading the {elsewhere}.",
    "adjacent": "{N}{P} adjacent to the {elsewhere}.",
    "extends": "{N}{P}, {L} cm, extends into the {elsewhere}.",
    "ruptured": "Ruptured {n}{P}.",
    "enhancing": "Avidly enhancing {n}{P}, {L} cm.",
    "calcified": "Partly calcified {n}{P}, {L} cm.",
    "cystic": "Necrotic {n}{P}, {L} cm.",
    "in other organ": "A {L} cm {n} in the {elsewhere}.",
    "at least one": "At least three {ns}{P}.",
    "possible": "Questionable {n}{P}, {L} cm.",
    "it": "{N}{P}; it measures {wL} x {S} cm.",
    "two sentences": "There is a {n}{P}. It measures {wL} cm.",
    "swapped axes": "{N}{P}, long axis {S} cm, short axis {L} cm.",
    "not smaller": "{N}{P}, not smaller than {wL} cm.",
    "none larger": "No {n} larger than {less} cm.",
    "besides": "{N}{P} and a second one of {L} cm.",
    "three axes": "{N}{P}, {L} x {S} x {wL} cm.",
    "area": "{N}{P} with an area of {L} cm2.",
    "volume": "{N}{P} with a volume of {wL} mL.",
    "s/p": "S/p resection of the {n}{P}.",
    "decimal": "{N}{P} measuring {L10} cm.",
}
FALSE_DENSITY = {
    "wrong dense": "A {wdense} {n} is seen{P}.",
    "wrong dense, right HU": "{N}{P} is {wdense}, {H} HU.",
    "not dense": "{N}{P}, not {dense}, {H} HU.",
    "sign": "{N}{P} averaging -{Habs1} HU.",
    "HU range": "{N}{P} of {wH} to {wH2} HU.",
    "HU below": "{N}{P} of less than {wHless} HU.",
    "HU in cm": "{N}{P}, {H} cm.",
    "organ": "The {host} is {dense}, {H} HU.",
}
TRUE_SEGMENT = {
    "digit": "{N} in segment {d}, {L} x {S} cm.",
    "hepatic segment": "{L} cm {n} in hepatic segment {r}.",
    "liver segment": "{N} in liver segment {d}, {LM} mm.",
    "of the liver": "{N} in segment {r} of the liver, {L} x {S} cm.",
}
FALSE_SEGMENT = {
    "digit": "{N} in segment {wd}, {L} x {S} cm.",
    "slash": "{N} in segments {d}/{wd}, {L} cm.",
    "slash, wrong": "{N} in segments {wd}/{wd2}.",
    "ordinal": "{N} in the {word} segment, {L} cm.",
    "and": "{N} in segments {r} and {wr}.",
    "range": "{N} in segments {r}-{wr}.",
    "not": "{N}, {L} cm, not in segment {r}.",
    "hepatic segment": "{L} cm {n} in hepatic segment {wr}.",
    "border": "{N} at the border of segments {d} and {wd}.",
}
TRUE_SIDE = {
    "sided": "{Side}-sided {bare}, {L} x {S} cm.",
    "abbr": "{Ab} {bare}, {L} cm.",
    "on the": "{Bare} on the {side}, {L} cm.",
}
FALSE_SIDE = {
    "sided": "{Other}-sided {bare}, {L} x {S} cm.",
    "abbr": "{Oab} {bare}, {L} cm.",
    "contralateral": "{Bare} in the contralateral {pair}.",
    "and contralateral": "{N}, {L} cm, and another in the contralateral {pair}.",
    "both": "{Bares} in both {pairs}.",
    "bilateral": "Bilateral {bares}, up to {L} cm.",
    "other organ": "{Bare} of the {other} {pair}, {L} cm.",
    "not the": "{Bare} in the {other}, not the {side} {pair}.",
}
TRUE_LOBE = {"abbr": "{abbr} {n}, {L} x {S} cm.", "in the abbr": "{N} in the {abbr}, {L} cm."}
FALSE_LOBE = {
    "abbr": "{wabbr} {n}, {L} x {S} cm.",
    "in the abbr": "{N} in the {wabbr}, {L} cm.",
    "slash": "{abbr}/{wabbr} {n}, {L} cm.",
    "both": "{N} in the {abbr} and {wabbr}.",
    "lingula": "{N} in the lingula, {L} cm.",
}
TRUE_POLE = {"at the pole": "{N} at the {pole} of the {host}, {L} cm.", "polar": "{L} x {S} cm {n}, {pole} {host}."}
FALSE_POLE = {"at the pole": "{N} at the {wpole} of the {host}, {L} cm.", "exophytic": "Exophytic {n}, {pole}, {L} cm."}

TRUE_WHOLE = {
    "whole of": "The whole of the {o} is imaged.",
    "passive": "The {o} has been completely imaged.",
    "British": "The {o} is fully visualised.",
    "dash": "{O} - completely included.",
    "scan covers": "The scan covers the entire {o}.",
}
TRUE_VOLUME = {
    "cc": "{O} volume is approx. {v} cc.",
    "ml": "{O} with volume of {v} ml.",
    "passive": "The volume of the {o} was measured at {v} mL.",
    "millilitres": "The {o} has a volume of {v} millilitres.",
    "volumetry": "{O}: {v} mL by volumetry.",
}
TRUE_HU = {
    "averages": "The attenuation of the {o} averages {h} HU.",
    "passive": "Mean attenuation of the {o} was measured at {h} HU.",
    "density": "{O} density {h} Hounsfield units.",
    "CT number": "Average CT number of the {o} is {h} HU.",
}
FALSE_WHOLE = {
    "cut": "The {o} is cut off at the edge of the scan.",
    "lower part": "The lower part of the {o} is not covered.",
    "only": "Only the top of the {o} is imaged.",
    "absent": "The {o} is surgically absent.",
    "removed": "S/p removal of the {o}.",
    "not seen": "{O} n/a.",
    "atrophic": "The {o} is atrophic.",
    "normal": "{O} is otherwise normal and unchanged.",
    "two": "There are two {o}s.",
    "almost": "The {o} is almost entirely imaged.",
    "mostly": "Most of the {o} is imaged.",
}
FALSE_VOLUME = {
    "cc": "{O} volume is approx. {wv} cc.",
    "litres": "{O} volume {v} L.",
    "half": "The volume of the {o} is half of {v} mL.",
    "more": "{O} volume exceeds {wv} mL.",
    "range": "{O} volume {wv}-{wv2} mL.",
    "grown": "{O} volume has increased to {v} mL.",
    "was": "{O} volume {v} mL, previously {wv} mL.",
    "cm": "The {o} measures {v} cm.",
    "g": "The {o} weighs {v} g.",
    "percent": "The {o} is {v} percent of normal.",
}
FALSE_HU = {
    "averages": "The attenuation of the {o} averages {wh} HU.",
    "negative": "Mean attenuation of the {o} was minus {hm} HU.",
    "above": "The {o} averages above {wh} HU.",
    "denser": "The {o} is denser than the {elsewhere}.",
    "fatty": "Diffuse fatty change of the {o}, {h} HU.",
    "heterogeneous": "The {o} is heterogeneous, {h} HU.",
}
TRUE_CUT = {
    "not all": "Not all of the {o} is imaged.",
    "incomplete": "Incomplete coverage of the {o}.",
    "part": "Part of the {o} lies outside the field of view.",
    "passive": "The {o} was only partly covered by the scan.",
    "British": "The {o} is incompletely visualised.",
}
FALSE_CUT = {
    "not incompletely": "The {o} is not incompletely imaged.",
    "no part": "No part of the {o} lies outside the scan.",
    "nearly": "The {o} is imaged from top to bottom.",
    "entire": "The scan covers the entire {o}.",
    "whole": "The {o} is well seen throughout.",
    "half": "Half of the {o} is imaged.",
    "90": "90 percent of the {o} is imaged.",
    "resected": "The {o} is partly resected.",
    "total": "Total volume of the {o} was obtained.",
    "not cut": "The {o} is not cut off by the field of view.",
}
TRUE_UNSEEN = {
    "vis": "The {o} is not visualised.",
    "fov": "{O} not in the field of view.",
    "identify": "We cannot identify the {o}.",
}
FALSE_UNSEEN = {
    "normal": "The {o} is unremarkable.",
    "small": "The {o} is small.",
    "partly": "The {o} is just visible at the edge.",
    "resected": "The {o} has been resected.",
    "seen": "The {o} is seen and normal.",
    "incl": "Images include the {o}.",
    "not not": "It is not true that the {o} is not seen.",
}
TRUE_ABSENT = {
    "w/o": "W/o {a}.",
    "vis": "No {a} visualised.",
    "absence": "Absence of {a}.",
    "this CT": "No {a} on this CT.",
    "passive": "No {a} was demonstrated.",
    "not any": "There is not any {a}.",
    "appreciated": "{A} is not appreciated.",
    "free": "Free of {a}.",
    "neither": "No {a} is depicted on this examination.",
}
FALSE_ABSENT = {
    "trace": "Trace {a}.",
    "small": "Small {a}.",
    "double": "It is not true that there is no {a}.",
    "not without": "Not without {a}.",
    "cannot exclude": "{A} cannot be excluded.",
    "no longer": "{A} is no longer present.",
    "resolved": "{A} has resolved.",
    "no new": "No new {a}.",
    "residual": "No residual {a}.",
    "only": "Only {a}.",
    "no other": "No other {a}.",
    "further": "No further {a}.",
    "there": "{A} is there.",
    "except": "Nothing except {a}.",
    "positive": "Study positive for {a}.",
    "multiple": "Multiple {as_}.",
    "suspected": "Suspected {a}.",
    "unchanged": "Unchanged {a}.",
    "at least one": "At least one {a}.",
}
TRUE_FLUID = {
    "volume of": "{Fluid} with a volume of {v} mL.",
    "cc": "{Fluid}, approx. {v} cc.",
    "passive": "{Fluid} was found, {v} mL.",
    "there is": "There is {fluid} of {v} mL.",
    "vis": "{Fluid} is visualised.",
}
FALSE_FLUID = {
    "volume": "{Fluid} with a volume of {wv} mL.",
    "litres": "{Fluid}, {v} litres.",
    "no": "No significant {fluid}.",
    "resolved": "{Fluid} has resolved.",
    "trace": "Trace {fluid}.",
    "massive": "Massive {fluid} with midline shift.",
    "haemorrhagic": "Haemorrhagic {fluid}, {v} mL.",
    "loculated": "Loculated {fluid}, {v} mL.",
    "stable": "Stable {fluid}, {v} mL.",
    "up to": "{Fluid} of up to {less} mL.",
    "drained": "{Fluid} after drainage, {v} mL.",
    "bilateral": "Bilateral {fluid}.",
}
TRUE_LEVELS = {
    "through": "Vertebrae {a} through {b} are completely imaged.",
    "dash": "{a}-{b} vertebrae are fully included.",
    "from": "The vertebrae from {a} to {b} are included in the scan.",
    "spine": "Vertebrae {a}-{b} included in the scan.",
}
FALSE_LEVELS = {
    "wider above": "Vertebrae {up}-{b} are completely imaged.",
    "wider below": "Vertebrae {a} through {down} are fully included.",
    "other": "{up}-{down} vertebrae are fully included.",
    "fracture": "Compression fracture of {a}.",
    "heights": "Vertebral heights {a}-{b} are reduced.",
    "except": "Vertebrae {a} to {b} except {b} are included in the scan.",
    "cut": "Vertebrae {a}-{b} are cut off.",
    "end": "The scan ends at {up}.",
}
TRUE_COUNT = {
    "largest": "{Num} {ns}, largest {L} cm.",
    "digit": "{digit} {ns} measuring up to {L} cm.",
    "passive": "{Num} {ns} were identified.",
    "total": "A total of {num} {ns} is seen, the biggest being {L} x {S} cm.",
}
FALSE_COUNT = {
    "solitary": "Solitary {n}, {L} cm.",
    "one": "One {n} is identified.",
    "a": "A single {n} of {L} cm.",
    "more": "{More} {ns}, largest {L} cm.",
    "less": "At most one {n}.",
    "all over": "{Num} {ns}, each larger than {L} cm.",
    "smallest": "{Num} {ns}, the smallest measuring {L} cm.",
    "all": "{Num} {ns}, all measuring {L} cm.",
    "fewer": "Fewer than two {ns}.",
    "dozens": "Dozens of {ns}.",
    "innumerable": "Innumerable {ns}.",
    "stable": "{Num} stable {ns}.",
    "no": "None of the {ns} persists.",
    "average": "{Num} {ns} with an average size of {L} cm.",
}


def reports_facts(report: Report, lists: Lists) -> Iterator[Dictated]:
    """Every sentence of a pair of lists about a report, each once."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    measured = [f for f in report.findings if f.source is not Source.MODEL]
    for source in (
        _lesions(measured, lists),
        _organs(measured, lists),
        _absent(measured, lists),
        _levels(measured, lists),
        _coordinated(measured, lists),
    ):
        for said in source:
            key = (said.text, tuple(f.id for f in said.cited))
            if key not in seen:
                seen.add(key)
                yield said


@dataclass(frozen=True)
class Lists:
    """Wordings by what they speak of; ``true`` and ``false`` map a construction to a wording."""

    true: dict[str, dict[str, str]]
    false: dict[str, dict[str, str]]


FIRST = Lists(
    {
        "lesion": TRUE_LESION,
        "density": TRUE_DENSITY,
        "segment": TRUE_SEGMENT,
        "side": TRUE_SIDE,
        "lobe": TRUE_LOBE,
        "pole": TRUE_POLE,
        "whole": TRUE_WHOLE,
        "volume": TRUE_VOLUME,
        "hu": TRUE_HU,
        "cut": TRUE_CUT,
        "unseen": TRUE_UNSEEN,
        "absent": TRUE_ABSENT,
        "fluid": TRUE_FLUID,
        "levels": TRUE_LEVELS,
        "count": TRUE_COUNT,
        "both whole": {
            "both": "Both the {o} and the {p} are completely imaged.",
            "and": "{O} and {p} are entirely included.",
            "as well as": "The {o} as well as the {p} are fully visualised.",
        },
        "one cut": {
            "but": "The {o} is completely imaged but the {p} is not.",
            "whereas": "The {o} is included in the scan; the {p} is incompletely imaged.",
        },
        "both absent": {"neither": "Neither {a} nor {b} is seen.", "or": "No {a} or {b} visualised."},
    },
    {
        "lesion": FALSE_LESION,
        "density": FALSE_DENSITY,
        "segment": FALSE_SEGMENT,
        "side": FALSE_SIDE,
        "lobe": FALSE_LOBE,
        "pole": FALSE_POLE,
        "whole": FALSE_WHOLE,
        "volume": FALSE_VOLUME,
        "hu": FALSE_HU,
        "cut": FALSE_CUT,
        "unseen": FALSE_UNSEEN,
        "absent": FALSE_ABSENT,
        "fluid": FALSE_FLUID,
        "levels": FALSE_LEVELS,
        "count": FALSE_COUNT,
        "both whole": {
            "neither": "Neither the {o} nor the {p} is completely imaged.",
            "former": "The {o} and {p} are imaged, the latter only in part.",
            "either": "Either the {o} or the {p} is completely imaged.",
        },
        "one cut": {
            "and": "The {o} and {p} are completely imaged.",
            "both": "Both the {o} and the {p} are fully visualised.",
            "swapped": "The {p} is included in the scan; the {o} is incompletely imaged.",
            "neither": "Neither the {o} nor the {p} is completely imaged.",
            "both cut": "The {o} and {p} are incompletely imaged.",
            "as well as": "The {p} as well as the {o} are completely included.",
            "with": "The {o} with the {p} is included in the scan.",
            "respectively": "The {p} and {o} are completely and incompletely imaged respectively.",
        },
        "both absent": {"but": "No {a} but {b}.", "either": "Either {a} or {b}.", "one": "{A} without {b}."},
        "two normal": {
            "size": "The {o} and {p} are of normal size.",
            "both": "Both the {o} and the {p} are normal in size.",
            "list": "{O}, {p}: normal in size.",
            "not": "Neither the {o} nor the {p} is enlarged.",
            "clear": "{O} and {p} are normal.",
        },
    },
)


def _said(
    lists: Lists, group: str, slots: dict[str, str], section: str, cited: tuple[Citable, ...]
) -> Iterator[Dictated]:
    for is_true, held in ((True, lists.true), (False, lists.false)):
        for name, wording in held.get(group, {}).items():
            wanted = set(re.findall(r"\{(\w+)\}", wording))
            if wanted <= set(slots):
                words = " ".join(wording.format_map(slots).split())
                yield Dictated(words[:1].upper() + words[1:], section, cited, is_true, f"{group}: {name}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _elsewhere(lesion: Finding) -> str:
    """An organ that the lesion neither lies in nor is said to be near."""
    near = {lesion.host, lesion.site, *lesion.locations, *(a.site for a in lesion.assessments)}
    near |= {m.target for m in lesion.measurements if getattr(m, "target", "")}
    section = {structure(n).parent for n in near if n in structures()} | near
    return next(structure(n).words for n in ("brain", "urinary_bladder", "heart", "spleen") if n not in section)


def _lesions(measured: list[Finding], lists: Lists) -> Iterator[Dictated]:
    lesions = [f for f in measured if is_lesion_kind(f.kind) and f.status is Status.PRESENT]
    groups: dict[str, list[Finding]] = {}
    for lesion in lesions:
        groups.setdefault(base_name(lesion.kind), []).append(lesion)
    for held in groups.values():
        one = held[0]
        if structure(one.kind).kind == "fluid" and len(held) == 1:
            yield from _fluid(one, lists)
        if one.kind in (*lexicon().without_size, *lexicon().by_volume) or structure(one.kind).kind == "fluid":
            continue
        if any(f.measurement("long_axis") is None or f.measurement("short_axis") is None for f in held):
            continue
        if len(held) == 1:
            yield from _one(one, lists)
        elif one.kind != "lymph_node":
            yield from _several(held, lists)


def _axes(lesion: Finding) -> tuple[float, float]:
    long, short = lesion.measurement("long_axis"), lesion.measurement("short_axis")
    assert long is not None and short is not None
    return long.value, short.value


def _one(lesion: Finding, lists: Lists) -> Iterator[Dictated]:
    long, short = _axes(lesion)
    if digits(short, "1") in ("0", "1", "2") or digits(long / 10, "0.1") == digits(short / 10, "0.1"):
        return
    side = structure(lesion.kind).side
    place, _ = place_of(lesion, side)
    n, ns = noun(lesion.kind, 1), noun(lesion.kind, 2)
    cm = lambda v: digits(v / 10, "0.1")  # noqa: E731
    slots = {
        "n": n,
        "N": _capital(n),
        "ns": ns,
        "P": place,
        "P_": place.removeprefix(" in the ").removeprefix(" in ").removeprefix(" on the "),
        "L": cm(long),
        "S": cm(short),
        "LM": digits(long, "1"),
        "SM": digits(short, "1"),
        "wL": cm(long + 9 + 0.3 * long),
        "wL2": cm(long + 19 + 0.3 * long),
        "wS": cm(short * 0.5 - 1) if short > 8 else cm(short + 17),
        "less": cm(max(2.0, short * 0.5)),
        "L10": cm(10 * long),
        "elsewhere": _elsewhere(lesion),
    }
    where = (lesion,)
    yield from _said(lists, "lesion", slots, lesion.section, where)
    mean = lesion.measurement("core_mean_hu") or lesion.measurement("mean_hu")
    short_words = {"hypoattenuating": "hypodense", "hyperattenuating": "hyperdense", "isoattenuating": "isodense"}
    if mean is not None and lesion.attenuation in short_words and lesion.kind not in lexicon().without_attenuation:
        value = mean.value
        held = [m.value for m in lesion.measurements if m.unit == "HU"]
        if abs(value) > 2:
            density = {
                **slots,
                "H": digits(value, "1"),
                "dense": short_words[lesion.attenuation],
                "wdense": next(w for k, w in short_words.items() if k != lesion.attenuation),
                "Habs1": digits(abs(value) if value > 0 else abs(value) + 11, "1"),
                "wH": digits(max(held) + 20, "1"),
                "wH2": digits(max(held) + 40, "1"),
                "wHless": digits(min(held) - 20, "1"),
                "host": structure(lesion.host).words if lesion.host else "brain",
            }
            if cm(value * 10) != slots["L"]:
                yield from _said(lists, "density", density, lesion.section, where)
    yield from _places(lesion, lists, slots)


def _places(lesion: Finding, lists: Lists, slots: dict[str, str]) -> Iterator[Dictated]:
    where, side = (lesion,), structure(lesion.kind).side
    segments = [x for x in lesion.locations if re.fullmatch(r"liver_segment_\d", x)]
    if len(segments) == 1 == len([x for x in lesion.locations if x.startswith("liver_segment")]):
        at = int(segments[0][-1])
        wrong, second = (at + 2) % 8 + 1, (at + 4) % 8 + 1
        given = {
            **slots,
            "d": str(at),
            "r": ROMAN[at - 1],
            "wd": str(wrong),
            "wr": ROMAN[wrong - 1],
            "wd2": str(second),
            "word": ORDINAL[wrong - 1],
        }
        yield from _said(lists, "segment", given, lesion.section, where)
    if side and lesion.host and structure(lesion.host).side == side:
        host = structure(lesion.host).words.replace(f"{side} ", "")
        bare = slots["n"].replace(f"{side} ", "")
        bares = slots["ns"].replace(f"{side} ", "")
        given = {
            **slots,
            "side": side,
            "Side": _capital(side),
            "other": SIDES[side],
            "Other": _capital(SIDES[side]),
            "Ab": {"left": "Lt", "right": "Rt"}[side],
            "Oab": {"left": "Rt", "right": "Lt"}[side],
            "bare": bare,
            "Bare": _capital(bare),
            "bares": bares,
            "Bares": _capital(bares),
            "pair": host,
            "pairs": f"{host}s",
        }
        yield from _said(lists, "side", given, lesion.section, where)
    lobes = [structure(x).words for x in lesion.locations if "lobe" in x]
    if len(lobes) == 1 == len(lesion.locations) and lobes[0] in LOBES:
        wrong_lobe = next(w for w in LOBES if w.split()[0] != lobes[0].split()[0])
        given = {**slots, "abbr": LOBES[lobes[0]], "wabbr": LOBES[wrong_lobe], "lobe": lobes[0], "wlobe": wrong_lobe}
        yield from _said(lists, "lobe", given, lesion.section, where)
    if lesion.pole and lesion.host:
        poles = ("upper pole", "lower pole", "interpolar region")
        given = {
            **slots,
            "pole": lesion.pole,
            "wpole": next(p for p in poles if p != lesion.pole),
            "host": structure(lesion.host).words,
        }
        yield from _said(lists, "pole", given, lesion.section, where)


def _several(held: list[Finding], lists: Lists) -> Iterator[Dictated]:
    largest = max(held, key=lambda f: _axes(f)[0])
    long, short = _axes(largest)
    others = sorted((_axes(f)[0] for f in held), reverse=True)
    if others[0] - others[1] < 2 or len(held) > 9 or len({f.kind for f in held}) > 1:
        return
    slots = {
        "n": noun(held[0].kind, 1),
        "ns": noun(held[0].kind, 2),
        "NS": _capital(noun(held[0].kind, 2)),
        "num": number_word(len(held)),
        "Num": _capital(number_word(len(held))),
        "digit": str(len(held)),
        "More": _capital(number_word(len(held) + 1)),
        "more": number_word(len(held) + 1),
        "L": digits(long / 10, "0.1"),
        "S": digits(short / 10, "0.1"),
        "LM": digits(long, "1"),
        "wL": digits((long * 1.3 + 9) / 10, "0.1"),
    }
    yield from _said(lists, "count", slots, held[0].section, tuple(held))


def _fluid(lesion: Finding, lists: Lists) -> Iterator[Dictated]:
    volume = lesion.measurement("volume")
    if volume is None or volume.value < 10 or lesion.kind in ("pneumothorax_left", "pneumothorax_right"):
        return
    words = noun(lesion.kind, 0, with_side=True)
    slots = {
        "fluid": words,
        "Fluid": _capital(words),
        "v": digits(volume.value, "1"),
        "wv": digits(volume.value * 1.6 + 30, "1"),
        "less": digits(volume.value * 0.5, "1"),
    }
    yield from _said(lists, "fluid", slots, lesion.section, (lesion,))


def _organs(measured: list[Finding], lists: Lists) -> Iterator[Dictated]:
    skipped = ("vertebrae", "rib_", "liver_segment", "lung_")
    shown = 0
    for organ in measured:
        if organ.kind != "organ" or organ.site.startswith(skipped):
            continue
        words = structure(organ.site).words
        if words.endswith("s") and not words.endswith(("us", "as")):
            continue
        slots = {"o": words, "O": _capital(words), "elsewhere": "brain" if organ.site != "brain" else "heart"}
        if organ.status is Status.ABSENT:
            yield from _said(lists, "unseen", slots, organ.section, (organ,))
        if organ.status is not Status.PRESENT:
            continue
        group = "cut" if organ.cut_by else "whole"
        shown += 1
        yield from _said(lists, group, slots, organ.section, (organ,))
        volume, mean = organ.measurement("volume"), organ.measurement("mean_hu")
        if volume is not None and not organ.cut_by and 20 <= volume.value < 1000:
            given = {
                **slots,
                "v": digits(volume.value, "1"),
                "wv": digits(volume.value * 1.4 + 20, "1"),
                "wv2": digits(volume.value * 1.4 + 60, "1"),
            }
            yield from _said(lists, "volume", given, organ.section, (organ,))
        if mean is not None and abs(mean.value) > 3:
            held = [m.value for m in organ.measurements if m.unit == "HU"]
            given = {
                **slots,
                "h": digits(mean.value, "1"),
                "wh": digits(max(held) + 15, "1"),
                "hm": digits(abs(mean.value) if mean.value > 0 else abs(mean.value) + 9, "1"),
            }
            yield from _said(lists, "hu", given, organ.section, (organ,))


def _absent(measured: list[Finding], lists: Lists) -> Iterator[Dictated]:
    absent = [
        f for f in measured if is_lesion_kind(f.kind) and f.status is Status.ABSENT and not structure(f.kind).side
    ]
    for lesion in absent[:6]:
        a = noun(lesion.kind, 0)
        slots = {"a": a, "A": _capital(a), "as_": noun(lesion.kind, 2)}
        yield from _said(lists, "absent", slots, lesion.section, (lesion,))
    pairs = [(f, g) for f, g in itertools.pairwise(absent) if f.section == g.section]
    for one, other in pairs[:3]:
        slots = {"a": noun(one.kind, 0), "b": noun(other.kind, 0), "A": _capital(noun(one.kind, 0))}
        yield from _said(lists, "both absent", slots, one.section, (one, other))


def _levels(measured: list[Finding], lists: Lists) -> Iterator[Dictated]:
    whole = [
        f.site.removeprefix("vertebrae_")
        for f in measured
        if f.kind == "organ"
        and f.site.removeprefix("vertebrae_") in LEVELS
        and f.status is Status.PRESENT
        and not f.cut_by
    ]
    usual = [x for x in LEVELS if x not in ("T13", "L6", "S1")]
    at = sorted(usual.index(x) for x in whole if x in usual)
    if len(at) < 3 or at != list(range(at[0], at[-1] + 1)) or at[0] < 1 or at[-1] + 1 >= len(usual):
        return
    cited = tuple(f for f in measured if f.kind == "organ" and f.site.removeprefix("vertebrae_") in whole)
    slots = {"a": usual[at[0]], "b": usual[at[-1]], "up": usual[at[0] - 1], "down": usual[at[-1] + 1]}
    yield from _said(lists, "levels", slots, "bones", cited)


def _coordinated(measured: list[Finding], lists: Lists) -> Iterator[Dictated]:
    organs = [
        f
        for f in measured
        if f.kind == "organ"
        and f.status is Status.PRESENT
        and not f.site.startswith(("vertebrae", "rib_", "liver_segment", "lung_"))
        and not structure(f.site).words.endswith("s")
    ]

    def given(one: Finding, other: Finding) -> dict[str, str]:
        o, p = structure(one.site).words, structure(other.site).words
        return {"o": o, "p": p, "O": _capital(o), "P": _capital(p)}

    whole, cut = [f for f in organs if not f.cut_by], [f for f in organs if f.cut_by]
    for one, other in list(itertools.pairwise(whole))[:4]:
        yield from _said(lists, "both whole", given(one, other), one.section, (one, other))
    for one, other in list(zip(whole, cut, strict=False))[:4]:
        yield from _said(lists, "one cut", given(one, other), one.section, (one, other))
    large = [
        f for f in organs if any(a.category in ("enlarged", "above the usual adult volume") for a in f.assessments)
    ]
    usual = [
        f
        for f in organs
        if any(a.category in ("normal in size", "within the usual adult volume") for a in f.assessments)
    ]
    for one in usual[:2]:
        for other in large[:2]:
            cited = (one, *one.assessments, other, *other.assessments)
            yield from _said(lists, "two normal", given(one, other), one.section, cited)


#: Written after what the first list showed was mended, and before the verifier was tried on it.
SECOND = Lists(
    {
        "lesion": {
            "in size": "{L} x {S} cm in size, a {n}{P}.",
            "diameters": "{N}{P} with diameters of {L} and {S} cm.",
            "maximal": "{N}{P}, maximal diameter {LM} mm.",
            "clearly": "There is a {n} measuring {L} cm{P}.",
            "star": "{N}{P} {L}*{S} cm.",
            "mm both": "{N}{P} ({LM} mm x {SM} mm).",
            "roughly": "{N}{P} roughly {L} cm.",
            "which": "{N}{P}, which measures {L} x {S} cm.",
            "detected": "A {L} cm {n} was detected{P}.",
            "present": "{N} present{P}, {L} cm.",
            "example": "The {n}{P} is {L} cm long.",
            "across": "{N}{P}, {L} cm across.",
            "just the one": "There is only one {n}, {L} cm.",
            "reveals": "The examination reveals a {n}{P} of {L} cm.",
            "evidence": "Evidence of a {n}{P}.",
            "located": "The {L} cm {n} is situated{P}.",
            "w": "{N}{P} w/ dimensions of {L} x {S} cm.",
        },
        "density": {
            "low": "{N}{P} shows an attenuation of {H} HU.",
            "measuring": "{N}{P} measuring {H} HU.",
            "CT value": "{N}{P} with a mean CT number of {H} HU.",
            "appears": "The {n}{P} appears {dense}.",
        },
        "segment": {
            "hepatic": "{N} in hepatic segment {d}, {LM} mm.",
            "lies": "The {n} lies in segment {r}.",
            "seg.": "{N}, segment {d}, {L} cm.",
        },
        "side": {
            "sided": "A {side}-sided {bare} of {L} cm is present.",
            "the pair": "{Bare} of the {side} {pair}, {L} x {S} cm.",
            "within": "{Bare} within the {side} {pair}.",
        },
        "lobe": {"abbr": "{L} cm {n}, {abbr}.", "of the": "{N} of the {lobe}, {L} x {S} cm."},
        "pole": {"host first": "{N} of the {host}, {pole}, {L} cm."},
        "whole": {
            "in full": "The {o} is captured in full.",
            "entirety": "The {o} is displayed in its entirety.",
            "included": "{O}: entirely included in the scan.",
            "we": "We see the whole of the {o}.",
        },
        "volume": {
            "has": "The {o} has a measured volume of {v} ml.",
            "vol": "Volume ({o}): {v} mL.",
            "measuring": "{O} measuring {v} cc.",
        },
        "hu": {
            "attenuates": "The mean attenuation of the {o} was {h} HU.",
            "of": "{O} with a mean density of {h} HU.",
            "HU value": "{O}, average attenuation {h} Hounsfield units.",
        },
        "cut": {
            "partial": "Partial imaging of the {o}.",
            "portion": "A portion of the {o} is outside the field of view.",
            "truncated": "The {o} has been truncated.",
            "only part": "The scan covers only part of the {o}.",
            "not whole": "The {o} was not imaged in its entirety.",
        },
        "unseen": {
            "no": "No {o} is identified.",
            "could": "We could not find the {o}.",
            "invisible": "The {o} is not demonstrated on this study.",
        },
        "absent": {
            "without": "Examination without {a}.",
            "no sign": "There is no sign of {a}.",
            "nil": "Nil {a}.",
            "could": "No {a} could be detected.",
            "we": "We do not see {a}.",
            "seen": "{A} not seen.",
            "none": "{A}: none seen.",
            "has not": "No {a} has been identified.",
        },
        "fluid": {
            "of": "{Fluid} of {v} mL is present.",
            "measuring": "{Fluid} measuring {v} mL.",
            "volume": "{Fluid}; volume {v} mL.",
        },
        "levels": {
            "all": "All vertebrae from {a} to {b} are included in the scan.",
            "are": "{a} to {b} are imaged in full.",
        },
        "count": {
            "there are": "There are {num} {ns}, of which the largest measures {L} cm.",
            "see": "We see {num} {ns} up to {L} cm in size.",
            "number": "{NS} ({digit}), the largest {L} x {S} cm.",
        },
        "both whole": {
            "with": "{O} together with the {p} are included in the scan.",
            "plus": "The entire {o} and {p} are imaged.",
        },
        "one cut": {"although": "The {p} is incompletely imaged; the {o} is fully included."},
        "both absent": {"and": "No {a} and no {b}.", "nor": "There is neither {a} nor {b}."},
    },
    {
        "lesion": {
            "grew": "{N}{P} enlarging to {L} cm.",
            "half": "{N}{P}, half of it {L} cm.",
            "twice": "{N}{P}, twice {L} cm.",
            "nearly": "{N}{P}, not quite {L} cm.",
            "over": "{N}{P} over {wL} cm.",
            "between": "{N}{P} between {wL} and {wL2} cm.",
            "mean": "{N}{P} with a mean diameter of {wL} cm.",
            "cc": "{N}{P} with craniocaudal extent {wL} cm.",
            "x3": "{N}{P} of {L} by {S} by {wL} cm.",
            "metres": "{N}{P} of {L} m.",
            "none": "None of the {ns} is seen.",
            "not any": "There is not any {n}.",
            "we not": "We cannot identify a {n}.",
            "free": "Free of {ns}.",
            "w/o": "Scan w/o {n}.",
            "no other": "No {n} other than that of {wL} cm.",
            "no further": "{N}{P}, {L} cm, and no other abnormality.",
            "multifocal": "Multifocal {n}{P}, {L} cm.",
            "pair": "A pair of {ns}{P}.",
            "couple": "A couple of {ns}, up to {L} cm.",
            "both": "Both {ns} measure {L} cm.",
            "few": "A few {ns}{P}.",
            "satellite": "{N}{P}, {L} cm, with a satellite.",
            "known": "Known {n}{P}, {L} cm.",
            "persisting": "Persistent {n}{P} of {L} cm.",
            "post": "Post-treatment {n}{P}, {L} cm.",
            "recurrent": "Recurrent {n}{P}, {L} cm.",
            "as before": "{N}{P} measuring {L} cm as before.",
            "from": "{N}{P} increased from {S} to {L} cm.",
            "infiltrates": "{N}{P} infiltrating the {elsewhere}.",
            "contact": "{N}{P} in contact with the {elsewhere}.",
            "next": "{N}{P} next to the {elsewhere}.",
            "beside": "{N}{P} beside the {elsewhere}.",
            "from organ": "{N} arising from the {elsewhere}, {L} cm.",
            "in and": "{N}{P} and in the {elsewhere}.",
            "malignant": "Malignant {n}{P}, {L} cm.",
            "likely": "{N}{P}, {L} cm, most likely malignant.",
            "biopsy": "{N}{P}, {L} cm, biopsy proven.",
            "fat": "Fat-containing {n}{P}, {L} cm.",
            "gas": "{N}{P}, {L} cm, containing gas.",
            "haemorrhage": "Haemorrhagic {n}{P}, {L} cm.",
            "septated": "{N}{P}, {L} cm, septated.",
            "spiculated": "Spiculated {n}{P}, {L} cm.",
            "homogeneous": "Homogeneous {n}{P}, {L} cm.",
            "volume": "{N}{P}, volume {wL} cc.",
            "zero": "{N}{P} of 0 mm.",
            "largest": "{N}{P}, the largest of several, {L} cm.",
            "not that": "{N}{P}, {L} cm, not seen in the imaged range.",
            "incl": "{N}{P} is only partly imaged, {L} cm.",
            "short": "{N}{P}, short axis {wS} cm.",
            "long mm": "{N}{P}, long axis {SM} mm.",
            "percent": "{N}{P}, {L} percent.",
            "HU": "{N}{P}, {L} cm and 999 HU.",
            "minus": "{N}{P}, minus {L} cm.",
            "sentence pair": "{N}{P}, {L} cm. It is in the {elsewhere}.",
            "sentence no": "{N}{P}, {L} cm. No {n} elsewhere.",
            "tiny": "Tiny {n}{P}, {L} cm.",
            "huge": "Giant {n}{P}.",
            "axial": "{N} on 3 slices, {wL} cm.",
            "averaging": "{ns} averaging {L} cm.",
        },
        "density": {
            "not": "{N}{P} is not {dense}.",
            "neither": "{N}{P}, neither hypodense nor hyperdense.",
            "negative": "{N}{P} of negative {Habs1} HU.",
            "minus": "{N}{P} measuring minus {Habs1} HU.",
            "more": "{N}{P} of more than {wH} HU.",
            "mean mm": "{N}{P}, mean {H} mm.",
            "than": "{N}{P} denser than the {host}, {wH} HU.",
            "median": "{N}{P}, trabecular attenuation {H} HU.",
            "host": "Mean attenuation of the {host} {H} HU, as in the {n}.",
            "percent": "{N}{P} of {H} percent.",
        },
        "segment": {
            "or": "{N} in segment {r} or {wr}.",
            "S": "{N} in S{wd}.",
            "seg.": "{N}, segment {wd}, {L} cm.",
            "to": "{N} extending from segment {r} to segment {wr}.",
            "with": "{N} in segment {r} with extension to segment {wr}.",
            "not": "No {n} in segment {r}.",
            "all": "{N} in all segments.",
        },
        "side": {
            "opposite": "{Bare} in the opposite {pair}.",
            "ipsi": "{Bare} in the ipsilateral {pair} of the {other} side.",
            "left and right": "{Bare} in the left and right {pair}.",
            "each": "One {bare} in each {pair}.",
            "either": "{Bare} in either {pair}.",
            "the other": "{Bare} in the other {pair}, {L} cm.",
            "l/r": "L/R {bare}, {L} cm.",
            "no": "No {side} {bare}.",
        },
        "lobe": {
            "of": "{N} of the {wlobe}, {L} cm.",
            "end": "{L} cm {n}, {wabbr}.",
            "with": "{N} in the {abbr} with extension into the {wabbr}.",
            "lung": "No {n} in the {abbr}.",
        },
        "pole": {
            "host first": "{N} of the {host}, {wpole}, {L} cm.",
            "both": "{N} in the upper and lower pole of the {host}.",
            "whole": "{N} in the entire {host}.",
        },
        "whole": {
            "partial": "Partial imaging of the {o}.",
            "portion": "A portion of the {o} is outside the field of view.",
            "not whole": "The {o} was not imaged in its entirety.",
            "not all": "Not all of the {o} is imaged.",
            "we": "We cannot identify the {o}.",
            "free": "Free of {o}.",
            "except": "The whole {o} except its tip is imaged.",
            "and beyond": "The {o} is included and enlarged on both sides.",
            "normal": "The {o} looks normal.",
            "shape": "{O} of normal shape and position.",
            "hypertrophy": "Hypertrophy of the {o}.",
            "displaced": "The {o} is displaced.",
            "no": "No {o}.",
            "cannot": "The {o} cannot be assessed.",
        },
        "volume": {
            "minus": "{O} volume minus {v} mL.",
            "double": "{O} volume is double {v} mL.",
            "dl": "{O} volume {v} dL.",
            "not": "{O} volume is not {v} mL.",
            "per": "{O} volume {v} mL per kg.",
            "than": "{O} volume of less than {wv} mL, that is {wv2} mL.",
            "index": "{O} volume index {v}.",
            "between": "{O} volume between {wv} and {wv2} mL.",
            "both": "Both {o}s together {v} mL.",
        },
        "hu": {
            "rises": "The attenuation of the {o} rises to {h} HU.",
            "minus": "{O} mean attenuation minus {hm} HU.",
            "negative": "{O} attenuation negative {hm} HU.",
            "median": "Median attenuation of the {o} {wh} HU.",
            "sd": "{O} attenuation {h} +/- {wh} HU.",
            "unit": "{O} attenuation {h} percent.",
            "averaging": "{O} averaging {wh} HU.",
            "diff": "{O} attenuation difference {h} HU.",
            "enhances": "The {o} enhances by {h} HU.",
        },
        "cut": {
            "whole": "The whole of the {o} is imaged.",
            "all": "All of the {o} is included in the scan.",
            "we": "We see the whole of the {o}.",
            "both": "The {o} is both completely and clearly imaged.",
            "only": "The scan covers only the {o}.",
            "entire": "The study includes the entire {o}.",
            "absent": "We cannot identify the {o}.",
            "no": "There is no {o}.",
            "third": "A third of the {o} is imaged.",
            "small part": "Only a tiny part of the {o} is imaged.",
            "in full": "The {o} is captured in full.",
        },
        "unseen": {
            "whole": "The scan covers the entire {o}.",
            "part": "Part of the {o} lies outside the field of view.",
            "not all": "Not all of the {o} is imaged.",
            "removed": "Status post removal of the {o}.",
            "we": "We see the {o}.",
            "atrophic": "The {o} is too small to be seen.",
            "out": "The {o} lies outside the scan.",
        },
        "absent": {
            "other": "No other {a} is seen.",
            "additional": "No additional {a}.",
            "definite": "No definite {a}.",
            "longer": "There is no longer any {a}.",
            "and other": "No {a} on the left.",
            "we": "We see {a}.",
            "free not": "Not free of {a}.",
            "w/": "Examination w/ {a}.",
            "recurrence": "No recurrence of {a}.",
            "one": "A {a} is appreciated.",
            "both": "Bilateral {a}.",
            "minimal": "Minimal {a}.",
            "no lack": "No lack of {a}.",
            "no absence": "No absence of {a}.",
            "without no": "Without no {a}.",
            "no not": "No {a} is not seen.",
            "question": "Is there {a}.",
            "not assessed": "{A} not assessed.",
        },
        "fluid": {
            "minus": "{Fluid}, minus {v} mL.",
            "we": "We cannot identify {fluid}.",
            "free": "Free of {fluid}.",
            "other": "No other {fluid}.",
            "two": "Two {fluid}s, {v} mL.",
            "cm": "{Fluid}, {v} cm.",
            "each": "{Fluid}, {v} mL on each side.",
            "simple": "Simple {fluid}, {v} mL.",
            "purulent": "Purulent {fluid}.",
            "more": "{Fluid} of more than {wv} mL.",
        },
        "levels": {
            "all": "All vertebrae from {up} to {b} are included in the scan.",
            "and": "{a} to {b} and {down} are imaged in full.",
            "but": "Vertebrae {a} to {b} without {b} are imaged in full.",
            "partly": "{a} to {b} are imaged in part.",
            "disc": "Disc height {a}/{b} is reduced.",
            "only": "Only {a} is included in the scan.",
            "lumbar": "The whole spine is included in the scan.",
        },
        "count": {
            "pair": "Single {n} and no others.",
            "see": "We see {more} {ns} up to {L} cm in size.",
            "digit": "{NS} (1), the largest {L} x {S} cm.",
            "each": "{Num} {ns}, each {L} cm.",
            "both": "Both {ns} measure {L} x {S} cm.",
            "up to": "Up to {more} {ns}.",
            "at least": "At least {more} {ns}.",
            "from": "{Num} {ns} from {L} to {wL} cm.",
            "new": "{Num} {ns}, one of them new.",
            "smallest": "{Num} {ns}; the smallest one is {L} cm.",
            "larger": "{Num} {ns}, all smaller than {wL} cm and one of {wL} cm.",
            "an": "There is only a {n}, {L} cm.",
            "dozen": "A dozen {ns}.",
        },
        "both whole": {
            "except": "The {o} is completely imaged as is not the {p}.",
            "without": "The {o} without the {p} is included in the scan.",
            "cut": "Part of the {o} and the {p} lies outside the field of view.",
        },
        "one cut": {
            "entire": "The scan covers the entire {o} and the {p}.",
            "as well": "The {o} as well as the {p} are imaged in full.",
            "with": "The {o} together with the {p} is fully included.",
            "all": "All of the {o} and {p} is included in the scan.",
            "also": "The {p} is fully included; so is the {o}.",
            "part": "Part of the {o} lies outside the field of view; the {p} is fully included.",
            "colon": "Completely included: {o}, {p}.",
            "not all": "Not all of the {o} is imaged.",
        },
        "both absent": {"as well": "No {a} as well as {b}.", "with": "No {a} with {b}.", "besides": "{b} without {a}."},
        "two normal": {
            "as well": "The {o} as well as the {p} are not enlarged.",
            "with": "The {o} is of normal size, as is the {p}.",
            "all": "{O} and {p} normal in size and shape.",
            "colon": "Normal in size: {o}, {p}.",
            "one": "The {p} is normal in size; the {o} is enlarged.",
        },
    },
)
