"""Configuration of the family `mraa`: regions and their affine motion."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.experiment import Config
from config.family_sections import (
    AVDNetworkParams,
    BottleneckParams,
    HourglassParams,
    PictureTrainParams,
    PictureWeights,
    PriorParams,
)
from config.network_sizes import check_channels, heat_map_problems, network_problems, single_value_problems
from config.ranges import (
    Channels,
    Keypoints,
    LearningRate,
    Levels,
    Logit,
    LossWeight,
    OpenFraction,
    Reach,
    Temperature,
)
from config.sections import ModelParams, Section


class RegionPredictorParams(HourglassParams):
    """Region predictor."""

    temperature: Temperature = 0.1
    """Temperature of the softmax of the heat maps; lower is sharper."""
    block_expansion: Channels = 32
    """Number of channels of the first level, doubled at each lower level."""
    pca_based: bool = True
    """Compute affine frames from the covariances of the heat maps instead of by regression; overrides
    `estimate_affine: false`."""
    pad: Annotated[int, Field(ge=0, le=16)] = 3
    """Zero padding in pixels of the 7 x 7 convolution that predicts the heat maps; below 3 they are smaller than the
    network's map."""


class RegionBackgroundParams(Section):
    """Predictor of the background's motion."""

    block_expansion: Channels = 32
    """Number of channels of the first level, doubled at each lower level."""
    max_features: Channels = 1024
    """Largest number of channels of any level."""
    num_blocks: Levels = 5
    """Number of levels; each halves height and width."""
    bg_type: Literal["zero", "shift", "affine", "perspective"] = "affine"
    """Motion model of the background; `zero` keeps the background still."""

    @model_validator(mode="after")
    def _enough_channels(self) -> Self:
        check_channels(self)
        return self


class FlowPredictorParams(HourglassParams):
    """Pixel-wise flow predictor."""

    use_covar_heatmap: bool = True
    """Use heat maps with the covariance of the regions instead of round ones."""
    use_deformed_source: bool = True
    """Use the warped sources as a further input of the network."""
    estimate_occlusion_map: bool = True
    """Predict an occlusion map, which hides unusable parts of the warped source."""
    locality: Reach | None = None
    """Initial reach of a zone around each region in which its motion dominates, relative to the root-mean-square radius
    of the regions' centres. Position and shape of the zones are learned, and the network corrects the shares that they
    give. null: the network predicts the shares alone, as published."""
    background_logit: Logit | None = None
    """Initial logit of the background; 0 equals that of a region at its centre or, without zones, anywhere. null: -4
    with zones, otherwise random and near 0, as published."""
    initial_occlusion: OpenFraction | None = None
    """Initial value of the occlusion map, in (0, 1); 1 keeps the warped source. null: random and near 0.5, as
    published."""


class MraaAVDNetworkParams(AVDNetworkParams):
    """Network of `--mode train_avd` (animation via disentanglement)."""

    revert_axis_swap: bool = True
    """Remove the arbitrary sign of the principal axes from the network's input. The published code always does,
    independently of `model_params.revert_axis_swap`."""


class MraaGeneratorParams(BottleneckParams):
    """Generator: encoder, residual blocks, decoder."""

    skips: bool = True
    """Blend the warped features of every level, and the warped source, into the decoder's output."""
    pixelwise_flow_predictor_params: FlowPredictorParams = FlowPredictorParams()
    """Pixel-wise flow predictor."""


class MraaModelParams(ModelParams):
    """Settings of the networks."""

    family: Literal["mraa"]
    """Motion representations for articulated animation (CVPR 2021), with the facial prior of TIP 2024."""
    prior: Literal["none", "awp"] = "none"
    """Facial prior: none, or adaptively weighted maps (`awp`, TIP 2024), with regions at 18 points that action units
    move or at all 68 landmarks."""
    prior_regions: Literal["refined", "published"] = "refined"
    """Heat maps of regions with a prior. `refined`: maps of the prior, corrected by the network and normalised to sum
    1. `published`, for published weights: unchanged maps, points at pixel * 2 / width - 1; with `pca_based`, no learned
    weight then has any effect on the motion."""
    prior_params: PriorParams = PriorParams()
    """Maps of the facial prior, used unless `prior: none`."""
    align_corners: bool = True
    """`align_corners` of image sampling; published weights need false if trained with torch >= 1.3, otherwise true."""
    resize_align_corners: bool = True
    """`align_corners` of resizing deformation and occlusion map. All published weights need false, with which an
    identity deformation shifts the image by up to 1.5 pixels of 256."""
    num_regions: Keypoints = 10
    """Number of regions; 18 or 68 with `prior: awp`."""
    num_channels: Literal[3] = 3
    """Number of colour channels."""
    estimate_affine: bool = True
    """Estimate an affine frame of every region instead of a position only."""
    region_affine: Literal["symmetric", "principal"] = "symmetric"
    """Affine frame of a region with covariance C (`pca_based`): the symmetric root of C, which is smooth, or, as
    published, its principal axes, which follow a rotating region but also the noise of a round one."""
    revert_axis_swap: bool = True
    """Remove the arbitrary sign of the principal axes; no effect on symmetric roots, which have none."""
    relative_covar: Literal["moved", "driving"] = "moved"
    """Covariance of the heat maps in `mode: relative`: that of the moved region or, as published, of the driving
    region."""
    bg_predictor_params: RegionBackgroundParams = RegionBackgroundParams()
    """Predictor of the background's motion."""
    region_predictor_params: RegionPredictorParams = RegionPredictorParams()
    """Region predictor."""
    generator_params: MraaGeneratorParams = MraaGeneratorParams()
    """Generator."""
    avd_network_params: MraaAVDNetworkParams = MraaAVDNetworkParams()
    """Network of `--mode train_avd`."""


class MraaLossWeights(PictureWeights):
    """Weights of the losses; 0 disables a loss."""

    equivariance_shift: LossWeight = 10.0
    """Weight of the equivariance of region positions under random warps (without a prior only)."""
    equivariance_affine: LossWeight = 10.0
    """Weight of the equivariance of affine frames under random warps."""
    motion: LossWeight = 0.0
    """Weight of the mean displacement in pixels, which keeps regions without visible motion at rest; 0 disables it."""


class MraaTrainParams(PictureTrainParams):
    """Settings of `--mode train`."""

    lr: LearningRate = 2e-4
    """Learning rate of all networks."""
    lr_zones: LearningRate = 0.01
    """Learning rate of the regions' zones (`pixelwise_flow_predictor_params.locality`), a few hundred
    parameters."""
    loss_weights: MraaLossWeights = MraaLossWeights()
    """Weights of the losses; 0 disables a loss."""


class MraaConfig(Config):
    """Experiment of the family `mraa`."""

    model_params: MraaModelParams
    """Settings of the networks."""
    train_params: MraaTrainParams = MraaTrainParams()
    """Settings of `--mode train`."""

    def combination_problems(self) -> list[str]:
        model, problems = self.model_params, super().combination_problems()
        regions, drawing = model.region_predictor_params, model.generator_params
        flow = drawing.pixelwise_flow_predictor_params
        if model.prior == "awp" and model.num_regions not in (18, 68):
            problems.append(
                f"model_params.num_regions: expected 18 or 68, the points of `prior: awp`, got {model.num_regions}"
            )
        if model.prior == "awp" and regions.pad != 3:
            problems.append(
                f"model_params.region_predictor_params.pad: expected 3 with `prior: awp`, got {regions.pad}"
            )
        if flow.use_covar_heatmap and not (model.estimate_affine or regions.pca_based):
            problems.append(
                "model_params.generator_params.pixelwise_flow_predictor_params.use_covar_heatmap: expected false for "
                "regions without an affine frame (`estimate_affine` and `pca_based` false)"
            )
        if drawing.skips and not flow.estimate_occlusion_map:
            problems.append(
                "model_params.generator_params.skips: expected false without `estimate_occlusion_map`, because the "
                "warped source would replace what the decoder draws"
            )
        return problems

    def size_problems(self, height: int, width: int) -> list[str]:
        frame, model, train = (height, width), self.model_params, self.train_params
        regions, drawing = model.region_predictor_params, model.generator_params
        flow, batch = drawing.pixelwise_flow_predictor_params, train.batch_size
        inner = "generator_params.pixelwise_flow_predictor_params"
        background = model.bg_predictor_params
        lowest = height >> background.num_blocks, width >> background.num_blocks
        return [
            *super().size_problems(height, width),
            *(() if background.bg_type == "zero" else single_value_problems("bg_predictor_params", lowest, batch)),
            *network_problems(
                "region_predictor_params", frame, regions.scale_factor, regions.num_blocks, batch_size=batch
            ),
            *network_problems(inner, frame, flow.scale_factor, flow.num_blocks, batch_size=batch),
            *network_problems("generator_params", frame, 1, drawing.num_down_blocks, batch_size=batch),
            *heat_map_problems("region_predictor_params", frame, regions.scale_factor, regions.pad),
            *train.size_problems(height, width),
        ]
