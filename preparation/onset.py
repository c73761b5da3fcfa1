"""68 landmarks of a clip's onset frame, from files or from the detector.

Legend: F frames of the release's clip.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clips.files import LANDMARK_SUFFIXES, find_file, read_list
from clips.reading import ClipError, Frame
from config.preparation import PrepareLandmarkParams
from errors import UserError
from faces.landmarks import LandmarkDetector, read_landmarks
from preparation.clip_record import ClipRecord

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 of a face, pixels."""


def landmark_file(record: ClipRecord, params: PrepareLandmarkParams) -> Path:
    """The landmark file of a clip.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it has several.
    """
    if params.dir is not None:
        return find_file(params.dir, record.name, "", LANDMARK_SUFFIXES)
    if record.landmarks is None:
        raise FileNotFoundError("expected a landmark file, found none; set landmark_params.dir or backend")
    return record.landmarks


def landmark_rows(path: Path, record: ClipRecord) -> NDArray[np.float64]:
    """Landmarks of the onset frame, (1, 68, 2), or of every frame of the release's clip, (F, 68, 2), in its pixels.

    Raises:
        ValueError: unreadable, or of another number of frames.
    """
    rows = read_landmarks(path)
    if len(rows) not in (1, len(record.frame_numbers)):
        raise ValueError(
            f"{path}: expected landmarks of the onset frame or of all {len(record.frame_numbers)} frames, "
            f"got {len(rows)}"
        )
    return rows


def read_boxes(path: Path) -> dict[str, Box]:
    """Boxes of faces by clip.

    Raises:
        ClipError: no such table, or a cell that is no number.
    """
    boxes: dict[str, Box] = {}
    for line, row in read_list(path, ("clip", "x0", "y0", "x1", "y1")):
        try:
            box = tuple(float(row[name]) for name in ("x0", "y0", "x1", "y1"))
        except ValueError as error:
            raise ClipError(f"{path}: line {line}: expected four numbers ({error})") from error
        if row["clip"] in boxes or not all(map(math.isfinite, box)):
            raise ClipError(f"{path}: line {line}: expected one box of finite numbers for {row['clip']!r}")
        boxes[row["clip"]] = box
    return boxes


class OnsetDetector:
    """`face_alignment`, which sees one frame a clip.

    Args:
        device: as torch writes it, asked for when the networks are loaded.
        boxes: faces that are known; None: the largest that is found.
    """

    def __init__(self, device: Callable[[], str], boxes: dict[str, Box] | None):
        self.device = device
        self.boxes = boxes
        self._detector: LandmarkDetector | None = None

    def load(self) -> LandmarkDetector:
        """The networks, loaded at the first call.

        Raises:
            UserError: the package or its weights are missing.
        """
        if self._detector is None:
            try:
                self._detector = LandmarkDetector(self.device())
            except (RuntimeError, FileNotFoundError) as error:
                raise UserError(str(error)) from error
        return self._detector

    def find(self, name: str, frame: Frame) -> NDArray[np.float64]:
        """Landmarks (68, 2) of a clip's onset frame.

        Raises:
            ValueError: no face, or no box of this clip.
        """
        if self.boxes is None:
            return self.load().detect(frame)
        if name not in self.boxes:
            raise ValueError("landmark_params.boxes: expected a row of this clip, found none")
        return self.load().detect(frame, np.array(self.boxes[name]))
