"""Layers of a portrait, from which frames are composed.

Front to back: objects in front of the skin (glasses), skin above the lid lines (`T`), skin below the lip line (`B`),
the skin between (`C`), and the parts behind the skin (eyeballs, mouth). Arrays are on the texture grid of a portrait.

Legend: N x N texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.geometry import FaceFrame
from demo.subjects import FINENESS, Portrait

TAPER = 0.14
"""Width of the zone in which motion and shading fade towards the outline of the face, eye distances."""
SCALP = 0.15
"""Height of the strip of hair that moves with the forehead, eye distances."""
SUBPIXELS = 4
"""Label pixels per texture pixel, along each axis, with which the borders of the layers are drawn."""
BORDER = 1.5
"""Width of the zone beyond the border of glasses and eyeballs where pixels mix both sides, texture pixels."""
OPEN_MOUTH = 0.01
"""Area between the lips, squared eye distances, above which the photograph shows the inside of the mouth."""
TEETH_DEPTH = 0.08
"""Depth of the teeth below the edge of the lower lip in an open mouth, eye distances."""
MOUTH_COLOUR = np.array([0.36, 0.22, 0.22])
"""Colour of the dark inside of the mouth as a share of the colour of the skin."""

Mask = NDArray[np.float32]
"""(N, N) in [0, 1]."""
Texture = NDArray[np.float32]
"""(N, N, 3) RGB in [0, 1]."""
Labels = NDArray[np.uint8]
"""(4N, 4N) integer labels, `SUBPIXELS` per texture pixel and axis."""


@dataclass(frozen=True)
class Layers:
    """Colours of the layers and their coverage in the face at rest."""

    cover: NDArray[np.float32]
    """(4, N, N) in [0, 1], share of a pixel that belongs to `T`, `C`, `B` and the parts behind; sums to 1."""
    front_cover: Mask
    """Share of a pixel hidden by objects in front of the skin."""
    front: Texture
    skin: Texture
    """Skin without the objects in front of it."""
    behind: Texture
    """Eyeballs and mouth, continued under the skin."""
    skin_mask: Mask
    """1 inside the face, falling to 0 at jaw and hairline."""
    motion_mask: Mask
    """`skin_mask` extended by the strip of hair that moves with the forehead."""


def cut_layers(portrait: Portrait) -> Layers:
    """Cut a portrait along its lid lines, lip line, hairline and glasses.

    Args:
        portrait: the subject at rest.
    """
    marks, unit = portrait.anatomy, FaceFrame.from_landmarks(portrait.anatomy.landmarks).eye_distance * FINENESS
    right, left = marks.lids["right"], marks.lids["left"]
    far = 10.0 * portrait.size
    above = np.vstack(
        [(-far, right[0][0, 1]), right[0], left[0][::-1], (far, left[0][0, 1]), (far, -far), (-far, -far)]
    )
    below = np.vstack(
        [(-far, marks.lips[1][0, 1]), marks.lips[1], (far, marks.lips[1][-1, 1]), (far, far), (-far, far)]
    )
    holes = [np.vstack([upper, lower[::-1]]) for upper, lower in (right, left, marks.lips)]
    labels = _paint(portrait, [*((hole, 3, None) for hole in holes), (above, 0, None), (below, 2, None)], background=1)
    front = _paint(portrait, [(p, 1, w and w * unit) for p, w in marks.front])
    scalp = marks.hairline - (0, SCALP * unit / FINENESS)
    skin = _without_front(portrait.texture, front)
    return Layers(
        cover=np.stack([_shrink(labels == i) for i in range(4)]),
        front_cover=_shrink(front == 1),
        front=portrait.texture,
        skin=skin,
        behind=_behind(skin, [_paint(portrait, [(hole, 1, None)]) for hole in holes], unit, portrait.grey),
        skin_mask=_inside(portrait, np.vstack([marks.landmarks[:17], marks.hairline]), TAPER * unit),
        motion_mask=_inside(portrait, np.vstack([marks.landmarks[:17], scalp]), TAPER * unit),
    )


def _paint(
    portrait: Portrait, parts: Sequence[tuple[NDArray[np.float64], int, float | None]], background: int = 0
) -> Labels:
    """Draw parts in order: (points, label, width in texture pixels); polygons of width None are filled."""
    side = SUBPIXELS * portrait.grid.shape[0]
    out = np.full((side, side), background, np.uint8)
    for points, label, width in parts:
        fine = np.round(((portrait.to_texture(points) + 0.5) * SUBPIXELS - 0.5) * 16).astype(np.int32)
        if width is None:
            cv2.fillPoly(out, [fine], label, cv2.LINE_8, 4)
        else:
            cv2.polylines(out, [fine], False, label, max(1, round(width * SUBPIXELS)), cv2.LINE_8, 4)
    return out


def _shrink(inside: NDArray[np.bool_]) -> Mask:
    """Return the share of each texture pixel inside a (4N, 4N) mask, blurred like the texture."""
    side = inside.shape[0] // SUBPIXELS
    share = cv2.resize(inside.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), 0.4 * FINENESS), np.float32)


def _inside(portrait: Portrait, outline: NDArray[np.float64], taper: float) -> Mask:
    """Return 1 inside an outline, falling to 0 at its border over `taper` texture pixels."""
    depth = cv2.distanceTransform(_paint(portrait, [(outline, 1, None)]), cv2.DIST_L2, 5)
    return _smoothstep(depth[SUBPIXELS // 2 :: SUBPIXELS, SUBPIXELS // 2 :: SUBPIXELS] / (SUBPIXELS * taper))


def _dilate(labels: Labels, distance: float) -> NDArray[np.bool_]:
    """Return the texture pixels (N, N) within a distance, in texture pixels, of labels other than 0."""
    return (
        cv2.distanceTransform(1 - labels, cv2.DIST_L2, 5)[SUBPIXELS // 2 :: SUBPIXELS, SUBPIXELS // 2 :: SUBPIXELS]
        <= distance * SUBPIXELS
    )


def _without_front(texture: Texture, front: Labels) -> Texture:
    """Inpaint the skin under the glasses from their surroundings (Telea, 2004)."""
    hidden = _dilate(front, BORDER).astype(np.uint8) if front.any() else np.zeros(texture.shape[:2], np.uint8)
    painted = cv2.inpaint(np.round(texture * 255).astype(np.uint8), hidden, 4 * FINENESS, cv2.INPAINT_TELEA)
    return np.where(hidden[..., None] > 0, painted.astype(np.float32) / 255, texture)


def _behind(skin: Texture, holes: Sequence[Labels], unit: float, grey: bool) -> Texture:
    """Return eyeballs and mouth: as in the photograph, continued under the skin, and dark below the teeth.

    Args:
        holes: labels of both eyes and of the mouth, where the photograph shows them.
        unit: eye distance, texture pixels.
    """
    out = skin.copy()
    for hole, is_mouth in zip(holes, (False, False, True), strict=True):
        shown, near = _dilate(hole, BORDER), _dilate(hole, 0.35 * unit)
        weight = shown.astype(np.float32)
        spread = np.asarray(cv2.GaussianBlur(skin * weight[..., None], (0, 0), 0.05 * unit), np.float32)
        spread /= np.asarray(cv2.GaussianBlur(weight, (0, 0), 0.05 * unit), np.float32)[..., None] + 1e-6
        if is_mouth:
            colour = (np.full(3, MOUTH_COLOUR.mean()) if grey else MOUTH_COLOUR) * np.median(
                skin[near & ~shown], axis=0
            )
            dark = _smoothstep(_below(hole) / (TEETH_DEPTH * unit))[..., None]
            if hole.sum() < OPEN_MOUTH * (unit * SUBPIXELS) ** 2:  # closed lips show nothing to continue
                shown, dark = np.zeros_like(shown), np.ones_like(dark)
            spread = spread + (colour - spread) * dark
        out[near & ~shown] = spread[near & ~shown]
    return out


def _below(hole: Labels) -> NDArray[np.float64]:
    """Return the distance of each texture pixel (N, N) below the lower edge of a hole, negative above it."""
    size = hole.shape[0] // SUBPIXELS
    columns = np.flatnonzero(hole.any(0))
    last = hole.shape[0] - 1 - hole[::-1, columns].argmax(0)
    edge = np.interp((np.arange(size) + 0.5) * SUBPIXELS - 0.5, columns, last) / SUBPIXELS
    return np.arange(size)[:, None] - edge


def _smoothstep(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return a step with continuous second derivative from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0.0, 1.0)
    return (x**3 * (10 - 15 * x + 6 * x**2)).astype(np.float32)
