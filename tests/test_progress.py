"""Position of a training run in checkpoints."""

from pathlib import Path

import pytest

from core.checkpoints import CheckpointError
from core.progress import Progress


def read(contents, **changes):
    settings = {"epoch_key": "epoch", "section": "train_params", "pairs": 20, "batch_size": 4, "devices": 2}
    return Progress.from_checkpoint(contents, Path("run.pth.tar"), **{**settings, **changes})


def test_progress_is_read_as_it_was_written():
    progress = Progress(2).after_step(8).after_step(8)
    assert progress == Progress(2, step=2, pairs=16, total_steps=2)
    assert read({"epoch": 1, **progress.in_checkpoint()}) == progress
    assert progress.after_epoch() == Progress(3, total_steps=2)


def test_steps_of_older_checkpoints_count_pairs_of_their_own_batch_size():
    stored = {"epoch": 0, "step": 2, "config": {"train_params": {"batch_size": 1}}}
    assert read(stored) == Progress(1, step=2, pairs=4, total_steps=12)
    assert read({"epoch": 0, "step": 1}) == Progress(1, step=1, pairs=8, total_steps=3), "the present batch size"
    assert read({"epoch": 99}) == Progress(100, total_steps=200), "a published checkpoint"


@pytest.mark.parametrize(
    ("contents", "key"),
    [
        ({"epoch": 0, "step": -1}, "step"),
        ({"epoch": 0, "pairs": "8"}, "pairs"),
        ({"epoch": 0, "total_steps": 1.5}, "total_steps"),
        ({"epoch": 0, "step": True}, "step"),
        ({"epoch": -7}, "epoch"),
        ({"epoch": 2**70}, "epoch"),
        ({"epoch": None}, "epoch"),
    ],
)
def test_numbers_that_are_none_are_refused(contents, key):
    with pytest.raises(CheckpointError, match=f"run.pth.tar: expected a whole number .*`{key}`"):
        read(contents)


@pytest.mark.parametrize("config", [None, [], {"train_params": None}, {"train_params": {"batch_size": "4"}}])
def test_a_config_that_says_nothing_leaves_the_present_batch_size(config):
    assert read({"epoch": 0, "step": 1, "config": config}).pairs == 8
