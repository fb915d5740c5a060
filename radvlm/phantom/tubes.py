"""Vessels, stomach and bowel: tubes along splines."""

from __future__ import annotations

import numpy as np

from radvlm.phantom.frame import Frame
from radvlm.phantom.scene import Scene
from radvlm.phantom.shapes import Capsule, tube
from radvlm.phantom.thorax import thoracic_vessels

#: Height of the middle of an aortic aneurysm, and its half length (mm, before scaling).
ANEURYSM_Z, ANEURYSM_HALF = -90.0, 35.0


def abdominal_aorta_mm(frame: Frame) -> float:
    """Diameter of the normal infrarenal aorta."""
    return 18.0 if frame.sex == "F" else 20.0


def _aorta_rows(frame: Frame) -> list[np.ndarray]:
    normal = abdominal_aorta_mm(frame) / 2
    rows: list[np.ndarray] = [
        frame.row(-2, 30, 166, 15.5),
        frame.row(10, 30, 186, 15.5),
        frame.row(10, 20, 214, 15),
        frame.row(3, 6, 234, 14.5),
        frame.row(-12, -14, 236, 13.5),
        frame.row(-23, -32, 222, 13),
        frame.row(-25, -37, 195, 12.5),
    ]
    for z, x, gap in ((150, -24, 4), (100, -20, 6), (60, -14, 8), (25, -10, 11)):
        rows.append(frame.row(x, frame.spine_front(z) + gap, z, 12.0 if z > 60 else 11.2))
    widest = frame.anatomy.aorta_mm
    for z in np.arange(0, -131, -10.0).tolist():
        bump = 0.0
        if widest is not None and abs(z - ANEURYSM_Z) < ANEURYSM_HALF:
            bump = float((widest / 2 - normal) * 0.5 * (1 + np.cos(np.pi * (z - ANEURYSM_Z) / ANEURYSM_HALF)))
        radius = normal + (1.0 if z > -40 else 0.0) + bump
        rows.append(frame.row(-8 - 0.85 * bump, frame.spine_front(z) + 12 + bump, z, radius))
    return rows


def aneurysm_center(frame: Frame) -> tuple[np.ndarray, float]:
    """Where the aneurysm is widest, and its largest diameter (mm)."""
    # the knot nearest to the middle of the bump carries the largest radius of the spline
    rows = [row for row in _aorta_rows(frame) if row[2] < -30 * frame.sz]
    widest = max(rows, key=lambda row: row[3])
    return widest[:3], 2 * float(widest[3])


def add_vessels(scene: Scene, frame: Frame) -> None:
    """Veins first, arteries over them."""
    chest = {name: [frame.row(*row) for row in rows] for name, rows in thoracic_vessels().items()}
    veins, artery, portal = frame.hu("vein"), frame.hu("artery"), frame.hu("portal")
    front = frame.spine_front
    cava = [
        frame.row(24, 6, 118, 13),
        frame.row(24, -4, 96, 12.5),
        frame.row(24, -9, 70, 12),
        frame.row(23, -10, 30, 12),
    ]
    cava += [frame.row(21, front(z) + 10, z, r) for z, r in ((-10, 11.5), (-50, 11), (-95, 10.5), (-130, 10))]
    scene.add("inferior_vena_cava", tube(cava), veins, "inferior_vena_cava")
    for side, s in (("right", 1), ("left", -1)):
        start = cava[-1][:3]
        vein = [
            np.array([*start, 8]),
            frame.row(s * 34 + 6, front(-160) - 4, -165, 7),
            frame.row(s * 52, -22, -205, 6.5),
            frame.row(s * 66, 2, -265, 6.5),
            frame.row(s * 74, 30, -325, 6.5),
            frame.row(s * 78, 34, -400, 6),
        ]
        scene.add(f"iliac_vena_{side}", tube(vein), veins, f"iliac_vena_{side}")
        kidney = frame.point(s * 36, -26, -48 if s > 0 else -38)
        renal = [
            np.array([*kidney, 5.0]),
            frame.row(s * 20 + 6, front(-45) + (12 if s > 0 else 26), -42, 5),
            frame.row(21, front(-45) + 14, -42, 5),
        ]
        scene.add(f"renal_vein_{side}", tube(renal), veins, f"renal_vein_{side}")
    scene.add("superior_vena_cava", tube(chest["superior_vena_cava"]), frame.hu("svc"), "superior_vena_cava")
    for name in ("brachiocephalic_vein_left", "brachiocephalic_vein_right"):
        scene.add(name, tube(chest[name]), frame.hu("svc"), name)
    scene.add(
        "pulmonary_artery",
        (*tube(chest["pulmonary_artery"]), *tube(chest["pulmonary_artery_left"])),
        frame.hu("pulmonary"),
        "pulmonary_artery",
    )
    splenic = [
        frame.row(-76, -20, 12, 3.6),
        frame.row(-54, -9, -2, 4.2),
        frame.row(-30, 8, -11, 4.4),
        frame.row(6, 15, -26, 5),
    ]
    main = [frame.row(6, 15, -26, 6.8), frame.row(14, 14, -4, 6.8), frame.row(26, 16, 20, 6.5)]
    scene.add("portal_vein_and_splenic_vein", (*tube(splenic), *tube(main)), portal, "portal_vein_and_splenic_vein")
    mesenteric = [frame.row(6, 15, -30, 5.6), frame.row(7, 19, -60, 5.4), frame.row(10, 25, -110, 4.8)]
    scene.add("superior_mesenteric_vein", tube(mesenteric), portal, "superior_mesenteric_vein")
    rows = _aorta_rows(frame)
    scene.add("aorta", tube(rows, 3), artery, "aorta")
    abdominal = {round(float(row[2] / frame.sz)): row for row in rows}

    def on_aorta(z: int) -> np.ndarray:
        row = abdominal[z]
        return np.array([row[0], row[1] + row[3] - 2, row[2], 3.6])

    celiac = [on_aorta(0), frame.row(-7, front(0) + 34, 2, 3.6)]
    scene.add("celiac_trunk", tube(celiac), artery, "celiac_trunk")
    root = on_aorta(-20)
    mesenteric_artery = [
        root,
        np.array([root[0], root[1] + 8, root[2] - 8, 3.8]),
        frame.row(-7, 20, -62, 3.6),
        frame.row(-4, 26, -120, 3.0),
    ]
    scene.add("superior_mesenteric_artery", tube(mesenteric_artery), artery, "superior_mesenteric_artery")
    for side, s in (("right", 1), ("left", -1)):
        end = rows[-1]
        iliac = [
            np.array([*end[:3], 6.5]),
            frame.row(s * 28 - 3, front(-158) + 8, -158, 5.8),
            frame.row(s * 52, -8, -205, 5.2),
            frame.row(s * 68, 16, -265, 5),
            frame.row(s * 80, 40, -325, 4.8),
            frame.row(s * 86, 42, -400, 4.4),
        ]
        scene.add(f"iliac_artery_{side}", tube(iliac), artery, f"iliac_artery_{side}")
    for name in ("brachiocephalic_trunk", "common_carotid_artery_left", "subclavian_artery_left"):
        scene.add(name, tube(chest[name]), artery, name)


def _thinner(pieces: tuple[Capsule, ...], by_mm: float) -> list[Capsule]:
    return [Capsule(p.a, p.b, max(p.ra - by_mm, 0.8), max(p.rb - by_mm, 0.8)) for p in pieces]


def _gas(pieces: list[Capsule], level: float | None = None) -> list[Capsule]:
    """The anterior part of each piece: in front of a fluid level or, without one, of the axis of its group."""
    out = []
    for start in range(0, len(pieces), 6):
        group = pieces[start : start + 6]
        y = level if level is not None else float(np.mean([p.a[1] for p in group]))
        out += [Capsule(p.a, p.b, p.ra, p.rb, front_of=y) for p in group]
    return out


def add_bowel(scene: Scene, frame: Frame) -> None:
    """Small bowel, colon with haustra, stomach with a gas-fluid level, duodenum, rectum."""
    wall, fluid, gas = frame.hu("bowel_wall"), frame.hu("bowel_fluid"), frame.hu("bowel_gas")
    loops = _small_bowel(frame)
    scene.add("small_bowel", loops, wall, "small_bowel", insets=((2.2, fluid + 12),))
    colon = _colon(frame)
    pieces = tube(colon, 5)
    scene.add("colon", pieces, wall, "colon")
    inner = _thinner(pieces, 2.4)
    scene.add("colon_lumen", inner, frame.hu("stool"), "colon")
    groups = [inner[n : n + 6] for n in range(0, len(inner), 6)]
    filled = [group for group in groups if frame.rng.random() < 0.65]
    scene.add("colon_gas", [p for group in filled for p in _gas(group)], gas, "colon")
    rectum = tube(
        [
            frame.row(-10, -24, -252, 14),
            frame.row(2, -46, -272, 17),
            frame.row(0, -50, -305, 18),
            frame.row(0, -36, -345, 13),
            frame.row(0, -34, -372, 9),
        ]
    )
    scene.add("rectum", rectum, wall, "colon", insets=((3.0, frame.hu("stool")),))
    swell = frame.draw(0.9, 1.08)
    stomach = tube(
        [
            frame.row(-50, -8, 62, 27 * swell),
            frame.row(-62, 4, 42, 30 * swell),
            frame.row(-64, 28, 12, 26 * swell),
            frame.row(-44, 48, -20, 22 * swell),
            frame.row(-10, 56, -34, 17),
            frame.row(18, 48, -33, 11),
        ]
    )
    scene.add("stomach", stomach, wall, "stomach")
    lumen = _thinner(stomach, 3.6)
    scene.add("stomach_lumen", lumen, fluid, "stomach")
    scene.add("stomach_gas", _gas(lumen, frame.draw(30, 42) * frame.sy), gas, "stomach")
    duodenum = tube(
        [
            frame.row(18, 48, -33, 10),
            frame.row(38, 38, -34, 11),
            frame.row(49, 20, -45, 11),
            frame.row(50, 8, -72, 11),
            frame.row(42, 4, -96, 11),
            frame.row(10, frame.spine_front(-100) + 34, -104, 10),
            frame.row(-26, 14, -92, 10),
            frame.row(-32, 26, -70, 10),
        ],
        2,
    )
    scene.add("duodenum", duodenum, wall, "duodenum", insets=((2.4, fluid),))


def _small_bowel(frame: Frame) -> tuple[Capsule, ...]:
    """Rows of loops that fill the middle of the abdomen, jittered by the seed."""
    rows, toward = [], 1
    for layer, y in enumerate((54, 24)):
        for z in np.arange(-108, -252, -24.0):
            span = np.linspace(-66, 66, 5) * toward
            toward = -toward
            for x in span:
                jitter = frame.rng.uniform(-5, 5, 3)
                rows.append(
                    frame.row(
                        x + jitter[0],
                        y + jitter[1] - (8 if abs(x) > 50 else 0),
                        z + jitter[2] + 8 * layer,
                        frame.rng.uniform(9.5, 12.5),
                    )
                )
    return tube(rows, 2)


def _colon(frame: Frame) -> list[np.ndarray]:
    path = [
        (88, -6, -208),
        (98, -10, -170),
        (104, -16, -130),
        (104, -12, -96),
        (90, 14, -78),
        (62, 46, -88),
        (20, 64, -96),
        (-26, 66, -88),
        (-66, 54, -58),
        (-92, 24, -28),
        (-106, -16, -18),
        (-108, -26, -60),
        (-106, -26, -110),
        (-102, -20, -160),
        (-88, -2, -204),
        (-58, 20, -226),
        (-24, 18, -214),
        (2, -6, -224),
        (-10, -24, -252),
    ]
    rows = []
    for n, (x, y, z) in enumerate(path):
        radius = np.interp(n, (0, 4, 9, 12, 18), (26, 22, 18, 15.5, 14)) * frame.rng.uniform(0.92, 1.08)
        rows.append(frame.row(x, y, z, radius))
    return rows
