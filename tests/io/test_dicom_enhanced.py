"""Enhanced (and legacy converted) multi-frame CT: phases, maps and units come from the functional groups."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.errors import GridError, InputError
from radvlm.io import load_volume
from radvlm.io.dicom_series import list_series

SIZE = (8, 9)


def item(**values):
    from pydicom.dataset import Dataset

    out = Dataset()
    for keyword, value in values.items():
        setattr(out, keyword, value)
    return out


def write(writer, folder, frames, **top):
    """One file; a frame is (value, z, attributes): a macro name goes to its functional group."""

    def enhance(ds, _):
        stored = [np.full(SIZE, value + 1000, np.uint16) for value, _, _ in frames]
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
        ds.NumberOfFrames, ds.PixelData = len(frames), np.stack(stored).tobytes()
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
            delattr(ds, keyword)
        del ds.RescaleIntercept, ds.RescaleType
        ds.SharedFunctionalGroupsSequence = [
            item(
                PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                PixelMeasuresSequence=[item(PixelSpacing=[1.5, 1.25])],
            )
        ]
        groups = []
        for _, z, more in frames:
            values = {"PixelValueTransformationSequence": {}, **more}
            values["PixelValueTransformationSequence"] = {
                "RescaleSlope": 1,
                "RescaleIntercept": -1000,
                **values["PixelValueTransformationSequence"],
            }
            groups.append(
                item(
                    PlanePositionSequence=[item(ImagePositionPatient=[-20, -18, z])],
                    **{name: [item(**inner)] for name, inner in values.items()},
                )
            )
        ds.PerFrameFunctionalGroupsSequence = groups
        for keyword, value in top.items():
            setattr(ds, keyword, value)

    return writer.write(folder, count=1, size=SIZE, change=enhance)[0]


PHASES = [
    ({"FrameContentSequence": {"TemporalPositionIndex": p}} for p in (1, 2)),
    ({"FrameContentSequence": {"FrameAcquisitionNumber": p}} for p in (3, 12)),
    ({"FrameContentSequence": {"FrameAcquisitionDateTime": f"2024010110{p}000"}} for p in (1, 2)),
    ({"FrameContentSequence": {"FrameReferenceDateTime": f"2024010110{p}000"}} for p in (1, 2)),
    ({"CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": p}} for p in (30.0, 75.0)),
    ({"CTXRayDetailsSequence": {"KVP": p}} for p in (80.0, 140.0)),
    ({"CTReconstructionSequence": {"ConvolutionKernel": p}} for p in ("B30", "B60")),
    ({"UnassignedPerFrameConvertedAttributesSequence": {"AcquisitionNumber": p}} for p in (1, 2)),
]


@pytest.mark.slow
@pytest.mark.parametrize("phases", [list(phases) for phases in PHASES])
def test_the_phase_does_not_depend_on_the_order_of_frames(writer, tmp_path, phases):
    first = [(100, 2.5 * k, phases[0]) for k in range(6)]
    second = [(200, 2.5 * k, phases[1]) for k in range(6)]
    mixed = [frame for pair in zip(second, first[::-1], strict=True) for frame in pair]
    for number, frames in enumerate((first + second, second + first, mixed)):
        path = write(writer, tmp_path / str(number), frames)
        volume = load_volume(path, rescale="header")
        assert np.unique(volume.hu).tolist() == [100], number
        other = list_series(path)[1].acquisition
        assert np.unique(load_volume(path, rescale="header", acquisition=other).hu).tolist() == [200]


def test_phases_that_nothing_tells_apart_are_refused(writer, tmp_path):
    path = write(writer, tmp_path, [(100 * p, 2.5 * k, {}) for p in (1, 2) for k in range(6)])
    with pytest.raises(GridError, match="two different images"):
        load_volume(path, rescale="header")


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelValueTransformationSequence": {"RescaleType": "Z_EFF"}},
        {"CTImageFrameTypeSequence": {"FrameType": ["DERIVED", "PRIMARY", "VOLUME", "MAT_SPECIFIC"]}},
        {"RealWorldValueMappingSequence": {"MeasurementUnitsCodeSequence": [item(CodeValue="mg/mL")]}},
        {"DerivationImageSequence": {"DerivationDescription": "Iodine map"}},
    ],
)
def test_maps_in_functional_groups(writer, tmp_path, attributes):
    maps = [(7, 1.25 * k, attributes) for k in range(9)]
    path = write(writer, tmp_path / "m", maps)
    with pytest.raises(InputError, match="not HU"):
        load_volume(path, rescale="header")
    both = write(writer, tmp_path / "b", [*maps, *((100, 2.5 * k, {}) for k in range(5))])
    assert np.unique(load_volume(both, rescale="header").hu).tolist() == [100]


@pytest.mark.parametrize("technique", ["MAX_IP", "NONE"])
def test_a_projection_of_an_enhanced_image(writer, tmp_path, technique):
    more = {"CTImageFrameTypeSequence": {"VolumeBasedCalculationTechnique": technique}}
    volume = load_volume(write(writer, tmp_path, [(50, 2.5 * k, more) for k in range(4)]), rescale="header")
    assert ("intensity projection" in " ".join(d.what for d in volume.decisions)) == (technique == "MAX_IP")


def test_a_legacy_converted_map(writer, tmp_path):
    path = write(
        writer,
        tmp_path,
        [(7, 2.5 * k, {}) for k in range(4)],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.2",
        SeriesDescription="Iodine Density",
    )
    with pytest.raises(InputError, match="iodine density"):
        load_volume(path, rescale="header")
