"""One choice of everything a fine-tuning may vary."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from backbones.training.augmentation import Augmentation
from backbones.training.recipe import Recipe

BatchNorm = Literal["frozen", "batch"]
"""What BatchNorm normalises by while it is trained: the statistics it was loaded with, or each batch's."""


@dataclass(frozen=True)
class Chosen:
    """What the loop does, what happens to images, and what the network and its loss are given."""

    recipe: Recipe
    augmentation: Augmentation
    label_smoothing: float
    drop_path: float
    batch_norm: BatchNorm

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must agree on besides the recipe, by name."""
        rest = {"label_smoothing": self.label_smoothing, "drop_path": self.drop_path, "batch_norm": self.batch_norm}
        return {**rest, **asdict(self.augmentation)}
