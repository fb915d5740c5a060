"""The stage of a report in which a model is asked: its output checked for form, and what a reader is told of it.

Nothing here knows what a model is made of; it only needs the methods of ``VisionLanguageModel``, so a test can pass a
few lines of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from radvlm.errors import GridError, InputError
from radvlm.model.protocol import VisionLanguageModel
from radvlm.quantify.model_regions import possible_regions
from radvlm.types.anatomy import ancestry, structure, structures
from radvlm.types.finding import Citable, Finding
from radvlm.types.finding_kinds import any_finding_kind
from radvlm.types.model_output import FindingScore, ModelOutput
from radvlm.types.provenance import Decision
from radvlm.types.report import Report, cited
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume
from radvlm.wording.sentences import capital


@dataclass(frozen=True, eq=False)
class ModelReading:
    """What one model said of a scan; ``segmentation`` holds its own regions, on the grid of the scan.

    ``shown`` are the organs that findings of masks or thresholds show, with all that they are part of.
    """

    model: VisionLanguageModel
    output: ModelOutput
    segmentation: Segmentation | None
    shown: frozenset[str] = frozenset()

    @property
    def unseen(self) -> frozenset[str]:
        """Organs that nothing shows in this scan: neither the model's own map nor the masks.

        Of a model without a map it is not known what it looked at, so masks alone show an organ.
        """
        own = self.segmentation
        if own is not None and self.has_map:
            return own.searched - set(own.places)
        return frozenset({s.site for s in self.output.scores if s.site} - self.shown)

    @property
    def has_map(self) -> bool:
        """Whether it says of organs where they are."""
        return self.segmentation is not None and bool(self.segmentation.searched)


def read_scan(
    model: VisionLanguageModel, scan: Volume, masks: Segmentation | None, findings: Sequence[Finding], patient: Patient
) -> ModelReading:
    """What the model says of a patient's scan, checked for form; ``findings`` are those of the masks."""
    output, own = model.read(scan, findings=stated(masks, findings), segmentation=masks)
    if not isinstance(output, ModelOutput):
        raise InputError("a model returns a ModelOutput", type(output).__name__)
    if own is not None and not own.geometry.same_grid(scan.geometry):
        raise GridError("a model's regions lie on the grid of the CT", f"{own.geometry!r}, CT {scan.geometry!r}")
    for score in output.scores:
        if score.region is not None and (own is None or score.region.structure not in own.places):
            raise InputError(
                "a model's region lies in the segmentation that it returns",
                f"{score.finding}: {score.region.structure}",
            )
    doubts = tuple(Decision("model", what, warning=True) for what in _doubts(scan, masks))
    output = replace(output, warnings=(*output.warnings, *doubts))
    output = possible_regions(for_patient(output, patient), own, masks, scan)
    return ModelReading(model, output, own, shown_by(findings))


def shown_by(findings: Sequence[Finding]) -> frozenset[str]:
    """Structures that measured findings show in the scan, with all that they are part of and both sides as one."""
    names: set[str] = set()
    for finding in findings:
        for region in finding.regions:
            for name in ancestry(region.structure):
                names |= {name, name.removesuffix(f"_{structure(name).side}")}
    return frozenset(names)


def unsure_values(scan: Volume) -> str:
    """What is said of anything that a model sees in a scan whose values may not be HU."""
    return f"The model read values that may not be HU ({scan.attenuation_doubt}): do not rely on what it says."


def _doubts(scan: Volume, masks: Segmentation | None) -> list[str]:
    """Why what a model says of a scan and its masks is not to be relied on."""
    doubts = [unsure_values(scan)] if scan.attenuation_doubt else []
    if masks is not None and masks.attenuation_doubt:
        doubts.append("The model was shown masks that look misplaced: do not rely on what it says.")
    return doubts


def stated(masks: Segmentation | None, findings: Sequence[Finding]) -> tuple[Citable, ...]:
    """What a model writes from: all that the report of given masks cites; () where thresholds stood in for masks."""
    from radvlm.compose import sentences_of

    return () if masks is None else cited(sentences_of(findings))


def for_patient(model_output: ModelOutput, patient: Patient) -> ModelOutput:
    """Without scores of organs that a patient of that sex does not have; "no uterine lesion" is not said of a man."""
    suits = ("", patient.sex)
    gone = [s for s in model_output.scores if patient.sex and any(structure(n).sex not in suits for n in _organs_of(s))]
    if not gone:
        return model_output
    words = ", ".join(dict.fromkeys(s.words for s in gone))
    told = Decision("model", f"Not considered in a patient of this sex: {words}.")
    kept = tuple(s for s in model_output.scores if s not in gone)
    return replace(model_output, scores=kept, warnings=(*model_output.warnings, told))


def _organs_of(score: FindingScore) -> set[str]:
    """Structures of the table that a score speaks of."""
    names = {score.site, any_finding_kind(score.finding).kind, *score.locations}
    return {n for n in names if n in structures()}


def model_head(model_output: ModelOutput) -> tuple[tuple[str, str], ...]:
    """Lines for the head of a report: who the model is, and what it warns of, so that the bare text says it too."""
    said = [w.what.strip().rstrip(".") for w in model_output.warnings if w.warning]
    caution = " ".join(f"{capital(text)}." for text in said)
    lines = [("Model", f"{model_output.model}. {model_output.notice}".strip()), ("Model caution", caution)]
    return tuple(line for line in lines if line[1])


def model_decisions(report: Report, model_output: ModelOutput) -> tuple[Decision, ...]:
    """What a reader of the report should know of the model: its notice, its warnings, where the masks overruled it."""
    said = report.model
    notice = (Decision("model", model_output.notice, True),) if model_output.notice else ()
    overruled = () if said is None else tuple(Decision("model", text, True) for text in said.disagreements)
    left_out = () if said is None else tuple(Decision("model", text) for text in said.left_out)
    return (*notice, *model_output.warnings, *overruled, *left_out)
