"""timm's ResNets for small images: the first convolution is 3 x 3 with stride 1, and nothing is max-pooled.

The stem of He et al. for CIFAR (1512.03385, 4.2). Every map is four times as fine as that of the same architecture in
timm. There are no pretrained weights of these: they are what SSL methods on CIFAR train, and what a card
(``library: small_stem``) loads.
"""

import json
from typing import Any

from timm.models.resnet import ResNet
from torch import nn

from backbones.adapters import timm_models
from backbones.adapters.library import Library
from backbones.places import Places

FINER = 4
"""How much smaller every stride is."""


def build(architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module:
    """Untrained. Raises ``ValueError`` for a name that is no ResNet of timm with a stem of one convolution."""
    model: Any = timm_models.build(architecture, kwargs, places)
    if not _has_plain_stem(model):
        raise ValueError(
            f"small_stem:{architecture} must be a ResNet of timm with a stem of one convolution (resnet18)"
        )
    model.conv1 = nn.Conv2d(model.conv1.in_channels, model.conv1.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    model.feature_info = [{**each, "reduction": max(each["reduction"] // FINER, 1)} for each in model.feature_info]
    small: nn.Module = model
    return small


def _has_plain_stem(model: nn.Module) -> bool:
    return isinstance(model, ResNet) and isinstance(model.conv1, nn.Conv2d) and isinstance(model.maxpool, nn.MaxPool2d)


def built_as(architecture: str, kwargs: dict[str, Any], places: Places) -> str:
    """What weights are put into, for their identity."""
    return f"small_stem {architecture} {json.dumps(kwargs, sort_keys=True)}"


LIBRARIES = {
    "small_stem": Library(
        f"{timm_models.SOURCE}, small stem", build, timm_models.wrap, timm_models.trunk_parameters, built_as
    )
}
