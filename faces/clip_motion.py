"""Dense motion of the face in a driving clip: optical flow since the reference frame, without the head's motion.

Legend: T frames of h x w pixels, N = 68 landmarks.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from faces.alignment import HEAD_WEIGHTS, Similarity, eye_distance, fit_similarity_robust
from faces.dense_flow import DenseFlow, Image

CACHE_BYTES = 2**26  # flow of the first frames, so that memory does not grow with the clip
MAX_NOISE_SAMPLES = 64  # frames from which the noise is estimated
FOURTH_DIFFERENCE = np.array([1, -4, 6, -4, 1], np.float32)
POOLING = 0.06  # Gaussian blur of noise and motion energy, standard deviation, eye distances
STILL, MOVING = 4.0, 8.0  # largest motion energy of a pixel, relative to the noise: up to here, from here on


class ClipMotion:
    """Measures the motion of every pixel of a driving clip since its reference frame.

    Lengths are pixels of the driving frames in their original aspect ratio.

    Args:
        read_frame: returns frame t, h x w x 3 RGB, uint8.
        landmarks: (T, 68, 2), xy, pixels.
        reference: number of the frame that motion is measured from.
        aspect: (2,), width and height of a pixel in the original aspect ratio, for frames that were resized to another
            one.
    """

    def __init__(
        self,
        read_frame: Callable[[int], NDArray[np.uint8]],
        landmarks: NDArray[np.floating],
        reference: int,
        *,
        aspect: NDArray[np.float64] | float = 1.0,
    ):
        self.read_frame = read_frame
        self.aspect = np.asarray(aspect)
        self.landmarks = landmarks * self.aspect
        self.reference = reference
        frame = read_frame(reference)
        self.flow = DenseFlow(frame, eye_distance(landmarks[reference]))
        y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
        self.grid = np.stack([x, y], axis=-1) * self.aspect
        self.cached_flow: dict[int, NDArray[np.float16]] = {}
        self.moving = self._moving_parts()

    def head(self, index: int) -> Similarity:
        """Motion of the head from the reference frame to frame `index`."""
        return fit_similarity_robust(self.landmarks[self.reference], self.landmarks[index], HEAD_WEIGHTS)

    def expression(self, index: int) -> Image:
        """Displacement of every pixel in frame `index` without the head's motion, 0 where nothing moves: (h, w, 2)."""
        return self._without_head(index) * self.moving[..., None]

    def _without_head(self, index: int) -> Image:
        """The same as measured, noise included."""
        if index in self.cached_flow:
            return self.cached_flow[index].astype(np.float32)
        moved = (self.grid + self.flow.follow(self.read_frame(index)) * self.aspect).reshape(-1, 2)
        steadied = self.head(index).inverse().apply(moved).reshape(self.grid.shape)
        motion = np.asarray(steadied - self.grid, np.float32)
        if (len(self.cached_flow) + 1) * motion.nbytes / 2 <= CACHE_BYTES:
            self.cached_flow[index] = motion.astype(np.float16)
        return motion

    def _moving_parts(self) -> Image:
        """Mask of the pixels whose motion stands out of the noise anywhere in the clip, (h, w) in [0, 1].

        Facial motion is smooth in time and noise is not, so that the fourth difference of five frames shows the noise
        alone. Its median over time is taken, because that of a few frames, such as those of a blink, is larger.
        """
        length, taps = len(self.landmarks), len(FOURTH_DIFFERENCE)
        if length < taps:
            return np.ones(self.grid.shape[:2], np.float32)
        step = -(-length // MAX_NOISE_SAMPLES)
        energy = np.zeros(self.grid.shape[:2], np.float32)
        samples: list[Image] = []
        recent: list[Image] = []
        for index in range(length):
            motion = self._without_head(index)
            recent = [*recent[1 - taps :], motion]
            if len(recent) < taps:
                continue
            np.maximum(energy, (np.mean(recent, axis=0) ** 2).sum(axis=-1), out=energy)
            if index % step == 0:
                samples.append((np.tensordot(FOURTH_DIFFERENCE, recent, axes=1) ** 2).sum(axis=-1))
        # The median of the squared length of a noise vector is log(2) times its mean.
        noise = np.median(samples, axis=0) / (np.log(2) * (FOURTH_DIFFERENCE**2).sum())
        width = POOLING * eye_distance(self.landmarks[self.reference])
        noise, energy = (cv2.GaussianBlur(np.asarray(i, np.float32), (0, 0), width) for i in (noise, energy))
        ratio = energy / np.maximum(noise, 1e-9)
        return np.asarray(np.clip((ratio - STILL) / (MOVING - STILL), 0, 1), np.float32)
