import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import run
import train as train_module
from augmentation import augment
from config.families import FAMILIES
from config.load import load_config
from core.checkpoints import read_checkpoint
from core.devices import seed_step
from core.models import build_model, initial_model
from core.optimisation import non_finite_entries
from core.progress import Progress
from core.stop_signal import StopSignal
from frames_dataset import FramesDataset
from modules.model import MotionModel
from modules.tps.model import TPSModel
from tests import option_probes
from train import training_pairs
from trainer import Job, Trainer

ROOT = Path(__file__).parents[1]


def train(experiment: Path, log_dir: Path, *arguments: str) -> int:
    return run.main(["--config", str(experiment), "--log-dir", str(log_dir), *arguments])


def run_folder(log_dir: Path) -> Path:
    (folder,) = [path for path in log_dir.iterdir() if path.is_dir()]
    return folder


def same(a: dict, b: dict, *, apart: tuple[str, ...] = ()) -> bool:
    """True if two checkpoints are bit-identical."""
    if isinstance(a, dict):
        return set(a) == set(b) and all(key in apart or same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_a_run_writes_what_it_promises(clips_root, write_experiment, tmp_path):
    assert train(write_experiment(clips_root), tmp_path / "log") == 0
    folder = run_folder(tmp_path / "log")
    assert folder.name.startswith("tiny_")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.yaml", "log.txt", "stats.jsonl", "tensorboard", "train-vis"}
    assert {"00000000-checkpoint.pth.tar", "00000001-checkpoint.pth.tar"} <= names
    assert len(list((folder / "train-vis").glob("*.png"))) == 2
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert {"pixel", "warp_loss", "learning_rate", "images_per_second"} <= set(lines[0])
    assert load_config(folder / "config.yaml").config == load_config(write_experiment(clips_root)).config


def test_training_lowers_the_loss(clips_root, write_experiment, tmp_path):
    experiment = write_experiment(clips_root, train_params__num_epochs=12, train_params__checkpoint_freq=100)
    train(experiment, tmp_path / "log", "--set", "train_params.lr_generator=3e-3")
    stats = (run_folder(tmp_path / "log") / "stats.jsonl").read_text().splitlines()
    pixel = [json.loads(line)["pixel"] for line in stats]
    assert sum(pixel[-4:]) < 0.7 * sum(pixel[:4])


@pytest.mark.parametrize("workers", [0, 1])
def test_training_works_without_a_cache_folder(clips_root, write_experiment, tmp_path, workers):
    experiment = write_experiment(clips_root, train_params__num_epochs=1, train_params__dataloader_workers=workers)
    train(experiment, tmp_path / "log", "--set", "dataset_params.cache_dir=null")
    assert (run_folder(tmp_path / "log") / "00000000-checkpoint.pth.tar").exists()


def test_learning_rates_fall_at_milestones(clips_root, write_experiment, tmp_path):
    experiment = write_experiment(clips_root, train_params__epoch_milestones=[1])
    train(experiment, tmp_path / "log", "--set", "train_params.lr_generator=1e-3")
    stats = (run_folder(tmp_path / "log") / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["learning_rate"] for line in stats] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


ZONES = ["model_params.dense_motion_params.locality=0.08", "train_params.loss_weights.motion=0.1"]
STEADY = ["dataset_params.remove_head_motion=true", "dataset_params.source_frame=first"]
SHADING = ["model_params.au_conditioning=film", "train_params.loss_weights.warp_loss=1"]
LEARNED = ["model_params.keypoints=learned", "model_params.common_params.bg=true", "train_params.bg_start=1"]


@pytest.mark.parametrize("changes", [[*ZONES, *STEADY, *SHADING], [*LEARNED, "train_params.num_repeats=1"]])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(clips_root, write_experiment, tmp_path, changes):
    """With zones and maps that have learning rates of their own, and with optimisers that begin later."""
    flip = "dataset_params.augmentation_params={flip_param: {horizontal_flip: true, time_flip: true}}"
    arguments = [part for change in [*changes, flip] for part in ("--set", change)]
    experiment = write_experiment(clips_root)
    assert train(experiment, tmp_path / "whole", *arguments) == 0
    whole = run_folder(tmp_path / "whole")
    part = tmp_path / "part"
    part.mkdir()
    first, last = (f"{epoch:08d}-checkpoint.pth.tar" for epoch in (0, 1))
    (whole / first).rename(part / first)
    assert train(experiment, tmp_path / "unused", *arguments, "--checkpoint", str(part / first)) == 0
    assert not (tmp_path / "unused").exists()
    assert same(read_checkpoint(part / last), read_checkpoint(whole / last))


def test_every_epoch_draws_all_pairs_in_another_order(clips_root, write_experiment, tmp_path, monkeypatch):
    drawn = []
    draw = FramesDataset.__getitem__
    monkeypatch.setattr(FramesDataset, "__getitem__", lambda self, item: drawn.append(tuple(item)) or draw(self, item))
    repeats = ["--set", "train_params.num_repeats=4"]
    train(write_experiment(clips_root), tmp_path / "log", *repeats)
    train(write_experiment(clips_root), tmp_path / "other", *repeats, "--seed", "1")
    orders = [[index for _, index in drawn[start : start + 8]] for start in range(0, 32, 8)]
    assert [epoch for epoch, _ in drawn] == [*[0] * 8, *[1] * 8] * 2
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_a_published_checkpoint_goes_on_with_the_next_epoch(clips_root, write_experiment, tmp_path):
    experiment = write_experiment(clips_root)
    train(experiment, tmp_path / "log", "--set", "model_params.tps_regularization=tpsmm")
    contents = read_checkpoint(run_folder(tmp_path / "log") / "00000000-checkpoint.pth.tar")
    published = {key: contents[key] for key in contents if key not in ("format", "family", "config", "step")}
    folder = tmp_path / "published"
    folder.mkdir()
    torch.save(published, folder / "vox.pth.tar")
    arguments = ["--set", "model_params.tps_regularization=tpsmm", "--checkpoint", str(folder / "vox.pth.tar")]
    assert train(experiment, tmp_path, *arguments) == 0
    assert (folder / "00000001-checkpoint.pth.tar").exists()
    assert not (folder / "00000000-checkpoint.pth.tar").exists()


def test_only_the_newest_checkpoints_are_kept_where_the_config_says_so(clips_root, write_experiment, tmp_path):
    experiment = write_experiment(clips_root, train_params__num_epochs=4, train_params__keep_checkpoints=2)
    train(experiment, tmp_path / "log")
    names = sorted(path.name for path in run_folder(tmp_path / "log").glob("*.pth.tar"))
    assert names == ["00000002-checkpoint.pth.tar", "00000003-checkpoint.pth.tar"]


posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    clips_root, write_experiment, tmp_path, monkeypatch, caplog, number
):
    arguments = ["--set", "train_params.num_repeats=3"]  # 3 steps per epoch
    experiment = write_experiment(clips_root)
    assert train(experiment, tmp_path / "whole", *arguments) == 0
    steps = []

    def interrupting(*arguments, **settings):
        steps.append(1)
        if len(steps) == 5:
            os.kill(os.getpid(), number)
        return augment(*arguments, **settings)

    monkeypatch.setattr("trainer.augment", interrupting)
    before = signal.getsignal(number)
    assert train(experiment, tmp_path / "log", *arguments) == 128 + number
    assert signal.getsignal(number) == before
    interrupted = run_folder(tmp_path / "log") / "interrupted-checkpoint.pth.tar"
    assert str(interrupted) in caplog.text
    contents = read_checkpoint(interrupted)
    assert (contents["epoch"], contents["step"]) == (0, 2), "the fifth step is done"
    assert train(experiment, tmp_path, *arguments, "--checkpoint", str(interrupted)) == 0
    assert len(steps) == 6
    last = "00000001-checkpoint.pth.tar"
    assert same(read_checkpoint(interrupted.parent / last), read_checkpoint(run_folder(tmp_path / "whole") / last))


def stopped_after(step: int, experiment: Path, log_dir: Path, monkeypatch, *arguments: str) -> Path:
    """Checkpoint of a run that is stopped in its step of this number, from 1."""
    steps = []

    def interrupting(*arguments, **settings):
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return augment(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr("trainer.augment", interrupting)
        assert train(experiment, log_dir, *arguments) == 128 + signal.SIGTERM
    return run_folder(log_dir) / "interrupted-checkpoint.pth.tar"


@pytest.fixture
def drawn_pairs(monkeypatch) -> list[tuple[int, int]]:
    """Epochs and indices of the pairs that are drawn."""
    drawn: list[tuple[int, int]] = []
    draw = FramesDataset.__getitem__
    monkeypatch.setattr(FramesDataset, "__getitem__", lambda self, item: drawn.append(tuple(item)) or draw(self, item))
    return drawn


@posix
@pytest.mark.parametrize("old", [False, True])
def test_a_resumed_epoch_with_a_larger_batch_trains_the_rest_of_its_pairs(
    clips_root, write_experiment, tmp_path, monkeypatch, caplog, drawn_pairs, old
):
    arguments = ["--set", "train_params.num_repeats=6", "--set", "train_params.num_epochs=1"]
    experiment = write_experiment(clips_root, train_params__batch_size=1)
    interrupted = stopped_after(5, experiment, tmp_path / "log", monkeypatch, *arguments)
    if old:  # as written before pairs were counted
        contents = read_checkpoint(interrupted)
        torch.save({key: contents[key] for key in contents if key not in ("pairs", "total_steps")}, interrupted)
    caplog.set_level("INFO")
    larger = ["--set", "train_params.batch_size=3", "--checkpoint", str(interrupted)]
    assert train(experiment, tmp_path / "unused", *arguments, *larger) == 0
    assert len(drawn_pairs) == len(set(drawn_pairs)) == 5 + 2 * 3
    assert "resumes after 5 of 12 pairs, 2 steps remain; pairs left out because they fill no batch: 1" in caplog.text
    lines = [json.loads(line) for line in (interrupted.parent / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(7))


def test_resuming_from_an_earlier_checkpoint_logs_no_step_twice_and_keeps_what_it_writes(
    clips_root, write_experiment, tmp_path, caplog
):
    experiment = write_experiment(clips_root, train_params__num_epochs=4)
    train(experiment, tmp_path / "log")
    folder = run_folder(tmp_path / "log")
    with (folder / "stats.jsonl").open("a") as stats:
        stats.write('{"epoch": 3, "st')  # as a kill leaves it
    caplog.set_level("INFO")
    first = str(folder / "00000000-checkpoint.pth.tar")
    arguments = ["--set", "train_params.num_epochs=2", "--set", "train_params.keep_checkpoints=1"]
    assert train(experiment, tmp_path / "log", *arguments, "--checkpoint", first) == 0
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    names = sorted(path.name for path in folder.glob("*.pth.tar"))
    assert names == [f"0000000{epoch}-checkpoint.pth.tar" for epoch in (1, 2, 3)]
    assert "config.yaml keeps the first settings; train_params.num_epochs, train_params.keep_ch" in caplog.text
    assert load_config(folder / "config.yaml").config.train_params.num_epochs == 4
    assert load_config(folder / "config-from-epoch-00000001.yaml").config.train_params.num_epochs == 2


def test_resuming_with_the_same_settings_writes_no_second_config(clips_root, write_experiment, tmp_path):
    experiment = write_experiment(clips_root)
    train(experiment, tmp_path / "log")
    folder = run_folder(tmp_path / "log")
    before = (folder / "config.yaml").stat().st_mtime_ns
    assert train(experiment, tmp_path, "--checkpoint", str(folder / "00000000-checkpoint.pth.tar")) == 0
    assert [path.name for path in folder.glob("*.yaml")] == ["config.yaml"]
    assert (folder / "config.yaml").stat().st_mtime_ns == before


def test_checkpoints_within_an_epoch_are_written_every_few_minutes(clips_root, write_experiment, tmp_path):
    arguments = ["--set", "train_params.num_epochs=1", "--set", "train_params.num_repeats=4"]
    experiment = write_experiment(clips_root, train_params__checkpoint_minutes=1e-9)
    train(experiment, tmp_path / "log", *arguments)
    within = read_checkpoint(run_folder(tmp_path / "log") / "interrupted-checkpoint.pth.tar")
    assert [within[key] for key in ("epoch", "step", "pairs", "total_steps")] == [-1, 4, 8, 4]
    train(experiment, tmp_path / "rarely", *arguments, "--set", "train_params.checkpoint_minutes=null")
    assert not (run_folder(tmp_path / "rarely") / "interrupted-checkpoint.pth.tar").exists()


@posix
def test_a_process_that_is_asked_to_end_saves_first(clips_root, write_experiment, tmp_path):
    arguments = ["--log-dir", str(tmp_path / "log"), "--set", "train_params.num_repeats=1000"]
    command = [sys.executable, str(ROOT / "run.py"), "--config", str(write_experiment(clips_root)), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **output) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any(p.stat().st_size for p in tmp_path.glob("log/*/stats.jsonl")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, printed
    (interrupted,) = tmp_path.glob("log/*/interrupted-checkpoint.pth.tar")
    assert str(interrupted) in printed
    assert 0 < read_checkpoint(interrupted)["step"] < 1000


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_itself(
    clips_root, write_experiment, tmp_path, monkeypatch, caplog, value
):
    experiment = write_experiment(clips_root, train_params__num_epochs=4)
    original = Trainer._step

    def broken(self, batch, epoch, step):
        if epoch == 2:
            batch["driving"] = torch.full_like(batch["driving"], value)
        return original(self, batch, epoch, step)

    monkeypatch.setattr(Trainer, "_step", broken)
    assert train(experiment, tmp_path / "log") == 2
    last = run_folder(tmp_path / "log") / "00000001-checkpoint.pth.tar"
    message = rf"epoch 2, step 0: pixel, warp_loss is not finite; resume from the last checkpoint, {last}, with a lower"
    assert re.search(message, one_error(caplog))
    assert_finite_checkpoints(last.parent, ["00000000-checkpoint.pth.tar", "00000001-checkpoint.pth.tar"])


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(
    clips_root, write_experiment, tmp_path, monkeypatch, caplog
):
    losses = TPSModel.losses

    def broken(self, batch, epoch):
        terms, generated = losses(self, batch, epoch)
        weight = next(self.inpainting_network.parameters())
        return terms | {"root": (0 * weight.flatten()[0]).abs().sqrt() * (epoch == 1)}, generated

    monkeypatch.setattr(TPSModel, "losses", broken)
    assert train(write_experiment(clips_root), tmp_path / "log") == 2
    assert "epoch 0, step 0: the gradient of optimizer is not finite; no checkpoint" in one_error(caplog)


@pytest.mark.parametrize("freq", [1, 5])
def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_saved(
    clips_root, write_experiment, tmp_path, monkeypatch, caplog, freq
):
    step = torch.optim.Adam.step
    done = []

    def breaking(self, *arguments, **settings):
        step(self, *arguments, **settings)
        done.append(1)
        if len(done) == 4:
            self.param_groups[0]["params"][0].data.view(-1)[0] = torch.nan

    monkeypatch.setattr(torch.optim.Adam, "step", breaking)
    arguments = ["--set", f"train_params.checkpoint_freq={freq}"]
    assert train(write_experiment(clips_root), tmp_path / "log", *arguments) == 2
    folder = run_folder(tmp_path / "log")
    error = one_error(caplog)
    assert re.search("00000001-checkpoint.pth.tar: .* is not finite and is not saved", error)
    assert (str(folder / "00000000-checkpoint.pth.tar") if freq == 1 else "no checkpoint is written yet") in error
    assert_finite_checkpoints(folder, ["00000000-checkpoint.pth.tar"] if freq == 1 else [])


@pytest.mark.parametrize("rate", [1e300, 1e38])
def test_a_learning_rate_that_breaks_the_weights_ends_in_one_line(
    clips_root, write_experiment, tmp_path, caplog, monkeypatch, rate
):
    step = torch.optim.Adam.step

    def too_fast(self, *arguments, **settings):
        """A step with a rate that no experiment file may have."""
        for group in self.param_groups:
            group["lr"] = rate
        return step(self, *arguments, **settings)

    monkeypatch.setattr(torch.optim.Adam, "step", too_fast)
    assert train(write_experiment(clips_root), tmp_path) == 2
    assert "is not finite; no checkpoint is written yet; start again with a lower learning rate" in one_error(caplog)


def one_error(caplog) -> str:
    """The message of the one error that was logged, which is one line."""
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "\n" not in error
    return error


def assert_finite_checkpoints(folder: Path, names: list[str]) -> None:
    assert sorted(path.name for path in folder.glob("*.pth.tar")) == names
    for name in names:
        assert non_finite_entries(read_checkpoint(folder / name)) == []


@pytest.fixture
def gradients_at_steps(monkeypatch):
    """Largest gradient of each network at each step of an optimiser, of the model that is trained."""
    models, seen = [], []
    make, step = train_module.initial_model, torch.optim.Adam.step

    def watched(self, *arguments, **settings):
        own = {parameter for group in self.param_groups for parameter in group["params"]}
        largest = {}
        for name, network in models[0].networks().items():
            found = [p.grad.abs().max().item() for p in network.parameters() if p in own and p.grad is not None]
            largest |= {name: max(found)} if found else {}
        seen.append(largest)
        return step(self, *arguments, **settings)

    monkeypatch.setattr(train_module, "initial_model", lambda config: models.append(make(config)) or models[0])
    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    return seen


def test_gradients_of_the_motion_are_clipped(clips_root, write_experiment, tmp_path, gradients_at_steps):
    experiment = write_experiment(clips_root, train_params__num_epochs=1)
    assert train(experiment, tmp_path / "log", "--set", "train_params.loss_weights.pixel=1e6") == 0
    assert len(gradients_at_steps) == 2
    for largest in gradients_at_steps:
        assert largest["dense_motion_network"] == pytest.approx(10, rel=1e-3)
        assert largest["inpainting_network"] > 100, "as published"


def test_each_optimiser_steps_once_and_the_discriminator_last(tmp_path, gradients_at_steps):
    changes = {"train_params.loss_weights.generator_gan": 1, "train_params.num_epochs": 1}
    changes |= {"train_params.loss_weights.feature_matching": [10, 10, 10], "train_params.num_repeats": 1}
    experiment = option_probes.assigned(option_probes.experiment("fomm"), changes)
    path = tmp_path / "fomm.yaml"
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    assert train(path, tmp_path / "log") == 0
    assert sorted(name for largest in gradients_at_steps[:2] for name in largest) == ["generator", "kp_detector"]
    assert [list(largest) for largest in gradients_at_steps[2:]] == [["discriminator"]]


def test_random_numbers_differ_between_seeds_epochs_steps_and_devices():
    def draw(*progress):
        seed_step(*progress)
        return torch.rand(()).item()

    progress = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({draw(*each) for each in progress}) == len(progress)
    assert draw(0, 1, 2, 3) == draw(0, 1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train_params.batch_size=99"], "4 pairs per epoch do not fill one batch of 99"),
        (["--mode", "train_avd"], "--checkpoint with the weights of --mode train is required"),
        (["--device-ids", "7"], "--device-ids 7: no CUDA device 7"),
        (
            ["--set", "train_params.loss_weights.perceptual=[1]", "--set", "train_params.perceptual_network=absent"],
            "absent",
        ),
        (["--set", "train_params.num_nodes=2"], "num_nodes: 2 machines need a launcher"),
        (["--log-dir", __file__], "test_train.py: expected a folder for --log-dir"),
        (["--log-dir", f"{__file__}/log"], "test_train.py: expected a folder for --log-dir"),
        (["--set", "dataset_params.root_dir=nowhere"], "nowhere: no such folder of clips"),
        (["--checkpoint", "nowhere.pth.tar"], "nowhere.pth.tar: no such file in"),
    ],
)
def test_what_cannot_be_trained_says_why_in_one_line(
    clips_root, write_experiment, tmp_path, caplog, arguments, message
):
    assert train(write_experiment(clips_root), tmp_path / "log", *arguments) == 2
    assert message in one_error(caplog)


def test_the_warp_family_has_nothing_to_train(clips_root, tmp_path, caplog):
    assert train(ROOT / "config/warp-256.yaml", tmp_path) == 2
    assert "this family has nothing to train" in caplog.text


def test_a_finished_run_is_not_begun_again(clips_root, write_experiment, tmp_path, caplog):
    experiment = write_experiment(clips_root)
    train(experiment, tmp_path / "log")
    last = run_folder(tmp_path / "log") / "00000001-checkpoint.pth.tar"
    assert train(experiment, tmp_path / "log", "--checkpoint", str(last)) == 2
    assert "all 2 epochs are finished; raise num_epochs" in caplog.text


def test_head_motion_is_removed_for_learned_keypoints_too(clips_root, write_experiment, tmp_path):
    """All that moves in the tests' clips is the head."""
    pixel = {}
    for removed in ("false", "true"):
        changes = ["model_params.keypoints=learned", f"dataset_params.remove_head_motion={removed}"]
        changes += ["model_params.dense_motion_params.initial_occlusion=0.999", "train_params.num_epochs=1"]
        changes += ["train_params.lr_generator=0"]
        arguments = [part for change in changes for part in ("--set", change)]
        assert train(write_experiment(clips_root), tmp_path / removed, *arguments) == 0
        stats = (run_folder(tmp_path / removed) / "stats.jsonl").read_text().splitlines()
        pixel[removed] = sum(json.loads(line)["pixel"] for line in stats)
    assert pixel["true"] < pixel["false"]


def test_train_avd_trains_that_network_alone(clips_root, write_experiment, tmp_path):
    experiment = write_experiment(clips_root)
    train(experiment, tmp_path / "log")
    trained = run_folder(tmp_path / "log") / "00000001-checkpoint.pth.tar"
    assert train(experiment, tmp_path / "avd", "--mode", "train_avd", "--checkpoint", str(trained)) == 0
    folder = run_folder(tmp_path / "avd")
    assert folder.name.startswith("tiny-train_avd_")
    before, after = read_checkpoint(trained), read_checkpoint(folder / "00000000-checkpoint.pth.tar")
    assert same(before["inpainting_network"], after["inpainting_network"])
    assert not same(before["avd_network"], after["avd_network"])
    assert {"optimizer_avd", "epoch"} <= set(after)


def launched(rank: int, world_size: int, port: str) -> dict[str, str]:
    """Variables that torchrun sets."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(world_size),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": str(world_size),
        "TORCHELASTIC_RUN_ID": "test",
    }


def gradients(rank: int, world_size: int, config_path: str, folder: str) -> None:
    """Gradients of the first step of one of `world_size` processes, written by rank 0."""
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    torch.set_num_threads(1)
    if world_size > 1:
        os.environ |= launched(rank, world_size, Path(folder, "port").read_text())
        strategy = DDPStrategy(find_unused_parameters=True, process_group_backend="gloo")
        fabric = Fabric(accelerator="cpu", devices=world_size, strategy=strategy)
    else:
        fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    batch_size = 4 // world_size
    config = load_config(Path(config_path), [f"train_params.batch_size={batch_size}"]).config
    model = initial_model(config)
    optimisers = model.prepare_training(config.train_params, None)
    job = Job(config.train_params, "losses", optimisers, "train", remove_head_motion=False)
    dataset = training_pairs(config, model, fabric, 2)
    trainer = Trainer(fabric, config, model, job, dataset, Path(folder))
    for entry in job.optimisers.values():
        entry.optimizer.zero_grad = lambda: None
        entry.optimizer.step = lambda *args, **kwargs: None
        entry.clip_norm.clear()
    trainer._train_epoch(Progress(), StopSignal(), None, None)
    if rank == 0:
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save(found, Path(folder) / f"gradients-{world_size}.pt")
    if world_size > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of PyTorch has no process groups")
def test_two_processes_give_the_gradients_of_one_on_the_joint_batch(
    clips_root, write_experiment, tmp_path, monkeypatch
):
    experiment = write_experiment(
        clips_root, train_params__dropout_epoch=0, model_params__common_params={"num_tps": 10, "bg": False}
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(free.getsockname()[1]))
    gradients(0, 1, str(experiment), str(tmp_path))
    context = torch.multiprocessing.get_context("spawn")
    other = context.Process(target=gradients, args=(1, 2, str(experiment), str(tmp_path)))
    other.start()
    for name in launched(0, 2, "0"):
        monkeypatch.setenv(name, "")  # so that they are gone afterwards
    gradients(0, 2, str(experiment), str(tmp_path))
    other.join(timeout=180)
    assert other.exitcode == 0
    one, two = (torch.load(tmp_path / f"gradients-{n}.pt", weights_only=True) for n in (1, 2))
    assert set(one) == set(two)
    assert len(one) > 40
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, atol=2e-5, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")


def test_every_family_that_an_experiment_can_name_is_built():
    for name, family in FAMILIES.items():
        config = family.config.model_validate({"format": 2, "model_params": {"family": name}})
        assert isinstance(build_model(config), MotionModel)
