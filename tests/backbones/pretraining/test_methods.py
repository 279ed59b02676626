"""What holds of every method there is, whoever wrote it, on the smallest encoder of each kind that it can train."""

from typing import Any

import pytest
import torch

from backbones.pretraining.catalogue import METHODS, presets, settings_class
from backbones.pretraining.method import Batch, MethodSettings
from backbones.pretraining.pretrainee import Pretrainee
from tests.pretraining_fakes import random_batch, tiny_method

SIZE, SMALL_SIZE, IMAGES = 32, 16, 8
HEADS = {"outputs": 64, "hidden": 32, "bottleneck": 16}
SMALLER: dict[str, dict[str, Any]] = {
    "barlow_twins": {"projector": (32, 16)},
    "dino": HEADS,
    "dinov2": HEADS,
    "ibot": HEADS,
    "vicreg": {"projector": (32, 16)},
    "deepcluster_v2": {"clusters": 8},
    "distil": {"teacher": "random:timm:test_resnet", "dense": 1.0},
    "lejepa": {"slices": 16},
    "swav": {"prototypes": 16},
    "vicregl": {"matches": 1, "projector": (32, 16), "map_projector": (32, 16)},
}
"""Settings without which a method is too large for a test, or needs to fetch weights."""


def settings_of(name: str) -> MethodSettings:
    return settings_class(name)(**SMALLER.get(name, {}))


def batch_for(settings: MethodSettings) -> Batch:
    """Its views, those smaller than the encoder's at half its size."""
    sizes = [SIZE if group.size is None else SMALL_SIZE for group in settings.views for _ in range(group.count)]
    return random_batch(IMAGES, sizes)


def kinds(name: str) -> list[str]:
    return ["vit"] if settings_class(name).needs == "tokens" else ["cnn", "vit"]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in METHODS.found for kind in kinds(name)])
def test_every_trained_parameter_has_a_gradient(name: str, kind: str) -> None:
    """Processes that train together wait for each of them, and one that never comes is an error in the first step."""
    settings = settings_of(name)
    method = tiny_method(settings, kind)
    trainee = Pretrainee(method)
    trained = {id(each): label for label, each in trainee.named_parameters() if each.requires_grad}
    assert sum(len(parameters) for _, parameters in trainee.layers()) >= len(trained)
    trainee(batch_for(settings)).backward()
    without = [label for label, each in trainee.named_parameters() if id(each) in trained and each.grad is None]
    assert not without


@pytest.mark.slow  # emulated where the processor has none
@pytest.mark.parametrize("name", METHODS.found)
def test_half_precision_leaves_the_loss_in_single(name: str) -> None:
    settings = settings_of(name)
    trainee = Pretrainee(tiny_method(settings, kinds(name)[-1]))
    with torch.autocast("cpu", torch.bfloat16):
        loss = trainee(batch_for(settings))
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())


@pytest.mark.parametrize("name", METHODS.found)
def test_every_method_has_its_two_presets_and_they_say_what_was_not_run(name: str) -> None:
    found = presets(name)
    assert {"cifar", "imagenet"} <= set(found) <= {"cifar", "cifar-vit", "imagenet", "imagenet-vit"}
    assert all("not run here" in preset.source for preset in found.values())
    assert all(preset.size == (32 if which.startswith("cifar") else 224) for which, preset in found.items())
