"""Batch normalisation over the batches of all devices.

The published FOMM and MRAA code bases carry an implementation of their own; `torch.nn.SyncBatchNorm` has the same keys
and does the same, but that it divides by (var + eps)^(1/2) instead of max(var, eps)^(1/2), as one device does.
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(network: nn.Module) -> int:
    """Make every batch normalisation below a network one over all devices, in place.

    Parameters, buffers and their keys stay as they are, so that optimisers and checkpoints do not notice.

    Args:
        network: before it is wrapped for several processes.
    Returns:
        How many were converted.
    """
    converted = 0
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
                converted += 1
    return converted
