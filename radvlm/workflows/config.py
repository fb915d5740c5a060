"""Settings of a run: frozen dataclasses with documented attributes.

Every run records the digest of the values it used, so that two reports can be compared honestly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from radvlm.compose import Style
from radvlm.errors import InputError
from radvlm.export import PageOptions
from radvlm.files.settings import read_settings, settings_from
from radvlm.io.hounsfield import checked_rescale
from radvlm.segment.protocol import SegmentOptions
from radvlm.segment.request import parse_requests


@dataclass(frozen=True)
class Reading:
    """How a scan and its masks are read.

    Attributes:
        rescale: what makes the stored values HU, as in ``load_volume``: ``auto``, ``header``, ``none``, or slope and
            intercept (``[1, -1024]`` or ``"1,-1024"``).
        acquisition: which acquisition of a DICOM series that holds several, as in ``load_volume``; None: that with
            most slices. A scan of another format holds one, and is refused with it.
        accept_misplaced: go on with masks that look mirrored, turned or shifted on their scan; the report says so.
    """

    rescale: str | tuple[float, float] = "auto"
    acquisition: str | int | None = None
    accept_misplaced: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rescale", checked_rescale(self.rescale))


@dataclass(frozen=True)
class Segmenting:
    """How a scan without masks is segmented; see docs/segmentation.md.

    Attributes:
        segmenter: what segments it, as ``--segment`` takes it ("total,liver_lesions"); None: thresholds, for body and
            lungs alone.
        fast: the coarser model of tasks that have one.
        device: ``auto``, ``cpu``, ``gpu``, ``gpu:1`` ... or ``mps``.
        cache: folder in which the masks of each task are kept for a later run; ``auto``: a folder of the user's cache,
            ``off``: nothing is kept.
        allow_download: let packages download weights that are missing.
        run_model_code: let a model run code that it brings; only for models whose makers you trust.
    """

    segmenter: str | None = None
    fast: bool = False
    device: str = "auto"
    cache: str = "auto"
    allow_download: bool = False
    run_model_code: bool = False

    def __post_init__(self) -> None:
        if not self.cache:
            raise InputError("cache is auto, off or a folder", "nothing")
        self.options()
        if self.segmenter is not None:
            parse_requests(self.segmenter)

    def options(self) -> SegmentOptions:
        """What the segmenters are given of it."""
        return SegmentOptions(self.fast, self.device, self.allow_download, self.run_model_code)


@dataclass(frozen=True)
class Measuring:
    """How masks are measured.

    Attributes:
        min_lesion_voxels: smaller lesion instances are counted and told, not measured.
        min_lesion_ml: the same by volume in mL.
    """

    min_lesion_voxels: int = 4
    min_lesion_ml: float = 0.0

    def __post_init__(self) -> None:
        if self.min_lesion_voxels < 1 or self.min_lesion_ml < 0:
            raise InputError(
                "min_lesion_voxels is at least 1 and min_lesion_ml at least 0",
                f"{self.min_lesion_voxels}, {self.min_lesion_ml}",
            )


@dataclass(frozen=True)
class Config:
    """Everything a report depends on beside its inputs.

    Attributes:
        reading: see Reading.
        segmenting: see Segmenting.
        measuring: see Measuring.
        style: wording of the report, see radvlm.compose.Style.
        page: the HTML page, see radvlm.export.PageOptions.
        rules_file: YAML file that changes or adds rules by id to thresholds.yaml; None for the built-in rules.

    Example:
        >>> import radvlm
        >>> radvlm.Config.from_mapping({"measuring": {"min_lesion_voxels": 5}}).measuring.min_lesion_voxels
        5
        >>> try:
        ...     radvlm.Config.from_mapping({"measurng": {}})
        ... except radvlm.RadvlmError as error:
        ...     print(error.remedy)
        Did you mean measuring?
    """

    reading: Reading = field(default_factory=Reading)
    segmenting: Segmenting = field(default_factory=Segmenting)
    measuring: Measuring = field(default_factory=Measuring)
    style: Style = field(default_factory=Style)
    page: PageOptions = field(default_factory=PageOptions)
    rules_file: str | None = None

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read a YAML file; InputError names an unknown key, a wrong type or a missing file."""
        return read_settings(cls, path, "a configuration")

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Config:
        return settings_from(cls, data, "a configuration")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def digest(self) -> str:
        """sha256 of the values, independent of their order; includes the text of rules_file."""
        text = json.dumps(self.to_dict(), sort_keys=True, default=str)
        if self.rules_file:
            text += Path(self.rules_file).read_text(encoding="utf-8")
        return hashlib.sha256(text.encode()).hexdigest()
