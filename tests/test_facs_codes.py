import csv
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import run
from faces.au_geometry import displace
from faces.facs import intensity_curves, parse_code
from generation import facs_codes as animate_codes
from modules.warp.model import WarpModel
from tests.conftest import FRAMES, SIZE, face_landmarks, smooth_picture, write_action_units

CODE = ("--au", "AU4=2.0,AU7=1.5,L12=1", "--onset", 2, "--apex", 5, "--offset", 9, "--fps", 50)


def main(*arguments) -> int:
    return run.main([str(argument) for argument in arguments])


@pytest.fixture
def face(tmp_path) -> Path:
    """A picture and its landmarks, larger than the frames."""
    folder = tmp_path / "loose"
    folder.mkdir()
    iio.imwrite(folder / "face.png", smooth_picture(np.random.default_rng(9), 100))
    np.savetxt(folder / "face.csv", face_landmarks(100), delimiter=",")
    return folder / "face.png"


def given(face: Path) -> tuple:
    return ("--source", face, "--source-landmarks", face.with_suffix(".csv"))


@pytest.fixture
def command(warp_experiment, tmp_path) -> tuple:
    return ("--config", warp_experiment, "--mode", "animate", "--log-dir", tmp_path / "log")


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_code_moves_a_picture(command, face, tmp_path, suffix):
    result = tmp_path / "new" / f"out.{suffix}"
    assert main(*command, *CODE, *given(face), "--result", result) == 0
    frames = [iio.imread(path).astype(int) for path in sorted((tmp_path / "new" / "out_frames").iterdir())]
    assert len(frames) == 11, "offset + onset"
    if suffix == "mp4":
        assert iio.immeta(result, plugin="pyav", exclude_applied=False)["fps"] == 50
    changed = [np.abs(frame - frames[0]).max() for frame in frames]
    assert np.flatnonzero(changed).tolist() == [3, 4, 5, 6, 7, 8]
    assert np.argmax([np.abs(frame - frames[0]).sum() for frame in frames]) == 5


def test_keypoints_are_the_table_applied_to_the_source(command, face, tmp_path):
    source = face.with_name("list.csv")
    source.write_text("source,au,onset,apex,offset,name\nface,L12E,1,3,6,smile\n", encoding="utf-8")
    landmarks = tmp_path / "data" / "landmarks" / "face.csv"
    landmarks.write_bytes(face.with_suffix(".csv").read_bytes())
    assert main(*command, "--au-list", source) == 0
    keypoints = np.load(tmp_path / "log" / "warp" / "animation" / "smile_keypoints.npy")
    curves = intensity_curves(parse_code("L12E"), 1, 3, 6, 7)
    expected = displace(face_landmarks(100), curves)
    np.testing.assert_allclose((keypoints + 1) / 2 * (SIZE - 1), (expected + 0.5) * SIZE / 100 - 0.5, atol=1e-4)
    moved = np.ptp(keypoints, axis=0).any(-1)
    assert moved[54]
    assert not moved[48]


def test_frames_and_fps_may_be_left_to_defaults_or_given(command, face, tmp_path):
    short = [*CODE[:-2], "--frames", 10]
    assert main(*command, *short, *given(face), "--result", tmp_path / "out.mp4") == 0
    assert len(list((tmp_path / "out_frames").iterdir())) == 10
    assert iio.immeta(tmp_path / "out.mp4", plugin="pyav", exclude_applied=False)["fps"] == 100, "dataset_params.fps"


def test_parts_of_a_code_that_cannot_be_used_are_left_out_with_a_warning(command, codes, face, tmp_path, caplog):
    code = ("--au", "R12 or 14 + soft focus", *CODE[2:])
    assert main(*command, *code, *given(face), "--result", tmp_path / "out.mp4") == 0
    first, apex = (iio.imread(tmp_path / "out_frames" / f"{t:04d}.png").astype(int) for t in (0, 5))
    assert np.abs(apex - first).max() > 0
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "--au R12 or 14 + soft focus: 'soft focus' left out: no action unit" in warnings
    assert "--au R12 or 14 + soft focus: first alternative used; AU14 left out" in warnings
    caplog.clear()
    text = codes.read_text(encoding="utf-8").replace("R12 or R14", "R12+AD38")
    codes.write_text(text, encoding="utf-8")
    assert main(*command, "--au-list", codes) == 0
    assert f"{codes}: line 5: FACS code R12+AD38: AD38 left out, because no network uses it" in caplog.text


def test_units_without_intensity_take_the_arguments(command, face, tmp_path):
    changes = []
    for intensity in (1, 4):
        code = ("--au", "12", *CODE[2:], "--au-intensity", intensity)
        assert main(*command, *code, *given(face), "--result", tmp_path / "out.mp4") == 0
        first, apex = (iio.imread(tmp_path / "out_frames" / f"{t:04d}.png").astype(int) for t in (0, 5))
        changes.append(np.abs(apex - first).sum())
    assert changes[1] > 2 * changes[0]


def test_models_get_the_change_of_the_action_units(command, face, tmp_path, monkeypatch):
    given_units = []
    original = WarpModel.generate

    def recording(self, encoded, motion_source, motion_driving, condition=None):
        given_units.append(condition.au_diff)
        return original(self, encoded, motion_source, motion_driving, condition)

    monkeypatch.setattr(WarpModel, "generate", recording)
    write_action_units(face.with_name("smile.csv"), FRAMES)
    lines = face.with_name("smile.csv").read_text().splitlines()
    half_smile = [lines[0], *lines[4:]]  # begins at an intensity of 3
    numbered = [half_smile[0]] + [f"{t}{line[line.index(',') :]}" for t, line in enumerate(half_smile[1:], 1)]
    face.with_name("smile.csv").write_text("\n".join(numbered) + "\n", encoding="utf-8")
    table = face.with_name("list.csv")
    table.write_text("source,au,onset,apex,offset,curves\n022_3_3,,,,,smile.csv\n", encoding="utf-8")
    assert main(*command, "--au-list", table) == 0
    au_diff = np.concatenate(given_units)
    assert au_diff.shape == (3, 17, 2)
    np.testing.assert_allclose(au_diff[:, 8, 0], [0, 0.2, 0.4], atol=1e-6)
    folder = tmp_path / "log" / "warp" / "animation"
    keypoints = np.load(folder / "smile-022_3_3_keypoints.npy")
    np.testing.assert_allclose((keypoints[0] + 1) / 2 * (SIZE - 1), face_landmarks(), atol=1e-4)
    assert len(list((folder / "smile-022_3_3").iterdir())) == 3


@pytest.fixture
def codes(face) -> Path:
    """A list with a code of the command line, one of a data set, and curves."""
    write_action_units(face.with_name("curves.csv"), 7)
    path = face.with_name("codes.csv")
    path.write_text(
        "source,au,onset,apex,offset,frames,fps,name,curves,emotion\n"
        "022_3_3,4+L7B,1,3,6,,,,,disgust\n"
        '006,"AU12=2,AU25=1",1,3,6,12,50,smile,,happiness\n'
        "\n"
        "006,R12 or R14,1,3,6,,,,,\n"
        "022_3_3,,,,,,,,curves.csv,\n",
        encoding="utf-8",
    )
    return path


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_list_of_codes(command, codes, tmp_path):
    assert main(*command, "--au-list", codes) == 0
    folder = tmp_path / "log" / "warp" / "animation"
    table = table_of(folder)
    assert [(r["source"], r["au"], r["onset"], r["apex"], r["offset"], r["frames"], r["fps"]) for r in table] == [
        ("022_3_3", "4+L7B", "1", "3", "6", "7", "100.0"),
        ("006", "AU12=2,AU25=1", "1", "3", "6", "12", "50.0"),
        ("006", "R12 or R14", "1", "3", "6", "7", "100.0"),
        ("022_3_3", "curves.csv", "", "6", "", "7", "100.0"),
    ]
    names = ["4+L7B-022_3_3", "smile", "R12_or_R14-006", "curves-022_3_3"]
    assert [r["folder"] for r in table] == names
    for row in table:
        assert len(list((folder / row["folder"]).glob("*.png"))) == int(row["frames"])
        assert (folder / row["video"]).exists()
        assert np.load(folder / f"{row['folder']}_keypoints.npy").shape == (int(row["frames"]), 68, 2)
        assert float(row["largest_motion"]) > 0.001
    sheet = iio.imread(folder / "contact_sheet.png")
    assert sheet.shape[0] > 4 * 256
    assert sheet.shape[1] == 3 * 256, "there is no driving clip to show"


def test_a_second_run_makes_only_what_changed(command, codes, monkeypatch):
    made = []
    original = animate_codes.write_result
    monkeypatch.setattr(animate_codes, "write_result", lambda *a: made.append(a[0].name) or original(*a))
    assert main(*command, "--au-list", codes, "--set", "animate_params.num_pairs=2") == 0
    assert made == ["4+L7B-022_3_3", "smile"]
    assert main(*command, "--au-list", codes) == 0
    assert len(made) == 4
    assert main(*command, "--au-list", codes, "--au-intensity", 3) == 0
    assert made[4:] == ["4+L7B-022_3_3", "R12_or_R14-006"], "only they have units without intensity"
    codes.write_text(codes.read_text(encoding="utf-8").replace("1,3,6,12,50", "1,4,6,12,50"), encoding="utf-8")
    assert main(*command, "--au-list", codes, "--au-intensity", 3) == 0
    assert made[6:] == ["smile"]


def test_pairs_and_codes_share_a_folder(command, codes, tmp_path):
    assert main(*command) == 0
    assert main(*command, "--au-list", codes) == 0
    assert len(table_of(tmp_path / "log" / "warp" / "animation")) == 2 + 4


def test_sources_without_landmarks_stop_the_run_or_are_left_out(command, codes, tmp_path, caplog):
    (tmp_path / "data" / "landmarks" / "006.npy").unlink()
    assert main(*command, "--au-list", codes) == 2
    assert "clip 006: expected" in caplog.text
    caplog.set_level("INFO")
    assert main(*command, "--au-list", codes, "--set", "dataset_params.on_bad_clip=skip") == 0
    assert "2 left out" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--au", "AU99=1"], "--au: FACS code 'AU99=1': expected action units among 1, 2, 4"),
        (["--au", "24+38"], "--au: FACS code '24+38': expected action units among 1, 2, 4"),
        (["--frames", 10**12], "--au: expected at most 10000 frames, got 1000000000000"),
        (["--onset", 10**9, "--apex", 2 * 10**9, "--offset", 3 * 10**9], "--au: expected at most 10000 frames"),
        (["--au", ""], "--au: FACS code '': expected action units"),
        (["--apex", 2], "--au: expected an apex after the onset, got apex 2 and onset 2"),
        (["--apex", 9], "--au: expected an offset after the apex, got offset 9 and apex 9"),
        (["--onset", -1], "--au: expected an onset from 0, got -1"),
        (["--frames", 9], "--au: expected at least 10 frames for offset 9, got 9"),
        (["--fps", 0], "--fps: expected frames per second from 0.1 to 10,000, got 0"),
        (["--au-intensity", 6], "--au-intensity: expected 0 to 5, got 6"),
        (["--driving", "clip.mp4"], "--au and --driving: expected one of them, got both"),
        (["--au-list", "codes.csv"], "--au and --au-list: expected one of them, got both"),
        (["--reference-frame", 2], "--au and --reference-frame: expected one of them, got both"),
        (["--result", "out.avi"], "--result out.avi: expected a file ending in .mp4 or .gif"),
        (["--source", "absent.png"], "absent.png: no such clip"),
    ],
)
def test_bad_arguments_are_named(command, face, tmp_path, caplog, arguments, message):
    assert main(*command, *CODE, *given(face), "--result", tmp_path / "out.mp4", *arguments) == 2
    assert message in caplog.text
    assert "\n" not in caplog.records[-1].getMessage()


@pytest.mark.parametrize("missing", ["--source", "--result", "--onset", "--apex", "--offset"])
def test_what_is_missing_is_named(command, face, tmp_path, caplog, missing):
    arguments = [*CODE, *given(face), "--result", tmp_path / "out.mp4"]
    at = arguments.index(missing)
    del arguments[at : at + 2]
    assert main(*command, *arguments) == 2
    assert f"{missing} is required with --au" in caplog.text


def test_times_without_a_code_are_refused(command, caplog):
    assert main(*command, "--onset", 3) == 2
    assert "--onset has no meaning without --au" in caplog.text


@pytest.mark.parametrize("argument", [("--source", "face.png"), ("--onset", 3), ("--driving", "clip.mp4")])
def test_a_list_stands_alone(command, codes, caplog, argument):
    assert main(*command, "--au-list", codes, *argument) == 2
    assert f"--au-list and {argument[0]}: expected one of them, got both" in caplog.text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("006,4,two,3,6,,,,", "line 3: onset: expected a whole number, got 'two'"),
        ("006,4,1,2.5,6,,,,", "line 3: apex: expected a whole number, got '2.5'"),
        ("006,4,1,3,,,,,", "line 3: offset: expected a whole number, got ''"),
        ("006,4,1,3,6,many,,,", "line 3: frames: expected a whole number, got 'many'"),
        ("006,4,1,3,6,,fast,,", "line 3: fps: expected a number, got 'fast'"),
        ("006,4,1,3,6,,-5,,", "line 3: fps: expected frames per second from 0.1 to 10,000, got -5"),
        ("006,AU4=1,AU7=2,1,3,6,,,,", "line 3: onset: expected a whole number, got 'AU7=2'"),
        ("006,4,3,3,6,,,,", "line 3: expected an apex after the onset, got apex 3 and onset 3"),
        ("006,99,1,3,6,,,,", "line 3: FACS code '99': expected action units among"),
        ("006,4,1,3,6,10001,,,", "line 3: expected at most 10000 frames, got 10001"),
        ("006,?,1,3,6,,,,", "line 3: FACS code '?': expected action units"),
        ("nobody,4,1,3,6,,,,", "line 3: 'nobody' is neither a test clip nor a clip beside the list"),
        (",4,1,3,6,,,,", "line 3: '' is neither a test clip"),
        ("006,12,1,3,6,,,,", "line 3: name '12-006' is also that of line 2; fill the column `name`"),
        ("006,4,1,3,6,,,../up,", "line 3: name: expected letters, digits"),
        ("006,4,,,,,,,curves.csv", "line 3: expected `curves` or `au`, got both"),
        ("006,,,,,9,,,curves.csv", "line 3: expected `curves` or `frames`, got both"),
        ("006,,,,,,,,absent.csv", "absent.csv: no such file"),
    ],
)
def test_bad_rows_are_named_with_their_line(command, codes, caplog, row, message):
    text = f"source,au,onset,apex,offset,frames,fps,name,curves\n006,12,1,3,6,,,,\n{row}\n"
    codes.write_text(text, encoding="utf-8")
    assert main(*command, "--au-list", codes) == 2
    assert message in caplog.text
    assert "codes.csv: line 3: " in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,au,onset,offset\n006,4,1,6\n", "expected the columns source,au,onset,apex,offset; found source, au"),
        ("", "codes.csv: expected a table, found an empty file"),
        (None, "codes.csv: no such file"),
    ],
)
def test_a_bad_list_is_named(command, codes, caplog, text, message):
    codes.unlink() if text is None else codes.write_text(text, encoding="utf-8")
    assert main(*command, "--au-list", codes) == 2
    assert message in caplog.text


@pytest.mark.parametrize("keypoints", ["landmarks", "learned"])
def test_families_with_networks_follow_codes_where_landmarks_move_them(
    clips_root, write_experiment, codes, tmp_path, caplog, keypoints
):
    experiment = write_experiment(clips_root)
    changes = ["train_params.num_epochs=1", "train_params.num_repeats=1", f"model_params.keypoints={keypoints}"]
    changes = [part for change in changes for part in ("--set", change)]
    main("--config", experiment, "--log-dir", tmp_path / "log", *changes)
    (checkpoint,) = (tmp_path / "log").glob("*/00000000-checkpoint.pth.tar")
    command = ("--config", experiment, "--mode", "animate", "--checkpoint", checkpoint, *changes)
    status = main(*command, "--au-list", codes, "--set", "animate_params.motion=flow")
    if keypoints == "learned":
        assert status == 2
        assert "expected a model whose motion comes from landmarks (`warp`, or `tps` with" in caplog.text
    else:
        assert status == 0
        keypoints = np.load(checkpoint.parent / "animation" / "smile_keypoints.npy")
        assert keypoints.shape == (12, 50, 2)
        assert np.ptp(keypoints, axis=0).max() > 0


@pytest.mark.parametrize("text", ["AU4=2,5", "AU4=2\N{FULLWIDTH COMMA}5", "AU4=2,5,AU7=1,5"])
def test_a_comma_that_may_be_decimal_is_refused(text):
    message = r"AU4: expected a decimal point \(2\.5\) or \+ between action units \(2\+AU5\), got '2,5'"
    with pytest.raises(ValueError, match=message):
        parse_code(text)
    with pytest.raises(ValueError, match=message):
        parse_code(text, others="leave_out")


def test_a_comma_that_may_be_decimal_leaves_the_rest_of_the_code():
    notices: list[str] = []
    units = parse_code("AU4=1,25+AU7=1", others="leave_out", notice=notices.append)
    assert [(unit.au, unit.intensity) for unit in units] == [(7, 0.2)]
    assert len(notices) == 1
    assert "1,25" in notices[0]


@pytest.mark.parametrize("text", ["AU4=2, 5", "AU4=2,L5", "AU4=2,5=1", "AU4=2,5C", "AU4=2+5", "AU4=2,AU5"])
def test_commas_that_cannot_be_decimal_separate(text):
    assert [unit.au for unit in parse_code(text)] == [4, 5]
