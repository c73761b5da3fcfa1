"""Transfers the dense motion of a driving clip to a source face, pixel by pixel.

Landmarks do not describe cheeks, forehead and chin; optical flow does. Motion of one to three pixels is transferred by
a smooth map between the two onset shapes, which gives the position, and a similarity, which gives scale and rotation.

Legend: H x W source image, N = 68 landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from faces.alignment import LEFT_EYE, RIGHT_EYE, eye_distance, fit_similarity
from faces.clip_motion import ClipMotion

JAW, BROWS = slice(0, 17), slice(17, 27)
FOREHEAD = 0.7  # height of the face above the brows, eye distances
RIM = 0.3  # width of the rim around jaw and forehead in which motion fades, eye distances
SHARPNESS = 1.5  # of the Gaussian basis functions of the map between the shapes, 1 / eye distance
MAP_SMOOTHING = 0.01  # of that map, because landmarks of two people never correspond exactly


class DenseTransfer:
    """Transfers the motion of a driving clip since its reference frame to the pixels of a source image.

    Args:
        driving: the motion of the driving clip.
        source_landmarks: (68, 2), xy, pixels of the source image.
        size: H, W of the source image.
        source_aspect: (2,), width and height of a pixel of the source image in its original aspect ratio, if it was
            resized to another one.
    """

    def __init__(
        self,
        driving: ClipMotion,
        source_landmarks: NDArray[np.floating],
        size: tuple[int, int],
        *,
        source_aspect: NDArray[np.float64] | float = 1.0,
    ):
        self.driving, self.source_aspect = driving, np.asarray(source_aspect)
        shape, source = driving.landmarks[driving.reference], source_landmarks * self.source_aspect
        self.similarity = fit_similarity(shape, source)
        y, x = np.mgrid[: size[0], : size[1]]
        grid = np.stack([x, y], axis=-1).reshape(-1, 2) * self.source_aspect
        eyes = eye_distance(source)
        back = self.similarity.inverse()
        # Gaussians vanish beyond the face, where only the similarity acts.
        residual = RBFInterpolator(
            source / eyes,
            shape - back.apply(source),
            kernel="gaussian",
            epsilon=SHARPNESS,
            smoothing=MAP_SMOOTHING,
            degree=-1,
        )
        self.positions = back.apply(grid) + residual(grid / eyes)  # -> (H * W, 2), driving pixels
        self.size = size
        self.face = face_mask(source_landmarks, size).reshape(-1, 1)

    def displacement(self, index: int, *, keep_head: bool = False) -> NDArray[np.float32]:
        """Displacement of every pixel of the source image that corresponds to the motion of the driving face.

        Args:
            index: number of a frame of the driving clip.
            keep_head: move the whole image as the head moves; false removes that motion, so that everything outside
                the face rests.
        Returns:
            (H, W, 2) float32, xy, pixels of the source image.
        """
        at = (self.positions / self.driving.aspect).astype(np.float32).reshape(*self.size, 2)
        expression = self.driving.expression(index)
        motion = cv2.remap(expression, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        motion = motion.reshape(-1, 2) * self.face
        if keep_head:
            motion = self.driving.head(index).apply(self.positions + motion) - self.positions
        displacement = self.similarity.turn(motion) / self.source_aspect
        return displacement.reshape(*self.size, 2).astype(np.float32)


def face_mask(landmarks: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Mask of a face from the jaw to the hairline that fades outside of it.

    Args:
        landmarks: (68, 2), xy, pixels.
        size: H, W in pixels.
    Returns:
        (H, W) in [0, 1]; exactly 0 away from the face.
    """
    across = landmarks[LEFT_EYE].mean(axis=0) - landmarks[RIGHT_EYE].mean(axis=0)
    eyes = float(np.linalg.norm(across))
    forehead = landmarks[BROWS] + FOREHEAD * np.array([across[1], -across[0]])
    outline = cv2.convexHull(np.concatenate([landmarks[JAW], forehead]).astype(np.float32))
    outside = cv2.fillConvexPoly(np.ones(size, np.uint8), np.rint(outline).astype(np.int32), 0)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / (RIM * eyes)
    nearness = np.clip(1 - distance, 0, 1)
    return np.asarray(nearness * nearness * (3 - 2 * nearness), np.float32)
