"""The `warp` family: the source picture moved by one thin-plate spline through its 68 landmarks.

Dimension letters: B batch, H x W image.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from modules.geometry import full_precision, hull_area, sample
from modules.model import Condition, Mode, Motion, MotionModel
from modules.thin_plate_spline import TPS


class WarpModel(MotionModel):
    """Backward warp of the source by a spline from the moved landmarks to its own.

    Args:
        smoothing: how far the spline may miss the landmarks, see `TPS`.
    """

    needs_landmarks = motion_from_landmarks = True
    keypoint_name: ClassVar[str] = "landmarks"

    def __init__(self, *, smoothing: float):
        super().__init__()
        self.smoothing = smoothing

    def motion(self, image: Tensor, landmarks: Tensor | None = None) -> Motion:
        """The landmarks themselves."""
        if landmarks is None:
            raise ValueError("expected 68 landmarks for the warp family, got none")
        return {"landmarks": landmarks.float()}

    def relative(
        self,
        source: Motion,
        driving: Motion,
        driving_initial: Motion,
        mode: Mode,
        *,
        adapt_movement_scale: bool = True,
        use_relative_jacobian: bool = True,
    ) -> Motion:
        """See `MotionModel.relative`; movement is scaled by the root of the ratio of the hulls' areas."""
        if mode == "avd":
            raise ValueError("the warp family has no network for mode `avd`; use `relative`")
        if mode == "standard":
            return driving
        change = driving["landmarks"] - driving_initial["landmarks"]
        if adapt_movement_scale:
            areas = hull_area(source["landmarks"]) / hull_area(driving_initial["landmarks"])
            change = change * areas.sqrt()[:, None, None]
        return {"landmarks": source["landmarks"] + change}

    def encode(self, source: Tensor) -> Tensor:
        """The source itself."""
        return source

    def generate(
        self, encoded: Tensor, motion_source: Motion, motion_driving: Motion, condition: Condition | None = None
    ) -> dict[str, Any]:
        """See `MotionModel.generate`; bicubic, so that a picture that does not move is not blurred."""
        with full_precision(encoded), torch.no_grad():
            moved = motion_driving["landmarks"]
            own = motion_source["landmarks"].expand_as(moved)
            deformation = TPS(moved, own, smoothing=self.smoothing, slope_penalty=0.0).grid(encoded.shape[-2:])
            source = encoded.expand(len(moved), -1, -1, -1)
            drawn = sample(source, deformation, mode="bicubic", padding="border")
        return {"prediction": drawn.clamp(0, 1), "deformation": deformation}
