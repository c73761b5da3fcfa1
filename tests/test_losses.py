"""Losses that compare two images."""

import pytest
import torch

from config.family_sections import PictureTrainParams, PictureWeights
from modules.losses import VGG19, PictureLoss

FIRST, SECOND = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def losses(vgg: VGG19 | None = None, **weights) -> dict[str, torch.Tensor]:
    params = PictureTrainParams(scales=(1.0, 0.5), loss_weights=PictureWeights(**{"perceptual": (), **weights}))
    return PictureLoss(params, vgg, "nearest")(FIRST, SECOND)


def test_terms_without_a_weight_are_left_out_and_need_no_network():
    assert losses() == {}
    assert set(losses(pixel=1.0)) == {"pixel"}
    assert set(losses(gradient=1.0)) == {"gradient"}


@pytest.mark.parametrize("term", ["pixel", "gradient"])
def test_a_term_is_proportional_to_its_weight(term):
    torch.testing.assert_close(losses(**{term: 3.0})[term], 3 * losses(**{term: 1.0})[term])


def test_the_pixel_loss_is_the_mean_absolute_difference_summed_over_scales():
    params = PictureTrainParams(scales=(1.0,), loss_weights=PictureWeights(perceptual=(), pixel=2.0))
    found = PictureLoss(params, None, "nearest")(FIRST, SECOND)["pixel"]
    torch.testing.assert_close(found, 2 * (FIRST - SECOND).abs().mean())


def test_the_perceptual_loss_compares_as_many_layers_as_there_are_weights():
    torch.manual_seed(0)
    vgg = VGG19()
    one, two = losses(vgg, perceptual=(1.0,)), losses(vgg, perceptual=(1.0, 0.0))
    torch.testing.assert_close(one["perceptual"], two["perceptual"])
    assert losses(vgg, perceptual=(1.0, 1.0))["perceptual"] > one["perceptual"] > 0
    with pytest.raises(ValueError, match="expected a VGG-19 for the perceptual loss, got none"):
        losses(perceptual=(1.0,))
