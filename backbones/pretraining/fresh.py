"""A backbone to begin with: an architecture of a library with weights as it initialises them."""

from collections.abc import Mapping
from typing import Any

import torch

from backbones.adapters.library import LIBRARIES, Library
from backbones.base import Backbone, Card, Preprocess
from backbones.places import Places
from backbones.weights import weights_sha256

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What views are normalised by: the field's habit, on any data."""


def fresh(architecture: str, kwargs: Mapping[str, Any], size: int, seed: int, places: Places) -> Backbone:
    """``LIBRARY:NAME`` untrained, drawn from ``seed``, for images whose shorter side becomes ``size`` pixels.

    Raises ``ValueError`` for a library, a name or an argument that does not exist.
    """
    source, _, name = architecture.partition(":")
    library: Library = LIBRARIES.load(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = library.build(name, dict(kwargs), places)
    card = Card(
        name=f"{architecture}@{seed}",
        family="random",
        architecture=name,
        parameters=library.trunk_parameters(model),
        pretraining_method="none",
        pretraining_data="none",
        source=library.source,
        revision=f"seed {seed}",
        licence="unknown",
        weights_sha256=weights_sha256(model, library.built_as(name, dict(kwargs), places)),
    )
    preprocess = Preprocess((size, size), size, "center", "bilinear", IMAGENET_MEAN, IMAGENET_STD)
    return library.wrap(model, card, preprocess, ())
