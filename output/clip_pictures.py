"""Thumbnails and action-unit curves of a clip, for the page of `output/clip_page.py`.

Legend: T frames, H x W image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clips.reading import Frame
from faces.action_units import ACTION_UNITS, SIDES
from faces.alignment import expression_distance
from faces.facs import MAX_INTENSITY
from output.video import DIFFERENCE_GAIN, difference_image

SIDE = 128  # longest side of a thumbnail, pixels
MAX_CURVES = 4  # action units per clip that are drawn, those that change most
_WORKING_SIDE = 512  # larger frames are shrunk before they are compared
_MAX_POINTS = 64  # points per curve
_QUALITY = 80  # of WebP
_GREEN, _BLACK = (80, 255, 80), (0, 0, 0)


@dataclass(frozen=True)
class Picture:
    """One thumbnail.

    Attributes:
        caption: short text below the picture.
        webp: the encoded picture; None if there is nothing to show.
        width, height: in pixels.
    """

    caption: str
    webp: bytes | None = None
    width: int = SIDE
    height: int = SIDE


@dataclass(frozen=True)
class Curve:
    """Intensity of one action unit over the clip.

    Attributes:
        name: `AU12`, or `AU12 L` for the subject's left side.
        peak: largest intensity, 0 to 5.
        points: (frame, intensity from 0 to 5), at most 64 of them.
    """

    name: str
    peak: float
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Apex:
    """The strongest frame of a clip.

    Attributes:
        frame: index from 0; None if it is unknown.
        estimated: True if it is the frame in which the landmarks are farthest from those of the onset.
        motion: mean distance of the landmarks from those of the onset in that frame, without head motion, in pixels;
            None without landmarks.
    """

    frame: int | None
    estimated: bool = False
    motion: float | None = None


def find_apex(
    landmarks: NDArray[np.float64] | None, onset: int, labelled: int | None, offset: int | None = None
) -> Apex:
    """Return the apex of the labels, or else estimate it from the landmarks.

    Args:
        landmarks: (T, 68, 2), pixels, one row per frame, or None.
        onset: frame from which motion is measured.
        labelled: apex of the labels.
        offset: before which an apex is estimated; None: the last frame, as in curves of FACS codes.
    Returns:
        An unknown apex if there are neither labels nor landmarks that move.
    """
    if landmarks is None or len(landmarks) < 2:
        return Apex(labelled)
    distance = expression_distance(landmarks, onset)
    if labelled is not None:
        return Apex(labelled, motion=float(distance[labelled]))
    last = len(landmarks) - 1 if offset is None else offset
    between = distance[onset + 1 : last] if last > onset + 1 else distance[onset + 1 :]
    frame = onset + 1 + int(between.argmax()) if len(between) else onset
    return Apex(frame, True, float(distance[frame])) if distance[frame] > 0 else Apex(None, motion=0.0)


def clip_pictures(
    read: Callable[[int], Frame],
    onset: int,
    apex: Apex,
    landmarks: NDArray[np.float64] | None,
    *,
    onset_known: bool,
) -> tuple[Picture, ...]:
    """Return onset, apex, difference x5, and the onset with its landmarks; pictures of unknown things are empty.

    Args:
        read: returns a frame, uint8 (H, W, 3).
        landmarks: (68, 2) of the onset frame, pixels, or None.
        onset_known: False if the labels name no onset, so that the first frame is shown.
    """
    first = read(onset)
    start = _fit(first, _WORKING_SIDE)
    name = f"{'Onset' if onset_known else 'First frame'} ({onset})"
    pictures = [_picture(name, start)]
    if apex.frame is None:
        pictures += [Picture("Apex unknown"), Picture("No difference")]
    else:
        strongest = _fit(read(apex.frame), _WORKING_SIDE)
        pictures.append(_picture(f"Apex{', estimated' if apex.estimated else ''} ({apex.frame})", strongest))
        if strongest.shape == start.shape:
            pictures.append(_picture(f"Difference \u00d7{DIFFERENCE_GAIN:.0f}", difference_image(start, strongest)))
        else:
            pictures.append(Picture("No difference"))
    if landmarks is None:
        pictures.append(Picture("No landmarks"))
    else:
        pictures.append(_picture("Landmarks", _with_landmarks(first, landmarks)))
    return tuple(pictures)


def action_unit_curves(action_units: NDArray[np.floating]) -> tuple[Curve, ...]:
    """Return the curves of the action units that change most, strongest first; sides apart if they differ.

    Args:
        action_units: (T, 17, 2), 0 to 1, the subject's left and right.
    """
    values = np.asarray(action_units, np.float64) * MAX_INTENSITY
    series: list[tuple[str, NDArray[np.float64]]] = []
    for i, unit in enumerate(ACTION_UNITS):
        if np.array_equal(values[:, i, 0], values[:, i, 1]):
            series.append((f"AU{unit}", values[:, i, 0]))
        else:
            series += [(f"AU{unit} {side}", values[:, i, j]) for j, side in enumerate(SIDES)]
    moving = [(name, value) for name, value in series if np.ptp(value) >= 0.05]
    moving.sort(key=lambda item: -float(np.ptp(item[1])))  # stable: the order of the units where they change alike
    frames = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MAX_POINTS)).round().astype(int)).tolist()
    return tuple(
        Curve(name, float(value.max()), tuple((frame, float(value[frame])) for frame in frames))
        for name, value in moving[:MAX_CURVES]
    )


def _fit(frame: Frame, side: int) -> Frame:
    """Shrink a frame whose longer side is above `side` pixels."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return np.asarray(frame)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(np.asarray(frame), size, interpolation=cv2.INTER_AREA), np.uint8)


def _picture(caption: str, frame: Frame) -> Picture:
    small = _fit(frame, SIDE)
    height, width = small.shape[:2]
    written, data = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return Picture(caption, data.tobytes(), width, height) if written else Picture(caption)


def _with_landmarks(frame: Frame, landmarks: NDArray[np.float64]) -> Frame:
    """Draw landmarks (68, 2), pixels of the frame, on a thumbnail of it."""
    small = np.array(_fit(frame, SIDE), order="C")
    scale = np.array(small.shape[1::-1]) / np.array(frame.shape[1::-1])
    points = np.clip((landmarks + 0.5) * scale - 0.5, -SIDE, 2 * SIDE)  # drawing takes 16-bit coordinates only
    pixels = (points * 16).round().astype(int).tolist()
    for radius, colour in ((26, _BLACK), (16, _GREEN)):  # sixteenths of a pixel; dark rims show on bright skin
        for x, y in pixels:
            cv2.circle(small, (x, y), radius, colour, -1, cv2.LINE_AA, shift=4)
    return small
