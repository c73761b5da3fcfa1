"""Networks of the thin-plate-spline family."""

import pytest
import torch

from config.load import build_config
from config.sections import NormalizationParams
from core.models import build_model
from modules.geometry import make_coordinate_grid
from modules.model import Condition
from modules.tps.dense_motion import dropout_softmax
from tests.conftest import SIZE, tiny_experiment
from tests.helpers import landmarks, pictures

USUAL = NormalizationParams()


def tiny_model(tmp_path, common_params=None, **model_params):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"].update(model_params)
    experiment["model_params"]["common_params"].update(common_params or {})
    if not experiment["model_params"]["common_params"].get("multi_mask", True):
        experiment["train_params"]["loss_weights"]["warp_loss"] = 0
    config = build_config(experiment, "test").config
    torch.manual_seed(0)
    model = build_model(config)
    # Weights that begin at zero or one would hide a path that is not connected.
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    if model.bg_predictor is not None:
        torch.nn.init.normal_(model.bg_predictor.bg_encoder.fc.weight, std=0.01)
    return model.eval(), config


def generate(model, source, kp_source, kp_driving, condition=None):
    with torch.no_grad():
        return model.generate(
            model.encode(source), model.motion(source, kp_source), model.motion(source, kp_driving), condition
        )


@pytest.mark.parametrize("scale_factor", [0.5, 0.25])
@pytest.mark.parametrize("num_down_blocks", [2, 3])
@pytest.mark.parametrize("multi_mask", [True, False])
def test_settings_change_sizes_and_nothing_breaks(tmp_path, scale_factor, num_down_blocks, multi_mask):
    model, _ = tiny_model(
        tmp_path,
        common_params={"multi_mask": multi_mask},
        generator_params={"block_expansion": 4, "max_features": 16, "num_down_blocks": num_down_blocks},
        dense_motion_params={"block_expansion": 4, "max_features": 16, "num_blocks": 3, "scale_factor": scale_factor},
    )
    out = generate(model, pictures(), landmarks(), landmarks() + 0.01)
    side = int(SIZE * scale_factor)
    assert out["prediction"].shape == (2, 3, SIZE, SIZE)
    assert out["deformation"].shape == (2, side, side, 2)
    assert out["contribution_maps"].shape == (2, 11, side, side)
    assert [m.shape[-1] for m in out["occlusion_map"]] == (
        [SIZE // 2**i for i in reversed(range(num_down_blocks + 1))] if multi_mask else [side]
    )


def test_contribution_maps_sum_to_one_and_occlusion_maps_are_in_range(tmp_path):
    model, _ = tiny_model(tmp_path)
    out = generate(model, pictures(), landmarks(), landmarks() + 0.01)
    torch.testing.assert_close(out["contribution_maps"].sum(1), torch.ones(2, 16, 16))
    for mask in out["occlusion_map"]:
        assert mask.min() >= 0
        assert mask.max() <= 1


def test_source_and_driving_alike_do_not_move(tmp_path):
    model, _ = tiny_model(tmp_path)
    out = generate(model, pictures(), landmarks(), landmarks())
    still = make_coordinate_grid((16, 16), out["deformation"])
    torch.testing.assert_close(out["deformation"], still.expand(2, -1, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(out["deformed"], pictures(), atol=1e-4, rtol=0)


def test_moving_one_keypoint_changes_the_picture(tmp_path):
    model, _ = tiny_model(tmp_path)
    moved = landmarks()
    moved[:, 48] += torch.tensor([0.05, -0.02])
    before = generate(model, pictures(), landmarks(), landmarks())
    after = generate(model, pictures(), landmarks(), moved)
    assert (after["deformation"] - before["deformation"]).abs().max() > 1e-3
    assert (after["prediction"] - before["prediction"]).abs().max() > 1e-3


def test_a_batch_of_two_is_two_batches_of_one(tmp_path):
    model, _ = tiny_model(tmp_path, keypoints="learned")
    source, driving = pictures(), pictures().flip(0)
    with torch.no_grad():
        motions = model.motion(source), model.motion(driving)
        both = model.generate(model.encode(source), *motions)["prediction"]
        single = [
            model.generate(model.encode(source[i : i + 1]), *({"fg_kp": m["fg_kp"][i : i + 1]} for m in motions))
            for i in range(2)
        ]
    torch.testing.assert_close(both, torch.cat([s["prediction"] for s in single]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("keypoints", ["learned", "landmarks"])
def test_gradients_reach_every_parameter(tmp_path, keypoints):
    model, config = tiny_model(tmp_path, keypoints=keypoints, common_params={"bg": True})
    model.prepare_training(config.train_params.model_copy(update={"bg_start": 0, "dropout_epoch": 0}), None)
    model.train()
    batch = {
        "source": pictures(4),
        "driving": pictures(4).flip(0),
        "source_landmarks": landmarks(4),
        "driving_landmarks": landmarks(4) + 0.02 * torch.randn(4, 68, 2),
    }
    losses, _ = model.losses(batch, epoch=50)
    sum(losses.values()).backward()
    expected = {"pixel", "warp_loss", "bg"} | ({"equivariance_value"} if keypoints == "learned" else set())
    assert set(losses) == expected
    idle = [
        name
        for name, parameter in model.named_parameters()
        if not name.startswith("avd_network") and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    assert idle == []


def test_dropout_leaves_splines_out_but_never_the_background():
    logits = torch.randn(2, 4, 3, 3)
    uniform = torch.tensor([[0.99, 0.1, 0.99, 0.1], [0.99, 0.99, 0.99, 0.99]])
    maps = dropout_softmax(logits, 0.5, uniform)
    assert (maps[0, 2] == 0).all()
    assert (maps[1, 1:] == 0).all()
    torch.testing.assert_close(maps.sum(1), torch.ones(2, 3, 3), atol=1e-4, rtol=0)


def test_dropout_grows_and_ends(tmp_path):
    model, config = tiny_model(tmp_path)
    model.prepare_training(config.train_params, None)
    assert [model._dropout(epoch, pictures())[0] for epoch in (0, 10, 34)] == pytest.approx([0.1, 0.3, 0.3])
    assert model._dropout(35, pictures()) is None


LOCAL = {"block_expansion": 4, "max_features": 16, "num_blocks": 3, "locality": 0.1, "initial_occlusion": 0.95}


def test_with_locality_training_starts_at_a_warp_that_is_right_near_the_landmarks(tmp_path):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"]["dense_motion_params"] = LOCAL
    config = build_config(experiment, "test").config
    model = build_model(config).eval()
    moved = landmarks(1)
    moved[:, 17:27] += torch.tensor([0.0, -0.04])  # both brows
    out = generate(model, pictures(1), landmarks(1), moved)
    shift = out["deformation"][0] - make_coordinate_grid((16, 16), moved)
    assert shift[0].abs().max() < 1e-3, "the frame's edge stays where it is"
    brow = ((moved[0, 19] + 1) / 2 * 15).round().long()
    torch.testing.assert_close(shift[brow[1], brow[0]], torch.tensor([0.0, 0.04]), atol=0.012, rtol=0)
    mouth = ((moved[0, 57] + 1) / 2 * 15).round().long()
    assert shift[mouth[1], mouth[0]].abs().max() < 0.01
    assert all((mask - 0.95).abs().max() < 1e-5 for mask in out["occlusion_map"])


def test_zones_follow_the_size_of_the_face(tmp_path):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"]["dense_motion_params"] = LOCAL
    network = build_model(build_config(experiment, "test").config).dense_motion_network
    kp = landmarks(1)[:, :50] * 0.5
    with torch.no_grad():
        for parameter in network.zones.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        large, small = network.zones(kp * 2, (17, 17)), network.zones(kp, (33, 33))
    torch.testing.assert_close(small[..., 8:25, 8:25], large)


def test_relative_movement_is_scaled_by_the_faces_sizes(tmp_path):
    model, _ = tiny_model(tmp_path)
    initial = {"fg_kp": torch.rand(1, 50, 2)}
    source = {"fg_kp": initial["fg_kp"] * 2}
    driving = {"fg_kp": initial["fg_kp"] + torch.tensor([0.01, 0.0])}
    moved = model.relative(source, driving, initial, "relative", USUAL)["fg_kp"] - source["fg_kp"]
    torch.testing.assert_close(moved, torch.tensor([0.02, 0.0]).expand_as(moved), atol=1e-5, rtol=0)
    unscaled = model.relative(source, driving, initial, "relative", NormalizationParams(adapt_movement_scale=False))[
        "fg_kp"
    ]
    torch.testing.assert_close(
        unscaled - source["fg_kp"], torch.tensor([0.01, 0.0]).expand_as(moved), atol=1e-5, rtol=0
    )
    assert model.relative(source, driving, initial, "standard", USUAL)["fg_kp"] is driving["fg_kp"]


def test_the_background_moves_only_where_both_frames_are_known(tmp_path):
    model, _ = tiny_model(tmp_path, keypoints="learned", common_params={"bg": True})
    source, driving = pictures(), pictures().flip(0)
    with torch.no_grad():
        motion_source, motion_driving = model.motion(source), model.motion(driving)
        same_scene = model.generate(model.encode(source), motion_source, motion_driving)
        carried_over = model.relative(motion_source, motion_driving, motion_source, "standard", USUAL)
        other_scene = model.generate(model.encode(source), motion_source, carried_over)
    assert same_scene["bg_param"] is not None
    assert other_scene["bg_param"] is None


@pytest.mark.parametrize("precision", ["bfloat16"])
def test_the_deformation_is_the_same_in_reduced_precision(tmp_path, precision):
    model, _ = tiny_model(tmp_path, keypoints="learned")
    source, driving = pictures(), pictures().flip(0)

    def run():
        with torch.no_grad():
            return model.generate(model.encode(source), model.motion(source), model.motion(driving))

    full = run()
    with torch.autocast("cpu", dtype=getattr(torch, precision)):
        reduced = run()
    difference = (full["deformation"] - reduced["deformation"]).abs().max() / 2 * (SIZE - 1)
    assert difference < 0.02, "pixels"
    assert (full["prediction"] - reduced["prediction"]).abs().max() > 0, "the picture path is reduced"


def test_a_missing_input_is_named(tmp_path):
    model, _ = tiny_model(tmp_path)
    with pytest.raises(ValueError, match="expected 68 landmarks"):
        model.motion(pictures())
    conditioned, _ = tiny_model(tmp_path, au_conditioning="concat")
    with pytest.raises(ValueError, match=r"expected Condition\.au_diff"):
        generate(conditioned, pictures(), landmarks(), landmarks())


def test_action_units_change_the_picture(tmp_path):
    model, _ = tiny_model(tmp_path, au_conditioning="concat")
    calm = generate(model, pictures(), landmarks(), landmarks(), Condition(au_diff=torch.zeros(2, 17, 2)))
    moved = generate(model, pictures(), landmarks(), landmarks(), Condition(au_diff=torch.ones(2, 17, 2)))
    assert (calm["prediction"] - moved["prediction"]).abs().max() > 0


def test_flow_replaces_the_motion_of_the_splines(tmp_path):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"]["dense_motion_params"] = LOCAL
    model = build_model(build_config(experiment, "test").config).eval()
    flow = torch.zeros(1, 64, 64, 2)
    flow[..., 0] = 0.1
    encoded, motion = model.encode(pictures(1)), model.motion(pictures(1), landmarks(1))
    with torch.no_grad():
        out = model.generate(encoded, motion, motion, Condition(flow=flow))
        still = model.generate(encoded, motion, motion, Condition(flow=0 * flow))
    shift = out["deformation"][0] - make_coordinate_grid((64, 64), flow)
    torch.testing.assert_close(shift, torch.tensor([-0.1, 0.0]).expand_as(shift), atol=1e-5, rtol=0)
    torch.testing.assert_close(still["deformation"][0], make_coordinate_grid((64, 64), flow), atol=1e-5, rtol=0)
