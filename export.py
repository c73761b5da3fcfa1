"""`--mode export`: weights as safetensors, and for the spline family networks as ONNX, for other programs."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from config.experiment import FORMAT, Config
from config.options import RunOptions
from core.checkpoints import load_networks, read_checkpoint
from core.files import replacing_file
from core.models import initial_model
from core.safetensors_files import write_safetensors
from errors import UserError
from generation.setup import result_folder
from modules.model import MotionModel
from modules.thin_plate_spline import TPS
from modules.tps.model import TPSModel

log = logging.getLogger("export")

_OPSET = 18
_REMEDY = "make room"


def export(config: Config, options: RunOptions) -> int:
    """Write `weights.safetensors` and, where the family allows, `source.onnx` and `frame.onnx` beside the checkpoint.

    Returns:
        Exit status 0.
    Raises:
        UserError: no checkpoint, one that does not fit, or a missing package.
    """
    if options.checkpoint is None:
        raise UserError("--checkpoint is required for --mode export")
    model = initial_model(config)
    load_networks(model, read_checkpoint(options.checkpoint), config, options.checkpoint)
    model.eval().requires_grad_(False)
    folder = result_folder(options, "export")
    write_weights(folder / "weights.safetensors", model, config)
    log.info("wrote %s; --checkpoint reads it", folder / "weights.safetensors")
    if not isinstance(model, TPSModel) or model.inpainting_network.au_conditioning != "none":
        log.info("ONNX is written for `family: tps` without action units only")
        return 0
    height, width = (config.dataset_params.frame_shape or (256, 256, 3))[:2]
    write_onnx(folder, model, (height, width))
    log.info("wrote %s and %s for frames of %d x %d", folder / "source.onnx", folder / "frame.onnx", width, height)
    return 0


def write_weights(path: Path, model: MotionModel, config: Config) -> None:
    """Write the networks as safetensors, with the config in the metadata."""
    states = model.networks().items()
    tensors = {f"{name}.{key}": value for name, network in states for key, value in network.state_dict().items()}
    metadata = {"format": str(FORMAT), "family": config.family, "config": config.model_dump_json()}
    with replacing_file(path, _REMEDY) as temporary:
        write_safetensors(temporary, tensors, metadata)


# --- ONNX -------------------------------------------------------------------------------------------------------------


class SourceGraph(nn.Module):
    """Everything that depends on the source alone: image -> reduced image, and features fine to coarse."""

    def __init__(self, model: TPSModel):
        super().__init__()
        self.model = model

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encode(source)
        return (encoded["small"], *encoded["features"])


class FrameGraph(nn.Module):
    """One frame from the source's features and the solved splines: ONNX has no operator that solves equations.

    `forward` takes source, driving and source keypoints (1, 5K, 2), the weights (1, K, 5, 2) and affine parts
    (1, K, 2, 3) of `spline_weights`, and the outputs of `SourceGraph`; it returns the prediction (1, 3, H, W).
    """

    def __init__(self, model: TPSModel):
        super().__init__()
        self.model = model

    def forward(
        self,
        source: Tensor,
        kp_driving: Tensor,
        kp_source: Tensor,
        weights: Tensor,
        affine: Tensor,
        small: Tensor,
        *features: Tensor,
    ) -> Tensor:
        motion = self.model.dense_motion_network
        control = kp_driving.view(1, motion.num_tps, -1, 2)
        splines = TPS.solved(control, weights, affine)
        dense: dict[str, Any] = motion(source, kp_driving, kp_source, small=small, splines=splines)
        drawn = self.model.inpainting_network(source, list(features), dense["deformation"], dense["occlusion_map"])
        return drawn["prediction"]


def spline_weights(model: TPSModel, kp_driving: Tensor, kp_source: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and affine parts of the splines from driving to source keypoints, inputs of `frame.onnx`."""
    splines = model.dense_motion_network.splines(kp_driving, kp_source)
    return splines.control_params, splines.theta


def write_onnx(folder: Path, model: TPSModel, size: tuple[int, int]) -> None:
    """Write `source.onnx` and `frame.onnx` for frames of a size (H, W).

    Raises:
        UserError: the package `onnx` is missing.
    """
    try:
        import onnx  # noqa: F401  # an optional dependency, of the writer in torch
    except ImportError as error:
        raise UserError(f"--mode export needs the package onnx ({error}); pip install 'onnx'") from error
    source = torch.rand(1, 3, *size)
    points = torch.rand(2, 1, model.dense_motion_network.num_tps * 5, 2) * 1.6 - 0.8
    weights, affine = spline_weights(model, points[0], points[1])
    with torch.no_grad():
        encoded = SourceGraph(model)(source)
        names = ["small", *(f"features_{i}" for i in range(len(encoded) - 1))]
        _write(folder / "source.onnx", SourceGraph(model), (source,), ["source"], names)
        inputs = ["source", "kp_driving", "kp_source", "weights", "affine", *names]
        example = (source, points[0], points[1], weights, affine, *encoded)
        _write(folder / "frame.onnx", FrameGraph(model), example, inputs, ["prediction"])


def _write(path: Path, graph: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> None:
    with replacing_file(path, _REMEDY) as temporary:
        torch.onnx.export(
            graph.eval(),
            example,
            str(temporary),
            input_names=inputs,
            output_names=outputs,
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
