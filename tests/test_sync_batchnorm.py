"""Batch normalisation over devices."""

import torch
from torch import nn

from modules.blocks import DownBlock2d
from sync_batchnorm import synchronise


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(DownBlock2d(3, 4, "batch"), DownBlock2d(4, 4, "instance"), DownBlock2d(4, 2, "batch"))


def test_every_batch_normalisation_is_converted_and_no_other():
    converted = network()
    assert synchronise(converted) == 2
    kinds = [type(block.norm) for block in converted]
    assert kinds == [nn.SyncBatchNorm, nn.InstanceNorm2d, nn.SyncBatchNorm]
    assert synchronise(converted) == 0


def test_optimisers_keep_their_parameters_and_checkpoints_their_keys():
    plain, converted = network(), network()
    parameters = list(converted.parameters())
    synchronise(converted)
    assert all(a is b for a, b in zip(converted.parameters(), parameters, strict=True))
    assert list(converted.state_dict()) == list(plain.state_dict())
    state = {key: torch.rand_like(value.float()).to(value.dtype) for key, value in plain.state_dict().items()}
    converted.load_state_dict(state, strict=True)
    torch.testing.assert_close(converted[2].norm.running_var, state["2.norm.running_var"])


def test_a_single_device_is_as_before():
    plain, converted = network().eval(), network()
    synchronise(converted)
    image = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(converted.eval()(image), plain(image))
