"""How much the action-unit input changes the picture: the same keypoints, its difference on and off.

    python -m benchmarks.au_effect CHECKPOINT [CHECKPOINT ...]

Checkpoints of `config/tps-rau-demo.yaml` with any `au_conditioning`, such as those of `benchmarks.ablation`. Prints
the mean absolute change of the picture over the demo's test pairs at their apex, in grey levels of 255, its ratio to
that of the first checkpoint, and how much of it lies in the regions of the units that act.
"""

import csv
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from config.load import load_config
from core.checkpoints import load_networks, read_checkpoint
from core.models import initial_model
from demo.data_set import intensities, read_settings
from faces.action_units import ACTION_UNITS, SIDES
from modules.face_frame import face_coordinates
from modules.model import Condition
from modules.tps.au_conditioning import active_regions

CONFIG = Path("config/tps-rau-demo.yaml")


def main(paths: list[str]) -> int:
    """Print a line a checkpoint; returns the exit status."""
    if not paths:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    first = None
    for path in paths:
        effect, inside = measure(Path(path))
        first = first or effect
        print(f"{path}: {255 * effect:.4f} grey levels, ratio {effect / first:.1f}, {100 * inside:.0f} % inside")  # noqa: T201
    return 0


def measure(path: Path) -> tuple[float, float]:
    """Mean absolute change, in [0, 1], and the share of it inside the regions."""
    contents = read_checkpoint(path)
    conditioning = contents["config"]["model_params"]["au_conditioning"]
    config = load_config(CONFIG, [f"model_params.au_conditioning={conditioning}"]).config
    model = initial_model(config).eval()
    load_networks(model, contents, config, path)
    data, size = config.dataset_params.root_dir, config.dataset_params.frame_shape[0]
    total = within = count = 0.0
    with (data / "test_pairs.csv").open(newline="", encoding="utf-8") as file:
        for pair in csv.DictReader(file):
            image = iio.imread(data / "test" / pair["source"] / "0000.png")
            source = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
            points = np.load(data / "landmarks" / f"{pair['source']}.npy")[:1]
            landmarks = torch.from_numpy(points * 2 / (size - 1) - 1).float()
            au_diff = _at_apex(data, pair["driving"])
            with torch.inference_mode():
                encoded, motion = model.encode(source, landmarks), model.motion(source, landmarks)
                on, off = (
                    model.generate(encoded, motion, motion, Condition(au_diff=d))["prediction"]
                    for d in (au_diff, 0 * au_diff)
                )
                regions = active_regions((au_diff != 0).float(), face_coordinates(landmarks, (size, size))).amax(1)
            change = (on - off).abs().mean(1)
            total, within, count = total + float(change.mean()), within + float(change[regions > 0].sum()), count + 1
    return total / count, within / (total * size * size)


def _at_apex(data: Path, clip: str) -> torch.Tensor:
    """(1, 17, 2) exact intensities in the frame in which they are largest."""
    curves = intensities(read_settings(data), clip)
    apex = int(np.sum(list(curves.values()), axis=0).argmax())
    au_diff = torch.zeros(1, len(ACTION_UNITS), len(SIDES))
    for (unit, side), curve in curves.items():
        au_diff[0, ACTION_UNITS.index(unit), SIDES.index(side)] = float(curve[apex])
    return au_diff


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
