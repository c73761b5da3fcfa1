"""Landmarks of arrays and JSON: shapes and keys under which programs store 68 points, or those of a face mesh."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray

from errors import UserError, first_line, printable
from faces.alignment import LANDMARKS
from faces.landmark_checks import landmark_problem
from faces.mesh_indices import MIRRORED_POINTS, landmarks_of_mesh

KEYS = ("landmarks", "landmark", "points", "keypoints", "kp", "pts", "lmk", "lmks", "shape", "arr_0")
_FACES = ("faces", "people", "persons")  # lists of one face each, unlike a list of frames
_MESH = len(MIRRORED_POINTS)
_MESH_WITHOUT_IRISES = 468
_EXPECTED = f"expected lists of {LANDMARKS} points [x, y]"


def named_array(arrays: Mapping[str, NDArray[np.float64]], path: Path) -> NDArray[np.float64]:
    """The array with a usual name, or the only one.

    Raises:
        UserError: several arrays, of which none or several have a usual name.
    """
    named = _named(list(arrays))
    if len(arrays) > 1 and named is None:
        found = ", ".join(sorted(arrays)[:5])
        raise UserError(f"{path}: expected one array, or one named {KEYS[0]}, found {found}")
    return arrays[next(iter(arrays)) if named is None else named]


def points_of_json(content: Any, path: Path) -> NDArray[np.float64]:
    """Points of nested lists, which may lie under keys, by frame or by file name.

    Raises:
        UserError: something else.
    """
    try:
        points = np.array(_plain_points(content))
        if points.dtype.kind not in "fiu":
            raise ValueError("expected numbers only")
        return points.astype(np.float64)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{path}: {_EXPECTED}, found something else ({first_line(error)[:100]})") from error


def usual_shape(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring points into the shape (T, P, 2 or 3), where the shape in the file has one meaning.

    Args:
        points: also (P, 2 or 3), (T, 1, P, 2 or 3), (T, 2 or 3, 68), and (136,) or (T, 136) with x and y in turn or all
            x first, whichever gives a face; P is 68, or 478 or 468 of a face mesh, whose means are the landmarks.
    """
    if points.ndim == 4 and points.shape[1] == 1:
        points = points[:, 0]
    if points.ndim in (1, 2) and points.shape[-1] == 2 * LANDMARKS:
        points = _in_turn_or_x_first(points.reshape(-1, 2 * LANDMARKS))
    elif points.ndim in (2, 3) and points.shape[-1] == LANDMARKS and points.shape[-2] in (2, 3):
        points = points.swapaxes(-1, -2)
    points = points[None] if points.ndim == 2 else points
    if points.ndim == 3 and points.shape[1] in (_MESH, _MESH_WITHOUT_IRISES) and points.shape[2] in (2, 3):
        mesh = np.zeros((len(points), _MESH, 2))
        mesh[:, : points.shape[1]] = points[..., :2]
        points = landmarks_of_mesh(mesh)
    return points


def _in_turn_or_x_first(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (T, 68, 2) of rows (T, 136)."""
    in_turn, x_first = rows.reshape(-1, LANDMARKS, 2), rows.reshape(-1, 2, LANDMARKS).swapaxes(1, 2)
    usable = np.isfinite(rows).all() and len(rows)
    return x_first if usable and landmark_problem(in_turn) and not landmark_problem(x_first) else in_turn


def _named(names: list[str]) -> str | None:
    """The only name that is usual, or else the only one that speaks of landmarks."""
    usual = [name for name in names if name.lower() in KEYS]
    likely = usual or [name for name in names if "landmark" in name.lower()]
    return likely[0] if len(likely) == 1 else None


def _plain_points(content: Any) -> Any:
    """Nested lists of numbers."""
    if isinstance(content, list):
        return [_plain_points(item) for item in content]
    if not isinstance(content, dict):
        return content
    lower = {key.lower(): key for key in content}
    if {"x", "y"} <= lower.keys():
        x, y = content[lower["x"]], content[lower["y"]]
        return list(map(list, zip(x, y, strict=True))) if isinstance(x, list) else [x, y]
    named = _named(list(content)) or ("frames" if "frames" in content else None)
    named = named or next((key for key in _FACES if isinstance(content.get(key), list)), None)
    if named is None:
        if not content or not all(_names_a_frame(key) for key in content):
            found = printable(", ".join(list(content)[:5]))
            raise ValueError(f"expected one key named {KEYS[0]}, found {found[:100]}")
        return [_plain_points(content[key]) for key in natsorted(content)]
    if named in _FACES and len(content[named]) != 1:
        raise ValueError(f"expected one face, found {len(content[named])} under {named}; keep one")
    return _plain_points(content[named][0] if named in _FACES else content[named])


def _names_a_frame(key: str) -> bool:
    """True for numbers and names of pictures."""
    stem, _, suffix = key.rpartition(".")
    return key.isdigit() or (bool(stem) and suffix.lower() in ("png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"))
