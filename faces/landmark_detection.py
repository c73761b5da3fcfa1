"""Detectors of 68 landmarks, by the name of their backend.

Landmarks are xy in pixels of the image (integer = pixel centre), in iBUG order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from faces.face_alignment_detector import FaceAlignmentDetector
from faces.face_mesh import REVISION, FaceMesh

Backend = Literal["mesh", "face-alignment"]


class LandmarkDetector(Protocol):
    """Detects landmarks of one face."""

    def detect(self, image: NDArray[np.uint8], box: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """Detect the landmarks of the largest face.

        Args:
            image: H x W x 3 RGB or H x W grey, uint8.
            box: x0, y0, x1, y1 of a known face, from brows to chin and ear to ear, pixels; None: search for faces.
        Returns:
            (68, 2) float64, xy, pixels.
        Raises:
            ValueError: a wrong image or box, or no face was found.
        """

    def detect_all(self, image: NDArray[np.uint8], *, least: float = 0.0) -> list[NDArray[np.float64]]:
        """Detect the landmarks (68, 2) of the faces, the largest first; none is no error.

        Args:
            image: H x W x 3 RGB or H x W grey, uint8.
            least: size, relative to the largest face, below which faces may be left out, for speed.
        Raises:
            ValueError: a wrong image.
        """


class MeshLandmarkDetector:
    """Landmarks of the face mesh, see `FaceMesh`."""

    def __init__(self) -> None:
        """Load the networks.

        Raises:
            FileNotFoundError: the model file is missing or not the expected one.
        """
        self._mesh = FaceMesh()

    def detect(self, image: NDArray[np.uint8], box: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """See `LandmarkDetector.detect`."""
        return self._mesh.largest(image, box).landmarks

    def detect_all(self, image: NDArray[np.uint8], *, least: float = 0.0) -> list[NDArray[np.float64]]:
        """See `LandmarkDetector.detect_all`."""
        return [face.landmarks for face in self._mesh.detect(image, least=least)]


def load_landmark_detector(backend: Backend, device: Callable[[], str]) -> LandmarkDetector:
    """Load a detector.

    Args:
        backend: its name.
        device: returns the name of a torch device; called for `face-alignment` only, the others run on the processor.
    Raises:
        RuntimeError: the package of the backend is not installed.
        FileNotFoundError: its networks are missing or damaged; the message gives the remedy.
    """
    return MeshLandmarkDetector() if backend == "mesh" else FaceAlignmentDetector(device())


def detector_version(backend: Backend) -> str:
    """Return a text that changes whenever a backend gives other landmarks for the same image."""
    return f"mesh {REVISION}" if backend == "mesh" else backend
