"""Transfers the dense motion of a driving clip to a source face, pixel by pixel.

Landmarks do not describe cheeks, forehead and chin; optical flow does. Motion of one to three pixels is transferred by
a smooth map between the two onset shapes, which gives the position, and a similarity, which gives scale and rotation.

Legend: H x W source image, h x w driving frames, N = 68 landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from faces.alignment import LEFT_EYE, RIGHT_EYE, Similarity, fit_similarity
from faces.flow import optical_flow

EYE_DISTANCE = 90.0  # of the driving face after scaling for the flow, pixels
BLUR = 2.0  # Gaussian blur before the flow, standard deviation, pixels of the scaled face
SMOOTHING = 0.033  # Gaussian blur of the flow, standard deviation, eye distances
SHARPNESS = 1.5  # of the Gaussian basis functions of the map between the shapes, 1 / eye distance
MAP_SMOOTHING = 0.01  # of that map, because landmarks of two people never correspond exactly


class DenseTransfer:
    """Transfers the motion of a driving clip since its reference frame to the pixels of a source image.

    Args:
        frame: the reference frame, h x w x 3 RGB, uint8.
        driving_landmarks: (68, 2), xy, pixels of that frame.
        source_landmarks: (68, 2), xy, pixels of the source image.
        size: H, W of the source image.
        driving_aspect, source_aspect: (2,), width and height of a pixel in the original aspect ratio, for frames that
            were resized to another one.
    """

    def __init__(
        self,
        frame: NDArray[np.uint8],
        driving_landmarks: NDArray[np.floating],
        source_landmarks: NDArray[np.floating],
        size: tuple[int, int],
        *,
        driving_aspect: NDArray[np.float64] | float = 1.0,
        source_aspect: NDArray[np.float64] | float = 1.0,
    ):
        self.driving_aspect, self.source_aspect = np.asarray(driving_aspect), np.asarray(source_aspect)
        driving, source = driving_landmarks * self.driving_aspect, source_landmarks * self.source_aspect
        self.similarity = fit_similarity(driving, source)
        y, x = np.mgrid[: size[0], : size[1]]
        grid = np.stack([x, y], axis=-1).reshape(-1, 2) * self.source_aspect
        eyes = np.linalg.norm(source[RIGHT_EYE].mean(axis=0) - source[LEFT_EYE].mean(axis=0))
        back = self.similarity.inverse()
        # Gaussians vanish beyond the face, where only the similarity acts.
        residual = RBFInterpolator(
            source / eyes,
            driving - back.apply(source),
            kernel="gaussian",
            epsilon=SHARPNESS,
            smoothing=MAP_SMOOTHING,
            degree=-1,
        )
        self.positions = back.apply(grid) + residual(grid / eyes)  # -> (H * W, 2), driving pixels
        self.size = size
        apart = driving_landmarks[RIGHT_EYE].mean(axis=0) - driving_landmarks[LEFT_EYE].mean(axis=0)
        self.scale = EYE_DISTANCE / np.linalg.norm(apart)
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.reference = self._preprocess(frame)

    def follow(self, frame: NDArray[np.uint8], head: Similarity | None = None) -> NDArray[np.float32]:
        """Displacement of every pixel of the source image that corresponds to the motion of the driving face.

        Args:
            frame: a frame of the driving clip.
            head: motion of the head since the reference frame, which is removed; None keeps it.
        Returns:
            (H, W, 2) float32, xy, pixels of the source image.
        """
        flow = optical_flow(self.dis, self.reference, self._preprocess(frame))
        smoothed = cv2.GaussianBlur(flow, (0, 0), SMOOTHING * EYE_DISTANCE) / self.scale
        moved = cv2.resize(smoothed, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_AREA)
        at = (self.positions / self.driving_aspect).astype(np.float32).reshape(*self.size, 2)
        motion = cv2.remap(moved, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        motion = motion.reshape(-1, 2) * self.driving_aspect
        if head is not None:
            motion = head.inverse().apply(self.positions + motion) - self.positions
        displacement = self.similarity.turn(motion) / self.source_aspect
        return displacement.reshape(*self.size, 2).astype(np.float32)

    def _preprocess(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert a frame to grey, scale it and blur fine noise."""
        grey = cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2GRAY)
        kind = cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA
        scaled = cv2.resize(grey, None, fx=float(self.scale), fy=float(self.scale), interpolation=kind)
        return np.asarray(cv2.GaussianBlur(scaled, (0, 0), BLUR), np.uint8)
