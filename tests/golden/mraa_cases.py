"""Replay of the fixtures of MRAA, and those of FPB-FOMM that build on it. They are not in the repository."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from config.mraa import (
    FlowPredictorParams,
    MraaAVDNetworkParams,
    MraaGeneratorParams,
    MraaModelParams,
    MraaTrainParams,
    RegionBackgroundParams,
    RegionPredictorParams,
)
from config.sections import NormalizationParams
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
from tests.golden.fomm_cases import PUBLISHED, convention, in_units
from tests.golden.manifests import builds
from tests.golden.replay import Fixture, Outputs, fill, replays, section
from tests.golden.tps_cases import flatten

SMALL = {"block_expansion": 8, "max_features": 16, "num_blocks": 2}
SECTIONS = {
    "bg_predictor_params": {**SMALL, "bg_type": "zero"},
    "region_predictor_params": SMALL,
    "generator_params": {"block_expansion": 8, "max_features": 16, "pixelwise_flow_predictor_params": SMALL},
    "avd_network_params": {"id_bottle_size": 8, "pose_bottle_size": 8},
}
HULL = NormalizationParams(movement_scale="hull")
WITH_BACKGROUND = {"full", "legacy", "heatonly"}
"""Variants of the flow predictor to which the fixture gives the background's movement."""


# --- networks from published constructor arguments --------------------------------------------------------------------


@builds("region_predictor", "mraa")
def region_predictor(kwargs: dict[str, Any], prior: PriorMaps | None = None) -> nn.Module:
    return RegionPredictor(
        section(RegionPredictorParams, kwargs),
        **structure(kwargs),
        estimate_affine=kwargs["estimate_affine"],
        region_affine="principal",
        prior=prior,
        prior_regions="published",
    )


@builds("region_predictor", "facial AWP-MRAA")
def awp_region_predictor(kwargs: dict[str, Any]) -> nn.Module:
    return region_predictor(kwargs, PriorMaps(PUBLISHED, "awp"))


def structure(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those constructor arguments that are not options of the network's own section."""
    return {name: kwargs[name] for name in ("num_regions", "num_channels")}


def flow_predictor(kwargs: dict[str, Any], tag: str) -> nn.Module:
    revert = kwargs["revert_axis_swap"]
    params = section(FlowPredictorParams, kwargs)
    return PixelwiseFlowPredictor(params, **structure(kwargs), revert_axis_swap=revert, convention=convention(tag))


@builds("generator", "mraa", "facial AWP-MRAA")
def generator(kwargs: dict[str, Any], tag: str = "") -> nn.Module:
    revert = kwargs["revert_axis_swap"]
    params = section(MraaGeneratorParams, kwargs)
    return Generator(params, **structure(kwargs), revert_axis_swap=revert, convention=convention(tag))


@builds("bg_predictor", "mraa", "facial AWP-MRAA")
def bg_predictor(kwargs: dict[str, Any]) -> nn.Module:
    return BGMotionPredictor(section(RegionBackgroundParams, kwargs), num_channels=kwargs["num_channels"])


@builds("avd_network", "mraa", "facial AWP-MRAA")
def avd_network(kwargs: dict[str, Any]) -> nn.Module:
    return avd_model(kwargs).avd_network


@builds("vgg (never saved in a checkpoint)", "mraa")
def vgg(kwargs: dict[str, Any]) -> nn.Module:
    return VGG19()


def avd_model(kwargs: dict[str, Any]) -> MraaModel:
    """A small family with the AVD network of a case."""
    return mraa_model({"num_regions": kwargs["num_regions"]}, avd_network_params=section(MraaAVDNetworkParams, kwargs))


def mraa_model(common: dict[str, Any], tag: str = "", **sections: Any) -> MraaModel:
    """The whole published family; sections that are not given are small."""
    published = convention(tag)
    values = {
        "family": "mraa",
        "prior_regions": "published",
        "align_corners": published.sampling,
        "resize_align_corners": published.resizing,
        "num_regions": 5,
        "region_affine": "principal",
        "relative_covar": "driving",
        **SECTIONS,
        **common,
        **sections,
    }
    return MraaModel(MraaModelParams.model_validate(values))


def region(fixture: Fixture, prefix: str, *left_out: str) -> Motion:
    names = {"shift", "affine", "covar"} - set(left_out)
    return {name: fixture.inputs[f"{prefix}.{name}"] for name in names if f"{prefix}.{name}" in fixture.inputs}


# --- networks ---------------------------------------------------------------------------------------------------------


def with_axes(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add what fixtures store beside the region: the axes, and their products without a sign."""
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
        model = avd_model(fixture.kwargs(name))
        fixture.filled(name, model.avd_network)
        outputs[name] = model.relative(*motions, motions[1], "avd", HULL)
    return dict(flatten("", outputs))


@replays("mraa", "get_animation_region_params")
def relative(fixture: Fixture) -> Outputs:
    model = avd_model(fixture.kwargs("avd_network"))
    fixture.filled("avd_network", model.avd_network)
    motions = [region(fixture, name) for name in ("source_region", "driving_region", "driving_region_initial")]
    modes = {name.split(".")[0] for name in fixture.outputs}
    return dict(flatten("", {mode: model.relative(*motions, mode, HULL) for mode in modes}))


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
    params = MraaTrainParams.model_validate(fixture.meta["train_params"])
    warp = RandomWarp(inputs["theta"], inputs["control_params"], params.transform_params.points_tps, "l1")
    outputs: dict[str, Any] = {}
    for tag in sorted({name.split(".")[0] for name in fixture.outputs}):
        head = tag.split("_")[0]
        model = loss_model(fixture, head, tag)
        model.prepare_training(params, features)
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
    names = ("num_regions", "num_channels", "revert_axis_swap")
    regions = f"region_predictor_{head}"
    common = {name: fixture.kwargs("generator")[name] for name in names}
    model = mraa_model(
        {**common, "estimate_affine": fixture.kwargs(regions)["estimate_affine"]},
        tag,
        generator_params=fixture.params("generator", MraaGeneratorParams),
        region_predictor_params=fixture.params(regions, RegionPredictorParams),
        bg_predictor_params=fixture.params("bg_predictor", RegionBackgroundParams),
    )
    fixture.filled("generator", model.generator)
    fixture.filled("bg_predictor", model.bg_predictor)
    # Weights of one head alone stand under the name of that head.
    prefix = "region_predictor."
    explicit = fixture.state.get(head, {})
    own = {key.removeprefix(prefix): value for key, value in explicit.items() if key.startswith(prefix)}
    fill(model.region_predictor, own)
    return model
