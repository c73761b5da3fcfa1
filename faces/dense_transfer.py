"""Dense motion of a driving clip, carried over to a source face pixel by pixel.

Landmarks say nothing about cheeks, forehead and chin. Optical flow does, and motion of one to three pixels needs no
more than to be put in the right place, by a smooth map between the two onset shapes, and to be scaled and turned.

Legend: H x W source picture, h x w driving frames, N = 68 landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from faces.alignment import LEFT_EYE, RIGHT_EYE, Similarity, fit_similarity

EYE_DISTANCE = 90.0  # to which the driving face is scaled for the flow, pixels
BLUR = 2.0  # before the flow, standard deviation, pixels of the scaled face
SMOOTHING = 0.033  # of the flow, standard deviation, eye distances
SHARPNESS = 1.5  # of the Gaussians that make up the map between the shapes, per eye distance
MAP_SMOOTHING = 0.01  # of that map: landmarks found on two people never agree exactly


class DenseTransfer:
    """Follows a driving clip from its reference frame and gives its motion to the pixels of a source picture.

    Args:
        frame: the reference frame, h x w x 3 RGB, uint8.
        driving_landmarks: (68, 2), xy, pixels of that frame.
        source_landmarks: (68, 2), xy, pixels of the source picture.
        size: H, W of the source picture.
        driving_aspect, source_aspect: (2,), width and height that a pixel stands for, where frames were resized to
            another aspect ratio; a circle must be a circle.
    """

    def __init__(
        self,
        frame: np.ndarray,
        driving_landmarks: np.ndarray,
        source_landmarks: np.ndarray,
        size: tuple[int, int],
        *,
        driving_aspect: np.ndarray | float = 1.0,
        source_aspect: np.ndarray | float = 1.0,
    ):
        self.driving_aspect, self.source_aspect = np.asarray(driving_aspect), np.asarray(source_aspect)
        driving, source = driving_landmarks * self.driving_aspect, source_landmarks * self.source_aspect
        self.similarity = fit_similarity(driving, source)
        y, x = np.mgrid[: size[0], : size[1]]
        grid = np.stack([x, y], axis=-1).reshape(-1, 2) * self.source_aspect
        eyes = np.linalg.norm(source[RIGHT_EYE].mean(axis=0) - source[LEFT_EYE].mean(axis=0))
        back = self.similarity.inverse()
        # Gaussians die out beyond the face, where the similarity alone decides.
        rest = RBFInterpolator(
            source / eyes,
            driving - back.apply(source),
            kernel="gaussian",
            epsilon=SHARPNESS,
            smoothing=MAP_SMOOTHING,
            degree=-1,
        )
        self.positions = back.apply(grid) + rest(grid / eyes)  # -> (H * W, 2), driving pixels
        self.size = size
        apart = driving_landmarks[RIGHT_EYE].mean(axis=0) - driving_landmarks[LEFT_EYE].mean(axis=0)
        self.scale = EYE_DISTANCE / np.linalg.norm(apart)
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.reference = self._prepared(frame)

    def follow(self, frame: np.ndarray, head: Similarity | None = None) -> np.ndarray:
        """Displacement of every pixel of the source picture when it moves as the driving face has moved.

        Args:
            frame: a frame of the driving clip.
            head: the head's own movement since the reference frame, to be left out; None keeps it.
        Returns:
            (H, W, 2) float32, xy, pixels of the source picture.
        """
        moved = self.flow.calc(self.reference, self._prepared(frame), None)
        moved = cv2.GaussianBlur(moved, (0, 0), SMOOTHING * EYE_DISTANCE) / self.scale
        moved = cv2.resize(moved, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_AREA)
        at = (self.positions / self.driving_aspect).astype(np.float32).reshape(*self.size, 2)
        motion = cv2.remap(moved, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        motion = motion.reshape(-1, 2) * self.driving_aspect
        if head is not None:
            motion = head.inverse().apply(self.positions + motion) - self.positions
        turned = self.similarity.turn(motion) / self.source_aspect
        return turned.reshape(*self.size, 2).astype(np.float32)

    def _prepared(self, frame: np.ndarray) -> np.ndarray:
        """Grey, scaled, without the finest noise."""
        grey = cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2GRAY)
        kind = cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA
        scaled = cv2.resize(grey, None, fx=self.scale, fy=self.scale, interpolation=kind)
        return cv2.GaussianBlur(scaled, (0, 0), BLUR)
