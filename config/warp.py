"""Configuration of the family `warp`: one spline through the landmarks, without training."""

from typing import Annotated, Literal

from pydantic import Field

from config.experiment import Config
from config.ranges import NonNegativeFloat
from config.sections import ModelParams


class WarpModelParams(ModelParams):
    """Settings of the networks."""

    family: Literal["warp"]
    """One thin-plate spline through the 68 landmarks, without parameters to train."""
    smoothing: NonNegativeFloat = 0.0
    """Smoothing of the spline, added to the diagonal of its kernel matrix; 0 interpolates the landmarks."""
    forehead: Annotated[float, Field(ge=0.01, le=10)] | None = 0.4
    """Distance above the brows, in eye distances, of control points that move with the head only; further ones lie
    around the head. null: none, so that the motion of brows and jaw is extrapolated into hair and background."""
    steps: Annotated[int, Field(gt=0, le=100)] = 1
    """Number of consecutive splines, each for an equal part of the displacement. More than one keep the image from
    folding where lids close; the cost is proportional."""


class WarpConfig(Config):
    """Experiment of the family `warp`."""

    model_params: WarpModelParams
    """The spline."""
