"""Motion of 68 landmarks from one reference frame to any other frame of the same face.

Legend: H x W image, N = 68 landmarks in iBUG order, S samples of the window around a landmark. Working pixels are those
of the face crop in which the flow is computed, where the eyes are about `eye_distance` apart.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import cv2
import numpy as np

from faces.alignment import LANDMARKS, LEFT_EYE, RIGHT_EYE, Similarity, fit_similarity_robust

FIRST_INNER = 27  # nose, eyes and mouth begin here; no usable crop cuts them off
LIDS = slice(36, 48)
LID_SLACK = 3.0
REVISION = 4  # raised with every change of the results, so that cached tracks of an older one are not used
MARGIN = 0.25  # share of the larger side by which jaw and brows may lie outside a tight crop
MOVED = 4.0  # working pixels of head motion from which a frame is registered before its flow is computed
DOUBT = 0.4  # confidence by the coarse flow back below which a finer one, which takes longer, decides
ENOUGH = 17  # landmarks that must be followed for a frame to count as the same face
STILL = Similarity(np.complex128(1), np.complex128(0))


@dataclass(frozen=True)
class TrackingSettings:
    """How landmarks are followed; the defaults suit faces of 64 to 1024 pixels."""

    eye_distance: float = 100.0
    """Distance between the eye centres to which the face is scaled, working pixels; a face near it stays as it is."""
    blur: float = 1.5
    """Standard deviation of the Gaussian blur before the flow, working pixels."""
    patch: float = 0.07
    """Standard deviation of the Gaussian window over which the motion at a landmark is averaged, eye distances."""
    stiffness: float = 16.0
    """How firmly the Lucas-Kanade refinement is held to the flow, squared grey levels per squared working pixel."""
    tolerance: float = 1.5
    """Forward-backward difference, working pixels plus a tenth of the motion, above which a landmark counts as lost;
    three times as much around the eyes, where a closing lid covers what was seen before."""
    max_smoothing: float = 1.0
    """Strongest temporal smoothing, as the standard deviation of a similar Gaussian, frames; 0 switches it off."""

    def __post_init__(self) -> None:
        for name in ("eye_distance", "blur", "patch", "stiffness", "tolerance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"tracking setting {name} is {getattr(self, name)}, expected a number above 0")
        if not self.max_smoothing >= 0:
            raise ValueError(f"tracking setting max_smoothing is {self.max_smoothing}, expected 0 or more")


class LandmarkFlow:
    """Follows the landmarks of one reference frame into other frames, one after the other.

    The head pose of the last frame is the first guess for the next; apart from that, frames are independent.
    """

    def __init__(self, frame: np.ndarray, landmarks: np.ndarray, settings: TrackingSettings, pool: Executor):
        """Scale the face to working pixels and prepare what all frames share.

        Args:
            frame: H x W x 3 RGB or H x W grey, uint8.
            landmarks: (68, 2), xy, pixels of `frame`, finite.
            settings: see `TrackingSettings`.
            pool: runs the backward flow beside the forward one.
        Raises:
            ValueError: landmarks outside the frame, or eyes closer than 4 px.
        """
        self.settings, self.pool, self.frame = settings, pool, frame
        size = np.array([frame.shape[1], frame.shape[0]])
        beyond = np.maximum(np.maximum(-0.5 - landmarks, landmarks - size + 0.5).max(axis=1), 0)
        _check_inside(landmarks, beyond, size)
        eyes = np.linalg.norm(landmarks[RIGHT_EYE].mean(axis=0) - landmarks[LEFT_EYE].mean(axis=0))
        if eyes < 4:
            raise ValueError(f"the eye centres of the landmarks are {eyes:.1f} px apart, expected at least 4")
        self.nearness = np.exp(-((beyond / (0.25 * eyes)) ** 2) / 2)
        scale = settings.eye_distance / eyes
        self.scale = 1.0 if 0.7 < scale < 1.5 else scale  # resampling would cost more than a similar size brings
        self.eyes = eyes * self.scale
        low = np.maximum(np.floor(landmarks.min(axis=0) - 0.4 * eyes), 0)
        high = np.minimum(np.ceil(landmarks.max(axis=0) + 0.4 * eyes), size - 1)
        self.origin = low
        self.size = tuple(np.maximum(np.ceil((high - low + 1) * self.scale), 16).astype(int).tolist())
        self.points = (landmarks - low + 0.5) * self.scale - 0.5
        self.head = STILL
        *self.flows, self.check = (cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) for _ in range(3))
        for flow in (*self.flows, self.check):
            flow.setPatchStride(4)  # a third faster than the preset's 3, and as accurate here
        self.check.setFinestScale(2)
        self._prepare_windows()

    def _prepare_windows(self) -> None:
        """Sample positions, weights, grey values and gradients around every landmark of the reference frame."""
        spread = self.settings.patch * self.eyes
        grid = np.linspace(-2, 2, 13) * spread
        self.window = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)  # -> (S, 2)
        weights = np.exp(-((self.window / spread) ** 2).sum(axis=1) / 2)
        self.weights = weights / weights.sum()
        # A landmark outside the crop moves like the nearest skin whose flow does not suffer from the border.
        self.centres = np.clip(self.points, spread, np.array(self.size) - 1 - spread)
        self.image = self._view(self.frame)
        gradient = np.stack([cv2.Sobel(self.image, cv2.CV_32F, *xy, ksize=3) / 8 for xy in ((1, 0), (0, 1))], axis=-1)
        at = self.centres[:, None] + self.window
        self.values = _sample(self.image, at)  # -> (N, S)
        self.gradient = _sample(gradient, at)  # -> (N, S, 2)
        self.products = self.gradient[..., [0, 0, 1, 1]] * self.gradient[..., [0, 1, 0, 1]]  # -> (N, S, 4)

    def follow(self, frame: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Motion of the landmarks from the reference frame to `frame`.

        Args:
            frame: of the size and type of the reference frame.
            index: its number, for messages.
        Returns:
            (68, 2) displacements in pixels of the frame and (68,) confidences in [0, 1].
        Raises:
            ValueError: fewer than a quarter of the landmarks could be followed.
        """
        if np.array_equal(frame, self.frame):
            self.head = STILL
            return np.zeros_like(self.points), self.nearness
        for _ in range(3):  # again where the head is further from the guess than the flow is sure to reach
            moved, confidence = self._match(self._view(frame))
            good = confidence > 0
            if good.sum() < ENOUGH:
                if self.head is STILL:
                    break
                self.head = STILL
                continue
            guess, moved = self.head, self.head.apply(moved)
            head = fit_similarity_robust(self.points, moved, good)
            rigid = head.apply(self.points)
            self.head = head if np.abs(rigid - self.points).max() > MOVED else STILL
            if np.abs(rigid - guess.apply(self.points)).max() <= MOVED:
                break
        if good.sum() < ENOUGH:
            raise ValueError(
                f"frame {index}: only {good.sum()} of {LANDMARKS} landmarks could be followed from the reference "
                "frame; expected the same face, turned about the same way. Cut the clip, or choose another reference"
            )
        moved[~good] = self._infer(moved - rigid, good) + rigid[~good]
        return (moved - self.points) / self.scale, confidence * self.nearness

    def _match(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks in a registered working image, (68, 2) working pixels, and their confidences (68,)."""
        first, second = (np.clip(np.rint(i), 0, 255).astype(np.uint8) for i in (self.image, image))
        back = self.pool.submit(self.check.calc, second, first, None)
        forward = _sample(self.flows[0].calc(first, second, None), self.centres[:, None] + self.window)
        motion = self.weights @ forward
        confidence = self._agreement(motion, back.result())
        if confidence.min() < DOUBT:
            confidence = self._agreement(motion, self.flows[1].calc(second, first, None))
        return self.points + motion + self._refine(image, forward), confidence

    def _agreement(self, motion: np.ndarray, back: np.ndarray) -> np.ndarray:
        """Confidence (68,) that `motion` (68, 2) and the flow back (h, w, 2), working pixels, undo each other."""
        returned = self.weights @ _sample(back, (self.centres + motion)[:, None] + self.window)
        limit = self.settings.tolerance + 0.1 * np.linalg.norm(motion, axis=1)
        limit[LIDS] *= LID_SLACK
        return np.clip(1 - np.linalg.norm(motion + returned, axis=1) / limit, 0, 1)

    def _refine(self, image: np.ndarray, forward: np.ndarray) -> np.ndarray:
        """Common correction of the flow in each window that explains the picture best, (68, 2) working pixels.

        Lucas-Kanade with the flow as a start and a quadratic prior, so that it acts only where there is texture; the
        mean difference is removed (exposure), and outliers count little (highlights, lids that cover the eye).
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

    def _infer(self, own: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Motion beyond the head motion of the lost points, from that of their neighbours, (lost, 2) working pixels."""
        squared = ((self.points[~good, None] - self.points[good]) ** 2).sum(axis=-1)
        near = np.exp(-squared / (2 * (0.25 * self.eyes) ** 2))
        # The constant lets the motion fade into the head motion where every neighbour is far.
        return near @ own[good] / (near.sum(axis=1, keepdims=True) + 0.1)

    def _view(self, frame: np.ndarray) -> np.ndarray:
        """The face as grey float32 working image, with the head motion `self.head` undone."""
        k = max(1, int(1 / self.scale))  # a whole-number reduction by area averaging comes first
        if k > 1:
            height, width = (side // k for side in frame.shape[:2])
            frame = cv2.resize(frame[: height * k, : width * k], (width, height), interpolation=cv2.INTER_AREA)
        grey = (frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)).astype(np.float32)
        scale = self.scale * k
        grey = cv2.GaussianBlur(grey, (0, 0), self.settings.blur / scale)
        head = np.vstack([self.head.matrix(), [0, 0, 1]])
        matrix = _zoom(1 / k, 0, 0) @ _zoom(1 / self.scale, *self.origin) @ head  # working pixel -> pixel of `grey`
        exact = scale == 1 and self.head is STILL
        flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if exact or scale < 1 else cv2.INTER_CUBIC)
        return cv2.warpAffine(grey, matrix[:2], self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _zoom(factor: float, x: float, y: float) -> np.ndarray:
    """3 x 3 matrix that scales pixels about their outer corner and then shifts them by (x, y)."""
    edge = 0.5 * factor - 0.5
    return np.array([[factor, 0, x + edge], [0, factor, y + edge], [0, 0, 1]])


def _sample(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear values of an h x w (x C) float32 image at (N, S, 2) positions; the border goes on outside."""
    x, y = np.ascontiguousarray(at[..., 0], np.float32), np.ascontiguousarray(at[..., 1], np.float32)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _check_inside(landmarks: np.ndarray, beyond: np.ndarray, size: np.ndarray) -> None:
    """Refuse landmarks that cannot belong to the frame; `beyond` (68,) is how far they lie outside, pixels."""
    wrong = beyond > np.where(np.arange(LANDMARKS) < FIRST_INNER, MARGIN * size.max(), 0)
    if wrong.any():
        i = int(np.argmax(np.where(wrong, beyond, -1)))
        raise ValueError(
            f"landmark {i} at ({landmarks[i, 0]:.1f}, {landmarks[i, 1]:.1f}) lies outside the {size[0]} x {size[1]} "
            f"image; expected nose, eyes and mouth inside, and jaw and brows within {MARGIN:.0%} of its size. Do the "
            "landmarks belong to this image?"
        )
