"""Reads the frames of a release's clip one after the other."""

from collections.abc import Iterator
from itertools import islice

from clips.reading import Clip, ClipError, Frame, read_frames, read_image
from preparation.clip_record import ClipRecord
from preparation.failures import UnreadableInput


def source_frames(record: ClipRecord, used: range) -> Iterator[Frame]:
    """Decode frames of a clip, one at a time.

    Args:
        used: indices in `record.frame_numbers`, ascending by one.
    Yields:
        uint8 (H, W, 3) RGB, all of one size.
    Raises:
        ClipError: a frame that cannot be read or has another size than the first; the message names it.
        UnreadableInput: the video has fewer frames than before.
    """
    size = None
    count = 0
    for at, frame in zip(used, _decoded(record, used), strict=False):
        name = record.frames[at] if record.frames else f"{record.source}: frame {record.frame_numbers[at]}"
        size = size or frame.shape
        if frame.shape != size:
            raise ClipError(
                f"{name}: {frame.shape[1]} x {frame.shape[0]} among frames of {size[1]} x {size[0]}; remove it"
            )
        count += 1
        yield frame
    if count < len(used):
        raise UnreadableInput(f"{record.source}: expected {used.stop} frames, found {used.start + count}; replace it")


def _decoded(record: ClipRecord, used: range) -> Iterator[Frame]:
    if record.frames:
        return (read_image(record.frames[at]) for at in used)
    return islice(read_frames(Clip(record.name, record.source), None), used.start, used.stop)
