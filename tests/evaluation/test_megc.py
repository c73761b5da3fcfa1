"""The generation tasks of MEGC 2021 and 2022: pairs, form of the output, and clips that must not be trained on."""

import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import run
from clips.files import read_list, read_names
from clips.videos import read_video, video_rate
from config.load import load_config
from evaluation.result_clips import find_results, read_pairs
from preparation.splits import MEGC_DRIVING
from tests.conftest import ROOT, SIZE, face_landmarks, write_clip

MADE = 3
FEW = ["--set", f"animate_params.num_pairs={MADE}"]
TARGETS = {
    "2021": {"normalized_asianFemale", "normalized_westernMale"},
    "2022": {f"Template_{kind}" for kind in ("Female_Asian", "Female_Europe", "Male_Asian", "Male_Europe")},
}


@pytest.mark.parametrize("year", TARGETS)
def test_every_driving_clip_meets_every_target(year):
    rows = [row for _, row in read_list(ROOT / "config" / f"megc{year}-pairs.csv", ("source", "driving"))]
    pairs = {(row["source"], row["driving"]) for row in rows}
    assert pairs == {(target, clip) for target in TARGETS[year] for clip in MEGC_DRIVING}
    assert len(rows) == 9 * len(TARGETS[year])
    assert {row["emotion"] for row in rows} == {"negative", "positive", "surprise"}
    assert all(row["driving"].startswith(f"{row['subject']}_") for row in rows)


def test_the_list_of_test_subjects_holds_those_of_the_driving_clips():
    assert set(read_names(ROOT / "config" / "megc-test.txt")) == {name.split("_")[0] for name in MEGC_DRIVING}


def test_the_output_has_the_form_that_the_challenge_asked_for(tmp_path, monkeypatch):
    """Videos DRIVING-TARGET.mp4 of 100 frames per second, as long as their driving clips; some of them are made."""
    data = tmp_path / "data"
    (data / "landmarks").mkdir(parents=True)
    lengths = {}
    for number, name in enumerate(MEGC_DRIVING):
        landmarks = write_clip(data / "test", name, number, frames=3 + number % 2)
        lengths[name] = len(landmarks)
        np.save(data / "landmarks" / f"{name}.npy", landmarks[:1])
    for target in TARGETS["2021"]:
        picture = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        iio.imwrite(data / "test" / f"{target}.jpg", picture)
        np.save(data / "landmarks" / f"{target}.npy", face_landmarks()[None])
    config = ROOT / "config" / "megc2021.yaml"
    loaded = load_config(config, []).config
    assert loaded.dataset_params.frame_shape == (256, 256, 3)
    assert loaded.dataset_params.fps == 100
    settings = {
        "root_dir": data,
        "keypoint_dir": data / "landmarks",
        "pairs_list": ROOT / "config" / "megc2021-pairs.csv",
        "frame_shape": [SIZE, SIZE, 3],
    }
    changes = [word for key, value in settings.items() for word in ("--set", f"dataset_params.{key}={value}")]
    assert run.main(["--config", str(config), "--mode", "animate", *changes, *FEW]) == 0
    folder = Path("log/megc2021/animation")
    videos = {path.stem: path for path in folder.glob("*.mp4") if not path.stem.endswith("_comparison")}
    expected = [f"{clip}-{target}" for clip in MEGC_DRIVING for target in sorted(TARGETS["2021"])]
    assert sorted(videos) == sorted(expected[:MADE])
    for name in list(videos)[1:]:
        frames = list(read_video(videos[name]))
        assert len(frames) == lengths[re.split("-", name)[0]]
        assert video_rate(videos[name]) == 100
    params = loaded.dataset_params.model_copy(update={"root_dir": data})
    pairs, problems = read_pairs(settings["pairs_list"], params)
    (found,) = find_results(folder, pairs)
    assert problems == []
    assert len(found.results) == MADE
    assert found.problems[0].startswith("megc2021: no result for 15 of 18 pairs")
    assert {pair.labels["data_set"] for pair in pairs} == {"casme2", "samm", "smic-hs"}
