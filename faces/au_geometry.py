"""Moves the landmarks of a face according to its action units, by the table `data/action_unit_geometry.csv`.

Landmarks are xy in pixels, y down, iBUG order; "left" and "right" are the subject's own. The *face frame* has the unit
vectors `lateral`, along the line of the eye centres towards the ear of the same side, and `up`, from chin to brow; its
unit of length is the distance of the eye centres.

Legend: 17 action units in the order of `ACTION_UNITS`, 2 sides in the order of `SIDES`, ... any leading axes.
"""

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faces.action_unit_tables import ACTION_UNITS
from faces.action_units import SIDES
from faces.alignment import LANDMARKS, LEFT_EYE, RIGHT_EYE
from faces.landmarks import MIRRORED_LANDMARKS

TABLE = Path(__file__).resolve().parents[1] / "data" / "action_unit_geometry.csv"
COLUMNS = ("au", "landmark", "lateral", "up")
MAX_DISPLACEMENT = 0.2  # eye distances; no expression moves skin farther

UPPER_EDGES = np.array([37, 38, 43, 44, 61, 62, 63])
LOWER_EDGES = np.array([41, 40, 47, 46, 67, 66, 65])
"""Points of lids and lips, one above the other."""
MIN_APERTURE = 0.2
"""Fraction of the aperture that an eye or a mouth keeps, because edges that meet would fold the image."""

_MIDDLE = frozenset(i for i, mirrored in enumerate(MIRRORED_LANDMARKS) if i == mirrored)
_RIGHT = frozenset((*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67))


def read_geometry(path: Path = TABLE) -> NDArray[np.float64]:
    """Read a table of landmark displacements.

    Columns `au,landmark,lateral,up`, one row per moving landmark, for the subject's right half of the face and its
    middle; lines that begin with # are comments. The left half is the mirror image, and landmarks in the middle get
    half of their displacement from each side.

    Args:
        path: CSV file.
    Returns:
        (17, 2, 68, 2): displacement of every landmark by an action unit of full intensity on the left and on the right
        side, eye distances, x towards the subject's left and y down.
    Raises:
        ValueError: unreadable, other columns, an unknown action unit, a landmark outside the right half and the middle,
            a repeated landmark, a displacement that is not a number or too large, an action unit without rows.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a readable CSV table ({error})") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(line for _, line in numbered))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"{path}: expected the columns {','.join(COLUMNS)}, got {','.join(rows[0]) if rows else ''!r}")
    geometry = np.zeros((len(ACTION_UNITS), len(SIDES), LANDMARKS, 2))
    seen: set[tuple[int, int]] = set()
    left, right = SIDES.index("left"), SIDES.index("right")
    for (number, _), row in zip(numbered[1:], rows[1:], strict=True):
        try:
            au, landmark, lateral, up = _parse_row(row)
            if (au, landmark) in seen:
                raise ValueError(f"AU{au} moves landmark {landmark} twice")
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}") from error
        seen.add((au, landmark))
        share = 0.5 if landmark in _MIDDLE else 1.0
        unit = ACTION_UNITS.index(au)
        geometry[unit, right, landmark] = -share * lateral, -share * up
        geometry[unit, left, MIRRORED_LANDMARKS[landmark]] = share * lateral, -share * up
    missing = [au for au in ACTION_UNITS if au not in {au for au, _ in seen}]
    if missing:
        raise ValueError(f"{path}: expected all {len(ACTION_UNITS)} action units, but AU{missing[0]} has no row")
    return geometry


def _parse_row(row: list[str]) -> tuple[int, int, float, float]:
    if len(row) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} cells, got {len(row)}")
    try:
        au, landmark, lateral, up = int(row[0]), int(row[1]), float(row[2]), float(row[3])
    except ValueError as error:
        raise ValueError(f"expected numbers, got {','.join(row)}") from error
    if au not in ACTION_UNITS:
        raise ValueError(f"expected an action unit among {', '.join(map(str, ACTION_UNITS))}, got {au}")
    if landmark not in _RIGHT | _MIDDLE:
        raise ValueError(f"expected a landmark of the subject's right half or the middle, got {landmark}")
    if not max(abs(lateral), abs(up)) <= MAX_DISPLACEMENT:
        raise ValueError(f"expected displacements up to {MAX_DISPLACEMENT} eye distances, got {row[2]} and {row[3]}")
    return au, landmark, lateral, up


_default_geometry = lru_cache(maxsize=1)(read_geometry)


def displace(
    landmarks: NDArray[np.float64], intensities: NDArray[np.floating], geometry: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Move the landmarks of a face according to its action units.

    Linear in the intensities, except that lids and lips do not cross.

    Args:
        landmarks: (68, 2), xy, pixels, of the face at rest.
        intensities: (..., 17, 2), 1 = full intensity, negative = less than in the face at rest.
        geometry: from `read_geometry`; None: the table of this program.
    Returns:
        (..., 68, 2), xy, pixels.
    Raises:
        ValueError: shapes that do not fit, values that are not finite, eye centres that coincide.
    """
    landmarks, intensities = np.asarray(landmarks, np.float64), np.asarray(intensities, np.float64)
    if landmarks.shape != (LANDMARKS, 2) or intensities.shape[-2:] != (len(ACTION_UNITS), len(SIDES)):
        raise ValueError(
            f"expected landmarks ({LANDMARKS}, 2) and intensities (..., {len(ACTION_UNITS)}, {len(SIDES)}), "
            f"got {landmarks.shape} and {intensities.shape}"
        )
    if not (np.isfinite(landmarks).all() and np.isfinite(intensities).all()):
        raise ValueError("expected finite landmarks and intensities, got NaN or infinite ones")
    x = landmarks[LEFT_EYE].mean(0) - landmarks[RIGHT_EYE].mean(0)
    if not x.any():
        raise ValueError("expected two eyes, got eye centres that coincide")
    axes = np.array([x, [-x[1], x[0]]])  # rows: to the subject's left and down, as long as the eye distance
    change = np.tensordot(intensities, _default_geometry() if geometry is None else geometry, axes=2)  # -> (..., 68, 2)
    rest = landmarks @ np.linalg.inv(axes)
    return landmarks + _without_crossing(rest, change) @ axes


def _without_crossing(rest: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reduce displacements of lids and lips so that an aperture remains: (68, 2), (..., 68, 2) -> (..., 68, 2)."""
    upper, lower = UPPER_EDGES, LOWER_EDGES
    aperture = rest[lower, 1] - rest[upper, 1]
    least = np.where(aperture > 0, MIN_APERTURE, 1.0) * aperture  # lips that noisy landmarks cross stay unchanged
    falling, rising = np.maximum(0, change[..., upper, 1]), np.maximum(0, -change[..., lower, 1])
    excess = np.maximum(0, change[..., upper, 1] - change[..., lower, 1] - (aperture - least))
    reduction = excess / np.maximum(falling + rising, 1e-12)  # excess <= falling + rising
    out = change.copy()
    out[..., upper, 1] -= reduction * falling
    out[..., lower, 1] += reduction * rising
    return out
