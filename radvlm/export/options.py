"""Settings of the page."""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.errors import InputError


@dataclass(frozen=True)
class PageOptions:
    """How ``report.html`` is made; the defaults keep a 512 x 512 x 300 scan near 9 MB.

    Attributes:
        max_in_plane: most voxels along the right-left and anterior-posterior axes of the embedded images; a larger
            scan is averaged in whole blocks (512 becomes 256).
        max_slices: most axial slices embedded; more are averaged in whole blocks.
        image_budget_mb: most MB (10^6 bytes) of text that the CT may take in the page. Where the finest form is
            larger, HU are first stored in steps of 2, then 4, then slices are averaged, then pixels.
        key_images: most key images; 0 for none.
        impression_first: the impression stands above the findings, as in viewers, or below, as in report.txt.
        title: heading of the page; "" takes the examination from the report.
    """

    max_in_plane: int = 320
    max_slices: int = 320
    image_budget_mb: float = 9.0
    key_images: int = 12
    impression_first: bool = True
    title: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (("max_in_plane", 16, 2048), ("max_slices", 1, 4096), ("key_images", 0, 200)):
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise InputError(f"{name} is a whole number between {low} and {high}", repr(value))
        if not 0.05 <= self.image_budget_mb <= 500:
            raise InputError("image_budget_mb lies between 0.05 and 500", repr(self.image_budget_mb))
