"""BLEU, ROUGE, CIDEr-D, chrF and METEOR under named profiles, each value with a signature.

There is no such thing as "the BLEU" of a report. The same 1,000 reports score 64 or 68 depending on how words
are cut and which formula is used, so a profile names a published combination exactly, its values have the scale of the
program they equal, and the signature of every output says all that changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.metrics import bleu, chrf, cider, meteor, rouge
from radvlm.evaluate.metrics.tokenizers import TOKENIZERS, Encoded, Encoder
from radvlm.evaluate.score import Score
from radvlm.report_reader.report_text import ReportText
from radvlm.version import __version__


def _vlm3d_reference(text: str) -> str:
    return text.replace("\n", "").replace(" . ", ".").replace(" .", ".")


def _vlm3d_candidate(text: str) -> str:
    for gone in ("\n", "<|eot_id|>", '"', "_"):
        text = text.replace(gone, "")
    return text.replace(" . ", ".").replace(" .", ".")


def _unchanged(text: str) -> str:
    return text


@dataclass(frozen=True)
class Profile:
    """Which metrics, with which tokenizer and formula; "" leaves a metric out.

    Attributes:
        bleu, rouge, rouge_l, cider: tokenizer of each (``tokenizers.TOKENIZERS``). ``rouge`` gives ROUGE-1 and -2.
        bleu_form: ``sacrebleu`` (0 to 100, smoothing exp) or ``coco`` (0 to 1).
        rouge_l_beta: 1 as in ``rouge-score``, 1.2 as in the COCO tools.
        chrf, meteor, bleu_mean: whether to compute them.
        clean_reference, clean_candidate: applied to the texts first; they differ in VLM3D.
        cleaning: name of the cleaning, for signatures.
    """

    name: str
    bleu: str = ""
    bleu_form: str = "sacrebleu"
    bleu_mean: bool = False
    rouge: str = ""
    rouge_l: str = ""
    rouge_l_beta: float = 1.0
    cider: str = ""
    chrf: bool = False
    meteor: bool = False
    clean_reference: Callable[[str], str] = _unchanged
    clean_candidate: Callable[[str], str] = _unchanged
    cleaning: str = ""


PROFILES: Mapping[str, Profile] = {
    p.name: p
    for p in (
        Profile("default", bleu="13a", rouge="rouge-stem", rouge_l="rouge-stem", cider="ptb-like", chrf=True),
        Profile("sacrebleu-13a", bleu="13a", chrf=True),
        Profile(
            "coco",
            bleu="ptb-like",
            bleu_form="coco",
            rouge_l="ptb-like",
            rouge_l_beta=rouge.COCO_BETA,
            cider="ptb-like",
            meteor=True,
        ),
        Profile("radeval", bleu="whitespace", bleu_form="coco", rouge="rouge-stem", rouge_l="rouge-stem"),
        Profile(
            "vlm3d",
            bleu="whitespace",
            bleu_form="coco",
            bleu_mean=True,
            rouge_l="space",
            rouge_l_beta=rouge.COCO_BETA,
            cider="whitespace",
            meteor=True,
            clean_reference=_vlm3d_reference,
            clean_candidate=_vlm3d_candidate,
            cleaning="vlm3d",
        ),
    )
}


class LexicalMetric:
    """The lexical metrics of one profile.

    Args:
        profile: key of ``PROFILES``.

    Fitted on all references for CIDEr-D; without that, or on fewer than two, CIDEr-D is undefined.
    """

    def __init__(self, profile: str = "default") -> None:
        if profile not in PROFILES:
            raise InputError("a lexical profile is one of " + ", ".join(PROFILES), repr(profile))
        self.profile = PROFILES[profile]
        self.name = "lexical" if profile == "default" else f"lexical:{profile}"
        self.signature = f"profile:{profile}|nrefs:1|radvlm:{__version__}"
        self.outputs = _outputs(self.profile)
        self._encoders: dict[str, Encoder] = {}
        self._frequencies: cider.DocumentFrequencies | None = None
        self._last_references: tuple[tuple[str, ...], dict[str, Encoded]] = ((), {})

    def fit(self, references: Sequence[ReportText]) -> LexicalMetric:
        """A metric whose CIDEr-D uses the document frequencies of these references."""
        fitted = LexicalMetric(self.profile.name)
        if self.profile.cider and len(references) > 1:
            texts = tuple(self.profile.clean_reference(r.text) for r in references)
            fitted._frequencies = cider.DocumentFrequencies.of(fitted._encoded_references(texts, self.profile.cider))
        return fitted

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        return self.score_cases([reference], [candidate])[0]

    def score_cases(self, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[dict[str, Score]]:
        """Scores of many cases at once; values do not depend on which cases are scored together."""
        refs = tuple(self.profile.clean_reference(r.text) for r in references)
        cands = [self.profile.clean_candidate(c.text) for c in candidates]
        out: list[dict[str, Score]] = [{} for _ in refs]
        if refs:
            self._bleu(refs, cands, out)
            self._rouge(refs, cands, out)
            self._cider(refs, cands, out)
            self._characters_and_meteor(refs, cands, out)
        return out

    def _encoded_references(self, texts: tuple[str, ...], tokenizer: str) -> Encoded:
        if texts != self._last_references[0]:
            self._last_references = (texts, {})
        known = self._last_references[1]
        if tokenizer not in known:
            known[tokenizer] = self._encoder(tokenizer).encode(texts)
        return known[tokenizer]

    def _encoder(self, tokenizer: str) -> Encoder:
        return self._encoders.setdefault(tokenizer, Encoder(TOKENIZERS[tokenizer]))

    def _bleu(self, refs: tuple[str, ...], cands: list[str], out: list[dict[str, Score]]) -> None:
        if not (tokenizer := self.profile.bleu):
            return
        stats = bleu.statistics(self._encoded_references(refs, tokenizer), self._encoder(tokenizer).encode(cands))
        for order in range(1, bleu.ORDERS + 1):
            values = (
                bleu.coco_score(stats, order)
                if self.profile.bleu_form == "coco"
                else bleu.sacrebleu_score(stats, order, effective_order=True)
            )
            _add(out, f"bleu-{order}", values, stats if order == bleu.ORDERS else None)
        if self.profile.bleu_mean:
            _add(out, "bleu-mean", bleu.coco_mean(stats))

    def _rouge(self, refs: tuple[str, ...], cands: list[str], out: list[dict[str, Score]]) -> None:
        encoded: dict[str, Encoded] = {}
        for tokenizer in {self.profile.rouge, self.profile.rouge_l} - {""}:
            encoded[tokenizer] = self._encoder(tokenizer).encode(cands)
        if tokenizer := self.profile.rouge:
            for order in (1, 2):
                overlap = rouge.ngram_overlap(self._encoded_references(refs, tokenizer), encoded[tokenizer], order)
                _add_rouge(out, f"rouge-{order}", overlap, 1.0)
        if tokenizer := self.profile.rouge_l:
            overlap = rouge.subsequence_overlap(self._encoded_references(refs, tokenizer), encoded[tokenizer])
            _add_rouge(out, "rouge-l", overlap, self.profile.rouge_l_beta)

    def _cider(self, refs: tuple[str, ...], cands: list[str], out: list[dict[str, Score]]) -> None:
        if not (tokenizer := self.profile.cider):
            return
        if self._frequencies is None:
            for scores in out:
                scores["cider-d"] = Score.undefined("CIDEr-D needs the document frequencies of at least two references")
            return
        reference = self._encoded_references(refs, tokenizer)
        _add(out, "cider-d", cider.cider_d(reference, self._encoder(tokenizer).encode(cands), self._frequencies))

    def _characters_and_meteor(self, refs: tuple[str, ...], cands: list[str], out: list[dict[str, Score]]) -> None:
        if self.profile.chrf:
            stats = chrf.statistics(refs, cands)
            _add(out, "chrf", chrf.score(stats), stats)
        if self.profile.meteor:
            if why := meteor.missing():
                for scores in out:
                    scores["meteor"] = Score.undefined(why)
            else:
                stats = meteor.statistics(refs, cands)
                _add(out, "meteor", meteor.score(stats), stats)


class MeteorMetric:
    """METEOR 1.5 alone, on unchanged text."""

    def __init__(self) -> None:
        self.name = "meteor"
        self.signature = f"{_METEOR}|radvlm:{__version__}"
        self.outputs = (_meteor_output(""),)

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        return self.score_cases([reference], [candidate])[0]

    def score_cases(self, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[dict[str, Score]]:
        out: list[dict[str, Score]] = [{} for _ in references]
        if why := meteor.missing():
            return [{"meteor": Score.undefined(why)} for _ in references]
        if out:
            stats = meteor.statistics([r.text for r in references], [c.text for c in candidates])
            _add(out, "meteor", meteor.score(stats), stats)
        return out


def _add(out: list[dict[str, Score]], key: str, values: np.ndarray, stats: np.ndarray | None = None) -> None:
    rows = [()] * len(out) if stats is None else [tuple(row) for row in stats.tolist()]
    for scores, value, row in zip(out, np.asarray(values).tolist(), rows, strict=True):
        scores[key] = Score(value, stats=row)


def _add_rouge(out: list[dict[str, Score]], key: str, overlap: np.ndarray, beta: float) -> None:
    for suffix, values in zip(("-precision", "-recall", ""), rouge.precision_recall_f(overlap, beta), strict=True):
        _add(out, key + suffix, values)


_METEOR = "METEOR|version:1.5|lang:en|norm:yes|params:rank-en|scale:1"


def _meteor_output(tail: str) -> Output:
    return Output(
        "meteor",
        aggregate=meteor.score,
        signature=_METEOR + tail,
        description="matches of words, stems, synonyms and paraphrases, over all reports",
    )


def _bleu_aggregate(form: str, order: int) -> Callable[[np.ndarray], np.ndarray]:
    score = bleu.coco_score if form == "coco" else bleu.sacrebleu_score
    return lambda stats: score(stats, order)


def _outputs(profile: Profile) -> tuple[Output, ...]:
    tail = (f"|clean:{profile.cleaning}" if profile.cleaning else "") + f"|radvlm:{__version__}"
    out: list[Output] = []
    if profile.bleu:
        coco = profile.bleu_form == "coco"
        how = "form:coco|smooth:none|scale:1" if coco else "form:sacrebleu|smooth:exp|eff:no|scale:100"
        case = "lc" if profile.bleu in ("ptb-like", "13a-lc") else "mixed"
        signature = f"BLEU|nrefs:1|case:{case}|tok:{profile.bleu}|{how}{tail}"
        out += [
            Output(
                f"bleu-{n}",
                source="bleu-4",
                aggregate=_bleu_aggregate(profile.bleu_form, n),
                perfect=1.0 if coco else 100.0,
                headline=n in (1, 4),
                signature=f"{signature}|order:{n}",
                description="n-gram precision with brevity penalty, over all reports",
            )
            for n in range(1, bleu.ORDERS + 1)
        ]
        if profile.bleu_mean:
            out.append(
                Output(
                    "bleu-mean",
                    source="bleu-4",
                    aggregate=bleu.coco_mean,
                    signature=signature,
                    description="mean of BLEU-1 to BLEU-4",
                )
            )
    rouges = [(f"rouge-{n}", profile.rouge, 1.0) for n in (1, 2) if profile.rouge]
    rouges += [("rouge-l", profile.rouge_l, profile.rouge_l_beta)] if profile.rouge_l else []
    for name, tokenizer, beta in rouges:
        signature = f"{name.upper()}|tok:{tokenizer}|beta:{beta:g}|mean of reports|scale:1{tail}"
        out += [
            Output(name + suffix, headline=not suffix, signature=signature, description=f"{what}, mean of reports")
            for suffix, what in (("", "F"), ("-precision", "precision"), ("-recall", "recall"))
        ]
    if profile.cider:
        signature = f"CIDEr-D|tok:{profile.cider}|n:4|sigma:6|idf:these references|mean|scale:10{tail}"
        out.append(
            Output(
                "cider-d", perfect=None, signature=signature, description="depends on the whole reference set, 0 to 10"
            )
        )
    if profile.chrf:
        out.append(
            Output(
                "chrf",
                aggregate=chrf.score,
                perfect=100.0,
                signature=f"chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|scale:100{tail}",
                description="F2 of character n-grams, over all reports",
            )
        )
    if profile.meteor:
        out.append(_meteor_output(tail))
    return tuple(out)
