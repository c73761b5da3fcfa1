"""Training: starts and resumes runs of all families."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from tqdm.contrib.logging import logging_redirect_tqdm

from clips.checks import size_problem
from clips.loader import any_size, make_clip_loader
from clips.splits import split_clips
from config.experiment import Config
from config.options import RunOptions
from core.checkpoints import finished_epoch, load_networks, load_optimisers, read_checkpoint
from core.devices import launch, make_fabric, on_main_process
from core.memory import check_memory
from core.models import initial_model, load_au_estimator, load_vgg19
from core.progress import Progress
from core.run_folder import check_log_dir, create_run_folder, hold_run_folder
from errors import UserError
from frames_dataset import FramesDataset
from modules.model import MotionModel
from modules.trainable import Trainable
from trainer import Evaluation, Job, Trainer

log = logging.getLogger("train")


def train(config: Config, options: RunOptions) -> int:
    """`--mode train`: start a run in a folder of its own, or resume one with `--checkpoint`.

    Returns:
        Exit status: 0, or 128 + signal of an interrupted run.
    Raises:
        UserError: data, checkpoint or settings cannot be used.
    """
    section = config.train_params
    fabric = make_fabric(options.device_ids, section.precision, section.num_nodes)
    launch(fabric)
    check_memory(config, "train", section.batch_size, fabric.device)
    model = initial_model(config)
    vgg = load_vgg19(section.perceptual_network) if section.needs_vgg19 else None
    estimator = load_au_estimator(section.au_estimator_file) if section.au_estimator_file else None
    try:
        optimisers = model.prepare_training(section, vgg, estimator)
    except NotImplementedError as error:
        raise UserError(f"{options.config_path}: {error}") from error
    evaluation = (
        training_evaluation(config, fabric, model) if section.evaluation_freq and fabric.is_global_zero else None
    )
    job = Job(section, "losses", optimisers, "train", config.dataset_params.remove_head_motion, evaluation=evaluation)
    return run_job(fabric, config, options, model, job)


def training_evaluation(config: Config, fabric: Fabric, model: MotionModel) -> Evaluation:
    """Return the evaluation of test clips between epochs.

    Raises:
        UserError: there are no test clips, or they have no landmarks.
    """
    from evaluation.training import TestClipJudge  # its libraries load slowly, and most runs do not evaluate

    section = config.train_params
    assert section.evaluation_freq is not None, "evaluations are asked for"
    judge = TestClipJudge(config, fabric, model)
    return Evaluation(section.evaluation_freq, judge, section.best_metric, higher=section.best_metric.endswith("corr"))


def run_job(fabric: Fabric, config: Config, options: RunOptions, model: Trainable, job: Job) -> int:
    """Load checkpoint and clips, train, and write the job's report.

    Returns:
        Exit status.
    """
    contents: dict[str, Any] = {}
    resumed: Path | None = None
    if options.checkpoint:
        contents = read_checkpoint(options.checkpoint)
        load_networks(model, contents, config, options.checkpoint)
        if job.mode == "train" or set(job.optimisers) <= set(contents):
            resumed = options.checkpoint
    try:
        with ExitStack() as held, logging_redirect_tqdm():
            if resumed:
                held.enter_context(hold_run_folder(fabric, resumed.parent))
                if finished_epoch(contents, model.epoch_keys[job.mode], resumed) + 1 >= job.section.num_epochs:
                    return _report_on_finished_run(fabric, model, job, resumed)
            else:
                on_main_process(fabric, lambda: check_log_dir(options.log_dir))
            dataset = training_pairs(config, model, fabric, job.section.num_repeats)
            start = _start(fabric, model, job, len(dataset), contents, resumed)
            folder = resumed.parent if resumed else new_folder(fabric, options, job.mode)
            if not resumed:
                held.enter_context(hold_run_folder(fabric, folder))
            trainer = Trainer(fabric, config, model, job, dataset, folder, resumed)
            if resumed:
                load_optimisers(job.optimisers, contents, resumed)
            return trainer.run(start)
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # its threads abort the process if they outlive it


def _start(
    fabric: Fabric, model: Trainable, job: Job, pairs: int, contents: Mapping[str, Any], resumed: Path | None
) -> Progress:
    """Position from which to train: that of the checkpoint if a run resumes, or the beginning."""
    if resumed is None:
        return Progress()
    return Progress.from_checkpoint(
        contents,
        resumed,
        epoch_key=model.epoch_keys[job.mode],
        section=f"{job.mode}_params",
        pairs=pairs,
        batch_size=job.section.batch_size,
        devices=fabric.world_size,
    )


def _report_on_finished_run(fabric: Fabric, model: Trainable, job: Job, checkpoint: Path) -> int:
    """Write the report that a finished run lacks because it was stopped.

    Raises:
        UserError: nothing is left to do.
    """
    if job.report is None or (checkpoint.parent / job.report.name).exists():
        raise UserError(f"{checkpoint}: all {job.section.num_epochs} epochs are finished; raise num_epochs")
    fabric.to_device(model)
    if fabric.is_global_zero:
        job.report.write(checkpoint.parent / job.report.name)
    return 0


def new_folder(fabric: Fabric, options: RunOptions, mode: str) -> Path:
    """Create the folder of a new run, the same for every process."""
    stem = options.config_path.stem if mode == "train" else f"{options.config_path.stem}-{mode}"
    return on_main_process(fabric, lambda: create_run_folder(options.log_dir, stem))


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
