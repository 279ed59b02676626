"""One choice of everything a training of segmentation may vary."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from backbones.training.recipe import Recipe
from tasks.segmentation.geometry import Geometry
from tasks.trunk import BatchNorm, Train

Head = Literal["linear", "upernet"]
"""What reads the maps."""


@dataclass(frozen=True)
class Chosen:
    """What the loop does, what happens to images, and how the network is made."""

    recipe: Recipe
    geometry: Geometry
    head: Head
    head_channels: int
    train: Train
    drop_path: float
    batch_norm: BatchNorm

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must agree on besides the recipe, by name."""
        return {name: value for name, value in asdict(self).items() if name != "recipe"}
