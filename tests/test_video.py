import imageio.v3 as iio
import numpy as np
import pytest

from errors import UserError
from output.video import side_by_side, write_frames, write_video
from tests.conftest import smooth_picture

PICTURE = smooth_picture(np.random.default_rng(0), 65)
FRAMES = [np.roll(PICTURE, t, axis=1) for t in range(6)]


def test_frames_are_lossless_and_numbered(tmp_path):
    write_frames(tmp_path / "out", FRAMES)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{t:04d}.png" for t in range(6)]
    np.testing.assert_array_equal(iio.imread(tmp_path / "out" / "0003.png"), FRAMES[3])
    write_frames(tmp_path / "out", FRAMES[:2])
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 1, "no temporary folder is left"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(UserError, match=r"holds thesis\.tex, which is no frame of ours"):
        write_frames(tmp_path, FRAMES)
    assert (tmp_path / "thesis.tex").read_text() == "chapter 1"


def test_a_generator_that_fails_leaves_the_frames_that_were_there(tmp_path):
    write_frames(tmp_path / "out", FRAMES[:2])

    def failing():
        yield FRAMES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / "out", failing())
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_a_video_keeps_a_movement_of_one_pixel_and_its_rate(tmp_path):
    grey = [np.repeat(frame[..., 1:2], 3, axis=2) for frame in FRAMES]  # the format halves the resolution of colour
    path = write_video(tmp_path / "out.mp4", grey, 100, crf=8)
    stored = iio.imread(path, plugin="pyav").astype(float)
    assert stored.shape == (6, 66, 66, 3), "odd sides are padded"
    assert iio.immeta(path, plugin="pyav", exclude_applied=False)["fps"] == 100
    moved = stored[1, :65, :65] - stored[0, :65, :65]
    true = grey[1].astype(float) - grey[0]
    assert np.corrcoef(moved.ravel(), true.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("fps", "name"), [(25, "out.gif"), (50, "out.gif"), (100, "out_slow2x.gif"), (200, "out_slow4x.gif")]
)
def test_a_gif_says_by_how_much_it_is_slowed_down(tmp_path, fps, name):
    path = write_video(tmp_path / "out.gif", FRAMES, fps, crf=8)
    assert path.name == name
    meta = iio.immeta(path, plugin="pillow")
    assert meta["duration"] == (40 if fps == 25 else 20)
    frames = iio.imread(path, plugin="pillow", mode="RGB", index=None)
    assert frames.shape == (6, 65, 65, 3)
    assert np.abs(frames.astype(int) - np.stack(FRAMES)).mean() < 8


def test_a_gif_does_not_flicker_where_nothing_moves(tmp_path):
    path = write_video(tmp_path / "out.gif", [PICTURE] * 4, 25, crf=8)
    frames = iio.imread(path, plugin="pillow", mode="RGB", index=None)
    assert all((frame == frames[0]).all() for frame in frames)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected a result ending in \.mp4 or \.gif"):
        write_video(tmp_path / "out.webm", FRAMES, 25, crf=8)


def test_side_by_side_shows_five_times_the_difference():
    grey = [np.full((8, 8, 3), 100 + t, np.uint8) for t in range(3)]
    rows = side_by_side([np.zeros((4, 4, 3), np.uint8)] * 3, grey)
    assert rows[0].shape == (8, 24, 3)
    assert rows[0][0, 20, 0] == 127
    assert rows[2][0, 20, 0] == 137
