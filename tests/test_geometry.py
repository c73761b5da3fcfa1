"""Grids, heat maps, sampling, shapes, and the transfer of motion."""

import pytest
import torch
from scipy.spatial import ConvexHull

from faces.alignment import fit_similarity
from modules.geometry import (
    GridConvention,
    apply_homography,
    heatmap_mean,
    hull_area,
    inverse_2x2,
    invert_displacement,
    kp2gaussian,
    make_coordinate_grid,
    resize_grid,
    sample,
    spatial_softmax,
    transfer_motion,
    warp_features,
)
from tests.conftest import face_landmarks


def test_the_grid_puts_minus_and_plus_one_at_the_centres_of_the_outer_pixels():
    grid = make_coordinate_grid((3, 5), torch.zeros(1))
    assert grid.shape == (3, 5, 2)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[2, 4].tolist() == [1, 1]
    assert grid[1, 2].tolist() == [0, 0]
    assert grid[0, 1].tolist() == [-0.5, -1]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_sampling_at_the_identity_grid_reproduces_the_image(mode):
    image = torch.rand(2, 3, 17, 12)
    grid = make_coordinate_grid((17, 12), image).expand(2, -1, -1, -1)
    torch.testing.assert_close(sample(image, grid, mode=mode, padding="border"), image, atol=1e-5, rtol=0)


def test_a_deformation_of_another_size_is_resized_without_a_shift():
    image = torch.rand(1, 3, 32, 32)
    coarse = make_coordinate_grid((8, 8), image)[None]
    torch.testing.assert_close(resize_grid(coarse, (32, 32))[0], make_coordinate_grid((32, 32), image))
    torch.testing.assert_close(warp_features(image, coarse), image, atol=1e-5, rtol=0)


def test_an_inverted_displacement_finds_the_pixel_that_arrives():
    grid = make_coordinate_grid((40, 60), torch.zeros(1))[None]
    bump = torch.exp(-4 * grid.square().sum(-1, keepdim=True))
    displacement = bump * torch.tensor([0.2, -0.1])  # six pixels of 60, and two of 40
    origin = invert_displacement(displacement)
    arrived = origin + sample(displacement.permute(0, 3, 1, 2), origin, padding="border").permute(0, 2, 3, 1)
    torch.testing.assert_close(arrived, grid, atol=1e-3, rtol=0)
    assert (grid - displacement - origin).abs().max() > 0.02, "the negative displacement is something else"
    torch.testing.assert_close(invert_displacement(0 * displacement), grid, atol=0, rtol=0)


@pytest.mark.parametrize(("sampling", "resizing"), [(False, True), (True, False), (False, False)])
def test_the_conventions_of_published_weights_shift_the_picture(sampling, resizing):
    ramp = make_coordinate_grid((256, 256), torch.zeros(1)).permute(2, 0, 1)[None]
    coarse = make_coordinate_grid((64, 64), ramp)[None]
    moved = (warp_features(ramp, coarse, GridConvention(sampling, resizing)) - ramp)[..., 8:-8, 8:-8] * 127.5
    assert 0.4 < moved.abs().max() < 2, "pixels"


def test_the_mean_of_a_heat_map_is_where_it_lies():
    logits = torch.full((1, 2, 9, 17), -100.0)
    logits[0, 0, 2, 12] = logits[0, 1, 8, 0] = 100.0
    heatmap = spatial_softmax(logits, 0.1)
    torch.testing.assert_close(heatmap.sum((2, 3)), torch.ones(1, 2))
    assert heatmap_mean(heatmap).tolist() == [[[0.5, -0.5], [-1.0, 1.0]]]
    assert spatial_softmax(logits / 1000, 1).max() < spatial_softmax(logits / 1000, 0.1).max()


def test_small_inverses_are_exact_and_stay_finite():
    matrix = torch.rand(5, 4, 2, 2) + torch.eye(2)
    torch.testing.assert_close(inverse_2x2(matrix) @ matrix, torch.eye(2).expand(5, 4, 2, 2), atol=1e-5, rtol=0)
    assert torch.isfinite(inverse_2x2(torch.ones(1, 2, 2))).all()


def test_a_heat_map_is_largest_at_the_pixel_nearest_its_keypoint():
    kp = torch.tensor([[[0.5, -0.25], [-1.0, 1.0]]])
    maps = kp2gaussian(kp, (9, 17), 0.01)
    assert maps.shape == (1, 2, 9, 17)
    row, column = divmod(int(maps[0, 0].argmax()), 17)
    assert (column / 16 * 2 - 1, row / 8 * 2 - 1) == (0.5, -0.25)
    assert maps[0, 1].max() == 1
    assert maps.min() >= 0


@pytest.mark.parametrize(("kp", "variance"), [(torch.zeros(1, 2, 3), 0.1), (torch.zeros(1, 2, 2), 0.0)])
def test_heat_maps_refuse_what_is_no_keypoint(kp, variance):
    with pytest.raises(ValueError, match="expected keypoints"):
        kp2gaussian(kp, (4, 4), variance)


def test_a_homography_maps_and_divides():
    matrix = torch.tensor([[[2.0, 0, 1], [0, 3, 0], [0, 0, 2]]])
    points = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    assert apply_homography(matrix, points).tolist() == [[[1.5, 1.5], [0.5, 3.0]]]


def test_hull_areas_are_those_of_a_library():
    points = torch.rand(4, 50, 2) * torch.tensor([3.0, 0.5])
    expected = torch.tensor([ConvexHull(shape.numpy()).volume for shape in points], dtype=torch.float32)
    torch.testing.assert_close(hull_area(points), expected)


def test_hull_area_of_repeated_and_collinear_points():
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [0, 0], [0.5, 0], [1, 0.5]])
    assert hull_area(square[None]).item() == pytest.approx(1)


# --- transfer of motion -----------------------------------------------------------------------------------------------

TURN = 0.5 * torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)  # scale 0.5, rotation from x towards y


def faces() -> tuple[torch.Tensor, torch.Tensor]:
    """A driving face at rest and its motion, pixels, float64."""
    generator = torch.Generator().manual_seed(0)
    rest = 100 * torch.rand(2, 68, 2, generator=generator, dtype=torch.float64)
    return rest, torch.randn(2, 68, 2, generator=generator, dtype=torch.float64)


def test_a_scaled_and_rotated_face_moves_by_the_scaled_and_rotated_motion():
    rest, motion = faces()
    source = rest @ TURN.mT + torch.tensor([5.0, -7.0])
    moved = transfer_motion(source, rest + motion, rest, scaling="similarity")
    torch.testing.assert_close(moved, source + motion @ TURN.mT, atol=1e-10, rtol=0)
    assert torch.equal(transfer_motion(source, rest, rest, scaling="similarity"), source)


def test_the_similarity_is_that_of_least_squares():
    rest, motion = faces()
    source = 100 * torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = transfer_motion(source, rest + motion, rest, scaling="similarity")
    for i in range(2):
        expected = fit_similarity(rest[i].numpy(), source[i].numpy()).turn(motion[i].numpy())
        torch.testing.assert_close(moved[i] - source[i], torch.from_numpy(expected), atol=1e-10, rtol=0)


def test_the_hull_scales_each_sample_and_does_not_rotate():
    rest, motion = faces()
    source = rest * torch.tensor([2.0, 3.0], dtype=torch.float64)[:, None, None] @ TURN.mT
    moved = transfer_motion(source, rest + motion, rest, scaling="hull")
    torch.testing.assert_close(moved - source, motion * torch.tensor([1.0, 1.5])[:, None, None].double())


def test_the_similarity_depends_less_on_landmark_noise_than_the_hull():
    face = torch.from_numpy(face_landmarks(256))[None]
    noisy = face + torch.randn(500, 68, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    motion = torch.tensor([0.0, 1.0], dtype=torch.float64)
    similarity, hull = (
        (transfer_motion(face, noisy + motion, noisy, scaling=scaling) - face)[:, 0].norm(dim=-1).std()
        for scaling in ("similarity", "hull")
    )
    assert similarity < 0.8 * hull


def test_without_scaling_the_change_itself_is_added():
    rest, motion = faces()
    source = rest @ TURN.mT
    moved = transfer_motion(source, rest + motion, rest, scaling="none")
    torch.testing.assert_close(moved, source + motion)


def test_one_source_follows_many_driving_frames_and_points_that_coincide_stay_finite():
    rest, motion = faces()
    driving = rest[:1] + motion
    moved = transfer_motion(rest[1:], driving, rest[:1], scaling="similarity")
    single = transfer_motion(rest[1:], driving[1:], rest[:1], scaling="similarity")
    torch.testing.assert_close(moved[1:], single)
    assert torch.isfinite(transfer_motion(rest, rest, 0 * rest, scaling="similarity")).all()


def test_motion_is_transferred_in_full_precision_under_autocast():
    rest, motion = (x.float() for x in faces())
    source = rest @ TURN.float().mT
    full = transfer_motion(source, rest + motion, rest, scaling="similarity")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = transfer_motion(source, rest + motion, rest, scaling="similarity")
    assert torch.equal(full, reduced)
