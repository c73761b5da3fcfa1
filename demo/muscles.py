"""Table of the action units of the demo: the motion of the skin, its wrinkles and its shading.

The table describes one side of the face in *side coordinates*: (lateral, down), in units of the distance between the
eye centres; lateral grows from the middle of the face towards the ear. Positions are relative to landmarks of the
subject's right side; the left side uses the mirrored landmarks. Values are those of full intensity: 1.0, or 5 in
OpenFace.

Motion is a sum of elliptic bumps, each as large as the skin that its muscle pulls, never an interpolation of landmarks.
A bump acts on chosen *layers* of skin: `T` above the upper lid lines, `C` between the lid lines and the lip line, `B`
below the lip line, so that lids slide over the eyeball and lips part.

Source: directions from the FACS manual (Ekman, Friesen and Hager, 2002), sizes of the order of the displacement that
data-driven AU models give (0.03 to 0.15 eye distances at full intensity).
"""

from __future__ import annotations

from dataclasses import dataclass

LAYERS = "TCB"


@dataclass(frozen=True)
class Patch:
    """Ellipse on the skin with the weight (1 - r^2)^2 inside and zero outside."""

    anchor: tuple[int, ...]
    """Landmarks of the subject's right side; `offset` is relative to their mean."""
    offset: tuple[float, float]
    """Centre relative to the anchor, (lateral, down)."""
    half_axes: tuple[float, float]
    """Half-axes (along, across)."""
    angle: float
    """Direction of the first axis in degrees: 0 lateral, 90 down."""


@dataclass(frozen=True)
class Bump(Patch):
    """Patch of moving skin.

    With `span`, the first half-axis is in half-lengths of the span, and the angle is relative to its direction.
    """

    move: tuple[float, float]
    """Displacement at the centre, (lateral, down)."""
    layers: str = LAYERS
    span: tuple[int, int] | None = None
    """Two landmarks (the corners of an eye or of the mouth) at which the weight falls to zero."""


@dataclass(frozen=True)
class Shading(Patch):
    """Patch of skin that becomes darker (negative) or lighter."""

    gain: float
    """Relative change of brightness at the centre."""
    layers: str = LAYERS


@dataclass(frozen=True)
class Wrinkle:
    """Dark line along a path, with lighter sides."""

    anchor: tuple[int, ...]
    """Landmarks of the subject's right side; `path` is relative to their mean."""
    path: tuple[tuple[float, float], ...]
    """Points relative to the anchor, (lateral, down)."""
    width: float
    """Standard deviation of the dark line."""
    depth: float
    """Share of brightness lost at the line; negative for a light line."""


@dataclass(frozen=True)
class ActionUnit:
    """Motion and appearance of one action unit on one side."""

    bumps: tuple[Bump, ...]
    wrinkles: tuple[Wrinkle, ...] = ()
    shading: tuple[Shading, ...] = ()


_EYE, _MOUTH = (36, 39), (48, 54)
_CHIN_DIMPLES = ((0.03, 0.03), (0.10, -0.03), (0.17, 0.04), (0.06, 0.12), (0.14, 0.12))

MUSCLES: dict[int, ActionUnit] = {
    1: ActionUnit(  # frontalis, medial part
        (Bump((20, 21), (-0.02, -0.04), (0.43, 0.38), 90, (0.008, -0.11)),),
        (
            Wrinkle((21,), ((-0.34, -0.12), (-0.05, -0.15), (0.22, -0.13)), 0.022, 0.19),
            Wrinkle((21,), ((-0.32, -0.24), (-0.05, -0.27), (0.20, -0.25)), 0.025, 0.17),
            Wrinkle((21,), ((-0.30, -0.37), (-0.05, -0.40), (0.18, -0.38)), 0.025, 0.14),
        ),
        (Shading((20, 21), (0.0, 0.10), (0.22, 0.12), 0, 0.07, "T"),),
    ),
    2: ActionUnit(  # frontalis, lateral part
        (Bump((18, 19), (0.0, -0.02), (0.41, 0.40), 80, (0.015, -0.105)),),
        (
            Wrinkle((19,), ((-0.18, -0.12), (0.06, -0.13), (0.26, -0.03)), 0.022, 0.19),
            Wrinkle((19,), ((-0.16, -0.24), (0.06, -0.25), (0.26, -0.15)), 0.025, 0.17),
        ),
        (Shading((18, 19), (0.0, 0.12), (0.26, 0.12), 0, 0.09, "T"),),
    ),
    4: ActionUnit(  # corrugator and depressor supercilii, procerus
        (
            Bump((20, 21), (0.0, 0.0), (0.50, 0.33), -10, (-0.045, 0.075)),
            Bump((18, 19), (0.0, 0.02), (0.41, 0.25), 0, (-0.030, 0.030)),
            Bump((27,), (0.10, -0.22), (0.34, 0.22), 90, (-0.010, 0.030)),
        ),
        (
            Wrinkle((27,), ((0.11, -0.40), (0.09, -0.26), (0.11, -0.13)), 0.026, 0.21),
            Wrinkle((27,), ((0.04, -0.34), (0.03, -0.26), (0.04, -0.18)), 0.020, 0.14),
        ),
        (
            Shading((27,), (0.08, -0.26), (0.22, 0.20), 90, -0.10),
            Shading((19, 20), (0.0, 0.12), (0.32, 0.11), 0, -0.10, "T"),
        ),
    ),
    6: ActionUnit(  # orbicularis oculi, orbital part
        (
            Bump((40, 41), (0.04, 0.38), (0.55, 0.45), -20, (-0.005, -0.075)),
            Bump((36,), (0.20, 0.06), (0.31, 0.25), 90, (-0.050, 0.000)),
            Bump((40, 41), (0.0, 0.0), (1.0, 0.18), 0, (0.0, -0.025), "C", _EYE),
        ),
        (
            Wrinkle((36,), ((0.09, -0.05), (0.20, -0.12), (0.30, -0.16)), 0.022, 0.14),
            Wrinkle((36,), ((0.10, 0.01), (0.22, 0.01), (0.33, 0.02)), 0.022, 0.15),
            Wrinkle((36,), ((0.09, 0.07), (0.20, 0.13), (0.29, 0.20)), 0.022, 0.14),
            Wrinkle((40, 41), ((-0.20, 0.11), (0.02, 0.16), (0.24, 0.10)), 0.025, 0.15),
        ),
        (
            Shading((40, 41), (0.10, 0.36), (0.30, 0.18), -25, 0.07),
            Shading((40, 41), (0.02, 0.62), (0.36, 0.12), -30, -0.06),
        ),
    ),
    7: ActionUnit(  # orbicularis oculi, palpebral part
        (
            Bump((40, 41), (0.0, 0.02), (1.05, 0.22), 0, (-0.012, -0.070), "C", _EYE),
            Bump((37, 38), (0.0, -0.01), (1.0, 0.20), 0, (0.0, 0.032), "T", _EYE),
        ),
        (
            Wrinkle((40, 41), ((-0.18, 0.05), (0.0, 0.09), (0.20, 0.03)), 0.020, 0.19),
            Wrinkle((37, 38), ((-0.16, -0.07), (0.02, -0.11), (0.20, -0.05)), 0.020, 0.15),
        ),
        (Shading((40, 41), (0.0, 0.04), (0.24, 0.07), 0, 0.10, "C"),),
    ),
    9: ActionUnit(  # levator labii superioris alaeque nasi
        (
            Bump((31,), (0.02, -0.12), (0.48, 0.28), 80, (0.0, -0.075)),
            Bump((50,), (0.02, -0.02), (0.36, 0.28), 90, (0.004, -0.040), "C"),
            Bump((21,), (-0.04, 0.04), (0.31, 0.28), 0, (-0.022, 0.035)),
        ),
        (
            Wrinkle((28,), ((0.05, -0.12), (0.12, -0.06), (0.19, -0.04)), 0.022, 0.17),
            Wrinkle((28,), ((0.06, -0.03), (0.13, 0.03), (0.20, 0.06)), 0.022, 0.17),
            Wrinkle((28,), ((0.07, 0.06), (0.14, 0.12), (0.20, 0.17)), 0.022, 0.14),
            Wrinkle((27,), ((-0.06, -0.05), (0.0, -0.06), (0.08, -0.05)), 0.025, 0.09),
        ),
        (Shading((31,), (0.10, 0.02), (0.22, 0.09), 60, -0.14),),
    ),
    10: ActionUnit(  # levator labii superioris
        (
            Bump((50,), (0.06, 0.01), (0.41, 0.29), 90, (0.008, -0.085), "C"),
            Bump((31,), (0.16, -0.06), (0.43, 0.28), 70, (0.0, -0.050)),
        ),
        (Wrinkle((31,), ((0.08, -0.06), (0.17, 0.04), (0.26, 0.20)), 0.027, 0.22),),
        (
            Shading((31,), (0.22, -0.04), (0.24, 0.12), 50, 0.07),
            Shading((50,), (0.02, -0.10), (0.20, 0.08), 0, -0.10, "C"),
        ),
    ),
    12: ActionUnit(  # zygomaticus major
        (
            Bump((48,), (0.02, -0.02), (0.53, 0.40), -50, (0.070, -0.080)),
            Bump((48,), (0.26, -0.38), (0.43, 0.35), -50, (0.018, -0.032)),
        ),
        (
            Wrinkle((31,), ((0.09, -0.02), (0.24, 0.14), (0.34, 0.40)), 0.030, 0.17),
            Wrinkle((48,), ((0.06, -0.08), (0.09, 0.0), (0.07, 0.08)), 0.024, 0.09),
        ),
        (
            Shading((48,), (0.22, -0.42), (0.30, 0.18), -50, 0.06),
            Shading((31,), (0.26, 0.20), (0.34, 0.10), 60, -0.07),
        ),
    ),
    14: ActionUnit(  # buccinator
        (
            Bump((48,), (0.0, 0.0), (0.38, 0.25), 0, (0.060, -0.008)),
            Bump((48,), (0.26, 0.0), (0.24, 0.25), 0, (-0.022, 0.0)),
        ),
        (Wrinkle((48,), ((0.09, -0.11), (0.12, 0.0), (0.09, 0.12)), 0.030, 0.19),),
        (
            Shading((48,), (0.10, 0.0), (0.12, 0.16), 0, -0.09),
            Shading((48,), (0.24, -0.02), (0.12, 0.16), 0, 0.10),
        ),
    ),
    15: ActionUnit(  # depressor anguli oris
        (Bump((48,), (0.0, 0.05), (0.43, 0.35), 80, (0.014, 0.090)),),
        (Wrinkle((48,), ((0.03, 0.06), (0.08, 0.16), (0.07, 0.28)), 0.030, 0.17),),
        (
            Shading((48,), (0.0, 0.12), (0.20, 0.12), 90, -0.07),
            Shading((58,), (0.10, 0.10), (0.20, 0.10), 20, -0.09),
        ),
    ),
    17: ActionUnit(  # mentalis
        (
            Bump((57,), (0.16, 0.23), (0.40, 0.38), 0, (0.0, -0.070), "B"),
            Bump((66,), (0.15, 0.04), (0.70, 0.24), 0, (0.0, -0.028), "B", _MOUTH),
            Bump((62,), (0.15, -0.02), (0.70, 0.20), 0, (0.0, -0.022), "C", _MOUTH),
        ),
        (Wrinkle((57,), ((-0.10, 0.07), (0.0, 0.07), (0.16, 0.08), (0.26, 0.12)), 0.030, 0.17),),
        tuple(Shading((57,), (x, 0.24 + y), (0.065, 0.065), 0, -0.14, "B") for x, y in _CHIN_DIMPLES)
        + (Shading((57,), (0.10, 0.19), (0.24, 0.07), 0, 0.11, "B"),),
    ),
    25: ActionUnit(  # depressor labii inferioris, relaxed mentalis
        (
            Bump((66,), (0.15, 0.06), (0.70, 0.38), 0, (0.0, 0.080), "B", _MOUTH),
            Bump((62,), (0.15, -0.03), (0.70, 0.26), 0, (0.0, -0.026), "C", _MOUTH),
        ),
        (Wrinkle((57,), ((-0.10, 0.05), (0.0, 0.05), (0.18, 0.05)), 0.027, -0.11),),
        (
            Shading((57,), (0.06, -0.04), (0.24, 0.07), 0, 0.12, "B"),
            Shading((57,), (0.06, 0.10), (0.26, 0.08), 0, -0.14, "B"),
        ),
    ),
    45: ActionUnit(  # relaxed levator palpebrae superioris, orbicularis oculi
        (
            Bump((37, 38), (0.0, 0.0), (1.0, 0.27), 0, (0.0, 0.145), "T", _EYE),
            Bump((40, 41), (0.0, 0.0), (1.0, 0.18), 0, (-0.030, -0.012), "C", _EYE),
        ),
        (Wrinkle((37, 38), ((-0.18, -0.08), (0.02, -0.13), (0.22, -0.06)), 0.022, -0.20),),
        (Shading((37, 38), (0.0, -0.06), (0.25, 0.09), 0, 0.11, "T"),),
    ),
}
"""Action units of the demo by number. Of those of OpenFace, 5, 20, 23 and 26 are missing: a raised lid or a dropped jaw
uncovers regions that the photographs do not show, and stretched or tightened lips hardly differ from 14 and 17 here."""
