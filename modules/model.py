"""The interface that every family implements; the training loop, the inference engine and the benchmarks use only it.

A family is a folder with networks, a config class and one entry in `config.families.FAMILIES`; see
docs/adding_a_family.md.

Dimension letters: B batch, H x W image.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from config.sections import NormalizationParams, TrainAVDParams
from modules.au_estimator import AUEstimator
from modules.losses import VGG19
from modules.trainable import Optimiser, Trainable

Motion = dict[str, Tensor]
"""Motion tensors of one frame: keypoints, Jacobians or regions, each (B, ...)."""

Mode = Literal["relative", "standard", "avd"]


@dataclass(frozen=True)
class Condition:
    """Optional inputs of `MotionModel.generate` in addition to the motion.

    Attributes:
        au_diff: (B, 17, 2) action-unit intensities of driving minus source frame, each in [0, 1], of the left and right
            half of the subject's face.
        flow: (B, H, W, 2) displacement of every pixel of the source, xy, in normalised units (1 = half the frame's
            width or height).
        head_is_still: True if head motion was removed, so that what is left of it is an error of its estimate.
    """

    au_diff: Tensor | None = None
    flow: Tensor | None = None
    head_is_still: bool = False


class MotionModel(Trainable, ABC):
    """The networks of a family and their connections.

    Attributes:
        motion_from_landmarks: True if `motion` depends on the landmarks only, not on the image.
        takes_flow: True if `generate` uses `Condition.flow`.
        keypoint_name: name of the keypoints (B, N, 2) in a motion, for visualisation.
    """

    motion_from_landmarks: bool = False
    takes_flow: bool = False
    keypoint_name: ClassVar[str]

    @abstractmethod
    def motion(self, image: Tensor, landmarks: Tensor | None = None) -> Motion:
        """Estimate the motion tensors of a frame.

        Args:
            image: (B, 3, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1]; for families that need them.
        """

    @abstractmethod
    def relative(
        self,
        source: Motion,
        driving: Motion,
        driving_initial: Motion,
        mode: Mode,
        normalization: NormalizationParams,
    ) -> Motion:
        """Transfer the motion of the driving person to the source person.

        Args:
            source: motion of the source image, batch 1 or B.
            driving: motion of the driving frames, batch B.
            driving_initial: motion of the driving clip's reference frame, batch 1 or B.
            mode: `relative` adds the change since the reference frame, `standard` returns the driving motion unchanged,
                `avd` uses the AVD network.
            normalization: scaling of the change, see `transfer_motion`, and treatment of local affine motion, which
                families without it ignore.
        Returns:
            The motion to apply, batch B.
        """

    @abstractmethod
    def encode(self, source: Tensor, landmarks: Tensor | None = None) -> Any:
        """Compute everything that depends on the source only, once per clip.

        Args:
            source: (B, 3, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1]; for families that need them.
        Returns:
            An object of the family's own type, for `generate`.
        """

    @abstractmethod
    def generate(
        self, encoded: Any, motion_source: Motion, motion_driving: Motion, condition: Condition | None = None
    ) -> dict[str, Any]:
        """Generate the source face with the driving motion.

        Args:
            encoded: from `encode`, batch 1 or B.
            motion_source: from `motion` of the source, batch 1 or B.
            motion_driving: from `relative`, or from `motion` if source and driving are the same person; batch B.
            condition: optional further inputs.
        Returns:
            `prediction` (B, 3, H, W) in [0, 1], and intermediate tensors by name.
        """

    def prepare_training(
        self, section: Any, vgg: VGG19 | None, au_estimator: AUEstimator | None = None
    ) -> dict[str, Optimiser]:
        """Prepare `losses`.

        Args:
            section: the config section `train_params`, of the family's own class.
            vgg: feature network of the perceptual loss; None if its weights are 0.
            au_estimator: frozen estimator of the relative action-unit constraint; None if its weight is 0.
        Returns:
            Optimisers under their names in checkpoints.
        Raises:
            NotImplementedError: the family has nothing to train.
        """
        raise NotImplementedError("this family has nothing to train; use it with --mode animate")

    def prepare_avd(self, section: TrainAVDParams) -> dict[str, Optimiser]:
        """Prepare `avd_losses`, and freeze every network except the AVD network.

        Args:
            section: the config section `train_avd_params`.
        Returns:
            Optimisers under their names in checkpoints.
        Raises:
            NotImplementedError: the family has no such network.
        """
        raise NotImplementedError("this family has no network for --mode train_avd")

    def avd_losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weighted losses of the AVD network; arguments and result as of `losses`, but nothing is generated."""
        raise NotImplementedError(f"{type(self).__name__} has no AVD losses")
