"""Action units of a face in an image, and their difference between two images of the same face.

Every face is first warped to one shape by its landmarks and split into halves, the right one mirrored, so that the
networks and maps of one half serve all faces and both sides.

Dimension letters: B batch, H x W image, h x w map, A = 17 action units, N pixels, K columns.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config.sections import TrainAUParams
from modules.face_frame import (
    ACTION_UNITS,
    HALF_FACE,
    action_unit_regions,
    half_face_grids,
    image_to_face_jacobian,
    spread_over_half_face,
)
from modules.geometry import GREY, full_precision, gaussian_blur, sample, slope
from modules.losses import total
from modules.trainable import Optimiser, Trainable

_MAPS = (32, 19)  # size of the learned maps, which are smooth
_SCALES = ((1.2, 1), (2.4, 2))  # standard deviation of the blur, and stride of the pixels used
_UNIT = 0.03  # unit of motion in eye distances, about one pixel of half a face
_CONTRAST = 4.0  # standard deviation, in pixels, of the local normalisation of contrast
_NUISANCE_RIDGE = 1e-4
_CHANCE = 0.15  # correlation of a unit's column with the change that occurs by chance in faces outside the training set
_SMALLEST = 1e-12  # lower limit of a squared length, so that the gradient of its root is finite

LOSS_WEIGHTS = {
    "difference": 1.0,  # error of the action-unit difference of two frames
    "explanation": 0.5,  # image change that the true difference does not explain by the learned motion and shading
    "intensity": 0.1,  # error of the intensities in a single frame
    "roughness": 0.03,  # squared second differences of the learned maps
    "motion": 0.03,  # squared difference of the learned motion from its initial value
    "shading": 20.0,  # squared learned shading: wrinkles differ between faces, so motion should explain most changes
}


class AUEstimator(Trainable):
    """Estimate intensities by a small network, and differences by the motion and shading that explain them.

    A network that estimates intensities from one image cannot distinguish a low brow from a lowered one, and trained on
    few faces it does not generalise. For small motion, the difference of two images of a face is a sum over action
    units of intensity times (motion along the image gradient + shading). `difference` solves for the intensities by
    sparse least squares together with illumination and head motion; motion and shading of each unit are learned maps of
    half a face. The face itself enters only through its image gradient. Training is not sparse, so that a unit that
    explains the motion of another one is corrected.

    Args:
        landmark_motion: (A, 68, 2) displacement of the landmarks of the left half by each unit at full intensity, x
            lateral, y down, in eye distances; initial value of the learned motion. None for weights to be loaded.
    Source: linear appearance models fitted by least squares: active appearance models (Cootes et al., 2001), optical
        flow in a parametric basis (Bergen et al., 1992); sparse coefficients (Tibshirani, 1996), threshold
        relative to the change to be explained (Belloni et al., 2011).
    """

    network_names: ClassVar[tuple[str, ...]] = ("au_estimator",)
    needs_landmarks = needs_action_units = True

    def __init__(self, landmark_motion: Tensor | None = None):
        super().__init__()
        self.au_estimator = _Networks(landmark_motion)

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """Estimate the intensities of a face.

        Args:
            image: (B, 3, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1].
        Returns:
            (B, A, 2) in [0, 1], left and right half of the subject's face.
        """
        with full_precision(image):
            return torch.sigmoid(self.au_estimator.intensity_logits(self.halves(image, landmarks)))

    def difference(self, source: Tensor, driving: Tensor, landmarks: Tensor, source_au: Tensor | None = None) -> Tensor:
        """Estimate the action units of one image minus those of another image of the same face.

        Args:
            source, driving: (B, 3, H, W) in [0, 1], with the head in the same pose.
            landmarks: (B, 68, 2), xy in [-1, 1], of the source.
            source_au: (B, A, 2) in [0, 1], intensities of the source if they are known, which limit the difference so
                that intensities stay in [0, 1].
        Returns:
            (B, A, 2), driving minus source, left and right half; differentiable in both images.
        """
        with full_precision(source):
            first, second = self.halves(source, landmarks), self.halves(driving, landmarks)
            return self.difference_of_halves(first, second, landmarks, source_au)

    def halves(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """Warp faces to the mean shape and split them into grey halves.

        Args:
            image: (B, 3, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1], of the face at rest in the image's head pose.
        Returns:
            (2B, 1, *HALF_FACE), left and right half alternating.
        """
        grey = (image.float() * image.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
        both = grey[:, None].expand(-1, 2, -1, -1, -1).flatten(0, 1)
        return sample(both, half_face_grids(landmarks.float()).flatten(0, 1), padding="border")

    def difference_of_halves(
        self, source: Tensor, driving: Tensor, landmarks: Tensor, source_au: Tensor | None = None
    ) -> Tensor:
        """Like `difference`, for halves of faces; the head pose of the two images may differ.

        Args:
            source, driving: (2B, 1, *HALF_FACE), from `halves`.
            landmarks, source_au: see `difference`.
        """
        return self._explained(source, driving, landmarks, source_au, _CHANCE)[0]

    def _explained(
        self, source: Tensor, driving: Tensor, landmarks: Tensor, source_au: Tensor | None, chance: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Differences (B, A, 2), columns (2B, K, N) that explain the change, and the change (2B, N)."""
        landmarks = landmarks.float()
        steps = image_to_face_jacobian(landmarks, half_face_grids(landmarks)).flatten(0, 1)  # -> (2B, h, w, 2, 2)
        columns, change = self.au_estimator.columns(source, driving, steps)
        rest = None if source_au is None else source_au.float().clamp(0, 1).mT.flatten(0, 1)  # -> (2B, A)
        found = self.au_estimator.solve(columns, change, rest, chance)  # -> (2B, A)
        return found.view(-1, 2, found.shape[1]).mT, columns, change

    # --- training ----------------------------------------------------------------------------------------------------

    def prepare_training(self, section: TrainAUParams) -> dict[str, Optimiser]:
        """Prepare `losses` and return the optimisers under their names in checkpoints."""
        network = self.au_estimator
        groups = [
            {"params": [network.motion, network.motion_scale], "lr": 3 * section.lr},
            {"params": [network.shading, network.log_weight, network.log_ridge, network.gain], "lr": section.lr},
            {"params": list(network.intensity.parameters()), "lr": 0.1 * section.lr, "weight_decay": 1e-2},
        ]
        adam = torch.optim.AdamW(groups, weight_decay=0.0)
        return {"optimizer_au": Optimiser(adam, ("au_estimator",), {"au_estimator": 1.0})}

    def losses(self, batch: Mapping[str, Tensor], epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `Trainable.losses`: errors of differences, explanation and intensities, and regularisation of the maps.

        Args:
            batch: see `Trainable.losses`; the head pose is the same in both frames.
            epoch: from 0.
        """
        network = self.au_estimator
        landmarks, wanted = batch["source_landmarks"], batch["au_diff"]
        images = _randomise_appearance(batch["source"], batch["driving"])
        source, driving = (self.halves(image, landmarks) for image in images)
        found, columns, change = self._explained(source, driving, landmarks, batch["source_au"], chance=0.0)
        moving = 1 + 4 * (wanted.abs() > 0.02)  # most units rest most of the time
        explained = torch.einsum("bk,bkn->bn", wanted.mT.flatten(0, 1), columns[:, : len(ACTION_UNITS)])
        intensity = torch.sigmoid(network.intensity_logits(driving))
        losses = {
            "difference": (moving * _huber(found - wanted)).mean(),
            "explanation": (change - explained).square().mean(),
            "intensity": _huber(intensity - batch["source_au"] - wanted).mean(),
            "roughness": total(_roughness(m) for m in (network.motion, network.shading)),
            "motion": network.motion.square().mean(),
            "shading": network.shading.square().mean(),
        }
        return {name: LOSS_WEIGHTS[name] * loss for name, loss in losses.items()}, {}


class RelativeAULoss(nn.Module):
    """Relative action-unit constraint: error of the action-unit difference that the prediction shows.

    Args:
        estimator: frozen.
        weights: weights of single action units, by number; 1 for all others.
    Raises:
        ValueError: a number that is not an action unit of the estimator.
    """

    weights: Tensor

    def __init__(self, estimator: AUEstimator, weights: Mapping[int, float]):
        super().__init__()
        if unknown := set(weights) - set(ACTION_UNITS):
            raise ValueError(f"au_weights: expected action units among {ACTION_UNITS}, got {min(unknown)}")
        self.estimator = estimator
        values = torch.tensor([float(weights.get(unit, 1.0)) for unit in ACTION_UNITS])
        self.register_buffer("weights", values / values.sum(), persistent=False)

    def forward(
        self, source: Tensor, prediction: Tensor, landmarks: Tensor, source_au: Tensor, au_diff: Tensor
    ) -> Tensor:
        """Weighted mean of |A(prediction) - A(source) - dAU| over action units, sides and samples.

        Args:
            source, prediction: (B, 3, H, W) in [0, 1], with the head in the same pose.
            landmarks: (B, 68, 2), xy in [-1, 1], of the source.
            source_au: (B, A, 2) in [0, 1], of the source, left and right.
            au_diff: (B, A, 2), difference that the prediction should show, left and right.
        """
        error = (self.estimator.difference(source, prediction, landmarks, source_au) - au_diff).abs().mean((0, 2))
        return (error * self.weights).sum()


class _Networks(nn.Module):
    """Parameters of the estimator, and the functions of halves of faces that use them."""

    landmark_motion: Tensor

    def __init__(self, landmark_motion: Tensor | None):
        super().__init__()
        units = len(ACTION_UNITS)
        start = torch.zeros(units, 68, 2) if landmark_motion is None else landmark_motion.float()
        self.register_buffer("landmark_motion", spread_over_half_face(start, _MAPS) / _UNIT)
        self.motion_scale = nn.Parameter(torch.ones(units, 1, 1, 1))
        self.motion = nn.Parameter(torch.zeros(units, 2, *_MAPS))
        self.shading = nn.Parameter(torch.zeros(units, 1, *_MAPS))
        self.log_weight = nn.Parameter(torch.zeros(len(_SCALES), 1, *_MAPS))
        self.log_ridge = nn.Parameter(torch.full((units,), -6.0))
        self.gain = nn.Parameter(torch.ones(units))
        self.intensity = nn.Sequential(
            *(layer for i, o in ((1, 16), (16, 24), (24, 32)) for layer in (nn.Conv2d(i, o, 3, 2, 1), nn.ReLU())),
            nn.Flatten(),
            nn.Linear(32 * (HALF_FACE[0] // 8) * (HALF_FACE[1] // 8), units),
        )

    def intensity_logits(self, halves: Tensor) -> Tensor:
        """Logits of the intensities: (2B, 1, h, w) -> (B, A, 2)."""
        even = halves - gaussian_blur(halves, _CONTRAST)
        even = even / (gaussian_blur(even.square(), _CONTRAST).sqrt() + 0.05)
        return self.intensity(even).view(len(halves) // 2, 2, -1).mT

    def columns(self, source: Tensor, driving: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Image change per unit of each action unit, of head motion and of illumination, and the observed change.

        Args:
            source, driving: (2B, 1, h, w), halves of the faces.
            steps: (2B, h, w, 2, 2), from `image_to_face_jacobian`.
        Returns:
            Columns (2B, K, N), action units first, and the observed change (2B, N).
        """
        regions = action_unit_regions(self.motion)[:, None]
        motion = regions * _upsampled(self.motion + self.motion_scale * self.landmark_motion)
        shading = regions * _upsampled(self.shading)
        head, light = _nuisance(self.motion)
        motion, weights = torch.cat([motion, head]), _upsampled(self.log_weight).exp()
        along = torch.linalg.inv(steps) * _UNIT  # pixels of the half face per unit of motion
        columns, changes = [], []
        for (blur, stride), weight in zip(_SCALES, weights, strict=True):
            first, second = gaussian_blur(source, blur), gaussian_blur(driving, blur)
            middle, change = (first + second) / 2, second - first
            slope_x, slope_y = (slope(middle, axis) for axis in (-1, -2))
            contrast = gaussian_blur(slope_x.square() + slope_y.square(), _CONTRAST).sqrt()
            lateral = slope_x * along[:, None, ..., 0, 0] + slope_y * along[:, None, ..., 1, 0]
            down = slope_x * along[:, None, ..., 0, 1] + slope_y * along[:, None, ..., 1, 1]
            thin, maps = [
                [x[..., ::stride, ::stride] for x in group]
                for group in ((lateral, down, middle, change, weight / (contrast + 0.01)), (motion, shading, light))
            ]
            moved = -(thin[0] * maps[0][None, :, 0] + thin[1] * maps[0][None, :, 1])
            shaded = thin[2] * maps[1][None, :, 0]
            units = len(ACTION_UNITS)
            brighter = torch.cat([thin[2] * maps[2], maps[2].expand(len(moved), -1, -1, -1)], dim=1)
            all_columns = torch.cat([moved[:, :units] + shaded, moved[:, units:], brighter], dim=1)
            columns.append((all_columns * thin[4] * stride).flatten(2))
            changes.append((thin[3] * thin[4] * stride).flatten(1))
        return torch.cat(columns, dim=2), torch.cat(changes, dim=1)

    def solve(self, columns: Tensor, change: Tensor, rest: Tensor | None, chance: float) -> Tensor:
        """Solve for the intensities by sparse regression: few units act at a time.

        Args:
            columns: (2B, K, N), action units first.
            change: (2B, N).
            rest: (2B, A) in [0, 1], intensities before the change; None sets no limits.
            chance: correlation of a unit's column with the change up to which the unit is 0; 0 lets all units act.
        Returns:
            (2B, A), minimum of squared error + ridge + sum of threshold * |intensity| within the limits; the threshold
            is `chance` times the lengths of column and change after removal of head motion and illumination.
        """
        units, count = len(ACTION_UNITS), len(_SCALES) * HALF_FACE[0] * HALF_FACE[1]
        ordered = torch.cat([columns[:, :units], change[:, None], columns[:, units:]], dim=1)
        products = ordered @ ordered.mT / count
        own, shared, other = (
            products[:, : units + 1, : units + 1],
            products[:, units + 1 :, : units + 1],
            products[:, units + 1 :, units + 1 :],
        )
        other = other + _NUISANCE_RIDGE * torch.eye(other.shape[-1], device=other.device)
        reduced = own - shared.mT @ torch.linalg.solve(other, shared)  # -> (2B, A + 1, A + 1)
        system, right = reduced[:, :units, :units], reduced[:, :units, units]
        lengths = reduced.diagonal(dim1=-2, dim2=-1).clamp_min(_SMALLEST).sqrt()
        threshold = chance * lengths[:, :units] * lengths[:, units:]
        system = system + torch.diag(self.log_ridge.exp())
        low, high = (-torch.inf, torch.inf) if rest is None else (-rest / self.gain, (1 - rest) / self.gain)
        found = _sparse(system, right, threshold, low, high)
        # Among the units that act, the solution is linear in the change, so that its gradient is exact.
        free = (found != 0) & (found > low) & (found < high)
        held = torch.where(free, 0, found)
        right = torch.where(free, right - threshold * found.sign() - (system @ held[..., None])[..., 0], held)
        system = torch.where(free[:, :, None] & free[:, None, :], system, 0) + torch.diag_embed((~free).float())
        return torch.linalg.solve(system, right) * self.gain


@torch.no_grad()
def _sparse(
    system: Tensor,
    right: Tensor,
    threshold: Tensor,
    low: Tensor | float,
    high: Tensor | float,
    iterations: int = 50,
) -> Tensor:
    """Minimise x'Sx / 2 - r'x + t'|x| with low <= x <= high: (B, A, A) and (B, A) -> (B, A).

    Source: alternating direction method of multipliers (Boyd et al., 2011, Sec. 6.4), columns scaled to equal length.
    """
    scale = system.diagonal(dim1=-2, dim2=-1).sqrt()
    scaled = system / (scale[:, :, None] * scale[:, None, :])
    inverse = torch.linalg.inv(scaled + torch.eye(scaled.shape[-1], device=scaled.device))
    right, threshold, low, high = right / scale, threshold / scale, low * scale, high * scale
    found = excess = torch.zeros_like(right)
    for _ in range(iterations):
        smooth = (inverse @ (right + found - excess)[..., None])[..., 0]
        found = F.relu((smooth + excess).abs() - threshold) * (smooth + excess).sign()
        found = found.clamp(low, high)
        excess = excess + smooth - found
    return found / scale


def _upsampled(maps: Tensor) -> Tensor:
    """Learned maps at the size of half a face."""
    return F.interpolate(maps, HALF_FACE, mode="bicubic", align_corners=True)


def _nuisance(like: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of affine head motion (6, 2, h, w) and of illumination (3, h, w) of half a face."""
    height, width = HALF_FACE
    x = torch.linspace(-1, 1, width, device=like.device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=like.device)[:, None].expand(height, width)
    light = torch.stack([torch.ones_like(x), x, y])
    still = torch.zeros_like(light)
    return torch.cat([torch.stack([light, still], dim=1), torch.stack([still, light], dim=1)]), light


def _huber(x: Tensor) -> Tensor:
    return F.smooth_l1_loss(x, torch.zeros_like(x), beta=0.05, reduction="none")


def _roughness(maps: Tensor) -> Tensor:
    return total(maps.diff(dim=axis, n=2).square().mean() for axis in (-1, -2))


def _randomise_appearance(source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the same random illumination, contrast and texture to both images of a pair, and independent noise to each.

    Training sets hold few people, and the estimator must not depend on their skin.
    """
    batch, _, height, width = source.shape

    def field(strength: float, cells: int) -> Tensor:
        noise = strength * torch.randn(batch, 1, cells, cells, device=source.device)
        return F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)

    gamma = torch.exp(0.25 * torch.randn(batch, 1, 1, 1, device=source.device))
    gain = torch.exp(field(0.2, 4))
    added = field(0.05, 6) + field(0.03, 24) + field(0.03, 48)
    strength = 0.015 * torch.rand(batch, 1, 1, 1, device=source.device)
    first, second = (
        image.clamp(1e-3, 1) ** gamma * gain + added + strength * torch.randn_like(image) for image in (source, driving)
    )
    return first, second
