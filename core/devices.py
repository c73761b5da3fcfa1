"""Devices, and random numbers that depend on the training progress alone."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy

from errors import UserError

Precision = Literal["32", "bf16-mixed", "16-mixed"]


def make_fabric(device_ids: Sequence[int] | None, precision: Precision = "32", num_nodes: int = 1) -> Fabric:
    """Lightning Fabric on the chosen CUDA devices, or on the CPU.

    Args:
        device_ids: CUDA devices; None takes the first one, or the CPU where there is none.
        precision: 32, bf16-mixed or 16-mixed.
        num_nodes: number of machines, started by torchrun or Slurm.
    Raises:
        UserError: no such device.
    """
    for chatty in ("lightning.fabric", "lightning.pytorch"):  # they set their own level when they are imported
        logging.getLogger(chatty).setLevel(logging.WARNING)
    count = torch.cuda.device_count()
    if device_ids and (missing := [i for i in device_ids if not 0 <= i < count]):
        raise UserError(
            f"--device-ids {','.join(map(str, device_ids))}: no CUDA device {missing[0]}; there are {count}"
        )
    devices = list(device_ids or [0])
    # Networks before their start epoch get no gradient, which DDP does not expect by default.
    several = num_nodes > 1 or (count and len(devices) > 1)
    strategy = DDPStrategy(find_unused_parameters=True) if several else "auto"
    torch.backends.cudnn.benchmark = True
    return Fabric(
        accelerator="cuda" if count else "cpu",
        devices=devices if count else 1,
        num_nodes=num_nodes,
        precision=precision,
        strategy=strategy,
    )


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed torch from the training progress, so that a resumed run draws the same numbers as an uninterrupted one."""
    state = np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]) >> 1)
