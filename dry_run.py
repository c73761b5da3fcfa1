"""`--dry-run`: show what a run would use, and stop."""

import logging

import yaml

from checkpoints import initial_model
from config.options import RunOptions
from config.schema import Config
from frames_dataset import split_clips
from modules.blocks import count_parameters

log = logging.getLogger("dry_run")


def dry_run(config: Config, options: RunOptions) -> int:
    """Say the resolved experiment, the size of each network and the number of clips.

    Raises:
        UserError: the clips cannot be found.
    """
    log.info("%s", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).rstrip())
    networks = initial_model(config).networks()
    for name, network in networks.items():
        log.info("%s: %s parameters", name, f"{count_parameters(network):,}")
    if config.dataset_params.root_dir is not None:
        for split in ("train", "test"):
            log.info("%s: %d clips", split, len(split_clips(config.dataset_params, split)))
    return 0
