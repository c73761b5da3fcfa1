"""The thin-plate-spline family, wired: keypoints, background, dense motion, inpainting, AVD.

Dimension letters: B batch, K splines, H x W image.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from config.sections import NormalizationParams, TrainAVDParams
from config.tps import TpsModelParams, TpsTrainParams
from modules.au_estimator import AUEstimator, RelativeAULoss
from modules.avd_network import AVDNetwork
from modules.blocks import AntiAliasInterpolation2d
from modules.face_frame import face_coordinates
from modules.geometry import (
    aligned,
    expand_batch,
    full_precision,
    gaussian_blur,
    map_size,
    motion_length,
    resize_grid,
    sample,
    transfer_motion,
)
from modules.losses import VGG19, PictureLoss, total
from modules.model import Condition, Mode, Motion, MotionModel
from modules.thin_plate_spline import RandomWarp
from modules.tps.bg_motion_predictor import BGMotionPredictor
from modules.tps.dense_motion import DenseMotionNetwork
from modules.tps.inpainting_network import InpaintingNetwork
from modules.tps.keypoint_detector import POINTS_PER_TPS, KPDetector, LandmarkKeypoints
from modules.tps.landmark_groups import LANDMARK_GROUPS
from modules.trainable import Optimiser

_CLIP_NORM = 10.0
_ALIGNMENT_WINDOW = 0.02  # in frame widths, see `aligned`
_ALIGNMENT_NOISE = 0.02  # difference of neighbouring pixels, several times that of camera noise
_SHADING_BLUR = 0.8  # pixels: camera noise is finer than wrinkles
_SHADING_ROUGHNESS = 1e-5
_LOW_PASS = 0.125  # scale at which a face is recognisable and a micro-expression is invisible


class TPSModel(MotionModel):
    """TPSMM, and with landmarks and action units FMEG-TPSRAU.

    A motion holds `fg_kp` (B, 5K, 2) and, with a background predictor, `frame` (B, 3, H, W), from which the motion of
    the background is predicted when source and driving show the same scene.

    Args:
        params: the config section `model_params`.
    """

    keypoint_name: ClassVar[str] = "fg_kp"
    network_names: ClassVar[tuple[str, ...]] = (
        "inpainting_network",
        "dense_motion_network",
        "kp_detector",
        "bg_predictor",
        "avd_network",
    )
    optional_networks: ClassVar[frozenset[str]] = frozenset({"bg_predictor", "avd_network"})
    train_params: TpsTrainParams
    avd_params: TrainAVDParams

    def __init__(self, params: TpsModelParams):
        super().__init__()
        common = params.common_params
        self.needs_landmarks = self.motion_from_landmarks = params.keypoints == "landmarks"
        self.takes_flow = self.motion_from_landmarks
        self.needs_action_units = params.au_conditioning != "none"
        self.pixel_landmarks = params.landmark_activation == "sigmoid"
        self.inpainting_network = InpaintingNetwork(
            params.generator_params,
            num_channels=common.num_channels,
            multi_mask=common.multi_mask,
            au_conditioning=params.au_conditioning,
        )
        self.dense_motion_network = DenseMotionNetwork(
            params.dense_motion_params,
            num_tps=common.num_tps,
            num_channels=common.num_channels,
            occlusion_levels=params.generator_params.num_down_blocks + 1 if common.multi_mask else None,
            regularization=params.tps_regularization,
            au_rest=params.au_conditioning == "film",
        )
        self.kp_detector: KPDetector | LandmarkKeypoints
        if self.needs_landmarks:
            self.kp_detector = LandmarkKeypoints(LANDMARK_GROUPS[params.landmark_groups], params.landmark_activation)
        else:
            self.kp_detector = KPDetector(common.num_tps)
        self.bg_predictor = BGMotionPredictor() if common.bg else None
        self.avd_network = AVDNetwork(params.avd_network_params, num_values=common.num_tps * POINTS_PER_TPS * 2)

    # --- motion and generation ---------------------------------------------------------------------------------------

    def motion(self, image: Tensor, landmarks: Tensor | None = None) -> Motion:
        """See `MotionModel.motion`; keypoints are float32 in every precision mode."""
        with full_precision(image):
            if not self.needs_landmarks:
                motion = self.kp_detector(image.float())
            elif landmarks is None:
                raise ValueError("expected 68 landmarks for `keypoints: landmarks`, got none")
            else:
                motion = self.kp_detector(self._to_pixels(landmarks, image) if self.pixel_landmarks else landmarks)
        return motion if self.bg_predictor is None else {**motion, "frame": image}

    def relative(
        self,
        source: Motion,
        driving: Motion,
        driving_initial: Motion,
        mode: Mode,
        normalization: NormalizationParams,
    ) -> Motion:
        """See `MotionModel.relative`. The background stays still."""
        kp_source, kp_driving, kp_initial = (motion["fg_kp"].float() for motion in (source, driving, driving_initial))
        if mode == "standard":
            return {"fg_kp": kp_driving}
        if mode == "avd":
            return {"fg_kp": self._avd(kp_source.expand_as(kp_driving), kp_driving)}
        return {"fg_kp": transfer_motion(kp_source, kp_driving, kp_initial, scaling=normalization.scaling)}

    def encode(self, source: Tensor, landmarks: Tensor | None = None) -> dict[str, Any]:
        """See `MotionModel.encode`: the source, its features at every level and its reduced image, and with `film` its
        face coordinates."""
        encoded = {
            "source": source,
            "features": self.inpainting_network.encode(source),
            "small": self.dense_motion_network.reduced(source),
        }
        if self.inpainting_network.au_conditioning == "film":
            if landmarks is None:
                raise ValueError("expected 68 landmarks for `au_conditioning: film`, got none")
            height, width = map_size(source)
            with full_precision(source):
                half = face_coordinates(landmarks.float(), (height // 2, width // 2))  # smooth: half the size is enough
                encoded["coordinates"] = resize_grid(half, (height, width))
        return encoded

    def generate(
        self,
        encoded: dict[str, Any],
        motion_source: Motion,
        motion_driving: Motion,
        condition: Condition | None = None,
        dropout: tuple[float, Tensor] | None = None,
        background: bool = True,
    ) -> dict[str, Any]:
        """See `MotionModel.generate`; also returns the outputs of `DenseMotionNetwork`, and `bg_param`.

        Args:
            dropout: dropout of splines in training, see `DenseMotionNetwork`.
            background: predict the background's motion if both motions hold their frame.
        """
        batch = len(motion_driving["fg_kp"])
        source = expand_batch(encoded["source"], batch)
        features = [expand_batch(level, batch) for level in encoded["features"]]
        bg_param = None
        if background and self.bg_predictor is not None and "frame" in motion_driving and "frame" in motion_source:
            bg_param = self._background(expand_batch(motion_source["frame"], batch), motion_driving["frame"])
        kp_source = expand_batch(motion_source["fg_kp"], batch)
        au_diff = coordinates = None
        if self.needs_action_units:
            if condition is None or condition.au_diff is None:
                raise ValueError("expected Condition.au_diff for a model with au_conditioning, got none")
            au_diff = condition.au_diff
        if "coordinates" in encoded:
            coordinates = expand_batch(encoded["coordinates"], batch)
        dense = self.dense_motion_network(
            source,
            motion_driving["fg_kp"],
            kp_source,
            bg_param,
            dropout,
            condition.flow if condition is not None else None,
            (au_diff, coordinates) if coordinates is not None else None,
            expand_batch(encoded["small"], batch),
        )
        drawn = self.inpainting_network(
            source, features, dense["deformation"], dense["occlusion_map"], au_diff, coordinates
        )
        return {**dense, **drawn, "bg_param": bg_param}

    def _background(self, source: Tensor, driving: Tensor) -> Tensor:
        assert self.bg_predictor is not None, "called with a background predictor only"
        with full_precision(source):
            return self.bg_predictor(source.float(), driving.float())

    def _avd(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        with full_precision(kp_source):
            return self.avd_network(kp_source.flatten(1), kp_driving.flatten(1)).view_as(kp_driving)

    @staticmethod
    def _to_pixels(landmarks: Tensor, image: Tensor) -> Tensor:
        height, width = map_size(image)
        return (landmarks + 1) / 2 * landmarks.new_tensor([width - 1, height - 1])

    # --- training ----------------------------------------------------------------------------------------------------

    def prepare_training(
        self, section: TpsTrainParams, vgg: VGG19 | None, au_estimator: AUEstimator | None = None
    ) -> dict[str, Optimiser]:
        """See `MotionModel.prepare_training`. The settings of Adam and of clipping are the published
        ones."""
        self.train_params = section
        self.picture_loss = PictureLoss(section, vgg, "nearest")
        if au_estimator is not None:
            self.relative_au_loss = RelativeAULoss(au_estimator, section.au_weights)
            self.to_low_pass = AntiAliasInterpolation2d(3, _LOW_PASS, "nearest")
        self.avd_network.requires_grad_(False)
        optimisers = {
            "optimizer": self._optimiser("inpainting_network", "dense_motion_network", "kp_detector", unclipped=1)
        }
        if self.bg_predictor is not None:
            optimisers["optimizer_bg_predictor"] = self._optimiser("bg_predictor", start_epoch=section.bg_start)
        return optimisers

    def _optimiser(self, *names: str, unclipped: int = 0, start_epoch: int = 0) -> Optimiser:
        networks = self.networks()
        slow = [weight for name in names for weight in networks[name].parameters()]
        fast = []
        for part, rate in self._maps().items():
            own = set(part.parameters())
            if own & set(slow):
                slow = [weight for weight in slow if weight not in own]
                fast.append({"params": list(part.parameters()), "lr": rate})
        groups = [{"params": slow, "lr": self.train_params.lr_generator, "weight_decay": 1e-4}, *fast]
        adam = torch.optim.Adam(groups, betas=(0.5, 0.999))
        return Optimiser(adam, names, {name: _CLIP_NORM for name in names[unclipped:]}, start_epoch)

    def _maps(self) -> dict[nn.Module, float]:
        """Learned maps of the face, which weight decay must not shrink, and their learning rates."""
        maps: dict[nn.Module, float] = {}
        for part in (self.dense_motion_network.zones, self.dense_motion_network.au_rest):
            if part is not None:
                maps[part] = self.train_params.lr_zones
        if self.inpainting_network.au_conditioning == "film":
            maps[self.inpainting_network.au_shading] = self.train_params.lr_shading
        return maps

    def losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Trainable.losses`. Source: TPSMM (Zhao and Zhang, 2022), training objective; relative action units
        FMEG-TPSRAU (MM 2022)."""
        section = self.train_params
        if section.cross_identity and torch.rand(()) < section.cross_identity:
            return self._cross_identity_losses(batch, epoch)
        source, driving = batch["source"], batch["driving"]
        motion_source = self.motion(source, batch.get("source_landmarks"))
        motion_driving = self.motion(driving, batch.get("driving_landmarks"))
        with_background = self.bg_predictor is not None and epoch >= section.bg_start
        encoded = self.encode(source, batch.get("source_landmarks"))
        generated = self.generate(
            encoded,
            motion_source,
            motion_driving,
            Condition(au_diff=batch.get("au_diff")),
            dropout=self._dropout(epoch, source),
            background=with_background,
        )
        weights = section.loss_weights
        shading = {}
        if "log_gain" in generated:
            shading = self._shading_losses(generated, driving)
            self._detach_shading(generated)
        losses = {**self.picture_loss(generated["prediction"], driving), **shading}
        if weights.equivariance_value and not self.needs_landmarks:
            losses["equivariance_value"] = weights.equivariance_value * self._equivariance(driving, motion_driving)
        if weights.warp_loss:
            losses["warp_loss"] = weights.warp_loss * self._warp_loss(driving, encoded, generated)
        if weights.motion:
            losses["motion"] = weights.motion * motion_length(generated["deformation"], source)
        if weights.relative_au:
            losses["relative_au"] = self._relative_au(source, generated, batch, batch["au_diff"], epoch)
        if weights.bg and with_background:
            there, back = generated["bg_param"], self._background(driving, source)
            identity = torch.eye(3, device=there.device)
            with full_precision(there):
                losses["bg"] = weights.bg * (identity - there @ back).abs().mean()
        return losses, {**generated, "kp_source": motion_source["fg_kp"], "kp_driving": motion_driving["fg_kp"]}

    @staticmethod
    def _detach_shading(generated: dict[str, Any]) -> None:
        """Detach the shading from all other losses, from which it would learn to paint over errors of the motion."""
        gain = generated["log_gain"].detach().exp()
        generated["prediction"] = (generated["unshaded"] * gain).clamp(max=1)

    def _shading_losses(self, generated: dict[str, Any], driving: Tensor) -> dict[str, Tensor]:
        """Error of the shading against the driving frame, aligned with the prediction, and roughness of the maps."""
        weights, log_gain = self.train_params.loss_weights, generated["log_gain"]
        with torch.no_grad(), full_precision(driving):
            now = generated["prediction"].float()
            wanted = aligned(driving.float(), now, _ALIGNMENT_WINDOW * driving.shape[-1], _ALIGNMENT_NOISE)
        unshaded = generated["unshaded"].detach().float()
        missed = gaussian_blur(unshaded * log_gain.exp() - wanted, _SHADING_BLUR).abs().mean()
        maps = self.inpainting_network.au_shading.log_gain
        rough = sum(maps.diff(dim=axis).square().sum() for axis in (-1, -2)) + maps.square().sum()
        return {"shading": weights.shading * (missed + _SHADING_ROUGHNESS * rough)}

    def _relative_au(
        self, source: Tensor, generated: dict[str, Any], batch: Mapping[str, Tensor], au_diff: Tensor, epoch: int
    ) -> Tensor:
        """Relative action-unit constraint, with a weight that grows from zero."""
        warmup = self.train_params.relative_au_warmup
        grown = min(1.0, epoch / warmup) if warmup else 1.0
        loss = self.relative_au_loss(
            source, generated["prediction"], batch["source_landmarks"], batch["source_au"], au_diff
        )
        return grown * self.train_params.loss_weights.relative_au * loss

    def _cross_identity_losses(
        self, batch: Mapping[str, Tensor], epoch: int
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Losses of a step in which each person of the batch is driven by the next one, without a true image to compare
        with. If both are the same person, nothing moves."""
        source, landmarks = batch["source"], batch["source_landmarks"]
        differs = (batch["subject"] != batch["subject"].roll(-1, 0)).float()[:, None, None]
        motion_source = self.motion(source, landmarks)
        kp_source = motion_source["fg_kp"]
        kp_driving, kp_initial = (
            self.motion(source, batch[name].roll(-1, 0))["fg_kp"] for name in ("driving_landmarks", "source_landmarks")
        )
        moved = transfer_motion(kp_source, kp_driving, kp_initial, scaling="similarity")
        motion = {"fg_kp": torch.lerp(kp_source, moved, differs)}
        au_diff = differs * batch["au_diff"].roll(-1, 0)
        condition = Condition(au_diff=au_diff)
        generated = self.generate(
            self.encode(source, landmarks), motion_source, motion, condition, self._dropout(epoch, source), False
        )
        if "log_gain" in generated:
            self._detach_shading(generated)
        with full_precision(source):
            # The keypoints of the moved face must be sampled at those of the face at rest.
            reached = sample(generated["deformation"].permute(0, 3, 1, 2), motion["fg_kp"][:, None])[:, :, 0].mT
            missed = (reached - kp_source).abs().mean()
            changed = (self.to_low_pass(generated["prediction"].float()) - self.to_low_pass(source.float())).abs()
        weights = self.train_params.cross_identity_weights
        losses = {
            "cross_relative_au": self._relative_au(source, generated, batch, au_diff, epoch),
            "cross_keypoint": weights.keypoint * missed,
            "cross_identity": weights.identity * changed.mean(),
        }
        return losses, {**generated, "kp_source": kp_source, "kp_driving": motion["fg_kp"]}

    def _dropout(self, epoch: int, source: Tensor) -> tuple[float, Tensor] | None:
        section = self.train_params
        if epoch >= section.dropout_epoch:
            return None
        grown = epoch / section.dropout_inc_epoch * section.dropout_maxp + section.dropout_startp
        uniform = torch.rand(len(source), self.dense_motion_network.num_tps + 1, device=source.device)
        return min(grown, section.dropout_maxp), uniform

    def _equivariance(self, driving: Tensor, motion_driving: Motion) -> Tensor:
        """Difference between the keypoints of a frame and those of the warped frame, warped back."""
        with full_precision(driving):
            warp = RandomWarp.draw(len(driving), driving, self.train_params.transform_params, "l2")
            warped = sample(driving, warp.grid(map_size(driving)), padding="reflection")
            return (motion_driving["fg_kp"] - warp(self.motion(warped)["fg_kp"])).abs().mean()

    def _warp_loss(self, driving: Tensor, encoded: dict[str, Any], generated: dict[str, Any]) -> Tensor:
        """Difference of the source's warped features and the driving frame's features; trains the deformation only."""
        network, masks = self.inpainting_network, [mask.detach() for mask in generated["occlusion_map"]]
        warped = network.warp_encoded([f.detach() for f in encoded["features"]], generated["deformation"], masks)
        with torch.no_grad():
            target = network.occlude(network.encode(driving), masks)
        return total((w - t).abs().mean() for w, t in zip(warped, target, strict=True))

    def prepare_avd(self, section: TrainAVDParams) -> dict[str, Optimiser]:
        """See `MotionModel.prepare_avd`."""
        self.avd_params = section
        self.requires_grad_(False)
        self.avd_network.requires_grad_(True)
        adam = torch.optim.Adam(self.avd_network.parameters(), lr=section.lr, betas=(0.5, 0.999))
        return {"optimizer_avd": Optimiser(adam, ("avd_network",), {})}

    def avd_losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `MotionModel.avd_losses`. Source: MRAA (Siarohin et al., 2021), Sec. 3.4."""
        with torch.no_grad():
            kp_source = self.motion(batch["source"], batch.get("source_landmarks"))["fg_kp"]
            kp_driving = self.motion(batch["driving"], batch.get("driving_landmarks"))["fg_kp"]
            uniform = torch.rand(len(kp_source), 1, 2, device=kp_source.device)
            kp_random = kp_driving * (1 + self.avd_params.random_scale * (2 * uniform - 1))
        shift = (kp_driving - self._avd(kp_source, kp_random)).abs().mean()
        return {"shift": self.avd_params.lambda_shift * shift}, {}
