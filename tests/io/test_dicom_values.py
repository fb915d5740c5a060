"""Maps that are stored as CT images: never read as HU, never preferred, and no CT is taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.io import load_volume
from radvlm.io.dicom_series import list_series
from radvlm.io.dicom_values import Scale, pixel_values
from radvlm.io.hu_rulers import shows_tissues_of_ct

ORIGINAL, DERIVED = ("ORIGINAL", "PRIMARY", "AXIAL"), ("DERIVED", "SECONDARY", "AXIAL")

CONVENTIONAL = """Abd/Pel W IODINE; ABDOMEN with iodine contrast; Iodinated contrast; CT ABDOMEN ED; LOW DOSE
CHEST; Abd 80kV; Portal venous 5.0 B30f; VUE AXIALE; TRUE NON CONTRAST; CALCIUM SCORE; Perfusion 4D 5.0;
HEPATIC VOLUME; LIVER MASS; BONE DENSITY; LUNG DENSITY SCAN; Non-subtracted; ORAL IODINE; POST CPR CHEST;
Iodine allergy; HAP 2mm; MD ABDOMEN; SUB 5MM; Thorax 1.0 Br40; Gout hands 80; Mono-phase liver; SPECTRAL CT;
Sn150kV; Dose reduced thorax; MASK; Mixed 120kV M_0.5; FUNCTION; T3D; Jodallergie; mit Jod; 5mm MPR ax; Stroke
perfusion 80kV; Nephro 100 s; Art - Nat; ART/PORT; nat art pv; VUE CORONALE; vue de face;
Bone marrow transplant; SUB; ECV 5 min; Delta; lumbar fusion; fused vertebrae; Scatter correction on; fat pad; water
contrast; Ca score; Iodine contrast; W/O overlay; Sub-Q abscess; subclavian ven; hematoma; DIFFUSE LUNG; CTA late;
liver fat; Abd water oral"""
MAPS = """Iodine map; Iodine Density; IodineNoWater; Iodine(Water); Water(Iodine); Iodine; DE_Iodine_Overlay;
Iodkarte; Jodkarte; carte iode; Z Effective; ZEff; Eff-Z; Effective Atomic Number; Electron Density;
ElectronDensity; Rho/Z; CBF; CBV; rCBV; MTT; TTP; Tmax; Blood Flow; Lung PBV; Perfused blood volume; Dose map;
RTDose; Subtraction; Subtracted lung; VRT; Uric Acid; Contrast Map; HAP(Water); MD Iodine; Material Density;
Stopping power ratio; Fat fraction; Ventilation map; perfusion map; iodinemap; Contrast overlay; Mean transit
time; Iodine contrast map; with iodine map; Fat(HAP); HAP(Fat); Fat(Water); Calcium(Fat); Blood(Calcium); MD-Fat;
HAP(Iodine); ECV map; ECV Map 3.0; Photoelectric; Photo-electric effect; Compton; Scatter image; SUB art-nat;
SUB Portal; Delta arterial; art minus nat; portal sub; Spectral SBI; SBI; Overlay fused; I-Overlay; Color Overlay;
T1 map; fibrosis map; PET fused images"""
LIKE_HU = """MonoE 70keV; Monoenergetic 40; 40 keV; MONO 70; Monochromatic 55keV; VMI 65; VNC; Virtual Non
Contrast; VirtualNonContrast; virtual unenhanced; GSI VUE; MIP 10mm; MinIP; thin MIP; Mono+ 40; calcium
suppression; CaSupp Index 60; Ca Supp 25; CASUPP; VUE; VUE 2.5mm; Abd VUE; Bone Marrow Edema; bone marrow oedema;
Hardplaque; VNCa; Optimum Contrast; bone removal; Virtuell nativ; axial_mono_70keV"""


@pytest.mark.parametrize(
    ("descriptions", "scale"), [(CONVENTIONAL, Scale.HU), (MAPS, Scale.OTHER), (LIKE_HU, Scale.LIKE_HU)]
)
@pytest.mark.parametrize("image_type", [ORIGINAL, DERIVED])
def test_descriptions(descriptions, scale, image_type):
    for text in " ".join(descriptions.split()).split(";"):
        assert pixel_values("", image_type, "HU", (), "", (text.strip(),)).scale == scale, text


@pytest.mark.parametrize(
    ("more", "scale"),
    [
        (("OTHER", "IODINE"), Scale.OTHER),
        (("CBF",), Scale.OTHER),
        (("PERFUSION",), Scale.OTHER),
        (("MAT_SPECIFIC",), Scale.OTHER),
        (("EFF_ATOMIC_NUM",), Scale.OTHER),
        (("SUBTRACTION",), Scale.OTHER),
        (("QUANTITY",), Scale.OTHER),
        (("MAT_REMOVED",), Scale.LIKE_HU),
        (("VMI",), Scale.LIKE_HU),
        (("MAXIMUM",), Scale.LIKE_HU),
        (("AXIAL", "CT_SOM5 SPI", "DUAL", "ENERGY"), Scale.LIKE_HU),
        (("AXIAL", "CT_SOM5 SPI DUAL ENERGY"), Scale.LIKE_HU),
        (("PROJECTION IMAGE",), Scale.LIKE_HU),
        (("MPR",), Scale.HU),
        (("CT_SOM5 SPI DUAL", "STD"), Scale.HU),
        (("MEAN",), Scale.HU),
    ],
)
def test_image_types(more, scale):
    assert pixel_values("", DERIVED[:2] + more, "HU", (), "", ("Abdomen",)).scale == scale


def test_a_linear_mixture_of_two_energies_is_a_ct():
    image_type = ("DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 SPI", "DUAL", "ENERGY")
    assert pixel_values("", image_type, "HU", (), "", ("Mixed 120kV M_0.5",)).scale == Scale.HU


def test_an_original_perfusion_scan_is_a_ct():
    assert pixel_values("", ("ORIGINAL", "PRIMARY", "PERFUSION", "NONE"), "HU", (), "NONE", ("Stroke",)).scale == 2


@pytest.mark.parametrize(
    ("rescale_type", "units", "technique", "scale"),
    [
        ("HU", (), "", Scale.HU),
        ("US", (), "", Scale.HU),
        ("", (), "", Scale.HU),
        ("Hounsfield Units", ("[hnsf'U]",), "", Scale.HU),
        ("MGML", (), "", Scale.OTHER),
        ("Z_EFF", (), "", Scale.OTHER),
        ("ml/100ml/min", (), "", Scale.OTHER),
        ("HU", ("mg/cm3",), "", Scale.OTHER),
        ("HU_MOD", (), "", Scale.LIKE_HU),
        ("", (), "MAX_IP", Scale.LIKE_HU),
        ("", (), "VOLUME_RENDER", Scale.OTHER),
        ("", (), "MPR", Scale.HU),
    ],
)
def test_units_and_techniques(rescale_type, units, technique, scale):
    assert pixel_values("", ORIGINAL, rescale_type, units, technique, ("Abdomen",)).scale == scale


def _described(text, rescale_type="HU"):
    def change(ds, _):
        ds.SeriesDescription, ds.RescaleType = text, rescale_type

    return change


@pytest.mark.slow
def test_a_map_is_never_preferred_and_never_read_as_hu(writer, tmp_path):
    """The map has twice the slices of the conventional series."""
    writer.write(tmp_path / "map", uid="3", count=20, change=_described("Spectral", "MGML"))
    with pytest.raises(InputError, match=r"mass concentration, not HU.*conventional series"):
        load_volume(tmp_path)
    writer.write(tmp_path / "mono", uid="4", count=16, change=_described("MonoE 70keV"))
    volume = load_volume(tmp_path, rescale="header")
    assert volume.geometry.shape[2] == 16
    assert "virtual monoenergetic image" in " ".join(d.what for d in volume.decisions if d.warning)
    writer.write(tmp_path / "ct", uid="2", count=10, change=_described("Portal venous"))
    volume = load_volume(tmp_path, rescale="header")
    assert volume.geometry.shape[2] == 10
    assert not any(d.warning for d in volume.decisions)
    assert "mass concentration" in volume.decisions[0].what and "conventional" in volume.decisions[0].what
    with pytest.raises(InputError, match=r"mass concentration, not HU, and rescale=.header. makes just these"):
        load_volume(tmp_path, series=3, rescale="header")
    asked = load_volume(tmp_path, series=3, rescale=(1, -1024))
    assert "as asked for" in " ".join(d.what for d in asked.decisions if d.warning)
    records = list_series(tmp_path)
    assert [(r.number, r.values, r.chosen) for r in records] == [
        ("2", "HU", True),
        ("4", "a virtual monoenergetic image", False),
        ("3", "mass concentration", False),
    ]


def test_an_original_series_comes_before_a_thinner_reformat(writer, tmp_path):
    def reformat(ds, _):
        ds.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]

    writer.write(tmp_path / "mpr", uid="2", count=20, change=reformat)
    assert not load_volume(tmp_path, rescale="header").decisions
    writer.write(tmp_path / "ct", uid="1", count=10)
    volume = load_volume(tmp_path, rescale="header")
    assert volume.geometry.shape[2] == 10 and "among the original ones" in volume.decisions[0].what


def test_maps_inside_one_series_are_told_apart(writer, tmp_path):
    def iodine(ds, _):
        ds.ImageType, ds.SOPInstanceUID = ["DERIVED", "SECONDARY", "AXIAL", "IODINE"], ds.SOPInstanceUID + ".9"

    writer.write(tmp_path / "a", count=8)
    writer.write(tmp_path / "b", count=12, change=iodine)
    assert load_volume(tmp_path, rescale="header").geometry.shape[2] == 8


@pytest.mark.parametrize("text", ["Uro mono 2.0", "Mono 120kV Abd", "MONO 5 mm"])
def test_mono_before_a_thickness_or_a_voltage_is_no_energy(text):
    assert pixel_values("", ORIGINAL, "HU", (), "", (text,)).scale == Scale.HU


SOUNDS_LIKE_A_MAP = """Iodine 350 portal; CTA FFR planning 0.75; OMNIPAQUE IODINE 300 Axial; iodine protocol 70kV;
Contrast: iodine; CTA DSA planning; TTP followup"""


def test_a_description_alone_is_left_to_the_voxels():
    for text in " ".join(SOUNDS_LIKE_A_MAP.split()).split("; "):
        assert pixel_values("", ORIGINAL, "HU", (), "", (text,)).is_only_described, text
        assert not pixel_values("", DERIVED, "HU", (), "", (text,)).is_only_described, text
        assert not pixel_values("", ORIGINAL, "US", (), "", (text,)).is_only_described, text
        assert not pixel_values("", ORIGINAL, "HU", ("mg/cm3",), "", (text,)).is_only_described, text
        assert not pixel_values("", (*ORIGINAL, "IODINE"), "HU", (), "", (text,)).is_only_described, text


def _tissues(as_map):
    """(K, rows, columns) of air around fat around soft tissue, with noise; as a map: nothing but what is enhanced."""
    rng = np.random.default_rng(1)
    values = np.full((8, 64, 64), -1000.0)
    values[:, 10:54, 10:54], values[:, 18:46, 18:46] = -100, 50
    if as_map:
        values = np.where(values > 0, 20.0, 0.0)
    return values + rng.normal(0, 10, values.shape)


@pytest.mark.parametrize(("as_map", "is_ct"), [(False, True), (True, False)])
def test_tissues_of_a_ct_and_of_a_map(as_map, is_ct):
    assert shows_tissues_of_ct(_tissues(as_map)) == is_ct


def test_an_original_ct_is_read_whatever_its_description_sounds_like(writer, tmp_path):
    def body(ds, _):
        ds.SeriesDescription = "Iodine 350 portal"
        image = np.full((ds.Rows, ds.Columns), -1000 - float(ds.RescaleIntercept))
        middle = slice(ds.Rows // 6, -(ds.Rows // 6)), slice(ds.Columns // 6, -(ds.Columns // 6))
        inner = slice(ds.Rows // 3, -(ds.Rows // 3)), slice(ds.Columns // 3, -(ds.Columns // 3))
        image[middle] += 900
        image[inner] += 150
        ds.PixelData = image.astype(np.int16).tobytes()

    writer.write(tmp_path / "ct", count=12, change=body)
    volume = load_volume(tmp_path / "ct")
    assert any("reads like iodine density" in d.what for d in volume.decisions)
    writer.write(tmp_path / "map", count=12, change=_described("Iodine 350 portal"))
    with pytest.raises(InputError, match="iodine density, not HU"):
        load_volume(tmp_path / "map")
