"""Losses of the first steps of every family, so that no change of speed changes training.

python -m tests.test_loss_curves    # stores them anew, after a change that is meant to change training
"""

import json
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from core.devices import seed_step
from core.optimisation import OptimiserSteps
from tests import option_probes

STEPS = 20
CURVES = Path(__file__).parent / "golden" / "loss_curves.json"
FILM = {
    "model_params.keypoints": "landmarks",
    "model_params.au_conditioning": "film",
    "model_params.common_params.bg": False,
    "model_params.dense_motion_params.locality": 0.1,
}
CASES = {
    "tps": ("tps", {}),
    "tps-rau": ("tps", FILM),
    "fomm": ("fomm", {}),
    "fomm-awp": ("fomm", {"model_params.prior": "awp", "model_params.common_params.num_kp": 18}),
    "mraa": ("mraa", {}),
    "mraa-awp": ("mraa", {"model_params.prior": "awp", "model_params.num_regions": 18}),
}


def curve(case: str) -> dict[str, list[float]]:
    """Losses of twenty steps by name, on batches drawn from the step's number."""
    family, changes = CASES[case]
    model, optimisers = option_probes.prepared_model(option_probes.config_of(family, changes))
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.setup_module(model)
    steps = OptimiserSteps(fabric, model, optimisers)
    found: dict[str, list[float]] = {}
    for number in range(STEPS):
        seed_step(0, 5, number, 0)
        batch = dict(option_probes.batch())
        for name in ("source", "driving"):
            batch[name] = (batch[name] + 0.1 * torch.rand(batch[name].shape)).clamp(0, 1)
        terms, generated = model.losses(batch, 5)
        numbers = steps.step(terms, 5, adversary=False)
        if adversarial := model.discriminator_losses(batch, generated):
            numbers |= steps.step(adversarial, 5, adversary=True)
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_first_losses_stay_what_they_were(case):
    expected = json.loads(CURVES.read_text(encoding="utf-8"))[case]
    found = curve(case)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
        assert len(set(values)) > STEPS // 2, "the networks learn"


if __name__ == "__main__":
    CURVES.write_text(json.dumps({case: curve(case) for case in CASES}, indent=1) + "\n", encoding="utf-8")
