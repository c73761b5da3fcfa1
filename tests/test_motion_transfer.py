"""Transfer of motion to the source face by the engine, and by the models."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from config.sections import AnimateParams, NormalizationParams
from config.warp import WarpModelParams
from generation.engine import Engine
from modules.warp.model import WarpModel
from tests.conftest import face_landmarks

SIZE = 64
ENGINE = Engine(WarpModel(WarpModelParams(family="warp")), Fabric(accelerator="cpu", devices=1), batch_size=4)
DRIVING = 0.8 * face_landmarks(SIZE) + np.random.default_rng(0).normal(size=(5, 68, 2))
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])


class FakeClip(SimpleNamespace):
    """A clip of given landmarks, in pixels of its own frames, which are resized by `stretch` (x, y)."""

    def __init__(self, landmarks: np.ndarray, stretch: tuple[float, float] = (1.0, 1.0)):
        scale = np.array(stretch)
        cached = SimpleNamespace(to_own=lambda points: points / scale, from_own=lambda points: points * scale)
        super().__init__(landmarks=landmarks * scale, cached=cached)

    def to_units(self, landmarks: np.ndarray) -> np.ndarray:
        return (landmarks * 2 / (SIZE - 1) - 1).astype(np.float32)


def transferred(source: FakeClip, driving: FakeClip, reference: int = 0, **normalization) -> np.ndarray:
    params = AnimateParams(normalization_params=NormalizationParams(**normalization), remove_head_motion=False)
    moved = ENGINE._transferred_landmarks(source, driving, params, reference)
    assert moved is not None
    return moved


@pytest.mark.parametrize("scaling", ["similarity", "hull"])
def test_engine_and_model_agree_on_square_frames(scaling):
    source, driving = FakeClip(face_landmarks(SIZE)[None] @ TURN.T), FakeClip(DRIVING)
    motions = (torch.from_numpy(clip.to_units(clip.landmarks)) for clip in (source, driving))
    own, moved = ({"landmarks": points} for points in motions)
    expected = ENGINE.model.relative(
        own,
        moved,
        {"landmarks": moved["landmarks"][2:3]},
        "relative",
        NormalizationParams(movement_scale=scaling),
    )["landmarks"]
    found = transferred(source, driving, reference=2, movement_scale=scaling)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[2], own["landmarks"][0].numpy(), atol=1e-6)


def test_the_options_of_relative_movement_have_an_effect():
    source, driving = FakeClip(face_landmarks(SIZE)[None] @ TURN.T), FakeClip(DRIVING)
    similarity, hull = transferred(source, driving), transferred(source, driving, movement_scale="hull")
    unchanged = transferred(source, driving, adapt_movement_scale=False)
    assert np.abs(similarity - hull).max() > 0.01
    np.testing.assert_allclose(unchanged - unchanged[:1], (DRIVING - DRIVING[:1]) * 2 / (SIZE - 1), atol=1e-5)


def test_frames_resized_to_another_aspect_ratio_do_not_distort_the_motion():
    source = face_landmarks(SIZE)[None] @ TURN.T
    square = transferred(FakeClip(source), FakeClip(DRIVING))
    stretched = transferred(FakeClip(source), FakeClip(DRIVING, stretch=(2.0, 0.5)))
    np.testing.assert_allclose(stretched, square, atol=1e-5)
