"""Detects 68 landmarks with the package `face_alignment`, which downloads its networks (190 MB)."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faces.alignment import LANDMARKS
from faces.detector_inputs import as_rgb, check_box

WEIGHTS = {
    "s3fd-619a316812.pth": "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
    "2DFAN4-11f355bf06.pth.tar": "https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
}
"""Files that `face_alignment` downloads for 68 points: the face detector and the landmark network."""


class FaceAlignmentDetector:
    """Detects 68 landmarks with the networks of `face_alignment` (Bulat and Tzimiropoulos, ICCV 2017).

    The package is imported, and its weights are loaded (at first use downloaded), when a detector is created.
    """

    def __init__(self, device: str = "cpu"):
        """Load both networks.

        Args:
            device: name of a torch device: "cpu", "cuda", "cuda:1", "mps".
        Raises:
            RuntimeError: the package is not installed.
            FileNotFoundError: its weights are not on this machine and cannot be downloaded, or are damaged.
        """
        try:
            import face_alignment
            from torch.hub import get_dir
        except ImportError as error:
            raise RuntimeError(
                f"landmarks cannot be detected, because face_alignment cannot be imported ({error}); install it with "
                "`pip install --no-deps face-alignment`, or use landmark files"
            ) from error
        folder = Path(get_dir()) / "checkpoints"
        try:
            # Compiling takes minutes and a C++ compiler, which does not pay for one frame per clip.
            self._networks = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, device=str(device), compile=False
            )
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise FileNotFoundError(_explain_weights(folder, error)) from error

    def detect(self, image: NDArray[np.uint8], box: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """Detect the landmarks of the largest face in the image.

        Args:
            image: H x W x 3 RGB or H x W grey, uint8.
            box: x0, y0, x1, y1 of a known face, from brows to chin and ear to ear, pixels; None: search for faces.
        Returns:
            (68, 2) float64, xy, pixels. The resolution of the network is about 1/250 of the face's size.
        Raises:
            ValueError: a wrong image or box, or no face was found.
        """
        image = as_rgb(image)
        height, width = image.shape[:2]
        if box is None:
            found = self._boxes(image)
            if not found:
                raise ValueError(f"no face was found in the {width} x {height} image")
            box = found[0]
        box = check_box(box)
        points = np.asarray(self._networks.get_landmarks_from_image(image, [box])[0], dtype=np.float64)[:, :2]
        if points.shape != (LANDMARKS, 2) or not np.isfinite(points).all():
            raise ValueError(f"the landmark network gave no usable points for the {width} x {height} image")
        return points

    def detect_all(self, image: NDArray[np.uint8], *, least: float = 0.0) -> list[NDArray[np.float64]]:
        """Detect the landmarks (68, 2) of every face in the image, the largest first.

        Args:
            image: H x W x 3 RGB or H x W grey, uint8.
            least: has no effect, because all sizes are found at once.
        Raises:
            ValueError: a wrong image, or points that are not usable.
        """
        image = as_rgb(image)
        return [self.detect(image, box) for box in self._boxes(image)]

    def _boxes(self, image: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        """Boxes x0, y0, x1, y1 of the faces, the largest first."""
        found = [np.asarray(b, dtype=np.float64)[:4] for b in self._networks.face_detector.detect_from_image(image)]
        return sorted(found, key=lambda b: -(b[2] - b[0]) * (b[3] - b[1]))


def _explain_weights(folder: Path, error: Exception) -> str:
    """Message that names the missing files, their folder and the remedy."""
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    problem = f"missing: {', '.join(missing)}" if missing else f"one of {', '.join(WEIGHTS)} may be damaged"
    links = " and ".join(WEIGHTS[name] for name in (missing or WEIGHTS))
    return (
        f"the weights of face_alignment could not be loaded from {folder} "
        f"({problem}; {type(error).__name__}: {error}). "
        f"Without network, download {links} elsewhere and copy them into that folder (the environment variable "
        "TORCH_HOME moves it), or use landmark files"
    )
