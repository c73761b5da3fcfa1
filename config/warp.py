"""Configuration of the family `warp`: one spline through the landmarks, nothing learned."""

from typing import Literal

from config.experiment import Config
from config.sections import ModelParams, NonNegativeFloat, PositiveFloat, PositiveInt


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


class WarpConfig(Config):
    model_params: WarpModelParams
    """The spline."""
