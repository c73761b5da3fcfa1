"""Figures of published results, against an independent measurement of the same definition.

The results lie beside the repository and are not part of it. The expected values were measured on them by a program
that shares no code with this one.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from clips.pictures import read_image
from clips.reading import open_clip
from evaluation.face_clip import FaceClip, read_working_frames, scaled_points
from evaluation.motion import FaceMotion, agreement, face_grid, map_between_faces, measure_motion, same_length
from tests.conftest import ROOT

CLIPS = ROOT.parent / "shared" / "data" / "me"
pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason="the published results are not part of the repository")
DRIVING, SOURCE = "driving_fpb/s3_po_05", "target/normalized_asianFemale"
FRAMES = 12  # of TV-L1, which is slow; the other program takes 25


@cache
def driving() -> FaceClip:
    """The driving clip at the working size."""
    frames, length, size = read_working_frames(open_clip(CLIPS / DRIVING), 128)
    points = np.load(CLIPS / f"{DRIVING}.onset.npy").reshape(-1, 68, 2)[0].astype(float)
    return FaceClip(frames, scaled_points(points, size, frames.shape[1:3]), length)


@cache
def driving_motion(estimator: str) -> FaceMotion:
    """Its motion."""
    return measure_motion(driving(), face_grid(driving().landmarks), estimator, _most(estimator))


def _most(estimator: str) -> int:
    return 128 if estimator == "dis" else FRAMES


@pytest.mark.parametrize(
    ("system", "estimator", "error", "corr"),
    [
        ("FOMM", "dis", 0.94, 0.57),
        ("FOMM", "tvl1", 0.80, 0.55),
        ("MRAA_with_AWP", "dis", 1.16, -0.16),
    ],
)
def test_motion_figures_agree_with_an_independent_measurement(system, estimator, error, corr):
    path: Path = CLIPS / "published" / system / "s3_po_05-normalized_asianFemale"
    frames, length, _ = read_working_frames(open_clip(path), 128)
    points = np.load(CLIPS / f"{SOURCE}.npy").reshape(-1, 68, 2)[0].astype(float)
    size = read_image(CLIPS / f"{SOURCE}.png").shape[:2]
    result = FaceClip(frames, scaled_points(points, size, frames.shape[1:3]), length)
    grid = map_between_faces(driving().landmarks, result.landmarks, face_grid(driving().landmarks))
    found = measure_motion(result, grid, estimator, _most(estimator))
    figures = agreement(*same_length(driving_motion(estimator).nonrigid, found.nonrigid))
    assert figures.correlation == pytest.approx(corr, abs=0.05)
    assert figures.error == pytest.approx(error, abs=0.05)
