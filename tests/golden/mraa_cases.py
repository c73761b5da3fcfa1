"""How to replay the fixtures of MRAA, and those of FPB-FOMM that build on it. They are not in the repository."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from config.mraa import MraaTrainParams
from modules.facial_prior import PriorMaps
from modules.geometry import sample
from modules.losses import VGG19
from modules.model import Motion
from modules.mraa.bg_motion_predictor import BGMotionPredictor
from modules.mraa.flow_predictor import PixelwiseFlowPredictor
from modules.mraa.generator import Generator
from modules.mraa.model import MraaModel
from modules.mraa.region_predictor import RegionPredictor
from modules.thin_plate_spline import RandomWarp
from tests.golden.fomm_cases import arguments, convention, in_units
from tests.golden.manifests import builds
from tests.golden.replay import Fixture, Outputs, fill, replays
from tests.golden.tps_cases import flatten

AVD = {"id_bottle_size": 8, "pose_bottle_size": 8, "revert_axis_swap": True}
BACKGROUND = {"block_expansion": 8, "max_features": 16, "num_blocks": 2, "bg_type": "zero"}
REGIONS = {
    "block_expansion": 8,
    "max_features": 16,
    "num_blocks": 2,
    "temperature": 0.1,
    "pca_based": True,
    "scale_factor": 0.25,
}
FLOW = {"block_expansion": 8, "max_features": 16, "num_blocks": 2, "scale_factor": 0.25}
DRAWING = {
    "block_expansion": 8,
    "max_features": 16,
    "num_down_blocks": 2,
    "num_bottleneck_blocks": 1,
    "pixelwise_flow_predictor_params": FLOW,
}
WITH_BACKGROUND = {"full", "legacy", "heatonly"}
"""Variants of the flow predictor to which the fixture gives the background's movement."""


# --- networks from published constructor arguments --------------------------------------------------------------------


@builds("region_predictor", "mraa")
def region_predictor(kwargs: dict[str, Any]) -> nn.Module:
    return RegionPredictor(**arguments(kwargs, "fast_svd"))


@builds("region_predictor", "facial AWP-MRAA")
def awp_region_predictor(kwargs: dict[str, Any]) -> nn.Module:
    return region_predictor({**kwargs, "prior": PriorMaps(convention="published"), "prior_regions": "published"})


def flow_predictor(kwargs: dict[str, Any], tag: str) -> nn.Module:
    return PixelwiseFlowPredictor(**kwargs, convention=convention(tag))


@builds("generator", "mraa", "facial AWP-MRAA")
def generator(kwargs: dict[str, Any], tag: str = "") -> nn.Module:
    kwargs = dict(kwargs)
    num_regions, revert = kwargs.pop("num_regions"), kwargs.pop("revert_axis_swap", True)
    flow = {
        "num_regions": num_regions,
        "num_channels": kwargs["num_channels"],
        "revert_axis_swap": revert,
        **kwargs.pop("pixelwise_flow_predictor_params"),
    }
    return Generator(flow_predictor(flow, tag), convention=convention(tag), **kwargs)


@builds("bg_predictor", "mraa", "facial AWP-MRAA")
def bg_predictor(kwargs: dict[str, Any]) -> nn.Module:
    return BGMotionPredictor(**kwargs)


@builds("avd_network", "mraa", "facial AWP-MRAA")
def avd_network(kwargs: dict[str, Any]) -> nn.Module:
    return mraa_model({"num_regions": kwargs["num_regions"]}, avd_network_params={**AVD, **kwargs}).avd_network


@builds("vgg (never saved in a checkpoint)", "mraa")
def vgg(kwargs: dict[str, Any]) -> nn.Module:
    return VGG19()


def mraa_model(common: dict[str, Any], tag: str = "", **sections: Any) -> MraaModel:
    """The whole published family; sections that are not given are small."""
    published = convention(tag)
    known = {"num_regions": 5, "num_channels": 3, "estimate_affine": True, "revert_axis_swap": True, **common}
    sections = {
        "bg_predictor_params": BACKGROUND,
        "region_predictor_params": REGIONS,
        "generator_params": DRAWING,
        "avd_network_params": AVD,
        **sections,
    }
    sections["avd_network_params"] = arguments(sections["avd_network_params"], "num_regions")
    return MraaModel(
        prior="none",
        prior_params={},
        prior_regions="published",
        align_corners=published.sampling,
        resize_align_corners=published.resizing,
        region_affine="principal",
        relative_covar="driving",
        **known,
        **sections,
    )


def region(fixture: Fixture, prefix: str, *left_out: str) -> Motion:
    names = {"shift", "affine", "covar"} - set(left_out)
    return {name: fixture.inputs[f"{prefix}.{name}"] for name in names if f"{prefix}.{name}" in fixture.inputs}


# --- networks ---------------------------------------------------------------------------------------------------------


def with_axes(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """What fixtures store beside the region: the axes, and what of them has no sign."""
    result = {name: value for name, value in found.items() if name != "frame"}
    if "affine" in found:
        affine = found["affine"]
        lengths = affine.norm(dim=-2)
        result["affine_affineT"] = affine @ affine.mT
        result["abs_affine"] = affine.abs()
        result["u"] = (affine / lengths[..., None, :]).flatten(0, 1)
        result["d"] = torch.diag_embed(lengths).flatten(0, 1)
    return result


def signs_of(fixture: Fixture, name: str, value: Tensor) -> Tensor:
    """Axes with the signs of the fixture, column by column: those of a singular value decomposition are arbitrary."""
    if name.rpartition(".")[2] not in ("affine", "u") or name not in fixture.outputs or "reg" in name.split(".")[0]:
        return value
    opposite = (value * fixture.outputs[name]).sum(-2, keepdim=True) < 0
    return torch.where(opposite, -value, value)


def predicted_regions(fixture: Fixture, build: Any, *inputs: Tensor) -> Outputs:
    outputs: dict[str, Any] = {}
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, build(fixture.kwargs(name)))
        outputs[name] = with_axes(network(*inputs))
        if any(key.startswith(f"{name}.train.") for key in fixture.outputs):
            outputs[name]["train"] = with_axes(network.train()(*inputs))
    return {name: signs_of(fixture, name, value) for name, value in flatten("", outputs)}


@replays("mraa", "RegionPredictor")
def regions(fixture: Fixture) -> Outputs:
    return predicted_regions(fixture, region_predictor, fixture.inputs["image"])


@replays("facial", "RegionPredictor (AWP)")
def regions_of_prior(fixture: Fixture) -> Outputs:
    image = fixture.inputs["image"]
    units = in_units(fixture.inputs["landmarks68"], image.shape[-1])
    return predicted_regions(fixture, awp_region_predictor, image, units)


@replays("mraa", "BGMotionPredictor")
def background(fixture: Fixture) -> Outputs:
    inputs = fixture.inputs["source"], fixture.inputs["driving"]
    return {name: fixture.filled(name, bg_predictor(fixture.kwargs(name)))(*inputs) for name in fixture.meta["modules"]}


@replays("mraa", "PixelwiseFlowPredictor")
def flow(fixture: Fixture) -> Outputs:
    outputs: Outputs = {}
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, flow_predictor(fixture.kwargs(name), name))
        left_out = ("affine", "covar") if "noaffine" in name else ()
        motions = region(fixture, "driving_region", *left_out), region(fixture, "source_region", *left_out)
        bg_param = fixture.inputs.get("bg_params") if name in WITH_BACKGROUND else None
        found = network(fixture.inputs["source"], *motions, bg_param)
        outputs[f"{name}.optical_flow"] = found["deformation"]
        if "occlusion_map" in found:
            outputs[f"{name}.occlusion_map"] = found["occlusion_map"]
        for key, reference in fixture.outputs.items():
            if key.startswith(f"{name}.heatmap_"):
                outputs[key] = network.heatmaps(*motions, tuple(reference.shape[-2:]))[:, :, None]
            if key.startswith(f"{name}.sparse_motion_"):
                outputs[key] = network.sparse_motions(*motions, tuple(reference.shape[2:4]), bg_param)
    return outputs


@replays("mraa", "Generator")
def drawing(fixture: Fixture) -> Outputs:
    source, outputs = fixture.inputs["source"], {}
    motions = region(fixture, "driving_region"), region(fixture, "source_region")
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, generator(fixture.kwargs(name), name))
        found = network.pixelwise_flow_predictor(source, *motions, fixture.inputs.get("bg_params"))
        features = network.encode(source)
        outputs[name] = {**found, **network(source, features, found["deformation"], found.get("occlusion_map"))}
    return dict(flatten("", outputs))


@replays("mraa", "AVDNetwork")
def avd(fixture: Fixture) -> Outputs:
    outputs = {}
    motions = region(fixture, "source_region"), region(fixture, "driving_region")
    for name in fixture.meta["modules"]:
        kwargs = fixture.kwargs(name)
        model = mraa_model({"num_regions": kwargs["num_regions"]}, avd_network_params={**AVD, **kwargs})
        fixture.filled(name, model.avd_network)
        outputs[name] = model.relative(*motions, motions[1], "avd")
    return dict(flatten("", outputs))


@replays("mraa", "get_animation_region_params")
def relative(fixture: Fixture) -> Outputs:
    kwargs = fixture.kwargs("avd_network")
    model = mraa_model({"num_regions": kwargs["num_regions"]}, avd_network_params={**AVD, **kwargs})
    fixture.filled("avd_network", model.avd_network)
    motions = [region(fixture, name) for name in ("source_region", "driving_region", "driving_region_initial")]
    modes = {name.split(".")[0] for name in fixture.outputs}
    return dict(flatten("", {mode: model.relative(*motions, mode) for mode in modes}))


# --- losses -----------------------------------------------------------------------------------------------------------


@contextmanager
def injected(warp: RandomWarp) -> Iterator[None]:
    """Replace the random warp by the fixture's."""
    with patch.object(RandomWarp, "draw", lambda *args, **kwargs: warp):
        yield


@replays("mraa", "ReconstructionModel")
def losses(fixture: Fixture) -> Outputs:
    inputs = fixture.inputs
    features = VGG19()
    fill(features, {})
    given = fixture.meta["train_params"]
    usual = MraaTrainParams().model_dump()
    settings = {**usual, **given, "loss_weights": {**usual["loss_weights"], **given["loss_weights"]}}
    warp = RandomWarp(inputs["theta"], inputs["control_params"], given["transform_params"]["points_tps"], "l1")
    outputs: dict[str, Any] = {}
    for tag in sorted({name.split(".")[0] for name in fixture.outputs}):
        head = tag.split("_")[0]
        model = loss_model(fixture, head, tag)
        model.prepare_training(settings, features)
        model.train("train" in tag)
        transformed = sample(
            inputs["driving"],
            warp.grid(inputs["driving"].shape[-2:]),
            padding="reflection",
            align_corners=model.convention.sampling,
        )
        with injected(warp):
            terms, generated = model.losses({"source": inputs["source"], "driving": inputs["driving"]}, 0)
        sum(terms.values()).backward()
        outputs[tag] = {"loss": terms, "prediction": generated["prediction"], "transformed_frame": transformed}
        frames = {"source": inputs["source"], "driving": inputs["driving"], "transformed": transformed}
        for name, frame in frames.items():
            outputs[tag][f"{name}_region_params"] = with_axes(model.motion(frame))
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                outputs[tag][f"grad.{name}"] = parameter.grad
    return {name: signs_of(fixture, name, value) for name, value in flatten("", outputs)}


def loss_model(fixture: Fixture, head: str, tag: str) -> MraaModel:
    """The family with the arguments of a fixture, its region predictor that of one head."""
    drawn = fixture.kwargs("generator")
    common = {name: drawn.pop(name) for name in ("num_regions", "num_channels", "revert_axis_swap") if name in drawn}
    found = fixture.kwargs(f"region_predictor_{head}")
    common["estimate_affine"] = found.pop("estimate_affine", False)
    background_params = fixture.kwargs("bg_predictor")
    for section in (found, background_params):
        for name in ("num_regions", "num_channels"):
            section.pop(name, None)
    model = mraa_model(
        common,
        tag,
        generator_params=drawn,
        region_predictor_params=found,
        bg_predictor_params=background_params,
    )
    fixture.filled("generator", model.generator)
    fixture.filled("bg_predictor", model.bg_predictor)
    # Weights of one head alone stand under the name of that head.
    prefix = "region_predictor."
    explicit = fixture.state.get(head, {})
    own = {key.removeprefix(prefix): value for key, value in explicit.items() if key.startswith(prefix)}
    fill(model.region_predictor, own)
    return model
