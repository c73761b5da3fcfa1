"""Measures a training step against the published one: float32, Adam step by step, maps with channels first.

    python -m benchmarks.train [--config config/tps-256.yaml] [--rounds 3] [--set train_params.batch_size=1]

All variants start from the same seeded weights and see the same batches, and take turns. Prints processor time
per image (on a GPU, elapsed time), the ratio to the published step, and the largest difference of the losses; the last
line is a JSON object.
"""

import argparse
import copy
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from config.experiment import Config
from config.load import load_config
from core.devices import make_fabric, seed_step
from core.models import initial_model, load_vgg19
from core.optimisation import OptimiserSteps
from modules.model import MotionModel

VARIANTS = {"published": ("32", False), "fused": ("32", True), "bf16": ("bf16-mixed", True)}


class Variant:
    """A model in training, with its optimisers.

    Args:
        model: initial weights, copied.
        precision: see `make_fabric`.
        fast: fused optimisers, and channels last on the way.
    """

    def __init__(self, model: MotionModel, config: Config, precision: Any, *, fast: bool):
        self.fabric = make_fabric(None, precision)
        self.model = copy.deepcopy(model).train()
        section = config.train_params
        vgg = load_vgg19("random") if section.needs_vgg19 else None
        optimisers = self.model.prepare_training(section, vgg)
        for entry in optimisers.values():
            for group in entry.optimizer.param_groups:
                group["fused"] = fast
        if fast:
            self.model.to(memory_format=torch.channels_last)
        self.fabric.setup_module(self.model)
        self.steps = OptimiserSteps(self.fabric, self.model, optimisers)

    def step(self, batch: dict[str, Tensor], number: int) -> float:
        """Train on a batch; returns the total loss."""
        seed_step(0, 0, number, 0)
        batch = {name: self.fabric.to_device(value) for name, value in batch.items()}
        with self.fabric.autocast():
            terms, generated = self.model.losses(batch, 0)
        numbers = self.steps.step(terms, 0, adversary=False)
        with self.fabric.autocast():
            adversarial = self.model.discriminator_losses(batch, generated)
        if adversarial:
            self.steps.step(adversarial, 0, adversary=True)
        return sum(numbers.values())


def main(arguments: list[str] | None = None) -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/tps-256.yaml"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=["train_params.batch_size=1"], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    config = load_config(given.config, given.set).config
    model = initial_model(config)
    variants = {name: Variant(model, config, *settings[:1], fast=settings[1]) for name, settings in VARIANTS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    losses: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(given.rounds):
        batch = random_batch(config, number)
        for name, variant in variants.items():
            started = time.process_time() if variant.fabric.device.type == "cpu" else time.perf_counter()
            losses[name].append(variant.step(batch, number))
            ended = time.process_time() if variant.fabric.device.type == "cpu" else time.perf_counter()
            seconds[name].append((ended - started) / config.train_params.batch_size)
    result = {}
    for name, spent in seconds.items():
        median = statistics.median(spent)
        ratio = statistics.median(seconds["published"]) / median
        apart = max(abs(a / b - 1) for a, b in zip(losses[name], losses["published"], strict=True))
        result[name] = {"seconds_per_image": median, "ratio": ratio, "loss_difference": apart}
        print(f"{name:<12}{median:8.2f} s per image, ratio {ratio:.2f}, losses differ by up to {apart:.2%}")
    print(json.dumps(result))


def random_batch(config: Config, seed: int) -> dict[str, Tensor]:
    """A batch of smooth images and face-like points, drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (config.dataset_params.frame_shape or (256, 256, 3))[:2]
    batch = config.train_params.batch_size

    def images() -> Tensor:
        coarse = torch.rand(batch, 3, 16, 16, generator=generator)
        return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)

    points = torch.rand(batch, 68, 2, generator=generator) - 0.5
    return {
        "source": images(),
        "driving": images(),
        "source_landmarks": points,
        "driving_landmarks": points + 0.01 * torch.randn(points.shape, generator=generator),
        "source_au": torch.zeros(batch, 17, 2),
        "au_diff": 0.2 * torch.rand(batch, 17, 2, generator=generator),
        "subject": torch.arange(batch),
    }


if __name__ == "__main__":
    main()
