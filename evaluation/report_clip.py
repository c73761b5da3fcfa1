"""Data of one clip in the report: its frames as one picture, its flow, and its curves.

Legend: T frames, n shown frames.
"""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.action_units import NAMES
from evaluation.face_clip import resized
from evaluation.judge import Judgement, Source
from evaluation.measuring import DrivingClip
from evaluation.motion import COARSE, spread

SIDE = 128  # longer side of a shown frame, pixels
MAX_SHOWN = 24  # frames
MAX_UNITS = 4  # action units, those that act most in the driving clip
QUALITY = 82  # of WebP
_POINTS = 48  # of a curve


def driving_player(driving: DrivingClip, source: Source) -> dict[str, Any]:
    """Return the data of a driving clip and its source image."""
    motion = next(iter(driving.measured.motion.values()))
    return {
        **_player(driving.clip.frames, motion.coarse),
        "source": _webp(resized(source.image, SIDE)),
        "length": driving.clip.length,
        "fps": driving.clip.fps,
    }


def result_player(frames: NDArray[np.uint8], verdict: Judgement) -> dict[str, Any]:
    """Return the data of a result, with its curves and those of its driving clip."""
    units: list[dict[str, Any]] = []
    if verdict.units is not None:
        own, found = verdict.units
        strongest = np.abs(own).max(axis=0).argsort(kind="stable")[::-1][:MAX_UNITS]
        units = [{"name": NAMES[k], "driving": _curve(own[:, k]), "result": _curve(found[:, k])} for k in strongest]
    return {
        **_player(frames, verdict.coarse),
        "regions": [
            {"name": name, "driving": _curve(100 * own), "result": _curve(100 * found)}
            for name, (own, found) in verdict.curves.items()
        ],
        "units": units,
        "timing": [[_number(t.onset), _number(t.apex), _number(t.offset)] for t in verdict.timing],
    }


def _player(frames: NDArray[np.uint8], coarse: NDArray[np.float32]) -> dict[str, Any]:
    """Return the frames of a clip side by side, and their flow on a coarse grid in pixels of the shown frames."""
    shown = spread(len(frames), MAX_SHOWN)
    small = [resized(frames[t], SIDE) for t in shown]
    height, width = small[0].shape[:2]
    flow = coarse[np.linspace(0, len(coarse) - 1, len(shown)).round().astype(int)] * (SIDE / max(frames.shape[1:3]))
    largest = float(np.abs(flow).max())
    quantised = (flow / largest * 127).round().astype(np.int8) if largest > 0 else np.zeros(flow.shape, np.int8)
    return {
        "count": len(shown),
        "width": width,
        "height": height,
        "frames": _webp(np.concatenate(small, axis=1)),
        "cells": COARSE,
        "flow": base64.b64encode(quantised.tobytes()).decode(),
        "unit": round(largest / 127, 6),
    }


def _webp(image: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return base64.b64encode(data.tobytes()).decode()


def _curve(values: NDArray[np.float64]) -> list[float]:
    chosen = values[spread(len(values), _POINTS)]
    return [round(float(value), 3) for value in chosen]


def _number(value: float) -> float | None:
    return None if value != value else round(value, 2)
