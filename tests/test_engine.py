"""The inference engine: what it asks of a model, and what it makes of the answers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clips.loader import ClipLoader
from clips.reading import open_clip
from config.load import build_config
from config.sections import AnimateParams, DatasetParams, NormalizationParams
from core.inference import inference_device
from core.models import build_model
from errors import UserError
from faces.action_units import ACTION_UNITS
from faces.alignment import fit_similarity, remove_head_motion
from faces.clip_motion import ClipMotion
from faces.dense_transfer import DenseTransfer
from generation.engine import Engine
from generation.limits import check_generated
from modules.model import MotionModel
from tests.conftest import SIZE, tiny_experiment, write_action_units, write_clip
from tests.option_probes import experiment, model_of

FRAMES = 5
HALF = (SIZE - 1) / 2


class RecordingModel(MotionModel):
    """A family without networks that remembers what it is asked, and draws a grey that tells which frame moved it.

    Args:
        from_landmarks: its motion depends on the landmarks alone.
    """

    keypoint_name = "points"
    needs_landmarks = True
    takes_flow = True

    def __init__(self, *, from_landmarks: bool = True):
        super().__init__()
        self.motion_from_landmarks = from_landmarks
        self.related, self.generated = [], []

    def motion(self, image, landmarks=None):
        return {"points": landmarks, "brightness": image.mean((1, 2, 3))}

    def relative(self, source, driving, driving_initial, mode, normalization):
        self.related.append(
            SimpleNamespace(driving=driving, initial=driving_initial, mode=mode, normalization=normalization)
        )
        return {"points": driving["points"] + 1, "brightness": driving["brightness"]}

    def encode(self, source, landmarks=None):
        return {"source": source, "landmarks": landmarks}

    def generate(self, encoded, motion_source, motion_driving, condition=None):
        asked = SimpleNamespace(encoded=encoded, source=motion_source, driving=motion_driving, condition=condition)
        self.generated.append(asked)
        grey = motion_driving["points"][:, 48, 0][:, None, None, None]  # beyond [0, 1], too
        return {"prediction": grey.expand(-1, 3, SIZE, SIZE)}

    def asked(self, part: str) -> torch.Tensor:
        """One of `au_diff`, `flow` and `points`, of all frames."""
        if part == "points":
            return torch.cat([asked.driving["points"] for asked in self.generated])
        return torch.cat([getattr(asked.condition, part) for asked in self.generated])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A source and a driving clip; the driving face is smaller, turns, opens one corner of its mouth, and shows AU12
    from 0 to 5."""
    root = tmp_path_factory.mktemp("engine")
    (root / "landmarks").mkdir()
    (root / "au").mkdir()
    for number, name in enumerate(("source", "driving")):
        landmarks = write_clip(root, name, number, frames=FRAMES)
        if name == "driving":
            landmarks = 6 + 0.8 * landmarks
            for t in range(FRAMES):
                landmarks[t, 48] += [-0.5 * t, 0.3 * t]
                landmarks[t] += [0.1 * t, 0.5 * t]
        np.save(root / "landmarks" / f"{name}.npy", landmarks)
        write_action_units(root / "au" / f"{name}.csv", FRAMES)
    params = DatasetParams.model_validate(
        {
            "frame_shape": [SIZE, SIZE, 3],
            "keypoint_dir": str(root / "landmarks"),
            "au_dir": str(root / "au"),
            "cache_dir": str(root / "cache"),
        }
    )
    loader = ClipLoader(params, landmarks=True, action_units=True)
    return loader.load(open_clip(root / "source")), loader.load(open_clip(root / "driving"))


def settings(**changes) -> AnimateParams:
    return AnimateParams.model_validate(changes)


def animate(model, clips, *, reference=0, batch_size=2, **changes):
    engine = Engine(model, inference_device(), batch_size)
    return list(engine.animate(*clips, settings(**changes), reference=reference))


def pixels(units: torch.Tensor) -> np.ndarray:
    return (units.numpy() + 1) * HALF


@pytest.mark.parametrize("reference", [0, 2])
@pytest.mark.parametrize("from_landmarks", [True, False])
def test_the_action_unit_difference_is_driving_minus_reference(clips, reference, from_landmarks):
    model = RecordingModel(from_landmarks=from_landmarks)
    animate(model, clips, reference=reference)
    au_diff = model.asked("au_diff")[:, ACTION_UNITS.index(12)].numpy()
    expected = np.linspace(0, 1, FRAMES) - np.linspace(0, 1, FRAMES)[reference]
    np.testing.assert_allclose(au_diff, np.stack([expected, expected], axis=1), atol=1e-6)
    assert not model.asked("au_diff")[:, ACTION_UNITS.index(4)].any()


def test_a_driving_clip_without_action_units_has_no_difference(clips):
    model = RecordingModel()
    source, driving = clips
    animate(model, (source, replace(driving, action_units=None)))
    assert all(asked.condition.au_diff is None for asked in model.generated)


@pytest.mark.parametrize("reference", [0, 3])
@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("scaled", [True, False])
def test_relative_landmarks_are_those_of_the_similarity(clips, reference, still, scaled):
    source, driving = clips
    model = RecordingModel()
    normalization = {"adapt_movement_scale": scaled}
    animate(model, clips, reference=reference, remove_head_motion=still, normalization_params=normalization)
    driven = remove_head_motion(driving.landmarks, reference) if still else driving.landmarks
    own = source.landmarks[0]
    change = driven - driven[reference]
    expected = own + (fit_similarity(driven[reference], own).turn(change) if scaled else change)
    np.testing.assert_allclose(pixels(model.asked("points")), expected, atol=1e-3)
    np.testing.assert_allclose(pixels(model.asked("points"))[reference], own, atol=1e-3)
    assert model.related == [], "the landmarks have been transferred already"
    (first, *_) = model.generated
    np.testing.assert_allclose(pixels(first.source["points"])[0], own, atol=1e-3)


@pytest.mark.parametrize("reference", [0, 3])
def test_other_motion_goes_through_the_model(clips, reference):
    source, driving = clips
    model = RecordingModel(from_landmarks=False)
    normalization = {"adapt_movement_scale": False, "use_relative_jacobian": False}
    animate(model, clips, reference=reference, remove_head_motion=False, normalization_params=normalization)
    found = torch.cat([related.driving["points"] for related in model.related])
    np.testing.assert_allclose(pixels(found), driving.landmarks, atol=1e-3)
    brightness = torch.cat([related.driving["brightness"] for related in model.related])
    np.testing.assert_allclose(brightness, driving.cached.frames().mean((1, 2, 3)) / 255, atol=1e-5)
    for related in model.related:
        np.testing.assert_allclose(pixels(related.initial["points"])[0], driving.landmarks[reference], atol=1e-3)
        assert related.mode == "relative"
        assert related.normalization == NormalizationParams(**normalization)
    torch.testing.assert_close(model.asked("points"), found + 1)


@pytest.mark.parametrize("from_landmarks", [True, False])
def test_head_motion_is_removed_by_default_and_from_relative_motion_only(clips, from_landmarks):
    def asked(**settings) -> torch.Tensor:
        model = RecordingModel(from_landmarks=from_landmarks)
        animate(model, clips, **settings)
        return model.asked("points")

    torch.testing.assert_close(asked(), asked(remove_head_motion=True))
    assert (asked() - asked(remove_head_motion=False)).abs().max() > 0.01
    torch.testing.assert_close(asked(mode="standard"), asked(mode="standard", remove_head_motion=False))


@pytest.mark.parametrize("mode", ["standard", "avd"])
@pytest.mark.parametrize("from_landmarks", [True, False])
def test_other_modes_are_the_models_business(clips, mode, from_landmarks):
    model = RecordingModel(from_landmarks=from_landmarks)
    animate(model, clips, mode=mode)
    assert [related.mode for related in model.related] == [mode] * 3
    found = torch.cat([related.driving["points"] for related in model.related])
    torch.testing.assert_close(model.asked("points"), found + 1)


def test_head_motion_is_removed_from_the_landmarks_that_a_model_sees(clips):
    _, driving = clips
    model = RecordingModel(from_landmarks=False)
    animate(model, clips, reference=1, remove_head_motion=True)
    found = torch.cat([related.driving["points"] for related in model.related])
    np.testing.assert_allclose(pixels(found), remove_head_motion(driving.landmarks, 1), atol=1e-3)


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("from_landmarks", [True, False])
def test_the_flow_that_a_model_gets_is_that_of_the_driving_clip_on_the_source(clips, still, from_landmarks):
    source, driving = clips
    model = RecordingModel(from_landmarks=from_landmarks)
    animate(model, clips, reference=3, motion="flow", remove_head_motion=still)
    motion = ClipMotion(driving.cached.frames().__getitem__, driving.landmarks, 3)
    dense = DenseTransfer(motion, source.landmarks[0], (SIZE, SIZE))
    expected = np.stack([dense.displacement(t, keep_head=not still) for t in range(FRAMES)])
    np.testing.assert_allclose(model.asked("flow").numpy() * HALF, expected, atol=1e-4)
    assert np.abs(expected[0]).max() > 0.5


def test_without_flow_a_model_gets_none(clips):
    model = RecordingModel()
    animate(model, clips)
    assert all(asked.condition.flow is None for asked in model.generated)


@pytest.mark.parametrize("changes", [{"mode": "standard"}, {"mode": "avd"}])
def test_flow_needs_relative_motion(clips, changes):
    with pytest.raises(UserError, match=r"motion: flow: expected `mode: relative`"):
        animate(RecordingModel(), clips, motion="flow", **changes)


def test_flow_needs_a_model_that_takes_it(clips):
    model = RecordingModel()
    model.takes_flow = False
    with pytest.raises(UserError, match="and a model that takes it"):
        animate(model, clips, motion="flow")


FAMILIES = {
    "tps": {"keypoints": "landmarks"},
    "fomm": {"prior": "awp", "common_params": {"num_kp": 18}},
    "mraa": {"prior": "awp", "num_regions": 18},
}
SMALL = {"block_expansion": 4, "max_features": 16, "num_blocks": 2, "scale_factor": 0.25}
DRAWS = {"block_expansion": 4, "max_features": 16, "num_down_blocks": 2}
NETWORKS = {
    "tps": {"common_params": {"bg": False}, "generator_params": DRAWS, "dense_motion_params": SMALL},
    "fomm": {
        "kp_detector_params": SMALL,
        "generator_params": {**DRAWS, "blend_source": True, "dense_motion_params": SMALL},
    },
    "mraa": {
        "bg_predictor_params": {"bg_type": "zero"},
        "region_predictor_params": SMALL,
        "generator_params": {**DRAWS, "pixelwise_flow_predictor_params": SMALL},
    },
}


def tiny_model(tmp_path, family, **changes):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"] = {"family": family, **NETWORKS[family], **FAMILIES[family], **changes}
    torch.manual_seed(0)
    return build_model(build_config(experiment, "test").config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_networks_of_a_family_follow_the_flow(tmp_path, clips, monkeypatch, family):
    model = tiny_model(tmp_path, family)
    deformations = []
    original = model.generate

    def watched(*arguments):
        result = original(*arguments)
        deformations.append(result["deformation"])
        return result

    monkeypatch.setattr(model, "generate", watched)
    flow = [generated.frame for generated in animate(model, clips, motion="flow", batch_size=8)]
    plain = [generated.frame for generated in animate(model, clips, batch_size=8)]
    followed = deformations[0]
    assert followed.shape == (FRAMES, SIZE, SIZE, 2), "the flow is finer than what the networks find"
    assert (followed[-1] - followed[0]).abs().max() * HALF > 0.5
    assert any((a != b).any() for a, b in zip(flow, plain, strict=True))


@pytest.mark.parametrize("family", ["tps", "mraa"])
def test_mode_avd_moves_by_what_the_avd_network_says(tmp_path, clips, monkeypatch, family):
    model = tiny_model(tmp_path, family, **({"keypoints": "learned"} if family == "tps" else {}))
    asked = []

    def answer(identity, pose):
        asked.append((identity, pose))
        return 0.25 * identity + 0.125

    monkeypatch.setattr(model.avd_network, "forward", answer)
    result = animate(model, clips, mode="avd", batch_size=8)
    ((identity, pose),) = asked
    assert (identity[0] == identity[1]).all(), "one source"
    assert (pose[0] != pose[-1]).any(), "moving"
    values = (0.25 * identity[0] + 0.125).view(len(result[0].keypoints), -1)[:, :2]
    for generated in result:
        np.testing.assert_allclose(generated.keypoints, values.numpy(), atol=1e-6)


@pytest.mark.parametrize("from_landmarks", [True, False])
def test_reconstruction_uses_the_motion_of_each_frame(clips, from_landmarks):
    _, clip = clips
    model = RecordingModel(from_landmarks=from_landmarks)
    result = list(Engine(model, inference_device(), 2).reconstruct(clip))
    np.testing.assert_allclose(pixels(model.asked("points")), clip.landmarks, atol=1e-3)
    np.testing.assert_allclose(np.stack([g.keypoints for g in result]), clip.to_units(clip.landmarks), atol=1e-6)
    expected = np.linspace(0, 1, FRAMES)
    np.testing.assert_allclose(model.asked("au_diff")[:, ACTION_UNITS.index(12), 0], expected, atol=1e-6)
    for asked in model.generated:
        np.testing.assert_allclose(pixels(asked.source["points"])[0], clip.landmarks[0], atol=1e-3)
        np.testing.assert_allclose(asked.encoded["source"][0].permute(1, 2, 0) * 255, clip.cached.frames()[0])


def test_a_code_moves_the_source_to_the_landmarks_that_are_given(clips):
    source, _ = clips
    model = RecordingModel()
    landmarks = source.landmarks[0] + np.arange(3)[:, None, None] * np.array([0.5, -0.25])
    units = np.zeros((3, 17, 2), np.float32)
    units[:, 3, 1] = [0.25, 0.5, 1.0]
    result = list(Engine(model, inference_device(), 2).animate_landmarks(source, landmarks, units))
    np.testing.assert_allclose(pixels(model.asked("points")), landmarks, atol=1e-3)
    np.testing.assert_allclose(model.asked("au_diff")[:, 3], [[0, 0], [0, 0.25], [0, 0.75]], atol=1e-6)
    assert len(result) == 3


@pytest.mark.parametrize("motion", ["landmarks", "flow"])
def test_the_size_of_a_batch_changes_nothing(clips, motion):
    single, joint = (animate(RecordingModel(), clips, batch_size=size, motion=motion) for size in (1, FRAMES))
    assert len(single) == len(joint) == FRAMES
    for a, b in zip(single, joint, strict=True):
        np.testing.assert_array_equal(a.frame, b.frame)
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-6)


@pytest.mark.parametrize(("value", "grey"), [(-0.1, 0), (0.2, 51), (0.4999, 127), (0.999, 255), (1.5, 255)])
def test_pictures_are_rounded_to_the_nearest_grey_within_range(clips, monkeypatch, value, grey):
    model = RecordingModel()
    picture = torch.full((1, 3, SIZE, SIZE), value)
    monkeypatch.setattr(model, "generate", lambda *a: {"prediction": picture.expand(len(a[2]["points"]), -1, -1, -1)})
    frame = animate(model, clips)[0].frame
    assert (frame.dtype, frame.shape) == (np.uint8, (SIZE, SIZE, 3))
    assert (frame == grey).all()


@pytest.mark.parametrize(
    ("weight", "images", "keypoints", "from_landmarks", "message"),
    [
        (np.nan, np.nan, 0, True, "frame 7: the generated image .*; net: weight contains NaN .*; use another"),
        (1e36, 0, np.inf, False, "frame 7: the generated keypoints .*; net: weight contains the value 1e.36"),
        (1, 0, 1e30, True, "frame 7: the generated keypoints are far .*; check the landmarks of source and driving"),
        (1, 0, np.nan, False, "frame 7: the generated keypoints are far .*; check the checkpoint, and .*precision"),
        (1, np.inf, 0, True, "frame 7: the generated image has .*; check the checkpoint, and train_params.precision"),
    ],
)
def test_the_cause_of_values_that_are_not_finite_is_named(
    monkeypatch, weight, images, keypoints, from_landmarks, message
):
    model = RecordingModel(from_landmarks=from_landmarks)
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(network.weight, weight)
    monkeypatch.setattr(model, "networks", lambda: {"net": network})
    prediction, points = torch.zeros(3, 3, 4, 4), torch.zeros(3, 68, 2)
    check_generated(model, prediction, points, "x", 5)
    prediction[2, 0, 1, 1], points[2, 5, 0] = images, keypoints
    with pytest.raises(UserError, match=message):
        check_generated(model, prediction, points, "x", 5)


@pytest.mark.parametrize(
    ("family", "motion"), [("tps", "landmarks"), ("tps", "flow"), ("fomm", "landmarks"), ("mraa", "landmarks")]
)
def test_the_change_of_the_reference_frame_is_nothing_and_others_have_one(clips, family, motion):
    """Whatever a network makes of its source: a change is relative to the face at rest."""
    engine = Engine(model_of(build_config(experiment(family), "tiny").config), inference_device(), 2)
    params = settings(motion=motion, remove_head_motion=False)
    changes = [one.change for one in engine.animate(*clips, params, reference=1, changes=True)]
    for t, change in enumerate(changes):
        assert change.displacement.shape == (SIZE, SIZE, 2)
        assert change.residual.shape == (SIZE, SIZE, 3)
        largest = max(np.abs(change.displacement).max(), np.abs(change.residual).max())
        assert largest < 0.05 if t == 1 else t == 0 or largest > 1e-3


def test_the_change_of_a_model_without_a_deformation_is_all_residual(clips):
    engine = Engine(RecordingModel(from_landmarks=False), inference_device(), 2)
    changes = [one.change for one in engine.animate(*clips, settings(), changes=True)]
    assert all(not change.displacement.any() for change in changes)
    assert np.abs(changes[-1].residual).max() > 1
