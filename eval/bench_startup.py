"""Start-up: ``import radvlm`` and ``radvlm --help`` in fresh interpreters. Must hold: 50 ms and 0.3 s."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from record import write_result

RUNS = 15


def seconds(command: list[str]) -> list[float]:
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return times[1:]  # the first run fills the file cache


def main() -> None:
    python = [sys.executable, "-c"]
    code = "import time; t = time.perf_counter(); import radvlm; print(time.perf_counter() - t)"
    imports = [
        float(subprocess.run([*python, code], check=True, capture_output=True, text=True).stdout) for _ in range(RUNS)
    ]
    empty, shown = seconds([*python, "pass"]), seconds([sys.executable, "-m", "radvlm", "--help"])
    info = seconds([sys.executable, "-m", "radvlm", "info", "--json"])
    write_result(
        "startup",
        RUNS,
        {
            "import_ms": {"median": statistics.median(imports) * 1e3, "max": max(imports) * 1e3, "must_hold": 50},
            "help_s": {"median": statistics.median(shown), "max": max(shown), "must_hold": 0.3},
            "info_s": {"median": statistics.median(info), "max": max(info)},
            "python_pass_s": {"median": statistics.median(empty)},
        },
    )


if __name__ == "__main__":
    main()
