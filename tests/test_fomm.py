"""The first-order family: networks, losses, priors, checkpoints, and runs from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import run
from config.load import ConfigError, build_config, load_config
from config.sections import NormalizationParams, TransformParams
from core.checkpoints import CheckpointError, load_networks, read_checkpoint
from core.models import build_model
from core.optimisation import OptimiserSteps
from modules.geometry import inverse_2x2, make_coordinate_grid
from modules.model import Condition
from modules.thin_plate_spline import RandomWarp
from tests.conftest import SIZE, tiny_experiment, with_weights
from tests.golden import fomm_cases  # noqa: F401 - registers its replays
from tests.golden.replay import REPLAYS, Fixture, worst_fraction
from tests.helpers import assigned, generate, landmarks, pictures, training_batch
from tests.test_train import run_folder, same

USUAL = NormalizationParams()
GOLDEN = Path(__file__).parent / "golden"
PRIORS = ["none", "ewp", "awp"]


def fomm_experiment(root: Path, prior: str = "none", **changes) -> dict:
    """A first-order experiment that trains in seconds; changes as `path__to__key=value` below `model_params`."""
    experiment = tiny_experiment(root)
    hourglass = {"block_expansion": 4, "max_features": 16, "num_blocks": 2, "scale_factor": 0.25}
    experiment["model_params"] = {
        "family": "fomm",
        "prior": prior,
        "common_params": {"num_kp": 5 if prior == "none" else 18},
        "kp_detector_params": {**hourglass},
        "generator_params": {
            "block_expansion": 4,
            "max_features": 16,
            "num_down_blocks": 2,
            "num_bottleneck_blocks": 1,
            "dense_motion_params": {**hourglass},
        },
        "discriminator_params": {"block_expansion": 4, "max_features": 16, "num_blocks": 3, "use_kp": True},
    }
    weights = {"perceptual": [], "pixel": 10, "generator_gan": 1, "feature_matching": [10, 10, 10]}
    experiment["train_params"]["loss_weights"] = weights
    assigned(experiment["model_params"], changes)
    return experiment


def tiny_model(tmp_path, prior="none", **changes):
    config = build_config(fomm_experiment(tmp_path, prior, **changes), "test").config
    torch.manual_seed(0)
    model = build_model(config)
    # Weights that begin at zero or one would hide a path that is not connected.
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and "jacobian" not in name:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
        elif "jacobian.weight" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.02)
    return model.eval(), config


def motions(model, source, driving):
    """Of two frames; the same landmarks in both."""
    with torch.no_grad():
        return model.motion(source, landmarks(len(source))), model.motion(driving, landmarks(len(driving)))


# --- networks ---------------------------------------------------------------------------------------------------------


CASES = [p for kind in ("fomm", "facial") for p in sorted(GOLDEN.glob(f"{kind}_*.npz")) if "losses" not in p.name]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_published_numbers_are_reproduced(path):
    fixture = Fixture.read(path)
    assert worst_fraction(fixture, REPLAYS[fixture.family, fixture.meta["module_class"]](fixture)) <= 1


@pytest.mark.parametrize("prior", PRIORS)
def test_source_and_driving_alike_do_not_move(tmp_path, prior):
    model, _ = tiny_model(tmp_path, prior)
    motion, _ = motions(model, pictures(), pictures())
    out = generate(model, pictures(), motion, motion)
    still = make_coordinate_grid((16, 16), out["deformation"])
    torch.testing.assert_close(out["deformation"], still.expand(2, -1, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(out["deformed"], pictures(), atol=1e-4, rtol=0)
    torch.testing.assert_close(out["contribution_maps"].sum(1), torch.ones(2, 16, 16))


@pytest.mark.parametrize(("sampling", "resizing"), [(False, True), (True, False)])
def test_the_grid_conventions_of_published_weights_shift_the_image(tmp_path, sampling, resizing):
    model, _ = tiny_model(tmp_path, align_corners=sampling, resize_align_corners=resizing)
    motion, _ = motions(model, pictures(), pictures())
    moved = generate(model, pictures(), motion, motion)["deformed"] - pictures()
    assert moved.abs().mean() > 0.01


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", ["value", "jacobian"])
def test_moving_one_keypoint_changes_the_picture(tmp_path, prior, name):
    model, _ = tiny_model(tmp_path, prior)
    motion, _ = motions(model, pictures(), pictures())
    change = torch.zeros_like(motion[name])
    change[:, 3] = 0.1
    before = generate(model, pictures(), motion, motion)
    after = generate(model, pictures(), motion, {**motion, name: motion[name] + change})
    assert (after["deformation"] - before["deformation"]).abs().max() > 1e-3
    assert (after["prediction"] - before["prediction"]).abs().max() > 1e-4


@pytest.mark.parametrize("prior", PRIORS)
def test_a_batch_of_two_is_two_batches_of_one(tmp_path, prior):
    model, _ = tiny_model(tmp_path, prior)
    source, driving = pictures(), pictures().flip(0)
    both = generate(model, source, *motions(model, source, driving))["prediction"]
    single = [
        generate(model, source[i : i + 1], *motions(model, source[i : i + 1], driving[i : i + 1]))["prediction"]
        for i in range(2)
    ]
    torch.testing.assert_close(both, torch.cat(single), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("scale_factor", [1, 0.5, 0.25])
@pytest.mark.parametrize("pad", [0, 3])
def test_settings_change_sizes_and_nothing_breaks(tmp_path, single, scale_factor, pad):
    model, _ = tiny_model(
        tmp_path,
        kp_detector_params__scale_factor=scale_factor,
        kp_detector_params__single_jacobian_map=single,
        kp_detector_params__pad=pad,
        generator_params__dense_motion_params__scale_factor=scale_factor,
        generator_params__estimate_occlusion_map=not single,
    )
    out = generate(model, pictures(), *motions(model, pictures(), pictures().flip(0)))
    side = int(SIZE * scale_factor)
    assert out["prediction"].shape == (2, 3, SIZE, SIZE)
    assert out["deformation"].shape == (2, side, side, 2)
    assert ("occlusion_map" in out) != single


def test_without_jacobians_a_motion_is_a_shift(tmp_path):
    model, _ = tiny_model(tmp_path, common_params__estimate_jacobian=False)
    motion, driving = motions(model, pictures(), pictures().flip(0))
    assert set(motion) == {"value"}
    assert generate(model, pictures(), motion, driving)["prediction"].shape == (2, 3, SIZE, SIZE)


def test_the_deformation_is_the_same_in_reduced_precision(tmp_path):
    model, _ = tiny_model(tmp_path)
    source, driving = pictures(), pictures().flip(0)
    full = generate(model, source, *motions(model, source, driving))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = generate(model, source, *motions(model, source, driving))
    difference = (full["deformation"] - reduced["deformation"]).abs().max() / 2 * (SIZE - 1)
    assert difference < 0.02, "pixels"
    assert (full["prediction"] - reduced["prediction"]).abs().max() > 0, "the picture path is reduced"


def test_with_blending_and_zones_training_starts_at_a_warp_near_the_landmarks(tmp_path):
    experiment = fomm_experiment(tmp_path, "awp")
    generator = experiment["model_params"]["generator_params"]
    generator["blend_source"] = True
    generator["dense_motion_params"] |= {"locality": 0.1, "background_logit": -6.0, "initial_occlusion": 0.95}
    model = build_model(build_config(experiment, "test").config).eval()
    moved = landmarks(1)
    moved[:, 17:27] += torch.tensor([0.0, -0.04])  # both brows
    with torch.no_grad():
        motion_source, motion = model.motion(pictures(1), landmarks(1)), model.motion(pictures(1), moved)
    out = generate(model, pictures(1), motion_source, motion)
    shift = out["deformation"][0] - make_coordinate_grid((16, 16), moved)
    assert shift[0].abs().max() < 1e-3, "the frame's edge stays where it is"
    brow = ((moved[0, 19] + 1) / 2 * 15).round().long()
    torch.testing.assert_close(shift[brow[1], brow[0]], torch.tensor([0.0, 0.04]), atol=0.015, rtol=0)
    torch.testing.assert_close(out["prediction"], out["deformed"], atol=0.06, rtol=0)
    flow = torch.zeros(1, SIZE, SIZE, 2)
    flow[..., 0] = 0.1
    followed = generate(model, pictures(1), motion_source, motion_source, Condition(flow=flow))["deformation"][0]
    shift = followed - make_coordinate_grid((SIZE, SIZE), flow)
    torch.testing.assert_close(shift, torch.tensor([-0.1, 0.0]).expand_as(shift), atol=1e-5, rtol=0)


# --- priors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["ewp", "awp"])
def test_with_a_prior_keypoints_are_landmarks_and_jacobians_come_from_picture_and_prior(tmp_path, prior):
    model, _ = tiny_model(tmp_path, prior)
    assert model.needs_landmarks
    with torch.no_grad():
        motion = model.motion(pictures(), landmarks())
        other_picture = model.motion(pictures().flip(0), landmarks())
        moved = landmarks()
        moved[:, 19] += 0.2
        other_landmarks = model.motion(pictures(), moved)
    torch.testing.assert_close(motion["value"][:, 0], landmarks()[:, 19])
    assert motion["value"].shape == (2, 18, 2)
    assert torch.equal(motion["value"], other_picture["value"])
    assert (motion["jacobian"] - other_picture["jacobian"]).abs().max() > 1e-4
    assert (motion["jacobian"] - other_landmarks["jacobian"]).abs().max() > 1e-5, "the map is seen"
    with pytest.raises(ValueError, match="expected 68 landmarks for a facial prior, got none"):
        model.motion(pictures())


def test_the_published_convention_is_an_option(tmp_path):
    model, _ = tiny_model(tmp_path, "ewp", prior_params={"convention": "published"})
    with torch.no_grad():
        value = model.motion(pictures(), landmarks())["value"][:, 0]
    pixels = (landmarks()[:, 19] + 1) / 2 * (SIZE - 1)
    torch.testing.assert_close(value, pixels * 2 / SIZE - 1)


def test_a_prior_needs_its_number_of_points(tmp_path):
    experiment = fomm_experiment(tmp_path, "ewp", common_params__num_kp=10)
    with pytest.raises(ConfigError, match="num_kp: expected 18 or 68, the points of a face, with a prior, got 10"):
        build_config(experiment, "test")


def test_feature_matching_needs_a_weight_for_every_level(tmp_path):
    experiment = fomm_experiment(tmp_path, discriminator_params__num_blocks=4)
    with pytest.raises(ConfigError, match="feature_matching: expected 4 weights, one for each of .*, got 3"):
        build_config(experiment, "test")
    experiment["train_params"]["loss_weights"]["generator_gan"] = 0
    build_config(experiment, "test")


# --- relative motion --------------------------------------------------------------------------------------------------


def test_relative_movement_is_scaled_by_each_faces_size(tmp_path):
    model, _ = tiny_model(tmp_path)
    identity = torch.eye(2).expand(2, 5, 2, 2)
    initial = {"value": torch.rand(2, 5, 2), "jacobian": identity}
    sizes = torch.tensor([2.0, 3.0])[:, None, None]
    source = {"value": initial["value"] * sizes, "jacobian": 2 * identity}
    driving = {"value": initial["value"] + torch.tensor([0.01, 0.0]), "jacobian": 3 * identity}
    moved = model.relative(source, driving, initial, "relative", USUAL)
    expected = sizes * torch.tensor([0.01, 0.0])
    torch.testing.assert_close(moved["value"] - source["value"], expected.expand(2, 5, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved["jacobian"], 6 * identity)
    plain = model.relative(
        source,
        driving,
        initial,
        "relative",
        NormalizationParams(adapt_movement_scale=False, use_relative_jacobian=False),
    )
    torch.testing.assert_close(
        plain["value"] - source["value"], torch.tensor([0.01, 0.0]).expand(2, 5, 2), atol=1e-5, rtol=0
    )
    assert plain["jacobian"] is driving["jacobian"]
    assert model.relative(source, driving, initial, "standard", USUAL) is driving
    with pytest.raises(ValueError, match="expected mode `relative` or `standard`, got `avd`"):
        model.relative(source, driving, initial, "avd", USUAL)


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
def test_gradients_reach_every_parameter(tmp_path, prior):
    model, config = tiny_model(tmp_path, prior)
    model.prepare_training(config.train_params, None)
    batch = training_batch()
    terms, generated = model.train().losses(batch, 0)
    expected = {"pixel", "generator_gan", "feature_matching", "equivariance_jacobian"}
    assert set(terms) == expected | ({"equivariance_value"} if prior == "none" else set())
    sum(terms.values()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_the_discriminator_losses_train_the_discriminator_only(tmp_path):
    model, config = tiny_model(tmp_path)
    optimisers = model.prepare_training(config.train_params, None)
    assert {name: entry.adversary for name, entry in optimisers.items()} == {
        "optimizer_generator": False,
        "optimizer_discriminator": True,
        "optimizer_kp_detector": False,
    }
    batch = training_batch()
    _, generated = model.train().losses(batch, 0)
    seen = []
    for _ in range(20):
        (loss,) = model.discriminator_losses(batch, generated).values()
        seen.append(loss.item())
        optimisers["optimizer_discriminator"].optimizer.zero_grad()
        loss.backward()
        optimisers["optimizer_discriminator"].optimizer.step()
    assert seen[-1] < 0.9 * seen[0]
    assert all((p.grad is None) != name.startswith("discriminator") for name, p in model.named_parameters())


def test_without_adversarial_weight_the_discriminator_is_not_trained(tmp_path):
    model, config = tiny_model(tmp_path)
    model.prepare_training(with_weights(config.train_params, generator_gan=0.0), None)
    terms, generated = model.train().losses(training_batch(), 0)
    assert {"generator_gan", "feature_matching"} & set(terms) == set()
    assert model.discriminator_losses(training_batch(), generated) == {}


def test_keypoints_that_move_with_the_image_have_no_equivariance_loss(tmp_path):
    model, config = tiny_model(tmp_path)
    model.prepare_training(config.train_params, None)
    warp = RandomWarp.draw(2, pictures(), TransformParams(), "l1")
    value = torch.rand(2, 5, 2) - 0.5
    jacobian = torch.rand(2, 5, 2, 2) + torch.eye(2)
    found = warp.inverse(value)
    answers = iter([{"value": found, "jacobian": inverse_2x2(warp.jacobian(found)) @ jacobian}])
    model.motion = lambda *args: next(answers)
    original, RandomWarp.draw = RandomWarp.draw, lambda *args, **kwargs: warp
    try:
        terms = model._equivariance_losses(pictures(), {"value": value, "jacobian": jacobian}, None)
    finally:
        RandomWarp.draw = original
    assert set(terms) == {"equivariance_value", "equivariance_jacobian"}
    assert max(float(term) for term in terms.values()) < 2e-3


def test_every_network_and_the_zones_have_their_own_learning_rate(tmp_path):
    model, config = tiny_model(tmp_path, "ewp", generator_params__dense_motion_params__locality=0.1)
    rates = {"lr_generator": 1e-4, "lr_zones": 2e-4, "lr_discriminator": 3e-4, "lr_kp_detector": 4e-4}
    optimisers = model.prepare_training(config.train_params.model_copy(update=rates), None)
    groups = {name: entry.optimizer.param_groups for name, entry in optimisers.items()}
    assert {name: [group["lr"] for group in own] for name, own in groups.items()} == {
        "optimizer_generator": [1e-4, 2e-4],
        "optimizer_discriminator": [3e-4],
        "optimizer_kp_detector": [4e-4],
    }
    assert set(groups["optimizer_generator"][1]["params"]) == set(
        model.generator.dense_motion_network.zones.parameters()
    )
    held = [weight for own in groups.values() for group in own for weight in group["params"]]
    assert len(held) == len(set(held)) == len(list(model.parameters()))


def test_the_mean_displacement_is_weighted_in_pixels(tmp_path):
    model, config = tiny_model(tmp_path)
    model.prepare_training(with_weights(config.train_params, motion=2.0, generator_gan=0.0), None)
    terms, generated = model.losses(training_batch(), 0)
    shift = generated["deformation"] - make_coordinate_grid((16, 16), generated["deformation"])
    expected = 2 * (shift * (SIZE - 1) / 2).norm(dim=-1).mean()
    torch.testing.assert_close(terms["motion"], expected, rtol=1e-3, atol=1e-4)


def test_spectral_normalisation_has_the_published_keys(tmp_path):
    model, _ = tiny_model(tmp_path, discriminator_params__sn=True)
    keys = [key for key in model.discriminator.state_dict() if key.startswith("discs.1.down_blocks.0")]
    stem = "discs.1.down_blocks.0.conv."
    assert keys == [stem + name for name in ("bias", "weight_orig", "weight_u", "weight_v")]


# --- checkpoints and experiments --------------------------------------------------------------------------------------


def published_contents(model, optimisers) -> dict:
    """A checkpoint as FOMM and FPB-FOMM write it."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for entry in optimisers.values():
        entry.optimizer.step()
    return {
        **{name: network.state_dict() for name, network in model.networks().items()},
        **{name: entry.optimizer.state_dict() for name, entry in optimisers.items()},
        "epoch": 0,
    }


def as_published(experiment: dict) -> dict:
    """An experiment as FOMM's own files are: no format, family, prior."""
    published = json.loads(json.dumps(experiment))
    del published["format"], published["model_params"]["family"], published["model_params"]["prior"]
    return published


@pytest.mark.parametrize("prior", ["none", "awp"])
def test_a_published_checkpoint_loads_strictly_and_is_resumed(clips_root, tmp_path, prior):
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(as_published(fomm_experiment(clips_root, prior))), encoding="utf-8")
    config = load_config(path).config
    assert config.model_params.prior == prior
    model = build_model(config)
    contents = published_contents(model, model.prepare_training(config.train_params, None))
    checkpoint = tmp_path / "cpk" / "00000000-checkpoint.pth.tar"
    checkpoint.parent.mkdir()
    torch.save(contents, checkpoint)
    assert run.main(["--config", str(path), "--checkpoint", str(checkpoint)]) == 0
    after = read_checkpoint(checkpoint.with_name("00000001-checkpoint.pth.tar"))
    assert set(contents) <= set(after)
    assert after["epoch"] == 1
    steps = [state["step"] for state in after["optimizer_discriminator"]["state"].values()]
    assert all(step > 1 for step in steps), "the discriminator's state is resumed"


def test_generator_and_keypoint_detector_are_enough(tmp_path):
    model, config = tiny_model(tmp_path, resize_align_corners=False)
    contents = {name: network.state_dict() for name, network in model.networks().items() if name != "discriminator"}
    assert load_networks(model, contents, config, tmp_path / "x") == {"generator", "kp_detector"}


@pytest.mark.parametrize(("held", "wanted"), [("ewp", "awp"), ("awp", "ewp"), ("awp", "none"), ("none", "ewp")])
def test_a_checkpoint_with_another_prior_is_recognised_by_its_keys(tmp_path, held, wanted):
    convention = {"prior_params": {"convention": "published"}, "resize_align_corners": False}
    held_model, _ = tiny_model(tmp_path, held, **convention)
    model, config = tiny_model(tmp_path, wanted, **convention)
    contents = {name: network.state_dict() for name, network in held_model.networks().items()}
    with pytest.raises(
        CheckpointError, match=f"model_params.prior is {held}, the config says {wanted}; make"
    ) as caught:
        load_networks(model, contents, config, tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_a_published_checkpoint_needs_the_published_conventions(tmp_path):
    model, config = tiny_model(tmp_path, "ewp")
    contents = {name: network.state_dict() for name, network in model.networks().items()}
    with pytest.raises(
        CheckpointError, match="resize_align_corners is False, .*convention is published, the config says"
    ):
        load_networks(model, contents, config, tmp_path / "x")


def test_published_files_get_their_implicit_decisions(tmp_path):
    plain = build_config(as_published(fomm_experiment(tmp_path)), "test")
    assert plain.config.model_params.prior == "none"
    prior = build_config(as_published(fomm_experiment(tmp_path, "ewp")), "test")
    assert prior.config.model_params.prior == "awp"
    assert prior.config.model_params.prior_params.convention == "published"
    assert {"model_params.prior: awp", "model_params.prior_params.convention: published"} <= set(prior.notices)
    named = as_published(fomm_experiment(tmp_path, "ewp"))
    named["model_params"]["prior"] = "ewp"
    assert build_config(named, "test").config.model_params.prior == "ewp"


# --- runs -------------------------------------------------------------------------------------------------------------


def write(tmp_path, experiment) -> Path:
    path = tmp_path / "fomm.yaml"
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return path


@pytest.mark.parametrize("prior", PRIORS)
def test_a_trained_model_animates_and_reconstructs(clips_root, tmp_path, prior):
    path = write(tmp_path, fomm_experiment(clips_root, prior))
    shorter = ["--config", str(path), "--set", "train_params.num_epochs=1"]
    assert run.main([*shorter, "--log-dir", str(tmp_path / "log")]) == 0
    folder = run_folder(tmp_path / "log")
    stats = json.loads((folder / "stats.jsonl").read_text().splitlines()[-1])
    assert {"pixel", "generator_gan", "feature_matching", "discriminator_gan"} <= set(stats)
    checkpoint = ["--checkpoint", str(folder / "00000000-checkpoint.pth.tar"), "--set", "animate_params.format=.png"]
    assert run.main([*shorter, "--mode", "animate", *checkpoint]) == 0
    assert len(list((folder / "animation").glob("*/*.png"))) >= 6
    assert (folder / "animation/contact_sheet.png").exists()
    reconstruction = ["--set", "reconstruction_params.format=.png", "--mode", "reconstruction"]
    assert run.main([*shorter, *reconstruction, *checkpoint]) == 0
    if prior == "none":
        avd = ["--set", "animate_params.mode=avd", "--mode", "animate"]
        assert run.main([*shorter, *avd, *checkpoint]) == 2


@pytest.mark.parametrize(("prior", "precision"), [("none", "32"), ("awp", "32"), ("none", "bf16-mixed")])
def test_a_resumed_adversarial_run_equals_an_uninterrupted_one_bit_for_bit(clips_root, tmp_path, prior, precision):
    experiment = fomm_experiment(clips_root, prior, discriminator_params__sn=True)
    experiment["train_params"]["precision"] = precision
    path = write(tmp_path, experiment)
    assert run.main(["--config", str(path), "--log-dir", str(tmp_path / "whole")]) == 0
    whole, part = run_folder(tmp_path / "whole"), tmp_path / "part"
    part.mkdir()
    (part / "00000000-checkpoint.pth.tar").write_bytes((whole / "00000000-checkpoint.pth.tar").read_bytes())
    resumed = ["--checkpoint", str(part / "00000000-checkpoint.pth.tar")]
    assert run.main(["--config", str(path), *resumed]) == 0
    first, last = (read_checkpoint(whole / f"0000000{i}-checkpoint.pth.tar") for i in (0, 1))
    assert same(read_checkpoint(part / "00000001-checkpoint.pth.tar"), last)
    assert not same(first["discriminator"], last["discriminator"])
    assert last["optimizer_discriminator"]["state"]


def test_each_step_changes_its_own_networks_and_leaves_no_gradient(clips_root, tmp_path, monkeypatch):
    changed = {True: set(), False: set()}
    original = OptimiserSteps.step

    def watched(self, terms, epoch, *, adversary):
        before = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        numbers = original(self, terms, epoch, adversary=adversary)
        for name, parameter in self.model.named_parameters():
            assert parameter.grad is None
            if not torch.equal(parameter, before[name]):
                changed[adversary].add(name.split(".")[0])
        return numbers

    monkeypatch.setattr(OptimiserSteps, "step", watched)
    path = write(tmp_path, fomm_experiment(clips_root))
    assert run.main(["--config", str(path), "--set", "train_params.num_epochs=1", "--log-dir", str(tmp_path)]) == 0
    assert changed == {True: {"discriminator"}, False: {"generator", "kp_detector"}}


def test_the_motion_of_the_driving_head_can_be_removed(clips_root, tmp_path):
    """The head of the tests' clips slides sideways, and nothing else moves."""
    experiment = fomm_experiment(clips_root, "awp")
    path = write(tmp_path, experiment)
    assert (
        run.main(["--config", str(path), "--set", "train_params.num_epochs=1", "--log-dir", str(tmp_path / "log")]) == 0
    )
    folder = run_folder(tmp_path / "log")
    command = ["--config", str(path), "--mode", "animate", "--checkpoint", str(folder / "00000000-checkpoint.pth.tar")]
    moved = {}
    for removed in ("false", "true"):
        settings = ["animate_params.format=.png", f"animate_params.remove_head_motion={removed}"]
        assert run.main([*command, *(part for setting in settings for part in ("--set", setting))]) == 0
        keypoints = np.load(folder / "animation/022_3_3-006_keypoints.npy")
        moved[removed] = np.abs(keypoints - keypoints[:1]).max()
    assert moved["false"] > 1.5 * 2 / (SIZE - 1), "pixels"
    assert moved["true"] < 1e-4


def test_clips_without_landmarks_are_named_in_one_line(clips_root, tmp_path, caplog):
    path = write(tmp_path, fomm_experiment(clips_root, "ewp"))
    np.save(clips_root / "landmarks" / "a.npy", np.zeros((2, 5, 2), np.float32))
    assert run.main(["--config", str(path), "--log-dir", str(tmp_path / "log")]) == 2
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "a.npy" in error
    assert "\n" not in error
