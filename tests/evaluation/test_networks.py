"""LPIPS and FID: missing weights are named, stand-ins are measured by the library."""

import numpy as np
import pytest
import torch
from torch import nn

from errors import UserError
from evaluation.identity import load_embedding
from evaluation.networks import ALEXNET_FILE, INCEPTION_FILE, FrechetDistance, load_features, load_lpips


class Distance(nn.Module):
    """A stand-in for LPIPS."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other).abs().mean()


class Features(nn.Module):
    """A stand-in for Inception: means of a few parts of the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)[:, :4]


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")


@pytest.fixture(autouse=True)
def _forget_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    yield
    load_lpips.cache_clear()
    load_features.cache_clear()


def saved(network: nn.Module, path) -> str:
    """A TorchScript file."""
    torch.jit.script(network).save(str(path))
    return str(path)


@pytest.mark.parametrize(
    ("load", "name", "file"), [(load_lpips, "alex", ALEXNET_FILE), (load_features, "inception", INCEPTION_FILE)]
)
def test_missing_weights_are_named_with_place_and_remedy(load, name, file, tmp_path):
    with pytest.raises(UserError, match="null") as caught:
        load(name)
    message = str(caught.value)
    assert file in message
    assert str(tmp_path / "hub" / "checkpoints") in message
    assert "https://" in message
    assert "\n" not in message


@pytest.mark.parametrize("load", [load_lpips, load_features, load_embedding])
def test_a_file_that_is_no_network_is_refused_in_one_line(load, tmp_path):
    path = tmp_path / "network.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"network\.pt: expected") as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_package_of_embeddings_is_named():
    with pytest.raises(UserError, match="facenet-pytorch"):
        load_embedding("facenet")


def test_a_distance_from_a_file_is_used(tmp_path):
    distance = load_lpips(saved(Distance(), tmp_path / "distance.pt"))
    black, grey = (np.full((8, 8, 3), value, np.uint8) for value in (0, 51))
    assert distance(black, black) == 0
    assert distance(black, grey) == pytest.approx(2 * 51 / 255, abs=1e-3)


def test_fid_is_near_zero_for_the_same_distribution_and_grows_with_a_shift(tmp_path):
    features = load_features(saved(Features(), tmp_path / "features.pt"))
    rng = np.random.default_rng(0)
    values = []
    for shift in (0, 20, 40):
        distance = FrechetDistance()
        for _ in range(10):
            images = rng.integers(60, 120, (2, 4, 16, 16, 3)).astype(np.uint8)
            distance.add(features(images[0]), features((images[1] + shift).astype(np.uint8)))
        values.append(distance.value())
    assert values[0] < 10 < values[1] < values[2]
    assert np.isnan(FrechetDistance().value())
