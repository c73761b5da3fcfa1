"""Local motions and their mixture."""

import torch

from config.family_sections import HourglassParams
from modules.geometry import CENTRED, make_coordinate_grid
from modules.local_motion import MotionMixer, local_affine

HOURGLASS = HourglassParams(block_expansion=4, num_blocks=2, max_features=16, scale_factor=0.5)


def mixer(**changes) -> MotionMixer:
    structure = {
        "num_motions": 3,
        "num_channels": 3,
        "estimate_occlusion_map": True,
        "use_deformed_source": True,
        "convention": CENTRED,
        "locality": None,
        "background_logit": None,
        "initial_occlusion": None,
    }
    return MotionMixer(HOURGLASS, **{**structure, **changes}).eval()


def test_a_local_motion_takes_its_keypoint_to_the_sources_and_the_background_rests():
    driving, source = torch.tensor([[[0.5, -0.5]]]), torch.tensor([[[0.25, 0.0]]])
    linear = torch.tensor([[[[0.0, -1.0], [1.0, 0.0]]]])
    motions = local_affine(driving, source, linear, (5, 5))
    identity = make_coordinate_grid((5, 5), driving)
    torch.testing.assert_close(motions[0, 0], identity)
    torch.testing.assert_close(motions[0, 1, 1, 3], source[0, 0])
    torch.testing.assert_close(motions[0, 1, 1, 4], source[0, 0] + torch.tensor([0.0, 0.5]))
    shifted = local_affine(driving, source, None, (5, 5))[0, 1]
    torch.testing.assert_close(shifted, identity + (source - driving)[0, 0])


def test_shares_sum_to_one_and_motions_that_rest_move_nothing():
    network, image = mixer(), torch.rand(2, 3, 32, 32)
    small = network.reduced(image)
    rest = make_coordinate_grid((16, 16), image).expand(2, 4, 16, 16, 2)
    out = network.mix(small, torch.zeros(2, 4, 16, 16), rest)
    torch.testing.assert_close(out["contribution_maps"].sum(1), torch.ones(2, 16, 16))
    torch.testing.assert_close(out["deformation"], rest[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(out["deformed_source"], small[:, None].expand(-1, 4, -1, -1, -1), atol=1e-4, rtol=0)
    assert out["occlusion_map"].shape == (2, 1, 16, 16)
    assert "occlusion_map" not in mixer(estimate_occlusion_map=False).mix(small, torch.zeros(2, 4, 16, 16), rest)


def test_zones_begin_where_the_keypoints_are():
    network, image = mixer(locality=0.2, initial_occlusion=0.9), torch.rand(1, 3, 32, 32)
    keypoints = torch.tensor([[[-0.6, -0.6], [0.6, -0.6], [0.0, 0.6]]])
    motions = local_affine(keypoints, keypoints + 0.1, None, (16, 16))
    out = network.mix(network.reduced(image), torch.zeros(1, 4, 16, 16), motions, keypoints)
    row, column = 3, 12
    assert out["contribution_maps"][0, :, row, column].argmax() == 2
    assert out["contribution_maps"][0, :, 15, 0].argmax() == 0
    assert (out["occlusion_map"] - 0.9).abs().max() < 1e-5


def test_without_zones_the_background_has_the_share_that_is_asked_for():
    network, image = mixer(background_logit=2.0), torch.rand(1, 3, 32, 32)
    motions = make_coordinate_grid((16, 16), image).expand(1, 4, 16, 16, 2)
    maps = network.mix(network.reduced(image), torch.zeros(1, 4, 16, 16), motions)["contribution_maps"]
    torch.testing.assert_close(maps[0, :, 5, 5], torch.tensor([2.0, 0, 0, 0]).softmax(0))
