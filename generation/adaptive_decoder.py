"""Decoding of a clip's frames with as few tiles as a bound on the error allows.

The error is measured: frames are decoded as a whole, too, whenever the face has moved twice as far as in the last such
frame, and at least once in `_INTERVAL` frames. As long as the error is above the bound, more tiles are decoded.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from generation.fast_convolutions import double_fast
from generation.tile_decoder import DecoderInput, TileDecoder
from generation.winograd import TILE
from modules.model import MotionModel
from modules.tps.inpainting_network import InpaintingNetwork

log = logging.getLogger("generation")

_SMALLEST = 128 * 128  # pixels of a frame, below which tiles are no gain
_INTERVAL = 48  # frames
_GROWTH = 4.0  # of the movement's energy, after which the error is measured again
_MARGIN = 0.5  # of the bound, that a measured error may use up, because movement grows between measurements
_LARGEST_SHARE = 0.5  # of all products, from which decoding the whole frame is as fast
_VISIBLE = 6e-8  # mean squared movement, a twentieth of the error of rounding to grey levels, below which none is seen
_SMALLEST_ERROR = 1e-10  # mean squared; that of single precision is smaller
# Part of the change that may be left out at each level, and levels with neighbours of changed tiles; see `TileDecoder`.
_STEPS = ((1.0, 0), (0.1, 0), (0.03, 1), (0.01, 1), (0.003, 1), (0.001, 2))


@dataclass
class _Clip:
    """State of the current clip.

    Attributes:
        image: (C, H, W), its first frame.
        deformed: (C, H, W), the warped source of its first frame.
        step: of `_STEPS`; their number for whole frames.
        checked: mean squared movement of the last frame whose error was measured.
        unchecked: frames since then.
    """

    image: Tensor
    deformed: Tensor
    step: int = 0
    checked: float = 0.0
    unchecked: int = 0


class AdaptiveDecoder:
    """In the place of `InpaintingNetwork.decode`, for frames of one clip after another.

    Args:
        network: on the CPU, in evaluation.
        largest_error: energy of the error relative to that of the change since the first frame.
    """

    def __init__(self, network: InpaintingNetwork, largest_error: float):
        self.largest_error = largest_error
        self._exactly = network.decode
        self._conditioned = network.au_conditioning == "concat"
        self._decode = TileDecoder(network)
        self._clip: _Clip | None = None

    def start_clip(self) -> None:
        """Forget the clip before."""
        self._clip = None

    def __call__(
        self, warped: list[Tensor], mask: Tensor, deformed: Tensor, au_diff: Tensor | None, active: Tensor | None
    ) -> Tensor:
        """See `InpaintingNetwork.decode`."""
        coarsest = warped[0].shape[-2:]
        if mask[0].numel() < _SMALLEST or coarsest[0] % TILE or coarsest[1] % TILE:
            return self._exactly(warped, mask, deformed, au_diff, active)
        constant = au_diff.mean(-1) if self._conditioned and au_diff is not None else None
        images = []
        for b in range(len(mask)):
            frame = DecoderInput(
                [level[b] for level in warped],
                mask[b],
                None if constant is None else constant[b],
                None if active is None else active[b],
            )
            images.append(self._next(frame, deformed[b]))
        return torch.stack(images)

    def _next(self, frame: DecoderInput, deformed: Tensor) -> Tensor:
        if self._clip is None:
            image = _blended(self._decode.first(frame), frame.mask, deformed)
            self._clip = _Clip(image, deformed)
            return image
        clip = self._clip
        if clip.step == len(_STEPS):
            return _blended(self._decode.whole(frame), frame.mask, deformed)
        moved = float((deformed - clip.deformed).square().mean())
        clip.unchecked += 1
        if moved > _GROWTH * clip.checked + _VISIBLE or clip.unchecked >= _INTERVAL:
            clip.checked, clip.unchecked = max(moved, clip.checked), 0
            return self._checked(clip, frame, deformed)
        return _blended(self._decode.changed(frame, *_STEPS[clip.step])[0], frame.mask, deformed)

    def _checked(self, clip: _Clip, frame: DecoderInput, deformed: Tensor) -> Tensor:
        """Decode a frame as a whole, and take the first step whose error is small."""
        exact = _blended(self._decode.whole(frame), frame.mask, deformed)
        allowed = _MARGIN * self.largest_error * (exact - clip.image).square().mean() + _SMALLEST_ERROR
        while clip.step < len(_STEPS):
            decoded, share = self._decode.changed(frame, *_STEPS[clip.step])
            error = (_blended(decoded, frame.mask, deformed) - exact).square().mean()
            if share > _LARGEST_SHARE:
                clip.step = len(_STEPS)
            elif error <= allowed:
                log.debug("decoding %.0f %% of a frame, error %.2g of %.2g", 100 * share, error, allowed)
                break
            else:
                clip.step += 1
        return exact


def decode_adaptively(model: MotionModel, largest_error: float) -> AdaptiveDecoder | None:
    """Let a model on the CPU decode adaptively; None for a family without `InpaintingNetwork`."""
    network = model.networks().get("inpainting_network")
    if not isinstance(network, InpaintingNetwork):
        return None
    decoder = AdaptiveDecoder(network, largest_error)
    network.decode = decoder  # type: ignore[method-assign]  # the instance's, not the class's
    double_fast(model.networks()["dense_motion_network"])
    return decoder


def _blended(decoded: Tensor, mask: Tensor, deformed: Tensor) -> Tensor:
    """Decoded image where the mask hides the warped source."""
    return decoded * (1 - mask) + deformed * mask
