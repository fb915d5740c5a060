"""Where prior reports meet a new one: the encoder of an index, what is asked of it, and how little may come of it.

A report is complete before anything is retrieved, so that retrieval cannot be the reason for a finding. Prior text
reaches a model only as labeled data, only where the model says that it was taught to use it (``uses_hints``), and only
the part of it that writes prose; scores, regions and measurements are those from before. What the prose then says is
verified like any other prose, and the findings of both reports are compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from radvlm.errors import InputError, VerificationError
from radvlm.model.protocol import VisionLanguageModel
from radvlm.types.finding import Finding
from radvlm.types.model_output import Draft
from radvlm.types.provenance import Decision
from radvlm.types.report import Report
from radvlm.types.retrieval_record import (
    CopiedSentence,
    PriorHint,
    PriorHit,
    PriorQuery,
    RetrievalRecord,
    SectionChange,
)
from radvlm.types.scan_measurements import Phase
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume
from radvlm.workflows.model_stage import ModelReading, stated
from radvlm.workflows.open_index import opened, reads_scans, reads_text
from radvlm.workflows.prior_queries import organ_queries, query_words, route

if TYPE_CHECKING:
    from radvlm.retrieve import Hint, QueryContext, ReportIndex, SearchOptions, SearchResult, Selection, SelectSettings

#: What every report with prior texts says of them.
STATEMENT = (
    "Texts of other patients were looked up for wording. None of them is a finding of this scan: every "
    "finding was settled before they were read."
)


@dataclass(frozen=True)
class PriorSettings:
    """How much is looked up for one report.

    Attributes:
        hits: of each query, before selection.
        most_queries: findings that are looked up, most important first.
        select: what is kept; its ``most`` and ``token_budget`` are those of the whole report.
        organ_views: also ask with the scan cut down to the organs of each section that has a finding, where there are
            masks, against paragraphs of that section. For encoders that were trained on parts; ``tiny`` was not.
    """

    hits: int = 8
    most_queries: int = 12
    select: SelectSettings | None = None
    organ_views: bool = False


@dataclass(frozen=True)
class Asked:
    """One query: its words, the section that it was narrowed to ("" for all), what it found, what was selected, and
    the rows of the index of which something was left as a hint."""

    words: str
    section: str
    result: SearchResult
    selection: Selection
    sources: frozenset[str]


@dataclass(frozen=True)
class Priors:
    """What an index had to say for one scan, free of names of patients.

    Attributes:
        index, index_digest, encoder: which index answered.
        asked: every query with every hit and why it was kept or dropped.
        hints: what is left of the kept ones, neutralized and numbered over all queries.
        decisions: how the search was routed and whom it left out.
    """

    index: str
    index_digest: str
    encoder: str
    asked: tuple[Asked, ...]
    hints: tuple[Hint, ...]
    decisions: tuple[Decision, ...] = field(default=())

    def rendered(self) -> str:
        """The block for a prompt, each line with its label; "" without hints."""
        from radvlm.retrieve import render_hints

        return render_hints(self.hints)

    def record(self) -> RetrievalRecord:
        """What a report keeps of it, without pseudonyms of patients; the ids of hits name records of the index."""
        hints = tuple(PriorHint(h.number, h.text, h.section, h.source, tuple(h.removed)) for h in self.hints)
        queries = tuple(_recorded(a) for a in self.asked)
        return RetrievalRecord(
            self.index, self.index_digest, self.encoder, STATEMENT, queries, hints, tuple(self.decisions)
        )


def _recorded(asked: Asked) -> PriorQuery:
    result = asked.result
    hits = tuple(
        PriorHit(
            v.hit.id,
            v.hit.record,
            v.hit.date,
            v.hit.site,
            v.hit.section,
            round(v.hit.score, 4),
            None if v.hit.z is None else round(v.hit.z, 2),
            v.hit.id in asked.sources,
            v.reason
            if v.hit.id in asked.sources or not v.kept
            else f"{v.reason}; then nothing was left that is no order and was not said before",
        )
        for v in sorted(asked.selection.verdicts, key=lambda v: v.hit.rank)
    )
    return PriorQuery(asked.words, asked.section, result.level, result.searched, dict(result.excluded), hits)


def find_priors(
    index: ReportIndex,
    scan: Volume,
    findings: Sequence[Finding],
    *,
    search: SearchOptions | None = None,
    settings: PriorSettings | None = None,
    masks: Segmentation | None = None,
) -> Priors:
    """Prior texts for the findings of a scan, and for the scan itself where the encoder reads scans.

    Args:
        findings: of the finished report; each that is present and matters is looked up in its own section.
        search: whose scan it is, as in ``ReportIndex.search``, needed unless the header of the scan settles it, also
            where only texts are asked; its ``context`` is that of ``route``, level and section are those of each query.
        masks: of the scan, for ``PriorSettings.organ_views``.

    Raises InputError when it is not said whose scan it is.
    """
    from radvlm.retrieve import SearchOptions, SelectSettings, select

    wanted = settings or PriorSettings()
    options = search or SearchOptions()
    patients, studies = index.whose(scan, options)
    options = replace(
        options,
        exclude_patient=patients or None,
        exclude_studies=studies,
        patient_not_indexed=options.patient_not_indexed or not patients,
    )
    chosen = wanted.select or SelectSettings()
    tokens, most = chosen.token_budget, chosen.most
    queries: list[tuple[Any, str, str]] = [(words, words, section) for words, section in query_words(findings)]
    queries = queries[: wanted.most_queries] if reads_text(index) else []
    if reads_scans(index):
        if wanted.organ_views and masks is not None:
            queries += organ_queries(scan, masks, findings)
        queries.append((scan, "the scan itself", ""))
    asked: list[Asked] = []
    hints: list[Hint] = []
    for query, words, section in queries:
        level = "image" if query is scan and "image" in index.levels else ""
        result = index.search(query, wanted.hits, replace(options, section=section, level=level))
        selection = select(result, replace(chosen, token_budget=max(0, tokens), most=max(0, most)))
        fresh = _hints(selection, index.digest, hints)
        hints += fresh
        tokens -= sum(_tokens(h.text) for h in fresh)
        most -= len({h.source for h in fresh})
        asked.append(Asked(words, section, result, selection, frozenset(h.source for h in fresh)))
    return Priors(
        index.folder.name,
        index.digest,
        str(index.manifest["encoder"]["id"]),
        tuple(asked),
        tuple(hints),
        _decisions(asked, options.context, reads_scans(index)),
    )


def _hints(selection: Selection, digest: str, held: Sequence[Hint]) -> list[Hint]:
    """Hints of one query that no query before gave, numbered on."""
    from radvlm.retrieve import make_hints

    known = {_bare(h.text) for h in held}
    fresh = [h for h in make_hints(selection, digest) if _bare(h.text) not in known]
    return [replace(h, number=len(held) + n + 1) for n, h in enumerate(fresh)]


def _tokens(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _decisions(asked: Sequence[Asked], context: QueryContext | None, with_scan: bool) -> tuple[Decision, ...]:
    found = list(context.decisions) if context is not None else []
    if not with_scan:
        found.append(
            Decision(
                "retrieve",
                "The encoder of the index reads text only: the findings were looked up, the scan itself was not.",
            )
        )
    if any(v.hit.z is None for a in asked for v in a.selection.verdicts):
        found.append(
            Decision("retrieve", "The index is too small to say how near is near: its scores are not calibrated.", True)
        )
    left = {
        reason: max(a.result.excluded.get(reason, 0) for a in asked)
        for reason in ("same patient", "copy of the patient's report")
        if asked
    }
    said = [f"{n} records ({reason})" for reason, n in left.items() if n]
    if said:
        found.append(Decision("retrieve", f"Left out of every search: {', '.join(said)}."))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class PriorQuestion:
    """Where a report looks for prior texts, whose scan it is, and whether a model may be shown them.

    Attributes are those of ``generate_report`` and its ``ReportOptions``.
    """

    index: Any
    search: SearchOptions | None = None
    use_hints: bool = True


def look_up(
    asked: PriorQuestion,
    scan: Volume,
    masks: Segmentation | None,
    phase: Phase | None,
    findings: Sequence[Finding],
    reading: ModelReading | None,
) -> Priors:
    """Prior texts for a finished report; ``masks`` are those that were given, None where thresholds stood in."""
    from radvlm.retrieve import SearchOptions

    model = None if reading is None else reading.model
    with opened(asked.index, model) as index:
        context = route(scan, masks, index=index, phase=phase, reading=reading)
        return find_priors(index, scan, findings, search=replace(asked.search or SearchOptions(), context=context))


def why_not_shown(asked: PriorQuestion, priors: Priors, reading: ModelReading | None) -> str:
    """Why a model is not shown the prior texts, "" where it is."""
    if not priors.hints:
        return "Nothing was near enough to be of use."
    if reading is None:
        return "They were not given to a model."
    if not uses_hints(reading.model):
        return f"The model {reading.output.model} was not taught to use them and did not see them."
    return "" if asked.use_hints else "They were kept from the model, as asked."


def uses_hints(model: VisionLanguageModel) -> bool:
    """Whether a model was taught to use prior texts: it says so, and can write prose apart from its scores."""
    if getattr(model, "uses_hints", False) is not True:
        return False
    if not callable(getattr(model, "draft", None)):
        raise InputError(
            "a model with uses_hints has draft(volume, *, findings, segmentation, hints)", type(model).__name__
        )
    return True


def hinted_drafts(
    reading: ModelReading, scan: Volume, masks: Segmentation | None, findings: Sequence[Finding], priors: Priors
) -> tuple[Draft, ...]:
    """Prose of a model that was shown the hints, as a labeled block; InputError for anything but drafts."""
    model: Any = reading.model
    told = stated(masks, findings)
    drafts = tuple(model.draft(scan, findings=told, segmentation=masks, hints=priors.rendered()))
    if not all(isinstance(d, Draft) for d in drafts):
        raise InputError("draft returns Draft objects", ", ".join(sorted({type(d).__name__ for d in drafts})))
    return drafts


def with_priors(
    report: Report,
    priors: Priors,
    *,
    fed: bool,
    why_not: str = "",
    before: Report | None = None,
    drafts: Sequence[Draft] = (),
) -> Report:
    """The report with its record of prior texts.

    Args:
        fed: whether a model was shown them; ``why_not`` says why it was not.
        before: the report from before they were shown; its findings must be the same.
        drafts: what the model wrote with them; sentences copied from a prior text are listed.

    Raises VerificationError when a finding changed.
    """
    if before is not None and before.findings != report.findings:
        raise VerificationError(
            "prior texts change no finding",
            "another finding with them than without",
            "Please report this: it is a defect of radvlm",
        )
    said = f"{len(priors.hints)} texts of other patients" if len(priors.hints) != 1 else "1 text of another patient"
    how = "shown to the model for wording" if fed else "listed for the reader, not shown to a model"
    head = ("Prior texts", f"{said}, {how}; none is a finding of this scan.")
    told = Decision("retrieve", f"{STATEMENT} {why_not}".strip(), bool(priors.hints))
    record = replace(
        priors.record(),
        decisions=(told, *priors.decisions),
        given_to_model=fed,
        why_not=why_not,
        changed=() if before is None else _changed(before, report),
        copied=copied_sentences(report, priors, drafts),
    )
    return replace(report, examination=(*report.examination, head), retrieval=record)


def _changed(before: Report, after: Report) -> tuple[SectionChange, ...]:
    """Sections whose sentences differ: what the hints did to the wording."""
    rows = []
    for section in dict.fromkeys(s.section for r in (before, after) for s in r.sentences):
        one, other = ([s.text for s in r.sentences if s.section == section] for r in (before, after))
        if one != other:
            without, with_them = (t for t in one if t not in other), (t for t in other if t not in one)
            rows.append(SectionChange(section, tuple(without), tuple(with_them)))
    return tuple(rows)


def copied_sentences(report: Report, priors: Priors, drafts: Sequence[Draft]) -> tuple[CopiedSentence, ...]:
    """Sentences of the drafts whose words all stand in that order in a hint, and whether they stand in the report."""
    from radvlm.wording.sentences import split_sentences

    held = [(s.section, _bare(s.text)) for s in report.sentences]
    rows = []
    for draft in drafts:
        for text in split_sentences(draft.text):
            words = _bare(text)
            source = next((h for h in priors.hints if f" {words} " in f" {_bare(h.text)} "), None)
            if source is not None:
                in_report = any(
                    section == draft.section and (h == words or h.startswith(f"{words} seen by the model"))
                    for section, h in held
                )
                rows.append(CopiedSentence(draft.section, text, source.number, in_report))
    return tuple(rows)
