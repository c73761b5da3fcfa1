"""Frame rates that video files can hold, checked before anything is generated."""

MIN_FPS, MAX_FPS = 0.1, 10_000.0


def check_fps(fps: float, name: str) -> None:
    """Check a frame rate; `name` is its place in the message.

    Raises:
        ValueError: outside of what video files can hold, or not a number.
    """
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"{name}: expected frames per second from {MIN_FPS:g} to {MAX_FPS:,.0f}, got {fps:g}")
