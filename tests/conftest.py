"""Tiny clips that the tests share: smooth pictures that move, with landmarks that move along."""

import gc
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import hypothesis.configuration
import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml

import run
from benchmarks.landmark_groups import face_shapes
from config.family_sections import PictureTrainParams

ROOT = Path(__file__).parents[1]
TOOL_FOLDERS = {".git", ".venv", ".hypothesis", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
SIZE = 64
FRAMES = 6
LONGEST_EXAMPLE_MS = 10_000  # an input that takes longer counts as a hang


@contextmanager
def another_user():
    """Root may write everywhere; work as a user who may not."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fuzz N`: generated inputs per property of `tests/faults/`."""
    parser.addoption("--fuzz", type=int, default=40, metavar="N", help="generated inputs per property (default: 40)")


def pytest_configure(config: pytest.Config) -> None:
    """The same inputs in every run of the suite; other ones in every run with `--fuzz`."""
    examples = config.getoption("--fuzz")
    hypothesis.configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")
    hypothesis.settings.register_profile(
        "suite",
        max_examples=examples,
        derandomize=examples <= 40,
        database=None,
        deadline=LONGEST_EXAMPLE_MS,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Sums in one order, so that results are the same bits on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _nothing_left_behind(tmp_path_factory):
    """Tests start in a temporary folder, and none may write into the repository."""
    before = repository_paths()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield
    left = sorted(repository_paths() - before)
    assert not left, f"tests wrote into the repository: {', '.join(left[:5])}; use tmp_path"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Relative paths, such as the defaults of log and cache, lie in the test's own folder."""
    monkeypatch.chdir(tmp_path)


def repository_paths() -> set[str]:
    """Files and folders of the repository, without those of Git, Python and tools."""
    found = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in TOOL_FOLDERS]
        found |= {str(Path(folder, name).relative_to(ROOT)) for name in (*folders, *files)}
    return found


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk():
    """Skip waiting for the disk: files of tests need not survive a loss of power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        patch.setattr("core.files._flush_folder", lambda folder: None)
        yield


def smooth_picture(rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """A colourful picture without edges, uint8 (size, size, 3)."""
    y, x = np.mgrid[:size, :size] / size
    channels = []
    for _ in range(3):
        waves = sum(
            np.sin(2 * np.pi * (rng.uniform(-3, 3) * x + rng.uniform(-3, 3) * y + rng.random())) for _ in range(4)
        )
        channels.append(waves)
    picture = np.stack(channels, axis=2)
    return np.uint8(255 * (picture - picture.min()) / np.ptp(picture))


def face_landmarks(size: int = SIZE) -> np.ndarray:
    """68 landmarks in pixels, (68, 2)."""
    return (face_shapes()[0] + 1) / 2 * (size - 1)


def write_clip(folder: Path, name: str, seed: int, frames: int = FRAMES) -> np.ndarray:
    """Write a clip whose image slides by half a pixel per frame; returns its landmarks (T, 68, 2)."""
    rng = np.random.default_rng(seed)
    picture = smooth_picture(rng, SIZE + 16)
    clip = folder / name
    clip.mkdir(parents=True)
    landmarks = []
    for t in range(frames):
        shift = t // 2
        iio.imwrite(clip / f"img{t + 1}.png", picture[8 : 8 + SIZE, 8 - shift : 8 - shift + SIZE])
        landmarks.append(face_landmarks() + [shift, 0])
    return np.stack(landmarks)


@pytest.fixture(scope="session")
def _clips_once(tmp_path_factory) -> Path:
    """The clips of `clips_root`, drawn once."""
    root = tmp_path_factory.mktemp("clips") / "data"
    (root / "landmarks").mkdir(parents=True)
    (root / "au").mkdir()
    for number, (split, name) in enumerate([("train", "a"), ("train", "b"), ("test", "022_3_3"), ("test", "006")]):
        np.save(root / "landmarks" / f"{name}.npy", write_clip(root / split, name, number).astype(np.float32))
        write_action_units(root / "au" / f"{name}.csv", FRAMES)
    return root


@pytest.fixture
def clips_root(tmp_path: Path, _clips_once: Path) -> Path:
    """A data set: two clips to train on, two to test, landmarks and action units for all."""
    return shutil.copytree(_clips_once, tmp_path / "data")


@pytest.fixture(scope="session")
def checkpoint_once(_clips_once: Path, tmp_path_factory) -> Path:
    """A checkpoint of the tiny experiment after one epoch, which tests must not change."""
    folder = tmp_path_factory.mktemp("trained")
    experiment = tiny_experiment(_clips_once, train_params__num_epochs=1)
    experiment["dataset_params"]["cache_dir"] = str(folder / "cache")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    assert run.main(["--config", str(folder / "tiny.yaml"), "--log-dir", str(folder / "log")]) == 0
    (checkpoint,) = (folder / "log").glob("*/*-checkpoint.pth.tar")
    return checkpoint


def write_action_units(path: Path, frames: int) -> None:
    """An OpenFace table in which AU12 grows to 5."""
    units = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
    header = ["frame", "timestamp", "confidence", "success", *(f"AU{unit:02d}_r" for unit in units)]
    rows = [
        [t + 1, t / 100, 1, 1, *(5 * t / (frames - 1) if unit == 12 else 0 for unit in units)] for t in range(frames)
    ]
    lines = [", ".join(str(cell) for cell in row) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tiny_experiment(root: Path, **changes) -> dict:
    """A thin-plate-spline experiment that trains in seconds, as a nested dict; changes as `section__key=value`."""
    experiment = {
        "format": 2,
        "dataset_params": {
            "root_dir": str(root),
            "frame_shape": [SIZE, SIZE, 3],
            "keypoint_dir": str(root / "landmarks"),
            "au_dir": str(root / "au"),
            "fps": 100,
            "cache_dir": str(root.parent / "cache"),
        },
        "model_params": {
            "family": "tps",
            "keypoints": "landmarks",
            "common_params": {"num_tps": 10, "bg": False},
            "generator_params": {"block_expansion": 4, "max_features": 16},
            "dense_motion_params": {"block_expansion": 4, "max_features": 16, "num_blocks": 3},
            "avd_network_params": {"id_bottle_size": 8, "pose_bottle_size": 8},
        },
        "train_params": {
            "num_epochs": 2,
            "num_repeats": 2,
            "batch_size": 2,
            "dataloader_workers": 0,
            "checkpoint_freq": 1,
            "scales": [1, 0.5],
            "loss_weights": {"perceptual": [], "pixel": 10},
        },
        "train_avd_params": {"num_epochs": 1, "num_repeats": 2, "batch_size": 4, "dataloader_workers": 0},
    }
    for path, value in changes.items():
        section, key = path.split("__")
        experiment[section][key] = value
    return experiment


def with_weights(section: PictureTrainParams, **weights: float) -> PictureTrainParams:
    """A training section with other loss weights."""
    return section.model_copy(update={"loss_weights": section.loss_weights.model_copy(update=weights)})


@pytest.fixture
def write_experiment(tmp_path: Path):
    """Writes a tiny experiment for a data set and returns its path."""

    def write(root: Path, name: str = "tiny", **changes) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(tiny_experiment(root, **changes)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def warp_experiment(clips_root: Path, tmp_path: Path) -> Path:
    """An experiment of the family without networks."""
    path = tmp_path / "warp.yaml"
    experiment = tiny_experiment(clips_root)
    experiment["model_params"] = {"family": "warp"}
    del experiment["train_params"]
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return path


@pytest.fixture(autouse=True, scope="module")
def _fast_garbage_collection():
    """Keeps loaded modules out of garbage collection, which imageio runs twice per opened video, 0.1 s each."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def browser():
    """An installed Chromium that the tests of a module share; skips them where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    programs = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in programs if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip(f"none of the browsers {', '.join(programs)} is installed")
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()
