"""A model folder of nnU-Net v2 as a source of masks.

The voxels go to nnU-Net's own predictor as its reader would have read the file: in RAS order where the plans name
``NibabelIOWithReorient``, else in the order in which the scan was stored, axes z, y, x. It resamples, crops, runs its
sliding window and resamples back; the labels are put back into RAS+ order. Labels are named by ``dataset.json``.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.optional import require_package
from radvlm.segment.model_folder import ModelFolder
from radvlm.segment.model_labels import background_free
from radvlm.segment.nnunet_process import (
    CHECKPOINT,
    DATASET,
    PLANS,
    checkpoints,
    configurations_of,
    nnunet_in_this_process,
    read_json,
    require_model_folder,
    weights_digest,
)
from radvlm.segment.protocol import torch_device, with_cpu_after_memory_error
from radvlm.types.geometry import canonical_order, reorder_array
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

_REORIENTING = "NibabelIOWithReorient"
_READERS = (_REORIENTING, "NibabelIO", "SimpleITKIO")
#: Words in the name of an image that is none of CT.
_NO_CT = frozenset(
    [
        "mr",
        "mri",
        "t1",
        "t2",
        "t1w",
        "t2w",
        "t1c",
        "t1ce",
        "t1gd",
        "t2f",
        "t2s",
        "flair",
        "dwi",
        "adc",
        "swi",
        "dixon",
        "pet",
        "us",
        "ultrasound",
        "xray",
    ]
)
_AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


class NnunetModel(ModelFolder):
    """A folder with plans.json, dataset.json and fold_N/checkpoint_final.pth, or one that holds a single such folder.

    Args:
        folder: the model folder (``.../nnUNetTrainer__nnUNetPlans__3d_fullres``), or its dataset folder.
        scheme: "" (labels by their names), a label scheme, or a table in CSV.
        template: where a table of names is written when they are not known; default: in the current folder.
    """

    @property
    def name(self) -> str:
        return f"nnU-Net {self._title}"

    @cached_property
    def folder(self) -> Path:
        """The model folder itself. FileFormatError where there is none or several."""
        if not self.given.is_dir():
            raise FileFormatError("the folder of an nnU-Net model exists", str(self.given), "Check the path")
        if (self.given / PLANS).is_file():
            return self.given
        inside = sorted(path.parent for path in self.given.glob(f"*/{PLANS}"))
        if len(inside) == 1:
            return inside[0]
        if inside:
            names = ", ".join(path.name for path in inside[:5])
            raise FileFormatError("one nnU-Net model is meant", f"{self.given} holds {names}", "Name one of them")
        raise FileFormatError(
            f"a folder of an nnU-Net v2 model holds {PLANS}, {DATASET} and fold_0/{CHECKPOINT}",
            f"{self.given}: no {PLANS}",
        )

    def label_names(self) -> dict[int, str]:
        return _names_of(read_json(self.folder / DATASET), self.folder)

    def require(self) -> None:
        """Raise one error when the model cannot run: packages, files, inputs, labels."""
        require_package("nnunetv2", "nnunetv2 is installed, which runs nnU-Net models")
        require_model_folder(self.folder, run_model_code=self.options.run_model_code)
        dataset, plans = read_json(self.folder / DATASET), read_json(self.folder / PLANS)
        channels = dict(dataset.get("channel_names") or dataset.get("modality") or {"0": "CT"})
        if len(channels) != 1:
            names = ", ".join(map(str, channels.values()))
            raise InputError("a model takes one CT", f"{self.name} takes {len(channels)} images: {names}")
        _require_ct(str(next(iter(channels.values()))), self.name)
        if plans.get("image_reader_writer", "SimpleITKIO") not in _READERS:
            raise InputError("a model reads 3D images", f"{self.name}: {plans['image_reader_writer']}")
        stage = self._configuration(plans).get("previous_stage")
        if stage:
            raise InputError(
                "a model runs on the scan alone", f"{self.name} is the second stage of a cascade, after {stage}", ""
            )
        _ = self.labels
        torch_device(self.options.device)

    def _configuration(self, plans: dict[str, Any]) -> dict[str, Any]:
        name = self.folder.name.split("__")[-1]
        return configurations_of(plans, self.folder).get(name, {})

    @property
    def _title(self) -> str:
        place = self.given.absolute()
        return place.parent.name if "__" in place.name else place.name

    def identity(self) -> str:
        from importlib.metadata import version

        plans = read_json(self.folder / PLANS)
        axes = "" if plans.get("image_reader_writer") == _REORIENTING else ", as stored"
        weights = weights_digest([self.folder])
        return f"nnU-Net {version('nnunetv2')}, weights {weights}{axes}, labels {self.labels_in_words()}"

    def segment(self, volume: Volume) -> Segmentation:
        began = time.monotonic()
        with (
            contextlib.redirect_stdout(io.StringIO()),
            nnunet_in_this_process(self.folder.parent, run_model_code=self.options.run_model_code),
        ):
            labels, where, note = with_cpu_after_memory_error(
                torch_device(self.options.device), lambda device: self._predict(volume, device)
            )
        return self.answer(labels, volume, (where, note, began), self.name)

    def _predict(self, volume: Volume, device: str) -> np.ndarray:
        """Labels in RAS+ order."""
        import torch

        module = import_module("nnunetv2.inference.predict_from_raw_data")
        predictor = module.nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
        folds = [path.parent.name.removeprefix("fold_") for path in checkpoints(self.folder)]
        whole = [int(fold) for fold in folds if fold.isdigit()] or folds
        try:
            predictor.initialize_from_trained_model_folder(
                str(self.folder), use_folds=whole, checkpoint_name=CHECKPOINT
            )
        except RuntimeError as error:
            if "out of memory" in str(error).lower():
                raise
            raise FileFormatError(
                "the weights of a model fit its plans", f"{self.folder.name}: {str(error).strip().splitlines()[0]}"
            ) from error
        reader = predictor.plans_manager.plans.get("image_reader_writer", "SimpleITKIO")
        axes = "RAS" if reader == _REORIENTING else volume.stored_axes
        stored, spacing = as_stored(volume, axes)
        answer = predictor.predict_single_npy_array(
            stored.transpose(2, 1, 0)[None].astype(np.float32), {"spacing": list(spacing[::-1])}
        )
        found = np.asarray(answer)
        return as_canonical(
            found.transpose(2, 1, 0).astype(np.uint16 if found.max(initial=0) > 255 else np.uint8), axes
        )


def as_stored(volume: Volume, axes: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """The voxels of a scan in the order of ``axes`` (such as LPS), and the spacing along them."""
    order, signs = _order(axes)
    spacing = tuple(volume.geometry.spacing_mm[axis] for axis in order)
    return reorder_array(volume.hu, order, signs), spacing


def as_canonical(labels: np.ndarray, axes: str) -> np.ndarray:
    """Labels that are stored in the order of ``axes``, in RAS+ order."""
    order, signs = _order(axes)
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign
    affine[3, 3] = 1
    return reorder_array(labels, *canonical_order(affine))


def _order(axes: str) -> tuple[list[int], list[int]]:
    pairs = [_AXES[code] for code in axes]
    return [axis for axis, _ in pairs], [sign for _, sign in pairs]


def _require_ct(channel: str, model: str) -> None:
    """InputError for a model whose only image is named as one of another modality; a name that says nothing passes."""
    words = set(re.split(r"[^a-z0-9]+", channel.lower()))
    if words & _NO_CT and "ct" not in words:
        raise InputError("a model is one for CT", f"{model} takes {channel}", "Choose a model that was trained on CT")


def _names_of(dataset: dict[str, Any], folder: Path) -> dict[int, str]:
    """Label -> name; where the model predicts regions, the label that each region leaves in the result."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise FileFormatError(f"{DATASET} names the labels of the model", f"{folder.name}: no labels")
    try:
        if any(isinstance(value, list) for value in labels.values()):
            regions = [name for name, value in labels.items() if value != 0 and name != "ignore"]
            found = dict(zip((int(n) for n in dataset["regions_class_order"]), regions, strict=True))
        else:
            found = {int(value): str(name) for name, value in labels.items() if name != "ignore"}
    except (TypeError, ValueError, KeyError) as error:
        raise FileFormatError(f"{DATASET} names each label with a number", f"{folder.name}: {error}") from error
    return background_free(found)
