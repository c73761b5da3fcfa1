"""Configuration of the family `warp`: one spline through the landmarks, without training."""

from typing import Literal

from config.experiment import Config
from config.sections import ModelParams, NonNegativeFloat, PositiveFloat, PositiveInt


class WarpModelParams(ModelParams):
    """Settings of the networks."""

    family: Literal["warp"]
    """One thin-plate spline through the 68 landmarks, without parameters to train."""
    smoothing: NonNegativeFloat = 0.0
    """Smoothing of the spline, added to the diagonal of its kernel matrix; 0 interpolates the landmarks."""
    forehead: PositiveFloat | None = 0.4
    """Distance above the brows, in eye distances, of control points that move with the head only; further ones lie
    around the head. null: none, so that the motion of brows and jaw is extrapolated into hair and background."""
    steps: PositiveInt = 1
    """Number of consecutive splines, each for an equal part of the displacement. More than one keep the image from
    folding where lids close; the cost is proportional."""


class WarpConfig(Config):
    """Experiment of the family `warp`."""

    model_params: WarpModelParams
    """The spline."""
