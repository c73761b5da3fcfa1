"""Configuration sections that several families share."""

from math import log2
from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.sections import (
    NonNegativeFloat,
    NonNegativeInt,
    PerceptualWeights,
    PositiveFloat,
    PositiveInt,
    Section,
    TrainParams,
)


class HourglassParams(Section):
    """Encoder-decoder network (hourglass)."""

    block_expansion: PositiveInt = 64
    """Number of channels of the first level, doubled at each lower level."""
    max_features: PositiveInt = 1024
    """Largest number of channels of any level."""
    num_blocks: PositiveInt = 5
    """Number of levels; each halves height and width."""
    scale_factor: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Size of the network's input relative to the image, a power of two: 1, 0.5, 0.25, 0.125, ..."""

    @model_validator(mode="after")
    def _power_of_two(self) -> "HourglassParams":
        if log2(self.scale_factor) % 1:
            raise ValueError(f"scale_factor: expected a power of two (1, 0.5, 0.25, ...), got {self.scale_factor}")
        return self


class BottleneckParams(Section):
    """Generator of FOMM and MRAA: encoder, residual blocks, decoder."""

    block_expansion: PositiveInt = 64
    """Number of channels of the first level, doubled at each lower level."""
    max_features: PositiveInt = 512
    """Largest number of channels of any level."""
    num_down_blocks: PositiveInt = 2
    """Number of downsampling levels; each halves height and width."""
    num_bottleneck_blocks: NonNegativeInt = 6
    """Number of residual blocks at the lowest level."""


class PictureWeights(Section):
    """Weights of the losses that compare the prediction with the driving frame."""

    perceptual: PerceptualWeights = (10.0, 10.0, 10.0, 10.0, 10.0)
    """Weights of the perceptual loss in the layers relu1_1 to relu5_1 of VGG-19, at most five; [] disables it."""
    pixel: NonNegativeFloat = 0.0
    """Weight of the mean absolute pixel difference, summed over scales; 0 disables it."""
    gradient: NonNegativeFloat = 0.0
    """Weight of the mean absolute difference of horizontal and vertical image gradients, summed over scales; 0 disables
    it."""

    @model_validator(mode="after")
    def _five_layers(self) -> "PictureWeights":
        if len(self.perceptual) > 5:
            raise ValueError(f"perceptual: expected at most 5 weights, one per layer, got {len(self.perceptual)}")
        return self


class PictureTrainParams(TrainParams):
    """Training settings of families whose losses compare the prediction with the driving frame."""

    loss_weights: PictureWeights = PictureWeights()
    """Weights of the losses; 0 disables a loss."""

    @property
    def needs_vgg19(self) -> bool:
        return any(self.loss_weights.perceptual)


class AVDNetworkParams(Section):
    """Network of `--mode train_avd` (animation via disentanglement)."""

    id_bottle_size: PositiveInt = 128
    """Size of the identity code."""
    pose_bottle_size: PositiveInt = 128
    """Size of the pose code."""


class PriorParams(Section):
    """Maps of a facial prior, which fall off around their points; the defaults are the published values."""

    distance: Literal["l1", "l2"] | None = None
    """Distance d to the point, in 1/64 of the frame: `l1` |dx| + |dy|, `l2` Euclidean. null: `l1` with `prior: ewp`,
    `l2` with `awp`."""
    kernel: Literal["root", "gaussian"] = "root"
    """Shape of the maps: `root` is exp(-sqrt(d) / (2 sigma^2)), with long tails, as published; `gaussian` is
    exp(-d^2 / (2 sigma^2)) and needs a larger sigma."""
    sigma: PositiveFloat = 0.75
    """Width of the maps, see `kernel`."""
    threshold: Literal["mean", "none"] = "mean"
    """`mean` sets a map to zero where it is below its mean; `none` keeps it unchanged."""
    convention: Literal["centres", "published"] = "centres"
    """Coordinates of the points: `centres` as everywhere in this program; `published` for weights of the FPB code
    bases, whose points are off by one pixel of the map."""
