"""Losses that compare pictures, shared by all families.

Dimension letters: B batch, C channels, H x W image.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import vgg19

from modules.blocks import ImagePyramid

_SLICES = ((0, 2), (2, 7), (7, 12), (12, 21), (21, 30))  # layers of VGG-19 up to relu1_1, relu2_1, ... relu5_1


class VGG19(nn.Module):
    """Frozen features of VGG-19 up to relu5_1, random until weights are loaded.

    State-dict keys are the published ones: `slice1.0.weight`, ... with the layer's number in torchvision's `features`.
    """

    def __init__(self):
        super().__init__()
        layers = vgg19(weights=None).features
        for number, (start, stop) in enumerate(_SLICES, 1):
            self.add_module(f"slice{number}", nn.Sequential())
            for i in range(start, stop):
                self.get_submodule(f"slice{number}").add_module(str(i), layers[i])
        self.mean = nn.Parameter(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.std = nn.Parameter(torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        # In-place ReLUs would overwrite features that have been handed out.
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

    Args:
        scales: of the image pyramid.
        perceptual: weights of the VGG-19 layers from relu1_1 on; empty leaves the perceptual term out.
        pixel, gradient: weights; 0 leaves the term out.
        vgg: feature network; needed for the perceptual term alone.
        resample: of the image pyramid, see `AntiAliasInterpolation2d`.
    Source: perceptual term FOMM (Siarohin et al., 2019), after Johnson et al. (2016). Each term is a sum over scales
        of mean absolute differences.
    """

    def __init__(
        self,
        scales: Sequence[float],
        *,
        perceptual: Sequence[float] = (),
        pixel: float = 0.0,
        gradient: float = 0.0,
        vgg: VGG19 | None = None,
        resample: Literal["nearest", "stride"] = "nearest",
    ):
        super().__init__()
        if any(perceptual) and vgg is None:
            raise ValueError("expected a VGG-19 for the perceptual loss, got none")
        self.pyramid = ImagePyramid(tuple(scales), 3, resample)
        self.perceptual = tuple(perceptual) if any(perceptual) else ()
        self.pixel = pixel
        self.gradient = gradient
        self.vgg = vgg

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], vgg: VGG19 | None, resample: Literal["nearest", "stride"]
    ) -> "PictureLoss":
        """As the section `train_params` says."""
        weights = {name: settings["loss_weights"][name] for name in ("perceptual", "pixel", "gradient")}
        return cls(settings["scales"], **weights, vgg=vgg, resample=resample)

    def forward(self, prediction: Tensor, driving: Tensor) -> dict[str, Tensor]:
        """Two (B, 3, H, W) in [0, 1] -> weighted scalars `perceptual`, `pixel`, `gradient`, those that are in use."""
        pairs = list(zip(self.pyramid(prediction).values(), self.pyramid(driving).values(), strict=True))
        losses = {}
        if self.perceptual:
            losses["perceptual"] = sum(self._perceptual(p, d) for p, d in pairs)
        if self.pixel:
            losses["pixel"] = self.pixel * sum((p - d).abs().mean() for p, d in pairs)
        if self.gradient:
            losses["gradient"] = self.gradient * sum(
                (p.diff(dim=axis) - d.diff(dim=axis)).abs().mean() for p, d in pairs for axis in (-1, -2)
            )
        return losses

    def _perceptual(self, prediction: Tensor, driving: Tensor) -> Tensor:
        count = len(self.perceptual)
        with torch.no_grad():
            target = self.vgg(driving, count)
        difference = zip(self.perceptual, self.vgg(prediction, count), target, strict=True)
        return sum(weight * (p - t).abs().mean() for weight, p, t in difference)
