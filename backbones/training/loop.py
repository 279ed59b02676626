"""The training loop: steps of a global batch, whatever the devices, that can be stopped anywhere and gone on with."""

from collections.abc import Mapping
from typing import Any

from backbones.training.devices import fabric_of, processes_here
from backbones.training.execution import Execution
from backbones.training.job import Evaluate, Job, Log, Publish
from backbones.training.launch import launch
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from backbones.training.stream import Stream
from backbones.training.trainee import Trainee
from backbones.training.training import Training


def fit(
    trainee: Trainee,
    stream: Stream,
    recipe: Recipe,
    execution: Execution,
    seed: int,
    evaluate: Evaluate | None = None,
    log: Log | None = None,
    settings: Mapping[str, Any] | None = None,
    publish: Publish | None = None,
) -> Fitted:
    """Train in place, going on from the newest checkpoint in ``execution.folder`` if there is one.

    ``evaluate`` is asked after every epoch, ``publish`` is then given the same model, ``log`` is told every row;
    ``settings`` are plain named values that the number also depends on (augmentation, the data's manifest), compared
    with the checkpoint's before it is used.
    The trainee ends in evaluation mode, on the training's device. Raises

    - ``ValueError`` for a batch larger than the set, or layers that do not fit the recipe;
    - :class:`~backbones.training.identity.CannotResumeError` for a checkpoint of another training, naming the fields;
    - :class:`~backbones.training.outcomes.Diverged`, :class:`~backbones.training.outcomes.OutOfMemory`;
    - :class:`~backbones.training.outcomes.CollapsedError`, where ``evaluate`` does.

    Whatever else ends it (a signal's exception, an unreadable item) leaves a checkpoint of the last whole step.
    """
    job = Job(trainee, stream, recipe, execution, seed, evaluate, log, dict(settings or {}), publish)
    world = execution.devices * execution.nodes
    if world == 1 or processes_here() == world:
        return Training(job, fabric_of(execution)).run()
    if processes_here() > 1 or execution.nodes > 1:
        raise ValueError(
            f"devices={execution.devices} x nodes={execution.nodes} need {world} processes, but the launcher started "
            f"{processes_here()}; start one a device (torchrun, srun), or run on one node without a launcher"
        )
    return launch(job)
