"""Devices and processes, and random numbers that depend on the training progress alone."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from core.stop_signal import die_with_parent
from errors import UserError, failure_of_machine, first_line

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Precision = Literal["32", "bf16-mixed", "16-mixed"]
T = TypeVar("T")

SHARED_MEMORY = Path("/dev/shm")
_MAIN_PROCESS = "MAIN_PROCESS_OF_RUN"  # environment variable: id of the process that starts the others of a machine


def make_fabric(device_ids: Sequence[int] | None, precision: Precision = "32", num_nodes: int = 1) -> "Fabric":
    """Lightning Fabric on the chosen CUDA devices, or on the CPU.

    Args:
        device_ids: CUDA devices; None takes the first one, or the CPU where there is none.
        precision: 32, bf16-mixed or 16-mixed.
        num_nodes: number of machines, started by torchrun or Slurm.
    Raises:
        UserError: no such device, or several machines without a launcher.
    """
    from lightning.fabric import Fabric  # takes seconds to load, and only training needs it
    from lightning.fabric.strategies.ddp import DDPStrategy

    for chatty in ("lightning.fabric", "lightning.pytorch"):  # they set their own level when they are imported
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if num_nodes > 1 and not _is_launched():
        raise UserError(
            f"num_nodes: {num_nodes} machines need a launcher, otherwise each waits for the others for ever; start the "
            "program with torchrun or srun on each of them, or set train_params.num_nodes to 1"
        )
    count = count_devices(device_ids)
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


def count_devices(device_ids: Sequence[int] | None) -> int:
    """Number of CUDA devices of this machine.

    Args:
        device_ids: devices that must be among them.
    Raises:
        UserError: no such device.
    """
    count = torch.cuda.device_count()
    if device_ids and (missing := [i for i in device_ids if not 0 <= i < count]):
        raise UserError(
            f"--device-ids {','.join(map(str, device_ids))}: no CUDA device {missing[0]}; there are {count}"
        )
    return count


def _is_launched() -> bool:
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    by_hand = {"MASTER_ADDR", "NODE_RANK"} <= set(os.environ)
    return TorchElasticEnvironment.detect() or SLURMEnvironment.detect() or by_hand


def launch(fabric: "Fabric") -> None:
    """Start the processes of all devices. Those that this process starts end with it, however it ends.

    Raises:
        UserError: the launcher's number of processes is not that of the settings.
    """
    if os.environ.get(_MAIN_PROCESS) == str(os.getppid()):
        die_with_parent()
    os.environ[_MAIN_PROCESS] = str(os.getpid())
    try:
        fabric.launch()
    except ValueError as error:
        raise UserError(
            f"--device-ids and train_params.num_nodes do not fit the launcher: {first_line(error)}"
        ) from error
    finally:
        os.environ.pop(_MAIN_PROCESS, None)


def on_main_process(fabric: "Fabric", action: Callable[[], T]) -> T:
    """Run an action in the main process and return its result in every process.

    Raises:
        UserError: the action failed in the main process; raised in every process, so that none waits for ever.
    """
    if fabric.world_size == 1:
        return action()
    result: T | None = None
    failure: str | None = None
    if fabric.is_global_zero:
        try:
            result = action()
        except Exception as error:
            failure = str(error) if isinstance(error, UserError) else failure_of_machine(error)
            if failure is None:
                raise
    result, failure = fabric.broadcast((result, failure))
    if failure is not None:
        raise UserError(failure)
    return cast(T, result)


def true_in_any_process(fabric: "Fabric", value: bool) -> bool:
    """Return True in every process if the value is True in one of them."""
    if fabric.world_size == 1:
        return value
    total = fabric.all_reduce(torch.tensor(float(value), device=fabric.device), reduce_op="sum")
    assert isinstance(total, Tensor), "a reduced tensor is a tensor"
    return bool(total > 0)


def shared_memory_problem(needed: int) -> str | None:
    """Return an error message if data-loader workers cannot hand over their batches; None otherwise.

    Args:
        needed: bytes of all batches that wait at the same time.
    """
    if not SHARED_MEMORY.is_dir():
        return None
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed <= free:
        return None
    return (
        f"{SHARED_MEMORY}: the batches of the data-loader workers need {needed / 2**20:.1f} MiB of shared memory, "
        f"{free / 2**20:.1f} MiB are free; set dataloader_workers to 0, lower batch_size, or enlarge it "
        "(docker: --shm-size)"
    )


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed torch from the training progress, so that a resumed run draws the same numbers as an uninterrupted one."""
    state = np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]) >> 1)
