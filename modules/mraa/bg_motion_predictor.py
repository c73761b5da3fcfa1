"""Movement of the background between two frames."""

from typing import Literal

import torch
from torch import Tensor, nn

from modules.blocks import Encoder, level_features

BackgroundType = Literal["zero", "shift", "affine", "perspective"]

_START = {"shift": [0.0, 0.0], "affine": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "perspective": [1.0, 0, 0, 0, 1, 0, 0, 0]}


class BGMotionPredictor(nn.Module):
    """Regress the homography of the background from both frames; it starts as the identity.

    Args:
        block_expansion, max_features, num_blocks: of the encoder.
        num_channels: C of a frame.
        bg_type: `zero` holds the background still and has no parameters; `shift`, `affine` and `perspective` have 2, 6
            and 8 degrees of freedom.
    Source: MRAA (Siarohin et al., 2021), background motion.
    """

    def __init__(
        self, *, block_expansion: int, max_features: int, num_blocks: int, num_channels: int, bg_type: BackgroundType
    ):
        super().__init__()
        self.bg_type = bg_type
        if bg_type != "zero":
            self.encoder = Encoder(block_expansion, 2 * num_channels, num_blocks, max_features, "batch")
            start = torch.tensor(_START[bg_type])
            self.fc = nn.Linear(level_features(block_expansion, max_features, num_blocks), len(start))
            nn.init.zeros_(self.fc.weight)
            with torch.no_grad():
                self.fc.bias.copy_(start)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Two (B, C, H, W) in [0, 1] -> (B, 3, 3), driving coordinates to source coordinates, last entry 1."""
        still = torch.eye(3, device=source.device).expand(len(source), 3, 3)
        if self.bg_type == "zero":
            return still
        values = self.fc(self.encoder(torch.cat([source, driving], dim=1))[-1].mean((2, 3)))
        if self.bg_type == "shift":
            column = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)
            return torch.cat([still[..., :2], column[..., None]], dim=2)
        return torch.cat([values, still.flatten(1)[:, values.shape[1] :]], dim=1).view(-1, 3, 3)
