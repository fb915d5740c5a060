"""An adversary of the verifier: every falsehood in a single fact that it can word, and true sentences in other words.

    python eval/adversary.py --falsehoods 100000      # goes on where it stopped; a part is one report
    python eval/adversary.py --show 20                # of the parts so far, falsehoods that passed and truths refused
    python eval/adversary.py --summary                # the parts so far, as eval/results/adversary.json

Reports are those of phantoms of every region, phase, lesion and cut, of made-up measurements, and of the real scans
beside the checkout, where there are any. What is false is decided from typed findings (``tests/made/falsehoods.py``),
never by the verifier. A falsehood is tried with what its fact cites, and with all of its section beside; it passed when
either was accepted. Wordings marked as held out were written before the verifier was tried on them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from record import write_result

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "made"))

import falsehoods
import made_reports
from falsehoods import Said
from radvlm.compose.verify.sentence import overlooked, verify_sentence
from radvlm.types.report import Report, Sentence

OUT = Path("out/adversary")


def accepted(said: Said, report: Report) -> bool:
    """Whether the verifier takes the sentence: a falsehood with whatever it may cite, a truth with what it states."""
    cited = [said.cited]
    if not said.is_true and said.is_settled:
        beside = [f for f in report.findings if f.section == said.section and f not in said.cited]
        cited.append((*said.cited, *beside))
    for findings in cited:
        sentence = Sentence(said.text, said.section, findings)
        if verify_sentence(sentence) is None and overlooked(sentence, report.findings) is None:
            return True
    return False


def tried(report: Report) -> dict:
    """Counts of one report, and what went wrong in it."""
    record: dict = {"falsehoods": Counter(), "truths": Counter(), "passed": [], "refused": []}
    for said in falsehoods.all_statements(report):
        group = "truths" if said.is_true else "falsehoods"
        record[group][f"{said.kind}|{'held out' if said.held_out else 'seen'}"] += 1
        if accepted(said, report) is not said.is_true:
            why = verify_sentence(Sentence(said.text, said.section, said.cited)) if said.is_true else ""
            entry = [said.kind, said.held_out, said.text, why or ""]
            record["refused" if said.is_true else "passed"].append(entry)
    return record


def parts() -> Iterator[tuple[str, dict]]:
    for path in sorted(OUT.glob("*.json")):
        yield path.stem, json.loads(path.read_text())


def summary() -> dict:
    """Numbers over all parts."""
    false: Counter[str] = Counter()
    true: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for _, part in parts():
        false.update(part["falsehoods"])
        true.update(part["truths"])
        passed.update(entry[0] for entry in part["passed"])
        refused.update(f"{entry[0]}|{'held out' if entry[1] else 'seen'}" for entry in part["refused"])
    shares = {
        group: {
            "n": (n := sum(v for k, v in true.items() if k.endswith(group))),
            "accepted": round(1 - sum(v for k, v in refused.items() if k.endswith(group)) / max(1, n), 4),
        }
        for group in ("seen", "held out")
    }
    by_kind: Counter[str] = Counter()
    for key, number in false.items():
        by_kind[key.split("|")[0]] += number
    return {
        "reports": sum(1 for _ in parts()),
        "falsehoods": sum(false.values()),
        "falsehoods_passed": sum(passed.values()),
        "falsehoods_by_kind": dict(by_kind.most_common()),
        "passed_by_kind": dict(passed),
        "true_paraphrases": shares,
        "refused_by_fact": dict(refused.most_common()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--falsehoods", type=int, default=100_000, help="stop after so many")
    parser.add_argument("--after-seed", type=int, default=0, help="phantoms and made-up reports of later seeds only")
    parser.add_argument("--show", type=int, help="print so many of each that went wrong, and stop")
    parser.add_argument("--summary", action="store_true", help="write the result of the parts so far, and stop")
    parser.add_argument("--only", default="", help="reports whose name begins so: made_up, phantom, real")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if options.show is not None:
        for name in ("passed", "refused"):
            shown: set[str] = set()
            entries = [e for _, part in parts() for e in part[name] if not (name == "refused" and e[1])]
            for entry in entries:
                key = f"{entry[0]} {entry[3]}" if name == "refused" else f"{entry[0]} {len(entry[2].split())}"
                if key not in shown and len(shown) < options.show:
                    shown.add(key)
                    print(name, entry)
        return
    if not options.summary:
        number = sum(sum(part["falsehoods"].values()) for _, part in parts())
        done = {name for name, _ in parts()}
        for name, make in made_reports.reports(options.after_seed):
            if number >= options.falsehoods:
                break
            if name in done or not name.startswith(options.only):
                continue
            start = time.process_time()
            report = make()
            record = tried(report)
            record["seconds"] = round(time.process_time() - start, 1)
            (OUT / f"{name}.json").write_text(json.dumps(record))
            number += sum(record["falsehoods"].values())
            print(
                f"{name}: {number} falsehoods, {len(record['passed'])} passed, {len(record['refused'])} refused",
                flush=True,
            )
    result = summary()
    write_result("adversary", result["falsehoods"], result)


if __name__ == "__main__":
    main()
