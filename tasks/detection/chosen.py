"""One choice of everything a training of a detector may vary."""

from dataclasses import asdict, dataclass
from typing import Any

from backbones.training.recipe import Recipe
from tasks.detection.head_settings import HeadSettings
from tasks.detection.jitter import Jitter
from tasks.trunk import BatchNorm, Train


@dataclass(frozen=True)
class Chosen:
    """What the loop does, what happens to images, and what trunk and heads are given."""

    recipe: Recipe
    jitter: Jitter
    heads: HeadSettings
    detector: str
    train: Train
    drop_path: float
    batch_norm: BatchNorm
    window: int | None

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must agree on besides the recipe, by name."""
        facts = {**asdict(self), **asdict(self.jitter), **asdict(self.heads)}
        return {name: value for name, value in facts.items() if name not in ("recipe", "heads")}
