"""The family without parameters: a spline through the landmarks."""

import pytest
import torch

from config.warp import WarpModelParams
from modules.geometry import make_coordinate_grid
from modules.model import Condition
from modules.warp.model import WarpModel, head_anchors
from tests.conftest import face_landmarks

SIZE = 128
FACE = torch.tensor(face_landmarks(SIZE) * 2 / (SIZE - 1) - 1).float()[None]
IMAGE = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def generate(moved: torch.Tensor, forehead: float | None = 0.4) -> dict[str, torch.Tensor]:
    model = WarpModel(WarpModelParams(family="warp", forehead=forehead))
    return model.generate(model.encode(IMAGE), {"landmarks": FACE}, {"landmarks": moved})


def displacement(moved: torch.Tensor, forehead: float | None = 0.4) -> torch.Tensor:
    """Pixels, (SIZE, SIZE)."""
    grid = generate(moved, forehead)["deformation"][0]
    return (grid - make_coordinate_grid((SIZE, SIZE), grid)).norm(dim=-1) * (SIZE - 1) / 2


def test_equal_landmarks_give_the_source():
    assert (generate(FACE)["prediction"] - IMAGE).abs().max() < 1 / 255


def test_flow_replaces_the_spline():
    model = WarpModel(WarpModelParams(family="warp"))
    flow = torch.zeros(1, SIZE, SIZE, 2)
    flow[..., 0] = 3 * 2 / (SIZE - 1)  # three pixels to the right
    moved = {"landmarks": FACE + 0.3}
    drawn = model.generate(model.encode(IMAGE), {"landmarks": FACE}, moved, Condition(flow=flow))["prediction"]
    torch.testing.assert_close(drawn[..., 4:], IMAGE[..., 1:-3], atol=1e-3, rtol=0)


def test_every_landmark_comes_from_its_own_place():
    moved = FACE * torch.tensor([1.03, 0.97]) + 0.02 * FACE.flip(-1).square()
    grid = generate(moved)["deformation"]
    found = torch.nn.functional.grid_sample(grid.permute(0, 3, 1, 2), moved[:, None], align_corners=True)
    assert (found[0, :, 0].T - FACE[0]).norm(dim=-1).max() * (SIZE - 1) / 2 < 0.05


def test_raised_brows_leave_the_top_of_the_head_where_it_is():
    raised = FACE.clone()
    raised[:, 17:27, 1] -= 4 / SIZE
    with_anchors, without = displacement(raised), displacement(raised, None)
    assert with_anchors[0].max() < 0.2 * without[0].max()
    brow = ((FACE[0, 19] + 1) / 2 * (SIZE - 1)).round().long()
    assert with_anchors[brow[1], brow[0]] == pytest.approx(2.0, abs=0.3)


def test_anchors_move_with_the_head():
    turn = torch.tensor([[0.99, -0.05], [0.05, 0.99]])
    moved = FACE @ turn.T + 0.03
    anchors = head_anchors(FACE, 0.4)[:, :6]  # the others lie outside this frame
    expected = anchors @ turn.T + 0.03
    grid = generate(moved)["deformation"]
    found = torch.nn.functional.grid_sample(grid.permute(0, 3, 1, 2), expected[:, None], align_corners=True)
    assert (found[0, :, 0].T - anchors[0]).abs().max() < 1e-3


def closing(steps: int) -> torch.Tensor:
    """Deformation of a face whose eyes close to a fifth, (SIZE, SIZE, 2) in pixels."""
    shut = FACE.clone()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shut[0, upper, 1] += 0.8 * (FACE[0, lower, 1] - FACE[0, upper, 1])
    model = WarpModel(WarpModelParams(family="warp", steps=steps))
    return model.generate(model.encode(IMAGE), {"landmarks": FACE}, {"landmarks": shut})["deformation"][0] * SIZE / 2


def test_closing_lids_fold_one_spline_but_not_two():
    def area(grid: torch.Tensor) -> torch.Tensor:
        across, down = grid[1:, 1:] - grid[1:, :-1], grid[1:, 1:] - grid[:-1, 1:]
        return across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]

    assert area(closing(1)).min() < area(closing(2)).min()
    assert area(closing(2)).min() > 0


@pytest.mark.parametrize("steps", [2, 5])
def test_steps_lead_to_the_same_places(steps):
    model = WarpModel(WarpModelParams(family="warp", steps=steps))
    still = model.generate(model.encode(IMAGE), {"landmarks": FACE}, {"landmarks": FACE})
    assert (still["prediction"] - IMAGE).abs().max() < 1 / 255
    moved = FACE + 0.02 * FACE.flip(-1).square()
    grid = model.generate(model.encode(IMAGE), {"landmarks": FACE}, {"landmarks": moved})["deformation"]
    found = torch.nn.functional.grid_sample(grid.permute(0, 3, 1, 2), moved[:, None], align_corners=True)
    assert (found[0, :, 0].T - FACE[0]).norm(dim=-1).max() * (SIZE - 1) / 2 < 0.05


def test_landmarks_that_coincide_have_a_spline():
    closed = FACE.clone()
    closed[0, [67, 66, 65]] = closed[0, [61, 62, 63]]  # closed lips in whole pixels
    smile = closed.clone()
    smile[0, [48, 54], 1] -= 0.05
    model = WarpModel(WarpModelParams(family="warp"))
    grid = model.generate(model.encode(IMAGE), {"landmarks": closed}, {"landmarks": smile})["deformation"]
    found = torch.nn.functional.grid_sample(grid.permute(0, 3, 1, 2), smile[:, None], align_corners=True)
    assert (found[0, :, 0].T - closed[0]).norm(dim=-1).max() * (SIZE - 1) / 2 < 0.1


def test_a_smile_leaves_the_background_where_it_is():
    smile = FACE.clone()
    smile[0, [48, 54, 60, 64], 1] -= 6 / SIZE
    moved = displacement(smile)
    assert moved.max() > 2
    outside = (FACE[0, [4, 12]] + 1) / 2 * (SIZE - 1) + torch.tensor([[-6, 6], [6, 6]])
    x, y = outside.round().long().T
    assert moved[y, x].max() < 0.05 * moved.max()
