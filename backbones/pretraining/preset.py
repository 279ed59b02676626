"""A published recipe of a method, by name: its settings, what is trained, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backbones.pretraining.method import MethodSettings
from backbones.training.recipe import Recipe


@dataclass(frozen=True)
class Preset:
    """``architecture`` is ``library:name`` as cards write them, built with ``kwargs``, for images of ``size`` pixels.

    ``source`` says where the numbers are from, and, of what has not been trained here, that.
    """

    settings: MethodSettings
    recipe: Recipe
    architecture: str
    size: int
    source: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
