"""Configuration of the family `tps`: thin-plate-spline motion model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.experiment import Config, check_sizes
from config.family_sections import AVDNetworkParams, HourglassParams, PictureTrainParams, PictureWeights
from config.sections import (
    FilePath,
    Fraction,
    ModelParams,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
)

Probability = Annotated[float, Field(ge=0, lt=1)]


class TpsCommonParams(Section):
    num_tps: PositiveInt = 10
    """Thin-plate splines, each through five keypoints."""
    num_channels: Literal[3] = 3
    """Colour channels."""
    bg: bool = True
    """Predict the background's affine movement; false holds the background still."""
    multi_mask: bool = True
    """One occlusion map for each level of the inpainting network instead of one in all."""


class InpaintingParams(Section):
    block_expansion: PositiveInt = 64
    """Channels of the first level; each level below has twice as many."""
    max_features: PositiveInt = 512
    """Upper limit of the channels of a level."""
    num_down_blocks: PositiveInt = 3
    """Levels below the first."""


class TpsDenseMotionParams(HourglassParams):
    kp_variance: PositiveFloat = 0.01
    """Variance of the keypoint heat maps, in squared half frame widths."""
    locality: PositiveFloat | None = None
    """Initial reach of a zone around each keypoint in which its spline prevails, in root-mean-square radii of the
    keypoints; position and shape of the zones are learned, and the network corrects the shares that they give. null:
    the network finds the shares alone, as published."""
    background_logit: float = -4.0
    """Initial share of the background beside the zones, as a logit: 0 is that of a spline at one of its keypoints."""
    initial_occlusion: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Value with which occlusion maps start (1 keeps the warped source). null: about one half, as published."""


class TpsModelParams(ModelParams):
    family: Literal["tps"]
    """Thin-plate-spline motion model (TPSMM, CVPR 2022)."""
    keypoints: Literal["learned", "landmarks"] = "learned"
    """`learned`: a ResNet-18 finds them in the picture. `landmarks`: groups of five of the 68 facial landmarks."""
    landmark_groups: Literal["spread", "megc2022"] = "spread"
    """Which landmarks form a spline: spread over the face, or the order of MEGC2022-Generation (ill-conditioned)."""
    landmark_activation: Literal["linear", "sigmoid"] = "linear"
    """`sigmoid` squashes pixel coordinates as MEGC2022-Generation does, which collapses them to one corner."""
    tps_regularization: Literal["exact", "tpsmm"] = "exact"
    """`exact`: equal keypoints give the identity. `tpsmm`: 0.01 on the whole system, for weights trained with it."""
    au_conditioning: Literal["none", "concat", "film"] = "none"
    """How the action-unit difference of driving and source enters the inpainting network. `concat`: as constant
    channels, as published, which normalisation all but removes. `film`: it scales and shifts normalised features and
    the picture where in the face each unit acts, by the landmarks; without a difference nothing changes."""
    common_params: TpsCommonParams = TpsCommonParams()
    generator_params: InpaintingParams = InpaintingParams()
    """Inpainting network."""
    dense_motion_params: TpsDenseMotionParams = TpsDenseMotionParams()
    """Dense motion network."""
    avd_network_params: AVDNetworkParams = AVDNetworkParams()
    """Network of `--mode train_avd`."""


class TpsLossWeights(PictureWeights):
    equivariance_value: NonNegativeFloat = 10.0
    """Weight of the keypoints' equivariance under random warps (learned keypoints only)."""
    warp_loss: NonNegativeFloat = 10.0
    """Weight of the difference of the warped source's and the driving frame's features."""
    bg: NonNegativeFloat = 10.0
    """Weight of the background's forward-backward consistency."""
    motion: NonNegativeFloat = 0.0
    """Weight of the mean length of the motion in pixels: keeps textureless skin at rest instead of at random."""
    shading: NonNegativeFloat = 10.0
    """Weight of the error of furrows and shades (`au_conditioning: film`), local motion put right before."""
    relative_au: NonNegativeFloat = 0.0
    """Weight of the relative action-unit constraint: what `au_estimator` sees change in the prediction, over all action
    units, against the difference that was asked for. A unit that should rest and does not is punished, too."""


class CrossIdentityWeights(Section):
    """Losses of steps in which one person drives another: no true picture exists."""

    keypoint: NonNegativeFloat = 10.0
    """Weight of the distance, in half frame widths, by which the picture misses the keypoints it should follow."""
    identity: NonNegativeFloat = 10.0
    """Weight of the mean absolute difference of prediction and source at an eighth of the size, where a
    micro-expression is too small to be seen and the face is not."""


class TpsTrainParams(PictureTrainParams):
    lr_generator: NonNegativeFloat = 2e-4
    """Learning rate of every network."""
    lr_zones: NonNegativeFloat = 0.01
    """Learning rate of the keypoints' zones (`dense_motion_params.locality`), a few hundred numbers."""
    lr_shading: NonNegativeFloat = 2e-3
    """Learning rate of the furrows and shades of the action units (`au_conditioning: film`), maps of half a face."""
    bg_start: NonNegativeInt = 10
    """First epoch with background movement."""
    dropout_epoch: NonNegativeInt = 35
    """First epoch without dropout of splines."""
    dropout_maxp: Probability = 0.3
    """Largest probability of dropping a spline."""
    dropout_startp: Probability = 0.1
    """Probability in epoch 0."""
    dropout_inc_epoch: PositiveInt = 10
    """Epochs over which it grows by `dropout_maxp`."""
    loss_weights: TpsLossWeights = TpsLossWeights()
    au_estimator: FilePath | None = None
    """Checkpoint of `--mode train_au`, for `loss_weights.relative_au`."""
    relative_au_warmup: NonNegativeInt = 0
    """Epochs over which the weight of that loss grows from zero."""
    au_weights: dict[PositiveInt, NonNegativeFloat] = {}
    """Weights of single action units in that loss, by number; 1 for all others."""
    cross_identity: Fraction = 0.0
    """Share of the steps in which each person of a batch is driven by the next one, where they differ; those steps
    train on `relative_au` and `cross_identity_weights` alone."""
    cross_identity_weights: CrossIdentityWeights = CrossIdentityWeights()

    @property
    def needs_au_estimator(self) -> bool:
        return self.loss_weights.relative_au > 0

    @model_validator(mode="after")
    def _has_estimator(self) -> "TpsTrainParams":
        if self.needs_au_estimator and self.au_estimator is None:
            raise ValueError("au_estimator: expected a checkpoint of --mode train_au with loss_weights.relative_au")
        if self.cross_identity and not self.needs_au_estimator:
            raise ValueError("cross_identity: expected a weight of loss_weights.relative_au, got none")
        return self


class TpsConfig(Config):
    model_params: TpsModelParams
    """Networks."""
    train_params: TpsTrainParams = TpsTrainParams()
    """`--mode train`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TpsConfig":
        model, dense = self.model_params, self.model_params.dense_motion_params
        check_sizes(self, "dense_motion_params", dense.scale_factor, dense.num_blocks)
        check_sizes(self, "generator_params", 1, model.generator_params.num_down_blocks)
        if model.keypoints == "landmarks" and model.common_params.num_tps != 10:
            raise ValueError(
                "model_params.common_params.num_tps: expected 10, the number of landmark groups, with "
                f"`keypoints: landmarks`, got {model.common_params.num_tps}"
            )
        if model.au_conditioning == "film" and model.keypoints != "landmarks":
            raise ValueError("model_params.au_conditioning: film: expected `keypoints: landmarks`, got learned ones")
        if self.train_params.needs_au_estimator and model.au_conditioning == "none":
            raise ValueError("train_params.loss_weights.relative_au: expected au_conditioning `film` or `concat`")
        if self.train_params.needs_au_estimator and not (
            model.keypoints == "landmarks" and self.dataset_params.remove_head_motion
        ):
            raise ValueError(
                "train_params.loss_weights.relative_au: expected `keypoints: landmarks` and "
                "dataset_params.remove_head_motion, because the estimator compares faces in one pose"
            )
        if not model.common_params.multi_mask and self.train_params.loss_weights.warp_loss:
            raise ValueError("train_params.loss_weights.warp_loss: expected 0 with `multi_mask: false`, got a weight")
        return self
