"""What one sentence of a report is about, and whether it says only that something is normal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

from radvlm.report_reader.attributes import inside
from radvlm.report_reader.frames import read_frames
from radvlm.report_reader.lexicon import Lexicon, Site, load_lexicon
from radvlm.report_reader.matching import Parsed, parse
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.wording.vocabulary import base_name, base_words

#: Sections of sites of the lexicon that stand for no structure.
_SECTIONS_OF_SITES: Mapping[str, str] = {
    "lymph_node": "nodes",
    "axilla": "nodes",
    "hilum": "mediastinum",
    "neck": "neck",
    "peritoneum": "peritoneum",
    "mesentery": "peritoneum",
    "retroperitoneum": "peritoneum",
    "soft_tissue": "soft_tissues",
    "groin": "soft_tissues",
}
#: Words before a site that only locate something else ("at L3", "mid-clavicular length").
_BESIDE = frozenset({"at", "mid", "level"})
#: Kinds of structures that a sentence can be about.
_BODY = ("organ", "part", "vessel", "bone", "cavity")
_MEASURED = re.compile(r"\d\s*(?:x|mm|cm2?|hu|ml)\b", re.IGNORECASE)
_NEGATED = ("normal", "neg_pre", "neg_post")
#: Cues that take something back: "but", "may represent", "cannot be excluded".
_RESTRICTED = ("end", "unc_pre", "unc_post")


@lru_cache(maxsize=100_000)
def subject(text: str) -> tuple[str, str]:
    """(section, organ without its side) that a text is about; "" for what it does not tell.

    The first site or finding that has a section tells; lymph nodes and devices win over the place where they lie. What
    the lexicon does not know (the skull) is looked up in the anatomy table.
    """
    lexicon = load_lexicon()
    section, site = next(_told(parse(text, lexicon), lexicon), ("", None))
    named = _named(text)
    if section in ("", named[0]):
        return named
    return section, _organ(site) if site is not None else ""


def _told(parsed: Parsed, lexicon: Lexicon) -> Iterator[tuple[str, Site | None]]:
    """Section and site of each word that tells one, those that are only likely (effusion: the pleura) last."""
    if section := _section_of_placed(parsed, lexicon):
        yield section, None
    likely: list[str] = []
    for start, stop, meaning in parsed.hits:
        if meaning.head:
            likely += [lexicon.kinds[kind].home for kind in [lexicon.heads[meaning.head].default] if kind]
        if parsed.words[max(start - 1, 0)] in _BESIDE or parsed.words[max(start - 2, 0) : start] == ["level", "of"]:
            continue
        homes = [lexicon.kinds[kind].home for kind in meaning.kinds]
        within = inside(tuple(parsed.words[start:stop]), lexicon) if homes else ()
        for name in filter(None, (meaning.site, *homes)):
            if section := _section(lexicon.sites[name]):
                parts = (lexicon.sites[part] for part in within if part in lexicon.sites)
                yield section, next((part for part in parts if _section(part) == section), lexicon.sites[name])
        if "device" in meaning.kinds:
            yield "devices", None
    for name in filter(None, likely):
        if section := _section(lexicon.sites[name]):
            yield section, lexicon.sites[name]


def _section_of_placed(parsed: Parsed, lexicon: Lexicon) -> str:
    """``nodes`` or ``devices`` when the first finding is one, whatever place is named in its phrase ("left hilar")."""
    for start, _, meaning in parsed.hits:
        if meaning.kinds or (meaning.head and not lexicon.heads[meaning.head].quality):
            node = any(lexicon.kinds[kind].home == "lymph_node" for kind in meaning.kinds)
            placed = next((hit[0] for hit in parsed.hits if hit[2].site), start)
            if any(placed < verb < start for verb, _ in parsed.scope.verbs):
                return ""
            return "nodes" if node else "devices" if "device" in meaning.kinds else ""
    return ""


@cache
def _section(site: Site) -> str:
    """The report section of a site or of the nearest place around it; "" where none can be told (abdomen)."""
    sites = load_lexicon().sites
    for place in site.lineage:
        known = [structures()[name].section for name in sites[place].structures if name in structures()]
        if found := _SECTIONS_OF_SITES.get(place) or next(iter(known), ""):
            return found
    return ""


@cache
def _organ(site: Site) -> str:
    """The organ that a site is or lies in, without its side: ``lung`` of the lingula, ``aorta`` of the aortic arch."""
    table, sites = structures(), load_lexicon().sites
    for place in site.lineage:
        names = [name for name in sites[place].structures if name in table and table[name].kind != "part"]
        if names and (place in SECTIONS or place in names):
            return place
        alike = {base_name(name) for name in names if place.split("_")[0] in name}
        if len(alike) == 1:
            return alike.pop()
    return ""


def _named(text: str) -> tuple[str, str]:
    """(section, organ) of the first structure of the anatomy table that is named outright."""
    found = _structure_pattern().search(text.lower())
    return _structure_words()[found[1]] if found else ("", "")


@cache
def _structure_words() -> Mapping[str, tuple[str, str]]:
    """Words of structures without a side -> (section, organ), longest first; ``bowel`` and ``pleura`` are organs."""
    table: dict[str, tuple[str, str]] = {}
    for row in structures().values():
        if row.kind in _BODY:
            words, organ = base_words(row).lower(), base_name(row.name)
            table.setdefault(words, (row.section, words if words in SECTIONS and organ not in words else organ))
    return dict(sorted(table.items(), key=lambda item: -len(item[0])))


@cache
def _structure_pattern() -> re.Pattern[str]:
    return re.compile(r"\b(" + "|".join(re.escape(words) for words in _structure_words()) + r")s?\b")


def says_only_normal(sentence: str) -> bool:
    """Whether a sentence only says that something is normal or absent: no finding, no measurement, no "but"."""
    lexicon = load_lexicon()
    parsed = parse(sentence, lexicon)
    cues = parsed.scope.cues
    restricted = any(start or parsed.words[0] != "otherwise" for name in _RESTRICTED for start, _ in cues.get(name, ()))
    if restricted or _MEASURED.search(sentence) or not any(name in cues for name in _NEGATED):
        return False
    reading = read_frames(sentence, lexicon)
    if reading.comparisons or any(f.status in ("present", "uncertain", "history") for f in reading.frames):
        return False
    denied = any(f.status == "absent" for f in reading.frames)
    nothing = parsed.words[:1] == ["no"] or not {"abnormality", "abnormal"}.isdisjoint(parsed.words)
    return denied or nothing or "normal" in cues
