"""The training loop, one for all families and any number of devices."""

import logging
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # exported by a name that mypy does not see
from tqdm import tqdm

from augmentation import augment
from clips.checks import batch_problem
from config.experiment import Config
from config.sections import TrainAUParams, TrainAVDParams, TrainParams
from core.checkpoint_series import CheckpointSeries
from core.checkpoints import checkpoint_contents
from core.devices import seed_step, shared_memory_problem, true_in_any_process
from core.optimisation import NotFiniteError, OptimiserSteps
from core.progress import Progress
from core.stop_signal import StopSignal, exit_status
from errors import UserError, failure_of_machine, first_line
from frames_dataset import EpochSampler, FramesDataset, LoadingFailure, PairLoader
from logger import RunLogger
from modules.trainable import Optimiser, Trainable
from output.visualizer import Visualizer
from sync_batchnorm import synchronise

Bar: TypeAlias = "tqdm[NoReturn] | None"

log = logging.getLogger("train")
EVALUATION = "evaluation/"  # before the names of figures in logs
_LOST_PROCESS = re.compile(r"gloo|NCCL|connection (closed|reset) by peer", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    """A file that is written after the last epoch.

    Attributes:
        name: of the file in the run folder.
        write: called with its path, in the main process.
    """

    name: str
    write: Callable[[Path], None]


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of test clips between epochs.

    Attributes:
        freq: epochs between evaluations; the last epoch is always evaluated.
        measure: returns the figures by name; called in the main process.
        best: name of the figure by which the best checkpoint is chosen.
        higher: True if a larger value of it is better.
    """

    freq: int
    measure: Callable[[], Mapping[str, float]]
    best: str
    higher: bool


@dataclass(frozen=True)
class Job:
    """A training task.

    Attributes:
        section: its config section, with epochs, batch size and learning-rate milestones.
        losses: name of the model's method that computes the losses, `losses` or `avd_losses`.
        optimisers: by name in checkpoints.
        mode: command-line mode, the key of the model's checkpoint suffixes and epoch keys.
        remove_head_motion: remove the rigid head motion between the frames of a pair.
        report: report on the finished run; None for none.
        evaluation: evaluation between epochs; None for none.
    """

    section: TrainParams | TrainAVDParams | TrainAUParams
    losses: str
    optimisers: dict[str, Optimiser]
    mode: str
    remove_head_motion: bool
    report: Report | None = None
    evaluation: Evaluation | None = None


class Trainer:
    """Trains a model epoch by epoch.

    Args:
        fabric: already launched.
        model: prepared for training; moved to the device here.
        folder: run folder.
        checkpoint: from which the run resumes; None for a new run.
    Raises:
        UserError: the data set is smaller than one batch, or the shared memory is too small for the workers.
    """

    def __init__(
        self,
        fabric: Fabric,
        config: Config,
        model: Trainable,
        job: Job,
        dataset: FramesDataset,
        folder: Path,
        checkpoint: Path | None = None,
    ):
        self.fabric, self.config, self.job, self.folder = fabric, config, job, folder
        self.model = model
        self.sampler = EpochSampler(
            len(dataset),
            job.section.batch_size,
            seed=config.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        if problem := batch_problem(len(dataset), job.section.batch_size, fabric.world_size):
            raise UserError(problem)
        self.pair_loader = PairLoader(
            dataset, self.sampler, job.section.dataloader_workers, pin_memory=fabric.device.type == "cuda"
        )
        if problem := shared_memory_problem(
            self.pair_loader.shared_bytes * fabric.world_size // config.train_params.num_nodes
        ):
            raise UserError(problem)
        self.loader: Iterable[Any] = fabric.setup_dataloaders(self.pair_loader, use_distributed_sampler=False)
        # PyTorch can synchronise batch normalisation on GPUs only.
        if fabric.world_size > 1 and config.train_params.use_sync_bn and fabric.device.type == "cuda":
            log.info("synchronised %d batch normalisations over all devices", synchronise(model))
        self.wrapped = fabric.setup_module(model)
        for method in (job.losses, "discriminator_losses"):
            self.wrapped.mark_forward_method(method)
        self.optimiser_steps = OptimiserSteps(fabric, model, job.optimisers)
        self.checkpoints = CheckpointSeries(
            folder,
            model.checkpoint_suffixes[job.mode],
            checkpoint,
            keep=getattr(job.section, "keep_checkpoints", None),
            minutes=job.section.checkpoint_minutes,
        )
        self.visualizer = Visualizer(config.visualizer_params)

    def run(self, start: Progress) -> int:
        """Train to the last epoch and write the report; returns the exit status.

        Raises:
            UserError: training cannot continue; the message says how to resume.
        """
        try:
            with StopSignal() as stop:
                status = self._train_and_log(start, stop)
            if self.job.report and not status and self.fabric.is_global_zero:
                self.job.report.write(self.folder / self.job.report.name)
        except KeyboardInterrupt as interrupt:
            log.warning("stopped at once; %s", self.checkpoints.how_to_resume())
            return exit_status(interrupt)
        except Exception as error:
            failure = str(error) if isinstance(error, UserError) else self._failure(error)
            if failure is None:
                raise
            if not self.fabric.is_global_zero:  # the main process knows the checkpoints
                raise UserError(failure) from error
            change = "a lower learning rate or precision 32" if isinstance(error, NotFiniteError) else ""
            raise UserError(f"{failure}; {self.checkpoints.how_to_resume(change)}") from error
        return status

    def _failure(self, error: Exception) -> str | None:
        if self.fabric.world_size > 1 and isinstance(error, RuntimeError) and _LOST_PROCESS.search(str(error)):
            return "another process of this run has ended; see its message"
        return failure_of_machine(error)

    def _train_and_log(self, start: Progress, stop: StopSignal) -> int:
        section = self.job.section
        if not self.fabric.is_global_zero:
            return self._train_epochs(start, stop, None, None)
        images = self.sampler.steps_after(0) * self.sampler.pairs_per_step
        log.info("run folder: %s", self.folder)
        with (
            RunLogger(self.folder, self.config, start) as logger,
            tqdm(
                total=images * section.num_epochs,
                initial=images * start.epoch + start.pairs,
                unit="img",
                dynamic_ncols=True,
                disable=None,
            ) as bar,
        ):
            return self._train_epochs(start, stop, logger, bar)

    def _train_epochs(self, progress: Progress, stop: StopSignal, logger: RunLogger | None, bar: Bar) -> int:
        section = self.job.section
        with closing(self.pair_loader):
            while progress.epoch < section.num_epochs:
                progress = self._train_epoch(progress, stop, logger, bar)
                if self.sampler.steps_after(progress.pairs):
                    return self._save_interrupted(progress, stop, logger)
                finished, progress = progress.epoch, progress.after_epoch()
                last = progress.epoch == section.num_epochs
                if logger and (last or progress.epoch % section.checkpoint_freq == 0):
                    path = self.checkpoints.write_epoch(finished, self._contents(progress))
                    log.info("epoch %d: wrote %s", finished, path)
                evaluation = self.job.evaluation
                if logger and evaluation and (last or progress.epoch % evaluation.freq == 0):
                    self._evaluate(evaluation, progress, logger)
                if self._any_process_stops(stop) and not last:
                    return self._save_interrupted(progress, stop, logger)
        # A run without a report is finished.
        return self._status_of_stop(stop) if self.job.report and self._any_process_stops(stop) else 0

    def _evaluate(self, evaluation: Evaluation, progress: Progress, logger: RunLogger) -> None:
        """Evaluate after an epoch, and write the checkpoint if it is the best one so far."""
        finished = progress.epoch - 1
        before = logger.logged_values(EVALUATION + evaluation.best)
        values = {EVALUATION + name: value for name, value in evaluation.measure().items()}
        logger.log_step(finished, progress.total_steps - 1, values)
        log.info("epoch %d: %s", finished, ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        sign = 1 if evaluation.higher else -1
        value = values[EVALUATION + evaluation.best]
        if value == value and all(sign * value > sign * other for other in before):
            path = self.checkpoints.write_best(self._contents(progress))
            log.info("epoch %d: the best so far, wrote %s", finished, path)

    def _train_epoch(self, progress: Progress, stop: StopSignal, logger: RunLogger | None, bar: Bar) -> Progress:
        """Train what remains of an epoch, or until a signal; returns the progress."""
        epoch = progress.epoch
        self.optimiser_steps.set_learning_rates(epoch, self.job.section.epoch_milestones)
        self.wrapped.train()
        self.sampler.start(epoch, progress.pairs)
        if progress.pairs:
            self._log_rest(progress)
        batch: dict[str, Tensor] = {}
        generated: dict[str, Any] = {}
        history: list[dict[str, float]] = []
        began = time.perf_counter()
        for raw in self.loader:
            if isinstance(raw, LoadingFailure):
                raise UserError(raw)
            seed_step(self.config.seed, epoch, progress.step, self.fabric.global_rank)
            batch = augment(raw, remove_head_motion=self.job.remove_head_motion)
            terms, generated = self._step(batch, epoch, progress.step)
            images = self.sampler.pairs_per_step
            if logger and bar is not None:
                ended = time.perf_counter()
                values = {**terms, "images_per_second": images / (ended - began), **self._device_state()}
                began = ended
                history.append(values)
                logger.log_step(epoch, progress.total_steps, values)
                bar.set_postfix(
                    {"epoch": epoch, **{name: f"{value:.4f}" for name, value in terms.items()}}, refresh=False
                )
                bar.update(images)
            progress = progress.after_step(images)
            if self._any_process_stops(stop):
                break
            if logger and self.checkpoints.is_due:
                path = self.checkpoints.write_within_epoch(self._contents(progress))
                log.info("epoch %d, %d steps done: wrote %s", epoch, progress.step, path)
        if history:
            log.info("epoch %d: %s", epoch, ", ".join(f"{name} {value:.4g}" for name, value in _means(history).items()))
        if logger and generated:
            logger.log_image(epoch, self.visualizer.grid(batch["source"], batch["driving"], generated))
        return progress

    def _step(self, batch: Mapping[str, Tensor], epoch: int, step: int) -> tuple[dict[str, float], dict[str, Any]]:
        """Step all optimisers, the discriminator's last; returns the losses as numbers and the generated tensors.

        Raises:
            NotFiniteError: a loss or a gradient is not finite.
        """
        try:
            # Fabric applies no autocast to methods other than `forward` on a single device.
            with self.fabric.autocast():
                terms, generated = getattr(self.wrapped, self.job.losses)(batch, epoch)
            numbers = self.optimiser_steps.step(terms, epoch, adversary=False)
            with self.fabric.autocast():
                discriminator_terms = self.wrapped.discriminator_losses(batch, generated) if generated else {}
            if discriminator_terms:
                numbers |= self.optimiser_steps.step(discriminator_terms, epoch, adversary=True)
        except (NotFiniteError, LinAlgError) as error:  # no matrix of NaN has an inverse
            raise NotFiniteError(f"epoch {epoch}, step {step}: {first_line(error)}") from error
        return numbers, generated

    def _log_rest(self, progress: Progress) -> None:
        """Log how a resumed epoch continues, and the pairs that a changed batch size or number of devices costs."""
        steps = self.sampler.steps_after(progress.pairs)
        left = max(self.sampler.length - progress.pairs - steps * self.sampler.pairs_per_step, 0)
        missing = f"; pairs left out because they fill no batch: {left}" if left else ""
        pairs = (progress.pairs, self.sampler.length)
        log.info("epoch %d: resumes after %d of %d pairs, %d steps remain%s", progress.epoch, *pairs, steps, missing)

    def _device_state(self) -> dict[str, float]:
        state = {"learning_rate": self.optimiser_steps.learning_rate}
        if self.fabric.device.type == "cuda":
            state["peak_memory_mib"] = torch.cuda.max_memory_allocated(self.fabric.device) / 2**20
        return state

    def _any_process_stops(self, stop: StopSignal) -> bool:
        """True if any process received a stop signal; all must end after the same step."""
        return true_in_any_process(self.fabric, stop.number is not None)

    def _contents(self, progress: Progress) -> dict[str, Any]:
        """Contents of a checkpoint."""
        contents = checkpoint_contents(
            self.config,
            self.model,
            self.job.optimisers,
            epoch=progress.epoch - 1,
            step=progress.step,
            epoch_key=self.model.epoch_keys[self.job.mode],
        )
        return contents | progress.in_checkpoint()

    def _save_interrupted(self, progress: Progress, stop: StopSignal, logger: RunLogger | None) -> int:
        if logger:
            self.checkpoints.write_within_epoch(self._contents(progress))
        return self._status_of_stop(stop)

    def _status_of_stop(self, stop: StopSignal) -> int:
        if self.fabric.is_global_zero:
            log.warning("stopped; %s", self.checkpoints.how_to_resume())
        return 128 + (stop.number or signal.SIGTERM)


def _means(history: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the steps that have it, because some losses are not computed in every step."""
    names = dict.fromkeys(name for values in history for name in values)
    return {name: float(np.mean([values[name] for values in history if name in values])) for name in names}
