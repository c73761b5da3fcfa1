"""Sizes of networks against the size of frames, so that an experiment that cannot be built or run is refused first."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

_DISCRIMINATOR_KERNEL = 4  # without padding
_HEAT_MAP_KERNEL = 7


class HasChannels(Protocol):
    """A network whose channels double from level to level."""

    @property
    def block_expansion(self) -> int: ...

    @property
    def max_features(self) -> int: ...


def raise_problems(problems: Iterable[str]) -> None:
    """Raise ValueError with one line per problem, if there are any."""
    if lines := list(problems):
        raise ValueError("\n".join(lines))


def check_channels(network: HasChannels) -> None:
    """Raise ValueError if the first level has more channels than any level may have."""
    if network.block_expansion > network.max_features:
        raise ValueError(
            f"block_expansion: expected at most max_features, {network.max_features}, got {network.block_expansion}"
        )


def network_problems(
    network: str, frame: tuple[int, int], scale_factor: float, levels: int, *, batch_size: int | None = None
) -> Iterator[str]:
    """Problems of a network that halves a frame level by level.

    Args:
        network: section of the network.
        frame: height, width.
        scale_factor: size of the network's input relative to the frame.
        levels: number of times that the input is halved.
        batch_size: of training, for batch normalisation; None: each map is normalised by itself.
    """
    divisor = round(2**levels / scale_factor)
    wrong = {name: side for name, side in zip(("height", "width"), frame, strict=True) if side % divisor}
    if wrong:
        yield (
            f"dataset_params.frame_shape: expected a {' and a '.join(wrong)} divisible by {divisor} ({network}), got "
            f"{' and '.join(map(str, wrong.values()))}; change it, or lower the number of blocks"
        )
    else:
        yield from single_value_problems(network, (frame[0] // divisor, frame[1] // divisor), batch_size)


def single_value_problems(network: str, lowest: tuple[int, int], batch_size: int | None) -> Iterator[str]:
    """Problems of the normalisation of a single value at the lowest level, a map of the size `lowest`."""
    if lowest[0] * lowest[1] * (batch_size or 1) < 2:
        yield (
            f"dataset_params.frame_shape: expected more than one value at the lowest level of {network}, which would "
            f"be normalised to 0; use larger frames or fewer blocks{', or a larger batch_size' if batch_size else ''}"
        )


def heat_map_problems(network: str, frame: tuple[int, int], scale_factor: float, pad: int) -> Iterator[str]:
    """Problems of a detector whose heat maps are smaller than its input by its 7 x 7 kernel, except for the padding."""
    smallest = min(frame) * scale_factor + 2 * pad - (_HEAT_MAP_KERNEL - 1)
    if smallest < 2:
        yield (
            f"model_params.{network}.pad: expected heat maps of at least 2 x 2 values, got {max(0, int(smallest))} "
            f"from frames of {list(frame)} at scale_factor {scale_factor:g}; raise pad (3 keeps the size)"
        )


def pyramid_problems(key: str, frame: tuple[int, int], scales: Sequence[float], smallest: int) -> Iterator[str]:
    """Problems of an image pyramid whose smallest image must have `smallest` pixels on its shorter side."""
    least = min(scales)
    if int(min(frame) * least) < smallest:
        yield (
            f"{key}: expected images of at least {smallest} pixels, got {int(min(frame) * least)} at scale {least:g} "
            f"of frames of {list(frame)}; leave that scale out"
        )


def discriminator_problems(frame: tuple[int, int], scales: Sequence[float], levels: int) -> Iterator[str]:
    """Problems of the patch discriminator, whose maps shrink by 3 and then by half at every level but the last."""
    side = int(min(frame) * min(scales))
    for level in range(levels):
        side -= _DISCRIMINATOR_KERNEL - 1
        # Instance normalisation, from the second level on, needs more than one value.
        if side < (1 if level == 0 else 2):
            yield (
                f"model_params.discriminator_params.num_blocks: expected at most {level} for frames of {list(frame)} "
                f"at scale {min(scales):g}, got {levels}"
            )
            return
        side //= 2


def smallest_compared(perceptual: Sequence[float], gradient: float) -> int:
    """Least side, in pixels, of the images that the losses compare."""
    layers = len(perceptual) if any(perceptual) else 0
    return max(2 ** max(0, layers - 1), 2 if gradient else 1)
