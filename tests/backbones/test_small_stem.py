"""ResNets for small images: shapes by hand, strides as declared, and what is no ResNet refused."""

import pytest
import torch

from backbones.places import Places
from backbones.pretraining.fresh import fresh


def test_maps_are_four_times_as_fine() -> None:
    backbone = fresh("small_stem:resnet18", {}, 32, 0, Places())
    with torch.no_grad():
        maps = backbone.feature_maps(torch.zeros(2, 3, 32, 32))
        assert backbone.embed(torch.zeros(2, 3, 32, 32)).shape == (2, 512)
    assert {stride: tuple(each.shape[1:]) for stride, each in maps.items()} == {
        1: (64, 32, 32),
        2: (128, 16, 16),
        4: (256, 8, 8),
        8: (512, 4, 4),
    }


def test_the_network_of_the_field() -> None:
    """11.17 million parameters, as CIFAR's ResNet-18 without its head has everywhere."""
    assert fresh("small_stem:resnet18", {}, 32, 0, Places()).card.parameters == 11_168_832


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18d", "mobilenetv2_100"])
def test_what_is_no_such_resnet_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"small_stem:{name} must be a ResNet"):
        fresh(f"small_stem:{name}", {}, 32, 0, Places())
