"""Exported weights and networks: other programs get the same picture."""

import numpy as np
import pytest
import torch

import export
from config.options import RunOptions
from core.checkpoints import checkpoint_contents, load_networks, read_checkpoint, write_checkpoint
from modules.model import Condition
from tests import option_probes


def contents(config, model) -> dict:
    return checkpoint_contents(config, model, {}, epoch=0, step=0, epoch_key="epoch")


@pytest.fixture
def exported(tmp_path):
    config = option_probes.config_of("tps", {})
    model = option_probes.model_of(config).eval().requires_grad_(False)
    write_checkpoint(tmp_path / "checkpoint.pth.tar", contents(config, model))
    options = RunOptions(tmp_path / "tiny.yaml", checkpoint=tmp_path / "checkpoint.pth.tar")
    assert export.export(config, options) == 0
    return config, model, tmp_path / "export"


@pytest.mark.filterwarnings("ignore")
def test_exported_files_give_the_same_picture(exported):
    config, model, folder = exported
    again = option_probes.build_model(config).eval()
    load_networks(again, read_checkpoint(folder / "weights.safetensors"), config, folder / "weights.safetensors")
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]) or value.isnan().any(), key
    assert read_checkpoint(folder / "weights.safetensors")["config"]["model_params"]["family"] == "tps"
    runtime = pytest.importorskip("onnxruntime")
    encoder, frame = (runtime.InferenceSession(str(folder / f"{name}.onnx")) for name in ("source", "frame"))
    generator = torch.Generator().manual_seed(3)
    size = config.dataset_params.frame_shape[0]
    source = torch.rand(1, 3, size, size, generator=generator)
    kp_source = torch.rand(1, 50, 2, generator=generator) * 1.6 - 0.8
    kp_driving = kp_source + 0.05 * torch.randn(1, 50, 2, generator=generator)
    motions = {"fg_kp": kp_source}, {"fg_kp": kp_driving}
    with torch.no_grad():
        expected = model.generate(model.encode(source), *motions, Condition())["prediction"]
        weights, affine = export.spline_weights(model, kp_driving, kp_source)
    given = {"source": source, "kp_driving": kp_driving, "kp_source": kp_source, "weights": weights, "affine": affine}
    inputs = {name: value.numpy() for name, value in given.items()}
    encoded = encoder.run(None, {"source": inputs["source"]})
    inputs |= {output.name: value for output, value in zip(encoder.get_outputs(), encoded, strict=True)}
    (found,) = frame.run(None, inputs)
    assert np.abs(found - expected.numpy()).max() < 1e-3
    assert np.abs(found - inputs["source"]).max() > 0.1


def test_other_families_are_exported_as_weights(tmp_path, caplog):
    config = option_probes.config_of("fomm", {})
    model = option_probes.model_of(config)
    write_checkpoint(tmp_path / "c.pth.tar", contents(config, model))
    assert export.export(config, RunOptions(tmp_path / "tiny.yaml", checkpoint=tmp_path / "c.pth.tar")) == 0
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["weights.safetensors"]
