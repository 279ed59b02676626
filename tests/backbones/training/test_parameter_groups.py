"""Groups of parameters: layer decay against timm's, weight decay, freezing."""

from typing import Any

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from backbones.training.parameter_groups import freeze_layers, parameter_groups, train_mode
from backbones.training.recipe import Recipe
from tests.training_fakes import tiny_convolutions, tiny_vit


def by_name(groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    return {name: (group["lr_scale"], group["weight_decay"]) for group in groups for name in group["names"]}


def test_as_timm_does_for_a_transformer() -> None:
    """timm keeps weight decay from position embeddings and class tokens by name; here dimensions decide."""
    trainee = tiny_vit()
    ours = by_name(parameter_groups(trainee, Recipe(layer_decay=0.75, weight_decay=0.05)))
    names = {parameter: name for name, parameter in trainee.named_parameters()}
    timms = param_groups_layer_decay(trainee.model, weight_decay=0.05, layer_decay=0.75)
    theirs = {names[each]: (group["lr_scale"], group["weight_decay"]) for group in timms for each in group["params"]}
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name][0] == pytest.approx(theirs[name][0])
        if "pos_embed" not in name and "cls_token" not in name:
            assert ours[name][1] == theirs[name][1]
    assert ours["model.head.weight"] == (1.0, 0.05)


def test_vectors_decay_where_the_recipe_says_so() -> None:
    groups = parameter_groups(tiny_convolutions(), Recipe(weight_decay=0.1, decay_vectors=True))
    assert {group["weight_decay"] for group in groups} == {0.1}


def test_frozen_layers_rest_in_evaluation_mode() -> None:
    trainee = tiny_convolutions()
    freeze_layers(trainee, 1)
    train_mode(trainee)
    modes = {type(module).__name__: module.training for module in trainee.model[0]}
    assert modes == {"Conv2d": False, "BatchNorm2d": False, "ReLU": False, "Dropout": False}
    assert trainee.model[1][1].training
    assert all(name.startswith(("model.1", "model.2")) for name in by_name(parameter_groups(trainee, Recipe())))


def test_no_layer_left() -> None:
    with pytest.raises(ValueError, match="frozen_layers=3 leaves nothing to train: the model has 3 layers"):
        freeze_layers(tiny_convolutions(), 3)


def test_layers_that_do_not_fit_the_module() -> None:
    trainee = tiny_convolutions()
    trainee.depths = trainee.depths[1:]
    with pytest.raises(ValueError, match="lack 4 trained parameters"):
        parameter_groups(trainee, Recipe())
    trainee.depths = [*tiny_convolutions().depths, ("again", ["model.2.2.weight"])]
    with pytest.raises(ValueError, match=r"layer 'again' .* repeats 'model.2.2.weight'"):
        parameter_groups(trainee, Recipe())
    stranger = nn.Parameter(torch.zeros(2, 2))
    trainee.layers = lambda: [("strange", [stranger])]  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="layer 'strange' of Classifier has a parameter that is not the module's"):
        parameter_groups(trainee, Recipe())
