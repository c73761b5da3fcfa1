import csv
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import animate
import run
from output.video import difference_image, resize_to_height
from tests.conftest import FRAMES, SIZE, face_landmarks, smooth_picture, write_clip

ROOT = Path(__file__).parents[1]
WITH_HEAD_MOTION = ("--set", "animate_params.remove_head_motion=false")  # the clips slide as a whole


def main(*arguments) -> int:
    return run.main([str(argument) for argument in arguments])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def trained(clips_root, write_experiment, tmp_path, checkpoint_once):
    """A tiny experiment and its checkpoint."""
    folder = tmp_path / "log" / "run"
    folder.mkdir(parents=True)
    return write_experiment(clips_root), shutil.copy(checkpoint_once, folder / checkpoint_once.name)


def test_every_pair_gets_frames_videos_keypoints_and_a_row(trained):
    experiment, checkpoint = trained
    assert main("--config", experiment, "--mode", "animate", "--checkpoint", checkpoint, *WITH_HEAD_MOTION) == 0
    folder = checkpoint.parent / "animation"
    table = rows(folder / "results.csv")
    assert {(row["driving"], row["source"]) for row in table} == {("006", "022_3_3"), ("022_3_3", "006")}
    for row in table:
        name = f"{row['driving']}-{row['source']}"
        assert row["folder"] == name
        assert (row["frames"], row["fps"], row["video"]) == (str(FRAMES), "100.0", f"{name}.mp4")
        assert len(list((folder / name).glob("*.png"))) == FRAMES
        assert (folder / f"{name}_comparison.mp4").exists()
        keypoints = np.load(folder / f"{name}_keypoints.npy")
        assert keypoints.shape == (FRAMES, 50, 2)
        shift = (keypoints[-1] - keypoints[0]) / 2 * (SIZE - 1)
        np.testing.assert_allclose(shift, np.broadcast_to([2, 0], shift.shape), atol=0.01)
        assert float(row["largest_motion"]) == pytest.approx(2 / (SIZE - 1), abs=1e-3)
        assert row["apex"] == "4"  # the picture slides by a pixel in every second frame
    sheet = iio.imread(folder / "contact_sheet.png")
    assert sheet.shape[0] > 2 * 256
    assert sheet.shape[1] == 6 * 256
    assert iio.immeta(folder / table[0]["video"], plugin="pyav", exclude_applied=False)["fps"] == 100


def test_a_second_run_makes_only_what_is_missing_or_changed(trained, monkeypatch):
    experiment, checkpoint = trained
    made = []
    original = animate._animate_pair

    def counting(*arguments):
        made.append(1)
        return original(*arguments)

    monkeypatch.setattr(animate, "_animate_pair", counting)
    command = ("--config", experiment, "--mode", "animate", "--checkpoint", checkpoint)
    assert main(*command, "--set", "animate_params.num_pairs=1") == 0
    assert len(made) == 1
    assert main(*command) == 0
    assert len(made) == 2, "the first pair was there"
    assert main(*command) == 0
    assert len(made) == 2
    shutil.rmtree(checkpoint.parent / "animation" / "006-022_3_3")
    assert main(*command) == 0
    assert len(made) == 3, "its frames are gone"
    assert main(*command, "--set", "animate_params.normalization_params.adapt_movement_scale=false") == 0
    assert len(made) == 5, "other settings, other results"
    assert len(rows(checkpoint.parent / "animation" / "results.csv")) == 2


@pytest.mark.parametrize("keypoints", ["landmarks", "learned"])
def test_modes_of_animation(clips_root, write_experiment, tmp_path, keypoints):
    experiment = write_experiment(clips_root)
    changes = ["train_params.num_epochs=1", "train_params.num_repeats=1", f"model_params.keypoints={keypoints}"]
    changes = [part for change in changes for part in ("--set", change)]
    main("--config", experiment, "--log-dir", tmp_path / "log", *changes)
    (checkpoint,) = (tmp_path / "log").glob("*/00000000-checkpoint.pth.tar")
    command = ("--config", experiment, "--mode", "animate", "--checkpoint", checkpoint, *changes)
    found = {}
    for mode in ("relative", "standard"):
        assert main(*command, "--set", f"animate_params.mode={mode}", "--set", "animate_params.format=.png") == 0
        found[mode] = np.load(checkpoint.parent / "animation" / "006-022_3_3_keypoints.npy")
        assert np.ptp(found[mode], axis=0).max() > 0
    assert keypoints == "landmarks" or np.abs(found["relative"] - found["standard"]).max() > 0


@pytest.fixture
def with_action_units(clips_root, write_experiment, tmp_path):
    """The command that animates with a tiny network which takes action units; `022_3_3` has no table."""
    (clips_root / "au" / "022_3_3.csv").unlink()
    experiment = write_experiment(clips_root)
    arguments = ["--config", experiment, "--set", "model_params.au_conditioning=concat"]
    assert main(*arguments, "--log-dir", tmp_path / "log", "--set", "train_params.num_epochs=1") == 0
    (checkpoint,) = (tmp_path / "log").glob("*/00000000-checkpoint.pth.tar")
    return [*arguments, "--mode", "animate", "--checkpoint", checkpoint], checkpoint.parent / "animation"


def test_only_driving_clips_need_action_units(with_action_units, clips_root, caplog):
    command, folder = with_action_units
    pairs = clips_root / "pairs.csv"
    pairs.write_text("source,driving\n022_3_3,006\n006,006\n", encoding="utf-8")
    assert main(*command, "--set", f"dataset_params.pairs_list={pairs}") == 0
    assert [row["source"] for row in rows(folder / "results.csv")] == ["022_3_3", "006"]
    assert main(*command) == 2
    assert "clip 022_3_3: expected" in caplog.text


def test_a_clip_that_was_a_source_still_drives_with_its_action_units(with_action_units, clips_root, monkeypatch):
    command, folder = with_action_units
    pairs = clips_root / "pairs.csv"
    pairs.write_text("source,driving\n006,006\n", encoding="utf-8")
    loaded = []
    original = animate._animate_pair

    def watching(*arguments):
        loaded.append(arguments[4])
        return original(*arguments)

    monkeypatch.setattr(animate, "_animate_pair", watching)
    assert main(*command, "--set", f"dataset_params.pairs_list={pairs}") == 0
    (job,) = loaded
    assert job.source.action_units is None
    assert job.driving.action_units[-1, 8].tolist() == [1, 1]


def test_the_driving_clips_action_units_can_be_given_by_hand(with_action_units, loose, clips_root, tmp_path, caplog):
    command, _ = with_action_units
    command = [*command, *files(loose), "--set", "dataset_params.au_dir=null"]
    assert main(*command, "--result", tmp_path / "none.mp4") == 2
    assert "clip clip: expected action units" in caplog.text
    assert "--driving-au" in caplog.text
    table = clips_root / "au" / "006.csv"
    still = tmp_path / "still.csv"
    header, first, *others = table.read_text(encoding="utf-8").splitlines()
    same = [", ".join([line.split(", ")[0], *first.split(", ")[1:]]) for line in others]
    still.write_text("\n".join([header, first, *same]), encoding="utf-8")
    for name, path in (("moves", table), ("still", still)):
        assert main(*command, "--result", tmp_path / f"{name}.mp4", "--driving-au", path) == 0
    moves, none = (
        [iio.imread(tmp_path / f"{name}_frames" / f"{t:04d}.png") for t in range(FRAMES)] for name in ("moves", "still")
    )
    np.testing.assert_array_equal(moves[0], none[0])
    assert (moves[-1] != none[-1]).any(), "the action units change the picture"
    assert main(*command, "--result", tmp_path / "x.mp4", "--driving-au", tmp_path / "absent.csv") == 2
    assert "absent.csv: no such file" in caplog.text


def test_avd_needs_its_network_and_uses_it(trained, caplog, tmp_path):
    experiment, checkpoint = trained
    command = ["--config", experiment, "--mode", "animate", "--set", "animate_params.mode=avd"]
    contents = checkpoint.parent / "without.pth.tar"
    import torch

    from core.checkpoints import read_checkpoint

    torch.save({key: value for key, value in read_checkpoint(checkpoint).items() if key != "avd_network"}, contents)
    assert main(*command, "--checkpoint", contents) == 2
    assert "has no avd_network, which animate_params.mode `avd` needs; run --mode train_avd" in caplog.text
    assert (
        main("--config", experiment, "--mode", "train_avd", "--checkpoint", checkpoint, "--log-dir", tmp_path / "avd")
        == 0
    )
    (trained_avd,) = (tmp_path / "avd").glob("*/*-checkpoint.pth.tar")
    assert main(*command, "--checkpoint", trained_avd) == 0


@pytest.mark.parametrize("head", ["true", "false"])
def test_optical_flow_moves_the_face(trained, head):
    experiment, checkpoint = trained
    flow = ["--set", "animate_params.motion=flow", "--set", f"animate_params.remove_head_motion={head}"]
    assert main("--config", experiment, "--mode", "animate", "--checkpoint", checkpoint, *flow) == 0
    (row, _) = rows(checkpoint.parent / "animation" / "results.csv")
    shift = np.load(checkpoint.parent / "animation" / f"{row['folder']}_keypoints.npy")
    moved = np.abs(shift - shift[0]).max() * (SIZE - 1) / 2
    assert moved == pytest.approx(0 if head == "true" else 2, abs=0.05)  # the clips slide by two pixels as a whole


def test_the_warp_family_needs_no_checkpoint_and_starts_at_the_source(warp_experiment, clips_root, tmp_path):
    command = ("--config", warp_experiment, "--mode", "animate", "--log-dir", tmp_path / "log")
    assert main(*command, *WITH_HEAD_MOTION) == 0
    folder = tmp_path / "log" / "warp" / "animation"
    source = iio.imread(clips_root / "test" / "022_3_3" / "img1.png")
    first, last = (iio.imread(folder / "006-022_3_3" / f"{t:04d}.png").astype(int) for t in (0, FRAMES - 1))
    assert np.abs(first - source).max() <= 1
    inner = slice(16, 48)
    moved = np.roll(source, 2, axis=1).astype(int)
    assert np.abs(last - moved)[inner, inner].mean() < 2, "the whole face slides by two pixels"
    assert np.abs(last - first)[inner, inner].mean() > 5


@pytest.mark.parametrize(("reference", "apex"), [(0, 4), (5, 0)])  # the clips slide by 0, 0, 1, 1, 2, 2 pixels
def test_the_contact_sheet_shows_reference_and_apex_frame_of_both_clips(
    warp_experiment, clips_root, tmp_path, reference, apex
):
    command = ("--config", warp_experiment, "--mode", "animate", "--log-dir", tmp_path / "log")
    assert main(*command, "--reference-frame", reference) == 0
    folder = tmp_path / "log" / "warp" / "animation"
    sheet, height, text = iio.imread(folder / "contact_sheet.png"), 256, 26
    for number, row in enumerate(rows(folder / "results.csv")):
        assert row["apex"] == str(apex)
        driving = clips_root / "test" / row["driving"]
        expected = []
        for paths in (
            [driving / f"img{t + 1}.png" for t in (reference, apex)],
            [folder / row["folder"] / f"{t:04d}.png" for t in (reference, apex)],
        ):
            onset, strongest = (resize_to_height(iio.imread(path), height) for path in paths)
            expected += [onset, strongest, difference_image(onset, strongest)]
        top = 2 * text + number * (text + height)
        np.testing.assert_array_equal(sheet[top : top + height], np.concatenate(expected, axis=1))


def test_the_driving_clip_decides_the_length(warp_experiment, clips_root, tmp_path):
    longer = write_clip(clips_root / "test", "longer", 7, frames=FRAMES + 3)
    np.save(clips_root / "landmarks" / "longer.npy", longer)
    assert main("--config", warp_experiment, "--mode", "animate", "--log-dir", tmp_path / "log") == 0
    folder = tmp_path / "log" / "warp" / "animation"
    assert len(list((folder / "longer-006").iterdir())) == FRAMES + 3
    assert len(list((folder / "006-longer").iterdir())) == FRAMES


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """A picture, a video and their landmark files, without any data set."""
    folder = tmp_path_factory.mktemp("loose")
    landmarks = write_clip(folder, "frames", 5)
    frames = [iio.imread(folder / "frames" / f"img{t + 1}.png") for t in range(FRAMES)]
    iio.imwrite(folder / "clip.mp4", frames, plugin="pyav", codec="libx264", fps=50)
    iio.imwrite(folder / "face.png", smooth_picture(np.random.default_rng(9), 100))
    np.savetxt(folder / "face.csv", face_landmarks(100), delimiter=",")
    np.save(folder / "clip.npy", landmarks)
    return folder


def files(loose: Path) -> list:
    return [
        *("--source", loose / "face.png", "--driving", loose / "clip.mp4"),
        *("--source-landmarks", loose / "face.csv", "--driving-landmarks", loose / "clip.npy"),
    ]


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_one_picture_and_one_clip_without_a_data_set(loose, tmp_path, suffix):
    result = tmp_path / "new" / f"out.{suffix}"
    config = ROOT / "config/warp-256.yaml"
    small = ("--set", "dataset_params.frame_shape=[64, 64, 3]")
    assert main("--config", config, "--mode", "animate", *files(loose), "--result", result, *small) == 0
    assert result.exists()
    assert len(list((tmp_path / "new" / "out_frames").glob("*.png"))) == FRAMES


def test_the_reference_frame_is_the_one_that_does_not_move(loose, warp_experiment, tmp_path):
    command = ("--config", warp_experiment, "--mode", "animate", *files(loose), "--result", tmp_path / "out.mp4")
    assert main(*command, "--reference-frame", 3, *WITH_HEAD_MOTION) == 0
    frames = [iio.imread(tmp_path / "out_frames" / f"{t:04d}.png").astype(int) for t in range(FRAMES)]
    source = iio.imread(loose / "face.png")
    import cv2

    still = cv2.resize(source, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert np.abs(frames[3] - still).max() <= 1
    assert np.abs(frames[0] - still).max() > 5


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("--result", "--result is required with --source and --driving"),
        ("--source-landmarks", "face.png: frame 0: no face was found in the 100 x 100 image"),
    ],
)
def test_what_is_missing_is_named(loose, warp_experiment, tmp_path, caplog, drop, message):
    arguments = [*files(loose), "--result", tmp_path / "out.mp4"]
    at = arguments.index(drop)
    del arguments[at : at + 2]
    detected = ("--set", "dataset_params.keypoint_dir=null")
    assert main("--config", warp_experiment, "--mode", "animate", *arguments, *detected) == 2
    assert message in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference-frame", 99], "expected a reference frame from 0 to 5, got 99"),
        (["--driving-landmarks", "absent.npy"], "absent.npy"),
        (["--result", "out.avi"], "expected a file ending in .mp4 or .gif"),
        (["--source", "absent.png"], "absent.png: no such clip"),
    ],
)
def test_bad_arguments_are_named(loose, warp_experiment, tmp_path, caplog, arguments, message):
    command = ["--config", warp_experiment, "--mode", "animate", *files(loose), "--result", tmp_path / "out.mp4"]
    assert main(*command, *arguments) == 2
    assert message in caplog.text


def test_a_family_without_networks_has_no_mode_avd(warp_experiment, tmp_path, caplog):
    command = ("--config", warp_experiment, "--mode", "animate", "--log-dir", tmp_path / "log")
    assert main(*command, "--set", "animate_params.mode=avd") == 2
    assert "warp: has no avd_network, which animate_params.mode `avd` needs" in caplog.text


def test_a_family_with_networks_needs_a_checkpoint(write_experiment, clips_root, caplog):
    assert main("--config", write_experiment(clips_root), "--mode", "animate") == 2
    assert "--checkpoint is required to generate clips with the family `tps`" in caplog.text


def test_bad_clips_stop_the_run_or_are_left_out(warp_experiment, clips_root, tmp_path, caplog):
    np.save(clips_root / "landmarks" / "third.npy", write_clip(clips_root / "test", "third", 7))
    (clips_root / "landmarks" / "006.npy").unlink()
    command = ("--config", warp_experiment, "--mode", "animate", "--log-dir", tmp_path / "log")
    assert main(*command) == 2
    assert "clip 006: expected" in caplog.text
    caplog.set_level("INFO")
    assert main(*command, "--set", "dataset_params.on_bad_clip=skip") == 0
    assert "2 clips in" in caplog.text
    assert "4 left out" in caplog.text


def test_reconstruction_measures_against_the_static_copy(trained):
    experiment, checkpoint = trained
    assert main("--config", experiment, "--mode", "reconstruction", "--checkpoint", checkpoint) == 0
    folder = checkpoint.parent / "reconstruction"
    table = rows(folder / "results.csv")
    assert [row["clip"] for row in table] == ["006", "022_3_3"]
    for row in table:
        assert len(list((folder / row["clip"]).glob("*.png"))) == FRAMES
        assert 0 < float(row["static_l1"]) < 0.2
        assert 0 < float(row["ssim"]) < 1
        assert float(row["psnr"]) > 5
