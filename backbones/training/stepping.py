"""One step: the gradient of the mean loss over a global batch, in parts, and the update it makes."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer
from torch import Tensor

from backbones.training.averaging import average_of
from backbones.training.batch_norm import synchronise
from backbones.training.buffers import KeptBuffers
from backbones.training.chance import seed_chance
from backbones.training.devices import is_sharded
from backbones.training.execution import Execution
from backbones.training.job import Job
from backbones.training.optimisers import optimiser_of
from backbones.training.parameter_groups import freeze_layers, parameter_groups, train_mode
from backbones.training.patience import Patience
from backbones.training.schedule import set_rates
from backbones.training.trainee import Recomputes, Stepped, Trainee


class DoesNotFitError(RuntimeError):
    """Memory ran out in a step; everything is as before that step."""


class Stepper:
    """A trainee with its optimiser and average on this process's device. ``torn`` while an update is half made."""

    def __init__(self, job: Job, fabric: Fabric, trainee: Trainee, patience: Patience) -> None:
        """In this order: what is averaged and optimised are the parameters as the strategy leaves them."""
        self.job, self.fabric, self.trainee, self.patience = job, fabric, trainee, patience
        self.recipe = job.recipe
        self.torn = False
        freeze_layers(trainee, self.recipe.frozen_layers)
        arrange(trainee, job.execution, sharded=is_sharded(fabric))
        if fabric.world_size > 1:
            synchronise(trainee, fabric.device)
        decay = self.recipe.average_decay
        self.average = None if decay is None else average_of(trainee, decay).to(fabric.device)
        if self.average is not None and is_sharded(fabric):
            fabric.setup_module(self.average.module)
        compiled: Any = torch.compile(trainee) if job.execution.compile else trainee
        self.module = fabric.setup_module(compiled)
        self.optimiser = optimiser_of(parameter_groups(trainee, self.recipe), self.recipe)
        self._stepping = cast(_FabricOptimizer, fabric.setup_optimizers(self.optimiser))
        self._buffers = KeptBuffers(trainee)

    def train_mode(self) -> None:
        """As before every run of steps."""
        train_mode(self.trainee)

    def gradient(self, step: int, parts: int, batches: Iterator[list[Any]]) -> Tensor:
        """Accumulate the gradient of step ``step`` over this device's micro-batches; their shares of the mean loss.

        Micro-batch k of ``parts`` is on device k mod D. One of m of the B items weighs m / B, so that whatever the
        split the gradients' sum is that of the mean over all B; D makes up for the mean that the strategy takes.
        The shares are a row of ``parts``, zero for other devices' micro-batches.
        """
        self._buffers.keep()
        losses = torch.zeros(parts, device=self.fabric.device)
        devices = self.fabric.world_size
        try:
            for part in range(self.fabric.global_rank, parts, devices):
                items = next(batches)
                with self.patience.held():
                    losses[part] = self._part(items, step, part, last=part + devices >= parts)
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]  # not the error: its frames hold the memory
        else:
            return losses
        self.undo()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        raise DoesNotFitError(reason)

    def _part(self, items: list[Any], step: int, part: int, last: bool) -> Tensor:
        share = len(items) / self.recipe.global_batch
        alone = self.fabric.world_size == 1
        with nullcontext() if alone else self.fabric.no_backward_sync(self.module, enabled=not last):
            batch = self.job.stream.batch(items, step, self.fabric.device)
            seed_chance(self.job.seed, step, part, self.fabric.device)
            loss = self.module(batch)
            self.fabric.backward(loss * (share * self.fabric.world_size))
        return cast(Tensor, loss.detach() * share)

    def update(self, step: int, steps_an_epoch: int) -> None:
        """Make step ``step``, which was accumulated, at its rates."""
        self.torn = True
        set_rates(self.optimiser, self.recipe, step, steps_an_epoch)
        if isinstance(self.trainee, Stepped):
            self.trainee.before_update()
        if self.recipe.clip_norm is not None:
            self.fabric.clip_gradients(
                self.module, self._stepping, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
            )
        self._stepping.step()
        self.optimiser.zero_grad()
        if isinstance(self.trainee, Stepped):
            self.trainee.after_update()
        if self.average is not None:
            self.average.update_parameters(self.trainee)
        self._buffers.accept()
        self.torn = False

    def undo(self) -> None:
        """Forget what was accumulated, and what forward passes did to buffers."""
        self.optimiser.zero_grad()
        self._buffers.restore()


def arrange(trainee: Trainee, execution: Execution, sharded: bool) -> None:
    """Memory layout, and activations computed again. Raises ``ValueError`` where the trainee cannot do that.

    Sharded weights stay as they are: torch only shards what is contiguous.
    """
    if execution.channels_last and not sharded:
        trainee.to(memory_format=torch.channels_last)
    if execution.gradient_checkpointing:
        if not isinstance(trainee, Recomputes):
            raise ValueError(f"gradient_checkpointing: {type(trainee).__name__} offers none (it has no recompute())")
        trainee.recompute()
