"""Speed of the labeler and the error counter. Must hold: labeler over 1,000 reports a second.

Two numbers each: with every sentence new (the cache emptied before each report) and over a corpus, where sentences
repeat as they do in practice. Times are processor times of one core, the best of several rounds, because a shared
machine adds waiting. The reports are generated (eval/sensitivity.py measures with the same generator), about as
dense in findings as an emergency abdomen; machine-translated chest reports repeat themselves much more.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from record import write_result

from radvlm.evaluate import count_errors, label_report
from radvlm.evaluate.inject import pairs
from radvlm.report_reader.reading import forget

ROUNDS = 5


def reports() -> list[str]:
    """Reports of about 140 words: two generated ones after each other."""
    single = [pair.reference for pair in pairs(60, seed=21)]
    return [f"{a}\n{b}" for a, b in zip(single[::2], single[1::2], strict=True)]


def best(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    texts = reports()
    cases = [(pair.reference, pair.candidate) for pair in pairs(60, seed=22)]
    label_report(texts[0])

    def new_sentences(scheme: str) -> Callable[[], None]:
        def work() -> None:
            for text in texts:
                forget()
                label_report(text, scheme)

        return work

    def corpus() -> None:
        forget()
        for text in texts:
            label_report(text, "ct-rate")

    def repeated() -> None:
        for text in texts:
            label_report(text, "ct-rate")

    def count_new() -> None:
        for reference, candidate in cases:
            forget()
            count_errors(reference, candidate)

    def count_corpus() -> None:
        forget()
        for reference, candidate in cases:
            count_errors(reference, candidate)

    def count_again() -> None:
        for reference, candidate in cases:
            count_errors(reference, candidate)

    code = "import time; t = time.perf_counter(); import radvlm.evaluate; print(time.perf_counter() - t)"
    imports = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(7)
    ]
    load = (
        "import time; from radvlm.report_reader.lexicon import load_lexicon; t = time.process_time(); load_lexicon(); "
        "print(time.process_time() - t)"
    )
    compiled = [
        float(subprocess.run([sys.executable, "-c", load], check=True, capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    n = len(texts)
    write_result(
        "labeler_speed",
        n,
        {
            "words_per_report": round(sum(len(t.split()) for t in texts) / n),
            "labels_per_s": {
                "every_sentence_new": n / best(new_sentences("ct-rate")),
                "every_sentence_new_merlin": n / best(new_sentences("merlin")),
                "corpus": n / best(corpus),
                "all_seen_before": n / best(repeated),
                "must_hold": 1000,
            },
            "pairs_per_s": {
                "all_seen_before": len(cases) / best(count_again),
                "every_sentence_new": len(cases) / best(count_new),
                "corpus": len(cases) / best(count_corpus),
                "words_per_report": round(sum(len(a.split()) for a, _ in cases) / len(cases)),
            },
            "import_evaluate_ms": min(imports) * 1e3,
            "compile_lexicon_ms": min(compiled) * 1e3,
        },
    )


if __name__ == "__main__":
    main()
