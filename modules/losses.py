"""Losses that compare two images, shared by all families.

Dimension letters: B batch, C channels, H x W image.
"""

from collections.abc import Iterable
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

from config.family_sections import PictureTrainParams
from modules.blocks import ImagePyramid

_SLICES = ((0, 2), (2, 7), (7, 12), (12, 21), (21, 30))  # layers of VGG-19 up to relu1_1, relu2_1, ... relu5_1


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of at least one term."""
    return reduce(torch.add, terms)


class VGG19(nn.Module):
    """Frozen features of VGG-19 up to relu5_1; random weights until others are loaded.

    State-dict keys are the published ones: `slice1.0.weight`, ... with the layer's number in torchvision's `features`.
    """

    def __init__(self) -> None:
        super().__init__()
        layers = vgg19(weights=None).features
        for number, (start, stop) in enumerate(_SLICES, 1):
            self.add_module(f"slice{number}", nn.Sequential())
            for i in range(start, stop):
                self.get_submodule(f"slice{number}").add_module(str(i), layers[i])
        self.mean = nn.Parameter(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.std = nn.Parameter(torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        # In-place ReLUs would overwrite features that have already been returned.
        for layer in self.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.requires_grad_(False)

    def forward(self, image: Tensor, layers: int = 5) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> the first `layers` of relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
        x, features = (image - self.mean) / self.std, []
        for number in range(1, layers + 1):
            x = self.get_submodule(f"slice{number}")(x)
            features.append(x)
        return features


class PictureLoss(nn.Module):
    """Multi-scale perceptual, pixel and gradient difference of prediction and driving frame.

    Each term is a sum over scales of mean absolute differences.

    Args:
        params: scales of the image pyramid and weights of the terms.
        vgg: feature network; required by the perceptual term only.
        resample: of the image pyramid, see `AntiAliasInterpolation2d`.
    Raises:
        ValueError: a perceptual weight without a feature network.
    Source: perceptual term FOMM (Siarohin et al., 2019), after Johnson et al. (2016).
    """

    def __init__(self, params: PictureTrainParams, vgg: VGG19 | None, resample: Literal["nearest", "stride"]):
        super().__init__()
        if params.needs_vgg19 and vgg is None:
            raise ValueError("expected a VGG-19 for the perceptual loss, got none")
        self.weights = params.loss_weights
        self.pyramid = ImagePyramid(params.scales, 3, resample)
        self.vgg = vgg if params.needs_vgg19 else None

    def forward(self, prediction: Tensor, driving: Tensor) -> dict[str, Tensor]:
        """Two (B, 3, H, W) in [0, 1] -> weighted scalars `perceptual`, `pixel`, `gradient`, those with a weight."""
        pairs = list(zip(self.pyramid(prediction).values(), self.pyramid(driving).values(), strict=True))
        losses = {}
        if self.vgg is not None:
            losses["perceptual"] = total(self._perceptual(self.vgg, p, d) for p, d in pairs)
        if self.weights.pixel:
            losses["pixel"] = self.weights.pixel * total((p - d).abs().mean() for p, d in pairs)
        if self.weights.gradient:
            losses["gradient"] = self.weights.gradient * total(
                (p.diff(dim=axis) - d.diff(dim=axis)).abs().mean() for p, d in pairs for axis in (-1, -2)
            )
        return losses

    def _perceptual(self, vgg: VGG19, prediction: Tensor, driving: Tensor) -> Tensor:
        weights = self.weights.perceptual
        with torch.no_grad():
            target = vgg(driving, len(weights))
        terms = zip(weights, vgg(prediction, len(weights)), target, strict=True)
        return total(weight * (p - t).abs().mean() for weight, p, t in terms)
