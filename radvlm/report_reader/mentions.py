"""Mentions of findings in a sentence, and the sites they belong to.

The kind of a general word (nodule, dilated, effusion) follows from its site, looked for in the order in which
radiologists write: attached before it, after it, earlier in the sentence, the line's heading, the sentence before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from radvlm.report_reader.lexicon import Head, Lexicon
from radvlm.report_reader.matching import Parsed

CONJUNCTIONS = frozenset({"and", "or", ",", "/", "nor", "&"})
GRADES = ("trace", "mild", "mild_moderate", "moderate", "moderate_severe", "severe")
#: Cues that may stand between a site and its finding.
_MODIFIERS = frozenset(
    {
        *GRADES,
        "ordinal",
        "left",
        "right",
        "bilateral",
        "new",
        "increased",
        "decreased",
        "stable",
        "subcm",
        "prior",
        "open",
        "unc_pre",
    }
)

#: Qualities that only describe a noun right after them.
_DESCRIBING = frozenset({"low_attenuation", "density"})
#: Words between two sites of one list.
_JOINING = CONJUNCTIONS | {"the", "in", "of", "both", "right", "left", "bilateral", "also", "at", "on", "wall", "along"}


@dataclass(slots=True)
class Mention:
    start: int
    stop: int
    pairs: list[tuple[str, str]] = field(default_factory=list)  # (kind, site)
    head: Head | None = None
    fixed: str = ""
    fallback: list[str] = field(default_factory=list)
    unplaced: bool = False  # no site of its own: from the heading, the sentence before, or by default


def find_mentions(parsed: Parsed, lexicon: Lexicon) -> list[Mention]:
    """Words that name a finding or, with a site, will; a word that only describes the next one is part of it."""
    out: list[Mention] = []
    for a, b, meaning in parsed.hits:
        if not meaning.head and not meaning.kinds:
            continue
        before = out[-1] if out else None
        noun = bool(meaning.kinds) if not meaning.head else not lexicon.heads[meaning.head].quality
        if before is not None and before.head is not None and before.head.quality and noun:
            if meaning.kinds[:1] == ("lymph_node",) and _describes(before, a, parsed, 10):  # "enlarged left hilar node"
                if before.head.by_site.get("lymph_node") and not before.fixed:
                    out[-1] = Mention(before.start, b, [(before.head.by_site["lymph_node"], "lymph_node")])
                    continue
            elif (
                before.head.id in _DESCRIBING
                and a - before.stop <= 3
                and not any(
                    before.stop <= t < a
                    for t in (*parsed.scope.soft, *parsed.scope.hard, *(v for v, _ in parsed.scope.verbs))
                )
            ):
                out.pop()  # "hypoattenuating renal cyst"
        if meaning.head:  # a word that also names a kind outright falls back on it
            head = lexicon.heads[meaning.head]
            out.append(Mention(a, b, [], head, head.status, list(meaning.kinds)))
        elif (
            meaning.kinds == ("lymph_node",)
            and a < parsed.scope.colon
            and any(h[0] > parsed.scope.colon for h in parsed.hits)
        ):
            continue  # the heading of a line about nodes
        else:
            out.append(Mention(a, b, [(kind, lexicon.kinds[kind].home) for kind in meaning.kinds]))
    return out


def _describes(quality: Mention, start: int, parsed: Parsed, reach: int) -> bool:
    """Whether only sites and conjunctions stand between a quality and the noun at ``start``."""
    stops = (*parsed.scope.soft, *parsed.scope.hard, *(v for v, _ in parsed.scope.verbs))
    return start - quality.stop <= reach and not any(
        quality.stop <= t < start and (parsed.words[t] not in CONJUNCTIONS or t + 1 in parsed.scope.openers)
        for t in stops
    )


def kind_for(head: Head, site: str, lexicon: Lexicon) -> str | None:
    """Kind that the head has at that site; None when the site says nothing about it; "" when it is no finding."""
    for ancestor in lexicon.sites[site].lineage:
        if ancestor in head.by_site:
            return head.by_site[ancestor]
    return None


def resolve(
    mention: Mention,
    mentions: list[Mention],
    parsed: Parsed,
    lexicon: Lexicon,
    heading: tuple[str, ...],
    carried: tuple[str, ...],
) -> None:
    """Give a general head its kinds and sites; add coordinated kinds ("pleural or pericardial effusion")."""
    if mention.head is None:
        kind = mention.pairs[0][0]
        last = parsed.words[mention.stop - 1]
        for head in lexicon.heads.values():
            if (
                last in head.last_words
                and kind in head.by_site.values()
                and parsed.words[mention.start - 1] in CONJUNCTIONS
            ):
                have = {k for k, _ in mention.pairs}
                for site in _before(mention.start, parsed, head, lexicon, joined=True):
                    other = kind_for(head, site, lexicon)
                    if other and other not in have:
                        mention.pairs.append((other, site))
                        have.add(other)
                break
        first = parsed.words[mention.start]
        for a, _, meaning in parsed.hits:  # "enlargement of the spleen or liver"
            if a >= mention.stop:
                between = parsed.words[mention.stop : a]
                if (
                    meaning.site
                    and a - mention.stop <= 2
                    and set(between) <= {"or", "and", "the"}
                    and between
                    and between[0] in ("or", "and")
                ):
                    other = next(
                        (
                            k
                            for h in lexicon.heads.values()
                            if first in h.last_words
                            and kind in h.by_site.values()
                            and (k := kind_for(h, meaning.site, lexicon))
                        ),
                        None,
                    )
                    if other and other != kind:
                        mention.pairs.append((other, meaning.site))
                break
        return
    head = mention.head
    if (
        head.quality
        and parsed.words[mention.start] in ("increased", "increase", "size")
        and any(m.stop <= mention.start and (m.head is None or not m.head.quality) for m in mentions)
    ):
        return  # the growth of a finding named before, not of an organ
    sites: list[str] = []
    if head.quality:
        sites = (
            _after(mention, mentions, parsed, head, lexicon, 3)
            or _before(mention.start, parsed, head, lexicon)
            or _earlier(mention, parsed, head, lexicon, heading)
            or _after(mention, mentions, parsed, head, lexicon, 99)
        )
    else:
        sites = (
            _before(mention.start, parsed, head, lexicon)
            or _after(mention, mentions, parsed, head, lexicon, 99)
            or _earlier(mention, parsed, head, lexicon, heading)
        )
    mention.unplaced = not sites
    if not sites:
        noun = not head.quality or parsed.words[mention.stop - 1] in (
            "thickening",
            "dilatation",
            "calcification",
            "enlargement",
            "atrophy",
        )
        before = tuple(m.site for a, _, m in reversed(parsed.hits) if m.site and a < mention.start) if noun else ()
        for near in (before[:1], heading, carried if head.carry and noun else ()):
            sites = [s for s in near if s in lexicon.sites and kind_for(head, s, lexicon)]
            if sites:
                sites = sites[:1] if not head.quality else sites
                break
    pairs = dict.fromkeys((named, lexicon.sites[site].id) for site in sites if (named := kind_for(head, site, lexicon)))
    if not pairs and mention.fallback and not _elsewhere(mention, parsed):
        pairs = {(kind, lexicon.kinds[kind].home): None for kind in mention.fallback}
    elif not pairs and not sites and head.default:
        pairs = {(head.default, ""): None}
    seen: set[str] = set()
    for kind, site in pairs:
        if kind not in seen:
            seen.add(kind)
            mention.pairs.append((kind, site))


def _elsewhere(mention: Mention, parsed: Parsed) -> bool:
    """Whether the word is said of a site it has no kind for ("fatty infiltration of the colon")."""
    return any(mention.stop <= a <= mention.stop + 2 and m.site for a, _, m in parsed.hits) and parsed.words[
        mention.stop
    ] in ("of", "in")


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
                if kind_for(head, site, lexicon) is None and not found:
                    if free <= 0:
                        break
                    free -= 1
                elif kind_for(head, site, lexicon) is not None:
                    found.append(site)
            elif _MODIFIERS.isdisjoint(hit[2].cues):
                kinds = hit[2].kinds
                home = lexicon.kinds[kinds[0]].home if kinds else ""
                if (
                    not found
                    and not joined
                    and home in lexicon.sites
                    and kind_for(head, home, lexicon)
                    and parsed.words[at:start]
                    and set(parsed.words[at:start]) <= CONJUNCTIONS
                ):
                    found.append(home)
                break
            at = hit[0]
        elif parsed.words[at - 1] in CONJUNCTIONS:
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


def _after(
    mention: Mention, mentions: list[Mention], parsed: Parsed, head: Head, lexicon: Lexicon, reach: int
) -> list[str]:
    """Sites that follow a word ("of the", "in the"), with those coordinated to the first."""
    limit, end = len(parsed.words), mention.stop
    for m in mentions:  # mentions joined to this one by a conjunction share what follows: "nodule or mass in the liver"
        if m.start >= mention.stop:
            between = parsed.words[end : m.start]
            if (
                reach < 99
                or len(between) > 4
                or (len(between) > 1 and not set(between) & CONJUNCTIONS)
                or any(end <= v < m.start for v, _ in parsed.scope.verbs)
            ):
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
        gap = set(parsed.words[last:a])
        listed = gap <= _JOINING or bool(a - last <= 6 and gap & CONJUNCTIONS and gap & {"in", "of"})
        if found and not listed:
            break
        if kind_for(head, site, lexicon) is not None:
            found.append(site)
        last = b
    return found


def _earlier(mention: Mention, parsed: Parsed, head: Head, lexicon: Lexicon, heading: tuple[str, ...]) -> list[str]:
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
            if (
                home in lexicon.sites
                and kind_for(head, home, lexicon)
                and not (
                    head.quality
                    and any(b <= s < mention.start and parsed.words[s] != "with" for s in parsed.scope.soft)
                )
            ):
                return [home]
            continue
        if any(0 <= a - r <= 4 for r in related) or kind_for(head, site, lexicon) is None:
            continue
        if (
            head.quality
            and any(b <= v < mention.start for v, _ in parsed.scope.verbs)
            and any(
                parsed.words[s] in (",", "and")
                and any(b <= v < s for v, _ in parsed.scope.verbs)
                and any(s < c < mention.start and (m.site or m.kinds) for c, _, m in hits)
                for s in parsed.scope.soft
                if b <= s < mention.start
            )
        ):
            return []
        found, left = [site], a
        for before in range(index - 1, -1, -1):
            c, d, meaning = hits[before]
            other = meaning.site
            if not set(parsed.words[d:left]) <= CONJUNCTIONS | {"the", "right", "left"}:
                break
            if other and kind_for(head, other, lexicon) is not None:
                found.append(other)
            left = c
        return found
    return []
