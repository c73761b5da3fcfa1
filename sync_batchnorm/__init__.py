"""Batch normalisation over the batches of all devices.

The published FOMM and MRAA code bases have their own implementation. `torch.nn.SyncBatchNorm` has the same keys and
computes the same, except that it divides by (var + eps)^(1/2), as on one device, instead of max(var, eps)^(1/2).
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(network: nn.Module) -> int:
    """Replace every batch normalisation in a network by one over all devices, in place.

    Parameters, buffers and their keys are kept, so that optimisers and checkpoints stay valid.

    Args:
        network: network that is not yet wrapped for several processes.
    Returns:
        Number of layers replaced.
    """
    converted = 0
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                # torch does not annotate this method
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
                converted += 1
    return converted
