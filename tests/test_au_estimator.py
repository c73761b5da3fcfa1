"""The action-unit estimator, its training, and the relative action-unit constraint."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import run
import train_au
from config.load import ConfigError, build_config
from config.sections import TrainAUParams
from core.checkpoints import CheckpointError
from core.models import build_model, load_au_estimator
from modules.au_estimator import AUEstimator, RelativeAULoss
from modules.face_frame import ACTION_UNITS, HALF_FACE, face_coordinates, mean_shape
from modules.geometry import make_coordinate_grid, sample
from tests.conftest import face_landmarks, tiny_experiment

SIZE = 96
AU2, AU12 = ACTION_UNITS.index(2), ACTION_UNITS.index(12)
LEFT, RIGHT = 0, 1
LANDMARKS = ("source_landmarks", "driving_landmarks")


def landmarks() -> torch.Tensor:
    return 0.9 * mean_shape(torch.zeros(1))[None]


def picture(seed: int = 0) -> torch.Tensor:
    """A smooth random picture with edges everywhere."""
    noise = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, (SIZE, SIZE), mode="bicubic", align_corners=True)
    return (0.5 + 0.15 * smooth).clamp(0, 1)


def brows_up() -> torch.Tensor:
    """Displacement of the landmarks of the left half: AU2 lifts the outer brow, AU12 the corner of the mouth."""
    motion = torch.zeros(17, 68, 2)
    motion[AU2, 24:27, 1] = -0.1
    motion[AU12, 54] = torch.tensor([0.05, -0.08])
    return motion


def sharp(estimator: AUEstimator) -> AUEstimator:
    """With little shrinkage of what is found."""
    estimator.au_estimator.log_ridge.data.fill_(-9.0)
    return estimator


def raised(image: torch.Tensor, unit: int, side: int, intensity: float) -> torch.Tensor:
    """The picture with the estimator's own motion of a unit on one side."""
    points = landmarks()
    centre = {AU2: points[0, 25], AU12: points[0, 54]}[unit] * torch.tensor([1.0 if side == LEFT else -1.0, 1.0])
    grid = make_coordinate_grid((SIZE, SIZE), image)
    eye_distance = (points[0, 45] - points[0, 36]).norm() / 1.42
    move = brows_up()[unit, {AU2: 25, AU12: 54}[unit]] * eye_distance * intensity
    move = move * torch.tensor([1.0 if side == LEFT else -1.0, 1.0])
    weight = torch.exp(-0.5 * ((grid - centre) / (0.18 * eye_distance)).square().sum(-1, keepdim=True))
    return sample(image, (grid - weight * move)[None], mode="bicubic", padding="border").clamp(0, 1)


@pytest.mark.parametrize("unit", [AU2, AU12])
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_difference_is_found_in_its_unit_and_on_its_side(unit, side):
    estimator = sharp(AUEstimator(brows_up()))
    found = estimator.difference(picture(), raised(picture(), unit, side, 0.5), landmarks())[0]
    assert found.shape == (17, 2)
    assert found[unit, side] > 0.25
    others = found.clone()
    others[unit, side] = 0
    assert others.abs().max() < 0.3 * found[unit, side]
    back = estimator.difference(raised(picture(), unit, side, 0.5), picture(), landmarks())[0]
    assert back[unit, side] < -0.25


def test_equal_pictures_differ_in_nothing_and_light_is_no_action_unit():
    estimator = AUEstimator(brows_up())
    image = picture()
    assert estimator.difference(image, image, landmarks()).abs().max() < 1e-6
    lit = estimator.difference(image, (0.95 * image + 0.02), landmarks())
    moved = estimator.difference(image, raised(image, AU2, LEFT, 0.5), landmarks())
    assert lit.abs().max() < 0.1 * moved.abs().max()


def test_intensities_are_in_range_and_distinguish_the_sides():
    estimator = AUEstimator()
    image = picture()
    found = estimator(image, landmarks())
    assert found.shape == (1, 17, 2)
    assert 0 <= found.min() <= found.max() <= 1
    mirrored = estimator(image.flip(-1), landmarks())
    torch.testing.assert_close(found, mirrored.flip(-1), atol=1e-3, rtol=0)


def test_the_constraint_is_smallest_for_the_requested_difference_and_penalises_other_units():
    estimator = sharp(AUEstimator(brows_up())).requires_grad_(False)
    loss = RelativeAULoss(estimator, {})
    source, prediction, rest = picture(), raised(picture(), AU2, LEFT, 0.5), torch.zeros(1, 17, 2)
    asked = estimator.difference(source, prediction, landmarks(), rest)
    assert loss(source, prediction, landmarks(), rest, asked) < 1e-6
    assert loss(source, prediction, landmarks(), rest, rest) > 1e-3
    more = loss(source, raised(prediction, AU12, RIGHT, 0.5), landmarks(), rest, asked)
    assert more > loss(source, prediction, landmarks(), rest, asked) + 1e-3
    only = RelativeAULoss(estimator, {unit: float(unit == 12) for unit in ACTION_UNITS})
    assert only(source, prediction, landmarks(), rest, rest) < loss(source, prediction, landmarks(), rest, rest)
    with pytest.raises(ValueError, match="expected action units among"):
        RelativeAULoss(estimator, {3: 1.0})


def test_every_sample_of_a_batch_is_estimated_independently():
    estimator = AUEstimator(brows_up())
    pairs = [(picture(0), raised(picture(0), AU2, LEFT, 0.5)), (picture(1), raised(picture(1), AU12, RIGHT, 0.5))]
    source, driving = (torch.cat(pictures) for pictures in zip(*pairs, strict=True))
    together = estimator.difference(source, driving, landmarks().expand(2, -1, -1))
    alone = torch.cat([estimator.difference(*pair, landmarks()) for pair in pairs])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)


def test_a_unit_that_correlates_by_chance_is_zero_in_use_and_trained_nevertheless():
    estimator = AUEstimator(brows_up())
    image, half = picture(), torch.full((1, 17, 2), 0.5)
    noisy = (image + 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert not estimator.difference(image, noisy, landmarks(), half)[:, AU12].any()
    estimator.prepare_training(TrainAUParams())
    batch = {"source": image, "driving": noisy, "source_landmarks": landmarks(), "source_au": half}
    losses, _ = estimator.losses({**batch, "au_diff": torch.full((1, 17, 2), 0.2)}, epoch=0)
    losses["difference"].backward()
    assert estimator.au_estimator.gain.grad[AU12] != 0


def test_the_constraint_has_a_finite_gradient_where_nothing_changes():
    estimator = AUEstimator(brows_up()).requires_grad_(False)
    prediction, rest = picture().requires_grad_(), torch.zeros(1, 17, 2)
    RelativeAULoss(estimator, {})(picture(), prediction, landmarks(), rest, torch.ones(1, 17, 2)).backward()
    assert prediction.grad.isfinite().all()


def test_the_constraint_has_a_gradient_in_the_prediction():
    estimator = AUEstimator(brows_up()).requires_grad_(False)
    prediction = raised(picture(), AU2, LEFT, 0.2).requires_grad_()
    rest = torch.zeros(1, 17, 2)
    RelativeAULoss(estimator, {})(picture(), prediction, landmarks(), rest, torch.ones(1, 17, 2)).backward()
    assert prediction.grad.abs().max() > 0


def test_a_unit_at_rest_cannot_fall_and_one_at_its_strongest_cannot_rise():
    estimator = sharp(AUEstimator(brows_up()))
    lifted = raised(picture(), AU2, LEFT, 0.5)
    falling = estimator.difference(lifted, picture(), landmarks(), torch.zeros(1, 17, 2))[0]
    assert estimator.difference(lifted, picture(), landmarks())[0, AU2, LEFT] < -0.25
    assert falling.min() >= 0
    half = torch.full((1, 17, 2), 0.1)
    assert estimator.difference(lifted, picture(), landmarks(), half)[0, AU2, LEFT].item() == pytest.approx(-0.1)
    rising = estimator.difference(picture(), lifted, landmarks(), torch.ones(1, 17, 2))[0]
    assert rising.max() <= 0
    almost = estimator.difference(picture(), lifted, landmarks(), torch.full((1, 17, 2), 0.9))[0]
    assert almost[AU2, LEFT].item() == pytest.approx(0.1)


def test_what_is_found_solves_the_sparse_regression():
    generator = torch.Generator().manual_seed(0)
    estimator = AUEstimator(brows_up())
    solver = estimator.au_estimator
    solver.gain.data.fill_(1.0)
    columns = torch.randn(4, 29, 300, generator=generator)
    true = torch.zeros(4, 29).index_fill_(1, torch.tensor([2, 7, 20]), 0.5)
    change = torch.einsum("bk,bkn->bn", true, columns) + 0.3 * torch.randn(4, 300, generator=generator)
    count = 300
    scale = (2 * HALF_FACE[0] * HALF_FACE[1] / count) ** 0.5  # the solver divides by the pixels of both scales
    chance = 0.1
    found = solver.solve(columns * scale, change * scale, torch.zeros(4, 17), chance).detach()

    def unexplained(values):  # by head and light; (4, n, 300)
        other = columns[:, 17:]
        fit = torch.linalg.solve(other @ other.mT / count + 1e-4 * torch.eye(12), other @ values.mT / count)
        return values - fit.mT @ other

    lengths = unexplained(columns[:, :17]).square().mean(-1).sqrt()
    threshold = chance * lengths * unexplained(change[:, None]).square().mean(-1).sqrt()

    # Optimality: a small change of any unit, the rest of the columns refitted, does not make the objective less.
    def objective(units):
        left = change - torch.einsum("bk,bkn->bn", units, columns[:, :17])
        error = unexplained(left[:, None])[:, 0].square().mean(1)
        ridge = solver.log_ridge.exp() * units.square()
        return (error / 2 + (ridge / 2 + threshold * units.abs()).sum(1)).detach()

    least = objective(found)
    assert (found[:, [2, 7]] > 0.3).all()
    assert (found == 0).float().mean() > 0.4, "most units rest"
    for unit in range(17):
        for step in (0.01, -0.01):
            moved = found.clone()
            moved[:, unit] = (moved[:, unit] + step).clamp(0, 1)
            assert (objective(moved) >= least - 1e-6).all()


def test_twice_the_change_is_twice_the_difference_and_few_units_act():
    estimator = AUEstimator(brows_up())
    source, driving = (estimator.halves(p, landmarks()) for p in (picture(), raised(picture(), AU2, LEFT, 0.3)))
    steps = torch.eye(2).expand(2, *HALF_FACE, 2, 2)
    solver = estimator.au_estimator
    columns, change = solver.columns(source, driving, steps)
    noise = 0.02 * torch.randn(change.shape, generator=torch.Generator().manual_seed(0))
    once, twice, noisy = (solver.solve(columns, c, None, 0.15) for c in (change, 2 * change, change + noise))
    torch.testing.assert_close(twice, 2 * once)
    assert once[LEFT, AU2] > 0.1
    every = solver.solve(columns, change, None, 0.0)
    for found in (once, noisy):
        assert (found != 0).sum() < (every != 0).sum()


# --- the mode ---------------------------------------------------------------------------------------------------------

TRAIN_AU = {"num_epochs": 1, "num_repeats": 1, "batch_size": 2, "dataloader_workers": 0, "checkpoint_freq": 1}


def trained(clips_root, write_experiment, tmp_path):
    """A run of `--mode train_au` on the tiny clips; returns its folder."""
    path = write_experiment(clips_root)
    arguments = [word for key, value in TRAIN_AU.items() for word in ("--set", f"train_au_params.{key}={value}")]
    assert run.main(["--config", str(path), "--mode", "train_au", "--log-dir", str(tmp_path / "au"), *arguments]) == 0
    (folder,) = (tmp_path / "au").iterdir()
    return folder


def test_train_au_writes_a_checkpoint_and_measures_held_out_clips(clips_root, write_experiment, tmp_path):
    folder = trained(clips_root, write_experiment, tmp_path)
    load_au_estimator(folder / "00000000-checkpoint.pth.tar")
    with (folder / "au_estimator.csv").open(encoding="utf-8") as file:
        rows = {int(row["au"]): row for row in csv.DictReader(file)}
    assert list(rows) == list(ACTION_UNITS)
    assert rows[12]["clips"] == "2"
    assert rows[4]["clips"] == "0"
    assert 0 <= float(rows[12]["mae"]) <= 1
    assert rows[4]["r_difference"] == "nan", "what does not change correlates with nothing"


def test_differences_are_measured_from_the_first_frame_of_each_clip(monkeypatch):
    rising, units = np.linspace(0, 0.3, 5, dtype=np.float32), np.zeros((2, 5, 17, 2), np.float32)
    units[:, :, AU2] = rising[:, None] + np.array([0.0, 0.5], np.float32)[:, None, None]
    found = np.zeros((5, 17), np.float32)
    found[:, AU2] = rising
    monkeypatch.setattr(train_au, "_estimate", lambda _model, _clip: (found, found))
    row = train_au.measure(AUEstimator(), [SimpleNamespace(action_units=of_clip) for of_clip in units])[AU2]
    assert (row["clips"], row["r_difference"], row["mae"]) == (2, 1.0, 0.25)
    assert row["r"] < 0.5


def test_a_run_with_constraint_and_cross_identity_steps_trains_and_generates(clips_root, write_experiment, tmp_path):
    checkpoint = trained(clips_root, write_experiment, tmp_path) / "00000000-checkpoint.pth.tar"
    path = write_experiment(clips_root)
    settings = [
        "model_params.au_conditioning=film",
        "dataset_params.remove_head_motion=true",
        "train_params.loss_weights.relative_au=1",
        f"train_params.au_estimator={checkpoint}",
        "train_params.cross_identity=0.5",
    ]
    arguments = [word for setting in settings for word in ("--set", setting)]
    command = ["--config", str(path), "--log-dir", str(tmp_path / "log"), *arguments]
    assert run.main(command) == 0
    (folder,) = (tmp_path / "log").iterdir()
    stats = (folder / "stats.jsonl").read_text()
    assert "relative_au" in stats
    assert "cross_identity" in stats
    assert run.main([*command, "--mode", "animate", "--checkpoint", str(folder / "00000001-checkpoint.pth.tar")]) == 0
    reconstruction = ["--mode", "reconstruction", "--checkpoint", str(folder / "00000001-checkpoint.pth.tar")]
    assert run.main([*command, *reconstruction]) == 0


def test_one_person_driven_by_another_keeps_the_face_and_reaches_the_keypoints(tmp_path, monkeypatch):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"]["au_conditioning"] = "film"
    experiment["dataset_params"]["remove_head_motion"] = True
    experiment["train_params"] |= {"au_estimator": "x", "cross_identity": 1.0, "relative_au_warmup": 4}
    experiment["train_params"]["loss_weights"]["relative_au"] = 1.0
    config = build_config(experiment, "test").config
    torch.manual_seed(0)
    model = build_model(config)
    model.prepare_training(config.train_params, None, AUEstimator(brows_up()).requires_grad_(False))
    points = (torch.from_numpy(face_landmarks(64)).float() / 63 * 2 - 1).expand(2, -1, -1)
    moved = points.clone()
    moved[:, 17:27, 1] -= 0.05
    batch = {
        "source": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        "driving": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)),
        "source_landmarks": points,
        "driving_landmarks": moved,
        "au_diff": torch.full((2, 17, 2), 0.2),
        "source_au": torch.zeros(2, 17, 2),
        "subject": torch.tensor([0, 1]),
    }
    losses, generated = model.losses(batch, epoch=2)
    assert set(losses) == {"cross_relative_au", "cross_keypoint", "cross_identity"}
    moves = generated["kp_driving"] - generated["kp_source"]
    assert moves[..., 1].min() < -0.01, "brows go up"
    assert moves.max() < 1e-6, "and nothing down"
    sum(losses.values()).backward()
    assert model.dense_motion_network.au_rest.gain.grad.abs() > 0
    assert model.inpainting_network.au_shading.log_gain.grad is None, "shading paints no motion"
    doubled, _ = model.losses(batch, epoch=4)
    torch.testing.assert_close(2 * losses["cross_relative_au"], doubled["cross_relative_au"], rtol=0.2, atol=0)
    same, generated = model.losses({**batch, "subject": torch.tensor([3, 3])}, epoch=2)
    assert torch.equal(generated["kp_source"], generated["kp_driving"]), "the same person does not drive itself"
    assert same["cross_keypoint"] < 1e-4 < losses["cross_keypoint"]

    torch.nn.init.ones_(model.inpainting_network.au_shading.log_gain)
    _, generated = model.losses({**batch, "subject": torch.tensor([3, 3])}, epoch=2)
    assert not generated["log_gain"].any()
    second = torch.tensor([0.0, 1.0])[:, None, None]
    one = {"au_diff": second * batch["au_diff"], "driving_landmarks": torch.lerp(points, moved, second)}
    _, generated = model.losses({**batch, **one}, epoch=2)
    moves = (generated["kp_driving"] - generated["kp_source"]).flatten(1).any(1)
    assert moves.tolist() == [True, False], "the first face is driven by the second person"
    assert generated["log_gain"].flatten(1).any(1).tolist() == [True, False]

    # The second person's face has half the size and is turned; the first one moves at its own size, upright.
    turned = 0.5 * torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    small = {name: torch.stack([batch[name][0], batch[name][1] @ turned.mT]) for name in LANDMARKS}
    _, generated = model.losses({**batch, **small}, epoch=2)
    moves = (generated["kp_driving"] - generated["kp_source"])[0]
    torch.testing.assert_close(moves, model.motion(batch["source"], moved - points)["fg_kp"][0], atol=1e-5, rtol=0)

    # A face that has moved as it should, with another texture, is what these losses ask for.
    shift, grid = torch.tensor([0.1, 0.0]), make_coordinate_grid((64, 64), points)
    texture = 0.1 * (torch.arange(64) % 2 * 2 - 1.0)
    moved_on = {"deformation": (grid - shift).expand(2, -1, -1, -1), "prediction": batch["source"] + texture}
    monkeypatch.setattr(model, "generate", lambda *_: moved_on)
    losses, _ = model.losses({**batch, "driving_landmarks": points + shift}, epoch=2)
    assert losses["cross_keypoint"] < 1e-4
    assert losses["cross_identity"] < 0.02 * config.train_params.cross_identity_weights.identity


def test_missing_requirements_of_the_constraint_are_reported_in_one_line(tmp_path, clips_root, write_experiment):
    experiment = tiny_experiment(tmp_path)
    experiment["train_params"]["loss_weights"]["relative_au"] = 1.0
    with pytest.raises(ConfigError, match="au_estimator: expected a checkpoint of --mode train_au"):
        build_config(experiment, "test")
    experiment["train_params"]["au_estimator"] = "x.pth.tar"
    with pytest.raises(ConfigError, match="relative_au: expected au_conditioning"):
        build_config(experiment, "test")
    experiment["model_params"]["au_conditioning"] = "film"
    with pytest.raises(ConfigError, match="because the estimator compares faces in one pose"):
        build_config(experiment, "test")
    folder = tmp_path / "tps"
    assert run.main(["--config", str(write_experiment(clips_root)), "--log-dir", str(folder)]) == 0
    (other,) = folder.glob("*/00000001-checkpoint.pth.tar")
    with pytest.raises(CheckpointError, match="expected a checkpoint of --mode train_au, found"):
        load_au_estimator(other)


def test_face_coordinates_of_the_mean_shape_are_its_own():
    grid = face_coordinates(mean_shape(torch.zeros(1))[None], (9, 9))
    torch.testing.assert_close(grid[0], make_coordinate_grid((9, 9), grid), atol=1e-5, rtol=0)
