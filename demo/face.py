"""Rendering of a face with given intensities of its action units, and the motion and appearance of each of them.

Each layer of skin (`demo.layers`) has its own smooth motion, so that the motion is discontinuous at the lid lines and
the lip line only; eyeballs, mouth and glasses are fixed to the head. Coordinates: xy, image pixels, integer = pixel
centre.

Legend: T frames, H x W image, N x N texture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.geometry import FaceFrame, Key, SideView
from demo.layers import cut_layers
from demo.muscles import LAYERS, MUSCLES
from demo.subjects import FINENESS, Portrait
from faces.action_units import SIDES

TINT = np.array([0.85, 1.0, 1.05], np.float32)
"""Relative strength of wrinkles and shading in R, G, B: wrinkles are reddish."""
ABOVE_LIDS = [*range(17, 27), 36, 37, 38, 39, 42, 43, 44, 45]
"""Landmarks on layer `T`."""
BELOW_LIPS = [*range(4, 13), *range(55, 60), 65, 66, 67]
"""Landmarks on layer `B`; all others are on `C`."""
FRONT_TO_BACK = [LAYERS.index(name) for name in "TBC"]
"""Order of the layers of skin: the upper lid covers the lower lid, the lower lip covers the upper lip."""
SKIN_BLUR = 0.04
"""Standard deviation of the blur that gives the mean colour of the skin around a pixel, eye distances."""
INVERSION_STEPS = 5
"""Fixed-point steps that invert a motion, starting from the result of the previous frame."""


@dataclass(frozen=True)
class RenderedClip:
    """Frames of a clip with their ground truth."""

    frames: NDArray[np.float32]
    """(T, H, W, 3) RGB in [0, 1], without noise."""
    flow: NDArray[np.float32]
    """(T, H, W, 2) xy, pixels: position of a pixel's content in the face at rest, minus the pixel."""
    visible: NDArray[np.bool_]
    """(T, H, W): True if that content is visible in the face at rest."""
    landmarks: NDArray[np.float64]
    """(T, 68, 2) xy, pixels."""


@dataclass(frozen=True)
class ActionUnitFields:
    """Motion and change of colour by one action unit on one side at full intensity.

    Both are cropped to `box`, the h x w part of the texture in which they are not zero.
    """

    box: tuple[slice, slice]
    """Rows and columns."""
    motion: NDArray[np.float32]
    """(3, h, w, 2), layers `T`, `C`, `B`, xy, image pixels."""
    change: NDArray[np.float32]
    """(h, w, 3) RGB."""


class DemoFace:
    """Face of one subject, for frames of one size."""

    def __init__(self, portrait: Portrait) -> None:
        """Cut the portrait into layers; the fields of each action unit are computed when first needed.

        Args:
            portrait: the subject at rest.
        """
        self._portrait = portrait
        self._layers = cut_layers(portrait)
        self._fields: dict[Key, ActionUnitFields] = {}
        self.size = portrait.size
        self.grey = portrait.grey
        """True if red, green and blue are equal."""
        self.landmarks = portrait.anatomy.landmarks
        """(68, 2) float64, xy, pixels, at rest."""
        self.frame = FaceFrame.from_landmarks(self.landmarks)
        grid, points = self.frame.to_face(portrait.grid), self.frame.to_face(self.landmarks)
        self._views = {side: SideView(grid, points, side) for side in SIDES}
        blur = SKIN_BLUR * self.frame.eye_distance * FINENESS
        # wrinkles must not depend on pores and hairs
        self._mean_skin = cv2.GaussianBlur(self._layers.skin, (0, 0), blur)
        self._layer_of = np.full(68, LAYERS.index("C"))
        self._layer_of[ABOVE_LIDS] = LAYERS.index("T")
        self._layer_of[BELOW_LIPS] = LAYERS.index("B")
        axis = np.arange(self.size, dtype=np.float32)
        self._pixels: NDArray[np.float32] = np.stack(np.meshgrid(axis, axis), -1)
        self._visible_cover = self._sample(self._layers.cover.transpose(1, 2, 0), self._pixels)  # -> (H, W, 4)
        self._visible_cover[..., :3] *= 1 - self._sample(self._layers.front_cover, self._pixels)[..., None]
        self.image = self.render({}).frames[0]
        """(H, W, 3) float32 RGB in [0, 1], at rest."""

    def unit_displacement(self, au: int, side: str) -> NDArray[np.float32]:
        """Return the forward motion of the visible skin at full intensity.

        Args:
            au: a key of `MUSCLES`.
            side: 'left' or 'right' of the subject.
        Returns:
            (H, W, 2) xy, pixels, at the pixels of the face at rest; zero outside the skin.
        Raises:
            ValueError: unknown action unit or side.
        """
        return _sum(self._visible_cover[..., i, None] * u for i, u in enumerate(self.layer_displacement(au, side)))

    def unit_appearance(self, au: int, side: str) -> NDArray[np.float32]:
        """Return the change of colour of the skin at full intensity, without that caused by motion.

        Args:
            au: a key of `MUSCLES`.
            side: 'left' or 'right' of the subject.
        Returns:
            (H, W, 3) RGB, image range [0, 1], at the pixels of the face at rest.
        Raises:
            ValueError: unknown action unit or side.
        """
        change = self._combine([1.0], [self._unit_fields(au, side)])[1]
        return self._sample(change, self._pixels) * self._visible_cover[..., :3].sum(-1, keepdims=True)

    def layer_displacement(self, au: int, side: str) -> NDArray[np.float32]:
        """Return the motion of whole layers at full intensity, including hidden parts.

        Args:
            au: a key of `MUSCLES`.
            side: 'left' or 'right' of the subject.
        Returns:
            (3, H, W, 2), layers `T`, `C`, `B`, xy, pixels.
        Raises:
            ValueError: unknown action unit or side.
        """
        motion = self._combine([1.0], [self._unit_fields(au, side)])[0]
        return np.stack([self._sample(layer, self._pixels) for layer in motion])

    def amplitude(self, intensities: Mapping[Key, float]) -> float:
        """Return the largest displacement of visible skin in pixels, for intensities in [0, 1]."""
        total = _sum(value * self.unit_displacement(*key) for key, value in intensities.items())
        return float(np.linalg.norm(total, axis=-1).max())

    def render(
        self, curves: Mapping[Key, NDArray[np.float64]], head: NDArray[np.float64] | None = None
    ) -> RenderedClip:
        """Render a clip of this face.

        Args:
            curves: intensity of each action unit over time, (T,) in [0, 1].
            head: (T, 4) motion of the whole image: shift x, y in pixels, angle in radians, logarithm of the scale;
                None for a still head. Without curves and head the clip has one frame.
        Raises:
            ValueError: unknown action unit or side, or curves of different lengths.
        """
        counts = {len(c) for c in [*curves.values(), *([] if head is None else [head])]} or {1}
        if len(counts) > 1:
            raise ValueError(f"curves and head motion have different lengths: {sorted(counts)}")
        head = np.zeros((counts.pop(), 4)) if head is None else head
        values = np.array(list(curves.values()), np.float32).reshape(len(curves), len(head)).T  # -> (T, units)
        fields = [self._unit_fields(*key) for key in curves]
        back: NDArray[np.float32] = np.zeros((3, *self._pixels.shape), np.float32)
        steps = []
        for now, pose in zip(values, head, strict=True):
            at = self._invert_head_motion(pose)
            motion, change = self._combine(now, fields)
            back = np.stack([self._invert_motion(motion[i], at, back[i]) for i in range(3)])
            frame, origin, visible = self._compose_frame(self._layers.skin + change, at, at + back)
            steps.append((frame, origin - self._pixels, visible, self._move_landmarks(motion, pose)))
        frames, flow, visible, landmarks = (np.stack(part) for part in zip(*steps, strict=True))
        return RenderedClip(frames, flow, visible, landmarks)

    def _unit_fields(self, au: int, side: str) -> ActionUnitFields:
        """Return the fields of an action unit, computed once."""
        if au not in MUSCLES:
            raise ValueError(f"action unit {au}: the demo moves {sorted(MUSCLES)}")
        if side not in SIDES:
            raise ValueError(f"side {side!r}: expected one of {SIDES}")
        if (au, side) not in self._fields:
            view, layers, unit = self._views[side], self._layers, MUSCLES[au]
            motion = np.zeros((3, *layers.skin_mask.shape, 2), np.float32)
            for bump in unit.bumps:
                motion[[LAYERS.index(name) for name in bump.layers]] += view.displacement(bump)
            motion = (motion * (layers.motion_mask * self.frame.eye_distance)[..., None]) @ self.frame.axes
            shade = sum((view.wrinkle(wrinkle) for wrinkle in unit.wrinkles), np.zeros_like(layers.skin_mask))
            for patch in unit.shading:
                cover = layers.cover[[LAYERS.index(name) for name in patch.layers]].sum(0)
                shade = shade + cover * view.shading(patch)
            tint = np.ones(3) if self.grey else TINT
            change = (np.clip(shade, -0.75, 0.5) * layers.skin_mask)[..., None] * tint * self._mean_skin
            touched: NDArray[np.bool_] = motion.any((0, 3)) | change.any(2)
            rows, columns = (np.flatnonzero(touched.any(axis)) for axis in (1, 0))
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            cropped = (motion[:, *box].astype(np.float32), change[box].astype(np.float32))
            self._fields[au, side] = ActionUnitFields(box, *(np.ascontiguousarray(c) for c in cropped))
        return self._fields[au, side]

    def _combine(
        self, values: Iterable[float], fields: Iterable[ActionUnitFields]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sum action units at given intensities: motion (3, N, N, 2) and change of colour (N, N, 3)."""
        shape = self._layers.skin_mask.shape
        motion, change = np.zeros((3, *shape, 2), np.float32), np.zeros((*shape, 3), np.float32)
        for value, unit in zip(values, fields, strict=True):
            if value:
                motion[:, *unit.box] += value * unit.motion
                change[unit.box] += value * unit.change
        return motion, change

    def _sample(
        self, texture: NDArray[np.float32], at: NDArray[Any], interpolation: int = cv2.INTER_LINEAR
    ) -> NDArray[np.float32]:
        """Sample a texture (N, N[, C]) at image pixels (..., ..., 2)."""
        x, y = np.moveaxis(self._portrait.to_texture(at).astype(np.float32), -1, 0)
        sampled = cv2.remap(texture, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(sampled, np.float32)

    def _invert_motion(
        self, motion: NDArray[np.float32], at: NDArray[np.float32], start: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the displacement d with x = at + d and x + motion(x) = at: (H, W, 2)."""
        back = start
        for _ in range(INVERSION_STEPS):
            back = -self._sample(motion, at + back)
        return back

    def _compose_frame(
        self, skin: NDArray[np.float32], at: NDArray[np.float32], skin_at: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Compose a frame from its layers.

        Args:
            skin: (N, N, 3), with wrinkles and shading.
            at: (H, W, 2), position of each pixel before head motion.
            skin_at: (3, H, W, 2), position of each pixel on each layer of skin at rest.
        Returns:
            Frame (H, W, 3), position of its content in the face at rest (H, W, 2), and whether it is visible there
            (H, W).
        """
        shares = self._layer_shares(at, skin_at)
        colours = [self._sample(self._layers.front, at, cv2.INTER_CUBIC)]
        colours += [self._sample(skin, skin_at[i], cv2.INTER_CUBIC) for i in FRONT_TO_BACK]
        colours += [self._sample(self._layers.behind, at, cv2.INTER_CUBIC)]
        frame = np.clip(_sum(share[..., None] * colour for share, colour in zip(shares, colours, strict=True)), 0, 1)
        top = shares.argmax(0)
        origins = np.stack([at, *skin_at[FRONT_TO_BACK], at])
        origin = np.take_along_axis(origins, top[None, ..., None], 0)[0]
        return frame, origin, self._layer_shares(origin, np.stack([origin] * 3)).argmax(0) == top

    def _layer_shares(self, at: NDArray[np.float32], skin_at: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the share of each pixel that shows each layer, front to back: (5, H, W), sums to 1.

        Neighbouring layers lie side by side within a pixel: each takes its own cover, limited to the area that is left.
        """
        out = [self._sample(self._layers.front_cover, at)]
        free = left = 1 - out[0]
        for i in FRONT_TO_BACK:
            out.append(np.minimum(left, free * self._sample(self._layers.cover[i], skin_at[i])))
            left = left - out[-1]
        return np.stack([*out, left])

    def _invert_head_motion(self, head: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the position of each pixel before head motion, (H, W, 2)."""
        centre = (self.size - 1) / 2
        x, y, angle, scale = head
        c, s = np.cos(angle) * np.exp(-scale), np.sin(angle) * np.exp(-scale)
        return ((self._pixels - centre - (x, y)) @ np.array([[c, -s], [s, c]]) + centre).astype(np.float32)

    def _move_landmarks(self, motion: NDArray[np.float32], head: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move the landmarks (68, 2) with their layers, by `motion` (3, N, N, 2), and with the head."""
        moved = np.stack([self._sample(layer, self.landmarks[None])[0] for layer in motion])  # -> (3, 68, 2)
        points = self.landmarks + moved[self._layer_of, np.arange(68)]
        centre = (self.size - 1) / 2
        x, y, angle, scale = head
        c, s = np.cos(angle) * np.exp(scale), np.sin(angle) * np.exp(scale)
        return (points - centre) @ np.array([[c, s], [-s, c]]) + centre + (x, y)


def _sum(terms: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.asarray(sum(terms))
