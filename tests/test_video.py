import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from clips.reading import frame_rate, open_clip, read_frames
from errors import UserError
from output.contact_sheet import SheetRow, contact_sheet
from output.video import difference_image, side_by_side, write_frames, write_video
from tests.conftest import smooth_picture

IMAGE = smooth_picture(np.random.default_rng(0), 65)
FRAMES = [np.roll(IMAGE, t, axis=1) for t in range(6)]


def test_frames_are_lossless_and_numbered(tmp_path):
    write_frames(tmp_path / "out", FRAMES)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{t:04d}.png" for t in range(6)]
    np.testing.assert_array_equal(iio.imread(tmp_path / "out" / "0003.png"), FRAMES[3])
    write_frames(tmp_path / "out", FRAMES[:2])
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 1, "no temporary folder is left"


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(UserError, match=r"holds thesis\.tex, which is not a generated frame"):
        write_frames(tmp_path, FRAMES)
    assert (tmp_path / "thesis.tex").read_text() == "chapter 1"


def test_failing_generators_leave_existing_frames_in_place(tmp_path):
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
    clip = open_clip(path)
    stored = np.stack(list(read_frames(clip, None))).astype(float)
    assert stored.shape == (6, 66, 66, 3), "odd sides are padded"
    assert frame_rate(clip) == 100
    moved = stored[1, :65, :65] - stored[0, :65, :65]
    true = grey[1].astype(float) - grey[0]
    assert np.corrcoef(moved.ravel(), true.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("fps", "name"), [(25, "out.gif"), (50, "out.gif"), (100, "out_slow2x.gif"), (200, "out_slow4x.gif")]
)
def test_the_name_of_a_gif_says_by_how_much_it_is_slowed_down(tmp_path, fps, name):
    path = write_video(tmp_path / "out.gif", FRAMES, fps, crf=8)
    assert path.name == name
    meta = iio.immeta(path, plugin="pillow")
    assert meta["duration"] == (40 if fps == 25 else 20)
    frames = iio.imread(path, plugin="pillow", mode="RGB", index=None)
    assert frames.shape == (6, 65, 65, 3)
    assert np.abs(frames.astype(int) - np.stack(FRAMES)).mean() < 8


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 1, 2], [0, 6, 6, 0], [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 0]])
def test_a_gif_has_the_bytes_that_pillow_writes(tmp_path, order):
    moved = FRAMES[0].copy()
    moved[20:30, 40:44] = moved[21:31, 41:45]  # the frames of a GIF hold the rectangle that changes
    frames = [[*FRAMES, moved][number] for number in order]
    images = [Image.fromarray(frame) for frame in frames]
    sample = np.concatenate(frames)
    palette = Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT)
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    settings = {"duration": 40, "loop": 0, "optimize": False}
    first.save(tmp_path / "theirs.gif", save_all=True, append_images=others, **settings)
    write_video(tmp_path / "ours.gif", frames, 25, crf=8)
    assert (tmp_path / "ours.gif").read_bytes() == (tmp_path / "theirs.gif").read_bytes()


def test_a_gif_does_not_flicker_where_nothing_moves(tmp_path):
    moving = [np.array(IMAGE) for _ in range(4)]
    for t, frame in enumerate(moving):
        frame[:4, :4] = 60 * t
    path = write_video(tmp_path / "out.gif", moving, 25, crf=8)
    frames = iio.imread(path, plugin="pillow", mode="RGB", index=None)
    frames[:, :4, :4] = 0
    assert all((frame == frames[0]).all() for frame in frames)


def test_unknown_suffixes_are_an_error(tmp_path):
    with pytest.raises(UserError, match=r"expected a result ending in \.mp4 or \.gif"):
        write_video(tmp_path / "out.webm", FRAMES, 25, crf=8)


def flat(*colour: int, size: int = 8) -> np.ndarray:
    """A frame of one colour."""
    return np.broadcast_to(np.uint8(colour), (size, size, 3))


def test_side_by_side_shows_driving_result_and_five_times_the_change_of_the_result():
    driving = [flat(10 * t, 0, 0, size=4) for t in range(3)]
    result = [flat(100 + t, 100 - t, 100 + 30 * t) for t in range(3)]
    rows = side_by_side(driving, result)
    assert all(row.shape == (8, 24, 3) for row in rows)
    for t, row in enumerate(rows):
        np.testing.assert_array_equal(row[:, :8], flat(10 * t, 0, 0))
        np.testing.assert_array_equal(row[:, 8:16], result[t])
    np.testing.assert_array_equal(rows[0][:, 16:], flat(127, 127, 127))
    np.testing.assert_array_equal(rows[2][:, 16:], flat(137, 117, 255))


def test_difference_images_show_a_gain_in_brightness_brighter_than_grey():
    np.testing.assert_array_equal(difference_image(flat(10, 200, 50), flat(12, 190, 50)), flat(137, 77, 127))


def test_contact_sheet_shows_onset_apex_and_difference_of_driving_clip_and_result():
    driving, result = (flat(10, 0, 0), flat(20, 0, 0)), (flat(0, 30, 0), flat(0, 32, 0))
    sheet = contact_sheet([SheetRow("one", result, driving), SheetRow("two", result[::-1])], size=8)
    strip = 26  # height of a line of text
    first, second = sheet[2 * strip : 2 * strip + 8], sheet[3 * strip + 8 : 3 * strip + 16]
    expected = [*driving, flat(177, 127, 127), *result, flat(127, 137, 127)]
    np.testing.assert_array_equal(first[:, :48], np.concatenate(expected, axis=1))
    np.testing.assert_array_equal(second[:, :24], np.concatenate([*result[::-1], flat(127, 117, 127)], axis=1))
    assert len(sheet) == 3 * strip + 16
