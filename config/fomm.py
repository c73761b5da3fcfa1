"""Configuration of the family `fomm`: first-order motion model."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.experiment import Config
from config.family_sections import BottleneckParams, HourglassParams, PictureTrainParams, PictureWeights, PriorParams
from config.network_sizes import check_channels, discriminator_problems, heat_map_problems, network_problems
from config.ranges import (
    Channels,
    FeatureWeights,
    Keypoints,
    LearningRate,
    Levels,
    Logit,
    LossWeight,
    OpenFraction,
    Reach,
    Scales,
    Temperature,
)
from config.sections import ModelParams, Section


class FommCommonParams(Section):
    """Options that several networks share."""

    num_kp: Keypoints = 10
    """Number of keypoints; 18 or 68 with a facial prior."""
    num_channels: Literal[3] = 3
    """Number of colour channels."""
    estimate_jacobian: bool = True
    """Estimate a local affine map at every keypoint instead of a translation only."""


class KPDetectorParams(HourglassParams):
    """Keypoint detector."""

    temperature: Temperature = 0.1
    """Temperature of the softmax of the heat maps; lower is sharper."""
    block_expansion: Channels = 32
    """Number of channels of the first level, doubled at each lower level."""
    single_jacobian_map: bool = False
    """Predict one map of local affine motion for all keypoints instead of one per keypoint."""
    pad: Annotated[int, Field(ge=0, le=16)] = 0
    """Zero padding in pixels of the 7 x 7 convolution that predicts the heat maps."""


class FommDenseMotionParams(HourglassParams):
    """Dense motion network."""

    locality: Reach | None = None
    """Initial reach of a zone around each keypoint in which its motion dominates, relative to the root-mean-square
    radius of the keypoints. Position and shape of the zones are learned, and the network corrects the shares that they
    give. null: the network predicts the shares alone, as published."""
    background_logit: Logit | None = None
    """Initial logit of the background; 0 equals that of a motion at its keypoint or, without zones, anywhere. null: -4
    with zones, otherwise random and near 0, as published."""
    initial_occlusion: OpenFraction | None = None
    """Initial value of the occlusion map, in (0, 1); 1 keeps the warped source. null: random and near 0.5, as
    published."""


class FommGeneratorParams(BottleneckParams):
    """Generator: encoder, residual blocks, decoder."""

    estimate_occlusion_map: bool = True
    """Predict an occlusion map, which hides unusable parts of the warped source."""
    blend_source: bool = False
    """Blend the warped source into the prediction where the occlusion map keeps it, so that fine detail need not pass
    the decoder, which few clips or short training cannot teach. false: as published."""
    dense_motion_params: FommDenseMotionParams = FommDenseMotionParams()
    """Dense motion network."""


class DiscriminatorParams(Section):
    """Multi-scale patch discriminator."""

    scales: Scales = (1.0,)
    """Scales of the image, each with its own discriminator."""
    block_expansion: Channels = 32
    """Number of channels of the first level, doubled at each lower level."""
    max_features: Channels = 512
    """Largest number of channels of any level."""
    num_blocks: Levels = 4
    """Number of levels."""
    sn: bool = False
    """Use spectral normalisation."""
    use_kp: bool = False
    """Use the keypoints' heat maps as a further input of the discriminator."""

    @model_validator(mode="after")
    def _enough_channels(self) -> Self:
        check_channels(self)
        return self


class FommModelParams(ModelParams):
    """Settings of the networks."""

    family: Literal["fomm"]
    """First-order motion model (NeurIPS 2019), with the facial priors of MM 2021 and TIP 2024."""
    prior: Literal["none", "ewp", "awp"] = "none"
    """Facial prior: none, equally weighted (`ewp`, MM 2021) or adaptively weighted (`awp`, TIP 2024). With a prior,
    keypoints are 18 points of the face, or all 68 landmarks."""
    prior_params: PriorParams = PriorParams()
    """Maps of the facial prior, used unless `prior: none`."""
    align_corners: bool = True
    """`align_corners` of image sampling; published weights need false if trained with torch >= 1.3, otherwise true."""
    resize_align_corners: bool = True
    """`align_corners` of resizing deformation and occlusion map. All published weights need false, with which an
    identity deformation shifts the image by up to 1.5 pixels of 256."""
    common_params: FommCommonParams = FommCommonParams()
    """Options that several networks share."""
    kp_detector_params: KPDetectorParams = KPDetectorParams()
    """Keypoint detector."""
    generator_params: FommGeneratorParams = FommGeneratorParams()
    """Generator."""
    discriminator_params: DiscriminatorParams = DiscriminatorParams()
    """Discriminator, used if `train_params.loss_weights.generator_gan` is above 0."""


class FommLossWeights(PictureWeights):
    """Weights of the losses; 0 disables a loss."""

    generator_gan: LossWeight = 0.0
    """Weight of the adversarial loss; 0 trains without a discriminator."""
    discriminator_gan: LossWeight = 1.0
    """Weight of the loss of the discriminator."""
    feature_matching: FeatureWeights = (10.0, 10.0, 10.0, 10.0)
    """Weights of the feature-matching loss, one per level of the discriminator; [] disables it."""
    equivariance_value: LossWeight = 10.0
    """Weight of the equivariance of keypoints under random warps (without a prior only)."""
    equivariance_jacobian: LossWeight = 10.0
    """Weight of the equivariance of Jacobians under random warps."""
    motion: LossWeight = 0.0
    """Weight of the mean displacement in pixels, which keeps regions without visible motion at rest; 0 disables it."""


class FommTrainParams(PictureTrainParams):
    """Settings of `--mode train`."""

    lr_generator: LearningRate = 2e-4
    """Learning rate of the generator."""
    lr_discriminator: LearningRate = 2e-4
    """Learning rate of the discriminator."""
    lr_kp_detector: LearningRate = 2e-4
    """Learning rate of the keypoint detector; 0 freezes its weights."""
    lr_zones: LearningRate = 0.01
    """Learning rate of the keypoints' zones (`dense_motion_params.locality`), a few hundred parameters."""
    loss_weights: FommLossWeights = FommLossWeights()
    """Weights of the losses; 0 disables a loss."""


class FommConfig(Config):
    """Experiment of the family `fomm`."""

    model_params: FommModelParams
    """Settings of the networks."""
    train_params: FommTrainParams = FommTrainParams()
    """Settings of `--mode train`."""

    def combination_problems(self) -> list[str]:
        model, weights, problems = self.model_params, self.train_params.loss_weights, super().combination_problems()
        if model.prior != "none" and model.common_params.num_kp not in (18, 68):
            problems.append(
                "model_params.common_params.num_kp: expected 18 or 68, the points of a face, with a prior, got "
                f"{model.common_params.num_kp}"
            )
        levels = model.discriminator_params.num_blocks
        if weights.generator_gan and any(weights.feature_matching) and len(weights.feature_matching) != levels:
            problems.append(
                f"train_params.loss_weights.feature_matching: expected {levels} weights, one for each of "
                f"discriminator_params.num_blocks, got {len(weights.feature_matching)}"
            )
        return problems

    def size_problems(self, height: int, width: int) -> list[str]:
        frame, model, train = (height, width), self.model_params, self.train_params
        detector, generator = model.kp_detector_params, model.generator_params
        dense, judge = generator.dense_motion_params, model.discriminator_params
        batch = train.batch_size
        inner = "generator_params.dense_motion_params"
        problems = [
            *super().size_problems(height, width),
            *network_problems(
                "kp_detector_params", frame, detector.scale_factor, detector.num_blocks, batch_size=batch
            ),
            *network_problems(inner, frame, dense.scale_factor, dense.num_blocks, batch_size=batch),
            *network_problems("generator_params", frame, 1, generator.num_down_blocks, batch_size=batch),
            *heat_map_problems("kp_detector_params", frame, detector.scale_factor, detector.pad),
            *train.size_problems(height, width),
        ]
        if train.loss_weights.generator_gan:
            problems += discriminator_problems(frame, judge.scales, judge.num_blocks)
        return problems
