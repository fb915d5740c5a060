"""From a report's text to frames: one per mention of a finding, with what is said of it and its span.

A sentence is read on its own and remembered, because reports repeat their boilerplate; only what depends on the
heading or on the sentence before is read again. A sentence that only refers ("It measures 2 cm") completes the frame
before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from radvlm.report_reader.attributes import CHANGES, describe, listed, one_a_side, share, zone_of
from radvlm.report_reader.frame import Frame, Reading
from radvlm.report_reader.lexicon import Lexicon, load_lexicon
from radvlm.report_reader.matching import Parsed, parse
from radvlm.report_reader.mentions import Mention, find_mentions, resolve
from radvlm.report_reader.negation import status as status_of
from radvlm.report_reader.sentences import Span, sentences

#: Sentences remembered per lexicon.
_CACHED = 100_000
_CACHE: dict[str, dict[Any, Any]] = {}


def forget_sentences() -> None:
    """Drop the remembered sentences; see ``reading.forget``."""
    _CACHE.clear()


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
        piece = text[span.start : span.stop]
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
    return Frame(
        frame.kind,
        frame.status,
        frame.site,
        frame.sides,
        frame.locations,
        frame.sizes_mm,
        frame.grade,
        frame.change,
        frame.small,
        frame.start + at,
        frame.stop + at,
        (at, span.stop),
        span.section,
        False,
        moved,
    )


def _complete(frame: Frame, extra: Frame, span: Span) -> Frame:
    return replace(
        frame,
        sizes_mm=frame.sizes_mm or extra.sizes_mm,
        grade=frame.grade if frame.grade is not None else extra.grade,
        change=frame.change or extra.change,
        sides=frame.sides or extra.sides,
        locations=frame.locations or extra.locations,
        small=frame.small or extra.small,
        change_span=frame.change_span
        or ((extra.change_span[0] + span.start, extra.change_span[1] + span.start) if extra.change_span else ()),
    )


def _read_sentence(text: str, heading: tuple[str, ...], carried: tuple[str, ...], lexicon: Lexicon) -> _Sentence:
    """One sentence in its context; pure, so repeated boilerplate is read once."""
    parsed = parse(text, lexicon)
    new_heading = _heading(parsed, lexicon)
    context = new_heading if new_heading else heading
    if not parsed.hits:
        return _Sentence([], [], (), new_heading, False, None, None)
    mentions = find_mentions(parsed, lexicon)
    kept: list[Mention] = []
    for mention in mentions:
        resolve(mention, mentions, parsed, lexicon, context, carried)
        if mention.pairs:
            kept.append(mention)
    frames: list[Frame] = []
    own: list[tuple[Mention, Frame]] = []
    for index, mention in enumerate(kept):
        status = mention.fixed or (
            "present"
            if mention.head is not None and mention.head.positive
            else status_of(parsed.scope, mention.start, mention.stop)
        )
        zone = zone_of(index, kept, parsed)
        if status == "uncertain" and lexicon.kinds[mention.pairs[0][0]].procedure:
            status = "present"  # "likely related to prior cholecystectomy" doubts the relation, not the operation
        last = mention is mentions[-1] and status == "present" and (mention.head is None or not mention.head.quality)
        zones = listed(mention, parsed) if last and len(parsed.sizes) > 1 else []
        for kind, site in mention.pairs:
            for part in zones or [zone]:
                frame = describe(kind, site, status, mention, part, parsed, lexicon)
                own += [(mention, f) for f in one_a_side(frame, part, mention, parsed, lexicon)]
    own = share(own, parsed, lexicon)
    own = _explained(own, parsed)
    frames = _tidy(own, "reach" in parsed.words or "reaching" in parsed.words)
    sites = tuple(dict.fromkeys([lexicon.sites[m.site].id for _, _, m in parsed.hits if m.site]))
    sites = sites or tuple(dict.fromkeys(f.site for f in frames if f.site))
    attributes = _reference(parsed, kept, frames, bool(sites), lexicon)
    normal = _normal_sites(parsed, context, lexicon)
    frames += _measured(parsed, frames, lexicon)
    return _Sentence(
        frames,
        normal,
        sites,
        new_heading,
        attributes is not None,
        attributes,
        _comparison(parsed, text),
        bool(not new_heading and parsed.scope.cues.get("normal")) or any(m.unplaced for m in mentions),
    )


def _reference(
    parsed: Parsed, mentions: list[Mention], frames: list[Frame], sited: bool, lexicon: Lexicon
) -> Frame | None:
    """Attributes of a sentence that only speaks on about the finding before it ("It measures 2 cm"); else None."""
    pronoun = any(a <= 1 for a, _ in parsed.scope.cues.get("refer", ()))
    if frames:
        first = mentions[0]
        general = len(frames) == 1 and first.head is not None and not first.head.quality and first.unplaced
        if not (
            general and (pronoun or (first.start <= 2 and parsed.words[0] in ("the", "this", "these", "described")))
        ):
            return None
    elif sited and not pronoun:
        return None
    attributes = describe("", "", "present", Mention(0, 0), (0, len(parsed.words)), parsed, lexicon)
    return attributes if attributes.sizes_mm or attributes.change or attributes.grade else None


def _comparison(parsed: Parsed, text: str) -> tuple[int, int, str] | None:
    """Words of change in a sentence that names no finding (``No significant interval change.``)."""
    for name in ("pseudo", *CHANGES):
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


def _explained(own: list[tuple[Mention, Frame]], parsed: Parsed) -> list[tuple[Mention, Frame]]:
    """A density that the sentence itself explains as atelectasis or scarring is no opacity of its own."""
    causes = [m.start for m, f in own if f.kind in ("atelectasis", "fibrosis") and f.status in ("present", "uncertain")]
    if not causes:
        return own
    linked = {"consistent", "compatible", "favor", "represent"}

    def explained(mention: Mention) -> bool:
        return any(mention.stop <= c and linked & set(parsed.words[mention.stop : c]) for c in causes)

    return [
        (m, f)
        for m, f in own
        if not (f.kind == "opacity" and "density" in parsed.words[m.start : m.stop] and explained(m))
    ]


def _tidy(own: list[tuple[Mention, Frame]], below: bool) -> list[Frame]:
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
        return [
            replace(f, status="present" if f.status == "absent" else f.status, sizes_mm=f.sizes_mm or size, small=True)
            if f.kind == "lymph_node"
            else f
            for f in frames
            if f.kind != "lymphadenopathy"
        ]
    if said_of_nodes:
        return [
            replace(f, status="absent")
            if f.kind == "lymph_node" and f.status == "present" and not f.sizes_mm and not f.small
            else f
            for f in frames
        ]
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
        floor = max(
            [
                floor,
                *(
                    s
                    for s in scope.soft
                    if s < a and parsed.words[s] in (",", "and", ";") and any(v < s for v in verbs)
                ),
            ]
        )
        sites = [hit[2].site for hit in parsed.hits if floor < hit[0] < a and hit[2].site]
        if not sites:
            ceiling = min(
                [h for h in scope.hard if h >= b] + [v for v, _ in scope.verbs if v >= b] + [len(parsed.words)]
            )
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
            return [
                Frame(
                    row["kind"],
                    "present",
                    row["site"],
                    sizes_mm=parsed.sizes[0].dims_mm,
                    start=0,
                    stop=len(parsed.text),
                )
            ]
    return []
