"""Local motions of keypoints or regions, mixed by learned maps into one deformation; shared by the families.

Dimension letters: B batch, K local motions, N keypoints, C channels, H x W image, h x w map of the network.
"""

from math import log

import torch
from torch import Tensor, nn

from config.family_sections import HourglassParams
from modules.blocks import AntiAliasInterpolation2d, Hourglass, start_constant
from modules.geometry import GridConvention, make_coordinate_grid, resize_grid, resize_map, sample

_SHARPNESS = 4.0
_LEAST_RADIUS = 0.1  # half frame widths; learned keypoints begin in one place
_LEAST_LOGIT = -30.0  # shares below 1e-13 move nothing, but as denormal numbers make a convolution thirty times as slow


def follow_flow(background_share: Tensor, background: Tensor, flow: Tensor) -> Tensor:
    """Optical flow in place of the local motions, where the maps let them move the picture.

    A picture that moves by v comes, to first order, from where v is subtracted; v changes little within itself.

    Args:
        background_share: (B, 1, h, w) in [0, 1].
        background: (B, h, w, 2) sampling coordinates of the background.
        flow: (B, H, W, 2), see `Condition.flow`.
    Returns:
        (B, H, W, 2) sampling coordinates.
    """
    size = (flow.shape[1], flow.shape[2])
    share = resize_map(background_share, size)[:, 0, :, :, None]
    return share * resize_grid(background, size) + (1 - share) * (make_coordinate_grid(size, flow) - flow)


class KeypointZones(nn.Module):
    """Where each local motion prevails: soft ellipses, one around every keypoint of a face.

    The published network has to find that out from pictures, pixel by pixel; with a few hundred clips it does not. Six
    numbers a keypoint are few enough to be learned from few faces and to hold for others.

    Args:
        num_points: N.
        points_per_motion: keypoints of one motion, consecutive.
        reach: initial radius of the ellipses, in root-mean-square radii of the keypoints.
        background_logit: initial share of the background as a logit: 0 is that of a motion at one of its keypoints,
            and the background prevails where every motion has less.
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
        radius = radius.clamp_min(_LEAST_RADIUS)[:, None, None, None]
        centres = keypoints + self.shift * radius[..., 0]
        x, y = ((make_coordinate_grid(size, keypoints) - centres[:, :, None, None]) / radius[..., None]).unbind(-1)
        aspect, shear = self.log_aspect.exp()[:, None, None], self.shear[:, None, None]
        squared = (x * aspect + y * shear).square() + (y / aspect).square()
        falloff = squared * (0.5 / self.reach**2) * (-2 * self.log_reach).exp()[:, None, None]
        logits = (self.height[:, None, None] - falloff).clamp_min(_LEAST_LOGIT)
        logits = logits.unflatten(1, (-1, self.points_per_motion))
        # A soft maximum, so that a gradient reaches the zones that are not the nearest, too.
        motions = torch.logsumexp(_SHARPNESS * logits, dim=2) / _SHARPNESS
        return torch.cat([self.background.expand_as(motions[:, :1]), motions], dim=1)


def local_affine(centre_driving: Tensor, centre_source: Tensor, linear: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Sampling coordinates of the background, which rests, and of K local affine motions.

    Args:
        centre_driving, centre_source: (B, K, 2), xy in [-1, 1].
        linear: (B, K, 2, 2), driving to source offsets; None: shifts alone.
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
    """Shares of K local motions and the background at every pixel, and where the warped source is of no use.

    The base of FOMM's dense motion network and MRAA's flow predictor, whose keys it has; call it in full precision.

    Args:
        params: of the hourglass, and the size at which the network works.
        num_motions: K.
        num_channels: C of the image.
        estimate_occlusion_map: also predict an occlusion map.
        use_deformed_source: the warped sources are an input of the network.
        convention: of sampling.
        locality: initial reach of the keypoints' zones, see `KeypointZones`; the network then corrects the shares that
            they give instead of finding them. None: the network alone decides, as published.
        background_logit: initial share of the background, beside zones see `KeypointZones`, else beside K equal shares.
            None: -4 beside zones, else about that of one motion, as published.
        initial_occlusion: value with which the occlusion map starts, 0 to 1. None: about one half, as published.
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
        if locality is not None or background_logit is not None:
            start_constant(self.mask, 0.0)
        if locality is None and background_logit is not None:
            with torch.no_grad():
                self.mask.bias[0] = background_logit
        if initial_occlusion is not None and self.occlusion is not None:
            start_constant(self.occlusion, log(initial_occlusion / (1 - initial_occlusion)))

    def reduced(self, source: Tensor) -> Tensor:
        """The image at the size of the network: (B, C, H, W) -> (B, C, h, w)."""
        return source if self.down is None else self.down(source)

    def mix(
        self,
        small: Tensor,
        heatmap: Tensor,
        motions: Tensor,
        keypoints: Tensor | None = None,
        flow: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Deform the source by every motion, find the motions' shares, and mix.

        Args:
            small: (B, C, h, w), from `reduced`.
            heatmap: (B, K + 1, h, w), index 0 the background's, which is zero.
            motions: (B, K + 1, h, w, 2) sampling coordinates, index 0 the background's.
            keypoints: (B, K, 2) of the driving frame; for zones alone.
            flow: (B, H, W, 2), see `follow_flow`; None: the local motions.
        Returns:
            `deformed_source` (B, K + 1, C, h, w); `contribution_maps` (B, K + 1, h, w), sum 1, index 0 the background;
            `deformation` (B, h, w, 2), with flow (B, H, W, 2), absolute sampling coordinates; where it is predicted,
            `occlusion_map` (B, 1, h, w), 1 keeps the warped source.
        """
        slots = motions.shape[1]
        repeated = small[:, None].expand(-1, slots, -1, -1, -1).flatten(0, 1)  # -> (B (K + 1), C, h, w)
        deformed = sample(repeated, motions.flatten(0, 1), align_corners=self.convention.sampling)
        deformed = deformed.unflatten(0, (-1, slots))  # -> (B, K + 1, C, h, w)
        shown = heatmap[:, :, None]
        if self.use_deformed_source:
            shown = torch.cat([shown, deformed], dim=2)
        features = self.hourglass(shown.flatten(1, 2))[-1]
        logits = self.mask(features)
        if self.zones is not None:
            logits = logits + self.zones(keypoints, (small.shape[2], small.shape[3]))
        maps = torch.softmax(logits, dim=1)
        if flow is None:
            deformation = (maps[..., None] * motions).sum(1)
        else:
            deformation = follow_flow(maps[:, :1], motions[:, 0], flow.float())
        mixed = {"deformed_source": deformed, "contribution_maps": maps, "deformation": deformation}
        if self.occlusion is not None:
            mixed["occlusion_map"] = torch.sigmoid(self.occlusion(features))
        return mixed
