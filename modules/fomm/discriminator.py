"""Multi-scale patch discriminator.

Dimension letters: B batch, K keypoints, C channels, H x W image, h x w map.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from config.fomm import DiscriminatorParams
from modules.blocks import level_features, pyramid_key
from modules.geometry import kp2gaussian, map_size

_KP_VARIANCE = 0.01  # of the heat maps, squared normalised units; the published files never change it


class DiscriminatorBlock(nn.Module):
    """Convolution 4 x 4 without padding, normalisation, leaky ReLU, mean of 2 x 2: (B, in, h, w) -> (B, out, h', w').

    Args:
        norm: instance normalisation; the first block has none.
        pool: mean of 2 x 2; the last block has none.
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
    """Classify patches of images of one size as real or generated.

    Args:
        params: the config section `discriminator_params`.
        num_channels: C.
        num_kp: K, used with `use_kp`.
    """

    def __init__(self, params: DiscriminatorParams, *, num_channels: int, num_kp: int):
        super().__init__()
        self.use_kp = params.use_kp
        levels = range(params.num_blocks)
        widths = [level_features(params.block_expansion, params.max_features, i) for i in range(len(levels) + 1)]
        widths[0] = num_channels + (num_kp if params.use_kp else 0)
        self.down_blocks = nn.ModuleList(
            DiscriminatorBlock(widths[i], widths[i + 1], norm=i > 0, pool=i < levels[-1], sn=params.sn) for i in levels
        )
        conv = nn.Conv2d(widths[-1], 1, 1)
        self.conv = spectral_norm(conv) if params.sn else conv

    def forward(self, image: Tensor, kp: Tensor) -> tuple[list[Tensor], Tensor]:
        """Classify an image.

        Args:
            image: (B, C, H, W) in [0, 1].
            kp: (B, K, 2), xy in [-1, 1]; ignored without `use_kp`.
        Returns:
            Features of every level; scores (B, 1, h, w), 1 is real.
        """
        out = image
        if self.use_kp:
            heatmap = kp2gaussian(kp, map_size(image), _KP_VARIANCE)
            out = torch.cat([image, heatmap.to(image.dtype)], dim=1)
        features = []
        for block in self.down_blocks:
            out = block(out)
            features.append(out)
        return features, self.conv(out)


class MultiScaleDiscriminator(nn.Module):
    """One discriminator per image size.

    Args:
        params: the config section `discriminator_params`.
        num_channels: C.
        num_kp: K.
    Source: FOMM (Siarohin et al., 2019), after pix2pixHD (Wang et al., 2018).
    """

    def __init__(self, params: DiscriminatorParams, *, num_channels: int, num_kp: int):
        super().__init__()
        self.discs = nn.ModuleDict(
            {pyramid_key(s): Discriminator(params, num_channels=num_channels, num_kp=num_kp) for s in params.scales}
        )

    def forward(self, pyramid: Mapping[float, Tensor], kp: Tensor) -> dict[float, tuple[list[Tensor], Tensor]]:
        """Classify an image at every size.

        Args:
            pyramid: {scale: (B, C, H * scale, W * scale)} in [0, 1], see `ImagePyramid`.
            kp: (B, K, 2), xy in [-1, 1].
        Returns:
            {scale: (features of every level, scores (B, 1, h, w))}.
        """
        return {scale: self.discs[pyramid_key(scale)](image, kp) for scale, image in pyramid.items()}
