"""Animation via disentanglement: move one person's keypoints the way another one's moved.

Dimension letters: B batch, N numbers that describe the keypoints of a frame.
"""

import torch
from torch import Tensor, nn


def _mlp(widths: list[int]) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for width_in, width_out in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class AVDNetwork(nn.Module):
    """Encode whose face it is and how it moves apart, and decode both together.

    Args:
        num_values: N.
        id_bottle_size, pose_bottle_size: sizes of the two codes.
    Source: MRAA (Siarohin et al., 2021), Sec. 3.4; TPSMM (Zhao and Zhang, 2022).
    """

    def __init__(self, num_values: int, id_bottle_size: int, pose_bottle_size: int):
        super().__init__()
        self.id_encoder = _mlp([num_values, 256, 512, 1024, id_bottle_size])
        self.pose_encoder = _mlp([num_values, 256, 512, 1024, pose_bottle_size])
        self.decoder = _mlp([pose_bottle_size + id_bottle_size, 1024, 512, 256, num_values])

    def forward(self, identity: Tensor, pose: Tensor) -> Tensor:
        """(B, N) of the person and (B, N) of the movement -> (B, N) of the person so moved."""
        return self.decoder(torch.cat([self.pose_encoder(pose), self.id_encoder(identity)], dim=1))
