"""The one interface that every family implements.

The training loop, `animate`, `reconstruction` and the benchmarks call nothing else, so that a new family is a folder
with networks, a config class and one entry in `config.families.FAMILIES`.

Dimension letters: B batch, H x W image.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from config.sections import TrainAVDParams
from modules.losses import VGG19

if TYPE_CHECKING:
    from modules.au_estimator import AUEstimator

Motion = dict[str, Tensor]
"""What a family knows of the movement in one frame: keypoints, Jacobians or regions, each (B, ...)."""

Mode = Literal["relative", "standard", "avd"]


@dataclass(frozen=True)
class Condition:
    """What steers the picture beside the motion; each part is optional.

    Attributes:
        au_diff: (B, 17, 2) action units of driving minus source, intensities 0 to 1, of the subject's left and right
            half of the face.
        flow: (B, H, W, 2) displacement of every pixel of the source, xy, in half frame widths and heights.
    """

    au_diff: Tensor | None = None
    flow: Tensor | None = None


@dataclass(frozen=True)
class Optimiser:
    """An optimiser of some of a model's networks.

    Attributes:
        optimizer: over the parameters of `networks`, in that order.
        networks: their names.
        clip_norm: largest absolute gradient allowed, by network; a network that is not named is not clipped.
        start_epoch: first epoch in which it steps.
        adversary: steps after the others, on `discriminator_losses`.
    """

    optimizer: torch.optim.Optimizer
    networks: tuple[str, ...]
    clip_norm: Mapping[str, float]
    start_epoch: int = 0
    adversary: bool = False


class Trainable(nn.Module):
    """What the training loop trains: networks with losses.

    Attributes:
        needs_landmarks: pairs of frames need 68 landmarks.
        needs_action_units: pairs of frames need the difference of their action units.
        optional_networks: networks that a checkpoint may lack.
        frozen_helpers: children that belong to the losses and are no networks of the model.
        checkpoint_suffixes, epoch_keys: published ending of checkpoint names, and name of the last finished epoch in
            them, by mode.
    """

    needs_landmarks: bool = False
    needs_action_units: bool = False
    optional_networks: ClassVar[frozenset[str]] = frozenset()
    frozen_helpers: ClassVar[frozenset[str]] = frozenset({"picture_loss", "relative_au_loss", "to_low_pass"})
    checkpoint_suffixes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("train", "train_avd", "train_au"), "-checkpoint.pth.tar"
    )
    epoch_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(("train", "train_avd", "train_au"), "epoch")

    def networks(self) -> dict[str, nn.Module]:
        """The networks under their names in checkpoints."""
        return {name: module for name, module in self.named_children() if name not in self.frozen_helpers}

    def settings_in(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of `model_params` that the networks of a checkpoint tell, whatever is written beside them.

        Args:
            contents: of the checkpoint, state dicts under the names of networks.
        Returns:
            Values by the dotted path within `model_params`.
        """
        return {}

    def losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weighted losses of a batch of training pairs.

        Args:
            batch: `source`, `driving` (B, 3, H, W) in [0, 1]; `source_landmarks`, `driving_landmarks` (B, 68, 2);
                `source_au`, `au_diff` (B, 17, 2), intensities of the source and driving minus source; the last four
                where they are needed; `subject` (B,), number of the person.
            epoch: from 0, for schedules.
        Returns:
            Named weighted scalars, and what was generated.
        """
        raise NotImplementedError(f"{type(self).__name__} has no losses")

    def discriminator_losses(self, batch: Mapping[str, Tensor], generated: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of the second step of adversarial families; empty for the others."""
        return {}


class MotionModel(Trainable, ABC):
    """A family's networks, wired.

    Attributes:
        motion_from_landmarks: `motion` depends on the landmarks alone, not on the image.
        takes_flow: `generate` can make use of `Condition.flow`.
        keypoint_name: name of the keypoints (B, N, 2) in a motion, which pictures show.
    """

    motion_from_landmarks: bool = False
    takes_flow: bool = False
    keypoint_name: ClassVar[str]

    @abstractmethod
    def motion(self, image: Tensor, landmarks: Tensor | None = None) -> Motion:
        """Find the family's motion tensors in a frame.

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
        *,
        adapt_movement_scale: bool = True,
        use_relative_jacobian: bool = True,
    ) -> Motion:
        """Carry the driving person's movement over to the source person.

        Args:
            source: of the source image, batch 1 or B.
            driving: of the driving frames, batch B.
            driving_initial: of the driving clip's reference frame, batch 1 or B.
            mode: `relative` adds the change since the reference frame, `standard` takes the driving motion as it is,
                `avd` uses the network of that name.
            adapt_movement_scale: fit the change to the size of the source face.
            use_relative_jacobian: treat local affine motion in the same way; ignored by families without it.
        Returns:
            The motion to apply, batch B.
        """

    @abstractmethod
    def encode(self, source: Tensor, landmarks: Tensor | None = None) -> Any:
        """Compute what depends on the source alone, once a clip.

        Args:
            source: (B, 3, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1]; for families that need them.
        Returns:
            The family's own object.
        """

    @abstractmethod
    def generate(
        self, encoded: Any, motion_source: Motion, motion_driving: Motion, condition: Condition | None = None
    ) -> dict[str, Any]:
        """Draw the source face with the driving motion.

        Args:
            encoded: from `encode`, batch 1 or B.
            motion_source: from `motion` on the source, batch 1 or B.
            motion_driving: from `relative`, or from `motion` where source and driving are the same person; batch B.
            condition: optional further inputs.
        Returns:
            `prediction` (B, 3, H, W) in [0, 1], and named intermediates.
        """

    def prepare_training(
        self, section: Any, vgg: VGG19 | None, au_estimator: "AUEstimator | None" = None
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
        """Weighted losses of the AVD network; arguments and result as those of `losses`, nothing is generated."""
        raise NotImplementedError(f"{type(self).__name__} has no AVD losses")
