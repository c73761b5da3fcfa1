"""The estimate of memory warns of settings that no machine holds, and of none that we ship."""

from pathlib import Path

import pytest
import torch

from config.load import load_config
from core import memory
from errors import UserError
from modules.blocks import count_parameters
from tests import option_probes as see

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted(set(ROOT.glob("config/*.yaml")) - set(ROOT.glob("config/prepare-*.yaml")))
CPU = torch.device("cpu")


def shipped(name: str, *assignments: str):
    return load_config(ROOT / "config" / name, list(assignments)).config


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_no_shipped_experiment_warns_on_a_common_machine(path, monkeypatch, caplog):
    monkeypatch.setattr(memory, "cpu_memory", lambda: 32 * memory.GIB)
    config = shipped(path.name)
    memory.check_memory(config, "train", config.train_params.batch_size, CPU)
    memory.check_memory(config, "generate", config.animate_params.batch_size, CPU)
    assert not caplog.records


@pytest.mark.parametrize(
    "change",
    [
        ["train_params.batch_size=2048"],
        ["dataset_params.frame_shape=[4096, 4096, 3]"],
        ["model_params.generator_params.max_features=8192", "model_params.generator_params.block_expansion=4096"],
        ["train_params.dataloader_workers=256", "train_params.batch_size=512"],
    ],
)
def test_monstrous_settings_warn_before_anything_is_allocated(change, monkeypatch, caplog):
    monkeypatch.setattr(memory, "cpu_memory", lambda: 32 * memory.GIB)
    config = shipped("fomm-256.yaml", *change)
    memory.check_memory(config, "train", config.train_params.batch_size, CPU)
    (record,) = caplog.records
    assert "of memory are needed, this machine has 32.0 GiB: use a smaller batch_size" in record.getMessage()


def test_what_no_process_can_address_is_refused():
    config = shipped("fomm-256.yaml", "dataset_params.frame_shape=[8192, 8192, 3]", "train_params.batch_size=4096")
    with pytest.raises(UserError, match="more than can be addressed; use a smaller batch_size"):
        memory.check_memory(config, "train", 4096, CPU)


@pytest.mark.parametrize("family", ["tps", "fomm", "mraa"])
def test_the_estimate_is_that_of_the_maps_that_training_keeps(family):
    config = see.config_of(family, {})
    model, _ = see.prepared_model(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.losses(see.batch(), 20)
    true = sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in weights)
    need = memory.estimate(config, "train", len(see.batch()["source"]))
    assert need.networks == 16 * count_parameters(model)
    assert need.frames / 4 < true < 2 * need.frames  # networks of 4 channels; with 64 it is within a factor of 1.4


def test_generation_needs_the_weights_once_and_no_maps_for_a_backward_pass():
    config = see.config_of("fomm", {})
    training, generation = (memory.estimate(config, work, 2) for work in ("train", "generate"))
    assert training.networks == 4 * generation.networks
    assert training.frames == 4 * generation.frames


def test_the_memory_of_this_machine_is_known():
    assert 2**26 < memory.cpu_memory() < 2**50


def test_training_and_generation_are_checked(clips_root, write_experiment, monkeypatch, caplog):
    import run

    monkeypatch.setattr(memory, "cpu_memory", lambda: 0)
    experiment = write_experiment(clips_root, train_params__num_epochs=1)
    assert run.main(["--config", str(experiment)]) == 0
    assert "of memory are needed" in caplog.text
    caplog.clear()
    (checkpoint,) = Path("log").glob("*/*-checkpoint.pth.tar")
    assert run.main(["--config", str(experiment), "--mode", "reconstruction", "--checkpoint", str(checkpoint)]) == 0
    assert "of memory are needed" in caplog.text
