"""Estimators of dense optical flow that share no code with the generation of motion, apart from `dis`.

Estimators differ on motion of one to three pixels, so that a figure of motion means little without a second one, and
nothing if its estimator also made the motion.

Legend: H x W image.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Flow = NDArray[np.float32]
"""(H, W, 2), xy, pixels: displacement of every pixel of the first image."""

BLUR = 1.0  # standard deviation of the Gaussian blur before the flow, pixels


def prepared(frame: NDArray[np.uint8]) -> Grey:
    """Convert an RGB frame (H, W, 3) to grey and blur its noise."""
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), BLUR), np.uint8)


def dis_flow(first: Grey, second: Grey) -> Flow:
    """Dense inverse search; Kroeger et al., ECCV 2016. OpenCV's preset `medium`."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # None makes OpenCV allocate the result, which its stubs do not allow.
    return np.asarray(estimator.calc(first, second, None), np.float32)  # type: ignore[call-overload]


def farneback_flow(first: Grey, second: Grey) -> Flow:
    """Polynomial expansion; Farneback, SCIA 2003."""
    return np.asarray(
        cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 4, 21, 5, 7, 1.5, 0),  # type: ignore[call-overload]
        np.float32,
    )


# --- TV-L1 ------------------------------------------------------------------------------------------------------------

_DATA_WEIGHT, _TIGHTNESS = 10.0, 0.3
_WARPS, _STEPS, _DUAL_STEPS = 5, 10, 2
_SMALLEST = 16  # pixels, shorter side of the coarsest level
_STOP = 1e-4  # mean squared change of the flow, squared pixels, at which a level ends


def tvl1_flow(first: Grey, second: Grey) -> Flow:
    """Total variation with an L1 data term, by duality: slow and robust, and sharp where motion ends.

    Ten times as fast as scikit-image's, because no array is allocated in its inner loop.

    Source: Zach, Pock and Bischof, A Duality Based Approach for Realtime TV-L1 Optical Flow, DAGM 2007.
    """
    images = [image.astype(np.float32) / np.float32(255) for image in (first, second)]
    levels = [images]
    while min(levels[-1][0].shape) >= 2 * _SMALLEST:
        levels.append([_halved(image) for image in levels[-1]])
    flow = np.zeros((2, *levels[-1][0].shape), np.float32)  # xy first
    for reference, moving in reversed(levels):
        if flow.shape[1:] != reference.shape:
            flow = _enlarged(flow, reference.shape)
        flow = _Level(reference).refine(moving, flow)
    return np.ascontiguousarray(flow.transpose(1, 2, 0))


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    size = ((image.shape[1] + 1) // 2, (image.shape[0] + 1) // 2)
    blurred = cv2.GaussianBlur(image, (0, 0), 2 / 3)
    return np.asarray(cv2.resize(blurred, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _enlarged(flow: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Enlarge a flow (2, h, w) to a finer level."""
    factors = (shape[1] / flow.shape[2], shape[0] / flow.shape[1])
    return np.stack(
        [
            np.asarray(cv2.resize(part, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32) * factor
            for part, factor in zip(flow, map(np.float32, factors), strict=True)
        ]
    )


class _Level:
    """One level of the pyramid, with the arrays of its iterations.

    Args:
        reference: (h, w) image, 0 to 1.
    """

    def __init__(self, reference: NDArray[np.float32]):
        self._reference = reference
        height, width = reference.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        self._grid = np.stack([x, y])
        self._dual = np.zeros((2, 2, height, width), np.float32)  # -> (component of the flow, axis, h, w)
        self._slope = np.zeros((2, height, width), np.float32)
        self._scratch = [np.empty((height, width), np.float32) for _ in range(3)]

    def refine(self, moving: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
        """Improve a flow (2, h, w)."""
        for _ in range(_WARPS):
            at = self._grid + flow
            warped = np.asarray(cv2.remap(moving, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            gradient = np.stack(np.gradient(warped, axis=(1, 0))).astype(np.float32)
            squared = (gradient**2).sum(axis=0)
            constant = warped - self._reference - (gradient * flow).sum(axis=0)
            before = flow
            for _ in range(_STEPS):
                flow = self._step(flow, gradient, squared, constant)
            if float(((flow - before) ** 2).mean()) < _STOP:
                break
        return flow

    def _step(
        self,
        flow: NDArray[np.float32],
        gradient: NDArray[np.float32],
        squared: NDArray[np.float32],
        constant: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """One step on the data term, then two dual steps on the total variation."""
        residual, bound, _ = self._scratch
        np.multiply(gradient[0], flow[0], out=residual)
        residual += gradient[1] * flow[1]
        residual += constant
        # The step removes the residual where that is possible within +-limit, else it has the length of the limit.
        limit = np.float32(_DATA_WEIGHT * _TIGHTNESS)
        np.divide(residual, squared + np.float32(1e-12), out=bound)
        np.clip(bound, -limit, limit, out=bound)
        moved = flow - gradient * bound
        result = np.empty_like(flow)
        for part in range(2):
            result[part] = self._denoise(moved[part], part)
        return result

    def _denoise(self, flow: NDArray[np.float32], part: int) -> NDArray[np.float32]:
        """Steps of Chambolle's projection on one component (h, w) of the flow."""
        dual, slope = self._dual[part], self._slope
        norm = self._scratch[2]
        step = np.float32(0.25)
        current = flow
        for _ in range(_DUAL_STEPS):
            np.subtract(current[:, 1:], current[:, :-1], out=slope[0, :, :-1])
            np.subtract(current[1:], current[:-1], out=slope[1, :-1])
            np.multiply(slope[0], slope[0], out=norm)
            norm += slope[1] * slope[1]
            np.sqrt(norm, out=norm)
            norm *= step / np.float32(_TIGHTNESS)
            norm += 1
            slope *= step
            dual -= slope
            dual /= norm
            current = flow - dual.sum(axis=0)
            current[:, 1:] += dual[0, :, :-1]
            current[1:] += dual[1, :-1]
        return current


ESTIMATORS: dict[str, Callable[[Grey, Grey], Flow]] = {
    "dis": dis_flow,
    "tvl1": tvl1_flow,
    "farneback": farneback_flow,
}


def flow_between(estimator: str, first: Grey, second: Grey) -> Flow:
    """Return the flow from one image to another; equal images have none."""
    if np.array_equal(first, second):
        return np.zeros((*first.shape, 2), np.float32)
    return ESTIMATORS[estimator](first, second)
