"""What a training does to the weights: every field changes the number, so all of it enters a cell's key."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Recipe:
    """Optimiser, schedule and length. A step is ``global_batch`` items, whatever devices share it.

    ``learning_rate`` is absolute (not scaled with the batch) and the head's; a layer d groups below it has
    ``layer_decay ** d`` times that. ``schedule="cosine"`` warms up linearly and then falls along half a cosine, step
    by step; ``"cosine_by_epoch"`` is timm's of 2023: constant in an epoch, the cosine counted from the first epoch.
    ``"steps"`` warms up likewise and then divides the rate by ten at each of ``milestones`` (epochs, rising).
    ``decay_vectors``: whether weight decay (and LARS's trust ratio) also acts on parameters of at most one dimension
    (biases, norms); the field leaves them alone. ``betas`` are AdamW's and of Muon's AdamW for what is no matrix;
    ``momentum`` is SGD's, LARS's and Muon's. With ``final_weight_decay`` weight decay moves there along half a cosine.
    ``trust_coefficient`` is LARS's eta, which a layer's rate is multiplied by along with the ratio of its norms;
    with ``trust_clip`` that only lowers a rate. ``average_decay`` keeps an exponential moving average of the weights
    (EMA). ``clip_norm`` bounds the norm of the whole gradient. ``frozen_layers`` counts groups of
    ``Trainee.layers()``, from the input, that are not trained and whose modules stay in evaluation mode.
    """

    epochs: int = Field(default=100, ge=1)
    global_batch: int = Field(default=1024, ge=1)
    optimiser: Literal["adamw", "sgd", "lars", "muon"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "cosine_by_epoch", "steps"] = "cosine"
    milestones: tuple[Annotated[float, Field(gt=0)], ...] = ()
    warmup_epochs: float = Field(default=5.0, ge=0)
    warmup_learning_rate: float = Field(default=1e-6, ge=0)
    minimum_learning_rate: float = Field(default=1e-6, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    final_weight_decay: float | None = Field(default=None, ge=0)
    decay_vectors: bool = False
    trust_coefficient: float = Field(default=0.001, gt=0)
    trust_clip: bool = False
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    average_decay: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    frozen_layers: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _schedule_in_order(self) -> "Recipe":
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) is above epochs ({self.epochs})")
        if self.minimum_learning_rate > self.learning_rate:
            raise ValueError(
                f"minimum_learning_rate ({self.minimum_learning_rate:g}) is above "
                f"learning_rate ({self.learning_rate:g})"
            )
        self._milestones_in_order()
        return self

    def _milestones_in_order(self) -> None:
        stepped, written = self.schedule == "steps", ", ".join(f"{each:g}" for each in self.milestones)
        if stepped != bool(self.milestones):
            raise ValueError(f"schedule {self.schedule} has milestones ({written}); steps need some, others have none")
        if list(self.milestones) != sorted(set(self.milestones)) or any(at >= self.epochs for at in self.milestones):
            raise ValueError(f"milestones ({written}) must rise and come before the end, epoch {self.epochs}")
