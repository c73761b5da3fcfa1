"""`--mode check` of prepared and hand-made folders, and the same checks in training."""

import logging

import imageio.v3 as iio
import numpy as np
import pytest

from clips.checks import batch_problem, frame_gaps, frame_warnings, landmark_warning, name_warnings
from clips.loader import LoadedClip, training_problem
from clips.reading import Clip, open_clip
from config.sections import DatasetParams
from run import main
from tests.conftest import FRAMES, SIZE, face_landmarks


@pytest.fixture
def check(clips_root, write_experiment, caplog):
    """Function that runs `--mode check` on the data set and returns the exit status and the log."""
    caplog.set_level(logging.INFO)

    def check(*assignments: str) -> tuple[int, str]:
        caplog.clear()
        experiment = write_experiment(clips_root, model_params__au_conditioning="concat")
        settings = [part for assignment in assignments for part in ("--set", assignment)]
        return main(["--config", str(experiment), "--mode", "check", *settings]), caplog.text

    return check


def test_a_good_folder_has_no_problems(check):
    status, log = check()
    assert status == 0
    assert f"train: 2 clips of 2 subjects, {2 * FRAMES} frames; 0 rejected, 0 warning" in log
    assert f"test: 2 clips of 2 subjects, {2 * FRAMES} frames; 0 rejected, 0 warning" in log


def shorten(root):
    for path in sorted((root / "train" / "b").iterdir())[1:]:
        path.unlink()
    for folder, suffix in (("landmarks", "npy"), ("au", "csv")):
        (root / folder / f"b.{suffix}").unlink()
    np.save(root / "landmarks" / "b.npy", face_landmarks())
    lines = (root / "au" / "a.csv").read_text(encoding="utf-8").splitlines()
    (root / "au" / "b.csv").write_text("\n".join(lines[:2]), encoding="utf-8")


def resize_one(root):
    iio.imwrite(root / "train" / "b" / "img4.png", np.zeros((SIZE // 2, SIZE, 3), np.uint8))


def cut_table(root):
    path = root / "au" / "b.csv"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")


def add_padded(root):
    (root / "train" / "b").rename(root / "train" / "s1_b")
    (root / "test" / "006").rename(root / "test" / "22_3_3")
    (root / "landmarks" / "b.npy").rename(root / "landmarks" / "s1_b.npy")
    (root / "au" / "b.csv").rename(root / "au" / "s1_b.csv")
    (root / "landmarks" / "006.npy").rename(root / "landmarks" / "22_3_3.npy")
    (root / "au" / "006.csv").rename(root / "au" / "22_3_3.csv")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (shorten, "b: expected at least 2 frames to train on, got 1"),
        (
            lambda root: (root / "train" / "b" / "img2.png").rename(root / "train" / "b" / "img9.png"),
            "1 and 3, 6 and 9",
        ),
        (resize_one, "several sizes: 64 x 64, but img4.png: 64 x 32"),
        (lambda root: (root / "train" / "b" / "img3.png").write_bytes(b"no"), "img3.png: unreadable image"),
        (lambda root: (root / "landmarks" / "b.npy").unlink(), "clip b: expected"),
        (lambda root: (root / "landmarks" / "b.npy").rename(root / "landmarks" / "B.npy"), "padding or case; rename"),
        (lambda root: (root / "test" / "006").rename(root / "test" / "6"), "006.npy, which differs in padding"),
        (lambda root: np.save(root / "landmarks" / "b.npy", np.stack([face_landmarks() * 9] * 6)), "outside frame 0"),
        (cut_table, "b.csv: frame 6: expected values, found no row"),
        (add_padded, "clips 022_3_3 and 22_3_3 differ in padding or case only"),
    ],
)
def test_every_problem_is_reported_in_one_line_and_by_the_exit_status(check, clips_root, spoil, line):
    spoil(clips_root)
    status, log = check()
    assert status == 2
    assert line in log


def test_all_problems_are_reported_together(check, clips_root):
    (clips_root / "landmarks" / "a.npy").unlink()
    resize_one(clips_root)
    status, log = check("train_params.batch_size=64")
    assert status == 2
    assert "train: rejected: clip a: expected" in log
    assert "train: warning: clip b: frames of several sizes" in log
    assert "2 pairs per epoch do not fill one batch of 64" in log
    assert "train: 1 clips of 1 subjects, 6 frames; 2 rejected, 2 warning" in log


def test_an_empty_split_is_a_problem(check, clips_root):
    (clips_root / "test").rename(clips_root / "elsewhere")
    (clips_root / "test").mkdir()
    status, log = check()
    assert status == 2
    assert "test: rejected" in log


def test_training_logs_the_warnings_of_check(clips_root, write_experiment, caplog):
    resize_one(clips_root)
    assert main(["--config", str(write_experiment(clips_root)), "--set", "train_params.num_epochs=1"]) == 0
    assert "clip b: frames of several sizes" in caplog.text


def test_frame_numbers_may_rise_by_any_step():
    assert frame_gaps((1, 2, 3)) is None
    assert frame_gaps((10, 5, 15)) is None
    assert frame_gaps((1,)) is None
    assert frame_gaps((1, 2, 4, 5, 9)) == "frames are missing between 2 and 4, 5 and 9"


def test_frames_without_numbers_have_no_gaps(tmp_path):
    for name in ("a", "b"):
        iio.imwrite(tmp_path / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    assert frame_warnings(open_clip(tmp_path), np.array([[8, 8], [8, 8]])) == []


def test_landmarks_outside_the_frame_cause_a_warning():
    face = face_landmarks(64)[None]
    assert landmark_warning(face, (64, 64)) is None
    assert "frame 0" in landmark_warning(face, (16, 64))


def test_an_epoch_must_fill_one_batch_on_every_device():
    assert batch_problem(8, 4, 2) is None
    assert "7 pairs" in batch_problem(7, 4, 2)


def test_head_motion_can_only_be_removed_from_clips_with_landmarks(clips_root):
    def problem(**changes):
        params = DatasetParams.model_validate({"root_dir": str(clips_root), **changes})
        clip = LoadedClip(Clip("a", clips_root / "a"), cached=range(2), landmarks=None, action_units=None)
        return training_problem(clip, params)

    assert problem() is None
    assert "expected landmarks for remove_head_motion" in problem(remove_head_motion=True)


def test_numbers_in_names_are_compared_as_numbers():
    assert name_warnings(["s1", "s2", "s10"], "subjects") == []
    assert name_warnings(["s1", "S01"], "subjects") == [
        "subjects S01 and s1 differ in padding or case only; rename one if they are the same"
    ]


def test_frames_of_their_own_size_must_fit_the_networks_and_each_other(check, clips_root):
    own = "dataset_params.frame_shape=null"
    assert check(own)[0] == 0
    for path in (clips_root / "train" / "b").iterdir():
        iio.imwrite(path, np.zeros((SIZE, 2 * SIZE, 3), np.uint8))
    status, log = check(own)
    assert status == 2
    assert f"clips of several sizes ({SIZE} x {SIZE}, {2 * SIZE} x {SIZE}) cannot be trained on together" in log
    for path in (clips_root / "train" / "b").iterdir():
        iio.imwrite(path, np.zeros((100, 100, 3), np.uint8))
    status, log = check(own)
    assert status == 2
    assert "b: frames of 100 x 100: dataset_params.frame_shape: expected a height and a width divisible by 32" in log
