"""The training loop, one for all families and any number of devices."""

import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from augmentation import augment
from clips.checks import batch_problem, size_problem
from clips.loader import any_size, make_clip_loader
from clips.splits import split_clips
from config.experiment import Config
from config.options import RunOptions
from config.sections import TrainAUParams, TrainAVDParams, TrainParams
from core.checkpoints import (
    checkpoint_contents,
    finished_epoch,
    finished_steps,
    load_networks,
    load_optimisers,
    read_checkpoint,
)
from core.devices import make_fabric, seed_step
from core.memory import check_memory
from core.models import initial_model, load_au_estimator, load_vgg19
from core.stop_signal import StopSignal, ignore_interrupt
from errors import UserError
from frames_dataset import EpochSampler, FramesDataset
from logger import RunLogger, run_folder
from modules.model import MotionModel
from modules.trainable import Optimiser, Trainable
from output.visualizer import Visualizer
from sync_batchnorm import synchronise

Bar: TypeAlias = "tqdm[NoReturn] | None"

log = logging.getLogger("train")


@dataclass(frozen=True)
class Job:
    """A training task.

    Attributes:
        section: its config section, with epochs, batch size and learning-rate milestones.
        losses: name of the model's method that computes the losses, `losses` or `avd_losses`.
        optimisers: by name in checkpoints.
        mode: command-line mode, the key of the model's checkpoint suffixes and epoch keys.
        remove_head_motion: remove the rigid head motion between the frames of a pair.
    """

    section: TrainParams | TrainAVDParams | TrainAUParams
    losses: str
    optimisers: dict[str, Optimiser]
    mode: str
    remove_head_motion: bool


def train(config: Config, options: RunOptions) -> int:
    """`--mode train`: start a run in a folder of its own, or resume one with `--checkpoint`.

    Returns:
        Exit status: 0, or 128 + signal of an interrupted run.
    Raises:
        UserError: data, checkpoint or settings cannot be used.
    """
    section = config.train_params
    fabric = make_fabric(options.device_ids, section.precision, section.num_nodes)
    fabric.launch()
    check_memory(config, "train", section.batch_size, fabric.device)
    model = initial_model(config)
    vgg = load_vgg19(section.perceptual_network) if section.needs_vgg19 else None
    estimator = load_au_estimator(section.au_estimator_file) if section.au_estimator_file else None
    try:
        optimisers = model.prepare_training(section, vgg, estimator)
    except NotImplementedError as error:
        raise UserError(f"{options.config_path}: {error}") from error
    job = Job(section, "losses", optimisers, "train", config.dataset_params.remove_head_motion)
    return run_job(fabric, config, options, model, job)


def run_job(
    fabric: Fabric,
    config: Config,
    options: RunOptions,
    model: Trainable,
    job: Job,
    report: Callable[[Path], None] | None = None,
) -> int:
    """Load checkpoint and clips, then train.

    Args:
        report: called with the run folder, in the main process, after the last epoch.
    Returns:
        Exit status.
    """
    contents: dict[str, Any] = {}
    epoch, step, folder = 0, 0, None
    if options.checkpoint:
        contents = read_checkpoint(options.checkpoint)
        load_networks(model, contents, config, options.checkpoint)
        if job.mode == "train" or set(job.optimisers) <= set(contents):
            folder = options.checkpoint.parent
            epoch_key = model.epoch_keys[job.mode]
            epoch = finished_epoch(contents, epoch_key, options.checkpoint) + 1
            step = finished_steps(contents, options.checkpoint)
    if epoch >= job.section.num_epochs:
        raise UserError(f"{options.checkpoint}: all {job.section.num_epochs} epochs are finished; raise num_epochs")
    dataset = training_pairs(config, model, fabric, job.section.num_repeats)
    trainer = Trainer(fabric, config, model, job, dataset, folder or new_folder(fabric, options, job.mode))
    if folder and options.checkpoint:
        load_optimisers(job.optimisers, contents, options.checkpoint)
    with logging_redirect_tqdm():
        status = trainer.run(epoch, step)
    if report is not None and not status and fabric.is_global_zero:
        report(trainer.folder)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # its threads abort the process if they outlive it
    return status


def new_folder(fabric: Fabric, options: RunOptions, mode: str) -> Path:
    """Create the folder of a new run, the same for every process."""
    stem = options.config_path.stem if mode == "train" else f"{options.config_path.stem}-{mode}"
    folder = run_folder(options.log_dir, stem) if fabric.is_global_zero else None
    return Path(fabric.broadcast(str(folder)))


def training_pairs(config: Config, model: Trainable, fabric: Fabric, num_repeats: int) -> FramesDataset:
    """Training pairs of the train split; the main process decodes the clips first, the others read its cache."""
    loader = make_clip_loader(
        config.dataset_params,
        str(fabric.device),
        landmarks=model.needs_landmarks or config.dataset_params.remove_head_motion,
        action_units=model.needs_action_units,
        size_problems=config.size_problems if isinstance(model, MotionModel) else any_size,
    )
    with fabric.rank_zero_first():
        clips, problems = loader.load_all(split_clips(config.dataset_params, "train"), "train")
    if problem := size_problem(clip.cached.frames().shape[1:3] for clip in clips):
        raise UserError(problem)
    for problem in problems:
        log.warning("left out: %s", problem)
    log.info("%d clips to train on%s", len(clips), f", {len(problems)} left out" if problems else "")
    return FramesDataset(clips, config.dataset_params, seed=config.seed, num_repeats=num_repeats)


class Trainer:
    """Trains a model epoch by epoch.

    Args:
        fabric: already launched.
        model: prepared for training; moved to the device here.
        folder: run folder.
    Raises:
        UserError: the data set is smaller than one batch.
    """

    def __init__(
        self, fabric: Fabric, config: Config, model: Trainable, job: Job, dataset: FramesDataset, folder: Path
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
        workers = job.section.dataloader_workers
        loader = DataLoader(
            dataset,
            job.section.batch_size,
            sampler=self.sampler,
            num_workers=workers,
            pin_memory=fabric.device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=ignore_interrupt,
        )
        self.loader: Iterable[Any] = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        # PyTorch can synchronise batch normalisation on GPUs only.
        if fabric.world_size > 1 and config.train_params.use_sync_bn and fabric.device.type == "cuda":
            log.info("synchronised %d batch normalisations over all devices", synchronise(model))
        self.wrapped = fabric.setup_module(model)
        for method in (job.losses, "discriminator_losses"):
            self.wrapped.mark_forward_method(method)
        self.steppers: dict[str, Any] = {
            name: fabric.setup_optimizers(entry.optimizer) for name, entry in job.optimisers.items()
        }
        self.base_rates = {
            name: [group["lr"] for group in entry.optimizer.param_groups] for name, entry in job.optimisers.items()
        }
        self.visualizer = Visualizer(config.visualizer_params)

    def run(self, epoch: int, step: int) -> int:
        """Train from `step` of `epoch` to the last epoch; returns the exit status."""
        section = self.job.section
        steps = self.sampler.steps
        if not self.fabric.is_global_zero:
            return self._train_epochs(epoch, step, None, None)
        images = steps * section.batch_size * self.fabric.world_size
        log.info("run folder: %s", self.folder)
        with (
            RunLogger(
                self.folder,
                self.config,
                keep_checkpoints=getattr(section, "keep_checkpoints", None),
                checkpoint_suffix=self.model.checkpoint_suffixes[self.job.mode],
            ) as logger,
            tqdm(
                total=images * section.num_epochs,
                initial=images * epoch + step * section.batch_size * self.fabric.world_size,
                unit="img",
                dynamic_ncols=True,
                disable=None,
            ) as bar,
        ):
            return self._train_epochs(epoch, step, logger, bar)

    def _train_epochs(self, epoch: int, step: int, logger: RunLogger | None, bar: Bar) -> int:
        with StopSignal() as stop:
            for current in range(epoch, self.job.section.num_epochs):
                done = self._train_epoch(current, step, stop, logger, bar)
                if done < self.sampler.steps:
                    return self._save_interrupted(current - 1, done, stop, logger)
                step = 0
                last = current + 1 == self.job.section.num_epochs
                if logger and (last or (current + 1) % self.job.section.checkpoint_freq == 0):
                    log.info("epoch %d: wrote %s", current, logger.save_epoch(current, self._checkpoint(current, 0)))
                if self._any_process_stops(stop) and not last:
                    return self._save_interrupted(current, 0, stop, logger)
        return 0

    def _train_epoch(self, epoch: int, done: int, stop: StopSignal, logger: RunLogger | None, bar: Bar) -> int:
        """Train one epoch from its step `done`; returns the number of its steps that are done."""
        self._set_learning_rates(epoch)
        self.wrapped.train()
        self.sampler.start(epoch, done)
        images = self.job.section.batch_size * self.fabric.world_size
        batch: dict[str, Tensor] = {}
        generated: dict[str, Any] = {}
        history: list[dict[str, float]] = []
        began = time.perf_counter()
        for raw in self.loader:
            seed_step(self.config.seed, epoch, done, self.fabric.global_rank)
            batch = augment(raw, remove_head_motion=self.job.remove_head_motion)
            terms, generated = self._step(batch, epoch, done)
            done += 1
            if logger and bar is not None:
                ended = time.perf_counter()
                values = {**terms, "images_per_second": images / (ended - began), **self._device_state()}
                began = ended
                history.append(values)
                logger.log_step(epoch, epoch * self.sampler.steps + done - 1, values)
                bar.set_postfix(
                    {"epoch": epoch, **{name: f"{value:.4f}" for name, value in terms.items()}}, refresh=False
                )
                bar.update(images)
            if self._any_process_stops(stop):
                break
        if history:
            log.info("epoch %d: %s", epoch, ", ".join(f"{name} {value:.4g}" for name, value in _means(history).items()))
        if logger and generated:
            logger.log_image(epoch, self.visualizer.grid(batch["source"], batch["driving"], generated))
        return done

    def _step(self, batch: Mapping[str, Tensor], epoch: int, step: int) -> tuple[dict[str, float], dict[str, Any]]:
        """Step all optimisers, the discriminator's last; returns the losses as numbers and the generated tensors."""
        # Fabric applies no autocast to methods other than `forward` on a single device.
        with self.fabric.autocast():
            terms, generated = getattr(self.wrapped, self.job.losses)(batch, epoch)
        numbers = self._step_optimisers(terms, epoch, step, adversary=False)
        with self.fabric.autocast():
            discriminator_terms = self.wrapped.discriminator_losses(batch, generated) if generated else {}
        if discriminator_terms:
            numbers |= self._step_optimisers(discriminator_terms, epoch, step, adversary=True)
        return numbers, generated

    def _step_optimisers(
        self, terms: Mapping[str, Tensor], epoch: int, step: int, *, adversary: bool
    ) -> dict[str, float]:
        """Back-propagate the sum of the losses and step the optimisers of the generating networks, or of the adversary.

        Raises:
            UserError: a loss is not finite.
        """
        values = torch.stack([term.detach().float() for term in terms.values()])
        numbers = dict(zip(terms, values.tolist(), strict=True))
        broken = [name for name, value in numbers.items() if not value - value == 0]  # NaN and infinity
        if broken:
            raise UserError(
                f"epoch {epoch}, step {step}: {', '.join(broken)} is not finite; resume from the last checkpoint in "
                f"{self.folder} with a lower learning rate or precision 32"
            )
        self.fabric.backward(sum(terms.values(), start=torch.zeros((), device=self.fabric.device)))
        for name, entry in self.job.optimisers.items():
            if entry.adversary == adversary and epoch >= entry.start_epoch:
                self.fabric.strategy.precision.unscale_gradients(entry.optimizer)
                for network, limit in entry.clip_norm.items():
                    parameters = list(self.model.networks()[network].parameters())
                    if parameters:
                        torch.nn.utils.clip_grad_norm_(parameters, limit, norm_type=torch.inf)
                self.steppers[name].step()
        for entry in self.job.optimisers.values():
            entry.optimizer.zero_grad()
        return numbers

    def _set_learning_rates(self, epoch: int) -> None:
        passed = sum(epoch >= milestone for milestone in self.job.section.epoch_milestones)
        for name, entry in self.job.optimisers.items():
            for group, rate in zip(entry.optimizer.param_groups, self.base_rates[name], strict=True):
                group["lr"] = rate * 0.1**passed

    def _device_state(self) -> dict[str, float]:
        optimizer = next(iter(self.job.optimisers.values())).optimizer
        state = {"learning_rate": optimizer.param_groups[0]["lr"]}
        if self.fabric.device.type == "cuda":
            state["peak_memory_mib"] = torch.cuda.max_memory_allocated(self.fabric.device) / 2**20
        return state

    def _checkpoint(self, epoch: int, step: int) -> dict[str, Any]:
        epoch_key = self.model.epoch_keys[self.job.mode]
        return checkpoint_contents(
            self.config, self.model, self.job.optimisers, epoch=epoch, step=step, epoch_key=epoch_key
        )

    def _any_process_stops(self, stop: StopSignal) -> bool:
        """True if any process received a stop signal; all must end after the same step."""
        if self.fabric.world_size == 1:
            return stop.number is not None
        received = torch.tensor(float(stop.number is not None), device=self.fabric.device)
        total = self.fabric.all_reduce(received, reduce_op="sum")
        assert isinstance(total, Tensor), "a reduced tensor is a tensor"
        return bool(total > 0)

    def _save_interrupted(self, epoch: int, step: int, stop: StopSignal, logger: RunLogger | None) -> int:
        if logger:
            path = logger.save_interrupted(self._checkpoint(epoch, step))
            log.warning("stopped; resume by the same command with --checkpoint %s", path)
        return 128 + (stop.number or signal.SIGTERM)


def _means(history: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the steps that have it, because some losses are not computed in every step."""
    names = dict.fromkeys(name for values in history for name in values)
    return {name: float(np.mean([values[name] for values in history if name in values])) for name in names}
