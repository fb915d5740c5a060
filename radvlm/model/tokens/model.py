"""A vision-language model around any token encoder: what ``radvlm train`` with ``kind: tokens`` makes.

    my-model/  config.json  model.safetensors  text/ (tokenizer)  decoder/base, decoder/adapter

Parts may be missing. A model that was trained with contrast alone has no decoder and says so when it is asked
to write; one without masks has no region tokens; one without labels scores findings only by text. Nothing is localized:
a token encoder has no voxel head, and the model does not pretend to one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.adapters.text_towers import TextTower, TextTowerConfig
from radvlm.model.adapters.token_encoder import LABELS, TokenEncoder, TokenEncoderConfig
from radvlm.model.calibration import Calibration
from radvlm.model.decoder.causal_lm import Decoder
from radvlm.model.decoder.generation import WritingLimits, best_answers, generate_sections
from radvlm.model.decoder.prompts import question_prompt, section_prompt
from radvlm.model.inputs import InputSpec, prepare
from radvlm.model.mask_answers import answer_of_masks, cited_lines
from radvlm.model.organ_map import Organ, organ_map
from radvlm.model.precision import check_precision, computing
from radvlm.model.questions import Subjects, is_of_ct, understand
from radvlm.model.store import ModelFormat, open_model, save_model
from radvlm.model.tokens.visual_prefix import PrefixConfig, ScanTokens, TokenWriter, VisualPrefix, scan_tokens
from radvlm.model.zero_shot import text_scores
from radvlm.types.anatomy import NOT_OF_THE_BODY, SECTIONS, structure
from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.geometry import Geometry
from radvlm.types.model_output import Answer, Draft, FindingScore, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.records import record_from
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume
from radvlm.wording.fact_lines import facts_by_section

FORMAT = ModelFormat("radvlm-tokens-model", 1)
_SLICE_FILES = ("*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class LabelTerm:
    """One label: its column in the table, how a report calls it, its section and (canonical) site, "" for none."""

    name: str
    words: str
    section: str
    site: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.words.strip():
            raise InputError("a label has a name and words", repr(self))
        if self.section not in SECTIONS or self.section in NOT_OF_THE_BODY:
            raise InputError(
                "a label's section is one of the body, a key of radvlm.types.anatomy.SECTIONS",
                f"{self.name}: {self.section}",
            )
        if self.site:
            structure(self.site)


@dataclass(frozen=True)
class TokensSettings:
    """What a saved model says of itself beside its weights.

    Attributes:
        name, notice, trained_on: who it is and how far to trust it.
        terms: labels, in the order of the label head. sections: sections it writes.
        calibration: of the labels, from validation data; None when there were not enough.
        zero_shot: slope and offset of a text's score and its two thresholds; None when not calibrated.
        training: seeds, counts, minutes.
    """

    name: str
    notice: str
    trained_on: str
    terms: tuple[LabelTerm, ...] = ()
    sections: tuple[str, ...] = ()
    calibration: Calibration | None = None
    zero_shot: tuple[float, float, float, float] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


#: Slope, offset and thresholds of a text's score without calibration: the cosine contrast at CLIP's temperature.
UNCALIBRATED_ZERO_SHOT = (1 / 0.07, 0.0, 0.5, 0.5)
UNCALIBRATED = Decision(
    "model", "Probabilities of this model were not calibrated: there were not enough validation scans.", True
)


class TokensModel:
    """Follows ``VisionLanguageModel``; what a missing part would be needed for is an InputError that names it."""

    def __init__(
        self,
        encoder: TokenEncoder,
        text: TextTower,
        settings: TokensSettings,
        *,
        writer: TokenWriter | None = None,
        organs: Sequence[Organ] = (),
        digest: str = "",
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        if encoder.config.labels != len(settings.terms):
            raise InputError(
                "the label head has one output for each label",
                f"{encoder.config.labels} outputs, {len(settings.terms)} labels",
            )
        check_precision(precision)
        self.encoder, self.text = encoder.eval().to(device), text.eval().to(device)
        self.writer = None if writer is None else writer.eval().to(device)
        self.settings, self.organs, self.digest = settings, tuple(organs), digest
        self.device, self.precision = device, precision
        self.name, self.notice = settings.name, settings.notice

    @property
    def spec(self) -> InputSpec:
        return self.encoder.spec

    # --- the protocol -----------------------------------------------------------------------------------------------
    def read(
        self, volume: Volume, *, findings: Sequence[Citable] = (), segmentation: Segmentation | None = None
    ) -> tuple[ModelOutput, None]:
        """Scores of the labels, and prose of each section where there is a decoder; with ``findings`` from them."""
        image, affine, notes = self._prepared(volume)
        scores = self._label_scores(image)
        drafts = () if self.writer is None else self._drafts(image, affine, findings, segmentation)
        warnings = list(notes)
        calibration = self.settings.calibration
        if scores and calibration is None:
            warnings.append(UNCALIBRATED)
        if not scores and not drafts:
            raise InputError(
                "the model can read a scan",
                "it has neither labels nor a decoder",
                "Use classify with texts, or train it with labels",
            )
        limits = {} if calibration is None else calibration.thresholds
        return ModelOutput(self.name, self.digest, self.notice, scores, drafts, tuple(warnings), limits), None

    def classify(self, volume: Volume, findings: Sequence[str] | None = None) -> tuple[FindingScore, ...]:
        """Own labels by the label head (None for all), any other text by the space shared with text."""
        own = {t.name for t in self.settings.terms}
        image, _, _ = self._prepared(volume)
        if findings is None:
            if not own:
                raise InputError(
                    "a model without labels is asked for texts", "findings=None", 'Pass findings=["ascites", ...]'
                )
            return self._label_scores(image)
        labeled = {s.finding: s for s in self._label_scores(image)} if own & set(findings) else {}
        if texts := [f for f in findings if f not in own]:
            calibration = self.settings.zero_shot or UNCALIBRATED_ZERO_SHOT
            labeled |= text_scores(self._embedding(image), texts, self.embed_text, calibration)
        return tuple(labeled[text] for text in findings)

    def answer(
        self,
        volume: Volume,
        question: str,
        *,
        findings: Sequence[Finding] = (),
        segmentation: Segmentation | None = None,
    ) -> Answer:
        """What masks settle, else the decoder's answer, with the probability of "Yes" against "No" or of its tokens."""
        writer = self._needs_writer("answers")
        image, affine, _ = self._prepared(volume)
        cited = tuple(cited_lines(findings))
        told = self._told_by_masks(question, image, findings)
        if told is not None:
            return replace(told, evidence=(*told.evidence, *cited))
        if not is_of_ct(question, [t.words for t in self.settings.terms]):
            why = "the question names nothing that a CT shows"
            return Answer("No answer", 0.0, Status.NOT_ASSESSED, None, (why, *cited))
        prefix, mask = self._prefix(image, affine, segmentation)
        prompt = question_prompt(question)
        written = generate_sections(
            writer.decoder, prefix, [prompt], WritingLimits(max_new_tokens=24), prefix_mask=mask
        )[0]
        text = written.text.strip() or "No answer"
        confidence = float(np.exp(written.mean_log_probability))
        if text.rstrip(".") in ("Yes", "No"):
            text, confidence = best_answers(writer.decoder, prefix, prompt, ("Yes", "No"), prefix_mask=mask)[0]
        status = {"Yes": Status.PRESENT, "No": Status.ABSENT}.get(text, Status.PRESENT)
        if confidence < 0.6:
            status = Status.INDETERMINATE
        return Answer(text, min(1.0, max(0.0, confidence)), status, None, cited)

    def _told_by_masks(self, question: str, image: Tensor, findings: Sequence[Finding]) -> Answer | None:
        """What masks settle of a question about one of the labels; None for any other."""
        asked = understand(question, Subjects({t.name: (t.words,) for t in self.settings.terms})) if findings else None
        if asked is None:
            return None
        about = [s for s in self._label_scores(image) if s.finding in asked.findings]
        return answer_of_masks(question, asked, about, findings)

    def embed(self, volume: Volume) -> np.ndarray:
        """(D,) float32 of unit length."""
        return self._embedding(self._prepared(volume)[0])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32 of unit length."""
        with torch.inference_mode():
            return self.text.encode(texts).cpu().numpy().astype(np.float32)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the folder that ``load_model`` reads; returns it."""
        encoder, text = asdict(self.encoder.config), asdict(self.text.config)
        encoder["folder"] = "slices" if encoder["folder"] else ""  # never a path of this machine
        text |= {"folder": "text" if text["folder"] else "", "start": ""}
        config = {
            "input": asdict(self.spec),
            "encoder": encoder,
            "text": text,
            "organs": [asdict(o) for o in self.organs],
            "prefix": None if self.writer is None else asdict(self.writer.prefix.config),
            "settings": asdict(self.settings),
        }
        networks = _networks(self.encoder, self.text, self.writer)
        return save_model(folder, FORMAT, networks, config, self._write_others)

    def _write_others(self, folder: Path) -> None:
        """Tokenizer of the text tower, descriptions of a slice encoder, and the decoder in its own format."""
        self.text.save_files(folder / "text")
        if self.encoder.config.kind == "slices":
            (folder / "slices").mkdir()
            for pattern in _SLICE_FILES:
                for file in Path(self.encoder.config.folder).glob(pattern):
                    shutil.copyfile(file, folder / "slices" / file.name)
        if self.writer is not None:
            self.writer.decoder.save_pretrained(folder / "decoder")

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "cpu", precision: str = "float32") -> TokensModel:
        """Read a folder that ``save_pretrained`` wrote; FileFormatError for one that is not whole."""
        with open_model(folder, FORMAT) as saved:
            said = saved.config
            settings = record_from(TokensSettings, said["settings"])
            organs = tuple(record_from(Organ, o) for o in said["organs"])
            shape = record_from(TokenEncoderConfig, said["encoder"])
            if shape.kind == "slices":
                shape = replace(shape, folder=str(saved.folder / "slices"))
            tower = record_from(TextTowerConfig, said["text"])
            if tower.folder:
                tower = replace(tower, folder=str(saved.folder / "text"))
            encoder = TokenEncoder(shape, record_from(InputSpec, said["input"]))
            text = TextTower(tower, random_weights=True)
            writer = None
            if said["prefix"] is not None:
                decoder = Decoder.from_pretrained(saved.folder / "decoder")
                decoder = decoder.merge() if decoder.has_lora else decoder
                form = record_from(PrefixConfig, said["prefix"])
                writer = TokenWriter(VisualPrefix(form, encoder.channels, decoder.width, len(organs)), decoder)
            saved.load_into(_networks(encoder, text, writer))
        return cls(
            encoder,
            text,
            settings,
            writer=writer,
            organs=organs,
            digest=saved.digest,
            device=device,
            precision=precision,
        )

    # --- parts ------------------------------------------------------------------------------------------------------
    def _prepared(self, volume: Volume) -> tuple[Tensor, np.ndarray, tuple[Decision, ...]]:
        prepared = prepare(volume, self.spec)
        return prepared.tensor.to(self.device), prepared.affine_ras_mm, prepared.notes

    def _run(self, image: Tensor) -> Any:
        with torch.inference_mode(), computing(self.precision, self.device):
            return self.encoder(image)

    def _embedding(self, image: Tensor) -> np.ndarray:
        return self._run(image).embedding[0].float().cpu().numpy()

    def _label_scores(self, image: Tensor) -> tuple[FindingScore, ...]:
        terms, calibration = self.settings.terms, self.settings.calibration
        if not terms:
            return ()
        logits = self._run(image).logits(LABELS)[0].float().cpu().numpy()
        held = calibration or plain_calibration([t.name for t in terms])
        probability = held.probability(logits)
        return tuple(
            FindingScore(t.name, t.words, t.section, t.site, float(p), held.status(n, float(p)))
            for n, (t, p) in enumerate(zip(terms, probability, strict=True))
        )

    def _scan(self, image: Tensor, affine: np.ndarray, segmentation: Segmentation | None) -> ScanTokens:
        grid = Geometry(tuple(image.shape[2:]), affine)  # type: ignore[arg-type]
        organs = None if segmentation is None or not self.organs else organ_map(segmentation, self.organs, grid)
        with computing(self.precision, self.device):
            return scan_tokens(self.encoder, image, affine, organs, len(self.organs))

    def _prefix(self, image: Tensor, affine: np.ndarray, segmentation: Segmentation | None) -> tuple[Tensor, Tensor]:
        writer = self._needs_writer("prose")
        scan = self._scan(image, affine, segmentation)
        with torch.inference_mode():
            prefix, mask = writer.prefix(replace(scan, tokens=scan.tokens.float()))
        return prefix.to(writer.decoder.dtype), mask

    def _drafts(
        self, image: Tensor, affine: np.ndarray, findings: Sequence[Citable], segmentation: Segmentation | None
    ) -> tuple[Draft, ...]:
        writer = self._needs_writer("prose")
        told = facts_by_section(findings)
        sections = list(dict.fromkeys((*self.settings.sections, *told)))
        prompts = [section_prompt(s, told.get(s, "")) for s in sections]
        if not prompts:
            return ()
        prefix, mask = self._prefix(image, affine, segmentation)
        room = (writer.decoder.context or 10**9) - prefix.shape[1]
        most = min(200, room // 3)
        kept = [(s, p) for s, p in zip(sections, prompts, strict=True) if len(writer.decoder.encode(p)) + most <= room]
        if not kept:
            return ()
        written = generate_sections(
            writer.decoder, prefix, [p for _, p in kept], WritingLimits(max_new_tokens=most), prefix_mask=mask
        )
        return tuple(Draft(s, w.text.strip()) for (s, _), w in zip(kept, written, strict=True))

    def _needs_writer(self, what: str) -> TokenWriter:
        if self.writer is None:
            raise InputError(
                f"{what} need a decoder",
                f"{self.name} was trained without one",
                "Train the stages adapter and instruct",
            )
        return self.writer


def plain_calibration(names: Sequence[str]) -> Calibration:
    """Sigmoid as it is, everything from one half on present: what is used when nothing was calibrated."""
    n = len(names)
    return Calibration(tuple(names), (1.0,) * n, (0.0,) * n, (0.5,) * n, (0.5,) * n)


def _networks(encoder: TokenEncoder, text: TextTower, writer: TokenWriter | None) -> dict[str, nn.Module]:
    """What is saved in one file; a decoder has files of its own."""
    found: dict[str, nn.Module] = {"encoder": encoder, "text": text}
    return found if writer is None else {**found, "prefix": writer.prefix}
