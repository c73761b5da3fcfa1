"""Copies the sound of a driving video into the generated one."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from clips.reading import VIDEO_SUFFIXES
from core.files import replacing_file

COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
"""Codecs that players read in .mp4; others are encoded as AAC."""
LARGEST_DIFFERENCE = 0.1
"""Seconds by which the durations of both videos may differ; a few frames are lost at the end of some files."""

log = logging.getLogger("animate")


def add_audio(video: Path, driving: Path) -> None:
    """Add the sound of a driving video to a generated one of the same duration; a line says why it is left out.

    Args:
        video: finished .mp4, which is replaced; others keep no sound.
        driving: clip that was driven with; nothing happens if it is not a video with sound.
    """
    if not driving.is_file() or driving.suffix.lower() not in VIDEO_SUFFIXES:
        return
    with av.open(str(driving), metadata_errors="replace") as source:
        if not source.streams.audio or not source.streams.video:
            return
        if video.suffix.lower() != ".mp4":
            log.info("%s: the sound of %s is left out, because %s files have none", video, driving, video.suffix)
            return
        start, duration = _times(source)
        with av.open(str(video)) as silent:
            found = silent.duration / av.time_base if silent.duration else 0.0
            if duration is not None and abs(found - duration) > LARGEST_DIFFERENCE:
                message = "%s: the sound of %s is left out, because the video lasts %.2f s instead of %.2f s"
                log.info(message, video, driving, found, duration)
                return
            with replacing_file(video, "make room or choose another result") as temporary:
                _write(temporary, silent, source, start)


def _times(source: Any) -> tuple[float, float | None]:
    """Start and duration of the video stream, seconds; the duration is None if the file does not say."""
    stream = source.streams.video[0]
    unit = float(stream.time_base or 0)
    start = (stream.start_time or 0) * unit
    return start, stream.duration * unit if stream.duration else None


def _write(path: Path, silent: Any, source: Any, start: float) -> None:
    """Write the pictures of one file and the sound of another, whose clock shows `start` at the first picture."""
    with av.open(str(path), "w", format="mp4") as result:
        pictures = result.add_stream_from_template(silent.streams.video[0])
        heard = source.streams.audio[0]
        if heard.codec_context.codec.canonical_name in COPIED:
            sound = result.add_stream_from_template(heard)
            packets = _shifted(source.demux(heard), start, heard.time_base)
        else:
            sound = result.add_stream("aac", rate=heard.codec_context.sample_rate)
            packets = _encoded(source.decode(heard), sound, start)
        for packet in silent.demux(silent.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                result.mux(packet)
        for packet in packets:
            packet.stream = sound
            result.mux(packet)


def _shifted(packets: Iterator[Any], start: float, unit: Fraction) -> Iterator[Any]:
    """Packets from the first picture on, with times counted from it."""
    offset = round(start / unit)
    for packet in packets:
        if packet.dts is not None and packet.pts is not None and packet.pts >= offset:
            packet.pts -= offset
            packet.dts -= offset
            yield packet


def _encoded(frames: Iterator[Any], stream: Any, start: float) -> Iterator[Any]:
    """Encode decoded sound from the first picture on, with times counted from it."""
    for frame in frames:
        offset = round(start / frame.time_base) if frame.time_base else 0
        if frame.pts is None or frame.pts >= offset:
            frame.pts = None if frame.pts is None else frame.pts - offset
            yield from stream.encode(frame)
    yield from stream.encode(None)
