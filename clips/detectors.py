"""Networks that find landmarks and action units where no file gives them; loaded when the first clip needs them.

Legend: T frames, H x W image.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from clips.reading import Frame
from config.sections import DatasetParams
from faces.action_unit_extraction import extract_action_units
from faces.landmarks import LandmarkDetector

Detector = Callable[[Frame], NDArray[np.float64]]
"""Finds the 68 landmarks of a frame, in its pixels: uint8 (H, W, 3) -> (68, 2)."""

Extractor = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Estimates the action units of frames: uint8 (T, H, W, 3) -> table (R, C), see `extract_action_units`."""


def landmark_detector(params: DatasetParams, device: str) -> Detector | None:
    """A landmark detector for clips without landmark files; it is loaded when the first such clip comes."""
    if params.keypoint_dir is not None:
        return None
    loaded: list[LandmarkDetector] = []

    def detect(frame: Frame) -> NDArray[np.float64]:
        if not loaded:
            loaded.append(LandmarkDetector(device))
        return loaded[0].detect(frame)

    return detect


def action_unit_extractor(params: DatasetParams, device: str) -> Extractor | None:
    """What estimates action units for clips without tables; it is loaded when the first such clip comes."""
    if params.au_dir is not None or params.au_extractor is None:
        return None
    one_at_a_time = Lock()  # clips are prepared in several threads, which share its networks

    def extract(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        with one_at_a_time:
            return extract_action_units(frames, device)

    return extract
