"""Side, place, size, severity and change of a mention, from the words of its zone.

Neighbors divide the sentence at the last conjunction between them, so "small effusion with moderate atelectasis"
gives each its own severity; joined neighbors share a side and a place that only one of them states.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from radvlm.report_reader.frame import Frame
from radvlm.report_reader.lexicon import Lexicon, Meaning, Site
from radvlm.report_reader.matching import Parsed, Size
from radvlm.report_reader.mentions import GRADES, Mention

#: A term found in a sentence: its first word, the word after its last, what it means.
Hit = tuple[int, int, Meaning]
CHANGES = ("new", "increased", "decreased", "stable")
#: Cues that are also read inside a term ("mild bronchiectasis").
_INNER = frozenset({*GRADES, "left", "right", "bilateral"})
#: Sides that a cue stands for.
_SIDES = {"left": ("left",), "right": ("right",), "bilateral": ("left", "right")}
#: Sites and sides inside a term, by lexicon and words; filled as terms occur.
_INSIDE: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}


def zone_of(index: int, mentions: list[Mention], parsed: Parsed) -> tuple[int, int]:
    """Words whose attributes belong to a mention: up to the last conjunction toward each neighbor."""
    mention = mentions[index]
    causes = (a for name in ("cause", "relation") for a, b in parsed.scope.cues.get(name, ()) if b - a > 1)
    breaks = sorted([*parsed.scope.hard, *causes, *(s for s in parsed.scope.soft if parsed.words[s] != ")")])
    low, high = 0, len(parsed.words)
    if index:
        low = max(
            (s + 1 for s in breaks if mentions[index - 1].stop <= s < mention.start), default=mentions[index - 1].stop
        )
    if index + 1 < len(mentions):
        following = mentions[index + 1].start
        high = max((s for s in breaks if mention.stop <= s < following), default=following)
    for h in parsed.scope.hard:
        if h < mention.start:
            low = max(low, h + 1)
        elif h >= mention.stop:
            high = min(high, h)
    return low, max(high, mention.stop)


def describe(
    kind: str, site: str, status: str, mention: Mention, zone: tuple[int, int], parsed: Parsed, lexicon: Lexicon
) -> Frame:
    """Attributes of a mention from the words of its zone."""
    low, high = zone
    hits = [hit for hit in parsed.hits if hit[1] > low and hit[0] < high]
    own = tuple(parsed.words[mention.start : mention.stop])
    within = inside(own, lexicon) if len(own) > 1 else ()
    home = lexicon.kinds[kind].home if kind else ""
    sides, places = _sides_and_places(hits, within, parsed, lexicon)
    change, change_span = _change(hits, mention, parsed)
    if home and (site not in lexicon.sites or home not in lexicon.sites[site].lineage):
        site = home
    return Frame(
        kind,
        status,
        site,
        sides,
        frozenset(place.id for place in places if kind and _is_location(place.id, place.lineage, home, kind, lexicon)),
        _largest_size([size for size in parsed.sizes if low <= size.word < high]),
        _grade(kind, status, hits, within, mention, parsed, lexicon),
        change,
        any("subcm" in meaning.cues for _, _, meaning in hits),
        parsed.starts[mention.start] if mention.stop else 0,
        parsed.stops[mention.stop - 1] if mention.stop else 0,
        change_span=change_span,
    )


def _sides_and_places(
    hits: list[Hit], within: tuple[str, ...], parsed: Parsed, lexicon: Lexicon
) -> tuple[frozenset[str], list[Site]]:
    """Sides and sites of the zone and of the term itself; words right after a relation ("next to") are of another."""
    sides: set[str] = set()
    places: list[Site] = []
    blocked = -1
    for a, b, meaning in hits:
        for name in meaning.cues:
            if name == "relation":
                blocked = a + 5
            elif name == "bilateral" or a > blocked:
                sides.update(_SIDES.get(name, ()))
        if meaning.site and a > blocked:
            place = lexicon.sites[meaning.site]
            places.append(place)
            sides.update(filter(None, (place.side,)))
            sides.update(word for word in parsed.words[a:b] if b - a > 1 and word in ("left", "right"))
    for name in within:
        sides.update(_SIDES.get(name, ()))
    places += [lexicon.sites[name] for name in within if name in lexicon.sites]
    return frozenset(sides), places


def _grade(
    kind: str, status: str, hits: list[Hit], within: tuple[str, ...], mention: Mention, parsed: Parsed, lexicon: Lexicon
) -> float | None:
    """Severity by the word of the zone that is nearest to the mention, else by one inside its term."""
    grade: float | None = None
    nearest = 999
    for a, b, meaning in hits:
        for name in meaning.cues:
            if name in GRADES:
                gap = mention.start - b if b <= mention.start else 2 + a - mention.stop
                denied = parsed.words[a] == "significant" and status == "absent"
                if not kind or (0 <= gap < nearest and not denied):
                    grade, nearest = lexicon.cues[name]["grade"], gap
    if grade is None:
        grade = next((lexicon.cues[name]["grade"] for name in within if name in GRADES), None)
    return grade


def _change(hits: list[Hit], mention: Mention, parsed: Parsed) -> tuple[str, tuple[int, int] | tuple[()]]:
    """The first change stated in the zone and its characters; one inside the term counts only beside a comparison."""
    for a, b, meaning in hits:
        for name in meaning.cues:
            inside_term = mention.start <= a < mention.stop and "comparison" not in parsed.scope.cues
            if name == "pseudo" or (name in CHANGES and not inside_term):
                return "stable" if name == "pseudo" else name, (parsed.starts[a], parsed.stops[b - 1])
    return "", ()


def _largest_size(sizes: list[Size]) -> tuple[float, ...]:
    """The first of the largest sizes; one that is only bounded ("below 5 mm") is taken a little smaller."""
    if not sizes:
        return ()
    largest = _bounded(sizes[0])
    for size in sizes[1:]:
        if size.dims_mm[0] > largest[0]:
            largest = _bounded(size)
    return largest


def inside(words: tuple[str, ...], lexicon: Lexicon) -> tuple[str, ...]:
    """Sites, sides and grades written inside a term ("left rib fracture"): names of all."""
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
            found = (
                []
                if meaning is None
                else [
                    name for name in (meaning.site, *meaning.cues) if name and (name == meaning.site or name in _INNER)
                ]
            )
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


def listed(mention: Mention, parsed: Parsed) -> list[tuple[int, int]]:
    """Zones of a list of sizes and places that follows a plural ("Two cysts: 3 cm in segment VI; 1 cm in segment II").

    Empty unless there are at least two items and each has its own size and its own place or side.
    """
    sizes = [s.word for s in parsed.sizes if s.word >= mention.stop]
    if len(sizes) < 2:
        return []
    cuts = sorted(i for i in (*parsed.scope.soft, *parsed.scope.hard) if parsed.words[i] in (",", ";", "and"))
    starts = [mention.stop]
    for previous, word in pairwise(sizes):
        between = [c for c in cuts if previous < c < word]
        if not between:
            return []
        starts.append(between[0])
    zones = list(zip(starts, [*starts[1:], len(parsed.words)], strict=True))
    for low, high in zones:
        placed = any(
            low <= a < high and (m.site or "left" in m.cues or "right" in m.cues or "bilateral" in m.cues)
            for a, _, m in parsed.hits
        )
        if not placed:
            return []
    return zones


def one_a_side(whole: Frame, zone: tuple[int, int], mention: Mention, parsed: Parsed, lexicon: Lexicon) -> list[Frame]:
    """The frame of a mention of both sides, or one for each side where each is described on its own.

    "Small right and large left effusion" has two severities, "a 9 mm right and a 2 cm left adrenal nodule" two sizes.
    """
    low, high = zone
    if len(whole.sides) < 2:
        return [whole]
    for cut in parsed.scope.soft:
        if low < cut < high and parsed.words[cut] in (",", "and"):
            f, g = (
                describe(whole.kind, whole.site, whole.status, mention, part, parsed, lexicon)
                for part in ((low, cut), (cut + 1, high))
            )
            told = ((f.grade, g.grade), (f.sizes_mm, g.sizes_mm), (f.change, g.change))
            if len(f.sides) == len(g.sides) == 1 and f.sides != g.sides and any(a and b and a != b for a, b in told):
                return [f, g]
    return [whole]


def share(own: list[tuple[Mention, Frame]], parsed: Parsed, lexicon: Lexicon) -> list[tuple[Mention, Frame]]:
    """Neighbors joined by a conjunction share a place that one of them states ("A and B in the left lower lobe")."""
    out = list(own)
    for i in range(len(out) - 1):
        (m, f), (n, g) = out[i], out[i + 1]
        if f.status != g.status or lexicon.kinds[f.kind].home != lexicon.kinds[g.kind].home or m is n:
            continue
        between = parsed.words[m.stop : n.start]
        if (
            len(between) > 6
            or not set(between) & {"and", "or", ","}
            or any(m.stop <= v < n.start for v, _ in parsed.scope.verbs)
        ):
            continue
        if not f.sides and not f.locations and (g.sides or g.locations):
            out[i] = (m, replace(f, sides=g.sides, locations=g.locations))
        elif not g.sides and not g.locations and (f.sides or f.locations):
            out[i + 1] = (n, replace(g, sides=f.sides, locations=f.locations))
    return out
