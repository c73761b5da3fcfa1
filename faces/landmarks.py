"""Reads 68 facial landmarks from files.

Landmarks are xy in pixels of their own frame (integer = pixel centre), in iBUG order: 0-16 jaw, 17-26 brows, 27-35
nose, 36-47 eyes, 48-67 mouth. Points 17-21 and 36-41 are the subject's right brow and eye, on the left of the image.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faces.alignment import LANDMARKS

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


def read_landmarks(path: str | Path) -> NDArray[np.float64]:
    """Read landmarks of one frame or of a whole clip.

    Formats, by suffix:
        .npy: (68, 2) or (T, 68, 2).
        .csv: 68 rows `x,y`, with or without a header line and `#` comments; or a table with the columns `x_0` to `x_67`
            and `y_0` to `y_67` of OpenFace, blanks around the names ignored, one row per frame, sorted by the column
            `frame` if there is one.
        .pts: iBUG (`version`, `n_points`, points in braces). These files count pixels from 1, so 1 is subtracted.

    Args:
        path: the file.
    Returns:
        (T, 68, 2) float64, xy, pixels, integer = centre of a pixel counted from 0; T is 1 for a single frame.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or does not contain 68 finite points per frame; the message names it.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".csv": _read_csv, ".pts": _read_pts}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: expected landmarks in a file of type {', '.join(readers)}, got '{path.suffix}'")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such landmark file")
    try:
        points = np.asarray(readers[path.suffix.lower()](path), dtype=np.float64)
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as {path.suffix} landmarks: {error}") from error
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or points.shape[1:] != (LANDMARKS, 2) or len(points) == 0:
        raise ValueError(f"{path}: found an array of shape {points.shape}, expected (68, 2) or (T, 68, 2)")
    bad = ~np.isfinite(points).all(axis=2)
    if bad.any():
        frame, point = np.argwhere(bad)[0]
        raise ValueError(
            f"{path}: {bad.sum()} points are not finite (NaN or infinite), the first point {point} of frame {frame}; "
            "expected 68 finite points per frame. Detect them again, or leave out the frames without a face"
        )
    spans = np.ptp(points, axis=1).max(axis=1)
    if spans.min() < MIN_FACE_SIZE:
        frame = int(spans.argmin())
        raise ValueError(
            f"{path}: the points of frame {frame} span {spans[frame]:.3g} px, expected at least {MIN_FACE_SIZE}; "
            "landmarks are pixels of the clip's own frames, not fractions of their width"
        )
    return points


def _read_npy(path: Path) -> NDArray[np.generic]:
    """Read an array file."""
    points = np.load(path, allow_pickle=False)
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu":
        raise ValueError(f"contains {getattr(points, 'dtype', type(points).__name__)}, expected numbers")
    return points


def _read_csv(path: Path) -> NDArray[np.float64]:
    """Read rows of `x,y`, or a table of OpenFace."""
    text = path.read_text(encoding="utf-8-sig")
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO("\n".join(rows)))]
    if not cells:
        raise ValueError("the file is empty")
    if "x_0" in cells[0]:
        return _from_openface(cells[0], cells[1:])
    start = 0 if _is_number(cells[0][0]) else 1
    for number, row in enumerate(cells[start:], start + 1):
        if len(row) != 2:
            raise ValueError(f"row {number} has {len(row)} columns, expected x,y (or a table with columns x_0 to y_67)")
    return np.array([[float(x), float(y)] for x, y in cells[start:]])


def _from_openface(header: list[str], rows: list[list[str]]) -> NDArray[np.float64]:
    """Landmarks (T, 68, 2) of an OpenFace table."""
    column = {name: i for i, name in enumerate(header)}
    names = [f"{axis}_{i}" for i in range(LANDMARKS) for axis in "xy"]
    missing = [name for name in names if name not in column]
    if missing:
        raise ValueError(f"{len(missing)} landmark columns are missing, the first is {missing[0]}")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} cells, but the header has {len(header)}")
    if "frame" in column:
        frames = [float(row[column["frame"]]) for row in rows]
        if len(set(frames)) < len(frames):
            raise ValueError("a frame number occurs twice; expected one face in every frame")
        rows = [rows[i] for i in np.argsort(frames)]
    if "success" in column:
        failed = [i for i, row in enumerate(rows) if float(row[column["success"]]) == 0]
        if failed:
            raise ValueError(
                f"no face was found in {len(failed)} of {len(rows)} frames (success = 0), first {failed[0]}"
            )
    values = np.array([[float(row[column[name]]) for name in names] for row in rows])
    return values.reshape(-1, LANDMARKS, 2)


def _read_pts(path: Path) -> NDArray[np.float64]:
    """Read an iBUG file; its first pixel is (1, 1)."""
    text = path.read_text(encoding="utf-8-sig")
    if text.count("{") != 1 or text.count("}") != 1:
        raise ValueError("expected one block of points in braces")
    lines = text[text.index("{") + 1 : text.index("}")].split("\n")
    return np.array([[float(v) for v in line.split()] for line in lines if line.strip()]).reshape(-1, 2) - 1


def _is_number(cell: str) -> bool:
    """True if a cell contains a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
