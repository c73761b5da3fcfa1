"""Configuration sections of each model family: its networks (`model_params`) and its losses (`train_params`)."""

from math import log2
from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.sections import (
    AsTuple,
    FilePath,
    Fraction,
    ModelParams,
    NonNegativeFloat,
    NonNegativeInt,
    PerceptualWeights,
    PositiveFloat,
    PositiveInt,
    Scales,
    Section,
    TrainParams,
)

Probability = Annotated[float, Field(ge=0, lt=1)]


class HourglassParams(Section):
    block_expansion: PositiveInt = 64
    """Channels of the first level; each level below has twice as many."""
    max_features: PositiveInt = 1024
    """Upper limit of the channels of a level."""
    num_blocks: PositiveInt = 5
    """Levels, each half the size of the one above."""
    scale_factor: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Size at which the network works, as a part of the image: 1, 0.5, 0.25, 0.125, ..."""

    @model_validator(mode="after")
    def _power_of_two(self) -> "HourglassParams":
        if log2(self.scale_factor) % 1:
            raise ValueError(f"scale_factor: expected a power of two (1, 0.5, 0.25, ...), got {self.scale_factor}")
        return self


class PictureWeights(Section):
    """Terms of the loss that compare the prediction with the driving frame."""

    perceptual: PerceptualWeights = (10.0, 10.0, 10.0, 10.0, 10.0)
    """Weights of the VGG-19 layers relu1_1, relu2_1, relu3_1, relu4_1, relu5_1; [] leaves VGG-19 out."""
    pixel: NonNegativeFloat = 0.0
    """Weight of the mean absolute difference of the pictures, on every scale."""
    gradient: NonNegativeFloat = 0.0
    """Weight of the mean absolute difference of their horizontal and vertical differences, on every scale."""

    @model_validator(mode="after")
    def _five_layers(self) -> "PictureWeights":
        if len(self.perceptual) > 5:
            raise ValueError(f"perceptual: expected at most 5 weights, one a layer, got {len(self.perceptual)}")
        return self


# --- tps ------------------------------------------------------------------------------------------------------------


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


class AVDNetworkParams(Section):
    id_bottle_size: PositiveInt = 128
    """Size of the code of whose face it is."""
    pose_bottle_size: PositiveInt = 128
    """Size of the code of how it moves."""


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


class TpsTrainParams(TrainParams):
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


# --- warp -----------------------------------------------------------------------------------------------------------


class WarpModelParams(ModelParams):
    family: Literal["warp"]
    """One thin-plate spline through the 68 landmarks; no parameters, nothing to train."""
    smoothing: NonNegativeFloat = 0.0
    """How far the spline may miss the landmarks for the sake of smoothness, in units of its kernel; 0 hits them."""
    forehead: PositiveFloat | None = 0.4
    """Distance above the brows, in eye distances, of control points that move with the head alone, as do some around
    it; null: none, and the motion of brows and jaw goes on, growing, into hair and background."""
    steps: PositiveInt = 1
    """Splines in a row, each for a part of the landmarks' way: more keep the picture from folding where lids close, at
    so many times the cost."""


class PriorParams(Section):
    """How a map of a facial prior falls off around its point; the defaults are the published values."""

    distance: Literal["l1", "l2"] | None = None
    """Distance to the point; null: l1 with `prior: ewp`, l2 with `awp`."""
    kernel: Literal["root", "gaussian"] = "root"
    """`root` is exp(-sqrt(d) / (2 sigma^2)), `gaussian` exp(-d^2 / (2 sigma^2)), d in 64ths of the frame."""
    sigma: PositiveFloat = 0.75
    """See `kernel`."""
    threshold: Literal["mean", "none"] = "mean"
    """`mean` cuts a map to zero where it is below its mean, `none` leaves it whole."""
    convention: Literal["centres", "published"] = "centres"
    """Where points lie: `centres` as everywhere here; `published` for weights of the FPB code bases, whose points are
    off by a pixel of the map."""


# --- fomm -----------------------------------------------------------------------------------------------------------


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


class FommGeneratorParams(Section):
    block_expansion: PositiveInt = 64
    """Channels of the first level; each level below has twice as many."""
    max_features: PositiveInt = 512
    """Upper limit of the channels of a level."""
    num_down_blocks: PositiveInt = 2
    """Levels below the first."""
    num_bottleneck_blocks: NonNegativeInt = 6
    """Residual blocks at the lowest level."""
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


class FommTrainParams(TrainParams):
    lr_generator: NonNegativeFloat = 2e-4
    """Learning rate of the generator."""
    lr_discriminator: NonNegativeFloat = 2e-4
    """Learning rate of the discriminator."""
    lr_kp_detector: NonNegativeFloat = 2e-4
    """Learning rate of the keypoint detector; 0 freezes its weights."""
    lr_zones: NonNegativeFloat = 0.01
    """Learning rate of the keypoints' zones (`dense_motion_params.locality`)."""
    loss_weights: FommLossWeights = FommLossWeights()


# --- mraa -----------------------------------------------------------------------------------------------------------


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


class MraaGeneratorParams(Section):
    block_expansion: PositiveInt = 64
    """Channels of the first level; each level below has twice as many."""
    max_features: PositiveInt = 512
    """Upper limit of the channels of a level."""
    num_down_blocks: PositiveInt = 2
    """Levels below the first."""
    num_bottleneck_blocks: NonNegativeInt = 6
    """Residual blocks at the lowest level."""
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


class MraaTrainParams(TrainParams):
    lr: NonNegativeFloat = 2e-4
    """Learning rate of every network."""
    lr_zones: NonNegativeFloat = 0.01
    """Learning rate of the regions' zones (`pixelwise_flow_predictor_params.locality`), a few hundred numbers."""
    loss_weights: MraaLossWeights = MraaLossWeights()
