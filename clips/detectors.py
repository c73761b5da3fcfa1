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


class FaceDetector:
    """The landmark detector of the settings, whose networks are loaded on the first call.

    Args:
        params: the section `dataset_params`.
        device: name of a torch device.
    """

    def __init__(self, params: DatasetParams, device: str):
        self._params = params
        self._device = device
        self._loaded: LandmarkDetector | None = None
        self._lock = Lock()  # clips are loaded in several threads

    def __call__(self, frame: Frame) -> NDArray[np.float64]:
        """Return the landmarks (68, 2) of the largest face.

        Raises:
            ValueError: no face was found.
        """
        return self._detector().detect(frame)

    def all_faces(self, frame: Frame, *, least: float) -> list[NDArray[np.float64]]:
        """Return the landmarks (68, 2) of the faces, see `LandmarkDetector.detect_all`."""
        return self._detector().detect_all(frame, least=least)

    def _detector(self) -> LandmarkDetector:
        with self._lock:
            if self._loaded is None:
                self._loaded = load_landmark_detector(self._params.detection_backend, lambda: self._device)
            return self._loaded


def landmark_detector(params: DatasetParams, device: str) -> FaceDetector | None:
    """Return a landmark detector, whose network is loaded on its first call; None if `keypoint_dir` gives files."""
    return None if params.keypoint_dir is not None else FaceDetector(params, device)


def action_unit_extractor(params: DatasetParams, device: str) -> Extractor | None:
    """Return an action-unit estimator, whose networks are loaded on its first call; None if no clip needs it."""
    if params.au_dir is not None or params.au_extractor is None:
        return None
    lock = Lock()  # clips are loaded in several threads, which share the networks

    def extract(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        with lock:
            return extract_action_units(frames, device)

    return extract
