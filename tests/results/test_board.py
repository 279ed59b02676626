import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from results.board import board
from results.formats import FORMATS, renderer


def test_seeds_are_averaged_and_columns_ranked(make: Any) -> None:
    records = [make("a", 0.8, seed=0), make("a", 0.6, seed=1), make("b", 0.9), make("p", 0.1, baseline=True)]
    found = board(records)
    assert [row.backbone for row in found.rows] == ["b", "a", "p"]
    assert found.rows[1].entries[0].value == pytest.approx(0.7)
    assert found.rows[1].entries[0].seeds == 2
    assert found.rows[1].entries[0].spread == pytest.approx(0.1414, abs=1e-4)
    assert [row.rank for row in found.rows] == [1, 2, None]
    assert found.rows[2].facts.baseline


def test_baselines_have_no_rank_take_none_away_and_come_last(make: Any) -> None:
    """However many floors there are, and above whom: the contest is among candidates. Their z is of the whole field."""
    candidates = [make("a", 0.9), make("b", 0.7), make("c", 0.75)]
    floors = [make(f"random:{n}", 0.8 + n / 100, baseline=True) for n in range(3)]
    alone, among = board(candidates), board([*candidates, *floors])
    ranks = {row.backbone: row.rank for row in among.rows}
    assert ranks == {
        **{row.backbone: row.rank for row in alone.rows},
        **dict.fromkeys(["random:0", "random:1", "random:2"]),
    }
    assert [row.backbone for row in among.rows] == ["a", "c", "b", "random:2", "random:1", "random:0"]
    column = np.array([0.9, 0.7, 0.75, 0.8, 0.81, 0.82])
    expected = (column - column.mean()) / column.std()
    z = {row.backbone: row.z for row in among.rows}
    assert [z[name] for name in ("a", "b", "c", "random:0", "random:1", "random:2")] == pytest.approx(expected)
    assert "| random:2 (baseline) ° | — |" in renderer("markdown")(among)


def test_a_board_of_floors_alone_is_in_order_of_z(make: Any) -> None:
    found = board([make(name, value, baseline=True) for name, value in [("a", 0.1), ("b", 0.3), ("c", 0.2)]])
    assert [(row.backbone, row.rank) for row in found.rows] == [("b", None), ("c", None), ("a", None)]
    for name in FORMATS:
        assert renderer(name)(found)


def test_missing_cells_are_shown_and_ranked_after_complete_rows(make: Any) -> None:
    records = [make("a", 0.2), make("a", 0.2, task="x"), make("b", 0.9)]
    found = board(records)
    assert [(row.backbone, row.missing) for row in found.rows] == [("a", 0), ("b", 1)]
    text = renderer("markdown")(found)
    assert "1.00\\* 1/2" in text
    assert "—" in text


def test_lower_is_better_is_turned_round(make: Any) -> None:
    found = board([make("a", 0.2, higher_is_better=False), make("b", 0.9, higher_is_better=False)])
    assert [row.backbone for row in found.rows] == ["a", "b"]
    assert found.rows[0].z == pytest.approx(1.0)


def test_failed_stale_and_superseded_are_told_and_in_no_average(make: Any) -> None:
    records = [
        make("a", 0.1, created="2026-01-01T00:00:00+00:00"),
        make("a", 0.8, created="2026-01-02T00:00:00+00:00"),
        make("b", failed=True),
        make("c", 0.9, version=0),
        make("d", 0.5),
    ]
    found = board(records, {"retrieval": 1})
    entries = {row.backbone: row.entries[0] for row in found.rows}
    assert entries["a"].value == 0.8
    assert (entries["b"].status, entries["c"].status) == ("failed", "stale")
    assert {row.backbone: row.rank for row in found.rows} == {"a": 1, "d": 2, "b": None, "c": None}
    told = "\n".join(found.remarks)
    assert "1 older record" in told
    assert "failed: b" in told
    assert "stale: c" in told


def test_preprocessing_belongs_to_a_backbone_and_differs_between_them(make: Any) -> None:
    def prepared(record: Any, size: int) -> Any:
        return record.model_copy(update={"identity": record.identity.model_copy(update={"preprocess": {"size": size}})})

    records = [prepared(make("a", 0.9), 224), prepared(make("b", 0.5), 64), prepared(make("a", 0.7, task="x"), 224)]
    assert {entry.status for row in board(records).rows for entry in row.entries} == {"done", "missing"}
    changed = prepared(make("a", 0.8, task="x", created="2026-01-02T00:00:00+00:00"), 256)
    found = {row.backbone: row for row in board([*records, changed]).rows}
    assert [entry.status for entry in found["a"].entries] == ["stale", "done"]


def test_one_failed_seed_does_not_pass_for_a_whole_cell(make: Any) -> None:
    found = board([make("a", 0.9), make("a", failed=True, seed=1), make("b", 0.1)])
    assert [row.entries[0].status for row in found.rows if row.backbone == "a"] == ["failed"]


def test_the_same_results_give_the_same_bytes(make: Any) -> None:
    records = [make("a", 0.2), make("b", 0.9)]
    later = [make("b", 0.9, created="2027"), make("a", 0.2, created="2028")]
    for name in FORMATS:
        assert renderer(name)(board(records, include_cost=False)) == renderer(name)(board(later, include_cost=False))


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_board_is_helpful(name: str) -> None:
    text = renderer(name)(board([]))
    assert text
    if name in ("markdown", "html", "latex"):
        assert "bob run" in text


def test_csv_and_json_hold_every_number(make: Any) -> None:
    found = board([make("a", 0.25), make("b", failed=True)])
    rows = list(csv.DictReader(io.StringIO(renderer("csv")(found))))
    assert [(row["backbone"], row["status"], row["value"]) for row in rows] == [
        ("a", "done", "0.25"),
        ("b", "failed", ""),
    ]
    body = json.loads(renderer("json")(found))
    assert [row["entries"][0]["value"] for row in body["rows"]] == [0.25, None]
