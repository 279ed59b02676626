"""The certificate: sound backbones of every source pass, and each fault it is there for is caught by its own check."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.certification import Check, checks
from backbones.places import Places
from backbones.reference import reference_of
from tests.feature_fakes import card

SOUND = [
    "pixels",
    "random:timm:test_resnet",
    "random:timm:test_convnext",
    "random:timm:test_vit",
    "random:timm:test_efficientnet",
    "random:torchvision:squeezenet1_1",
    "random:torchvision:shufflenet_v2_x0_5",
]


def verdicts(backbone: Backbone, name: str = "") -> dict[str, Check]:
    spare = copy.deepcopy(backbone)
    reference = reference_of(name, backbone, Places()) if name else None
    return {check.name: check for check in checks(backbone, lambda: copy.deepcopy(spare), reference)}


@pytest.mark.parametrize("name", SOUND)
def test_sound_backbones_pass_every_check(name: str) -> None:
    found = verdicts(load(name), name)
    assert len(found) == 10
    assert not [check for check in found.values() if check.passed is False]
    upstream = [check.passed for check in found.values() if check.name.endswith("as upstream")]
    assert upstream[:2] == ([None, None] if name == "pixels" else [True, True])


@pytest.mark.parametrize(
    "fields",
    [
        {"mean": (0.485, 0.456, 0.406)},
        {"std": (0.229, 0.224, 0.225)},
        {"interpolation": "nearest"},
        {"size": (144, 144), "resize": 160},
        {"resize": 240},
        {"crop": "squash"},
    ],
)
def test_wrong_preprocessing_is_caught(fields: dict[str, object]) -> None:
    backbone = load("random:timm:test_resnet")
    backbone.preprocess = replace(backbone.preprocess, **fields)  # type: ignore[arg-type]
    assert verdicts(backbone, "random:timm:test_resnet")["preprocessing as upstream"].passed is False


class Sound(Backbone):
    """A sound little network, to be spoilt in one way a test."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.card = card()
        self.preprocess = load("random:timm:test_resnet").preprocess
        self.model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())
        self.unused = nn.Linear(2, 2)
        self.eval()

    def embed(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.model(images).mean((2, 3))
        return pooled

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {4: self.model(images)}

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [("model", list(self.model.parameters()))]


class Noisy(Sound):
    def embed(self, images: Tensor) -> Tensor:
        return super().embed(images) + torch.randn(())


class Together(Sound):
    def embed(self, images: Tensor) -> Tensor:
        found = super().embed(images)
        return found - found.mean(0)


class Training(Sound):
    """The 2023 lesson: a trunk that goes on counting."""

    def embed(self, images: Tensor) -> Tensor:
        self.model.train()
        return super().embed(images)


class WrongStride(Sound):
    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.model(images)}


class Unused(Sound):
    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [*super().layers(), ("unused", list(self.unused.parameters()))]


class Overflowing(Sound):
    """Cancels what bfloat16 cannot hold."""

    def embed(self, images: Tensor) -> Tensor:
        large = self.model(images) + 3e3
        return large.to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32).mean((2, 3)) - 3e3


class Broken(Sound):
    def embed(self, images: Tensor) -> Tensor:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Noisy, "deterministic"),
        (Together, "independent of batch"),
        (Training, "in evaluation mode"),
        (WrongStride, "maps"),
        (Unused, "gradients"),
        (Overflowing, "bfloat16 drift"),
        (Broken, "deterministic"),
    ],
)
def test_each_fault_is_caught_by_its_check(kind: type[Sound], check: str) -> None:
    assert not [each for each in verdicts(Sound()).values() if each.passed is False]
    assert verdicts(kind())[check].passed is False


def test_other_weights_the_second_time_are_another_backbone() -> None:
    one, two = load("random:timm:test_resnet"), load("random:timm:test_resnet@1")
    found: dict[str, Check] = {check.name: check for check in checks(one, lambda: two, None)}
    assert found["same identity"].passed is False


@pytest.mark.parametrize(
    "name",
    [
        "random:timm:test_resnet",
        "random:timm:test_vit",
        "random:open_clip:test_vit",
        "random:huggingface:test_dinov2",
        "random:huggingface:test_sam",
        "random:huggingface:test_depth_anything",
        "random:diffusers:test_unet",
        "random:diffusers:test_dit",
    ],
)
def test_features_of_another_model_are_not_upstreams(name: str) -> None:
    one, two = load(name), load(f"{name}@1")
    reference = reference_of(name, two, Places())
    found = {check.name: check for check in checks(one, lambda: load(name), reference)}
    assert found["features as upstream"].passed is False
    assert found["maps as upstream"].passed is False
    assert found["preprocessing as upstream"].passed


def test_maps_without_the_final_norm_are_not_upstreams() -> None:
    name = "random:timm:test_vit"
    backbone = load(name)
    trunk = copy.deepcopy(backbone.model).eval()  # type: ignore[arg-type]
    assert verdicts(backbone, name)["maps as upstream"].passed

    def before_the_norm(images: Tensor) -> dict[int, Tensor]:
        return {16: trunk.forward_intermediates(images, indices=1, intermediates_only=True)[0]}  # type: ignore[operator]

    backbone.feature_maps = before_the_norm  # type: ignore[method-assign]
    assert verdicts(backbone, name)["maps as upstream"].passed is False
