import numpy as np
import pytest
import torch

from benchmarks.landmark_groups import face_shapes
from config.sections import TransformParams
from modules.geometry import make_coordinate_grid
from modules.thin_plate_spline import TOLERANCE, TPS, RandomWarp
from modules.tps.landmark_groups import LANDMARK_GROUPS, MEGC2022, SPREAD

PIXEL = 2 / 255  # of a picture of 256


def spline(control: torch.Tensor, target: torch.Tensor, **options) -> TPS:
    return TPS(control, target, **{"regularization": "exact", "smoothing": 1e-3, **options})


def points(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def test_equal_points_give_the_identity():
    control = points(200, 5)
    grid = spline(control, control).grid((32, 32))
    assert (grid - make_coordinate_grid((32, 32), control)).abs().max() < 1e-6


def test_the_published_regularisation_moves_pixels_for_equal_points():
    control = points(200, 5)
    moved = spline(control, control, regularization="tpsmm").grid((32, 32)) - make_coordinate_grid((32, 32), control)
    worst = moved.norm(dim=-1).flatten(1).amax(1) / PIXEL
    assert worst.median() > 2


def test_the_spline_hits_its_targets_as_the_regularisation_vanishes():
    control = points(50, 5)
    target = control + 0.02 * points(50, 5)
    misses = [
        (spline(control, target, smoothing=smoothing, slope_penalty=smoothing)(control) - target).abs().mean().item()
        for smoothing in (1e-1, 1e-2, 1e-3, 0.0)
    ]
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] < 1e-5


def test_a_common_shift_is_reproduced_everywhere():
    control = points(3, 10, 5)
    shift = torch.tensor([0.03, -0.02])
    grid = spline(control, control + shift).grid((16, 16))
    torch.testing.assert_close(
        grid, (make_coordinate_grid((16, 16), control) + shift).expand_as(grid), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("degenerate", ["equal", "collinear"])
def test_degenerate_points_stay_finite_and_small(degenerate):
    control = torch.zeros(1, 5, 2)
    if degenerate == "collinear":
        control[0, :, 0] = torch.linspace(-0.5, 0.5, 5)
    target = control + 0.01 * points(1, 5)
    grid = spline(control, target).grid((16, 16))
    assert torch.isfinite(grid).all()
    assert (grid - make_coordinate_grid((16, 16), control)).abs().max() < 1


def test_gradients_reach_control_points_and_targets():
    control, target = points(2, 5).requires_grad_(), (points(2, 5) + 0.01).requires_grad_()
    spline(control, target).grid((8, 8)).square().sum().backward()
    for tensor in (control, target):
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad != 0).all()


def test_splines_refuse_points_that_do_not_match():
    with pytest.raises(ValueError, match="expected two"):
        spline(points(1, 5), points(1, 4))
    with pytest.raises(ValueError, match="expected regularization"):
        spline(points(1, 5), points(1, 5), regularization="none")


def worst_pixels(groups: tuple) -> np.ndarray:
    """Movement of the worst pixel of 256 by half a pixel of landmark noise, for groups, faces and draws."""
    rng = np.random.default_rng(0)
    index, frame = torch.tensor(groups), (64, 64)
    worst = []
    for shape in torch.from_numpy(face_shapes()).float():
        for _ in range(20):
            noise = torch.from_numpy(rng.normal(scale=0.5 * PIXEL, size=(68, 2))).float()
            grid = spline((shape + noise)[index], shape[index]).grid(frame)
            worst.append((grid - make_coordinate_grid(frame, grid)).norm(dim=-1).flatten(1).amax(1) / PIXEL)
    return torch.stack(worst).numpy()


def test_groups_spread_over_the_face_do_not_magnify_landmark_noise():
    worst = worst_pixels(SPREAD)
    assert np.percentile(worst, 95) <= 5
    assert np.percentile(worst, 95, axis=0).max() <= 5, "every single group, too"


def test_the_published_groups_magnify_landmark_noise():
    assert np.median(worst_pixels(MEGC2022)) > 8


@pytest.mark.parametrize("name", LANDMARK_GROUPS)
def test_groups_are_ten_times_five_different_landmarks(name):
    numbers = [i for group in LANDMARK_GROUPS[name] for i in group]
    assert len(numbers) == len(set(numbers)) == 50
    assert set(numbers) <= set(range(68))


def test_a_random_warp_without_noise_is_the_identity_and_grows_with_its_sigmas():
    still = TransformParams(sigma_affine=0.0, sigma_tps=0.0)
    identity = RandomWarp.draw(2, torch.zeros(1), still, "l2")
    torch.testing.assert_close(identity.grid((8, 8)), make_coordinate_grid((8, 8), torch.zeros(1)).expand(2, 8, 8, 2))
    torch.manual_seed(0)
    warp = RandomWarp.draw(2, torch.zeros(1), TransformParams(sigma_affine=0.0), "l2")
    assert (warp.grid((8, 8)) - identity.grid((8, 8))).abs().max() > 1e-3


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_the_derivative_and_the_inverse_of_a_random_warp(distance):
    torch.manual_seed(0)
    warp = RandomWarp.draw(2, torch.zeros(1), TransformParams(), distance)
    at = (torch.rand(2, 7, 2) * 2 - 1).requires_grad_()
    rows = [torch.autograd.grad(warp(at)[..., i].sum(), at)[0] for i in range(2)]
    torch.testing.assert_close(warp.jacobian(at), torch.stack(rows, dim=2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(warp(warp.inverse(at)), at, atol=1e-4, rtol=0)


def test_points_of_a_face_come_from_somewhere_under_every_warp():
    torch.manual_seed(0)
    warp, at = RandomWarp.draw(2000, torch.zeros(1), TransformParams(), "l1"), torch.rand(1, 68, 2) * 1.6 - 0.8
    missed = (warp(warp.inverse(at)) - at).norm(dim=-1)
    assert torch.isfinite(missed).all()
    assert (missed > 1e-4).float().mean() < 3e-3, "where a warp folds"


def face_spline(noise: float, seed: int) -> TPS:
    """Spline of a face that moves by a smooth motion of some pixels and, point by point, by noise in pixels of 256."""
    rng = np.random.default_rng(seed)
    still = torch.from_numpy(face_shapes()[:2]).float()
    motion = 4 * PIXEL * torch.sin(3 * still.flip(-1) + torch.from_numpy(rng.uniform(0, 6, (2, 1, 2))))
    moved = still + motion + noise * PIXEL * torch.from_numpy(rng.normal(size=still.shape)).float()
    return TPS(moved, still, regularization="exact", smoothing=1e-6, slope_penalty=0.0)


@pytest.mark.parametrize("size", [(256, 256), (192, 320)])
@pytest.mark.parametrize(("noise", "seed"), [(0.0, 1), (0.05, 2), (0.02, 3), (3.0, 4)])
def test_a_tabulated_spline_differs_by_less_than_its_tolerance(noise, seed, size):
    spline = face_spline(noise, seed)
    half = (torch.tensor(size[::-1]) - 1) / 2
    grid = make_coordinate_grid(size, half).reshape(1, -1, 2)
    exact = spline.exactly(grid)
    error = ((spline.grid(size).flatten(1, 2) - exact) * half).norm(dim=-1).max()
    assert (error > 0) == (noise < 1), "noise of pixels is not smooth, and evaluated exactly"
    assert error < 2 * TOLERANCE
    again = spline.in_chunks(exact)  # points that lie on no grid, and partly outside of the frame
    assert ((again - spline.exactly(exact)) * half).norm(dim=-1).max() < 2 * TOLERANCE


def test_few_control_points_and_gradients_are_evaluated_exactly():
    spline = face_spline(0.05, 5)
    grid = make_coordinate_grid((256, 256), spline.control).reshape(1, -1, 2).requires_grad_()
    spline.in_chunks(grid).sum().backward()
    assert torch.equal(spline.in_chunks(grid), spline.exactly(grid))
    few = TPS(spline.control[:, :8], spline.control[:, 1:9], regularization="exact", smoothing=1e-3)
    assert torch.equal(few.in_chunks(grid.detach()), few.exactly(grid.detach()))


def test_a_table_whose_error_is_too_large_is_not_used(monkeypatch):
    spline = face_spline(3.0, 6)
    monkeypatch.setattr("modules.thin_plate_spline._KINK", 0.0)  # predicts no error
    grid = make_coordinate_grid((256, 256), spline.control).reshape(1, -1, 2)
    assert torch.equal(spline.in_chunks(grid), spline.exactly(grid))
