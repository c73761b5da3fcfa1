"""Measures the effect of the action-unit input: the same keypoints with the action-unit difference on and off.

    python -m benchmarks.au_effect CHECKPOINT [CHECKPOINT ...]

Checkpoints are those of `config/tps-rau-demo.yaml` with any `au_conditioning`, such as those of `benchmarks.ablation`.
Prints the mean absolute change of the frame at the apex, over the test pairs of the demo set, in grey levels of 255,
its ratio to that of the first checkpoint, and the share of it in the regions of the active action units.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.demo_runs import demo_folder
from config.load import load_config
from core.checkpoints import load_networks, read_checkpoint
from core.models import initial_model
from demo.data_set_plan import intensity_table, read_settings
from demo.truth import read_frames, read_pairs, to_unit_range
from modules.face_frame import face_coordinates
from modules.model import Condition
from modules.tps.au_conditioning import active_regions

CONFIG = Path("config/tps-rau-demo.yaml")


def main() -> None:
    """Print one line per checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    first = None
    for path in parser.parse_args().checkpoints:
        effect, inside = measure_effect(path)
        first = first or effect
        print(f"{path}: {255 * effect:.4f} grey levels, ratio {effect / first:.1f}, {100 * inside:.0f} % inside")


def measure_effect(path: Path) -> tuple[float, float]:
    """Return the mean absolute change, image range [0, 1], and the share of it inside the regions."""
    contents = read_checkpoint(path)
    conditioning = contents["config"]["model_params"]["au_conditioning"]
    config = load_config(CONFIG, [f"model_params.au_conditioning={conditioning}"]).config
    model = initial_model(config)
    model.eval()
    load_networks(model, contents, config, path)
    data = demo_folder(CONFIG)
    total = inside = count = 0.0
    for pair in read_pairs(data):
        frame = to_unit_range(read_frames(data / "test" / pair.source)[:1])
        source, (height, width) = torch.from_numpy(frame).permute(0, 3, 1, 2), frame.shape[1:3]
        points = np.load(data / "landmarks" / f"{pair.source}.npy")[:1]
        landmarks = torch.from_numpy(points * 2 / (width - 1) - 1).float()
        au_diff = _intensities_at_apex(data, pair.driving)
        with torch.inference_mode():
            encoded, motion = model.encode(source, landmarks), model.motion(source, landmarks)
            on, off = (
                model.generate(encoded, motion, motion, Condition(au_diff=diff))["prediction"]
                for diff in (au_diff, 0 * au_diff)
            )
            regions = active_regions((au_diff != 0).float(), face_coordinates(landmarks, (height, width))).amax(1)
        change = (on - off).abs().mean(1)
        total, inside, count = total + float(change.mean()), inside + float(change[regions > 0].sum()), count + 1
    return total / count, inside / (total * height * width)


def _intensities_at_apex(data: Path, clip: str) -> torch.Tensor:
    """Return the exact intensities in the frame with the largest sum over all units and sides, (1, 17, 2)."""
    table = torch.from_numpy(intensity_table(read_settings(data), clip))
    return table[[int(table.sum((1, 2)).argmax())]]


if __name__ == "__main__":
    main()
