"""Multi-scale patch discriminator.

Dimension letters: B batch, K keypoints, C channels, H x W image, h x w map.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from modules.blocks import level_features, pyramid_key
from modules.geometry import kp2gaussian


class JudgingBlock(nn.Module):
    """Convolution 4 x 4 without padding, normalisation, leaky ReLU, mean of 2 x 2: (B, in, h, w) -> (B, out, h', w').

    Args:
        norm: instance normalisation; the first block has none.
        pool: the last block has none.
        sn: spectral normalisation under the keys `weight_orig`, `weight_u`, `weight_v`.
    """

    def __init__(self, in_features: int, out_features: int, *, norm: bool, pool: bool, sn: bool):
        super().__init__()
        conv = nn.Conv2d(in_features, out_features, 4)
        self.conv = spectral_norm(conv) if sn else conv
        self.norm = nn.InstanceNorm2d(out_features, affine=True) if norm else None
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        out = F.leaky_relu(out if self.norm is None else self.norm(out), 0.2)
        return F.avg_pool2d(out, 2) if self.pool else out


class Discriminator(nn.Module):
    """Judges patches of pictures of one size.

    Args:
        num_channels: C.
        block_expansion, num_blocks, max_features: channels of the first level, levels, limit of the channels.
        sn: spectral normalisation.
        num_kp: K keypoints whose heat maps are shown, too; 0 for none.
        kp_variance: of those, squared half frame widths.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        block_expansion: int,
        num_blocks: int,
        max_features: int,
        sn: bool,
        num_kp: int,
        kp_variance: float,
    ):
        super().__init__()
        self.kp_variance = kp_variance if num_kp else None
        widths = [level_features(block_expansion, max_features, i) for i in range(num_blocks + 1)]
        widths[0] = num_channels + num_kp
        last = num_blocks - 1
        self.down_blocks = nn.ModuleList(
            JudgingBlock(widths[i], widths[i + 1], norm=i > 0, pool=i < last, sn=sn) for i in range(num_blocks)
        )
        conv = nn.Conv2d(widths[-1], 1, 1)
        self.conv = spectral_norm(conv) if sn else conv

    def forward(self, picture: Tensor, kp: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """(B, C, H, W) in [0, 1] and (B, K, 2) -> features of every level; judgement (B, 1, h, w), 1 is real."""
        out = picture
        if self.kp_variance is not None:
            shown = kp2gaussian(kp, (picture.shape[2], picture.shape[3]), self.kp_variance)
            out = torch.cat([picture, shown.to(picture.dtype)], dim=1)
        features = []
        for block in self.down_blocks:
            out = block(out)
            features.append(out)
        return features, self.conv(out)


class MultiScaleDiscriminator(nn.Module):
    """A discriminator for each size of a picture.

    Args:
        scales: sizes, parts of the image.
        num_channels: C.
        block_expansion, num_blocks, max_features, sn, kp_variance: see `Discriminator`.
        use_kp: show the heat maps of `num_kp` keypoints.
    Source: FOMM (Siarohin et al., 2019), after pix2pixHD (Wang et al., 2018).
    """

    def __init__(
        self,
        *,
        scales: Sequence[float],
        num_channels: int,
        num_kp: int,
        block_expansion: int = 64,
        num_blocks: int = 4,
        max_features: int = 512,
        sn: bool = False,
        use_kp: bool = False,
        kp_variance: float = 0.01,
    ):
        super().__init__()
        self.discs = nn.ModuleDict()
        for scale in scales:
            self.discs[pyramid_key(scale)] = Discriminator(
                num_channels=num_channels,
                block_expansion=block_expansion,
                num_blocks=num_blocks,
                max_features=max_features,
                sn=sn,
                num_kp=num_kp if use_kp else 0,
                kp_variance=kp_variance,
            )

    def forward(self, pyramid: Mapping[float, Tensor], kp: Tensor) -> dict[float, tuple[list[Tensor], Tensor]]:
        """Judge a picture at every size.

        Args:
            pyramid: {scale: (B, C, H * scale, W * scale)} in [0, 1], see `ImagePyramid`.
            kp: (B, K, 2), xy in [-1, 1].
        Returns:
            {scale: (features of every level, judgement (B, 1, h, w))}.
        """
        return {scale: self.discs[pyramid_key(scale)](picture, kp) for scale, picture in pyramid.items()}
