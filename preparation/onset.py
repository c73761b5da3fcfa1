"""The 68 landmarks of a clip's onset frame, from files or from the detector.

Legend: F frames of the release's clip.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clips.files import find_landmarks, read_list
from clips.reading import ClipError, Frame
from config.preparation import PrepareLandmarkParams
from errors import UserError
from faces.landmark_detection import Backend, LandmarkDetector, detector_version, load_landmark_detector
from faces.landmarks import read_landmarks
from parsing.tables import to_number
from preparation.clip_record import ClipRecord

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 of a face, pixels."""


def landmark_file(record: ClipRecord, params: PrepareLandmarkParams) -> Path:
    """Find the landmark file of a clip.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    if params.dir is not None:
        return find_landmarks(params.dir, record.name, "")
    if record.landmarks is None:
        raise FileNotFoundError("expected a landmark file, found none; set landmark_params.dir or backend")
    return record.landmarks


def landmark_rows(path: Path, record: ClipRecord) -> NDArray[np.float64]:
    """Read landmarks of the onset frame, (1, 68, 2), or of every frame, (F, 68, 2), in pixels of the release's frames.

    Raises:
        ValueError: unreadable, or another number of frames.
    """
    rows = read_landmarks(path)
    if len(rows) not in (1, len(record.frame_numbers)):
        raise ValueError(
            f"{path}: expected landmarks of the onset frame or of all {len(record.frame_numbers)} frames, "
            f"got {len(rows)}"
        )
    return rows


def read_boxes(path: Path) -> dict[str, Box]:
    """Read boxes of faces, by name of the clip.

    Raises:
        ClipError: no such table, a cell that is not a number, or two rows for one clip.
    """
    boxes: dict[str, Box] = {}
    for line, row in read_list(path, ("clip", "x0", "y0", "x1", "y1")):
        try:
            box = (to_number(row["x0"]), to_number(row["y0"]), to_number(row["x1"]), to_number(row["y1"]))
        except ValueError as error:
            raise ClipError(f"{path}: row {line}: expected four numbers ({error})") from error
        if row["clip"] in boxes or not all(map(math.isfinite, box)):
            raise ClipError(f"{path}: row {line}: expected one box of finite numbers for {row['clip']!r}")
        boxes[row["clip"]] = box
    return boxes


class OnsetDetector:
    """A landmark detector, applied to one frame per clip.

    Args:
        backend: the detector.
        device: returns the name of a torch device; called if the backend needs one, when the networks are loaded.
        boxes: known faces, by name of the clip; None: the largest face of the frame is used.
    """

    def __init__(self, backend: Backend, device: Callable[[], str], boxes: dict[str, Box] | None):
        self.backend: Backend = backend
        self.device = device
        self.boxes = boxes
        self._detector: LandmarkDetector | None = None

    @property
    def version(self) -> str:
        """Text that changes whenever the detector gives other landmarks."""
        return detector_version(self.backend)

    def load(self) -> LandmarkDetector:
        """Load the networks at the first call, and return them.

        Raises:
            UserError: the package or its weights are missing.
        """
        if self._detector is None:
            try:
                self._detector = load_landmark_detector(self.backend, self.device)
            except (RuntimeError, FileNotFoundError) as error:
                raise UserError(str(error)) from error
        return self._detector

    def detect(self, name: str, frame: Frame) -> NDArray[np.float64]:
        """Detect the landmarks (68, 2) of a clip's onset frame.

        Raises:
            ValueError: no face, or no box for this clip.
        """
        if self.boxes is None:
            return self.load().detect(frame)
        if name not in self.boxes:
            raise ValueError("landmark_params.boxes: expected a row for this clip, found none")
        return self.load().detect(frame, np.array(self.boxes[name]))
