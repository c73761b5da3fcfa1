"""Results of an evaluation with given settings, for `tests/test_options.py`."""

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import imageio.v3 as iio
import numpy as np
import torch
from torch import nn

from clips.reading import open_clip
from config.experiment import Config
from evaluation import jobs
from evaluation.jobs import Job, Settings, evaluate_pair
from evaluation.result_clips import Pair
from tests.evaluation.faces import face_clip, photograph, strength

SIDE, LENGTH = 96, 10


class _Distance(nn.Module):
    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other).abs().mean()


class _Features(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(3).mean(2)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="evaluation-")


@cache
def network_file(kind: str) -> str:
    """A TorchScript network: `distance` or `features`."""
    path = Path(_folder().name, f"{kind}.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script({"distance": _Distance, "features": _Features}[kind]()).save(str(path))
    return str(path)


@cache
def _job() -> Job:
    """A result with true frames, of another person than the driving clip."""
    root = Path(_folder().name)
    curve = strength(LENGTH, 4, 4.0)
    clips = {
        "driving": face_clip(curve=curve),
        "truth": face_clip("grace_hopper", curve=curve),
        "result": face_clip("grace_hopper", curve=0.7 * curve),
    }
    for name, clip in clips.items():
        (root / name).mkdir()
        for number, frame in enumerate(clip.frames):
            small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            iio.imwrite(root / name / f"{number:04d}.png", small)
        person = "astronaut" if name == "driving" else "grace_hopper"
        np.save(root / f"{name}.npy", (photograph(person)[1] + 0.5) * SIDE / 256 - 0.5)
    driving, truth, result = (open_clip(root / name) for name in clips)
    return Job(0, Pair(truth, driving, ("pair",), truth), (("ours", result),))


def judged(config: Config) -> Any:
    """Scores of a result and of the references, and what else comes of them."""
    with patch.object(jobs, "face_mesh", lambda: None):  # landmarks come from files
        outcome = evaluate_pair(Settings(config.evaluate_params, None, 100.0), _job())
    assert not outcome.problems, outcome.problems
    return {
        one.system: (
            {name: round(value, 4) for name, value in one.scores.items() if value == value},
            one.player is None,
            None if one.features is None else [part.shape for part in one.features],
        )
        for one in outcome.judged
    }
