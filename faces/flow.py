"""Motion of 68 landmarks from one reference frame to any other frame of the same face.

Legend: H x W image, N = 68 landmarks in iBUG order, S samples of the window around a landmark. Working pixels are those
of the face crop in which the flow is computed, where the eyes are about `eye_distance` apart.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faces.alignment import LANDMARKS, Similarity, eye_distance, fit_similarity_robust
from faces.dense_flow import optical_flow

FloatArray = NDArray[np.float64]
Image = NDArray[np.float32]

FIRST_INNER = 27  # first landmark of nose, eyes and mouth, which no usable crop cuts off
LIDS = slice(36, 48)
LID_TOLERANCE = 3.0  # factor of `TrackingSettings.tolerance` for the lids
REVISION = 4  # raised with every change of the results, so that cached tracks of an older one are not used
MARGIN = 0.25  # fraction of the larger side by which jaw and brows may lie outside a tight crop
MAX_UNREGISTERED_MOTION = 4.0  # working pixels of head motion above which a frame is registered before its flow
COARSE_CHECK_CONFIDENCE = 0.4  # below this confidence, the backward flow is computed again at full resolution
MIN_FOLLOWED = 17  # landmarks that must be followed for a frame to count as the same face
IDENTITY = Similarity.from_numbers(1, 0)


@dataclass(frozen=True)
class TrackingSettings:
    """Settings of the tracking; the defaults suit faces of 64 to 1024 pixels."""

    eye_distance: float = 100.0
    """Distance between the eye centres after scaling, working pixels; a face of similar size is not scaled."""
    blur: float = 1.5
    """Standard deviation of the Gaussian blur before the flow, working pixels."""
    patch: float = 0.07
    """Standard deviation of the Gaussian window over which the motion at a landmark is averaged, eye distances."""
    stiffness: float = 16.0
    """Weight of the prior that keeps the Lucas-Kanade refinement near the flow, squared grey levels per squared working
    pixel."""
    tolerance: float = 1.5
    """Forward-backward difference, working pixels plus a tenth of the motion, above which a landmark counts as lost;
    three times as much around the eyes, because a closing lid covers skin that was visible before."""
    max_smoothing: float = 1.0
    """Upper bound of the temporal smoothing, as the standard deviation of a similar Gaussian, frames; 0 disables it."""

    def __post_init__(self) -> None:
        for name in ("eye_distance", "blur", "patch", "stiffness", "tolerance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"tracking setting {name} is {getattr(self, name)}, expected a number above 0")
        if not self.max_smoothing >= 0:
            raise ValueError(f"tracking setting max_smoothing is {self.max_smoothing}, expected 0 or more")


class LandmarkFlow:
    """Follows the landmarks of one reference frame into other frames, one after the other.

    The head pose of each frame is the initial guess for the next one; otherwise frames are independent.
    """

    def __init__(self, frame: NDArray[np.uint8], landmarks: FloatArray, settings: TrackingSettings, pool: Executor):
        """Scale the face to working pixels and compute everything that all frames share.

        Args:
            frame: H x W x 3 RGB or H x W grey, uint8.
            landmarks: (68, 2), xy, pixels of `frame`, finite.
            settings: see `TrackingSettings`.
            pool: computes the backward flow while the forward flow is computed.
        Raises:
            ValueError: landmarks outside the frame, or eyes closer than 4 px.
        """
        self.settings, self.pool, self.frame = settings, pool, frame
        size = np.array([frame.shape[1], frame.shape[0]])
        beyond = np.maximum(np.maximum(-0.5 - landmarks, landmarks - size + 0.5).max(axis=1), 0)
        _check_inside(landmarks, beyond, size)
        eyes = eye_distance(landmarks)
        if eyes < 4:
            raise ValueError(f"the eye centres of the landmarks are {eyes:.1f} px apart, expected at least 4")
        self.nearness = np.exp(-((beyond / (0.25 * eyes)) ** 2) / 2)
        scale = settings.eye_distance / eyes
        self.scale = 1.0 if 0.7 < scale < 1.5 else scale  # at a similar size, resampling loses more than it gains
        self.eyes = eyes * self.scale
        low = np.maximum(np.floor(landmarks.min(axis=0) - 0.4 * eyes), 0)
        high = np.minimum(np.ceil(landmarks.max(axis=0) + 0.4 * eyes), size - 1)
        self.origin = low
        self.size = tuple(np.maximum(np.ceil((high - low + 1) * self.scale), 16).astype(int).tolist())
        self.points = (landmarks - low + 0.5) * self.scale - 0.5
        self.head = IDENTITY
        self.forward, self.backward, self.coarse_backward = (
            cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) for _ in range(3)
        )
        for flow in (self.forward, self.backward, self.coarse_backward):
            flow.setPatchStride(4)  # a third faster than the preset's 3, and as accurate here
        self.coarse_backward.setFinestScale(2)
        self._sample_windows()

    def _sample_windows(self) -> None:
        """Compute positions, weights, grey values and gradients around every landmark of the reference frame."""
        spread = self.settings.patch * self.eyes
        grid = np.linspace(-2, 2, 13) * spread
        self.window = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)  # -> (S, 2)
        weights = np.exp(-((self.window / spread) ** 2).sum(axis=1) / 2)
        self.weights = weights / weights.sum()
        # A landmark outside the crop gets the motion of the nearest skin whose flow the border does not disturb.
        self.centres = np.clip(self.points, spread, np.array(self.size) - 1 - spread)
        self.image = self._working_image(self.frame)
        slopes = [cv2.Sobel(self.image, cv2.CV_32F, *xy, ksize=3) / 8 for xy in ((1, 0), (0, 1))]
        gradient = np.stack(slopes, axis=-1, dtype=np.float32)
        at = self.centres[:, None] + self.window
        self.values = _sample(self.image, at)  # -> (N, S)
        self.gradient = _sample(gradient, at)  # -> (N, S, 2)
        self.products = self.gradient[..., [0, 0, 1, 1]] * self.gradient[..., [0, 1, 0, 1]]  # -> (N, S, 4)

    def follow(self, frame: NDArray[np.uint8], index: int) -> tuple[FloatArray, FloatArray]:
        """Motion of the landmarks from the reference frame to `frame`.

        Args:
            frame: same size and type as the reference frame.
            index: frame number, for messages.
        Returns:
            (68, 2) displacements in pixels of the frame and (68,) confidences in [0, 1].
        Raises:
            ValueError: fewer than a quarter of the landmarks could be followed.
        """
        if np.array_equal(frame, self.frame):
            self.head = IDENTITY
            return np.zeros_like(self.points), self.nearness
        for _ in range(3):  # repeated while the head is farther from the guess than the flow reliably reaches
            moved, confidence = self._match(self._working_image(frame))
            good = confidence > 0
            if good.sum() < MIN_FOLLOWED:
                if self.head is IDENTITY:
                    break
                self.head = IDENTITY
                continue
            guess, moved = self.head, self.head.apply(moved)
            head = fit_similarity_robust(self.points, moved, good)
            rigid = head.apply(self.points)
            self.head = head if np.abs(rigid - self.points).max() > MAX_UNREGISTERED_MOTION else IDENTITY
            if np.abs(rigid - guess.apply(self.points)).max() <= MAX_UNREGISTERED_MOTION:
                break
        if good.sum() < MIN_FOLLOWED:
            raise ValueError(
                f"frame {index}: only {good.sum()} of {LANDMARKS} landmarks could be followed from the reference "
                "frame; expected the same face in a similar pose. Cut the clip, or choose another reference"
            )
        moved[~good] = self._motion_of_neighbours(moved - rigid, good) + rigid[~good]
        return (moved - self.points) / self.scale, confidence * self.nearness

    def _match(self, image: Image) -> tuple[FloatArray, FloatArray]:
        """Find the landmarks in a registered working image: (68, 2) working pixels, and confidences (68,)."""
        first, second = (np.clip(np.rint(i), 0, 255).astype(np.uint8) for i in (self.image, image))
        coarse = self.pool.submit(optical_flow, self.coarse_backward, second, first)
        forward = _sample(optical_flow(self.forward, first, second), self.centres[:, None] + self.window)
        motion = self.weights @ forward
        confidence = self._agreement(motion, coarse.result())
        if confidence.min() < COARSE_CHECK_CONFIDENCE:
            confidence = self._agreement(motion, optical_flow(self.backward, second, first))
        return self.points + motion + self._refine(image, forward), confidence

    def _agreement(self, motion: FloatArray, backward: Image) -> FloatArray:
        """Confidence (68,) that the backward flow (h, w, 2) inverts `motion` (68, 2), both in working pixels."""
        returned = self.weights @ _sample(backward, (self.centres + motion)[:, None] + self.window)
        limit = self.settings.tolerance + 0.1 * np.linalg.norm(motion, axis=1)
        limit[LIDS] *= LID_TOLERANCE
        return np.clip(1 - np.linalg.norm(motion + returned, axis=1) / limit, 0, 1)

    def _refine(self, image: Image, forward: Image) -> FloatArray:
        """Correction of the flow, one vector per window, that fits the image best, (68, 2) working pixels.

        Lucas-Kanade that starts from the flow, with a quadratic prior, so that it acts only where there is texture. The
        mean difference is removed (exposure), and outliers get small weights (highlights, lids that cover the eye).
        """
        at = self.centres[:, None] + self.window + forward
        step = np.zeros_like(self.points)
        prior = self.settings.stiffness
        for _ in range(3):
            error = self.values - _sample(image, at + step[:, None])
            error -= (error @ self.weights)[:, None]
            w = self.weights / (1 + (error / 8) ** 2)
            w /= w.sum(axis=1, keepdims=True)
            normal = (w[:, None] @ self.products).reshape(-1, 2, 2) + prior * np.eye(2)
            right = ((w * error)[:, None] @ self.gradient)[:, 0] - prior * step
            step += np.linalg.solve(normal, right[..., None])[..., 0]
        return step

    def _motion_of_neighbours(self, own: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
        """Motion of the lost points relative to the head, averaged over their neighbours, (lost, 2) working pixels."""
        squared = ((self.points[~good, None] - self.points[good]) ** 2).sum(axis=-1)
        near = np.exp(-squared / (2 * (0.25 * self.eyes) ** 2))
        # The constant makes the motion fade into the head motion where all neighbours are far.
        return near @ own[good] / (near.sum(axis=1, keepdims=True) + 0.1)

    def _working_image(self, frame: NDArray[np.uint8]) -> Image:
        """Grey float32 working image of the face, with the head motion `self.head` removed."""
        k = max(1, int(1 / self.scale))  # frames are first reduced by a whole number, by area averaging
        if k > 1:
            height, width = (side // k for side in frame.shape[:2])
            reduced = cv2.resize(frame[: height * k, : width * k], (width, height), interpolation=cv2.INTER_AREA)
            frame = np.asarray(reduced, np.uint8)
        grey = (frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)).astype(np.float32)
        scale = float(self.scale * k)
        blurred = cv2.GaussianBlur(grey, (0, 0), self.settings.blur / scale)
        head = np.vstack([self.head.matrix(), [0, 0, 1]])
        # Maps working pixels to pixels of `blurred`.
        matrix = _zoom(1 / k, 0, 0) @ _zoom(float(1 / self.scale), *self.origin) @ head
        exact = scale == 1 and self.head is IDENTITY
        flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if exact or scale < 1 else cv2.INTER_CUBIC)
        warped = cv2.warpAffine(blurred, matrix[:2], self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.float32)


def _zoom(factor: float, x: float, y: float) -> FloatArray:
    """3 x 3 matrix that scales pixels about their outer corner and then shifts them by (x, y)."""
    edge = 0.5 * factor - 0.5
    return np.array([[factor, 0, x + edge], [0, factor, y + edge], [0, 0, 1]])


def _sample(image: Image, at: FloatArray) -> Image:
    """Bilinear values of an h x w (x C) float32 image at (N, S, 2) positions; border pixels are repeated outside."""
    x, y = np.ascontiguousarray(at[..., 0], np.float32), np.ascontiguousarray(at[..., 1], np.float32)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _check_inside(landmarks: FloatArray, beyond: FloatArray, size: NDArray[np.int_]) -> None:
    """Check that landmarks can belong to the frame; `beyond` (68,) is their distance to it, pixels, 0 inside.

    Raises:
        ValueError: a landmark lies too far outside.
    """
    wrong = beyond > np.where(np.arange(LANDMARKS) < FIRST_INNER, MARGIN * size.max(), 0)
    if wrong.any():
        i = int(np.argmax(np.where(wrong, beyond, -1)))
        raise ValueError(
            f"landmark {i} at ({landmarks[i, 0]:.1f}, {landmarks[i, 1]:.1f}) lies outside the {size[0]} x {size[1]} "
            f"image; expected nose, eyes and mouth inside, and jaw and brows within {MARGIN:.0%} of its size. Do the "
            "landmarks belong to this image?"
        )
