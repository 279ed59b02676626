"""The life of one training: its steps and epochs in order, and how it is left and gone on with."""

import math
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext, suppress
from copy import deepcopy
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from backbones.training.batch_norm import batch_norm_note
from backbones.training.chance import callers_chance
from backbones.training.checkpoint import Checkpoint, Checkpoints
from backbones.training.devices import is_sharded
from backbones.training.history import History
from backbones.training.identity import check_identity, identity_of
from backbones.training.job import Job
from backbones.training.loader import Wanted, load
from backbones.training.order import accumulation_of, epoch_order, split, steps_an_epoch
from backbones.training.outcomes import CollapsedError, Diverged, Fitted, OutOfMemory
from backbones.training.patience import Patience
from backbones.training.pulse import Pulse
from backbones.training.saving import gather, put_back, weights
from backbones.training.schedule import learning_rate
from backbones.training.stepping import DoesNotFitError, Stepper
from backbones.training.trainee import Trainee


class Training:
    """A job in a process that Fabric has set up. :meth:`run` is called once."""

    def __init__(self, job: Job, fabric: Fabric) -> None:
        self.job, self.fabric, self.recipe = job, fabric, job.recipe
        self.steps_an_epoch = steps_an_epoch(len(job.stream), job.recipe.global_batch)
        self.total = self.steps_an_epoch * job.recipe.epochs
        self.step = 0
        self.accumulation = self.accumulation_asked = accumulation_of(
            job.recipe.global_batch,
            fabric.world_size,
            job.execution.device_batch,
            0 if job.trainee.whole_batch else job.execution.halvings,
        )
        self._check_whole_batch()
        self.identity = identity_of(job)
        folder = job.execution.folder
        self.checkpoints = (
            None if folder is None else Checkpoints(folder / "checkpoints", job.execution.keep_checkpoints)
        )
        self.group = fabric.world_size > 1
        self.patience = Patience(alone=not self.group)
        self.history = History(job.log if fabric.is_global_zero else None)
        self.notes: dict[str, Any] = {}
        if job.execution.halvings:
            self.notes["killed_for_memory"] = f"{job.execution.halvings} times before; device batch {self._largest()}"
        trainee = deepcopy(job.trainee) if is_sharded(fabric) else job.trainee
        self.stepper = Stepper(job, fabric, trainee, self.patience)
        self._untold: deque[tuple[int, float, Pulse]] = deque()
        self._saved, self._saved_at = (-1, -1), time.monotonic()
        self._asked = False
        self._seconds, self._images = 0.0, 0

    def run(self) -> Fitted:
        """From the last checkpoint, if any, to the end."""
        held = self.patience.held() if self.group else nullcontext()  # of a group, all leave after the same step
        with callers_chance(self.fabric.device), held:
            self._resume()
            try:
                while not self._over():
                    self._go_on()
                self._save()
            except BaseException as error:
                self._leave(error)
                raise
        return self._fitted()

    def _check_whole_batch(self) -> None:
        world, size = self.fabric.world_size, self.recipe.global_batch
        if self.job.trainee.whole_batch and (self.accumulation > 1 or (world > 1 and size % (2 * world))):
            raise ValueError(
                f"{type(self.job.trainee).__name__} compares the items of a batch with each other: global_batch={size} "
                f"must be one micro-batch on each of {world} devices, of as many pairs; leave device_batch "
                f"({self.job.execution.device_batch}) out, or lower global_batch, or take more devices"
            )

    def _over(self) -> bool:
        return self.step == self.total and len(self.history.epochs) == self.recipe.epochs

    def _go_on(self) -> None:
        """To the end, or to a step that does not fit into memory: then with half the device batch from there."""
        self.stepper.train_mode()
        try:
            loaded = load(self.job.stream, self._wanted(), self.job.execution.workers, self.job.execution.stall_seconds)
            with closing(loaded) as batches:
                while not self._over():
                    if len(self.history.epochs) < self.step // self.steps_an_epoch:
                        self._evaluate()
                    else:
                        self._advance(batches)
        except DoesNotFitError as error:
            self._halve(str(error))

    def _wanted(self) -> Iterator[Wanted]:
        """This device's micro-batches of every step from here on."""
        begin, size = self.step, self.recipe.global_batch
        mine = split(size, self._parts())[self.fabric.global_rank :: self.fabric.world_size]
        for epoch in range(begin // self.steps_an_epoch, self.recipe.epochs):
            order = epoch_order(len(self.job.stream), self.job.seed, epoch).tolist()
            for step in range(max(begin - epoch * self.steps_an_epoch, 0), self.steps_an_epoch):
                rows = order[step * size : (step + 1) * size]
                yield from (Wanted(epoch, tuple(rows[part])) for part in mine)

    def _parts(self) -> int:
        return self.accumulation * self.fabric.world_size

    def _largest(self) -> int:
        """Items of the largest micro-batch."""
        parts = split(self.recipe.global_batch, self._parts())
        return max(len(range(part.start, part.stop)) for part in parts)

    def _advance(self, batches: Iterator[list[Any]]) -> None:
        begun = time.perf_counter()
        rate = learning_rate(self.recipe, self.step, self.steps_an_epoch)
        losses = self._losses(batches)
        with self.patience.held():
            self.stepper.update(self.step, self.steps_an_epoch)
            self._untold.append((self.step, rate, self._pulse(losses)))
            self.step += 1
            stop, save = self._tell(but=1)
            self._seconds += time.perf_counter() - begun
            self._images += self.recipe.global_batch
        if self.job.execution.report is not None and self.fabric.is_global_zero:
            seen = self.history.steps
            detail = f"loss {seen[-1]['loss']:.3g}" if seen else ""
            self.job.execution.report("step", self.step, self.total, detail)
        if stop or (save if self.group else self._save_is_due()):
            self._save()
        if stop:
            self.patience.deliver(self.patience.pending or signal.SIGTERM)

    def _losses(self, batches: Iterator[list[Any]]) -> Tensor:
        """Of the step's micro-batches, once their gradient is there."""
        try:
            return self.stepper.gradient(self.step, self._parts(), batches)
        except Exception:
            self._tell()  # a loss before it that was not finite explains whatever failed here: it is raised instead
            raise

    def _pulse(self, losses: Tensor) -> Pulse:
        """The step's mean loss in its parts; of a group also whether one was told to stop or the first is to save."""
        if not self.group:
            return Pulse(losses)
        due = self.fabric.is_global_zero and not self._asked and self._save_is_due()
        self._asked = self._asked or due
        flags = [float(self.patience.pending is not None), float(due)]
        mine = torch.cat([losses, torch.tensor(flags, device=losses.device)])
        return Pulse(cast(Tensor, self.fabric.all_reduce(mine, reduce_op="sum")))

    def _tell(self, but: int = 0) -> tuple[bool, bool]:
        """Put steps into the history, all but the last ``but``: a GPU may still be at that one. (Stop, save)?"""
        stop = save = False
        with self.patience.held():
            while len(self._untold) > but:
                step, rate, pulse = self._untold.popleft()
                seen = pulse.read()
                losses, flags = seen[: len(seen) - 2 * self.group], seen[len(seen) - 2 * self.group :]
                stop, save = stop or any(flags[:1]), save or any(flags[1:])
                epoch, loss = step // self.steps_an_epoch + 1, sum(losses)
                row = {"step": step + 1.0, "epoch": float(epoch), "loss": loss, "learning_rate": rate}
                try:
                    self.history.step(row)
                except Diverged as error:
                    raise Diverged(error.step, error.loss, error.first, self._blamed(step, losses)) from None
        return stop, save

    def _blamed(self, step: int, losses: list[float]) -> list[str]:
        """The items of the micro-batches whose loss is not finite, of all where it is; which they are is known still,
        since the order of an epoch is a function of the seed.
        """
        size, within = self.recipe.global_batch, step % self.steps_an_epoch
        order = epoch_order(len(self.job.stream), self.job.seed, step // self.steps_an_epoch).tolist()
        rows, parts = order[within * size : (within + 1) * size], split(size, len(losses))
        bad = [part for part, loss in zip(parts, losses, strict=True) if not math.isfinite(loss)] or parts
        return [self.job.stream.names[row] for part in bad for row in rows[part]]

    def _evaluate(self) -> None:
        self._tell()
        epoch = len(self.history.epochs) + 1
        answer: Mapping[str, float] = {}
        if self.job.evaluate is not None or self.job.publish is not None:
            model = self._model().eval()
            if self.fabric.is_global_zero:  # the others wait in their next step
                answer = self._shown(model)
            self.stepper.train_mode()
        with self.patience.held():
            self.history.epoch(epoch, answer)

    def _shown(self, model: Trainee) -> Mapping[str, float]:
        """What the model is worth. It is published after that: whoever judges it may also stop the training."""
        try:
            answer = {} if self.job.evaluate is None else self.job.evaluate(model)
        except CollapsedError as error:
            raise CollapsedError(error.findings, len(self.history.epochs) + 1) from None
        if self.job.publish is not None:
            self.job.publish(model, self.step)
        return answer

    def _model(self) -> Trainee:
        """The average where there is one; what is sharded is brought together in a module that is not."""
        average = self.stepper.average
        model = self.stepper.trainee if average is None else cast(Trainee, average.module)
        if not is_sharded(self.fabric):
            return model
        together = self.job.trainee if average is None else deepcopy(self.job.trainee)
        together.load_state_dict(weights(model))
        return together.to(self.fabric.device)

    def _halve(self, reason: str) -> None:
        """Memory is asked for by micro-batches: twice as many of half the size make the same step."""
        now = self._largest()
        if self.job.trainee.whole_batch:
            raise OutOfMemory(now, f"its items are compared with each other: lower global_batch ({reason})")
        if now <= 2:
            raise OutOfMemory(now, f"it cannot be halved, as items are kept in pairs ({reason})")
        if self.group:  # the others wait for this process's gradients
            raise OutOfMemory(now, f"start again with device_batch={now // 2} ({reason})")
        self.accumulation = accumulation_of(self.recipe.global_batch, self.fabric.world_size, max(now // 2, 2))
        halved = {"step": self.step + 1, "from": now, "to": self._largest(), "reason": reason}
        self.notes["out_of_memory"] = [*self.notes.get("out_of_memory", []), halved]

    # Leaving and going on

    def _save_is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self.job.execution.checkpoint_minutes

    def _save(self) -> None:
        """Keep this moment, if it is not kept. Every process of a group calls this, the first one writes."""
        moment = (self.step, len(self.history.epochs))
        if self.checkpoints is None or moment == self._saved:
            return
        self._tell()
        with self.patience.held():
            tensors, facts = gather(self.stepper)
            if self.fabric.is_global_zero:
                self.checkpoints.save(Checkpoint(self.step, *self._with_mine(tensors, facts)))
            self.fabric.barrier()
            self._saved, self._saved_at, self._asked = moment, time.monotonic(), False

    def _with_mine(
        self, tensors: dict[str, dict[str, Tensor]], facts: dict[str, Any]
    ) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        accumulation = [self.accumulation_asked, self.accumulation]
        mine = {"identity": self.identity, "notes": self.notes, "accumulation": accumulation}
        return {**tensors, "history": self.history.tensors()}, {**facts, **mine}

    def _resume(self) -> None:
        if self.checkpoints is None:
            return
        checkpoint = self.checkpoints.latest()
        if checkpoint is None:
            return
        facts = checkpoint.facts
        check_identity(self.identity, facts["identity"], self.checkpoints.folder)
        put_back(self.stepper, checkpoint)
        self.history.put_back(checkpoint.tensors["history"])
        self.step, self.notes = checkpoint.step, dict(facts["notes"])
        asked, now = facts["accumulation"]
        if asked == self.accumulation_asked:
            self.accumulation = now
        self.notes["resumed"] = [*self.notes.get("resumed", []), self.step + 1]

    def _leave(self, error: BaseException) -> None:
        """On the way out, for whatever reason, the last whole step is kept; not weights that diverged or collapsed."""
        lost = isinstance(error, Diverged | CollapsedError)
        if self.stepper.torn or self.patience.hurried or self.group or lost:
            return  # a group has kept what it agreed on; one that fails alone has nobody to ask for the rest
        self.stepper.undo()
        with suppress(Diverged):  # found on the way out for another reason: the next run will find it again
            self._save()

    def _fitted(self) -> Fitted:
        self.stepper.train_mode()
        split_batch = batch_norm_note(self.stepper.trainee, self._largest(), self.recipe.global_batch)
        if split_batch is not None:
            self.notes["batch_norm"] = split_batch
        if is_sharded(self.fabric):
            self.job.trainee.load_state_dict(weights(self.stepper.trainee))
        self.job.trainee.eval()
        rate = self._images / self._seconds if self._seconds else 0.0
        history = self.history
        return Fitted(self._model().eval(), history.steps, history.epochs, self.notes, self.step, rate)
