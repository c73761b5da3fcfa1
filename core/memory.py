"""Estimate of the memory that a run needs, compared with the memory of the machine before anything is allocated.

The model is rough, within a factor of 1.4 of what the three families of networks keep at 256 x 256:

- training keeps every weight four times (weight, gradient, two moments of Adam), generation once;
- a frame in training keeps (1000 + 120 w) bytes per pixel for the backward pass, w being the channels of the widest map
  of full size, and 2700 more if the perceptual loss compares its features; a generated frame needs a quarter;
- every worker of the data loader holds two batches of pairs. Clips are mapped from the frame cache and are not counted.
"""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import torch

from config.experiment import Config
from core.models import build_model
from errors import UserError
from modules.model import MotionModel

log = logging.getLogger("core")

GIB = 2**30
_ADDRESS_SPACE = 2**47  # bytes that a process can address on common machines
_ASSUMED_FRAME = (256, 256)  # of experiments that keep the size of the clips' frames
_ASSUMED_WIDTH = 64
_BATCHES_PER_WORKER = 2
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Estimate:
    """Memory that a run needs.

    Attributes:
        networks: bytes of weights and, in training, gradients and moments, on the device.
        frames: bytes of the maps of a batch, on the device.
        loading: bytes of batches that wait in the workers of the data loader, on the CPU.
    """

    networks: int
    frames: int
    loading: int = 0


def model_without_weights(config: Config) -> MotionModel:
    """Build a family's model without allocating its weights, for names and shapes.

    Raises:
        UserError: sizes of networks that do not fit together.
    """
    try:
        with torch.device("meta"):
            return build_model(config)
    except ValueError as error:
        raise UserError(f"model_params: {error}") from error


def estimate(config: Config, work: Literal["train", "generate"], batch_size: int) -> Estimate:
    """Estimate the memory of one device by the model above."""
    model = model_without_weights(config)
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    height, width = (config.dataset_params.frame_shape or _ASSUMED_FRAME)[:2]
    if not weights:  # a family without networks
        return Estimate(0, batch_size * height * width * 500)
    generator = getattr(config.model_params, "generator_params", None)
    per_pixel = 1000 + 120 * getattr(generator, "block_expansion", _ASSUMED_WIDTH)
    if work == "generate":
        return Estimate(weights, batch_size * height * width * per_pixel // 4)
    per_pixel += 2700 * config.train_params.needs_vgg19
    pairs = 2 * 3 * height * width * batch_size * _BATCHES_PER_WORKER * config.train_params.dataloader_workers
    return Estimate(4 * weights, batch_size * height * width * per_pixel, pairs)


def check_memory(config: Config, work: Literal["train", "generate"], batch_size: int, device: torch.device) -> Estimate:
    """Log a warning if a run probably needs more memory than there is.

    Raises:
        UserError: more memory than any process can address.
    """
    need = estimate(config, work, batch_size)
    remedy = "use a smaller batch_size, frame_shape or model, or precision bf16-mixed"
    total = need.networks + need.frames + need.loading
    if total > _ADDRESS_SPACE:
        raise UserError(f"these settings need about {_gib(total)} of memory, more than can be addressed; {remedy}")
    on_device, on_cpu = need.networks + need.frames, need.loading
    if device.type == "cpu":
        on_device, on_cpu = 0, total
    for place, bytes_needed, available in (
        ("the GPU", on_device, _gpu_memory(device)),
        ("this machine", on_cpu, cpu_memory()),
    ):
        if bytes_needed > available:
            log.warning(
                "about %s of memory are needed, %s has %s: %s", _gib(bytes_needed), place, _gib(available), remedy
            )
    return need


def cpu_memory() -> float:
    """Bytes of memory of this machine or container; infinite where neither says."""
    sizes = [inf]
    with suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # `max` stands for no limit
            sizes.append(int(Path(limit).read_text(encoding="ascii")))
    return min(sizes)


def _gpu_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else inf


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f} GiB"
