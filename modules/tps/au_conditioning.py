"""Action units in the inpainting network: modulation of features and image in the face region of each unit.

Dimension letters: B batch, C channels, H x W image, h x w map, A = 17 action units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.face_frame import ACTION_UNITS, HALF_FACE, action_unit_regions, sample_half_face, skin

_FAINT = 0.02  # intensity in [0, 1] of a difference that is hardly reliable
_SHADING = (48, 28)  # size of the learned maps; finer maps overfit the faces of the training set


class AUModulation(nn.Module):
    """Scale and shift normalised features by the action-unit difference; a difference of zero changes nothing.

    Constant channels appended to the features, as published, are removed by the instance normalisation that follows.

    Args:
        num_features: C.
    Source: feature-wise linear modulation (Perez et al., 2018), here weighted by regions.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(num_features, len(ACTION_UNITS)))
        self.shift = nn.Parameter(torch.zeros(num_features, len(ACTION_UNITS)))

    def forward(self, features: Tensor, active: Tensor) -> Tensor:
        """Modulate features.

        Args:
            features: (B, C, h, w), after normalisation.
            active: (B, A, h, w), from `active_regions`.
        Returns:
            (B, C, h, w).
        """
        scale = torch.einsum("ca,bahw->bchw", self.scale, active)
        shift = torch.einsum("ca,bahw->bchw", self.shift, active)
        return features * (1 + scale) + shift


class AUShading(nn.Module):
    """Wrinkles and shading: brightness factor of each point of the skin for each action unit.

    One map of half a face per action unit, the same for all faces and both sides; eyes and mouth, which differ between
    faces, are excluded. A network that predicts wrinkles from features overfits the few faces of its training set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(len(ACTION_UNITS), 1, *_SHADING))

    def forward(self, au_diff: Tensor, coordinates: Tensor) -> Tensor:
        """Logarithm of the brightness factor of every pixel.

        Args:
            au_diff: (B, A, 2), left and right.
            coordinates: (B, H, W, 2), from `face_coordinates`.
        Returns:
            (B, 1, H, W), zero where no action unit acts.
        """
        grown = F.interpolate(self.log_gain, HALF_FACE, mode="bicubic", align_corners=True)[:, 0]
        maps = grown * action_unit_regions(grown) * skin(grown)
        halves = torch.einsum("bas,ahw->bshw", au_diff, maps)  # -> (B, 2, *HALF_FACE)
        return sample_half_face(halves[:, :, None], coordinates).sum(1)


def active_regions(au_diff: Tensor, coordinates: Tensor) -> Tensor:
    """Action-unit difference of every pixel, weighted by the regions of the units.

    Args:
        au_diff: (B, A, 2), left and right.
        coordinates: (B, h, w, 2), from `face_coordinates`.
    Returns:
        (B, A, h, w).
    """
    regions = action_unit_regions(coordinates)[None, None].expand(1, 2, -1, -1, -1)
    return (sample_half_face(regions, coordinates) * au_diff.mT[..., None, None]).sum(1)


class AURest(nn.Module):
    """Raise the background's share where no action unit of the difference acts.

    Motion that is estimated in resting skin is noise, and the action units tell which skin rests. A difference of zero
    changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, au_diff: Tensor, coordinates: Tensor) -> Tensor:
        """Logit added to that of the background.

        Args:
            au_diff: (B, A, 2), left and right.
            coordinates: (B, h, w, 2), from `face_coordinates`.
        Returns:
            (B, 1, h, w).
        """
        strength = au_diff.abs()
        largest = strength.amax((1, 2))[:, None, None, None]
        share = active_regions(strength, coordinates).amax(1, keepdim=True) / (largest + _FAINT)
        known = largest / (largest + _FAINT)
        return self.gain * (known - share)
