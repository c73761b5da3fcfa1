"""Measures the speed of encoding the source once and generating frames in batches.

    python -m benchmarks.animation --config config/tps-demo.yaml [--frames 32] [--rounds 5]

Both variants are timed alternately, so that changes in the speed of the machine affect both. Prints the medians and
their ratio. Weights are random; they do not change the time.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.timing import time_alternately
from config.load import load_config
from core.devices import make_fabric
from core.models import build_model
from modules.face_frame import ACTION_UNITS
from modules.model import Condition, MotionModel


def main() -> None:
    """Print the frames per second of both variants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/tps-demo.yaml"))
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    config = load_config(arguments.config, []).config
    fabric = make_fabric(None, config.train_params.precision)
    model = build_model(config)
    model.eval()
    fabric.to_device(model)
    height, width = (config.dataset_params.frame_shape or (256, 256, 3))[:2]
    generator = torch.Generator().manual_seed(0)
    image = fabric.to_device(torch.rand(1, 3, height, width, generator=generator))
    points = torch.rand(1, 68, 2, generator=generator) - 0.5
    moved = fabric.to_device(points + 0.01 * torch.randn(arguments.frames, 68, 2, generator=generator))
    points = fabric.to_device(points)
    variants = {
        "frame by frame": lambda: generate(model, image, points, moved, batch_size=1, encode_once=False),
        "in batches": lambda: generate(
            model, image, points, moved, batch_size=config.animate_params.batch_size, encode_once=True
        ),
    }
    with torch.inference_mode(), fabric.autocast():
        times = time_alternately(variants, arguments.rounds)
    for name, seconds in times.items():
        print(f"{name:<16}{arguments.frames / seconds:8.1f} frames/s")
    print(f"ratio           {times['frame by frame'] / times['in batches']:8.2f}")


def generate(
    model: MotionModel,
    image: torch.Tensor,
    points: torch.Tensor,
    moved: torch.Tensor,
    *,
    batch_size: int,
    encode_once: bool,
) -> None:
    """Generate the frames of one source.

    Args:
        image: (1, 3, H, W) source.
        points: (1, 68, 2) its landmarks.
        moved: (T, 68, 2) landmarks of the frames.
        batch_size: frames per batch.
        encode_once: False encodes the source again for every batch.
    """
    source, encoded = model.motion(image, points), model.encode(image, points)
    for part in torch.split(moved, batch_size):
        if not encode_once:
            source, encoded = model.motion(image, points), model.encode(image, points)
        motion = model.motion(image.expand(len(part), -1, -1, -1), part)
        au_diff = torch.full((len(part), len(ACTION_UNITS), 2), 0.1, device=image.device)
        condition = Condition(au_diff=au_diff if model.needs_action_units else None)
        model.generate(encoded, source, motion, condition)["prediction"].sum().item()  # wait for the device


if __name__ == "__main__":
    main()
