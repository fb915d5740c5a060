"""NRRD, MetaImage, segmentations of 3D Slicer, sheared images and archives: against SimpleITK and against formulas."""

from __future__ import annotations

import bz2
import gzip
import itertools
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radvlm.errors import FileFormatError, GridError, RadvlmError, StructureError
from radvlm.io import load_segmentation, load_volume
from radvlm.io.image_files import read_stored, stem_of

AFFINE = np.array([[0.8, 0, 0, -12.0], [0, 0.7, 0, 5.0], [0, 0, 2.5, -40.0], [0, 0, 0, 1.0]])
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
DETACHED = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}


def nrrd(array: np.ndarray, affine: np.ndarray = AFFINE, *, encoding: str = "raw", **fields: str) -> bytes:
    """An attached NRRD in LPS; ``fields`` replace or add lines of the header ("" leaves one out)."""
    lps = TO_RAS @ affine
    order = "big" if array.dtype.byteorder == ">" else "little"
    shown = {
        "type": {"i": "int", "u": "uint"}.get(array.dtype.kind, "") + str(8 * array.dtype.itemsize)
        if array.dtype.kind in "iu"
        else {4: "float", 8: "double"}[array.dtype.itemsize],
        "dimension": str(array.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, array.shape)),
        "space directions": " ".join(f"({','.join(map(repr, lps[:3, axis].tolist()))})" for axis in range(3)),
        "space origin": f"({','.join(map(repr, lps[:3, 3].tolist()))})",
        "endian": order,
        "encoding": encoding,
    }
    shown |= {name.replace("_", " "): value for name, value in fields.items()}
    keys = shown.pop("keys", "")
    head = "NRRD0005\n# made here\n" + "".join(f"{name}: {value}\n" for name, value in shown.items() if value)
    data = array.tobytes(order="F")
    if encoding == "hex":
        data = data.hex().encode()
    elif encoding == "text":
        data = " ".join(map(repr, array.ravel(order="F").tolist())).encode()
    else:
        data = DETACHED[encoding](data)
    return (head + keys + "\n").encode() + (data if "data_file" not in fields else b"")


def metaimage(array: np.ndarray, affine: np.ndarray = AFFINE, *, packed: bool = False, **fields: str) -> bytes:
    lps = TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    data = zlib.compress(array.tobytes(order="F")) if packed else array.tobytes(order="F")
    kind = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "f4": "FLOAT", "f8": "DOUBLE"}
    shown = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(array.dtype.byteorder == ">"),
        "CompressedData": str(packed),
        "TransformMatrix": " ".join(map(repr, (lps[:3, :3] / spacing).T.ravel().tolist())),
        "Offset": " ".join(map(repr, lps[:3, 3].tolist())),
        "ElementSpacing": " ".join(map(repr, spacing.tolist())),
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": "MET_" + kind[array.dtype.newbyteorder("<").str[1:]],
    }
    shown |= fields
    where = shown.pop("ElementDataFile", "LOCAL")
    head = "".join(f"{name} = {value}\n" for name, value in shown.items() if value)
    return f"{head}ElementDataFile = {where}\n".encode() + (data if where == "LOCAL" else b"")


@pytest.fixture
def put(tmp_path):
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


# -- geometry ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz", ".mhd", ".nhdr"])
def test_48_orientations_as_simpleitk_reads_them(tmp_path, ending) -> None:
    """Affine within 1e-4 mm and every voxel, for straight and oblique axes, written and read by SimpleITK."""
    sitk = pytest.importorskip("SimpleITK")
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.3)
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        directions = np.zeros((3, 3))
        directions[order, range(3)] = signs
        if ending != ".nii.gz":
            directions = turn @ directions
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.7, 2.5))
        image.SetOrigin((-12.25, 5.5, 40.75))
        image.SetDirection(directions.ravel().tolist())
        path = tmp_path / f"a{ending}"
        sitk.WriteImage(image, str(path), True)
        back = sitk.ReadImage(str(path))
        truth = np.eye(4)
        truth[:3, :3] = np.array(back.GetDirection()).reshape(3, 3) * back.GetSpacing()
        truth[:3, 3] = back.GetOrigin()
        stored = read_stored(path)
        np.testing.assert_allclose(stored.affine, TO_RAS @ truth, atol=1e-4)
        np.testing.assert_array_equal(stored.array, array.T)
        assert not [decision for decision in stored.decisions if decision.warning]


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "hex", "text"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u1", ">f4", "<f8"])
def test_nrrd_encodings_and_types(put, encoding, dtype) -> None:
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    for path in (
        put("a.nrrd", nrrd(array, encoding=encoding)),
        put("b.nhdr", nrrd(array, encoding=encoding, data_file="b.data")),
    ):
        whole = nrrd(array, encoding=encoding)
        put("b.data", whole[whole.index(b"\n\n") + 2 :])
        stored = read_stored(path)
        np.testing.assert_array_equal(stored.array, array)
        np.testing.assert_allclose(stored.affine, AFFINE, atol=1e-9)
        assert stored.array.dtype.isnative and not stored.decisions
    assert len(stored.sources) == 2


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LAS", (-1, 1, 1)),
        ("LPS", (-1, -1, 1)),
        ("left-posterior-inferior", (-1, -1, -1)),
    ],
)
def test_nrrd_spaces(put, space, signs) -> None:
    stored = read_stored(put("a.nrrd", nrrd(np.zeros((3, 4, 5), np.int16), space=space)))
    np.testing.assert_allclose(stored.affine, np.diag([*signs, 1.0]) @ TO_RAS @ AFFINE)
    assert not stored.decisions


def test_nrrd_without_a_space_is_said(put) -> None:
    array = np.zeros((3, 4, 5), np.int16)
    plain = {"space": "", "space_directions": "", "space_origin": "", "spacings": "0.8 0.7 2.5"}
    stored = read_stored(put("a.nrrd", nrrd(array, **plain)))
    np.testing.assert_allclose(stored.affine, np.diag([-0.8, -0.7, 2.5, 1]))
    assert "sides may be wrong" in stored.decisions[0].what and stored.decisions[0].warning
    stored = read_stored(put("a.nrrd", nrrd(array, space="3D-right-handed")))
    assert stored.decisions[0].warning


def test_nrrd_units_lists_and_skips(put) -> None:
    array = np.arange(60, dtype="<i2").reshape(3, 4, 5)
    small = AFFINE.copy()
    small[:3] /= 10
    stored = read_stored(put("a.nrrd", nrrd(array, small, space_units='"cm" "cm" "cm"')))
    np.testing.assert_allclose(stored.affine, AFFINE)
    for number in range(5):
        put(f"s{number:02d}.raw", b"x" * 7 + array[:, :, number].tobytes(order="F"))
    for files in ("s%02d.raw 0 4 1", "LIST\n" + "\n".join(f"s{n:02d}.raw" for n in range(5))):
        head = nrrd(array, byte_skip="7", zz="")
        head = head[: head.index(b"\n\n")] + f"\ndata file: {files}\n".encode()
        stored = read_stored(put("a.nhdr", head))
        np.testing.assert_array_equal(stored.array, array)
    put("a.raw", b"some header" + array.tobytes(order="F"))
    np.testing.assert_array_equal(
        read_stored(put("a.nhdr", nrrd(array, byte_skip="-1", data_file="a.raw"))).array, array
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u1", ">f4"])
def test_metaimage(put, packed, dtype) -> None:
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    stored = read_stored(put("a.mha", metaimage(array, packed=packed)))
    np.testing.assert_array_equal(stored.array, array)
    np.testing.assert_allclose(stored.affine, AFFINE, atol=1e-9)
    raw = array.tobytes(order="F")
    put("b.raw", zlib.compress(raw) if packed else b"head" + raw)
    fields = {"ElementDataFile": "b.raw"} | ({} if packed else {"HeaderSize": "-1"})
    np.testing.assert_array_equal(read_stored(put("b.mhd", metaimage(array, packed=packed, **fields))).array, array)


def test_metaimage_without_a_matrix_is_said(put) -> None:
    stored = read_stored(put("a.mha", metaimage(np.zeros((3, 4, 5), np.int16), TransformMatrix="")))
    assert stored.decisions[0].warning and "TransformMatrix" in stored.decisions[0].what


# -- scans and masks --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contents(body) -> dict[str, bytes]:
    return {
        "a.nrrd": nrrd(body, encoding="gzip"),
        "a.mha": metaimage(body, packed=True),
        "A.NII.GZ": gzip.compress(nib.Nifti1Image(body, AFFINE).to_bytes()),
        "without an ending": metaimage(body),
    }


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "A.NII.GZ", "without an ending"])
def test_scans_of_every_format_are_one_volume(put, contents, body, name) -> None:
    truth = load_volume(body, affine=AFFINE)
    path = put(name, contents[name])
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"case/{name if '.' in name else name + '.mha'}", contents[name])
    for source in (path, path.with_suffix(".zip")):
        volume = load_volume(source)
        np.testing.assert_array_equal(volume.hu, truth.hu)
        assert volume.geometry.same_grid(truth.geometry, 1e-4)


def test_hu_are_judged_as_for_nifti(put, body) -> None:
    volume = load_volume(put("a.nrrd", nrrd((body.astype(np.int32) + 1024).astype(np.int16))))
    np.testing.assert_array_equal(volume.hu, body)
    assert any(decision.warning and "never rescaled" in decision.what for decision in volume.decisions)
    with pytest.raises(RadvlmError, match="picture"):
        load_volume(put("a.mha", metaimage((body > 0).astype(np.uint8) * 100)))


def test_masks_of_every_format(put, body) -> None:
    scan = load_volume(body, affine=AFFINE)
    labels = np.zeros(body.shape, np.uint8)
    labels[10:20, 8:20, 5:15] = 1
    for name, content in {
        "m.nrrd": nrrd(labels, encoding="gzip"),
        "m.mha": metaimage(labels, packed=True),
        "M.NII.GZ": gzip.compress(nib.Nifti1Image(labels, AFFINE).to_bytes()),
    }.items():
        found = load_segmentation(put(name, content), like=scan.geometry, scheme={1: "liver"})
        np.testing.assert_array_equal(found.mask("liver"), labels == 1)
        inner = put(f"folder of {name}/liver{name[1:]}", content).parent
        put(f"folder of {name}/spleen.nii", nib.Nifti1Image(labels * 0, AFFINE).to_bytes())
        with zipfile.ZipFile(inner.with_suffix(".zip"), "w") as archive:
            for path in sorted(inner.iterdir()):
                archive.write(path, f"masks/{path.name}")
        for source in (inner, inner.with_suffix(".zip")):
            found = load_segmentation(source, like=scan.geometry)
            np.testing.assert_array_equal(found.mask("liver"), labels == 1)
            assert found.absent == ("spleen",)


def slicer_keys(*segments: tuple[str, int, int, str]) -> str:
    """Keys of 3D Slicer for (name, layer, label, terminology)."""
    lines = []
    for number, (name, layer, label, codes) in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_Color:=0.5 1 0",
            f"Segment{number}_LabelValue:={label}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Extent:=0 5 0 5 0 5",
            f"Segment{number}_Tags:=Segmentation.Status:inprogress|TerminologyEntry:{codes}|",
        ]
    return "\n".join([*lines, "Segmentation_MasterRepresentation:=Binary labelmap"]) + "\n"


KIDNEY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^64033007^Kidney~SCT^24028007^Right~Anatomic codes - DICOM master list~^^~^^"
)


def test_segments_of_slicer(put) -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1:3], labels[5:7] = 1, 4
    keys = slicer_keys(("Liver", 0, 1, ""), ("Segment_2", 0, 4, KIDNEY), ("spleen", 0, 7, ""))
    path = put("a.seg.nrrd", nrrd(labels, encoding="gzip", keys=keys))
    assert [segment.color for segment in read_stored(path).segments] == [(128, 255, 0)] * 3
    found = load_segmentation(path)
    assert found.voxel_count("liver") == found.voxel_count("kidney_right") == 128
    assert found.colors["liver"] == found.colors["spleen"] == (128, 255, 0)
    assert "spleen" in found.absent
    found = load_segmentation(path, scheme={"Liver": "stomach", "Segment_2": "", "spleen": "spleen"})
    assert found.present == ("stomach",)
    odd = put("b.seg.nrrd", nrrd(labels, keys=slicer_keys(("blob", 0, 1, ""), ("liver", 0, 4, ""))))
    assert any(decision.warning and "blob" in decision.what for decision in load_segmentation(odd).decisions)
    with pytest.raises(StructureError, match="blob"):
        load_segmentation(put("c.seg.nrrd", nrrd(labels, keys=slicer_keys(("blob", 0, 1, ""), ("blub", 0, 4, "")))))


def test_overlapping_segments_of_slicer(put) -> None:
    """Two layers, first axis, as 3D Slicer writes them; no space direction for it."""
    layers = np.zeros((2, 8, 8, 8), np.uint8)
    layers[0, 1:6], layers[1, 2:4] = 1, 1
    lps = TO_RAS @ AFFINE
    fields = {
        "space_directions": "none " + " ".join(f"({','.join(map(repr, lps[:3, a].tolist()))})" for a in range(3)),
        "kinds": "list domain domain domain",
        "keys": slicer_keys(("liver", 0, 1, ""), ("liver lesion", 1, 1, "")),
    }
    found = load_segmentation(put("a.seg.nrrd", nrrd(layers, **fields)))
    assert found.voxel_count("liver") == 5 * 64 and found.voxel_count("liver_lesion") == 2 * 64
    assert (found.mask("liver") & found.mask("liver_lesion")).sum() == 2 * 64
    with pytest.raises(GridError, match="one 3D volume"):
        load_volume(put("b.nrrd", nrrd(layers, **(fields | {"keys": ""}))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda a: nrrd(a)[:-9], "promises"),
        (lambda a: nrrd(a) + bytes(5000), "ends after"),
        (lambda a: nrrd(a, encoding="gzip")[:-9], "gzip|ends early"),
        (lambda a: nrrd(a, encoding="text") + b" 5", "more than"),
        (lambda a: nrrd(a, encoding="text")[:-4], "numbers where"),
        (lambda a: nrrd(a, encoding="text").replace(b" 7 ", b" x "), "something else"),
        (lambda a: nrrd(a, encoding="text").replace(b" 7 ", b" nan "), "fit the type"),
        (lambda a: nrrd(a, encoding="hex")[:-4], "promises"),
        (lambda a: nrrd(a, encoding="hex")[:-1] + b"z", "hex digits"),
        (lambda a: nrrd(a, sizes="3 4"), "dimension"),
        (lambda a: nrrd(a, sizes="3 4 99999"), "16384"),
        (lambda a: nrrd(a, type="block"), "real numbers"),
        (lambda a: nrrd(a).replace(b"encoding: raw", b"encoding: zstd"), "encoding"),
        (lambda a: nrrd(a, space_directions="(1,0,0) (0,1,0) (0,0,nan)"), "orientation"),
        (lambda a: nrrd(a, data_file="../../etc/passwd"), "own folder"),
        (lambda a: nrrd(a, data_file="/etc/passwd"), "own folder"),
        (lambda a: nrrd(a, data_file="absent.raw"), "not there"),
        (lambda a: metaimage(a)[:-9], "promises"),
        (lambda a: metaimage(a, packed=True)[:-9], "stream|ends early"),
        (lambda a: metaimage(a, DimSize="3 4"), "NDims"),
        (lambda a: metaimage(a, ElementNumberOfChannels="3"), "channels"),
        (lambda a: metaimage(a, ElementType="MET_STRING"), "real numbers"),
        (lambda a: metaimage(a, TransformMatrix="1 0 0 0 1 0 0 0 0"), "orientation"),
        (lambda a: metaimage(a, ElementDataFile="../x.raw"), "own folder"),
        (lambda a: metaimage(a).replace(b"ElementDataFile", b"Element"), "ElementDataFile"),
    ],
)
def test_damaged_headers(put, content, message) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for load in (load_volume, load_segmentation):
        with pytest.raises((FileFormatError, GridError), match=message):
            load(put("a", content(array)))


SMALL = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
FILES = [nrrd(SMALL), nrrd(SMALL, encoding="gzip"), nrrd(SMALL, encoding="hex"), metaimage(SMALL, packed=True)]


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_bytes_are_one_error(tmp_path_factory, data) -> None:
    content = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    for load in (load_volume, load_segmentation):
        try:
            load(path)
        except RadvlmError as error:
            assert "\n" not in str(error)


def test_archives_that_are_refused(tmp_path, body) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mha", metaimage(body))
        archive.writestr("b.mha", metaimage(body))
    with pytest.raises(FileFormatError, match="one image file"):
        load_volume(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../a.mha", metaimage(body))
    with pytest.raises(FileFormatError, match="inside it"):
        load_volume(path)


def test_a_header_and_its_voxels_in_an_archive(tmp_path, body) -> None:
    nib.save(nib.Nifti1Pair(body, AFFINE), tmp_path / "ct.hdr")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("ct.hdr", "ct.img"):
            archive.write(tmp_path / name, f"case/{name}")
    np.testing.assert_array_equal(load_volume(tmp_path / "a.zip").hu, body)


def test_names_without_their_ending() -> None:
    for name in ("liver.nii.gz", "liver.NII", "liver.seg.nrrd", "liver.mha", "liver.Nii.Gz", "liver.nrrd"):
        assert stem_of(Path(name)) == "liver"


# -- sheared ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("tangent", [0.05, -0.3])
def test_sheared_images_are_straightened(put, axis, tangent) -> None:
    """HU that are linear in space stay linear; masks of the same file lie on the same grid."""
    matrix = np.diag([1.25, 1.25, 1.25, 1.0])
    matrix[axis, axis] = 2.5
    matrix[(axis + 1) % 3, axis] = tangent * 2.5
    matrix[:3, 3] = (-20, -18, -30)
    shape = [30, 30, 30]
    shape[axis] = 20
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    world = index @ matrix[:3, :3].T + matrix[:3, 3]
    hu = np.rint(2.0 * world[..., 0] - 3.0 * world[..., 1] + world[..., 2] + 20.0).astype(np.float32)
    volume = load_volume(put("a.mha", metaimage(hu, matrix)), rescale="none")
    inside = volume.hu > -1000
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in volume.hu.shape), indexing="ij"), -1)
    place = volume.geometry.to_world(grid)
    truth = 2.0 * place[..., 0] - 3.0 * place[..., 1] + place[..., 2] + 20.0
    assert inside.sum() > 0.7 * hu.size
    assert np.quantile(np.abs(volume.hu - truth)[inside], 0.9) <= 1.0
    assert any(decision.warning and "sheared" in decision.what for decision in volume.decisions)
    labels = (hu > 60).astype(np.uint8)
    found = load_segmentation(put("m.mha", metaimage(labels, matrix)), like=volume, scheme={1: "liver"})
    assert found.geometry.same_grid(volume.geometry)
    assert found.voxel_count("liver") == labels.sum()
    held = volume.hu[found.mask("liver")]
    assert (held > 60 - 0.5 * 1.25 * 5).mean() > 0.9  # half a voxel aside, and the rim where the scan ends


def test_shear_beyond_a_tilt_is_refused(put, body) -> None:
    steep = AFFINE.copy()
    steep[1, 2] = 4.0
    with pytest.raises(GridError, match=r"lean|over each other"):
        load_volume(put("a.mha", metaimage(body, steep)))
    crooked = AFFINE.copy()
    crooked[:3, :3] += 0.2
    with pytest.raises(GridError, match="perpendicular"):
        load_volume(put("a.mha", metaimage(body, crooked)))
