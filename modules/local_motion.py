"""Local motions of keypoints or regions, combined by learned maps into one deformation; shared by the families.

Dimension letters: B batch, K local motions, N keypoints, C channels, H x W image, h x w map of the network.
"""

from math import log

import torch
from torch import Tensor, nn

from config.family_sections import HourglassParams
from modules.blocks import AntiAliasInterpolation2d, Hourglass, start_constant
from modules.geometry import GridConvention, invert_displacement, make_coordinate_grid, map_size, sample

_SHARPNESS = 4.0  # of the soft maximum over the keypoints of a motion
_SMALLEST_RADIUS = 0.1  # normalised units, for learned keypoints that initially coincide
_SMALLEST_LOGIT = -30.0  # smaller shares become denormal numbers, which make a convolution thirty times slower


class KeypointZones(nn.Module):
    """Zones in which the local motions dominate: soft ellipses, one around every keypoint of a face.

    The published network predicts the shares of the motions for every pixel from images, which a few hundred clips
    cannot teach. Six numbers per keypoint can be learned from few faces and generalise to others.

    Args:
        num_points: N.
        points_per_motion: number of consecutive keypoints that belong to one motion.
        reach: initial radius of the ellipses, relative to the root-mean-square radius of the keypoints.
        background_logit: initial logit of the background; 0 equals a motion at one of its keypoints. The background
            dominates wherever every motion has a smaller logit.
    """

    def __init__(self, num_points: int, points_per_motion: int, reach: float, background_logit: float):
        super().__init__()
        self.points_per_motion = points_per_motion
        self.reach = reach
        self.shift = nn.Parameter(torch.zeros(num_points, 2))
        self.log_reach = nn.Parameter(torch.zeros(num_points))
        self.log_aspect = nn.Parameter(torch.zeros(num_points))
        self.shear = nn.Parameter(torch.zeros(num_points))
        self.height = nn.Parameter(torch.zeros(num_points))
        self.background = nn.Parameter(torch.tensor(float(background_logit)))

    def forward(self, keypoints: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits of the shares at every pixel: (B, N, 2) -> (B, 1 + K, h, w), index 0 the background."""
        radius = (keypoints - keypoints.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
        radius = radius.clamp_min(_SMALLEST_RADIUS)[:, None, None, None]
        centres = keypoints + self.shift * radius[..., 0]
        x, y = ((make_coordinate_grid(size, keypoints) - centres[:, :, None, None]) / radius[..., None]).unbind(-1)
        aspect, shear = self.log_aspect.exp()[:, None, None], self.shear[:, None, None]
        squared = (x * aspect + y * shear).square() + (y / aspect).square()
        falloff = squared * (0.5 / self.reach**2) * (-2 * self.log_reach).exp()[:, None, None]
        logits = (self.height[:, None, None] - falloff).clamp_min(_SMALLEST_LOGIT)
        logits = logits.view(len(logits), -1, self.points_per_motion, *size)
        # A soft maximum, so that gradients also reach zones other than the nearest.
        motions = torch.logsumexp(_SHARPNESS * logits, dim=2) / _SHARPNESS
        return torch.cat([self.background.expand_as(motions[:, :1]), motions], dim=1)


def local_affine(centre_driving: Tensor, centre_source: Tensor, linear: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Sampling coordinates of the static background and of K local affine motions.

    Args:
        centre_driving, centre_source: (B, K, 2), xy in [-1, 1].
        linear: (B, K, 2, 2), maps driving to source offsets; None for translations.
        size: (h, w).
    Returns:
        (B, K + 1, h, w, 2): z -> linear (z - centre_driving) + centre_source, index 0 the identity.
    Source: Eq. (4), FOMM (Siarohin et al., 2019).
    """
    identity = make_coordinate_grid(size, centre_driving)
    offset = identity - centre_driving[:, :, None, None, :]  # -> (B, K, h, w, 2)
    if linear is not None:
        offset = torch.einsum("bkij,bkhwj->bkhwi", linear, offset)
    moved = offset + centre_source[:, :, None, None, :]
    return torch.cat([identity.expand(len(moved), 1, *identity.shape), moved], dim=1)


class MotionMixer(nn.Module):
    """Predict the shares of K local motions and the background at every pixel, and the occlusion map.

    Base of FOMM's dense motion network and MRAA's flow predictor, with their state-dict keys; call in full precision.

    Args:
        params: of the hourglass, and the size at which the network works.
        num_motions: K.
        num_channels: C of the image.
        estimate_occlusion_map: also predict an occlusion map.
        use_deformed_source: the warped sources are an input of the network.
        convention: of sampling.
        locality: initial reach of the keypoints' zones, see `KeypointZones`, whose shares the network corrects. None
            lets the network predict the shares alone, as published.
        background_logit: initial logit of the background, with zones see `KeypointZones`, otherwise relative to K equal
            motions. None is -4 with zones, otherwise random and near 0, as published.
        initial_occlusion: initial value of the occlusion map, in (0, 1). None is random and near 0.5, as published.
    """

    def __init__(
        self,
        params: HourglassParams,
        *,
        num_motions: int,
        num_channels: int,
        estimate_occlusion_map: bool,
        use_deformed_source: bool,
        convention: GridConvention,
        locality: float | None,
        background_logit: float | None,
        initial_occlusion: float | None,
    ):
        super().__init__()
        self.use_deformed_source = use_deformed_source
        self.convention = convention
        in_features = (num_motions + 1) * (num_channels * use_deformed_source + 1)
        self.hourglass = Hourglass(params.block_expansion, in_features, params.num_blocks, params.max_features, "batch")
        self.mask = nn.Conv2d(self.hourglass.out_features, num_motions + 1, 7, padding=3)
        self.occlusion = None
        if estimate_occlusion_map:
            self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3)
        self.down = None
        if params.scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, params.scale_factor, "stride")
        self.zones = None
        if locality is not None:
            self.zones = KeypointZones(num_motions, 1, locality, -4.0 if background_logit is None else background_logit)
            start_constant(self.mask, 0.0)
        elif background_logit is not None:
            start_constant(self.mask, background_logit, *[0.0] * num_motions)
        if initial_occlusion is not None and self.occlusion is not None:
            start_constant(self.occlusion, log(initial_occlusion / (1 - initial_occlusion)))

    def reduced(self, source: Tensor) -> Tensor:
        """Resize the image to the network's size: (B, C, H, W) -> (B, C, h, w)."""
        return source if self.down is None else self.down(source)

    def mix(
        self,
        small: Tensor,
        heatmap: Tensor,
        motions: Tensor,
        keypoints: Tensor | None = None,
        flow: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Warp the source by every motion, predict the motions' shares, and combine the motions.

        Args:
            small: (B, C, h, w), from `reduced`.
            heatmap: (B, K + 1, h, w), index 0 for the background, zero.
            motions: (B, K + 1, h, w, 2) sampling coordinates, index 0 the background's.
            keypoints: (B, K, 2) of the driving frame; only for zones.
            flow: (B, H, W, 2), see `Condition.flow`, replaces the local motions; None uses them.
        Returns:
            `deformed_source` (B, K + 1, C, h, w); `contribution_maps` (B, K + 1, h, w), sum 1, index 0 the background;
            `deformation` (B, h, w, 2), with flow (B, H, W, 2), absolute sampling coordinates; if it is predicted,
            `occlusion_map` (B, 1, h, w), 1 keeps the warped source.
        """
        slots = motions.shape[1]
        repeated = small[:, None].expand(-1, slots, -1, -1, -1).flatten(0, 1)  # -> (B (K + 1), C, h, w)
        deformed = sample(repeated, motions.flatten(0, 1), align_corners=self.convention.sampling)
        deformed = deformed.view(-1, slots, *small.shape[1:])  # -> (B, K + 1, C, h, w)
        shown = heatmap[:, :, None]
        if self.use_deformed_source:
            shown = torch.cat([shown, deformed], dim=2)
        features = self.hourglass(shown.flatten(1, 2))[-1]
        logits = self.mask(features)
        if self.zones is not None:
            logits = logits + self.zones(keypoints, map_size(small))
        maps = torch.softmax(logits, dim=1)
        if flow is None:
            deformation = (maps[..., None] * motions).sum(1)
        else:
            deformation = invert_displacement(flow)
        mixed = {"deformed_source": deformed, "contribution_maps": maps, "deformation": deformation}
        if self.occlusion is not None:
            mixed["occlusion_map"] = torch.sigmoid(self.occlusion(features))
        return mixed
