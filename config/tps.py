"""Configuration of the family `tps`: thin-plate-spline motion model."""

from math import log2
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.experiment import Config
from config.family_sections import AVDNetworkParams, HourglassParams, PictureTrainParams, PictureWeights
from config.network_sizes import check_channels, network_problems
from config.ranges import (
    Channels,
    FilePath,
    Fraction,
    Keypoints,
    LearningRate,
    Levels,
    Logit,
    LossWeight,
    NonNegativeInt,
    OpenFraction,
    PositiveInt,
    Reach,
)
from config.sections import ModelParams, Section

Probability = Annotated[float, Field(ge=0, lt=1)]


class TpsCommonParams(Section):
    """Options that several networks share."""

    num_tps: Keypoints = 10
    """Number of thin-plate splines, each through five keypoints; 10 with `keypoints: landmarks`."""
    num_channels: Literal[3] = 3
    """Number of colour channels."""
    bg: bool = True
    """Predict an affine motion of the background; false keeps the background still."""
    multi_mask: bool = True
    """Predict one occlusion map per level of the inpainting network instead of a single one."""


class InpaintingParams(Section):
    """Inpainting network."""

    block_expansion: Channels = 64
    """Number of channels of the first level, doubled at each lower level."""
    max_features: Channels = 512
    """Largest number of channels of any level."""
    num_down_blocks: Levels = 3
    """Number of downsampling levels; each halves height and width."""

    @model_validator(mode="after")
    def _enough_channels(self) -> Self:
        check_channels(self)
        return self


class TpsDenseMotionParams(HourglassParams):
    """Dense motion network."""

    locality: Reach | None = None
    """Initial reach of a zone around each keypoint in which its spline dominates, relative to the root-mean-square
    radius of the keypoints. Position and shape of the zones are learned, and the network corrects the shares that they
    give. null: the network predicts the shares alone, as published."""
    background_logit: Logit = -4.0
    """Initial logit of the background with zones; 0 equals that of a spline at one of its keypoints."""
    initial_occlusion: OpenFraction | None = None
    """Initial value of the occlusion maps, in (0, 1); 1 keeps the warped source. null: random and near 0.5, as
    published."""


class TpsModelParams(ModelParams):
    """Settings of the networks."""

    family: Literal["tps"]
    """Thin-plate-spline motion model (TPSMM, CVPR 2022)."""
    keypoints: Literal["learned", "landmarks"] = "learned"
    """Keypoints of the splines. `learned`: predicted by a ResNet-18. `landmarks`: ten groups of five of the 68 facial
    landmarks."""
    landmark_groups: Literal["spread", "megc2022"] = "spread"
    """Grouping of the landmarks: `spread` over the face, or `megc2022`, neighbouring landmarks as in
    MEGC2022-Generation, which make ill-conditioned splines."""
    landmark_activation: Literal["linear", "sigmoid"] = "linear"
    """`sigmoid` applies a sigmoid to pixel coordinates as MEGC2022-Generation does, which maps nearly all of them to
    one corner; `linear` keeps coordinates."""
    tps_regularization: Literal["exact", "tpsmm"] = "exact"
    """Regularisation of the splines. `exact`: equal keypoints give the identity. `tpsmm`, for published weights: 0.01
    added to the whole system."""
    au_conditioning: Literal["none", "concat", "film"] = "none"
    """Use of the action-unit difference between driving and source in the inpainting network. `concat`, as published:
    constant channels, which the following normalisation nearly removes. `film`: scales and shifts normalised features
    and the image in the face region of each unit, which the landmarks give; a difference of zero changes nothing."""
    common_params: TpsCommonParams = TpsCommonParams()
    """Options that several networks share."""
    generator_params: InpaintingParams = InpaintingParams()
    """Inpainting network."""
    dense_motion_params: TpsDenseMotionParams = TpsDenseMotionParams()
    """Dense motion network."""
    avd_network_params: AVDNetworkParams = AVDNetworkParams()
    """Network of `--mode train_avd`."""


class TpsLossWeights(PictureWeights):
    """Weights of the losses; 0 disables a loss."""

    equivariance_value: LossWeight = 10.0
    """Weight of the equivariance of keypoints under random warps (learned keypoints only)."""
    warp_loss: LossWeight = 10.0
    """Weight of the difference between features of the warped source and of the driving frame."""
    bg: LossWeight = 10.0
    """Weight of the forward-backward consistency of the background's motion."""
    motion: LossWeight = 0.0
    """Weight of the mean displacement in pixels, which keeps textureless skin at rest; 0 disables it."""
    shading: LossWeight = 10.0
    """Weight of the error of wrinkles and shading (`au_conditioning: film`), measured after compensation of local
    motion."""
    relative_au: LossWeight = 0.0
    """Weight of the relative action-unit constraint: error of the action-unit difference between prediction and source,
    as `au_estimator` measures it, over all units, including those that should not move; 0 disables it."""


class CrossIdentityWeights(Section):
    """Weights of the losses of cross-identity steps, for which no true image exists."""

    keypoint: LossWeight = 10.0
    """Weight of the distance between wanted and generated keypoints in normalised units (1 = half the frame width)."""
    identity: LossWeight = 10.0
    """Weight of the mean absolute difference of prediction and source at 1/8 of the size, at which the face is visible
    and a micro-expression is not."""


class TpsTrainParams(PictureTrainParams):
    """Settings of `--mode train`."""

    lr_generator: LearningRate = 2e-4
    """Learning rate of all networks."""
    lr_zones: LearningRate = 0.01
    """Learning rate of the keypoints' zones (`dense_motion_params.locality`), a few hundred parameters."""
    lr_shading: LearningRate = 2e-3
    """Learning rate of the maps of wrinkles and shading of the action units (`au_conditioning: film`)."""
    bg_start: NonNegativeInt = 10
    """First epoch, from 0, in which the background's motion is predicted and trained."""
    dropout_epoch: NonNegativeInt = 35
    """First epoch, from 0, without dropout of splines."""
    dropout_maxp: Probability = 0.3
    """Largest probability of dropping a spline, in [0, 1)."""
    dropout_startp: Probability = 0.1
    """Probability of dropping a spline in epoch 0, in [0, 1)."""
    dropout_inc_epoch: PositiveInt = 10
    """Number of epochs over which this probability grows by `dropout_maxp`."""
    loss_weights: TpsLossWeights = TpsLossWeights()
    """Weights of the losses; 0 disables a loss."""
    au_estimator: FilePath | None = None
    """Checkpoint of `--mode train_au`, required by `loss_weights.relative_au`."""
    relative_au_warmup: NonNegativeInt = 0
    """Number of epochs over which the weight of `relative_au` grows linearly from zero."""
    au_weights: dict[PositiveInt, LossWeight] = {}
    """Weights of single action units in the loss `relative_au`, by number; 1 for all others."""
    cross_identity: Fraction = 0.0
    """Fraction of the training steps, in [0, 1], in which each person of a batch is driven by the next one. These steps
    use only the losses `relative_au` and `cross_identity_weights`."""
    cross_identity_weights: CrossIdentityWeights = CrossIdentityWeights()
    """Weights of the losses of cross-identity steps."""

    @property
    def au_estimator_file(self) -> Path | None:
        return self.au_estimator if self.loss_weights.relative_au else None

    @model_validator(mode="after")
    def _has_estimator(self) -> "TpsTrainParams":
        if self.loss_weights.relative_au and self.au_estimator is None:
            raise ValueError("au_estimator: expected a checkpoint of --mode train_au with loss_weights.relative_au")
        if self.cross_identity and self.au_estimator_file is None:
            raise ValueError("cross_identity: expected a weight of loss_weights.relative_au, got none")
        return self


class TpsConfig(Config):
    """Experiment of the family `tps`."""

    model_params: TpsModelParams
    """Settings of the networks."""
    train_params: TpsTrainParams = TpsTrainParams()
    """Settings of `--mode train`."""

    def combination_problems(self) -> list[str]:
        model, problems = self.model_params, super().combination_problems()
        dense, levels = model.dense_motion_params, model.generator_params.num_down_blocks + 1
        if model.keypoints == "landmarks" and model.common_params.num_tps != 10:
            problems.append(
                "model_params.common_params.num_tps: expected 10, the number of landmark groups, with "
                f"`keypoints: landmarks`, got {model.common_params.num_tps}"
            )
        if model.au_conditioning == "film" and model.keypoints != "landmarks":
            problems.append("model_params.au_conditioning: film: expected `keypoints: landmarks`, got learned ones")
        if self.train_params.au_estimator_file and model.au_conditioning == "none":
            problems.append("train_params.loss_weights.relative_au: expected au_conditioning `film` or `concat`")
        if self.train_params.au_estimator_file and not (
            model.keypoints == "landmarks" and self.dataset_params.remove_head_motion
        ):
            problems.append(
                "train_params.loss_weights.relative_au: expected `keypoints: landmarks` and "
                "dataset_params.remove_head_motion, because the estimator compares faces in one pose"
            )
        if not model.common_params.multi_mask and self.train_params.loss_weights.warp_loss:
            problems.append("train_params.loss_weights.warp_loss: expected 0 with `multi_mask: false`, got a weight")
        doublings = round(log2(1 / dense.scale_factor))
        if model.common_params.multi_mask and not doublings <= levels <= doublings + dense.num_blocks:
            problems.append(
                f"model_params.generator_params.num_down_blocks: expected {max(1, doublings - 1)} to "
                f"{doublings + dense.num_blocks - 1} with scale_factor {dense.scale_factor:g} and num_blocks "
                f"{dense.num_blocks} of dense_motion_params, got {levels - 1}; or set multi_mask to false"
            )
        return problems

    def size_problems(self, height: int, width: int) -> list[str]:
        frame, model = (height, width), self.model_params
        dense, levels = model.dense_motion_params, model.generator_params.num_down_blocks
        return [
            *super().size_problems(height, width),
            *network_problems("dense_motion_params", frame, dense.scale_factor, dense.num_blocks),
            *network_problems("generator_params", frame, 1, levels),
            *self.train_params.size_problems(height, width),
        ]
