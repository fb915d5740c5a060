"""Scores of slow metrics kept as they are made, so that a killed evaluation goes on where it stopped.

The key is the content (metric, its signature, both texts), so a journal can be used after cases were added or
reordered, and never gives an old score for a changed report. Failed scores are not kept: they are tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from radvlm.evaluate.metric import Metric
from radvlm.evaluate.score import Score
from radvlm.report_reader.report_text import ReportText
from radvlm.types.records import record_from


class Journal:
    """Scores by content, appended to one JSONL file. A last line cut off by a kill is ignored."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._known: dict[str, dict[str, Score]] = {}
        if not self._path.is_file():
            return
        for line in self._path.read_text(encoding="utf-8").split("\n"):  # a reason may hold other line separators
            try:
                row = json.loads(line)
                self._known[row["key"]] = {key: record_from(Score, score) for key, score in row["scores"].items()}
            except (json.JSONDecodeError, KeyError, TypeError):
                continue

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def key(metric: Metric, reference: ReportText, candidate: ReportText) -> str:
        parts = (metric.name, metric.signature, reference.text, candidate.text)
        digest = hashlib.sha256()
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    def get(self, key: str) -> dict[str, Score] | None:
        return self._known.get(key)

    def put(self, key: str, scores: Mapping[str, Score]) -> None:
        """Remember and write at once, unless a score failed."""
        if any(score.failed for score in scores.values()):
            return
        self._known[key] = dict(scores)
        rows = {
            name: {**score.to_dict(), **({"marks": [asdict(m) for m in score.marks]} if score.marks else {})}
            for name, score in scores.items()
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "scores": rows}, ensure_ascii=False) + "\n")
