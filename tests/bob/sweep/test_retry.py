"""``bob retry`` and ``bob cancel``."""

import json
from typing import Any

from bob.sweep.cancelling import CANCELLED, PLACE


def test_failures_are_forgiven_and_their_traces_kept(bob: Any, sweep: Any) -> None:
    sweep.finish((0, 0, 0))
    sweep.attempt((0, 0, 1))
    for _ in range(3):
        sweep.end((0, 1, 0), "out of memory")
    sweep.end((0, 1, 1), "error")
    sweep.store.fail(sweep.make(failed=True).model_copy(update={"key": sweep.keys[0, 1, 1]}))
    store = ["--store", str(sweep.root)]
    code, printed = bob("retry", "--failed", "--cause", "oom", *store)
    assert code == 0
    assert "1 failed cells of sweep mine are to be tried again" in printed
    assert "the next bob run /plans/mine.yaml will run 5 cells" in printed
    assert [each.forgiven for each in sweep.store.attempts(sweep.keys[0, 1, 0])] == [True] * 3
    assert not sweep.store.attempts(sweep.keys[0, 1, 1])[-1].forgiven
    assert bob("status", *store)[0] == 1
    assert "1 failed cells" in bob("retry", "--failed", *store)[1]
    assert not sweep.store.failed_keys()
    assert bob("status", *store)[0] == 0


def test_mistakes(bob: Any, sweep: Any) -> None:
    store = ["--store", str(sweep.root)]
    code, printed = bob("retry", *store)
    assert code == 2
    assert "say --failed" in printed
    code, printed = bob("retry", "--failed", "--cause", "bad luck", *store)
    assert code == 2
    assert "unknown cause 'bad luck'; there are: error, diverged, out of memory" in printed
    code, printed = bob("cancel", *store)
    assert code == 2
    assert "was not launched on GPUs or on a cluster" in printed


def test_cancelling(bob: Any, sweep: Any) -> None:
    """The mark is there whatever the cluster says; where there is none, that is told."""
    store = ["--store", str(sweep.root)]
    (sweep.folder / PLACE).write_text(json.dumps({"place": "gpus", "profile": {}}))
    code, printed = bob("cancel", *store)
    assert code == 0
    assert "its launcher ends the jobs" in printed
    (sweep.folder / CANCELLED).unlink()
    (sweep.folder / PLACE).write_text(json.dumps({"place": "slurm", "profile": {}}))
    code, printed = bob("cancel", *store)
    assert (sweep.folder / CANCELLED).exists()
    assert (code == 2 and "squeue" in printed) or "0 jobs were told to end" in printed
