"""`make demo` in small: every step runs, and its figures are those of the files it wrote."""

import csv
import logging
import sys
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import yaml

import run
from demo import __main__ as demo
from demo.make_demo import make_demo

ROOT = Path(__file__).parents[1]


def test_the_demo_runs_from_data_to_figures(tmp_path, monkeypatch, caplog):
    experiment = yaml.safe_load((ROOT / "config" / "tps-rau-demo.yaml").read_text(encoding="utf-8"))
    data = tmp_path / "demo"
    experiment["dataset_params"] |= {
        "root_dir": str(data),
        "keypoint_dir": str(data / "landmarks"),
        "au_dir": str(data / "au"),
        "pairs_list": str(data / "test_pairs.csv"),
        "frame_shape": [64, 64, 3],
        "cache_dir": str(tmp_path / "cache"),
    }
    experiment["model_params"]["dense_motion_params"]["num_blocks"] = 3  # for small frames
    experiment["train_params"] |= {"num_epochs": 1, "num_repeats": 2, "batch_size": 2, "dataloader_workers": 0}
    experiment["animate_params"] = {"format": ".png"}
    (tmp_path / "tps-tiny.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    tiny = {"size": 64, "subjects": 1, "clips": 2, "test_subjects": 2, "test_clips": 1}
    commands = []

    def in_this_process(command, check):
        """The program without a start of Python, which takes seconds."""
        commands.append([str(part) for part in command])
        assert run.main(commands[-1][2:]) == 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.subprocess, "run", in_this_process)
    monkeypatch.setattr(demo, "CONFIG", tmp_path / "tps-tiny.yaml")
    monkeypatch.setattr(demo, "WARP_CONFIG", ROOT / demo.WARP_CONFIG)
    monkeypatch.setattr(demo, "LOG_DIR", tmp_path / "log")
    monkeypatch.setattr(demo, "make_demo", lambda out, workers, force: partial(make_demo, **tiny)(out, force=force))
    with caplog.at_level(logging.INFO):
        assert demo.main() == 0

    assert [command[:2] for command in commands] == [[sys.executable, "run.py"]] * 3
    (folder,) = (tmp_path / "log").glob("tps-tiny_*")
    animation = folder / "animation"
    assert iio.imread(animation / "contact_sheet.png").shape[1] == 6 * 256
    assert (animation / "demo_slow2x.gif").exists()
    with (data / "test_pairs.csv").open(newline="") as file:
        names = [f"{row['driving']}-{row['source']}" for row in csv.DictReader(file)]
    assert all((animation / name / "0000.png").exists() for name in names)
    references = demo._references(data)
    assert references["copy of the source"] == (1, 0)
    error, correlation = references["true flow"]
    assert error < 0.9
    assert correlation > 0.7
    assert "true flow" in caplog.text
    assert np.isfinite(demo._measure(data, animation)).all()


def test_a_demo_that_is_somebody_elses_folder_is_left_alone(tmp_path, monkeypatch, caplog):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("ten years")
    experiment = yaml.safe_load((ROOT / "config" / "tps-rau-demo.yaml").read_text(encoding="utf-8"))
    experiment["dataset_params"]["root_dir"] = str(tmp_path / "demo")
    (tmp_path / "tps-tiny.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    monkeypatch.setattr(demo, "CONFIG", tmp_path / "tps-tiny.yaml")
    assert demo.main() == 2
    assert "exists and is not a demo set" in caplog.text
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "ten years"
