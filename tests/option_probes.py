"""Cheap observations of what an experiment does, for `test_options.py`: each takes a config, returns what it sees.

Results are compared for equality, so that a probe returns numbers, texts and hashes, never a part of the config.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch
from zlib import crc32

import numpy as np
import torch
from torch.utils.data import default_collate

import animate
import prepare
import reconstruction
import run
import train
from augmentation import augment
from clips.loader import make_clip_loader
from clips.pairs import animation_pairs
from clips.splits import split_clips
from config.experiment import Config
from config.load import build_config
from config.options import RunOptions
from config.preparation import PrepareConfig
from config.sections import NormalizationParams
from core.inference import inference_device
from core.models import build_model, initial_model
from errors import UserError
from faces.action_units import SIDES
from faces.au_geometry import read_geometry
from frames_dataset import FramesDataset
from generation.engine import Engine
from modules.au_estimator import AUEstimator
from modules.losses import VGG19
from modules.warp.model import WarpModel
from output.visualizer import Visualizer
from tests.conftest import SIZE, face_landmarks, write_action_units, write_clip

FRAMES = 4  # of a clip of a data set
RELEASED = 5  # of a clip as it was received
Probe = Callable[[Any], Any]


def digest(value: Any) -> Any:
    """A value in which tensors, arrays and files are replaced by hashes of their contents."""
    if isinstance(value, torch.Tensor):
        return digest(value.detach().float().cpu().numpy())
    if isinstance(value, np.ndarray):
        return value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]
    if isinstance(value, Mapping):
        return {str(key): digest(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [digest(child) for child in value]
    return value


def contents(folder: Path, *without: str) -> dict[str, str]:
    """Hash of every file of a folder."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file())
    names = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for name, path in names.items()
        if not any(part in name for part in without)
    }


# --- the world: clips, tables, faces ----------------------------------------------------------------------------------


class World:
    """Folders with everything that an option may name, made once.

    `data` has two subjects to train on, two faces of different size to test; `named` has two clips of one identity;
    `flat` has no splits; `spare` and others have what the entries name.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.data, self.named, self.flat = folder / "data", folder / "named", folder / "flat"
        for number, name in enumerate(("train/p_1", "train/q_1", "test/small", "test/large")):
            self._clip(self.data, name, number, size=0.8 if name == "test/small" else 1.0)
        for number, name in enumerate(("train/p#1", "train/p#2", "test/small")):
            self._clip(self.named, name, number)
        for number in range(6):
            self._clip(self.flat, f"r{number}", number)
        self._clip(self.data, "spare/bare", 9)
        self._bad_clip()
        (self.data / "pairs.csv").write_text("source,driving\nlarge,small\n", encoding="utf-8")
        self._tables()
        self.release = folder / "release"
        for name, seed, subjects in (("release", 20, 2), ("release2", 30, 2), ("subjects", 40, 4)):
            self._release(folder / name, seed, subjects)
        self._preparation_files()

    def path(self, name: str) -> str:
        """A path in the world as an experiment writes it."""
        return str(self.folder / name)

    def _clip(self, root: Path, name: str, seed: int, *, size: float = 1.0) -> None:
        clip = root / name
        landmarks = write_clip(clip.parent, clip.name, seed, frames=FRAMES)
        middle = landmarks[:1].mean(axis=1, keepdims=True)
        landmarks = middle + size * (landmarks - middle)
        for t in range(FRAMES):
            landmarks[t, 48] += [-t / 2, t]  # the corner of the mouth moves on its own
            landmarks[t] += [0, 0.4 * t]
        if root == self.flat:
            return
        for folder, kept in (("landmarks", landmarks), ("onsets", landmarks[:1]), ("shifted", landmarks + 1.5)):
            (root / folder).mkdir(exist_ok=True)
            np.save(root / folder / f"{clip.name}.npy", kept.astype(np.float32))
        (root / "au").mkdir(exist_ok=True)
        write_action_units(root / "au" / f"{clip.name}.csv", FRAMES)

    def _bad_clip(self) -> None:
        """`bad` is `data` with a training clip that has no landmarks."""
        shutil.copytree(self.data, self.folder / "bad")
        (self.folder / "bad" / "landmarks" / "q_1.npy").unlink()

    def _tables(self) -> None:
        """Tables of action units with other values, with a frame of low confidence, of a tool that lacks units."""
        for kind in ("stronger", "unsure", "libreface"):
            (self.data / kind).mkdir()
        for path in (self.data / "au").glob("*.csv"):
            header, *rows = [line.split(", ") for line in path.read_text(encoding="utf-8").splitlines()]
            at = header.index("AU04_r")
            stronger = [[*row[:at], "3", *row[at + 1 :]] for row in rows]
            unsure = [[*row[:2], "0.5" if number == 1 else "1", *row[3:]] for number, row in enumerate(rows)]
            unsure[1][at] = "4"
            libreface = [
                ["frame_idx", *(f"au_{unit}_intensity" for unit in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))]
            ]
            libreface += [[str(t), *["1"] * 12] for t in range(FRAMES)]
            for kind, table in (("stronger", [header, *stronger]), ("unsure", [header, *unsure])):
                text = "\n".join(", ".join(row) for row in table)
                (self.data / kind / path.name).write_text(text + "\n", encoding="utf-8")
            write_libreface(self.data / "libreface" / path.name, FRAMES)

    def _release(self, root: Path, seed: int, subjects: int) -> None:
        """Clips as they were received: the first frame is before the onset, the last behind the offset."""
        for number in range(subjects):
            name = f"s{number}_a"
            landmarks = write_clip(root, name, seed + number, frames=RELEASED)[1:2]
            landmarks[0] = tilted(landmarks[0])
            np.save(root / f"{name}.npy", landmarks.astype(np.float32))
        rows = [f"s{number}_a,s{number},2,,4,,happiness,12+L4" for number in range(subjects)]
        text = "\n".join(["name,subject,onset,apex,offset,fps,emotion,facs", *rows])
        (root / "annotations.csv").write_text(text + "\n", encoding="utf-8")

    def _preparation_files(self) -> None:
        sheet = (self.release / "annotations.csv").read_text(encoding="utf-8")
        (self.folder / "other_sheet.csv").write_text(sheet.replace("12+L4", "1+2"), encoding="utf-8")
        for kind in ("onset_rows", "all_rows", "tables", "unsure_tables", "poor_tables"):
            (self.folder / kind).mkdir()
        boxes = ["clip,x0,y0,x1,y1"]
        for number in range(2):
            name = f"s{number}_a"
            onset = np.load(self.release / f"{name}.npy")
            np.save(self.folder / "onset_rows" / f"{name}.npy", onset + 1)
            np.save(self.folder / "all_rows" / f"{name}.npy", onset + 0.2 * np.arange(RELEASED)[:, None, None])
            boxes.append(f"{name},5,5,40,40")
            table = self.folder / "tables" / f"{name}.csv"
            write_action_units(table, RELEASED)
            lines = table.read_text(encoding="utf-8").splitlines()
            cells = lines[3].split(", ")
            lines[3] = ", ".join([*cells[:2], "0.5", cells[3], "4", *cells[5:]])
            (self.folder / "unsure_tables" / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            write_libreface(self.folder / "poor_tables" / f"{name}.csv", RELEASED)
        (self.folder / "boxes.csv").write_text("\n".join(boxes) + "\n", encoding="utf-8")
        for number in range(2):
            (self.folder / f"test_list{number}.txt").write_text(f"s{number}\n", encoding="utf-8")


def write_libreface(path: Path, frames: int) -> None:
    """A table of LibreFace, which estimates 12 of the 17 action units."""
    units = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
    rows = [["frame_idx", *(f"au_{unit}_intensity" for unit in units)]]
    rows += [[str(t), *[str(t / 2)] * len(units)] for t in range(frames)]
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")


def tilted(landmarks: np.ndarray) -> np.ndarray:
    """A face turned by 8 degrees, so that `upright` has something to do."""
    angle = np.deg2rad(8)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = landmarks.mean(axis=0)
    return middle + (landmarks - middle) @ turn.T


@cache
def world() -> World:
    """The world of this process; its folder goes with the process."""
    return World(Path(_folder().name))


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="options-")


def new_folder() -> Path:
    """A new empty folder."""
    return Path(tempfile.mkdtemp(dir=_folder().name))


# --- experiments ------------------------------------------------------------------------------------------------------

HOURGLASS = {"block_expansion": 4, "max_features": 16, "num_blocks": 2, "scale_factor": 0.25}
DECODER = {"block_expansion": 4, "max_features": 16, "num_down_blocks": 2}
AVD = {"id_bottle_size": 8, "pose_bottle_size": 8}
MODELS = {
    "tps": {
        "keypoints": "landmarks",
        "common_params": {"num_tps": 10, "bg": False},
        "generator_params": DECODER,
        "dense_motion_params": HOURGLASS,
        "avd_network_params": AVD,
    },
    "warp": {},
    "fomm": {
        "common_params": {"num_kp": 5},
        "kp_detector_params": HOURGLASS,
        "generator_params": {**DECODER, "num_bottleneck_blocks": 1, "dense_motion_params": HOURGLASS},
        "discriminator_params": {"block_expansion": 4, "max_features": 16, "num_blocks": 3},
    },
    "mraa": {
        "num_regions": 5,
        "bg_predictor_params": {"block_expansion": 4, "max_features": 16, "num_blocks": 2},
        "region_predictor_params": HOURGLASS,
        "generator_params": {**DECODER, "num_bottleneck_blocks": 1, "pixelwise_flow_predictor_params": HOURGLASS},
        "avd_network_params": AVD,
    },
}


def experiment(family: str) -> dict[str, Any]:
    """The tiny experiment from which every entry of a family starts."""
    here = world()
    loop = {"num_epochs": 2, "num_repeats": 2, "batch_size": 2, "dataloader_workers": 0, "checkpoint_freq": 5}
    weights = {"perceptual": [], "pixel": 10}
    return {
        "format": 2,
        "dataset_params": {
            "root_dir": here.path("data"),
            "frame_shape": [SIZE, SIZE, 3],
            "keypoint_dir": here.path("data/landmarks"),
            "au_dir": here.path("data/au"),
            "fps": 100,
            "cache_dir": here.path("cache"),
        },
        "model_params": {"family": family, **deepcopy(MODELS[family])},
        "train_params": {**loop, "scales": [1, 0.5], **({} if family == "warp" else {"loss_weights": weights})},
        "train_avd_params": dict(loop),
        "train_au_params": dict(loop),
        "animate_params": {"format": ".png"},
    }


def preparation(output: Path) -> dict[str, Any]:
    """The tiny preparation from which every entry starts."""
    return {
        "format": 2,
        "prepare_params": {
            "data_set": "folder",
            "root_dir": world().path("release"),
            "output_dir": str(output),
            "fps": 200,
            "workers": 1,
            "crop_params": {"size": 32},
            "landmark_params": {"backend": "files"},
        },
    }


def assigned(raw: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an experiment with values set by dotted path."""
    raw = json.loads(json.dumps(raw))
    for path, value in changes.items():
        *sections, key = path.split(".")
        at = raw
        for section in sections:
            at = at.setdefault(section, {})
        at[key] = value
    return raw


def config_of(family: str, changes: Mapping[str, Any]) -> Any:
    """A checked experiment or preparation; the error message where it is refused."""
    try:
        if family == "prepare":
            raw = assigned(preparation(new_folder() / "out"), changes)
            return PrepareConfig.model_validate(raw)
        return build_config(assigned(experiment(family), changes), "test").config
    except ValueError as error:
        return str(error)
    except UserError as error:
        return str(error)


# --- networks and losses ----------------------------------------------------------------------------------------------


@cache
def vgg() -> VGG19:
    """A random VGG-19, made once."""
    torch.manual_seed(0)
    return VGG19()


@cache
def estimator() -> AUEstimator:
    """An untrained action-unit estimator."""
    torch.manual_seed(0)
    geometry = read_geometry()[:, SIDES.index("left")]
    return AUEstimator(torch.from_numpy(geometry).float()).requires_grad_(False).eval()


@cache
def estimator_file() -> str:
    """A checkpoint of that estimator."""
    path = new_folder() / "estimator.pth.tar"
    torch.save({"au_estimator": estimator().au_estimator.state_dict()}, path)
    return str(path)


@cache
def batch() -> dict[str, torch.Tensor]:
    """Four training pairs of two people with landmarks and action units."""
    config = config_of("tps", {"dataset_params.source_frame": "first"})
    return augment(default_collate([pairs(config)[(0, index)] for index in range(4)]))


def pairs(config: Config) -> FramesDataset:
    """The training pairs of an experiment."""
    params = config.dataset_params
    loader = make_clip_loader(params, "cpu", landmarks=True, action_units=True)
    clips, problems = loader.load_all(split_clips(params, "train"), "train")
    dataset = FramesDataset(clips, params, seed=config.seed, num_repeats=2)
    dataset.problems = problems
    return dataset


def model_of(config: Config) -> Any:
    """The networks with weights that hide no path: none is zero, and each has its own random numbers."""
    torch.manual_seed(0)
    model = build_model(config)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(crc32(name.encode())))
        parameter.data += (0.2 if parameter.ndim == 1 else 0.03) * noise
    return model


def prepared_model(config: Config) -> tuple[Any, dict[str, Any]]:
    """The networks ready for `losses`, and their optimisers."""
    model = model_of(config)
    section = config.train_params
    judge = estimator() if section.au_estimator_file else None
    return model.train(), model.prepare_training(section, vgg() if section.needs_vgg19 else None, judge)


def initial(config: Config) -> Any:
    """Names, shapes and first values of all weights."""
    return digest(dict(initial_model(config).state_dict()))


def _losses(config: Config, epoch: int) -> Any:
    model, _ = prepared_model(config)
    torch.manual_seed(0)
    with torch.no_grad():
        terms, generated = model.losses(batch(), epoch)
        terms |= model.discriminator_losses(batch(), generated)
    return {name: float(value) for name, value in terms.items()}


def losses(config: Config) -> Any:
    """Losses of a fixed batch in epoch 0."""
    return _losses(config, 0)


def losses_later(config: Config) -> Any:
    """Losses of a fixed batch in epoch 5."""
    return _losses(config, 5)


def step(config: Config) -> Any:
    """Weights after one step of every optimiser."""
    model, optimisers = prepared_model(config)
    torch.manual_seed(0)
    terms, generated = model.losses(batch(), 0)
    sum(terms.values()).backward()
    for entry in optimisers.values():
        if not entry.adversary:
            entry.optimizer.step()
    terms = model.discriminator_losses(batch(), generated)
    if terms:
        sum(terms.values()).backward()
        for entry in optimisers.values():
            if entry.adversary:
                entry.optimizer.step()
    return digest(dict(model.state_dict()))


def avd(config: Config) -> Any:
    """Losses of the AVD network, and its weights after a step."""
    model = model_of(config).train()
    optimisers = model.prepare_avd(config.train_avd_params)
    torch.manual_seed(0)
    terms, _ = model.avd_losses(batch(), 0)
    sum(terms.values()).backward()
    for entry in optimisers.values():
        entry.optimizer.step()
    return {name: value.item() for name, value in terms.items()}, digest(dict(model.avd_network.state_dict()))


@torch.no_grad()
def swapped_axes(config: Config) -> Any:
    """Deformation and AVD regions for driving regions whose axes point the other way."""
    model = model_of(config).eval()
    source, driving = model.motion(batch()["source"]), model.motion(batch()["driving"])
    swapped = {**driving, "affine": -driving["affine"]}
    generated = model.generate(model.encode(batch()["source"]), source, swapped)
    return digest(
        [generated["deformation"], model.relative(source, swapped, driving, "avd", NormalizationParams())["affine"]]
    )


def action_unit_estimator(config: Config) -> Any:
    """Losses of the action-unit estimator, and its weights after a step."""
    torch.manual_seed(0)
    model = AUEstimator(torch.from_numpy(read_geometry()[:, SIDES.index("left")]).float())
    for parameter in (model.au_estimator.shading, model.au_estimator.motion):
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    optimisers = model.prepare_training(config.train_au_params)
    terms, _ = model.losses(batch(), 0)
    sum(terms.values()).backward()
    optimisers["optimizer_au"].optimizer.step()
    return {name: value.item() for name, value in terms.items()}, digest(dict(model.state_dict()))


# --- clips and pairs --------------------------------------------------------------------------------------------------


def _reported(action: Callable[[], Any]) -> Any:
    """Result of an action, or the message with which it is refused."""
    try:
        return action()
    except UserError as error:
        return f"refused: {error}"


def training_pairs(config: Config) -> Any:
    """All pairs of two epochs, after augmentation; clips that were left out."""

    def draw() -> Any:
        dataset = pairs(config)
        drawn = [dataset[(epoch, index)] for epoch in (0, 1) for index in range(len(dataset))]
        return len(dataset), [digest(augment(default_collate([pair]))) for pair in drawn], dataset.problems

    with (
        patch("clips.detectors.extract_action_units", lambda frames, device: _estimated(len(frames))),
        patch("clips.detectors.load_landmark_detector", lambda backend, device: FakeDetector(backend)),
    ):
        return _reported(draw)


def _estimated(count: int) -> np.ndarray:
    """A table as py-feat gives it."""
    from faces.action_unit_extraction import COLUMNS

    values = np.zeros((count, len(COLUMNS)))
    for at, name in enumerate(COLUMNS):
        values[:, at] = np.arange(count) if "frame" in name else 1.0 if "Score" in name else 0.3
    return values


def clips_of_test(config: Config) -> Any:
    """Names of the test clips."""
    return [clip.name for clip in split_clips(config.dataset_params, "test")]


def pairs_to_animate(config: Config) -> Any:
    """Names of source and driving clips."""
    return [(source.name, driving.name) for source, driving in animation_pairs(config.dataset_params)]


def frame_rate(config: Config) -> Any:
    """Frame rate of a clip of pictures."""
    loader = make_clip_loader(config.dataset_params, "cpu", landmarks=True, action_units=True)
    return _reported(lambda: loader.fps(loader.load(split_clips(config.dataset_params, "test")[0])))


def decoded_file(config: Config) -> Any:
    """Folder in which decoded frames lie."""
    loader = make_clip_loader(config.dataset_params, "cpu", landmarks=True, action_units=True)
    return str(loader.load(split_clips(config.dataset_params, "test")[0]).cached.path.parent)


def acceptance(config: Any) -> Any:
    """The message with which an experiment is refused."""
    return config if isinstance(config, str) else "accepted"


# --- training loop ----------------------------------------------------------------------------------------------------


@contextmanager
def _watched():
    """Training without TensorBoard; yields the keys of the pairs drawn and the arguments given to Fabric."""
    seen = SimpleNamespace(keys=[], fabric={})
    draw, fabric = FramesDataset.__getitem__, train.make_fabric

    def watched(self, item):
        seen.keys.append(tuple(item))
        return draw(self, item)

    def watched_fabric(*arguments):
        seen.fabric = arguments
        return fabric(*arguments[:2])  # one machine

    with (
        patch.object(FramesDataset, "__getitem__", watched),
        patch("torch.utils.tensorboard.SummaryWriter", MagicMock()),
        patch("modules.losses.VGG19", vgg),  # which takes a second to make
        patch("train.make_fabric", watched_fabric),
        patch("train_avd.make_fabric", watched_fabric),
        patch("train_au.make_fabric", watched_fabric),
    ):
        yield seen


def _trained(config: Config, mode: str, checkpoint: Path | None = None) -> Any:
    folder = new_folder()
    options = RunOptions(Path("tiny.yaml"), checkpoint=checkpoint, log_dir=folder, device_ids=None)
    entry = run.MODES[mode]
    with _watched() as seen:
        message = _reported(lambda: run._load(entry)(config, options))
    if message != 0:
        return message
    (made,) = folder.iterdir()
    lines = [json.loads(line) for line in (made / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["images_per_second"]
    files = sorted(path.name for path in made.glob("*.pth*"))
    shutil.rmtree(made)
    return {"steps": lines, "files": files, "order": seen.keys, "machines": seen.fabric[2:]}


def training_steps(config: Config) -> Any:
    """Losses step by step of `--mode train`."""
    return training(config)["steps"]


def training(config: Config) -> Any:
    """Losses step by step, checkpoints and order of the pairs of `--mode train`."""
    return _trained(config, "train")


def order_of_pairs(config: Config) -> Any:
    """Order in which the pairs of two epochs are drawn."""
    return training(config)["order"]


@cache
def trained_checkpoint() -> Path:
    """A checkpoint of the tiny experiment."""
    torch.manual_seed(0)
    config = config_of("tps", {})
    path = new_folder() / "00000000-checkpoint.pth.tar"
    torch.save({**{n: m.state_dict() for n, m in build_model(config).networks().items()}, **_ours(config)}, path)
    return path


def _ours(config: Config) -> dict[str, Any]:
    return {"format": 2, "family": config.family, "config": config.model_dump(mode="json"), "epoch": 0, "step": 0}


def training_avd(config: Config) -> Any:
    """As `training`, of `--mode train_avd`."""
    return _trained(config, "train_avd", trained_checkpoint())


def training_au(config: Config) -> Any:
    """As `training`, of `--mode train_au`."""
    return _trained(config, "train_au")


# --- generation -------------------------------------------------------------------------------------------------------


def generated(config: Config) -> Any:
    """Frames and keypoints of the larger face, driven by the smaller one."""
    model = model_of(config)
    engine = Engine(model, inference_device(), config.animate_params.batch_size)
    loader = make_clip_loader(
        config.dataset_params, "cpu", landmarks=True, action_units=model.needs_action_units, warn=lambda text: None
    )
    small, large = (
        loader.load(next(c for c in split_clips(config.dataset_params, "test") if c.name == name), "test")
        for name in ("small", "large")
    )
    result = list(engine.animate(large, small, config.animate_params))
    return digest([(frame.frame, frame.keypoints) for frame in result])


def bound_on_decoding(config: Config) -> Any:
    """Bound on the error with which `--mode animate` makes its engine."""
    seen: list[float] = []

    def made(*arguments, fast_error):
        seen.append(fast_error)
        raise UserError

    with patch("animate.make_engine", made), suppress(UserError):
        animate.animate(config, RunOptions(Path("tiny.yaml")))
    return seen


def _written(config: Config, mode: Callable[[Config, RunOptions], int]) -> Any:
    folder, sizes = new_folder(), []
    draw = WarpModel.generate

    def watched(self, encoded, motion_source, motion_driving, condition=None):
        sizes.append(len(motion_driving["landmarks"]))
        return draw(self, encoded, motion_source, motion_driving, condition)

    with patch.object(WarpModel, "generate", watched):
        mode(config, RunOptions(Path("tiny.yaml"), log_dir=folder))
    return sizes, contents(folder, "results.csv", "log.txt")


def animation(config: Config) -> Any:
    """Files of `--mode animate`, and how many frames were generated together."""
    return _written(config, animate.animate)


def reconstructed(config: Config) -> Any:
    """Files of `--mode reconstruction`, and how many frames were generated together."""
    return _written(config, reconstruction.reconstruct)


def training_picture(config: Config) -> Any:
    """The picture grid of training."""
    kp = torch.tensor([[[-0.5, -0.2], [0.3, 0.4]]]).expand(4, 2, 2)
    shown = {"prediction": batch()["driving"], "kp_source": kp, "kp_driving": kp}
    return digest(Visualizer(config.visualizer_params).grid(batch()["source"], batch()["driving"], shown))


# --- preparation ------------------------------------------------------------------------------------------------------


class FakeDetector:
    """Stands for the landmark networks: it finds the face where the release has it, or in the box."""

    def __init__(self, backend: str):
        self.backend = backend

    def detect(self, frame: np.ndarray, box: np.ndarray | None = None) -> np.ndarray:
        """(68, 2), pixels."""
        return face_landmarks() + (3 if box is None else 1) + (self.backend == "mesh")


def prepared(config: PrepareConfig) -> Any:
    """Every file that `--mode prepare` writes but its memory and its report, and the name of the folder."""
    with patch("preparation.onset.load_landmark_detector", lambda backend, device: FakeDetector(backend)):
        result = _reported(lambda: prepare.prepare(config, RunOptions(Path("prepare.yaml"))))
    output = config.prepare_params.output_dir
    made = contents(output, ".prepare", "report.html") if output.is_dir() else {}
    return result if result else made


def prepared_without_landmarks(config: PrepareConfig) -> Any:
    """As `prepared`, in a later run without the landmarks of one clip."""
    prepared(config)
    fewer = new_folder()
    shutil.copy(world().folder / "onset_rows" / "s0_a.npy", fewer)
    landmarks = config.prepare_params.landmark_params.model_copy(update={"dir": fewer})
    section = config.prepare_params.model_copy(update={"landmark_params": landmarks})
    return prepared(config.model_copy(update={"prepare_params": section}))


def prepared_folder(config: PrepareConfig) -> Any:
    """Name of the folder that `--mode prepare` makes."""
    prepared(config)
    return [path.name for path in config.prepare_params.output_dir.parent.iterdir()]
