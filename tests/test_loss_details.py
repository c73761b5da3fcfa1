"""Directions, weights and gradients of networks and losses, in cases whose answer is known."""

from math import exp

import pytest
import torch

from config.sections import NormalizationParams
from modules.geometry import (
    apply_homography,
    inverse_2x2,
    kp2gaussian,
    make_coordinate_grid,
    motion_length,
    robust_similarity,
)
from modules.thin_plate_spline import RandomWarp
from modules.tps.dense_motion import dropout_softmax
from tests import option_probes as probes
from tests.helpers import landmarks, pictures, training_batch


def model_of(family: str, **changes):
    """A tiny model whose weights are random, ready for `losses`; changes as `section__key=value`."""
    config = probes.config_of(family, {path.replace("__", "."): value for path, value in changes.items()})
    assert not isinstance(config, str), config
    return probes.prepared_model(config)[0]


# --- geometry ---------------------------------------------------------------------------------------------------------


def test_a_heat_map_has_fallen_by_half_an_exponent_at_one_standard_deviation():
    heatmap = kp2gaussian(torch.zeros(1, 1, 2), (41, 41), variance=0.01)
    assert heatmap[0, 0, 20, 20] == 1
    assert heatmap[0, 0, 20, 22].item() == pytest.approx(exp(-0.5), abs=1e-5)  # 2 pixels are 0.1 units
    assert heatmap[0, 0, 22, 20].item() == pytest.approx(exp(-0.5), abs=1e-5)


def test_points_that_move_on_their_own_do_not_change_a_similarity():
    source = torch.rand(1, 20, 2, generator=torch.Generator().manual_seed(0))
    linear = torch.tensor([[1.1, -0.2], [0.2, 1.1]])
    target = source @ linear.mT + torch.tensor([0.3, -0.1])
    target[:, :5] += torch.tensor([0.4, 0.2])
    found = robust_similarity(source, target)[0]
    torch.testing.assert_close(found, torch.cat([linear, torch.tensor([[0.3], [-0.1]])], dim=1), atol=0.01, rtol=0)


def test_the_length_of_motion_is_in_pixels_of_the_image():
    identity = make_coordinate_grid((9, 9), torch.zeros(1))[None]
    moved = identity + torch.tensor([3 / 31.5, 4 / 15.5])  # 3 and 4 pixels of 64 x 32
    assert motion_length(moved, torch.zeros(1, 3, 32, 64)).item() == pytest.approx(5, abs=1e-3)


# --- thin-plate splines -----------------------------------------------------------------------------------------------


def test_a_spline_is_dropped_with_the_probability_that_is_given():
    uniform = torch.tensor([[0.5, 0.5, 0.75, 0.69]])
    maps = dropout_softmax(torch.zeros(1, 4, 2, 2), 0.3, uniform)
    assert maps[0, :, 0, 0].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=1e-5)


def test_keypoints_that_move_with_the_image_have_no_equivariance_loss(monkeypatch):
    model = model_of("tps", model_params__keypoints="learned", train_params__loss_weights__equivariance_value=10.0)
    warp = RandomWarp.draw(2, pictures(), probes.config_of("tps", {}).train_params.transform_params, "l2")
    points = torch.rand(2, 50, 2) - 0.5
    answers = iter([points + 0.1, points, warp.inverse(points)])  # of source, driving and warped frame
    monkeypatch.setattr(model.kp_detector, "forward", lambda image: {"fg_kp": next(answers)})
    monkeypatch.setattr(RandomWarp, "draw", lambda *arguments, **settings: warp)
    with torch.no_grad():
        losses, _ = model.losses({"source": pictures(), "driving": pictures().flip(0)}, epoch=0)
    assert losses["equivariance_value"] < 1e-3


def test_a_background_that_returns_has_no_loss(monkeypatch):
    model = model_of("tps", model_params__common_params__bg=True, train_params__bg_start=0)
    there = torch.tensor([[1.0, 0.1, 0.2], [0.0, 0.9, -0.1], [0.0, 0.05, 1.0]])
    answers = iter([there.expand(2, 3, 3), torch.linalg.inv(there).expand(2, 3, 3)])
    monkeypatch.setattr(model.bg_predictor, "forward", lambda *frames: next(answers))
    with torch.no_grad():
        losses, _ = model.losses(training_batch(2), epoch=0)
    assert losses["bg"] < 1e-4


def test_the_background_of_splines_moves_as_predicted():
    network = model_of("tps").dense_motion_network
    homography = torch.tensor([[[1.0, 0.1, 0.2], [0.0, 0.9, -0.1], [0.0, 0.05, 1.0]]])
    points = landmarks(1)[:, :50]
    splines = network.splines(points, points)
    moved, still = (network._transformations(splines, matrix, (8, 8)) for matrix in (homography, None))
    identity = make_coordinate_grid((8, 8), points)
    torch.testing.assert_close(moved[:, 0], apply_homography(homography, identity))
    torch.testing.assert_close(still[:, 0], identity[None])
    torch.testing.assert_close(moved[:, 1:], still[:, 1:])


def test_the_loss_of_warped_features_trains_the_deformation_alone():
    model = model_of("tps", train_params__loss_weights__pixel=0.0, train_params__loss_weights__warp_loss=1.0)
    losses, _ = model.losses(training_batch(2), epoch=50)
    assert set(losses) == {"warp_loss"}
    losses["warp_loss"].backward()
    assert all(parameter.grad is None for parameter in model.inpainting_network.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.dense_motion_network.parameters())


def test_shading_learns_from_its_own_loss_alone():
    learned = {}
    for weight in (0.0, 10.0):
        model = model_of(
            "tps",
            model_params__au_conditioning="film",
            train_params__loss_weights__shading=weight,
            train_params__loss_weights__warp_loss=0.0,
        )
        losses, _ = model.losses(probes.batch(), epoch=50)
        sum(losses.values()).backward()
        gradient = model.inpainting_network.au_shading.log_gain.grad
        learned[weight] = gradient is not None and bool(gradient.any())
    assert learned == {0.0: False, 10.0: True}


def test_constant_channels_are_the_mean_of_both_sides():
    model = model_of("tps", model_params__au_conditioning="concat").eval()
    batch = {name: value[:1] for name, value in probes.batch().items()}
    drawn = []
    for sides in ([0.4, 0.0], [0.0, 0.4], [0.2, 0.2], [0.0, 0.0]):
        au_diff = torch.zeros(1, 17, 2)
        au_diff[:, 8] = torch.tensor(sides)
        with torch.no_grad():
            drawn.append(model.losses({**batch, "au_diff": au_diff}, epoch=50)[1]["prediction"])
    torch.testing.assert_close(drawn[0], drawn[1])
    torch.testing.assert_close(drawn[0], drawn[2])
    assert (drawn[0] - drawn[3]).abs().max() > 0


# --- first-order motion -----------------------------------------------------------------------------------------------


def test_a_turn_of_the_driving_face_is_applied_to_that_of_the_source():
    model = model_of("fomm")
    source, driving, initial = (
        {"value": torch.rand(1, 5, 2), "jacobian": torch.rand(1, 5, 2, 2) + torch.eye(2)} for _ in range(3)
    )
    moved = model.relative(source, driving, initial, "relative", NormalizationParams())
    expected = driving["jacobian"] @ inverse_2x2(initial["jacobian"]) @ source["jacobian"]
    torch.testing.assert_close(moved["jacobian"], expected)


def test_a_discriminator_that_is_right_or_deceived_has_the_loss_to_match(monkeypatch):
    gan = {"train_params__loss_weights__generator_gan": 1.0, "train_params__loss_weights__feature_matching": []}
    model = model_of("fomm", **gan)
    scores = iter([1.0, 0.0, 1.0, 1.0, 0.0])  # deceived; right about fake and real; wrong about both
    monkeypatch.setattr(
        model.discriminator, "forward", lambda *arguments: {1.0: ([], torch.full((2, 1, 4, 4), next(scores)))}
    )
    with torch.no_grad():
        losses, generated = model.losses(training_batch(2), epoch=0)
        right, wrong = (model.discriminator_losses(training_batch(2), generated) for _ in range(2))
    assert losses["generator_gan"] == 0
    assert right["discriminator_gan"] == 0
    assert wrong["discriminator_gan"] == 2


def test_the_landmarks_of_a_prior_follow_the_warp_of_the_image(monkeypatch):
    model = model_of("fomm", model_params__prior="awp", model_params__common_params__num_kp=18)
    asked = []
    original = model.motion
    monkeypatch.setattr(model, "motion", lambda image, points: asked.append(points) or original(image, points))
    torch.manual_seed(0)
    warp = RandomWarp.draw(2, pictures(), probes.config_of("fomm", {}).train_params.transform_params, "l1")
    monkeypatch.setattr(RandomWarp, "draw", lambda *arguments, **settings: warp)
    batch = training_batch(2)
    with torch.no_grad():
        model.losses(batch, epoch=0)
    torch.testing.assert_close(warp(asked[-1]), batch["driving_landmarks"], atol=1e-3, rtol=0)
    assert (asked[-1] - batch["driving_landmarks"]).abs().max() > 0.01


# --- regions ----------------------------------------------------------------------------------------------------------


def region() -> dict[str, torch.Tensor]:
    affine = 0.2 * (torch.rand(1, 5, 2, 2) + torch.eye(2))
    return {"shift": torch.rand(1, 5, 2) - 0.5, "affine": affine, "covar": affine @ affine.mT}


def test_a_region_is_read_where_the_source_has_it():
    predictor = model_of("mraa").generator.pixelwise_flow_predictor
    source, driving = region(), region()
    homography = torch.tensor([[[1.0, 0.1, 0.2], [0.0, 0.9, -0.1], [0.0, 0.05, 1.0]]])
    motions = predictor.sparse_motions(driving, source, (8, 8), homography)
    identity = make_coordinate_grid((8, 8), motions)
    linear = source["affine"][0, 2] @ torch.linalg.inv(driving["affine"][0, 2])
    expected = (identity - driving["shift"][0, 2]) @ linear.mT + source["shift"][0, 2]
    torch.testing.assert_close(motions[0, 3], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(motions[:, 0], apply_homography(homography, identity))


def test_the_avd_network_sees_a_face_of_another_size_with_affine_frames_to_match(monkeypatch):
    config = probes.config_of("mraa", {"train_avd_params.random_scale": 0.5})
    model = probes.model_of(config)
    model.prepare_avd(config.train_avd_params)
    seen = []

    def watched(identity, pose):
        seen.append(pose)
        return pose

    monkeypatch.setattr(model.avd_network, "forward", watched)
    model.avd_losses(training_batch(4), epoch=0)
    with torch.no_grad():
        driving = model.motion(training_batch(4)["driving"])
    values = seen[0].view(4, 5, 6)
    scale = values[..., :2] / driving["shift"]
    assert (scale - 1).abs().max() > 0.05
    affine = driving["affine"] * scale[..., None]
    torch.testing.assert_close(values[..., 2:].unflatten(2, (2, 2)), affine, atol=1e-4, rtol=1e-3)
