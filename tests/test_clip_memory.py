"""Modes that write frames hold a few of them at a time; `benchmarks/memory.py` measures whole processes."""

import tracemalloc
import weakref

import numpy as np
import pytest

from generation.engine import Engine, Generated
from output.gif import write_gif
from output.video import FrameSequence
from tests.conftest import write_clip
from tests.faults.generation_runs import TIMES, main

FRAMES = 30  # the pictures of `write_clip` slide by half a pixel per frame, and its faces by as much
BATCH = 2
MOST = 10  # palettes are made from 8 frames


class Alive:
    """Counts the frames that are in memory at the same time."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def watch(self, frame: np.ndarray) -> np.ndarray:
        """Count a frame until nothing refers to it any more."""
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(frame, self._forget)
        return frame

    def _forget(self) -> None:
        self.now -= 1


@pytest.fixture
def alive(monkeypatch) -> Alive:
    """Frames that were generated, read or joined, and are in memory."""
    alive = Alive()
    generate, read, concatenate = Engine._generate, FrameSequence.__getitem__, np.concatenate

    def generated(self, *arguments):
        for one in generate(self, *arguments):
            yield Generated(alive.watch(one.frame.copy()), one.keypoints)

    def watched(self, index):
        return alive.watch(np.array(read(self, index)))

    def joined(arrays, *arguments, **settings):
        result = concatenate(arrays, *arguments, **settings)
        return alive.watch(result) if result.ndim == 3 and result.dtype == np.uint8 else result

    monkeypatch.setattr(np, "concatenate", joined)
    monkeypatch.setattr(Engine, "_generate", generated)
    monkeypatch.setattr(FrameSequence, "__getitem__", watched)
    return alive


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize("mode", ["file", "pairs", "au", "au-list", "reconstruction"])
def test_a_few_frames_are_in_memory(mode, suffix, warp_experiment, clips_root, tmp_path, alive):
    np.save(clips_root / "landmarks" / "long.npy", write_clip(clips_root / "test", "long", 3, frames=16))
    (clips_root / "pairs.csv").write_text("source,driving\n006,long\n", encoding="utf-8")
    codes = f"source,au,onset,apex,offset,frames\n006,4,1,3,6,{FRAMES}\n"
    (clips_root / "codes.csv").write_text(codes, encoding="utf-8")
    single = ["--source", clips_root / "test" / "006", "--result", tmp_path / f"out{suffix}"]
    arguments = {
        "file": [*single, "--driving", clips_root / "test" / "long"],
        "pairs": ["--set", f"dataset_params.pairs_list={clips_root / 'pairs.csv'}"],
        "au": [*single, "--au", "4", *TIMES, "--frames", FRAMES],
        "au-list": ["--au-list", clips_root / "codes.csv"],
        "reconstruction": ["--set", f"reconstruction_params.format={suffix}"],
    }[mode]
    kind = "reconstruction" if mode == "reconstruction" else "animate"
    sizes = [f"animate_params.batch_size={BATCH}", f"reconstruction_params.batch_size={BATCH}"]
    settings = [part for size in (*sizes, f"animate_params.format={suffix}") for part in ("--set", size)]
    assert main("--config", warp_experiment, "--log-dir", tmp_path / "log", "--mode", kind, *arguments, *settings) == 0
    assert 0 < alive.most <= MOST
    assert alive.now == 0


def test_gif_frames_are_written_as_they_come(tmp_path):
    """Pillow keeps the images, and the encoded data, of all frames."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(100)]
    tracemalloc.start()
    try:
        write_gif(tmp_path / "out.gif", frames, 2)
        assert tracemalloc.get_traced_memory()[1] < (tmp_path / "out.gif").stat().st_size / 2
    finally:
        tracemalloc.stop()
