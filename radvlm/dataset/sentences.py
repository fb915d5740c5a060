"""Truth of a case put into prose, section by section: what the images show, without a number.

A model that has seen only the images cannot know millimeters, so no text here holds a measurement. Every sentence is a
``Statement`` that names the findings it is about, so that a test can ask whether it is true.

Two styles. ``plain`` is canonical (no seed changes it): one finding a sentence, in words that ``radvlm.compose`` can
verify against findings of a model; it is what a decoder learns to write. ``varied`` is what a text encoder learns to
read: synonyms, counts, grouped negatives, normal sentences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from radvlm.dataset.case import Case, Lesion
from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS, structure
from radvlm.types.finding_kinds import FindingKind, finding_kinds
from radvlm.types.phrases import joined
from radvlm.wording.sentences import capital, with_article
from radvlm.wording.structure_names import places_text

STYLES = ("plain", "varied")
#: Sections that can hold a finding of finding_kinds.csv, in the order of a report.
TINY_SECTIONS: tuple[str, ...] = tuple(s for s in SECTIONS if s in {f.section for f in finding_kinds().values()})

#: Fluid and air: "right pleural effusion", not "in the right lung".
_SAID_WITH_SIDE = ("pleural_effusion", "pneumothorax")
_COUNTS = ("", "One", "Two", "Three", "Four", "Five")
#: What comes first in an impression: life-threatening, then what is treated, then what is incidental.
_ORDER = (
    "pneumoperitoneum",
    "pneumothorax",
    "aortic_aneurysm",
    "liver_abscess",
    "lung_tumor",
    "liver_metastasis",
    "liver_tumor",
    "pancreas_tumor",
    "kidney_tumor",
    "colon_tumor",
    "bladder_lesion",
    "hydronephrosis",
    "pericardial_effusion",
    "pleural_effusion",
    "lung_consolidation",
    "ascites",
    "vertebral_fracture",
    "lytic_bone_lesion",
    "sclerotic_bone_lesion",
    "lymph_node",
    "splenomegaly",
    "spleen_lesion",
    "hepatomegaly",
    "adrenal_lesion",
    "lung_nodule",
    "ground_glass_nodule",
    "pancreas_cyst",
    "kidney_stone",
    "gallstone",
    "uterine_fibroid",
    "steatosis",
    "lung_atelectasis",
    "liver_hemangioma",
    "kidney_cyst",
    "liver_cyst",
    "spleen_cyst",
    "liver_calcification",
)


@dataclass(frozen=True)
class Statement:
    """One sentence (``text``) and what it says.

    Attributes:
        findings: keys of ``finding_kinds.csv`` that it is about.
        present: it says that each of them is there; otherwise that none of them is.
        sites: structures named in it (``kidney_left``, ``liver_segment_6``), () for none.
        count: "" when it counts nothing, ``one``, or ``many`` for two and more.
    """

    text: str
    section: str
    findings: tuple[str, ...]
    present: bool
    sites: tuple[str, ...] = ()
    count: str = ""


@dataclass(frozen=True)
class OrganText:
    """Text on one organ; ``normal`` when the truth holds no finding of it."""

    text: str
    organ: str
    normal: bool


@cache
def wording() -> Mapping[str, Any]:
    """``wording.yaml``; every finding has a noun or is described as an organ."""
    data: dict[str, Any] = yaml.safe_load(files("radvlm.dataset").joinpath("wording.yaml").read_text(encoding="utf-8"))
    missing = [name for name in finding_kinds() if (name in data["nouns"]) == (name in data["organ"])]
    if missing:
        raise InputError("every finding is a noun or a state of an organ in wording.yaml", ", ".join(missing))
    return MappingProxyType(data)


@cache
def organs() -> Mapping[str, tuple[str, ...]]:
    """Organ -> its findings, for organ-level learning. Names are classes of the voxel head."""
    table: dict[str, tuple[str, ...]] = {}
    for organ, row in wording()["organs"].items():
        table[organ] = tuple(f.name for f in finding_kinds().values() if f.parent_class in row["classes"])
    return MappingProxyType(table)


def organ_classes(organ: str) -> tuple[str, ...]:
    """Classes of the voxel head that make the organ up (its own; those of its lesions are ``organs()[organ]``)."""
    return tuple(_organ(organ)["classes"])


def statements(case: Case, section: str, seed: int = 0, style: str = "plain", places: bool = True) -> list[Statement]:
    """Sentences of one section, what is there first, then what is not.

    Args:
        section: one of ``TINY_SECTIONS``, or ``impression``.
        seed: chooses wording in the varied style; the plain style does not depend on it.
        places: say where (segment, lobe, part, pole, level); the side is said in any case.

    Nothing is said of an organ outside the field of view. Raises InputError for another section or style.
    """
    if style not in STYLES:
        raise InputError(f"a style is one of {', '.join(STYLES)}", repr(style))
    if section != "impression" and section not in TINY_SECTIONS:
        raise InputError(f"a section is one of {', '.join((*TINY_SECTIONS, 'impression'))}", repr(section))
    rng = random_of(case.name, section, style, seed)
    if section == "impression":
        return _impression(case, rng, style, places)
    kinds = [f for f in finding_kinds().values() if f.section == section]
    held = [f for f in kinds if case.present(f.name)]
    absent = [f for f in kinds if may_deny(case, f.name)]
    if style == "plain":
        return [*(s for f in held for s in plain_present(case, f, places)), *_plain_absent(case, absent)]
    if not held and len(absent) == len(kinds) and rng.random() < 0.6:
        return [Statement(_pick(rng, wording()["normal"][section]), section, tuple(f.name for f in kinds), False)]
    found = [s for f in held for s in _varied_present(case, f, rng, places)]
    order = [found[n] for n in rng.permutation(len(found))]
    return [*order, *_varied_absent(case, absent, rng)]


def section_text(case: Case, section: str, seed: int = 0, style: str = "plain", places: bool = True) -> str:
    """Prose of one section, "" when nothing can be said; as ``statements``."""
    return " ".join(s.text for s in statements(case, section, seed, style, places))


def report_text(case: Case, seed: int = 0, style: str = "plain", places: bool = True) -> str:
    """The whole report: ``Heading: prose`` a line, impression last; sections without a word are left out."""
    lines = []
    for section in (*TINY_SECTIONS, "impression"):
        text = section_text(case, section, seed, style, places)
        if text:
            lines.append(f"{SECTIONS[section]}: {text}")
    return "\n".join(lines)


def organ_text(case: Case, organ: str, seed: int = 0) -> OrganText | None:
    """One to a few sentences on one organ in the varied style; None when it is not in the field of view.

    An organ is normal when the truth holds none of its findings. InputError for an organ that ``organs()`` lacks.
    """
    row = _organ(organ)
    rng = random_of(case.name, organ, "organ", seed)
    if not any(case.imaged(name) for name in organs()[organ]):
        return None
    held = [finding_kinds()[name] for name in organs()[organ] if case.present(name)]
    if held:
        said = [s for f in held for s in _varied_present(case, f, rng, True)]
        return OrganText(" ".join(said[n].text for n in rng.permutation(len(said))), organ, False)
    if not all(may_deny(case, name) for name in organs()[organ]):
        return None
    return OrganText(_pick(rng, row["normal"]), organ, True)


def sentence_of(finding: str, present: bool, rng: np.random.Generator) -> str:
    """A sentence of the varied style on one finding alone, without part or level: a training wording of a prompt."""
    kind, data = finding_kinds()[finding], wording()
    if finding in data["organ"]:
        side = str(_pick(rng, ("left", "right", "bilateral"))) if kind.sided else ""
        return _filled(_pick(rng, data["organ"][finding]["present" if present else "absent"]), side)
    one, many = _pick(rng, data["nouns"][finding])
    uncounted, host = one in data["uncounted"], _host(kind, one)
    if host and rng.random() < 0.5:
        frame = _pick(rng, data["frames"]["host" if present else "host_none"])
    elif not present:
        frame = _pick(rng, data["frames"]["none"])
    else:
        frame = _pick(rng, data["frames"]["mass" if uncounted else "many" if rng.random() < 0.3 else "one"])
    return str(
        frame.format(
            noun=one,
            nouns=many,
            Noun=capital(one),
            Nouns=capital(many),
            one=_mass(one),
            One=capital(_mass(one)),
            place="",
            host=host,
            Count="Several",
        )
    )


def random_of(*parts: object) -> np.random.Generator:
    """A generator that depends on the parts alone, not on the order of calls or the hash seed of Python."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))


# -- plain ---------------------------------------------------------------------------------------------------


def plain_present(case: Case, kind: FindingKind, places: bool = True) -> list[Statement]:
    """The plain sentences on a finding that is there: one for each side."""
    lesions = case.of(kind.name)
    sides = sorted({lesion.side for lesion in lesions}, reverse=True)  # right, left, as reports go
    found = []
    for side in sides:
        held = [lesion for lesion in lesions if lesion.side == side]
        sites = _places(held) if places and kind.name in wording()["nouns"] else ()
        if not sites and kind.sided:
            sites = tuple(dict.fromkeys(lesion.site for lesion in held))
        text = plain_words(kind.name, side, sites)
        found.append(Statement(text, kind.section, (kind.name,), True, sites))
    return found


def plain_words(finding: str, side: str = "", sites: Sequence[str] = ()) -> str:
    """The plain sentence on a finding, from its sites: ``Hepatic cysts in segment IV and segment VI.``

    ``sites`` are canonical structures (parts, levels, or the sided organ) in the order in which they are said. The
    plural stands only with more than one site: a model counts places, not lesions.
    """
    data = wording()
    if finding in data["organ"]:
        return _filled(data["organ"][finding]["present"][0], side)
    noun = data["nouns"][finding][0][1 if len(sites) > 1 else 0]
    if finding in _SAID_WITH_SIDE:
        return capital(f"{side} {noun}".strip()) + "."
    return capital(f"{noun}{_place_words(sites)}") + "."


def plain_absent_words(finding: str) -> str:
    """The plain sentence that denies a finding."""
    data = wording()
    if finding in data["organ"]:
        return str(data["organ"][finding]["absent"][0])
    return f"No {data['nouns'][finding][0][0]}."


def _plain_absent(case: Case, kinds: Sequence[FindingKind]) -> list[Statement]:
    names = {f.name for f in kinds}
    joint = wording()["joint_absent"]
    second = {row["with"]: first for first, row in joint.items()}
    found = []
    for kind in kinds:
        partner = joint[kind.name]["with"] if kind.name in joint else second.get(kind.name, "")
        if not partner:
            if kind.name in wording()["nouns"] and not _deniable(case, wording()["nouns"][kind.name][0][0]):
                continue
            found.append(Statement(plain_absent_words(kind.name), kind.section, (kind.name,), False))
        elif kind.name in joint and partner in names:
            found.append(Statement(f"No {joint[kind.name]['words']}.", kind.section, (kind.name, partner), False))
    return found


# -- varied --------------------------------------------------------------------------------------------------


def _varied_present(case: Case, kind: FindingKind, rng: np.random.Generator, places: bool) -> list[Statement]:
    lesions = case.of(kind.name)
    sides = {lesion.side for lesion in lesions}
    groups = [[lesion for lesion in lesions if lesion.side == side] for side in sorted(sides, reverse=True)]
    if len(sides) > 1 and rng.random() < 0.5:
        groups = [list(lesions)]
    return [_varied_group(kind, group, rng, places) for group in groups]


def _varied_group(kind: FindingKind, group: list[Lesion], rng: np.random.Generator, places: bool) -> Statement:
    data = wording()
    sides = sorted({lesion.side for lesion in group}, reverse=True)
    hosts = tuple(dict.fromkeys(lesion.site for lesion in group)) if kind.sided else ()
    if kind.name in data["organ"]:
        side = "bilateral" if len(sides) > 1 else sides[0]
        text = _filled(_pick(rng, data["organ"][kind.name]["present"]), side)
        return Statement(text, kind.section, (kind.name,), True, hosts)
    one, many = _pick(rng, data["nouns"][kind.name])
    sites = _places(group) if places and rng.random() < 0.75 else ()
    if kind.name in _SAID_WITH_SIDE:
        text = f"Bilateral {many}." if len(sides) > 1 else _with_side(one, sides[0], rng)
        return Statement(text, kind.section, (kind.name,), True, hosts)
    sites = sites or hosts
    place = _place_words(sites)
    several = len(group) > 1
    host = _host(kind, one)
    if host and not several and rng.random() < 0.3:
        text = _pick(rng, data["frames"]["host"]).format(
            one=_mass(one), One=capital(_mass(one)), host=f"{group[0].side} {host}".strip()
        )
        return Statement(text, kind.section, (kind.name,), True, hosts or (kind.site,))
    if several:
        number = _COUNTS[len(group)] if len(group) < len(_COUNTS) else "Several"
        frame = _pick(rng, data["frames"]["many"] if one not in data["uncounted"] else ["{Nouns}{place}."])
        text = frame.format(nouns=many, Nouns=capital(many), noun=one, place=place, Count=number)
    else:
        frame = _pick(rng, data["frames"]["mass" if one in data["uncounted"] else "one"])
        text = frame.format(noun=one, Noun=capital(one), one=_mass(one), One=capital(_mass(one)), place=place)
    count = "" if one in data["uncounted"] else "many" if several else "one"
    return Statement(text, kind.section, (kind.name,), True, sites, count)


def _with_side(noun: str, side: str, rng: np.random.Generator) -> str:
    article = "" if noun in wording()["uncounted"] else "a "
    on_side = [f"{capital(noun)} on the {side}.", f"There is {article}{noun} on the {side}."]
    before = [] if " in " in noun else [f"{capital(side)} {noun}.", f"{capital(side)}-sided {noun}."]
    return str(_pick(rng, on_side + before))


def _varied_absent(case: Case, kinds: Sequence[FindingKind], rng: np.random.Generator) -> list[Statement]:
    """Denials of some of the absent findings, alone or as a list."""
    data = wording()
    chosen = [kinds[n] for n in rng.permutation(len(kinds))[: int(rng.integers(1, 5))]] if kinds else []
    organ = [f for f in chosen if f.name in data["organ"]]
    pairs = {f: [p for p in data["nouns"][f.name] if _deniable(case, p[0])] for f in chosen if f not in organ}
    nouns = [f for f, left in pairs.items() if left]
    found = [Statement(_pick(rng, data["organ"][f.name]["absent"]), f.section, (f.name,), False) for f in organ]
    if len(nouns) > 1 and rng.random() < 0.6:
        words = [_pick(rng, pairs[f])[0] for f in nouns]
        listed = joined(words, "or")
        found.append(
            Statement(
                _pick(rng, [f"No {listed}.", f"There is no {listed}.", f"No evidence of {listed}."]),
                nouns[0].section,
                tuple(f.name for f in nouns),
                False,
            )
        )
        return found
    for kind in nouns:
        one, many = _pick(rng, pairs[kind])
        host = _host(kind, one)
        frame = _pick(rng, data["frames"]["host_none" if host and rng.random() < 0.3 else "none"])
        text = frame.format(noun=one, nouns=many, one=_mass(one), host=host, Noun=capital(one))
        found.append(Statement(text, kind.section, (kind.name,), False))
    return found


def _impression(case: Case, rng: np.random.Generator, style: str, places: bool) -> list[Statement]:
    held = [finding_kinds()[name] for name in _ORDER if case.present(name)]
    if held:
        said = [
            s
            for f in held
            for s in (plain_present(case, f, places) if style == "plain" else _varied_present(case, f, rng, places))
        ]
        return [Statement(s.text, "impression", s.findings, True, s.sites, s.count) for s in said]
    if not all(may_deny(case, name) or not case.imaged(name) for name in finding_kinds()):
        return []
    normal = wording()["normal"]["impression"]
    denied = tuple(name for name in finding_kinds() if case.imaged(name))
    return [Statement(normal[0] if style == "plain" else _pick(rng, normal), "impression", denied, False)]


# -- words ---------------------------------------------------------------------------------------------------


def may_deny(case: Case, finding: str) -> bool:
    """Whether the case is known not to have the finding."""
    return not case.present(finding) and bool(case.known[list(finding_kinds()).index(finding)])


def _deniable(case: Case, noun: str) -> bool:
    """Whether "no <noun>" denies nothing that is there."""
    return not any(case.present(name) for name in wording()["denies"].get(noun, ()))


def _places(lesions: Sequence[Lesion]) -> tuple[str, ...]:
    """Parts in which lesions lie, each once, in the order of the anatomy table; () unless all have one."""
    names = {lesion.location for lesion in lesions}
    if "" in names or len(names) > 3:
        return ()
    return tuple(sorted(names, key=lambda name: structure(name).rank))


def _place_words(sites: Sequence[str]) -> str:
    """`` in segment IV and segment VI``, `` in the left kidney``, `` at L2``; "" for none."""
    if not sites:
        return ""
    if sites[0].startswith("vertebrae_"):
        return f" at {joined([name.removeprefix('vertebrae_') for name in sites])}"
    return f" in {places_text(sites)}"


def _filled(text: str, side: str) -> str:
    kidney = {"bilateral": "both kidneys", "": "kidneys"}.get(side, f"{side} kidney")
    text = text.replace("{kidney}", kidney)
    if side == "bilateral":
        text = text.replace("Dilated renal pelvis of", "Dilated renal pelves of")
    return text.replace("{Side}", capital(side) if side else "").replace("{side}", side)


def _host(kind: FindingKind, noun: str) -> str:
    """The organ as a subject of the sentence; "" when the noun names its place itself."""
    host = str(wording()["hosts"].get(kind.site, ""))
    return "" if kind.name in _SAID_WITH_SIDE or " of the " in noun or " in the " in noun else host


def _mass(noun: str) -> str:
    return noun if noun in wording()["uncounted"] else with_article(noun)


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _organ(organ: str) -> Mapping[str, Any]:
    table: Mapping[str, Mapping[str, Any]] = wording()["organs"]
    if organ not in table:
        raise InputError(f"an organ is one of {', '.join(table)}", repr(organ))
    return table[organ]
