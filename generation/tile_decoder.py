"""The decoder of `InpaintingNetwork`, on those tiles of a frame that differ from the first frame of its clip.

The first frame is decoded as a whole, and what enters each convolution is kept. In later frames, tiles whose input has
hardly changed keep those values, and the statistics of the normalisation stay those of the first frame.

Legend: H x W map, C channels, T tiles of 4 x 4 pixels, A action units.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.tile_maps import PaddedMap, StoredNorm, children, dilated, to_tiles, union
from generation.winograd import TILE, WinogradConvolution
from modules.blocks import ResBlock2d, UpBlock2d
from modules.geometry import resize_map
from modules.tps.au_conditioning import AUModulation
from modules.tps.inpainting_network import InpaintingNetwork

_FINAL = 3  # border of the last convolution
_NOTHING = 1e-12  # energy of a tile's change, relative to that of the tile, which rounding explains


@dataclass(frozen=True)
class DecoderInput:
    """Input of the decoder for one frame.

    Attributes:
        warped: maps coarse to fine, (C, h, w), the last (C, H, W).
        mask: (1, H, W), 1 keeps the warped source.
        constant: (A,), values of channels that are appended at every level; None for none.
        active: (A, h, w), action-unit difference by region; None for a network without modulation.
    """

    warped: list[Tensor]
    mask: Tensor
    constant: Tensor | None
    active: Tensor | None


@dataclass
class _Memory:
    """Maps and statistics of a decoded frame.

    Attributes:
        maps: inputs of the convolutions, in their order.
        norms: normalisations, in their order.
        joined: (T, 4, 4, C), input of each level, and of the last convolution.
        image: (C, H, W) in [0, 1].
    """

    maps: list[PaddedMap] = field(default_factory=list)
    norms: list[StoredNorm] = field(default_factory=list)
    joined: list[Tensor] = field(default_factory=list)
    image: Tensor = field(default_factory=lambda: torch.empty(0))


class _Level:
    """Kernels, normalisations and modulations of two residual blocks and of the doubling that follows."""

    def __init__(self, network: InpaintingNetwork, level: int):
        blocks = [cast(ResBlock2d, network.resblock[2 * level + i]) for i in (0, 1)]
        up = cast(UpBlock2d, network.up_blocks[level])
        modulations: list[AUModulation | None] = [None] * 3
        if network.au_conditioning == "film":
            modulations = [cast(AUModulation, network.au_modulation[3 * level + i]) for i in range(3)]
        self.residual = [
            (_kernel(block.conv1), _kernel(block.conv2), modulation)
            for block, modulation in zip(blocks, modulations[:2], strict=True)
        ]
        self.up, self.up_modulation = _kernel(up.conv, doubled=True), modulations[2]
        norms = [norm for block in blocks for norm in (block.norm1, block.norm2)]
        self.norms = [cast(nn.InstanceNorm2d, norm) for norm in (*norms, up.norm)]
        self.nothing = torch.empty(0, TILE, TILE, up.conv.out_channels)
        self.channels = blocks[0].conv1.in_channels


class TileDecoder:
    """Decodes the frames of one clip, the first as a whole.

    Args:
        network: on the CPU, in evaluation.
    """

    def __init__(self, network: InpaintingNetwork):
        self.levels = [_Level(network, level) for level in range(len(network.up_blocks))]
        self.final = network.final
        self._first: DecoderInput | None = None
        self._before: list[Tensor] = []
        self._memory = _Memory()

    def first(self, frame: DecoderInput) -> Tensor:
        """Decode the first frame, and keep what later frames share: (C, H, W) in [0, 1]."""
        self._first = frame
        self._before = [to_tiles(x) for x in (*frame.warped[:-1], torch.cat([frame.warped[-1], frame.mask]))]
        self._memory = self._whole(frame)
        return self._memory.image

    def whole(self, frame: DecoderInput) -> Tensor:
        """Decode a frame as a whole, exactly: (C, H, W) in [0, 1]."""
        return self._whole(frame).image

    def changed(self, frame: DecoderInput, dropped: float, halo: int = 0) -> tuple[Tensor, float]:
        """Decode the tiles of a frame that have changed.

        Args:
            dropped: part of the change's energy, at every level, that may be left out; 1 decodes nothing.
            halo: number of levels, from the coarsest, in which the neighbours of changed tiles are decoded, too.
        Returns:
            (C, H, W) in [0, 1], and the share of tiles that were decoded, by their number of products.
        """
        assert self._first is not None, "the first frame was decoded"
        if dropped >= 1:
            return self._memory.image, 0.0
        try:
            return self._changed(frame, dropped, halo)
        finally:
            for one in self._memory.maps:
                one.restore()

    def _whole(self, frame: DecoderInput) -> _Memory:
        memory = _Memory()
        out = frame.warped[0][:0]
        for number, level in enumerate(self.levels):
            size = frame.warped[number].shape[1:]
            x = to_tiles(frame.warped[number])
            if number:
                x = torch.cat([out, x], dim=-1)
            x = _with_constant(x, frame.constant)
            memory.joined.append(x)
            memory.maps += [PaddedMap((size[0], size[1]), level.channels) for _ in range(5)]
            memory.norms += [StoredNorm(norm) for norm in level.norms]
            out = self._level(number, memory, x, torch.arange(len(x)), frame, learn=True)
        entered = out * (1 - to_tiles(frame.mask)) + to_tiles(frame.warped[-1])
        memory.joined.append(out)
        height, width = frame.mask.shape[1:]
        last = PaddedMap((height, width), entered.shape[-1], _FINAL)
        last.write(torch.arange(len(entered)), entered, temporarily=False)
        memory.maps.append(last)
        memory.image = self._finish(last.padded)
        return memory

    def _level(
        self, number: int, memory: _Memory, x: Tensor, tiles: Tensor, frame: DecoderInput, *, learn: bool
    ) -> Tensor:
        """Compute tiles of a level: (T, 4, 4, C) -> (4T, 4, 4, C'), tiles of the doubled map."""
        level, width = self.levels[number], frame.warped[number].shape[2]
        maps, norms = memory.maps[5 * number : 5 * number + 5], memory.norms[5 * number : 5 * number + 5]
        active = _active_tiles(frame.active, frame.warped[number].shape[1:], tiles)

        def normalised(x: Tensor, norm: StoredNorm, modulation: AUModulation | None, active: Tensor | None) -> Tensor:
            if learn:
                norm.learn(x)
            x = norm(x)
            return (x if modulation is None or active is None else _modulated(modulation, x, active)).relu_()

        for i, (conv1, conv2, modulation) in enumerate(level.residual):
            maps[2 * i].write(tiles, normalised(x, norms[2 * i], None, None), temporarily=not learn)
            inner = conv1(maps[2 * i].padded, tiles)
            inner = normalised(inner, norms[2 * i + 1], modulation, active)
            maps[2 * i + 1].write(tiles, inner, temporarily=not learn)
            x = conv2(maps[2 * i + 1].padded, tiles).add_(x)
        maps[4].write(tiles, x, temporarily=not learn)
        finer = children(tiles, width // TILE)
        out = level.up(maps[4].padded, finer)
        size = (2 * frame.warped[number].shape[1], 2 * width)
        return normalised(out, norms[4], level.up_modulation, _active_tiles(frame.active, size, finer))

    def _changed(self, frame: DecoderInput, dropped: float, halo: int) -> tuple[Tensor, float]:
        first, memory = self._first, self._memory
        assert first is not None, "checked by the caller"
        computed, possible = 0.0, 0.0
        out, known = memory.joined[0][:0], torch.empty(0, dtype=torch.long)
        for number, level in enumerate(self.levels):
            x, candidates = self._entering(number, frame, out, known)
            reference = memory.joined[number][candidates]
            energy = (x - reference).square_().sum((1, 2, 3))
            energy += _modulation_energy(level, first, frame, number, candidates, reference)
            chosen = _largest(energy, reference, dropped)
            tiles, x = candidates[chosen], x[chosen]
            if number < halo and len(tiles):
                wider = dilated(tiles, frame.warped[number].shape[1:])
                around = memory.joined[number][wider]
                around[torch.searchsorted(wider, tiles)] = x
                tiles, x = wider, around
            products = level.channels**2 * 4 + level.channels * level.up.kernel.shape[-1] * 4
            computed += len(tiles) * products
            possible += len(memory.joined[number]) * products
            out = self._level(number, memory, x, tiles, frame, learn=False) if len(tiles) else level.nothing
            known = children(tiles, frame.warped[number].shape[2] // TILE)
        return self._last(frame, out, known, dropped), computed / possible

    def _entering(self, number: int, frame: DecoderInput, out: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Input of a level at every tile that may have changed: (T, 4, 4, C) and (T,)."""
        warped = to_tiles(frame.warped[number])
        differs = (warped != self._before[number]).flatten(1).any(dim=1)
        candidates = union(differs.nonzero()[:, 0], known)
        if not number:
            return _with_constant(warped[candidates], frame.constant), candidates
        below = self._memory.joined[number][candidates][..., : -warped.shape[-1]]
        if frame.constant is not None:
            below = below[..., : -len(frame.constant)]
        below[torch.searchsorted(candidates, known)] = out
        return _with_constant(torch.cat([below, warped[candidates]], dim=-1), frame.constant), candidates

    def _last(self, frame: DecoderInput, out: Tensor, known: Tensor, dropped: float) -> Tensor:
        """Last convolution, where what enters it has changed and reaches the image."""
        memory = self._memory
        now, before = to_tiles(torch.cat([frame.warped[-1], frame.mask])), self._before[-1]
        candidates = union((now != before).flatten(1).any(dim=1).nonzero()[:, 0], known)
        now, before = now[candidates], before[candidates]
        decoded = memory.joined[-1][candidates]
        before = decoded * (1 - before[..., -1:]) + before[..., :-1]
        decoded[torch.searchsorted(candidates, known)] = out
        shown = 1 - now[..., -1:]
        entered = decoded * shown + now[..., :-1]
        energy = ((entered - before) * shown).square_().sum((1, 2, 3))
        chosen = _largest(energy, before, dropped)
        if not chosen.any():
            return memory.image
        memory.maps[-1].write(candidates[chosen], entered[chosen], temporarily=True)
        columns = frame.mask.shape[2] // TILE
        rows, places = candidates[chosen] // columns, candidates[chosen] % columns
        top, left = (int(x.min()) * TILE for x in (rows, places))
        bottom, right = ((int(x.max()) + 1) * TILE for x in (rows, places))
        image = memory.image.clone()
        image[:, top:bottom, left:right] = self._finish(
            memory.maps[-1].padded[top : bottom + 2 * _FINAL, left : right + 2 * _FINAL]
        )
        return image

    def _finish(self, padded: Tensor) -> Tensor:
        """Last convolution and sigmoid: (h + 6, w + 6, C) -> (C', h, w)."""
        return torch.sigmoid(F.conv2d(padded.permute(2, 0, 1)[None], self.final.weight, self.final.bias))[0]


def _kernel(conv: nn.Conv2d, *, doubled: bool = False) -> WinogradConvolution:
    assert conv.bias is not None, "convolutions of the decoder have a bias"
    return WinogradConvolution(conv.weight.detach(), conv.bias.detach(), doubled=doubled)


def _with_constant(x: Tensor, constant: Tensor | None) -> Tensor:
    return x if constant is None else torch.cat([x, constant.expand(*x.shape[:-1], -1)], dim=-1)


def _active_tiles(active: Tensor | None, size: tuple[int, ...], tiles: Tensor) -> Tensor | None:
    """Action-unit difference of tiles of a map: (A, h, w) -> (T, 4, 4, A)."""
    return None if active is None else to_tiles(resize_map(active[None], (size[0], size[1]))[0])[tiles]


def _modulated(modulation: AUModulation, x: Tensor, active: Tensor) -> Tensor:
    """`AUModulation` on tiles."""
    return x * (1 + active @ modulation.scale.mT) + active @ modulation.shift.mT


def _modulation_energy(
    level: _Level, first: DecoderInput, frame: DecoderInput, number: int, tiles: Tensor, reference: Tensor
) -> Tensor:
    """Energy of the change by modulation, relative to features of the size of the level's input: (T,)."""
    size, total = frame.warped[number].shape[1:], reference.new_zeros(len(tiles))
    now, before = (_active_tiles(one.active, size, tiles) for one in (frame, first))
    if now is None or before is None:
        return total
    for _, _, modulation in level.residual:
        assert modulation is not None, "a network with `active` is modulated"
        for weight in (modulation.scale, modulation.shift):
            total += ((now - before) @ weight.mT).square_().sum((1, 2, 3))
    return total * reference.var() if len(reference) else total


def _largest(energy: Tensor, reference: Tensor, dropped: float) -> Tensor:
    """True for the tiles of largest energy that leave out at most a part `dropped` of it."""
    floor = _NOTHING * reference.square().sum((1, 2, 3))
    order = energy.argsort()
    left_out = energy[order].cumsum(0) <= dropped * energy.sum()
    chosen = torch.ones_like(left_out)
    chosen[order[left_out]] = False
    return chosen & (energy > floor)
