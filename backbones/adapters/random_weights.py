"""The untrained twin of any model: ``random:timm:resnet18``, ``random:checkpoint:CARD.yaml@1`` (seed 1); no network.

Weights are drawn as the library initialises them. BatchNorm keeps its fresh statistics (mean 0, variance 1), which is
what an untrained network computes in evaluation mode.
Measuring them on synthetic images (white noise, 1/f noise, dead leaves; no data) makes no stronger twin. Mean of kNN,
5-shot, linear top-1 and mAP, on 40 classes of Tiny ImageNet and crops of COCO, seed 0: ResNet-18 gained 2.1 to 3.5
points, MobileNetV2 lost 1.7 to 3.7 (why was not looked into; it has 52 BatchNorm layers in a row).
"""

from dataclasses import replace

import torch

from backbones.base import Backbone
from backbones.catalogue import resolve
from backbones.places import Places
from backbones.plugins import Plugins
from backbones.pretraining.runs import is_run

UNTRAINED = Plugins("source of a random twin", "backbones.adapters", "UNTRAINED", "bob.untrained")
"""``untrained(reference, places)`` by source, beside its adapter: builds a model without reading weights."""


def load(reference: str, places: Places) -> Backbone:
    """Build ``source:name`` (or an alias) untrained, from seed 0 or that after ``@``; leaves the generator alone.

    Raises ``ValueError`` for a source that has no untrained form.
    """
    name, seed = split_seed(reference)
    source, _, inner = resolve(name).partition(":")
    untrained = UNTRAINED.load(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone: Backbone = untrained(inner, places)
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
    """What a twin is of, and its seed. After the name of a run the first ``@`` is its step, and a second one the seed.

    >>> split_seed("timm:resnet18@3"), split_seed("checkpoint:me@home.yaml")
    (('timm:resnet18', 3), ('checkpoint:me@home.yaml', 0))
    >>> split_seed("checkpoint:run@100"), split_seed("checkpoint:run@100@3")
    (('checkpoint:run@100', 0), ('checkpoint:run@100', 3))
    """
    name, _, seed = reference.rpartition("@")
    source, _, inner = name.partition(":")
    if not (name and seed.isdigit()) or (source == "checkpoint" and is_run(inner)):
        return reference, 0
    return name, int(seed)


ADAPTERS = {"random": load}
