"""Run a plan's cells: each once, whoever else works on the same store; each recorded, whole or as a failure."""

import dataclasses
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.base import Backbone, freeze, resolve_device
from backbones.features import Extractor
from backbones.text_features import TextExtractor
from backbones.training.execution import Execution
from backbones.training.outcomes import Diverged
from bob.answers import asked, headline, logs_below, outputs_table, score_row
from bob.endings import LimitError, cause_of, checkpoints_below
from bob.meter import Measured, measure
from bob.plan import Cell
from bob.roster import Roster
from bob.sweep.racing import Racer, help_with, helpers, raced
from results import record
from results.attempts import Cause, spent
from results.claims import Claim
from results.store import Store
from slurm.here import Job, launch
from tasks.base import Data, Note, Score, Tools
from tasks.race import Race, in_turn

WAIT_SECONDS = 0.2
"""Between looks at a cell that another process is working on."""


@dataclass
class Summary:
    """What a run did. ``failures`` holds a line for each cell that failed in it."""

    computed: int = 0
    found: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.computed + other.computed,
            self.found + other.found,
            self.refused + other.refused,
            self.failures + other.failures,
        )


class Witness:
    """Is told of each attempt at a cell."""

    def begins(self, cell: Cell, number: int) -> None:
        """Before anything is computed; ``number`` counts the attempts at the cell, from 1."""

    def ends(self, cell: Cell, cause: Cause) -> None:
        """Once it is recorded."""


class Gauntlet:
    """Puts each question to each backbone. ``say`` is told of every cell that ends.

    ``execution`` says how a task may train; each cell that does is given a folder of its own, from which whoever
    computes the cell next goes on where a run that was stopped, killed or failed has come to.
    """

    def __init__(
        self,
        roster: Roster,
        store: Store,
        extractor: Extractor,
        say: Callable[[str], None],
        execution: Execution | None = None,
    ) -> None:
        self.roster, self.store, self.extractor, self.say = roster, store, extractor, say
        self.text = TextExtractor(extractor.settings, extractor.progress)
        self.execution = execution or Execution()
        self.witness = Witness()
        self.device = resolve_device(extractor.settings.device)
        self._flops: dict[str, int | None] = {}
        self._asked = set[str]()

    def run(self, cells: Sequence[Cell], wait: bool = True) -> Summary:
        """Compute every cell that has no record. Cells another process holds are waited for (or
        helped with, where that is asked), or taken over.

        Without ``wait`` they are left to it: somebody else watches over the whole.
        """
        summary = Summary(refused=sum(cell.refusal is not None for cell in cells))
        waiting = [cell for cell in cells if cell.refusal is None]
        while waiting:
            busy = self._pass(waiting, summary)
            if not wait:
                break
            if len(busy) == len(waiting) and not self._helped(busy):
                time.sleep(WAIT_SECONDS)
            waiting = busy
        return summary

    def follow(self, cells: Sequence[Cell], keys: Iterable[str]) -> None:
        """Work through the cells of these keys with a process that leads; what they come to is for that one to keep."""
        by_key = {cell.key: cell for cell in cells}
        for key in keys:
            cell = by_key[key]
            for _ in cell.question.task.run(self.roster.get(cell.loaded_as), *self.given(cell)):
                pass

    def given(self, cell: Cell, race: Race = in_turn, halvings: int = 0) -> tuple[Data, Tools, int]:
        """What a task is run with, beside the backbone; ``halvings`` of the device batch, for memory was short."""
        folder = self._working_folder(cell)
        execution = dataclasses.replace(self.execution, folder=folder, halvings=halvings)
        return cell.question.data, Tools(self.extractor, execution, self.text, race), cell.seed

    def _helped(self, busy: Sequence[Cell]) -> bool:
        """Whether this process, with no cell of its own, has helped with another's search; with each only once."""
        cell = next((cell for cell in busy if helpers(cell) and cell.key not in self._asked), None)
        if cell is None:
            return False
        self._asked.add(cell.key)
        for outcome in launch([Job(cell.key, partial(help_with, cell, self, self.store))]):
            if outcome.error is not None:  # the cell's holder will meet it too, and record it
                self.say(f"no help with {cell.backbone}  {cell.address.setting()}  {outcome.error}")
        return True

    def _pass(self, cells: Sequence[Cell], summary: Summary) -> list[Cell]:
        """Look at each cell once; those that another process is working on are returned."""
        busy: list[Cell] = []
        by_key = {cell.key: cell for cell in cells}
        jobs = [Job(cell.key, partial(self._settle, cell, summary, busy)) for cell in cells]
        for outcome in launch(jobs):
            if outcome.error is not None:
                self._fail(by_key[outcome.name], outcome.error, outcome.trace, summary)
        return busy

    def _settle(self, cell: Cell, summary: Summary, busy: list[Cell]) -> None:
        if self.store.get(cell.key) is not None:
            summary.found += 1
            return
        folder = self._working_folder(cell)
        with self.store.claim(cell.key, checkpoints_below(folder)) as claim:
            if claim is None:
                busy.append(cell)
            elif self.store.get(cell.key) is not None:  # finished by another between the look and the claim
                summary.found += 1
            elif self._attempt(cell, claim):
                summary.computed += 1
            else:
                busy.append(cell)

    def _attempt(self, cell: Cell, claim: Claim) -> bool:
        """Compute it, unless it has used up its limit; its trace says how that ended. False where it was taken over."""
        self.witness.begins(cell, claim.attempt.number)
        cause: Cause = "stopped"
        try:
            if past := spent(claim.earlier, claim.attempt.reached):
                raise LimitError(past)
            cause = "done" if self._compute(cell, claim) else "lost"
        except Exception as error:
            cause = "lost" if claim.lost else cause_of(error)  # perhaps because two were writing in its working folder
            if cause != "lost":
                claim.end(cause, str(error), tail=traceback.format_exception_only(error)[-1].strip())
                raise
        finally:
            self.witness.ends(cell, cause)
        if cause == "done":
            claim.end(cause)
        return cause == "done"

    def _compute(self, cell: Cell, claim: Claim) -> bool:
        backbone = self.roster.get(cell.loaded_as)
        self.extractor.used.clear()
        self.text.used.clear()
        folder = self._working_folder(cell)
        race = Racer(folder) if raced(cell) else in_turn
        halvings = sum(each.cause == "out of memory" for each in claim.earlier)
        with measure(self.device) as measured:
            answers = list(cell.question.task.run(backbone, *self.given(cell, race, halvings)))
        if claim.lost:  # this process was thought dead; a commit would remove the folder that another goes on from
            return False
        finished = self._record(cell, backbone, answers, measured)
        self.store.commit(finished, outputs_table(answers), logs_below(folder))
        self.say(f"{cell.backbone}  {finished.cell.setting()}  seed {cell.seed}  {headline(finished)}")
        return True

    def _working_folder(self, cell: Cell) -> Path:
        return self.store.working_folder(cell.key, cell.address, cell.identity.precision)

    def _record(self, cell: Cell, backbone: Backbone, answers: list[Any], measured: Measured) -> record.Record:
        used = list(self.extractor.used)
        data = [each for sets in cell.question.data.values() for each in sets]
        notes = {answer.name: answer.value for answer in answers if isinstance(answer, Note)}
        notes["settings"] = cell.question.settings
        notes["images used of total"] = {each.name: [each.n_used, each.n_total] for each in data}
        notes["storage"] = self.extractor.settings.storage
        notes["features"] = [
            {"images": facts.images, "layer": facts.layer, **dataclasses.asdict(facts.health)} for facts in used
        ]
        notes["suspicions"] = list(dict.fromkeys(line for facts in used for line in facts.health.suspicions()))
        warnings = [f"{note.name}: {note.value}" for note in answers if isinstance(note, Note) and note.warning]
        warnings += [line for facts in used for line in facts.warnings]
        warnings += [line for facts in self.text.used for line in facts.warnings]
        warnings += [f"{each.name}: {line}" for each in data for line in each.warnings]
        speeds = [facts.images_per_second for facts in used]
        return record.Record(
            key=cell.key,
            status="done",
            **asked(cell, backbone),
            scores=[score_row(answer) for answer in answers if isinstance(answer, Score)],
            notes=notes,
            warnings=list(dict.fromkeys(warnings)),
            cost=record.Cost(
                seconds=measured.seconds,
                images_per_second=max(speeds) if speeds else None,
                peak_memory_mb=measured.peak_memory_mb,
                flops=self._count_flops(cell.loaded_as, backbone),
            ),
        )

    def _fail(self, cell: Cell, error: Exception, trace: str, summary: Summary) -> None:
        backbone = self.roster.get(cell.loaded_as)
        step = error.step if isinstance(error, Diverged) else None
        self.store.fail(
            record.Record(
                key=cell.key,
                status="failed" if step is None else "diverged",
                **asked(cell, backbone),
                error=record.Failure(kind=type(error).__name__, message=str(error), traceback=trace, step=step),
            )
        )
        line = f"{cell.backbone}  {cell.address.setting()}  {type(error).__name__}: {error}"
        summary.failures.append(line)
        self.say(f"FAILED  {line}")

    def _count_flops(self, name: str, backbone: Backbone) -> int | None:
        """Floating-point operations of one image through ``embed``; None where the counter knows no operation of it."""
        if name not in self._flops:
            device = next((p.device for p in backbone.parameters()), self.device)
            freeze(backbone)  # its features may have come from the cache, with nothing having frozen it yet
            image = torch.zeros(1, 3, *backbone.preprocess.size, device=device)
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                backbone.embed(image)
            self._flops[name] = counter.get_total_flops() or None
        return self._flops[name]
