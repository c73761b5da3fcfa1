"""Configuration sections that every family shares: data, training, animation, reconstruction, pictures.

Each field's docstring gives its meaning, unit and range; pydantic puts them into `schema.json`, from which editors
complete and explain the YAML files.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are never converted silently, objects never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def _list_to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _text_to_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and value else value


def _number_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AsTuple = BeforeValidator(_list_to_tuple, json_schema_input_type=list[Any])
FilePath = Annotated[Path, BeforeValidator(_text_to_path, json_schema_input_type=str)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class FlipParam(Section):
    horizontal_flip: bool = False
    """Mirror both frames of a pair with probability 1/2; landmarks and the sides of action units follow."""
    time_flip: bool = False
    """Exchange source and driving frame with probability 1/2; the sign of the action-unit difference follows."""


class JitterParam(Section):
    brightness: NonNegativeFloat = 0.0
    """Factor drawn from [1 - x, 1 + x], the same for both frames of a pair."""
    contrast: NonNegativeFloat = 0.0
    """Factor drawn from [1 - x, 1 + x], the same for both frames of a pair."""
    saturation: NonNegativeFloat = 0.0
    """Factor drawn from [1 - x, 1 + x], the same for both frames of a pair."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Shift drawn from [-x, x], in turns of the colour circle."""


class RotationParam(Section):
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Angle drawn from [-x, x] degrees."""


class ResizeParam(Section):
    ratio: Annotated[tuple[PositiveFloat, PositiveFloat], AsTuple] = (0.75, 1.25)
    """Smallest and largest magnification about the centre; the frame keeps its size."""

    @model_validator(mode="after")
    def _ordered(self) -> "ResizeParam":
        if self.ratio[0] > self.ratio[1]:
            raise ValueError(f"expected smallest <= largest, got {list(self.ratio)}")
        return self


class CropParam(Section):
    size: Annotated[tuple[PositiveInt, PositiveInt], AsTuple]
    """Height and width in pixels of the part that is cut out at random and enlarged to the whole frame."""


class AugmentationParams(Section):
    flip_param: FlipParam | None = None
    """Mirroring and exchange of the two frames."""
    jitter_param: JitterParam | None = None
    """Colour changes."""
    rotation_param: RotationParam | None = None
    """Rotation about the centre."""
    resize_param: ResizeParam | None = None
    """Magnification about the centre."""
    crop_param: CropParam | None = None
    """Random crop."""


class DatasetParams(Section):
    root_dir: FilePath | None = None
    """Folder of the clips, with `train/` and `test/` inside or the clips themselves; relative to where you are."""
    frame_shape: Annotated[tuple[PositiveInt, PositiveInt, Literal[3]], AsTuple] | None = (256, 256, 3)
    """Height, width, channels to which frames are resized; null keeps their size (all must then be of one size)."""
    id_sampling: bool = False
    """An epoch counts identities, not clips: clip names `ID#REST` of one ID count once, one of them drawn each time."""
    pairs_list: FilePath | None = None
    """CSV with the columns `source,driving` for `animate`; null animates every combination of the test clips."""
    keypoint_dir: FilePath | None = None
    """Folder of 68-landmark files, CLIP.npy or CLIP.csv, in pixels of the clip's own frames."""
    landmarks: Literal["auto", "file", "track"] = "auto"
    """`file`: one row a frame, as in the file. `track`: the first row only, followed by sub-pixel optical flow from
    there. `auto`: `file` where it has a row for every frame, else `track`."""
    au_dir: FilePath | None = None
    """Folder of action-unit tables of OpenFace 2, py-feat or LibreFace: CLIP.csv, or SPLIT/CLIP/merged_AU.csv as in
    MEGC2022-Generation. Rows belong to frames by the column `frame`: frames counted by the tool, or the numbers of the
    clip's frame files; a table without it holds one row a frame. Probabilities (py-feat) and detections are used as
    intensities, and a warning says so."""
    au_min_confidence: Fraction = 0.0
    """Rows whose `confidence` (OpenFace) or `FaceScore` (py-feat) is lower cannot be used; `success` 0 never can."""
    au_max_gap: NonNegativeInt = 0
    """So many frames in a row without a usable row are interpolated linearly, and a log line counts them; longer gaps,
    and gaps at an end of the clip, are an error."""
    au_unknown: Literal["error", "zero"] = "error"
    """Action units that a table's tool does not estimate (5 of 17 for LibreFace): an error, or 0, that is, they never
    move."""
    au_extractor: Literal["py-feat"] | None = None
    """What estimates action units where `au_dir` is null: the package py-feat, which must be installed (`pip install
    "py-feat>=2"`) and gives probabilities. null: clips without tables are an error."""
    au_noise: NonNegativeFloat = 0.0
    """Half-width of uniform noise added to the action units of source and driving frame of a training pair, the same
    for both sides of the face, in parts of the largest intensity; MEGC2022-Generation uses 0.02."""
    fps: PositiveFloat | None = None
    """Frame rate of frame folders and strips in frames a second; video files carry their own."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the clips that becomes the test split where `root_dir` has no `train/` and `test/`."""
    split_seed: NonNegativeInt = 0
    """Seed of that split."""
    on_bad_clip: Literal["error", "skip"] = "error"
    """What a clip does that cannot be used (broken frame, no landmarks): stop the run, or be left out and counted."""
    cache_dir: FilePath | None = Path(".cache/frames")
    """Folder of decoded frames, so that each is decoded once; null decodes in memory for every run."""
    source_frame: Literal["any", "first"] = "any"
    """Source of a training pair: any frame, or the clip's first, from which a micro-expression moves farthest."""
    remove_head_motion: bool = False
    """Undo the head's own movement (a similarity of the landmarks, which it needs whatever the model) between the two
    frames of a training pair."""
    augmentation_params: AugmentationParams = AugmentationParams()
    """Random changes of training pairs, made on the training device."""


class ModelParams(Section):
    family: str
    """Name of the model family."""


class TransformParams(Section):
    sigma_affine: NonNegativeFloat = 0.05
    """Standard deviation of the affine part of the random warp, in half frame widths."""
    sigma_tps: NonNegativeFloat = 0.005
    """Standard deviation of the spline coefficients of the random warp."""
    points_tps: PositiveInt = 5
    """Control points of the random warp along each axis."""


Scales = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], AsTuple]
PerceptualWeights = Annotated[tuple[NonNegativeFloat, ...], AsTuple]


class TrainParams(Section):
    """Settings of the training loop that no family changes."""

    num_epochs: PositiveInt = 100
    """Epochs in all, those of a resumed run included."""
    num_repeats: PositiveInt = 1
    """Passes over the clips in one epoch, each with another pair of frames."""
    epoch_milestones: Annotated[tuple[NonNegativeInt, ...], AsTuple] = (70, 90)
    """Epochs at which every learning rate is divided by ten."""
    batch_size: PositiveInt = 8
    """Pairs a step on each device."""
    dataloader_workers: NonNegativeInt = 4
    """Processes that load pairs; 0 loads in the training process."""
    checkpoint_freq: PositiveInt = 10
    """Epochs between checkpoints; the last epoch is always kept."""
    keep_checkpoints: PositiveInt | None = None
    """How many of the newest checkpoints stay; null keeps all."""
    precision: Annotated[Literal["32", "bf16-mixed", "16-mixed"], BeforeValidator(_number_to_text)] = "32"
    """Arithmetic of the picture path; keypoints, splines, masks and grids are 32 bit in every mode."""
    use_sync_bn: bool = True
    """Batch normalisation over the batches of all devices where more than one trains."""
    num_nodes: PositiveInt = 1
    """Machines that train together, started by torchrun or Slurm."""
    scales: Scales = (1.0, 0.5, 0.25, 0.125)
    """Scales of the image pyramid on which pictures are compared."""
    perceptual_network: Annotated[str, Field(min_length=1)] = "imagenet"
    """VGG-19 of the perceptual loss: `imagenet` (torchvision's weights), a file with those weights, or `random`."""
    transform_params: TransformParams = TransformParams()
    """Random warp of the equivariance losses."""

    @property
    def needs_vgg19(self) -> bool:
        """True if a loss compares features of VGG-19; families with such a loss override this."""
        return False

    @property
    def needs_au_estimator(self) -> bool:
        """True if a loss reads action units with `au_estimator`; families with such a loss override this."""
        return False


class TrainAVDParams(Section):
    """`--mode train_avd`: the network that moves keypoints of one person the way another one's moved."""

    num_epochs: PositiveInt = 100
    """Epochs in all."""
    num_repeats: PositiveInt = 1
    """Passes over the clips in one epoch."""
    batch_size: PositiveInt = 256
    """Pairs a step on each device; at least 2, because the network normalises over the batch."""
    dataloader_workers: NonNegativeInt = 4
    """Processes that load pairs."""
    checkpoint_freq: PositiveInt = 10
    """Epochs between checkpoints."""
    epoch_milestones: Annotated[tuple[NonNegativeInt, ...], AsTuple] = (70, 90)
    """Epochs at which the learning rate is divided by ten."""
    lr: PositiveFloat = 1e-3
    """Learning rate of Adam."""
    lambda_shift: NonNegativeFloat = 1.0
    """Weight of the keypoint error."""
    lambda_affine: NonNegativeFloat = 1.0
    """Weight of the affine error; only the region family has one."""
    random_scale: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """The driving keypoints are scaled per axis by a factor from [1 - x, 1 + x]."""


class TrainAUWeights(Section):
    """Losses of the action-unit estimator."""

    difference: NonNegativeFloat = 1.0
    """Weight of the error of the action units' difference between two frames."""
    explanation: NonNegativeFloat = 0.5
    """Weight of what the true difference, by the learned motion and shading, leaves unexplained of the change."""
    intensity: NonNegativeFloat = 0.1
    """Weight of the error of the intensities of a single frame."""
    roughness: NonNegativeFloat = 0.03
    """Weight of the squared second differences of the learned maps."""
    motion: NonNegativeFloat = 0.03
    """Weight of the squared learned motion beyond that of `data/action_unit_geometry.csv`, in 0.03 eye distances."""
    shading: NonNegativeFloat = 20.0
    """Weight of the squared learned shading: other faces have other furrows, so motion is to explain what it can."""


class TrainAUParams(Section):
    """`--mode train_au`: the network that reads action units off pictures, for the loss `relative_au`."""

    num_epochs: PositiveInt = 20
    """Epochs in all."""
    num_repeats: PositiveInt = 4
    """Passes over the clips in one epoch."""
    batch_size: PositiveInt = 16
    """Pairs a step on each device."""
    dataloader_workers: NonNegativeInt = 4
    """Processes that load pairs."""
    checkpoint_freq: PositiveInt = 10
    """Epochs between checkpoints."""
    keep_checkpoints: PositiveInt | None = None
    """How many of the newest checkpoints stay; null keeps all."""
    epoch_milestones: Annotated[tuple[NonNegativeInt, ...], AsTuple] = (12, 17)
    """Epochs at which every learning rate is divided by ten."""
    lr: PositiveFloat = 0.01
    """Learning rate of shading and weights; the motion's is three times, the intensity network's a tenth of it."""
    loss_weights: TrainAUWeights = TrainAUWeights()


MovementScaling = Literal["similarity", "hull", "none"]


class NormalizationParams(Section):
    adapt_movement_scale: bool = True
    """Adapt relative movement to the size of the source face; false adds the driving movement unchanged."""
    movement_scale: Literal["similarity", "hull"] = "similarity"
    """Method of `adapt_movement_scale`. `similarity`: scale and rotation of the least-squares similarity from the
    driving face at rest to the source face. `hull`, as published: root of the ratio of the areas of the keypoints'
    convex hulls, without rotation."""
    use_relative_movement: bool | None = None
    """The published spelling of `mode`: true is `relative`, false is `standard`."""
    use_relative_jacobian: bool = True
    """Local affine motion relative to the first driving frame, too (keypoints with Jacobians only)."""

    @property
    def scaling(self) -> MovementScaling:
        """Method by which relative movement is adapted to the source face."""
        return self.movement_scale if self.adapt_movement_scale else "none"


class AnimateParams(Section):
    mode: Literal["relative", "standard", "avd"] = "relative"
    """`relative` adds the driving clip's change since its first frame to the source keypoints; `standard` uses the
    driving keypoints as they are; `avd` disentangles shape and movement with the network of `train_avd`."""
    normalization_params: NormalizationParams = NormalizationParams()
    """Details of relative movement."""
    remove_head_motion: bool = False
    """Take the driving head's own movement (a similarity per frame) out of its landmarks before they are applied."""
    motion: Literal["landmarks", "flow"] = "landmarks"
    """What moves the face where the networks let it move: the splines of its landmarks, or the driving clip's optical
    flow, put in place by the landmarks, which knows cheeks, forehead and chin, too (`mode: relative` only)."""
    num_pairs: PositiveInt | None = None
    """At most so many pairs, from the start of the list; null animates all."""
    batch_size: PositiveInt = 8
    """Frames generated together."""
    format: Literal[".mp4", ".gif", ".png"] = ".mp4"
    """Video written beside the PNG frames; `.png` writes none."""
    crf: Annotated[int, Field(ge=0, le=10)] = 8
    """libx264 quality of .mp4 (0 lossless); above 10 a movement of one pixel is lost."""

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
    """At most so many test clips; null reconstructs all."""
    batch_size: PositiveInt = 8
    """Frames generated together."""
    format: Literal[".mp4", ".gif", ".png"] = ".mp4"
    """Video written beside the PNG frames; `.png` writes none."""


class VisualizerParams(Section):
    kp_size: PositiveInt = 2
    """Radius of a drawn keypoint in pixels."""
    draw_border: bool = True
    """A line between the pictures of the grid."""
    colormap: str = "gist_rainbow"
    """Matplotlib colour map of the keypoints."""
    region_bg_color: Annotated[tuple[Fraction, Fraction, Fraction], AsTuple] = (1.0, 1.0, 1.0)
    """RGB behind drawn regions (region family only)."""
