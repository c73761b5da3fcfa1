"""Configuration sections that every family shares: data, training, animation, reconstruction, training images.

Each field's docstring gives its meaning, unit and range; pydantic puts them into `schema.json`, from which editors
complete and explain the YAML files.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from config.ranges import (
    AsTuple,
    BatchSize,
    Colormap,
    FilePath,
    Fraction,
    FrameRate,
    FrameSide,
    JitterStrength,
    LossWeight,
    Magnification,
    Milestones,
    NonNegativeInt,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    PositiveLearningRate,
    Repeats,
    Scales,
    Seed,
    WeightsName,
    Workers,
)


class Section(BaseModel):
    """Base of every section: unknown keys, NaN and infinity are errors, values are never converted silently, and
    objects are immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def _number_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class FlipParam(Section):
    horizontal_flip: bool = False
    """Mirror both frames of a pair with probability 1/2; landmarks and the sides of action units are mirrored, too."""
    time_flip: bool = False
    """Swap source and driving frame with probability 1/2; the action-unit difference changes its sign."""


class JitterParam(Section):
    brightness: JitterStrength = 0.0
    """Factor drawn from [1 - x, 1 + x], the same for both frames of a pair."""
    contrast: JitterStrength = 0.0
    """Factor drawn from [1 - x, 1 + x], the same for both frames of a pair."""
    saturation: JitterStrength = 0.0
    """Factor drawn from [1 - x, 1 + x], the same for both frames of a pair."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Hue shift drawn from [-x, x]; 1 is a full turn of the colour circle."""


class RotationParam(Section):
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Angle drawn from [-x, x] degrees."""


class ResizeParam(Section):
    ratio: Annotated[tuple[Magnification, Magnification], AsTuple] = (0.75, 1.25)
    """Smallest and largest magnification about the centre; the frame size stays the same."""

    @model_validator(mode="after")
    def _ordered(self) -> "ResizeParam":
        if self.ratio[0] > self.ratio[1]:
            raise ValueError(f"expected smallest <= largest, got {list(self.ratio)}")
        return self


class CropParam(Section):
    size: Annotated[tuple[FrameSide, FrameSide], AsTuple]
    """Height and width, in pixels, of the random crop, which is enlarged to the whole frame."""


class AugmentationParams(Section):
    flip_param: FlipParam | None = None
    """Mirroring, and swapping of the two frames."""
    jitter_param: JitterParam | None = None
    """Colour jitter."""
    rotation_param: RotationParam | None = None
    """Rotation about the centre."""
    resize_param: ResizeParam | None = None
    """Magnification about the centre."""
    crop_param: CropParam | None = None
    """Random crop."""


class DatasetParams(Section):
    root_dir: FilePath | None = None
    """Folder with `train/` and `test/`, or with the clips themselves; relative to the working directory."""
    frame_shape: Annotated[tuple[FrameSide, FrameSide, Literal[3]], AsTuple] | None = (256, 256, 3)
    """Height, width and channels to which frames are resized; null keeps their size, which must then be equal."""
    id_sampling: bool = False
    """Sample by identity: clips named `ID#REST` with the same ID count as one, and one of them is drawn each time."""
    pairs_list: FilePath | None = None
    """CSV file with the columns `source,driving` for `animate`; null animates every combination of the test clips."""
    keypoint_dir: FilePath | None = None
    """Folder of 68-landmark files, CLIP.npy, .csv or .pts (also .npz, .json, .txt, .xlsx), in pixels of the clip's own
    frames; null detects them."""
    landmark_backend: Literal["auto", "mesh", "face-alignment"] = "auto"
    """Detector of landmarks if `keypoint_dir` is null. `mesh`, which `auto` takes, is installed with the program and
    needs no network access; `face-alignment` downloads 190 MB at its first use."""
    landmarks: Literal["auto", "file", "track"] = "auto"
    """`file`: one row per frame, as in the file. `track`: the first row, tracked from there by sub-pixel optical flow.
    `auto`: `file` if the file has a row for every frame and these jitter less than the face moves, else `track`."""
    au_dir: FilePath | None = None
    """Folder of action-unit tables of OpenFace, py-feat or LibreFace: CLIP.csv (also .txt, .xlsx), or
    SPLIT/CLIP/merged_AU.csv as in MEGC2022-Generation. Rows belong to frames by the column `frame`: frames counted by
    the tool, or the numbers of the clip's frame files; a table without it holds one row per frame. Probabilities
    (py-feat, OpenFace 3) and detections are used as intensities, with a warning."""
    au_min_confidence: Fraction = 0.0
    """Lowest usable `confidence` (OpenFace) or `FaceScore` (py-feat) of a row; rows with `success` 0 are never used."""
    au_max_gap: NonNegativeInt = 0
    """Longest gap, in frames without a usable row, that is interpolated linearly (and counted in the log); longer gaps
    and gaps at either end of the clip are an error."""
    au_unknown: Literal["error", "zero"] = "error"
    """Action units that a table's tool does not estimate (5 of 17 for LibreFace, 9 for OpenFace 3): an error, or
    intensity 0."""
    au_extractor: Literal["py-feat"] | None = None
    """Estimator of action units if `au_dir` is null: the package py-feat, which must be installed (`pip install
    "py-feat>=2"`) and returns probabilities. null: clips without tables are an error."""
    au_noise: Fraction = 0.0
    """Half-width of the uniform noise added to the action units (0 to 1) of both frames of a training pair, equal for
    both sides of the face; MEGC2022-Generation uses 0.02."""
    fps: FrameRate | None = None
    """Frame rate of frame folders and strips, in frames per second; video files carry their own."""
    test_fraction: OpenFraction = 0.2
    """Fraction of the identities that forms the test split if `root_dir` has no `train/` and `test/`."""
    split_seed: Seed = 0
    """Seed of that split."""
    on_bad_clip: Literal["error", "skip"] = "error"
    """Clips that cannot be used (unreadable frame, no landmarks) stop the run, or are left out and counted."""
    cache_dir: FilePath | None = Path(".cache/frames")
    """Folder of the frame cache, which keeps decoded frames; null decodes them again in every run."""
    source_frame: Literal["any", "first"] = "any"
    """Source of a training pair: any frame, or the first of the clip, from which a micro-expression moves most."""
    remove_head_motion: bool = False
    """Remove the rigid head motion (a similarity of the landmarks, required for every model) between the two frames of
    a training pair."""
    augmentation_params: AugmentationParams = AugmentationParams()
    """Random augmentation of training pairs, applied on the training device."""

    @property
    def detection_backend(self) -> Literal["mesh", "face-alignment"]:
        """`landmark_backend`, or what `auto` takes."""
        return "mesh" if self.landmark_backend == "auto" else self.landmark_backend


class ModelParams(Section):
    family: str
    """Name of the model family."""


class TransformParams(Section):
    sigma_affine: Fraction = 0.05
    """Standard deviation of the affine part of the random warp, in normalised units (1 = half the frame width)."""
    sigma_tps: Fraction = 0.005
    """Standard deviation of the spline coefficients of the random warp."""
    points_tps: Annotated[int, Field(ge=2, le=32)] = 5
    """Control points of the random warp along each axis."""


class TrainParams(Section):
    """Settings of the training loop that all families share."""

    num_epochs: PositiveInt = 100
    """Total epochs, including those before a resume."""
    num_repeats: Repeats = 1
    """Passes over the clips per epoch, each with newly drawn pairs of frames."""
    epoch_milestones: Milestones = (70, 90)
    """Epochs at which every learning rate is divided by ten."""
    batch_size: BatchSize = 8
    """Batch size per device."""
    dataloader_workers: Workers = 4
    """Worker processes of the data loader; 0 loads in the training process."""
    checkpoint_freq: PositiveInt = 10
    """Epochs between checkpoints; the last epoch is always saved."""
    checkpoint_minutes: PositiveFloat | None = 30.0
    """Minutes between checkpoints within an epoch, each in the place of the one before; null writes none."""
    keep_checkpoints: PositiveInt | None = None
    """Number of newest checkpoints to keep; null keeps all."""
    evaluation_freq: PositiveInt | None = None
    """Epochs between evaluations: test clips are reconstructed from their first frame, and motion and action units
    judged as by `--mode evaluate`; null never evaluates. Needs landmarks of the test clips."""
    evaluation_clips: PositiveInt = 4
    """Test clips of an evaluation, from the start of the split."""
    best_metric: Literal["motion_error", "motion_corr", "au_error", "au_corr", "difference_error"] = "motion_error"
    """Figure by which `best-checkpoint.pth.tar` is kept beside the numbered checkpoints."""
    precision: Annotated[Literal["32", "bf16-mixed", "16-mixed"], BeforeValidator(_number_to_text)] = "32"
    """Precision of the image path; keypoints, splines, masks and sampling grids are 32 bit in every mode."""
    use_sync_bn: bool = True
    """Synchronise batch normalisation over all devices if more than one trains."""
    num_nodes: PositiveInt = 1
    """Number of machines (nodes), started by torchrun or Slurm."""
    scales: Scales = (1.0, 0.5, 0.25, 0.125)
    """Scales of the image pyramid on which images are compared."""
    perceptual_network: WeightsName = "imagenet"
    """Weights of the VGG-19 of the perceptual loss: `imagenet` (torchvision's), a file with those, or `random`."""
    transform_params: TransformParams = TransformParams()
    """Random warp of the equivariance losses."""

    @property
    def needs_vgg19(self) -> bool:
        """True if a loss compares features of VGG-19; families with such a loss override this."""
        return False

    @property
    def au_estimator_file(self) -> Path | None:
        """Checkpoint of the action-unit estimator if a loss uses it; families with such a loss override this."""
        return None


class TrainAVDParams(Section):
    """`--mode train_avd`: the AVD network, which transfers keypoint motion from one identity to another."""

    num_epochs: PositiveInt = 100
    """Total epochs."""
    num_repeats: Repeats = 1
    """Passes over the clips per epoch."""
    batch_size: BatchSize = 256
    """Batch size per device; at least 2, because the network uses batch normalisation."""
    dataloader_workers: Workers = 4
    """Worker processes of the data loader."""
    checkpoint_freq: PositiveInt = 10
    """Epochs between checkpoints."""
    checkpoint_minutes: PositiveFloat | None = 30.0
    """Minutes between checkpoints within an epoch, each in the place of the one before; null writes none."""
    epoch_milestones: Milestones = (70, 90)
    """Epochs at which the learning rate is divided by ten."""
    lr: PositiveLearningRate = 1e-3
    """Learning rate of Adam."""
    lambda_shift: LossWeight = 1.0
    """Weight of the keypoint error."""
    lambda_affine: LossWeight = 1.0
    """Weight of the affine error (family `mraa` only)."""
    random_scale: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """The driving keypoints are scaled per axis by a factor from [1 - x, 1 + x]."""


class TrainAUParams(Section):
    """`--mode train_au`: the action-unit estimator, for the loss `relative_au`."""

    num_epochs: PositiveInt = 20
    """Total epochs."""
    num_repeats: Repeats = 4
    """Passes over the clips per epoch."""
    batch_size: BatchSize = 16
    """Batch size per device."""
    dataloader_workers: Workers = 4
    """Worker processes of the data loader."""
    checkpoint_freq: PositiveInt = 10
    """Epochs between checkpoints."""
    checkpoint_minutes: PositiveFloat | None = 30.0
    """Minutes between checkpoints within an epoch, each in the place of the one before; null writes none."""
    keep_checkpoints: PositiveInt | None = None
    """Number of newest checkpoints to keep; null keeps all."""
    epoch_milestones: Milestones = (12, 17)
    """Epochs at which every learning rate is divided by ten."""
    lr: PositiveLearningRate = 0.01
    """Learning rate of shading and weights; three times as high for motion, a tenth for the intensity network."""


MovementScaling = Literal["similarity", "hull", "none"]


class NormalizationParams(Section):
    adapt_movement_scale: bool = True
    """Adapt relative movement to the size of the source face; false adds the driving movement unchanged."""
    movement_scale: Literal["similarity", "hull"] = "similarity"
    """Method of `adapt_movement_scale`. `similarity`: scale and rotation of the least-squares similarity from the
    driving face at rest to the source face. `hull`, as published: root of the ratio of the areas of the keypoints'
    convex hulls, without rotation."""
    use_relative_movement: bool | None = None
    """Published spelling of `mode`: true is `relative`, false is `standard`."""
    use_relative_jacobian: bool = True
    """Use local affine motion relative to the first driving frame, too (keypoints with Jacobians only)."""

    @property
    def scaling(self) -> MovementScaling:
        """Method by which relative movement is adapted to the source face."""
        return self.movement_scale if self.adapt_movement_scale else "none"


class AnimateParams(Section):
    mode: Literal["relative", "standard", "avd"] = "relative"
    """`relative` adds the change of the driving keypoints since the first frame to the source keypoints; `standard`
    uses the driving keypoints directly; `avd` disentangles shape and motion with the network of `train_avd`."""
    normalization_params: NormalizationParams = NormalizationParams()
    """Details of relative movement."""
    remove_head_motion: Literal["auto"] | bool = "auto"
    """Remove the rigid head motion (a similarity per frame) from the driving landmarks before they are applied, so that
    the expression moves and nothing else. `auto`: true where clips have landmarks and `mode` is `relative`."""
    motion: Literal["landmarks", "flow"] = "landmarks"
    """Motion that is applied: `landmarks` uses the motion of the keypoints, `flow` the optical flow of the driving
    clip, registered to the source face by the landmarks (`mode: relative` only), which also covers cheeks, forehead and
    chin; outside the face the image rests, or moves with the head unless `remove_head_motion`."""
    num_pairs: PositiveInt | None = None
    """Maximum number of pairs, from the start of the list; null animates all."""
    batch_size: BatchSize = 8
    """Frames per batch."""
    fast_error: Annotated[float, Field(ge=0, le=0.1)] = 0.01
    """Bound on the error of faster decoding: energy of the difference from exact frames, relative to that of their
    change since the first frame. On the CPU, in families with an inpainting network, only tiles of a frame that have
    changed are decoded, as many as this bound needs; it is measured in every clip. 0 decodes every frame exactly."""
    format: Literal[".mp4", ".gif", ".png"] = ".mp4"
    """Format of the video written beside the PNG frames; `.png` writes no video."""
    crf: Annotated[int, Field(ge=0, le=10)] = 8
    """libx264 constant rate factor of .mp4 (0 is lossless); above 10, motion of one pixel is lost."""

    @model_validator(mode="after")
    def _one_mode(self) -> "AnimateParams":
        relative = self.normalization_params.use_relative_movement
        if relative is not None and self.mode != "avd" and relative != (self.mode == "relative"):
            raise ValueError(
                "expected mode and normalization_params.use_relative_movement to agree, "
                f"got {self.mode!r} and {relative}"
            )
        return self


class ReconstructionParams(Section):
    num_videos: PositiveInt | None = None
    """Maximum number of test clips; null reconstructs all."""
    batch_size: BatchSize = 8
    """Frames per batch."""
    format: Literal[".mp4", ".gif", ".png"] = ".mp4"
    """Format of the video written beside the PNG frames; `.png` writes no video."""


class VisualizerParams(Section):
    kp_size: Annotated[int, Field(gt=0, le=100)] = 2
    """Radius of a drawn keypoint, in pixels."""
    draw_border: bool = True
    """Draw a line between the images of the grid."""
    colormap: Colormap = "gist_rainbow"
    """Matplotlib colormap of the keypoints."""
