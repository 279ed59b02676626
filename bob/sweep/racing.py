"""Racing: processes on any machines that share the store run the trials of one cell's search between them.

WORK/race/round-1-trial-2.json    what a trial came to, in a cell's working folder: whole or absent, and never changed
WORK/race/claims/, attempts/      who runs which trial, or did

Whoever holds the cell's claim takes part as everybody does, and then trains what is tested; helpers only run trials.
Each trains where the holder would, so that a trial is gone on with by whoever takes it over. All read the same scores,
so all go on with the same choices: they, and the record, are those of a search in one process.

A sweep gives a cell as many helpers as :func:`helpers` says, as units named by :func:`unit_of`, which a worker hands to
:func:`help_with`. They are worth a submission each and never another one: the cell is done without them too.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from backbones.training.devices import processes_here
from bob.plan import Cell
from results.claims import Claims
from results.shared import for_the_group
from results.store import Store
from tasks.race import Trial, Tried
from tasks.search import Search, candidates

if TYPE_CHECKING:
    from bob.gauntlet import Gauntlet

_TRIED = TypeAdapter(Tried)


class Helped(Exception):  # noqa: N818 - no error: how a helper leaves a task
    """There is nothing left that this helper could do."""


class Racer:
    """One that takes part in a race: the holder of the cell's claim, or ``helper`` number 1, 2, ...

    Helper 2 is of use in rounds of three trials or more, and leaves before any other; ``over`` tells it that the cell
    is done. ``wait_s`` is the time between looks at trials that others run.
    """

    def __init__(
        self,
        working_folder: Path,
        helper: int | None = None,
        over: Callable[[], bool] = lambda: False,
        claims: Claims | None = None,
        wait_s: float = 1.0,
    ) -> None:
        self.folder, self.helper, self.over, self.wait_s = working_folder / "race", helper, over, wait_s
        self.claims = claims or Claims(self.folder)

    def __call__(self, trials: Sequence[Trial], going_on: int) -> list[Tried]:
        """Run what nobody runs, and wait for the rest; what its process dies over is run again by who is left."""
        leaves = self.helper is not None and going_on <= self.helper
        while missing := [trial for trial in trials if self._read(trial) is None]:
            if not any(self._taken(trial) for trial in missing):
                if leaves:
                    break
                time.sleep(self.wait_s)
        if leaves:
            raise Helped
        return [tried for trial in trials if (tried := self._read(trial)) is not None]

    def _taken(self, trial: Trial) -> bool:
        """Whether the trial was free: then it is run, and its score is there."""
        if self.over():
            raise Helped
        with self.claims.claim(hashlib.sha256(trial.name.encode()).hexdigest()[:16]) as claim:
            if claim is None:
                return False
            if self._read(trial) is None:  # else it was finished between the look and the claim
                if self.over():  # or else its score went with the working folder of the finished cell
                    raise Helped
                try:
                    self._write(trial, trial.run())
                except Exception:
                    if not claim.lost:
                        raise
                    return False  # this process was thought dead, and perhaps two were writing in the trial's folder
            claim.end("done")
        return True

    def _path(self, trial: Trial) -> Path:
        return self.folder / f"{trial.name}.json"

    def _read(self, trial: Trial) -> Tried | None:
        path = self._path(trial)
        try:
            tried = _TRIED.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ValueError(f"{path} is damaged: {error}; remove it, and the trial is run again") from None
        if (tried.choice, tried.epochs) != (trial.choice, trial.epochs):
            raise ValueError(
                f"{path} is of {tried.choice} after {tried.epochs} epochs, but here {trial.name} is of {trial.choice} "
                f"after {trial.epochs}: another version of BoB or NumPy took part; to begin again, remove "
                f"{self.folder.parent}"
            )
        return tried

    def _write(self, trial: Trial, tried: Tried) -> None:
        """Of several that wrote it (one was thought dead) the first is believed, by itself too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{trial.name}-{secrets.token_hex(8)}"
        try:
            with temporary.open("x", encoding="utf-8") as file:
                json.dump({"trial": trial.name, **asdict(tried)}, file, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, self._path(trial))
        finally:
            temporary.unlink(missing_ok=True)


def raced(cell: Cell) -> bool:
    """Whether others may help here. Processes that train one model together all run all trials, as they are agreed."""
    return cell.racing and processes_here() == 1


def helpers(cell: Cell) -> int:
    """How many processes are of use beside the cell's own: one a trial of the first round. 0 where nothing is raced."""
    task = cell.question.task
    if not cell.racing or cell.refusal is not None or not isinstance(task, Search):
        return 0
    return len(candidates(task, cell.seed)) - 1


def unit_of(key: str, helper: int) -> str:
    """The name of a helper's unit of work.

    >>> unit_of("c0ffee", 2), split("c0ffee+2"), split("c0ffee")
    ('c0ffee+2', ('c0ffee', 2), ('c0ffee', 0))
    """
    return f"{key}+{helper}"


def split(unit: str) -> tuple[str, int]:
    """Key and helper of a unit of work; 0: it is the cell itself."""
    key, _, helper = unit.partition("+")
    return key, int(helper or 0)


def help_with(cell: Cell, gauntlet: "Gauntlet", store: Store, helper: int = 1) -> None:
    """Run trials of the cell's search while there are any that nobody runs. It needs no holder to be there yet.

    Raises what a trial raises: it is no failure of the cell, whose holder will try that trial itself.
    """

    def over() -> bool:
        return store.get(cell.key) is not None

    if helpers(cell) < helper or not raced(cell) or over():
        return
    part = Racer(store.working_folder(cell.key, cell.address, cell.identity.precision), helper, over)
    backbone = gauntlet.roster.get(cell.loaded_as)
    try:
        with for_the_group(store.root):
            for _ in cell.question.task.run(backbone, *gauntlet.given(cell, part)):
                pass
    except Helped:
        pass
    except OSError:
        if not over():  # else a file went with the working folder of the finished cell
            raise
