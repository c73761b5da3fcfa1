"""Configuration of the family `mraa`: regions and their affine motion."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.experiment import Config, check_sizes
from config.family_sections import (
    AVDNetworkParams,
    BottleneckParams,
    HourglassParams,
    PictureTrainParams,
    PictureWeights,
    PriorParams,
)
from config.sections import (
    ModelParams,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
)


class RegionPredictorParams(HourglassParams):
    temperature: PositiveFloat = 0.1
    """Divides the logits of the heat maps; lower is sharper."""
    block_expansion: PositiveInt = 32
    """Channels of the first level; each level below has twice as many."""
    pca_based: bool = True
    """Affine frames from the covariances of the heat maps, whatever `estimate_affine` says, instead of regression."""
    fast_svd: bool = False
    """Accepted for published files; the axes are computed in closed form."""
    pad: NonNegativeInt = 3
    """Zero padding of the heat-map convolution (kernel 7); below 3 the heat maps are smaller than the frame."""


class RegionBackgroundParams(Section):
    block_expansion: PositiveInt = 32
    """Channels of the first level."""
    max_features: PositiveInt = 1024
    """Upper limit of the channels of a level."""
    num_blocks: PositiveInt = 5
    """Levels."""
    bg_type: Literal["zero", "shift", "affine", "perspective"] = "affine"
    """Background movement."""


class FlowPredictorParams(HourglassParams):
    region_var: PositiveFloat = 0.01
    """Variance of round heat maps, in squared half frame widths."""
    use_covar_heatmap: bool = True
    """Heat maps with the shape of the regions instead of round ones."""
    use_deformed_source: bool = True
    """Show the warped source to the network."""
    estimate_occlusion_map: bool = True
    """Predict where the warped source is of no use."""
    locality: PositiveFloat | None = None
    """Initial reach of a zone around each region in which its motion prevails, in root-mean-square radii of all
    places; position and shape of the zones are learned, and the network corrects the shares that they give. null: the
    network finds the shares alone, as published."""
    background_logit: float | None = None
    """Initial share of the background as a logit: 0 is that of a region at its centre, or without zones anywhere. null:
    -4 beside zones, else about that of one region, as published."""
    initial_occlusion: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Value with which the occlusion map starts (1 keeps the warped source). null: about one half, as published."""


class MraaAVDNetworkParams(AVDNetworkParams):
    revert_axis_swap: bool = True
    """Undo the arbitrary sign of the principal axes before the network sees them. The published code always does,
    whatever `model_params.revert_axis_swap` says."""


class MraaGeneratorParams(BottleneckParams):
    skips: bool = True
    """Blend the warped features of every level, and the warped source, into what the decoder draws."""
    pixelwise_flow_predictor_params: FlowPredictorParams = FlowPredictorParams()


class MraaModelParams(ModelParams):
    family: Literal["mraa"]
    """Motion representations for articulated animation (CVPR 2021), with the facial prior of TIP 2024."""
    prior: Literal["none", "awp"] = "none"
    """Facial prior: none, or adaptively weighted maps (TIP 2024): regions lie at 18 points that action units move, or
    at all 68 landmarks."""
    prior_regions: Literal["refined", "published"] = "refined"
    """How regions follow from the prior. `refined`: heat maps are those of the prior, corrected by the network, of sum
    one. `published`, for weights trained so: the maps as they are, points at pixel * 2 / width - 1; with `pca_based` no
    learned weight reaches the motion then."""
    prior_params: PriorParams = PriorParams()
    """Maps of the facial prior."""
    align_corners: bool = True
    """Grid convention of picture sampling; weights trained with torch >= 1.3 need false, older ones true."""
    resize_align_corners: bool = True
    """Grid convention of resizing deformation and occlusion map; all published weights need false, with which a
    deformation that moves nothing shifts the picture by up to 1.5 pixels of 256."""
    num_regions: PositiveInt = 10
    """Regions."""
    num_channels: Literal[3] = 3
    """Colour channels."""
    estimate_affine: bool = True
    """An affine map for every region instead of a shift alone."""
    region_affine: Literal["symmetric", "principal"] = "symmetric"
    """Affine frame of a region with covariance C (`pca_based`): the symmetric root of C, which is smooth, or, as
    published, its principal axes, which follow a turning region but turn with every noise of a round one."""
    revert_axis_swap: bool = True
    """Undo the arbitrary sign of the principal axes; symmetric roots have none."""
    relative_covar: Literal["moved", "driving"] = "moved"
    """Heat maps of `mode: relative` have the shape of the region that moves, or, as published, that of the driving
    one."""
    bg_predictor_params: RegionBackgroundParams = RegionBackgroundParams()
    region_predictor_params: RegionPredictorParams = RegionPredictorParams()
    generator_params: MraaGeneratorParams = MraaGeneratorParams()
    avd_network_params: MraaAVDNetworkParams = MraaAVDNetworkParams()
    """Network of `--mode train_avd`."""


class MraaLossWeights(PictureWeights):
    equivariance_shift: NonNegativeFloat = 10.0
    """Weight of the regions' equivariance under random warps (without a prior, which gives their places)."""
    equivariance_affine: NonNegativeFloat = 10.0
    """Weight of their affine maps' equivariance."""
    motion: NonNegativeFloat = 0.0
    """Weight of the mean length of the motion in pixels: keeps what gives no hint of motion at rest."""


class MraaTrainParams(PictureTrainParams):
    lr: NonNegativeFloat = 2e-4
    """Learning rate of every network."""
    lr_zones: NonNegativeFloat = 0.01
    """Learning rate of the regions' zones (`pixelwise_flow_predictor_params.locality`), a few hundred numbers."""
    loss_weights: MraaLossWeights = MraaLossWeights()


class MraaConfig(Config):
    model_params: MraaModelParams
    """Networks."""
    train_params: MraaTrainParams = MraaTrainParams()
    """`--mode train`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "MraaConfig":
        model = self.model_params
        regions, drawing = model.region_predictor_params, model.generator_params
        flow = drawing.pixelwise_flow_predictor_params
        check_sizes(self, "region_predictor_params", regions.scale_factor, regions.num_blocks)
        check_sizes(self, "pixelwise_flow_predictor_params", flow.scale_factor, flow.num_blocks)
        check_sizes(self, "generator_params", 1, drawing.num_down_blocks)
        if model.prior == "awp" and model.num_regions not in (18, 68):
            raise ValueError(
                f"model_params.num_regions: expected 18 or 68, the points of `prior: awp`, got {model.num_regions}"
            )
        if model.prior == "awp" and regions.pad != 3:
            raise ValueError(
                f"model_params.region_predictor_params.pad: expected 3 with `prior: awp`, got {regions.pad}"
            )
        if flow.use_covar_heatmap and not (model.estimate_affine or regions.pca_based):
            raise ValueError(
                "model_params.generator_params.pixelwise_flow_predictor_params.use_covar_heatmap: expected false for "
                "regions without an affine frame (`estimate_affine` and `pca_based` false)"
            )
        if drawing.skips and not flow.estimate_occlusion_map:
            raise ValueError(
                "model_params.generator_params.skips: expected false without `estimate_occlusion_map`, because the "
                "warped source would replace what the decoder draws"
            )
        return self
