"""Configuration of the family `fomm`: first-order motion model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.experiment import Config, check_sizes
from config.family_sections import BottleneckParams, HourglassParams, PictureTrainParams, PictureWeights, PriorParams
from config.sections import (
    AsTuple,
    ModelParams,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Scales,
    Section,
)


class FommCommonParams(Section):
    """Options that several networks share."""

    num_kp: PositiveInt = 10
    """Number of keypoints; 18 or 68 with a facial prior."""
    num_channels: Literal[3] = 3
    """Number of colour channels."""
    estimate_jacobian: bool = True
    """Estimate a local affine map at every keypoint instead of a translation only."""


class KPDetectorParams(HourglassParams):
    """Keypoint detector."""

    temperature: PositiveFloat = 0.1
    """Temperature of the softmax of the heat maps; lower is sharper."""
    block_expansion: PositiveInt = 32
    """Number of channels of the first level, doubled at each lower level."""
    single_jacobian_map: bool = False
    """Predict one map of local affine motion for all keypoints instead of one per keypoint."""
    pad: NonNegativeInt = 0
    """Zero padding in pixels of the 7 x 7 convolution that predicts the heat maps."""


class FommDenseMotionParams(HourglassParams):
    """Dense motion network."""

    locality: PositiveFloat | None = None
    """Initial reach of a zone around each keypoint in which its motion dominates, relative to the root-mean-square
    radius of the keypoints. Position and shape of the zones are learned, and the network corrects the shares that they
    give. null: the network predicts the shares alone, as published."""
    background_logit: float | None = None
    """Initial logit of the background; 0 equals that of a motion at its keypoint or, without zones, anywhere. null: -4
    with zones, otherwise random and near 0, as published."""
    initial_occlusion: Annotated[float, Field(gt=0, lt=1)] | None = None
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
    block_expansion: PositiveInt = 32
    """Number of channels of the first level, doubled at each lower level."""
    max_features: PositiveInt = 512
    """Largest number of channels of any level."""
    num_blocks: PositiveInt = 4
    """Number of levels."""
    sn: bool = False
    """Use spectral normalisation."""
    use_kp: bool = False
    """Use the keypoints' heat maps as a further input of the discriminator."""


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

    generator_gan: NonNegativeFloat = 0.0
    """Weight of the adversarial loss; 0 trains without a discriminator."""
    discriminator_gan: NonNegativeFloat = 1.0
    """Weight of the loss of the discriminator."""
    feature_matching: Annotated[tuple[NonNegativeFloat, ...], AsTuple] = (10.0, 10.0, 10.0, 10.0)
    """Weights of the feature-matching loss, one per level of the discriminator; [] disables it."""
    equivariance_value: NonNegativeFloat = 10.0
    """Weight of the equivariance of keypoints under random warps (without a prior only)."""
    equivariance_jacobian: NonNegativeFloat = 10.0
    """Weight of the equivariance of Jacobians under random warps."""
    motion: NonNegativeFloat = 0.0
    """Weight of the mean displacement in pixels, which keeps regions without visible motion at rest; 0 disables it."""


class FommTrainParams(PictureTrainParams):
    """Settings of `--mode train`."""

    lr_generator: NonNegativeFloat = 2e-4
    """Learning rate of the generator."""
    lr_discriminator: NonNegativeFloat = 2e-4
    """Learning rate of the discriminator."""
    lr_kp_detector: NonNegativeFloat = 2e-4
    """Learning rate of the keypoint detector; 0 freezes its weights."""
    lr_zones: NonNegativeFloat = 0.01
    """Learning rate of the keypoints' zones (`dense_motion_params.locality`), a few hundred parameters."""
    loss_weights: FommLossWeights = FommLossWeights()
    """Weights of the losses; 0 disables a loss."""


class FommConfig(Config):
    """Experiment of the family `fomm`."""

    model_params: FommModelParams
    """Settings of the networks."""
    train_params: FommTrainParams = FommTrainParams()
    """Settings of `--mode train`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "FommConfig":
        model, generator = self.model_params, self.model_params.generator_params
        detector, dense = model.kp_detector_params, generator.dense_motion_params
        check_sizes(self, "kp_detector_params", detector.scale_factor, detector.num_blocks)
        check_sizes(self, "generator_params.dense_motion_params", dense.scale_factor, dense.num_blocks)
        check_sizes(self, "generator_params", 1, generator.num_down_blocks)
        if model.prior != "none" and model.common_params.num_kp not in (18, 68):
            raise ValueError(
                "model_params.common_params.num_kp: expected 18 or 68, the points of a face, with a prior, got "
                f"{model.common_params.num_kp}"
            )
        levels, weights = model.discriminator_params.num_blocks, self.train_params.loss_weights
        if weights.generator_gan and any(weights.feature_matching) and len(weights.feature_matching) != levels:
            raise ValueError(
                f"train_params.loss_weights.feature_matching: expected {levels} weights, one for each of "
                f"discriminator_params.num_blocks, got {len(weights.feature_matching)}"
            )
        return self
