"""Reads 68 facial landmarks from files.

Landmarks are xy in pixels of their own frame (integer = pixel centre), in iBUG order: 0-16 jaw, 17-26 brows, 27-35
nose, 36-47 eyes, 48-67 mouth. Points 17-21 and 36-41 are the subject's right brow and eye, on the left of the image.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import UserError, first_line
from faces.alignment import LANDMARKS
from faces.landmark_arrays import named_array, points_of_json, usual_shape
from faces.landmark_checks import LARGEST_COORDINATE, landmark_problem
from faces.landmark_tables import points_of_table
from parsing.arrays import read_arrays
from parsing.files import read_file
from parsing.json_files import read_json
from parsing.tables import read_rows, to_number
from parsing.text_tables import decode_text

MIRRORED_LANDMARKS = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # bridge of the nose
    *range(35, 30, -1),  # nostrils
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
    *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
)
"""Index of each landmark's mirror image."""
MIN_FACE_SIZE = 8  # pixels; smaller ones are coordinates in fractions of the frame, or no face was found
SUFFIXES = (".npy", ".npz", ".json", ".csv", ".tsv", ".txt", ".xlsx", ".xls", ".pts")
_MAX_PTS_BYTES = 2**20

log = logging.getLogger("landmarks")


def read_landmarks(path: str | Path, notice: Callable[[str], None] = log.warning) -> NDArray[np.float64]:
    """Read landmarks of one frame or of a whole clip.

    Formats, by suffix; a third coordinate (depth or confidence) is left out:
        .npy: (68, 2) or (T, 68, 2); or another shape of `usual_shape`, such as a face mesh of 478 points.
        .npz: an archive with one such array, or several of which one has a name such as `landmarks`.
        .json: such an array as nested lists, also under such a key or by frame, points also as `{"x": 1, "y": 2}`.
        .csv, .txt, .tsv, .xlsx, .xls: see `points_of_table`, and `parsing.tables` for separators, decimal commas,
            comments and encodings.
        .pts: iBUG (`version`, `n_points`, points in braces). These files count pixels from 1, so 1 is subtracted.

    Args:
        path: the file.
        notice: receives a remark on the choice of a face where a table has several.
    Returns:
        (T, 68, 2) float64, xy, pixels, integer = centre of a pixel counted from 0; T is 1 for a single frame.
    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file cannot be read, or does not hold 68 points of a face per frame; the message names it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: expected landmarks in a file of type {', '.join(SUFFIXES)}, got {suffix!r}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such landmark file")
    if suffix in (".npy", ".npz"):
        points = named_array(read_arrays(path), path)
    elif suffix == ".json":
        points = points_of_json(read_json(path), path)
    elif suffix == ".pts":
        points = _read_pts(path)
    else:
        rows = read_rows(path)
        named_pts = any("n_points" in cell for row in rows[:2] for cell in row.cells)
        points = _read_pts(path) if named_pts else points_of_table(path, rows, notice)
    return _check_points(points, path)


def _check_points(points: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Return (T, 68, 2) of points of a usual shape, if they are plausible."""
    points = usual_shape(points)
    if points.ndim != 3 or points.shape[1] != LANDMARKS or points.shape[2] not in (2, 3) or len(points) == 0:
        raise UserError(f"{path}: found an array of shape {points.shape}, expected (68, 2) or (T, 68, 2)")
    points = points[..., :2]
    bad = ~np.isfinite(points).all(axis=2)
    if bad.any():
        frame, point = np.argwhere(bad)[0]
        raise UserError(
            f"{path}: {bad.sum()} points are not finite (NaN or infinite), the first point {point} of frame {frame}; "
            "expected 68 finite points per frame. Detect them again, or leave out the frames without a face"
        )
    largest = abs(points).max(axis=(1, 2))
    if largest.max() > LARGEST_COORDINATE:
        frame = int(largest.argmax())
        raise UserError(
            f"{path}: frame {frame} has a coordinate of {largest[frame]:.3g} px, expected at most {LARGEST_COORDINATE}"
        )
    spans = np.ptp(points, axis=1).max(axis=1)
    if spans.min() < MIN_FACE_SIZE:
        frame = int(spans.argmin())
        raise UserError(
            f"{path}: the points of frame {frame} span {spans[frame]:.3g} px, expected at least {MIN_FACE_SIZE}; "
            "landmarks are pixels of the clip's own frames, not fractions of their width"
        )
    if problem := landmark_problem(points):
        raise UserError(f"{path}: {problem}")
    return points


def _read_pts(path: Path) -> NDArray[np.float64]:
    """Read an iBUG file; its first pixel is (1, 1)."""
    text = decode_text(read_file(path, max_bytes=_MAX_PTS_BYTES), path)
    if text.count("{") != 1 or text.count("}") != 1 or text.index("{") > text.index("}"):
        raise UserError(f"{path}: cannot be read as .pts landmarks: expected one block of points in braces")
    lines = text[text.index("{") + 1 : text.index("}")].splitlines()
    try:
        points = [[to_number(cell) for cell in line.split()] for line in lines if line.strip()]
        return np.array(points).reshape(-1, 2) - 1
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as .pts landmarks: {first_line(error)}") from error
