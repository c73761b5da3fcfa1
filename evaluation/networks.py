"""Metrics by networks of libraries, LPIPS and FID, whose weights are files that may have to be provided.

Legend: B batch, H x W image, D features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from errors import UserError, first_line

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET_URL = f"https://download.pytorch.org/models/{ALEXNET_FILE}"
FID_FRAMES = 8  # per clip; neighbouring frames hardly differ

Distance = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
"""Distance of two images, uint8 (H, W, 3)."""
Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Features (B, D) of images, uint8 (B, H, W, 3)."""


def _weights(setting: str, metric: str, file: str, url: str) -> Path:
    """Path of a weights file in the folder of PyTorch's downloads.

    Raises:
        UserError: it is not there; nothing is downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise UserError(
            f"{setting}: {metric} needs {file}, which is not in {path.parent}; put the file from {url} there, name a "
            f"TorchScript file instead, or leave {metric} out with {setting}: null"
        )
    return path


def load_script(setting: str, path: Path, expected: str) -> Any:
    """Load a TorchScript network that a setting names.

    Raises:
        UserError: the file cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.export has no files that older versions read
            return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]  # torch's stubs
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{setting}: {path}: expected a TorchScript network, {expected} ({first_line(error)})"
        ) from error


@lru_cache(maxsize=1)
def load_lpips(name: str) -> Distance:
    """Return the LPIPS distance; Zhang et al., CVPR 2018, by torchmetrics.

    Args:
        name: `alex`, the published network; or a TorchScript file, two images (1, 3, H, W) in [-1, 1] -> distance.
    Raises:
        UserError: the weights are missing; the message names the file, its folder and how to provide it.
    """
    setting = "evaluate_params.lpips"
    if name == "alex":
        _weights(setting, "LPIPS", ALEXNET_FILE, ALEXNET_URL)
        from torchmetrics.functional.image.lpips import _NoTrainLpips

        network: Any = _NoTrainLpips(net="alex")
    else:
        network = load_script(setting, Path(name), "two images (1, 3, H, W) in [-1, 1] -> distance")

    def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        with torch.inference_mode():
            return float(network(_signed(one), _signed(other)))

    return distance


def _signed(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


@lru_cache(maxsize=1)
def load_features(name: str) -> Features:
    """Return the feature network of FID; Heusel et al., NeurIPS 2017, by torchmetrics and torch-fidelity.

    Args:
        name: `inception`, the published network; or a TorchScript file, uint8 (B, 3, H, W) -> (B, D).
    Raises:
        UserError: the package or the weights are missing.
    """
    setting = "evaluate_params.fid"
    if name == "inception":
        path = _weights(setting, "FID", INCEPTION_FILE, INCEPTION_URL)
        try:
            from torchmetrics.image.fid import NoTrainInceptionV3

            network: Any = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path))
        except ModuleNotFoundError as error:
            raise UserError(
                f"{setting}: FID needs torch-fidelity; install it with `pip install torch-fidelity`"
            ) from error
    else:
        network = load_script(setting, Path(name), "uint8 (B, 3, H, W) -> (B, D)")

    def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found = network(torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous())
            return np.asarray(found.float().numpy())

    return features


class _Features(nn.Module):
    """Stands for the network of torchmetrics' FID, which then takes features instead of images."""

    def __init__(self, count: int):
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        """Return the features."""
        return features


class FrechetDistance:
    """FID of one system, from features that come clip by clip; memory does not grow with their number."""

    def __init__(self) -> None:
        self._metric: Any = None

    def add(self, real: NDArray[np.float32], generated: NDArray[np.float32]) -> None:
        """Add features (B, D) of real and generated images."""
        if self._metric is None:
            from torchmetrics.image.fid import FrechetInceptionDistance

            self._metric = FrechetInceptionDistance(feature=_Features(real.shape[1]))
        self._metric.update(torch.from_numpy(real), real=True)
        self._metric.update(torch.from_numpy(generated), real=False)

    def value(self) -> float:
        """Return the distance; NaN with fewer than two images of each kind."""
        if (
            self._metric is None
            or min(self._metric.real_features_num_samples, self._metric.fake_features_num_samples) < 2
        ):
            return float("nan")
        return float(self._metric.compute())
