"""Preparation of every data set from its layout to a trained epoch, and with the landmark networks."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from natsort import natsorted

from faces.face_alignment_detector import WEIGHTS
from preparation.readers import read_data_set
from run import main
from tests.conftest import tiny_experiment
from tests.data_set_layouts import CASME2_CLIPS, MAKERS, make_casme2
from tests.test_prepare import PHOTOGRAPH, WINDOW, face_in, frames_of, report_of, rows_of, slide

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips are not part of the repository")


def draw_face(clip: str, frame: int) -> np.ndarray:
    """A window of the photograph that slides from frame to frame."""
    x, y, width, height = WINDOW
    dx, dy = slide(frame)
    return PHOTOGRAPH[y + dy : y + dy + height, x + dx : x + dx + width]


def prepare(kind: str, root: Path, output: Path, *assignments: str) -> int:
    """Run the shipped experiment of a data set."""
    settings = [
        f"prepare_params.root_dir={root}",
        f"prepare_params.output_dir={output}",
        "prepare_params.workers=1",
        "prepare_params.crop_params.size=64",
        *assignments,
    ]
    config = str(ROOT / "config" / f"prepare-{kind}.yaml")
    return main(["--mode", "prepare", "--config", config, *(part for s in settings for part in ("--set", s))])


def train_an_epoch(output: Path, folder: Path) -> int:
    """Train on what was prepared, with action units where there are any."""
    experiment = tiny_experiment(output, train_params__num_epochs=1)
    if any((output / "au").iterdir()):
        experiment["model_params"]["au_conditioning"] = "concat"
    else:
        del experiment["dataset_params"]["au_dir"]
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    assert main(["--config", str(path), "--mode", "check"]) == 0
    return main(["--config", str(path), "--log-dir", str(folder / "log")])


@pytest.mark.parametrize("kind", MAKERS)
def test_a_data_set_is_prepared_and_trained_on(kind, tmp_path):
    root = MAKERS[kind](tmp_path / "release", draw=draw_face)
    landmarks, output = tmp_path / "landmarks", tmp_path / "prepared"
    files = f"prepare_params.landmark_params={{backend: files, dir: {landmarks}}}"
    landmarks.mkdir()
    for record in read_data_set(kind, root).clips:
        onset = record.frames[0 if record.onset is None else record.frame_numbers.index(record.onset)]
        drawn = natsorted(path.name for path in onset.parent.iterdir()).index(onset.name)
        np.save(landmarks / f"{record.name}.npy", face_in(drawn))
    assert prepare(kind, root, output, files) == 0
    rows = rows_of(output)
    assert len(rows) >= 2
    assert {row["split"] for row in rows.values()} == {"train", "test"}
    for name, row in rows.items():
        assert len(frames_of(output, name)) == int(row["frames"]) == 8
        if kind in ("samm", "4dme"):
            assert frames_of(output, name).ndim == 3, "grey"
    assert train_an_epoch(output, tmp_path) == 0


def test_the_list_of_pairs_is_animated(tmp_path):
    root, output = make_casme2(tmp_path / "release", draw=draw_face), tmp_path / "prepared"
    (tmp_path / "landmarks").mkdir()
    for clip in CASME2_CLIPS:
        np.save(tmp_path / "landmarks" / f"sub{clip.subject}_{clip.name}.npy", face_in(0))
    files = f"prepare_params.landmark_params={{backend: files, dir: {tmp_path / 'landmarks'}}}"
    assert prepare("casme2", root, output, files) == 0
    with (output / "pairs.csv").open(newline="", encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert {pair["driving"] for pair in pairs} == {"sub01_EP02_01f", "sub01_EP03_02", "sub17_EP01_13"}
    experiment = tiny_experiment(output, dataset_params__pairs_list=str(output / "pairs.csv"))
    experiment["model_params"] = {"family": "warp"}
    del experiment["train_params"]
    path = tmp_path / "warp.yaml"
    path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    assert main(["--mode", "animate", "--config", str(path), "--log-dir", str(tmp_path / "log")]) == 0
    for pair in pairs:
        frames = tmp_path / "log" / "warp" / "animation" / f"{pair['driving']}-{pair['source']}"
        assert len(list(frames.iterdir())) == 8


def test_errors_of_a_data_set_are_in_the_report(tmp_path, caplog):
    caplog.set_level(logging.INFO)

    def spoil(table) -> None:
        table[2][2] = "9x6"

    root = make_casme2(tmp_path / "release", draw=draw_face, edit=spoil)
    (root / "CASME2_RAW_selected" / "sub17" / "EP01_13").rename(root / "CASME2_RAW_selected" / "sub17" / "EP01 13")
    frame = root / "CASME2_RAW_selected" / "sub02" / "EP09_10f" / "img97.jpg"
    frame.write_bytes(frame.read_bytes()[:2000])
    np.save(tmp_path / "sub01_EP02_01f.npy", face_in(0))
    np.save(tmp_path / "sub02_EP09_10f.npy", face_in(0))
    settings = (f"landmark_params={{backend: files, dir: {tmp_path}}}", "split_params={by: none}")
    assert prepare("casme2", root, tmp_path / "out", *(f"prepare_params.{setting}" for setting in settings)) == 0
    assert set(rows_of(tmp_path / "out")) == {"sub01_EP02_01f"}
    report = report_of(tmp_path / "out")
    for text in ("img97.jpg: unreadable image", "OnsetFrame", "9x6", "EP01 13"):
        assert text in report
    command = ["--mode", "prepare", "--config", str(ROOT / "config" / "prepare-casme2.yaml"), "--dry-run"]
    assert main([*command, "--set", f"prepare_params.root_dir={root}"]) == 0
    assert "clips of 2 subjects" in caplog.text
    assert main(command) == 2
    assert "data/CASME2" in caplog.records[-1].message
    assert "\n" not in caplog.records[-1].message


# --- real clips -------------------------------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(
    ("kind", "root", "names"),
    [
        ("folder", "me/driving", {"022_3_3", "s3_po_05"}),
        ("folder", "me/driving_fpb", {"s3_po_05"}),
        ("video", "faces", {"talk_d0"}),
    ],
)
def test_real_clips_are_cut_where_the_face_is(kind, root, names, tmp_path):
    source = tmp_path / "release"
    source.mkdir()
    for path in (SHARED / root).iterdir():
        if path.name.split(".")[0] in names:
            (source / path.name).symlink_to(path)
    files = ("landmark_params={backend: files}", "crop_params.size=128", "split_params={by: none}")
    assert prepare(kind, source, tmp_path / "out", *(f"prepare_params.{name}" for name in files)) == 0
    rows = rows_of(tmp_path / "out")
    assert set(rows) == names
    for name in names:
        landmarks = np.load(tmp_path / "out" / "landmarks" / f"{name}.npy")
        assert len(landmarks) == len(frames_of(tmp_path / "out", name))
        low, high = landmarks[0].min(axis=0), landmarks[0].max(axis=0)
        assert (high - low).max() > 128 / 2
        np.testing.assert_allclose((low + high) / 2, [64, 70], atol=12)
    assert (tmp_path / "out" / "contact_sheet.png").stat().st_size > 20_000


# --- the landmark networks --------------------------------------------------------------------------------------------


@pytest.fixture
def uncompiled_helpers(monkeypatch) -> None:
    """Runs the library's numba functions as plain Python, because compiling them takes ten seconds."""
    utils = pytest.importorskip("face_alignment.utils")
    for name, value in list(vars(utils).items()):
        if hasattr(value, "py_func"):
            monkeypatch.setattr(utils, name, value.py_func)


@pytest.fixture
def random_weights(tmp_path, monkeypatch) -> None:
    """Weights with the real keys where the library looks for them, random with a fixed seed."""
    pytest.importorskip("face_alignment")
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    for network, name in zip((s3fd(), FAN(4)), WEIGHTS, strict=True):
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)  # vanishing activations would take ten times as long
        torch.save(network.state_dict(), folder / name)


def test_the_landmark_networks_run_from_end_to_end(random_weights, uncompiled_helpers, tmp_path):
    root = MAKERS["casme2"](tmp_path / "release", CASME2_CLIPS[2:], draw=draw_face)
    x, y = face_in(0).mean(axis=0)
    boxes = ["clip,x0,y0,x1,y1", *(f"{name},{x - 15},{y - 20},{x + 15},{y + 20}" for name in ("sub02_EP09_10f",))]
    (tmp_path / "boxes.csv").write_text("\n".join(boxes), encoding="utf-8")
    output = tmp_path / "out"
    settings = (
        f"landmark_params={{backend: face-alignment, boxes: {tmp_path / 'boxes.csv'}}}",
        "split_params={by: none}",
    )
    assert prepare("casme2", root, output, *(f"prepare_params.{setting}" for setting in settings)) == 0
    assert set(rows_of(output)) == {"sub02_EP09_10f"}
    assert np.load(output / "landmarks" / "sub02_EP09_10f.npy").shape == (8, 68, 2)
    assert "landmark_params.boxes: expected a row for this clip, found none" in report_of(output)
