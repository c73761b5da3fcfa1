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


class BottleneckParams(Section):
    """Generator of FOMM and MRAA: encoder, residual blocks, decoder."""

    block_expansion: PositiveInt = 64
    """Channels of the first level; each level below has twice as many."""
    max_features: PositiveInt = 512
    """Upper limit of the channels of a level."""
    num_down_blocks: PositiveInt = 2
    """Levels below the first."""
    num_bottleneck_blocks: NonNegativeInt = 6
    """Residual blocks at the lowest level."""


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


class PictureTrainParams(TrainParams):
    """Training settings of families whose losses compare the prediction with the driving frame."""

    loss_weights: PictureWeights = PictureWeights()
    """Weights of the losses; 0 leaves a loss out."""

    @property
    def needs_vgg19(self) -> bool:
        return any(self.loss_weights.perceptual)


class AVDNetworkParams(Section):
    id_bottle_size: PositiveInt = 128
    """Size of the code of whose face it is."""
    pose_bottle_size: PositiveInt = 128
    """Size of the code of how it moves."""


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
