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
    num_kp: PositiveInt = 10
    """Keypoints."""
    num_channels: Literal[3] = 3
    """Colour channels."""
    estimate_jacobian: bool = True
    """A local affine map at every keypoint instead of a shift alone."""


class KPDetectorParams(HourglassParams):
    temperature: PositiveFloat = 0.1
    """Divides the logits of the heat maps; lower is sharper."""
    block_expansion: PositiveInt = 32
    """Channels of the first level; each level below has twice as many."""
    single_jacobian_map: bool = False
    """One map of local affine motion for all keypoints."""
    pad: NonNegativeInt = 0
    """Zero padding of the heat-map convolution (kernel 7)."""


class FommDenseMotionParams(HourglassParams):
    kp_variance: PositiveFloat = 0.01
    """Variance of the keypoint heat maps, in squared half frame widths."""
    locality: PositiveFloat | None = None
    """Initial reach of a zone around each keypoint in which its motion prevails, in root-mean-square radii of the
    keypoints; position and shape of the zones are learned, and the network corrects the shares that they
    give. null: the network finds the shares alone, as published."""
    background_logit: float | None = None
    """Initial share of the background as a logit: 0 is that of a motion at its keypoint, or without zones anywhere.
    null: -4 beside zones, else about that of one keypoint, as published."""
    initial_occlusion: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Value with which the occlusion map starts (1 keeps the warped source). null: about one half, as published."""


class FommGeneratorParams(BottleneckParams):
    estimate_occlusion_map: bool = True
    """Predict where the warped source is of no use."""
    blend_source: bool = False
    """Mix the warped source itself into the picture where the occlusion map keeps it: detail does not have to pass the
    decoder, which minutes or few clips cannot teach. false: as published."""
    dense_motion_params: FommDenseMotionParams = FommDenseMotionParams()
    """Dense motion network."""


class DiscriminatorParams(Section):
    scales: Scales = (1.0,)
    """Image sizes that are judged, each by a discriminator of its own."""
    block_expansion: PositiveInt = 32
    """Channels of the first level."""
    max_features: PositiveInt = 512
    """Upper limit of the channels of a level."""
    num_blocks: PositiveInt = 4
    """Levels."""
    sn: bool = False
    """Spectral normalisation."""
    use_kp: bool = False
    """Show the keypoints' heat maps to the discriminator."""


class FommModelParams(ModelParams):
    family: Literal["fomm"]
    """First-order motion model (NeurIPS 2019), with the facial priors of MM 2021 and TIP 2024."""
    prior: Literal["none", "ewp", "awp"] = "none"
    """Facial prior map: none, equally weighted (MM 2021), adaptively weighted (TIP 2024). With one, keypoints are 18
    points of the face, or all 68 landmarks."""
    prior_params: PriorParams = PriorParams()
    """Maps of the facial prior."""
    align_corners: bool = True
    """Grid convention of picture sampling; weights trained with torch >= 1.3 need false, older ones true."""
    resize_align_corners: bool = True
    """Grid convention of resizing deformation and occlusion map; all published weights need false, with which a
    deformation that moves nothing shifts the picture by up to 1.5 pixels of 256."""
    common_params: FommCommonParams = FommCommonParams()
    kp_detector_params: KPDetectorParams = KPDetectorParams()
    generator_params: FommGeneratorParams = FommGeneratorParams()
    discriminator_params: DiscriminatorParams = DiscriminatorParams()


class FommLossWeights(PictureWeights):
    generator_gan: NonNegativeFloat = 0.0
    """Weight of the adversarial loss; 0 trains without a discriminator."""
    discriminator_gan: NonNegativeFloat = 1.0
    """Weight of the discriminator's own loss."""
    feature_matching: Annotated[tuple[NonNegativeFloat, ...], AsTuple] = (10.0, 10.0, 10.0, 10.0)
    """Weights of the discriminator's levels in the feature-matching loss."""
    equivariance_value: NonNegativeFloat = 10.0
    """Weight of the keypoints' equivariance under random warps."""
    equivariance_jacobian: NonNegativeFloat = 10.0
    """Weight of the Jacobians' equivariance under random warps."""
    motion: NonNegativeFloat = 0.0
    """Weight of the mean length of the motion in pixels: keeps what gives no hint of motion at rest."""


class FommTrainParams(PictureTrainParams):
    lr_generator: NonNegativeFloat = 2e-4
    """Learning rate of the generator."""
    lr_discriminator: NonNegativeFloat = 2e-4
    """Learning rate of the discriminator."""
    lr_kp_detector: NonNegativeFloat = 2e-4
    """Learning rate of the keypoint detector; 0 freezes its weights."""
    lr_zones: NonNegativeFloat = 0.01
    """Learning rate of the keypoints' zones (`dense_motion_params.locality`)."""
    loss_weights: FommLossWeights = FommLossWeights()


class FommConfig(Config):
    model_params: FommModelParams
    """Networks."""
    train_params: FommTrainParams = FommTrainParams()
    """`--mode train`."""

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
