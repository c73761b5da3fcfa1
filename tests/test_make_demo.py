"""The demo set: its clips, its files, their reproducibility, and the protection of other folders."""

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
from demo.code_version import ROOT, content_files
from demo.data_set_plan import Settings, intensities, load_face, plan_of_clip, plan_pairs
from demo.muscles import MUSCLES
from faces.action_units import ACTION_UNITS, SIDES, read_action_units
from faces.facs import parse_code

SMALL = {"size": 64, "subjects": 1, "clips": 1, "test_subjects": 2, "test_clips": 1}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return maker.make_demo(tmp_path_factory.mktemp("data") / "demo", workers=2, **SMALL)


def test_the_codes_of_the_test_clips_contain_every_action_unit():
    assert {unit.au for code in CODES[:16] for unit in parse_code(code)} == set(MUSCLES)


@pytest.mark.parametrize("seed", range(8))
def test_curves_rise_from_rest_to_the_apex_and_return(seed):
    clip = plan_clip(np.random.default_rng(seed), "6+R12", head_moves=seed % 2 == 0)
    assert set(clip.curves) == {(6, "left"), (6, "right"), (12, "right")}
    curve = clip.curves[6, "left"]
    assert 24 <= len(curve) <= 40
    assert not curve[: clip.onset + 1].any()
    assert not curve[clip.offset :].any()
    assert curve.argmax() == clip.apex
    assert curve[clip.apex] == 1
    assert (np.diff(curve[: clip.apex + 1]) >= 0).all()
    assert (np.diff(curve[clip.apex :]) <= 0).all()
    assert np.abs(np.diff(curve, 2)).max() < 0.25
    assert clip.curves[12, "right"].max() < 1
    assert not clip.head[0].any()
    assert clip.head.any() == (seed % 2 == 0)
    assert np.abs(clip.head[:, :2]).max() < 4


def test_default_plan_is_balanced_and_within_limits():
    settings = Settings()
    all_pairs = list(plan_pairs(settings))
    assert len(all_pairs) == 16
    assert all(source.split("_")[0] != driving.split("_")[0] for source, driving in all_pairs)
    assert len({source for source, _ in all_pairs}) == 16
    test_codes = {plan_of_clip(settings, driving).code for _, driving in all_pairs}
    assert {unit.au for code in test_codes for unit in parse_code(code)} == set(MUSCLES)
    names = [n for s in settings.subjects_of("train") for n in settings.clips_of(s)]
    assert {unit.au for n in names for unit in parse_code(plan_of_clip(settings, n).code)} == set(MUSCLES)
    clip = plan_of_clip(settings, names[0])
    values = intensities(settings, names[0])
    assert max(v.max() for v in values.values()) <= 1
    assert values.keys() == clip.curves.keys()


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


def test_landmarks_are_noisy_in_the_first_frame_and_tracked_from_there(demo):
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


def test_the_true_result_is_the_source_face_with_the_driving_curves(demo):
    all_pairs = _rows(demo / "test_pairs.csv")
    assert len(all_pairs) == 2
    for pair in all_pairs:
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
        face = load_face(demo, pair["source"])
        assert np.abs(face.image - truth["frames"][0]).max() < 1e-3
        assert np.allclose(face.landmarks, truth["landmarks"][0], atol=1e-4)
        apex = int(next(c["apex"] for c in _rows(demo / "clips.csv") if c["name"] == pair["driving"]))
        assert np.abs(truth["frames"][apex].astype(float) - truth["frames"][0]).max() > 0.03


def _make_subject(folder: Path, subject: str, **changes) -> dict[str, str]:
    """Write one subject in this process; return the digests of its files."""
    for part in ("train", "test", "landmarks", "au", "truth/landmarks", "truth/pairs"):
        (folder / part).mkdir(parents=True)
    maker._write_subject(folder, Settings(**SMALL, **changes), subject)
    return _digests(folder)


@pytest.mark.parametrize("subject", ["s01", "s02"])  # a training and a test subject
def test_the_same_settings_give_the_same_bytes_in_any_process(demo, tmp_path, subject):
    files = _make_subject(tmp_path, subject)
    assert len(files) > 24
    assert files.items() <= _digests(demo).items()


def test_another_seed_gives_other_frames_and_landmarks(demo, tmp_path):
    files = _make_subject(tmp_path, "s01", seed=1)
    assert len(files) > 24
    assert not [name for name in files if name.endswith((".png", ".npy")) and files[name] == _digests(demo).get(name)]


def test_the_code_version_covers_all_files_that_make_the_set():
    files = {path.relative_to(ROOT).as_posix() for path in content_files()}
    assert {f"demo/{name}.py" for name in ("make_demo", "clip_plan", "data_set_plan", "face", "geometry")} <= files
    assert {f"demo/{name}.py" for name in ("layers", "muscles", "subjects")} <= files
    assert {f"faces/{name}.py" for name in ("alignment", "facs", "flow", "landmarks", "tracking")} <= files
    assert {"data/demo_anatomy.json", "data/astronaut_landmarks68.csv", "data/grace_hopper_landmarks68.csv"} <= files
    assert not {"demo/__main__.py", "demo/evaluation.py", "output/metrics.py"} & files, "used on the finished set only"


def test_existing_folders_are_kept_or_refused(demo, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in demo.rglob("*")}
    assert maker.make_demo(demo, **SMALL) == demo
    with pytest.raises(FileExistsError, match="other settings .* --force"):
        maker.make_demo(demo, seed=5, **SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in demo.rglob("*")}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(FileExistsError, match="is not a demo set; choose another folder"):
            maker.make_demo(tmp_path / "mine", force=force, **SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_force_replaces_a_demo_set_and_a_failure_keeps_it(tmp_path, monkeypatch):
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


def test_load_face_names_the_missing_file_or_clip(demo, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such demo set; make it with"):
        load_face(tmp_path, "s01_c01")
    with pytest.raises(FileNotFoundError, match="no clip 's77_c01'"):
        load_face(demo, "s77_c01")
    (tmp_path / "demo.json").write_text('{"settings": {}, "version": "old"}')
    with pytest.raises(ValueError, match="another version of the code"):
        load_face(tmp_path, "s01_c01")


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
