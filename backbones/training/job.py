"""What is to be trained, on what, how, and who wants to hear of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backbones.training.execution import Execution
from backbones.training.outcomes import Row
from backbones.training.recipe import Recipe
from backbones.training.stream import Stream
from backbones.training.trainee import Trainee

Evaluate = Callable[[Trainee], Mapping[str, float]]
"""Is given the model to be judged, in evaluation mode, on the training's device; answers named numbers."""
Publish = Callable[[Trainee, int], None]
"""Is given the model that was judged, and its steps, before the epoch counts as done: by a restart perhaps again."""
Log = Callable[[Literal["step", "epoch"], Row], None]
"""Is told every row of the history when it is known. After a restart, rows since the last checkpoint come again."""


@dataclass(frozen=True)
class Job:
    """The arguments of :func:`backbones.training.loop.fit`."""

    trainee: Trainee
    stream: Stream
    recipe: Recipe
    execution: Execution
    seed: int
    evaluate: Evaluate | None
    log: Log | None
    settings: Mapping[str, Any]
    publish: Publish | None = None
