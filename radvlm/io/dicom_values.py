"""What the pixel values of a CT image are: Hounsfield units, something like them, or another quantity.

Scanners and workstations store maps (iodine, effective atomic number, blood flow, dose) as CT images, on the grid of
the CT and often thinner than it. Their header says so in one of many places: Rescale Type (DICOM PS3.3 C.11.1.1.2),
the units of a real world value mapping, Image Type (C.8.2.1.1.1 and, for multi-energy CT, Supplement 188), the
calculation technique of an enhanced image, or only the words of the description. The strictest of them counts, because
a map that is read as HU gives a plausible and false report, and a CT that is taken for a map gives one clear message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache


class Scale(IntEnum):
    """How far values may be read as Hounsfield units; more is better."""

    OTHER = 0
    LIKE_HU = 1
    HU = 2


@dataclass(frozen=True)
class PixelValues:
    """What an image holds; ``words`` name it in a message, such as "iodine density", and are empty for plain HU.

    ``is_only_described``: nothing but free text says so, of an original image whose Rescale Type is HU; a description
    also names the protocol, the contrast medium and the question, so that the voxels decide.
    """

    scale: Scale = Scale.HU
    words: str = ""
    is_reformatted: bool = False
    is_only_described: bool = False


#: Rescale types that say HU, or nothing: US is "unspecified", which scanners and converters write for HU.
_HU_TYPES = {"", "HU", "US", "HOUNSFIELD", "HOUNSFIELD_UNIT", "HOUNSFIELD_UNITS", "UNSPECIFIED", "NONE"}
_STATED_HU = ("HU", "HOUNSFIELD", "HOUNSFIELD_UNIT", "HOUNSFIELD_UNITS")
_QUANTITY_OF_TYPE = {
    "OD": "optical density",
    "MGML": "mass concentration",
    "Z_EFF": "effective atomic number",
    "ED": "electron density",
    "EDW": "electron density",
    "PCT": "percentages",
    "GY": "radiation dose",
}
#: SOP classes whose pixels are not HU, whatever Modality says.
_OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.20": "nuclear medicine counts",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.66.4": "segments",
    "1.2.840.10008.5.1.4.1.1.128": "PET activity",
    "1.2.840.10008.5.1.4.1.1.130": "PET activity",
    "1.2.840.10008.5.1.4.1.1.481.2": "radiation dose",
}
_IODINE = r"(iodine|iode|yodo|iodio|jod|iod)"
_MAP = r"(maps?|density|images?|overlay|fraction|concentration|colou?r|karte|bild|carte|mapa|mappa|densit\w*|dichte)"
#: Iodine as the contrast medium that was given, which says nothing of the pixels; taken out before the signs are read.
_MEDIUM = re.compile(
    rf"\b(with|w|iv|oral|post|after|no|without|wo|non|plus|mit|ohne|nach|avec|sans|con|sin|senza|rectal|po) {_IODINE}"
    rf"(?! {_MAP})\b|\b{_IODINE} (contrast|cm|km|enhanced|enhancement|agent|medium|media|injection|bolus|allergy|phase"
    r"|kontrast\w*)(?! (map|overlay))\b"
)
_MATERIAL = r"(iodine|iod|jod|water|calcium|ca|hap|hydroxyapatite|fat|blood|uric acid|xenon|gadolinium|iron|gold)"
_PHASE = (
    r"(art\w*|ven\w*|port\w*|pv|nat|native\w*|nativ|pre|post|late|early|delayed|unenhanced|angio\w*|cta|ce|nc|ncct"
    r"|contrast|hu|phase)"
)
#: (what it is, how far it is HU, pattern over the words of the header). The strictest decides, and of these the first.
_SIGNS = tuple(
    (words, scale, re.compile(rf"\b({pattern})\b"))
    for words, scale, pattern in (
        ("iodine density", Scale.OTHER, rf"{_IODINE}|([ij]od|iodine){_MAP}"),
        (
            "a contrast medium map",
            Scale.OTHER,
            r"(contrast|cm|km|kontrastmittel) ?((media|medium|agent) )?(maps?|overlay|karte)",
        ),
        (
            "a material density",
            Scale.OTHER,
            rf"(water|calcium|hap|hydroxyapatite|fat|uric acid|xenon|xe|gadolinium|gd|gold|iron) {_MAP}|uric acid"
            rf"|{_MATERIAL} (?!{_IODINE}){_MATERIAL}|basis (material|pair)s?|mass density"
            r"|mat (specific|fractional|value based)|material (density|decomposition|map|specific|basis)"
            rf"|md {_MATERIAL}|photo ?electric\w*|compton|sbi|spectral base",
        ),
        (
            "effective atomic number",
            Scale.OTHER,
            r"z ?eff\w*|eff(ective)? ?z|(eff(ective)? )?atomic num\w*|rho ?z|z (map|image)",
        ),
        (
            "electron density",
            Scale.OTHER,
            r"electron ?dens\w*|elektronendichte|rho e|densit\w* (electron\w*|elettron\w*)",
        ),
        ("stopping power", Scale.OTHER, r"stopping power|spr map"),
        (
            "perfusion values",
            Scale.OTHER,
            r"cb[fv]|mtt|ttp|t ?max|ttd|tts|pbv|pbf|r?cb[fv]|blood (flow|volume)|perfused blood|mean transit"
            r"|time to (peak|drain|start|max\w*)|permeability|flow extraction|penumbra|arterial enhancement fraction"
            r"|k ?trans|(ct )?ffr"
            r"|perfusion (maps?|param\w*|blood|index|results?)",
        ),
        ("ventilation values", Scale.OTHER, r"ventilation (maps?|images?)|jacobian|strain maps?"),
        (
            "radiation dose",
            Scale.OTHER,
            r"dose (maps?|distribution|grid|cube|volume|matrix|sum)|rt ?dose|isodoses?|(plan|total|absorbed) dose",
        ),
        (
            "a computed map",
            Scale.OTHER,
            r"(probability|uncertainty|heat|parametric|colou?r|attention|saliency|label|z score|likelihood|density"
            r"|variance|std|deviation|ecv|extracellular"
            r"|volume|fibrosis|stiffness|texture|radiomics?|t value|t \d|iodine|[cd] ?e) ?maps?"
            r"|(ecv|extracellular volume) (images?|fraction)"
            r"|standard deviation|std deviation|z score",
        ),
        ("scattered radiation", Scale.OTHER, r"scatter(ed)? (images?|maps?|radiation|estimate)"),
        (
            "an overlay",
            Scale.OTHER,
            r"(?<!no )(?<!non )(?<!without )(?<!wo )(?<!w o )overlays?"
            r"|fused (images?|view|series|colou?r|pet)|(image|pet ct) fused",
        ),
        ("a rendering", Scale.OTHER, r"vrt|volume render\w*|surface render\w*|3 d render\w*|shaded surface"),
        (
            "a subtraction",
            Scale.OTHER,
            r"(?<!non )(?<!no )(?<!without )(?<!bone )(subtraction|subtracted|subtract|subtr|subtraktion|soustraction"
            r"|sustraccion|sottrazione)|difference (image|map)s?|dsa"
            rf"|(sub|delta|diff) {_PHASE}|{_PHASE} (minus|delta) {_PHASE}|{_PHASE} (sub|diff|delta)(?= ?(\||$))",
        ),
        ("a CT with the bones removed", Scale.LIKE_HU, r"bone (remov\w*|free|less|subtr\w*)"),
        (
            "a virtual non-contrast image",
            Scale.LIKE_HU,
            r"vncs?|vnca|virtual(ly)? (non|un|native|nat|pre) ?\w*|virtuell\w* \w+|gsi vue|vue gsi"
            r"|vue(?! (ax\w*|cor\w*|sag\w*|obl\w*|gen\w*|ens\w*|lat\w*|de|du|des|d|en|face|profil|3))"
            r"|mat (removed|modified)|(calcium|ca) ?(removed|supp\w*)|casupp\w*|non calcium|pure lumen"
            r"|bone marrow (o?edema|images?)|marrow o?edema|hard ?plaques?|contrast enhanced structures",
        ),
        (
            "a virtual monoenergetic image",
            Scale.LIKE_HU,
            r"mono ?e|mono ?energ\w*|mono ?chrom\w*|vmi|vmc|mono plus|mono ([4-9]\d|1\d\d|200)(?! ?k ?v)|kev",
        ),
        ("a nonlinear blend of two energies", Scale.LIKE_HU, r"optimum contrast|non ?linear blend\w*"),
        (
            "a maximum or minimum intensity projection",
            Scale.LIKE_HU,
            r"t?mips?|min ?ips?|max ?ips?|(max|min)(imum)? intens\w*|projection image",
        ),
        ("a curved reformation", Scale.LIKE_HU, r"curved (mpr|planar|reform\w*)"),
    )
)
#: Values of Image Type and its like that say the same, and would mean nothing in a sentence.
_CODED_SIGNS = (
    ("a computed map", Scale.OTHER, re.compile(r"\b(quantity|t test|std deviation|division|maps?|masked|perfusion)\b")),
    ("a subtraction", Scale.OTHER, re.compile(r"\bsub\b")),
    ("a maximum or minimum intensity projection", Scale.LIKE_HU, re.compile(r"\b(maximum|minimum)\b")),
    ("computed from two energies", Scale.LIKE_HU, re.compile(r"\b(dual|multi|de)( \|)? energy\b")),
)
#: A linear mixture of the images of two tubes, which is read like a conventional CT.
_MIXED = re.compile(r"\b(mixed|linear\w*|blend\w*|av(era)?g\w*|[mf] \d|standard|conventional)\b")
_REFORMATTED = re.compile(r"\b(mprs?|reformat\w*|csa ?(parallel|resampled)|(avg|aver?age) ?ip)\b")


@lru_cache(maxsize=512)
def pixel_values(
    sop_class: str,
    image_type: tuple[str, ...],
    rescale_type: str,
    units: tuple[str, ...],
    technique: str,
    texts: tuple[str, ...],
) -> PixelValues:
    """What an image holds, from its header.

    Args:
        image_type: every value of Image Type or Frame Type, in capitals.
        units: codes of the units of its real world value mappings.
        technique: Volume Based Calculation Technique.
        texts: its descriptions, by a person or a workstation.
    """
    if sop_class in _OTHER_CLASSES and not (units and all(map(_is_hu_unit, units))):
        return PixelValues(Scale.OTHER, _OTHER_CLASSES[sop_class])
    is_derived = image_type[:1] == ("DERIVED",)
    coded = " | ".join(_words(text) for text in (*image_type[2:], technique))
    free = " | ".join(_words(text) for text in texts)
    everything = _MEDIUM.sub("medium", f"{coded} | {free}")
    signs = [(words, scale) for words, scale, pattern in _SIGNS if pattern.search(everything)]
    kind = rescale_type.strip().upper().replace(" ", "_")
    if kind == "HU_MOD":
        signs.append(("modified Hounsfield units", Scale.LIKE_HU))
    elif kind not in _HU_TYPES:
        signs.append((_QUANTITY_OF_TYPE.get(kind, f"values in {rescale_type.strip()[:16]}"), Scale.OTHER))
    signs += [(f"values in {unit[:16]}", Scale.OTHER) for unit in units if not _is_hu_unit(unit)]
    if is_derived and not signs:
        signs += [
            (words, scale)
            for words, scale, pattern in _CODED_SIGNS
            if pattern.search(coded) and not (words.startswith("computed") and _MIXED.search(free))
        ]
        if re.search(r"\b(maps?|difference|suv)\b", free):
            signs.append(("a computed map", Scale.OTHER))
    is_reformatted = bool(_REFORMATTED.search(everything))
    if not signs:
        return PixelValues(is_reformatted=is_reformatted)
    strictest = min(scale for _, scale in signs)
    is_only_described = (
        image_type[:2] == ("ORIGINAL", "PRIMARY")
        and kind in _STATED_HU
        and not any(pattern.search(coded) for _, _, pattern in _SIGNS)
        and all(map(_is_hu_unit, units))
    )
    first = next(words for words, scale in signs if scale == strictest)
    return PixelValues(strictest, first, is_reformatted, is_only_described)


def _is_hu_unit(unit: str) -> bool:
    return "hnsf" in unit.casefold() or unit.strip().upper().replace(" ", "_") in _HU_TYPES


def _words(text: str) -> str:
    """Lower-case words: ``IodineNoWater`` and ``MonoE_70keV`` become "iodine no water" and "mono e 70 kev"."""
    spaced = re.sub(r"(?i)kev", " kev ", text[:256])
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", spaced)
    spaced = re.sub(r"(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)", " ", spaced)
    return " ".join(re.sub(r"[\W_]+", " ", spaced).casefold().split())
