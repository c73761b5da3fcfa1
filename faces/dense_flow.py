"""Dense optical flow of a face, from one reference frame to the other frames of its clip.

Legend: H x W frames; h x w working images, in which the eyes are `EYE_DISTANCE` pixels apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

EYE_DISTANCE = 90.0  # pixels
BLUR = 0.5  # Gaussian blur of the working image against noise, standard deviation, pixels
SMOOTHING = 0.033  # Gaussian blur of the flow, standard deviation, eye distances
SMOOTHNESS = 20.0  # weight of the smoothness term of the refinement (OpenCV's alpha)
ITERATIONS = 10  # of the fixed point and of the linear solver of the refinement


class DenseFlow:
    """Measures the displacement of every pixel since a reference frame.

    DIS flow is refined on images that are not rounded to grey levels again. `benchmarks/flow_accuracy.py` measures both
    on known motion.

    Args:
        frame: the reference frame, H x W x 3 RGB, uint8.
        eye_distance: distance between the eye centres in `frame`, pixels.
    Source: Kroeger et al., ECCV 2016 (DIS); Brox et al., ECCV 2004 (refinement), as implemented by OpenCV.
    """

    def __init__(self, frame: NDArray[np.uint8], eye_distance: float):
        self.frame = frame
        self.scale = EYE_DISTANCE / eye_distance
        self.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.refinement = cv2.VariationalRefinement.create()
        self.refinement.setAlpha(SMOOTHNESS)
        self.refinement.setFixedPointIterations(ITERATIONS)
        self.refinement.setSorIterations(ITERATIONS)
        self.reference = self._working_image(frame)

    def follow(self, frame: NDArray[np.uint8]) -> Image:
        """Displacement, (H, W, 2) xy in pixels, of every pixel from the reference frame to another frame."""
        if np.array_equal(frame, self.frame):
            return np.zeros((*frame.shape[:2], 2), np.float32)
        image = self._working_image(frame)
        first, second = (np.rint(i).clip(0, 255).astype(np.uint8) for i in (self.reference, image))
        flow = self.refinement.calc(self.reference, image, optical_flow(self.dis, first, second))
        smooth = np.asarray(cv2.GaussianBlur(flow, (0, 0), SMOOTHING * EYE_DISTANCE) / self.scale, np.float32)
        size = (frame.shape[1], frame.shape[0])
        return np.asarray(cv2.resize(smooth, size, interpolation=cv2.INTER_AREA), np.float32)

    def _working_image(self, frame: NDArray[np.uint8]) -> Image:
        """Grey image (h, w) of working size."""
        grey = cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float32)
        kind = cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA
        scaled = cv2.resize(grey, None, fx=self.scale, fy=self.scale, interpolation=kind)
        return np.asarray(cv2.GaussianBlur(scaled, (0, 0), BLUR), np.float32)


def optical_flow(dis: cv2.DISOpticalFlow, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Image:
    """Displacement, (h, w, 2) pixels, of every pixel from one grey image (h, w) to another."""
    # None makes OpenCV allocate the result, which its stubs do not allow.
    return np.asarray(dis.calc(first, second, None), np.float32)  # type: ignore[call-overload]
