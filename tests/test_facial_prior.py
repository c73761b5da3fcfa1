"""Points and maps of the facial priors."""

import pytest
import torch

from config.family_sections import PriorParams
from modules.facial_prior import AU_POINTS, PriorMaps, equally_weighted, prior_points, published_values


def maps_of(**options) -> PriorMaps:
    return PriorMaps(PriorParams(**options), "awp")


KINDS = [(distance, kernel) for distance in ("l1", "l2") for kernel in ("root", "gaussian")]


@pytest.mark.parametrize(("distance", "kernel"), KINDS)
def test_maps_follow_their_formula(distance, kernel):
    points = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    maps = maps_of(distance=distance, kernel=kernel, sigma=1.5, threshold="none")(points, (40, 64), image_width=256)
    x = (points[..., 0] + 1) / 2 * 63
    y = (points[..., 1] + 1) / 2 * 39
    dx, dy = torch.arange(64.0) - x[..., None, None], torch.arange(40.0)[:, None] - y[..., None, None]
    d = dx.abs() + dy.abs() if distance == "l1" else torch.hypot(dx, dy)
    expected = torch.exp(-(d.sqrt() if kernel == "root" else d**2) / (2 * 1.5**2))
    torch.testing.assert_close(maps, expected / expected.amax((-2, -1), keepdim=True))


def test_the_mean_is_the_threshold():
    points = torch.tensor([[[0.1, -0.2], [0.7, 0.3]]])
    whole = maps_of(threshold="none")(points, (64, 64), 256)
    cut = maps_of()(points, (64, 64), 256)
    below = whole < whole.mean((-2, -1), keepdim=True)
    assert 0.2 < below.float().mean() < 0.8
    assert (cut[below] == 0).all()
    torch.testing.assert_close(cut[~below], whole[~below])


def test_a_map_looks_the_same_at_every_resolution():
    points = torch.tensor([[[0.31, -0.17]]])
    maps = maps_of(threshold="none", sigma=2.0)
    coarse, fine = maps(points, (65, 65), 256), maps(points, (129, 129), 512)[..., ::2, ::2]
    torch.testing.assert_close(coarse / coarse.sum(), fine / fine.sum(), rtol=0.02, atol=0)


def test_a_move_of_a_tenth_of_a_pixel_moves_the_map():
    maps = maps_of(kernel="gaussian", sigma=3.0, threshold="none")
    columns = torch.arange(64.0)

    def centre(x: float) -> float:
        row = maps(torch.tensor([[[x, 0.0]]]), (64, 64), 256).sum(-2).flatten()
        return float((row * columns).sum() / row.sum())

    pixel = 2 / 63
    assert centre(0.1 * pixel) - centre(0) == pytest.approx(0.1, rel=1e-3)


def test_samples_of_a_batch_do_not_see_each_other():
    points = torch.rand(3, AU_POINTS, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    maps = maps_of(distance="l1")
    together = equally_weighted(maps(points, (32, 48), 256))
    for sample, alone in zip(together, points, strict=True):
        torch.testing.assert_close(sample, equally_weighted(maps(alone[None], (32, 48), 256))[0])
    assert (together.amax((1, 2, 3)) == 1).all()
    assert (together.amin((1, 2, 3)) >= 0).all()


def test_points_lie_at_and_beside_their_landmarks():
    landmarks = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(2)) - 0.5
    points = prior_points(landmarks, AU_POINTS, (101, 201))
    torch.testing.assert_close(points[:, 0], landmarks[:, 19])
    torch.testing.assert_close(points[:, 11], landmarks[:, 59])
    pixels = torch.tensor([100.0, 50.0])  # half widths and half heights
    half = (landmarks[:, 42, 0] - landmarks[:, 39, 0]) * 100 / 2
    right = torch.stack([half, torch.zeros(2)], dim=1)
    down = right.flip(1)
    for point, part, step in (
        (12, 31, -right), (13, 35, right), (14, 41, down), (15, 46, down), (16, 48, -right), (17, 54, right)
    ):  # fmt: skip
        torch.testing.assert_close((points[:, point] - landmarks[:, part]) * pixels, step)
    assert prior_points(landmarks, 68, (101, 201)) is landmarks


def test_points_that_cannot_be_had_are_refused():
    with pytest.raises(ValueError, match=r"expected 18 or 68 points of a facial prior, got 10"):
        prior_points(torch.zeros(1, 68, 2), 10, (256, 256))
    with pytest.raises(ValueError, match=r"expected landmarks \(B, 68, 2\), got \(1, 18, 2\)"):
        prior_points(torch.zeros(1, 18, 2), AU_POINTS, (256, 256))


def test_published_values_are_those_of_pixels():
    pixels = torch.tensor([[[0.0, 10.0], [255.0, 128.0]]])
    torch.testing.assert_close(published_values(pixels * 2 / 255 - 1, 256), pixels * 2 / 256 - 1)


def test_the_distance_is_that_of_the_prior_unless_the_config_says_otherwise():
    assert [PriorMaps(PriorParams(), prior).distance for prior in ("ewp", "awp")] == ["l1", "l2"]
    assert PriorMaps(PriorParams(distance="l2"), "ewp").distance == "l2"
