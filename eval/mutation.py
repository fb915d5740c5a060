"""Do the tests notice when the code is wrong? A seeded sample of small faults for each area that must not be wrong.

Every fault comes from mutmut's operators (a comparison moved, `and` for `or`, a number one higher, an argument left
out ...), inside functions. Left out are the words of error messages (all of a `raise`) and changes of case in texts.
Each fault is put into one module in a process of its own; first the tests that reach its line run, the fastest first,
and when they pass, all tests of the area. A fault that no test notices has survived.

    python eval/mutation.py                  # all areas; what is in the log already is not run again
    python eval/mutation.py quantify -n 20   # one area, fewer faults
    python eval/mutation.py --quick          # a first look: what survives may yet die of a longer test
    python eval/mutation.py --again survived # after new tests: those that survived, once more
    python eval/mutation.py verify --again survived --only tests/compose/test_verify.py  # with these tests alone

Results: eval/results/mutation.json. The log (out/mutation/log.jsonl) lets an interrupted run go on.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import libcst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode
from record import write_result

ROOT = Path(__file__).parents[1]
WORK = ROOT / "out" / "mutation"
#: Tests of one line that run before all tests of the area do.
FIRST = 25
#: ``--quick`` leaves out tests that take longer.
SHORT_S = 2.0
QUICK = ("-m", "not slow and not browser", "-W", "ignore::pytest.PytestAssertRewriteWarning")  # imported before


@dataclass(frozen=True)
class Area:
    """Code that is judged, and the tests that have to notice."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


AREAS = {
    "interpret": Area(("radvlm/interpret/*.py",), ("tests/interpret",)),
    "quantify": Area(("radvlm/quantify/*.py",), ("tests/quantify", "tests/workflows/test_compare_studies.py")),
    "verify": Area(("radvlm/compose/verify/*.py",), ("tests/compose",)),
    "hounsfield": Area(("radvlm/io/hounsfield.py",), ("tests/io/test_hounsfield.py",)),
    "errors": Area(
        (
            "radvlm/evaluate/metrics/errors.py",
            "radvlm/evaluate/metrics/facts.py",
            "radvlm/evaluate/metrics/clinical_significance.py",
            "radvlm/report_reader/*.py",
        ),
        ("tests/evaluate/test_errors.py", "tests/evaluate/test_labels.py", "tests/report_reader"),
    ),
    "leaks": Area(
        (
            "radvlm/retrieve/index.py",
            "radvlm/retrieve/index_segment.py",
            "radvlm/retrieve/search_options.py",
            "radvlm/retrieve/duplicates.py",
            "radvlm/retrieve/scrub.py",
        ),
        ("tests/retrieve",),
    ),
}


@dataclass(frozen=True)
class Fault:
    """One change of one module: ``name`` says where and what."""

    name: str
    path: str
    line: int
    module: libcst.Module
    old: libcst.CSTNode
    new: libcst.CSTNode

    @cached_property
    def code(self) -> str:
        """The whole changed text; made for the sample alone, because it takes long in a large module."""
        return self.module.deep_replace(self.old, self.new).code

    @property
    def key(self) -> str:
        """Same for the same change of the same text."""
        return hashlib.sha256(self.code.encode()).hexdigest()[:16]


def faults_of(path: Path) -> list[Fault]:
    """Every fault of a file that the operators know, in the order of the text."""
    module = libcst.parse_module(path.read_text(encoding="utf-8"))
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    places, parents = wrapper.resolve(PositionProvider), wrapper.resolve(ParentNodeProvider)
    found = []
    for mutation in visitor.mutations:
        old, new = mutation.original_node, mutation.mutated_node
        if mutation.contained_by_top_level_function is None or _is_message(old, parents):
            continue
        if isinstance(old, libcst.SimpleString) and "XX" not in new.value:
            continue
        at: libcst.CSTNode = old
        while at not in places:  # operators have no place of their own
            at = parents[at]
        line = places[at].start.line
        name = f"{path.relative_to(ROOT)}:{line}: {_words(module, old)} -> {_words(module, new)}"
        found.append(Fault(name, str(path.relative_to(ROOT)), line, module, old, new))
    return found


def _is_message(node: libcst.CSTNode, parents: Any) -> bool:
    while node in parents:
        node = parents[node]
        if isinstance(node, libcst.Raise):
            return True
    return False


def _words(module: libcst.Module, node: libcst.CSTNode) -> str:
    text = " ".join(module.code_for_node(node).split())
    return text if len(text) <= 90 else text[:60] + " ... " + text[-25:]


# ---- running tests in a process of their own ----


class _OneModule(importlib.machinery.SourceFileLoader):
    """Loads one module from a text that is not on the disk."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec")


class _Finder:
    def __init__(self, fault: Fault) -> None:
        self.name = fault.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.loader = _OneModule(self.name, str(ROOT / fault.path), fault.code)

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> Any:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.loader.path, loader=self.loader)


def apart(work: Callable[[], int], limit_s: float) -> int | None:
    """Exit status of ``work`` in a forked process, None when it took too long."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.setsid()
            with (WORK / "last_output.txt").open("w") as sink:
                os.dup2(sink.fileno(), 1)
                os.dup2(sink.fileno(), 2)
                try:
                    status = int(work())
                except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
                    traceback.print_exc(file=sink)
        finally:
            os._exit(status)
    stop = time.monotonic() + limit_s
    while time.monotonic() < stop:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_tests(tests: Sequence[str], fault: Fault | None, limit_s: float) -> int | None:
    """Exit status of pytest: 0 passed, 1 and 2 failed, None took too long."""

    def work() -> int:
        import pytest

        if fault is not None:
            sys.meta_path.insert(0, _Finder(fault))  # type: ignore[arg-type]
        return int(pytest.main([*tests, "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *QUICK]))

    return apart(work, limit_s)


@dataclass
class Reach:
    """Which tests reach which line, how long each takes, and what they import that is not of this repository."""

    by_line: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]
    modules: list[str]

    def tests_of(self, fault: Fault) -> list[str]:
        return sorted(self.by_line.get(fault.path, {}).get(str(fault.line), []), key=lambda t: self.seconds.get(t, 0.0))


def reach_of(name: str, area: Area, stale: bool = False) -> Reach:
    """Run the area's tests once under coverage; kept until code or tests change, longer when it may be ``stale``."""
    texts = sorted({p for pattern in (*area.code, *(f"{t}/**/*.py" for t in area.tests)) for p in ROOT.glob(pattern)})
    texts += [ROOT / t for t in area.tests if t.endswith(".py") and (ROOT / t).is_file()]
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in texts)).hexdigest()[:16]
    kept = WORK / f"reach_{name}.json"
    if kept.exists():
        data = json.loads(kept.read_text())
        if data.pop("digest") == digest or stale:
            return Reach(**data)

    def work() -> int:
        import coverage
        import pytest

        class Watch:
            def __init__(self) -> None:
                self.seconds: dict[str, float] = {}

            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
                cover.switch_context(item.nodeid)
                start = time.perf_counter()
                done = yield
                self.seconds[item.nodeid] = time.perf_counter() - start
                cover.switch_context("")
                return done  # type: ignore[return-value]

        cover = coverage.Coverage(data_file=None, include=[str(ROOT / c) for c in area.code], config_file=False)
        watch = Watch()
        cover.start()
        status = int(
            pytest.main([*tests_of(area), "-p", "no:cacheprovider", "-p", "no:xdist", *QUICK], plugins=[watch])
        )
        cover.stop()
        data = cover.get_data()
        by_line = {
            str(Path(f).relative_to(ROOT)): {
                str(line): [c for c in contexts if c] for line, contexts in data.contexts_by_lineno(f).items()
            }
            for f in data.measured_files()
        }
        made = tuple(p.stem for p in (ROOT / "tests" / "made").glob("*.py"))
        ours = ("radvlm", "tests", "conftest", "test_", "__main__", "coverage", *made)
        modules = [m for m in sys.modules if not m.startswith(ours)]
        kept.write_text(
            json.dumps({"digest": digest, "by_line": by_line, "seconds": watch.seconds, "modules": modules})
        )
        return status

    status = apart(work, 1800)
    if status != 0:
        raise SystemExit(f"the tests of {name} fail without any fault (status {status}); see {WORK}/last_output.txt")
    return reach_of(name, area)


def tests_of(area: Area) -> list[str]:
    return [t for t in area.tests if (ROOT / t).exists()]


def verdict(fault: Fault, area: Area, reach: Reach, quick: bool, only: Sequence[str]) -> str:
    """``killed``, ``killed late`` (by a test that was not among the first), ``too slow`` or ``survived``."""
    if only:
        status = run_tests(only, fault, 600)
        return "survived" if status == 0 else "too slow" if status is None else "killed"
    near = reach.tests_of(fault)[:FIRST]
    if near:
        status = run_tests(near, fault, 60 + 10 * sum(reach.seconds.get(t, 1.0) for t in near))
        if status != 0:
            return "too slow" if status is None else "killed"
    left = tests_of(area)
    if quick:  # what no test reaches is code that runs on import
        others = reach.tests_of(fault)[FIRST:] if near else list(reach.seconds)
        left = [t for t in others if reach.seconds[t] < SHORT_S]
    if not left:
        return "survived"
    status = run_tests(left, fault, 120 + 10 * sum(reach.seconds.values()))
    return "survived" if status == 0 else "too slow" if status is None else "killed late"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("-n", type=int, default=60, help="faults an area")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", choices=("survived", "all"), help="run these once more although they are logged")
    parser.add_argument("--quick", action="store_true", help="only short tests, only those that reach the line")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEST", help="run these tests (paths or ids) alone")
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    log = WORK / "log.jsonl"
    known = {r["key"]: r for r in map(json.loads, log.read_text().splitlines())} if log.exists() else {}
    for name in args.areas or AREAS:
        area = AREAS[name]
        reach = reach_of(name, area, stale=bool(args.only))
        for module in reach.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(module)
        gc.freeze()
        paths = sorted(p for pattern in area.code for p in ROOT.glob(pattern))
        everything = [fault for path in paths for fault in faults_of(path)]
        sample = random.Random(args.seed).sample(everything, min(args.n, len(everything)))
        print(f"{name}: {len(sample)} of {len(everything)} faults", flush=True)
        if run_tests(args.only or sorted(reach.seconds, key=reach.seconds.__getitem__)[:FIRST], None, 600) != 0:
            raise SystemExit(f"the tests of {name} fail without any fault; see {WORK}/last_output.txt")
        for fault in sample:
            before = known.get(fault.key)
            if before and not (args.again == "all" or (args.again and before["verdict"] == "survived")):
                continue
            start = time.monotonic()
            row = {
                "key": fault.key,
                "area": name,
                "name": fault.name,
                "verdict": verdict(fault, area, reach, args.quick, args.only),
            }
            known[fault.key] = row
            with log.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print(f"{time.monotonic() - start:6.1f} s  {row['verdict']:12} {fault.name}", flush=True)
        rows = [known[f.key] for f in sample]
        alive = sorted(r["name"] for r in rows if r["verdict"] == "survived")
        summary = {"n": len(rows), "of": len(everything), "killed": len(rows) - len(alive), "survivors": alive}
        (WORK / f"{name}.json").write_text(json.dumps(summary, indent=1))
        print(f"{name}: {summary['killed']} of {len(rows)} killed", flush=True)
    found = {n: json.loads((WORK / f"{n}.json").read_text()) for n in AREAS if (WORK / f"{n}.json").exists()}
    if set(found) == set(AREAS):
        write_result("mutation", sum(a["n"] for a in found.values()), {"seed": args.seed, "areas": found})


if __name__ == "__main__":
    main()
