"""The untrained twin of any model: ``random:timm:resnet18``, ``random:checkpoint:CARD.yaml@1`` (seed 1); no network.

Weights are drawn as the library initialises them. BatchNorm keeps its fresh statistics (mean 0, variance 1), which is
what an untrained network computes in evaluation mode.
"""

import importlib
from dataclasses import replace

import torch

from backbones.base import Backbone
from backbones.places import Places
from backbones.plugins import unknown

SOURCES = {
    "timm": "backbones.adapters.timm_models",
    "torchvision": "backbones.adapters.torchvision_models",
    "checkpoint": "backbones.adapters.checkpoint",
}
"""Modules whose ``untrained(reference, places)`` builds a model without reading weights."""


def load(reference: str, places: Places) -> Backbone:
    """Build ``source:name`` untrained, from seed 0 or the one after ``@``. The caller's generator is left alone.

    Raises ``ValueError`` for a source that has no untrained form.
    """
    name, seed = split_seed(reference)
    source, _, inner = name.partition(":")
    if source not in SOURCES:
        raise unknown("source of a random twin", source, SOURCES)
    module = importlib.import_module(SOURCES[source])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone: Backbone = module.untrained(inner, places)
    backbone.card = replace(
        backbone.card,
        name=f"random:{backbone.card.name}" + (f"@{seed}" if seed else ""),
        family="random",
        pretraining_method="none",
        pretraining_data="none",
        revision=f"seed {seed}",
    )
    return backbone


def split_seed(reference: str) -> tuple[str, int]:
    """
    >>> split_seed("timm:resnet18@3"), split_seed("checkpoint:me@home.yaml")
    (('timm:resnet18', 3), ('checkpoint:me@home.yaml', 0))
    """
    name, _, seed = reference.rpartition("@")
    return (name, int(seed)) if name and seed.isdigit() else (reference, 0)


ADAPTERS = {"random": load}
