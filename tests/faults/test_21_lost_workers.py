"""Case 21: a loading process that is killed or hangs is noticed, its item named, and the sweep goes on."""

import os
import re
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backbones.training.loader import Wanted, load
from backbones.training.workers import LoadingStalled, WorkerLost
from bob.cli import app
from results.store import Store
from tasks.classification.knn import NearestNeighbours

WANTED = [Wanted(0, tuple(range(start, start + 8))) for start in range(0, 64, 8)]


class Sick:
    """Items 0..63, of which one does what it is told to."""

    names = tuple(f"photo-{index}.jpg" for index in range(64))

    def __init__(self, row, act):
        self.row, self.act = row, act

    def __len__(self):
        return 64

    def load(self, index, epoch):
        if index == self.row:
            self.act()
        return index

    def batch(self, items, step, device):
        return items


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def left():
    os._exit(3)


def asleep():
    time.sleep(600)


def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (killed, WorkerLost, r"signal 9 \(SIGKILL\) at item 37 \('photo-37\.jpg'\).*memory is out: take fewer workers"),
        (left, WorkerLost, r"exit code 3 at item 37 \('photo-37\.jpg'\)$"),
        (asleep, LoadingStalled, r"nothing came of item 37 \('photo-37\.jpg'\) for 0\.5 s"),
        (stopped, LoadingStalled, r"nothing came of item 37 \('photo-37\.jpg'\) for 0\.5 s"),
    ],
)
def test_the_item_is_named_and_all_before_it_came(workers, act, error, message):
    before, got = children(), []
    started = time.monotonic()
    with closing(load(Sick(37, act), WANTED, workers, 0.5)) as batches, pytest.raises(error, match=message):
        got.extend(item for items in batches for item in items)
    assert got == list(range(32))
    assert time.monotonic() - started < 5
    assert children() == before


@pytest.mark.parametrize(("row", "said"), [(-1, "no item"), (16, "item 16 ('photo-16.jpg')")])
def test_killed_from_outside(row, said):
    """By the out-of-memory killer, at any moment: between items, or while one is loaded."""
    before = set(children())
    with closing(load(Sick(row, asleep), WANTED, 2, 60.0)) as batches:
        got = list(next(batches))
        first = min(set(children()) - before, key=int)
        time.sleep(0.2)
        os.kill(int(first), signal.SIGKILL)
        with pytest.raises(WorkerLost, match=re.escape(f"signal 9 (SIGKILL) at {said}")):
            got.extend(item for items in batches for item in items)
    assert got == list(range(len(got)))


def test_a_slow_loader_that_goes_on_is_no_fault():
    slow = Sick(3, lambda: time.sleep(0.4))
    assert list(load(slow, WANTED[:2], 1, 1.0)) == [list(range(8)), list(range(8, 16))]


@pytest.mark.parametrize(("act", "kind"), [(killed, "WorkerLost"), (asleep, "LoadingStalled")])
def test_the_cell_is_marked_failed_and_the_sweep_goes_on(tmp_path, monkeypatch, act, kind):
    """A task that reads its data through the loader; the one of the middle setting has the sick item."""
    run = NearestNeighbours.run

    def loading(self, backbone, data, tools, seed):
        sick = Sick(5 if self.k == 5 else -1, act)
        list(load(sick, WANTED[:2], 1, 0.5))
        yield from run(self, backbone, data, tools, seed)

    monkeypatch.setattr(NearestNeighbours, "run", loading)
    plan = tmp_path / "plan.yaml"
    asked = "".join(f"  - {{task: classification.knn, dataset: digits, k: {k}}}\n" for k in (3, 5, 7))
    plan.write_text(f"backbones: [pixels]\ntasks:\n{asked}")
    done = CliRunner().invoke(
        app, ["run", str(plan), "--store", str(tmp_path / "store"), "--cache", str(tmp_path / "cache")]
    )
    assert done.exit_code == 1, done.output
    store = Store(tmp_path / "store")
    assert len(list(store.records())) == 2
    (failure,) = store.failures()
    assert failure.error is not None
    assert failure.error.kind == kind
    assert "item 5 ('photo-5.jpg')" in failure.error.message
