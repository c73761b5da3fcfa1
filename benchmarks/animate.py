"""Measures animation against the published loop: one frame at a time, exactly, the source encoded anew for each frame.

    python -m benchmarks.animate [--frames 60] [--scenes general micro own] [--json -]
    python -m benchmarks.animate --config vox-256.yaml --checkpoint vox.pth.tar --clip clip.mp4

Both ways take turns frame by frame, with the same weights and the same motion, so that a change in the speed of the
machine affects both. Without a checkpoint, weights are random but seeded, and the clips are made here:

    general   the full model of TPSMM; the whole face and the head move
    micro     the same networks, moved by the flow of a clip in which one brow moves
    own       the networks of `config/tps-rau-256.yaml`, with action units and occlusion, and the same clip

Prints a table and, as the last line, a JSON object: `ratio` of times; `psnr` of the frames (dB); `energy_error`, energy
of the difference over that of the change since the first frame; `gain`, the change relative to the exact one.
"""

import argparse
import copy
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clips.loader import LoadedClip, make_clip_loader
from clips.reading import open_clip
from config.experiment import Config
from config.load import load_config
from core.checkpoints import load_networks, read_checkpoint
from core.inference import InferenceDevice, inference_device
from core.models import initial_model
from demo.data_set_plan import Settings, build_face
from faces.facs import rise_and_fall
from generation.engine import Engine
from modules.model import Condition, Motion, MotionModel
from output.video import write_frames

FPS = 100
_LANDMARKS = ("model_params.keypoints=landmarks", "model_params.common_params.bg=false", "animate_params.motion=flow")
SCENES = {
    "general": ("config/tps-256.yaml", ("animate_params.remove_head_motion=false",)),
    "micro": ("config/tps-256.yaml", (*_LANDMARKS, "animate_params.remove_head_motion=true")),
    "own": ("config/tps-rau-256.yaml", ()),
}


def main(arguments: list[str] | None = None) -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--config", type=Path, help="experiment file of the checkpoint")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--clip", type=Path, help="driving clip; its first frame is the source")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="time the published loop on one frame of N")
    parser.add_argument(
        "--json", default="-", metavar="FILE", help="file of the JSON object (default: standard output)"
    )
    given = parser.parse_args(arguments)
    device = inference_device()
    peak = convolution_peak(device)
    results: dict[str, Any] = {"device": device.name, "threads": torch.get_num_threads(), "peak_gflops": peak}
    print(f"{'scene':<10}{'frames':>7}{'published':>11}{'ours':>8}{'ratio':>7}{'PSNR':>7}{'error':>9}{'gain':>7}")
    with tempfile.TemporaryDirectory(prefix="animate-") as name:
        for scene in ["own clip"] if given.config else given.scenes:
            path, settings = (given.config, ()) if given.config else SCENES[scene]
            config = load_config(Path(path), [*settings, *given.set]).config
            model = initial_model(config).eval()
            if given.checkpoint:
                load_networks(model, read_checkpoint(given.checkpoint), config, given.checkpoint)
            clips = make_clips(Path(name), scene, config, given.frames, given.clip)
            found = measure(model, config, device, *clips, peak=peak, every=given.every)
            results[scene] = found
            print(
                f"{scene:<10}{found['frames']:>7}{found['published_seconds']:>10.2f}s{found['seconds']:>7.2f}s"
                f"{found['ratio']:>7.2f}{found['psnr']:>7.1f}{found['energy_error']:>9.5f}{found['gain']:>7.3f}"
            )
    text = json.dumps(results)
    if given.json == "-":
        print(text)
    else:
        Path(given.json).write_text(text + "\n", encoding="utf-8")


# --- clips ------------------------------------------------------------------------------------------------------------


def make_clips(
    folder: Path, scene: str, config: Config, frames: int, clip: Path | None
) -> tuple[LoadedClip, LoadedClip]:
    """Source and driving clip, with landmarks and, for models that need them, action units."""
    landmarks = action_units = None
    if clip is None:
        size = (config.dataset_params.frame_shape or (256, 256, 3))[0]
        clip, landmarks, action_units = _render(folder / scene, size, frames, everything=scene == "general")
    needs = initial_model(config)
    loader = make_clip_loader(
        config.dataset_params,
        "cpu",
        landmarks=needs.needs_landmarks,
        action_units=needs.needs_action_units,
    )
    loaded = loader.load(open_clip(clip), landmark_file=landmarks, action_unit_file=action_units)
    return loaded, loaded


def _render(folder: Path, size: int, frames: int, *, everything: bool) -> tuple[Path, Path, Path]:
    """Write a clip of a demo face in which one brow, or the whole face and the head, move by up to three pixels."""
    face = build_face(Settings(size=size), "s09")
    curve = rise_and_fall(frames // 10, frames // 2, frames - frames // 10, frames)
    units = ((4, 1.0), (12, 0.8), (25, 0.5)) if everything else ((2, 1.0),)
    keys = {(au, side): level for au, level in units for side in (("left", "right") if everything else ("left",))}
    strength = 3.0 * size / 256 / face.amplitude(keys)
    curves = {key: strength * level * curve for key, level in keys.items()}
    head = np.sin(np.arange(frames) / frames * np.pi)[:, None] * [2.0, 1.0, 0.01, 0.005] * everything
    rendered = face.render(curves, head)
    noise = 0.5 / 255 * np.random.default_rng(0).standard_normal(rendered.frames.shape, np.float32)
    write_frames(folder / "clip", np.round(np.clip(rendered.frames + noise, 0, 1) * 255).astype(np.uint8))
    np.save(folder / "landmarks.npy", rendered.landmarks)
    names = ["frame", "confidence", *(f"AU{au:02d}_r" for au in _UNITS)]
    rows = [",".join(names)]
    for t in range(frames):
        values = [5 * max((curves[key][t] for key in curves if key[0] == au), default=0.0) for au in _UNITS]
        rows.append(",".join(map(str, [t + 1, 1.0, *values])))
    (folder / "units.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "clip", folder / "landmarks.npy", folder / "units.csv"


_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)

# --- measurement ------------------------------------------------------------------------------------------------------


class _Recorder:
    """Keeps what an engine's model was last asked to generate, and its answer."""

    def __init__(self, model: MotionModel):
        self._generate = model.generate
        self.asked: tuple[Motion, Condition | None] = ({}, None)
        self.prediction = torch.empty(0)

    def __call__(
        self, encoded: Any, source: Motion, driving: Motion, condition: Condition | None = None
    ) -> dict[str, Any]:
        generated = self._generate(encoded, source, driving, condition)
        self.asked, self.prediction = (driving, condition), generated["prediction"]
        return generated


def measure(
    model: MotionModel,
    config: Config,
    device: InferenceDevice,
    source: LoadedClip,
    driving: LoadedClip,
    *,
    peak: float,
    every: int,
) -> dict[str, Any]:
    """Animate a clip in both ways, in turns; returns times, ratio and deviation."""
    params = config.animate_params
    exact = copy.deepcopy(model)
    device.to_device(exact)
    engine = Engine(model, device, 1, fast_error=params.fast_error)
    recorder = _Recorder(engine.model)
    engine.model.generate = recorder  # type: ignore[method-assign,assignment]  # the instance's, not the class's
    image, landmarks = engine._images(source, slice(0, 1)), engine._landmarks(source, slice(0, 1))
    seconds: dict[str, list[tuple[float, float]]] = {"published": [], "ours": []}  # elapsed, and of the processor
    ours, theirs = [], []
    frames = engine.animate(source, driving, params)
    flops = 0
    for number in range(len(driving)):
        started = _clocks()
        next(frames)
        seconds["ours"].append(_since(started))
        if number % every:
            continue
        now = engine._images(driving, slice(number, number + 1))
        with torch.inference_mode():
            started = _clocks()
            published = _published(exact, image, landmarks, now, driving, number, engine, recorder)
            seconds["published"].append(_since(started))
        ours.append(recorder.prediction.float().cpu())
        theirs.append(published.float().cpu())
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        _published(exact, image, landmarks, now, driving, number, engine, recorder)
    flops = counter.get_total_flops()
    published_total = len(driving) * np.mean(seconds["published"], axis=0)
    total = np.sum(seconds["ours"], axis=0)
    return {
        "frames": len(driving),
        "published_seconds": float(published_total[0]),
        "seconds": float(total[0]),
        "ratio": float(published_total[0] / total[0]),
        "processor_ratio": float(published_total[1] / total[1]),
        "median_ratio": float(np.median(seconds["published"], axis=0)[0] / np.median(seconds["ours"], axis=0)[0]),
        "gflop_per_frame": flops / 1e9,
        "fraction_of_peak": flops / 1e9 * len(driving) / total[0] / peak,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (2**20 if sys.platform == "darwin" else 1024),
        **deviation(torch.cat(ours), torch.cat(theirs)),
    }


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    """Elapsed seconds, and seconds of the processor."""
    return time.perf_counter() - started[0], time.process_time() - started[1]


def _published(
    model: MotionModel,
    image: Tensor,
    landmarks: Tensor | None,
    driving: Tensor,
    clip: LoadedClip,
    number: int,
    engine: Engine,
    recorder: _Recorder,
) -> Tensor:
    """One frame as published; the transferred motion is that of the engine, so that only the networks are compared."""
    motion_source, encoded = model.motion(image, landmarks), model.encode(image, landmarks)
    model.motion(driving, engine._landmarks(clip, slice(number, number + 1)))
    prediction: Tensor = model.generate(encoded, motion_source, *recorder.asked)["prediction"]
    if prediction.is_cuda:
        torch.cuda.synchronize()
    return prediction


def deviation(ours: Tensor, exact: Tensor) -> dict[str, float]:
    """PSNR, relative energy of the error, and gain of the change since the first frame: (T, C, H, W) twice."""
    change, error = (exact - exact[:1]).double(), (ours - exact).double()
    energy = float(change.square().sum())
    return {
        "psnr": float(-10 * torch.log10(error.square().mean().clamp_min(1e-12))),
        "energy_error": float(error.square().sum()) / max(energy, 1e-12),
        "gain": float(((ours - ours[:1]).double() * change).sum()) / max(energy, 1e-12),
    }


def convolution_peak(device: InferenceDevice) -> float:
    """GFLOP per second of a large convolution of 512 channels on this machine, the best of three."""
    x = device.to_device(torch.rand(1, 512, 64, 64))
    conv = device.to_device(torch.nn.Conv2d(512, 512, 3, padding=1))
    best = float("inf")
    with torch.inference_mode():
        for _ in range(4):
            started = time.perf_counter()
            conv(x).sum().item()
            best = min(best, time.perf_counter() - started)
    return 2 * 9 * 512**2 * 64**2 / best / 1e9


if __name__ == "__main__":
    main()
