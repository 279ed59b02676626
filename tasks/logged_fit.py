"""A training in a folder of its own below the execution's, with its log and curves there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backbones.training.curves import draw_curves
from backbones.training.execution import LOGS, Execution
from backbones.training.job import Evaluate
from backbones.training.logs import Logs
from backbones.training.loop import fit
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from backbones.training.stream import Stream
from backbones.training.trainee import Trainee


def below(execution: Execution, name: str) -> Execution:
    """The same in the folder of that name, where there is one."""
    return execution if execution.folder is None else replace(execution, folder=execution.folder / name)


def logged_fit(
    trainee: Trainee,
    stream: Stream,
    recipe: Recipe,
    execution: Execution,
    seed: int,
    evaluate: Evaluate | None,
    settings: Mapping[str, Any],
) -> Fitted:
    """:func:`backbones.training.loop.fit`, logged where ``execution`` has a folder, however it ends."""
    logs = None if execution.folder is None else Logs(execution.folder / LOGS)
    try:
        return fit(trainee, stream, recipe, execution, seed, evaluate, logs, settings)
    finally:
        if logs is not None:
            logs.close()
            draw_curves(logs.folder)
