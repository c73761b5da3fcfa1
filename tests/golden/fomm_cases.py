"""Replay of the fixtures of FOMM and of the facial priors that build on it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from config.family_sections import PriorParams
from config.fomm import (
    DiscriminatorParams,
    FommCommonParams,
    FommDenseMotionParams,
    FommGeneratorParams,
    FommModelParams,
    FommTrainParams,
    KPDetectorParams,
)
from config.sections import NormalizationParams
from modules.blocks import ImagePyramid, pyramid_key
from modules.facial_prior import PriorMaps, equally_weighted, prior_points
from modules.fomm.dense_motion import DenseMotionNetwork
from modules.fomm.discriminator import MultiScaleDiscriminator
from modules.fomm.generator import OcclusionAwareGenerator
from modules.fomm.keypoint_detector import KPDetector
from modules.fomm.model import FommModel
from modules.geometry import GridConvention, sample, spatial_softmax
from modules.losses import VGG19
from modules.model import Motion
from modules.thin_plate_spline import RandomWarp
from modules.tps.landmark_groups import LANDMARK_GROUPS
from tests.golden.manifests import builds
from tests.golden.replay import Fixture, Outputs, fill, replays, section
from tests.golden.tps_cases import flatten

PUBLISHED = PriorParams(convention="published")


# --- networks from published constructor arguments --------------------------------------------------------------------


def convention(tag: str) -> GridConvention:
    """That of a fixture's tag: `legacy` is torch < 1.3; resizing is the same in both."""
    return GridConvention(sampling="legacy" in tag, resizing=False)


def structure(kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """Those constructor arguments that are not options of the network's own section."""
    return {name: kwargs[name] for name in ("num_kp", "num_channels", *names)}


@builds("generator", "fomm", "facial EWP", "facial AWP-FOMM")
def generator(kwargs: dict[str, Any], tag: str = "") -> nn.Module:
    moves = kwargs["dense_motion_params"] is not None
    params = section(FommGeneratorParams, kwargs if moves else {**kwargs, "dense_motion_params": {}})
    network = OcclusionAwareGenerator(params, **structure(kwargs), convention=convention(tag))
    if not moves:
        del network.dense_motion_network  # the published autoencoder
    return network


def dense_motion_network(kwargs: dict[str, Any], tag: str) -> nn.Module:
    arguments = structure(kwargs, "estimate_occlusion_map")
    return DenseMotionNetwork(section(FommDenseMotionParams, kwargs), **arguments, convention=convention(tag))


@builds("discriminator", "fomm", "facial EWP", "facial AWP-FOMM")
def discriminator(kwargs: dict[str, Any]) -> nn.Module:
    return MultiScaleDiscriminator(section(DiscriminatorParams, kwargs), **structure(kwargs))


@builds("kp_detector", "fomm")
def kp_detector(kwargs: dict[str, Any], prior: str = "none") -> nn.Module:
    maps = None if prior == "none" else PriorMaps(PUBLISHED, prior)
    params = section(KPDetectorParams, kwargs)
    return KPDetector(params, **structure(kwargs, "estimate_jacobian"), prior=prior, maps=maps)


@builds("kp_detector", "facial EWP")
def ewp_kp_detector(kwargs: dict[str, Any]) -> nn.Module:
    return kp_detector(kwargs, "ewp")


@builds("kp_detector", "facial AWP-FOMM")
def awp_kp_detector(kwargs: dict[str, Any]) -> nn.Module:
    return kp_detector(kwargs, "awp")


def grouped(inputs: Outputs, name: str) -> Motion:
    """The tensors `name.value`, `name.jacobian` as a motion."""
    return {key.partition(".")[2]: value for key, value in inputs.items() if key.split(".")[0] == name}


def in_units(pixels: Tensor, width: int) -> Tensor:
    """Pixels as coordinates in [-1, 1] between the centres of the outer ones."""
    return pixels.double() * 2 / (width - 1) - 1


# --- networks ---------------------------------------------------------------------------------------------------------


@replays("fomm", "KPDetector")
def keypoints(fixture: Fixture) -> Outputs:
    image, outputs = fixture.inputs["image"], {}
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, kp_detector(fixture.kwargs(name)))
        small = image if network.down is None else network.down(image)
        heatmap = spatial_softmax(network.kp(network.predictor(small)[-1]), network.temperature)
        outputs[name] = {**network(image), "heatmap": heatmap, "heatmap_max": heatmap.amax((2, 3))}
        outputs[name]["train"] = network.train()(image)
    return dict(flatten("", outputs))


@replays("fomm", "DenseMotionNetwork")
def dense_motion(fixture: Fixture) -> Outputs:
    source, outputs = fixture.inputs["source"], {}
    kp_driving, kp_source = grouped(fixture.inputs, "kp_driving"), grouped(fixture.inputs, "kp_source")
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, dense_motion_network(fixture.kwargs(name), name))
        pair = kp_driving, kp_source
        if "nojac" in name:
            pair = {"value": kp_driving["value"]}, {"value": kp_source["value"]}
        outputs[name] = network(source, *pair)
        if "sparse_motion" in fixture.outputs and "nojac" not in name:
            size = tuple(fixture.outputs["sparse_motion"].shape[2:4])
            outputs["sparse_motion"] = network.local_motions(*pair, size)
            outputs["heatmap"] = network.heatmap(*pair, size)[:, :, None]
    return published_names(outputs)


def published_names(outputs: dict[str, Any]) -> Outputs:
    """Dotted names with the published words for what a motion network gives."""
    words = {"deformed_source": "sparse_deformed", "contribution_maps": "mask"}
    return {".".join(words.get(word, word) for word in name.split(".")): value for name, value in flatten("", outputs)}


@replays("fomm", "OcclusionAwareGenerator")
def generators(fixture: Fixture) -> Outputs:
    source, outputs = fixture.inputs["source"], {}
    kp_driving, kp_source = grouped(fixture.inputs, "kp_driving"), grouped(fixture.inputs, "kp_source")
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, generator(fixture.kwargs(name), name))
        encoded = network.encode(source)
        if hasattr(network, "dense_motion_network"):
            outputs[name] = network(source, encoded, kp_driving, kp_source)
        else:
            outputs[name] = {"prediction": network.decode(encoded[-1])}
    return published_names(outputs)


@replays("fomm", "MultiScaleDiscriminator")
def judgements(fixture: Fixture) -> Outputs:
    outputs: dict[str, Tensor] = {}
    for name in fixture.meta["modules"]:
        kwargs = fixture.kwargs(name)
        network = fixture.filled(name, discriminator(kwargs))
        pyramid = ImagePyramid(tuple(kwargs["scales"]), kwargs["num_channels"], "stride")(fixture.inputs["image"])
        for tag in (name, f"{name}_train"):
            network.train(tag != name)
            for scale, (features, judged) in network(pyramid, fixture.inputs["kp.value"]).items():
                key = pyramid_key(scale)
                outputs[f"{tag}.prediction_map_{key}"] = judged
                stored = sum(stem.startswith(f"{tag}.feature_maps_{key}.") for stem in fixture.outputs)
                for i, feature in enumerate(features[len(features) - stored :]):
                    outputs[f"{tag}.feature_maps_{key}.{i}"] = feature
    return outputs


@replays("fomm", "normalize_kp")
def relative(fixture: Fixture) -> Outputs:
    motions = [grouped(fixture.inputs, name) for name in ("kp_source", "kp_driving", "kp_driving_initial")]
    outputs = {}
    for tag in {name.split(".")[0] for name in fixture.outputs}:
        adapt, move, jacobian = (part[-1] == "1" for part in tag.split("_"))
        normalization = NormalizationParams(
            adapt_movement_scale=adapt, movement_scale="hull", use_relative_jacobian=jacobian
        )
        outputs[tag] = FommModel.relative(None, *motions, "relative" if move else "standard", normalization)
    return dict(flatten("", outputs))


# --- the whole family -------------------------------------------------------------------------------------------------


def fomm_model(fixture: Fixture, tag: str) -> FommModel:
    """The whole published family with the arguments of a fixture, filled network by network."""
    grid = convention(tag)
    params = FommModelParams(
        family="fomm",
        align_corners=grid.sampling,
        resize_align_corners=grid.resizing,
        common_params=fixture.params("kp_detector", FommCommonParams),
        kp_detector_params=fixture.params("kp_detector", KPDetectorParams),
        generator_params=fixture.params("generator", FommGeneratorParams),
        discriminator_params=fixture.params("discriminator", DiscriminatorParams),
    )
    model = FommModel(params)
    for name, network in model.networks().items():
        fixture.filled(name, network)
    return model.eval()


@contextmanager
def injected(warp: RandomWarp) -> Iterator[None]:
    """Replace the random warp of a loss by the fixture's."""
    with patch.object(RandomWarp, "draw", lambda *args, **kwargs: warp):
        yield


@replays("fomm", "GeneratorFullModel + DiscriminatorFullModel")
def losses(fixture: Fixture) -> Outputs:
    batch = {name: fixture.inputs[name] for name in ("source", "driving")}
    params = FommTrainParams.model_validate(fixture.meta["train_params"])
    theta, control = fixture.inputs["theta"], fixture.inputs["control_params"]
    warp = RandomWarp(theta, control, params.transform_params.points_tps, "l1")
    features = VGG19()
    fill(features, {})
    outputs: dict[str, Any] = {
        "transform": {
            "warp_points": warp(fixture.inputs["points"]),
            "jacobian": warp.jacobian(fixture.inputs["points"]),
        }
    }
    for tag in sorted({name.split(".")[0] for name in fixture.outputs} - {"transform"}):
        model = fomm_model(fixture, tag)
        model.prepare_training(params, features)
        model.train(tag.startswith("train"))
        with injected(warp):
            terms, generated = model.losses(batch, 0)
        sum(terms.values()).backward(retain_graph=True)
        terms["gen_gan"] = terms.pop("generator_gan")
        outputs[tag] = {"grad": gradients(model), "prediction": generated["prediction"]}
        model.zero_grad()
        judged = model.discriminator_losses(batch, generated)
        terms["disc_gan"] = judged["discriminator_gan"]
        terms["disc_gan"].backward()
        outputs[tag] |= {"loss": terms, "grad_disc": {"grad": gradients(model)}}
        outputs[tag] |= details(fixture, tag, warp, params, features, generated["prediction"])
    return dict(flatten("", outputs))


def gradients(model: nn.Module) -> Outputs:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def details(
    fixture: Fixture, tag: str, warp: RandomWarp, params: FommTrainParams, features: VGG19, prediction: Tensor
) -> dict[str, Any]:
    """Keypoints, warped frame and terms of the perceptual loss."""
    model = fomm_model(fixture, tag).train(tag.startswith("train"))
    source, driving = fixture.inputs["source"], fixture.inputs["driving"]
    grid = warp.grid((driving.shape[2], driving.shape[3]))
    warped = sample(driving, grid, padding="reflection", align_corners=model.convention.sampling)
    found = {name: model.motion(image) for name, image in (("kp_source", source), ("kp_driving", driving))}
    pyramid = ImagePyramid(params.scales, 3, "stride")
    scales = zip(pyramid(prediction).items(), pyramid(driving).values(), strict=True)
    terms = {
        f"scale_{pyramid_key(scale)}": torch.stack(
            [(p - t).abs().mean() for p, t in zip(features(smaller), features(target), strict=True)]
        )
        for (scale, smaller), target in scales
    }
    return {**found, "transformed_kp": model.motion(warped), "transformed_frame": warped, "perceptual_l1": terms}


# --- facial priors ----------------------------------------------------------------------------------------------------


def variant(name: str, keypoints: Tensor, prior: str, size: tuple[int, int], image_width: int) -> Tensor:
    """Maps of a tag: `s120` is a sigma of 1.2 and, as any but 0.75, of the second sample."""
    found = re.search(r"s(\d{3})", name)
    sigma = int(found[1]) / 100 if found else 0.75
    row = int(sigma != 0.75)
    maps = PriorMaps(PriorParams(sigma=sigma, convention="published"), prior)
    return maps(in_units(keypoints[row : row + 1], image_width), size, image_width)


@replays("facial", "EWP make_masks")
def ewp_masks(fixture: Fixture) -> Outputs:
    return {
        name: equally_weighted(variant(name, fixture.inputs["keypoints"], "ewp", tuple(reference.shape[-2:]), 256))[0]
        for name, reference in fixture.outputs.items()
    }


@replays("facial", "AWP make_masks")
def awp_masks(fixture: Fixture) -> Outputs:
    return {
        name: variant(name, fixture.inputs["keypoints"], "awp", tuple(reference.shape[-2:]), 256)
        for name, reference in fixture.outputs.items()
    }


@replays("facial", "68 -> 18 keypoint selection")
def selection(fixture: Fixture) -> Outputs:
    landmarks = fixture.inputs["landmarks68"]
    order = [i for group in LANDMARK_GROUPS["megc2022"] for i in group]
    return {"keypoints18": prior_points(landmarks, 18, (256, 256)), "megc_keypoints50": landmarks[:, order]}


@replays("facial", "KPDetector (AWP)")
def awp_keypoints(fixture: Fixture) -> Outputs:
    return prior_keypoints(fixture, "awp", "learned_map")


@replays("facial", "KPDetector (EWP)")
def ewp_keypoints(fixture: Fixture) -> Outputs:
    return prior_keypoints(fixture, "ewp", "mask")


def prior_keypoints(fixture: Fixture, prior: str, map_name: str) -> Outputs:
    image = fixture.inputs["image"]
    width = image.shape[3]
    points = in_units(fixture.inputs["keypoints"], width)
    outputs: dict[str, Any] = {}
    for name in sorted(fixture.meta["modules"], reverse=True):  # the map is that of the first
        network = fixture.filled(name, kp_detector(fixture.kwargs(name), prior))
        outputs[name] = network(image, points)
        small = image if network.down is None else network.down(image)
        outputs[map_name] = network.prior_map(points, (small.shape[2], small.shape[3]), width)
    if "landmarks68" in fixture.inputs:
        chosen = prior_points(fixture.inputs["landmarks68"], 18, (width, width))
        torch.testing.assert_close(chosen, fixture.inputs["keypoints"], msg="the selection differs")
    return dict(flatten("", outputs))
