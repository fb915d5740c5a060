"""The phantom of ``radvlm demo``."""

from __future__ import annotations

from radvlm.phantom.spec import LesionSpec, PhantomSpec


def demo_spec(seed: int = 7) -> PhantomSpec:
    """Chest to pelvis of a woman of 63 in the portal venous phase with known lesions, 2 x 2 x 3 mm.

    The lesions and their sizes are fixed; the seed varies the anatomy and where they lie.
    """
    return PhantomSpec(
        seed=seed,
        region="chest-abdomen-pelvis",
        spacing_mm=(2.0, 2.0, 3.0),
        phase="portal venous",
        sex="F",
        age_years=63,
        lesions=(
            LesionSpec("liver_metastasis", 23, location="liver_segment_6"),
            LesionSpec("liver_metastasis", 14, location="liver_segment_4"),
            LesionSpec("liver_cyst", 31, location="liver_segment_8"),
            LesionSpec("pancreas_tumor", 18, location="pancreas_head"),
            LesionSpec("kidney_cyst", 17, side="left"),
            LesionSpec("splenomegaly", 460),
            LesionSpec("gallstone", 9),
            LesionSpec("lung_nodule", 8, location="lung_upper_lobe_right"),
            LesionSpec("pleural_effusion", 22, side="right"),
            LesionSpec("lymph_node", 16),
        ),
    )
