import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from clips.reading import ClipError, count_frames, find_clips, frame_rate, open_clip, read_frames, read_image
from output.video import write_video

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 24, 3), np.uint8)
OPAQUE = np.full(RGB.shape[:2], 255, np.uint8)
VIDEO = np.stack([np.full((32, 32, 3), 30 * t, np.uint8) for t in range(7)])


def test_frames_come_in_natural_order(tmp_path):
    for number in (10, 9, 100, 1):
        iio.imwrite(tmp_path / f"reg_img{number}.png", np.full((4, 4, 3), number, np.uint8))
    assert [int(frame[0, 0, 0]) for frame in read_frames(open_clip(tmp_path), None)] == [1, 9, 10, 100]


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        ("grey.png", RGB[..., 0], RGB[..., :1]),
        ("grey_alpha.png", np.dstack([RGB[..., 0], OPAQUE]), RGB[..., :1]),
        ("rgba.png", np.dstack([RGB, OPAQUE]), RGB),
        ("grey16.png", RGB[..., 0].astype(np.uint16) * 257, RGB[..., :1]),
        ("rgb.bmp", RGB, RGB),
        ("rgb16.tif", RGB.astype(np.uint16) * 257, RGB),
    ],
)
def test_images_of_all_modes_become_rgb(tmp_path, name, stored, expected):
    iio.imwrite(tmp_path / name, stored)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.broadcast_to(expected, RGB.shape))


def test_palette_images_become_rgb(tmp_path):
    two = np.where(RGB[..., :1] > 128, np.uint8([200, 10, 20]), np.uint8([0, 90, 250]))
    Image.fromarray(two).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), two)


def test_the_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").shape == (24, 20, 3)


def test_videos_give_their_frames_and_frame_rate(tmp_path):
    write_video(tmp_path / "clip.mp4", list(VIDEO), 37, crf=8)
    iio.imwrite(tmp_path / "clip.gif", VIDEO, duration=40, loop=0)
    for name, rate in (("clip.mp4", 37), ("clip.gif", 25)):
        clip = open_clip(tmp_path / name)
        frames = np.stack(list(read_frames(clip, None)))
        assert frames.shape == VIDEO.shape
        assert count_frames(clip) == len(VIDEO)
        assert np.abs(frames.astype(int) - VIDEO).max() <= 6
        assert frame_rate(clip) == pytest.approx(rate)


def test_strips_are_cut_into_frames_with_the_ratio_of_frame_shape(tmp_path):
    iio.imwrite(tmp_path / "strip.png", np.concatenate(list(VIDEO), axis=1))
    frames = list(read_frames(open_clip(tmp_path / "strip.png"), (64, 64, 3)))
    np.testing.assert_array_equal(frames, VIDEO)
    halves = list(read_frames(open_clip(tmp_path / "strip.png"), (64, 32, 3)))
    assert len(halves) == 14


def test_a_landscape_photograph_is_one_frame_and_not_a_strip(tmp_path):
    for width, height in ((192, 108), (90, 60), (128, 64), (65, 32)):
        photograph = cv2.resize(RNG.integers(0, 256, (4, 8, 3), np.uint8), (width, height))
        iio.imwrite(tmp_path / "photo.png", photograph)
        frames = list(read_frames(open_clip(tmp_path / "photo.png"), (64, 64, 3)))
        np.testing.assert_array_equal(frames, [photograph])


def test_a_strip_of_frames_that_change_a_little_is_cut(tmp_path):
    picture = cv2.resize(RNG.integers(0, 256, (6, 6, 3), np.uint8), (40, 40))
    moving = [picture[4:36, 4 - shift : 36 - shift] for shift in range(4)]
    iio.imwrite(tmp_path / "strip.png", np.concatenate(moving, axis=1))
    np.testing.assert_array_equal(list(read_frames(open_clip(tmp_path / "strip.png"), None)), moving)


def test_a_single_image_is_a_clip_of_one_frame(tmp_path):
    iio.imwrite(tmp_path / "face.png", RGB)
    assert len(list(read_frames(open_clip(tmp_path / "face.png"), (64, 64, 3)))) == 1


def test_hidden_files_and_other_types_are_ignored(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        iio.imwrite(tmp_path / name / "1.png", RGB)
        for stray in (".DS_Store", "._1.png", "Thumbs.db", "notes.txt"):
            (tmp_path / name / stray).write_bytes(b"stray")
    (tmp_path / "labels.xlsx").write_bytes(b"stray")
    (tmp_path / ".hidden").mkdir()
    clips = find_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a", "b"]
    assert [len(clip.frames) for clip in clips] == [1, 1]


def test_a_folder_without_frames_is_an_error_that_names_it(tmp_path):
    (tmp_path / "s1" / "micro").mkdir(parents=True)
    with pytest.raises(ClipError, match=r"s1: expected frames .*, found micro"):
        find_clips(tmp_path)


@pytest.mark.parametrize("inner", ["micro/1.png", "micro.mp4"])
def test_clips_one_level_too_deep_are_named_with_the_way_to_prepare_them(tmp_path, inner):
    (tmp_path / "s1" / inner).parent.mkdir(parents=True)
    (tmp_path / "s1" / inner).write_bytes(b"x")
    with pytest.raises(ClipError, match=rf"found the clip micro.* one level too deep; .*root_dir={tmp_path}$"):
        find_clips(tmp_path)


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "new folder"])
def test_leftovers_beside_clips_are_counted_and_ignored(tmp_path, caplog, name):
    (tmp_path / "a").mkdir()
    iio.imwrite(tmp_path / "a" / "1.png", RGB)
    (tmp_path / name).mkdir()
    (tmp_path / name / "desktop.ini").write_bytes(b"")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    (tmp_path / "gone").symlink_to(tmp_path / "unmounted" / "gone")
    for _ in range(2):
        assert [clip.name for clip in find_clips(tmp_path)] == ["a"]
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}: 3 ignored: ")
    assert f"gone (a link to {tmp_path}/unmounted/gone, which does not exist)" in line
    assert f"{name} (" in line


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no clips; expected folders of frames"),
        (lambda root: root.rmdir(), "no such folder of clips; set dataset_params.root_dir"),
        (lambda root: [(root / name).write_bytes(b"x") for name in ("a.mp4", "a.mov")], "two clips of the same name"),
    ],
)
def test_folders_without_usable_clips_are_an_error(tmp_path, make, message):
    root = tmp_path / "root"
    root.mkdir()
    make(root)
    with pytest.raises(ClipError, match=message):
        find_clips(root)


def test_broken_files_are_errors_that_name_them(tmp_path):
    iio.imwrite(tmp_path / "good.png", RGB)
    write_video(tmp_path / "good.mp4", list(VIDEO), 30, crf=8)
    for suffix in ("png", "mp4"):
        (tmp_path / f"cut.{suffix}").write_bytes((tmp_path / f"good.{suffix}").read_bytes()[:200])
    with pytest.raises(ClipError, match=r"cut\.png: unreadable image"):
        read_image(tmp_path / "cut.png")
    with pytest.raises(ClipError, match=r"cut\.mp4: unreadable after 0 frames"):
        list(read_frames(open_clip(tmp_path / "cut.mp4"), None))
    with pytest.raises(ClipError, match=r"cut\.mp4: unreadable after 0 frames"):
        count_frames(open_clip(tmp_path / "cut.mp4"))
    with pytest.raises(ClipError, match=r"absent: no such clip"):
        open_clip(tmp_path / "absent")
    iio.imwrite(tmp_path / "float.tif", RGB.astype(np.float32))
    iio.imwrite(tmp_path / "float_grey.tif", RGB[..., 0].astype(np.float32))
    with pytest.raises(ClipError, match="float.tif: unreadable image .* 8-bit PNG"):
        read_image(tmp_path / "float.tif")
    with pytest.raises(ClipError, match="expected 8 or 16 bits per channel, got 32; save it as an 8-bit PNG"):
        read_image(tmp_path / "float_grey.tif")
