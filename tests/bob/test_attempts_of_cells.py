"""What ``bob run`` leaves of its attempts at cells: the cause of each end; a limit where a launcher asks for one."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from backbones.training.outcomes import Diverged, OutOfMemory
from bob.cli import app
from bob.endings import cause_of, checkpoints_below
from bob.interrupt import EXIT_REQUEUE, Interrupted
from results.attempts import LIMIT, begun
from results.claims import Claims
from results.store import Store
from tasks.classification.knn import NearestNeighbours


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run one cell whose task raises this; None: it is done."""
    honest = NearestNeighbours.run

    def run(error: BaseException | None) -> Result:
        def raising(self: Any, *given: Any) -> Iterator[Any]:
            if error is not None:
                raise error
            yield from honest(self, *given)

        monkeypatch.setattr(NearestNeighbours, "run", raising)
        asked = ["--backbones", "pixels", "--tasks", "classification.knn", "--datasets", "digits"]
        where = ["--store", str(tmp_path / "store"), "--cache", str(tmp_path / "cache")]
        return CliRunner().invoke(app, ["run", *asked, *where])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bob.commands.run.show_board", lambda *_: None)  # most of the time of so small a run
    return run


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("broken"), "error"),
        (Diverged(3, float("nan"), 1.0), "diverged"),
        (OutOfMemory(1, "no room"), "out of memory"),
        (MemoryError("no room"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(errno.EIO, "Input/output error", "image.jpg"), "input/output"),
        (FileNotFoundError(errno.ENOENT, "No such file", "image.jpg"), "error"),
    ],
)
def test_causes_of_errors(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


def test_an_end_leaves_its_cause(run: Any, tmp_path: Path) -> None:
    assert run(ValueError("broken")).exit_code == 1
    store = Store(tmp_path / "store")
    (folder,) = (tmp_path / "store/attempts").iterdir()
    (trace,) = store.attempts(folder.name)
    assert (trace.cause, trace.message, trace.tail) == ("error", "broken", "ValueError: broken")
    assert store.running() == []
    assert store.failed_keys() == {folder.name}
    assert run(None).exit_code == 0
    assert [each.cause for each in store.attempts(folder.name)] == ["error", "done"]
    assert store.done_keys() == {folder.name}


def test_a_cell_that_kills_its_process_is_not_tried_for_ever(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    assert run(Interrupted("SIGTERM")).exit_code == EXIT_REQUEUE
    (folder,) = (root / "attempts").iterdir()
    (stopped,) = Store(root).attempts(folder.name)
    assert (stopped.cause, stopped.message) == ("stopped", "Interrupted SIGTERM")
    assert Store(root).failed_keys() == set()
    claims = Claims(root)
    for number in (2, 3, 4):
        claims._traces.rewrite(begun(folder.name, number, "").ended_by("killed", "signal 9", exit_code=-9))
    monkeypatch.setenv(LIMIT, "3")
    result = run(None)
    assert result.exit_code == 1, result.output
    (failure,) = Store(root).failures()
    assert failure.error is not None
    assert failure.error.kind == "LimitError"
    assert "after 3 attempts" in failure.error.message
    assert failure.error.message.count("killed, exit code -9: signal 9") == 3
    assert Store(root).attempts(folder.name)[-1].cause == "killed"
    Store(root).forgive(folder.name)
    assert run(None).exit_code == 0
    assert Store(root).done_keys() == {folder.name}


def test_of_a_cell_that_another_has_taken_over_nothing_is_recorded(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process slept too long: it leaves the cell to the other, and here finds it done."""
    root = tmp_path / "store"
    looks: list[int] = []

    def lost(self: Any) -> bool:
        looks.append(1)
        return len(looks) == 1

    monkeypatch.setattr("results.claims.Claim.lost", property(lost))
    result = run(None)
    assert result.exit_code == 0, result.output
    assert len(looks) == 2, "once lost and left alone, then taken and done"
    assert len(Store(root).records()) == 1


def test_where_trainings_have_come_to(tmp_path: Path) -> None:
    assert checkpoints_below(tmp_path / "none") == ""
    (tmp_path / "trial" / "logs").mkdir(parents=True)
    assert checkpoints_below(tmp_path) == ""
    seen = []
    for step in (1, 2):
        (tmp_path / "trial" / "checkpoints" / f"step-{step:012d}").mkdir(parents=True)
        seen.append(checkpoints_below(tmp_path))
    assert len({"", *seen}) == 3
