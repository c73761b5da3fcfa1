"""Pictures look as an image viewer shows them, in whatever format they are stored."""

import io

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from skimage.data import astronaut

from clips.pictures import ClipError, is_sequence, read_image, read_sequence, sequence_durations

FACE = np.ascontiguousarray(astronaut()[40:168, 150:278])  # 128 x 128
PICTURE = Image.fromarray(FACE)


def mean_error(image: np.ndarray, expected: np.ndarray = FACE) -> float:
    """Mean absolute difference in grey levels."""
    assert image.shape == expected.shape
    assert image.dtype == np.uint8
    return float(np.abs(image.astype(float) - expected).mean())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("deflated.tiff", {"compression": "tiff_adobe_deflate"}),
        ("picture.jfif", {"format": "JPEG", "quality": 95}),
        ("picture.avif", {"quality": 95}),
        ("picture.jp2", {}),
        ("picture.j2k", {}),
        ("picture.webp", {"lossless": True}),
        ("picture.heic", {"quality": 95}),
        ("PICTURE.JPG", {"quality": 95}),
    ],
)
def test_common_formats_are_read(name, settings, tmp_path):
    if name.endswith("heic"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    PICTURE.save(tmp_path / name, **settings)
    assert mean_error(read_image(tmp_path / name)) < 4


def test_planar_tiff_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FACE.transpose(2, 0, 1), planarconfig="separate", photometric="rgb")
    assert mean_error(read_image(tmp_path / "a.tif")) == 0


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
@pytest.mark.parametrize("profile", [False, True])
def test_cmyk_has_the_colours_of_its_rgb_original(name, profile, tmp_path):
    settings = {"icc_profile": b"not a profile"} if profile else {}
    PICTURE.convert("CMYK").save(tmp_path / name, **settings)
    assert mean_error(read_image(tmp_path / name)) < 6


def test_an_rgb_profile_in_a_cmyk_picture_does_no_harm(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    PICTURE.convert("CMYK").save(tmp_path / "a.jpg", icc_profile=profile)
    assert mean_error(read_image(tmp_path / "a.jpg")) < 6


def test_transparent_parts_are_white(tmp_path):
    alpha = np.zeros((128, 128), np.uint8)
    alpha[:, 64:] = 255
    alpha[:, 32:64] = 51  # a fifth
    cut = np.where(alpha[..., None] > 0, FACE, 0)
    Image.fromarray(np.dstack([cut, alpha])).save(tmp_path / "cut.png")
    image = read_image(tmp_path / "cut.png")
    assert (image[:, :32] == 255).all()
    assert mean_error(image[:, 64:], FACE[:, 64:]) == 0
    assert mean_error(image[:, 32:64], np.uint8(np.round(255 * 0.8 + 0.2 * FACE[:, 32:64]))) < 1
    palette = Image.fromarray(np.where(alpha > 0, 1, 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    palette.save(tmp_path / "palette.png", transparency=0)
    found = read_image(tmp_path / "palette.png")
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 127].tolist() == [200, 30, 30]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_twelve_bits_in_sixteen_are_as_bright_as_eight(name, tmp_path, caplog):
    grey = FACE[..., 0]
    iio.imwrite(tmp_path / name, np.uint16(np.round(grey / 255 * 4095)))
    assert mean_error(read_image(tmp_path / name), np.repeat(grey[..., None], 3, 2)) < 1
    assert "read as 12-bit pictures" in caplog.text
    iio.imwrite(tmp_path / name, grey.astype(np.uint16) * 257)
    assert mean_error(read_image(tmp_path / name), np.repeat(grey[..., None], 3, 2)) == 0


@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize(("orientation", "turn"), [(6, 1), (3, 2), (8, 3)])
def test_pictures_are_upright(name, orientation, turn, tmp_path):
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(FACE[:, :96], turn)))
    if name == "a.tif":
        stored.save(tmp_path / name, tiffinfo={274: orientation})
    else:
        exif = Image.Exif()
        exif[274] = orientation
        stored.save(tmp_path / name, exif=exif, quality=95)
    assert mean_error(read_image(tmp_path / name), FACE[:, :96]) < 5


def test_pages_and_animations_are_sequences(tmp_path):
    frames = [FACE, FACE[::-1], FACE[:, ::-1]]
    tifffile.imwrite(tmp_path / "a.tif", np.stack(frames), photometric="rgb")
    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    for name, settings in (("a.webp", {"lossless": True}), ("a.png", {}), ("a.gif", {})):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=[40, 80, 200], **settings)
    for name in ("a.tif", "a.webp", "a.png", "a.gif"):
        assert is_sequence(tmp_path / name)
        found = list(read_sequence(tmp_path / name))
        assert [round(1000 * duration) for _, duration in found] == ([0] * 3 if name == "a.tif" else [40, 80, 200])
        assert sequence_durations(tmp_path / name) == [duration for _, duration in found]
        for (image, _), frame in zip(found, frames, strict=True):
            assert mean_error(image, frame) < (12 if name == "a.gif" else 0.01)
    PICTURE.save(tmp_path / "one.png")
    assert not is_sequence(tmp_path / "one.png")


def test_a_decompression_bomb_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    (tmp_path / "bomb.png").write_bytes(buffer.getvalue())
    with pytest.raises(ClipError, match="decompression bomb"):
        read_image(tmp_path / "bomb.png")
