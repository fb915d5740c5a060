"""Side, place, size, severity and change of a mention, from the words of its zone.

Unusual: neighbors divide the sentence at the last conjunction between them, so "small effusion with moderate
atelectasis" gives each its own severity; joined neighbors share a side and a place that only one of them states.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from radvlm.report_reader.frame import Frame
from radvlm.report_reader.lexicon import Lexicon
from radvlm.report_reader.matching import Parsed, Size
from radvlm.report_reader.mentions import GRADES, Mention

CHANGES = ("new", "increased", "decreased", "stable")
#: Cues that are also read inside a term ("mild bronchiectasis").
_INNER = frozenset({*GRADES, "left", "right", "bilateral"})
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
    sides: set[str] = set()
    locations: set[str] = set()
    grade: float | None = None
    grade_at = 999
    change, small = "", False
    change_span: tuple[int, int] | tuple[()] = ()
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
                elif name in GRADES:
                    gap = mention.start - b if b <= mention.start else 2 + a - mention.stop
                    if not kind or (
                        0 <= gap < grade_at and not (parsed.words[a] == "significant" and status == "absent")
                    ):
                        grade, grade_at = lexicon.cues[name]["grade"], gap
                elif (
                    name in CHANGES
                    and not change
                    and not (mention.start <= a < mention.stop and "comparison" not in parsed.scope.cues)
                ):
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
        for name in inside(tuple(parsed.words[mention.start : mention.stop]), lexicon):
            if name in ("left", "right"):
                sides.add(name)
            elif name == "bilateral":
                sides.update(("left", "right"))
            elif name in GRADES:
                grade = lexicon.cues[name]["grade"] if grade is None else grade
            elif kind and _is_location(name, lexicon.sites[name].lineage, home, kind, lexicon):
                locations.add(name)
    if home and (site not in lexicon.sites or home not in lexicon.sites[site].lineage):
        site = home
    start = parsed.starts[mention.start] if mention.stop else 0
    stop = parsed.stops[mention.stop - 1] if mention.stop else 0
    return Frame(
        kind,
        status,
        site,
        frozenset(sides),
        frozenset(locations),
        sizes,
        grade,
        change,
        small,
        start,
        stop,
        change_span=change_span,
    )


def inside(words: tuple[str, ...], lexicon: Lexicon) -> tuple[str, ...]:
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
