"""torchvision's own path from an image to features, which its adapter is certified against."""

from collections.abc import Callable
from typing import Any

from PIL import Image
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from backbones.adapters.torchvision_models import arguments_of, weights_of
from backbones.adapters.torchvision_trunk import head_path
from backbones.base import Backbone, Preprocess
from backbones.places import Places
from backbones.reference import Reference, model_of, not_comparable


def reference(reference: str, places: Places) -> Reference:
    """The transform torchvision ships with the weights, and its own feature extractor, made from the traced graph."""
    architecture, weights = weights_of(reference)
    return _own_path(models.get_model(architecture, weights=weights), weights.transforms())


def untrained_reference(reference: str, backbone: Backbone, places: Places) -> Reference:
    """The same around a model torchvision builds anew, with the weights of ``backbone``."""
    architecture, weights = weights_of(reference)
    size = {"image_size": weights.meta["min_size"][0]} if architecture.startswith("vit_") else {}
    fresh = models.get_model(architecture, weights=None, **arguments_of(architecture), **size)
    fresh.load_state_dict(model_of(backbone).state_dict())
    return _own_path(fresh, weights.transforms())


def build_plainly(architecture: str, kwargs: dict[str, Any]) -> nn.Module:
    """A card's architecture by torchvision's own constructor."""
    model: nn.Module = models.get_model(architecture, weights=None, **{**arguments_of(architecture), **kwargs})
    return model


def stated_path(model: nn.Module, preprocess: Preprocess) -> Reference:
    """torchvision's own preset with the numbers that a card states; it knows no crop but the central one."""
    if preprocess.crop != "center" or preprocess.size[0] != preprocess.size[1]:
        said = f"{preprocess.crop!r} to {preprocess.size}"
        return _own_path(model, not_comparable(f"torchvision's preset does not crop as {said} says"))
    return _own_path(
        model,
        ImageClassification(
            crop_size=preprocess.size[0],
            resize_size=preprocess.resize,
            mean=preprocess.mean,
            std=preprocess.std,
            interpolation=InterpolationMode(preprocess.interpolation),
        ),
    )


def _own_path(model: nn.Module, transform: Callable[[Image.Image], Tensor]) -> Reference:
    model.eval()
    nodes = get_graph_node_names(model)[1]
    before = nodes[nodes.index(head_path(model)) - 1]
    trunk = create_feature_extractor(model, {before: "features"})

    def embed(images: Tensor) -> Tensor:
        features: Tensor = trunk(images)["features"]
        return features.mean((2, 3)) if features.ndim == 4 else features

    return Reference(transform, embed)


REFERENCES = {"torchvision": reference}
UNTRAINED_REFERENCES = {"torchvision": untrained_reference}
