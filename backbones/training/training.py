"""The life of one training: its steps and epochs in order, and how it is left and gone on with."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, cast

from lightning_fabric import Fabric
from torch import Tensor

from backbones.training.chance import callers_chance
from backbones.training.checkpoint import Checkpoint, Checkpoints
from backbones.training.history import History
from backbones.training.identity import check_identity, identity_of
from backbones.training.job import Job
from backbones.training.loader import Wanted, load
from backbones.training.order import accumulation_of, epoch_order, sizes, split, steps_an_epoch
from backbones.training.outcomes import Diverged, Fitted, OutOfMemory
from backbones.training.patience import Patience
from backbones.training.pulse import Pulse
from backbones.training.saving import gather, put_back
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
            job.recipe.global_batch, fabric.world_size, job.execution.device_batch
        )
        self.identity = identity_of(job)
        folder = job.execution.folder
        self.checkpoints = (
            None if folder is None else Checkpoints(folder / "checkpoints", job.execution.keep_checkpoints)
        )
        self.patience = Patience()
        self.history = History(job.log)
        self.notes: dict[str, Any] = {}
        self.stepper = Stepper(job, fabric, job.trainee, self.patience)
        self._untold: deque[tuple[int, float, Pulse]] = deque()
        self._saved, self._saved_at = -1, time.monotonic()
        self._seconds, self._images = 0.0, 0

    def run(self) -> Fitted:
        """From the last checkpoint, if any, to the end."""
        with callers_chance(self.fabric.device):
            self._resume()
            try:
                while not self._over():
                    self._go_on()
                self._save()
            except BaseException as error:
                self._leave(error)
                raise
        return self._fitted()

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

    def _advance(self, batches: Iterator[list[Any]]) -> None:
        begun = time.perf_counter()
        rate = learning_rate(self.recipe, self.step, self.steps_an_epoch)
        loss = self.stepper.gradient(self.step, self._parts(), batches)
        with self.patience.held():
            self.stepper.update(rate)
            self._untold.append((self.step, rate, self._pulse(loss)))
            self.step += 1
            self._tell(but=1)
            self._seconds += time.perf_counter() - begun
            self._images += self.recipe.global_batch
        if self.job.execution.report is not None:
            self.job.execution.report("step", self.step, self.total)
        if self._save_is_due():
            self._save()

    def _pulse(self, loss: Tensor) -> Pulse:
        return Pulse(loss.reshape(1))

    def _tell(self, but: int = 0) -> None:
        """Put steps into the history, all but the last ``but``: a GPU may still be at that one."""
        with self.patience.held():
            while len(self._untold) > but:
                step, rate, pulse = self._untold.popleft()
                (loss,) = pulse.read()
                epoch = step // self.steps_an_epoch + 1
                self.history.step({"step": step + 1.0, "epoch": float(epoch), "loss": loss, "learning_rate": rate})

    def _evaluate(self) -> None:
        self._tell()
        epoch = len(self.history.epochs) + 1
        answer: Mapping[str, float] = {}
        if self.job.evaluate is not None:
            answer = self.job.evaluate(self._model().eval())
            self.stepper.train_mode()
        with self.patience.held():
            self.history.epoch(epoch, answer)

    def _model(self) -> Trainee:
        average = self.stepper.average
        return self.stepper.trainee if average is None else cast(Trainee, average.module)

    def _halve(self, reason: str) -> None:
        """Memory is asked for by micro-batches: twice as many of half the size make the same step."""
        now = max(sizes(split(self.recipe.global_batch, self._parts())))
        if now <= 2:
            raise OutOfMemory(now, f"it cannot be halved, as items are kept in pairs ({reason})")
        self.accumulation = accumulation_of(self.recipe.global_batch, self.fabric.world_size, max(now // 2, 2))
        new = max(sizes(split(self.recipe.global_batch, self._parts())))
        halved = {"step": self.step + 1, "from": now, "to": new, "reason": reason}
        self.notes["out_of_memory"] = [*self.notes.get("out_of_memory", []), halved]

    # Leaving and going on

    def _save_is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self.job.execution.checkpoint_minutes

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        self._tell()
        with self.patience.held():
            tensors, facts = gather(self.stepper)
            facts |= {
                "identity": self.identity,
                "notes": self.notes,
                "accumulation": [self.accumulation_asked, self.accumulation],
            }
            self.checkpoints.save(Checkpoint(self.step, {**tensors, "history": self.history.tensors()}, facts))
            self._saved_at = time.monotonic()

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
        """On the way out, for whatever reason, the last whole step is kept; not weights that have diverged."""
        if self.stepper.torn or self.patience.hurried or isinstance(error, Diverged):
            return
        self.stepper.undo()
        with suppress(Diverged):  # found on the way out for another reason: the next run will find it again
            self._save()

    def _fitted(self) -> Fitted:
        self.stepper.trainee.eval()
        rate = self._images / self._seconds if self._seconds else 0.0
        history = self.history
        return Fitted(self._model().eval(), history.steps, history.epochs, self.notes, self.step, rate)
