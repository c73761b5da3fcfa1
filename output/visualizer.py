"""Images of intermediate results: keypoints, warped sources, occlusion and contribution maps.

Legend: B batch, K keypoints, C channels, H x W image, h x w map.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from config.sections import VisualizerParams

MAX_ROWS = 4  # at most this many pairs of a batch


class Visualizer:
    """Draws a grid with one row per training pair.

    Args:
        params: the section `visualizer_params`.
    """

    def __init__(self, params: VisualizerParams):
        self.params = params
        self.colormap = matplotlib.colormaps[params.colormap]

    def grid(self, source: Tensor, driving: Tensor, generated: Mapping[str, Any]) -> NDArray[np.uint8]:
        """Draw source and driving with keypoints, then the warped source, the prediction, the occlusion maps and the
        contribution maps, as far as the model family has them.

        Args:
            source, driving: (B, 3, H, W) in [0, 1].
            generated: output of `MotionModel.losses`.
        Returns:
            uint8 (rows, columns, 3).
        """
        rows = min(MAX_ROWS, len(source))
        size = tuple(source.shape[-2:])
        columns = [
            self._with_keypoints(source[:rows], generated.get("kp_source")),
            self._with_keypoints(driving[:rows], generated.get("kp_driving")),
        ]
        for name in ("deformed", "prediction"):
            if name in generated:
                columns.append(_to_uint8(generated[name][:rows], size))
        for name in ("occlusion_map", "contribution_maps"):
            maps = generated.get(name)
            for level in maps if isinstance(maps, list) else [] if maps is None else maps.split(1, dim=1):
                columns.append(_to_uint8(level[:rows], size))
        table = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
        if self.params.draw_border:
            table[:: size[0]] = 255
            table[:, :: size[1]] = 255
        return table

    def _with_keypoints(self, images: Tensor, kp: Tensor | None) -> NDArray[np.uint8]:
        frames = _to_uint8(images, tuple(images.shape[-2:]))
        if kp is None:
            return frames
        points = kp[: len(images)].detach().float().cpu().numpy()
        return np.stack([self.draw_keypoints(p, k) for p, k in zip(frames, points, strict=True)])

    def draw_keypoints(self, frame: NDArray[np.uint8], kp: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Draw keypoints (K, 2), xy in [-1, 1], on a copy of a frame, uint8 (H, W, 3)."""
        drawn = np.array(frame, order="C")
        pixels = (kp + 1) / 2 * (np.array(frame.shape[1::-1]) - 1)
        for i, (x, y) in enumerate(pixels):
            colour = (np.array(self.colormap(i / max(1, len(pixels) - 1))[:3]) * 255).tolist()
            cv2.circle(drawn, (round(float(x)), round(float(y))), self.params.kp_size, colour, -1, cv2.LINE_AA)
        return drawn


def _to_uint8(images: Tensor, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Convert images and resize them: (B, 1 or 3, h, w) in [0, 1] -> uint8 (B, H, W, 3)."""
    with torch.no_grad():
        resized = F.interpolate(images.detach().float(), size=size, mode="nearest").expand(-1, 3, -1, -1)
        return (resized.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy().copy()
