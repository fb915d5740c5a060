"""The impression: what matters most first, in at most a few numbered sentences, and what the scan could not show."""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.compose.disease_sentences import disease_text, is_disease_or_device, no_diseases
from radvlm.compose.focus_sentences import impression_text as foci_text
from radvlm.compose.focus_sentences import is_focus
from radvlm.compose.lesions import cited, impression_text, is_unmeasured, lesion_groups, unmeasured_text
from radvlm.compose.model_sentences import headlines, is_model, pertinent_absences
from radvlm.compose.referents import further_text, headline_words, no_finding_text, waits_for_patient
from radvlm.compose.template import no_lesions, quantity_text
from radvlm.types.anatomy import DISSECTION, NOT_OF_THE_BODY, ancestry, is_lesion_kind, structure
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status
from radvlm.types.phrases import joined
from radvlm.types.report import Sentence
from radvlm.types.urgency import Urgency, importance
from radvlm.wording.numbers import length_text, rounded, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import be, is_plural_word, part_words, structure_list
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import base_words, lexicon

#: The lesions that readers ask for first.
_ASKED = ("focal_liver_lesion", "focal_pancreatic_lesion", "focal_renal_lesion", "pulmonary_nodule")
#: Why organs of which no mask was given were not assessed.
_NO_MASK = "no mask was provided"
#: Of lesions that are not there, an impression names so many.
_DENIED = 4
#: What only a model saw comes after every measured finding of at least this importance.
_OF_DAYS = importance(Urgency.DAYS)
#: By how much what is merely possible stands below the level of what is certain.
_HEDGED = 0.5
#: Foci of less, such as calcium in a wall, do not displace what was found to be within its limits.
_INCIDENTAL = importance(Urgency.INCIDENTAL)
#: What asks for this much is written out however much else there is.
_URGENT = importance(Urgency.HOURS)


def impression(findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """``style.impression_items`` sentences at most, and all that must be told: critical and urgent findings, which take
    no place, and those that somebody must know of within days (ACR category 3), which take theirs first.

    The last ones say what limits the examination, and name what is written out in the body of the report only.
    What only a model saw stands among the rest by importance, and takes no place of a measured finding of ``days`` or
    more.
    """
    everything = findings
    findings = [f for f in findings if not is_model(f)]
    items: list[tuple[float, Sentence]] = []
    for group in lesion_groups(findings):
        if group.importance > 0:
            text = impression_text(group, style)
            items.append((group.importance, Sentence(text, "impression", cited(group, text))))
    for finding in findings:
        if is_unmeasured(finding) and finding.importance > 0:
            items.append((finding.importance, Sentence(unmeasured_text(finding), "impression", (finding,))))
        if not is_lesion_kind(finding.kind):  # what is judged of a lesion is said with it
            said = [s for s in (finding, *finding.assessments) if s.importance > 0]
            items += [(s.importance, _headline(s, finding, findings, style)) for s in said]
    items = [(_weight(n, sentence), sentence) for n, sentence in items]
    items.sort(key=lambda item: -item[0])
    items = _one_each(items)
    unseen = [f for f in findings if f.kind == "abnormality" and f.category == "organs and lesions"]
    limits = [_not_judged(unseen[0])] if unseen else _limits(findings)
    both = [*((n, n, s) for n, s in items), *((min(n, _OF_DAYS - 1), n, s) for n, s in headlines(everything))]
    both = sorted(both, key=lambda item: -item[0])
    must = [s for _, n, s in both if _OF_DAYS <= n < _URGENT and s.findings[0].status is Status.PRESENT]
    others = [s for _, n, s in both if n < _URGENT and s not in must]
    places = style.impression_items - len(limits) - len(must)
    least = 0 if must or limits else 1
    cut = others[max(places, least) :]
    further: list[Sentence] = []
    if any(s.findings[0].source is not Source.MODEL for s in cut):
        cut = others[max(places - 1, least) :]
        cut = cut if len(cut) > 1 else []  # a line that names one finding is as long as the finding
        told = [s for s in cut if s.findings[0].source is not Source.MODEL]
        further = [_further(told)] if told else []
    left_out = {id(s) for s in cut}
    kept = [s for _, _, s in sorted(both, key=lambda item: -item[1]) if id(s) not in left_out]
    if kept and not all(is_focus(s.findings[0]) and n < _INCIDENTAL for _, n, s in both):
        room = style.impression_items - len(kept) - len(limits) - len(further)
        unsearched = [] if lesion_groups(findings) or room < 1 else _unsearched(findings)
        return [*kept, *limits, *unsearched, *further]
    chosen = [*kept, *limits, *pertinent_absences(everything), *_nothing_abnormal(findings, bool(unseen))]
    return chosen[: style.impression_items] or _last_resort(findings)


def _weight(of_finding: float, said: Sentence) -> float:
    """Importance of an item; what its error makes merely possible comes after what is certain of its level, below
    ``days``."""
    first = said.findings[0]
    is_hedged = isinstance(first, Assessment) and first.possible and first.status is Status.INDETERMINATE
    if of_finding >= _OF_DAYS or not is_hedged:
        return of_finding
    floor = max((n for u in Urgency if (n := importance(u)) <= of_finding), default=0.0)
    return max(floor - _HEDGED, 0.0)


def _further(left_out: Sequence[Sentence]) -> Sentence:
    """``Also described in the findings: gallstone.`` What has no place here is not passed over in silence."""
    told: list[Citable] = []
    for sentence in left_out:
        first = sentence.findings[0]
        alike = [f for f in sentence.findings if isinstance(f, Finding) and (is_lesion_kind(f.kind) or is_focus(f))]
        told += alike if is_lesion_kind(first.kind) or is_focus(first) else [first]
    return Sentence(further_text(told), "impression", tuple(told))


def _one_each(items: list[tuple[float, Sentence]]) -> list[tuple[float, Sentence]]:
    """Of several verdicts of one kind on one organ, only the most important."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for weight, sentence in items:
        first = sentence.findings[0]
        key = (first.kind, first.site)
        if is_lesion_kind(first.kind) or key not in seen:
            kept.append((weight, sentence))
        seen |= {(f.kind, f.site) for f in sentence.findings if f.kind == first.kind}
    return kept


def _headline(said: Citable, holder: Finding, findings: Sequence[Finding], style: Style) -> Sentence:
    """``Splenomegaly (420 mL).`` With the side where there is one. ``holder`` is or holds what is said."""
    twin = said.twin if isinstance(said, Assessment) else ""
    if isinstance(said, Finding) and is_disease_or_device(said):
        return Sentence(disease_text(said, style, is_brief=True), "impression", (said,))
    if isinstance(said, Finding) and is_focus(said):
        twins = _foci_of_pair(said, findings)
        return Sentence(foci_text(twins, style), "impression", twins)
    text = headline_words(said)
    if said.measurements and not twin and not said.says_value:
        value = quantity_text(said, style)
        first = said.measurements[0]
        if part_words(said.site, first.quantity) and first.quantity != "diameter":
            value = length_text(first.value, style)  # the headline names the part: "descending thoracic aorta"
        if "trabecular attenuation" in text:  # named already
            value = value.removeprefix("trabecular attenuation ")
        text += f" ({value})"
    organs = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT]
    seen = [f for f in organs if said.regions and (f is holder or f.site == twin)]
    volumes = [(structure(f.site).side, m) for f in seen if twin and (m := f.measurement("volume")) is not None]
    if len(volumes) == 2 and said.measurements[0].quantity == "volume":
        text += f" ({', '.join(f'{side} {volume_text(m.value)}' for side, m in volumes)})"
    return Sentence(capital(text) + ".", "impression", (said, *seen))


def _foci_of_pair(focus: Finding, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The focus, and one of its kind in the other organ of a pair; the same two whichever is asked for."""
    base = base_words(structure(focus.site))
    alike = [f for f in findings if f.kind == focus.kind and is_focus(f)]
    return tuple(f for f in alike if f is focus or (structure(f.site).side and base_words(structure(f.site)) == base))


def _limits(findings: Sequence[Finding]) -> list[Sentence]:
    cut = [f for f in findings if f.kind == "organ" and f.site in lexicon().major and f.cut_by]
    coverage = next((f for f in findings if f.kind == "coverage" and f.status is Status.PRESENT), None)
    length = None if coverage is None else coverage.measurement("coverage")
    if len(cut) < 2:
        return []
    words, many = structure_list(f.site for f in cut)
    if coverage is None or length is None:
        return [Sentence(f"{capital(words)} {be(many)} incompletely imaged.", "impression", tuple(cut))]
    text = f"Limited coverage of {rounded(length.value, '1')} mm: {words} {be(many)} incompletely imaged."
    return [Sentence(text, "impression", (coverage, *cut))]


def _nothing_abnormal(findings: Sequence[Finding], is_unseen: bool) -> list[Sentence]:
    """What was judged and found within its limits, and which lesions were searched for; else what was not judged.

    ``is_unseen``: no masks were given, which is said once.
    """
    sizes = [
        (f, a)
        for f in findings
        if f.kind == "organ" and f.status is Status.PRESENT
        for a in f.assessments
        if a.status is Status.ABSENT and a.measurements and a.measurements[0].quantity in ("volume", "diameter")
    ]
    sentences = []
    if sizes:
        parts = [
            f"{part_words(f.site, a.measurements[0].quantity) or structure(f.site).words} {a.category}"
            for f, a in sizes
        ]
        text = capital("; ".join(parts)) + "."
        sentences.append(Sentence(text, "impression", tuple(item for pair in sizes for item in pair)))
    sentences += _denied(findings)
    if not sentences and not is_unseen:
        sentences = _measured_only(findings)
    unsearched = _unsearched(findings)
    sentences += unsearched
    if sentences and not unsearched:
        sentences += [_not_judged(f) for f in findings if f.kind == "abnormality" and f.category == "abnormalities"]
    missing = [f for f in findings if f.status is Status.NOT_ASSESSED and f.rule is None and f.reason == _NO_MASK]
    if missing and sentences:
        words = joined([f.category for f in missing])
        text = f"{capital(words)} {_was(words)} not assessed ({_NO_MASK})."
        sentences.append(Sentence(text, "impression", tuple(missing)))
    return sentences


def _unsearched(findings: Sequence[Finding]) -> list[Sentence]:
    """``Focal liver lesions and pulmonary nodules were not assessed (no mask of such lesions was provided).``"""
    lesions = [
        f
        for f in findings
        if f.status is Status.NOT_ASSESSED
        and f.rule is None
        and f.category
        and f.reason.startswith("no mask of such lesions")
    ]
    if not lesions:
        return []
    lesions.sort(key=lambda f: _ASKED.index(f.kind) if f.kind in _ASKED else len(_ASKED))
    first = lesions[:4]
    words = joined([f.category for f in first])
    text = f"{capital(words)} {_was(words)} not assessed ({first[0].reason})."
    return [Sentence(text, "impression", tuple(first))]


def _measured_only(findings: Sequence[Finding]) -> list[Sentence]:
    """``No finding was made in what was measured: the stomach.`` Of organs of which no rule says anything; nothing
    where the report describes more than organs, such as calcium in a wall. What only waits for the age, sex or size of
    the patient is said to: ``Size of the pancreas was not assessed (the age of the patient is not known).``"""
    seen = (Status.PRESENT, Status.INDETERMINATE)
    if any(f.status in seen and f.kind != "organ" and f.section not in NOT_OF_THE_BODY for f in findings):
        return []
    organs = [f for f in findings if f.kind == "organ" and f.status is Status.PRESENT]
    organs = [f for f in organs if all(a.status is Status.ABSENT for a in f.assessments)]
    waiting: dict[str, list[Finding]] = {}
    for finding in findings:
        if waits_for_patient(finding) and finding.category:
            waiting.setdefault(finding.reason, []).append(finding)
    unjudged = {f.site for held in waiting.values() for f in held}
    sites = {f.site for f in organs} - unjudged
    tops = [f for f in organs if f.site in sites and not sites & set(ancestry(f.site)[1:])]
    told = [Sentence(no_finding_text(tops), "impression", tuple(tops))] if tops else []
    for reason, held in waiting.items():
        words = joined(list(dict.fromkeys(f.category for f in held)))
        text = f"{capital(words)} {_was(words)} not assessed ({reason})."
        told.append(Sentence(text, "impression", tuple(held)))
    return told


def _denied(findings: Sequence[Finding]) -> list[Sentence]:
    """The first lesions that were searched for and are not there: those of the widest extent that was searched."""
    absent = [f for f in findings if f.status is Status.ABSENT and is_lesion_kind(f.kind) and not is_model(f)]
    scope = next((s for s in ("", "imaged part", "imaged range") if any(f.scope == s for f in absent)), "")
    return [
        *no_lesions("impression", [f for f in absent if f.scope == scope][:_DENIED]),
        *no_diseases("impression", [f for f in findings if f.kind == DISSECTION]),
    ]


def _not_judged(finding: Finding) -> Sentence:
    """``Organs and lesions were not assessed: no masks were given.``"""
    why = f": {finding.reason}" if finding.kind == "abnormality" else ""
    return Sentence(
        f"{capital(finding.category)} {_was(finding.category)} not assessed{why}.", "impression", (finding,)
    )


def _was(words: str) -> str:
    return "were" if " and " in words or is_plural_word(words) else "was"


def _last_resort(findings: Sequence[Finding]) -> list[Sentence]:
    """An impression is never empty: that nothing could be judged, else the first that was not assessed, else the extent
    of the scan."""
    unjudged = [f for f in findings if f.status is Status.NOT_ASSESSED and f.category and not is_model(f)]
    first = next((f for f in unjudged if f.kind == "abnormality"), next(iter(unjudged), None))
    if first is not None:
        return [_not_judged(first)]
    coverage = next((f for f in findings if f.kind == "coverage" and f.status is Status.PRESENT), None)
    length = None if coverage is None else coverage.measurement("coverage")
    if coverage is None or length is None:
        return []
    return [Sentence(f"Coverage of {rounded(length.value, '1')} mm.", "impression", (coverage,))]
