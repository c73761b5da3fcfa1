"""Limits of generated clips, checked before anything is generated.

A micro-expression lasts less than half a second, and the fastest cameras of the data sets take 200 frames per second.
"""

MAX_FRAMES = 100_000
MIN_FPS, MAX_FPS = 0.1, 10_000.0


def check_length(frames: int) -> None:
    """Check the length of a clip.

    Raises:
        ValueError: longer than `MAX_FRAMES`, of which landmarks and PNG files would fill memory and disk.
    """
    if frames > MAX_FRAMES:
        raise ValueError(f"expected a clip of at most {MAX_FRAMES:,} frames, got {_shown(frames)}; correct the times")


def check_fps(fps: float, name: str) -> None:
    """Check a frame rate; `name` is its place in the message.

    Raises:
        ValueError: outside of what video files can hold, or not a number.
    """
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"{name}: expected frames per second from {MIN_FPS:g} to {MAX_FPS:,.0f}, got {fps:g}")


def _shown(number: int) -> str:
    return f"{number:,}" if number < 10**15 else "more than 10^15"
