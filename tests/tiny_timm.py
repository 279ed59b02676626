"""Untrained timm models of any architecture and size, by a card without weights."""

import json
from pathlib import Path
from typing import Any

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.places import Places

CARD = """
name: {name}
weights: nowhere.pth
library: timm
architecture: {architecture}
kwargs: {kwargs}
preprocess: {{size: {size}, resize: {size}, interpolation: bicubic, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
family: supervised
pretraining: {{method: supervised, data: noise}}
licence: mit
revision: "1"
"""


def timm_twin(folder: Path, architecture: str, kwargs: dict[str, Any], size: int = 96) -> Backbone:
    """Loaded as a user's own would be."""
    card = folder / f"{architecture}.yaml"
    arguments = json.dumps(kwargs)
    card.write_text(CARD.format(name=architecture, architecture=architecture, kwargs=arguments, size=size))
    return load(f"random:checkpoint:{card.name}", Places((folder,)))
