"""Every option of an experiment and of the command line does something: change one, and something else comes out.

The table names, for each key of the schema, a value other than that of the tiny base experiment and the probe (see
`option_probes.py`) that must see the change. A key without an entry fails, as does an entry without a key.
"""

import argparse
import ast
import functools
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import run
from config.families import FAMILIES
from config.preparation import PrepareConfig
from tests import option_probes as see
from tests.evaluation.probes import judged, network_file

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Entry:
    """Visible effect of an option.

    Attributes:
        probe: observes an experiment.
        value: other than that of the base.
        context: keys without which the option has no meaning, set on both sides.
    """

    probe: see.Probe
    value: Any
    context: dict[str, Any] = field(default_factory=dict)


def world(name: str) -> Any:
    """A path in the world, which is made when a test needs it."""
    return lambda: see.world().path(name)


DATA, MODEL, TRAIN, ANIMATE = "dataset_params", "model_params", "train_params", "animate_params"
EVALUATE = "evaluate_params"
QUICK = {
    f"{EVALUATE}.{name}": value
    for name, value in {
        "flow_estimators": ["dis"],
        "blendshapes": False,
        "references": False,
        "report_clips": 0,
    }.items()
}
LEARNED = {f"{MODEL}.keypoints": "learned"}
WARPED = {f"{TRAIN}.loss_weights.equivariance_value": 10.0}
FILM = {f"{MODEL}.au_conditioning": "film"}
JUDGED = {
    **FILM,
    f"{DATA}.remove_head_motion": True,
    f"{TRAIN}.au_estimator": see.estimator_file,
    f"{TRAIN}.loss_weights.relative_au": 1.0,
}
CROSSED = {**JUDGED, f"{TRAIN}.cross_identity": 1.0}
BACKGROUND = {f"{MODEL}.common_params.bg": True, f"{TRAIN}.bg_start": 0}
DROPPED = {f"{TRAIN}.dropout_startp": 0.9, f"{TRAIN}.dropout_maxp": 0.9}
FLAT = {f"{DATA}.root_dir": world("flat"), f"{DATA}.keypoint_dir": None, f"{DATA}.au_dir": None}
UNSURE = {f"{DATA}.au_dir": world("data/unsure")}
TRACKED = {f"{MODEL}.family": "warp"}


def dense(prefix: str) -> dict[str, Entry]:
    """Entries of a dense motion network."""
    zones = {f"{prefix}.locality": 0.1}
    return {
        **hourglass(prefix),
        f"{prefix}.locality": [Entry(see.losses, 0.1), Entry(see.losses, 0.3, zones)],
        f"{prefix}.background_logit": Entry(see.losses, -1.0, zones),
        f"{prefix}.initial_occlusion": Entry(see.losses, 0.9),
    }


def hourglass(prefix: str) -> dict[str, Entry]:
    """Entries of an hourglass."""
    return {
        f"{prefix}.block_expansion": Entry(see.initial, 6),
        f"{prefix}.max_features": Entry(see.initial, 8),
        f"{prefix}.num_blocks": Entry(see.initial, 3),
        f"{prefix}.scale_factor": Entry(see.losses, 0.5),
    }


def decoder(prefix: str, levels: int) -> dict[str, Entry]:
    """Entries of a network that draws."""
    return {
        f"{prefix}.block_expansion": Entry(see.initial, 6),
        f"{prefix}.max_features": Entry(see.initial, 8),
        f"{prefix}.num_down_blocks": Entry(see.initial, levels),
    }


def picture_losses() -> dict[str, Entry]:
    """Entries of the losses that compare pictures."""
    weights = f"{TRAIN}.loss_weights"
    return {
        f"{TRAIN}.scales": Entry(see.losses, [1]),
        f"{weights}.perceptual": [
            Entry(see.losses, [1.0]),
            Entry(see.losses, [2.0], {f"{weights}.perceptual": [1]}),
            Entry(see.losses, [1.0, 2.0], {f"{weights}.perceptual": [1]}),
        ],
        f"{weights}.pixel": Entry(see.losses, 5.0),
        f"{weights}.gradient": Entry(see.losses, 1.0),
        f"{weights}.motion": Entry(see.losses, 1.0),
    }


def random_warp(context: dict[str, Any]) -> dict[str, Entry]:
    """Entries of the equivariance losses' random warp."""
    return {
        f"{TRAIN}.transform_params.sigma_affine": Entry(see.losses, 0.1, context),
        f"{TRAIN}.transform_params.sigma_tps": Entry(see.losses, 0.05, context),
        f"{TRAIN}.transform_params.points_tps": Entry(see.losses, 3, context),
    }


def prior(context: dict[str, Any]) -> dict[str, Entry]:
    """Entries of the facial prior's maps."""
    prefix = f"{MODEL}.prior_params"
    return {
        f"{prefix}.distance": Entry(see.losses, "l1", context),
        f"{prefix}.kernel": Entry(see.losses, "gaussian", context),
        f"{prefix}.sigma": Entry(see.losses, 1.5, context),
        f"{prefix}.threshold": Entry(see.losses, "none", context),
        f"{prefix}.convention": Entry(see.losses, "published", context),
    }


def avd_network() -> dict[str, Entry]:
    """Entries of the AVD network and its training."""
    return {
        f"{MODEL}.avd_network_params.id_bottle_size": Entry(see.initial, 4),
        f"{MODEL}.avd_network_params.pose_bottle_size": Entry(see.initial, 4),
        "train_avd_params.lr": Entry(see.avd, 1e-2),
        "train_avd_params.lambda_shift": Entry(see.avd, 2.0),
        "train_avd_params.random_scale": Entry(see.avd, 0.5),
        f"{ANIMATE}.mode": Entry(see.generated, "avd"),
    }


def loop(section: str, probe: see.Probe) -> dict[str, Entry]:
    """Entries of a training loop."""
    return {
        f"{section}.num_epochs": Entry(probe, 3),
        f"{section}.num_repeats": Entry(probe, 3),
        f"{section}.epoch_milestones": Entry(probe, [1]),
        f"{section}.batch_size": Entry(probe, 4),
        f"{section}.checkpoint_freq": Entry(probe, 1),
        f"{section}.checkpoint_minutes": Entry(probe, 1e-9),
    }


def augmentation() -> dict[str, Entry]:
    """Entries of the random changes of pairs."""
    prefix = f"{DATA}.augmentation_params"
    jitter = {f"{prefix}.jitter_param.{name}": Entry(see.training_pairs, 0.4) for name in ("brightness", "contrast")}
    crop = {f"{prefix}.crop_param.size": [48, 48]}
    return {
        **jitter,
        f"{prefix}.jitter_param.saturation": Entry(see.training_pairs, 0.4),
        f"{prefix}.jitter_param.hue": Entry(see.training_pairs, 0.2),
        f"{prefix}.flip_param.horizontal_flip": Entry(see.training_pairs, True),
        f"{prefix}.flip_param.time_flip": Entry(see.training_pairs, True),
        f"{prefix}.rotation_param.degrees": Entry(see.training_pairs, 30.0, {f"{prefix}.rotation_param.degrees": 5.0}),
        f"{prefix}.resize_param.ratio": Entry(
            see.training_pairs, [0.5, 0.6], {f"{prefix}.resize_param.ratio": [0.9, 1.1]}
        ),
        f"{prefix}.crop_param.size": Entry(see.training_pairs, [32, 32], crop),
    }


SHARED = {
    "seed": [Entry(see.initial, 1), Entry(see.training_pairs, 1), Entry(see.order_of_pairs, 1)],
    f"{DATA}.root_dir": Entry(see.training_pairs, world("bad/test"), {f"{DATA}.on_bad_clip": "skip"}),
    f"{DATA}.frame_shape": Entry(see.training_pairs, [32, 32, 3]),
    f"{DATA}.id_sampling": Entry(
        see.training_pairs,
        True,
        {
            f"{DATA}.root_dir": world("named"),
            f"{DATA}.keypoint_dir": world("named/landmarks"),
            f"{DATA}.au_dir": world("named/au"),
        },
    ),
    f"{DATA}.pairs_list": Entry(see.pairs_to_animate, world("data/pairs.csv")),
    f"{DATA}.keypoint_dir": Entry(see.training_pairs, world("data/shifted")),
    f"{DATA}.landmark_backend": Entry(see.training_pairs, "face-alignment", {f"{DATA}.keypoint_dir": None}),
    f"{DATA}.landmarks": [
        Entry(see.training_pairs, "track"),
        Entry(see.training_pairs, "file", {f"{DATA}.keypoint_dir": world("data/onsets")}),
    ],
    f"{DATA}.au_dir": Entry(see.training_pairs, world("data/stronger")),
    f"{DATA}.au_min_confidence": Entry(see.training_pairs, 0.9, {**UNSURE, f"{DATA}.au_max_gap": 1}),
    f"{DATA}.au_max_gap": Entry(see.training_pairs, 1, {**UNSURE, f"{DATA}.au_min_confidence": 0.9}),
    f"{DATA}.au_unknown": Entry(see.training_pairs, "zero", {f"{DATA}.au_dir": world("data/libreface")}),
    f"{DATA}.au_extractor": Entry(
        see.training_pairs, "py-feat", {f"{DATA}.au_dir": None, f"{DATA}.au_unknown": "zero"}
    ),
    f"{DATA}.au_noise": Entry(see.training_pairs, 0.02),
    f"{DATA}.fps": Entry(see.frame_rate, 200.0),
    f"{DATA}.test_fraction": Entry(see.clips_of_test, 0.5, FLAT),
    f"{DATA}.split_seed": Entry(see.clips_of_test, 3, FLAT),
    f"{DATA}.on_bad_clip": Entry(
        see.training_pairs,
        "skip",
        {f"{DATA}.root_dir": world("bad"), f"{DATA}.keypoint_dir": world("bad/landmarks")},
    ),
    f"{DATA}.cache_dir": Entry(see.decoded_file, world("other_cache")),
    f"{DATA}.source_frame": Entry(see.training_pairs, "first"),
    f"{DATA}.remove_head_motion": Entry(see.training, True),
    **augmentation(),
    **loop(TRAIN, see.training),
    f"{TRAIN}.keep_checkpoints": Entry(see.training, 1, {f"{TRAIN}.checkpoint_freq": 1}),
    f"{TRAIN}.num_nodes": Entry(see.training, 2),
    f"{TRAIN}.perceptual_network": Entry(
        see.training, "absent.pth", {f"{TRAIN}.perceptual_network": "random", f"{TRAIN}.loss_weights.perceptual": [1.0]}
    ),
    **loop("train_avd_params", see.training_avd),
    **loop("train_au_params", see.training_au),
    "train_au_params.keep_checkpoints": Entry(see.training_au, 1, {"train_au_params.checkpoint_freq": 1}),
    "train_au_params.lr": Entry(see.action_unit_estimator, 0.1),
    f"{ANIMATE}.mode": Entry(see.generated, "standard"),
    f"{ANIMATE}.normalization_params.adapt_movement_scale": Entry(see.generated, False),
    f"{ANIMATE}.normalization_params.movement_scale": Entry(
        see.generated, "hull", {f"{ANIMATE}.remove_head_motion": False}
    ),
    f"{ANIMATE}.normalization_params.use_relative_movement": Entry(see.acceptance, False),
    f"{ANIMATE}.remove_head_motion": Entry(see.generated, False),
    f"{ANIMATE}.motion": Entry(see.generated, "flow"),
}
"""Keys whose code all families share; the family of the entry is `tps`."""

SHARED_WARP = {
    f"{ANIMATE}.num_pairs": Entry(see.animation, 1),
    f"{ANIMATE}.batch_size": Entry(see.animation, 3),
    f"{ANIMATE}.fast_error": Entry(see.bound_on_decoding, 0.0),
    f"{ANIMATE}.format": Entry(see.animation, ".gif"),
    f"{ANIMATE}.crf": Entry(see.animation, 0, {f"{ANIMATE}.format": ".mp4"}),
    "reconstruction_params.num_videos": Entry(see.reconstructed, 1, {"reconstruction_params.format": ".png"}),
    "reconstruction_params.batch_size": Entry(see.reconstructed, 3, {"reconstruction_params.format": ".png"}),
    "reconstruction_params.format": Entry(see.reconstructed, ".png"),
    f"{EVALUATE}.flow_estimators": Entry(judged, ["dis", "tvl1"], QUICK),
    f"{EVALUATE}.max_frames": Entry(judged, 8, QUICK),
    f"{EVALUATE}.slow_frames": Entry(judged, 4, {**QUICK, f"{EVALUATE}.flow_estimators": ["dis", "tvl1"]}),
    f"{EVALUATE}.blendshapes": Entry(judged, True, QUICK),
    f"{EVALUATE}.action_units": Entry(judged, see.estimator_file, QUICK),
    f"{EVALUATE}.identity": Entry(judged, lambda: network_file("features"), QUICK),
    f"{EVALUATE}.lpips": Entry(judged, lambda: network_file("distance"), QUICK),
    f"{EVALUATE}.fid": Entry(judged, lambda: network_file("features"), QUICK),
    f"{EVALUATE}.references": Entry(judged, True, QUICK),
    f"{EVALUATE}.report_clips": Entry(judged, 1, QUICK),
    "visualizer_params.kp_size": Entry(see.training_picture, 4),
    "visualizer_params.draw_border": Entry(see.training_picture, False),
    "visualizer_params.colormap": Entry(see.training_picture, "viridis"),
}
"""Shared keys, too, seen with the family that needs no networks."""

TPS = {
    f"{MODEL}.keypoints": Entry(see.initial, "learned"),
    f"{MODEL}.landmark_groups": Entry(see.losses, "megc2022"),
    f"{MODEL}.landmark_activation": Entry(see.losses, "sigmoid"),
    f"{MODEL}.tps_regularization": Entry(see.losses, "tpsmm"),
    f"{MODEL}.au_conditioning": [Entry(see.losses, "concat"), Entry(see.losses, "film")],
    f"{MODEL}.common_params.num_tps": Entry(see.initial, 8, LEARNED),
    f"{MODEL}.common_params.bg": Entry(see.losses, True, {f"{TRAIN}.bg_start": 0}),
    f"{MODEL}.common_params.multi_mask": Entry(see.losses, False, {f"{TRAIN}.loss_weights.warp_loss": 0.0}),
    **decoder(f"{MODEL}.generator_params", 3),
    **dense(f"{MODEL}.dense_motion_params"),
    **avd_network(),
    **picture_losses(),
    **random_warp({**LEARNED, **WARPED}),
    f"{TRAIN}.lr_generator": Entry(see.step, 1e-2),
    f"{TRAIN}.lr_zones": Entry(see.step, 0.1, {f"{MODEL}.dense_motion_params.locality": 0.1}),
    f"{TRAIN}.lr_shading": Entry(see.step, 0.1, FILM),
    f"{TRAIN}.bg_start": Entry(see.losses, 1, BACKGROUND),
    f"{TRAIN}.dropout_epoch": Entry(see.losses, 0, DROPPED),
    f"{TRAIN}.dropout_maxp": Entry(see.losses, 0.1, DROPPED),
    f"{TRAIN}.dropout_startp": Entry(see.losses, 0.1, DROPPED),
    f"{TRAIN}.dropout_inc_epoch": Entry(see.losses_later, 5, {f"{TRAIN}.dropout_maxp": 0.9}),
    f"{TRAIN}.loss_weights.equivariance_value": Entry(see.losses, 5.0, LEARNED),
    f"{TRAIN}.loss_weights.warp_loss": Entry(see.losses, 5.0),
    f"{TRAIN}.loss_weights.bg": Entry(see.losses, 5.0, BACKGROUND),
    f"{TRAIN}.loss_weights.shading": Entry(see.losses, 5.0, FILM),
    f"{TRAIN}.loss_weights.relative_au": Entry(see.losses, 2.0, JUDGED),
    f"{TRAIN}.au_estimator": Entry(see.training, lambda: str(see.trained_checkpoint()), JUDGED),
    f"{TRAIN}.relative_au_warmup": Entry(see.losses_later, 10, JUDGED),
    f"{TRAIN}.au_weights": Entry(see.losses, {12: 5.0}, JUDGED),
    f"{TRAIN}.cross_identity": Entry(see.losses, 1.0, JUDGED),
    f"{TRAIN}.cross_identity_weights.keypoint": Entry(see.losses, 5.0, CROSSED),
    f"{TRAIN}.cross_identity_weights.identity": Entry(see.losses, 5.0, CROSSED),
    f"{ANIMATE}.normalization_params.adapt_movement_scale": Entry(see.generated, False, LEARNED),
    f"{ANIMATE}.normalization_params.movement_scale": Entry(see.generated, "hull", LEARNED),
}

WARP = {
    f"{MODEL}.smoothing": Entry(see.generated, 1.0),
    f"{MODEL}.forehead": Entry(see.generated, None),
    f"{MODEL}.steps": Entry(see.generated, 3),
}

GAN = {
    f"{TRAIN}.loss_weights.generator_gan": 1.0,
    f"{TRAIN}.loss_weights.feature_matching": [10.0, 10.0, 10.0],
}
PRIOR = {f"{MODEL}.prior": "awp", f"{MODEL}.common_params.num_kp": 18}

FOMM = {
    f"{MODEL}.prior": [Entry(see.losses, value, {f"{MODEL}.common_params.num_kp": 18}) for value in ("awp", "ewp")],
    **prior(PRIOR),
    f"{MODEL}.align_corners": Entry(see.losses, False),
    f"{MODEL}.resize_align_corners": Entry(see.losses, False, {f"{MODEL}.generator_params.blend_source": True}),
    f"{MODEL}.common_params.num_kp": Entry(see.initial, 4),
    f"{MODEL}.common_params.estimate_jacobian": Entry(see.losses, False),
    **hourglass(f"{MODEL}.kp_detector_params"),
    f"{MODEL}.kp_detector_params.temperature": Entry(see.losses, 1.0),
    f"{MODEL}.kp_detector_params.single_jacobian_map": Entry(see.losses, True),
    f"{MODEL}.kp_detector_params.pad": Entry(see.losses, 3),
    **decoder(f"{MODEL}.generator_params", 3),
    f"{MODEL}.generator_params.num_bottleneck_blocks": Entry(see.initial, 2),
    f"{MODEL}.generator_params.estimate_occlusion_map": Entry(see.losses, False),
    f"{MODEL}.generator_params.blend_source": Entry(see.losses, True),
    **dense(f"{MODEL}.generator_params.dense_motion_params"),
    f"{MODEL}.discriminator_params.scales": Entry(see.losses, [1, 0.5], GAN),
    f"{MODEL}.discriminator_params.block_expansion": Entry(see.losses, 6, GAN),
    f"{MODEL}.discriminator_params.max_features": Entry(see.losses, 8, GAN),
    f"{MODEL}.discriminator_params.num_blocks": Entry(see.initial, 2),
    f"{MODEL}.discriminator_params.sn": Entry(see.losses, True, GAN),
    f"{MODEL}.discriminator_params.use_kp": Entry(see.losses, True, GAN),
    **picture_losses(),
    **random_warp({}),
    f"{TRAIN}.lr_generator": Entry(see.step, 1e-2),
    f"{TRAIN}.lr_discriminator": Entry(see.step, 1e-2, GAN),
    f"{TRAIN}.lr_kp_detector": Entry(see.step, 1e-2),
    f"{TRAIN}.lr_zones": Entry(see.step, 0.1, {f"{MODEL}.generator_params.dense_motion_params.locality": 0.1}),
    f"{TRAIN}.loss_weights.generator_gan": Entry(see.losses, 2.0, GAN),
    f"{TRAIN}.loss_weights.discriminator_gan": Entry(see.losses, 2.0, GAN),
    f"{TRAIN}.loss_weights.feature_matching": Entry(see.losses, [10.0, 10.0, 5.0], GAN),
    f"{TRAIN}.loss_weights.equivariance_value": Entry(see.losses, 5.0),
    f"{TRAIN}.loss_weights.equivariance_jacobian": Entry(see.losses, 5.0),
    f"{ANIMATE}.mode": Entry(see.generated, "standard"),
    f"{ANIMATE}.normalization_params.adapt_movement_scale": Entry(see.generated, False),
    f"{ANIMATE}.normalization_params.movement_scale": Entry(see.generated, "hull"),
    f"{ANIMATE}.normalization_params.use_relative_jacobian": Entry(see.generated, False),
}

REGIONS = {f"{MODEL}.prior": "awp", f"{MODEL}.num_regions": 18}
REGRESSED = {f"{MODEL}.region_predictor_params.pca_based": False}
PRINCIPAL = {f"{MODEL}.region_affine": "principal"}
FLOW = f"{MODEL}.generator_params.pixelwise_flow_predictor_params"
ROUND = {f"{FLOW}.use_covar_heatmap": False}

MRAA = {
    f"{MODEL}.prior": Entry(see.losses, "awp", {f"{MODEL}.num_regions": 18}),
    f"{MODEL}.prior_regions": Entry(see.losses, "published", REGIONS),
    **prior(REGIONS),
    f"{MODEL}.align_corners": Entry(see.losses, False),
    f"{MODEL}.resize_align_corners": Entry(see.losses, False),
    f"{MODEL}.num_regions": Entry(see.initial, 4),
    f"{MODEL}.estimate_affine": Entry(see.losses, False, {**REGRESSED, **ROUND}),
    f"{MODEL}.region_affine": Entry(see.losses, "principal"),
    f"{MODEL}.avd_network_params.revert_axis_swap": Entry(see.swapped_axes, False, PRINCIPAL),
    f"{MODEL}.revert_axis_swap": Entry(see.swapped_axes, False, PRINCIPAL),
    f"{MODEL}.relative_covar": Entry(see.generated, "driving"),
    f"{MODEL}.bg_predictor_params.block_expansion": Entry(see.initial, 6),
    f"{MODEL}.bg_predictor_params.max_features": Entry(see.initial, 8),
    f"{MODEL}.bg_predictor_params.num_blocks": Entry(see.initial, 3),
    f"{MODEL}.bg_predictor_params.bg_type": [Entry(see.losses, kind) for kind in ("zero", "shift", "perspective")],
    **hourglass(f"{MODEL}.region_predictor_params"),
    f"{MODEL}.region_predictor_params.temperature": Entry(see.losses, 1.0),
    f"{MODEL}.region_predictor_params.pca_based": Entry(see.losses, False),
    f"{MODEL}.region_predictor_params.pad": Entry(see.losses, 0),
    **decoder(f"{MODEL}.generator_params", 3),
    f"{MODEL}.generator_params.num_bottleneck_blocks": Entry(see.initial, 2),
    f"{MODEL}.generator_params.skips": Entry(see.losses, False),
    **dense(FLOW),
    f"{FLOW}.use_covar_heatmap": Entry(see.losses, False),
    f"{FLOW}.use_deformed_source": Entry(see.losses, False),
    f"{FLOW}.estimate_occlusion_map": Entry(see.losses, False, {f"{MODEL}.generator_params.skips": False}),
    **avd_network(),
    "train_avd_params.lambda_affine": Entry(see.avd, 2.0),
    **picture_losses(),
    **random_warp({}),
    f"{TRAIN}.lr": Entry(see.step, 1e-2),
    f"{TRAIN}.lr_zones": Entry(see.step, 0.1, {f"{FLOW}.locality": 0.1}),
    f"{TRAIN}.loss_weights.equivariance_shift": Entry(see.losses, 5.0),
    f"{TRAIN}.loss_weights.equivariance_affine": Entry(see.losses, 5.0),
    f"{ANIMATE}.normalization_params.adapt_movement_scale": Entry(see.generated, False),
    f"{ANIMATE}.normalization_params.movement_scale": Entry(see.generated, "hull"),
    f"{ANIMATE}.normalization_params.use_relative_jacobian": Entry(see.generated, False),
}

PREPARE_SECTION = "prepare_params"
CROP, LANDMARKS, UNITS, SPLIT = (f"{PREPARE_SECTION}.{name}_params" for name in ("crop", "landmark", "au", "split"))
ROWS = {f"{LANDMARKS}.dir": world("all_rows")}
DETECTED = {f"{LANDMARKS}.backend": "face-alignment"}
SUBJECTS = {f"{PREPARE_SECTION}.root_dir": world("subjects")}
UNSURE_TABLES = {f"{UNITS}.dir": world("unsure_tables")}

PREPARE = {
    f"{PREPARE_SECTION}.data_set": Entry(see.prepared, "video"),
    f"{PREPARE_SECTION}.root_dir": Entry(see.prepared, world("release2")),
    f"{PREPARE_SECTION}.sheet": Entry(see.prepared, world("other_sheet.csv")),
    f"{PREPARE_SECTION}.columns": Entry(see.prepared, {"emotion": "subject", "subject": "emotion"}),
    f"{PREPARE_SECTION}.release": Entry(see.prepared, "raw"),
    f"{PREPARE_SECTION}.missing_apex": Entry(see.prepared, "midpoint"),
    f"{PREPARE_SECTION}.output_dir": Entry(see.prepared_folder, lambda: str(see.new_folder() / "other")),
    f"{PREPARE_SECTION}.fps": Entry(see.prepared, 100.0),
    f"{PREPARE_SECTION}.trim": Entry(see.prepared, False),
    f"{PREPARE_SECTION}.length": Entry(see.prepared, 8),
    f"{PREPARE_SECTION}.remove_missing": Entry(see.prepared_without_landmarks, True),
    f"{CROP}.size": Entry(see.prepared, 48),
    f"{CROP}.margin": Entry(see.prepared, 0.0),
    f"{CROP}.raised": Entry(see.prepared, 0.5, {f"{CROP}.margin": 0.0}),
    f"{CROP}.upright": Entry(see.prepared, True),
    f"{CROP}.grey": Entry(see.prepared, True),
    f"{LANDMARKS}.backend": Entry(see.prepared, "face-alignment"),
    f"{LANDMARKS}.dir": Entry(see.prepared, world("onset_rows")),
    f"{LANDMARKS}.boxes": Entry(see.prepared, world("boxes.csv"), DETECTED),
    f"{LANDMARKS}.follow": Entry(see.prepared, "files", ROWS),
    f"{UNITS}.dir": Entry(see.prepared, world("tables")),
    f"{UNITS}.intensity": Entry(see.prepared, 4.0),
    f"{UNITS}.min_confidence": Entry(see.prepared, 0.9, {**UNSURE_TABLES, f"{UNITS}.max_gap": 1}),
    f"{UNITS}.max_gap": Entry(see.prepared, 1, {**UNSURE_TABLES, f"{UNITS}.min_confidence": 0.9}),
    f"{UNITS}.unknown": Entry(see.prepared, "zero", {f"{UNITS}.dir": world("poor_tables")}),
    f"{SPLIT}.by": Entry(see.prepared, "none"),
    f"{SPLIT}.test_fraction": Entry(see.prepared, 0.5, SUBJECTS),
    f"{SPLIT}.seed": Entry(see.prepared, 3, SUBJECTS),
    f"{SPLIT}.test_list": Entry(
        see.prepared,
        world("test_list1.txt"),
        {f"{SPLIT}.by": "list", f"{SPLIT}.test_list": lambda: str(see.world().folder / "test_list0.txt")},
    ),
}

TABLE = {"tps": TPS, "warp": WARP, "fomm": FOMM, "mraa": MRAA, "prepare": PREPARE}

for family in ("tps", "fomm", "mraa"):
    TABLE[family][f"{TRAIN}.precision"] = Entry(see.training, "bf16-mixed", {"tps": FILM, "fomm": GAN}.get(family, {}))

TRAINABLE = ("tps", "fomm", "mraa")
PER_FAMILY = [f"{TRAIN}.scales", f"{TRAIN}.precision", *random_warp({})]
"""Keys of shared sections that each family with losses puts into practice itself."""

EXCEPTIONS = {
    "format": "has one value",
    f"{MODEL}.family": "names the table of entries; every family has one",
    f"{MODEL}.common_params.num_channels": "has one value; accepted for published files",
    f"{MODEL}.num_channels": "has one value; accepted for published files",
    f"{TRAIN}.use_sync_bn": "acts where several CUDA devices train; `synchronise` has tests of its own",
    f"{TRAIN}.evaluation_freq": "adds lines to `stats.jsonl`; `test_training_evaluation` counts them",
    f"{TRAIN}.evaluation_clips": "chooses the clips of those lines; `test_training_evaluation` changes it",
    f"{TRAIN}.best_metric": "chooses the best checkpoint; `test_training_evaluation` looks at it",
    f"{EVALUATE}.workers": "changes nothing by design; `test_evaluate` sends jobs between processes",
    f"{EVALUATE}.worst_by": "orders the report; `test_evaluate` looks at the order",
    f"{EVALUATE}.bootstrap_seed": "moves intervals; `test_statistics` compares two",
    f"{EVALUATE}.max_problems": "limits the log; `test_evaluate` counts its lines",
    f"{PREPARE_SECTION}.workers": "changes nothing by design; `test_prepare` compares one process with several",
}
UNCHANGED = {
    f"{TRAIN}.dataloader_workers": Entry(see.training_steps, 1),
}
"""Keys that change nothing by design: the number of processes, and two of published files that nothing uses."""
SAME_CODE = {
    "train_avd_params.dataloader_workers": f"{TRAIN}.dataloader_workers",
    "train_au_params.dataloader_workers": f"{TRAIN}.dataloader_workers",
}
"""Keys of another section that the same line of code reads."""


# --- the schema -------------------------------------------------------------------------------------------------------


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section in a field's type, also one that may be null."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := section_of(part))), None)


def leaves(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all keys."""
    for name, entry in section.model_fields.items():
        inner = section_of(entry.annotation)
        if inner is None:
            yield f"{prefix}{name}"
        else:
            yield from leaves(inner, f"{prefix}{name}.")


SCHEMA = {name: set(leaves(family.config)) for name, family in FAMILIES.items()} | {
    "prepare": set(leaves(PrepareConfig))
}
COVERED = {*SHARED, *SHARED_WARP, *EXCEPTIONS, *UNCHANGED, *SAME_CODE}


def test_every_key_has_an_entry():
    missing = {f"{kind}: {path}" for kind, paths in SCHEMA.items() for path in paths - COVERED - set(TABLE[kind])}
    missing -= {f"warp: {path}" for path in PER_FAMILY}  # it has no losses
    missing |= {f"{kind}: {path}" for kind in TRAINABLE for path in PER_FAMILY if path not in TABLE[kind]}
    # Read by the models that have what it is about: affine motion, an AVD network.
    optional = {f"{ANIMATE}.normalization_params.use_relative_jacobian"}
    optional |= {f"train_avd_params.{name}" for name in ("lr", "lambda_shift", "lambda_affine", "random_scale")}
    seen_somewhere = {path for table in TABLE.values() for path in table}
    assert optional <= seen_somewhere
    missing = {entry for entry in missing if entry.split(": ")[1] not in optional}
    assert not missing


def test_every_entry_has_a_key():
    every = set().union(*SCHEMA.values())
    unknown = {path for path in COVERED if path not in every}
    unknown |= {path for kind, table in TABLE.items() for path in table if path not in SCHEMA[kind]}
    assert not unknown


# --- what comes out ---------------------------------------------------------------------------------------------------


def resolved(changes: dict[str, Any]) -> dict[str, Any]:
    return {path: value() if callable(value) else value for path, value in changes.items()}


@functools.cache
def _base(kind: str, probe: see.Probe, context: str) -> Any:
    return probe(see.config_of(kind, json.loads(context)))


def outcome(kind: str, path: str, entry: Entry) -> tuple[Any, Any]:
    """Observations of the probe on the base, and on the experiment with one key changed."""
    context = resolved(entry.context)
    base = _base(kind, entry.probe, json.dumps(context, sort_keys=True))
    config = see.config_of(kind, context | resolved({path: entry.value}))
    assert entry.probe is see.acceptance or not isinstance(config, str), config
    return base, entry.probe(config)


def entries() -> list[Any]:
    tables = [("tps", SHARED), ("warp", SHARED_WARP), *TABLE.items()]
    listed = [(kind, path, entry) for kind, table in tables for path, entry in table.items()]
    flat = [(kind, path, one) for kind, path, es in listed for one in (es if isinstance(es, list) else [es])]
    # In an order that keeps a base that several entries share.
    return [pytest.param(*entry, id=f"{entry[0]}-{entry[1]}-{i}") for i, entry in enumerate(flat)]


@pytest.mark.parametrize(("kind", "path", "entry"), entries())
def test_an_option_has_an_effect(kind, path, entry):
    before, after = outcome(kind, path, entry)
    assert before != after, f"{path} = {entry.value!r} changes nothing that {entry.probe.__name__} sees"


@pytest.mark.parametrize("path", UNCHANGED)
def test_an_option_without_effect_has_none(path):
    kind = "mraa" if path in SCHEMA["mraa"] - SCHEMA["tps"] else "tps"
    before, after = outcome(kind, path, UNCHANGED[path])
    assert before == after


# --- the command line -------------------------------------------------------------------------------------------------

COMMAND_LINE = {
    "--config": "test_train.py::test_a_run_writes_what_it_promises",
    "--mode": "test_train.py::test_train_avd_trains_that_network_alone",
    "--checkpoint": "test_train.py::test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit",
    "--log-dir": "test_train.py::test_a_run_writes_what_it_promises",
    "--device-ids": "test_train.py::test_what_cannot_be_trained_says_why_in_one_line",
    "--set": "test_train.py::test_learning_rates_fall_at_milestones",
    "--seed": "test_options.py::test_the_seed_of_the_command_line_is_that_of_the_experiment",
    "--dry-run": "test_options.py::test_a_dry_run_prints_settings_and_writes_nothing",
    "--verbose": "test_options.py::test_verbose_shows_where_an_error_comes_from",
    "--source": "test_animate.py::test_one_picture_and_one_clip_without_a_data_set",
    "--driving": "test_animate.py::test_one_picture_and_one_clip_without_a_data_set",
    "--result": "test_animate.py::test_one_picture_and_one_clip_without_a_data_set",
    "--reference-frame": "test_animate.py::test_the_reference_frame_is_the_one_that_does_not_move",
    "--crop": "test_whole_photos.py::test_crop_and_face_decide_what_is_animated",
    "--face": "test_whole_photos.py::test_crop_and_face_decide_what_is_animated",
    "--source-landmarks": "test_animate.py::test_what_is_missing_is_named",
    "--driving-landmarks": "test_animate.py::test_bad_arguments_are_named",
    "--driving-au": "test_animate.py::test_the_driving_clips_action_units_can_be_given_by_hand",
    "--au": "test_facs_codes.py::test_a_code_moves_a_picture",
    "--onset": "test_facs_codes.py::test_a_code_moves_a_picture",
    "--apex": "test_facs_codes.py::test_a_code_moves_a_picture",
    "--offset": "test_facs_codes.py::test_a_code_moves_a_picture",
    "--frames": "test_facs_codes.py::test_frames_and_fps_may_be_left_to_defaults_or_given",
    "--fps": "test_facs_codes.py::test_a_code_moves_a_picture",
    "--au-list": "test_facs_codes.py::test_a_list_of_codes",
    "--au-intensity": "test_facs_codes.py::test_units_without_intensity_take_the_arguments",
    "--results": "evaluation/test_evaluate.py::test_all_formats_give_one_table_over_systems",
    "--pairs": "evaluation/test_evaluate.py::test_all_formats_give_one_table_over_systems",
}
"""The test in which each option of the command line shows."""


def test_every_option_of_the_command_line_is_tested(monkeypatch):
    seen = []
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda self, arguments: seen.append(self))
    run.parse_arguments([])
    options = {action.option_strings[0] for action in seen[0]._actions} - {"-h"}
    assert options == set(COMMAND_LINE)
    for name, test in COMMAND_LINE.items():
        file, function = test.split("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_the_seed_of_the_command_line_is_that_of_the_experiment(warp_experiment, monkeypatch):
    seeds = []
    monkeypatch.setattr(run, "_load", lambda entry: lambda config, options: seeds.append(config.seed) or 0)
    for arguments in ([], ["--seed", "7"], ["--set", "seed=8"]):
        assert run.main(["--config", str(warp_experiment), *arguments]) == 0
    assert seeds == [0, 7, 8]


def test_a_dry_run_prints_settings_and_writes_nothing(warp_experiment, tmp_path, caplog):
    caplog.set_level("INFO")
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    arguments = ["--mode", "animate", "--dry-run", "--log-dir", str(tmp_path / "log")]
    assert run.main(["--config", str(warp_experiment), *arguments]) == 0
    assert "root_dir" in caplog.text
    assert sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts) == before


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_shows_where_an_error_comes_from(tmp_path, caplog, verbose):
    assert run.main(["--config", str(tmp_path / "absent.yaml"), *["--verbose"] * verbose]) == 2
    assert bool(caplog.records[-1].exc_info) == verbose
