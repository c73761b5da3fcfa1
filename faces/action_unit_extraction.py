"""Estimates action units of images by py-feat, an optional package.

Its predictions are probabilities of action units, not intensities. The detector of version 2 is a network for all tasks
(F1 0.54 on DISFA+ in py-feat's own benchmark); older versions have gradient-boosted trees on HOG features (0.25).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

COLUMNS = (
    "frame",
    "FaceScore",
    *(f"AU{unit:02d}" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)),
)
"""Columns of an extracted table."""
REVISION = "Detectorv2"
"""Part of the key under which results are stored."""


def extract_action_units(frames: NDArray[np.uint8], device: str = "cpu") -> NDArray[np.float64]:
    """Estimate action units; `faces.action_unit_tables.parse_table(COLUMNS, ...)` reads the result.

    Args:
        frames: uint8 (T, H, W, 3) RGB.
        device: name of a torch device.
    Returns:
        (R, 22), a table with the columns `COLUMNS`: frames are counted from 0, scores and values are 0 to 1, NaN where
        no face was found. A frame with several faces has several rows.
    Raises:
        RuntimeError: the package is not installed or too old, or its weights cannot be loaded.
    """
    detector = _load_detector(device)
    pictures = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)  # -> (T, 3, H, W), 0 to 255 as py-feat expects
    table = detector.detect(pictures, data_type="tensor", progress_bar=False)
    return np.stack([np.asarray(_column(table, name), np.float64) for name in COLUMNS], axis=1)


def _column(table: Any, name: str) -> Sequence[float]:
    try:
        return table[name]
    except KeyError as error:
        raise RuntimeError(f"py-feat: expected the column {name} in its predictions, found none") from error


@lru_cache(maxsize=1)
def _load_detector(device: str) -> Any:
    """Load the detector with the networks for action units; their weights are downloaded at the first use."""
    install = 'install it with `pip install "py-feat>=2"`, or give tables with dataset_params.au_dir'
    try:
        import feat
    except ImportError as error:
        raise RuntimeError(
            f"action units cannot be extracted, because py-feat cannot be imported ({error}); {install}"
        ) from error
    names = ("Detectorv2", "Detectorv1", "Detector")  # the last two are one detector, renamed in version 2
    name = next((name for name in names if hasattr(getattr(feat, name, None), "detect")), None)
    if name is None:
        raise RuntimeError(f"action units cannot be extracted, because this py-feat has no `detect`; {install}")
    unused = {"au_model": "xgb", "emotion_model": None, "gaze_model": None} if name != "Detectorv2" else {}
    try:
        return getattr(feat, name)(identity_model=None, device=device, **unused)
    except OSError as error:
        raise RuntimeError(f"the weights of py-feat cannot be loaded ({error}); {install}") from error
