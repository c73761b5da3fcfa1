"""Preparation of clips from hand-made records; `test_readers.py` tests the readers of data sets."""

import csv
import html
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import skimage.data
from natsort import natsorted

from clips.crop import Crop, place_crop
from config.options import RunOptions
from config.preparation import PrepareCropParams, PrepareParams
from errors import UserError
from faces.action_units import ACTION_UNITS, read_action_units
from faces.flow import REVISION
from faces.landmarks import read_landmarks
from preparation.action_units import coded_curves
from preparation.clip_record import ClipRecord, LeftOut, Listing
from preparation.clip_task import VERSION, ClipTask, stage_keys
from preparation.prepared_folder import hash_values
from preparation.timing import Timing, clip_timing
from preparation.workers import run_in_processes
from prepare import prepare_listing
from run import main
from tests.conftest import write_action_units
from tests.test_check import facts, rows_of_page

ROOT = Path(__file__).parents[1]
FACE = read_landmarks(ROOT / "data" / "astronaut_landmarks68.csv")[0]
PHOTOGRAPH = skimage.data.astronaut()
WINDOW = (100, 10, 250, 250)  # x, y, width, height of the photograph that a frame shows
FRAMES = 6
OPTIONS = RunOptions(Path("prepare.yaml"))


def slide(t: int) -> tuple[int, int]:
    """Displacement of the window in frame t, pixels; the face moves in the opposite direction."""
    return (t, -t // 2)


def face_in(t: int) -> np.ndarray:
    """Landmarks of frame t, (68, 2)."""
    return FACE - np.array(WINDOW[:2]) - slide(t)


def write_release(
    folder: Path, name: str, *, frames: int = FRAMES, first: int = 46, suffix: str = ".png"
) -> ClipRecord:
    """A clip as a data set has it: numbered frames around a face, and landmarks of the third frame, the onset."""
    clip = folder / name
    clip.mkdir(parents=True)
    x, y, width, height = WINDOW
    for t in range(frames):
        dx, dy = slide(t)
        iio.imwrite(clip / f"img{first + t}.png", PHOTOGRAPH[y + dy : y + dy + height, x + dx : x + dx + width])
    np.save(folder / f"{name}.landmarks.npy", face_in(1))
    return record_of(folder, name)


def record_of(folder: Path, name: str) -> ClipRecord:
    """The record that a reader makes of such a clip."""
    paths = natsorted((folder / name).iterdir())
    first = int(paths[0].stem[3:])
    return ClipRecord(
        name=name,
        subject=name.split("_")[0],
        data_set="folder",
        source=folder / name,
        frames=tuple(paths),
        frame_numbers=tuple(range(first, first + len(paths))),
        fps=200.0,
        onset=first + 1,
        apex=first + 3,
        offset=first + len(paths) - 1,
        emotion="happiness",
        facs="L12+4B",
        landmarks=folder / f"{name}.landmarks.npy",
    )


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Listing:
    """Three clips of three subjects."""
    folder = tmp_path_factory.mktemp("release")
    clips = tuple(write_release(folder, name) for name in ("sub01_a", "sub02_b", "sub03_c"))
    return Listing(clips, (LeftOut("sheet.csv, row 7", "expected a frame number, got x"),))


def settings(output: Path, **changes) -> PrepareParams:
    values = {
        "data_set": "folder",
        "root_dir": "release",
        "output_dir": str(output),
        "workers": 1,
        "crop_params": {"size": 96},
        "landmark_params": {"backend": "files"},
        **changes,
    }
    return PrepareParams.model_validate(values)


def run(listing: Listing, output: Path, **changes):
    return prepare_listing(listing, settings(output, **changes), OPTIONS)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def written_since(before: dict[str, tuple[int, int]], folder: Path) -> set[str]:
    """Files that were written or removed since `before`, a result of `times`."""
    return {name for name, _ in before.items() ^ times(folder).items()}


def times(folder: Path) -> dict[str, tuple[int, int]]:
    """Modification time and inode of every file but the lock, which every run opens."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in files}


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def frames_of(folder: Path, name: str) -> np.ndarray:
    (found,) = folder.glob(f"t*/{name}")
    return np.stack([iio.imread(path) for path in sorted(found.iterdir())])


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(release, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared") / "out"
    run(release, output)
    return output


def test_a_clip_becomes_frames_landmarks_action_units_and_a_row(prepared, release):
    row = rows_of(prepared)["sub02_b"]
    frames = frames_of(prepared, "sub02_b")
    landmarks = np.load(prepared / "landmarks" / "sub02_b.npy")
    assert frames.shape == (5, 96, 96, 3), "from onset to offset"
    assert landmarks.shape == (5, 68, 2)
    assert (row["onset"], row["apex"], row["offset"], row["frames"]) == ("0", "2", "4", "5")
    assert (row["release_onset"], row["release_apex"], row["fps"]) == ("47", "49", "200")
    assert (row["emotion"], row["facs"], row["action_units"], row["landmarks"]) == (
        "happiness",
        "L12+4B",
        "code",
        "track",
    )
    units = read_action_units(prepared / "au" / "sub02_b.csv", 5)
    assert units[2, ACTION_UNITS.index(12)] == pytest.approx([0.4, 0])
    assert units[2, ACTION_UNITS.index(4)] == pytest.approx([0.4, 0.4])
    assert units[[0, 4]].max() == 0
    assert {p.name for p in prepared.iterdir()} >= {"train", "test", "report.html", "contact_sheet.png", "pairs.csv"}


def test_landmarks_follow_the_face_in_the_crop(prepared):
    landmarks = np.load(prepared / "landmarks" / "sub01_a.npy")
    row = rows_of(prepared)["sub01_a"]
    scale = float(row["to_release_a"])
    truth = np.stack([face_in(t) - face_in(1) for t in range(1, FRAMES)])
    np.testing.assert_allclose((landmarks - landmarks[0]) * scale, truth, atol=0.25)
    a, b, c, d = (float(row[f"to_release_{name}"]) for name in "abcd")
    x, y = landmarks[0].T
    back = np.stack([a * x - b * y + c, b * x + a * y + d], axis=-1)
    np.testing.assert_allclose(back, face_in(1), atol=1e-4)


def test_the_written_frame_agrees_with_its_transform(prepared, release):
    row = rows_of(prepared)["sub01_a"]
    frame = iio.imread(release.clips[0].frames[1])
    matrix = np.array([[float(row["to_release_a"]), 0, float(row["to_release_c"])]])
    matrix = np.vstack([matrix, [0, float(row["to_release_a"]), float(row["to_release_d"])]])
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    expected = cv2.warpAffine(frame, matrix, (96, 96), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    shown = frames_of(prepared, "sub01_a")[0]
    shift, _ = cv2.phaseCorrelate(*(np.float64(f[..., 1]) for f in (expected, shown)))
    assert np.abs(shift).max() < 0.05
    assert np.abs(expected.astype(int) - shown).mean() < 4


def test_report_and_contact_sheet_list_the_clips(prepared):
    report = (prepared / "report.html").read_text(encoding="utf-8")
    for text in ("3 clips prepared, 1 left out", "sheet.csv, row 7", "got x", "happiness", "AU12", "sub03_c", "base64"):
        assert text in report
    sheet = iio.imread(prepared / "contact_sheet.png")
    assert sheet.std() > 30


def test_the_report_and_the_page_of_check_show_labels_and_the_apex_of_the_release(release, prepared, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "format: 2\nmodel_params: {family: warp}\n"
        f"dataset_params: {{root_dir: {prepared}, keypoint_dir: {prepared}/landmarks, frame_shape: [64, 64, 3]}}\n"
    )
    command = ["--config", str(tmp_path / "c.yaml"), "--mode", "check", "--log-dir", str(tmp_path)]
    assert main(command) in (0, 2)
    (page,) = tmp_path.rglob("check.html")
    report = rows_of_page(prepared / "report.html")
    assert list(report) == list(ALL)
    assert set(rows_of_page(page)) == set(ALL)
    for rows, size in ((report, 96), (rows_of_page(page), 96)):
        found = facts(rows["sub02_b"])
        assert {name: found[name] for name in ("emotion", "code", "onset", "apex", "offset", "fps", "frames")} == {
            "emotion": "happiness",
            "code": "L12+4B",
            "onset": "0",
            "apex": "2",
            "offset": "4",
            "fps": "200",
            "frames": "5",
        }
        assert found["size"] == f"{size} \u00d7 {size}"
        captions = re.findall(r"<figcaption>([^<]+)</figcaption>", rows["sub02_b"])
        assert captions == ["Onset (0)", "Apex (2)", "Difference \u00d75", "Landmarks"]
        assert re.findall(r">(AU[^<]*)</span>", rows["sub02_b"]) == ["AU4 2.0", "AU12 left 2.0"]
    clips = tuple(replace(clip, onset=None, apex=None, facs=None) for clip in release.clips)
    run(replace(release, clips=clips), tmp_path / "out")
    row = rows_of_page(tmp_path / "out" / "report.html")["sub01_a"]
    assert re.findall(r"<figcaption>([^<]+)</figcaption>", row)[0] == "First frame (0)"
    assert facts(row)["apex"].endswith(", estimated")
    assert "onset" not in facts(row)
    assert "<svg" not in row


# --- crop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upright", [False, True])
def test_a_crop_there_and_back_is_exact(upright):
    tilted = (FACE - FACE.mean(axis=0)) @ np.array([[0.98, 0.2], [-0.2, 0.98]]) + FACE.mean(axis=0)
    crop = place_crop(tilted, (512, 512), PrepareCropParams(size=256, upright=upright))
    inside = crop.apply(tilted)
    np.testing.assert_allclose(crop.to_release.apply(inside), tilted, atol=1e-9)
    eyes = inside[42:48].mean(axis=0) - inside[36:42].mean(axis=0)
    assert (abs(eyes[1]) < 1e-9) == upright
    low, high = inside.min(axis=0), inside.max(axis=0)
    assert (high - low).max() == pytest.approx(256 / 1.6, abs=1)
    np.testing.assert_allclose((low + high) / 2, [127.5, 127.5 + 0.08 * 256 / 1.6], atol=1)


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_a_point_of_the_picture_lies_where_the_crop_maps_it(angle):
    picture = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(picture, (170, 120), 6, (255, 255, 255), -1, cv2.LINE_AA)
    crop = Crop((160.5, 110.5), 120, angle, 90)
    shown = crop.cut(picture)[..., 0].astype(float)
    y, x = np.mgrid[:90, :90]
    found = np.array([(x * shown).sum(), (y * shown).sum()]) / shown.sum()
    np.testing.assert_allclose(crop.to_release.apply(found[None])[0], [170, 120], atol=0.05)


def test_crops_stay_inside_the_frame_where_they_fit():
    corner = FACE - FACE.min(axis=0) + 2
    crop = place_crop(corner, (400, 400), PrepareCropParams())
    assert crop.outside((400, 400)) == 0
    tight = place_crop(corner, (110, 130), PrepareCropParams())
    assert tight.side == 130
    assert tight.outside((110, 130)) == pytest.approx(20 / 130, abs=1e-4)
    assert tight.cut(np.full((110, 130, 3), 9, np.uint8)).min() == 9
    with pytest.raises(ValueError, match="lie outside the 130 x 110 frame"):
        place_crop(FACE + 1000, (110, 130), PrepareCropParams())


# --- time -------------------------------------------------------------------------------------------------------------


def test_frames_and_rows_are_interpolated_alike():
    timing = Timing(range(3), 0, None, None, (0.0, 0.25, 1.0, 1.75, 2.0))
    greys = np.array([[0], [100], [200]])
    frames = [np.full((2, 2), grey, np.uint8) for (grey,) in greys]
    assert timing.interpolate(greys)[:, 0].tolist() == [0, 25, 100, 175, 200]
    assert [frame[0, 0] for frame in timing.interpolate_frames(frames)] == [0, 25, 100, 175, 200]


def test_the_head_does_not_make_an_apex(release):
    """The head moves on and on, the mouth most in the third frame."""
    record = replace(release.clips[0], apex=None)
    timing = clip_timing(record, trim=True, length=None)
    landmarks = np.repeat(FACE[None], len(timing.times), axis=0)
    landmarks[:, :, 0] += 5 * np.arange(len(landmarks))[:, None]
    landmarks[:, 48, 1] += [0, 1, 4, 2, 1][: len(landmarks)]
    values = coded_curves(record, timing, landmarks, 2.0).values
    assert values[:, ACTION_UNITS.index(12), 0].argmax() == 2


def test_clips_are_interpolated_to_a_length(release, tmp_path):
    run(release, tmp_path / "out", length=9)
    frames = frames_of(tmp_path / "out", "sub01_a").astype(int)
    assert len(frames) == 9
    between = (frames[2] + frames[4]) / 2
    assert np.abs(frames[3] - between).max() <= 1
    row = rows_of(tmp_path / "out")["sub01_a"]
    assert (row["apex"], row["offset"], row["fps"]) == ("4", "8", "400")
    assert len(np.load(tmp_path / "out" / "landmarks" / "sub01_a.npy")) == 9
    assert read_action_units(tmp_path / "out" / "au" / "sub01_a.csv", 9)[4].max() == pytest.approx(0.4)


def test_untrimmed_clips_keep_every_frame(release, tmp_path):
    run(release, tmp_path / "out", trim=False)
    row = rows_of(tmp_path / "out")["sub01_a"]
    assert (row["frames"], row["onset"], row["apex"]) == ("6", "1", "3")
    landmarks = np.load(tmp_path / "out" / "landmarks" / "sub01_a.npy")
    scale = float(row["to_release_a"])
    np.testing.assert_allclose((landmarks[0] - landmarks[1]) * scale, face_in(0) - face_in(1), atol=0.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"onset": 40}, "onset: expected one of the clip's frames, 46 to 51, got 40"),
        ({"apex": 47, "onset": 48}, "expected onset <= apex <= offset, got 48, 47, 51"),
        ({"onset": 51, "apex": None}, "expected at least 2 frames from onset to offset, got 1"),
    ],
)
def test_impossible_onset_apex_and_offset_are_refused(release, changes, message):
    with pytest.raises(ValueError, match=message):
        clip_timing(replace(release.clips[0], **changes), trim=True, length=None)


def test_missing_frames_get_a_remark():
    record = ClipRecord("a", "a", "folder", Path("a"), (), (1, 2, 3, 6, 7), 100.0)
    (remark,) = clip_timing(record, trim=True, length=None).remarks
    assert "between 3 and 6" in remark.found
    assert clip_timing(replace(record, frame_numbers=(1, 3, 5, 7, 9)), trim=True, length=None).remarks == ()


# --- later runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def output(prepared, tmp_path) -> Path:
    """A copy of the prepared folder, which the test may change."""
    return Path(shutil.copytree(prepared, tmp_path / "out"))


def clip_files(name: str, *kinds: str) -> set[str]:
    """Files of a prepared clip by kind."""
    split = "test" if name == "sub03_c" else "train"
    files = {
        "frames": {f"{split}/{name}/{t:04d}.png" for t in range(FRAMES - 1)},
        "landmarks": {f"landmarks/{name}.npy", f".prepare/thumbnails/{name}.jpg"},
        "au": {f"au/{name}.csv"},
        "state": {f".prepare/clips/{name}.json"},
    }
    return set().union(*(files[kind] for kind in kinds))


ALL = ("sub01_a", "sub02_b", "sub03_c")
SUMMARY = {"clips.csv", "report.html", "contact_sheet.png"}


def test_a_second_run_writes_nothing(release, output):
    before = times(output)
    run(release, output)
    assert written_since(before, output) == set()


def test_keys_of_prepared_folders_stay_the_same(tmp_path):
    """Other keys would make every clip of every existing folder again; raise `VERSION` or `REVISION` to want that."""
    assert (VERSION, REVISION) == (1, 4), "then replace the keys below"
    assert hash_values(1, "a", [0.5, None], Path("x")) == "d166358f41b8705634c5c2dc5a82ca20"
    paths = [tmp_path / name for name in ("img46.png", "img47.png", "img48.png", "img49.png", "sub01_a.csv")]
    for path in paths:
        path.write_bytes(b"table" if path.suffix == ".csv" else b"frame")
        os.utime(path, ns=(10**18, 10**18))
    record = ClipRecord("sub01_a", "sub01", "folder", tmp_path, tuple(paths[:4]), (46, 47, 48, 49), 200.0)
    record = replace(record, onset=46, apex=48, offset=49, facs="L12+4B")
    timing = clip_timing(record, trim=True, length=7)
    task = ClipTask(record, timing, np.arange(136.0).reshape(68, 2) / 4, None, None, "train", {})
    params = PrepareParams.model_validate({"data_set": "folder", "root_dir": "release", "output_dir": "out"})
    assert stage_keys(task, params) == {
        "frames": "71ee2a18537646550dff15566862edc6",
        "landmarks": "74053786b73784ee7e0f41d704edad3e",
        "action_units": "f0eee84caa3843117911337b49dca0bd",
    }
    assert stage_keys(replace(task, landmark_file=paths[4], au_table=paths[4]), params) == {
        "frames": "71ee2a18537646550dff15566862edc6",
        "landmarks": "0adf1bb9efa455767494e6dbabcb1b1b",
        "action_units": "c7aa06f984964c5d1f630fa1ff1ba3c1",
    }


def test_records_of_clips_keep_their_form(prepared):
    state = json.loads((prepared / ".prepare" / "clips" / "sub02_b.json").read_text(encoding="utf-8"))
    assert len(state.pop("digest")) == 32
    assert {stage: set(values) for stage, values in state.items()} == {
        "onset": {"key", "landmarks"},
        "frames": {"key", "files", "centre", "side", "angle", "size", "outside", "release_size"},
        "landmarks": {"key", "files"},
        "action_units": {"key", "files", "source", "remarks", "problem"},
        "listed": {"row", "remarks", "settings"},
    }


@pytest.mark.parametrize(
    ("changes", "kinds", "summary"),
    [
        ({"au_params": {"intensity": 3.0}}, ("au", "state"), {"report.html"}),
        ({"crop_params": {"size": 96, "margin": 0.2}}, ("frames", "landmarks", "au", "state"), SUMMARY),
        ({"crop_params": {"size": 96, "grey": True}}, ("frames", "landmarks", "au", "state"), SUMMARY),
        ({"workers": 2}, (), set()),
    ],
)
def test_a_changed_setting_makes_the_stages_that_depend_on_it_again(release, output, changes, kinds, summary):
    before = times(output)
    run(release, output, **changes)
    made = set().union(*(clip_files(name, *kinds) for name in ALL)) if kinds else set()
    assert written_since(before, output) - SUMMARY == made
    assert written_since(before, output) & SUMMARY <= summary
    fresh = output.with_name("fresh")
    run(release, fresh, **changes)
    assert contents(output) == contents(fresh)


def test_a_changed_input_makes_only_its_clip_again(release, output, tmp_path):
    root = Path(shutil.copytree(release.clips[0].source.parent, tmp_path / "release"))
    clips = tuple(
        replace(c, frames=tuple(root / c.name / p.name for p in c.frames), landmarks=root / c.landmarks.name)
        for c in release.clips
    )
    before = times(output)
    run(replace(release, clips=(*clips[:1], replace(clips[1], facs="1+2"), *clips[2:])), output)
    assert written_since(before, output) - SUMMARY == clip_files("sub02_b", "au", "state")
    before = times(output)
    np.save(root / "sub03_c.landmarks.npy", face_in(1) + 2)
    run(replace(release, clips=(*clips[:1], replace(clips[1], facs="1+2"), *clips[2:])), output)
    made = written_since(before, output) - SUMMARY
    assert made == clip_files("sub03_c", "frames", "landmarks", "au", "state")


def test_lost_files_are_made_again(release, prepared, output):
    (output / "au" / "sub01_a.csv").unlink()
    shutil.rmtree(output / "train" / "sub02_b")
    (output / "landmarks" / "sub03_c.npy").unlink()
    run(release, output)
    assert contents(output) == contents(prepared)


def test_clips_that_left_the_data_set_are_removed_on_request(release, output, tmp_path):
    changes = {"split_params": {"by": "none"}}
    run(replace(release, clips=release.clips[:2]), output, remove_missing=True, **changes)
    assert not [name for name in contents(output) if "sub03_c" in name]
    run(replace(release, clips=release.clips[:2]), tmp_path / "fresh", **changes)
    assert contents(output) == contents(tmp_path / "fresh")


def test_several_processes_give_the_result_of_one(release, prepared, tmp_path):
    run(release, tmp_path / "out", workers=2)
    assert contents(tmp_path / "out") == contents(prepared)


def test_a_killed_process_is_an_error_with_a_remedy():
    with pytest.raises(UserError, match="killed, perhaps because memory ran out; run the same command again"):
        list(run_in_processes(os._exit, [1], 2))


KILLED_RUN = """
import os, pickle, signal, sys
from pathlib import Path
import preparation.clip_maker as maker
from prepare import prepare_listing
listing, params, options, stop = pickle.loads(Path(sys.argv[1]).read_bytes())
write, count = maker.write_png, 0
def counted(path, frame):
    global count
    count += 1
    if count == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, frame)
maker.write_png = counted
prepare_listing(listing, params, options)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a matter of POSIX")
@pytest.mark.parametrize("stop", [3, 8])
def test_a_killed_run_resumes_to_the_same_result(release, prepared, tmp_path, stop):
    job = (release, settings(tmp_path / "out"), OPTIONS, stop)
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", KILLED_RUN, str(tmp_path / "job.pickle")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    for clip in (tmp_path / "out").glob("t*/*"):
        assert len(list(clip.iterdir())) == FRAMES - 1, "a clip is there as a whole or not at all"
        assert (tmp_path / "out" / "landmarks" / f"{clip.name}.npy").exists()
    assert len(list((tmp_path / "out").glob("t*/*"))) == stop // FRAMES
    run(release, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(prepared)


# --- clips that are left out ------------------------------------------------------------------------------------------


@pytest.fixture
def own_release(release, tmp_path) -> Listing:
    """A copy of the release, which the test may damage."""
    root = Path(shutil.copytree(release.clips[0].source.parent, tmp_path / "release"))
    return replace(release, clips=tuple(record_of(root, name) for name in ALL))


def report_of(folder: Path) -> str:
    return html.unescape((folder / "report.html").read_text(encoding="utf-8"))


def test_broken_clips_are_left_out_by_name_and_come_back_when_repaired(own_release, prepared, tmp_path):
    output = tmp_path / "out"
    frame = own_release.clips[1].frames[3]
    whole, status = frame.read_bytes(), frame.stat()
    frame.write_bytes(whole[: len(whole) // 2])
    own_release.clips[2].landmarks.rename(tmp_path / "elsewhere.npy")
    run(own_release, output)
    assert set(rows_of(output)) == {"sub01_a"}
    assert sorted(p.name for p in output.glob("t*/*")) == ["sub01_a"]
    said = report_of(output)
    assert "img49.png: unreadable image" in said
    assert "sub03_c.landmarks.npy: unreadable (No such file" in said
    before = times(output)
    run(own_release, output)
    assert written_since(before, output) == set()
    (tmp_path / "elsewhere.npy").rename(own_release.clips[2].landmarks)
    frame.write_bytes(whole)
    os.utime(frame, ns=(status.st_atime_ns, status.st_mtime_ns))
    run(own_release, output)
    assert set(rows_of(output)) == set(ALL)


def test_a_clip_whose_frame_becomes_unreadable_is_removed_on_request(own_release, tmp_path):
    output = tmp_path / "out"
    run(own_release, output)
    own_release.clips[0].frames[2].write_bytes(b"no picture")
    run(own_release, output, remove_missing=True)
    assert set(rows_of(output)) == {"sub02_b", "sub03_c"}
    assert not [name for name in contents(output) if "sub01_a" in name and not name.startswith(".prepare/clips")]


def test_frames_of_another_size_are_named(own_release, tmp_path):
    iio.imwrite(own_release.clips[0].frames[2], np.zeros((99, 250, 3), np.uint8))
    run(own_release, tmp_path / "out")
    assert "img48.png: 250 x 99 among frames of 250 x 250" in report_of(tmp_path / "out")


def test_a_run_without_any_clip_names_the_report(own_release, tmp_path):
    for clip in own_release.clips:
        clip.landmarks.unlink()
    with pytest.raises(UserError, match=r"no clip could be prepared; the reasons are in .*report\.html"):
        run(own_release, tmp_path / "out")


def test_a_folder_with_other_files_is_refused(release, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.tex").write_text("all I have")
    with pytest.raises(UserError, match="expected a new folder or one of --mode prepare"):
        run(release, output)
    assert [path.name for path in output.iterdir()] == ["thesis.tex"]


def test_two_clips_of_one_name_are_refused(release, tmp_path):
    with pytest.raises(UserError, match="two clips are named SUB01_A"):
        run(replace(release, clips=(*release.clips, replace(release.clips[0], name="SUB01_A"))), tmp_path / "out")


# --- landmarks --------------------------------------------------------------------------------------------------------


def test_landmark_files_of_every_frame_are_used_on_request(own_release, tmp_path):
    clip = own_release.clips[0]
    np.save(clip.landmarks, np.stack([face_in(t) for t in range(FRAMES)]))
    changes = {"landmark_params": {"backend": "files", "follow": "files"}}
    run(own_release, tmp_path / "out", **changes)
    row = rows_of(tmp_path / "out")["sub01_a"]
    assert row["landmarks"] == "file"
    found = np.load(tmp_path / "out" / "landmarks" / "sub01_a.npy") * float(row["to_release_a"])
    truth = np.stack([face_in(t) for t in range(1, FRAMES)]) - [float(row["to_release_c"]), float(row["to_release_d"])]
    np.testing.assert_allclose(found, truth, atol=1e-4)
    assert "expected a row for every frame with `follow: files`, got 1" in report_of(tmp_path / "out")


class Finder:
    """A detector that finds the face, except in the second frame that it sees."""

    seen: list[np.ndarray] = []

    def detect(self, image: np.ndarray, box: np.ndarray | None = None) -> np.ndarray:
        self.seen.append(image)
        if len(self.seen) == 2:
            raise ValueError("no face was found in the 250 x 250 image")
        return face_in(1)


def test_only_the_onset_frame_is_searched_and_only_once(release, tmp_path, monkeypatch):
    def load(backend: str, device: Callable[[], str]) -> Finder:
        assert backend == "mesh" or device() in ("cpu", "cuda:0")
        return Finder()

    monkeypatch.setattr("preparation.onset.load_landmark_detector", load)
    monkeypatch.setattr(Finder, "seen", [])
    changes = {"landmark_params": {"backend": "face-alignment"}}
    run(release, tmp_path / "out", **changes)
    assert set(rows_of(tmp_path / "out")) == {"sub01_a", "sub03_c"}
    assert "no face was found in the 250 x 250 image" in report_of(tmp_path / "out")
    assert len(Finder.seen) == 3
    np.testing.assert_array_equal(Finder.seen[0], iio.imread(release.clips[0].frames[1]))
    run(release, tmp_path / "out", crop_params={"size": 64}, **changes)
    assert len(Finder.seen) == 3
    run(release, tmp_path / "out", landmark_params={})
    assert len(Finder.seen) == 6, "the default is another detector"


# --- action units -----------------------------------------------------------------------------------------------------


def test_tables_of_the_user_take_precedence_over_codes(own_release, tmp_path):
    table = tmp_path / "tables"
    table.mkdir()
    for name in ("sub01_a", "Sub2_b"):
        write_action_units(table / f"{name}.csv", FRAMES)
    run(own_release, tmp_path / "out", au_params={"dir": str(table)})
    units = read_action_units(tmp_path / "out" / "au" / "sub01_a.csv", 5)
    np.testing.assert_allclose(units[:, ACTION_UNITS.index(12), 0], np.arange(1, FRAMES) / (FRAMES - 1), atol=1e-4)
    rows = rows_of(tmp_path / "out")
    assert (rows["sub01_a"]["action_units"], rows["sub03_c"]["action_units"]) == ("table", "code")
    assert "Sub2_b.csv, which differs in padding or case; rename it" in report_of(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said", "peak"),
    [
        ({"facs": "L12+24"}, "AU24 left out", 2),
        ({"facs": "L12 or 14"}, "AU14 left out", 2),
        ({"facs": "12", "offset": None}, "no offset: the last frame, 51", 2),
        ({"facs": "12", "apex": 51}, "", 4),
    ],
)
def test_decisions_about_incomplete_codes_get_a_remark(release, tmp_path, changes, said, peak):
    run(replace(release, clips=(replace(release.clips[0], **changes), *release.clips[1:])), tmp_path / "out")
    row = rows_of(tmp_path / "out")["sub01_a"]
    assert said in row["remarks"]
    units = read_action_units(tmp_path / "out" / "au" / "sub01_a.csv", 5)[:, ACTION_UNITS.index(12), 0]
    assert units.argmax() == peak
    assert units.max() == pytest.approx(0.4)


def test_a_missing_apex_is_where_the_face_is_farthest_from_the_onset(release):
    record = replace(release.clips[0], apex=None)
    landmarks = np.stack([face_in(t) + [9 * t, 0] for t in range(5)])
    landmarks[3, 48:] += [0, 2]
    timing = clip_timing(record, trim=True, length=None)
    units = coded_curves(record, timing, landmarks, 2.0)
    assert units.values[:, ACTION_UNITS.index(12), 0].argmax() == 3
    assert [remark.done for remark in units.remarks] == ["frame 50, in which the landmarks are farthest from the onset"]


@pytest.mark.parametrize("facs", ["x", "12=9"])
def test_an_unreadable_code_leaves_out_the_table_but_not_the_clip(release, tmp_path, facs):
    run(replace(release, clips=(replace(release.clips[0], facs=facs), *release.clips[1:])), tmp_path / "out")
    row = rows_of(tmp_path / "out")["sub01_a"]
    assert row["action_units"] == ""
    assert f"FACS code '{facs}'" in row["remarks"]
    assert not (tmp_path / "out" / "au" / "sub01_a.csv").exists()


# --- splits -----------------------------------------------------------------------------------------------------------


def test_another_split_moves_frames_without_making_any(release, output, tmp_path):
    before = times(output)
    (tmp_path / "list.txt").write_text("sub01\nsub02_b\n")
    run(release, output, split_params={"by": "list", "test_list": str(tmp_path / "list.txt")})
    assert sorted(p.name for p in (output / "test").iterdir()) == ["sub01_a", "sub02_b"]
    assert sorted(p.name for p in (output / "train").iterdir()) == ["sub03_c"]
    inodes = {inode for _, inode in before.values()}
    assert {times(output)[f"test/sub01_a/{t:04d}.png"][1] for t in range(5)} <= inodes
    pairs = list(csv.DictReader((output / "pairs.csv").open()))
    assert pairs == [{"source": "sub02_b", "driving": "sub01_a"}, {"source": "sub01_a", "driving": "sub02_b"}]
    assert sorted(p.name for p in (output / "splits").iterdir()) == ["sub01.txt", "sub02.txt", "sub03.txt"]
    run(release, output, split_params={"by": "list", "test_list": str(output / "splits" / "sub03.txt")})
    assert [p.name for p in (output / "test").iterdir()] == ["sub03_c"]
    (tmp_path / "list.txt").write_text("casme2,sub01,a,1\nsmic,s01,s01_ne_01,0\n")
    run(release, output, split_params={"by": "list", "test_list": str(tmp_path / "list.txt")})
    assert [p.name for p in (output / "test").iterdir()] == ["sub01_a"]
