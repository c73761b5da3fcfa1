"""Device and precision of a model that generates, without the libraries that training needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from core.devices import Precision, count_devices

T = TypeVar("T", Tensor, nn.Module)


@dataclass(frozen=True)
class InferenceDevice:
    """A device and the precision of networks on it.

    Attributes:
        device: CUDA device or CPU.
        precision: 32, bf16-mixed or 16-mixed.
    """

    device: torch.device
    precision: Precision = "32"

    @property
    def name(self) -> str:
        """Name of the device, such as `cpu` or `cuda:0`."""
        return str(self.device)

    def to_device(self, value: T) -> T:
        """Move a tensor or, in place, a module."""
        return value.to(self.device)

    def autocast(self) -> torch.autocast:
        """Context in which networks compute in the precision."""
        dtype = torch.float16 if self.precision == "16-mixed" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "32")


def inference_device(device_ids: Sequence[int] | None = None, precision: Precision = "32") -> InferenceDevice:
    """The first of the chosen CUDA devices, or the CPU where there is none.

    Raises:
        UserError: no such device.
    """
    if not count_devices(device_ids):
        return InferenceDevice(torch.device("cpu"), precision)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda", (device_ids or [0])[0])
    torch.cuda.set_device(device)
    return InferenceDevice(device, precision)
