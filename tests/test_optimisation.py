"""Losses, gradients and weights that are not finite."""

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision

from core.optimisation import MAX_SKIPPED, NotFiniteError, OptimiserSteps, non_finite_entries
from modules.trainable import Optimiser, Trainable


class TwoWeights(Trainable):
    """Two networks with an optimiser each."""

    network_names = ("first", "second")

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(1, 1, bias=False)
        self.second = torch.nn.Linear(1, 1, bias=False)


@pytest.fixture
def scaled():
    """Optimisers with the gradient scaler of 16-mixed, and their model."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))
    model = TwoWeights()
    optimisers = {
        name: Optimiser(torch.optim.SGD(network.parameters(), lr=1.0), (name,), {})
        for name, network in model.networks().items()
    }
    fabric.setup_module(model)
    return OptimiserSteps(fabric, model, optimisers), model, scaler


def losses(model: TwoWeights, factor: float) -> dict[str, torch.Tensor]:
    return {"first": factor * model.first.weight.sum(), "second": model.second.weight.sum()}


def test_a_scale_that_is_too_large_skips_the_step_of_its_network_only(scaled):
    steps, model, scaler = scaled
    before = [network.weight.item() for network in (model.first, model.second)]
    steps.step(losses(model, 1e38), 0, adversary=False)  # 4e38 is infinite
    assert model.first.weight.item() == before[0]
    assert model.second.weight.item() == pytest.approx(before[1] - 1), "unscaled by the scale of its gradient"
    assert scaler.get_scale() == 2
    steps.step(losses(model, 1.0), 0, adversary=False)
    assert model.first.weight.item() == pytest.approx(before[0] - 1)


def test_gradients_that_no_scale_mends_stop_the_run(scaled):
    steps, model, _ = scaled
    for _ in range(MAX_SKIPPED):
        steps.step(losses(model, 1e38), 0, adversary=False)
        steps._scaler.update(4.0)
    with pytest.raises(NotFiniteError, match="the gradient of first is not finite"):
        steps.step(losses(model, 1e38), 0, adversary=False)


def test_entries_that_are_not_finite_are_found_at_every_depth():
    good = {"a": {"x": torch.ones(2), "n": torch.tensor(1)}, "epoch": 1, "empty": {"x": torch.ones(0)}}
    assert non_finite_entries(good) == []
    assert non_finite_entries({"large": {"x": torch.full((9,), 3e38)}}) == []
    for value in (torch.nan, torch.inf, -torch.inf):
        broken = {"b": {"state": {0: {"y": [torch.ones(3), torch.tensor([1.0, value])]}}}}
        assert non_finite_entries(good | broken) == ["b"]
