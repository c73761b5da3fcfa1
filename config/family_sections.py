"""Configuration sections that several families share."""

from math import log2
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.network_sizes import check_channels, pyramid_problems, smallest_compared
from config.ranges import (
    Channels,
    ImageScale,
    Levels,
    LossWeight,
    PerceptualWeights,
)
from config.sections import Section, TrainParams


class HourglassParams(Section):
    """Encoder-decoder network (hourglass)."""

    block_expansion: Channels = 64
    """Number of channels of the first level, doubled at each lower level."""
    max_features: Channels = 1024
    """Largest number of channels of any level."""
    num_blocks: Levels = 5
    """Number of levels; each halves height and width."""
    scale_factor: ImageScale = 0.25
    """Size of the network's input relative to the image, a power of two: 1, 0.5, 0.25, 0.125, ..."""

    @model_validator(mode="after")
    def _enough_channels(self) -> Self:
        check_channels(self)
        return self

    @model_validator(mode="after")
    def _power_of_two(self) -> "HourglassParams":
        if log2(self.scale_factor) % 1:
            raise ValueError(f"scale_factor: expected a power of two (1, 0.5, 0.25, ...), got {self.scale_factor}")
        return self


class BottleneckParams(Section):
    """Generator of FOMM and MRAA: encoder, residual blocks, decoder."""

    block_expansion: Channels = 64
    """Number of channels of the first level, doubled at each lower level."""
    max_features: Channels = 512
    """Largest number of channels of any level."""
    num_down_blocks: Levels = 2
    """Number of downsampling levels; each halves height and width."""
    num_bottleneck_blocks: Annotated[int, Field(ge=0, le=100)] = 6
    """Number of residual blocks at the lowest level."""

    @model_validator(mode="after")
    def _enough_channels(self) -> Self:
        check_channels(self)
        return self


class PictureWeights(Section):
    """Weights of the losses that compare the prediction with the driving frame."""

    perceptual: PerceptualWeights = (10.0, 10.0, 10.0, 10.0, 10.0)
    """Weights of the perceptual loss in the layers relu1_1 to relu5_1 of VGG-19, at most five; [] disables it."""
    pixel: LossWeight = 0.0
    """Weight of the mean absolute pixel difference, summed over scales; 0 disables it."""
    gradient: LossWeight = 0.0
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

    def size_problems(self, height: int, width: int) -> list[str]:
        """Scales at which the compared images are too small, one line each."""
        weights = self.loss_weights
        smallest = smallest_compared(weights.perceptual, weights.gradient)
        return list(pyramid_problems("train_params.scales", (height, width), self.scales, smallest))


class AVDNetworkParams(Section):
    """Network of `--mode train_avd` (animation via disentanglement)."""

    id_bottle_size: Channels = 128
    """Size of the identity code."""
    pose_bottle_size: Channels = 128
    """Size of the pose code."""


class PriorParams(Section):
    """Maps of a facial prior, which fall off around their points; the defaults are the published values."""

    distance: Literal["l1", "l2"] | None = None
    """Distance d to the point, in 1/64 of the frame: `l1` |dx| + |dy|, `l2` Euclidean. null: `l1` with `prior: ewp`,
    `l2` with `awp`."""
    kernel: Literal["root", "gaussian"] = "root"
    """Shape of the maps: `root` is exp(-sqrt(d) / (2 sigma^2)), with long tails, as published; `gaussian` is
    exp(-d^2 / (2 sigma^2)) and needs a larger sigma."""
    sigma: Annotated[float, Field(ge=0.05, le=1e3)] = 0.75
    """Width of the maps, see `kernel`."""
    threshold: Literal["mean", "none"] = "mean"
    """`mean` sets a map to zero where it is below its mean; `none` keeps it unchanged."""
    convention: Literal["centres", "published"] = "centres"
    """Coordinates of the points: `centres` as everywhere in this program; `published` for weights of the FPB code
    bases, whose points are off by one pixel of the map."""
