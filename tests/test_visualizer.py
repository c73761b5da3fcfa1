"""Images of intermediate results: their order, values, keypoints and border."""

import numpy as np
import pytest
import torch

from config.sections import VisualizerParams
from output.visualizer import MAX_ROWS, Visualizer

SIZE = 16


def grid(generated: dict, *, batch: int = 2, **params) -> np.ndarray:
    """Grid of a black source and a white driving frame."""
    visualizer = Visualizer(VisualizerParams.model_validate({"kp_size": 1, "draw_border": False, **params}))
    return visualizer.grid(torch.zeros(batch, 3, SIZE, SIZE), torch.ones(batch, 3, SIZE, SIZE), generated)


def column(image: np.ndarray, number: int) -> np.ndarray:
    return image[:, number * SIZE : (number + 1) * SIZE]


def test_columns_are_source_driving_warped_source_prediction_and_maps():
    generated = {
        "deformed": torch.full((2, 3, SIZE, SIZE), 0.2),
        "prediction": torch.full((2, 3, SIZE, SIZE), 0.4),
        "occlusion_map": [torch.full((2, 1, 4, 4), 0.6), torch.full((2, 1, 8, 8), 0.8)],
        "contribution_maps": torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(2, 2, 4, 4),
    }
    image = grid(generated)
    assert image.shape == (2 * SIZE, 8 * SIZE, 3)
    for number, value in enumerate((0, 255, 51, 102, 153, 204, 0, 255)):
        assert (column(image, number) == value).all()


def test_results_that_a_family_lacks_are_left_out():
    assert grid({}).shape == (2 * SIZE, 2 * SIZE, 3)


def test_rows_are_the_first_pairs_of_the_batch():
    assert len(grid({}, batch=MAX_ROWS + 3)) == MAX_ROWS * SIZE


def test_keypoints_are_drawn_at_their_pixels_in_the_colours_of_the_map():
    points = torch.tensor([[[-1 + 2 * 3 / 15, -1 + 2 * 10 / 15], [-1 + 2 * 12 / 15, -1 + 2 * 5 / 15]]])
    image = grid({"kp_source": points, "kp_driving": points}, batch=1, colormap="gray")
    source, driving = column(image, 0), column(image, 1)
    assert source[5, 12].tolist() == [255, 255, 255], "the last keypoint has the last colour of the map"
    assert driving[10, 3].tolist() == [0, 0, 0], "the first keypoint has the first colour"
    assert source[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("border", [True, False])
def test_the_border_separates_the_images(border):
    image = grid({"prediction": torch.zeros(2, 3, SIZE, SIZE)}, draw_border=border)
    black = np.concatenate([column(image, 0), column(image, 2)], axis=1)
    assert (black[[0, SIZE]] == 255 * border).all()
    assert (black[:, [0, SIZE]] == 255 * border).all()
    assert not black[1:SIZE, 1:SIZE].any()
