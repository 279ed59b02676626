"""Any pretrained classifier of torchvision: ``torchvision:resnet50.IMAGENET1K_V2`` (a model with its weights' name)."""

import json
from typing import Any

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from backbones.adapters import torchvision_readouts
from backbones.adapters.depth import by_block
from backbones.adapters.imagenet import wordnet_ids
from backbones.adapters.library import Library
from backbones.adapters.maps import deepest_by_stride
from backbones.adapters.torchvision_trunk import head_input, head_of, head_path, maps, stages, transformer_map
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.plugins import unknown
from backbones.weights import weights_sha256

SOURCE = f"torchvision {torchvision.__version__}"

INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": INCEPTION, "inception_v3": INCEPTION}
"""The trunk alone: auxiliary classifiers take part in training only. Their weights expect a rescaled input."""


class TorchvisionBackbone(Backbone):
    """A torchvision classifier; its embedding is what goes into its last layer with weights.

    Where that layer is a convolution (SqueezeNet), its input is averaged over positions.
    """

    def __init__(self, model: nn.Module, card: Card, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.card, self.preprocess = model, card, preprocess
        self.head = head_path(model)  # walking all modules for it took a twentieth of a MobileNet's pass
        self.eval()
        self.paths = torchvision_readouts.paths(model, self.head, preprocess.size)
        self.readouts = torchvision_readouts.readouts(model, self.paths)

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The classifier's input."""
        features = head_input(self.model, self.head, images)
        return features.mean((2, 3)) if features.ndim == 4 else features

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """The last map of every stride among the stages; the tokens of a vision transformer as one map."""
        size = (images.shape[-2], images.shape[-1])
        if isinstance(self.model, models.VisionTransformer):
            return {self.model.patch_size: transformer_map(self.model, images)}
        return deepest_by_stride(iter(maps(self.model, self.head, stages(self.model), images).values()), size)

    def read(self, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
        """A block's class token or mean patch, or a stage's mean; see ``readouts``."""
        if readout not in self.readouts:
            raise unknown("readout", readout, self.readouts)
        return torchvision_readouts.read(self.model, self.head, self.paths, images, readout)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """One group a block, in the order the model registers them, head left out."""
        return by_block(self.model, head_of(self.model))


class TorchvisionClassifier(TorchvisionBackbone):
    """A torchvision model with the head its weights came with."""

    def __init__(self, model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...]) -> None:
        super().__init__(model, card, preprocess)
        self.classes = classes

    def classify(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """The model's own output."""
        logits: Tensor = self.model(images)
        return logits


def load(reference: str, places: Places) -> Backbone:
    """Load a model with its pretrained weights, from torch's cache or the network.

    Without a weights' name torchvision's default of today is meant; the card names it in full.
    Raises ``ValueError`` for a name torchvision does not know, ``OSError`` where the weights cannot be had.
    """
    architecture, weights = weights_of(reference)
    try:
        # First as plain tensors, its hash checked: what the builder then reads from the cache can run no code.
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:
        raise OSError(_cannot_fetch(architecture, weights, error)) from None
    return _describe(
        architecture, weights, models.get_model(architecture, weights=weights, **arguments_of(architecture))
    )


def untrained(reference: str, places: Places) -> Backbone:
    """The same architecture, preprocessing and card, weights as torch's generator initialises them."""
    architecture, weights = weights_of(reference)
    size = {"image_size": weights.meta["min_size"][0]} if architecture.startswith("vit_") else {}
    arguments = {**arguments_of(architecture), **size, **({"init_weights": True} if architecture in ARGUMENTS else {})}
    return _describe(architecture, weights, models.get_model(architecture, weights=None, **arguments))


def build(architecture: str, kwargs: dict[str, Any], places: Places) -> nn.Module:
    """An untrained model. Raises ``ValueError`` for a name or an argument torchvision does not know."""
    if architecture not in _known():
        raise unknown("torchvision architecture", architecture, _known())
    try:
        model: nn.Module = models.get_model(architecture, weights=None, **{**arguments_of(architecture), **kwargs})
    except TypeError as error:
        raise ValueError(f"torchvision cannot build {architecture!r} with kwargs {kwargs}: {error}") from None
    return model


def built_as(architecture: str, kwargs: dict[str, Any], places: Places) -> str:
    """What weights are put into, for their identity."""
    return f"torchvision {architecture} {json.dumps(kwargs, sort_keys=True)}"


def wrap(model: nn.Module, card: Card, preprocess: Preprocess, classes: tuple[str, ...] = ()) -> Backbone:
    """Put a torchvision model behind the contract; with ``classes`` its head is handed out too."""
    if classes:
        return TorchvisionClassifier(model, card, preprocess, classes)
    return TorchvisionBackbone(model, card, preprocess)


def trunk_parameters(model: nn.Module) -> int:
    """How many parameters there are without the last layer's."""
    return sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in head_of(model).parameters())


def arguments_of(architecture: str) -> dict[str, Any]:
    return ARGUMENTS.get(architecture, {})


def _known() -> list[str]:
    return list(models.list_models(module=models))


def weights_of(reference: str) -> tuple[str, Any]:
    """An architecture and its weights (an entry of torchvision's enumeration)."""
    architecture, _, name = reference.partition(".")
    if architecture not in _known():
        raise unknown("torchvision model", architecture, _known())
    choices = {each.name: each for each in models.get_model_weights(architecture)}
    if name and name not in choices:
        raise unknown(f"weights of torchvision's {architecture}", name, choices)
    return architecture, choices[name] if name else models.get_model_weights(architecture).DEFAULT


def _describe(architecture: str, weights: Any, model: nn.Module) -> Backbone:
    swag = "SWAG" in weights.name
    card = Card(
        name=f"torchvision:{architecture}.{weights.name}",
        family="supervised",
        architecture=architecture,
        parameters=trunk_parameters(model),
        pretraining_method="weakly supervised (SWAG)" if swag else "supervised",
        pretraining_data="Instagram-3.6B, ImageNet-1k" if swag else "ImageNet-1k",
        source=SOURCE,
        revision=weights.url.rpartition("/")[2],
        licence="cc-by-nc-4.0" if swag else "bsd-3-clause",
        weights_sha256=weights_sha256(model, built_as(architecture, {}, Places())),
    )
    # torchvision names its classes in words; their order is ImageNet-1k's, so the WordNet ids are used.
    return wrap(model, card, preprocess_of(weights), wordnet_ids(len(weights.meta["categories"])))


def preprocess_of(weights: Any) -> Preprocess:
    """The evaluation transform torchvision ships with the weights."""
    transform = weights.transforms()
    return Preprocess(
        size=(transform.crop_size[0], transform.crop_size[0]),
        resize=transform.resize_size[0],
        crop="center",
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )


def _cannot_fetch(architecture: str, weights: Any, error: OSError) -> str:
    return (
        f"cannot fetch the weights of torchvision:{architecture}.{weights.name} ({error}). Get {weights.url} "
        f"on a machine with a network and put it into {torch.hub.get_dir()}/checkpoints, "
        "or name the file in a card and use checkpoint:CARD.yaml"
    )


ADAPTERS = {"torchvision": load}
UNTRAINED = {"torchvision": untrained}
LIBRARIES = {"torchvision": Library(SOURCE, build, wrap, trunk_parameters, built_as)}
