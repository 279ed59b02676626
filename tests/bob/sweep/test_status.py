"""``bob status``: what a sweep's files say, as a person reads it."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bob.sweep.census import State
from bob.sweep.look import JOURNAL, look
from bob.sweep.tables import draw
from results.index import INDEX
from slurm.journal import Journal


def states(sweep: Any) -> dict[State, int]:
    return dict(look(sweep.store, sweep.folder)[1].total)


def test_each_state(sweep: Any) -> None:
    assert states(sweep) == {State.WAITING: 8}
    sweep.finish((0, 0, 0))
    sweep.attempt((0, 0, 1), silent_s=30)
    sweep.attempt((0, 1, 0), silent_s=3600)
    sweep.end((0, 1, 1), "error")
    sweep.end((1, 0, 0), "preempted")
    sweep.end((1, 0, 1), "killed")
    assert states(sweep) == {State.DONE: 1, State.RUNNING: 1, State.SILENT: 1, State.FAILED: 1, State.WAITING: 4}


def test_what_counts_as_failed(sweep: Any) -> None:
    """Three ends that count, or one that comes again; waiting counts never, forgiven no longer."""
    for _ in range(5):
        sweep.end((0, 0, 0), "time limit")
    for number in range(3):
        sweep.end((0, 0, 1), "killed", forgiven=number == 0)
        sweep.end((0, 1, 0), "lost" if number else "out of memory")
    sweep.end((0, 1, 1), "diverged", forgiven=True)
    assert states(sweep) == {State.FAILED: 1, State.WAITING: 7}
    sweep.end((0, 1, 1), "diverged")
    assert states(sweep) == {State.FAILED: 2, State.WAITING: 6}
    sweep.attempt((0, 1, 1))
    assert states(sweep) == {State.FAILED: 1, State.RUNNING: 1, State.WAITING: 6}


def test_queued_is_what_a_scheduler_was_given(sweep: Any) -> None:
    """Until it ends otherwise than by waiting: then its job is over."""
    journal = Journal(sweep.folder / JOURNAL)
    journal.intend("one", [[sweep.keys[0, 0, 0]], [sweep.keys[0, 0, 1], sweep.keys[0, 1, 0]]])
    journal.intend("two", [[sweep.keys[1, 1, 1]]])
    journal.refuse("two", "no such partition")
    assert states(sweep) == {State.QUEUED: 3, State.WAITING: 5}
    sweep.end((0, 0, 0), "preempted")
    sweep.end((0, 0, 1), "killed")
    assert states(sweep) == {State.QUEUED: 2, State.WAITING: 6}


def test_a_failure_without_an_attempt_counts(sweep: Any) -> None:
    """Those of older releases."""
    sweep.store.fail(sweep.make(failed=True).model_copy(update={"key": sweep.keys[0, 0, 0]}))
    assert states(sweep) == {State.FAILED: 1, State.WAITING: 7}
    found = look(sweep.store, sweep.folder)[1]
    assert [(group.cause, group.example.said) for group in found.groups] == [("error", "ValueError: broken")]


def test_hours(sweep: Any) -> None:
    """Of the done, by what they ran on, from the records; of attempts that ended with no record, from their times."""
    base = sweep.make()
    on_gpu = base.provenance.model_copy(update={"hardware": {"gpus": "H200"}})
    sweep.finish((0, 0, 0), cost=base.cost.model_copy(update={"seconds": 1800.0}), provenance=on_gpu)
    sweep.finish((0, 0, 1), cost=base.cost.model_copy(update={"seconds": 900.0}))
    sweep.end((0, 1, 0), "error")
    sweep.end((0, 1, 1), "lost")  # by the clock of who found it dead
    spent = look(sweep.store, sweep.folder)[1].spent
    assert (spent.gpu_hours, spent.cpu_hours, spent.vain_hours) == (0.5, 0.25, 1.0)
    assert (spent.known, spent.done) == (2, 2)


def test_expected_finish(sweep: Any) -> None:
    """Unknown rather than invented; then what is left of each question by what its cells took, two at once."""
    found = look(sweep.store, sweep.folder)[1]
    assert (found.remaining_s, found.why) == (None, "nothing is running")
    sweep.attempt((1, 0, 0))
    sweep.attempt((1, 1, 0))
    cost = sweep.make().cost
    sweep.finish((0, 0, 0), cost=cost.model_copy(update={"seconds": 100.0}))
    found = look(sweep.store, sweep.folder)[1]
    assert (found.remaining_s, found.why) == (None, "no cell of classification.knn digits is done yet")
    sweep.finish((0, 1, 0), cost=cost.model_copy(update={"seconds": 10.0}))
    found = look(sweep.store, sweep.folder)[1]
    assert found.remaining_s == (100 * 2.5 + 10 * 2.5) / 2  # two to come and half of one that runs, of each


def test_older_versions_are_told_apart(sweep: Any) -> None:
    """A record by another key is an answer to the same question; by whatever name its backbone was loaded."""
    sweep.finish((0, 0, 0))
    record = sweep.make(backbone="timm:two", task="retrieval", seed=1)
    assert look(sweep.store, sweep.folder)[1].outdated == 0
    sweep.store.commit(record)
    assert look(sweep.store, sweep.folder)[1].outdated == 1


def test_records_are_read_once(sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.finish((0, 0, 0))
    first = look(sweep.store, sweep.folder)[1].spent
    index = sweep.root / INDEX
    index.write_bytes(index.read_bytes() + b'["torn')
    record = sweep.root / "cells" / sweep.keys[0, 0, 0] / "record.json"
    record.write_text("not read again")
    sweep.finish((0, 0, 1))
    second = look(sweep.store, sweep.folder)[1].spent
    assert (first.known, second.known) == (1, 2)
    index.unlink()
    assert look(sweep.store, sweep.folder)[1].spent.known == 1
    monkeypatch.setattr("bob.sweep.look.BUDGET_S", -1.0)
    index.unlink()
    found = look(sweep.store, sweep.folder)[1].spent
    assert (found.known, found.done) == (0, 2)


def test_the_table_in_a_pipe(bob: Any, sweep: Any) -> None:
    sweep.finish((0, 0, 0))
    sweep.attempt((0, 0, 1), node="node7", job="12_3", silent_s=3600)
    sweep.end((0, 1, 0), "out of memory", tail="first\nlast words\n")
    sweep.end((0, 1, 1), "error", message="\x1b]0;owned\x07[bold]broken[/bold]\nhere")
    code, log = bob("status", "--store", str(sweep.root))
    assert code == 1
    lines = [line.split() for line in log.splitlines()]
    assert "sweep mine: 8 cells: 1 done, 5 waiting, 1 failed, 1 silent" in log
    assert ["timm:one", "retrieval", "1", "-", "-", "-", "-", "1"] in lines
    assert ["timm:one", "classification.knn", "-", "-", "-", "1", "1", "-"] in lines
    assert "spent: 0.0 hours on CPUs, 2.0 hours of attempts in vain" in log
    assert "expected finish: unknown (nothing is running)" in log
    assert "last words" in log
    assert "[bold]broken[/bold]" in log
    assert "\x1b" not in log
    assert "silent: 001aaaaaaaaa  timm:one  retrieval digits  seed 1, for over 2 min on node7 (job 12_3)" in log
    assert "─" not in log


def test_names_that_would_break_a_terminal(sweep: Any) -> None:
    replace(sweep.roll, backbones=("timm:\x1b[2J[red]one[/red]", "[/bold]\u202etwo")).write(sweep.folder)
    sweep.end((1, 1, 1), "error", message="[/x] \x9b2J")
    roll, found = look(sweep.store, sweep.folder)
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(draw(found, roll, datetime.now(), framed=True))
    shown = capture.get()
    assert "[red]one[/red]" in shown
    assert "[/x]" in shown
    assert not [bad for bad in ("\x1b[2J", "\u202e", "\x9b") if bad in shown]


def test_unknown_sweeps_are_mistakes(bob: Any, sweep: Any, tmp_path: Path) -> None:
    code, log = bob("status", "mini", "--store", str(sweep.root))
    assert code == 2
    assert "unknown sweep 'mini'; did you mean 'mine'?" in log
    code, log = bob("status", "--store", str(tmp_path / "nowhere"))
    assert code == 2
    assert "no sweep in" in log
    assert not (tmp_path / "nowhere").exists()


def test_everything_done_is_exit_code_0(bob: Any, sweep: Any) -> None:
    for where in sweep.keys:
        sweep.finish(where)
    code, log = bob("status", "mine", "--watch", "--store", str(sweep.root))
    assert code == 0
    assert "8 cells: 8 done" in log
    assert "nothing is left to run" in log


def test_ctrl_c_ends_watching_well(bob: Any, sweep: Any) -> None:
    pid = bob.start("status", "--watch", "--store", str(sweep.root))
    bob.until("8 waiting")
    sweep.finish((0, 0, 0))
    bob.until("1 done, 7 waiting")
    os.kill(pid, signal.SIGINT)
    assert bob.wait(pid) == 0


def test_a_store_that_can_only_be_read(sweep: Any) -> None:
    """Whoever may not write there sees as much."""
    sweep.finish((0, 0, 0))
    sweep.attempt((0, 0, 1))
    (sweep.root / INDEX).mkdir()  # root may write anywhere, so an index that cannot be written stands for it
    found = look(sweep.store, sweep.folder)[1]
    assert (found.spent.known, found.total[State.RUNNING]) == (1, 1)


def test_torch_is_not_imported(sweep: Any) -> None:
    sweep.finish((0, 0, 0))
    code = (
        f"import sys; sys.argv = ['bob', 'status', '--store', {str(sweep.root)!r}]\n"
        "from bob.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "loaded = {'torch', 'numpy', 'pandas', 'pyarrow', 'submitit'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
