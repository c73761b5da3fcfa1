"""The demo set: clips that rise and fall, and a folder that is whole, repeatable and never destroys anything."""

import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.files import WriteError
from demo import make_demo as maker
from demo.clip_plan import CODES, plan_clip
from demo.data_set import Settings, intensities, load_subject, pairs, plan
from demo.muscles import MUSCLES
from faces.action_units import ACTION_UNITS, SIDES, read_action_units
from faces.facs import parse_code

SMALL = {"size": 64, "subjects": 1, "clips": 1, "test_subjects": 2, "test_clips": 1}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return maker.make_demo(tmp_path_factory.mktemp("data") / "demo", **SMALL)


def test_the_first_codes_hold_every_action_unit():
    assert {unit.au for code in CODES[:16] for unit in parse_code(code)} == set(MUSCLES)


@pytest.mark.parametrize("seed", range(8))
def test_curves_rise_from_rest_to_the_apex_and_return(seed):
    clip = plan_clip(np.random.default_rng(seed), "6+R12", head_moves=seed % 2 == 0)
    assert set(clip.shapes) == {(6, "left"), (6, "right"), (12, "right")}
    curve = clip.shapes[6, "left"]
    assert 24 <= len(curve) <= 40
    assert not curve[: clip.onset + 1].any()
    assert not curve[clip.offset :].any()
    assert curve.argmax() == clip.apex
    assert curve[clip.apex] == 1
    assert (np.diff(curve[: clip.apex + 1]) >= 0).all()
    assert (np.diff(curve[clip.apex :]) <= 0).all()
    assert np.abs(np.diff(curve, 2)).max() < 0.25
    assert clip.shapes[12, "right"].max() < 1
    assert not clip.head[0].any()
    assert clip.head.any() == (seed % 2 == 0)
    assert np.abs(clip.head[:, :2]).max() < 4


def test_default_plan_is_balanced_and_within_limits():
    settings = Settings()
    couples = list(pairs(settings))
    assert len(couples) == 16
    assert all(source.split("_")[0] != driving.split("_")[0] for source, driving in couples)
    assert len({source for source, _ in couples}) == 16
    test_codes = {plan(settings, driving).code for _, driving in couples}
    assert {unit.au for code in test_codes for unit in parse_code(code)} == set(MUSCLES)
    names = [n for s in settings.subjects_of("train") for n in settings.clips_of(s)]
    assert {unit.au for n in names for unit in parse_code(plan(settings, n).code)} == set(MUSCLES)
    clip = plan(settings, names[0])
    values = intensities(settings, names[0])
    assert max(v.max() for v in values.values()) <= 1
    assert values.keys() == clip.shapes.keys()


def _rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _frames(folder: Path) -> np.ndarray:
    return np.stack([cv2.imread(str(p))[..., ::-1] for p in sorted(folder.iterdir())])


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_layout_agrees_with_the_tables(demo):
    clips = _rows(demo / "clips.csv")
    assert [c["split"] for c in clips] == ["train", "test", "test"]
    assert {c["split"]: c["photograph"] for c in clips} == {"train": "grace_hopper", "test": "astronaut"}
    for clip in clips:
        frames = _frames(demo / clip["split"] / clip["name"])
        landmarks = np.load(demo / "landmarks" / f"{clip['name']}.npy")
        exact = np.load(demo / "truth" / "landmarks" / f"{clip['name']}.npy")
        assert frames.shape[1:] == (64, 64, 3)
        assert landmarks.shape == exact.shape == (len(frames), 68, 2)
        assert landmarks.dtype == exact.dtype == np.float32
        assert 0 < int(clip["onset"]) < int(clip["apex"]) < int(clip["offset"]) < len(frames)
        assert 0.25 <= float(clip["amplitude_px"]) <= 1.5
        assert ((exact > 0) & (exact < 64)).all()


def test_action_unit_tables_hold_the_exact_intensities(demo):
    settings = Settings(**SMALL)
    for clip in _rows(demo / "clips.csv"):
        truth = intensities(settings, clip["name"])
        count = len(next(iter(truth.values())))
        table = read_action_units(demo / "au" / f"{clip['name']}.csv", count)
        for i, au in enumerate(ACTION_UNITS):
            for j, side in enumerate(("left", "right")):
                assert np.allclose(table[:, i, j], truth.get((au, side), 0), atol=1e-5)
        row = _rows(demo / "au" / f"{clip['name']}.csv")[0]
        assert list(row)[:5] == ["frame", "timestamp", "confidence", "success", "AU01_r"]
        assert row["frame"] == "1"


def test_one_sided_action_units_have_their_own_columns(tmp_path):
    maker._write_action_units(
        tmp_path / "t.csv", "4+L12", {(4, s): np.ones(2) for s in SIDES} | {(12, "left"): np.ones(2)}
    )
    row = _rows(tmp_path / "t.csv")[1]
    assert [k for k in row if not k.endswith("_r")][4:] == ["AU12_r_left", "AU12_r_right"]
    assert (row["AU04_r"], row["AU12_r"], row["AU12_r_left"], row["AU12_r_right"]) == (
        "5.00000",
        "2.50000",
        "5.00000",
        "0.00000",
    )


def test_landmarks_are_noisy_at_onset_and_tracked_after(demo):
    for clip in _rows(demo / "clips.csv"):
        tracked = np.load(demo / "landmarks" / f"{clip['name']}.npy").astype(float)
        exact = np.load(demo / "truth" / "landmarks" / f"{clip['name']}.npy").astype(float)
        assert 0.15 < (tracked[0] - exact[0]).std() < 0.35  # half a pixel at 128
        drift = np.linalg.norm((tracked - tracked[0]) - (exact - exact[0]), axis=-1)
        assert np.median(drift) < 0.15
        assert np.abs(np.diff(tracked, axis=0)).max() > 0


def test_only_training_heads_move(demo):
    for clip in _rows(demo / "clips.csv"):
        exact = np.load(demo / "truth" / "landmarks" / f"{clip['name']}.npy")
        assert (np.abs(exact[-1] - exact[0]).max() > 0.02) == (clip["split"] == "train")


def test_truth_of_a_pair_is_the_source_face_with_the_driving_curves(demo):
    couples = _rows(demo / "test_pairs.csv")
    assert len(couples) == 2
    for pair in couples:
        source = _frames(demo / "test" / pair["source"])[0] / 255
        with np.load(demo / "truth" / "pairs" / f"{pair['driving']}-{pair['source']}.npz") as file:
            truth = {name: file[name] for name in file.files}
        noise = source - truth["frames"][0].astype(float)
        assert 1.7 / 255 < noise.std() < 2.3 / 255
        assert abs(noise.mean()) < 0.1 / 255
        count = len(_frames(demo / "test" / pair["driving"]))
        assert truth["frames"].shape == (count, 64, 64, 3)
        assert truth["flow"].shape == (count, 64, 64, 2)
        assert truth["frames"].dtype == truth["flow"].dtype == np.float16
        assert not truth["flow"][0].any()
        assert 0.1 < np.linalg.norm(truth["flow"].astype(float), axis=-1).max() < 2.5
        face = load_subject(demo, pair["source"])
        assert np.abs(face.image - truth["frames"][0]).max() < 1e-3
        assert np.allclose(face.landmarks, truth["landmarks"][0], atol=1e-4)
        apex = int(next(c["apex"] for c in _rows(demo / "clips.csv") if c["name"] == pair["driving"]))
        assert np.abs(truth["frames"][apex].astype(float) - truth["frames"][0]).max() > 0.03


def test_same_settings_give_the_same_bytes(demo, tmp_path):
    again = maker.make_demo(tmp_path / "again", workers=2, **SMALL)
    other = maker.make_demo(tmp_path / "other", seed=1, **SMALL)
    assert _digests(demo) == _digests(again)
    assert not {k: v for k, v in _digests(other).items() if _digests(demo).get(k) == v and k.endswith((".png", ".npy"))}


def test_what_is_there_is_left_or_refused(demo, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in demo.rglob("*")}
    assert maker.make_demo(demo, **SMALL) == demo
    with pytest.raises(FileExistsError, match="other settings .* --force"):
        maker.make_demo(demo, seed=5, **SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in demo.rglob("*")}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(FileExistsError, match="is no demo set; choose another folder"):
            maker.make_demo(tmp_path / "mine", force=force, **SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_force_replaces_a_demo_and_failure_leaves_it(tmp_path, monkeypatch):
    def write_little(folder, settings, workers):
        (folder / "seed.txt").write_text(str(settings.seed))

    def fail(folder, settings, workers):
        write_little(folder, settings, workers)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(maker, "_write_all", write_little)
    out = maker.make_demo(tmp_path / "sub" / "demo", seed=1)
    assert maker.make_demo(out, seed=2, force=True) == out
    assert (out / "seed.txt").read_text() == "2"
    monkeypatch.setattr(maker, "_write_all", fail)
    with pytest.raises(WriteError, match="No space"):
        maker.make_demo(out, seed=3, force=True)
    assert (out / "seed.txt").read_text() == "2"
    assert [p.name for p in out.parent.iterdir()] == ["demo"]


def test_load_subject_names_what_is_missing(demo, tmp_path):
    with pytest.raises(FileNotFoundError, match="no demo set here; make it with"):
        load_subject(tmp_path, "s01_c01")
    with pytest.raises(FileNotFoundError, match="no clip 's77_c01'"):
        load_subject(demo, "s77_c01")
    (tmp_path / "demo.json").write_text('{"settings": {}, "version": "old"}')
    with pytest.raises(ValueError, match="another version of the code"):
        load_subject(tmp_path, "s01_c01")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 8}, "size = 8: expected at least 32"),
        ({"test_subjects": 1}, "test_subjects = 1: expected at least 2"),
        ({"test_photograph": "cat"}, "test photograph 'cat': expected one of"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        maker.make_demo(tmp_path / "demo", **(SMALL | change))
    assert not (tmp_path / "demo").exists()


def test_command_line(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert maker.main(["--out", str(tmp_path / "mine"), "--clips", "1"]) == 2
    command = [sys.executable, "-m", "demo.make_demo", "--help"]
    result = subprocess.run(command, cwd=Path(maker.__file__).parents[1], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--test-photograph" in result.stdout
