"""Steps of a model's optimisers, and checks that losses, gradients and weights stay finite."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from errors import UserError
from modules.trainable import Optimiser, Trainable

MAX_SKIPPED = 30
"""Steps in a row that the scaler of 16-mixed may skip. It halves its scale each time; after so many, the gradients are
broken."""


class NotFiniteError(UserError):
    """A loss, gradient or weight is infinite or not a number."""


class OptimiserSteps:
    """The optimisers of a model in training.

    Args:
        fabric: already launched.
        model: set up by Fabric.
        optimisers: by name in checkpoints.
    """

    def __init__(self, fabric: Fabric, model: Trainable, optimisers: Mapping[str, Optimiser]):
        self.fabric, self.model, self.optimisers = fabric, model, optimisers
        self._steppers: dict[str, Any] = {
            name: fabric.setup_optimizers(entry.optimizer) for name, entry in optimisers.items()
        }
        self._base_rates = {
            name: [group["lr"] for group in entry.optimizer.param_groups] for name, entry in optimisers.items()
        }
        self._skipped = 0

    def set_learning_rates(self, epoch: int, milestones: Sequence[int]) -> None:
        """Divide the learning rates of the config by ten at each milestone."""
        passed = sum(epoch >= milestone for milestone in milestones)
        for name, entry in self.optimisers.items():
            for group, rate in zip(entry.optimizer.param_groups, self._base_rates[name], strict=True):
                group["lr"] = rate * 0.1**passed

    @property
    def learning_rate(self) -> float:
        """Current learning rate of the first optimiser."""
        rate: float = next(iter(self.optimisers.values())).optimizer.param_groups[0]["lr"]
        return rate

    def step(self, terms: Mapping[str, Tensor], epoch: int, *, adversary: bool) -> dict[str, float]:
        """Back-propagate the sum of the losses and step the optimisers of the generating networks, or of the adversary.

        Returns:
            The losses as numbers.
        Raises:
            NotFiniteError: a loss or a gradient is not finite; no optimiser has stepped.
        """
        due = {
            name: entry
            for name, entry in self.optimisers.items()
            if entry.adversary == adversary and epoch >= entry.start_epoch
        }
        self.fabric.backward(sum(terms.values(), start=torch.zeros((), device=self.fabric.device)))
        for entry in due.values():
            self.fabric.strategy.precision.unscale_gradients(entry.optimizer)
        numbers = self._finite_numbers(terms, due)
        for entry in due.values():
            for network, limit in entry.clip_norm.items():
                parameters = list(self.model.networks()[network].parameters())
                if parameters:
                    clip_grad_norm_(parameters, limit, norm_type=torch.inf)
        self._step_all(due)
        for entry in self.optimisers.values():
            entry.optimizer.zero_grad()
        return numbers

    def _finite_numbers(self, terms: Mapping[str, Tensor], due: Mapping[str, Optimiser]) -> dict[str, float]:
        """Losses as numbers, read from the device together with the norms of the gradients: one wait for the device."""
        losses = [term.detach().float() for term in terms.values()]
        norms = [get_total_norm(_gradients(entry.optimizer)) for entry in due.values()]
        device = self.fabric.device
        found = torch.stack([*losses, *(norm.to(device, torch.float32) for norm in norms)]).tolist()
        numbers = dict(zip(terms, found[: len(losses)], strict=True))
        if broken := [name for name, value in numbers.items() if not value - value == 0]:  # NaN and infinity
            raise NotFiniteError(f"{', '.join(broken)} is not finite")
        broken = [name for name, value in zip(due, found[len(losses) :], strict=True) if not value - value == 0]
        self._skipped = self._skipped + 1 if broken else 0
        # The scaler of 16-mixed tries large scales, and skips the step where they are too large.
        if broken and (self._scaler is None or self._skipped > MAX_SKIPPED):
            raise NotFiniteError(f"the gradient of {', '.join(broken)} is not finite")
        return numbers

    def _step_all(self, due: Mapping[str, Optimiser]) -> None:
        try:
            if self._scaler is None:
                for name in due:
                    self._steppers[name].step()
            elif due:  # the scale may change only after all optimisers have used it
                for entry in due.values():
                    self._scaler.step(entry.optimizer)
                self._scaler.update()
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            raise NotFiniteError(f"the step of {', '.join(due)} with its learning rate is not finite") from error

    @property
    def _scaler(self) -> Any:
        return getattr(self.fabric.strategy.precision, "scaler", None)


def non_finite_entries(contents: Mapping[str, Any]) -> list[str]:
    """Top-level names of a checkpoint's contents with a tensor that is not finite."""
    names, largest = [], []
    for name, value in contents.items():
        tensors = [tensor for tensor in _tensors(value) if tensor.is_floating_point() and tensor.numel()]
        if tensors:
            names.append(name)
            largest.append(get_total_norm(tensors, norm_type=torch.inf).float().cpu())
    return [name for name, value in zip(names, largest, strict=True) if not torch.isfinite(value)]


def _gradients(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [parameter.grad for parameter in parameters if parameter.grad is not None and parameter.grad.numel()]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from _tensors(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _tensors(child)
