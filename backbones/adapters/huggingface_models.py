"""Vision models of transformers: ``huggingface:facebook/dinov2-base@REVISION``, or a folder that save_pretrained made."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from backbones.adapters import huggingface_build as build
from backbones.adapters import huggingface_tower as tower_of
from backbones.adapters.huggingface_files import Repository, open_repository
from backbones.adapters.huggingface_kinds import SETTINGS_OF_NO_WEIGHT, Kind
from backbones.adapters.huggingface_preprocess import preprocess_of
from backbones.adapters.imagenet import wordnet_ids_of
from backbones.adapters.maps import deepest_by_stride, tokens_to_map
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.reference import Reference
from backbones.weights import weights_sha256

SOURCE = f"transformers {transformers.__version__}"


class HuggingFaceBackbone(Backbone):
    """A transformers model read as its row of the table says."""

    def __init__(self, model: nn.Module, kind: Kind, card: Card, preprocess: Preprocess) -> None:
        super().__init__()
        self.model, self.kind, self.card, self.preprocess = model, kind, card, preprocess
        self.readouts = tower_of.readouts(self.tower, kind)
        self.eval()

    @property
    def tower(self) -> nn.Module:
        """The part of the model that images go through."""
        return self.model.get_submodule(build.tower_path(self.model, self.kind))

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """The vector the model's authors transfer; projected into the space of the text where there is one."""
        vectors = tower_of.pooled(self.tower, self.kind, images)
        projection = self.kind.projection
        return self.model.get_submodule(projection)(vectors) if projection else vectors

    def feature_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> dict[int, Float[Tensor, "batch channels map_height map_width"]]:
        """The last map of every stride among the stages; the output tokens of a vision transformer as one map."""
        return tower_of.maps(self.tower, self.kind, images)

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        """One group a block of the image tower, then the projection."""
        groups = tower_of.layers(self.tower, self.kind)
        if self.kind.projection:
            projection = self.model.get_submodule(self.kind.projection)
            groups.append((f"{len(groups)} {self.kind.projection}", list(projection.parameters())))
        return groups

    def read(self, images: Float[Tensor, "batch 3 height width"], readout: str) -> Float[Tensor, "batch dim"]:
        """A block's class token, the mean of its patches, or both (``block11/cls+mean``); see ``readouts``."""
        return tower_of.read(self.tower, self.kind, images, readout)


class HuggingFaceClassifier(HuggingFaceBackbone):
    """A checkpoint with a classifier head."""

    def __init__(
        self, model: nn.Module, kind: Kind, card: Card, preprocess: Preprocess, classes: tuple[str, ...]
    ) -> None:
        super().__init__(model, kind, card, preprocess)
        self.classes = classes

    def classify(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """The model's own logits."""
        return tower_of.run(self.model, self.tower, self.kind, images).logits


class HuggingFaceTextBackbone(HuggingFaceBackbone):
    """An image tower with its text tower and the tokenizer it was trained with."""

    def __init__(self, model: nn.Module, kind: Kind, card: Card, preprocess: Preprocess, tokenizer: Any) -> None:
        super().__init__(model, kind, card, preprocess)
        self.tokenizer = tokenizer

    def embed_text(self, prompts: Sequence[str]) -> Float[Tensor, "prompts dim"]:
        """The library's text features; prompts are cut, and padded as in training, to the text tower's length."""
        text: Any = self.model.config.text_config  # type: ignore[union-attr]
        tokens = self.tokenizer(
            list(prompts),
            padding=self.kind.text,
            truncation=True,
            max_length=text.max_position_embeddings,
            return_tensors="pt",
        )
        device = next(self.parameters()).device
        asked = {name: tokens[name].to(device) for name in ("input_ids", "attention_mask") if name in tokens}
        vectors: Tensor = self.model.get_text_features(**asked).pooler_output  # type: ignore[operator]
        return vectors


def load(reference: str, places: Places) -> Backbone:
    """Load ``REPO[@REVISION]`` from a folder, the hub's cache or the network; safetensors, every key accounted for.

    Raises ``ValueError`` for a model we do not know or weights that do not fit, ``OSError`` where they cannot be had.
    """
    repository = open_repository(reference, places)
    return _wrap(repository, *build.trained(repository))


def untrained(reference: str, places: Places) -> Backbone:
    """The same architecture, preprocessing and card, weights as the library draws them; no weights need be there."""
    repository = open_repository(reference, places, weights=False)
    return _wrap(repository, *build.untrained(repository))


def reference(reference: str, places: Places) -> Reference:
    """The library's own image processor and its own forward pass, on an instance of its own."""
    repository = open_repository(reference, places)
    kind, folder = repository.kind, str(repository.folder)
    automatic = transformers.AutoModelForDepthEstimation if kind.family == "depth" else transformers.AutoModel
    model = automatic.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    processor = _processor(repository)
    patch_size = 1 if kind.layout == "stages" else tower_of.patch_size(_library_tower(model, kind))
    preprocess = preprocess_of(processor, patch_size, repository.name)
    return Reference(
        partial(_library_transform, processor, preprocess),
        partial(_library_embed, model, kind),
        None if kind.family == "depth" or kind.inner else partial(_library_maps, model, kind),
        TOLERANCES.get(type(processor).__name__.removesuffix("Pil"), 1e-4),
    )


def _wrap(repository: Repository, model: nn.Module, kind: Kind) -> Backbone:
    tower = model.get_submodule(build.tower_path(model, kind))
    patch_size = tower_of.patch_size(tower) if kind.layout == "tokens" else 1
    preprocess = preprocess_of(_processor(repository), patch_size, repository.name)
    card = _card(repository, model, kind)
    if type(model).__name__ == kind.classifier:
        return HuggingFaceClassifier(model, kind, card, preprocess, _classes(model))
    if kind.text:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(repository.folder), local_files_only=True)
        return HuggingFaceTextBackbone(model, kind, card, preprocess, tokenizer)
    return HuggingFaceBackbone(model, kind, card, preprocess)
