"""Reader of videos and animated pictures as they are played: upright, and with their own timing."""

import logging
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from clips.frame_times import constant_rate
from clips.pictures import MAX_PIXELS, ClipError, Frame, read_sequence, sequence_durations, unreadable_after
from errors import UserError
from parsing.files import check_regular_file

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".gif", ".avi", ".mkv", ".webm"})
SAME_RATE = 0.01  # the rate in the header stands, unless the times of the frames differ from it by more than this part

log = logging.getLogger("clips")


def read_video(path: Path) -> Iterator[Frame]:
    """Decode a video; frames of uneven timing are repeated until they have a constant rate.

    Raises:
        ClipError: the file is unreadable or holds no frames.
    """
    rate, repeats = _timing(path)
    _report_repeats(path, rate, repeats.values())
    count = 0
    try:
        with _opened(path) as video:
            for frame in video.decode(video=0):
                if frame.width * frame.height > MAX_PIXELS:
                    raise ClipError(
                        f"{path}: frames of {frame.width} x {frame.height} pixels are too large; shrink them"
                    )
                count += 1
                picture = _upright(frame)
                for _ in range(1 if frame.pts is None else repeats.get(frame.pts, 1)):
                    yield picture
    except ClipError:
        raise
    except Exception as error:  # decoders raise errors of many libraries
        raise unreadable_after(count, path, error) from error
    if not count:
        raise ClipError(f"{path}: a video without frames; replace or remove it")


def video_rate(path: Path) -> float | None:
    """Frames per second at which `read_video` gives the frames; None if the file does not say.

    Raises:
        ClipError: the file is unreadable.
    """
    rate, _ = _timing(path)
    return None if rate is None else float(rate)


def read_animation(path: Path) -> Iterator[Frame]:
    """Read all images of a picture; those of uneven timing are repeated until they have a constant rate.

    Raises:
        ClipError: an image is unreadable.
    """
    durations = sequence_durations(path)
    if not all(duration > 0 for duration in durations):
        yield from (frame for frame, _ in read_sequence(path))
        return
    rate, repeats = _constant_rate(path, np.array(durations))
    _report_repeats(path, rate, repeats.tolist())
    for (frame, _), repeat in zip(read_sequence(path), repeats, strict=True):
        for _ in range(repeat):
            yield frame


def animation_rate(path: Path) -> float | None:
    """Frames per second at which `read_animation` gives the images; None if the file does not say.

    Raises:
        ClipError: the file is unreadable.
    """
    durations = sequence_durations(path)
    if not durations or not all(duration > 0 for duration in durations):
        return None
    return _constant_rate(path, np.array(durations))[0]


def _timing(path: Path) -> tuple[Fraction | float | None, dict[int, int]]:
    """Constant rate of a video, and the repeats of its frames by time stamp."""
    times: list[int] = []
    try:
        with _opened(path) as video:
            stream = video.streams.video[0]
            rate, unit = stream.guessed_rate, float(stream.time_base or 0)
            for packet in video.demux(stream):
                if packet.pts is None:
                    if packet.size:
                        return rate, {}
                    continue
                times.append(packet.pts)
    except ClipError:
        raise
    except Exception as error:  # decoders raise errors of many libraries
        raise unreadable_after(0, path, error) from error
    ordered = sorted(set(times))
    if len(ordered) < 2 or not unit:
        return rate, {}
    intervals = np.diff(ordered) * unit
    durations = np.append(intervals, np.median(intervals))  # writers do not agree on the duration of the last frame
    found, repeats = _constant_rate(path, durations)
    if (repeats == 1).all() and rate and abs(found / float(rate) - 1) < SAME_RATE:
        return rate, {}
    return found, dict(zip(ordered, repeats.tolist(), strict=True))


def _constant_rate(path: Path, durations: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    try:
        return constant_rate(durations)
    except ValueError as error:
        raise ClipError(f"{path}: {error}") from error


def _report_repeats(path: Path, rate: Fraction | float | None, repeats: Collection[int]) -> None:
    added = sum(repeats) - len(repeats)
    if added:
        message = "%s: varying frame rate; read at %.4g frames per second, %d frames are repeated to keep the time"
        log.warning(message, path, rate, added)


def _opened(path: Path) -> av.container.InputContainer:
    """Open a video by PyAV itself: imageio collects garbage after every file, which takes a while beside torch."""
    try:
        check_regular_file(path)
    except UserError as error:
        raise ClipError(str(error)) from error
    return av.open(str(path), metadata_errors="replace")


def _upright(frame: av.VideoFrame) -> Frame:
    """Convert a frame to RGB and turn it as the file says; a phone stores the turn instead of turning the picture.

    Raises:
        ValueError: a turn by another angle than a multiple of 90 degrees.
    """
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    side_data: Any = frame.side_data  # PyAV's stubs describe another class
    matrix = side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    turn = {(1, 0, 0, 1): 0, (0, 1, -1, 0): -1, (-1, 0, 0, -1): 2, (0, -1, 1, 0): 1}
    if a * d - b * c < 0:  # mirrored, then turned
        picture, a, b = picture[:, ::-1], -a, -b
    signs = tuple(int(np.sign(value)) for value in (a, b, c, d))
    if signs not in turn:
        raise ValueError("turned by another angle than 90, 180 or 270 degrees")
    return np.ascontiguousarray(np.rot90(picture, turn[signs]))
