"""Action units as input of the thin-plate-spline family."""

import pytest
import torch

from config.load import ConfigError, build_config
from core.models import build_model
from modules.face_frame import face_coordinates
from modules.model import Condition
from modules.tps.au_conditioning import AURest, AUShading, active_regions
from tests.conftest import face_landmarks, tiny_experiment

SIZE = 64
AU12, AU4 = 8, 2  # places in the list of action units
LEFT, RIGHT = 0, 1


def landmarks(batch: int = 1) -> torch.Tensor:
    return (torch.from_numpy(face_landmarks(SIZE)).float() / (SIZE - 1) * 2 - 1).expand(batch, -1, -1).clone()


def units(unit: int, *sides: int, value: float = 0.5) -> torch.Tensor:
    au_diff = torch.zeros(1, 17, 2)
    au_diff[:, unit, list(sides)] = value
    return au_diff


def film_model(tmp_path, conditioning: str = "film"):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"]["au_conditioning"] = conditioning
    config = build_config(experiment, "test").config
    torch.manual_seed(0)
    model = build_model(config).eval()
    if conditioning == "film":
        for name, parameter in model.inpainting_network.named_parameters():
            if "au_" in name:  # they begin at zero, which would hide what they do
                torch.nn.init.normal_(parameter, std=0.1)
    return model


def picture(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def drawn(model, au_diff: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        encoded = model.encode(picture(), landmarks())
        motion = model.motion(picture(), landmarks())
        return model.generate(encoded, motion, motion, Condition(au_diff=au_diff))["prediction"]


def test_without_a_difference_film_is_exactly_the_unconditioned_network(tmp_path):
    film, plain = film_model(tmp_path), film_model(tmp_path, "none")
    state = {name: value for name, value in film.state_dict().items() if "au_" not in name}
    plain.load_state_dict(state, strict=True)
    moved = landmarks() + 0.02 * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        pictures = [
            model.generate(
                model.encode(picture(), landmarks()),
                model.motion(picture(), landmarks()),
                model.motion(picture(), moved),
                Condition(au_diff=torch.zeros(1, 17, 2)),
            )["prediction"]
            for model in (film, plain)
        ]
    assert torch.equal(*pictures)


@pytest.mark.parametrize(("side", "columns"), [(LEFT, slice(SIZE // 2 + 4, None)), (RIGHT, slice(0, SIZE // 2 - 4))])
def test_shading_changes_the_side_of_the_face_that_acts(side, columns):
    shading = AUShading()
    torch.nn.init.ones_(shading.log_gain)
    log_gain = shading(units(AU12, side), face_coordinates(landmarks(), (SIZE, SIZE)))[0, 0]
    assert log_gain.abs().sum() > 0
    assert log_gain[:, columns].abs().sum() > 0.7 * log_gain.abs().sum()
    assert log_gain[: SIZE // 3].abs().max() == 0, "the brows rest"


def test_shading_leaves_out_eyes_and_mouth():
    shading = AUShading()
    torch.nn.init.ones_(shading.log_gain)
    every_unit = torch.ones(1, 17, 2)
    log_gain = shading(every_unit, face_coordinates(landmarks(), (SIZE, SIZE)))[0, 0]
    column, row = ((landmarks()[0] + 1) / 2 * (SIZE - 1)).round().long().unbind(-1)
    assert log_gain[row[[37, 44, 62]], column[[37, 44, 62]]].abs().max() == 0, "lids and lips"
    assert log_gain[row[[21, 31, 8]], column[[21, 31, 8]]].min() > 0, "brow, nose, chin"


@pytest.mark.parametrize(("side", "columns"), [(LEFT, slice(SIZE // 2 + 4, None)), (RIGHT, slice(0, SIZE // 2 - 4))])
def test_features_are_modulated_on_the_side_that_acts(side, columns):
    active = active_regions(units(AU12, side), face_coordinates(landmarks(), (SIZE, SIZE)))[0]
    assert active[AU12][:, columns].sum() > 0.7 * active.sum() > 0


def test_shading_of_both_sides_is_the_mirror_image_of_itself():
    shading = AUShading()
    torch.nn.init.normal_(shading.log_gain, generator=torch.Generator().manual_seed(0))
    coordinates = face_coordinates(landmarks(), (SIZE, SIZE))
    mirrored = coordinates.flip(2) * torch.tensor([-1.0, 1.0])
    left = shading(units(AU4, LEFT), coordinates)
    right = shading(units(AU4, RIGHT), mirrored)
    torch.testing.assert_close(left, right.flip(-1))


def test_the_effect_lies_in_the_region_of_the_action_unit(tmp_path):
    model = film_model(tmp_path)
    change = (drawn(model, units(AU4, LEFT, RIGHT)) - drawn(model, torch.zeros(1, 17, 2))).abs().sum((0, 1))
    coordinates = face_coordinates(landmarks(), (SIZE, SIZE))
    inside = active_regions(units(AU4, LEFT, RIGHT, value=1.0), coordinates)[0, AU4] > 0
    assert change[inside].mean() > 5 * change[~inside].mean()


def test_the_face_rests_where_no_unit_acts():
    rest = AURest()
    coordinates = face_coordinates(landmarks(), (SIZE, SIZE))
    assert torch.equal(rest(torch.zeros(1, 17, 2), coordinates), torch.zeros(1, 1, SIZE, SIZE))
    added = rest(units(AU4, LEFT, RIGHT), coordinates)[0, 0]
    brow, chin = (((landmarks()[0, i] + 1) / 2 * (SIZE - 1)).round().long() for i in (20, 8))
    assert added[chin[1], chin[0]] > 1.5 > 1 > added[brow[1], brow[0]]


def test_gradients_reach_every_parameter_of_the_conditioning(tmp_path):
    model = film_model(tmp_path).train()
    experiment = build_config(tiny_experiment(tmp_path), "test").config
    model.prepare_training(experiment.train_params.model_copy(update={"dropout_epoch": 0}), None)
    batch = {
        "source": picture(2),
        "driving": picture(2).flip(-1),
        "source_landmarks": landmarks(2),
        "driving_landmarks": landmarks(2) + 0.02 * torch.randn(2, 68, 2, generator=torch.Generator().manual_seed(2)),
        "au_diff": torch.full((2, 17, 2), 0.3),
        "source_au": torch.zeros(2, 17, 2),
        "subject": torch.arange(2),
    }
    losses, _ = model.losses(batch, 0)
    assert set(losses) >= {"pixel", "shading"}
    sum(losses.values()).backward()
    still = [n for n, p in model.named_parameters() if "au_" in n and (p.grad is None or not p.grad.any())]
    assert still == []


def test_film_needs_landmarks(tmp_path):
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"] |= {"au_conditioning": "film", "keypoints": "learned"}
    with pytest.raises(ConfigError, match="film: expected `keypoints: landmarks`"):
        build_config(experiment, "test")
    with pytest.raises(ValueError, match="expected 68 landmarks for `au_conditioning: film`"):
        film_model(tmp_path).encode(picture())
