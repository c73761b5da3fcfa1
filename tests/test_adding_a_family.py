"""Families: the networks that a checkpoint holds, and a new family that follows the page step by step."""

import pytest
import torch
from torch import nn

from config.families import FAMILIES
from core.models import build_model
from modules.au_estimator import AUEstimator
from modules.losses import VGG19
from modules.model import Trainable


def model_of(family: str):
    config = FAMILIES[family].config.model_validate({"format": 2, "model_params": {"family": family}})
    with torch.device("meta"):
        return config, build_model(config)


@pytest.mark.parametrize("family", ["tps", "fomm", "mraa"])
def test_loss_networks_are_in_no_checkpoint_and_every_trained_weight_is(family):
    config, model = model_of(family)
    before = list(model.networks())
    with torch.device("meta"):
        optimisers = model.prepare_training(config.train_params, VGG19())
        model.forgotten = VGG19()
    assert list(model.networks()) == before
    saved = {parameter for network in model.networks().values() for parameter in network.parameters()}
    assert {name for entry in optimisers.values() for name in entry.networks} <= set(before)
    for entry in optimisers.values():
        assert {parameter for group in entry.optimizer.param_groups for parameter in group["params"]} <= saved


def test_a_network_with_weights_to_train_that_nobody_declared_is_refused():
    class Forgetful(Trainable):
        network_names = ("kept",)

        def __init__(self):
            super().__init__()
            self.kept, self.forgotten = nn.Linear(1, 1), nn.Linear(1, 1)

    with pytest.raises(TypeError, match=r"Forgetful\.forgotten: has parameters to train but is not in `network_names`"):
        Forgetful().networks()


def test_the_estimator_is_one_network():
    assert list(AUEstimator().networks()) == ["au_estimator"]
