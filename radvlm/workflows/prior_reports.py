"""Where prior reports meet a new one: the encoder of an index, what is asked of it, and how little may come of it.

Unusual: a report is complete before anything is retrieved, so that retrieval cannot be the reason for a finding. Prior
text reaches a model only as labeled data, only where the model says that it was taught to use it (``uses_hints``), and
only the part of it that writes prose; scores, regions and measurements are those from before. What the prose then says
is verified like any other prose, and the findings of both reports are compared.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.errors import GridError, InputError, VerificationError
from radvlm.types.anatomy import structure, structures
from radvlm.types.finding import Citable, Finding, Status, citable
from radvlm.types.geometry import Box
from radvlm.types.model_output import Draft, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.report import Report
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

if TYPE_CHECKING:
    from radvlm.retrieve import (
        Embedder,
        FunctionEmbedder,
        Hint,
        QueryContext,
        ReportIndex,
        SearchResult,
        Selection,
        SelectSettings,
    )

#: Names of the encoder that needs no weights.
HASHED = ("hashed", "hashed-text")
#: What lies outside of an organ that is looked at alone.
AIR_HU = -1000
#: Soft-tissue window of pictures of scans, HU.
PICTURE_WINDOW_HU = (-160.0, 240.0)
#: What every report with prior texts says of them.
STATEMENT = (
    "Texts of other patients were looked up for wording. None of them is a finding of this scan: every "
    "finding was settled before they were read."
)


# -- encoders --------------------------------------------------------------------------------------------------------


def open_embedder(name: str | os.PathLike[str]) -> Embedder:
    """The encoder of an index by name: ``hashed`` (no weights, text only) or what ``load_model`` takes.

    Raises InputError for a model without a digest of its weights, and whatever ``load_model`` raises.
    """
    from radvlm.retrieve import HashedText
    from radvlm.workflows.models import load_model

    text = os.fspath(name)
    if text in HASHED or re.fullmatch(r"hashed-text-\d+", text):
        size = text.rpartition("-")[2]
        return HashedText(int(size)) if size.isdigit() else HashedText()
    return model_embedder(load_model(text), text)


def model_embedder(model: Any, name: str = "") -> FunctionEmbedder:
    """A model (``VisionLanguageModel``) as an encoder; ``name`` is how it can be opened again."""
    from radvlm.retrieve import FunctionEmbedder

    digest = str(getattr(model, "digest", "") or "")
    if not digest:
        raise InputError(
            "the encoder of an index has a digest of its weights",
            f"none ({type(model).__name__})",
            "Save the model and load it again",
        )
    size = int(model.embed_text(["size of a vector"]).shape[1])
    return FunctionEmbedder(name or model.name, digest, size, model.embed_text, model.embed)


@contextmanager
def opened(index: Any, model: Any = None) -> Iterator[ReportIndex]:
    """An index (or its folder) with its encoder; ``model`` is used where it has the weights of the index.

    Raises InputError for anything else, FileFormatError for a damaged index.
    """
    from radvlm.retrieve import ReportIndex

    if not isinstance(index, (str, os.PathLike, ReportIndex)):
        raise InputError(
            "an index is a folder or a ReportIndex",
            type(index).__name__,
            "Build one: radvlm index build --reports reports.jsonl -o INDEX",
        )
    found = index if isinstance(index, ReportIndex) else ReportIndex.load(Path(index))
    mine = found if found is not index else None
    try:
        if found.embedder is None:
            encoder = found.manifest["encoder"]
            same = model is not None and getattr(model, "digest", "") == encoder["digest"]
            embedder = model_embedder(model, encoder["id"]) if same else open_embedder(encoder["id"])
            found = found.with_embedder(embedder)
            if mine is not None:
                mine.close()
            mine = found
        yield found
    finally:
        if mine is not None:
            mine.close()


def reads_scans(index: ReportIndex) -> bool:
    """Whether the encoder of an index has an image side."""
    from radvlm.retrieve import HashedText

    embedder = index.embedder
    return not isinstance(embedder, HashedText) and getattr(embedder, "volume", True) is not None


# -- retrieval -------------------------------------------------------------------------------------------------------


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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record, without pseudonyms of patients; the ids of hits name records of the index."""
        return {
            "index": self.index,
            "index_digest": self.index_digest,
            "encoder": self.encoder,
            "statement": STATEMENT,
            "queries": [_query_row(a) for a in self.asked],
            "hints": [
                {
                    "number": h.number,
                    "text": h.text,
                    "section": h.section,
                    "source": h.source,
                    "removed": list(h.removed),
                }
                for h in self.hints
            ],
            "decisions": [asdict(d) for d in self.decisions],
        }


def _query_row(asked: Asked) -> dict[str, Any]:
    result = asked.result
    verdicts = sorted(asked.selection.verdicts, key=lambda v: v.hit.rank)
    return {
        "words": asked.words,
        "section": asked.section,
        "level": result.level,
        "searched": result.searched,
        "left_out": dict(result.excluded),
        "hits": [
            {
                "source": v.hit.id,
                "record": v.hit.record,
                "date": v.hit.date,
                "site": v.hit.site,
                "section": v.hit.section,
                "score": round(v.hit.score, 4),
                "z": None if v.hit.z is None else round(v.hit.z, 2),
                "kept": v.hit.id in asked.sources,
                "reason": v.reason
                if v.hit.id in asked.sources or not v.kept
                else f"{v.reason}; then nothing was left that is no order and was not said before",
            }
            for v in verdicts
        ],
    }


def find_priors(
    index: ReportIndex,
    scan: Volume,
    findings: Sequence[Finding],
    *,
    exclude_patient: Any = None,
    patient_not_indexed: bool = False,
    context: QueryContext | None = None,
    settings: PriorSettings | None = None,
    masks: Segmentation | None = None,
) -> Priors:
    """Prior texts for the findings of a scan, and for the scan itself where the encoder reads scans.

    Args:
        findings: of the finished report; each that is present and matters is looked up in its own section.
        exclude_patient, patient_not_indexed: whose scan it is, as in ``ReportIndex.search``; one of them is needed
            unless the header of the scan settles it, also where only texts are asked.
        context: see ``route``. masks: of the scan, for ``PriorSettings.organ_views``.

    Raises InputError when it is not said whose scan it is.
    """
    from radvlm.retrieve import SearchOptions, SelectSettings, select

    wanted = settings or PriorSettings()
    options = SearchOptions(exclude_patient, patient_not_indexed, context=context)
    patients, studies = index.whose(scan, options)
    options = replace(
        options,
        exclude_patient=patients or None,
        exclude_studies=studies,
        patient_not_indexed=patient_not_indexed or not patients,
    )
    chosen = wanted.select or SelectSettings()
    tokens, most = chosen.token_budget, chosen.most
    queries: list[tuple[Any, str, str]] = [(words, words, section) for words, section in query_words(findings)]
    queries = queries[: wanted.most_queries]
    if reads_scans(index):
        if wanted.organ_views and masks is not None:
            queries += _organ_queries(scan, masks, findings)
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
        _decisions(asked, context, reads_scans(index)),
    )


def _organ_queries(scan: Volume, masks: Segmentation, findings: Sequence[Finding]) -> list[tuple[Any, str, str]]:
    """(organs alone, words, section) of each section in which something is there."""
    made = []
    for section in dict.fromkeys(section for _, section in query_words(findings)):
        view = organ_view(scan, masks, section)
        if view is not None:
            made.append((view, f"the {section.replace('_', ' ')} of the scan", section))
    return made


def organ_view(scan: Volume, masks: Segmentation, region: str, *, margin_mm: float = 15.0) -> Volume | None:
    """The structures of a section (``liver``), or one structure (``kidney_left``), with a margin; the rest is air.

    A box alone would not do: the box around a liver holds a kidney. The voxels keep their place and the study of the
    scan, so that a search still knows whose it is. Returns None when the masks hold none of it. Raises GridError for
    masks of another grid, InputError for a negative margin.
    """
    import numpy as np
    from scipy import ndimage

    if not masks.geometry.same_grid(scan.geometry):
        raise GridError("masks and CT share one grid", f"masks {masks.geometry}, CT {scan.geometry}")
    if margin_mm < 0:
        raise InputError("a margin is not negative", f"{margin_mm} mm")
    names = [n for n in masks.places if n == region or structure(n).section == region]
    if not names:
        return None
    boxes = [masks.boxes[n] for n in names]
    tight = Box(
        tuple(min(b.start[a] for b in boxes) for a in range(3)),  # type: ignore[arg-type]
        tuple(max(b.stop[a] for b in boxes) for a in range(3)),  # type: ignore[arg-type]
    )
    spacing_mm = scan.geometry.spacing_mm
    box = tight.grown([math.ceil(margin_mm / s) for s in spacing_mm], scan.geometry.shape)
    inside = np.logical_or.reduce([masks.mask_in_box(n, box) for n in names])
    near = ndimage.distance_transform_edt(~inside, sampling=spacing_mm) <= margin_mm
    hu = np.where(near, scan.hu[box.slices], AIR_HU).astype(scan.hu.dtype)
    return replace(scan, hu=hu, geometry=scan.geometry.cropped(box))


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


def query_words(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """(words, section) of each present finding that matters, most important first; each once, without sizes."""
    seen = [
        f
        for f in citable(findings)
        if f.status is Status.PRESENT
        and f.importance > 0
        and f.kind != "coverage"
        and f.section not in ("technique", "impression")
    ]
    rows = [(_words(f), f.section) for f in sorted(seen, key=lambda f: -f.importance)]
    return list(dict.fromkeys(row for row in rows if row[0]))


def _words(finding: Citable) -> str:
    site = structure(finding.site).words if finding.site else ""
    if isinstance(finding, Finding) and finding.kind in structures():
        words = structure(finding.kind).words
        place = next((structure(n).words for n in finding.locations), "")
    else:
        words, place = finding.category.split(",")[0] or finding.kind.replace("_", " "), site
    return f"{words} in {place}" if place and place not in words else words


#: A phase or kind of study is decided from zero-shot scores when the best is this probable and all others this little.
LIKELY, UNLIKELY = 0.7, 0.3


def route(
    scan: Volume,
    masks: Segmentation | None,
    *,
    index: ReportIndex,
    phase: Any = None,
    model: Any = None,
    model_output: ModelOutput | None = None,
    unseen: frozenset[str] = frozenset(),
    has_map: bool = False,
) -> QueryContext:
    """Body region, phase and kind of study of a scan, for the choice of priors.

    The region: from the masks where there are any; else from the organs that the model's own map shows (``has_map``;
    ``unseen`` are those it does not); else from the model's zero-shot scores of the body regions. The phase: from what
    was measured where that is certain, else zero-shot; the kind of study: zero-shot. Both among the words that the
    records of the index use, and only where one of at least two stands out (``LIKELY``, ``UNLIKELY``); nothing is
    routed away by a guess.
    """
    from radvlm.retrieve import context_of
    from radvlm.retrieve.context import BODY_REGIONS

    phases = {v for s in index.segments for v in s.values("phase")} - {""}
    name = phase.name if phase is not None and phase.certain and phase.name in phases else ""
    kind, told = "", list[Decision]()
    if model is not None:
        if not name:
            name, told = _zero_shot(model, scan, phases, "{} phase", "phase")
        kind, more = _zero_shot(
            model, scan, {v for s in index.segments for v in s.values("kind")} - {""}, "{}", "kind of study"
        )
        told += more
    if masks is not None:
        context = context_of(masks.places, phase=name, kind=kind)
    elif model_output is None:
        context = context_of((), phase=name, kind=kind)
    elif has_map:
        context = context_of(
            {s.site for s in model_output.scores if s.site and s.site not in unseen}, phase=name, kind=kind
        )
        context = replace(
            context,
            decisions=tuple(
                replace(d, what=d.what.replace("the structures in the masks", "the organs that the model shows"))
                for d in context.decisions
            ),
        )
    else:
        scores = model.classify(scan, [f"CT of the {region}" for region in BODY_REGIONS])
        regions = {r: s.probability for r, s in zip(BODY_REGIONS, scores, strict=True)}
        context = context_of((), regions, phase=name, kind=kind)
    return replace(context, decisions=(*context.decisions, *told))


def _zero_shot(model: Any, scan: Volume, known: set[str], template: str, what: str) -> tuple[str, list[Decision]]:
    """Which of the words of an index a scan is, "" where none stands out; nothing is asked of fewer than two."""
    names = sorted(known)
    if len(names) < 2:
        return "", []
    scores = [s.probability for s in model.classify(scan, [template.format(n) for n in names])]
    best = max(range(len(names)), key=lambda n: scores[n])
    if scores[best] < LIKELY or any(p > UNLIKELY for n, p in enumerate(scores) if n != best):
        return "", [
            Decision("retrieve", f"The {what} could not be decided from the image; priors of every one were searched.")
        ]
    said = f"Searched priors of the {what} {names[best]}, decided from the encoder's zero-shot scores"
    return names[best], [Decision("retrieve", f"{said} ({scores[best]:.2f}).")]


def scan_picture(scan: Volume, *, height_px: int = 240) -> bytes:
    """PNG of the middle axial and coronal slices side by side, soft-tissue window, as radiologists look at them.

    The patient's right is on the left of the picture, anterior and superior are up; both slices have square pixels.
    For pages of similar cases (``radvlm.retrieve.similar_cases_page``).
    """
    import io

    import numpy as np
    from PIL import Image

    low, high = PICTURE_WINDOW_HU
    x, y, z = scan.geometry.spacing_mm
    i, j, k = scan.hu.shape
    slices = ((scan.hu[::-1, ::-1, k // 2].T, (i * x, j * y)), (scan.hu[::-1, j // 2, ::-1].T, (i * x, k * z)))
    parts = []
    for hu, (wide_mm, high_mm) in slices:  # (rows, columns)
        gray = np.clip((hu.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        size = (max(1, round(height_px * wide_mm / high_mm)), height_px)
        parts.append(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BILINEAR))
    whole = Image.new("L", (sum(p.width for p in parts) + 4, height_px))
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (parts[0].width + 4, 0))
    out = io.BytesIO()
    whole.save(out, format="PNG", optimize=True)
    return out.getvalue()


# -- into a report ---------------------------------------------------------------------------------------------------


def uses_hints(model: Any) -> bool:
    """Whether a model was taught to use prior texts: it says so, and can write prose apart from its scores."""
    if getattr(model, "uses_hints", False) is not True:
        return False
    if not callable(getattr(model, "draft", None)):
        raise InputError(
            "a model with uses_hints has draft(volume, *, facts, segmentation, hints)", type(model).__name__
        )
    return True


def hinted_drafts(
    model: Any, scan: Volume, facts: Mapping[str, str] | None, masks: Segmentation | None, priors: Priors
) -> tuple[Draft, ...]:
    """Prose of a model that was shown the hints, as a labeled block; InputError for anything but drafts."""
    drafts = tuple(model.draft(scan, facts=facts, segmentation=masks, hints=priors.rendered()))
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
    record = {
        **priors.to_dict(),
        "given_to_model": fed,
        "why_not": why_not,
        "changed": [] if before is None else _changed(before, report),
        "copied": copied_sentences(report, priors, drafts),
    }
    said = f"{len(priors.hints)} texts of other patients" if len(priors.hints) != 1 else "1 text of another patient"
    how = "shown to the model for wording" if fed else "listed for the reader, not shown to a model"
    head = ("Prior texts", f"{said}, {how}; none is a finding of this scan.")
    told = [asdict(Decision("retrieve", f"{STATEMENT} {why_not}".strip(), bool(priors.hints)))]
    record["decisions"] = [*told, *record["decisions"]]
    return replace(
        report, examination=(*report.examination, head), provenance={**report.provenance, "retrieval": record}
    )


def _changed(before: Report, after: Report) -> list[dict[str, Any]]:
    """Sections whose sentences differ: what the hints did to the wording."""
    sections = dict.fromkeys(s.section for r in (before, after) for s in r.sentences)
    rows = []
    for section in sections:
        one, other = ([s.text for s in r.sentences if s.section == section] for r in (before, after))
        if one != other:
            rows.append(
                {
                    "section": section,
                    "without": [t for t in one if t not in other],
                    "with": [t for t in other if t not in one],
                }
            )
    return rows


def copied_sentences(report: Report, priors: Priors, drafts: Sequence[Draft]) -> list[dict[str, Any]]:
    """Sentences of the drafts whose words all stand in that order in a hint, and whether they stand in the report."""
    from radvlm.compose.check_drafts import split_sentences

    held = [(s.section, _bare(s.text)) for s in report.sentences]
    rows = []
    for draft in drafts:
        for text in split_sentences(draft.text):
            words = _bare(text)
            source = next((h for h in priors.hints if f" {words} " in f" {_bare(h.text)} "), None)
            if source is not None:
                rows.append(
                    {
                        "section": draft.section,
                        "text": text,
                        "hint": source.number,
                        "in_report": any(
                            section == draft.section and (h == words or h.startswith(f"{words} seen by the model"))
                            for section, h in held
                        ),
                    }
                )
    return rows


def prior_decisions(report: Report) -> tuple[Decision, ...]:
    """What a reader should know of the prior texts of a report; () without any."""
    record = report.provenance.get("retrieval") or {}
    return tuple(Decision(d["step"], d["what"], d["warning"]) for d in record.get("decisions", ()))
