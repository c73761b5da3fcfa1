"""Training of the AVD network, which transfers motion between identities; all other networks are frozen."""

from config.experiment import Config
from config.options import RunOptions
from core.devices import launch, make_fabric
from core.models import initial_model
from errors import UserError
from train import run_job
from trainer import Job


def train_avd(config: Config, options: RunOptions) -> int:
    """`--mode train_avd`: start from the checkpoint of a trained model, or resume from one of this mode.

    Returns:
        Exit status: 0, or 128 + signal of an interrupted run.
    Raises:
        UserError: no checkpoint, or data or settings that cannot be used.
    """
    if options.checkpoint is None:
        raise UserError("--mode train_avd: --checkpoint with the weights of --mode train is required")
    section = config.train_avd_params
    if section.batch_size < 2:
        raise UserError("train_avd_params.batch_size: expected at least 2 for batch normalisation")
    fabric = make_fabric(options.device_ids, "32", config.train_params.num_nodes)
    launch(fabric)
    model = initial_model(config)
    try:
        optimisers = model.prepare_avd(section)
    except NotImplementedError as error:
        raise UserError(f"{options.config_path}: {error}") from error
    job = Job(section, "avd_losses", optimisers, "train_avd", config.dataset_params.remove_head_motion)
    return run_job(fabric, config, options, model, job)
