"""The vision-language model of our own format: encoder, text encoder, writer, calibration, in one object.

It knows no radiology. What its outputs are called, in which section they are reported and which structure
shows them is data that training stored beside the weights (``Term``). It measures nothing: a probability, a place
and prose are all it gives, and ``radvlm.compose`` decides what of that a report may say.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radvlm.errors import InputError
from radvlm.model.calibration import Calibration, sigmoid
from radvlm.model.decoder.causal_lm import Decoder
from radvlm.model.decoder.fusion import EvidenceConfig
from radvlm.model.decoder.generation import WritingLimits, best_answers, generate_sections
from radvlm.model.decoder.prior_text import hinted_prompt, hints_for
from radvlm.model.decoder.prompts import question_prompt, section_prompt, seen_text
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder
from radvlm.model.inputs import InputSpec, prepare
from radvlm.model.mask_answers import answer_of_masks, cited_lines, told_by_findings
from radvlm.model.precision import check_precision, computing
from radvlm.model.questions import (
    VERDICTS,
    Asked,
    Shown,
    Subjects,
    named_side,
    names_any,
    of_side,
    property_of,
    understand,
    verdict,
)
from radvlm.model.store import ModelFormat, open_model, save_model
from radvlm.model.tiny.encoder import FEATURES, PyramidConfig, PyramidEncoder, evidence, split_maps
from radvlm.model.tiny.grounding import Patch, cells_of, to_scan
from radvlm.model.tiny.writer import ReportWriter
from radvlm.model.zero_shot import text_scores
from radvlm.types.anatomy import structure
from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.finding_kinds import side_of
from radvlm.types.geometry import Geometry
from radvlm.types.model_output import OUTSIDE_ITS_DOMAIN, UNFOUNDED, Answer, Draft, FindingScore, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.records import record_from
from radvlm.types.region import Region
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume
from radvlm.wording.fact_lines import facts_by_section
from radvlm.wording.sentences import capital

#: Weights are stored in half precision and computed in float32, so that ``tiny`` fits in the package.
FORMAT = ModelFormat("radvlm-table-model", 2)
#: Body is cut out with this many voxels of air around it, as in training.
MARGIN_VOXELS = 4
BODY_HU = -400
LEAST_VOXELS = 3
#: A second side is reported when its peak logit is at most this far below the first one's.
SIDE_GAP = 2.0
#: A part is named as the place of a finding from this share on, of what its map shows within so many cells of its peak
#: (a map's faint glow elsewhere adds up to more than a small lesion).
PART_SHARE, PART_REACH_CELLS = 0.5, 3
#: Longest section that is written, in tokens.
LONGEST_SECTION = 200
#: Longest answer that is written, in tokens.
LONGEST_ANSWER = 24
#: An answer of less confidence is indeterminate.
LEAST_CONFIDENCE = 0.6
#: Findings that are listed in the prompt of a question, the most probable first.
MOST_SEEN = 12
#: What an answer says of the thing that was asked about; any other answer names something that is there.
_SAYS = {"Yes": Status.PRESENT, "No": Status.ABSENT, "Abnormal": Status.PRESENT, "Normal": Status.ABSENT}


@dataclass(frozen=True)
class Term:
    """What one output is called: see ``radvlm.types.finding_kinds.FindingKind``."""

    finding: str
    words: str
    section: str
    site: str
    sided: bool
    structure: str
    parent_class: str


@dataclass(frozen=True)
class Settings:
    """Everything a saved model says of itself beside its weights.

    Attributes:
        name, notice, trained_on: who it is and how far to trust it.
        terms: findings, in the order of the encoder's logits.
        sections: sections it writes.
        calibration: of the findings. zero_shot: slope and offset of a text's score, and its two thresholds.
        answer_temperature: of yes/no answers. familiar: mean, spread and limit of ``_strangeness``.
        training: seeds, minutes, counts: what the model card prints.
        subjects: words by which questions name what it knows.
        uses_hints: it was taught to read prior texts of other patients in its prompt (``radvlm.train.preference``).
    """

    name: str
    notice: str
    trained_on: str
    terms: tuple[Term, ...]
    sections: tuple[str, ...]
    calibration: Calibration
    zero_shot: tuple[float, float, float, float]
    answer_temperature: float
    familiar: float
    training: Mapping[str, Any]
    uses_hints: bool = False
    subjects: Subjects = field(default_factory=Subjects)


@dataclass(frozen=True, eq=False)
class Encoded:
    """One scan after the encoder: evidence (1, classes, columns), logits (F,), maps on ``affine`` (cell centers).

    ``anatomy`` and ``parts`` (x, y, z) are numbers of classes, ``findings`` (F, x, y, z) probabilities;
    ``outside_domain`` says why the scan is unlike those of the training, "" where it is not.
    """

    table: Tensor
    logits: np.ndarray
    embedding: np.ndarray
    anatomy: np.ndarray
    findings: np.ndarray
    parts: np.ndarray
    affine: np.ndarray
    notes: tuple[Decision, ...]
    outside_domain: str = ""


class TableModel:
    """A model whose findings, embedding and prose come from the evidence table of ``PyramidEncoder``."""

    def __init__(
        self,
        encoder: PyramidEncoder,
        text: HashedTextEncoder,
        writer: ReportWriter,
        settings: Settings,
        *,
        digest: str = "",
        precision: str = "float32",
        device: str = "cpu",
    ) -> None:
        check_precision(precision)
        if tuple(t.finding for t in settings.terms) != encoder.config.findings:
            raise InputError("the vocabulary names the encoder's findings in their order", "another list")
        if settings.calibration.names != encoder.config.findings:
            raise InputError("the calibration names the encoder's findings in their order", "another list")
        if text.config.embedding != encoder.config.embedding:
            raise InputError(
                "images and texts are embedded in one space",
                f"{encoder.config.embedding} numbers an image, {text.config.embedding} a text",
            )
        self.encoder = encoder.eval().to(device)
        self.text = text.eval().to(device)
        self.writer = writer.eval().to(device)
        self.settings, self.digest, self.precision, self.device = settings, digest, precision, device
        self.name, self.notice = settings.name, settings.notice
        self._kept: tuple[weakref.ref[Volume], Encoded] | None = None
        self._scored: tuple[Encoded, tuple[FindingScore, ...]] | None = None

    # --- encoding ---------------------------------------------------------------------------------------------------
    def encode(self, volume: Volume) -> Encoded:
        """One pass of the encoder; the last scan is kept, so that several questions to it cost one pass."""
        if self._kept is not None and self._kept[0]() is volume:
            return self._kept[1]
        config = self.encoder.config
        prepared = prepare(volume, InputSpec((config.spacing_mm,) * 3, hu_window=None))
        hu, affine = _body(prepared.tensor, prepared.affine_ras_mm)
        hu = hu.to(self.device)
        with torch.inference_mode(), computing(self.precision, self.device):
            maps, _ = self.encoder.voxels(hu)
        with torch.inference_mode():
            table = evidence(maps, hu, config)
            output = self.encoder.read_table(table)
            anatomy, findings, parts = split_maps(maps[0:1].float(), config)
            coarse = affine @ np.diag([2.0, 2.0, 2.0, 1.0])
            coarse[:3, 3] = affine[:3, :3] @ np.full(3, 0.5) + affine[:3, 3]
            assert output.embedding is not None
            encoded = Encoded(
                table,
                output.logits("findings")[0].cpu().numpy(),
                output.embedding[0].cpu().numpy(),
                anatomy[0].argmax(0).cpu().numpy(),
                findings[0].sigmoid().cpu().numpy(),
                parts[0].argmax(0).to(torch.uint8).cpu().numpy(),
                coarse,
                prepared.notes,
                self._strange(table),
            )
        self._kept = (weakref.ref(volume, self._forget), encoded)
        return encoded

    def _forget(self, gone: weakref.ref[Volume]) -> None:
        """Maps of a scan that nobody holds any more are not held either."""
        if self._kept is not None and self._kept[0] is gone:
            self._kept = self._scored = None

    def _strange(self, table: Tensor) -> str:
        """Why the scan is unlike those of the training; "" where it is not."""
        value = strangeness(self.encoder, table)[0]
        if value <= self.settings.familiar:
            return ""
        odd = ", ".join(strangest(self.encoder, table))
        return (
            f"this scan is unlike those that {self.name} was trained on (distance {value:.1f}, "
            f"limit {self.settings.familiar:.1f}; most of all {odd}): probabilities are not to be relied on"
        )

    # --- the protocol -----------------------------------------------------------------------------------------------
    def read(
        self, volume: Volume, *, findings: Sequence[Citable] = (), segmentation: Segmentation | None = None
    ) -> tuple[ModelOutput, Segmentation | None]:
        """Scores, prose and regions; with ``findings`` only their sections are written, from them.

        The Segmentation has in ``searched`` the organs that the voxel head did not see in this scan.
        """
        encoded = self.encode(volume)
        scores, regions = self._scores(encoded, volume.geometry)
        drafts, left_out = self._drafts(encoded, scores, findings)
        model_output = ModelOutput(
            self.name,
            self.digest,
            self.notice,
            scores,
            drafts,
            (*encoded.notes, *_warning_of(encoded), *left_out),
            self.settings.calibration.thresholds,
            encoded.outside_domain,
        )
        return model_output, regions

    @property
    def uses_hints(self) -> bool:
        """Whether it was taught to read prior texts; only then is it shown any."""
        return self.settings.uses_hints

    def draft(
        self,
        volume: Volume,
        *,
        findings: Sequence[Citable] = (),
        segmentation: Segmentation | None = None,
        hints: str = "",
    ) -> tuple[Draft, ...]:
        """The prose of ``read`` with prior texts (a block of ``radvlm.retrieve.render_hints``) in its prompts."""
        encoded = self.encode(volume)
        return self._drafts(encoded, self._scores_of(encoded, volume.geometry), findings, hints)[0]

    def classify(self, volume: Volume, findings: Sequence[str] | None = None) -> tuple[FindingScore, ...]:
        """Own findings (by name or None for all) by the finding head, any other text by the shared space.

        On a scan unlike those of the training all of it is not assessed, with its probability and the caution.
        """
        encoded = self.encode(volume)
        scores = self._scores_of(encoded, volume.geometry)
        if findings is None:
            return tuple(_judged(score) for score in scores)
        own: dict[str, list[FindingScore]] = {}
        for score in scores:
            own.setdefault(score.finding, []).append(score)
        texts = [f for f in findings if f not in own]
        asked = text_scores(encoded.embedding, texts, self.embed_text, self.settings.zero_shot, self._section_like)
        held = [score for text in findings for score in own.get(text) or [asked[text]]]
        return tuple(_judged(replace(score, caution=encoded.outside_domain)) for score in held)

    def answer(
        self,
        volume: Volume,
        question: str,
        *,
        findings: Sequence[Finding] = (),
        segmentation: Segmentation | None = None,
    ) -> Answer:
        """Answer, confidence, region and the scores it rests on.

        Questions of presence, normality, side, place, number and organ about what the model knows are answered from the
        calibrated scores and the evidence that a report would be written from, everything else by the decoder. "No" is
        said of what a report would call absent; of what is open, "Yes", marked indeterminate. What masks do
        not settle has no answer on a scan unlike those of the training, and where a question names nothing known.
        """
        encoded = self.encode(volume)
        scores = self._scores_of(encoded, volume.geometry)
        asked = understand(question, self.settings.subjects)
        about = [] if asked is None else of_side([s for s in scores if s.finding in asked.findings], asked.side)
        related = about or self._related(question, of_side(scores, named_side(question)))
        given = None if asked is None else answer_of_masks(question, asked, about, findings)
        if given is None and asked is not None and asked.kind == "measure":
            given = _no_answer("a model measures nothing: sizes, volumes and HU come from masks")
        elif given is None and not related:
            given = _no_answer("the question names no finding and no organ that the model knows")
        elif given is None and encoded.outside_domain:
            given = _no_answer(UNFOUNDED)
        elif given is None and asked is not None and about:
            given = self._by_scores(encoded, asked, about, findings)
        elif given is None:
            given = self._by_decoder(encoded, scores, question, related, findings)
        seen = [
            f"{s.words}{f' ({s.site})' if s.site else ''}: probability {s.probability:.2f}, {_status_words(s)}, "
            f"{s.grounding}"
            for s in sorted(related, key=lambda s: -s.probability)[:4]
        ]
        cited = cited_lines(findings, frozenset(s.section for s in related))
        warned = [note.what for note in (*encoded.notes, *_warning_of(encoded)) if note.warning]
        return replace(given, evidence=(*given.evidence, *seen, *cited, *warned))

    def _by_scores(
        self, encoded: Encoded, asked: Asked, about: Sequence[FindingScore], findings: Sequence[Finding]
    ) -> Answer:
        """The answer of the calibrated scores; an organ that masks rule out is no answer."""
        if asked.kind == "organ":
            about = [s for s in about if not _is_denied(s, findings)] or about
        states = {s.status for s in about}
        status = next(s for s in (Status.PRESENT, Status.INDETERMINATE, Status.ABSENT) if s in states)
        if asked.kind in VERDICTS:
            text, confidence = verdict(asked.kind, about)
            return Answer(text, confidence, status, None if status is Status.ABSENT else _first_region(about))
        text, confidence = property_of(asked, about, self._shown(encoded, asked, about))
        if not text:
            return _no_answer()
        guessed = "the question takes for granted what the model does not see: its best guess"
        return Answer(
            text,
            confidence,
            Status.PRESENT if status is Status.PRESENT else Status.INDETERMINATE,
            _first_region(about),
            (guessed,) if status is Status.ABSENT else (),
        )

    def _shown(self, encoded: Encoded, asked: Asked, about: Sequence[FindingScore]) -> Shown:
        """Where the finding of a question is; of an organ question, its most probable one."""
        finding = max(about, key=lambda s: s.probability).finding
        index = self.encoder.config.findings.index(finding)
        row = encoded.table[0, len(self.encoder.config.anatomy) + index]
        left, right, pieces = (float(row[FEATURES.index(n)]) for n in ("peak_left", "peak_right", "log_pieces"))
        names = self.settings.subjects.parts.get(finding, ()) if asked.kind == "location" else ()
        shares = self._shares(encoded, index, asked.side, names) if names else {}
        held = {capital(structure(p).words): v for p, v in shares.items()}
        return Shown(left, right, float(np.expm1(pieces)), held)

    def _by_decoder(
        self,
        encoded: Encoded,
        scores: Sequence[FindingScore],
        question: str,
        related: Sequence[FindingScore],
        findings: Sequence[Finding],
    ) -> Answer:
        """What the decoder writes, where neither the scores of what it speaks of nor the masks say the opposite."""
        text, confidence = self._written(encoded, scores, question)
        if not text:
            return _no_answer()
        status = _SAYS.get(text, Status.PRESENT) if confidence >= LEAST_CONFIDENCE else Status.INDETERMINATE
        one_finding = related if len({s.finding for s in related}) == 1 else ()
        told = told_by_findings(related, findings)
        if told is not None and _contradicts(text, [told.status]):
            return _no_answer(f"the decoder contradicts the masks: {told.why}")
        region = None if Status.ABSENT in (status, _SAYS.get(text)) else _first_region(related)
        if told is None and _contradicts(text, [s.status for s in one_finding]):
            why = "the answer and the probability of that finding disagree: neither is to be relied on"
            return Answer(text, confidence, Status.INDETERMINATE, region, (why,))
        return Answer(text, confidence, status, region)

    def _written(self, encoded: Encoded, scores: Sequence[FindingScore], question: str) -> tuple[str, float]:
        """What the decoder writes, and how sure it is: of yes or no calibrated, of other words their mean."""
        prefix = self.writer.prefix(encoded.table, torch.from_numpy(encoded.logits)[None].to(self.device))
        seen = seen_in(scores)
        written = generate_sections(
            self.writer.decoder, prefix, [question_prompt(question, seen)], WritingLimits(LONGEST_ANSWER)
        )[0]
        text, confidence = written.text.strip(), min(1.0, float(np.exp(written.mean_log_probability)))
        if text in ("Yes", "No"):
            text, p = best_answers(self.writer.decoder, prefix, question_prompt(question, seen), ("Yes", "No"))[0]
            odds = np.log(max(p, 1e-9) / max(1 - p, 1e-9)) / self.settings.answer_temperature
            confidence = float(sigmoid(odds))
        return text, confidence

    def embed(self, volume: Volume) -> np.ndarray:
        """(D,) float32 of unit length."""
        return self.encode(volume).embedding.astype(np.float32)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32 of unit length."""
        with torch.inference_mode():
            return self.text.encode(texts).cpu().numpy().astype(np.float32)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the folder that ``load_model`` reads; returns it.

        Adapters are merged into the base of this model first, which changes no output.
        """
        decoder = self.writer.decoder
        if decoder.has_lora:
            decoder.merge()
        config = {
            "encoder": asdict(self.encoder.config),
            "text": asdict(self.text.config),
            "evidence_tokens": asdict(self.writer.tokens.config),
            "settings": asdict(self.settings),
        }
        networks = {"encoder": self.encoder, "text": self.text, "writer": self.writer}
        return save_model(folder, FORMAT, networks, config, lambda at: decoder.save_form(at / "decoder"), half=True)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "cpu", precision: str = "float32") -> TableModel:
        """Read a folder that ``save_pretrained`` wrote; FileFormatError for one that is not whole."""
        with open_model(folder, FORMAT) as saved:
            said = saved.config
            settings = record_from(Settings, said["settings"])
            encoder = PyramidEncoder(record_from(PyramidConfig, said["encoder"]))
            text = HashedTextEncoder(record_from(HashedTextConfig, said["text"]))
            decoder = Decoder.from_form(saved.folder / "decoder")
            writer = ReportWriter(decoder, record_from(EvidenceConfig, said["evidence_tokens"]))
            saved.load_into({"encoder": encoder, "text": text, "writer": writer})
        return cls(encoder, text, writer, settings, digest=saved.digest, precision=precision, device=device)

    # --- parts ------------------------------------------------------------------------------------------------------
    def _drafts(
        self, encoded: Encoded, scores: Sequence[FindingScore], findings: Sequence[Citable], hints: str = ""
    ) -> tuple[tuple[Draft, ...], tuple[Decision, ...]]:
        """Prose by section, without a last sentence that was cut short, and what was left out."""
        told = facts_by_section(findings) or {s: seen_in(scores, s) for s in self.settings.sections}
        longest = self.writer.decoder.context or 10**9
        prompts, kept, left_out = [], [], []
        for section in dict.fromkeys((*self.settings.sections, *told)):
            if section not in told:
                continue
            prompt = section_prompt(section, told[section])
            length = self._length(encoded, prompt)
            shown = hints_for(hints, section)
            while shown and self._length(encoded, hinted_prompt(shown, prompt)) > longest:
                shown = shown[:-1]
            if length > longest:
                left_out.append(
                    Decision(
                        "model",
                        f"The model wrote no prose for {section}: its findings are too long "
                        f"({length} tokens with the answer, of {longest})",
                        True,
                    )
                )
                continue
            prompts.append(hinted_prompt(shown, prompt))
            kept.append(section)
        if not prompts:
            return (), tuple(left_out)
        prefix = self.writer.prefix(encoded.table, torch.from_numpy(encoded.logits)[None].to(self.device))
        written = generate_sections(self.writer.decoder, prefix, prompts, WritingLimits(LONGEST_SECTION))
        return tuple(
            Draft(s, w.text.strip() if w.ended_by != "length" else _whole_sentences(w.text))
            for s, w in zip(kept, written, strict=True)
        ), tuple(left_out)

    def _length(self, encoded: Encoded, prompt: str) -> int:
        """Tokens of a section with its prompt and evidence, at the most."""
        return encoded.table.shape[1] + len(self.writer.decoder.encode(prompt)) + LONGEST_SECTION

    def _scores_of(self, encoded: Encoded, geometry: Geometry) -> tuple[FindingScore, ...]:
        """The scores alone; made once for a scan that is asked several things."""
        if self._scored is None or self._scored[0] is not encoded:
            self._scores(encoded, geometry)
        assert self._scored is not None
        return self._scored[1]

    def _scores(self, encoded: Encoded, geometry: Geometry) -> tuple[tuple[FindingScore, ...], Segmentation | None]:
        config, calibration = self.encoder.config, self.settings.calibration
        probabilities = calibration.probability(encoded.logits)
        rows: list[tuple[int, Term, str, float, Status, tuple[str, ...]]] = []
        patches: list[Patch] = []
        right = _right_cells(encoded.anatomy)
        for n, term in enumerate(self.settings.terms):
            p = float(probabilities[n])
            for side, share in self._sides(encoded, n, term, calibration.status(n, p) is Status.ABSENT):
                value = p * share
                status = calibration.status(n, value)
                rows.append((n, term, side, value, status, self._places(encoded, n, term, side, status)))
                if status is Status.ABSENT:
                    continue
                patches += _patch(f"{n}{side}", term, side, encoded, config, n, right)
        unseen = {
            _site(t, side)
            for t in self.settings.terms
            for side in (("left", "right") if t.sided else ("",))
            if t.site in config.anatomy and not _organ(encoded, config, t.site, side, right).any()
        }
        segmentation, regions = to_scan(patches, encoded.affine, geometry, unseen)
        scores = tuple(
            replace(_score(t, side, p, status, regions.get(f"{n}{side}"), places), caution=encoded.outside_domain)
            for n, t, side, p, status, places in rows
        )
        self._scored = (encoded, scores)
        return scores, segmentation

    def _sides(self, encoded: Encoded, index: int, term: Term, absent: bool) -> list[tuple[str, float]]:
        """Sides to report with the share of the probability that each gets; both of what is absent."""
        if not term.sided:
            return [("", 1.0)]
        row = encoded.table[0, len(self.encoder.config.anatomy) + index]
        peaks = {side: float(row[FEATURES.index(f"peak_{side}")]) for side in ("left", "right")}
        first = max(peaks, key=lambda s: peaks[s])
        other = "left" if first == "right" else "right"
        gap = peaks[first] - peaks[other]
        if gap > SIDE_GAP and not absent:
            return [(first, 1.0)]
        chance = 1 / (1 + np.exp(-peaks[other])) / max(1 / (1 + np.exp(-peaks[first])), 1e-9)
        return [(first, 1.0), (other, float(min(1.0, chance)))]

    def _places(self, encoded: Encoded, index: int, term: Term, side: str, status: Status) -> tuple[str, ...]:
        """The named part of the finding's own organ and side that stands out; () for none or an absent finding."""
        if status is Status.ABSENT or not term.structure or (term.sided and term.parent_class != "lung"):
            return ()
        names = [
            p
            for p in self.encoder.config.parts
            if p.startswith(term.parent_class) and (not side or structure(p).side in ("", side))
        ]
        shares = self._shares(encoded, index, side, names)
        best = max(shares, key=lambda p: shares[p], default="")
        return (best,) if best and shares[best] >= PART_SHARE else ()

    def _shares(self, encoded: Encoded, index: int, side: str, names: Sequence[str]) -> dict[str, float]:
        """Share of each named part in what the map of a finding shows around its peak; {} without such parts."""
        shown = encoded.findings[index]
        if side:
            shown = np.where(_right_cells(encoded.anatomy) == (side == "right"), shown, 0.0)
        peak = np.unravel_index(int(np.argmax(shown)), shown.shape)
        near = tuple(slice(max(0, int(n) - PART_REACH_CELLS), int(n) + PART_REACH_CELLS + 1) for n in peak)
        parts = self.encoder.config.parts
        found = np.bincount(encoded.parts[near].ravel(), shown[near].ravel(), len(parts))
        total = float(found.sum())
        return {name: float(found[parts.index(name)]) / total for name in names if name in parts} if total > 0 else {}

    def _section_like(self, text: str) -> str:
        """Section of the term that shares most words with a text."""
        words = set(re.findall(r"[a-z]+", text.lower()))
        shared = {t: len(words & set(f"{t.words} {t.site} {t.section}".split())) for t in self.settings.terms}
        best = max(shared, key=lambda t: shared[t])
        return best.section if shared[best] else "soft_tissues"

    def _names(self) -> list[str]:
        """Everything by which a question may name what the model knows."""
        subjects, terms = self.settings.subjects, self.settings.terms
        nouns = [name for forms in subjects.nouns.values() for name in forms]
        said = [f"{t.words} {t.finding} {t.site} {t.structure}".replace("_", " ") for t in terms]
        return [*nouns, *subjects.organs, *subjects.groups, *said]

    def _related(self, question: str, scores: Sequence[FindingScore]) -> list[FindingScore]:
        """Scores that the question is about, best match first, then by probability; none if it names nothing."""
        if not names_any(question, self._names()):
            return []
        asked = {_stem(w) for w in re.findall(r"[a-z]+", question.lower())}

        def match(s: FindingScore) -> int:
            said = f"{s.words} {s.finding} {s.site} {s.section}".lower()
            return len(asked & {_stem(w) for w in re.findall(r"[a-z]+", said)})

        held = [(match(s), s) for s in scores]
        top = max((m for m, _ in held), default=0)
        return [s for m, s in sorted(held, key=lambda x: (-x[0], -x[1].probability)) if top and m == top]


def _judged(score: FindingScore) -> FindingScore:
    """The score; not assessed, whatever its probability, on a scan that is unlike those of the training."""
    return replace(score, status=Status.NOT_ASSESSED) if score.caution else score


def _status_words(score: FindingScore) -> str:
    """The status of a score as evidence of an answer says it: the one that ``classify`` and a report give it."""
    judged = _judged(score)
    return f"{judged.status} ({OUTSIDE_ITS_DOMAIN})" if judged.status is Status.NOT_ASSESSED else str(judged.status)


def _warning_of(encoded: Encoded) -> tuple[Decision, ...]:
    """The warning that a scan is unlike those of the training, where it is."""
    return (Decision("model", encoded.outside_domain, True),) if encoded.outside_domain else ()


def strangeness(encoder: PyramidEncoder, tables: Tensor) -> list[float]:
    """Root mean square of the standardized anatomy rows (N,): 1 is a usual training scan."""
    organs = len(encoder.config.anatomy)
    scaled = encoder.reader.standardize(tables)[:, :organs, : len(FEATURES)]
    return [float(v) for v in scaled.square().mean(dim=(1, 2)).sqrt()]


def seen_in(scores: Sequence[FindingScore], section: str = "") -> str:
    """What the model sees as lines for its decoder: of one section with what it rules out, or the findings of all.

    What is open is in neither list, so that the decoder neither states nor denies it.
    """
    held = [s for s in scores if section in ("", s.section)]
    there = [s for s in held if s.status is Status.PRESENT]
    if not section:
        there = sorted(sorted(there, key=lambda s: -s.probability)[:MOST_SEEN], key=held.index)
    seen = [
        (s.words, [structure(p).words for p in (s.locations or ((s.site,) if side_of(s.site) else ()))]) for s in there
    ]
    states = {s.finding: [x.status for x in held if x.finding == s.finding] for s in held}
    absent = dict.fromkeys(s.words for s in held if section and all(x is Status.ABSENT for x in states[s.finding]))
    return seen_text(seen, tuple(absent))


def strangest(encoder: PyramidEncoder, table: Tensor, most: int = 3) -> list[str]:
    """The parts of the anatomy that differ most from usual in one table (1, classes, columns), most unusual first."""
    names = encoder.config.anatomy
    scaled = encoder.reader.standardize(table)[0, : len(names), : len(FEATURES)]
    rows = scaled.square().mean(dim=1)  # (organs,)
    return [names[int(n)].replace("_", " ") for n in rows.argsort(descending=True)[:most]]


def _contradicts(text: str, states: Sequence[Status]) -> bool:
    """Whether "Yes" or "No" to a question about one finding is the opposite of what is known of it."""
    if text == "Yes":
        return bool(states) and all(state is Status.ABSENT for state in states)
    return text == "No" and Status.PRESENT in states


def _is_denied(score: FindingScore, findings: Sequence[Finding]) -> bool:
    told = told_by_findings([score], findings)
    return told is not None and told.status is Status.ABSENT


def _first_region(scores: Sequence[FindingScore]) -> Region | None:
    return next((s.region for s in scores if s.region is not None and s.status is not Status.ABSENT), None)


def _no_answer(*why: str) -> Answer:
    return Answer("No answer", 0.0, Status.NOT_ASSESSED, None, why)


def _stem(word: str) -> str:
    return word[:5]


def _body(hu: Tensor, affine: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Cut (1, 1, X, Y, Z) to the body, as the training corpus is cut; the affine goes with it."""
    inside = hu[0, 0] > BODY_HU
    box = []
    for axis in range(3):
        other = [a for a in range(3) if a != axis]
        there = torch.nonzero(inside.sum(dim=other) > 20)[:, 0]
        n = hu.shape[axis + 2]
        low, high = (0, n - 1) if there.numel() == 0 else (int(there[0]), int(there[-1]))
        box.append(slice(max(0, low - MARGIN_VOXELS), min(n, high + 1 + MARGIN_VOXELS)))
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ np.array([s.start for s in box], float) + affine[:3, 3]
    cut = hu[:, :, box[0], box[1], box[2]]
    # a scan of one or two slices is repeated, so that there are two cells of the map along every axis
    more = [max(0, LEAST_VOXELS - n) for n in cut.shape[2:]]
    if any(more):
        cut = F.pad(cut, (0, more[2], 0, more[1], 0, more[0]), mode="replicate")
    return cut.contiguous(), moved


def _right_cells(anatomy: np.ndarray) -> np.ndarray:
    """(x, y, z) which cells of a map lie on the patient's right of the middle of the body; x grows to the right."""
    body = (anatomy > 0).sum(axis=(1, 2)).astype(float)
    middle = float((body * np.arange(len(body))).sum() / max(body.sum(), 1e-6))
    return np.broadcast_to((np.arange(len(body)) >= middle)[:, None, None], anatomy.shape)


def _site(term: Term, side: str) -> str:
    return f"{term.site}_{side}" if term.site and side else term.site


def _organ(encoded: Encoded, config: PyramidConfig, name: str, side: str, right: np.ndarray) -> np.ndarray:
    """Cells of an anatomy class, on one side where one is given."""
    cells = encoded.anatomy == config.anatomy.index(name)
    return cells if not side else cells & (right if side == "right" else ~right)


def _whole_sentences(text: str) -> str:
    """Without what follows the last full stop; a number's point is none."""
    ends = [m.end() for m in re.finditer(r"[.!?](?=\s)", f"{text} ")]
    return text[: ends[-1]].strip() if ends else ""


def _patch(
    key: str, term: Term, side: str, encoded: Encoded, config: PyramidConfig, index: int, right: np.ndarray
) -> list[Patch]:
    """Where a finding is shown: its own map, or for a state of a whole organ that organ."""
    if term.structure:
        allowed = None if not side else (right if side == "right" else ~right)
        if allowed is not None and not allowed.any():
            return []
        cells, peak = cells_of(encoded.findings[index], allowed)
        return [Patch(key, term.structure.format(side=side), cells, peak)]
    site = _site(term, side)
    cells = _organ(encoded, config, term.site if term.site in config.anatomy else term.parent_class, side, right)
    if not cells.any():
        return []
    return [Patch(key, site, cells, tuple(int(v) for v in np.argwhere(cells)[0]), whole=True)]  # type: ignore[arg-type]


def _score(
    term: Term, side: str, probability: float, status: Status, region: Region | None, places: tuple[str, ...]
) -> FindingScore:
    site = _site(term, side)
    kept = None if status is Status.ABSENT else region
    grounding = "not localized" if kept is None else "voxel head" if term.structure else "organ"
    return FindingScore(
        term.finding,
        term.words,
        term.section,
        site,
        float(min(1.0, max(0.0, probability))),
        status,
        kept,
        grounding,
        places,
    )
