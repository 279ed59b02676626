"""One choice of everything a fine-tuning may vary."""

from dataclasses import asdict, dataclass
from typing import Any

from backbones.training.augmentation import Augmentation
from backbones.training.recipe import Recipe
from tasks.trunk import BatchNorm


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
