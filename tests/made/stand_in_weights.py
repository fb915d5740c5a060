"""Folders of models in exactly the published layouts, whose weights make the network a known function.

The network is nnU-Net's own ``PlainConvUNet`` of two stages with 1x1x1 kernels and no normalization: it passes the
normalized HU through and cuts them into intervals, so which label a voxel must get is known from its HU alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Added to the normalized HU (HU / 100) so that the leaky ReLU is passed on its straight side.
_SHIFT = 20.0
_KERNELS = "torch.nn.modules.conv.Conv3d"
_NETWORK = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def plans_of(
    name: str,
    configuration: str,
    spacing_mm: Sequence[float],
    patch: Sequence[int],
    *,
    reader: str,
    transpose: Sequence[int],
) -> dict[str, Any]:
    """``plans.json`` of nnU-Net 2: CT normalization with mean 0 and deviation 100 HU, so that HU are kept."""
    backward = [list(transpose).index(axis) for axis in range(3)]
    probabilities = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing_mm),
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": reader,
        "transpose_forward": list(transpose),
        "transpose_backward": backward,
        "configurations": {
            configuration: {
                "data_identifier": f"nnUNetPlans_{configuration}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch),
                "median_image_size_in_voxels": [64, 64, 64],
                "spacing": list(spacing_mm),
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
                "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": probabilities,
                "batch_dice": True,
                "architecture": {
                    "network_class_name": _NETWORK,
                    "arch_kwargs": {
                        "n_stages": 2,
                        "features_per_stage": [2, 2],
                        "conv_op": _KERNELS,
                        "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
                        "strides": [[1, 1, 1], [1, 1, 1]],
                        "n_conv_per_stage": [1, 1],
                        "n_conv_per_stage_decoder": [1],
                        "conv_bias": True,
                        "norm_op": None,
                        "norm_op_kwargs": None,
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 3000.0,
                "mean": 0.0,
                "median": 0.0,
                "min": -1024.0,
                "percentile_00_5": -1000.0,
                "percentile_99_5": 1000.0,
                "std": 100.0,
            }
        },
    }


def write_nnunet_model(
    folder: Path,
    labels: Mapping[str, int],
    cuts: Sequence[tuple[float, int]],
    *,
    trainer: str = "nnUNetTrainer",
    configuration: str = "3d_fullres",
    spacing_mm: Sequence[float] = (3.0, 3.0, 3.0),
    patch: Sequence[int] = (32, 32, 32),
    reader: str = "SimpleITKIO",
    transpose: Sequence[int] = (0, 1, 2),
    name: str = "Dataset999_stand_in",
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model folder; returns it. ``cuts``: from which HU on which label, ascending; below the first: background.

    ``more`` goes into the checkpoint beside what nnU-Net keeps there.
    """
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    plans = plans_of(name, configuration, spacing_mm, patch, reader=reader, transpose=transpose)
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **labels},
        "numTraining": 10,
        "file_ending": ".nii.gz",
    }
    words = dict(plans["configurations"][configuration]["architecture"]["arch_kwargs"])
    words.update(conv_op=torch.nn.Conv3d, nonlin=torch.nn.LeakyReLU)
    heads = max(labels.values()) + 1
    weights = PlainConvUNet(input_channels=1, num_classes=heads, **words).state_dict()
    for tensor in weights.values():
        tensor.zero_()
    for key, tensor in weights.items():
        if "encoder.stages.0" in key and key.endswith("weight"):
            tensor[0, 0] = 1.0
        elif "encoder.stages.0" in key and key.endswith("bias"):
            tensor[0] = _SHIFT
        elif "decoder.stages.0" in key and key.endswith("weight"):
            tensor[0, 2] = 1.0  # the skip connection comes after the two channels from below
        elif "seg_layers" in key and key.endswith("bias"):
            tensor.fill_(-1000.0)
            tensor[0] = 0.0
            offset = 0.0
            for hu, label in cuts:
                offset -= hu / 100 + _SHIFT
                tensor[label] = offset
        elif "seg_layers" in key:
            for slope, (_, label) in enumerate(cuts, 1):
                tensor[label, 0] = slope
    place = folder / f"{trainer}__nnUNetPlans__{configuration}"
    (place / "fold_0").mkdir(parents=True)
    (place / "plans.json").write_text(json.dumps(plans))
    (place / "dataset.json").write_text(json.dumps(dataset))
    torch.save(
        {
            "network_weights": weights,
            "optimizer_state": None,
            "grad_scaler_state": None,
            "logging": {"ema_fg_dice": [np.float64(0.9)]},
            "_best_ema": np.float64(0.9),
            "current_epoch": 1000,
            "init_args": {
                "plans": plans,
                "configuration": configuration,
                "fold": 0,
                "dataset_json": dataset,
                "device": torch.device("cuda"),
            },
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": None,
            **(more or {}),
        },
        place / "fold_0" / "checkpoint_final.pth",
    )
    return place


def write_totalsegmentator_weights(home: Path, cuts: Mapping[int, Sequence[tuple[float, str]]]) -> Path:
    """Weights of TotalSegmentator by dataset number below ``home``, as the package downloads them; their folder.

    ``cuts``: number of the dataset (297: ``total --fast``, 591: ``liver_lesions``) -> from which HU on which class.
    """
    from totalsegmentator.map_tasks_config import DEFAULT_CONFIG, TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS
    from totalsegmentator.map_to_binary import class_map, class_map_5_parts, map_taskid_to_partname_ct

    results = home / "nnunet" / "results"
    for number, wanted in cuts.items():
        task, row = next(
            (task, {**DEFAULT_CONFIG, **config, **mode})
            for task, config in TASK_CONFIGS.items()
            for mode in config.get("sub_modes", {"": {}}).values()
            if number in np.atleast_1d({**config, **mode}.get("task_id", -1))
        )
        part = map_taskid_to_partname_ct.get(number)
        classes = (
            class_map_5_parts[part]
            if part and task == "total" and isinstance(row["task_id"], list)
            else class_map[task]
        )
        labels = {name: label for label, name in classes.items()}
        spacing = np.atleast_1d(row["resample"] or 1.5).astype(float)
        name = str(TASK_ID_WEIGHTS_CONFIGS[number]["foldername"])
        write_nnunet_model(
            results / name,
            labels,
            [(hu, labels[word]) for hu, word in wanted],
            trainer=row["trainer"],
            configuration=row["model"],
            spacing_mm=list(np.broadcast_to(spacing, 3)[::-1]),
            patch=(80, 80, 80) if spacing.min() < 3 else (32, 32, 32),  # few windows, so that it is quick
            reader="NibabelIOWithReorient",
            name=name,
        )
    return results
