"""Inpainting network: the warped source's features, masked by the occlusion maps, decoded to an image.

Dimension letters: B batch, C channels, H x W image, h x w map, A = 17 action units.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from config.tps import InpaintingParams
from modules.blocks import DownBlock2d, Modulation, ResBlock2d, SameBlock2d, UpBlock2d, level_features
from modules.face_frame import ACTION_UNITS
from modules.geometry import map_size, resize_grid, resize_map, warp_features
from modules.tps.au_conditioning import AUModulation, AUShading, active_regions


class InpaintingNetwork(nn.Module):
    """Decode the source's features, warped and occluded at every level.

    Args:
        params: the config section `generator_params`.
        num_channels: C.
        multi_mask: one occlusion map per level instead of a single one.
        au_conditioning: `concat` appends the action-unit difference to every decoder stage as A constant channels, as
            published; the following instance normalisation removes them except at borders, so that they have little
            effect. `film` scales and shifts the normalised features, and the image, in the face region of each unit.
    Source: TPSMM (Zhao and Zhang, 2022), inpainting network; FMEG-TPSRAU (MM 2022), relative action units.
    """

    def __init__(
        self,
        params: InpaintingParams,
        *,
        num_channels: int,
        multi_mask: bool,
        au_conditioning: Literal["none", "concat", "film"],
    ):
        super().__init__()
        self.multi_mask = multi_mask
        self.au_conditioning = au_conditioning
        joined_units = len(ACTION_UNITS) if au_conditioning == "concat" else 0
        levels = range(params.num_down_blocks)
        widths = [level_features(params.block_expansion, params.max_features, i) for i in range(len(levels) + 1)]
        self.first = SameBlock2d(num_channels, widths[0], 7, 3, "instance")
        self.down_blocks = nn.ModuleList(DownBlock2d(widths[i], widths[i + 1], "instance") for i in levels)
        up_blocks, resblocks, modulated = [], [], []
        for i in reversed(levels):
            joined = widths[i + 1] * (1 if i == levels[-1] else 2) + joined_units
            up_blocks.append(UpBlock2d(joined, widths[i], "instance"))
            resblocks += [ResBlock2d(joined, "instance"), ResBlock2d(joined, "instance")]
            modulated += [joined, joined, widths[i]]
        self.up_blocks = nn.ModuleList(up_blocks)
        self.resblock = nn.ModuleList(resblocks)
        self.final = nn.Conv2d(widths[0], num_channels, 7, padding=3)
        if au_conditioning == "film":
            self.au_modulation = nn.ModuleList(AUModulation(width) for width in modulated)
            self.au_shading = AUShading()

    def encode(self, source: Tensor) -> list[Tensor]:
        """Features of the source alone: (B, C, H, W) -> num_down_blocks + 1 maps, fine to coarse."""
        levels = [self.first(source)]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels

    def forward(
        self,
        source: Tensor,
        encoded: list[Tensor],
        deformation: Tensor,
        occlusion_map: list[Tensor],
        au_diff: Tensor | None = None,
        coordinates: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Warp, occlude and decode.

        Args:
            source: (B, C, H, W) in [0, 1].
            encoded: features of the source, from `encode`.
            deformation: (B, h, w, 2) absolute sampling coordinates.
            occlusion_map: maps coarse to fine, (B, 1, h_i, w_i), 1 keeps the warped source.
            au_diff: (B, A, 2) action units of driving minus source, left and right; for a conditioned network only.
            coordinates: (B, H, W, 2) face coordinates of the source, from `face_coordinates`; for `film` only.
        Returns:
            `prediction` (B, C, H, W) in [0, 1] and `deformed` (B, C, H, W), the warped source; with `film` also
            `unshaded` (B, C, H, W), the prediction before shading, and `log_gain` (B, 1, H, W).
        Raises:
            ValueError: `au_diff` is missing, or given to a network without conditioning.
        """
        if (au_diff is None) != (self.au_conditioning == "none"):
            raise ValueError(f"expected au_diff exactly for a conditioned network, got {au_diff is not None}")
        if (coordinates is None) != (self.au_conditioning != "film"):
            raise ValueError(f"expected face coordinates exactly for `film`, got {coordinates is not None}")
        warped = self.warp_encoded(encoded, deformation, occlusion_map)
        mask = resize_map(occlusion_map[-1], map_size(warped[-1]))
        active = None
        if coordinates is not None and au_diff is not None:
            quarter = (coordinates.shape[1] // 4, coordinates.shape[2] // 4)  # regions are smooth
            active = warp_features(active_regions(au_diff, resize_grid(coordinates, quarter)), deformation)
        deformed = warp_features(source, deformation)
        prediction = self.decode(warped, mask, deformed, au_diff, active)
        if coordinates is None or au_diff is None:
            return {"prediction": prediction, "deformed": deformed}
        log_gain = warp_features(self.au_shading(au_diff, coordinates), deformation)
        return {
            "prediction": (prediction * log_gain.exp()).clamp(max=1),
            "deformed": deformed,
            "unshaded": prediction,
            "log_gain": log_gain,
        }

    def decode(
        self, warped: list[Tensor], mask: Tensor, deformed: Tensor, au_diff: Tensor | None, active: Tensor | None
    ) -> Tensor:
        """Decode warped features to an image, and blend it with the warped source.

        Args:
            warped: from `warp_encoded`.
            mask: (B, 1, H, W), 1 keeps the warped source.
            deformed: (B, C, H, W), the warped source.
            au_diff: see `forward`.
            active: (B, A, h, w), action-unit difference by region; for `film` only.
        Returns:
            (B, C, H, W) in [0, 1].
        """
        modulations = self._modulations(active)
        out = warped[0]
        for level, up_block in enumerate(self.up_blocks):
            if self.au_conditioning == "concat" and au_diff is not None:
                constant = au_diff.mean(-1)[:, :, None, None]  # the published network does not distinguish sides
                out = torch.cat([out, constant.expand(-1, -1, *out.shape[-2:])], dim=1)
            for block in (self.resblock[2 * level], self.resblock[2 * level + 1], up_block):
                out = block(out, next(modulations))
            if level < len(self.up_blocks) - 1:
                out = torch.cat([out, warped[level + 1]], dim=1)
        out = torch.sigmoid(self.final(out * (1 - mask) + warped[-1]).float())
        return out * (1 - mask) + deformed * mask

    def _modulations(self, active: Tensor | None) -> Iterator[Modulation | None]:
        """Modulation of the normalised features of each decoder block, in the order of the blocks."""
        if active is None:
            yield from [None] * (3 * len(self.up_blocks))
            return
        for modulation in self.au_modulation:
            yield partial(self._modulate, modulation, active)

    @staticmethod
    def _modulate(modulation: nn.Module, active: Tensor, features: Tensor) -> Tensor:
        return modulation(features, resize_map(active, map_size(features)))

    def warp_encoded(self, encoded: list[Tensor], deformation: Tensor, occlusion_map: list[Tensor]) -> list[Tensor]:
        """Warp and occlude features level by level.

        Args:
            encoded: num_down_blocks + 1 maps, fine to coarse, as from `encode`.
            deformation, occlusion_map: as in `forward`.
        Returns:
            num_down_blocks + 1 maps, coarse to fine.
        """
        return self.occlude([warp_features(features, deformation) for features in encoded], occlusion_map)

    def occlude(self, encoded: list[Tensor], occlusion_map: list[Tensor]) -> list[Tensor]:
        """Multiply features by the occlusion maps: features fine to coarse in, coarse to fine out."""
        masks = occlusion_map if self.multi_mask else occlusion_map * len(encoded)
        return [
            features * resize_map(mask, map_size(features))
            for features, mask in zip(reversed(encoded), masks, strict=True)
        ]
