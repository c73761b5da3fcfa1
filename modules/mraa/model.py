"""The region family, wired: regions, background, pixel-wise flow, generator, AVD.

Dimension letters: B batch, K regions, H x W image.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from config.mraa import MraaModelParams, MraaTrainParams
from config.sections import NormalizationParams, TrainAVDParams
from modules.au_estimator import AUEstimator
from modules.avd_network import AVDNetwork
from modules.facial_prior import PriorMaps
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
from modules.losses import VGG19, PictureLoss
from modules.model import Condition, Mode, Motion, MotionModel
from modules.mraa.affine import LEAST_VARIANCE, reverted
from modules.mraa.bg_motion_predictor import BGMotionPredictor
from modules.mraa.generator import Generator
from modules.mraa.region_predictor import RegionPredictor
from modules.thin_plate_spline import RandomWarp
from modules.trainable import Optimiser

_ADAM_BETAS = (0.5, 0.999)
_INVERSION_ERROR = 0.01  # largest error, in normalised units, of a warp that counts as inverted
_VALUES_OF_REGION = 6  # shift and affine frame, as the AVD network takes them


class MraaModel(MotionModel):
    """MRAA, and with the adaptively weighted prior the MRAA variant of FPB-FOMM.

    A motion holds `shift` (B, K, 2), with affine frames `affine` and `covar` (B, K, 2, 2), and, if the background may
    move, `frame` (B, 3, H, W), from which its motion is predicted when source and driving show the same scene.

    Args:
        params: the config section `model_params`.
    """

    keypoint_name: ClassVar[str] = "shift"
    network_names: ClassVar[tuple[str, ...]] = ("generator", "region_predictor", "bg_predictor", "avd_network")
    optional_networks: ClassVar[frozenset[str]] = frozenset({"avd_network"})
    checkpoint_suffixes: ClassVar[Mapping[str, str]] = {
        "train": "-cpk-reconstruction.pth",
        "train_avd": "-cpk-avd.pth",
    }
    epoch_keys: ClassVar[Mapping[str, str]] = {"train": "epoch_reconstruction", "train_avd": "epoch_avd"}

    train_params: MraaTrainParams
    avd_params: TrainAVDParams

    def __init__(self, params: MraaModelParams):
        super().__init__()
        self.num_regions = params.num_regions
        self.convention = GridConvention(params.align_corners, params.resize_align_corners)
        self.needs_landmarks = self.takes_flow = params.prior == "awp"
        self.relative_covar = params.relative_covar
        self.symmetric = params.region_affine == "symmetric" and params.region_predictor_params.pca_based
        # Motions between symmetric frames have no arbitrary sign.
        self.revert_axis_swap = params.revert_axis_swap and not self.symmetric
        self.revert_avd = params.avd_network_params.revert_axis_swap and not self.symmetric
        self.generator = Generator(
            params.generator_params,
            num_channels=params.num_channels,
            num_regions=params.num_regions,
            revert_axis_swap=self.revert_axis_swap,
            convention=self.convention,
        )
        self.region_predictor = RegionPredictor(
            params.region_predictor_params,
            num_regions=params.num_regions,
            num_channels=params.num_channels,
            estimate_affine=params.estimate_affine,
            region_affine=params.region_affine,
            prior=PriorMaps(params.prior_params, params.prior) if params.prior == "awp" else None,
            prior_regions=params.prior_regions,
        )
        self.bg_predictor = BGMotionPredictor(params.bg_predictor_params, num_channels=params.num_channels)
        self.avd_network = AVDNetwork(params.avd_network_params, num_values=params.num_regions * _VALUES_OF_REGION)

    def settings_in(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        """See `Trainable.settings_in`: the prior, from the convolutions that only regions with a prior have."""
        state = contents.get("region_predictor")
        if not isinstance(state, Mapping):
            return {}
        return {"prior": "awp" if "region1.weight" in state else "none"}

    # --- motion and generation ---------------------------------------------------------------------------------------

    def motion(self, image: Tensor, landmarks: Tensor | None = None) -> Motion:
        """See `MotionModel.motion`; regions are float32 in every precision mode."""
        with full_precision(image):
            region = self.region_predictor(image.float(), landmarks)
        motion = {name: region[name] for name in ("shift", "affine", "covar") if name in region}
        return motion if self.bg_predictor.bg_type == "zero" else {**motion, "frame": image}

    def relative(
        self,
        source: Motion,
        driving: Motion,
        driving_initial: Motion,
        mode: Mode,
        normalization: NormalizationParams,
    ) -> Motion:
        """See `MotionModel.relative`; the published code always scales. The background stays still."""
        regions = [{name: value.float() for name, value in m.items() if name != "frame"} for m in (source, driving)]
        if mode == "standard":
            return regions[1]
        if mode == "avd":
            if "affine" not in driving:
                raise ValueError("expected regions with an affine frame (estimate_affine) for mode `avd`, got none")
            return self._avd(*regions)
        own, moved = regions
        initial = {name: value.float() for name, value in driving_initial.items()}
        shifts = (motion["shift"] for motion in (own, moved, initial))
        result = {"shift": transfer_motion(*shifts, scaling=normalization.scaling)}
        if "affine" not in moved:
            return result
        if not normalization.use_relative_jacobian:
            return {**result, "affine": moved["affine"], "covar": moved["covar"]}
        with full_precision(moved["affine"]):
            affine = moved["affine"] @ inverse_2x2(initial["affine"], LEAST_VARIANCE) @ own["affine"]
            covar = moved["covar"] if self.relative_covar == "driving" else affine @ affine.mT
        return {**result, "affine": affine, "covar": covar}

    def encode(self, source: Tensor, landmarks: Tensor | None = None) -> dict[str, Any]:
        """See `MotionModel.encode`: the source, and its features at every level."""
        return {"source": source, "features": self.generator.encode(source)}

    def generate(
        self,
        encoded: dict[str, Any],
        motion_source: Motion,
        motion_driving: Motion,
        condition: Condition | None = None,
    ) -> dict[str, Any]:
        """See `MotionModel.generate`; also returns outputs of `PixelwiseFlowPredictor`, `deformed` and `bg_param`."""
        batch = len(motion_driving["shift"])
        source = expand_batch(encoded["source"], batch)
        features = [expand_batch(level, batch) for level in encoded["features"]]
        source_region = {name: expand_batch(value, batch) for name, value in motion_source.items() if name != "frame"}
        driving_region = {name: value for name, value in motion_driving.items() if name != "frame"}
        bg_param = None
        if "frame" in motion_source and "frame" in motion_driving:
            with full_precision(source):
                frames = expand_batch(motion_source["frame"], batch), motion_driving["frame"]
                bg_param = self.bg_predictor(*(frame.float() for frame in frames))
        flow = condition.flow if condition is not None else None
        predicted = self.generator.pixelwise_flow_predictor(source, driving_region, source_region, bg_param, flow)
        drawn = self.generator(source, features, predicted["deformation"], predicted.get("occlusion_map"))
        return {**predicted, **drawn, "bg_param": bg_param}

    def _avd(self, source: Motion, driving: Motion) -> Motion:
        """Regions from the AVD network, identity of the source and pose of the driving frame."""
        with full_precision(driving["shift"]):
            affine = source["affine"].expand_as(driving["affine"])
            if self.revert_avd:
                turned = (affine @ inverse_2x2(driving["affine"], LEAST_VARIANCE))[..., :1, :1] < 0
                affine = torch.where(turned, -affine, affine)
            identity = torch.cat([source["shift"].expand_as(driving["shift"]), affine.flatten(2)], dim=2)
            pose = torch.cat([driving["shift"], driving["affine"].flatten(2)], dim=2)  # -> (B, K, 6)
            values = self.avd_network(identity.flatten(1), pose.flatten(1)).view_as(pose)
            affine = values[..., 2:].unflatten(2, (2, 2))
            return {"shift": values[..., :2], "affine": affine, "covar": affine @ affine.mT}

    # --- training ----------------------------------------------------------------------------------------------------

    def prepare_training(
        self, section: MraaTrainParams, vgg: VGG19 | None, au_estimator: AUEstimator | None = None
    ) -> dict[str, Optimiser]:
        """See `MotionModel.prepare_training`. The settings of Adam are the published ones."""
        self.train_params = section
        self.picture_loss = PictureLoss(section, vgg, "stride")
        self.avd_network.requires_grad_(False)
        names = ("generator", "region_predictor", "bg_predictor")
        networks = self.networks()
        zones = self.generator.pixelwise_flow_predictor.zones
        fast = [] if zones is None else list(zones.parameters())
        known = set(fast)
        slow = [weight for name in names for weight in networks[name].parameters() if weight not in known]
        groups: list[dict[str, Any]] = [{"params": slow}, *([{"params": fast, "lr": section.lr_zones}] if fast else [])]
        adam = torch.optim.Adam(groups, lr=section.lr, betas=_ADAM_BETAS)
        return {"optimizer_reconstruction": Optimiser(adam, names, {})}

    def losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Trainable.losses`. Source: MRAA (Siarohin et al., 2021), training losses."""
        source, driving = batch["source"], batch["driving"]
        motion_source = self.motion(source, batch.get("source_landmarks"))
        motion_driving = self.motion(driving, batch.get("driving_landmarks"))
        generated = self.generate(self.encode(source), motion_source, motion_driving)
        losses = {
            **self.picture_loss(generated["prediction"], driving),
            **self._equivariance(driving, batch.get("driving_landmarks"), motion_driving),
        }
        if weight := self.train_params.loss_weights.motion:
            losses["motion"] = weight * motion_length(generated["deformation"], source)
        return losses, {**generated, "kp_source": motion_source["shift"], "kp_driving": motion_driving["shift"]}

    def _equivariance(self, driving: Tensor, landmarks: Tensor | None, region: Motion) -> dict[str, Tensor]:
        """Differences between the regions of a frame and those of the warped frame, warped back.

        With a prior the positions are given and have no loss.
        """
        weights = self.train_params.loss_weights
        shift_weight = 0.0 if self.needs_landmarks else weights.equivariance_shift
        affine_weight = weights.equivariance_affine if "affine" in region else 0.0
        if not shift_weight and not affine_weight:
            return {}
        with full_precision(driving):
            warp = RandomWarp.draw(len(driving), driving, self.train_params.transform_params, "l1")
            grid = warp.grid(map_size(driving))
            warped = sample(driving, grid, padding="reflection", align_corners=self.convention.sampling)
            given, usable = None, torch.ones(1, device=driving.device)
            if landmarks is not None and self.needs_landmarks:
                given = warp.inverse(landmarks.float())
                # A warp that folds the face has no inverse.
                usable = ((warp(given) - landmarks).abs().amax((1, 2)) < _INVERSION_ERROR).float()
            moved = self.motion(warped, given)
            losses = {}
            if shift_weight:
                losses["equivariance_shift"] = shift_weight * (region["shift"] - warp(moved["shift"])).abs().mean()
            if affine_weight:
                back = warp.jacobian(moved["shift"]) @ moved["affine"]
                value = inverse_2x2(region["affine"], LEAST_VARIANCE) @ back
                if self.symmetric:
                    value = value @ value.mT  # without the rotation, which a covariance does not determine
                elif self.revert_axis_swap:
                    value = reverted(value)
                identity = torch.eye(2, device=value.device)
                missed = (identity - value).abs().mean((1, 2, 3))  # -> (B,)
                losses["equivariance_affine"] = affine_weight * (usable * missed).mean()
        return losses

    def prepare_avd(self, section: TrainAVDParams) -> dict[str, Optimiser]:
        """See `MotionModel.prepare_avd`."""
        if self.region_predictor.jacobian is None and not self.region_predictor.pca_based:
            raise NotImplementedError("the AVD network needs regions with affine frames: estimate_affine")
        self.avd_params = section
        self.requires_grad_(False)
        self.avd_network.requires_grad_(True)
        adam = torch.optim.Adam(self.avd_network.parameters(), lr=section.lr, betas=_ADAM_BETAS)
        return {"optimizer_avd": Optimiser(adam, ("avd_network",), {})}

    def avd_losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `MotionModel.avd_losses`. Source: MRAA (Siarohin et al., 2021), Sec. 3.4."""
        self.region_predictor.eval()  # also freezes its statistics
        with torch.no_grad():
            source = self.motion(batch["source"], batch.get("source_landmarks"))
            driving = self.motion(batch["driving"], batch.get("driving_landmarks"))
            uniform = torch.rand(len(driving["shift"]), 1, 2, device=driving["shift"].device)
            scale = 1 + self.avd_params.random_scale * (2 * uniform - 1)
            other = {"shift": driving["shift"] * scale, "affine": driving["affine"] * scale[..., None]}
        found = self._avd(source, other)
        weights = {"shift": self.avd_params.lambda_shift, "affine": self.avd_params.lambda_affine}
        return {name: w * (driving[name] - found[name]).abs().mean() for name, w in weights.items()}, {}
