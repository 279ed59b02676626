"""``bob run`` from end to end: the record, the board, a failing cell among good ones, a new user's own backbone."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from backbones.catalogue import ADAPTERS
from bob.cli import spread
from bob.show import describe
from results.items import headline_items
from results.store import Store
from tasks.catalogue import DATASETS
from tasks.datasets.base import OpenOptions


def test_record_says_what_reproduces_it(bob: Any, tiny_plan: Path) -> None:
    code, log = bob("run", str(tiny_plan))
    assert code == 0, log
    assert "9 cells computed" in log
    assert "outputs/leaderboard.html" in log
    records = [json.loads(path.read_text()) for path in bob.folder.glob("outputs/store/cells/*/record.json")]
    assert len(records) == 9
    for record in records:
        assert record["provenance"]["packages"]["torch"]
        assert record["cost"]["images_per_second"] > 0
        assert record["identity"]["manifests"]
        assert record["files"]
        assert all(
            score["low"] <= score["value"] <= score["high"] for score in record["scores"] if score["low"] is not None
        )
    assert "9 done" in bob("plan", str(tiny_plan))[1]
    assert "9 found done" in bob("run", str(tiny_plan))[1]


def test_items_of_every_headline_can_be_held_against_another_backbones(bob: Any, tiny_plan: Path) -> None:
    """The gates compare item by item what these tasks keep: all of it, and in one order of names."""
    bob("run", str(tiny_plan))
    store = Store(bob.folder / "outputs/store")
    names: dict[str, list[Any]] = {}
    for record in store.records():
        found, row = headline_items(store, record), record.headline_row()
        assert found is not None
        assert row is not None
        assert row.value == pytest.approx(found.values.mean())
        names.setdefault(record.cell.setting(), []).append(found.names)
    assert len(names) == 3
    assert all(each.equals(several[0]) and len(several) == 3 for several in names.values() for each in several)


def test_one_failing_cell_never_stops_the_others(bob: Any, tiny_plan: Path) -> None:
    mine = bob.folder / "mine.py"
    mine.write_text(mine.read_text() + "def two(): return nn.Sequential(nn.Conv2d(3, 4, 3))\n")
    code, log = bob("run", str(tiny_plan))
    assert code == 1, log
    assert "6 cells computed" in log
    assert "3 failed" in log
    assert "(batch, dim)" in log
    assert "3 failed before" in bob("plan", str(tiny_plan))[1]
    mine.write_text(mine.read_text().replace("nn.Conv2d(3, 4, 3))", "nn.Flatten())"))
    # The file is part of the identity of what it builds, so the sound backbone in it is asked again as well.
    assert "6 cells computed, 3 found done" in bob("run", str(tiny_plan))[1]


def test_every_format_of_the_board(bob: Any, tiny_plan: Path) -> None:
    bob("run", str(tiny_plan))
    for kind in ["markdown", "csv", "json", "latex", "html"]:
        code, text = bob("leaderboard", "--format", kind)
        assert code == 0, text
        assert "pixels" in text
    assert bob("leaderboard", "--store", "nothing")[0] == 0


def test_list_and_show(bob: Any) -> None:
    assert "classification.linear" in bob("list", "tasks")[1]
    assert "digits" in bob("list", "datasets")[1]
    assert "pixels" in bob("list", "backbones", "pix*")[1]
    assert bob("list", "backbones", "nothing-like-it")[0] == 1
    assert "1797" in bob("show", "digits")[1]
    assert "headline" in bob("show", "retrieval")[1]
    assert "weights sha256" in bob("show", "pixels")[1]
    assert "carved" in bob("show", "images")[1]
    code, log = bob("show", "pixles")
    assert code == 2
    assert "'pixels'" in log


@pytest.mark.parametrize("name", sorted({*DATASETS.found, *ADAPTERS.found} - {"pixels"}))
def test_a_reader_alone_is_told_how_to_write_what_it_reads(name: str) -> None:
    """Its syntax and an example of it: a name that begins like a reference."""
    told = describe(name, OpenOptions())
    assert re.search(rf"``{name}[:#][\w./@#?=:-]+``", told), told
    if name in DATASETS.found:
        assert re.search(rf"^{name}[:\[].* - ", told, re.MULTILINE), told


def test_a_name_of_a_task_and_a_reader_is_told_as_both() -> None:
    told = describe("retrieval", OpenOptions())
    assert "headline mAP" in told
    assert "retrieval:PATH[?class=COLUMN]" in told


def test_lists_of_names_need_no_repeated_flag() -> None:
    assert spread(["run", "p.yaml", "--seeds", "1", "2"]) == ["run", "p.yaml", "--seeds", "1", "--seeds", "2"]
