"""Merlin, assembled from its published files: embeddings, zero-shot findings, phenotypes, five-year risks, reports.

One encoder pass serves every task whose file has the same trunk (compared by digest), and a task whose file is
not there is refused by name instead of being made up. Labels are never invented: the 1692 phenotypes need the published
csv, and the sixth five-year output carries a warning, because demo and dataset disagree about it. Nothing here was
calibrated by the authors of the weights; a ``Calibration`` fitted on one's own validation data can be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radvlm.errors import InputError
from radvlm.model.calibration import Calibration
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.inputs import MERLIN_INPUT, InputSpec, prepare
from radvlm.model.merlin.checkpoint import MerlinCheckpoint, convert, open_checkpoint, tasks_at
from radvlm.model.merlin.image import MerlinImageEncoder
from radvlm.model.merlin.labels import (
    FIVE_YEAR,
    MARGIN_SLOPE,
    NOTICE,
    PROSE,
    SIXTH_LABEL,
    UNCALIBRATED,
    LabeledProbability,
    MerlinFeatures,
    ZeroShotScore,
    load_phenotypes,
)
from radvlm.model.merlin.layout import HEAD_KEYS, HEAD_OF_LAYOUT, MerlinShape
from radvlm.model.merlin.prompts import FindingPrompts, prompts_for, published_findings
from radvlm.model.merlin.report import SECTIONS, MerlinReportModel, SectionText
from radvlm.model.merlin.text import MerlinTextEncoder, MerlinTextModel, load_text_tokenizer
from radvlm.model.protocol import not_offered
from radvlm.types.finding import Citable, Finding
from radvlm.types.model_output import Answer, Draft, FindingScore, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

TEXT_TOKENIZER, REPORT_TOKENIZER, PHENOTYPES = "text_tokenizer", "report_tokenizer", "phenotypes.csv"


@dataclass(frozen=True)
class MerlinOptions:
    """What is used beside the published weights; the defaults are what was published.

    Attributes:
        text_tokenizer, report_tokenizer, phenotypes: None looks for ``text_tokenizer/``, ``report_tokenizer/`` and
            ``phenotypes.csv`` in the folder of the weights. Without the first there is no text; the second is needed
            for reports.
        prompts: findings of zero-shot reading, by name. calibration: of their margins, fitted on one's own scans.
        dtype: of the report decoder, see ``MerlinReportModel.load``.
        shape, spec: sizes and input other than the published ones.
    """

    text_tokenizer: str | Path | None = None
    report_tokenizer: str | Path | None = None
    phenotypes: str | Path | None = None
    prompts: Mapping[str, FindingPrompts] | None = None
    calibration: Calibration | None = None
    dtype: torch.dtype | None = None
    shape: MerlinShape | None = None
    spec: InputSpec = MERLIN_INPUT


class MerlinModel:
    """Merlin's tasks on radvlm Volumes. Build one with ``MerlinModel.load``.

    Follows ``VisionLanguageModel`` where Merlin can do it: ``read``, ``classify``, ``embed``, ``embed_text``,
    ``save_pretrained``. ``answer`` is refused.
    """

    notice = NOTICE

    def __init__(
        self,
        checkpoints: Mapping[str, MerlinCheckpoint],
        *,
        text: MerlinTextModel | None = None,
        report: MerlinReportModel | None = None,
        phenotype_names: Sequence[tuple[str, str]] | None = None,
        options: MerlinOptions = MerlinOptions(),
        device: str | torch.device = "cpu",
        name: str = "merlin",
    ) -> None:
        self.checkpoints, self.text, self.report = dict(checkpoints), text, report
        self.prompts = published_findings() if options.prompts is None else options.prompts
        self.calibration, self.phenotype_names, self.name = options.calibration, phenotype_names, name
        self.spec = options.spec
        self.device = torch.device(device)
        self._encoders: dict[str, MerlinImageEncoder] = {}
        for task in ("default", "five_year"):
            if task in self.checkpoints:
                encoder = _image_encoder(self.checkpoints[task], self._encoders, self.checkpoints)
                self._encoders[task] = encoder.to(device)
        self._prompt_vectors: dict[tuple[str, ...], np.ndarray] = {}

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        tasks: Sequence[str] | None = None,
        revision: str | None = None,
        offline: bool = True,
        device: str | torch.device = "cpu",
        options: MerlinOptions = MerlinOptions(),
    ) -> MerlinModel:
        """From a folder (published or converted files), one file, or a hub id with its commit.

        Args:
            tasks: keys of ``checkpoint.FILES``; None for everything in a folder (of two report files the newer), the
                file's own task, or ``default``.

        Raises as ``checkpoint.open_checkpoint`` and the tokenizers do.
        """
        path = Path(source)
        folder = path if path.is_dir() else path.parent
        if tasks is None:
            held = tasks_at(path) if path.is_dir() else ()
            tasks = tuple(t for t in held if t != "report_two_stage" or "report" not in held)
        opened = {}
        for task in tasks or (None,):
            checkpoint = open_checkpoint(source, task, revision=revision, offline=offline, shape=options.shape)
            opened[task or checkpoint.layout] = checkpoint
        text = report = None
        if "default" in opened and (words := _beside(options.text_tokenizer, folder, TEXT_TOKENIZER)):
            text = _text_model(opened["default"], words, device)
        for task in [task for task in opened if task.startswith("report")][:1]:
            words = _beside(options.report_tokenizer, folder, REPORT_TOKENIZER)
            if words is None:
                raise InputError(
                    "the report model comes with its tokenizer",
                    f"no {REPORT_TOKENIZER} in {folder}",
                    "Pass MerlinOptions(report_tokenizer=folder with tokenizer.model of StanfordAIMI/RadLLaMA-7b)",
                )
            report = MerlinReportModel.load(opened[task], words, dtype=options.dtype, device=device)
        names = _beside(options.phenotypes, folder, PHENOTYPES)
        return cls(
            opened,
            text=text,
            report=report,
            phenotype_names=None if names is None else load_phenotypes(names),
            options=options,
            device=device,
            name=path.name if path.exists() else f"{source}@{str(revision)[:12]}",
        )

    # --- features ---------------------------------------------------------------------------------------------------
    def features(self, volume: Volume) -> MerlinFeatures:
        """Every embedding and head of the loaded files, with one encoder pass for each distinct trunk."""
        image, notes = self._prepare(volume)
        return self._features(self._outputs(image), notes)

    def embed(self, volume: Volume) -> np.ndarray:
        """(512,) float32 of unit length, in the space of ``embed_text``."""
        self._need("default", "an embedding in the space of text")
        found = self.features(volume).embedding
        assert found is not None
        return found

    def embed_image(self, volume: Volume) -> np.ndarray:
        """(2048,) float32, Merlin's image embedding before any head, not normalized and not in the space of text."""
        self._need("default", "the image embedding")
        found = self.features(volume).pooled
        assert found is not None
        return found

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 512) float32 of unit length."""
        if self.text is None:
            raise InputError(
                "text needs the default checkpoint and its tokenizer",
                f"tasks {', '.join(self.checkpoints)}",
                "Put vocab.json and merges.txt of yikuan8/Clinical-Longformer into text_tokenizer/",
            )
        return self.text.embed(texts)

    # --- classification ---------------------------------------------------------------------------------------------
    def zero_shot(self, volume: Volume, findings: Sequence[str] | None = None) -> tuple[ZeroShotScore, ...]:
        """Mean cosines for findings of the prompt bank, or any text; None for the whole bank."""
        asked = self._asked(findings)
        return self._zero_shot(self.embed(volume), asked)

    def classify(self, volume: Volume, findings: Sequence[str] | None = None) -> tuple[FindingScore, ...]:
        """Zero-shot scores as probabilities and statuses; *not calibrated* unless a calibration was given (``read``
        says so in its warnings). Without one, present means a positive margin."""
        return tuple(self._finding_score(score) for score in self.zero_shot(volume, findings))

    def phenotypes(self, volume: Volume) -> tuple[LabeledProbability, ...]:
        """1692 phecodes with their names, in the order of the published csv.

        Raises InputError without that csv; ``features(volume).phenotypes`` gives the bare numbers.
        """
        self._need("default", "phenotypes")
        if self.phenotype_names is None:
            raise InputError(
                "phenotypes come with their names",
                "no phenotypes.csv was given",
                "Pass MerlinOptions(phenotypes=path to the published csv); its order is that of the outputs",
            )
        values = self.features(volume).phenotypes
        assert values is not None
        return tuple(
            LabeledProbability(code, name, float(value))
            for (code, name), value in zip(self.phenotype_names, values, strict=True)
        )

    def five_year(self, volume: Volume) -> tuple[tuple[LabeledProbability, ...], tuple[Decision, ...]]:
        """Probabilities of six diseases within five years, and the warnings that belong to them (``SIXTH_LABEL``)."""
        self._need("five_year", "five-year risks")
        found = self.features(volume)
        assert found.five_year is not None
        risks = tuple(
            LabeledProbability("", name, float(value)) for name, value in zip(FIVE_YEAR, found.five_year, strict=True)
        )
        return risks, (*found.notes, SIXTH_LABEL)

    # --- reading ----------------------------------------------------------------------------------------------------
    def read(
        self, volume: Volume, *, findings: Sequence[Citable] = (), segmentation: Segmentation | None = None
    ) -> tuple[ModelOutput, None]:
        """Zero-shot scores of the whole bank (with text) and drafts of 13 sections (with the report file).

        ``findings`` and ``segmentation`` cannot be given to Merlin, whose prompts are fixed; a warning says so. There
        is no segmentation of its own, so nothing is localized.
        """
        image, notes = self._prepare(volume)
        outputs = self._outputs(image)
        scores: tuple[FindingScore, ...] = ()
        drafts: tuple[Draft, ...] = ()
        warnings = list(notes)
        if self.text is not None and "default" in outputs:
            embedding = self._features(outputs, ()).embedding
            assert embedding is not None
            scores = tuple(self._finding_score(s) for s in self._zero_shot(embedding, tuple(self.prompts.values())))
            if any(score.finding not in self._calibrated for score in scores):
                warnings.append(UNCALIBRATED)
        if self.report is not None:
            drafts = tuple(Draft(SECTIONS[text.section], text.text) for text in self._write(image, outputs))
            warnings.append(PROSE)
        if findings or segmentation is not None:
            warnings.append(
                Decision(
                    "merlin", "Merlin's prompts are fixed; findings from masks were not given to it.", warning=True
                )
            )
        if not scores and not drafts:
            raise InputError(
                "the loaded files can read a scan",
                f"tasks {', '.join(self.checkpoints)}",
                "Load the default file with its tokenizer, or the report file",
            )
        limits = {s.finding: self._limits(s.finding) for s in scores}
        return ModelOutput(self.name, self.digest, NOTICE, scores, drafts, tuple(warnings), limits), None

    def write_sections(self, volume: Volume) -> list[SectionText]:
        """The 13 sections under Merlin's own names."""
        self._report()
        image, _ = self._prepare(volume)
        return self._write(image, self._outputs(image))

    def answer(
        self,
        volume: Volume,
        question: str,
        *,
        findings: Sequence[Finding] = (),
        segmentation: Segmentation | None = None,
    ) -> Answer:
        """Always InputError: no published Merlin file was trained to answer questions."""
        raise not_offered(
            self.name, "answer", self.offers, 'Use classify(volume, findings=["..."]) or another model, such as tiny'
        )

    @property
    def offers(self) -> tuple[str, ...]:
        """What the loaded files and tokenizers can do, of ``radvlm.model.protocol.METHODS``."""
        has_text = self.text is not None and "default" in self.checkpoints
        able = {
            "embed": "default" in self.checkpoints,
            "embed_text": has_text,
            "classify": has_text,
            "read": has_text or self.report is not None,
        }
        return tuple(name for name, can in able.items() if can)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Convert every loaded file into ``folder`` (safetensors and manifest). Tokenizers and csv are not copied."""
        for task, checkpoint in self.checkpoints.items():
            convert(checkpoint, folder, task=task)
        return Path(folder)

    @property
    def digest(self) -> str:
        """sha256 of the published file that says most: the report file where it is loaded, otherwise the first."""
        first = next((c for t, c in self.checkpoints.items() if t.startswith("report")), None)
        return (first or next(iter(self.checkpoints.values()))).source.sha256

    # --- inside -----------------------------------------------------------------------------------------------------
    def _prepare(self, volume: Volume) -> tuple[Tensor, tuple[Decision, ...]]:
        prepared = prepare(volume, self.spec)
        return prepared.tensor.to(self.device), prepared.notes

    @torch.inference_mode()
    def _outputs(self, image: Tensor) -> dict[str, EncoderOutput]:
        """Output of each image task, with the trunk run once for those that share it."""
        found: dict[str, EncoderOutput] = {}
        for task, encoder in self._encoders.items():
            twin = next((t for t in found if self._same_trunk(t, task)), None)
            if twin is None:
                found[task] = encoder(image)
            else:
                found[task] = _heads_only(encoder, found[twin])
        return found

    def _same_trunk(self, one: str, other: str) -> bool:
        return self.checkpoints[one].trunk_digest == self.checkpoints[other].trunk_digest

    def _features(self, outputs: Mapping[str, EncoderOutput], notes: tuple[Decision, ...]) -> MerlinFeatures:
        default, later = outputs.get("default"), outputs.get("five_year")

        def bare(value: Tensor | None) -> np.ndarray | None:
            return None if value is None else value[0].float().cpu().numpy()

        return MerlinFeatures(
            bare(default.pooled if default else None),
            bare(default.embedding if default else None),
            bare(default.probabilities("phenotype") if default else None),
            bare(later.probabilities("five_year") if later else None),
            notes,
        )

    def _write(self, image: Tensor, outputs: Mapping[str, EncoderOutput]) -> list[SectionText]:
        report = self._report()
        task = next(t for t in self.checkpoints if t.startswith("report"))
        twin = next((t for t in outputs if self._same_trunk(t, task)), None)
        tokens = report.tokens(image) if twin is None else outputs[twin].tokens
        return report.write_from_tokens(tokens)[0]

    def _report(self) -> MerlinReportModel:
        self._need("report", "reports")
        assert self.report is not None
        return self.report

    def _need(self, task: str, what: str) -> None:
        held = any(t.startswith("report") for t in self.checkpoints) if task == "report" else task in self.checkpoints
        if not held or (task == "report" and self.report is None):
            raise InputError(
                f"{what} needs Merlin's {task} file",
                f"loaded: {', '.join(self.checkpoints)}",
                f"Load it with tasks=[..., {task!r}]",
            )

    def _asked(self, findings: Sequence[str] | None) -> tuple[FindingPrompts, ...]:
        if isinstance(findings, str):
            raise InputError("findings come as a sequence", repr(findings), "Put the text into a list")
        if findings is None:
            return tuple(self.prompts.values())
        if len(set(findings)) != len(findings) or not findings:
            raise InputError("at least one finding is asked, each once", repr(list(findings)))
        return tuple(self.prompts[name] if name in self.prompts else prompts_for(name) for name in findings)

    def _zero_shot(self, embedding: np.ndarray, asked: Sequence[FindingPrompts]) -> tuple[ZeroShotScore, ...]:
        """Text vectors are kept, so a second scan costs no text."""
        wanted = {kind for p in asked for kind in (p.positive, p.negative)} - set(self._prompt_vectors)
        flat = list(dict.fromkeys(text for kind in wanted for text in kind))
        vectors = dict(zip(flat, self.embed_text(flat), strict=True)) if flat else {}
        for kind in wanted:
            self._prompt_vectors[kind] = np.stack([vectors[text] for text in kind])
        return tuple(
            ZeroShotScore(
                p,
                float((self._prompt_vectors[p.positive] @ embedding).mean()),
                float((self._prompt_vectors[p.negative] @ embedding).mean()),
            )
            for p in asked
        )

    @property
    def _calibrated(self) -> tuple[str, ...]:
        return () if self.calibration is None else self.calibration.names

    def _calibration_of(self, finding: str) -> tuple[Calibration, int]:
        if self.calibration is not None and finding in self.calibration.names:
            return self.calibration, self.calibration.names.index(finding)
        return Calibration((finding,), (MARGIN_SLOPE,), (0.0,), (0.5,), (0.5,)), 0

    def _limits(self, finding: str) -> tuple[float, float]:
        calibration, index = self._calibration_of(finding)
        return calibration.absent_below[index], calibration.present_from[index]

    def _finding_score(self, score: ZeroShotScore) -> FindingScore:
        asked = score.prompts
        calibration, index = self._calibration_of(asked.finding)
        margins = np.zeros(len(calibration.names))
        margins[index] = score.margin
        probability = float(calibration.probability(margins)[index])
        return FindingScore(
            asked.finding, asked.words, asked.section, asked.site, probability, calibration.status(index, probability)
        )


def _image_encoder(
    checkpoint: MerlinCheckpoint, others: Mapping[str, MerlinImageEncoder], checkpoints: Mapping[str, MerlinCheckpoint]
) -> MerlinImageEncoder:
    """The encoder of a checkpoint; its trunk is that of another one, in memory too, where the digests are equal."""
    with torch.device("meta"):
        encoder = MerlinImageEncoder(
            HEAD_OF_LAYOUT[checkpoint.layout], blocks=checkpoint.shape.blocks, width=checkpoint.shape.width
        )
    state = dict(checkpoint.image)
    twin = next((t for t in others if checkpoints[t].trunk_digest == checkpoint.trunk_digest), None)
    if twin is not None:
        state |= {key: value for key, value in others[twin].state_dict().items() if not key.startswith(HEAD_KEYS)}
    encoder.load_state_dict(state, assign=True)
    return encoder.requires_grad_(False).eval()


def _heads_only(encoder: MerlinImageEncoder, output: EncoderOutput) -> EncoderOutput:
    """The same features under the heads of another encoder with an equal trunk."""
    pooled = output.pooled
    assert encoder.head_name is not None
    logits = torch.nn.functional.linear(pooled, encoder.classifier.weight.flatten(1), encoder.classifier.bias)
    return EncoderOutput(output.tokens, output.token_grid, pooled, None, {encoder.head_name: logits})


def _text_model(checkpoint: MerlinCheckpoint, tokenizer: Path, device: str | torch.device) -> MerlinTextModel:
    with torch.device("meta"):
        encoder = MerlinTextEncoder(checkpoint.shape.text)
    encoder.load_state_dict(dict(checkpoint.text), assign=True)
    words = load_text_tokenizer(tokenizer, checkpoint.shape.text)
    return MerlinTextModel(encoder.requires_grad_(False).to(device), words)


def _beside(given: str | Path | None, folder: Path, name: str) -> Path | None:
    """The path that was given, or the one of that name in the folder where it exists."""
    if given is not None:
        return Path(given)
    return folder / name if (folder / name).exists() else None
