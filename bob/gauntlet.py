"""Run a plan's cells: each once, whoever else works on the same store; each recorded, whole or as a failure."""

import dataclasses
import errno
import hashlib
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.base import BASELINES, Backbone, freeze, resolve_device
from backbones.feature_checks import is_out_of_memory
from backbones.features import Extractor
from backbones.text_features import TextExtractor
from backbones.training.checkpoint import PLACES
from backbones.training.execution import LOGS, Execution
from backbones.training.outcomes import Diverged, OutOfMemory
from bob.meter import Measured, measure
from bob.plan import Cell
from bob.provenance import provenance
from bob.roster import Roster
from bob.sweep.racing import Racer, help_with, helpers, raced
from results import record
from results.attempts import Attempt, Cause, spent
from results.claims import Claim
from results.statistics import bootstrap_interval
from results.store import Store
from slurm.here import Job, launch
from tasks.base import Data, Note, Outputs, Score, Tools
from tasks.race import Race, in_turn

WAIT_SECONDS = 0.2
"""Between looks at a cell that another process is working on."""

TRANSIENT = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN}
)
"""Errors of a disk or of its network, which may be well when the cell is tried again."""


class State(StrEnum):
    """What a cell is before a run."""

    DONE = "done"
    STALE = "stale"
    TO_DO = "to do"
    FAILED = "failed before"
    REFUSED = "not applicable"


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


def states(cells: Sequence[Cell], store: Store) -> Iterator[tuple[Cell, State, str]]:
    """What would run, cell by cell, and why. Of the plan's own records only the names are looked at."""
    keys = {cell.key for cell in cells}
    done = store.done_keys()
    older = [found for key in sorted(done - keys) if (found := store.get(key)) is not None]
    older.sort(key=lambda each: (each.provenance.created, each.key))
    by_address = {each.cell.address(): each for each in older}  # of several answers the newest, as on the board
    about = {(each.cell.backbone, each.cell.task) for each in older}  # an address takes 50 us, and most need none
    failed = {each.key: each for each in store.failures(keys)}
    for cell in cells:
        if cell.refusal is not None:
            yield cell, State.REFUSED, cell.refusal
        elif cell.key in done:
            yield cell, State.DONE, f"record {cell.key}"
        elif (old := _older(cell, about, by_address)) is not None:
            yield cell, State.STALE, "; ".join(_changes(cell, old))
        elif (attempt := failed.get(cell.key)) is not None and attempt.error is not None:
            yield cell, State.FAILED, f"{attempt.error.kind}: {attempt.error.message}"
        else:
            yield cell, State.TO_DO, "no record yet"


def _older(
    cell: Cell, about: AbstractSet[tuple[str, str]], by_address: Mapping[str, record.Record]
) -> record.Record | None:
    is_about = (cell.backbone, cell.question.task.name) in about
    return by_address.get(cell.address.address()) if is_about else None


def _changes(cell: Cell, old: record.Record) -> list[str]:
    """What is different since that record of the same question, whose chosen settings are therefore the same."""
    changes = cell.identity.changes_from(old.identity)
    if "settings" in old.notes:
        changes += record.differences("default of", old.notes["settings"], cell.question.settings)
    if not changes and old.identity.preprocess is None:  # all else is the same, and it is in the key
        return ["preprocessing changed (this record is too old to say from what)"]
    return changes or ["the way keys are made changed"]


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
        self.say(f"{cell.backbone}  {finished.cell.setting()}  seed {cell.seed}  {_headline(finished)}")
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
            **_asked(cell, backbone),
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
                **_asked(cell, backbone),
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


class LimitError(RuntimeError):
    """A cell that took its process with it too often."""

    def __init__(self, past: Sequence[Attempt]) -> None:
        self.cause = past[-1].cause or "killed"
        ends = "; ".join(each.end() for each in past)
        super().__init__(
            f"not tried again after {len(past)} attempts without an outcome ({ends}): "
            "see their logs, then bob retry --failed"
        )


def cause_of(error: Exception) -> Cause:
    """What to call the end of an attempt that raised this."""
    if isinstance(error, LimitError):
        return error.cause
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, OutOfMemory) or is_out_of_memory(error):
        return "out of memory"
    return "input/output" if isinstance(error, OSError) and error.errno in TRANSIENT else "error"


def checkpoints_below(folder: Path) -> str:
    """A hash of where the trainings in a working folder have come to; empty where none has come to a checkpoint."""
    places = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(PLACES))
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:16] if places else ""


def logs_below(folder: Path) -> dict[str, Path]:
    """What a training left to be kept: the files in any folder ``logs`` of a working folder, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): path
        for logs in sorted(folder.rglob(LOGS))
        for path in sorted(logs.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _asked(cell: Cell, backbone: Backbone) -> dict[str, Any]:
    """What a record says of the question, whatever became of it."""
    return {
        "cell": cell.address,
        "identity": cell.identity,
        "backbone": backbone_facts(backbone),
        "headline": cell.question.task.headline,
        "provenance": provenance(),
    }


def outputs_table(answers: Sequence[Any]) -> pa.Table | None:
    """Everything per item, one table: the task's columns, and ``score:METRIC`` for metrics that are means over items.

    A score over other items than its split's outputs (a mean over several sets) has rows of its own, whose split is
    ``SPLIT:METRIC``. Raises ``ValueError`` where the columns of one output differ in length.
    """
    parts = {answer.split: dict(answer.columns) for answer in answers if isinstance(answer, Outputs)}
    for score in (each for each in answers if isinstance(each, Score)):
        if score.per_sample is None:
            continue
        columns = parts.get(score.split, {})
        fits = columns and len(next(iter(columns.values()))) == len(score.per_sample)
        target = score.split if fits else f"{score.split}:{score.metric}"
        parts.setdefault(target, {})[f"score:{score.metric}"] = score.per_sample
    tables = [_table(split, columns) for split, columns in parts.items()]
    return pa.concat_tables(tables, promote_options="default") if tables else None


def _table(split: str, columns: dict[str, Any]) -> pa.Table:
    rows = {len(column) for column in columns.values()}
    if len(rows) != 1:
        raise ValueError(f"outputs of split {split!r} have columns of different lengths: {sorted(rows)}")
    arrays = {name: pa.array(column.tolist() if column.ndim > 1 else column) for name, column in columns.items()}
    return pa.table({"split": pa.repeat(split, rows.pop()), **arrays})


def score_row(score: Score) -> record.ScoreRow:
    """A score with its 95 % interval: the bootstrap's where it is a mean over items, else its own if it has one."""
    low, high = score.interval or (None, None)
    if score.per_sample is not None:
        low, high = bootstrap_interval(score.per_sample)
    return record.ScoreRow(
        metric=score.metric,
        split=score.split,
        value=score.value,
        low=low,
        high=high,
        n=None if score.per_sample is None else len(score.per_sample),
        higher_is_better=score.higher_is_better,
        unit=score.unit,
    )


def backbone_facts(backbone: Backbone) -> record.BackboneFacts:
    """The card's facts, as a record keeps them."""
    card = backbone.card
    return record.BackboneFacts(
        family=card.family,
        baseline=card.family in BASELINES,
        architecture=card.architecture,
        parameters=card.parameters,
        pretraining_method=card.pretraining_method,
        pretraining_data=card.pretraining_data,
        licence=card.licence,
        source=card.source,
        revision=card.revision,
    )


def _headline(finished: record.Record) -> str:
    row = next((score for score in finished.scores if score.metric == finished.headline), None)
    return "no headline" if row is None or row.value is None else f"{row.metric} {row.value:.3f}"
