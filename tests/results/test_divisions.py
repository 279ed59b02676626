"""How data was divided, as boards tell it once a data set."""

from typing import Any

from results.board import board
from results.divisions import divisions
from results.formats import FORMATS, renderer

CARVED = {"train_part": "all without what was carved", "val_part": "carved from all: 20 %, seed 0",
          "test_part": "carved from all: 20 %"}  # fmt: skip
OFFICIAL = dict.fromkeys(CARVED, "official")


def asked(make: Any, task: str, notes: dict[str, str], datasets: dict[str, list[str]], **changes: Any) -> Any:
    record = make("a", 0.5, task=task, notes=notes, **changes)
    return record.model_copy(update={"cell": record.cell.model_copy(update={"datasets": datasets})})


def test_a_data_set_is_told_once_whatever_asks_it(make: Any) -> None:
    flowers = {"dataset": ["images:flowers"]}
    seeds = [
        asked(make, "linear", {**CARVED, "val_part": f"carved from all: 20 %, seed {seed}"}, flowers, seed=seed)
        for seed in (2, 0, 1)
    ]
    one_way = [
        asked(make, "head", OFFICIAL, {"dataset": ["digits"]}),
        asked(make, "knn", OFFICIAL, {"dataset": ["digits"]}),
    ]
    assert divisions([*seeds, *one_way, make("b")]) == [
        "digits: official train, val, test",
        "images:flowers: train = all without what was carved; val = carved from all: 20 %, seed 0 (2 more by seed); "
        "test = carved from all: 20 %",
    ]


def test_tasks_are_named_where_they_divide_it_differently(make: Any) -> None:
    flowers = {"dataset": ["images:flowers"]}
    every = {"test_part": "every image"}
    records = [asked(make, "retrieval", every, flowers), asked(make, "head", every, flowers)]
    assert divisions(records) == ["images:flowers: test = every image"]
    assert divisions([*records, asked(make, "linear", CARVED, flowers)]) == [
        "images:flowers (head, retrieval): test = every image",
        "images:flowers (linear): train = all without what was carved; val = carved from all: 20 %, seed 0; "
        "test = carved from all: 20 %",
    ]


def test_sets_that_are_only_tested_on_are_told_apart_from_home(make: Any) -> None:
    notes = {**OFFICIAL, "test_part:images:sketch": "every image"}
    record = asked(make, "ood.shift", notes, {"test": ["images:sketch"], "train": ["digits"]})
    assert divisions([record]) == ["digits: official train, val, test", "images:sketch: test = every image"]


def test_home_is_the_set_that_is_learnt_from(make: Any) -> None:
    sets = {"train": ["digits"], "validation": ["images:other"], "far": ["images:sketch"]}
    assert divisions([asked(make, "ood.detect", OFFICIAL, sets)]) == ["digits: official train, val, test"]


def test_boards_tell_it_and_not_of_stale_records(make: Any) -> None:
    flowers = {"dataset": ["images:flowers"]}
    found = board([asked(make, "linear", CARVED, flowers)])
    for name in set(FORMATS) - {"csv", "latex"}:  # tables alone
        assert "carved from all: 20 %" in renderer(name)(found), name
    assert board([asked(make, "linear", CARVED, flowers, version=0)], {"linear": 1}).divisions == ()
