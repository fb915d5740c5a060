"""Every structure that some phantom can hold; a phantom's masks have searched for all of them."""

from __future__ import annotations

from radvlm.phantom.frame import VERTEBRAE
from radvlm.phantom.kinds import LESION_KINDS
from radvlm.types.anatomy import LIVER_SEGMENTS, LUNG_LOBES, PANCREAS_PARTS

_SINGLE = """
aorta brachiocephalic_trunk brachiocephalic_vein_left brachiocephalic_vein_right celiac_trunk colon
common_carotid_artery_left costal_cartilages duodenum esophagus gallbladder heart heart_atrium_left
heart_atrium_right heart_myocardium heart_ventricle_left heart_ventricle_right inferior_vena_cava
intervertebral_discs liver lung_trachea_bronchia pancreas portal_vein_and_splenic_vein prostate pulmonary_artery
sacrum seminal_vesicle skeletal_muscle small_bowel spinal_cord spleen sternum stomach subclavian_artery_left
subcutaneous_fat superior_mesenteric_artery superior_mesenteric_vein superior_vena_cava torso_fat trachea
urinary_bladder uterus
""".split()  # noqa: SIM905
_PAIRED = """
adrenal_gland autochthon clavicula femur gluteus_maximus gluteus_medius hip iliac_artery iliac_vena iliopsoas
kidney lung ovary pectoralis_major quadratus_lumborum renal_pelvis renal_vein scapula ureter
""".split()  # noqa: SIM905

SEARCHED: frozenset[str] = frozenset(
    [
        *_SINGLE,
        *(f"{name}_{side}" for name in _PAIRED for side in ("left", "right")),
        *(f"vertebrae_{level}" for level in VERTEBRAE),
        *(f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)),
        *LUNG_LOBES,
        *LIVER_SEGMENTS,
        *PANCREAS_PARTS,
        *(
            kind.structure.format(side=side)
            for kind in LESION_KINDS.values()
            if kind.structure
            for side in ("left", "right")
        ),
    ]
)
