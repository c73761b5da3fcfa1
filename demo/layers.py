"""A portrait cut into the layers a frame is put together from.

Front to back: things in front of the skin (glasses), skin above the lid lines (`T`), skin below the lip line (`B`), the
skin between (`C`), and what lies behind the skin (eyeballs, mouth). Arrays are on the texture grid of `demo_subjects`,
N x N.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from demo.geometry import FaceFrame
from demo.subjects import FINENESS, Portrait

TAPER = 0.14
"""Eye distances over which motion and shading fade towards the outline of the face."""
SCALP = 0.15
"""Height of the strip of hair that moves with the forehead, eye distances."""
FINER = 4
"""Label pixels per texture pixel when the borders of the layers are drawn."""
EDGE = 1.5
"""Texture pixels by which glasses and eyeballs keep the photograph beyond their border, whose pixels are mixed."""
OPEN_MOUTH = 0.01
"""Area between the lips, squared eye distances, above which the photograph shows the inside of the mouth."""
GUM = 0.08
"""Depth to which the teeth reach below the edge of the lower lip in an open mouth, eye distances."""
CAVITY = np.array([0.36, 0.22, 0.22])
"""Colour of the dark inside of the mouth as a share of the skin's."""


@dataclass(frozen=True)
class Layers:
    """Pictures of the layers and where each is seen in the face at rest."""

    cover: np.ndarray
    """(4, N, N) float32 in [0, 1], share of a pixel that belongs to `T`, `C`, `B` and what lies behind; sums to 1."""
    front_cover: np.ndarray
    """(N, N) float32 in [0, 1], share of each pixel hidden by what is in front of the skin."""
    front: np.ndarray
    """(N, N, 3) float32 RGB in [0, 1]."""
    skin: np.ndarray
    """(N, N, 3), without what is in front of it."""
    behind: np.ndarray
    """(N, N, 3), eyeballs and mouth, continued under the skin."""
    skin_mask: np.ndarray
    """(N, N) float32 in [0, 1]: 1 inside the face, falling to 0 at jaw and hairline."""
    motion_mask: np.ndarray
    """The same with the strip of hair that the brow raisers pull along."""


def cut_layers(portrait: Portrait) -> Layers:
    """Cut a portrait along its lid lines, lip line, hairline and glasses.

    Args:
        portrait: the subject at rest.
    """
    marks, unit = portrait.anatomy, FaceFrame.of(portrait.anatomy.landmarks).unit * FINENESS
    right, left = marks.lids["right"], marks.lids["left"]
    far = 10.0 * portrait.size
    above = np.vstack(
        [(-far, right[0][0, 1]), right[0], left[0][::-1], (far, left[0][0, 1]), (far, -far), (-far, -far)]
    )
    below = np.vstack(
        [(-far, marks.lips[1][0, 1]), marks.lips[1], (far, marks.lips[1][-1, 1]), (far, far), (-far, far)]
    )
    holes = [np.vstack([upper, lower[::-1]]) for upper, lower in (right, left, marks.lips)]
    labels = _paint(portrait, [(hole, 3, None) for hole in holes] + [(above, 0, None), (below, 2, None)], background=1)
    front = _paint(portrait, [(p, 1, w and w * unit) for p, w in marks.front])
    scalp = marks.hairline - (0, SCALP * unit / FINENESS)
    skin = _without_front(portrait.picture, front)
    return Layers(
        cover=np.stack([_shrink(labels == i) for i in range(4)]),
        front_cover=_shrink(front == 1),
        front=portrait.picture,
        skin=skin,
        behind=_behind(skin, [_paint(portrait, [(hole, 1, None)]) for hole in holes], unit, portrait.grey),
        skin_mask=_inside(portrait, np.vstack([marks.landmarks[:17], marks.hairline]), TAPER * unit),
        motion_mask=_inside(portrait, np.vstack([marks.landmarks[:17], scalp]), TAPER * unit),
    )


def _paint(portrait: Portrait, parts: list, background: int = 0) -> np.ndarray:
    """Draw filled polygons, or lines of a given width in texture pixels, later over earlier: (4N, 4N) uint8 labels."""
    side = FINER * portrait.grid.shape[0]
    out = np.full((side, side), background, np.uint8)
    for points, label, width in parts:
        fine = np.round(((portrait.to_texture(points) + 0.5) * FINER - 0.5) * 16).astype(np.int32)
        if width is None:
            cv2.fillPoly(out, [fine], label, cv2.LINE_8, 4)
        else:
            cv2.polylines(out, [fine], False, label, max(1, round(width * FINER)), cv2.LINE_8, 4)
    return out


def _shrink(inside: np.ndarray) -> np.ndarray:
    """(4N, 4N) bool to the soft share (N, N) of each texture pixel, as sharp as the picture itself."""
    side = inside.shape[0] // FINER
    share = cv2.resize(inside.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(share, (0, 0), 0.4 * FINENESS)


def _inside(portrait: Portrait, outline: np.ndarray, taper: float) -> np.ndarray:
    """(N, N) float32 in [0, 1]: 1 inside an outline, falling to 0 at its border over `taper` texture pixels."""
    depth = cv2.distanceTransform(_paint(portrait, [(outline, 1, None)]), cv2.DIST_L2, 5)
    return _smoothstep(depth[FINER // 2 :: FINER, FINER // 2 :: FINER] / (FINER * taper))


def _grown(labels: np.ndarray, by: float) -> np.ndarray:
    """(4N, 4N) labels to (N, N) bool: texture pixels at most `by` texture pixels from the labelled ones."""
    return cv2.distanceTransform(1 - labels, cv2.DIST_L2, 5)[FINER // 2 :: FINER, FINER // 2 :: FINER] <= by * FINER


def _without_front(picture: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Skin continued under the glasses from their surroundings (Telea, 2004)."""
    hidden = _grown(front, EDGE).astype(np.uint8) if front.any() else np.zeros(picture.shape[:2], np.uint8)
    painted = cv2.inpaint(np.round(picture * 255).astype(np.uint8), hidden, 4 * FINENESS, cv2.INPAINT_TELEA)
    return np.where(hidden[..., None] > 0, painted.astype(np.float32) / 255, picture)


def _behind(skin: np.ndarray, holes: list[np.ndarray], unit: float, grey: bool) -> np.ndarray:
    """Eyeballs and mouth: the photograph where it shows them, their colours continued beyond; dark below the teeth."""
    out = skin.copy()
    for hole, is_mouth in zip(holes, (False, False, True), strict=True):
        shown, near = _grown(hole, EDGE), _grown(hole, 0.35 * unit)
        weight = shown.astype(np.float32)
        spread = cv2.GaussianBlur(skin * weight[..., None], (0, 0), 0.05 * unit)
        spread /= cv2.GaussianBlur(weight, (0, 0), 0.05 * unit)[..., None] + 1e-6
        if is_mouth:
            cavity = (np.full(3, CAVITY.mean()) if grey else CAVITY) * np.median(skin[near & ~shown], axis=0)
            dark = _smoothstep(_below(hole) / (GUM * unit))[..., None]
            if hole.sum() < OPEN_MOUTH * (unit * FINER) ** 2:  # closed lips show nothing to continue
                shown, dark = np.zeros_like(shown), 1.0
            spread = spread + (cavity - spread) * dark
        out[near & ~shown] = spread[near & ~shown]
    return out


def _below(hole: np.ndarray) -> np.ndarray:
    """(N, N) texture pixels by which each pixel lies below the lower edge of a hole, negative above it."""
    size = hole.shape[0] // FINER
    columns = np.flatnonzero(hole.any(0))
    last = hole.shape[0] - 1 - hole[::-1, columns].argmax(0)
    edge = np.interp((np.arange(size) + 0.5) * FINER - 0.5, columns, last) / FINER
    return np.arange(size)[:, None] - edge


def _smoothstep(x: np.ndarray) -> np.ndarray:
    """Step with continuous second derivative from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0.0, 1.0)
    return (x**3 * (10 - 15 * x + 6 * x**2)).astype(np.float32)
