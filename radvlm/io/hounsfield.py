"""Are these values Hounsfield units? Decided from the histogram, conservatively, and always recorded.

Three mistakes that circulate in public CT data are recognized. Values already in HU whose header asks for
the rescale once more (CT-RATE v2); stored scanner values that were never rescaled; and images that are no CT. Only an
unambiguous histogram changes anything; a doubtful one ends in an error that names the explicit ways out.

The rules, on a sample of at most a million voxels (shares of all voxels; HU):

* air is -1100 to -900, tissue is -200 to 250, "deep" is below -1100.
* The header's rescale is *not* applied when, without it, there is air (1 %) and tissue (5 %) and hardly anything deep,
  and with it either that air lands deep or the tissue vanishes (below 2 %).
* 1024, or 1000 where the air or the fat says so, is subtracted when hardly a value is below 0, there is air at 0 to
  150, and above 200 most values (60 %) lie between 824 and 1274 with a third of them inside some 150 wide window of
  soft tissue.
* What passes is held against the rulers of ``hu_rulers``, which may forbid to interpret attenuation.
* Refused: one constant value; 8-bit values; a spread below 30 in fractions (normalized); 1 % of varied values below
  -1100; 1 % above 4100; nothing below 0, unless 98 % lie within 200 HU (a crop of soft tissue); neither air nor tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.io.hu_rulers import FEWEST_VALUES, doubted, judged
from radvlm.io.rescale import compact, refuse_nonfinite, rescaled, slabs
from radvlm.types.provenance import Decision

#: Everything below is padding or reconstruction overshoot; CT numbers end at air.
LOWEST_HU = -1024
#: Intercept of nearly all scanners, the offset of values that were never rescaled.
USUAL_OFFSET = 1024
#: The other offset in use.
OTHER_OFFSET = 1000
#: Padding has values of this or below; air has noise down to it.
HIGHEST_PADDING_HU = -1300
SAMPLE_VOXELS = 1_000_000
#: Without any value below 0, 98 % of a believable crop of soft tissue lie within this range.
CROP_SPREAD_HU = 200
#: What lies beside dense bone, in the median.
WRAPPED_BESIDE_HU = 400
#: A rescale that was asked for is not followed where it puts more than this share below air or above bone, or less than
#: that among soft tissue.
FAR_OFF_SHARE, LEAST_TISSUE = 0.1, 0.02
Rescale = str | tuple[float, float]
_REMEDY = (
    "Pass rescale='none' if the values are HU as they are, 'header' to apply the header, or "
    "(slope, intercept), such as (1, -1024)"
)


@dataclass(frozen=True)
class Look:
    """Shares of a sample under one hypothesis about its scale."""

    air: float
    tissue: float
    deep: float
    padding: float  # below -1100, but few distinct values
    negative: float
    above: float

    @property
    def is_ct(self) -> bool:
        return self.tissue >= 0.05 and self.deep <= 0.01 and self.above <= 0.01


def checked_rescale(rescale: object) -> Rescale:
    """``rescale`` as given when it is one of the allowed forms, a pair also as text ("1,-1024"); else InputError."""
    if isinstance(rescale, str) and rescale in ("auto", "header", "none"):
        return rescale
    try:
        slope, intercept = (float(v) for v in (rescale.split(",") if isinstance(rescale, str) else rescale))  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        slope, intercept = 0.0, 0.0
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise InputError(
            "rescale is 'auto', 'header', 'none' or (slope, intercept) with a slope other than 0", repr(rescale)
        )
    return slope, intercept


def to_hu(
    stored: np.ndarray, slope: float, intercept: float, rescale: Rescale, name: str, step: str
) -> tuple[np.ndarray, list[Decision]]:
    """Stored values to HU as int16 or float32, never changing ``stored`` itself.

    Args:
        stored: (I, J, K) as in the file; slope and intercept: the header's rescale (1, 0 where there is none).
        rescale: ``"auto"``, ``"header"``, ``"none"`` or (slope, intercept).
        name: of the file, for messages; step: for the decisions.

    Raises InputError when "auto" cannot tell, or the values are not CT; FileFormatError for NaN or infinity.
    """
    refuse_nonfinite(stored, name)
    decisions: list[Decision] = []
    if rescale == "auto" and stored.dtype.kind in "uif" and stored.dtype.itemsize > 1:
        sample = _sample(stored)
        if sample.max() > 60_000:
            whole = stored.astype(np.float32)
            if _unwrapped(whole, sample, 1.0, 0.0):
                stored = compact(whole)
                decisions.append(_signed(step))
    has_header = (slope, intercept) != (1.0, 0.0)
    if isinstance(rescale, tuple):
        slope, intercept = rescale
        decisions.append(Decision(step, f"Rescaled as asked for: x {slope:g} {intercept:+g}."))
    elif rescale == "none":
        if has_header:
            decisions.append(
                Decision(step, f"The header's rescale (x {slope:g} {intercept:+g}) was not applied, as asked for.")
            )
        slope, intercept = 1.0, 0.0
    elif rescale == "auto":
        slope, intercept, found = _decided(stored, slope, intercept, name, step)
        decisions += found
    elif has_header:
        decisions.append(Decision(step, f"Rescaled once by the header: x {slope:g} {intercept:+g}."))
    hu = compact(stored) if (slope, intercept) == (1.0, 0.0) else rescaled(stored, slope, intercept)
    refuse_nonfinite(hu, name)
    decisions += judged(hu, step) if rescale == "auto" else contradictions(hu, step, slope, intercept)
    return clipped(hu, step, decisions, owned=hu is not stored and not np.shares_memory(hu, stored))


def correct_rescaled(hu: np.ndarray, slope: float, intercept: float, name: str) -> tuple[np.ndarray, list[Decision]]:
    """The same judgment for a DICOM series, whose rescale was applied while reading.

    Only the two unambiguous mistakes are undone.
    ``hu`` is changed in place.
    """
    sample = _sample(hu)
    signed: list[Decision] = []
    if hu.dtype.kind == "f" and _unwrapped(hu, sample, slope, intercept):
        signed, hu = [_signed("dicom")], compact(hu)
        sample = _sample(hu)
    if _wrapped_at_12_bits(hu, sample, slope, intercept):
        for slab in slabs(hu):
            slab[slab < intercept] += hu.dtype.type(4096 * slope)
        what = (
            "Stored values above 2047 were read as negative numbers, because the header calls 12 bits signed: 4096 was "
            "added to those below 0, which lie in bone."
        )
        signed.append(Decision("dicom", what, warning=True))
        sample = _sample(hu)
    if (slope, intercept) != (1.0, 0.0) and _was_hu_already(_look((sample - intercept) / slope), _look(sample)):
        undone = rescaled(hu, 1 / slope, -intercept / slope)
        told = [*signed, _double("dicom", slope, intercept), *judged(undone, "dicom")]
        return clipped(undone, "dicom", told, owned=True)
    decisions = signed
    if _never_rescaled(sample):
        offset, told = _offset(sample, "dicom")
        hu = rescaled(hu, 1.0, -offset)
        decisions += told
    else:
        reason = _refusal(sample, hu.dtype)
        if reason:
            raise InputError("the values are a CT in Hounsfield units", f"{name}: {reason}", _REMEDY)
    decisions += judged(hu, "dicom")
    return clipped(hu, "dicom", decisions, owned=True)


def contradictions(hu: np.ndarray, step: str, slope: float, intercept: float) -> tuple[Decision, ...]:
    """What the values say against a rescale that the caller asked for.

    The caller is believed with a warning, except where nothing of a body can lie where it then lies.
    """
    sample = _sample(hu)
    if len(np.unique(sample[:: max(1, sample.size // 50_000)])) >= FEWEST_VALUES:
        if _never_rescaled(sample):
            offset = _offset(sample, step)[0]
            doubt = f"with this rescale the values are HU + {offset} (air near 0, soft tissue near {offset + 40})"
            return (doubted(doubt, f"Pass --rescale {slope:g},{intercept - offset:g} (rescale= in Python)"),)
        reason = _refusal(sample, np.dtype(np.int16))
        look = _look(sample)
        if reason and (max(look.deep, look.above) > FAR_OFF_SHARE or look.tissue < LEAST_TISSUE):
            remedy = "Pass --rescale auto or header, or another SLOPE,INTERCEPT (rescale= in Python)"
            return (doubted(f"with this rescale the values are not HU: {reason}", remedy),)
        if reason:
            return (Decision(step, f"Rescaled as asked for, although {reason}.", warning=True),)
    return judged(hu, step, asserted=True)


def clipped(hu: np.ndarray, step: str, decisions: list[Decision], owned: bool) -> tuple[np.ndarray, list[Decision]]:
    """Raise everything below -1024 to -1024, in place when the array is ``owned``."""
    if hu.min() >= LOWEST_HU:
        return hu, decisions
    count = sum(int((slab < LOWEST_HU).sum()) for slab in slabs(hu))
    what = f"{count} voxels below {LOWEST_HU} HU (lowest {hu.min():g}: padding or overshoot) were set to {LOWEST_HU}."
    out = hu if owned and hu.flags.writeable else np.empty_like(hu)
    np.maximum(hu, hu.dtype.type(LOWEST_HU), out=out)
    return out, [*decisions, Decision(step, what)]


def _decided(
    stored: np.ndarray, slope: float, intercept: float, name: str, step: str
) -> tuple[float, float, list[Decision]]:
    sample = _sample(stored)
    decisions: list[Decision] = []
    if (slope, intercept) != (1.0, 0.0):
        applied = sample * slope + intercept
        with_it, without = _look(applied), _look(sample)
        if _was_hu_already(without, with_it):
            return 1.0, 0.0, [_double(step, slope, intercept)]
        if with_it.tissue < 0.02 and without.tissue >= 0.5 and with_it.air >= 0.5:
            raise InputError(
                "the rescale to HU is unambiguous",
                f"{name}: the header (x {slope:g} {intercept:+g}) leaves nothing but air, and without it "
                "the values look like soft tissue",
                _REMEDY,
            )
        decisions.append(Decision(step, f"Rescaled once by the header: x {slope:g} {intercept:+g}."))
        sample = applied
    if _never_rescaled(sample):
        offset, told = _offset(sample, step)
        return slope, intercept - offset, [*decisions, *told]
    reason = _refusal(sample, stored.dtype if (slope, intercept) == (1.0, 0.0) else np.dtype(np.int16))
    if reason:
        raise InputError("the values are a CT in Hounsfield units", f"{name}: {reason}", _REMEDY)
    if (sample >= 0).all():
        decisions.append(Decision(step, "No value lies below 0 HU: taken as a crop of soft tissue.", warning=True))
    return slope, intercept, decisions


def _unwrapped(hu: np.ndarray, sample: np.ndarray, slope: float, intercept: float) -> bool:
    """Undo, in place, the reading of negative numbers of 16 bits as unsigned ones; False where that was not done.

    Then values near 65536 and values of tissue stand beside each other and nothing lies between.
    """
    stored = (sample - intercept) / slope
    if np.mean(stored > 60_000) < 0.0005 or np.any((stored > 20_000) & (stored <= 60_000)):
        return False
    for slab in slabs(hu):
        slab[(slab - intercept) / slope > 32_767] -= 65_536 * slope
    return True


def _wrapped_at_12_bits(hu: np.ndarray, sample: np.ndarray, slope: float, intercept: float) -> bool:
    """True where dense bone of a DICOM series (slices, rows, columns) lies below air: unsigned numbers of 12 bits that
    were read as signed ones end at 2047, and go on at -2048.

    Padding and the streaks beside metal lie below air, too, but beside air or beside values above that end.
    """
    top = 2047 * slope + intercept
    below = sample[sample < intercept]
    if slope <= 0 or not below.size or not top - 80 * slope <= sample.max() <= top or hu.max() > top:
        return False
    if below.min() < intercept - 2048 * slope or hu.min() < intercept - 2048 * slope:
        return False
    slices = hu[:: max(1, len(hu) // 40)]
    deep = slices < intercept
    beside = np.concatenate([slices[:, :, 1:][deep[:, :, :-1]], slices[:, :, :-1][deep[:, :, 1:]]])
    beside = beside[beside >= intercept]
    return bool(beside.size >= 20 and np.median(beside) > WRAPPED_BESIDE_HU)


def _signed(step: str) -> Decision:
    return Decision(
        step,
        "Negative values were stored as unsigned numbers (65036 for -500), against the header: 65536 was subtracted "
        "from those above 32767.",
        warning=True,
    )


def _double(step: str, slope: float, intercept: float) -> Decision:
    return Decision(
        step,
        f"The values are HU already; the header's rescale (x {slope:g} {intercept:+g}) would have "
        "been applied twice and was ignored.",
        warning=True,
    )


def _offset(sample: np.ndarray, step: str) -> tuple[int, list[Decision]]:
    """1024 or 1000, what was added to HU to make these values, by their air and else by their fat; and what to say.

    Air is where most of it lies, one exact value at the low end aside (padding, or all that lay below 0).
    """
    real = sample[sample > -1100]
    low = real[real <= 150]
    values, counts = np.unique(low, return_counts=True)
    cut_off = counts[0] > 4 * counts[1:9].mean() if len(counts) > 8 else False  # noise of the air that lay below
    rest = low[low > values[0]] if cut_off else low
    if counts.max() > 0.2 * low.size:
        rest = low[low != values[counts.argmax()]]
    if rest.size >= max(20, 0.03 * low.size) and np.ptp(rest) > 0:
        close = np.bincount(np.clip(rest + 100, 0, 250).astype(np.int64), minlength=251)
        air = float(np.convolve(close, np.ones(9), mode="same").argmax()) - 100
        offset = USUAL_OFFSET if air > (USUAL_OFFSET - OTHER_OFFSET) / 2 else OTHER_OFFSET
        sure = True
    elif values[counts.argmax()] > (USUAL_OFFSET - OTHER_OFFSET) / 2:
        offset, sure = USUAL_OFFSET, True
    else:
        fat = real[(real >= 850) & (real < 980)].astype(np.int64) - 850
        peak = 850 + int(np.convolve(np.bincount(fat, minlength=130), np.ones(9), mode="same").argmax())
        sure = fat.size >= 0.01 * real.size and 880 <= peak <= 940
        offset = OTHER_OFFSET if sure and peak <= (USUAL_OFFSET + OTHER_OFFSET) / 2 - 103 else USUAL_OFFSET
    decisions = [
        Decision(
            step,
            f"The values were never rescaled to HU (air near 0, soft tissue near {offset + 40}): "
            f"{offset} was subtracted.",
            warning=True,
        )
    ]
    if not sure:
        decisions.append(
            doubted(
                "the values were never rescaled to HU, and whether 1024 or 1000 is to be subtracted cannot be told",
                "Pass --rescale 1,-1024 or 1,-1000 (rescale= in Python)",
            )
        )
    return offset, decisions


def _sample(array: np.ndarray) -> np.ndarray:
    """Every n-th voxel along each axis, as float64, at most about a million."""
    steps = [1] * array.ndim
    while np.prod([-(-n // s) for n, s in zip(array.shape, steps, strict=True)]) > SAMPLE_VOXELS:
        widest = max(range(array.ndim), key=lambda axis: array.shape[axis] / steps[axis])
        steps[widest] += 1
    return array[tuple(slice(None, None, step) for step in steps)].ravel(order="K").astype(np.float64)


def _look(values: np.ndarray) -> Look:
    def share(mask: np.ndarray) -> float:
        return float(mask.mean())

    low = values[values < -1100]
    varied = len(np.unique(np.rint(low[:50_000]))) >= 20 if low.size else False
    tissue = share((values >= -200) & (values <= 250))
    if varied and _is_blurred_padding(low, in_ct=tissue >= 0.05):
        varied = False
    noisy = low.size if varied and _is_tail_of_noise(low) else 0
    return Look(
        air=share((values >= -1100) & (values <= -900)),
        tissue=tissue,
        deep=(low.size - noisy) / values.size if varied else 0.0,
        padding=0.0 if varied else low.size / values.size,
        negative=share(values < -200),
        above=share(values > 4100),
    )


def _is_blurred_padding(low: np.ndarray, in_ct: bool) -> bool:
    """True when most of ``low`` (all below -1100) lies at a few exact values and the rest is what resampling or
    smoothing makes of the edges of such padding: beside tissue in its place (``in_ct``), or spread out evenly, without
    the peak that sunken air would be."""
    counts = np.bincount((-np.rint(np.maximum(low, -70_000))).astype(np.int64))
    flat = np.flatnonzero(counts >= 0.15 * low.size)
    flat = flat[flat >= -HIGHEST_PADDING_HU]
    near = np.unique(np.clip(np.concatenate([flat - 1, flat, flat + 1]), 0, len(counts) - 1))
    padding = int(counts[near].sum())
    if not flat.size or padding < 0.5 * low.size:
        return False
    if in_ct:
        return True
    counts[near] = 0
    edges = int(counts.sum())
    fullest = int(np.convolve(counts, np.ones(60), mode="same").max()) if edges else 0
    return edges < 20 or fullest <= 0.4 * edges


def _is_tail_of_noise(low: np.ndarray) -> bool:
    """True when ``low`` (all below -1100) is the tail of noise around air: ever fewer values, and none far below.

    Air that was rescaled twice has its peak near -2000.
    """
    counts = np.histogram(low, bins=np.arange(-1600, -1099, 100))[0]
    return bool((np.diff(counts) >= 0).all() and counts.sum() >= 0.97 * low.size)


def _was_hu_already(without: Look, with_it: Look) -> bool:
    """True when values are HU before the header's rescale and nonsense after it."""
    if not without.is_ct:
        return False
    # A constant far below air is padding, and no sunk air, where tissue stands where it belongs beside it.
    low = with_it.deep + with_it.padding
    padded = with_it.deep < 0.01 and with_it.tissue >= 0.05 * (1 - low)
    air_sinks = without.air >= 0.01 and low >= 0.01 and not padded
    tissue_vanishes = with_it.tissue < 0.02 and without.negative >= 0.01
    return air_sinks or tissue_vanishes


def _never_rescaled(values: np.ndarray) -> bool:
    """True for scanner values with an offset of 1024: air near 0, fat and soft tissue near 1024."""
    real = values[values > -1100]  # padding such as -2000 aside
    if not real.size or np.percentile(real, 0.1) < -5 or not np.array_equal(real, np.rint(real)):
        return False
    body = real[real > 200]
    if np.mean(real <= 150) < 0.01 or body.size < 0.02 * real.size:
        return False
    if np.mean((body >= 824) & (body <= 1274)) < 0.6:
        return False
    counts = np.bincount(np.clip(body, 0, 4096).astype(np.int64), minlength=4097)[900:1200]
    window = np.convolve(counts, np.ones(150), mode="valid").max()
    return bool(window >= 0.33 * body.size)


def _refusal(values: np.ndarray, dtype: np.dtype) -> str:
    """Why values are not HU of a CT; "" when they may be."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return f"every voxel sampled is {low:g}"
    if dtype.itemsize == 1:
        like = "a picture or a file of labels (masks are passed as masks, not as the CT)"
        return f"8-bit values from {low:g} to {high:g}, like {like}"
    if high - low < 30 and not np.array_equal(values, np.rint(values)):
        return f"fractions from {low:.3g} to {high:.3g}, as if normalized"
    look = _look(values)
    if look.deep > 0.01:
        return f"{look.deep:.0%} of the voxels lie below air (lowest {low:g}), as if rescaled twice"
    if look.above > 0.01:
        return f"{look.above:.0%} of the voxels lie above 4100 (highest {high:g})"
    real = values[values > -1100]
    if np.percentile(real, 0.1) >= -10:
        spread = float(np.percentile(real, 99) - np.percentile(real, 1))
        if spread > CROP_SPREAD_HU or np.mean(real == 0) > 0.2 or np.median(real) > 300:
            return f"no values below 0 (median {np.median(real):g}, highest {high:g}), so no air and no fat"
        return ""
    if look.tissue < 0.02 and look.negative < 0.02:
        return f"neither air nor soft tissue between {low:g} and {high:g}"
    return ""
