"""Drop path set afterwards against timm building the same architecture with it."""

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

from backbones.training.drop_path import set_drop_path


def rates(model: nn.Module) -> dict[str, float]:
    return {name: module.drop_prob for name, module in model.named_modules() if isinstance(module, DropPath)}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet", "swin_tiny_patch4_window7_224"])
def test_rates_are_those_timm_builds(name: str) -> None:
    with torch.device("meta"):
        expected, model = timm.create_model(name, drop_path_rate=0.3), timm.create_model(name)
    assert set_drop_path(model, 0.3) > 0
    found, wanted = rates(model), {place: rate for place, rate in rates(expected).items() if rate > 0}
    assert found.keys() == wanted.keys()
    assert [found[place] for place in wanted] == pytest.approx(list(wanted.values()))


def test_a_rate_can_be_taken_back() -> None:
    model = timm.create_model("test_vit", drop_path_rate=0.5)
    set_drop_path(model, 0.0)
    assert rates(model) == {}


def test_an_architecture_without_a_place_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    assert set_drop_path(model, 0.5) == 0
    assert str(model) == str(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
