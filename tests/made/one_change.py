"""One thing of a scan is changed, and just what depends on it may change in its report.

A lesion that is taken away takes its sentences with it; a mirrored scan changes sides; an attenuation changes its own
number and what is judged by it. What else differs is returned, as (section, sentence) of the two reports.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.quantify import measure_scan
from radvlm.types.anatomy import OPPOSITE_SIDE, is_lesion_kind, structure, structures
from radvlm.types.finding import Finding, Status
from radvlm.types.report import Report, Sentence
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume
from radvlm.wording.vocabulary import base_name

Line = tuple[str, str]
_FURTHER = re.compile(r"Also described in the findings: .*")
_HU = re.compile(r"-?\d+ HU")


def report_of(volume: Volume, masks: Segmentation, patient: Patient) -> Report:
    """The report of a scan and its masks, without reading or checking files."""
    return compose_report(interpret(measure_scan(volume, masks), patient=patient, study=volume.study))


def withdrawn(*reports: Report) -> list[Line]:
    """Lines on what an honest scan made the report withdraw, as if it had contradicted itself."""
    return [line for r in reports for line in r.examination if "Withdrawn" in line[1]]


def changed(before: Report, after: Report) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences that vanished and that came, but for what the last line of the impression lists."""
    lines = [Counter((s.section, s.text) for s in r.sentences) for r in (before, after)]
    gone, new = lines[0] - lines[1], lines[1] - lines[0]
    return (
        [s for s in before.sentences if gone[s.section, s.text] and not _FURTHER.fullmatch(s.text)],
        [s for s in after.sentences if new[s.section, s.text] and not _FURTHER.fullmatch(s.text)],
    )


# --- a lesion is taken away ---------------------------------------------------------------------------------------
def beyond_lesion(before: Report, after: Report, kind: str) -> list[Line]:
    """What changed although it says nothing of lesions of that kind, and what is still said of one that is gone."""
    base = base_name(kind)
    gone, new = changed(before, after)
    wrong = [s for s in (*gone, *new) if not _is_of_kind(s, base)]
    wrong = _without_denials(wrong, gone, new, base)
    hosts = {f.host for f in before.findings if _is_one(f, base)} - {""}
    said = [Counter(_of_tissue(s.text) for s in held if _is_of_host(s, hosts)) for held in (gone, new)]
    wrong = [
        s for s in wrong if not (_is_of_host(s, hosts) and said[0][_of_tissue(s.text)] == said[1][_of_tissue(s.text)])
    ]
    left = [f for f in before.findings if _is_one(f, base) and f.status is Status.PRESENT]
    kept = [f for f in after.findings if _is_one(f, base) and f.status is Status.PRESENT]
    if len(left) != len(kept) + 1 or (not gone and left):
        wrong += [s for s in after.sentences if _is_of_kind(s, base)]
    return [(s.section, s.text) for s in wrong]


def _is_one(finding: Finding, base: str) -> bool:
    return is_lesion_kind(finding.kind) and base_name(finding.kind) == base


def _is_of_kind(sentence: Sentence, base: str) -> bool:
    lesions = [f for f in sentence.findings if is_lesion_kind(f.kind)]
    return bool(lesions) and all(base_name(f.kind) == base for f in lesions)


def _without_denials(wrong: list[Sentence], gone: list[Sentence], new: list[Sentence], base: str) -> list[Sentence]:
    """Lists of absences may gain the kind that is gone, and nothing else."""

    def denied(held: list[Sentence]) -> set[str]:
        return {f.kind for s in held if s.text.startswith("No ") for f in s.findings if f.status is Status.ABSENT}

    if {k for k in denied(gone) ^ denied(new) if base_name(k) != base}:
        return wrong
    return [s for s in wrong if not s.text.startswith("No ")]


def _is_of_host(sentence: Sentence, hosts: set[str]) -> bool:
    return any(f.site in hosts and f.kind == "organ" for f in sentence.findings) and bool(_HU.search(sentence.text))


def _of_tissue(text: str) -> str:
    """The sentence without the attenuation of the organ, of which the lesion is no part."""
    return _HU.sub("# HU", text).replace("parenchymal attenuation", "mean attenuation")


# --- the scan is mirrored -----------------------------------------------------------------------------------------
def mirrored(volume: Volume, masks: Segmentation) -> tuple[Volume, Segmentation]:
    """The scan and its masks seen in a mirror, with the names of the sides exchanged."""
    places = {_other_side(name): place for name, place in masks.places.items()}
    searched = frozenset(_other_side(n) for n in masks.searched)
    layers = tuple(np.asfortranarray(layer[::-1]) for layer in masks.layers)
    return (
        replace(volume, hu=np.asfortranarray(volume.hu[::-1])),
        Segmentation(layers, places, searched, masks.geometry, masks.scheme),
    )


def two_sided(masks: Segmentation) -> Segmentation:
    """The masks without structures of one side that have no counterpart on the other, and without heart chambers.

    The middle lobe is on the right alone; what a left atrium is, no mirror tells.
    """
    kept = {n: p for n, p in masks.places.items() if _other_side(n) in structures() and not n.startswith("heart_")}
    layers = [layer.copy(order="F") for layer in masks.layers]
    for name, place in masks.places.items():
        if name not in kept:
            layers[place.layer][layers[place.layer] == place.label] = 0
    searched = frozenset(n for n in masks.searched if _other_side(n) in structures() and not n.startswith("heart_"))
    return Segmentation(tuple(layers), kept, searched, masks.geometry, masks.scheme)


def _other_side(name: str) -> str:
    side = structure(name).side if name in structures() else ""
    return name.replace(side, OPPOSITE_SIDE[side]) if side else name


def beyond_sides(before: Report, after: Report) -> list[Line]:
    """Sentences of a scan and of its mirror image that differ in more than the sides; lists may be in other order.

    What is measured along a line that belongs to one side (the right mid-clavicular one, of the liver) has no mirror.
    """
    own = Counter((s.section, _bag(_swapped(s.text))) for s in before.sentences if "clavicular" not in s.text)
    other = Counter((s.section, _bag(s.text)) for s in after.sentences if "clavicular" not in s.text)
    return [*(own - other), *(other - own)]


def _swapped(text: str) -> str:
    return re.sub(
        r"\b(left|right)\b", lambda m: _cased(OPPOSITE_SIDE[m.group().lower()], m.group()), text, flags=re.IGNORECASE
    )


def _cased(word: str, like: str) -> str:
    return word.capitalize() if like[0].isupper() else word


def _bag(text: str) -> str:
    return " ".join(sorted(re.findall(r"[\w.]+", text.lower().rstrip("."))))


# --- an attenuation is changed ------------------------------------------------------------------------------------
def brighter(volume: Volume, masks: Segmentation, name: str, by_hu: int) -> Volume:
    """The scan with every voxel of one structure brighter by so many HU."""
    hu = volume.hu.copy(order="F")
    hu[masks.mask(name)] += hu.dtype.type(by_hu)
    return replace(volume, hu=hu)


def beyond_attenuation(before: Report, after: Report, name: str, by_hu: int) -> list[Line]:
    """What changed although no attenuation of the structure is in it, and numbers of it that did not change by that."""
    gone, new = changed(before, after)
    wrong = [s for s in (*gone, *new) if not any(_depends(f, name) for f in s.findings)]
    means = [
        {f.site: round(m.value, 3) for f in r.findings if f.site == name and (m := f.measurement("mean_hu"))}
        for r in (before, after)
    ]
    if any(abs(means[1][site] - mean - by_hu) > 0.01 for site, mean in means[0].items()):
        wrong += [s for s in after.sentences if any(f.site == name for f in s.findings)]
    numbers = [_numbers(held) for held in (gone, new)]
    if numbers[0] != numbers[1]:  # sizes and counts stay
        wrong += new
    return [(s.section, s.text) for s in wrong]


def _depends(item: object, name: str) -> bool:
    near = {getattr(item, "site", ""), getattr(item, "host", ""), getattr(item, "reference", "")}
    return name in near


def _numbers(held: list[Sentence]) -> Counter[str]:
    return Counter(n for s in held for n in re.findall(r"\d+(?:\.\d+)? (?:mm|cm|mL)\b", s.text))
