"""nnU-Net models, MONAI bundles and commands: masks on the right voxels whatever the axes, and nothing else is run."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from radvlm.errors import FileFormatError, InputError, StructureError
from radvlm.io import load_volume
from radvlm.segment.model_labels import model_scheme
from radvlm.segment.monai_bundle import MonaiBundle
from radvlm.segment.nnunet import NnunetModel, as_canonical, as_stored
from radvlm.segment.nnunet_process import require_finite, require_plain_plans
from radvlm.segment.protocol import SegmentOptions
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume
from radvlm.workflows.config import Segmenting
from radvlm.workflows.segmenters import segmented

ON_CPU = SegmentOptions(device="cpu")
ORIENTATIONS = [
    "".join(pair[bit] for pair, bit in zip(order, bits, strict=True))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for bits in itertools.product((0, 1), repeat=3)
]


def hu_of(shape: tuple[int, int, int] = (20, 18, 16)) -> np.ndarray:
    """No axis and no direction is like another."""
    hu = np.full(shape, -1000, np.int16)
    hu[2:15, 2:14, 2:13] = 40
    hu[3:8, 3:12, 4:7] = 100
    return hu


def in_axes(axes: str, spacing: tuple[float, float, float], tilt: float = 0.0) -> Volume:
    """The same scan as a file with these axes would hold it, read by radvlm."""
    hu = hu_of()
    cosine, sine = np.cos(tilt), np.sin(tilt)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = (-31.0, 12.0, 400.5)
    world = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    order, signs = zip(*(world[code] for code in axes), strict=True)
    stored = Geometry(hu.shape, affine).reordered(order, signs)
    turned = hu.transpose(order)[tuple(slice(None, None, s) for s in signs)]
    return load_volume(np.ascontiguousarray(turned), affine=stored.affine)


def test_stored_order_and_back() -> None:
    assert len(set(ORIENTATIONS)) == 48
    for axes in ORIENTATIONS:
        volume = in_axes(axes, (1.0, 2.0, 3.0))
        assert volume.stored_axes == axes
        stored, spacing = as_stored(volume, axes)
        assert sorted(spacing) == [1.0, 2.0, 3.0] and stored.shape == tuple(
            volume.hu.shape["RLAPSI".index(code) // 2] for code in axes
        )
        np.testing.assert_array_equal(as_canonical(stored, axes), volume.hu)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("nnunetv2", reason="the extra nnunet is not installed")
    from stand_in_weights import write_nnunet_model

    folder = tmp_path_factory.mktemp("models")
    labels, cuts = {"liver": 2, "spleen": 1}, [(20.0, 1), (70.0, 2)]
    same = {"spacing_mm": (1.0, 1.0, 1.0), "patch": (20, 20, 20)}
    return {
        "stored": write_nnunet_model(folder / "Dataset001_a", labels, cuts, **same),
        "reorienting": write_nnunet_model(
            folder / "Dataset002_b", labels, cuts, reader="NibabelIOWithReorient", transpose=(1, 0, 2), **same
        ),
        "finer": write_nnunet_model(
            folder / "Dataset003_c", labels, cuts, spacing_mm=(2.0, 1.0, 0.75), patch=(40, 24, 40)
        ),
        "unknown": write_nnunet_model(folder / "Dataset004_d", {"flux_capacitor": 1, "liver": 2}, cuts, **same),
    }


@pytest.mark.slow
def test_nnunet_on_every_orientation_and_grid(models: dict[str, Path]) -> None:
    for kind in ("stored", "reorienting"):
        model = NnunetModel(str(models[kind].parent), options=ON_CPU)
        model.require()
        for axes in ORIENTATIONS if kind == "stored" else ORIENTATIONS[::7]:
            volume = in_axes(axes, (1.0, 1.0, 1.0), tilt=0.0 if len(axes) % 2 else 0.1)
            found = model.segment(volume)
            np.testing.assert_array_equal(found.mask("liver"), volume.hu == 100, axes)
            np.testing.assert_array_equal(found.mask("spleen"), volume.hu == 40, axes)
    # anisotropic, oblique, resampled to a grid of its own and back
    volume = in_axes("PSR", (1.5, 1.0, 4.0), tilt=0.3)
    found = NnunetModel(str(models["finer"]), options=ON_CPU).segment(volume)
    assert found.geometry.same_grid(volume.geometry)
    assert_within_a_voxel(found.mask("liver"), volume.hu == 100)


def assert_within_a_voxel(mask: np.ndarray, truth: np.ndarray) -> None:
    """Resampled to another grid and back: all but the outermost voxels, and none beyond the next ones."""
    assert mask[ndimage.binary_erosion(truth)].all() and not mask[~ndimage.binary_dilation(truth)].any()


@pytest.mark.slow
def test_nnunet_labels_that_nobody_knows(models: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    with pytest.raises(StructureError, match=r"flux_capacitor.*labels.csv: check it") as told:
        NnunetModel(str(models["unknown"]), options=ON_CPU, template=table).require()
    assert len(str(told.value).splitlines()) == 1
    assert table.read_text().splitlines() == ["label,name,structure", "1,flux_capacitor,", "2,liver,liver"]
    model = NnunetModel(str(models["unknown"]), str(table), ON_CPU)
    model.require()
    found = model.segment(in_axes("RAS", (1.0, 1.0, 1.0)))
    assert set(found.places) == {"liver"} and found.searched == {"liver"}
    table.write_text("label,name,structure\n1,flux_capacitor,spleen\n")
    with pytest.raises(StructureError, match="no row for 2"):
        NnunetModel(str(models["unknown"]), str(table), ON_CPU).require()
    with pytest.raises(StructureError, match="known one"):
        NnunetModel(str(models["stored"]), "nothing", ON_CPU).require()


@pytest.mark.slow
def test_nnunet_folders_that_do_not_fit(models: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    with pytest.raises(FileFormatError, match="exists"):
        NnunetModel(str(tmp_path / "none"), options=ON_CPU).require()
    for change, expected in (
        ("cut", "a checkpoint is whole"),
        ("gone", "no checkpoint"),
        ("class", "os.system"),
        ("channels", "takes 2 images"),
    ):
        copy = tmp_path / change
        shutil.copytree(models["stored"], copy / models["stored"].name)
        place = copy / models["stored"].name
        checkpoint = place / "fold_0" / "checkpoint_final.pth"
        if change == "cut":
            checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
        elif change == "gone":
            checkpoint.unlink()
        elif change == "class":
            plans = json.loads((place / "plans.json").read_text())
            plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "os.system"
            (place / "plans.json").write_text(json.dumps(plans))
        else:
            dataset = json.loads((place / "dataset.json").read_text())
            (place / "dataset.json").write_text(json.dumps({**dataset, "channel_names": {"0": "CT", "1": "PET"}}))
        with pytest.raises((FileFormatError, InputError), match=expected):
            NnunetModel(str(place), options=ON_CPU).require()


PLAIN_PLANS = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "dropout_op": None,
        "nonlin": "torch.nn.LeakyReLU",
        "features_per_stage": [32, 64],
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}


def test_plans_name_listed_networks_and_layers_alone() -> None:
    def require(**change: Any) -> None:
        plans = {"configurations": {"3d_fullres": {"architecture": {**PLAIN_PLANS, **change}}, "2d": {}}}
        require_plain_plans(plans, Path("model"))

    def layer(name: Any) -> dict[str, Any]:
        return {"arch_kwargs": {"conv_op": name}, "_kw_requires_import": ["conv_op"]}

    require()
    require(network_class_name="dynamic_network_architectures.architectures.unet.PlainConvUNet")
    require(**layer("torch.nn.Conv2d"))
    for change in (
        {"network_class_name": "torch.nn.functional.torch.hub.load"},
        {"network_class_name": "dynamic_network_architectures.architectures.unet.torch.hub.load"},
        {"network_class_name": "torch.nn.Sequential"},
        {"network_class_name": ["os.system"]},
        {"network_class_name": None},
        layer("torch.nn.modules.conv.torch.load"),
        layer("torch.nn.init.kaiming_normal_"),
        layer(["torch.nn.Conv2d"]),
        {"arch_kwargs": ["conv_op"]},
        {"_kw_requires_import": "conv_op"},
        {"_kw_requires_import": [["conv_op"]]},
    ):
        with pytest.raises(FileFormatError):
            require(**change)
    for configurations in ([1, 2], "x", {"2d": [1]}):
        with pytest.raises(FileFormatError, match="configurations by name"):
            require_plain_plans({"configurations": configurations}, Path("model"))


def test_models_of_other_modalities_are_refused() -> None:
    from radvlm.segment.nnunet import _require_ct

    for name in ("CT", "ct", "CTA", "image", "0000", "noNorm", "PET/CT", "contrast-enhanced CT"):
        _require_ct(name, "m")
    for name in ("T2", "MR", "mri_t1", "FLAIR", "PET"):
        with pytest.raises(InputError, match="one for CT"):
            _require_ct(name, "m")


def test_regions_are_named_by_what_they_leave() -> None:
    from radvlm.segment.nnunet import _names_of

    dataset = {
        "labels": {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2},
        "regions_class_order": [1, 3, 2],
    }
    assert _names_of(dataset, Path("x")) == {1: "kidney", 3: "masses", 2: "tumor"}


def test_schemes_name_labels_by_number() -> None:
    scheme = model_scheme({1: "a", 6: "b"}, "btcv", "m")
    assert dict(scheme.labels) == {1: "spleen", 6: "liver"}
    with pytest.raises(StructureError, match="99"):
        model_scheme({99: "a"}, "btcv", "m")


# -- bundles --------------------------------------------------------------------------------------------------------


def write_bundle(folder: Path, *, form: str = "pt", channels: dict[str, str] | None = None, **change: Any) -> Path:
    """A bundle in MONAI's layout: a network of two layers of 1x1x1 kernels that cuts HU into three intervals."""
    import torch
    from monai.networks.nets import UNet

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    config: dict[str, Any] = {
        "imports": ["$import glob"],
        "device": "$torch.device('cpu')",
        "spacing": [1.0, 1.0, 1.0],
        "network_def": {
            "_target_": "UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 3,
            "channels": [2, 2],
            "strides": [1],
            "kernel_size": 1,
            "up_kernel_size": 1,
            "norm": None,
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": "@spacing", "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": -1000,
                    "a_max": 1000,
                    "b_min": 0,
                    "b_max": 1,
                    "clip": True,
                },
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0.25},
        **change,
    }
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    names = channels or {"0": "background", "1": "spleen", "2": "liver"}
    metadata = {
        "version": "0.1.0",
        "license": "CC0",
        "network_data_format": {"outputs": {"pred": {"channel_def": names}}},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    net = UNet(3, 1, 3, channels=[2, 2], strides=[1], kernel_size=1, up_kernel_size=1, norm=None)
    scale = 2000 / 20  # of the logits: 1 for 20 HU
    first, second = ((hu + 1000) / 2000 * scale for hu in (20, 70))
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if "adn" in name:
                continue  # the slope of a PReLU: what it gets here is positive
            tensor.zero_()
            if name.startswith("model.0.") and name.endswith("weight"):
                tensor[0, 0] = 1.0
            elif name.startswith("model.2.") and name.endswith("weight"):
                tensor[0, :, 0, 0, 0] = torch.tensor([0.0, scale, 2 * scale])
            elif name.startswith("model.2.") and name.endswith("bias"):
                tensor[:] = torch.tensor([0.0, -first, -first - second])
    if form == "ts":
        torch.jit.script(net).save(str(folder / "models" / "model.ts"))
    elif form == "safetensors":
        from safetensors.torch import save_file

        save_file(net.state_dict(), str(folder / "models" / "model.safetensors"))
    else:
        torch.save({"model": net.state_dict()}, folder / "models" / "model.pt")
    return folder


@pytest.mark.slow
def test_bundle_on_every_orientation_and_grid(tmp_path: Path) -> None:
    bundle = MonaiBundle(str(write_bundle(tmp_path / "whole")), options=ON_CPU)
    bundle.require()
    for axes in ORIENTATIONS:
        volume = in_axes(axes, (1.0, 1.0, 1.0), tilt=0.1 if axes[0] in "RL" else 0.0)
        found = bundle.segment(volume)
        np.testing.assert_array_equal(found.mask("liver"), volume.hu == 100, axes)
        np.testing.assert_array_equal(found.mask("spleen"), volume.hu == 40, axes)
    assert found.origins[0].by == "MONAI bundle whole 0.1.0" and found.origins[0].licence == "CC0"
    volume = in_axes("PSR", (1.5, 1.0, 4.0), tilt=0.3)
    found = bundle.segment(volume)
    assert found.geometry.same_grid(volume.geometry)
    assert_within_a_voxel(found.mask("liver"), volume.hu == 100)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("form", ["ts", "safetensors"])
def test_other_forms_of_weights(tmp_path: Path, form: str) -> None:
    volume = in_axes("LPS", (1.0, 1.0, 1.0))
    found = MonaiBundle(str(write_bundle(tmp_path / form, form=form)), options=ON_CPU).segment(volume)
    np.testing.assert_array_equal(found.mask("liver"), volume.hu == 100)


@pytest.mark.slow
def test_bundles_that_bring_code_or_do_not_fit(tmp_path: Path) -> None:
    import torch

    loading = {"_target_": "LoadImaged", "keys": "image"}
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "target": ({"network_def": {"_target_": "os.system", "command": "true"}}, "os.system"),
        "expression": ({"network_def": {"_target_": "UNet", "channels": "$__import__('os')"}}, "__import__"),
        "transform": ({"preprocessing": {"transforms": [loading, {"_target_": "scripts.own.Mine"}]}}, "transform Mine"),
        "lambda": ({"preprocessing": {"transforms": [{"_target_": "Lambdad", "func": "$print"}]}}, "transform Lambda"),
        "inferer": ({"inferer": {"_target_": "scripts.Vista3dInferer"}}, "inferer Vista3dInferer"),
    }
    for name, (change, expected) in changes.items():
        with pytest.raises(InputError, match=expected):
            MonaiBundle(str(write_bundle(tmp_path / name, **change)), options=ON_CPU).require()
    with pytest.raises(StructureError, match="flux"):
        odd = {"0": "background", "1": "flux", "2": "liver"}
        MonaiBundle(
            str(write_bundle(tmp_path / "odd", channels=odd)), options=ON_CPU, template=tmp_path / "t.csv"
        ).require()
    with pytest.raises(FileFormatError, match="none"):
        MonaiBundle(str(tmp_path), options=ON_CPU).require()
    other = write_bundle(tmp_path / "other")
    torch.save({"model": {"weight": torch.zeros(3)}}, other / "models" / "model.pt")
    with pytest.raises(FileFormatError, match="fit its network"):
        MonaiBundle(str(other), options=ON_CPU).segment(in_axes("RAS", (1.0, 1.0, 1.0)))


@pytest.mark.slow
def test_networks_of_bundles_are_classes_that_fetch_nothing(tmp_path: Path) -> None:
    payload, out = tmp_path / "payload", tmp_path / "written"
    payload.write_text("x")
    for number, words in enumerate(
        (
            {"_target_": "monai.networks.nets.hovernet.download_url", "url": payload.as_uri(), "filepath": str(out)},
            {"_target_": "monai.networks.nets.unet.torch.hub.load", "repo_or_dir": str(tmp_path)},
            {"_target_": "monai.networks.nets.unet.nn.Conv3d"},
            {"_target_": "monai.networks.nets.unet.warnings"},
            {"_target_": "monai.networks.nets.nothing.Net"},
            {"_target_": "monai.networks.nets"},
            {"_target_": "optional_import", "module": "os"},
            {"_target_": ["UNet"]},
        )
    ):
        bundle = MonaiBundle(str(write_bundle(tmp_path / str(number), network_def=words)), options=ON_CPU)
        with pytest.raises(InputError, match=r"class of monai\.networks\.nets"):
            bundle.require()
        with pytest.raises(InputError):
            bundle._network()
    assert not out.exists()
    volume = in_axes("RAS", (1.0, 1.0, 1.0))
    for name, words, expected in (
        ("eff", {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0"}, "fit its network"),  # not fetched
        ("asks", {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "pretrained": True}, "a download"),
        ("dense", {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 3, "out_channels": 2,
                   "pretrained": True}, "asks for"),
        ("strange", {"_target_": "Unet", "no_such": 1}, "takes the arguments"),
    ):  # fmt: skip
        with pytest.raises((FileFormatError, InputError), match=expected):
            MonaiBundle(str(write_bundle(tmp_path / name, network_def=words)), options=ON_CPU).segment(volume)


@pytest.mark.parametrize(
    ("names", "count", "is_sigmoid", "expected"),
    [
        ({"0": "background", "1": "spleen", "2": "liver"}, 3, False, ["", "spleen", "liver"]),
        ({"1": "spleen", "2": "liver"}, 3, False, ["", "spleen", "liver"]),
        ({"0": "background", "1": "spleen", "2": "liver"}, 3, True, ["", "spleen", "liver"]),
        ({"0": "liver", "1": "spleen", "2": "pancreas"}, 3, True, ["liver", "spleen", "pancreas"]),
        ({"1": "liver", "2": "spleen"}, 2, True, ["liver", "spleen"]),
        ({"0": "liver"}, 1, True, ["liver"]),
        ({"1": "liver"}, 1, True, ["liver"]),
        ({"0": "background", "1": "liver"}, 1, True, ["liver"]),
        ({"0": "background", "1": "spleen", "2": "liver", "3": "pancreas", "4": "lung_nodule"}, 3, False, None),
        ({"0": "background", "1": "spleen"}, 3, False, None),
        ({"1": "spleen", "2": "liver"}, 2, False, None),
        ({"0": "liver", "1": "spleen"}, 1, True, None),
    ],
)
def test_channels_of_bundles(
    tmp_path: Path, names: dict[str, str], count: int, is_sigmoid: bool, expected: list[str] | None
) -> None:
    (tmp_path / "configs").mkdir()
    table = {"network_data_format": {"outputs": {"pred": {"channel_def": names}}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(table))
    bundle = MonaiBundle(str(tmp_path), options=ON_CPU)
    if expected is None:
        with pytest.raises(FileFormatError, match="channel_def"):
            bundle._labels_of_channels(count, is_sigmoid)
        return
    found = [bundle.labels.labels.get(label, "") for label in bundle._labels_of_channels(count, is_sigmoid)]
    assert found == expected


def test_weights_that_are_no_numbers() -> None:
    torch = pytest.importorskip("torch")
    require_finite({"a": torch.zeros(2), "n": torch.ones(1, dtype=torch.int64)}, "x")
    for value in (float("nan"), float("inf")):
        with pytest.raises(FileFormatError, match="NaN or infinite in b"):
            require_finite({"a": torch.zeros(2), "b": torch.tensor([1.0, value])}, "x")


# -- commands -------------------------------------------------------------------------------------------------------

TOOL = """
import sys, nibabel, numpy
image = nibabel.load(sys.argv[1])
hu = numpy.asarray(image.dataobj)
for name, value in (("liver", 100), ("left kidney", 7)):
    nibabel.save(nibabel.Nifti1Image((hu == value).astype("u1"), image.affine), f"{sys.argv[2]}/{name}.nii.gz")
"""


def test_commands(tmp_path: Path) -> None:
    tool = tmp_path / "a tool.py"
    tool.write_text(TOOL)
    volume = in_axes("LPS", (1.0, 2.0, 3.0), tilt=0.2)
    off = Segmenting(cache="off")
    found = segmented(volume, f"command:{sys.executable} '{tool}' {{ct}} {{out}}", off)
    np.testing.assert_array_equal(found.mask("liver"), volume.hu == 100)
    assert found.voxel_count("kidney_left") == 0 and found.origins[0].by.startswith("command python")
    for line, expected in (
        (f"command:{sys.executable} -c 'import sys; sys.exit(\"no GPU\")' {{ct}} {{out}}", "ended with 1: no GPU"),
        (f"command:{sys.executable} -c pass {{ct}} {{out}}", "left the folder empty"),
        ("command:no_such_program_at_all {ct} {out}", "no_such_program_at_all"),
    ):
        with pytest.raises((InputError, FileFormatError), match=expected):
            segmented(volume, line, off)


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal
    import tempfile
    import threading
    import time

    (tmp_path / "work").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "work"))
    pid = tmp_path / "pid"

    def stop() -> None:
        for _ in range(200):
            if pid.is_file() and pid.read_text().strip():
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    line = f"command:sh -c 'sleep 600 & echo $! > {pid}; wait' {{ct}} {{out}}"
    with pytest.raises(SystemExit) as left:
        segmented(in_axes("LPS", (1.0, 2.0, 3.0)), line, Segmenting(cache="off"))
    assert left.value.code == 128 + signal.SIGTERM and not list((tmp_path / "work").iterdir())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    state = Path(f"/proc/{pid.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
