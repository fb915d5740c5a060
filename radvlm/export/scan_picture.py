"""A picture of a whole scan for pages of similar cases."""

from __future__ import annotations

import io

import numpy as np

from radvlm.types.volume import Volume

#: Soft-tissue window of pictures of scans, HU.
PICTURE_WINDOW_HU = (-160.0, 240.0)


def scan_picture(scan: Volume, *, height_px: int = 240) -> bytes:
    """PNG of the middle axial and coronal slices side by side, soft-tissue window, as radiologists look at them.

    The patient's right is on the left of the picture, anterior and superior are up; both slices have square pixels.
    For pages of similar cases (``radvlm.retrieve.similar_cases_page``).
    """
    from PIL import Image

    low, high = PICTURE_WINDOW_HU
    x, y, z = scan.geometry.spacing_mm
    i, j, k = scan.hu.shape
    slices = ((scan.hu[::-1, ::-1, k // 2].T, (i * x, j * y)), (scan.hu[::-1, j // 2, ::-1].T, (i * x, k * z)))
    parts = []
    for hu, (wide_mm, high_mm) in slices:  # (rows, columns)
        gray = np.clip((hu.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        size = (max(1, round(height_px * wide_mm / high_mm)), height_px)
        parts.append(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BILINEAR))
    whole = Image.new("L", (sum(p.width for p in parts) + 4, height_px))
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (parts[0].width + 4, 0))
    out = io.BytesIO()
    whole.save(out, format="PNG", optimize=True)
    return out.getvalue()
