"""`--mode check` of prepared and hand-made folders, and the same checks in training."""

import logging
import re
import shutil
from pathlib import Path

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


# --- the page ---------------------------------------------------------------------------------------------------------

PAGE = Path("log/tiny-check/check.html")


def rows_of_page(path: Path = PAGE) -> dict[str, str]:
    """HTML of each row of a page, by name of the clip."""
    rows = re.findall(
        r'<li class="clip.*?<h3>(.*?)</h3>.*?(?=<li class="clip|</ol>)', path.read_text("utf-8"), re.DOTALL
    )
    texts = re.findall(r'<li class="clip.*?(?=<li class="clip|</ol>)', path.read_text("utf-8"), re.DOTALL)
    return dict(zip(rows, texts, strict=True))


def facts(row: str) -> dict[str, str]:
    """Facts of a row, by label."""
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", row))


def test_the_last_line_names_a_page_with_a_row_per_clip(check, clips_root):
    landmarks = np.repeat(face_landmarks()[None], FRAMES, axis=0)
    landmarks[3, 48:60] += [0, 3]
    np.save(clips_root / "landmarks" / "a.npy", landmarks)
    status, log = check("dataset_params.landmarks=file")
    assert status == 0
    assert log.splitlines()[-1].endswith(f"all clips, with their pictures: {PAGE}")
    rows = rows_of_page()
    assert list(rows) == ["a", "b", "006", "022_3_3"]
    for name, row in rows.items():
        assert row.count("<img ") == (4 if name == "a" else 2), "the other faces only drift: they have no apex"
        assert row.count("<polyline ") == 1
        assert re.findall(r"<figcaption>(.*?)</figcaption>", row)[0] == "First frame (0)"
    found = facts(rows["022_3_3"])
    assert (found["subject"], found["frames"], found["size"], found["fps"]) == (
        "022",
        "6",
        f"{SIZE} \u00d7 {SIZE}",
        "100",
    )
    assert {"emotion", "code", "onset", "offset"} & set(found) == set()


def test_the_page_has_the_same_bytes_in_every_run(check):
    check()
    before = PAGE.read_bytes()
    check()
    assert PAGE.read_bytes() == before


def test_rejected_clips_have_a_row_with_the_reason_and_a_picture_if_one_can_be_read(check, clips_root):
    (clips_root / "landmarks" / "a.npy").unlink()
    (clips_root / "train" / "b" / "img3.png").write_bytes(b"no")
    resize_one_of(clips_root / "test" / "006")
    shorten_to_one_frame(clips_root)
    assert check("train_params.batch_size=64")[0] == 2
    rows = rows_of_page()
    for name, reason, pictures in (
        ("a", "expected", 1),
        ("b", "img3.png: unreadable image", 0),
        ("c", "expected at least 2 frames to train on, got 1", 2),
    ):
        assert 'data-status="rejected"' in rows[name]
        assert reason in rows[name].split('<ul class="findings">')[1]
        assert rows[name].count("<img ") == pictures
    assert 'data-status="usable"' in rows["006"]
    assert "frames of several sizes" in rows["006"]
    assert 'data-findings="0"' in rows["022_3_3"]


def resize_one_of(folder):
    iio.imwrite(folder / "img4.png", np.zeros((SIZE // 2, SIZE, 3), np.uint8))


def shorten_to_one_frame(root):
    (root / "train" / "c").mkdir()
    shutil.copyfile(root / "train" / "a" / "img1.png", root / "train" / "c" / "img1.png")
    np.save(root / "landmarks" / "c.npy", face_landmarks())
    lines = (root / "au" / "a.csv").read_text(encoding="utf-8").splitlines()
    (root / "au" / "c.csv").write_text("\n".join(lines[:2]), encoding="utf-8")


def test_warnings_about_names_are_in_the_rows_and_those_about_the_whole_above_them(check, clips_root):
    add_padded(clips_root)
    check("train_params.batch_size=64")
    rows, text = rows_of_page(), PAGE.read_text(encoding="utf-8")
    assert "differ in padding or case only" in rows["022_3_3"]
    assert "differ in padding or case only" in rows["22_3_3"]
    assert "differ in padding" not in rows["a"]
    above = text.split('<ol id="list">')[0]
    assert "4 pairs per epoch do not fill one batch of 64" in above
    assert "subjects 022 and 22 differ in padding" in above


def test_an_estimated_apex_is_marked_as_such_and_no_motion_has_none(check, clips_root):
    landmarks = np.repeat(face_landmarks()[None], FRAMES, axis=0)
    np.save(clips_root / "landmarks" / "a.npy", landmarks)
    landmarks[3, 48:60] += [0, 3]
    np.save(clips_root / "landmarks" / "b.npy", landmarks)
    check("dataset_params.landmarks=file")
    rows = rows_of_page()
    assert "<figcaption>Apex, estimated (3)</figcaption>" in rows["b"]
    assert facts(rows["b"])["apex"] == "3, estimated"
    assert "<figcaption>Apex unknown</figcaption>" in rows["a"]
    assert rows["a"].count("<img ") == 2
    assert "apex" not in facts(rows["a"])


def test_a_page_that_cannot_be_written_is_one_line(clips_root, write_experiment, caplog, tmp_path):
    (tmp_path / "taken").write_text("")
    command = ["--config", str(write_experiment(clips_root)), "--mode", "check", "--log-dir", str(tmp_path / "taken")]
    assert main(command) == 2
    assert "expected a folder for --log-dir" in caplog.text
