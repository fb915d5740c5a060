"""Sentences and reports, and their JSON form.

A Sentence holds the findings it states, so its regions and numbers are theirs and cannot disagree
with them; JSON stores the ids. The JSON form is versioned (``SCHEMA_VERSION``) and published as
docs/report.schema.json; ``from_json(to_json(r)) == r``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from radvlm.errors import InputError, RadvlmError, VerificationError
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status, citable
from radvlm.types.finding_json import finding_to_dict, findings_from_dicts
from radvlm.types.measurement import Measurement
from radvlm.types.model_record import ModelRecord
from radvlm.types.phrases import joined
from radvlm.types.records import record_from
from radvlm.types.region import Region
from radvlm.types.retrieval_record import RetrievalRecord
from radvlm.types.urgency import Urgency, urgency_basis, urgency_words

SCHEMA_VERSION = "2.0"
#: Major versions that are read.
_READABLE = ("1", "2")
#: Printed on every report.
NOTICE = "Research software, not a medical device. Not for clinical decisions. Not reviewed by a radiologist."


@dataclass(frozen=True)
class Sentence:
    """One sentence, the section it stands in, and the findings and assessments it states (at least one)."""

    text: str
    section: str
    findings: tuple[Citable, ...]

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("a sentence has words", repr(self.text))
        if self.section not in SECTIONS:
            raise InputError("a section is a key of radvlm.types.anatomy.SECTIONS", repr(self.section))
        if not self.findings:
            raise InputError("every sentence cites at least one finding", self.text)

    @property
    def finding_ids(self) -> tuple[str, ...]:
        return tuple(f.id for f in self.findings)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions of the cited findings, each once."""
        return tuple({r.id: r for f in self.findings for r in f.regions}.values())

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(m for f in self.findings for m in f.measurements)

    @property
    def most_urgent(self) -> Citable:
        """What of it somebody must know first."""
        return max(self.findings, key=lambda f: f.importance)

    @property
    def urgency(self) -> Urgency:
        """How soon somebody must know what it states."""
        return self.most_urgent.urgency

    @property
    def urgency_words(self) -> str:
        """``critical``, ``urgent`` or ``urgent, if confirmed`` of a sentence of the impression; "" of all others."""
        if self.section != "impression":
            return ""
        first = self.most_urgent
        is_open = isinstance(first, Assessment) and bool(first.possible)
        is_certain = first.source is Source.MASKS and first.status is Status.PRESENT and not is_open
        return urgency_words(first.urgency, is_certain)

    @property
    def urgency_basis(self) -> str:
        """Whose category the urgency is, and which rule or kind of finding has it; "" without ``urgency_words``."""
        first = self.most_urgent
        why = f"rule {first.rule.id}" if first.rule is not None else first.kind.replace("_", " ")
        return f"{urgency_basis(first.urgency)}; {why}" if self.urgency_words else ""

    @property
    def headed_text(self) -> str:
        """The text as it is printed in the impression: ``Critical: Left pneumothorax, 300 mL.``"""
        words = self.urgency_words
        return f"{words[:1].upper()}{words[1:]}: {self.text}" if words else self.text


@dataclass(frozen=True)
class Replacement:
    """A sentence of the language model that failed verification, why, and what stands in its place."""

    rejected: str
    reason: str
    replaced_by: str


@dataclass(frozen=True)
class Report:
    """A grounded structured report.

    Attributes:
        findings: every finding with its assessments, also what was not assessed.
        sentences: in reading order; the impression is the section ``impression``.
        examination: title lines for the head: (label, text) pairs such as ("Examination", "CT abdomen").
        replacements: decoder sentences that verification rejected.
        provenance: JSON-ready facts: radvlm version, configuration digest, phase, scheme, ...
        model, retrieval: what became of a model's output and of prior texts; in JSON, ``provenance`` holds them.

    Raises VerificationError when a sentence cites a finding that is not in ``findings``, when a present
    finding is said in no sentence, or when ids repeat.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> patient = radvlm.Patient(sex="F", age_years=63)
        >>> report = radvlm.generate_report(scan, segmentation=masks, patient=patient).report
        >>> said = report.impression[0]
        >>> said.text, [finding.id for finding in said.findings], [region.id for region in said.regions]
        ('Liver volume below the usual adult range (12 mL).', ['F6', 'F5'], ['liver'])
    """

    findings: tuple[Finding, ...]
    sentences: tuple[Sentence, ...]
    examination: tuple[tuple[str, str], ...] = ()
    replacements: tuple[Replacement, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    model: ModelRecord | None = None
    retrieval: RetrievalRecord | None = None
    schema_version: str = SCHEMA_VERSION

    def __post_init__(self) -> None:
        held = self.citable
        by_id = {f.id: f for f in held}
        if len(by_id) != len(held):
            raise VerificationError("finding ids are unique in a report")
        cited: set[str] = set()
        for sentence in self.sentences:
            for finding in sentence.findings:
                if by_id.get(finding.id) != finding:
                    raise VerificationError(
                        "a sentence cites findings of its own report", f"{finding.id}: {sentence.text}"
                    )
                cited.add(finding.id)
        unsaid = [f.id for f in held if f.status is Status.PRESENT and f.id not in cited]
        if unsaid:
            raise VerificationError("no present finding is left unsaid", ", ".join(unsaid))

    @property
    def citable(self) -> tuple[Citable, ...]:
        """All that sentences may cite: each finding, followed by its assessments."""
        return citable(self.findings)

    @property
    def impression(self) -> tuple[Sentence, ...]:
        return tuple(s for s in self.sentences if s.section == "impression")

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every cited region once, in order of first citation."""
        return tuple({r.id: r for s in self.sentences for r in s.regions}.values())

    @property
    def not_assessed(self) -> tuple[Finding, ...]:
        """What was not assessed, and what masks show too doubtfully for a sentence ("fewer than 10 voxels").

        What a model says outside its domain is not assessed either, and stands in a section of its own.
        """
        cited = {f.id for s in self.sentences for f in s.findings}
        return tuple(
            f
            for f in self.findings
            if (f.status is Status.NOT_ASSESSED and not (f.section == "outside_domain" and f.id in cited))
            or (f.status is Status.INDETERMINATE and f.source is Source.MASKS and f.id not in cited)
        )

    @property
    def not_assessed_lines(self) -> tuple[tuple[str, str], ...]:
        """(what, why) of everything that was not assessed, one line a reason, in order of the findings."""
        grouped: dict[str, list[Finding]] = {}
        for finding in self.not_assessed:
            grouped.setdefault(finding.reason, []).append(finding)
        lines = []
        for reason, held in grouped.items():
            if len(held) > 1:  # "organs and lesions" beside the names of all of them
                held = [f for f in held if f.kind != "abnormality" or f.site]
            names = tuple(dict.fromkeys(f.category or _name(f) for f in held))
            several = len({f.site for f in held}) > 1
            lines.append((_listed(names), reason.replace("the organ is", "the organs are") if several else reason))
        return tuple(lines)

    @property
    def text(self) -> str:
        """The report as plain text: head, findings by section, numbered impression, what was not assessed.

        What a model said of a scan that is unlike those of its training stands apart, after all that.
        """
        lines = [f"{label.upper()}: {text}" for label, text in self.examination]
        for section, heading in SECTIONS.items():
            said = [s.headed_text for s in self.sentences if s.section == section]
            if section == "technique" and said:
                lines += ["", "TECHNIQUE: " + " ".join(said), "", "FINDINGS:"]
            elif section == "impression":
                if lines[-1:] == ["FINDINGS:"]:
                    lines[-2:] = []  # nothing stands under it
                lines += ["", "IMPRESSION:"] + [f"{n}. {text}" for n, text in enumerate(said, 1)]
            elif said and section != "outside_domain":
                lines.append(f"{heading}: " + " ".join(said))
        if self.not_assessed:
            lines += ["", "NOT ASSESSED:"]
            lines += [f"- {what}: {reason}" for what, reason in self.not_assessed_lines]
        apart = [s.text for s in self.sentences if s.section == "outside_domain"]
        if apart:
            lines += ["", f"{SECTIONS['outside_domain'].upper()}: {self.domain_caution}", " ".join(apart)]
        return "\n".join([*lines, "", NOTICE, ""]).lstrip("\n")

    @property
    def domain_caution(self) -> str:
        """One sentence: why what the model says of this scan stands apart; "" where it does not."""
        why = "" if self.model is None else self.model.outside_domain.strip().rstrip(".")
        return f"{why[:1].upper()}{why[1:]}." if why else ""

    def to_dict(self) -> dict[str, Any]:
        provenance = dict(self.provenance)
        if self.model is not None:
            provenance["model"] = self.model.to_dict()
        if self.retrieval is not None:
            provenance["retrieval"] = self.retrieval.to_dict()
        return {
            "schema_version": self.schema_version,
            "notice": NOTICE,
            "examination": [list(pair) for pair in self.examination],
            "findings": [finding_to_dict(f) for f in self.findings],
            "sentences": [
                {
                    "text": s.text,
                    "section": s.section,
                    "finding_ids": list(s.finding_ids),
                    "region_ids": [r.id for r in s.regions],
                    **_urgency_row(s),
                }
                for s in self.sentences
            ],
            "replacements": [asdict(r) for r in self.replacements],
            "provenance": provenance,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read a report back, also one of schema 1; InputError for any other version and for a malformed document."""
        try:
            data = json.loads(text)
            version = str(data["schema_version"])
            if version.split(".")[0] not in _READABLE:
                raise InputError(
                    f"report.json has schema version {'.x or '.join(_READABLE)}.x",
                    version,
                    "Read it with the radvlm release that wrote it",
                )
            findings = findings_from_dicts(data["findings"])
            by_id = {f.id: f for f in citable(findings)}
            sentences = tuple(
                Sentence(s["text"], s["section"], tuple(by_id[i] for i in s["finding_ids"])) for s in data["sentences"]
            )
            provenance = dict(data["provenance"])
            model, retrieval = provenance.pop("model", None), provenance.pop("retrieval", None)
            return cls(
                findings,
                sentences,
                tuple((a, b) for a, b in data["examination"]),
                tuple(Replacement(**r) for r in data["replacements"]),
                provenance,
                None if model is None else record_from(ModelRecord, model, skip_unknown=True),
                None if retrieval is None else RetrievalRecord.from_dict(retrieval),
            )
        except RadvlmError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "report.json follows docs/report.schema.json", f"{type(error).__name__}: {error}"
            ) from error


def _urgency_row(sentence: Sentence) -> dict[str, str]:
    """What JSON holds of a sentence of the impression that somebody must be told of; nothing of the others."""
    words = sentence.urgency_words
    if not words:
        return {}
    return {"urgency": str(sentence.urgency), "urgency_words": words, "urgency_basis": sentence.urgency_basis}


def cited(sentences: Iterable[Sentence]) -> tuple[Citable, ...]:
    """All that sentences cite, each once, in order of first citation."""
    return tuple({f.id: f for s in sentences for f in s.findings}.values())


def _name(finding: Finding) -> str:
    """The structure that a finding without a category speaks of, else its kind."""
    name = finding.site if finding.kind == "organ" else finding.kind
    row = structures().get(name)
    return finding.kind.replace("_", " ") if row is None else row.words


def _listed(names: tuple[str, ...]) -> str:
    """Names as a list in which what several share is said once: ``contact of the tumor with the aorta and the spleen``.

    Only " of the ..." and " with the ..." are shared, by names that follow each other.
    """
    items: list[tuple[str, list[str], str]] = []  # (what goes before, what differs, what follows)
    for name in names:
        head, comma, tail = name.rpartition(" with the ")
        first, _, last = name.partition(" of the ")
        entry = (f"{head} with the ", [tail], "") if comma else ("", [first], f" of the {last}" if last else "")
        same = items and items[-1][::2] == entry[::2] and entry[::2] != ("", "")
        if same:
            items[-1][1].extend(entry[1])
        else:
            items.append(entry)
    return ", ".join(before + joined(parts) + after for before, parts, after in items)
