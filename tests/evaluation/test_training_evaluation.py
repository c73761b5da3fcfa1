"""Training judges a few test clips between epochs and keeps the best checkpoint."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import run
from core.checkpoints import read_checkpoint
from tests.conftest import tiny_experiment
from trainer import EVALUATION


def train(root: Path, folder: str, *arguments: str, **settings) -> Path:
    """Train the tiny experiment; returns the run folder."""
    experiment = tiny_experiment(root, **{f"train_params__{key}": value for key, value in settings.items()})
    path = Path(f"{folder}.yaml")
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    assert run.main(["--config", str(path), "--log-dir", folder, *arguments]) == 0
    (found,) = (entry for entry in Path(folder).iterdir() if entry.is_dir())
    return found


def figures(folder: Path) -> list[dict[str, float]]:
    """Lines of the evaluations."""
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if any(name.startswith(EVALUATION) for name in line)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint."""
    contents = read_checkpoint(path)
    return {
        f"{name}.{key}": value
        for name, state in contents.items()
        if isinstance(state, dict) and not name.startswith("optimizer")
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def test_training_evaluates_itself_and_keeps_the_best(clips_root):
    judged = train(clips_root, "judged", evaluation_freq=1, evaluation_clips=1, best_metric="difference_error")
    lines = figures(judged)
    assert [line["epoch"] for line in lines] == [0, 1]
    names = {"motion_error", "motion_corr", "motion_gain", "au_error", "au_corr", "difference_error"}
    assert {name.removeprefix(EVALUATION) for name in lines[0]} - {"epoch", "step"} == names
    best = min(range(2), key=lambda epoch: lines[epoch][f"{EVALUATION}difference_error"])
    expected = weights(judged / f"{best:08d}-checkpoint.pth.tar")
    found = weights(judged / "best-checkpoint.pth.tar")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    plain = train(clips_root, "plain")
    assert figures(plain) == []
    assert not (plain / "best-checkpoint.pth.tar").exists()
    own, without = (weights(folder / "00000001-checkpoint.pth.tar") for folder in (judged, plain))
    assert all(torch.equal(own[key], without[key]) for key in own), "evaluating changes no weight"


def test_a_resumed_run_remembers_the_best(clips_root, monkeypatch):
    from evaluation import training

    errors = iter([0.5, 0.9, 0.4])
    monkeypatch.setattr(training.TestClipJudge, "__init__", lambda self, *arguments: None)
    monkeypatch.setattr(training.TestClipJudge, "__call__", lambda self: {"motion_error": next(errors)})
    folder = train(clips_root, "log", num_epochs=1, evaluation_freq=1)
    first = (folder / "best-checkpoint.pth.tar").read_bytes()
    resume = ("--checkpoint", str(folder / "00000000-checkpoint.pth.tar"))
    train(clips_root, "log", *resume, num_epochs=2, evaluation_freq=1)
    assert (folder / "best-checkpoint.pth.tar").read_bytes() == first, "0.9 is worse than 0.5"
    assert [line[f"{EVALUATION}motion_error"] for line in figures(folder)] == [0.5, 0.9]
    train(clips_root, "log", *resume, num_epochs=2, evaluation_freq=1)
    assert (folder / "best-checkpoint.pth.tar").read_bytes() != first
    assert [line[f"{EVALUATION}motion_error"] for line in figures(folder)] == [0.5, 0.4]


@pytest.mark.parametrize("count", [1, 2])
def test_the_number_of_test_clips_can_be_chosen(clips_root, count):
    from config.load import build_config
    from core.devices import make_fabric
    from core.models import initial_model
    from evaluation.training import TestClipJudge

    experiment = tiny_experiment(clips_root, train_params__evaluation_clips=count)
    config = build_config(experiment, "tiny").config
    judge = TestClipJudge(config, make_fabric(None), initial_model(config))
    assert len(judge._clips) == count
