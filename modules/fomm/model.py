"""The first-order family, wired: keypoint detector, generator with dense motion, discriminator.

Dimension letters: B batch, K keypoints, H x W image.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from config.fomm import FommModelParams, FommTrainParams
from config.sections import NormalizationParams
from modules.au_estimator import AUEstimator
from modules.blocks import ImagePyramid
from modules.facial_prior import PriorMaps, prior_points
from modules.fomm.discriminator import MultiScaleDiscriminator
from modules.fomm.generator import OcclusionAwareGenerator
from modules.fomm.keypoint_detector import KPDetector
from modules.geometry import (
    GridConvention,
    expand_batch,
    full_precision,
    inverse_2x2,
    map_size,
    motion_length,
    sample,
    transfer_motion,
)
from modules.losses import VGG19, PictureLoss, total
from modules.model import Condition, Mode, Motion, MotionModel
from modules.thin_plate_spline import RandomWarp
from modules.trainable import Optimiser


class FommModel(MotionModel):
    """FOMM, and with a facial prior FPB-FOMM.

    A motion holds `value` (B, K, 2), xy in [-1, 1], and, with `estimate_jacobian`, `jacobian` (B, K, 2, 2), float32 in
    every precision mode. With a prior the values are landmarks; the Jacobians come from the image.

    Args:
        params: the config section `model_params`.
    """

    keypoint_name: ClassVar[str] = "value"
    network_names: ClassVar[tuple[str, ...]] = ("generator", "discriminator", "kp_detector")
    optional_networks: ClassVar[frozenset[str]] = frozenset({"discriminator"})

    train_params: FommTrainParams

    def __init__(self, params: FommModelParams):
        super().__init__()
        num_kp, num_channels = params.common_params.num_kp, params.common_params.num_channels
        self.num_kp = num_kp
        self.needs_landmarks = self.takes_flow = params.prior != "none"
        self.convention = GridConvention(params.align_corners, params.resize_align_corners)
        self.generator = OcclusionAwareGenerator(
            params.generator_params, num_kp=num_kp, num_channels=num_channels, convention=self.convention
        )
        self.discriminator = MultiScaleDiscriminator(
            params.discriminator_params, num_kp=num_kp, num_channels=num_channels
        )
        self.kp_detector = KPDetector(
            params.kp_detector_params,
            num_kp=num_kp,
            num_channels=num_channels,
            estimate_jacobian=params.common_params.estimate_jacobian,
            prior=params.prior,
            maps=None if params.prior == "none" else PriorMaps(params.prior_params, params.prior),
        )
        self.discriminator_pyramid = ImagePyramid(params.discriminator_params.scales, num_channels, "stride")

    def settings_in(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        """See `Trainable.settings_in`: the prior, from keys and input channels of the keypoint detector."""
        state = contents.get("kp_detector")
        first = "predictor.encoder.down_blocks.0.conv.weight"
        if not isinstance(state, Mapping) or first not in state:
            return {}
        channels = self.kp_detector.state_dict()[first].shape[1] - (self.kp_detector.prior != "none")
        with_map = state[first].shape[1:2] != (channels,)
        return {"prior": "awp" if "learn.weight" in state else "ewp" if with_map else "none"}

    # --- motion and generation ---------------------------------------------------------------------------------------

    def motion(self, image: Tensor, landmarks: Tensor | None = None) -> Motion:
        """See `MotionModel.motion`."""
        with full_precision(image):
            if not self.needs_landmarks:
                return self.kp_detector(image.float())
            if landmarks is None:
                raise ValueError("expected 68 landmarks for a facial prior, got none")
            points = prior_points(landmarks.float(), self.num_kp, map_size(image))
            return self.kp_detector(image.float(), points)

    def relative(
        self,
        source: Motion,
        driving: Motion,
        driving_initial: Motion,
        mode: Mode,
        normalization: NormalizationParams,
    ) -> Motion:
        """See `MotionModel.relative`. Source: FOMM (Siarohin et al., 2019), relative motion transfer."""
        if mode == "avd":
            raise ValueError("expected mode `relative` or `standard`, got `avd`: the family has no such network")
        if mode == "standard":
            return driving
        points = (motion["value"] for motion in (source, driving, driving_initial))
        moved = {**driving, "value": transfer_motion(*points, scaling=normalization.scaling)}
        if normalization.use_relative_jacobian and "jacobian" in driving:
            with full_precision(driving["jacobian"]):
                turned = driving["jacobian"] @ inverse_2x2(driving_initial["jacobian"])
                moved["jacobian"] = turned @ source["jacobian"]
        return moved

    def encode(self, source: Tensor, landmarks: Tensor | None = None) -> dict[str, Any]:
        """See `MotionModel.encode`: the source and its features at every level."""
        return {"source": source, "features": self.generator.encode(source)}

    def generate(
        self,
        encoded: dict[str, Any],
        motion_source: Motion,
        motion_driving: Motion,
        condition: Condition | None = None,
    ) -> dict[str, Any]:
        """See `MotionModel.generate`; also returns the other outputs of `OcclusionAwareGenerator`."""
        batch = len(motion_driving["value"])
        return self.generator(
            expand_batch(encoded["source"], batch),
            [expand_batch(level, batch) for level in encoded["features"]],
            motion_driving,
            {name: expand_batch(value, batch) for name, value in motion_source.items()},
            condition.flow if condition is not None else None,
        )

    # --- training ----------------------------------------------------------------------------------------------------

    def prepare_training(
        self, section: FommTrainParams, vgg: VGG19 | None, au_estimator: AUEstimator | None = None
    ) -> dict[str, Optimiser]:
        """See `MotionModel.prepare_training`. The settings of Adam are the published ones."""
        self.train_params = section
        self.picture_loss = PictureLoss(section, vgg, "stride")
        rates = {
            "generator": section.lr_generator,
            "discriminator": section.lr_discriminator,
            "kp_detector": section.lr_kp_detector,
        }
        return {f"optimizer_{name}": self._optimiser(name, rate) for name, rate in rates.items()}

    def _optimiser(self, name: str, rate: float) -> Optimiser:
        zones = self.generator.dense_motion_network.zones
        fast = list(zones.parameters()) if zones is not None and name == "generator" else []
        own = set(fast)
        slow = [weight for weight in self.networks()[name].parameters() if weight not in own]
        groups = [{"params": slow, "lr": rate}]
        if fast:
            groups.append({"params": fast, "lr": self.train_params.lr_zones})
        adam = torch.optim.Adam(groups, betas=(0.5, 0.999))
        return Optimiser(adam, (name,), {}, adversary=name == "discriminator")

    def losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Trainable.losses`. Source: FOMM (Siarohin et al., 2019), training losses."""
        source, driving = batch["source"], batch["driving"]
        motion_source = self.motion(source, batch.get("source_landmarks"))
        motion_driving = self.motion(driving, batch.get("driving_landmarks"))
        generated = self.generate(self.encode(source), motion_source, motion_driving)
        losses, weights = self.picture_loss(generated["prediction"], driving), self.train_params.loss_weights
        if weights.motion:
            losses["motion"] = weights.motion * motion_length(generated["deformation"], source)
        if weights.generator_gan:
            losses |= self._adversarial_losses(generated["prediction"], driving, motion_driving["value"].detach())
        losses |= self._equivariance_losses(driving, motion_driving, batch.get("driving_landmarks"))
        return losses, {**generated, "kp_source": motion_source["value"], "kp_driving": motion_driving["value"]}

    def _adversarial_losses(self, prediction: Tensor, driving: Tensor, kp: Tensor) -> dict[str, Tensor]:
        """Least-squares adversarial loss (Mao et al., 2017) and feature-matching loss of the discriminator."""
        weights = self.train_params.loss_weights
        fake = self.discriminator(self.discriminator_pyramid(prediction), kp)
        losses = {"generator_gan": weights.generator_gan * total(_score_loss(scores, 1) for _, scores in fake.values())}
        if any(weights.feature_matching):
            real = self.discriminator(self.discriminator_pyramid(driving), kp)
            losses["feature_matching"] = total(
                weight * (r - f).abs().mean()
                for scale, (features, _) in fake.items()
                for weight, r, f in zip(weights.feature_matching, real[scale][0], features, strict=True)
            )
        return losses

    def discriminator_losses(self, batch: Mapping[str, Tensor], generated: dict[str, Any]) -> dict[str, Tensor]:
        """See `Trainable.discriminator_losses`; no gradient reaches the other networks."""
        weights = self.train_params.loss_weights
        if not weights.generator_gan:
            return {}
        kp = generated["kp_driving"].detach()
        fake = self.discriminator(self.discriminator_pyramid(generated["prediction"].detach()), kp)
        real = self.discriminator(self.discriminator_pyramid(batch["driving"]), kp)
        loss = total(_score_loss(real[scale][1], 1) + _score_loss(fake[scale][1], 0) for scale in fake)
        return {"discriminator_gan": weights.discriminator_gan * loss}

    def _equivariance_losses(
        self, driving: Tensor, motion_driving: Motion, landmarks: Tensor | None
    ) -> dict[str, Tensor]:
        """Differences between keypoints and Jacobians of a frame and those of the warped frame, warped back.

        With a prior, keypoints are no output of a network and have no loss; the landmarks are warped with the frame.
        The published code keeps those of the original frame (EWP) or detects them again (AWP).
        """
        weights = self.train_params.loss_weights
        for_value = weights.equivariance_value and not self.needs_landmarks
        for_jacobian = weights.equivariance_jacobian and "jacobian" in motion_driving
        if not (for_value or for_jacobian):
            return {}
        losses = {}
        with full_precision(driving):
            warp = RandomWarp.draw(len(driving), driving, self.train_params.transform_params, "l1")
            grid = warp.grid(map_size(driving))
            warped = sample(driving, grid, padding="reflection", align_corners=self.convention.sampling)
            follow = warp.inverse(landmarks.float()) if self.needs_landmarks and landmarks is not None else None
            found = self.motion(warped, follow)
            if for_value:
                missed = (motion_driving["value"] - warp(found["value"])).abs().mean()
                losses["equivariance_value"] = weights.equivariance_value * missed
            if for_jacobian:
                turned = warp.jacobian(found["value"]) @ found["jacobian"]
                share = inverse_2x2(motion_driving["jacobian"]) @ turned
                missed = (torch.eye(2, device=share.device) - share).abs().mean()
                losses["equivariance_jacobian"] = weights.equivariance_jacobian * missed
        return losses


def _score_loss(scores: Tensor, label: float) -> Tensor:
    """Mean squared distance of the discriminator's scores from a label: 1 real, 0 generated."""
    return (scores.float() - label).square().mean()
