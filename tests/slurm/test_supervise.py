"""The loop against a place that is a dictionary, on a clock that runs only while it waits."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from slurm.parcel import Parcel, Unit
from slurm.place import End, Place, Standing, UnreachableError, Work
from slurm.resources import Resources
from slurm.supervise import SHORT_ENDS, Pace, supervise

RESOURCES = Resources(time_min=60)


class Fake:
    """A place whose jobs take ``looks`` looks and then finish their units, but for what ``mishaps`` says (by unit)."""

    def __init__(self, looks: int = 2, mishaps: Mapping[str, Sequence[str]] = {}) -> None:
        self.looks = looks
        self.mishaps = {name: list(hows) for name, hows in mishaps.items()}
        self.jobs: dict[str, int] = {}
        self.done: set[str] = set()
        self.ended: dict[str, End] = {}
        self.submissions: list[tuple[str, ...]] = []
        self.unreachable: list[bool] = []
        self.works: list[object] = []
        self.reason = ""

    def submit(self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work]) -> None:
        for parcel in parcels:
            assert not self.jobs.keys() & set(parcel.units), "given twice"
            self.submissions.append(parcel.units)
            self.works.append(work(parcel)())
            self.jobs |= dict.fromkeys(parcel.units, self.looks)

    def standing(self) -> Mapping[str, Standing]:
        if self.unreachable and self.unreachable.pop(0):
            raise UnreachableError("no answer from the controller")
        for name in list(self.jobs):
            self.jobs[name] -= 1
            if self.jobs[name] < 0:
                del self.jobs[name]
                mishaps = self.mishaps.get(name)
                if mishaps:
                    self.ended[name] = End("7", mishaps.pop(0), 1, "node-3", f"{name}.log")
                else:
                    self.done.add(name)
        queued, running = Standing("7", "queued", self.reason), Standing("7", "running")
        return {name: running if left < self.looks else queued for name, left in self.jobs.items()}

    def ends(self) -> Mapping[str, End]:
        return self.ended

    def cancel(self, units: Collection[str] | None = None) -> int:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        assert now[0] < 1e5, "goes on for ever"

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def units(*names: str) -> list[Unit]:
    return [Unit(name, "group", RESOURCES, 10_000) for name in names]


def go(place: Fake, names: Collection[str], **options: object) -> tuple[Mapping[str, str], list[str]]:
    said: list[str] = []
    gone = supervise(
        place,
        units(*names),
        lambda: set(names) - place.done,
        lambda parcel: lambda: parcel.units,
        said.append,
        **options,  # type: ignore[arg-type]
    )
    return gone, said


def test_until_all_is_done() -> None:
    place = Fake()
    assert isinstance(place, Place)
    gone, said = go(place, ["a", "b", "c"])
    assert gone == {}
    assert place.done == {"a", "b", "c"}
    assert place.submissions == place.works == [("a",), ("b",), ("c",)]
    assert said == ["submitted 3 units in 3 jobs"]


@pytest.mark.parametrize(("at_once", "jobs"), [(1, 2), (4, 12)])
def test_few_units_are_shared_out_between_those_who_work_at_once(at_once: int, jobs: int) -> None:
    """Forty minutes in all: two jobs of at most half an hour, or three for each of four workers."""
    place = Fake()
    sweep = [Unit(str(number), str(number), RESOURCES, 100) for number in range(24)]
    pace = Pace(at_once=at_once)
    supervise(place, sweep, lambda: {u.name for u in sweep} - place.done, lambda _: list, lambda _: None, pace=pace)
    assert len(place.submissions) == jobs


def test_nothing_to_do_submits_nothing() -> None:
    place = Fake()
    place.done = {"a"}
    assert go(place, ["a"]) == ({}, [])


def test_what_stands_already_is_waited_for() -> None:
    place = Fake()
    place.jobs = {"a": 5, "somebody else's": 1000}
    assert go(place, ["a", "b"])[0] == {}
    assert place.submissions == [("b",)]
    assert place.done == {"a", "b"}


def test_an_unfinished_unit_is_submitted_again_and_its_end_told() -> None:
    place = Fake(mishaps={"a": ["NODE_FAIL"], "b": ["NODE_FAIL"]})
    gone, said = go(place, ["a", "b", "c"])
    assert gone == {}
    assert place.done == {"a", "b", "c"}
    assert sorted(place.submissions) == [("a",), ("a",), ("b",), ("b",), ("c",)]
    assert said[1:] == [
        "2 units unfinished after the end of the job (NODE_FAIL, exit code 1, on node-3): a, b; log: a.log",
        "submitted 2 units in 2 jobs, 2 again",
    ]


@pytest.mark.parametrize(("reason", "told"), [("PartitionTimeLimit", 1), ("Priority", 0)])
def test_why_jobs_would_wait_for_ever_is_said_once(reason: str, told: int) -> None:
    place = Fake()
    place.jobs, place.reason = {"a": 6, "b": 6}, reason
    _, said = go(place, ["a", "b"])
    assert said == ["2 units will wait until this changes: PartitionTimeLimit"] * told


def test_the_caller_says_what_is_given_up() -> None:
    place = Fake(mishaps={"a": ["FAILED"] * 9})
    gone, said = go(place, ["a", "b"], given_up=lambda unit: "3 attempts" if len(place.mishaps["a"]) <= 6 else None)
    assert gone == {"a": "3 attempts"}
    assert place.submissions.count(("a",)) == 3
    assert said[-1] == "a is given up: 3 attempts"


def test_jobs_that_end_at_once_are_tried_less_and_less_and_then_no_more(clock: list[float]) -> None:
    place = Fake(looks=0, mishaps={"a": ["FAILED"] * 1000})
    gone, _ = go(place, ["a"])
    assert list(gone) == ["a"]
    assert "5 jobs in a row" in gone["a"]
    assert place.submissions == [("a",)] * SHORT_ENDS
    assert clock[0] >= 10 + 20 + 40


def test_long_jobs_go_on_until_the_limit() -> None:
    place = Fake(looks=10, mishaps={"a": ["PREEMPTED"] * 1000})
    gone, _ = go(place, ["a"], pace=Pace(submissions=12))
    assert gone == {"a": "submitted 12 times"}
    assert len(place.submissions) == 12


def test_silence_concludes_nothing_and_is_said_once() -> None:
    place = Fake()
    place.unreachable = [False, True, True, True, False]
    gone, said = go(place, ["a"])
    assert gone == {}
    assert place.submissions == [("a",)]
    assert said[1:] == [
        "waiting, since nothing can be concluded now: no answer from the controller",
        "reached again after 30 s",
    ]


def test_a_store_that_cannot_be_read_concludes_nothing() -> None:
    place, errors = Fake(), [OSError(5, "Input/output error", "/store")]

    def unfinished() -> set[str]:
        if errors and place.submissions:
            raise errors.pop()
        return {"a"} - place.done

    said: list[str] = []
    assert supervise(place, units("a"), unfinished, lambda parcel: list, said.append) == {}
    assert place.submissions == [("a",)]
    assert "'/store'" in said[1]


def test_a_refusal_passes_through() -> None:
    class Refusing(Fake):
        def submit(self, parcels: Sequence[Parcel], work: Callable[[Parcel], Work]) -> None:
            raise ValueError("invalid partition specified: nope")

    with pytest.raises(ValueError, match="nope"):
        go(Refusing(), ["a"])


def test_what_somebody_works_on_elsewhere_is_waited_for(clock: list[float]) -> None:
    """Another supervisor's process on another machine, say: until it finishes, or is no longer heard of."""
    place = Fake()

    def working() -> set[str]:
        if clock[0] > 400:
            place.done.add("a")
        return {name for name, until in (("a", 400), ("b", 200)) if clock[0] <= until}

    gone, said = go(place, ["a", "b"], working=working)
    assert gone == {}
    assert place.submissions == [("b",)]
    assert place.done == {"a", "b"}
    assert said == ["submitted 1 unit in 1 job"]


def test_two_supervisors_at_one_place() -> None:
    """Each looks under the lock, so neither submits what the other has; the second begins while the first waits."""
    place, held = Fake(looks=6, mishaps={"a": ["NODE_FAIL"] * 2}), [0]
    others: list[tuple[Mapping[str, str], list[str]]] = []

    @contextmanager
    def lock() -> Iterator[None]:
        held[0] += 1
        assert held[0] == 1, "both at once"
        yield
        held[0] -= 1
        if place.submissions and not others:
            others.append(({}, []))
            others[0] = go(place, ["a", "b"], lock=lock)

    assert go(place, ["a", "b"], lock=lock)[0] == {}
    assert others[0][0] == {}
    assert place.done == {"a", "b"}
    assert sorted(place.submissions) == [("a",), ("a",), ("a",), ("b",)]


def test_an_interrupt_leaves_what_stands() -> None:
    place = Fake(looks=1000)

    def unfinished() -> set[str]:
        if place.submissions:
            raise KeyboardInterrupt
        return {"a"}

    with pytest.raises(KeyboardInterrupt):
        supervise(place, units("a"), unfinished, lambda parcel: list, print)
    assert place.jobs
