"""From a report to frames: one per mention of a finding, with status, site, side, size, severity, change and span.

Unusual: the kind of a general word (nodule, dilated, effusion) follows from the site it belongs to, looked for in
the order in which radiologists write: attached before it, after it, earlier in the sentence, the line's heading,
the sentence before. A sentence that only refers ("It measures 2 cm") completes the frame before it. A radvlm Report
is never parsed: its findings become frames with their measured numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from radvlm.evaluate.lexicon import Head, Lexicon, load_lexicon
from radvlm.evaluate.matching import Parsed, Size, parse
from radvlm.evaluate.negation import status as status_of
from radvlm.evaluate.sentences import Span, sentences

#: Sentences remembered per lexicon; reports repeat their boilerplate.
_CACHED = 100_000
_CACHE: dict[str, dict[Any, Any]] = {}
_INSIDE: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
_CONJ = frozenset({"and", "or", ",", "/", "nor", "&"})
_GRADES = ("trace", "mild", "mild_moderate", "moderate", "moderate_severe", "severe")
_MODIFIERS = frozenset({*_GRADES, "ordinal", "left", "right", "bilateral", "new", "increased", "decreased", "stable", "subcm", "prior", "open", "unc_pre"})
#: Cues that are also read inside a term ("mild bronchiectasis").
_INNER = frozenset({*_GRADES, "left", "right", "bilateral"})
_CHANGES = ("new", "increased", "decreased", "stable")
_LOCATED = frozenset({"lung", "liver", "pancreas", "kidney", "bone", "spine", "artery", "aorta", "bowel", "heart", "lymph_node", "vein", "adrenal",
                      "soft_tissue", "peritoneum", "pulmonary_artery"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One mention of a finding.

    Attributes:
        kind: key of the lexicon's kinds.
        status: present, absent, uncertain, history (not now), hypothetical (only asked for).
        site: site the mention was attached to; the kind's home when none was written.
        sides: subset of {"left", "right"}; both for bilateral, empty when not stated.
        locations: finer sites inside the home (upper_lobe, liver_segment_6, T12), empty when not stated.
        sizes_mm: stated dimensions, largest first; () when none.
        grade: severity from 1 (trace) over 1.5 (mild), 3 (moderate) to 4 (severe, large); None when not stated.
        change: new, increased, decreased, stable or "".
        small: said to be below 1 cm or not enlarged by size.
        start, stop: span of the mention in the report.
        sentence: span of its sentence.
        section: findings or impression.
        measured: from a structured report, so numbers are exact.
        change_span: span of the words of change, or () when none.
    """

    kind: str
    status: str
    site: str
    sides: frozenset[str] = frozenset()
    locations: frozenset[str] = frozenset()
    sizes_mm: tuple[float, ...] = ()
    grade: float | None = None
    change: str = ""
    small: bool = False
    start: int = 0
    stop: int = 0
    sentence: tuple[int, int] = (0, 0)
    section: str = "findings"
    measured: bool = False
    change_span: tuple[int, int] | tuple[()] = ()

    @property
    def size_mm(self) -> float | None:
        """The largest stated dimension, mm."""
        return self.sizes_mm[0] if self.sizes_mm else None


@dataclass(frozen=True, slots=True)
class Reading:
    """Frames of a report, sites called normal, and spans of comparisons that name no finding."""

    frames: tuple[Frame, ...]
    normal_sites: frozenset[str]
    comparisons: tuple[tuple[int, int, str], ...] = ()


@dataclass(slots=True)
class _Context:
    """What a sentence inherits: the heading of its line and the sites of the sentence before."""

    heading: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sentence:
    """A parsed sentence's result, spans relative to it."""

    frames: list[Frame]
    normal: list[str]
    sites: tuple[str, ...]
    heading: tuple[str, ...] | None
    refers: bool
    attributes: Frame | None
    comparison: tuple[int, int, str] | None
    inherits: bool = False  # what it says depends on the heading or the sentence before


@dataclass(slots=True)
class _Mention:
    start: int
    stop: int
    pairs: list[tuple[str, str]] = field(default_factory=list)  # (kind, site)
    head: Head | None = None
    fixed: str = ""
    fallback: list[str] = field(default_factory=list)
    unplaced: bool = False  # no site of its own: from the heading, the sentence before, or by default


def read_frames(text: str, lexicon: Lexicon | None = None) -> Reading:
    """Frames of a report's text. Indication, history, technique and comparison sections state none."""
    lexicon = lexicon or load_lexicon()
    frames: list[Frame] = []
    normal: set[str] = set()
    comparisons: list[tuple[int, int, str]] = []
    context, paragraph, section = _Context(), -1, ""
    cache = _CACHE.setdefault(lexicon.digest, {})
    for span in sentences(text):
        if span.section != section:
            context.heading = ()
        if span.paragraph != paragraph:
            context.carried = ()
        section, paragraph = span.section, span.paragraph
        piece = text[span.start:span.stop]
        done = cache.get(piece)
        if done is None:
            key = (piece, context.heading, context.carried)
            done = cache.get(key)
            if done is None:
                done = _read_sentence(piece, context.heading, context.carried, lexicon)
                if len(cache) > _CACHED:
                    cache.clear()
                cache[key if done.inherits else piece] = done
        if done.heading is not None:
            context.heading = done.heading
        if done.refers and done.attributes is not None and frames and frames[-1].sentence[1] <= span.start:
            frames[-1] = _complete(frames[-1], done.attributes, span)
            continue
        for frame in done.frames:
            frames.append(_placed(frame, span))
        normal.update(done.normal)
        if done.comparison and not done.frames:
            a, b, change = done.comparison
            comparisons.append((a + span.start, b + span.start, change))
        if done.sites:
            context.carried = done.sites
    return Reading(tuple(frames), frozenset(normal), tuple(comparisons))


def _placed(frame: Frame, span: Span) -> Frame:
    """The frame with spans of the report; written out because it runs for every mention."""
    at = span.start
    moved = (frame.change_span[0] + at, frame.change_span[1] + at) if frame.change_span else ()
    return Frame(frame.kind, frame.status, frame.site, frame.sides, frame.locations, frame.sizes_mm, frame.grade, frame.change, frame.small,
                 frame.start + at, frame.stop + at, (at, span.stop), span.section, False, moved)


def _complete(frame: Frame, extra: Frame, span: Span) -> Frame:
    return replace(frame, sizes_mm=frame.sizes_mm or extra.sizes_mm, grade=frame.grade if frame.grade is not None else extra.grade,
                   change=frame.change or extra.change, sides=frame.sides or extra.sides, locations=frame.locations or extra.locations,
                   small=frame.small or extra.small,
                   change_span=frame.change_span or ((extra.change_span[0] + span.start, extra.change_span[1] + span.start) if extra.change_span else ()))


def _read_sentence(text: str, heading: tuple[str, ...], carried: tuple[str, ...], lexicon: Lexicon) -> _Sentence:
    """One sentence in its context; pure, so repeated boilerplate is read once."""
    parsed = parse(text, lexicon)
    new_heading = _heading(parsed, lexicon)
    context = new_heading if new_heading else heading
    if not parsed.hits:
        return _Sentence([], [], (), new_heading, False, None, None)
    mentions = _mentions(parsed, lexicon)
    kept: list[_Mention] = []
    for mention in mentions:
        _resolve(mention, mentions, parsed, lexicon, context, carried)
        if mention.pairs:
            kept.append(mention)
    frames: list[Frame] = []
    own: list[tuple[_Mention, Frame]] = []
    for index, mention in enumerate(kept):
        status = mention.fixed or ("present" if mention.head is not None and mention.head.positive else status_of(parsed.scope, mention.start, mention.stop))
        zone = _zone(index, kept, parsed)
        if status == "uncertain" and lexicon.kinds[mention.pairs[0][0]].procedure:
            status = "present"  # "likely related to prior cholecystectomy" doubts the relation, not the operation
        for kind, site in mention.pairs:
            frame = _describe(kind, site, status, mention, zone, parsed, lexicon)
            own.append((mention, frame))
    own = _share(own, parsed, lexicon)
    frames = _tidy(own, "reach" in parsed.words or "reaching" in parsed.words)
    sites = tuple(dict.fromkeys([lexicon.sites[m.site].id for _, _, m in parsed.hits if m.site]))
    sites = sites or tuple(dict.fromkeys(f.site for f in frames if f.site))
    attributes = _reference(parsed, kept, frames, bool(sites), lexicon)
    normal = _normal_sites(parsed, context, lexicon)
    frames += _measured(parsed, frames, lexicon)
    return _Sentence(frames, normal, sites, new_heading, attributes is not None, attributes, _comparison(parsed, text),
                     bool(not new_heading and parsed.scope.cues.get("normal")) or any(m.unplaced for m in mentions))


def _reference(parsed: Parsed, mentions: list[_Mention], frames: list[Frame], sited: bool, lexicon: Lexicon) -> Frame | None:
    """Attributes of a sentence that only speaks on about the finding before it ("It measures 2 cm", "This nodule is new"); else None."""
    pronoun = any(a <= 1 for a, _ in parsed.scope.cues.get("refer", ()))
    if frames:
        first = mentions[0]
        general = len(frames) == 1 and first.head is not None and not first.head.quality and first.unplaced
        if not (general and (pronoun or (first.start <= 2 and parsed.words[0] in ("the", "this", "these", "described")))):
            return None
    elif sited and not pronoun:
        return None
    attributes = _describe("", "", "present", _Mention(0, 0), (0, len(parsed.words)), parsed, lexicon)
    return attributes if attributes.sizes_mm or attributes.change or attributes.grade else None


def _comparison(parsed: Parsed, text: str) -> tuple[int, int, str] | None:
    """Words of change in a sentence that names no finding (``No significant interval change.``)."""
    for name in ("pseudo", *_CHANGES):
        for a, b in parsed.scope.cues.get(name, ()):
            if name == "pseudo" and parsed.words[a] not in ("no", "without"):
                continue
            return parsed.starts[a], parsed.stops[b - 1], "stable" if name == "pseudo" else name
    return None


def _heading(parsed: Parsed, lexicon: Lexicon) -> tuple[str, ...] | None:
    """Sites of a heading (``Liver:``, ``LUNGS AND PLEURA``) at the start of the sentence; None when it has none."""
    colon = parsed.scope.colon
    if colon < 0:
        if parsed.text.isupper() and len(parsed.words) <= 4 and parsed.hits and all(m.site for _, _, m in parsed.hits):
            colon = len(parsed.words)
        else:
            return None
    lead = [m for a, _, m in parsed.hits if a < colon]
    if any("verb" in m.cues for m in lead):
        return None
    if any(m.kinds or m.head for m in lead):
        return tuple(lexicon.kinds[name].home for m in lead for name in m.kinds if lexicon.kinds[name].home) or None
    return tuple(dict.fromkeys(lexicon.sites[m.site].id for m in lead if m.site))


def _mentions(parsed: Parsed, lexicon: Lexicon) -> list[_Mention]:
    out = []
    for a, b, meaning in parsed.hits:
        if meaning.head:  # a word that also names a kind outright falls back on it
            head = lexicon.heads[meaning.head]
            out.append(_Mention(a, b, [], head, head.status, list(meaning.kinds)))
        elif meaning.kinds:
            before = out[-1] if out else None
            if before is not None and before.head is not None and meaning.kinds[0] == "lymph_node" and a - before.stop <= 10 \
                    and before.head.by_site.get("lymph_node") and not before.fixed and not any(
                        before.stop <= t < a and (parsed.words[t] not in _CONJ or t + 1 in parsed.scope.openers)
                        for t in (*parsed.scope.soft, *parsed.scope.hard, *(v for v, _ in parsed.scope.verbs))):
                out[-1] = _Mention(before.start, b, [(before.head.by_site["lymph_node"], "lymph_node")])  # "enlarged left hilar node"
                continue
            out.append(_Mention(a, b, [(kind, lexicon.kinds[kind].home) for kind in meaning.kinds]))
    return out


def _kind_for(head: Head, site: str, lexicon: Lexicon) -> str | None:
    """Kind that the head has at that site; None when the site says nothing about it; "" when it is no finding."""
    for ancestor in lexicon.sites[site].lineage:
        if ancestor in head.by_site:
            return head.by_site[ancestor]
    return None


def _resolve(mention: _Mention, mentions: list[_Mention], parsed: Parsed, lexicon: Lexicon, heading: tuple[str, ...], carried: tuple[str, ...]) -> None:
    """Give a general head its kinds and sites; add coordinated kinds ("pleural or pericardial effusion")."""
    if mention.head is None:
        kind = mention.pairs[0][0]
        last = parsed.words[mention.stop - 1]
        for head in lexicon.heads.values():
            if last in head.last_words and kind in head.by_site.values() and parsed.words[mention.start - 1] in _CONJ:
                have = {k for k, _ in mention.pairs}
                for site in _before(mention.start, parsed, head, lexicon, joined=True):
                    other = _kind_for(head, site, lexicon)
                    if other and other not in have:
                        mention.pairs.append((other, site))
                        have.add(other)
                break
        first = parsed.words[mention.start]
        for a, _, meaning in parsed.hits:  # "enlargement of the spleen or liver"
            if a >= mention.stop:
                between = parsed.words[mention.stop:a]
                if meaning.site and a - mention.stop <= 2 and set(between) <= {"or", "and", "the"} and between and between[0] in ("or", "and"):
                    other = next((k for h in lexicon.heads.values() if first in h.last_words and kind in h.by_site.values()
                                  and (k := _kind_for(h, meaning.site, lexicon))), None)
                    if other and other != kind:
                        mention.pairs.append((other, meaning.site))
                break
        return
    head = mention.head
    if head.quality and parsed.words[mention.start] in ("increased", "increase", "size") and any(
            m.stop <= mention.start and (m.head is None or not m.head.quality) for m in mentions):
        return  # the growth of a finding named before, not of an organ
    sites: list[str] = []
    if head.quality:
        sites = _after(mention, mentions, parsed, head, lexicon, 3) or _before(mention.start, parsed, head, lexicon) \
            or _earlier(mention, parsed, head, lexicon, heading) or _after(mention, mentions, parsed, head, lexicon, 99)
    else:
        sites = _before(mention.start, parsed, head, lexicon) or _after(mention, mentions, parsed, head, lexicon, 99) \
            or _earlier(mention, parsed, head, lexicon, heading)
    mention.unplaced = not sites
    if not sites:
        noun = not head.quality or parsed.words[mention.stop - 1] in ("thickening", "dilatation", "calcification", "enlargement", "atrophy")
        before = tuple(m.site for a, _, m in reversed(parsed.hits) if m.site and a < mention.start) if noun else ()
        for source in (before[:1], heading, carried if head.carry and noun else ()):
            sites = [s for s in source if s in lexicon.sites and _kind_for(head, s, lexicon)]
            if sites:
                sites = sites[:1] if not head.quality else sites
                break
    pairs = dict.fromkeys((kind, lexicon.sites[site].id) for site in sites if (kind := _kind_for(head, site, lexicon)))
    if not pairs and mention.fallback and not _elsewhere(mention, parsed):
        pairs = {(kind, lexicon.kinds[kind].home): None for kind in mention.fallback}
    elif not pairs and not sites and head.default:
        pairs = {(head.default, ""): None}
    seen: set[str] = set()
    for kind, site in pairs:
        if kind not in seen:
            seen.add(kind)
            mention.pairs.append((kind, site))


def _elsewhere(mention: _Mention, parsed: Parsed) -> bool:
    """Whether the word is said of a site it has no kind for ("fatty infiltration of the colon")."""
    return any(mention.stop <= a <= mention.stop + 2 and m.site for a, _, m in parsed.hits) and parsed.words[mention.stop] in ("of", "in")


def _before(start: int, parsed: Parsed, head: Head, lexicon: Lexicon, joined: bool = False) -> list[str]:
    """Sites written directly before a word, through modifiers and conjunctions."""
    ends = {b: (a, b, m) for a, b, m in parsed.hits if b <= start}
    found: list[str] = []
    at, free = start, 2
    while at > 0:
        hit = ends.get(at)
        if hit is not None:
            site = hit[2].site
            if site:
                if _kind_for(head, site, lexicon) is None and not found:
                    if free <= 0:
                        break
                    free -= 1
                elif _kind_for(head, site, lexicon) is not None:
                    found.append(site)
            elif _MODIFIERS.isdisjoint(hit[2].cues):
                kinds = hit[2].kinds
                home = lexicon.kinds[kinds[0]].home if kinds else ""
                if not found and not joined and home in lexicon.sites and _kind_for(head, home, lexicon) and parsed.words[at:start] and set(parsed.words[at:start]) <= _CONJ:
                    found.append(home)
                break
            at = hit[0]
        elif parsed.words[at - 1] in _CONJ:
            if not found and not joined:
                if at - 1 >= 1 and ends.get(at - 1) and ends[at - 1][2].kinds:
                    at -= 1
                    continue
                break
            at -= 1
        elif not found and free > 0 and parsed.words[at - 1].isalpha():
            free -= 1
            at -= 1
        else:
            break
    return found


def _after(mention: _Mention, mentions: list[_Mention], parsed: Parsed, head: Head, lexicon: Lexicon, reach: int) -> list[str]:
    """Sites that follow a word ("of the", "in the"), with those coordinated to the first."""
    limit, end = len(parsed.words), mention.stop
    for m in mentions:  # mentions joined to this one by a conjunction share what follows: "nodule or mass in the liver"
        if m.start >= mention.stop:
            between = parsed.words[end:m.start]
            if reach < 99 or len(between) > 4 or (len(between) > 1 and not set(between) & _CONJ) or any(end <= v < m.start for v, _ in parsed.scope.verbs):
                limit = m.start
                break
            end = m.stop
    found: list[str] = []
    last = mention.stop
    verbs = [v for v, _ in parsed.scope.verbs]
    for a, b, meaning in parsed.hits:
        if a < mention.stop or meaning.kinds or meaning.head:
            continue
        if a >= limit or (a - last > reach and not found) or any(last <= h < a for h in parsed.scope.hard):
            break
        if "relation" in meaning.cues:
            break
        site = meaning.site
        if not site:
            continue
        if reach < 99 and not found and any(mention.stop <= v < a for v in verbs):
            break
        if reach < 99 and not found and any(parsed.words[i] in (",", "and", ";", "(") for i in range(mention.stop, a)):
            break
        if found and not set(parsed.words[last:a]) <= _CONJ | {"the", "in", "of", "both", "right", "left", "bilateral", "also", "at", "on", "wall", "along"}:
            break
        if _kind_for(head, site, lexicon) is not None:
            found.append(site)
        last = b
    return found


def _earlier(mention: _Mention, parsed: Parsed, head: Head, lexicon: Lexicon, heading: tuple[str, ...]) -> list[str]:
    """The last fitting site before a word in the same clause, with those coordinated to it."""
    floor = max((h for h in parsed.scope.hard if h < mention.start), default=-1)
    hits = [hit for hit in parsed.hits if floor < hit[0] and hit[1] <= mention.start]
    related = {a for a, _ in parsed.scope.cues.get("relation", ())}
    for index in range(len(hits) - 1, -1, -1):
        a, b, meaning = hits[index]
        site = meaning.site
        if not site:
            kinds = meaning.kinds
            home = lexicon.kinds[kinds[0]].home if kinds else ""
            if home in lexicon.sites and _kind_for(head, home, lexicon) and not (
                    head.quality and any(b <= s < mention.start and parsed.words[s] != "with" for s in parsed.scope.soft)):
                return [home]
            continue
        if any(0 <= a - r <= 4 for r in related) or _kind_for(head, site, lexicon) is None:
            continue
        if head.quality and any(b <= v < mention.start for v, _ in parsed.scope.verbs) and any(
                parsed.words[s] in (",", "and") and any(b <= v < s for v, _ in parsed.scope.verbs) and any(s < c < mention.start and (m.site or m.kinds) for c, _, m in hits)
                for s in parsed.scope.soft if b <= s < mention.start):
            return []
        found, left = [site], a
        for before in range(index - 1, -1, -1):
            c, d, meaning = hits[before]
            other = meaning.site
            if not set(parsed.words[d:left]) <= _CONJ | {"the", "right", "left"}:
                break
            if other and _kind_for(head, other, lexicon) is not None:
                found.append(other)
            left = c
        return found
    return []


def _zone(index: int, mentions: list[_Mention], parsed: Parsed) -> tuple[int, int]:
    """Words whose attributes belong to a mention: up to the last conjunction towards each neighbour."""
    mention = mentions[index]
    causes = (a for name in ("cause", "relation") for a, b in parsed.scope.cues.get(name, ()) if b - a > 1)
    breaks = sorted([*parsed.scope.hard, *causes, *(s for s in parsed.scope.soft if parsed.words[s] != ")")])
    low, high = 0, len(parsed.words)
    if index:
        low = max((s + 1 for s in breaks if mentions[index - 1].stop <= s < mention.start), default=mentions[index - 1].stop)
    if index + 1 < len(mentions):
        following = mentions[index + 1].start
        high = max((s for s in breaks if mention.stop <= s < following), default=following)
    for h in parsed.scope.hard:
        if h < mention.start:
            low = max(low, h + 1)
        elif h >= mention.stop:
            high = min(high, h)
    return low, max(high, mention.stop)


def _describe(kind: str, site: str, status: str, mention: _Mention, zone: tuple[int, int], parsed: Parsed, lexicon: Lexicon) -> Frame:
    """Attributes of a mention from the words of its zone."""
    low, high = zone
    sides: set[str] = set()
    locations: set[str] = set()
    grade: float | None = None
    grade_at = 999
    change, change_span, small = "", (), False
    home = lexicon.kinds[kind].home if kind else ""
    blocked = -1
    for a, b, meaning in parsed.hits:
        if b <= low or a >= high:
            continue
        if meaning.cues:
            for name in meaning.cues:
                if name == "left" or name == "right":
                    if a > blocked:
                        sides.add(name)
                elif name == "bilateral":
                    sides.update(("left", "right"))
                elif name in _GRADES:
                    gap = mention.start - b if b <= mention.start else 2 + a - mention.stop
                    if not kind or 0 <= gap < grade_at and not (parsed.words[a] == "significant" and status == "absent"):
                        grade, grade_at = lexicon.cues[name]["grade"], gap
                elif name in _CHANGES and not change and not (mention.start <= a < mention.stop and "comparison" not in parsed.scope.cues):
                    change, change_span = name, (parsed.starts[a], parsed.stops[b - 1])
                elif name == "pseudo" and not change:
                    change, change_span = "stable", (parsed.starts[a], parsed.stops[b - 1])
                elif name == "subcm":
                    small = True
                elif name == "relation":
                    blocked = a + 5
        if meaning.site and a > blocked:
            place = lexicon.sites[meaning.site]
            if place.side:
                sides.add(place.side)
            if b - a > 1:
                sides.update(w for w in parsed.words[a:b] if w == "left" or w == "right")
            if kind and _is_location(place.id, place.lineage, home, kind, lexicon):
                locations.add(place.id)
    sizes: tuple[float, ...] = ()
    for size in parsed.sizes:
        if low <= size.word < high and (not sizes or size.dims_mm[0] > sizes[0]):
            sizes = _bounded(size)
    if mention.stop - mention.start > 1:
        for name in _inside(tuple(parsed.words[mention.start:mention.stop]), lexicon):
            if name in ("left", "right"):
                sides.add(name)
            elif name == "bilateral":
                sides.update(("left", "right"))
            elif name in _GRADES:
                grade = lexicon.cues[name]["grade"] if grade is None else grade
            elif kind and _is_location(name, lexicon.sites[name].lineage, home, kind, lexicon):
                locations.add(name)
    if home and (site not in lexicon.sites or home not in lexicon.sites[site].lineage):
        site = home
    start = parsed.starts[mention.start] if mention.stop else 0
    stop = parsed.stops[mention.stop - 1] if mention.stop else 0
    return Frame(kind, status, site, frozenset(sides), frozenset(locations), sizes, grade, change, small, start, stop, change_span=change_span)


def _inside(words: tuple[str, ...], lexicon: Lexicon) -> tuple[str, ...]:
    """Sites and sides written inside a term ("left rib fracture"): names of both."""
    done = _INSIDE.get((lexicon.digest, words))
    if done is not None:
        return done
    trie = lexicon.trie
    out: list[str] = []
    i = 0
    while i < len(words):
        node, end = trie.get(words[i]), i + 1
        best: list[str] = []
        j = i + 1
        while node is not None:
            meaning = node.get("")
            found = [] if meaning is None else [name for name in (meaning.site, *meaning.cues) if name and (name == meaning.site or name in _INNER)]
            if found:
                best, end = found, j
            if j >= len(words):
                break
            node = node.get(words[j])
            j += 1
        out += [lexicon.sites[n].id if n in lexicon.sites else n for n in best]
        out += [w for w in words[i:end] if end - i > 1 and w in ("left", "right")]
        i = end
    _INSIDE[lexicon.digest, words] = tuple(out)
    return tuple(out)


def _bounded(size: Size) -> tuple[float, ...]:
    if size.bound:
        return tuple(v * 0.95 for v in size.dims_mm)
    return size.dims_mm


def _is_location(site: str, lineage: tuple[str, ...], home: str, kind: str, lexicon: Lexicon) -> bool:
    """Whether a site is a finer place of a kind: below its home, or any station for nodes and kinds without home."""
    if home == "lymph_node" or not home:
        return site not in ("chest", "abdomen", "lymph_node")
    if home == "pleura":
        return False
    return (home in lineage and site != home) or (home == "bronchus" and "lung" in lineage and site != "lung")


def _share(own: list[tuple[_Mention, Frame]], parsed: Parsed, lexicon: Lexicon) -> list[tuple[_Mention, Frame]]:
    """Neighbours joined by a conjunction share side and location when only one states them ("A and B in the left lower lobe")."""
    out = list(own)
    for i in range(len(out) - 1):
        (m, f), (n, g) = out[i], out[i + 1]
        if f.status != g.status or lexicon.kinds[f.kind].home != lexicon.kinds[g.kind].home or m is n:
            continue
        between = parsed.words[m.stop:n.start]
        if len(between) > 6 or not set(between) & {"and", "or", ","} or any(m.stop <= v < n.start for v, _ in parsed.scope.verbs):
            continue
        if not f.sides and not f.locations and (g.sides or g.locations):
            out[i] = (m, replace(f, sides=g.sides, locations=g.locations))
        elif not g.sides and not g.locations and (f.sides or f.locations):
            out[i + 1] = (n, replace(g, sides=f.sides, locations=f.locations))
    return out


def _tidy(own: list[tuple[_Mention, Frame]], below: bool) -> list[Frame]:
    """Nodes that are said not to be enlarged are no finding; those that only "do not reach" a limit are described.

    A node beside the word for its enlargement is one finding, not two.
    """
    frames = [frame for _, frame in own]
    if not any(f.kind == "lymph_node" for f in frames):
        return frames
    said_of_nodes = any(m.head is not None and f.kind == "lymphadenopathy" and f.status == "absent" for m, f in own)
    enlarged = [f for f in frames if f.kind == "lymphadenopathy"]
    if any(f.status in ("present", "uncertain") for f in enlarged):
        return [f for f in frames if f.kind != "lymph_node"]
    if below and any(f.status == "absent" for f in enlarged):
        size = next((f.sizes_mm for f in enlarged if f.sizes_mm), ())
        return [replace(f, status="present" if f.status == "absent" else f.status, sizes_mm=f.sizes_mm or size, small=True) if f.kind == "lymph_node" else f
                for f in frames if f.kind != "lymphadenopathy"]
    if said_of_nodes:
        return [replace(f, status="absent") if f.kind == "lymph_node" and f.status == "present" and not f.sizes_mm and not f.small else f for f in frames]
    return frames


def _normal_sites(parsed: Parsed, heading: tuple[str, ...], lexicon: Lexicon) -> list[str]:
    """Sites that the sentence calls normal."""
    scope = parsed.scope
    out: list[str] = []
    for a, b in scope.cues.get("normal", ()):
        if any(c <= a and d >= a - 2 for c, d in scope.cues.get("neg_pre", ())):
            continue
        floor = max((h for h in scope.hard if h < a), default=-1)
        verbs = [v for v, w in scope.verbs if floor < v < a and a - w > 2]
        floor = max([floor, *(s for s in scope.soft if s < a and parsed.words[s] in (",", "and", ";") and any(v < s for v in verbs))])
        sites = [hit[2].site for hit in parsed.hits if floor < hit[0] < a and hit[2].site]
        if not sites:
            ceiling = min([h for h in scope.hard if h >= b] + [v for v, _ in scope.verbs if v >= b] + [len(parsed.words)])
            sites = [hit[2].site for hit in parsed.hits if b <= hit[0] < ceiling and hit[2].site]
        out += sites or list(heading)
    return [lexicon.sites[s].id for s in out if s in lexicon.sites]


def _measured(parsed: Parsed, frames: list[Frame], lexicon: Lexicon) -> list[Frame]:
    """An organ given only by a size above its limit ("The spleen measures 15 cm")."""
    if not parsed.sizes or frames:
        return []
    sites = {lexicon.sites[m.site].id for _, _, m in parsed.hits if m.site}
    for row in lexicon.measured:
        if row["site"] in sites and parsed.sizes[0].dims_mm[0] >= row["min_mm"] and not parsed.scope.cues.get("normal"):
            return [Frame(row["kind"], "present", row["site"], sizes_mm=parsed.sizes[0].dims_mm, start=0, stop=len(parsed.text))]
    return []


def present(frames: Iterable[Frame]) -> list[Frame]:
    """Frames that assert a finding, sure or not."""
    return [f for f in frames if f.status in ("present", "uncertain")]
