"""What a folder of nnU-Net and a MONAI bundle have in common as sources of masks: labels that need names."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.segment.model_labels import model_scheme, segmentation_of
from radvlm.segment.protocol import SegmentOptions, origin_of
from radvlm.types.label_scheme import Scheme
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume


class ModelFolder:
    """The folder of a model; a family says its ``name`` and the names of its labels.

    Args:
        folder: that of the model.
        scheme: "" (labels by their own names), a label scheme, or a table in CSV.
        template: where a table of names is written when they are not known; default: in the current folder.
    """

    #: What the table of names is called after where the folder has no name.
    family = "model"

    def __init__(
        self, folder: str, scheme: str = "", options: SegmentOptions | None = None, *, template: Path | None = None
    ) -> None:
        self.given, self.scheme, self.options = Path(folder), scheme, options or SegmentOptions()
        self.template = Path(f"{self.given.name or self.family}_labels.csv") if template is None else template

    @property
    def name(self) -> str:
        """Short and in words."""
        raise NotImplementedError

    def label_names(self) -> dict[int, str]:
        """Label -> the model's own name, without the background."""
        raise NotImplementedError

    @cached_property
    def labels(self) -> Scheme:
        """What the labels mean; see ``model_scheme``."""
        return model_scheme(self.label_names(), self.scheme, self.name, template=self.template)

    @property
    def searched(self) -> frozenset[str]:
        """Structures that the labels name; none where the folder does not tell."""
        try:
            return self.labels.searched
        except (FileFormatError, InputError):
            return frozenset()

    def labels_in_words(self) -> str:
        """``1=liver,2=spleen``, for ``identity``."""
        return ",".join(f"{entry.label}={entry.structure}" for entry in self.labels.entries)

    def answer(
        self, labels: np.ndarray, volume: Volume, ran: tuple[str, str, float], by: str, licence: str = ""
    ) -> Segmentation:
        """A label map in RAS+ order as masks; ``ran``: device, a note of what went otherwise or "", when it began."""
        where, note, began = ran
        decisions = [Decision("segment", f"Masks by {by}, on {where}.")]
        if note:
            decisions.append(Decision("segment", f"{by}: {note}", warning=True))
        origin = origin_of(by, self.labels.searched, began, licence)
        return segmentation_of(labels, self.labels, volume.geometry, tuple(decisions), origin)
