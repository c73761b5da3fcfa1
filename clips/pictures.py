"""Reader of pictures as uint8 RGB, shown as an image viewer shows them: upright, on white, in their own colours.

Pictures of several images (GIF, animated WebP and PNG, TIFF with pages) are sequences, each image with its duration.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from errors import UserError, first_line
from parsing.files import check_regular_file

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
IMAGE_SUFFIXES = HEIF_SUFFIXES | {
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".jp2", ".j2k"),
}
ANIMATED_SUFFIXES = frozenset({".gif", ".webp", ".png", ".tif", ".tiff"})
MAX_PIXELS = 178_956_970  # Pillow refuses larger pictures as decompression bombs; it warns from half of that
_TWELVE_BITS = 4095

Frame = NDArray[np.uint8]

log = logging.getLogger("clips")
warnings.filterwarnings("ignore", module="PIL")  # of large and damaged files; the error, if there is one, says it too


class ClipError(UserError):
    """Error of a clip that cannot be used; the message names the file and the remedy."""


def read_image(path: Path) -> Frame:
    """Read a picture of any mode and depth as uint8 RGB, H x W x 3; transparent parts are shown on white.

    Raises:
        ClipError: the picture is missing, unreadable or too large, or its values are neither of 8 nor of 16 bits.
    """
    with _opened(path) as image:
        return _decode(image, path)


def read_sequence(path: Path) -> Iterator[tuple[Frame, float]]:
    """Read all images of a picture, each with its duration in seconds; 0 where the file gives none.

    Raises:
        ClipError: as `read_image`.
    """
    with _opened(path) as image:
        for number in range(_image_count(image, path)):
            try:
                image.seek(number)
                image.load()  # WebP knows the duration of a decoded image only
                duration = float(image.info.get("duration") or 0) / 1000
                frame = _decode(image.copy(), path)
            except ClipError:
                raise
            except Exception as error:  # decoders raise errors of many libraries
                raise ClipError(
                    f"{path}: unreadable after {number} frames ({first_line(error)}); replace it"
                ) from error
            yield frame, duration


def sequence_durations(path: Path) -> list[float]:
    """Durations, in seconds, of the images of a picture.

    Raises:
        ClipError: as `read_image`.
    """
    with _opened(path) as image:
        count, found = _image_count(image, path), []
        try:
            for number in range(count):
                image.seek(number)
                image.load()
                found.append(float(image.info.get("duration") or 0) / 1000)
        except Exception as error:  # decoders raise errors of many libraries
            raise ClipError(
                f"{path}: unreadable after {len(found)} frames ({first_line(error)}); replace it"
            ) from error
        return found


def is_sequence(path: Path) -> bool:
    """True if a picture holds several images; False for one, and for a file that cannot be read."""
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with _opened(path) as image:
            return _image_count(image, path) > 1
    except ClipError:
        return False


def _opened(path: Path) -> Image.Image:
    try:
        check_regular_file(path)
    except UserError as error:
        raise ClipError(str(error)) from error
    if path.suffix.lower() in HEIF_SUFFIXES:
        _register_heif(path)
    try:
        return Image.open(path)
    except Exception as error:  # decoders raise errors of many libraries
        raise _unreadable(path, error) from error


def _image_count(image: Image.Image, path: Path) -> int:
    """Number of images in a picture, for which Pillow reads the directories of all pages of a TIFF."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # decoders raise errors of many libraries
        raise _unreadable(path, error) from error


def _decode(image: Image.Image, path: Path) -> Frame:
    try:
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("RGB", "L"):  # by far the commonest
            return _three_channels(np.asarray(image))
        if image.mode.startswith("I;16"):
            return _three_channels(_to_8_bits(np.asarray(image), path))
        if image.mode in ("I", "F"):
            raise ClipError(f"{path}: expected 8 or 16 bits per channel, got 32; save it as an 8-bit PNG")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        elif image.mode == "CMYK":
            image = _cmyk_to_rgb(image)
        return _three_channels(np.asarray(image.convert("RGB")))
    except ClipError:
        raise
    except Exception as error:  # decoders raise errors of many libraries
        raise _unreadable(path, error) from error


def unreadable_after(count: int, path: Path, error: Exception) -> ClipError:
    """Error of a file whose first `count` frames could be read."""
    reason = first_line(error).replace(str(path), path.name)
    return ClipError(f"{path}: unreadable after {count} frames ({reason}); replace it")


def _unreadable(path: Path, error: Exception) -> ClipError:
    reason = first_line(error).replace(str(path), path.name)
    return ClipError(f"{path}: unreadable image ({reason}); replace it, or save it as an 8-bit PNG")


def _to_8_bits(image: NDArray[Any], path: Path) -> Frame:
    """Scale 16 bits to 8; values of at most 12 bits are those of a 12-bit camera."""
    if 0 < image.max() <= _TWELVE_BITS:
        _note_twelve_bits(path.parent)
        return np.round(image * (255 / _TWELVE_BITS)).astype(np.uint8)
    return np.round(image / 257).astype(np.uint8)


@lru_cache
def _note_twelve_bits(folder: Path) -> None:
    log.warning("%s: 16-bit pictures with values up to 4095 are read as 12-bit pictures", folder)


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert by the colour profile in the file, if it has a usable one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _three_channels(image: NDArray[Any]) -> Frame:
    if image.ndim == 2:
        image = np.broadcast_to(image[:, :, None], (*image.shape, 3))
    return np.ascontiguousarray(image, np.uint8)


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise ClipError(
            f"{path}: reading HEIC needs the package pillow-heif; install it, or convert the file"
        ) from error
    pillow_heif.register_heif_opener()
