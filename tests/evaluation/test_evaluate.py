"""`--mode evaluate` on folders of results: names, formats, bad input, tables and report."""

import csv
import pickle
import re
import shutil
from functools import partial
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest

import run
from clips.reading import ClipError
from config.evaluation import EvaluateParams
from config.sections import DatasetParams
from evaluation import jobs
from evaluation.jobs import Settings, evaluate_pair
from evaluation.result_clips import find_results, read_pairs
from evaluation.run import make_jobs
from output.video import write_video
from tests.conftest import ROOT
from tests.evaluation.faces import face_clip, photograph, strength

SIDE, LENGTH = 96, 6


@pytest.fixture(autouse=True)
def _no_mesh(monkeypatch):
    """Landmarks come from files, because the mesh takes most of the time."""
    monkeypatch.setattr(jobs, "face_mesh", lambda: None)


def small(frames: np.ndarray, side: int = SIDE) -> list[np.ndarray]:
    """Frames of another size."""
    return [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames]


def write_folder(folder: Path, frames: list[np.ndarray]) -> None:
    """Write the frames of a clip."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        iio.imwrite(folder / f"{number:04d}.png", frame)


@pytest.fixture(scope="module")
def _data_once(tmp_path_factory) -> Path:
    """Two driving clips, a source, and the results of three systems in three formats."""
    root = tmp_path_factory.mktemp("evaluate")
    curve = strength(LENGTH, 2, 3.0)
    face, other = face_clip(curve=curve), face_clip("grace_hopper", curve=curve)
    write_folder(root / "clips" / "d1", small(face.frames))
    write_folder(root / "clips" / "d2", small(face_clip(parts=((51, 0.0, -0.05),), curve=curve).frames))
    iio.imwrite(root / "clips" / "face.png", small(other.frames)[0])
    for name, person in (("d1", "astronaut"), ("d2", "astronaut"), ("face", "grace_hopper")):
        points = (photograph(person)[1] + 0.5) * SIDE / 256 - 0.5
        np.save(root / "clips" / f"{name}.npy", points)
    (root / "clips" / "pairs.csv").write_text(
        "source,driving,emotion,au\nface,d1,happiness,1+12\nface,d2,surprise,25\n", encoding="utf-8"
    )
    good, weak = small(other.frames), small(face_clip("grace_hopper", curve=0.3 * curve).frames)
    write_folder(root / "results" / "folders" / "d1-face", good)
    write_video(root / "results" / "folders" / "d2-face.gif", weak, 25, crf=0)
    write_folder(root / "results" / "videos" / "d2-face", good)
    write_video(root / "results" / "videos" / "d1-face.mp4", weak, 25, crf=0)
    return root


@pytest.fixture
def data(_data_once, tmp_path) -> Path:
    """A copy for one test."""
    return Path(shutil.copytree(_data_once, tmp_path / "data"))


def evaluate(data: Path, *settings: str) -> int:
    """Evaluate the results in this process, without the slow methods; returns the exit status."""
    fast = ("flow_estimators=[dis]", "blendshapes=false", "workers=0", "references=false", *settings)
    arguments = ["--config", str(ROOT / "config" / "evaluate.yaml"), "--mode", "evaluate"]
    arguments += ["--results", str(data / "results"), "--pairs", str(data / "clips" / "pairs.csv")]
    return run.main([*arguments, *(word for s in fast for word in ("--set", f"evaluate_params.{s}"))])


def rows(name: str = "clips.csv") -> list[dict[str, str]]:
    """Rows of a table that the run wrote."""
    with Path("log", "results-evaluate", name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_formats_give_one_table_over_systems(data):
    assert evaluate(data, "references=true") == 0
    clips = {(row["system"], row["pair"]): row for row in rows()}
    assert len(clips) == 8
    good, weak = clips["folders", "d1-face"], clips["videos", "d1-face"]
    assert float(good["motion_corr_dis"]) > 0.8
    assert float(good["motion_gain_dis"]) > 2 * float(weak["motion_gain_dis"])
    static = clips["static copy", "d1-face"]
    assert (float(static["motion_error_dis"]), float(static["motion_corr_dis"])) == (1, 0)
    assert float(clips["registered driving flow", "d1-face"]["motion_corr_dis"]) > 0.8
    assert {row["emotion"] for row in clips.values()} == {"happiness", "surprise"}
    assert {row["system"] for row in rows("systems.csv")} == {system for system, _ in clips}
    assert "folders" in Path("log/results-evaluate/systems.tex").read_text(encoding="utf-8")
    page = Path("log/results-evaluate/report.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert page.count('<li class="result"') == 4


def test_jobs_and_outcomes_travel_between_processes(data):
    """A worker process gets a pickled job and sends a pickled outcome."""
    pairs, _ = read_pairs(data / "clips" / "pairs.csv", DatasetParams())
    (job, *_) = make_jobs(pairs, list(find_results(data / "results", pairs)))
    params = EvaluateParams(flow_estimators=("dis",), blendshapes=False, references=False)
    work, sent = pickle.loads(pickle.dumps((partial(evaluate_pair, Settings(params)), job)))
    outcome = pickle.loads(pickle.dumps(work(sent)))
    assert [judged.system for judged in outcome.judged] == ["folders", "videos"]
    assert [clip.path.name for clip in job.wrong] == ["d2"]


def test_the_report_begins_with_the_worst_clips_by_the_chosen_measure(data):
    evaluate(data, "worst_by=motion_error")
    page = Path("log/results-evaluate/report.html").read_text(encoding="utf-8")
    shown = re.findall(r"<h3>([\w-]+)</h3>\s*<p class=\"tags\"><span class=\"tag system\">(\w+)<", page)
    errors = {(row["pair"], row["system"]): float(row["motion_error_dis"]) for row in rows()}
    assert shown == sorted(errors, key=lambda clip: -errors[clip])
    assert '<option value="motion_error_dis" selected>' in page


def test_bad_results_have_one_line_each_and_the_rest_is_evaluated(data, caplog):
    results = data / "results"
    (results / "folders" / "d1-face" / "0003.png").unlink()
    (results / "videos" / "nonsense-name").mkdir()
    shutil.copy(data / "clips" / "face.png", results / "videos" / "nonsense-name" / "0000.png")
    (results / "videos" / "d1-face.mp4").write_bytes(b"no video")
    write_folder(results / "short" / "d1-face", small(face_clip("grace_hopper").frames[:5], 64))
    write_folder(
        results / "mixed" / "d1-face", [*small(face_clip("grace_hopper").frames[:3]), np.zeros((9, 9, 3), "u1")]
    )
    write_folder(results / "single" / "d2-face", small(face_clip("grace_hopper").frames[:1]))
    assert evaluate(data, "report_clips=0") == 0
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert all("\n" not in line for line in lines)
    expected = {
        "folders: d1-face: left out: .*frame 3 is missing": 1,
        "videos: nonsense-name matches no pair": 1,
        r"videos: d1-face: left out: .*d1-face\.mp4": 1,
        "short: d1-face: 5 frames, the driving clip has 6": 1,
        "mixed: d1-face: left out: .*frame 3 has 9 x 9 pixels": 1,
        "single: d2-face: left out: .*at least 3 frames, got 1": 1,
        "short: no result for 1 of 2 pairs: d2-face": 1,
    }
    found = {pattern: sum(bool(re.search(pattern, line)) for line in lines) for pattern in expected}
    assert found == expected
    assert {(row["system"], row["pair"]) for row in rows()} == {
        ("folders", "d2-face"),
        ("videos", "d2-face"),
        ("short", "d1-face"),
    }
    problems = Path("log/results-evaluate/problems.txt").read_text(encoding="utf-8")
    assert problems.count("\n") == len(lines)
    caplog.clear()
    evaluate(data, "report_clips=0", "max_problems=2")
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 3
    assert "problems.txt" in lines[-1]
    assert Path("log/results-evaluate/problems.txt").read_text(encoding="utf-8") == problems


def test_nothing_to_evaluate_ends_with_status_2(data, caplog):
    for path in (data / "results" / "folders" / "d1-face").iterdir():
        path.write_bytes(b"")
    shutil.rmtree(data / "results" / "videos")
    (data / "results" / "folders" / "d2-face.gif").unlink()
    assert evaluate(data) == 2
    assert "no result in" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "pairs.csv"], "expected --results"),
        (["--results", "results"], "expected --pairs"),
        (["--results", "nowhere", "--pairs", "PAIRS"], "no such folder of results"),
        (["--results", "results", "--pairs", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_missing_arguments_are_named_in_one_line(arguments, message, data, caplog):
    words = [str(data / "clips" / "pairs.csv") if word == "PAIRS" else word for word in arguments]
    assert run.main(["--config", str(ROOT / "config" / "evaluate.yaml"), "--mode", "evaluate", *words]) == 2
    assert message in caplog.records[-1].getMessage()
    assert "\n" not in caplog.records[-1].getMessage()


def test_rows_of_the_list_that_name_no_clip_are_left_out(data, caplog):
    with (data / "clips" / "pairs.csv").open("a", encoding="utf-8") as file:
        file.write("face,nobody,,\n")
    assert evaluate(data, "report_clips=0") == 0
    assert any("line 4: 'nobody'" in record.getMessage() for record in caplog.records)
    assert len(rows()) == 4


def test_results_of_animate_are_found_by_their_table(data):
    folder = data / "run" / "animation"
    shutil.copytree(data / "results" / "folders" / "d1-face", folder / "other_name")
    (folder / "other_name_comparison.mp4").write_bytes(b"")
    (folder / "results.csv").write_text("source,driving,folder\nface,d1,other_name\n", encoding="utf-8")
    pairs, problems = read_pairs(data / "clips" / "pairs.csv", DatasetParams())
    assert problems == []
    (found,) = find_results(folder, pairs)
    assert (found.system, [clip.path.name for clip in found.results.values()]) == ("run", ["other_name"])
    assert found.problems == ("run: no result for 1 of 2 pairs: d2-face",)
    (nested,) = find_results(data / "run", pairs)
    assert [clip.path.name for clip in nested.results.values()] == ["other_name"]


def test_an_empty_folder_of_results_is_an_error(data, tmp_path):
    pairs, _ = read_pairs(data / "clips" / "pairs.csv", DatasetParams())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClipError, match="no results"):
        list(find_results(tmp_path / "empty", pairs))


def test_a_clip_that_drives_itself_is_compared_with_the_truth(data):
    (data / "clips" / "pairs.csv").write_text("source,driving,name\nd1,d1,own\n", encoding="utf-8")
    shutil.rmtree(data / "results")
    shutil.copytree(data / "clips" / "d1", data / "results" / "perfect" / "own")
    assert evaluate(data, "report_clips=0") == 0
    (row,) = rows()
    assert (row["l1"], row["ssim"], row["difference_error"]) == ("0.0", "1.0", "0.0")
    assert float(row["motion_corr_dis"]) == pytest.approx(1)
