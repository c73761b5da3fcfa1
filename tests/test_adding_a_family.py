"""Networks that a checkpoint holds, and the pages on adding a family and a loss, followed literally."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from config.families import FAMILIES
from core.models import build_model
from modules.au_estimator import AUEstimator
from modules.losses import VGG19
from modules.trainable import Trainable

ROOT = Path(__file__).parents[1]
PROGRAM = ("clips", "config", "core", "faces", "generation", "modules", "output", "parsing", "sync_batchnorm")


def model_of(family: str):
    config = FAMILIES[family].config.model_validate({"format": 2, "model_params": {"family": family}})
    with torch.device("meta"):
        return config, build_model(config)


@pytest.mark.parametrize("family", ["tps", "fomm", "mraa"])
def test_loss_networks_are_in_no_checkpoint_and_every_trained_weight_is(family):
    config, model = model_of(family)
    before = list(model.networks())
    with torch.device("meta"):
        optimisers = model.prepare_training(config.train_params, VGG19())
        model.forgotten = VGG19()
    assert list(model.networks()) == before
    saved = {parameter for network in model.networks().values() for parameter in network.parameters()}
    assert {name for entry in optimisers.values() for name in entry.networks} <= set(before)
    for entry in optimisers.values():
        assert {parameter for group in entry.optimizer.param_groups for parameter in group["params"]} <= saved


def test_a_network_with_weights_to_train_that_nobody_declared_is_refused():
    class Forgetful(Trainable):
        network_names = ("kept",)

        def __init__(self):
            super().__init__()
            self.kept, self.forgotten = nn.Linear(1, 1), nn.Linear(1, 1)

    with pytest.raises(TypeError, match=r"Forgetful\.forgotten: has parameters to train but is not in `network_names`"):
        Forgetful().networks()


def test_the_estimator_is_one_network():
    assert list(AUEstimator().networks()) == ["au_estimator"]


# --- the pages --------------------------------------------------------------------------------------------------------


def code_blocks(page: str) -> list[tuple[str | None, str, str]]:
    """File name before the block, language and text of every code block of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    pattern = r"(?:^`([\w./-]+)`[^\n]*:\n\n)?^```(\w+)\n(.*?)^```$"
    return [(name or None, language, code) for name, language, code in re.findall(pattern, text, re.M | re.S)]


def apply_diff(path: Path, diff: str) -> None:
    """Insert the lines with a plus behind the lines before them; `@@` separates places."""
    text = path.read_text(encoding="utf-8")
    for place in diff.split("@@\n"):
        lines = place.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] == " ")
        assert text.count(before) == 1, f"{path}: the page quotes {before!r}"
        text = text.replace(before, "".join(line[1:] for line in lines))
    path.write_text(text, encoding="utf-8")


COMMANDS = """
import glob, runpy, shlex, sys
for line in sys.argv[1].splitlines():
    words = [found for word in shlex.split(line) for found in (glob.glob(word) if "*" in word else [word])]
    assert words.pop(0) == "python", line
    module = words[0] == "-m"
    sys.argv = words[module:]
    try:
        (runpy.run_module if module else runpy.run_path)(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, f"{line}: exit status {end.code}"
"""
"""Runs the commands of a page in one interpreter, with file patterns replaced as a shell does: imports take seconds."""


def run_commands(lines: str, folder: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMANDS, lines]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def copy_program(folder: Path, *rooms: str) -> None:
    for room in (*PROGRAM, *rooms):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    (folder / "data").mkdir()
    for path in (*ROOT.glob("*.py"), *ROOT.glob("data/*.csv"), *ROOT.glob("data/*.json")):
        shutil.copy(path, folder / path.relative_to(ROOT))


def follow(page: str, folder: Path) -> None:
    """Do in a copy of the program what a page says, block by block."""
    for name, language, code in code_blocks(page):
        if language == "bash":
            run_commands(code, folder)
        elif language == "diff":
            assert name is not None
            apply_diff(folder / name, code)
        else:
            assert name is not None
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(code, encoding="utf-8")


def test_a_family_added_as_the_page_says_trains_resumes_and_animates(clips_root, tmp_path):
    program = tmp_path / "program"
    copy_program(program)
    shutil.copytree(clips_root, program / "data" / "my_clips")
    follow("adding_a_family.md", program)
    schema = json.loads((program / "config" / "schema.json").read_text(encoding="utf-8"))
    assert "width" in schema["$defs"]["ShiftModelParams"]["properties"]
    (run,) = (program / "log").iterdir()
    first, second = (torch.load(run / f"0000000{i}-checkpoint.pth.tar", weights_only=True) for i in (0, 1))
    assert set(second) == {
        "format",
        "family",
        "config",
        "point_detector",
        "optimizer",
        "epoch",
        "step",
        "pairs",
        "total_steps",
    }
    assert (second["family"], second["epoch"]) == ("shift", 1)
    assert not torch.equal(first["point_detector"]["first.weight"], second["point_detector"]["first.weight"])
    assert second["optimizer"]["state"][0]["step"] > first["optimizer"]["state"][0]["step"], "resumed"
    assert len(list((run / "animation").glob("*/*.png"))) == 2 * 6, "two pairs of test clips, six frames each"


def test_a_loss_added_as_the_page_says_passes_the_test_of_the_page(tmp_path):
    copy_program(tmp_path, "benchmarks")
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "conftest.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    follow("adding_a_loss.md", tmp_path)
    assert '"smoothness"' in (tmp_path / "config" / "schema.json").read_text(encoding="utf-8")
