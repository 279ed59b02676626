"""BatchNorm over all devices: torch has it for GPUs alone, so its layers, names and frozen form are what is tested."""

import torch
from torch import nn

from backbones.training.batch_norm import synchronise


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))


def test_on_gpus_every_layer_is_synchronised_and_keeps_its_names_values_and_mode() -> None:
    net = _net().train()
    net[1].eval()
    before, images = net.state_dict(), torch.randn(2, 3, 5, 5)
    synchronise(net, torch.device("cuda"))
    assert [isinstance(each, nn.SyncBatchNorm) for each in net.modules()].count(True) == 2
    assert [net[1].training, net[2][0].training] == [False, True]  # type: ignore[index]
    assert {name: value.tolist() for name, value in net.state_dict().items()} == {
        name: value.tolist() for name, value in before.items()
    }
    assert torch.equal(net.eval()(images), _net().eval()(images))


def test_on_a_cpu_layers_stay_as_they_are() -> None:
    net = _net()
    synchronise(net, torch.device("cpu"))
    assert not any(isinstance(each, nn.SyncBatchNorm) for each in net.modules())
