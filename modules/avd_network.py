"""Animation via disentanglement (AVD): transfer motion between persons whose keypoints differ in shape.

Dimension letters: B batch, N numbers that describe the keypoints of a frame.
"""

import torch
from torch import Tensor, nn

from config.family_sections import AVDNetworkParams


def _mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for width_in, width_out in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class AVDNetwork(nn.Module):
    """Encode identity and pose separately, and decode both to keypoints.

    Args:
        params: sizes of the two codes.
        num_values: N.
    Source: MRAA (Siarohin et al., 2021), Sec. 3.4; TPSMM (Zhao and Zhang, 2022).
    """

    def __init__(self, params: AVDNetworkParams, *, num_values: int):
        super().__init__()
        self.id_encoder = _mlp([num_values, 256, 512, 1024, params.id_bottle_size])
        self.pose_encoder = _mlp([num_values, 256, 512, 1024, params.pose_bottle_size])
        self.decoder = _mlp([params.pose_bottle_size + params.id_bottle_size, 1024, 512, 256, num_values])

    def forward(self, identity: Tensor, pose: Tensor) -> Tensor:
        """Keypoints of the person with the given pose: (B, N) of the person, (B, N) of the pose -> (B, N)."""
        return self.decoder(torch.cat([self.pose_encoder(pose), self.id_encoder(identity)], dim=1))
