"""Checks of the weights, settings and optimiser states in checkpoints, and arrangements of other programs."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from core.checkpoints import (
    CheckpointError,
    checkpoint_contents,
    finished_epoch,
    load_networks,
    load_optimisers,
    stored_count,
)
from core.models import build_model, load_au_estimator
from core.weights import load_state
from modules.au_estimator import AUEstimator
from tests.test_checkpoints import prepared, published_contents

PATH = Path("x")


@pytest.fixture(scope="module")
def _tiny(tmp_path_factory):
    """A tiny model, and its checkpoint after one step of the optimiser."""
    config, model, optimisers = prepared(tmp_path_factory.mktemp("tiny"), keypoints="landmarks")
    published_contents(model, optimisers)
    contents = checkpoint_contents(config, model, optimisers, epoch=0, step=0, epoch_key="epoch")
    del contents["avd_network"]
    return config, model, optimisers, contents


@pytest.fixture
def tiny(_tiny):
    """As `_tiny`, with contents that a test may change."""
    return *_tiny[:3], copy.deepcopy(_tiny[3])


class Small(nn.Module):
    """A network with parameters, statistics and a counter."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)


def changed(key: str, value: object) -> dict[str, object]:
    return {**Small().state_dict(), key: value}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("conv.bias", torch.tensor([0, torch.nan]), r"n: conv\.bias contains NaN or infinite values; use an earlier"),
        ("conv.bias", torch.tensor([-torch.inf, 0]), "NaN or infinite values"),
        ("conv.bias", torch.tensor([0.02, 5e36]), r"contains the value 5e\+36, too large for a network"),
        ("conv.bias", torch.tensor([0, -1e300], dtype=torch.float64), r"the value -1e\+300"),
        ("norm.running_var", torch.tensor([1, -0.5]), r"norm\.running_var contains the variance -0\.5"),
        ("conv.bias", torch.ones(2, dtype=torch.bool), r"other type: conv\.bias is of torch\.bool"),
        ("conv.bias", torch.ones(2, dtype=torch.int64), r"is of torch\.int64, the config gives torch\.float32"),
        ("conv.bias", torch.ones(2, dtype=torch.complex64), r"is of torch\.complex64"),
        ("norm.num_batches_tracked", torch.tensor(1.5), r"is of torch\.float32, the config gives torch\.int64"),
        ("conv.bias", torch.ones(2).to_sparse(), "a sparse, quantised or empty tensor"),
        ("conv.bias", torch.ones(2, device="meta"), "a sparse, quantised or empty tensor"),
        ("conv.bias", [1.0, 2.0], r"conv\.bias is list"),
        ("conv.bias", None, r"conv\.bias is None"),
        ("conv.bias", torch.ones(1), r"other size: conv\.bias is \[1\], the config gives \[2\]"),
        (7, torch.ones(1), "unknown: 7"),
        ("a\nb", torch.ones(1), r"unknown: a\\nb"),
        ("x" * 500, torch.ones(1), "unknown: x{60}\\.\\.\\."),
    ],
)
def test_impossible_entries_are_refused(key, value, message):
    network = Small()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(CheckpointError, match=message) as caught:
        load_state(network, changed(key, value), "x: n")
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(network.state_dict(), before)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_taken(kind):
    network = Small()
    load_state(network, changed("conv.bias", torch.tensor([0.5, -2], dtype=kind)), "x")
    assert network.conv.bias.tolist() == [0.5, -2]


@pytest.mark.parametrize("wrap", ["module.{}", "_orig_mod.{}", "_orig_mod.module.{}", "module._orig_mod.{}"])
def test_prefixes_of_wrappers_are_removed(wrap):
    network, state = Small(), changed("conv.bias", torch.tensor([1.0, 2.0]))
    load_state(network, {wrap.format(key): value for key, value in state.items()}, "x")
    assert network.conv.bias.tolist() == [1, 2]


def test_prefixes_that_a_network_has_itself_stay():
    network = nn.Sequential()
    network.module = nn.Linear(1, 1)
    state = {"module.weight": torch.ones(1, 1), "module.bias": torch.ones(1)}
    load_state(network, state, "x")
    assert network.module.bias.item() == 1


def test_keys_that_a_prefix_alone_distinguishes_are_not_merged():
    state = changed("module.conv.bias", torch.ones(2))
    with pytest.raises(CheckpointError, match=r"unknown: module\.conv\.bias"):
        load_state(Small(), state, "x")


def flat(networks: dict, form: str = "{}.{}") -> dict:
    return {form.format(name, key): value for name, state in networks.items() for key, value in state.items()}


@pytest.mark.parametrize(
    "arrange",
    [
        lambda networks, rest: {"state_dict": networks, **rest},
        lambda networks, rest: {"model": networks, **rest},
        lambda networks, rest: {**flat(networks), **rest},
        lambda networks, rest: {"state_dict": flat(networks), **rest},
        lambda networks, rest: {"model": {"state_dict": flat(networks, "module.{}.{}")}, **rest},
        lambda networks, rest: {**flat(networks, "{}.module.{}"), **rest},
        lambda networks, rest: {**flat(networks, "_orig_mod.{}._orig_mod.{}"), **rest},
        lambda networks, rest: {**networks, "state_dict": {"a": 1}, **rest},
    ],
)
def test_arrangements_of_other_programs_are_found(tiny, arrange):
    config, model, _, contents = tiny
    names = [name for name in model.networks() if name in contents]
    networks = {name: contents.pop(name) for name in names}
    networks["inpainting_network"]["final.bias"] = torch.tensor([1.0, 2.0, 3.0])
    other = build_model(config)
    assert load_networks(other, arrange(networks, contents), config, PATH) == set(names)
    assert other.networks()["inpainting_network"].state_dict()["final.bias"].tolist() == [1, 2, 3]


def test_two_sets_of_networks_are_not_chosen_from(tiny):
    config, model, _, contents = tiny
    with pytest.raises(CheckpointError, match="expected a checkpoint with networks, found state_dict, model"):
        load_networks(model, {"state_dict": contents, "model": contents}, config, PATH)


def test_an_estimator_of_a_parallel_run_loads(tmp_path):
    estimator = AUEstimator()
    state = flat({"au_estimator": estimator.au_estimator.state_dict()}, "module.{}.{}")
    torch.save(state, tmp_path / "au.pth")
    loaded = load_au_estimator(tmp_path / "au.pth")
    torch.testing.assert_close(loaded.au_estimator.state_dict(), estimator.au_estimator.state_dict())
    torch.save({1: 2, "a": 3}, tmp_path / "au.pth")
    with pytest.raises(CheckpointError, match=r"expected a checkpoint of --mode train_au, found 1, a"):
        load_au_estimator(tmp_path / "au.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(config=None), "expected settings under `config`, got None"),
        (lambda c: c.update(config={"a": 1}), "expected settings under `config`, got dict"),
        (lambda c: c.update(config={"model_params": [1]}), "expected settings under `config`"),
        (lambda c: c.update(config={"model_params": {"family": torch.ones(2)}}), "expected settings under `config`"),
        (lambda c: c.update(config={"model_params": {3: 4}}), "expected settings under `config`"),
        (lambda c: c.update(family=7), "of the family `7`, the config says `tps`"),
        (lambda c: c.update(family=[1]), "of the family `list`"),
        (lambda c: c.update(kp_detector=None), "kp_detector: expected a state dict, got None"),
        (
            lambda c: c["inpainting_network"].update({"final.bias": 1.5}),
            r"inpainting_network: expected a tensor under final\.bias, got 1\.5",
        ),
        (lambda c: c["inpainting_network"].update({"final.bias": torch.ones(3).mul(torch.nan)}), "NaN"),
    ],
)
def test_odd_contents_are_refused_in_one_line(tiny, change, message):
    config, model, _, contents = tiny
    change(contents)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_networks(model, contents, config, PATH)
    assert "\n" not in str(caught.value)


def test_settings_that_differ_are_named_one_by_one_and_not_all(tiny):
    config, model, _, contents = tiny
    section = contents["config"]["model_params"]
    section["dense_motion_params"]["max_features"] = 7
    with pytest.raises(CheckpointError, match=r"dense_motion_params\.max_features is 7, the config says 16"):
        load_networks(model, contents, config, PATH)
    section.update({f"key{i}": "v" * 1000 for i in range(50)})
    with pytest.raises(CheckpointError, match="and 48 more; make them agree") as caught:
        load_networks(model, contents, config, PATH)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", [None, float("nan"), 1.0, "3", True, -2, 10**30, [1], torch.tensor(3)])
def test_epochs_and_steps_that_are_no_counts_are_refused(value):
    with pytest.raises(CheckpointError, match="x: expected a whole number under `epoch`, got"):
        finished_epoch({"epoch": value}, "epoch", PATH)
    with pytest.raises(CheckpointError, match="x: expected a whole number under `step`, got"):
        stored_count({"step": value}, "step", PATH)


def test_counts_are_read():
    assert finished_epoch({"epoch": -1}, "epoch", PATH) == -1
    assert (stored_count({}, "step", PATH), stored_count({"step": 4}, "step", PATH)) == (0, 4)


def first_state(contents: dict) -> dict:
    return contents["optimizer"]["state"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.clear(), "expected the state of an optimiser"),
        (lambda o: o.update(state=[]), "expected the state of an optimiser"),
        (lambda o: o.update(param_groups=None), r"has groups of \[\] parameters"),
        (lambda o: o.update(param_groups=[1]), "expected groups of numbered parameters"),
        (lambda o: o["param_groups"][0].update(params="ab"), "expected groups of numbered parameters"),
        (lambda o: o["param_groups"][0]["params"].pop(), "has groups of"),
        (lambda o: o["param_groups"][0]["params"].__setitem__(0, 1), "numbers a parameter twice"),
        (lambda o: o["state"].update({"a": {}}), "states of unknown parameters: a"),
        (lambda o: o["state"].update({0: 3}), "parameter 0: expected a dict, got 3"),
        (lambda o: o["state"][0].pop("exp_avg"), "parameter 0: expected exp_avg, exp_avg_sq, step, got"),
        (lambda o: o["state"][0].update(exp_avg=torch.ones(1)), "exp_avg is no tensor of the size"),
        (lambda o: o["state"][0].update(exp_avg=None), "exp_avg is no tensor of the size"),
        (lambda o: o["state"][0]["exp_avg"].fill_(torch.nan), "exp_avg contains NaN or infinite values"),
        (lambda o: o["state"][0]["exp_avg_sq"].fill_(-1), "exp_avg_sq contains the variance -1"),
        (lambda o: o["state"][0].update(step=torch.tensor(torch.nan)), "expected a number of steps, got nan"),
        (lambda o: o["state"][0].update(step="5"), "expected a number of steps, got 5"),
        (lambda o: o["state"][0].update(step=-1), "expected a number of steps, got -1"),
        (lambda o: o["state"][0].update(step=torch.ones(2)), "expected a number of steps, got Tensor"),
    ],
)
def test_states_that_an_optimiser_cannot_take_are_refused(tiny, change, message):
    _, _, optimisers, contents = tiny
    change(contents["optimizer"])
    with pytest.raises(CheckpointError, match=f"x: optimizer: does not fit the config .*{message}"):
        load_optimisers({"optimizer": optimisers["optimizer"]}, contents, PATH)


def test_settings_of_an_optimiser_are_those_of_the_config(tiny):
    _, model, optimisers, contents = tiny
    for group in contents["optimizer"]["param_groups"]:
        group.update(betas="x", eps=None, lr=torch.ones(3), foreach=7)
    del contents["optimizer"]["state"][1]
    contents["optimizer"]["state"][2]["step"] = 9  # older versions of PyTorch count in whole numbers
    load_optimisers({"optimizer": optimisers["optimizer"]}, contents, PATH)
    optimizer = optimisers["optimizer"].optimizer
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)
    assert optimizer.param_groups[0]["eps"] == 1e-8
    assert optimizer.state_dict()["state"][2]["step"] == 9
    optimizer.step()
