"""How long a task may take, told before it starts: from a run on this machine, else from what was published."""

from __future__ import annotations

import numpy as np

from radvlm.types.csv_tables import package_rows
from radvlm.types.volume import Volume


def expected_time(task: str, *, fast: bool, on_gpu: bool, volume: Volume, earlier: float | None = None) -> str:
    """An estimate in words, with where it is from; "time not known" where nothing tells.

    Args:
        earlier: seconds per liter of scan in the last run of the task on this machine, where there was one.
    """
    litres = float(np.prod(volume.geometry.extent_mm)) / 1e6
    if earlier is not None:
        return f"{_words(earlier * litres)}, by the last run on this machine"
    wanted = ("yes" if fast else "no", "gpu" if on_gpu else "cpu")
    for row in package_rows("radvlm.segment", "run_times.csv"):
        if row["task"] == task and (row["fast"], row["device"]) == wanted:
            seconds = float(row["seconds"]) * litres / float(row["litres"])
            return f"{_words(seconds)}, an estimate from a published time on a {row['machine']}"
    return "time not known"


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"
