"""Networks that find landmarks and action units of clips without files; loaded when the first clip needs them.

Legend: T frames, H x W image.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from clips.reading import Frame
from config.sections import DatasetParams
from faces.action_unit_extraction import extract_action_units
from faces.landmark_detection import LandmarkDetector, load_landmark_detector

Detector = Callable[[Frame], NDArray[np.float64]]
"""Finds the 68 landmarks of a frame, in its pixels: uint8 (H, W, 3) -> (68, 2)."""

Extractor = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Estimates the action units of frames: uint8 (T, H, W, 3) -> table (rows, columns), see `extract_action_units`."""


def landmark_detector(params: DatasetParams, device: str) -> Detector | None:
    """Return a landmark detector, whose network is loaded on its first call; None if `keypoint_dir` gives files."""
    if params.keypoint_dir is not None:
        return None
    loaded: list[LandmarkDetector] = []
    lock = Lock()  # clips are loaded in several threads

    def detect(frame: Frame) -> NDArray[np.float64]:
        with lock:
            if not loaded:
                loaded.append(load_landmark_detector(params.detection_backend, lambda: device))
        return loaded[0].detect(frame)

    return detect


def action_unit_extractor(params: DatasetParams, device: str) -> Extractor | None:
    """Return an action-unit estimator, whose networks are loaded on its first call; None if no clip needs it."""
    if params.au_dir is not None or params.au_extractor is None:
        return None
    lock = Lock()  # clips are loaded in several threads, which share the networks

    def extract(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        with lock:
            return extract_action_units(frames, device)

    return extract
