"""Keypoints of the thin-plate-spline family: learned from the image, or facial landmarks.

Dimension letters: B batch, K splines, H x W image.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

POINTS_PER_TPS = 5


class KPDetector(nn.Module):
    """Five keypoints for each of K splines, regressed by a ResNet-18.

    Source: TPSMM (Zhao and Zhang, 2022), keypoint detector.
    """

    def __init__(self, num_tps: int):
        super().__init__()
        self.fg_encoder = resnet18(num_classes=num_tps * POINTS_PER_TPS * 2)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) in [0, 1] -> {`fg_kp`: (B, 5K, 2), xy in (-1, 1); points 5k to 5k + 4 belong to spline k}."""
        kp = torch.sigmoid(self.fg_encoder(image)) * 2 - 1
        return {"fg_kp": kp.reshape(len(kp), -1, 2)}


class LandmarkKeypoints(nn.Module):
    """Groups of five facial landmarks as keypoints; without parameters, so the state dict is empty, as in MEGC2022.

    Args:
        groups: K lists of five landmark numbers, iBUG order, 0 to 67.
        activation: `linear` keeps coordinates. `sigmoid` computes 2 sigmoid(x) - 1, which MEGC2022-Generation applies
            to PIXEL coordinates: all coordinates above 17 px become exactly 1.
    """

    order: Tensor

    def __init__(self, groups: Sequence[Sequence[int]], activation: Literal["linear", "sigmoid"]):
        super().__init__()
        if any(len(group) != POINTS_PER_TPS for group in groups):
            raise ValueError(f"expected groups of {POINTS_PER_TPS} landmarks, got sizes {[len(g) for g in groups]}")
        self.activation = activation
        self.register_buffer("order", torch.tensor([i for group in groups for i in group]), persistent=False)

    def forward(self, landmarks: Tensor) -> dict[str, Tensor]:
        """(B, 68, 2), xy in [-1, 1] (pixels for `sigmoid`) -> {`fg_kp`: (B, 5K, 2)}."""
        kp = landmarks.float()[:, self.order]
        return {"fg_kp": torch.sigmoid(kp) * 2 - 1 if self.activation == "sigmoid" else kp}
