"""The region family: networks, losses, prior, checkpoints, and runs from the command line."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import run
from config.load import ConfigError, build_config, load_config
from config.sections import NormalizationParams
from core.checkpoints import CheckpointError, load_networks, read_checkpoint
from core.models import build_model
from modules.geometry import heatmap_mean, make_coordinate_grid
from modules.model import Condition
from modules.mraa.affine import principal_root, reverted, symmetric_root
from modules.thin_plate_spline import RandomWarp
from tests.conftest import SIZE, tiny_experiment, with_weights
from tests.golden import mraa_cases  # noqa: F401 - registers its replays
from tests.golden.manifests import compare_manifest
from tests.golden.replay import REPLAYS, Fixture, worst_fraction
from tests.helpers import assigned, generate, landmarks, pictures, training_batch
from tests.test_train import run_folder, same

USUAL = NormalizationParams()
GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]
FIXTURES = (
    "mraa_20_region_predictor",
    "mraa_21_bg_motion",
    "mraa_22_flow_predictor",
    "mraa_23_generator",
    "mraa_24_avd",
    "mraa_25_losses",
    "mraa_26_animation_params",
    "facial_32_awp_mraa_region_predictor",
)
AWP = {"prior": "awp", "num_regions": 18}
PUBLISHED_AWP = {
    **AWP,
    "prior_regions": "published",
    "region_affine": "principal",
    "prior_params__convention": "published",
}
REGRESSED = {"region_predictor_params__pca_based": False}
SHIFTS = {
    **REGRESSED,
    "estimate_affine": False,
    "generator_params__pixelwise_flow_predictor_params__use_covar_heatmap": False,
}
HEADS = {
    "pca": {},
    "principal": {"region_affine": "principal"},
    "regressed": REGRESSED,
    "shifts": SHIFTS,
    "awp": AWP,
    "awp regressed": {**AWP, **REGRESSED},
}


def mraa_experiment(root: Path, **changes) -> dict:
    """A region experiment that trains in seconds; changes as `path__to__key=value` below `model_params`."""
    experiment = tiny_experiment(root)
    hourglass = {"block_expansion": 4, "max_features": 16, "num_blocks": 2, "scale_factor": 0.25}
    model = {
        "family": "mraa",
        "num_regions": 5,
        "bg_predictor_params": {"block_expansion": 4, "max_features": 16, "num_blocks": 2, "bg_type": "affine"},
        "region_predictor_params": {**hourglass},
        "generator_params": {
            "block_expansion": 4,
            "max_features": 16,
            "num_down_blocks": 2,
            "num_bottleneck_blocks": 1,
            "pixelwise_flow_predictor_params": {**hourglass},
        },
        "avd_network_params": {"id_bottle_size": 8, "pose_bottle_size": 8},
    }
    experiment["model_params"] = assigned(model, changes)
    return experiment


def tiny_model(tmp_path, **changes):
    config = build_config(mraa_experiment(tmp_path, **changes), "test").config
    torch.manual_seed(0)
    model = build_model(config)
    # Weights that begin at zero or one would hide a path that is not connected.
    for name, parameter in model.named_parameters():
        if "jacobian.weight" in name or "bg_predictor.fc.weight" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.02)
        elif parameter.ndim == 1 and "jacobian" not in name and "fc" not in name and "zones" not in name:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
    return model.eval(), config


def motion(model, image, points=None):
    with torch.no_grad():
        return model.motion(image, points if model.needs_landmarks else None)


def prepared(tmp_path, **changes):
    """A model ready for `losses`."""
    model, config = tiny_model(tmp_path, **changes)
    optimisers = model.prepare_training(config.train_params, None)
    return model.train(), optimisers


# --- numbers of the published networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
def test_networks_give_the_published_numbers(name):
    path = GOLDEN / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the repository, because MRAA's licence grants no right to it")
    fixture = Fixture.read(path)
    assert worst_fraction(fixture, REPLAYS[fixture.family, fixture.meta["module_class"]](fixture)) <= 1


def test_networks_have_the_published_keys():
    path = GOLDEN / "manifest_mraa.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the repository, because MRAA's licence grants no right to it")
    compared = dict(compare_manifest(json.loads(path.read_text(encoding="utf-8"))))
    assert len(compared) >= 4
    assert not any(compared.values())


def test_keys_stand_in_the_published_order(tmp_path):
    model, _ = tiny_model(tmp_path, **AWP, **REGRESSED)
    keys = list(dict.fromkeys(key.split(".")[0] for key in model.region_predictor.state_dict()))
    assert keys == ["predictor", "regions", "region1", "region2", "jacobian", "down"]
    keys = list(dict.fromkeys(key.split(".")[0] for key in model.generator.state_dict()))
    assert keys == ["pixelwise_flow_predictor", "first", "down_blocks", "up_blocks", "bottleneck", "final"]
    keys = list(dict.fromkeys(key.split(".")[0] for key in model.generator.pixelwise_flow_predictor.state_dict()))
    assert keys == ["hourglass", "mask", "occlusion", "down"]
    assert list(model.networks()) == ["generator", "region_predictor", "bg_predictor", "avd_network"]


# --- affine frames ----------------------------------------------------------------------------------------------------


def covariances(number=500):
    factors = torch.randn(number, 2, 2, generator=torch.Generator().manual_seed(0))
    return factors @ factors.mT + 1e-3 * torch.eye(2)


def test_principal_roots_are_those_of_the_singular_value_decomposition_with_its_signs():
    covar = covariances()
    axes, variances, _ = torch.linalg.svd(covar.double())
    expected = (axes * variances.sqrt()[:, None]).float()
    torch.testing.assert_close(principal_root(covar), expected, atol=2e-4, rtol=1e-3)


def test_symmetric_roots_square_to_the_covariance():
    root = symmetric_root(covariances())
    torch.testing.assert_close(root, root.mT)
    torch.testing.assert_close(root @ root, covariances(), atol=1e-4, rtol=1e-4)
    assert (torch.linalg.eigvalsh(root) > 0).all()


@pytest.mark.parametrize("root", [principal_root, symmetric_root])
def test_roots_have_the_gradients_of_what_they_are(root):
    covar = covariances(20).double().requires_grad_()
    clear = covar[(covar[:, 0, 0] - covar[:, 1, 1]).abs() > 0.2]
    (found,) = torch.autograd.grad(root(clear).square().mul(torch.arange(4.0).view(2, 2)).sum(), clear)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        step = torch.zeros_like(clear)
        step[:, i, j] = 1e-5
        higher, lower = (
            root(clear + sign * step).square().mul(torch.arange(4.0).view(2, 2)).sum((1, 2)) for sign in (1, -1)
        )
        expected = (higher - lower) / 2e-5
        torch.testing.assert_close(found[:, i, j], expected, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("root", [principal_root, symmetric_root])
@pytest.mark.parametrize(
    "covar",
    [
        [[0.1, 0.0], [0.0, 0.1]],
        [[0.1, 1e-9], [1e-9, 0.1 + 1e-8]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[0.1, 0.1], [0.1, 0.1]],
        [[1e-9, 0.0], [0.0, 0.1]],
    ],
)
def test_gradients_stay_finite_for_round_thin_and_vanishing_regions(root, covar):
    covar = torch.tensor(covar, requires_grad=True)
    result = root(covar)
    result.sum().backward()
    assert torch.isfinite(result).all()
    assert torch.isfinite(covar.grad).all()
    assert covar.grad.abs().max() < 1e5


def test_noise_turns_the_axes_of_a_round_region_but_not_its_symmetric_root():
    noise = 1e-5 * torch.randn(100, 2, 2, generator=torch.Generator().manual_seed(0))
    covar = 0.1 * torch.eye(2) + noise + noise.mT
    assert symmetric_root(covar).std(0).max() < 1e-3
    assert principal_root(covar).std(0).max() > 0.1


def test_the_sign_of_a_motion_is_reverted_but_never_lost():
    motions = torch.tensor([[[-1.0, 2.0], [0.5, -3.0]], [[0.0, 1.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, -1.0]]])
    expected = torch.stack([-motions[0], motions[1], motions[2]])
    assert torch.equal(reverted(motions), expected)


# --- motion and picture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_source_and_driving_alike_do_not_move(tmp_path, head):
    model, _ = tiny_model(tmp_path, bg_predictor_params__bg_type="zero", **HEADS[head])
    found = motion(model, pictures(), landmarks())
    out = generate(model, pictures(), found, found)
    still = make_coordinate_grid((16, 16), out["deformation"])
    torch.testing.assert_close(out["deformation"], still.expand(2, -1, -1, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(out["deformed"], pictures(), atol=3e-3, rtol=0)


@pytest.mark.parametrize("head", HEADS)
def test_heat_maps_are_distributions_and_affine_frames_are_roots(tmp_path, head):
    model, _ = tiny_model(tmp_path, **HEADS[head])
    with torch.no_grad():
        found = model.region_predictor(pictures(), landmarks() if model.needs_landmarks else None)
    torch.testing.assert_close(found["heatmap"].sum((2, 3)), torch.ones(found["heatmap"].shape[:2]))
    assert ("affine" in found) == (head != "shifts")
    if "affine" in found:
        torch.testing.assert_close(found["affine"] @ found["affine"].mT, found["covar"], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize("scale_factor", [1, 0.5])
@pytest.mark.parametrize("skips", [True, False])
def test_settings_change_sizes_and_nothing_breaks(tmp_path, pad, scale_factor, skips):
    model, _ = tiny_model(
        tmp_path,
        region_predictor_params__pad=pad,
        region_predictor_params__scale_factor=scale_factor,
        generator_params__skips=skips,
        generator_params__num_down_blocks=3,
        generator_params__pixelwise_flow_predictor_params__scale_factor=scale_factor,
        generator_params__pixelwise_flow_predictor_params__use_deformed_source=False,
    )
    source = torch.rand(1, 3, 32, 64)
    found = motion(model, source), motion(model, source.flip(-1))
    out = generate(model, source, *found)
    assert out["prediction"].shape == source.shape
    assert out["deformation"].shape == (1, int(32 * scale_factor), int(64 * scale_factor), 2)
    torch.testing.assert_close(out["contribution_maps"].sum(1), torch.ones(out["deformation"].shape[:3]))


def test_moving_a_region_changes_the_picture(tmp_path):
    model, _ = tiny_model(tmp_path)
    found = motion(model, pictures())
    before = generate(model, pictures(), found, found)
    for name, change in (("shift", torch.tensor([0.1, -0.05])), ("affine", torch.tensor([[0.05, 0.1], [0.0, 0.0]]))):
        moved = {**found, name: found[name].clone()}
        moved[name][:, 2] += change
        after = generate(model, pictures(), found, moved)
        assert (after["deformation"] - before["deformation"]).abs().max() > 1e-3
        assert (after["prediction"] - before["prediction"]).abs().max() > 1e-4


def test_moving_a_landmark_moves_the_region_of_the_prior(tmp_path):
    model, _ = tiny_model(tmp_path, **AWP)
    moved = landmarks()
    moved[:, 57] += torch.tensor([0.0, 0.02])
    before, after = motion(model, pictures(), landmarks()), motion(model, pictures(), moved)
    shift = (after["shift"] - before["shift"]).abs().sum((0, 2))
    assert (shift > 0).sum() == 1
    assert (after["affine"] - before["affine"]).abs().max() > 0


def test_heat_maps_of_the_prior_are_centred_at_their_points_before_training(tmp_path):
    maps = {"prior_params__kernel": "gaussian", "prior_params__sigma": 4.0, "prior_params__threshold": "none"}
    model, _ = tiny_model(tmp_path, **AWP, **maps)
    predictor = model.region_predictor
    with torch.no_grad():
        predictor.regions.weight.zero_()
        predictor.regions.bias.zero_()
        found = predictor(pictures(), landmarks())
        assert (heatmap_mean(found["heatmap"]) - found["shift"]).abs().max() < 0.05
        predictor.regions.weight.normal_(std=0.1)
        other = predictor(pictures(), landmarks())
    assert (other["covar"] - found["covar"]).abs().max() > 1e-3
    assert torch.equal(other["shift"], found["shift"])


@pytest.mark.parametrize("head", HEADS)
def test_a_batch_of_two_is_two_batches_of_one(tmp_path, head):
    model, _ = tiny_model(tmp_path, **HEADS[head])
    source, points = pictures(), torch.cat([landmarks(1), landmarks(1) * 0.9])
    found = motion(model, source, points), motion(model, source.flip(0), points.flip(0))
    both = generate(model, source, *found)["prediction"]
    for i in range(2):
        single = generate(model, source[i : i + 1], *({n: v[i : i + 1] for n, v in m.items()} for m in found))
        torch.testing.assert_close(both[i : i + 1], single["prediction"], atol=1e-5, rtol=1e-4)


def test_one_source_serves_many_driving_frames(tmp_path):
    model, _ = tiny_model(tmp_path)
    found = motion(model, pictures(1)), motion(model, pictures(3))
    out = generate(model, pictures(1), *found)
    single = generate(model, pictures(1), found[0], {name: value[2:] for name, value in found[1].items()})
    torch.testing.assert_close(out["prediction"][2:], single["prediction"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("bg_type", "count"), [("zero", 0), ("shift", 2), ("affine", 6), ("perspective", 8)])
def test_the_background_has_as_many_degrees_of_freedom_as_the_config_says(tmp_path, bg_type, count):
    config = build_config(mraa_experiment(tmp_path, bg_predictor_params__bg_type=bg_type), "test").config
    model = build_model(config).eval()
    identity = torch.eye(3).expand(2, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(model.bg_predictor(pictures(), pictures().flip(0)), identity)
        if count:
            model.bg_predictor.fc.bias += 0.1
        changed = (model.bg_predictor(pictures(), pictures().flip(0)) != identity).sum((1, 2))
    assert changed.tolist() == [count, count]
    same_scene = motion(model, pictures()), motion(model, pictures().flip(0))
    assert (generate(model, pictures(), *same_scene)["bg_param"] is None) == (bg_type == "zero")
    other_scene = model.relative(*same_scene, same_scene[1], "standard", USUAL)
    assert generate(model, pictures(), same_scene[0], other_scene)["bg_param"] is None


def test_without_an_occlusion_map_skips_show_the_warped_source(tmp_path):
    model, _ = tiny_model(tmp_path)
    found = motion(model, pictures()), motion(model, pictures().flip(0))
    source, deformation = pictures(), generate(model, pictures(), *found)["deformation"]
    with torch.no_grad():
        out = model.generator(source, model.generator.encode(source), deformation, None)
    assert torch.equal(out["prediction"], out["deformed"])


def test_the_deepest_features_are_blended_in_twice_as_published(tmp_path):
    model, _ = tiny_model(tmp_path)
    network, source, seen = model.generator, pictures(), []
    network.up_blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    still = make_coordinate_grid((16, 16), source).expand(2, 16, 16, 2)
    with torch.no_grad():
        features = network.encode(source)
        network(source, features, still, torch.full((2, 1, 16, 16), 0.25))
        expected = torch.lerp(network.bottleneck(0.25 * features[-1]), features[-1], 0.25)
    torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=1e-4)


def test_training_starts_with_the_warped_source_where_the_config_says_so(tmp_path):
    flow = "generator_params__pixelwise_flow_predictor_params__"
    experiment = mraa_experiment(
        tmp_path,
        **AWP,
        bg_predictor_params__bg_type="zero",
        **{f"{flow}initial_occlusion": 0.99, f"{flow}locality": 0.2},
    )
    model = build_model(build_config(experiment, "test").config).eval()
    moved = landmarks(1)
    moved[:, 17:27] += torch.tensor([0.0, -0.04])  # both brows
    source = motion(model, pictures(1), landmarks(1))
    driving = {**source, "shift": motion(model, pictures(1), moved)["shift"]}
    out = generate(model, pictures(1), source, driving)
    assert (out["occlusion_map"] - 0.99).abs().max() < 1e-5
    shift = out["deformation"][0] - make_coordinate_grid((16, 16), moved)
    assert shift[0].abs().max() < 1e-3, "the frame's edge stays where it is"
    x, y = ((moved[0, 19] + 1) / 2 * 15).round().long()
    assert 0.02 < shift[y, x, 1] < 0.045


def test_flow_moves_the_picture_where_the_maps_let_it_move(tmp_path):
    flow_section = "generator_params__pixelwise_flow_predictor_params__"
    model, _ = tiny_model(tmp_path, **AWP, bg_predictor_params__bg_type="zero", **{f"{flow_section}locality": 0.2})
    assert model.takes_flow
    assert not tiny_model(tmp_path)[0].takes_flow
    flow = torch.zeros(1, SIZE, SIZE, 2)
    flow[..., 0] = 0.1
    found = motion(model, pictures(1), landmarks(1))
    out = generate(model, pictures(1), found, found, Condition(flow=flow))
    shift = out["deformation"][0] - make_coordinate_grid((SIZE, SIZE), flow)
    torch.testing.assert_close(shift, torch.tensor([-0.1, 0.0]).expand_as(shift), atol=1e-5, rtol=0)


def test_the_deformation_is_the_same_in_reduced_precision(tmp_path):
    model, _ = tiny_model(tmp_path)
    full = generate(model, pictures(), motion(model, pictures()), motion(model, pictures().flip(0)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = generate(model, pictures(), motion(model, pictures()), motion(model, pictures().flip(0)))
    assert (full["deformation"] - reduced["deformation"]).abs().max() / 2 * (SIZE - 1) < 0.02, "pixels"
    assert (full["prediction"] - reduced["prediction"]).abs().max() > 0, "the picture path is reduced"


# --- relative motion --------------------------------------------------------------------------------------------------


def random_region(seed, batch=1, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    affine = 0.2 * torch.eye(2) + 0.05 * torch.randn(batch, 5, 2, 2, generator=generator)
    shift = scale * (torch.rand(batch, 5, 2, generator=generator) - 0.5)
    return {"shift": shift, "affine": affine, "covar": affine @ affine.mT}


def test_relative_movement_is_scaled_by_the_faces_sizes_and_takes_the_affine_frames_along(tmp_path):
    model, _ = tiny_model(tmp_path)
    initial = random_region(0)
    source = {**random_region(1), "shift": initial["shift"] * 2}
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    driving = {"shift": initial["shift"] + torch.tensor([0.01, 0.0]), "affine": turn @ initial["affine"]}
    driving["covar"] = driving["affine"] @ driving["affine"].mT
    moved = model.relative(source, driving, initial, "relative", USUAL)
    expected = source["shift"] + torch.tensor([0.02, 0.0])
    torch.testing.assert_close(moved["shift"], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved["affine"], turn @ source["affine"], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved["covar"], moved["affine"] @ moved["affine"].mT)
    unscaled = model.relative(source, driving, initial, "relative", NormalizationParams(adapt_movement_scale=False))
    expected = source["shift"] + torch.tensor([0.01, 0.0])
    torch.testing.assert_close(unscaled["shift"], expected, atol=1e-5, rtol=0)
    kept = model.relative(source, driving, initial, "relative", NormalizationParams(use_relative_jacobian=False))
    torch.testing.assert_close(kept["affine"], driving["affine"])


def test_a_driving_clip_at_rest_leaves_the_source_at_rest(tmp_path):
    model, _ = tiny_model(tmp_path)
    source, initial = random_region(0), random_region(1)
    moved = model.relative(source, initial, initial, "relative", USUAL)
    for name, value in source.items():
        torch.testing.assert_close(moved[name], value, atol=1e-5, rtol=1e-4)
    assert torch.equal(model.relative(source, initial, initial, "standard", USUAL)["shift"], initial["shift"])


def test_the_published_heat_maps_of_relative_motion_are_those_of_the_driving_region(tmp_path):
    model, _ = tiny_model(tmp_path, relative_covar="driving")
    source, driving, initial = (random_region(seed) for seed in range(3))
    moved = model.relative(source, driving, initial, "relative", USUAL)
    assert torch.equal(moved["covar"], driving["covar"])


@pytest.mark.parametrize("head", ["pca", "principal"])
def test_avd_takes_shape_and_movement_from_both(tmp_path, head):
    model, _ = tiny_model(tmp_path, **HEADS[head])
    source, driving = random_region(0), random_region(1, batch=3)
    with torch.no_grad():
        moved = model.relative(source, driving, driving, "avd", USUAL)
        other = model.relative(random_region(2), driving, driving, "avd", USUAL)
        flipped = model.relative({**source, "affine": -source["affine"]}, driving, driving, "avd", USUAL)
    assert moved["shift"].shape == (3, 5, 2)
    assert (moved["shift"] - moved["shift"][:1]).abs().max() > 0
    assert (moved["shift"] - other["shift"]).abs().max() > 0
    torch.testing.assert_close(moved["covar"], moved["affine"] @ moved["affine"].mT)
    # The sign of principal axes is arbitrary; symmetric roots have theirs.
    assert torch.allclose(flipped["shift"], moved["shift"]) == (head == "principal")


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("skips", [True, False])
def test_gradients_reach_every_parameter(tmp_path, head, skips):
    model, _ = prepared(tmp_path, generator_params__skips=skips, **HEADS[head])
    losses, generated = model.losses(training_batch(), epoch=0)
    sum(losses.values()).backward()
    expected = {"pixel"} | ({"equivariance_affine"} if head != "shifts" else set())
    expected |= set() if model.needs_landmarks else {"equivariance_shift"}
    assert set(losses) == expected
    assert generated["kp_source"].shape == (4, model.num_regions, 2)
    parameters = [(n, p) for n, p in model.named_parameters() if not n.startswith("avd_network")]
    assert [n for n, p in parameters if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert [n for n, p in parameters if not torch.isfinite(p.grad).all()] == []


def test_the_mean_displacement_is_weighted_in_pixels(tmp_path):
    model, config = tiny_model(tmp_path, bg_predictor_params__bg_type="zero")
    model.prepare_training(with_weights(config.train_params, motion=2.0), None)
    batch = training_batch()
    moved, generated = model.losses(batch, epoch=0)
    change = generated["deformation"] - make_coordinate_grid((16, 16), generated["deformation"])
    expected = 2 * (change * (SIZE - 1) / 2).norm(dim=-1).mean()
    torch.testing.assert_close(moved["motion"], expected, atol=1e-3, rtol=1e-3)
    assert moved["motion"] > 0.1
    still, _ = model.losses({**batch, "source": batch["driving"]}, epoch=0)
    assert still["motion"] < 1e-2


def test_the_published_prior_has_no_learned_effect_as_published(tmp_path):
    model, _ = prepared(tmp_path, **PUBLISHED_AWP)
    losses, _ = model.losses(training_batch(), epoch=0)
    sum(losses.values()).backward()
    idle = {
        name.split(".")[0]
        for name, parameter in model.named_parameters()
        if not name.startswith("avd_network") and parameter.grad is None
    }
    assert idle == {"region_predictor"}
    before = motion(model.eval(), pictures(), landmarks())
    with torch.no_grad():
        for parameter in model.region_predictor.parameters():
            parameter += 0.1
    after = motion(model, pictures(), landmarks())
    assert torch.equal(before["affine"], after["affine"])
    maps = model.region_predictor(pictures(), landmarks())["heatmap"]
    assert maps.sum((2, 3)).min() > 10, "no distributions"


def test_training_steps_stay_finite_with_round_regions(tmp_path):
    model, optimisers = prepared(tmp_path, region_affine="principal")
    torch.nn.init.zeros_(model.region_predictor.regions.weight)  # all heat maps are even
    torch.nn.init.zeros_(model.region_predictor.regions.bias)
    losses, _ = model.losses(training_batch(), epoch=0)
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    optimisers["optimizer_reconstruction"].optimizer.step()
    assert all(torch.isfinite(loss) for loss in model.losses(training_batch(), epoch=0)[0].values())


def test_equivariance_asks_the_regions_to_follow_the_warp(tmp_path, monkeypatch):
    model, _ = prepared(tmp_path)
    batch, still = training_batch(), RandomWarp(torch.eye(2, 3).expand(4, 2, 3), torch.zeros(4, 1, 25), 5, "l1")
    model.eval()
    monkeypatch.setattr(RandomWarp, "draw", lambda *args, **kwargs: still)
    losses, _ = model.losses(batch, epoch=0)
    assert losses["equivariance_shift"] < 1e-3
    assert losses["equivariance_affine"] < 1e-2
    turned = torch.tensor([[1.0, 0.2, 0.1], [-0.2, 1.0, 0.0]])
    moving = RandomWarp(turned.expand(4, 2, 3), torch.zeros(4, 1, 25), 5, "l1")
    monkeypatch.setattr(RandomWarp, "draw", lambda *args, **kwargs: moving)
    losses, _ = model.losses(batch, epoch=0)
    assert losses["equivariance_shift"] > 0.1
    assert losses["equivariance_affine"] > 0.05


@pytest.mark.parametrize("root", [symmetric_root, principal_root])
def test_regions_that_turn_with_the_frame_cost_nothing(tmp_path, monkeypatch, root):
    model, _ = prepared(tmp_path, region_affine="symmetric" if root is symmetric_root else "principal")
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    warp = RandomWarp(torch.cat([turn, torch.zeros(2, 1)], dim=1).expand(4, 2, 3), torch.zeros(4, 1, 25), 5, "l1")
    covar = torch.tensor([[0.05, 0.01], [0.01, 0.02]]).expand(4, 5, 2, 2)
    shift = torch.rand(4, 5, 2)
    turned = {"shift": warp(shift), "affine": root(turn @ covar @ turn.mT)}
    monkeypatch.setattr(RandomWarp, "draw", lambda *args, **kwargs: warp)
    monkeypatch.setattr(model, "motion", lambda *args: {"shift": shift, "affine": root(covar)})
    losses = model._equivariance(pictures(4), None, turned)
    assert losses["equivariance_shift"] < 1e-5
    assert losses["equivariance_affine"] < 1e-3
    stretched = {**turned, "affine": 1.1 * turned["affine"]}
    assert model._equivariance(pictures(4), None, stretched)["equivariance_affine"] > 0.1


def test_warps_without_an_inverse_are_left_out_of_the_priors_loss(tmp_path, monkeypatch):
    model, _ = prepared(tmp_path, **AWP)
    model.eval()
    batch = training_batch()
    collapsed = RandomWarp(torch.zeros(4, 2, 3), torch.zeros(4, 1, 25), 5, "l1")
    monkeypatch.setattr(RandomWarp, "draw", lambda *args, **kwargs: collapsed)
    losses, _ = model.losses(batch, epoch=0)
    assert losses["equivariance_affine"] == 0
    torch.isfinite(sum(losses.values()))


# --- checkpoints and configs ------------------------------------------------------------------------------------------


def published_contents(model, optimisers, epoch=0) -> dict:
    """A checkpoint as the published code writes it."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimisers["optimizer_reconstruction"].optimizer.step()
    names = ("generator", "bg_predictor", "region_predictor")
    return {
        **{name: getattr(model, name).state_dict() for name in names},
        "optimizer_reconstruction": optimisers["optimizer_reconstruction"].optimizer.state_dict(),
        "epoch_reconstruction": epoch,
    }


def as_published(experiment: dict) -> dict:
    """An experiment in the published format."""
    model = experiment["model_params"]
    for key in ("family", "prior"):
        model.pop(key, None)
    del experiment["format"]
    experiment["dataset_params"].pop("au_dir")
    return experiment


def test_a_published_checkpoint_loads_strictly_and_is_resumed(clips_root, tmp_path):
    experiment = as_published(mraa_experiment(clips_root))
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    config = load_config(path).config
    assert config.model_params.region_affine == "principal"
    model = build_model(config)
    contents = published_contents(model, model.prepare_training(config.train_params, None))
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoint = folder / "00000000-cpk-reconstruction.pth"
    torch.save(contents, checkpoint)
    other = build_model(config)
    filled = load_networks(other, read_checkpoint(checkpoint), config, checkpoint)
    assert filled == {"generator", "bg_predictor", "region_predictor"}
    arguments = ["--config", str(path), "--checkpoint", str(checkpoint), "--log-dir", str(tmp_path / "unused")]
    assert run.main(arguments) == 0
    written = read_checkpoint(folder / "00000001-cpk-reconstruction.pth")
    assert written["epoch_reconstruction"] == 1
    assert "epoch" not in written
    assert written["optimizer_reconstruction"]["state"][0]["step"] > 1
    assert not same(written["generator"], contents["generator"])


def test_a_checkpoint_of_another_prior_is_named_in_one_line(tmp_path):
    plain, optimisers = prepared(tmp_path, num_regions=18)
    contents = published_contents(plain, optimisers)
    config = build_config(mraa_experiment(tmp_path, **PUBLISHED_AWP, resize_align_corners=False), "test").config
    model = build_model(config)
    with pytest.raises(CheckpointError, match=r"prior is none, the config says awp; make them agree") as caught:
        load_networks(model, contents, config, tmp_path / "x")
    assert "\n" not in str(caught.value)
    contents = published_contents(*prepared(tmp_path, **AWP))
    config = build_config(mraa_experiment(tmp_path, num_regions=18), "test").config
    with pytest.raises(CheckpointError, match=r"prior is awp, the config says none"):
        load_networks(build_model(config), contents, config, tmp_path / "x")


@pytest.mark.parametrize(("num_regions", "pad", "prior"), [(10, 3, "none"), (18, 3, "awp"), (18, 0, "none")])
def test_published_files_get_their_implicit_decisions(tmp_path, num_regions, pad, prior):
    changes = {"num_regions": num_regions, "region_predictor_params__pad": pad}
    loaded = build_config(as_published(mraa_experiment(tmp_path, **changes)), "test")
    model = loaded.config.model_params
    assert (model.prior, model.region_affine, model.relative_covar) == (prior, "principal", "driving")
    assert (model.align_corners, model.resize_align_corners) == (False, False)
    assert "model_params.region_affine: principal" in loaded.notices
    if prior == "awp":
        assert (model.prior_regions, model.prior_params.convention) == ("published", "published")
        assert "model_params.prior_regions: published" in loaded.notices
    assert build_model(loaded.config).region_predictor.prior is None or prior == "awp"


@pytest.mark.parametrize("name", ["mraa-256", "mraa-awp-256", "mraa-demo", "mraa-awp-demo"])
def test_the_shipped_experiments_build(name):
    config = load_config(ROOT / "config" / f"{name}.yaml").config
    with torch.device("meta"):
        model = build_model(config)
    assert model.needs_landmarks == ("awp" in name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": "ewp"}, "model_params.prior: expected 'none' or 'awp', got 'ewp'"),
        ({"prior": "awp"}, "num_regions: expected 18 or 68, the points of `prior: awp`, got 5"),
        ({**AWP, "region_predictor_params__pad": 0}, "pad: expected 3 with `prior: awp`, got 0"),
        ({**REGRESSED, "estimate_affine": False}, "use_covar_heatmap: expected false for regions without"),
        (
            {"generator_params__pixelwise_flow_predictor_params__estimate_occlusion_map": False},
            "generator_params.skips: expected false without `estimate_occlusion_map`",
        ),
        ({"region_predictor_params__num_blocks": 6}, r"divisible by 256 \(region_predictor_params\), got 64"),
        ({"generator_params__pixelwise_flow_predictor_params__num_blocks": 6}, "divisible by 256"),
        ({"bg_predictor_params__bg_type": "still"}, "bg_type: expected 'zero', 'shift', 'affine' or 'perspective'"),
        ({"num_region": 3}, "unknown key; did you mean model_params.num_regions"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_config(mraa_experiment(tmp_path, **changes), "test")


def test_a_missing_input_is_named(tmp_path):
    model, _ = tiny_model(tmp_path, **AWP)
    with pytest.raises(ValueError, match="expected 68 landmarks for `prior: awp`, got none"):
        model.motion(pictures())
    shifts, config = tiny_model(tmp_path, **SHIFTS)
    regions = motion(shifts, pictures()), motion(shifts, pictures().flip(0))
    assert set(shifts.relative(*regions, regions[1], "relative", USUAL)) == {"shift"}
    with pytest.raises(ValueError, match="expected regions with an affine frame"):
        shifts.relative(*regions, regions[1], "avd", USUAL)
    with pytest.raises(NotImplementedError, match="estimate_affine"):
        shifts.prepare_avd(config.train_avd_params)


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [{}, AWP])
def test_training_avd_and_animation_from_the_command_line(clips_root, tmp_path, prior):
    path, log_dir = tmp_path / "mraa.yaml", tmp_path / "log"
    path.write_text(yaml.safe_dump(mraa_experiment(clips_root, **prior)), encoding="utf-8")
    command = ["--config", str(path), "--log-dir", str(log_dir), "--set"]
    assert run.main([*command, "train_params.num_epochs=1"]) == 0
    (checkpoint,) = run_folder(log_dir).glob("*.pth")
    assert checkpoint.name == "00000000-cpk-reconstruction.pth"
    trained = read_checkpoint(checkpoint)
    assert trained["epoch_reconstruction"] == 0

    avd_dir = tmp_path / "avd"
    arguments = ["--config", str(path), "--mode", "train_avd", "--log-dir", str(avd_dir)]
    assert run.main([*arguments, "--checkpoint", str(checkpoint)]) == 0
    avd_checkpoint = run_folder(avd_dir) / "00000000-cpk-avd.pth"
    contents = read_checkpoint(avd_checkpoint)
    assert contents["epoch_avd"] == 0
    for name in ("generator", "region_predictor", "bg_predictor"):
        assert same(contents[name], trained[name]), "frozen"
    assert not same(contents["avd_network"], trained["avd_network"])
    more = [*arguments, "--checkpoint", str(avd_checkpoint), "--set", "train_avd_params.num_epochs=2"]
    assert run.main(more) == 0
    assert (avd_checkpoint.with_name("00000001-cpk-avd.pth")).exists()

    results = {}
    for mode in ("standard", "relative", "avd"):
        animate = ["--config", str(path), "--mode", "animate", "--checkpoint", str(avd_checkpoint)]
        animate += ["--set", f"animate_params.mode={mode}", "--set", "animate_params.num_pairs=1"]
        assert run.main(animate) == 0
        frames = sorted((avd_checkpoint.parent / "animation").glob("*/*.png"))
        assert len(frames) >= 6
        results[mode] = [frame.read_bytes() for frame in frames]
    assert results["standard"] != results["relative"] != results["avd"]
    reconstruct = ["--config", str(path), "--mode", "reconstruction", "--checkpoint", str(checkpoint)]
    assert run.main([*reconstruct, "--set", "reconstruction_params.num_videos=1"]) == 0


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(clips_root, tmp_path):
    path = tmp_path / "mraa.yaml"
    flow = "generator_params__pixelwise_flow_predictor_params__locality"
    path.write_text(yaml.safe_dump(mraa_experiment(clips_root, **AWP, **{flow: 0.2})), encoding="utf-8")
    assert run.main(["--config", str(path), "--log-dir", str(tmp_path / "whole")]) == 0
    whole, part = run_folder(tmp_path / "whole"), tmp_path / "part"
    part.mkdir()
    first = part / "00000000-cpk-reconstruction.pth"
    first.write_bytes((whole / first.name).read_bytes())
    assert run.main(["--config", str(path), "--checkpoint", str(first)]) == 0
    name = "00000001-cpk-reconstruction.pth"
    assert same(read_checkpoint(part / name), read_checkpoint(whole / name))


def test_avd_needs_its_checkpoint(clips_root, tmp_path, caplog):
    path = tmp_path / "mraa.yaml"
    path.write_text(yaml.safe_dump(mraa_experiment(clips_root)), encoding="utf-8")
    assert run.main(["--config", str(path), "--log-dir", str(tmp_path / "log"), "--mode", "animate"]) == 2
    assert "--checkpoint is required to generate clips with the family `mraa`" in caplog.text
