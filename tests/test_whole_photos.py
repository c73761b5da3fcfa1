"""Photos and videos of any size: the face that is found, and the photo that comes back with it animated."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

import run
from clips.crop import Crop, place_crop
from clips.reading import open_clip
from config.load import load_config
from config.options import RunOptions
from config.preparation import PrepareCropParams
from demo.subjects import PHOTOGRAPHS, load_photograph
from generation.changes import changes_since, rest_of
from generation.photos import FaceFinder, Photo
from generation.setup import make_engine, make_loader
from modules.geometry import make_coordinate_grid, resize_grid, sample
from output.paste_back import PhotoFace

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "warp-256.yaml"
FRAMES = 2


def main(*arguments) -> int:
    return run.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def astronaut() -> tuple[np.ndarray, np.ndarray]:
    """Photograph of 512 x 512 pixels and its 68 landmarks."""
    assert "astronaut" in PHOTOGRAPHS
    image, _ = load_photograph("astronaut")
    return image, np.loadtxt(ROOT / "data" / "astronaut_landmarks68.csv", delimiter=",")


def with_moved_mouth(image: np.ndarray, landmarks: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Image and landmarks with the mouth moved down, smoothly."""
    centre, width = landmarks[48:68].mean(axis=0), np.ptp(landmarks[:, 0]) / 6
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    strength = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2)).astype(np.float32)
    moved = cv2.remap(image, x, y - np.float32(shift) * strength, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = np.exp(-((landmarks - centre) ** 2).sum(axis=1) / (2 * width**2))
    return moved, landmarks + np.outer(share, [0, shift])


@pytest.fixture(scope="module")
def driving(astronaut, tmp_path_factory) -> tuple[Path, Path]:
    """A clip of 256 x 256 whose mouth moves down by 4 pixels, with sound, and its landmarks."""
    image, landmarks = astronaut
    folder = tmp_path_factory.mktemp("driving")
    part = cv2.resize(image[20:240, 120:340], (256, 256), interpolation=cv2.INTER_CUBIC)
    points = (landmarks - [120, 20] + 0.5) * 256 / 220 - 0.5
    clips = [with_moved_mouth(part, points, shift) for shift in np.linspace(0, 4, FRAMES)]
    np.save(folder / "points.npy", [moved for _, moved in clips])
    with av.open(str(folder / "clip.mp4"), "w") as container:
        pictures = container.add_stream("libx264", rate=Fraction(10), options={"crf": "1"})
        pictures.width = pictures.height = 256
        pictures.pix_fmt = "yuv444p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for frame, _ in clips:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode())
        wave = np.sin(np.arange(int(1600 * FRAMES)) / 5).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return folder / "clip.mp4", folder / "points.npy"


def animated(photo: Path, points: Path, driving: tuple[Path, Path], size: int, crop: str) -> tuple[Photo, list]:
    """The photo as it was loaded, and its first and last generated frame."""
    settings = [f"dataset_params.frame_shape=[{size},{size},3]", "dataset_params.cache_dir=null"]
    config, _ = load_config(CONFIG, settings)
    options = RunOptions(CONFIG, driving=driving[0], driving_landmarks=driving[1])
    engine, _ = make_engine(config, options, 1)
    loader = make_loader(config, engine)
    clip = FaceFinder(loader, "cpu", "none", needs_landmarks=True).load_driving(options, open_clip(driving[0]))
    loaded = FaceFinder(loader, "cpu", crop, needs_landmarks=True).load_photo(open_clip(photo), points, None)
    generated = engine.animate(loaded.face, clip, config.animate_params, changes=loaded.is_cropped)
    frames = [one.frame for one in loaded.paste_back(generated)]
    return loaded, [frames[0], frames[-1]]


def large_photo(astronaut, centre: tuple[float, float], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo of 3000 x 4000 pixels with a face somewhere, and its landmarks; fine noise shows each moved pixel."""
    image, landmarks = astronaut
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    matrix[:, 2] = np.array(centre) - scale * landmarks.mean(axis=0)
    photo = cv2.warpAffine(image, matrix, (3000, 4000), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    noise = cv2.randn(np.zeros(photo.shape[:2], np.int16), 0, 4)[..., None]
    return np.clip(photo + noise, 0, 255).astype(np.uint8), landmarks @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize(
    ("centre", "scale"), [((1500, 2000), 5.0), ((330, 3650), 4.0), ((2900, 300), 4.5)], ids=["middle", "corner", "cut"]
)
def test_a_face_anywhere_in_a_large_photo_is_animated_as_at_its_own_resolution(
    astronaut, driving, tmp_path, centre, scale
):
    photo, points = large_photo(astronaut, centre, scale)
    np.save(tmp_path / "points.npy", points)
    iio.imwrite(tmp_path / "photo.bmp", photo)
    loaded, (first, last) = animated(tmp_path / "photo.bmp", tmp_path / "points.npy", driving, 256, "auto")
    crop = loaded.crop
    assert crop is not None
    np.testing.assert_array_equal(first, photo, err_msg="the photo at rest is the photo")
    face = PhotoFace(photo, crop)
    outside = np.ones(photo.shape[:2], bool)
    outside[face.region] = False
    np.testing.assert_array_equal(last[outside], photo[outside])

    iio.imwrite(tmp_path / "face.bmp", crop.cut(photo))
    np.save(tmp_path / "cropped.npy", crop.apply(points))
    native = animated(tmp_path / "face.bmp", tmp_path / "cropped.npy", driving, crop.side, "none")[1][1]
    expected, still = photo.copy(), photo[face.region].astype(int)
    x, y = crop.corner
    rows, columns = face.region
    expected[face.region] = native[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    inside = face.mask > 0
    squares = ((last[face.region].astype(int) - expected[face.region]) ** 2)[inside]
    assert 10 * np.log10(255**2 / squares.mean()) > 38
    moved = ((expected[face.region].astype(int) - still) ** 2)[inside]
    assert moved.mean() > 10 * squares.mean(), "a still photo is farther from it"


def test_there_is_no_seam(astronaut, driving, tmp_path):
    """The change is small along the border of the crop: it fades before."""
    image, points = astronaut
    photo = cv2.resize(image, (1536, 1536), interpolation=cv2.INTER_CUBIC)[:, :1400]
    np.save(tmp_path / "points.npy", points * 3 + 1)
    iio.imwrite(tmp_path / "photo.png", photo)
    loaded, (_, last) = animated(tmp_path / "photo.png", tmp_path / "points.npy", driving, 256, "auto")
    assert loaded.crop is not None
    difference = np.abs(last.astype(int) - photo).max(axis=2)
    rows, columns = PhotoFace(photo, loaded.crop).region
    part = difference[rows, columns]
    ring = np.concatenate([part[:3].ravel(), part[-3:].ravel(), part[:, :3].ravel(), part[:, -3:].ravel()])
    assert ring.max() <= 3
    assert part.max() > 60


def test_a_displacement_of_the_face_moves_the_photo_by_as_many_of_its_pixels():
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3), np.uint8), (0, 0), 2)
    crop = Crop((199.5, 149.5), 200, 0.0, 200)
    displacement = np.zeros((50, 50, 2), np.float32)
    displacement[..., 0] = 1  # of 50 pixels, so 4 of the photo
    face = PhotoFace(photo, crop)
    moved = face.paste(displacement, np.zeros((50, 50, 3), np.float32))
    np.testing.assert_array_equal(moved[100:200, 150:250], photo[100:200, 154:254])
    outside = np.ones(photo.shape[:2], bool)
    outside[face.region] = False
    np.testing.assert_array_equal(moved[outside], photo[outside])
    brighter = face.paste(displacement * 0, np.full((50, 50, 3), 7, np.float32))
    inner = (slice(100, 200), slice(150, 250))
    np.testing.assert_array_equal(brighter[inner], np.minimum(photo[inner].astype(int) + 7, 255))
    assert brighter[50, 200].max() <= photo[50, 200].max() + 1, "it fades to nothing at the border of the crop"


def test_motion_fades_towards_the_photo_and_not_towards_its_end():
    photo = np.zeros((300, 200, 3), np.uint8)
    masks = [PhotoFace(photo, Crop((x, 149.5), 100, 0.0, 100)).mask for x in (49.5, 99.5, 149.5)]
    starts, ends = ([mask[50, column] for mask in masks] for column in (0, -1))
    assert starts == [1.0, ends[0], ends[0]]
    assert ends == [ends[0], ends[0], 1.0]
    assert ends[0] < 0.05
    assert all(mask[50, 50] == 1 for mask in masks)


def test_the_whole_way_from_files_keeps_size_sound_and_frame_rate(astronaut, driving, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, _ = astronaut
    Image.fromarray(image[:400]).save(tmp_path / "photo.jpg", quality=95)
    command = ("--config", CONFIG, "--mode", "animate", "--source", "photo.jpg", "--driving", driving[0])
    assert main(*command, "--result", "out.mp4") == 0
    frames = [iio.imread(tmp_path / "out_frames" / f"{t:04d}.png").astype(int) for t in range(FRAMES)]
    assert frames[0].shape == (400, 512, 3)
    still = iio.imread(tmp_path / "photo.jpg").astype(int)
    np.testing.assert_array_equal(frames[0], still)
    change = np.abs(frames[-1] - still).max(axis=2)
    assert change[130:180, 190:260].max() > 20, "the mouth moves"
    assert change[:, 350:].max() == 0
    with av.open(str(tmp_path / "out.mp4")) as result, av.open(str(driving[0])) as clip:
        assert result.streams.video[0].average_rate == 10
        assert [stream.codec_context.name for stream in result.streams.audio] == ["aac"]
        sound, original = ([bytes(packet) for packet in c.demux(audio=0)] for c in (result, clip))
        assert [p for p in sound if p] == [p for p in original if p]


@pytest.mark.parametrize(
    ("codec", "suffix", "kept"), [("pcm_s16le", "mov", "aac"), ("libmp3lame", "avi", "mp3float"), (None, "mp4", None)]
)
def test_sound_of_other_kinds(driving, tmp_path, codec, suffix, kept):
    from output.audio import add_audio

    source, video = tmp_path / f"clip.{suffix}", tmp_path / "out.mp4"
    iio.imwrite(video, np.zeros((10, 16, 16, 3), np.uint8), plugin="pyav", codec="libx264", fps=10)
    with av.open(str(source), "w") as container:
        pictures = container.add_stream("libx264", rate=Fraction(10))
        pictures.width = pictures.height = 16
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=16000, layout="mono") if codec else None
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        if sound:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
            samples.sample_rate = 16000
            resampled = av.AudioResampler(format=sound.format, layout="mono", rate=16000).resample(samples)
            for one in resampled:
                container.mux(sound.encode(one))
            container.mux(sound.encode())
    add_audio(video, source)
    with av.open(str(video)) as result:
        names = [stream.codec_context.name for stream in result.streams.audio]
        assert names == ([kept] if kept else [])
        assert len(list(result.decode(video=0))) == 10
    if kept:
        with av.open(str(video)) as result:
            assert 0.9 < sum(frame.samples for frame in result.decode(audio=0)) / 16000 < 1.2


def test_sound_of_another_duration_is_left_out_and_a_line_says_so(driving, tmp_path, caplog):
    from output.audio import add_audio

    caplog.set_level("INFO")
    video = tmp_path / "out.mp4"
    iio.imwrite(video, np.zeros((9, 16, 16, 3), np.uint8), plugin="pyav", codec="libx264", fps=10)
    before = video.read_bytes()
    add_audio(video, driving[0])
    assert video.read_bytes() == before
    assert "is left out, because the video lasts 0.90 s instead of 0.20 s" in caplog.text


def finder(crop: str, **settings) -> FaceFinder:
    changes = [f"dataset_params.{name}={value}" for name, value in settings.items()]
    config, _ = load_config(CONFIG, ["dataset_params.cache_dir=null", *changes])
    engine, _ = make_engine(config, RunOptions(CONFIG), 1)
    return FaceFinder(make_loader(config, engine), "cpu", crop, needs_landmarks=True)


def test_crop_and_face_decide_what_is_animated(astronaut, tmp_path, caplog):
    caplog.set_level("INFO")
    image, points = astronaut
    other, _ = load_photograph("grace_hopper")
    photo = np.zeros((600, 1100, 3), np.uint8)
    photo[:512, :512], photo[:, 560:1072] = image, other
    photo = np.ascontiguousarray(cv2.resize(photo, (550, 300), interpolation=cv2.INTER_AREA))
    points = (points + 0.5) / 2 - 0.5
    iio.imwrite(tmp_path / "photo.png", photo)
    clip = open_clip(tmp_path / "photo.png")
    larger = finder("auto").load_photo(clip, None, None)
    assert "photo.png: 2 faces: 1 at (" in caplog.text
    assert "used: 1 (--face" in caplog.text
    assert larger.crop is not None
    assert larger.crop.corner[0] > 280, "the largest face"
    smaller = finder("auto").load_photo(clip, None, 2)
    assert smaller.crop is not None
    expected = place_crop(points, (300, 550), PrepareCropParams())
    np.testing.assert_allclose(smaller.crop.centre, expected.centre, atol=3)
    assert smaller.crop.side == pytest.approx(expected.side, abs=5)
    assert not finder("none").load_photo(clip, None, None).is_cropped
    found = finder("none").load_photo(clip, None, 2)
    assert found.face.landmarks is not None
    np.testing.assert_allclose(found.face.cached.to_own(found.face.landmarks)[0], points, atol=3)
    with pytest.raises(ValueError, match="--face: expected 1 to 2"):
        finder("auto").load_photo(clip, None, 3)
    with pytest.raises(ValueError, match="--face and --source-landmarks: expected one of them"):
        finder("auto").load_photo(clip, tmp_path / "points.npy", 1)


@pytest.mark.parametrize("side", [256, 200, 400])
def test_face_crops_are_used_whole(astronaut, tmp_path, side):
    image, points = astronaut
    prepared = place_crop(points, (512, 512), PrepareCropParams(size=side))
    iio.imwrite(tmp_path / "face.png", prepared.cut(image))
    np.save(tmp_path / "points.npy", prepared.apply(points))
    clip = open_clip(tmp_path / "face.png")
    assert not finder("auto").load_photo(clip, tmp_path / "points.npy", None).is_cropped
    assert finder("face").load_photo(clip, tmp_path / "points.npy", None).is_cropped


def test_the_face_of_a_driving_video_is_cut_out_as_that_of_the_photo(astronaut, tmp_path):
    image, points = astronaut
    (tmp_path / "clip").mkdir()
    for t, shift in enumerate((0, 3)):
        iio.imwrite(tmp_path / "clip" / f"{t}.png", with_moved_mouth(image[:400], points, shift)[0])
    np.save(tmp_path / "points.npy", points)
    options = RunOptions(CONFIG, driving_landmarks=tmp_path / "points.npy")
    clip = finder("auto").load_driving(options, open_clip(tmp_path / "clip"))
    side = place_crop(points, (400, 512), PrepareCropParams()).side
    assert clip.cached.sizes.tolist() == [[side, side]] * 2
    moved = clip.cached.to_own(clip.landmarks)
    np.testing.assert_allclose(np.ptp(moved[0], axis=0), np.ptp(points, axis=0), atol=1e-6)
    assert (moved[1] - moved[0])[[51, 57], 1].mean() == pytest.approx(2.7, abs=0.7), "tracked at the size of the crop"
    whole = finder("none").load_driving(options, open_clip(tmp_path / "clip"))
    assert whole.cached.sizes.tolist() == [[400, 512]] * 2


def test_a_photo_without_a_face_is_refused_with_a_remedy(tmp_path):
    iio.imwrite(tmp_path / "wall.png", np.full((300, 420, 3), 90, np.uint8))
    with pytest.raises(ValueError, match=r"wall\.png: frame 0: no face was found in the 420 x 300 image; give landm"):
        finder("auto").load_photo(open_clip(tmp_path / "wall.png"), None, None)


@pytest.mark.parametrize("kind", ["RGBA", "L", "P", "CMYK", "I;16", "rotated"])
def test_photos_of_every_kind_come_back_as_they_are_read(astronaut, tmp_path, kind):
    image, points = astronaut
    picture = Image.fromarray(image[:300, 60:460])
    path = tmp_path / ("photo.tif" if kind == "CMYK" else "photo.jpg" if kind == "rotated" else "photo.png")
    if kind == "I;16":
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(path)
    elif kind == "rotated":
        exif = Image.Exif()
        exif[274] = 6  # to be turned clockwise by a right angle for display
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    elif kind == "P":
        picture.quantize(256).save(path)
    else:
        picture.convert(kind).save(path)
    np.save(tmp_path / "points.npy", points - [60, 0])
    loaded = finder("auto").load_photo(open_clip(path), tmp_path / "points.npy", None)
    assert loaded.whole is not None
    assert loaded.whole.shape == (300, 400, 3)
    assert loaded.whole.dtype == np.uint8
    grey = [np.asarray(Image.fromarray(p).convert("L"), np.float64) for p in (loaded.whole, np.asarray(picture))]
    assert np.abs(grey[0] - grey[1]).mean() < 6


def test_a_code_animates_a_whole_photo(astronaut, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, points = astronaut
    iio.imwrite(tmp_path / "photo.png", image[:400])
    np.save(tmp_path / "points.npy", points)
    times = ("--onset", 0, "--apex", 1, "--offset", 2, "--fps", 10)
    command = ("--config", CONFIG, "--mode", "animate", "--source", "photo.png", "--source-landmarks", "points.npy")
    assert main(*command, "--au", "12E", *times, "--result", "out.mp4") == 0
    first, apex = (iio.imread(tmp_path / "out_frames" / f"000{t}.png").astype(int) for t in (0, 1))
    np.testing.assert_array_equal(first, image[:400])
    change = np.abs(apex - first).max(axis=2)
    assert change.shape == (400, 512)
    assert change[130:180, 190:260].max() > 20
    assert change[:, 350:].max() == 0
    assert main(*command, "--au", "12E", *times, "--result", "whole.mp4", "--crop", "none") == 0
    assert iio.imread(tmp_path / "whole_frames" / "0000.png").shape == (256, 256, 3)


def test_crop_and_face_mean_nothing_without_a_source(tmp_path, caplog):
    assert main("--config", CONFIG, "--mode", "animate", "--face", 1, "--log-dir", tmp_path) == 2
    assert "--face has no meaning without --source" in caplog.text
    assert main("--config", CONFIG, "--mode", "animate", "--crop", "face", "--log-dir", tmp_path) == 2
    assert "--crop face has no meaning without --source" in caplog.text


def test_networks_that_paint_add_only_what_motion_does_not_explain():
    """A network that blurs every frame and darkens some: the photo keeps its detail, and becomes darker."""
    rng = np.random.default_rng(0)
    rest_picture = torch.from_numpy(cv2.GaussianBlur(rng.random((64, 64, 3), np.float32), (0, 0), 3)).permute(2, 0, 1)
    grid = make_coordinate_grid((64, 64), rest_picture)[None]
    shifted = grid + torch.tensor([2 * 4 / 63, 0.0])
    painted = sample(rest_picture[None], shifted, mode="bicubic", padding="border") * 0.9
    rest = rest_of({"prediction": rest_picture[None], "deformation": resize_grid(grid, (16, 16))})
    change, still = changes_since(
        rest,
        {
            "prediction": torch.cat([painted, rest_picture[None]]),
            "deformation": resize_grid(torch.cat([shifted, grid]), (16, 16)),
        },
    )
    np.testing.assert_allclose(change.displacement, np.broadcast_to([4, 0], (64, 64, 2)), atol=1e-3)
    np.testing.assert_allclose(change.residual, (-painted[0] / 9 * 255).permute(1, 2, 0), atol=0.1)
    assert np.abs(still.displacement).max() < 1e-3
    assert np.abs(still.residual).max() < 0.1
