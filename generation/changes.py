"""Change of a generated frame since the source at rest, from which a photo of any resolution can be animated.

A network's frame differs from its source by the motion, by what the motion does not explain (wrinkles, shading, parts
that come into view), and by an error of reconstruction that stays the same in all frames. The change holds the first
two: relative to the frame that the network generates without any motion, so that the error cancels.

Legend: B batch, H x W image, h x w deformation.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from modules.geometry import make_coordinate_grid, resize_grid, sample


@dataclass(frozen=True)
class Change:
    """Change of one frame.

    Attributes:
        displacement: (H, W, 2), xy, pixels: from each pixel to the place in the source that it shows.
        residual: (H, W, 3), grey levels (0 to 255 scale) that the displacement does not explain.
    """

    displacement: NDArray[np.float32]
    residual: NDArray[np.float32]


class Rest(NamedTuple):
    """The source as it is generated without motion.

    Attributes:
        prediction: (1, 3, H, W) in [0, 1].
        deformation: (1, h, w, 2), absolute sampling coordinates; None for families that do not return it.
    """

    prediction: Tensor
    deformation: Tensor | None


def rest_of(generated: dict[str, Any]) -> Rest:
    """The source at rest, from what `MotionModel.generate` returned for its own motion."""
    deformation = generated.get("deformation")
    return Rest(generated["prediction"].float(), None if deformation is None else deformation.float())


def changes_since(rest: Rest, generated: dict[str, Any]) -> list[Change]:
    """Changes of B frames.

    Args:
        rest: of the same source.
        generated: from `MotionModel.generate`, with `prediction` (B, 3, H, W) and, for motion at the resolution of the
            photo, `deformation` (B, h, w, 2); without it, everything is a residual.
    """
    prediction = generated["prediction"].float()
    height, width = prediction.shape[2:]
    moved = prediction.new_zeros(len(prediction), height, width, 2)
    if rest.deformation is not None:
        moved = resize_grid(generated["deformation"].float() - rest.deformation, (height, width))
    grid = make_coordinate_grid((height, width), prediction) + moved
    still = rest.prediction.expand(len(prediction), -1, -1, -1)
    explained = sample(still, grid, mode="bicubic", padding="border").clamp(0, 1)
    residual = ((prediction.clamp(0, 1) - explained) * 255).permute(0, 2, 3, 1).cpu().numpy()
    half = moved.new_tensor([width - 1, height - 1]) / 2
    displacement = (moved * half).cpu().numpy()
    return [Change(*one) for one in zip(displacement, residual, strict=True)]
