"""Affine motion of the background between two frames."""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from modules.blocks import start_constant


class BGMotionPredictor(nn.Module):
    """Regress the affine map of the background with a ResNet-18 on both frames; initially the identity.

    Source: TPSMM (Zhao and Zhang, 2022), background motion predictor; MRAA (Siarohin et al., 2021), Sec. 3.3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bg_encoder = resnet18(num_classes=6)
        self.bg_encoder.conv1 = nn.Conv2d(6, 64, kernel_size=7, stride=2, padding=3, bias=False)
        start_constant(self.bg_encoder.fc, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Two (B, 3, H, W) in [0, 1] -> (B, 3, 3), driving coordinates to source coordinates, last row 0 0 1."""
        affine = self.bg_encoder(torch.cat([source, driving], dim=1)).reshape(-1, 2, 3)
        last = affine.new_tensor([0.0, 0.0, 1.0]).expand(len(affine), 1, 3)
        return torch.cat([affine, last], dim=1)
