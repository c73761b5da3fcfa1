"""Judges a model between the epochs of its training, on a few test clips whose truth is known."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from lightning.fabric import Fabric
from numpy.typing import NDArray

from clips.loader import LoadedClip, make_clip_loader
from clips.splits import split_clips
from config.experiment import Config
from core.inference import InferenceDevice
from errors import UserError
from evaluation.face_clip import FaceClip, resized, scaled_points
from evaluation.judge import Source, judge
from evaluation.measuring import DrivingClip, Methods, measure_driving
from evaluation.motion import spread
from generation.engine import Engine
from modules.model import MotionModel
from output.metrics import temporal_difference

MAX_FRAMES = 32  # per clip, evenly spread
ESTIMATOR = "dis"
FIGURES = ("motion_error", "motion_corr", "motion_gain", "au_error", "au_corr")

log = logging.getLogger("evaluate")


@dataclass(frozen=True)
class _TestClip:
    clip: LoadedClip
    times: NDArray[np.int_]
    driving: DrivingClip
    source: Source


class TestClipJudge:
    """Reconstructs test clips from their first frame and judges motion and action units.

    Args:
        config: `train_params.evaluation_clips` test clips are used.
        model: moved to the device of `fabric`.
    Raises:
        UserError: no test clip can be used.
    """

    __test__ = False  # not a test of pytest

    def __init__(self, config: Config, fabric: Fabric, model: MotionModel):
        self._fabric, self._model = fabric, model
        self._batch_size, self._precision = config.reconstruction_params.batch_size, config.train_params.precision
        loader = make_clip_loader(
            config.dataset_params,
            str(fabric.device),
            landmarks=True,
            action_units=model.needs_action_units,
            size_problems=config.size_problems,
        )
        clips = split_clips(config.dataset_params, "test")[: config.train_params.evaluation_clips]
        loaded, problems = loader.load_all(clips, "test")
        self._methods = Methods(estimators=(ESTIMATOR,))
        self._clips: list[_TestClip] = []
        for clip in loaded:
            try:
                self._clips.append(self._measured(clip))
            except ValueError as error:
                problems.append(f"clip {clip.name}: {error}")
        for problem in problems:
            log.warning("not evaluated during training: %s", problem)
        if not self._clips:
            raise UserError(f"train_params.evaluation_freq: no test clip can be used; the first: {problems[0]}")

    def _measured(self, clip: LoadedClip) -> _TestClip:
        assert clip.landmarks is not None, "clips are loaded with landmarks"
        times = spread(len(clip), MAX_FRAMES)
        frames = np.asarray(clip.cached.frames()[times])
        working = np.stack([resized(frame) for frame in frames])
        landmarks = scaled_points(clip.landmarks[0], frames.shape[1:3], working.shape[1:3])
        driving = measure_driving(FaceClip(working, landmarks, len(clip)), self._methods)
        return _TestClip(clip, times, driving, Source(working[0], landmarks))

    def __call__(self) -> Mapping[str, float]:
        """Return the means of the figures over the clips; the model is left in evaluation mode."""
        device = InferenceDevice(self._fabric.device, self._precision)
        engine = Engine(self._model, device, self._batch_size)
        rows = [self._figures(engine, test) for test in self._clips]
        return {name: _mean([row[name] for row in rows]) for name in rows[0]}

    def _figures(self, engine: Engine, test: _TestClip) -> dict[str, float]:
        chosen = set(test.times.tolist())
        frames = [made.frame for t, made in enumerate(engine.reconstruct(test.clip)) if t in chosen]
        working = np.stack([resized(frame) for frame in frames])
        result = FaceClip(working, test.source.landmarks, len(test.clip))
        scores = judge(result, test.driving, test.source, self._methods).scores
        found = {name: scores.get(f"{name}_{ESTIMATOR}", scores.get(name, float("nan"))) for name in FIGURES}
        truth = np.asarray(test.clip.cached.frames()[test.times])
        found["difference_error"] = temporal_difference(truth, np.stack(frames))[0]
        return found


def _mean(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")
