"""The meta-test of the judges, and the gallery: what they corrupt, count and write."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import gallery, judges
from benchmarks.judges import FAULTS, GRADES, rank_correlations
from clips.reading import open_clip
from evaluation.result_clips import Pair
from tests.conftest import write_clip


@pytest.fixture
def curves() -> judges.Curves:
    """A one-sided and a two-sided unit."""
    t = np.concatenate([np.zeros(5), np.sin(np.linspace(0, np.pi, 40)), np.zeros(15)])
    return {(12, "left"): t, (4, "left"): 0.5 * t, (4, "right"): 0.5 * t}


def test_faults_grow_with_their_grade(curves):
    other = {(25, "left"): curves[12, "left"], (25, "right"): curves[12, "left"]}
    for name, fault in FAULTS.items():
        if fault.curves is None:
            continue
        changes = []
        for grade in GRADES:
            made = fault.curves(curves, grade, other)
            keys = set(made) | set(curves)
            still = np.zeros(60)
            changes.append(sum(np.abs(made.get(k, still) - curves.get(k, still)).sum() for k in keys))
        assert changes == sorted(changes), name
        assert changes[0] > 0, name


def test_picture_faults_grow_with_their_grade():
    frames = np.random.default_rng(0).random((4, 32, 32, 3)).astype(np.float32)
    for name, fault in FAULTS.items():
        if fault.frames is not None:
            made = [fault.frames(frames, grade, 1 - frames, np.random.default_rng(0)) for grade in GRADES]
            changes = [float(np.abs(clip - frames).mean()) for clip in made]
            assert changes == sorted(changes), name
            assert changes[0] > 0, name


def test_at_least_sixty_clips_are_corrupted():
    assert len(FAULTS) * len(GRADES) * 2 >= 60


def test_rank_correlation_sees_the_direction_of_a_measure():
    grades = (0.0, *GRADES)
    rows = [
        {
            "pair": "p",
            "fault": "blur",
            "grade": g,
            "motion_error_dis": g,
            "motion_corr_dis": 1 - g,
            "akd": 1.0,
            "l1": -g,
        }
        for g in grades
    ]
    found = rank_correlations(rows, ["motion_error_dis", "motion_corr_dis", "akd", "l1"])
    assert found["motion_error_dis", "blur"] == pytest.approx(1)
    assert found["motion_corr_dis", "blur"] == pytest.approx(1)
    assert found["akd", "blur"] == 0
    assert found["l1", "blur"] == pytest.approx(-1)
    assert np.isnan(found["akd", "noise"])


def test_the_gallery_writes_tables_of_gifs(tmp_path):
    names = ("d_1", "d_2", "s_1")
    for number, name in enumerate(names):
        write_clip(tmp_path / "clips", name, number)
    clips = [open_clip(tmp_path / "clips" / name) for name in names]
    pairs = [Pair(clips[2], clip, (f"{clip.name}-s_1",)) for clip in clips[:2]]
    folders = {}
    for system in ("FOMM w/ EWP", gallery.OURS):
        folders[system] = tmp_path / system.replace("/", "")
        for pair in pairs:
            _frames(folders[system] / pair.name)
    out = tmp_path / "gallery"
    out.mkdir()
    table = gallery.clip_table(out, pairs, folders[gallery.OURS])
    assert table.count("![driving clip") == 2
    cases = gallery.case_table(out, pairs, folders)
    assert "| case | driving | FOMM w/ EWP | ours |" in cases
    with Image.open(out / "case1-fomm-ewp.gif") as image:
        assert image.n_frames > 2
        assert max(image.size) == gallery.SIDE
    assert all(path.stat().st_size < 250_000 for path in out.iterdir())


def _frames(folder: Path) -> None:
    write_clip(folder.parent, folder.name, 5)
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"{int(path.stem[3:]):04d}.png"))


def test_the_gallery_replaces_what_stands_between_its_marks(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{gallery.BEGIN}\nold\n{gallery.END}\nafter\n", encoding="utf-8")
    gallery.put_into(page, "new\n")
    assert page.read_text(encoding="utf-8") == f"before\n{gallery.BEGIN}\nnew\n{gallery.END}\nafter\n"
    page.write_text("no marks\n", encoding="utf-8")
    gallery.put_into(page, "new\n")
    assert page.read_text(encoding="utf-8") == "no marks\n"
