"""Racing: whoever takes part and whoever dies, the search is that of one process, and no trial is run twice."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbones.places import Places
from backbones.training.outcomes import Diverged
from bob.options import RunOptions, TrainingOptions
from bob.plan import Plan, parse_plan, resolve
from bob.roster import Roster
from bob.sweep.asked import packed
from bob.sweep.racing import Helped, Racer, help_with, helpers, unit_of
from bob.sweep.roll import Listed, ListedQuestion, Roll
from results.claims import Claims
from tasks.datasets.base import OpenOptions
from tasks.race import Choice, Trial, Tried, in_turn
from tasks.search import Found, Search, find
from tests.training_task import install

SEARCH = Search(8, "halving", {"learning_rate": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)})
EPOCHS = 16
TRIALS = 8 + 4 + 2


class Bench:
    """Trials that take some milliseconds an epoch and keep a checkpoint of each."""

    def __init__(self, folder: Path, epoch_s: float = 0.002) -> None:
        self.folder, self.epoch_s = folder, epoch_s
        folder.mkdir(parents=True, exist_ok=True)

    def train(self, choice: Choice, epochs: int, name: str) -> float:
        checkpoint = self.folder / name
        begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for epoch in range(begin, epochs):
            time.sleep(self.epoch_s)
            checkpoint.write_text(str(epoch + 1))
        self._tell(name, begin)
        rate = choice.get("learning_rate", 0.5)
        if rate == 5.0:
            raise Diverged(3, float("nan"), 1.0)
        return 1 / (1 + (rate - 2.9) ** 2) + epochs / 1000

    def finished(self) -> dict[str, list[int]]:
        """Where each training that came to its end had begun."""
        told: dict[str, list[int]] = {}
        for line in (self.folder / "finished").read_text().splitlines():
            name, begin = line.split()
            told.setdefault(name, []).append(int(begin))
        return told

    def _tell(self, name: str, begin: int) -> None:
        with (self.folder / "finished").open("a") as file:
            file.write(f"{name} {begin}\n")

    def race(self, helper: int | None = None, machine: str | None = None, lease_s: float = 120.0) -> Found | None:
        """The part of one process; None where it only helped."""
        claims = Claims(self.folder / "race", lease_s, beat_s=0.02, machine=machine)
        try:
            return find(SEARCH, EPOCHS, 0, self.train, Racer(self.folder, helper, claims=claims, wait_s=0.005))
        except Helped:
            return None


def in_a_process(call: Callable[[], Any]) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended_well(*pids: int) -> None:
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def alone(tmp_path: Path) -> Found:
    return find(SEARCH, EPOCHS, 0, Bench(tmp_path / "alone", 0).train, in_turn)


def test_the_search_of_one_process(alone: Found) -> None:
    """What the others are held against: it has chosen, and one of its trials has diverged."""
    assert alone.choice == {"learning_rate": 3.0}
    assert len(alone.tried) == TRIALS
    assert [each.diverged is not None for each in alone.tried].count(True) == 1


@pytest.mark.parametrize("machines", [(None, None, None), ("a", "b", "c")])
def test_three_processes_find_what_one_finds_and_run_no_trial_twice(
    alone: Found, tmp_path: Path, machines: tuple[str | None, ...]
) -> None:
    bench = Bench(tmp_path / "raced")
    pids = [in_a_process(lambda n=n: bench.race(n, machines[n])) for n in (1, 2)]
    assert bench.race(None, machines[0]) == alone
    ended_well(*pids)
    begun = bench.finished()
    assert len(begun) == TRIALS
    assert all(begins == [0] for begins in begun.values())


def test_helpers_alone_come_to_the_end_and_whoever_comes_then_has_nothing_to_do(alone: Found, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "raced", 0)
    assert bench.race(1) is None
    assert len(bench.finished()) == TRIALS
    for helper in (1, 2, 9):
        assert bench.race(helper) is None
    assert bench.race() == alone
    assert len(bench.finished()) == TRIALS


def test_a_helper_stays_for_as_long_as_rounds_are_large_enough(tmp_path: Path) -> None:
    for helper, trials in {1: 8 + 4 + 2, 2: 8 + 4, 3: 8 + 4, 4: 8, 7: 8}.items():
        bench = Bench(tmp_path / str(helper), 0)
        assert bench.race(helper) is None
        assert len(bench.finished()) == trials


@pytest.mark.parametrize("machine", [None, "another"])
def test_a_trial_whose_process_was_killed_is_gone_on_with(alone: Found, tmp_path: Path, machine: str | None) -> None:
    bench, slow = Bench(tmp_path / "raced"), Bench(tmp_path / "raced", 0.2)
    killed = in_a_process(lambda: slow.race(1, machine))
    checkpoint = bench.folder / "round-1-trial-1"
    until(lambda: checkpoint.exists() and checkpoint.read_text() == "1")
    lease_s = 120.0 if machine is None else 0.3  # of a process on this machine it is seen at once
    other = in_a_process(lambda: bench.race(2, lease_s=lease_s))
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    assert bench.race(lease_s=lease_s) == alone
    ended_well(other)
    assert bench.finished() == {**{name: [0] for name in bench.finished()}, "round-1-trial-1": [1]}


def test_what_is_not_the_same_search_is_refused(tmp_path: Path) -> None:
    def race(search: Search) -> Found:
        return find(search, 8, 0, lambda *asked: 0.5, Racer(tmp_path, wait_s=0.005))

    race(Search(2, "grid", {"learning_rate": (1.0,)}))
    with pytest.raises(ValueError, match=r"round-1-trial-2\.json is of .*1\.0.*another version"):
        race(Search(2, "grid", {"learning_rate": (2.0,)}))
    (tmp_path / "race" / "round-1-trial-1.json").write_text("{")
    with pytest.raises(ValueError, match=r"round-1-trial-1\.json is damaged"):
        race(Search(2, "grid", {"learning_rate": (1.0,)}))


def test_a_trial_that_fails_for_a_helper_is_the_holders_to_try(tmp_path: Path) -> None:
    def fails(choice: Choice, epochs: int, name: str) -> float:
        raise OSError("no space left")

    search = Search(2, "grid", {"learning_rate": (1.0,)})
    with pytest.raises(OSError, match="no space"):
        find(search, 8, 0, fails, Racer(tmp_path, helper=1))
    assert find(search, 8, 0, lambda *asked: 0.5, Racer(tmp_path)).choice == {}


def test_of_two_that_ran_one_trial_the_first_is_believed_by_both(tmp_path: Path) -> None:
    """One was thought dead: it had been stopped for longer than the lease."""
    late = Racer(tmp_path, claims=Claims(tmp_path / "elsewhere"))

    def overtaken(choice: Choice, epochs: int, name: str) -> float:
        Racer(tmp_path)([Trial(name, choice, epochs, lambda *asked: 0.25)], 0)
        return 0.75

    assert late([Trial("round-1-trial-1", {}, 8, overtaken)], 0) == [Tried({}, 8, 0.25)]
    assert not list((tmp_path / "race").glob(".*"))


# From end to end: ``bob run`` in several processes on one store


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[str]:
    install(tmp_path)
    (tmp_path / "hold").touch()
    plan = tmp_path / "plan.yaml"
    plan.write_text("backbones: [pixels]\ntasks: [{task: fake.search, dataset: digits}]\nracing: true\n")
    yield str(plan)
    (tmp_path / "hold").unlink(missing_ok=True)


def answer(bob: Any, store: str) -> dict[str, Any]:
    """What the record of a store's only cell says of the cell, which left nothing else."""
    (path,) = (bob.folder / store).glob("cells/*/record.json")
    assert not list((bob.folder / store / "work").iterdir())
    record = json.loads(path.read_text())
    logs = sorted(name for name in record["files"] if name.endswith(".csv"))
    return {**{name: record[name] for name in ("key", "scores", "notes", "identity", "warnings")}, "logs": logs}


def trained(bob: Any) -> list[tuple[str, int, list[int]]]:
    """Trials that came to their end, the process of each, and the steps at which it was gone on with."""
    path = bob.folder / "trained.txt"
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return [(name, pid, resumed) for name, pid, resumed in told]


def until_there(bob: Any, count: int, pattern: str) -> None:
    until(lambda: len(list((bob.folder / "raced").glob(f"work/*/{pattern}"))) == count)


def test_processes_on_one_store_give_the_record_of_one(bob: Any, plan: str) -> None:
    pids = [bob.start("run", plan, "--store", "raced") for _ in range(3)]
    until_there(bob, 3, "race/attempts/*")
    (bob.folder / "hold").unlink()
    assert [bob.wait(pid) for pid in pids] == [0, 0, 0], bob.log.read_text()
    raced = trained(bob)
    assert len({pid for _, pid, _ in raced}) == 3
    code, log = bob("run", plan, "--store", "alone")
    assert code == 0, log
    assert answer(bob, "raced") == answer(bob, "alone")
    alone = [name for name, _, _ in trained(bob)]
    assert len(alone) == 5  # of six trials one diverges
    assert sorted(name for name, _, _ in raced) == sorted(alone)


@pytest.mark.slow
def test_a_helper_that_is_killed_costs_nothing_but_time(bob: Any, plan: str) -> None:
    pids = []
    for trial in ("round-1-trial-1", "round-1-trial-[!1]"):
        pids.append(bob.start("run", plan, "--store", "raced", "--checkpoint-minutes", "0"))
        until_there(bob, 1, f"{trial}/checkpoints/step-*2")
    os.kill(pids[1], signal.SIGKILL)
    assert bob.wait(pids[1]) == -signal.SIGKILL
    (bob.folder / "hold").unlink()
    assert bob.wait(pids[0]) == 0, bob.log.read_text()
    told = trained(bob)
    assert len(told) == 5
    assert [resumed for _, _, resumed in told if resumed] == [[3]]
    assert bob("run", plan, "--store", "alone")[0] == 0
    assert answer(bob, "raced") == answer(bob, "alone")


@pytest.mark.slow
def test_workers_of_a_sweep_race_for_its_cell(bob: Any, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is given the cell, one to help with it, one to help when all is done."""
    monkeypatch.chdir(bob.folder)
    (bob.folder / "hold").unlink()
    assert bob("run", plan, "--store", "alone")[0] == 0
    (bob.folder / "hold").touch()
    trained(bob)
    key, sweep = answer(bob, "alone")["key"], bob.folder / "raced" / "sweeps" / "mine"
    question = ListedQuestion("fake.search", "fake.search digits", {"task": "fake.search", "dataset": ["digits"]})
    options = packed(RunOptions(store=Path("raced")), TrainingOptions())
    Roll("mine", plan, "", "", options, ("pixels",), (question,), (Listed(key, 0, 0, 0),), True).write(sweep)
    units = [key, unit_of(key, 1), unit_of(key, 2)]
    for number, unit in enumerate(units):
        (bob.folder / f"{number}.json").write_text(json.dumps([unit]))
    pids = [bob.start("work", str(sweep), f"{number}.json") for number in (0, 1)]
    until_there(bob, 2, "race/claims/*")
    (bob.folder / "hold").unlink()
    assert [bob.wait(pid) for pid in pids] == [0, 0], bob.log.read_text()
    assert answer(bob, "raced") == answer(bob, "alone")
    assert {pid for _, pid, _ in trained(bob)} == set(pids)
    assert bob("work", str(sweep), "2.json")[0] == 0
    assert not trained(bob)


def test_racing_is_in_no_key_and_only_searches_have_helpers(tmp_path: Path) -> None:
    tasks = [
        {"task": "classification.finetune", "dataset": "digits"},
        {"task": "classification.finetune", "dataset": "digits", "trials": 1},
        {"task": "classification.knn", "dataset": "digits"},
    ]
    counts, keys = [], []
    for racing in (False, True):
        plan = Plan(backbones=["random:timm:test_vit"], tasks=tasks, racing=racing)
        places = Places((tmp_path,))
        cells = resolve(plan, Roster(places), OpenOptions(places, tmp_path), "float32", [])
        counts.append([helpers(cell) for cell in cells])
        keys.append([cell.key for cell in cells])
    assert counts == [[0, 0, 0], [3, 0, 0]]
    assert keys[0] == keys[1]


def test_who_comes_when_the_cell_is_done_does_nothing(tmp_path: Path) -> None:
    class Done:
        root = tmp_path

        def get(self, key: str) -> str:
            return "a record"

    places = Places((tmp_path,))
    plan = Plan(backbones=["pixels"], tasks=[{"task": "segmentation", "dataset": "digits"}], racing=True)
    (cell,) = resolve(plan, Roster(places), OpenOptions(places, tmp_path), "float32", [])
    able = replace(cell, refusal=None)
    assert (helpers(cell), helpers(able)) == (0, 3)
    help_with(able, None, Done())  # type: ignore[arg-type]
    assert not list(tmp_path.glob("work*"))


def test_what_is_no_yes_or_no_is_a_mistake() -> None:
    mistakes: list[str] = []
    parse_plan({"backbones": ["pixels"], "tasks": [], "racing": "fast"}, "mine.yaml", mistakes)
    assert any("racing" in line for line in mistakes)
