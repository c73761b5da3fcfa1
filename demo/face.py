"""A face whose action units can be turned up one by one: unit motion, unit appearance, and rendering.

Each layer of skin (`demo_layers`) carries its own smooth motion, so the motion jumps at the lid lines and at the lip
line and nowhere else; eyeballs, mouth and glasses are fixed to the head. Coordinates: xy, image pixels, integer = pixel
centre. Legend: T frames, H x W image, N x N texture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from demo.geometry import SIDES, FaceFrame, Key, SideView
from demo.layers import cut_layers
from demo.muscles import LAYERS, MUSCLES
from demo.subjects import FINENESS, Portrait

TINT = np.array([0.85, 1.0, 1.05], np.float32)
"""Relative strength of shading in R, G, B: folds of skin are reddish."""
ABOVE_LIDS = [*range(17, 27), 36, 37, 38, 39, 42, 43, 44, 45]
"""Landmarks on layer `T`."""
BELOW_LIPS = [*range(4, 13), *range(55, 60), 65, 66, 67]
"""Landmarks on layer `B`; all others lie on `C`."""
FRONT_TO_BACK = [LAYERS.index(name) for name in "TBC"]
"""Order in which the layers of skin hide each other: lids close over the lower lid, the lower lip over the upper."""
EVEN = 0.04
"""Standard deviation, eye distances, of the blur that gives the colour of the skin round a pixel."""
STEPS = 5
"""Fixed-point steps that invert a motion, starting from the frame before; each shrinks the error by its slope."""


@dataclass(frozen=True)
class Rendered:
    """A clip with its ground truth."""

    frames: np.ndarray
    """(T, H, W, 3) float32 RGB in [0, 1], without noise."""
    flow: np.ndarray
    """(T, H, W, 2) float32, xy, pixels: where what a pixel shows lies in the face at rest, minus the pixel."""
    visible: np.ndarray
    """(T, H, W) bool: whether it is in sight there."""
    landmarks: np.ndarray
    """(T, 68, 2) float64, xy, pixels."""


@dataclass(frozen=True)
class Unit:
    """Fields of one action unit on one side at full intensity, cut to the part of the texture that they change."""

    box: tuple[slice, slice]
    motion: np.ndarray
    """(3, h, w, 2) float32, layers `T`, `C`, `B`, xy, image pixels."""
    change: np.ndarray
    """(h, w, 3) float32, RGB."""


class DemoFace:
    """One subject at one frame size."""

    def __init__(self, portrait: Portrait) -> None:
        """Prepare the layers; the fields of an action unit are made when they are first asked for.

        Args:
            portrait: the subject at rest.
        """
        self._portrait = portrait
        self._layers = cut_layers(portrait)
        self._units: dict[Key, Unit] = {}
        self.size = portrait.size
        self.grey = portrait.grey
        """Whether red, green and blue are equal."""
        self.landmarks = portrait.anatomy.landmarks
        """(68, 2) float64, xy, pixels, at rest."""
        self.frame = FaceFrame.of(self.landmarks)
        grid, points = self.frame.to_face(portrait.grid), self.frame.to_face(self.landmarks)
        self._views = {side: SideView(grid, points, side) for side in SIDES}
        blur = EVEN * self.frame.unit * FINENESS
        self._even_skin = cv2.GaussianBlur(self._layers.skin, (0, 0), blur)  # folds do not deepen with pores and hairs
        self._layer_of = np.full(68, LAYERS.index("C"))
        self._layer_of[ABOVE_LIDS] = LAYERS.index("T")
        self._layer_of[BELOW_LIPS] = LAYERS.index("B")
        axis = np.arange(self.size, dtype=np.float32)
        self._pixels = np.stack(np.meshgrid(axis, axis), -1)
        self._seen = self._sample(self._layers.cover.transpose(1, 2, 0), self._pixels)  # (H, W, 4)
        self._seen[..., :3] *= 1 - self._sample(self._layers.front_cover, self._pixels)[..., None]
        self.image = self.render({}).frames[0]
        """(H, W, 3) float32 RGB in [0, 1], at rest."""

    def unit_displacement(self, au: int, side: str) -> np.ndarray:
        """Forward motion of the skin in sight at full intensity.

        Args:
            au: a key of `MUSCLES`.
            side: 'left' or 'right', the subject's own.
        Returns:
            (H, W, 2) float32, xy, pixels, at the pixels of the face at rest; zero outside the skin.
        Raises:
            ValueError: unknown action unit or side.
        """
        return sum(self._seen[..., i, None] * u for i, u in enumerate(self.layer_displacement(au, side)))

    def unit_appearance(self, au: int, side: str) -> np.ndarray:
        """Change of the skin's colour at full intensity, apart from motion and from what motion uncovers.

        Args:
            au: a key of `MUSCLES`.
            side: 'left' or 'right', the subject's own.
        Returns:
            (H, W, 3) float32, RGB, image range [0, 1], at the pixels of the face at rest.
        Raises:
            ValueError: unknown action unit or side.
        """
        change = self._mix([1.0], [self._unit(au, side)])[1]
        return self._sample(change, self._pixels) * self._seen[..., :3].sum(-1, keepdims=True)

    def layer_displacement(self, au: int, side: str) -> np.ndarray:
        """Motion of whole layers at full intensity, also where they are not in sight.

        Args:
            au: a key of `MUSCLES`.
            side: 'left' or 'right', the subject's own.
        Returns:
            (3, H, W, 2) float32, layers `T`, `C`, `B`, xy, pixels.
        Raises:
            ValueError: unknown action unit or side.
        """
        motion = self._mix([1.0], [self._unit(au, side)])[0]
        return np.stack([self._sample(layer, self._pixels) for layer in motion])

    def amplitude(self, intensities: Mapping[Key, float]) -> float:
        """Length in pixels of the longest displacement of skin in sight for intensities in [0, 1]."""
        total = sum(value * self.unit_displacement(*key) for key, value in intensities.items())
        return float(np.linalg.norm(total, axis=-1).max())

    def render(self, curves: Mapping[Key, np.ndarray], head: np.ndarray | None = None) -> Rendered:
        """Make a clip of this face.

        Args:
            curves: intensity of each action unit over time, (T,) in [0, 1].
            head: (T, 4) motion of the whole picture: shift x, y in pixels, angle in radians, logarithm of the scale;
                None for a still head. Without curves and head the clip has one frame.
        Raises:
            ValueError: unknown action unit or side, or different lengths.
        """
        counts = {len(c) for c in [*curves.values(), *([] if head is None else [head])]} or {1}
        if len(counts) > 1:
            raise ValueError(f"curves and head motion have different lengths: {sorted(counts)}")
        head = np.zeros((counts.pop(), 4)) if head is None else head
        values = np.array(list(curves.values()), np.float32).reshape(len(curves), len(head)).T  # -> (T, A)
        units = [self._unit(*key) for key in curves]
        back = np.zeros((3, *self._pixels.shape), np.float32)
        steps = []
        for now, pose in zip(values, head, strict=True):
            at = self._undo_head(pose)
            motion, change = self._mix(now, units)
            back = np.stack([self._invert(motion[i], at, back[i]) for i in range(3)])
            frame, place, seen = self._compose(self._layers.skin + change, at, at + back)
            steps.append((frame, place - self._pixels, seen, self._move_landmarks(motion, pose)))
        return Rendered(*(np.stack(part) for part in zip(*steps, strict=True)))

    def _unit(self, au: int, side: str) -> Unit:
        """Fields of an action unit, made when first asked for."""
        if au not in MUSCLES:
            raise ValueError(f"action unit {au}: the demo moves {sorted(MUSCLES)}")
        if side not in SIDES:
            raise ValueError(f"side {side!r}: expected one of {SIDES}")
        if (au, side) not in self._units:
            view, layers, unit = self._views[side], self._layers, MUSCLES[au]
            motion = np.zeros((3, *layers.skin_mask.shape, 2), np.float32)
            for bump in unit.bumps:
                motion[[LAYERS.index(name) for name in bump.layers]] += view.displacement(bump)
            motion = (motion * (layers.motion_mask * self.frame.unit)[..., None]) @ self.frame.axes
            shade = sum((view.fold(fold) for fold in unit.folds), np.zeros_like(layers.skin_mask))
            for patch in unit.shades:
                there = layers.cover[[LAYERS.index(name) for name in patch.layers]].sum(0)
                shade = shade + there * view.shade(patch)
            tint = np.ones(3) if self.grey else TINT
            change = (np.clip(shade, -0.75, 0.5) * layers.skin_mask)[..., None] * tint * self._even_skin
            rows, columns = (np.flatnonzero(motion.any((0, 3)).any(i) | change.any(2).any(i)) for i in (1, 0))
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            cut = (motion[:, *box].astype(np.float32), change[box].astype(np.float32))
            self._units[au, side] = Unit(box, *(np.ascontiguousarray(c) for c in cut))
        return self._units[au, side]

    def _mix(self, values: Iterable[float], units: Iterable[Unit]) -> tuple[np.ndarray, np.ndarray]:
        """Motion (3, N, N, 2) and change of colour (N, N, 3) of several action units at the given intensities."""
        shape = self._layers.skin_mask.shape
        motion, change = np.zeros((3, *shape, 2), np.float32), np.zeros((*shape, 3), np.float32)
        for value, unit in zip(values, units, strict=True):
            if value:
                motion[:, *unit.box] += value * unit.motion
                change[unit.box] += value * unit.change
        return motion, change

    def _sample(self, texture: np.ndarray, at: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
        """(N, N[, C]) texture at (..., ..., 2) image pixels."""
        where = self._portrait.to_texture(at).astype(np.float32)
        return cv2.remap(texture, where[..., 0], where[..., 1], how, borderMode=cv2.BORDER_REPLICATE)

    def _invert(self, motion: np.ndarray, at: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Displacement d with x = at + d and x + motion(x) = at: (H, W, 2)."""
        back = start
        for _ in range(STEPS):
            back = -self._sample(motion, at + back)
        return back

    def _compose(self, picture: np.ndarray, at: np.ndarray, skin_at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Put the layers together: frame (H, W, 3), place in the face at rest (H, W, 2), in sight there (H, W)."""
        shares = self._shares(at, skin_at)
        colours = [self._sample(self._layers.front, at, cv2.INTER_CUBIC)]
        colours += [self._sample(picture, skin_at[i], cv2.INTER_CUBIC) for i in FRONT_TO_BACK]
        colours += [self._sample(self._layers.behind, at, cv2.INTER_CUBIC)]
        frame = np.clip(sum(share[..., None] * colour for share, colour in zip(shares, colours, strict=True)), 0, 1)
        top = shares.argmax(0)
        places = np.stack([at, *skin_at[FRONT_TO_BACK], at])
        place = np.take_along_axis(places, top[None, ..., None], 0)[0]
        return frame, place, self._shares(place, np.stack([place] * 3)).argmax(0) == top

    def _shares(self, at: np.ndarray, skin_at: np.ndarray) -> np.ndarray:
        """Share of each pixel that shows each layer, front to back: (5, H, W), sums to 1.

        Layers that meet lie side by side in a pixel, so each gets what those before it leave, not a share of that.
        """
        out = [self._sample(self._layers.front_cover, at)]
        free = left = 1 - out[0]
        for i in FRONT_TO_BACK:
            out.append(np.minimum(left, free * self._sample(self._layers.cover[i], skin_at[i])))
            left = left - out[-1]
        return np.stack([*out, left])

    def _undo_head(self, head: np.ndarray) -> np.ndarray:
        """(H, W, 2) float32: where each pixel lies before the head moves."""
        centre = (self.size - 1) / 2
        x, y, angle, scale = head
        c, s = np.cos(angle) * np.exp(-scale), np.sin(angle) * np.exp(-scale)
        return ((self._pixels - centre - (x, y)) @ np.array([[c, -s], [s, c]]) + centre).astype(np.float32)

    def _move_landmarks(self, motion: np.ndarray, head: np.ndarray) -> np.ndarray:
        """(68, 2) landmarks after the motion (3, N, N, 2) of their layers and of the head."""
        moved = np.stack([self._sample(layer, self.landmarks[None])[0] for layer in motion])  # (3, 68, 2)
        points = self.landmarks + moved[self._layer_of, np.arange(68)]
        centre = (self.size - 1) / 2
        x, y, angle, scale = head
        c, s = np.cos(angle) * np.exp(scale), np.sin(angle) * np.exp(scale)
        return (points - centre) @ np.array([[c, s], [-s, c]]) + centre + (x, y)
