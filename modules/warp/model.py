"""The `warp` family: the source image, warped by a thin-plate spline through its 68 landmarks.

Dimension letters: B batch, H x W image, A anchors.
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from config.sections import NormalizationParams
from config.warp import WarpModelParams
from modules.geometry import full_precision, invert_displacement, robust_similarity, sample, transfer_motion
from modules.model import Condition, Mode, Motion, MotionModel
from modules.thin_plate_spline import TPS

ANCHORED_BROWS = [17, 19, 21, 22, 24, 26]
ANCHORED_JAW = [0, 2, 4, 6, 8, 10, 12, 14, 16]
SMALLEST_SMOOTHING = 1e-6  # shifts landmarks by less than 0.02 px of 256; 0 fails for landmarks that coincide
AROUND = (1.25, 1.7)  # distance of the outer anchors from the face's centre, relative to that of jaw and forehead
NASION, CHIN = 27, 8
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)


class WarpModel(MotionModel):
    """Backward warp of the source by one or several consecutive splines from the moved landmarks to its own.

    Further control points on the forehead and around the head move with the head only, or not at all if it is still;
    without them the spline would extrapolate the motion of brows and jaw into hair and background. One spline folds the
    image where lids close; several in a row, each for a part of the displacement, do not, at a proportional cost.

    Args:
        params: the config section `model_params`.
    """

    needs_landmarks = motion_from_landmarks = takes_flow = True
    network_names: ClassVar[tuple[str, ...]] = ()
    keypoint_name: ClassVar[str] = "landmarks"

    def __init__(self, params: WarpModelParams):
        super().__init__()
        self.smoothing = params.smoothing
        self.forehead = params.forehead
        self.steps = params.steps

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
        normalization: NormalizationParams,
    ) -> Motion:
        """See `MotionModel.relative`."""
        if mode == "avd":
            raise ValueError("the warp family has no network for mode `avd`; use `relative`")
        if mode == "standard":
            return driving
        points = (motion["landmarks"] for motion in (source, driving, driving_initial))
        return {"landmarks": transfer_motion(*points, scaling=normalization.scaling)}

    def encode(self, source: Tensor, landmarks: Tensor | None = None) -> Tensor:
        """The source itself."""
        return source

    def generate(
        self, encoded: Tensor, motion_source: Motion, motion_driving: Motion, condition: Condition | None = None
    ) -> dict[str, Any]:
        """See `MotionModel.generate`; bicubic, so that images without motion are not blurred."""
        with full_precision(encoded), torch.no_grad():
            if condition is not None and condition.flow is not None:
                deformation = invert_displacement(condition.flow)
            else:
                size = (encoded.shape[2], encoded.shape[3])
                still = condition is not None and condition.head_is_still
                deformation = self._spline(motion_source["landmarks"], motion_driving["landmarks"], size, still)
            source = encoded.expand(len(deformation), -1, -1, -1)
            drawn = sample(source, deformation, mode="bicubic", padding="border")
        return {"prediction": drawn.clamp(0, 1), "deformation": deformation}

    def _spline(self, own: Tensor, moved: Tensor, size: tuple[int, int], head_is_still: bool) -> Tensor:
        """Sampling coordinates of every pixel: landmarks (1, 68, 2) and moved landmarks (B, 68, 2) -> (B, H, W, 2)."""
        own = own.expand_as(moved)
        if self.forehead is not None:
            anchors = head_anchors(own, self.forehead)
            moved = torch.cat([moved, anchors if head_is_still else _with_head(anchors, own, moved)], dim=1)
            own = torch.cat([own, anchors], dim=1)
        smoothing = max(self.smoothing, SMALLEST_SMOOTHING)
        stages = [torch.lerp(moved, own, step / self.steps) for step in range(self.steps + 1)]
        splines = [
            TPS(a, b, regularization="exact", smoothing=smoothing, slope_penalty=0.0) for a, b in pairwise(stages)
        ]
        grid = splines[0].grid(size)
        for spline in splines[1:]:
            grid = spline.in_chunks(grid.flatten(1, 2)).view_as(grid)
        return grid


def _with_head(anchors: Tensor, own: Tensor, moved: Tensor) -> Tensor:
    """Anchors (B, A, 2) after the head motion that the landmarks (B, 68, 2) show."""
    head = robust_similarity(own, moved)
    return anchors @ head[:, :, :2].mT + head[:, None, :, 2]


def head_anchors(landmarks: Tensor, forehead: float) -> Tensor:
    """Points on the forehead and around the head that no facial expression moves.

    Args:
        landmarks: (B, 68, 2).
        forehead: distance of the forehead points from the brows in eye distances, in the direction from chin to nasion.
    Returns:
        (B, A, 2).
    """
    eyes = (landmarks[:, RIGHT_EYE].mean(1) - landmarks[:, LEFT_EYE].mean(1)).norm(dim=-1)
    up = landmarks[:, NASION] - landmarks[:, CHIN]
    step = forehead * eyes[:, None] * up / up.norm(dim=-1, keepdim=True)
    above = landmarks[:, ANCHORED_BROWS] + step[:, None]
    centre = landmarks.mean(1, keepdim=True)
    around = torch.cat([landmarks[:, ANCHORED_JAW], above], dim=1)
    return torch.cat([above, *(centre + share * (around - centre) for share in AROUND)], dim=1)
