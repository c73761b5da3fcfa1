"""Replay of the fixtures of TPSMM and MEGC2022-Generation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from config.family_sections import AVDNetworkParams
from config.sections import NormalizationParams
from config.tps import InpaintingParams, TpsCommonParams, TpsDenseMotionParams, TpsModelParams, TpsTrainParams
from modules.avd_network import AVDNetwork
from modules.blocks import AntiAliasInterpolation2d, ImagePyramid
from modules.geometry import hull_area, kp2gaussian, make_coordinate_grid, sample
from modules.losses import VGG19
from modules.model import Condition
from modules.thin_plate_spline import RandomWarp
from modules.tps.bg_motion_predictor import BGMotionPredictor
from modules.tps.dense_motion import DenseMotionNetwork, dropout_softmax, keypoint_splines
from modules.tps.inpainting_network import InpaintingNetwork
from modules.tps.keypoint_detector import KPDetector, LandmarkKeypoints
from modules.tps.model import TPSModel
from tests.golden.manifests import builds
from tests.golden.replay import Fixture, Outputs, fill, replays, section

USUAL = NormalizationParams()
SCALES = {"0-5": 0.5, "0-25": 0.25, "0-125": 0.125}


# --- networks from published constructor arguments --------------------------------------------------------------------


@builds("kp_detector", "tps")
def kp_detector(kwargs: dict[str, Any]) -> nn.Module:
    return KPDetector(kwargs["num_tps"])


@builds("kp_detector", "megc")
def landmark_keypoints(kwargs: dict[str, Any]) -> nn.Module:
    return LandmarkKeypoints([list(range(5 * k, 5 * k + 5)) for k in range(kwargs["num_tps"])], "sigmoid")


@builds("dense_motion_network", "tps", "megc")
def dense_motion_network(kwargs: dict[str, Any]) -> nn.Module:
    return DenseMotionNetwork(
        section(TpsDenseMotionParams, kwargs),
        num_tps=kwargs["num_tps"],
        num_channels=kwargs["num_channels"],
        occlusion_levels=4 if kwargs["multi_mask"] else None,
        regularization="tpsmm",
        au_rest=False,
    )


@builds("inpainting_network", "tps", "megc")
def inpainting_network(kwargs: dict[str, Any]) -> nn.Module:
    return InpaintingNetwork(
        section(InpaintingParams, kwargs),
        num_channels=kwargs["num_channels"],
        multi_mask=kwargs["multi_mask"],
        au_conditioning="concat" if "num_cond_channels" in kwargs else "none",
    )


@builds("bg_predictor", "tps", "megc")
def bg_predictor(kwargs: dict[str, Any]) -> nn.Module:
    return BGMotionPredictor()


@builds("avd_network", "tps", "megc")
def avd_network(kwargs: dict[str, Any]) -> nn.Module:
    return AVDNetwork(section(AVDNetworkParams, kwargs), num_values=10 * kwargs["num_tps"])


@builds("vgg (never saved in a checkpoint)", "tps")
def vgg(kwargs: dict[str, Any]) -> nn.Module:
    return VGG19()


def tps_model(fixture: Fixture) -> TPSModel:
    """The whole published family with the arguments of a fixture, filled network by network."""
    common = {**fixture.kwargs("dense_motion_network"), "bg": "bg_predictor" in fixture.meta["modules"]}
    params = TpsModelParams(
        family="tps",
        tps_regularization="tpsmm",
        common_params=section(TpsCommonParams, common),
        generator_params=fixture.params("inpainting_network", InpaintingParams),
        dense_motion_params=fixture.params("dense_motion_network", TpsDenseMotionParams),
        avd_network_params=AVDNetworkParams(id_bottle_size=8, pose_bottle_size=8),
    )
    model = TPSModel(params)
    for name, network in model.networks().items():
        if name in fixture.meta["modules"]:
            fixture.filled(name, network)
    return model.eval()


def flatten(prefix: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Nested dicts and lists as dotted names."""
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in items:
            yield from flatten(f"{prefix}.{key}" if prefix else str(key), child)


# --- splines, heat maps, downsampling ---------------------------------------------------------------------------------


@replays("tps", 'TPS(mode="kp")')
def spline(fixture: Fixture) -> Outputs:
    tps = keypoint_splines(fixture.inputs["kp_1"], fixture.inputs["kp_2"], "tpsmm")
    return {
        "grid": tps.grid(tuple(fixture.outputs["grid"].shape[2:4])),
        "theta": tps.theta,
        "control_params": tps.control_params,
        "warp_points": tps(fixture.inputs["points"][:, None]),
    }


@replays("tps", 'TPS(mode="random")')
def random_spline(fixture: Fixture) -> Outputs:
    points_tps = fixture.meta["constructor"]["points_tps"]
    warp = RandomWarp(fixture.inputs["theta"], fixture.inputs["control_params"], points_tps, "l2")
    return {
        "grid": warp.grid(tuple(fixture.outputs["grid"].shape[1:3])),
        "warp_points": warp(fixture.inputs["points"]),
        "control_points": make_coordinate_grid((points_tps, points_tps), warp.theta)[None],
    }


@replays("tps", "kp2gaussian")
def heat_maps(fixture: Fixture) -> Outputs:
    def variance(name: str) -> float:
        return float(name.removeprefix("var_").replace("_", "."))

    return {
        name: kp2gaussian(fixture.inputs["kp"], tuple(reference.shape[-2:]), variance(name))
        for name, reference in fixture.outputs.items()
    }


def antialias(fixture: Fixture, resample: str) -> Outputs:
    outputs = {}
    for name in fixture.outputs:
        kind, _, key = name.partition(".")
        down = AntiAliasInterpolation2d(3, SCALES.get(key) or float(key.replace("-", ".")), resample)
        outputs[name] = down.weight[:1] if kind == "kernel" else down(fixture.inputs[kind])
    return outputs


@replays("tps", "AntiAliasInterpolation2d")
def antialias_nearest(fixture: Fixture) -> Outputs:
    return antialias(fixture, "nearest")


@replays("fomm", "AntiAliasInterpolation2d (FOMM/MRAA flavour)")
def antialias_stride(fixture: Fixture) -> Outputs:
    return antialias(fixture, "stride")


# --- networks ---------------------------------------------------------------------------------------------------------


@replays("tps", "KPDetector")
def keypoints(fixture: Fixture) -> Outputs:
    network = fixture.filled("kp_detector", kp_detector(fixture.kwargs("kp_detector")))
    image = fixture.inputs["image"]
    return {**network(image), "logits": network.fg_encoder(image)}


@replays("megc", "KPDetector (MEGC2022)")
def squashed_landmarks(fixture: Fixture) -> Outputs:
    return landmark_keypoints(fixture.meta["constructor"])(fixture.inputs["raw"])


@replays("tps", "DenseMotionNetwork")
def dense_motion(fixture: Fixture) -> Outputs:
    inputs = fixture.inputs
    keypoints = inputs["source"], inputs["kp_driving"], inputs["kp_source"]
    outputs = {}
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, dense_motion_network(fixture.kwargs(name)))
        outputs[f"{name}.nobg"] = network(*keypoints)
        outputs[f"{name}.bg"] = network(*keypoints, inputs["bg_param"])
        dropout = (fixture.meta["dropout_p"], inputs["drop_rand"])
        outputs[f"{name}.dropout"] = network(*keypoints, dropout=dropout)
    logits = inputs["dropout_logits"]
    outputs["dropout_softmax"] = dropout_softmax(logits, fixture.meta["dropout_p"], inputs["drop_rand"])
    return dict(flatten("", outputs))


def indexed(inputs: Outputs, prefix: str) -> list[Tensor]:
    """The tensors `prefix.0`, `prefix.1`, ... as a list."""
    count = sum(name.startswith(f"{prefix}.") for name in inputs)
    return [inputs[f"{prefix}.{i}"] for i in range(count)]


@replays("tps", "InpaintingNetwork")
@replays("megc", "InpaintingNetwork (AU conditioned)")
def inpainting(fixture: Fixture) -> Outputs:
    inputs, outputs = fixture.inputs, {}
    for name in fixture.meta["modules"]:
        network = fixture.filled(name, inpainting_network(fixture.kwargs(name)))
        motion = "dense_motion.multi" if network.multi_mask else "dense_motion.single"
        deformation, masks = inputs[f"{motion}.deformation"], indexed(inputs, f"{motion}.occlusion_map")
        encoded = network.encode(inputs["source"])
        variants: dict[str, Tensor | None] = {name: None}
        if network.au_conditioning == "concat":
            both_sides = inputs["au"][..., None].expand(-1, -1, 2)
            variants = {name: both_sides, name.replace("au_", "au_zero_", 1): torch.zeros_like(both_sides)}
        for variant, au in variants.items():
            outputs[variant] = {
                **network(inputs["source"], encoded, deformation, masks, au),
                "warped_encoder_maps": network.warp_encoded(encoded, deformation, masks),
            }
        if "driving" in inputs and network.multi_mask:
            outputs[name]["get_encode"] = network.occlude(network.encode(inputs["driving"]), masks)[::-1]
    return dict(flatten("", outputs))


@replays("tps", "BGMotionPredictor")
def background(fixture: Fixture) -> Outputs:
    network = fixture.filled("bg_predictor", BGMotionPredictor())
    return {"bg_param": network(fixture.inputs["source"], fixture.inputs["driving"])}


@replays("tps", "AVDNetwork")
def avd(fixture: Fixture) -> Outputs:
    kp_source, kp_random = fixture.inputs["kp_source"], fixture.inputs["kp_random"]
    network = fixture.filled("avd_network", avd_network(fixture.kwargs("avd_network")))
    outputs = {"fg_kp": network(kp_source.flatten(1), kp_random.flatten(1)).view_as(kp_source)}
    network.train()
    outputs["train.fg_kp"] = network(kp_source.flatten(1), kp_random.flatten(1)).view_as(kp_source)
    return outputs


@replays("tps", "relative_kp (demo)")
def relative(fixture: Fixture) -> Outputs:
    kp_source, kp_initial = fixture.inputs["kp_source"], fixture.inputs["kp_driving_initial"]
    motions = ({"fg_kp": fixture.inputs[name]} for name in ("kp_source", "kp_driving", "kp_driving_initial"))
    return {
        **TPSModel.relative(None, *motions, "relative", NormalizationParams(movement_scale="hull")),
        "area_source": hull_area(kp_source)[0],
        "area_driving_initial": hull_area(kp_initial)[0],
    }


# --- the whole family -------------------------------------------------------------------------------------------------


@replays("tps", "pipeline kp -> dense motion -> inpainting")
def pipeline(fixture: Fixture) -> Outputs:
    model = tps_model(fixture)
    source, driving = fixture.inputs["source"], fixture.inputs["driving"]
    motion_source, motion_driving = model.motion(source), model.motion(driving)
    encoded = model.encode(source)
    outputs = {
        "kp_source": {"fg_kp": motion_source["fg_kp"]},
        "kp_driving": {"fg_kp": motion_driving["fg_kp"]},
        "bg": model.generate(encoded, motion_source, motion_driving, Condition()),
        "nobg": model.generate(
            encoded,
            motion_source,
            model.relative(motion_source, motion_driving, motion_driving, "standard", USUAL),
        ),
    }
    outputs["bg_param"] = outputs["bg"].pop("bg_param")
    return dict(flatten("", outputs))


@contextmanager
def injected(fixture: Fixture) -> Iterator[None]:
    """Replace the random numbers of a loss by the fixture's."""
    inputs, points_tps = fixture.inputs, fixture.meta["train_params"]["transform_params"]["points_tps"]
    warp = RandomWarp(inputs["theta"], inputs["control_params"], points_tps, "l2")
    uniform = inputs.get("drop_rand")
    with (
        patch.object(RandomWarp, "draw", lambda *args, **kwargs: warp),
        patch("modules.tps.model.torch.rand", lambda *args, **kwargs: uniform),
    ):
        yield


@replays("tps", "GeneratorFullModel")
def losses(fixture: Fixture) -> Outputs:
    source, driving = fixture.inputs["source"], fixture.inputs["driving"]
    features = VGG19()
    fill(features, {})
    params = TpsTrainParams.model_validate(fixture.meta["train_params"])
    outputs: dict[str, Any] = {}
    for tag in sorted({name.split(".")[0] for name in fixture.outputs if name.split("_")[0] in ("eval", "train")}):
        mode, _, epoch = tag.partition("_e")
        model = tps_model(fixture)
        model.prepare_training(params, features)
        model.train(mode == "train")
        with injected(fixture):
            terms, generated = model.losses({"source": source, "driving": driving}, int(epoch))
        sum(terms.values()).backward()
        outputs[tag] = {"loss": terms, "kp_driving": generated["kp_driving"], "prediction": generated["prediction"]}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                outputs[tag][f"grad.{name}"] = parameter.grad
    outputs.update(_loss_details(fixture, params, features, outputs))
    return dict(flatten("", outputs))


def _loss_details(fixture: Fixture, params: TpsTrainParams, features: VGG19, outputs: dict[str, Any]) -> Outputs:
    driving, points_tps = fixture.inputs["driving"], params.transform_params.points_tps
    warp = RandomWarp(fixture.inputs["theta"], fixture.inputs["control_params"], points_tps, "l2")
    warped = sample(driving, warp.grid(driving.shape[-2:]), padding="reflection")
    details = {"transformed_frame": warped, "transformed_kp": tps_model(fixture).motion(warped)["fg_kp"]}
    pyramid = ImagePyramid(params.scales, 3, "nearest")
    last = max((tag for tag in outputs if tag.startswith("eval")), key=lambda tag: int(tag.partition("_e")[2]))
    pairs = zip(pyramid(outputs[last]["prediction"]).items(), pyramid(driving).values(), strict=True)
    for (scale, prediction), target in pairs:
        terms = [(p - t).abs().mean() for p, t in zip(features(prediction), features(target), strict=True)]
        details[f"perceptual_l1.scale_{scale:g}".replace("0.", "0-")] = torch.stack(terms)
    return details
