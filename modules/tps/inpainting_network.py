"""Inpainting network: the warped source's features, faded where they are of no use, decoded to the picture.

Dimension letters: B batch, C channels, H x W image, A action units.
"""

import torch
from torch import Tensor, nn

from modules.blocks import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d, level_features
from modules.geometry import resize_map, warp_features


class InpaintingNetwork(nn.Module):
    """Decode the source's features, warped and occluded at every level.

    Args:
        num_channels: C.
        block_expansion, max_features, num_down_blocks: channels of the first level, their limit, levels below it.
        multi_mask: one occlusion map for each level; else one in all.
        num_cond_channels: A constant channels joined to every decoder stage (`au_conditioning: concat`); 0 for none.
            They enter blocks that begin with instance normalisation, which removes constants: the effect is faint.
    Source: TPSMM (Zhao and Zhang, 2022), inpainting network; FMEG-TPSRAU (MM 2022), relative action units.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int = 3,
        multi_mask: bool = True,
        num_cond_channels: int = 0,
    ):
        super().__init__()
        self.multi_mask = multi_mask
        self.num_cond_channels = num_cond_channels
        widths = [level_features(block_expansion, max_features, i) for i in range(num_down_blocks + 1)]
        self.first = SameBlock2d(num_channels, block_expansion, 7, 3, "instance")
        self.down_blocks = nn.ModuleList(
            DownBlock2d(widths[i], widths[i + 1], "instance") for i in range(num_down_blocks)
        )
        up_blocks, resblocks = [], []
        for i in reversed(range(num_down_blocks)):
            joined = widths[i + 1] * (1 if i == num_down_blocks - 1 else 2) + num_cond_channels
            up_blocks.append(UpBlock2d(joined, widths[i], "instance"))
            resblocks += [ResBlock2d(joined, "instance"), ResBlock2d(joined, "instance")]
        self.up_blocks = nn.ModuleList(up_blocks)
        self.resblock = nn.ModuleList(resblocks)
        self.final = nn.Conv2d(block_expansion, num_channels, 7, padding=3)

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
    ) -> dict[str, Tensor]:
        """Warp, occlude and decode.

        Args:
            source: (B, C, H, W) in [0, 1].
            encoded: what `encode` gives for it.
            deformation: (B, h, w, 2) absolute sampling coordinates.
            occlusion_map: maps coarse to fine, (B, 1, h_i, w_i), 1 keeps the warped source.
            au_diff: (B, A) action units of driving minus source; with `num_cond_channels` alone.
        Returns:
            `prediction` (B, C, H, W) in [0, 1] and `deformed` (B, C, H, W), the warped source.
        Raises:
            ValueError: `au_diff` is missing, or given to a network without conditioning.
        """
        if (au_diff is not None) != bool(self.num_cond_channels):
            raise ValueError(f"expected au_diff exactly for a conditioned network, got {au_diff is not None}")
        warped = self.warp_encoded(encoded, deformation, occlusion_map)
        out = warped[0]
        for level, up_block in enumerate(self.up_blocks):
            if au_diff is not None:
                out = torch.cat([out, au_diff[:, :, None, None].expand(-1, -1, *out.shape[-2:])], dim=1)
            out = up_block(self.resblock[2 * level + 1](self.resblock[2 * level](out)))
            if level < len(self.up_blocks) - 1:
                out = torch.cat([out, warped[level + 1]], dim=1)
        mask = resize_map(occlusion_map[-1], out.shape[-2:])
        out = torch.sigmoid(self.final(out * (1 - mask) + warped[-1]).float())
        deformed = warp_features(source, deformation)
        return {"prediction": out * (1 - mask) + deformed * mask, "deformed": deformed}

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
        """Fade features where the warped source is of no use: maps fine to coarse in, coarse to fine out."""
        masks = occlusion_map if self.multi_mask else occlusion_map * len(encoded)
        return [
            features * resize_map(mask, features.shape[-2:])
            for features, mask in zip(reversed(encoded), masks, strict=True)
        ]
