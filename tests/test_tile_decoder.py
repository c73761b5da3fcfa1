"""Faster decoding: convolutions by Winograd, tiles that have changed, and the bound on the error."""

import pytest
import torch
import torch.nn.functional as F

from config.tps import InpaintingParams
from generation.adaptive_decoder import AdaptiveDecoder
from generation.fast_convolutions import double_fast
from generation.tile_decoder import DecoderInput, TileDecoder
from generation.winograd import WinogradConvolution
from modules.blocks import UpBlock2d
from modules.geometry import make_coordinate_grid, warp_features
from modules.tps.inpainting_network import InpaintingNetwork

SIZE = 128


def untiled(tiles: torch.Tensor, columns: int) -> torch.Tensor:
    rows = len(tiles) // columns
    return tiles.view(rows, columns, 4, 4, -1).permute(4, 0, 2, 1, 3).reshape(-1, rows * 4, columns * 4)


@pytest.mark.parametrize("doubled", [False, True])
def test_winograd_equals_the_convolution(doubled):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(5, 7, 3, padding=1).requires_grad_(False)
    x = torch.randn(1, 5, 12, 16)
    expected = conv(F.interpolate(x, scale_factor=2.0) if doubled else x)[0]
    fast = WinogradConvolution(conv.weight, conv.bias, doubled=doubled)
    padded = F.pad(x[0], (1, 1, 1, 1)).permute(1, 2, 0).contiguous()
    columns = expected.shape[2] // 4
    torch.testing.assert_close(untiled(fast(padded), columns), expected, atol=1e-5, rtol=1e-5)
    some = torch.tensor([1, 5, 2])
    assert torch.equal(fast(padded, some), fast(padded)[some])


def small_network(conditioning: str = "none") -> InpaintingNetwork:
    torch.manual_seed(0)
    params = InpaintingParams(block_expansion=8, max_features=32, num_down_blocks=3)
    network = InpaintingNetwork(params, num_channels=3, multi_mask=True, au_conditioning=conditioning)
    for parameter in network.parameters():  # so that gains, offsets and modulations matter
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False)


class Moving:
    """Inputs of the decoder for a smooth image in which one spot moves."""

    def __init__(self, network: InpaintingNetwork, mask: float = 0.5, conditioning: str = "none"):
        self.network, self.conditioning = network, conditioning
        self.image = F.interpolate(torch.rand(1, 3, 12, 12), size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)
        self.features = network.encode(self.image)
        self.masks = [torch.full((1, 1, SIZE // 8 * 2**i, SIZE // 8 * 2**i), mask) for i in range(4)]

    def inputs(self, pixels: float, radius: float = 0.15) -> tuple:
        grid = make_coordinate_grid((SIZE // 4, SIZE // 4), self.image)[None]
        spot = torch.exp(-((grid - 0.3).square().sum(-1)) / (2 * radius**2))[..., None]
        grid = grid + spot * (spot > 0.05) * torch.tensor([0.0, 2 * pixels / SIZE])
        warped = self.network.warp_encoded(self.features, grid, self.masks)
        units = {"none": None, "concat": torch.full((1, 17, 2), pixels / 10), "film": torch.ones(1, 17, 2)}
        active = None
        if self.conditioning == "film":
            active = spot.permute(0, 3, 1, 2).expand(-1, 17, -1, -1) * pixels / 10
        return warped, self.masks[-1], warp_features(self.image, grid), units[self.conditioning], active


def frame_of(inputs: tuple) -> DecoderInput:
    warped, mask, _, units, active = inputs
    constant = units.mean(-1)[0] if units is not None and active is None else None
    return DecoderInput([x[0] for x in warped], mask[0], constant, None if active is None else active[0])


@pytest.mark.parametrize("conditioning", ["none", "concat", "film"])
def test_whole_frames_in_tiles_equal_the_network(conditioning):
    network = small_network(conditioning)
    clip, decoder = Moving(network, conditioning=conditioning), TileDecoder(network)
    decoder.first(frame_of(clip.inputs(0)))
    inputs = clip.inputs(2)
    expected = network.decode(*inputs)
    found = decoder.whole(frame_of(inputs)) * (1 - inputs[1][0]) + inputs[2][0] * inputs[1][0]
    torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("conditioning", ["none", "film"])
def test_more_tiles_make_a_smaller_error_and_no_frame_leaves_a_trace(conditioning):
    network = small_network(conditioning)
    clip, decoder = Moving(network, conditioning=conditioning), TileDecoder(network)
    first = decoder.first(frame_of(clip.inputs(0)))
    moved = frame_of(clip.inputs(2))
    exact = decoder.whole(moved)
    errors, shares = [], []
    for dropped, halo in ((1.0, 0), (0.3, 0), (0.03, 1), (0.003, 2)):
        image, share = decoder.changed(moved, dropped, halo)
        errors.append(float((image - exact).square().sum() / (exact - first).square().sum()))
        shares.append(share)
    assert errors[0] == pytest.approx(1), errors
    assert errors[-1] < 0.1, errors
    assert errors == sorted(errors, reverse=True), errors
    assert shares == sorted(set(shares)), shares
    assert shares[-1] < 0.7, shares
    fresh, smaller = TileDecoder(network), frame_of(clip.inputs(0.5, radius=0.05))
    fresh.first(frame_of(clip.inputs(0)))
    assert torch.equal(decoder.changed(smaller, 0.003, 0)[0], fresh.changed(smaller, 0.003, 0)[0])
    again, share = decoder.changed(frame_of(clip.inputs(0)), 0.003, 2)
    assert torch.equal(again, first)
    assert share == 0


@torch.inference_mode()
@pytest.mark.parametrize(("radius", "mask"), [(0.08, 0.5), (0.08, 0.95), (3.0, 0.5)])
def test_the_error_of_a_clip_stays_within_its_bound(radius, mask):
    network = small_network()
    clip = Moving(network, mask)
    exactly, decoder = network.decode, AdaptiveDecoder(network, 0.01)
    for _ in range(2):  # the second clip starts anew
        decoder.start_clip()
        error = energy = 0.0
        for pixels in (0, 0.2, 0.5, 1, 1.5, 2, 2, 1.5, 1, 0):
            inputs = clip.inputs(pixels, radius)
            exact, found = exactly(*inputs), decoder(*inputs)
            if pixels == 0:
                torch.testing.assert_close(found, exact, atol=1e-4, rtol=1e-4)
                still = exact
            error += float((found - exact).square().sum())
            energy += float((exact - still).square().sum())
        assert energy > 0
        assert error <= 0.01 * energy


@torch.inference_mode()
def test_a_frozen_picture_is_not_within_the_bound(monkeypatch):
    monkeypatch.setattr("generation.adaptive_decoder._STEPS", ((1.0, 0),) * 2)
    network = small_network()
    clip, decoder = Moving(network, 0.1), AdaptiveDecoder(network, 0.01)
    decoder(*clip.inputs(0))
    moved = clip.inputs(2)
    for _ in range(2):
        torch.testing.assert_close(decoder(*moved), network.decode(*moved), atol=1e-4, rtol=1e-4)
    assert decoder._clip.step == 2


def test_small_frames_are_decoded_as_in_training(monkeypatch):
    network = small_network()
    monkeypatch.setattr("generation.adaptive_decoder._SMALLEST", SIZE * SIZE + 1)
    inputs = Moving(network).inputs(1)
    assert torch.equal(AdaptiveDecoder(network, 0.01)(*inputs), network.decode(*inputs))


def test_doubling_blocks_by_winograd_equal_the_network(monkeypatch):
    torch.manual_seed(0)
    block = UpBlock2d(6, 4, "instance").eval().requires_grad_(False)
    x = torch.randn(2, 6, 32, 40)
    expected = block(x)
    double_fast(block)
    torch.testing.assert_close(block(x), expected, atol=1e-4, rtol=1e-4)
    assert not torch.equal(block(x), expected), "it was replaced"
    assert block(x[:, :, :7, :7]).shape == (2, 4, 14, 14), "small maps keep the network's own convolution"
