"""Case 18: a cell whose training diverged is a failure on every board, with its step, and not a missing one."""

import csv
import io
import json
from typing import Any

import pytest

from results.board import Board, board
from results.formats import renderer
from results.record import Failure
from results.terminal import print_board


def diverged(make: Any, backbone: str, step: int = 12, **changes: Any) -> Any:
    error = Failure(kind="Diverged", message=f"the loss of step {step} is nan", traceback="", step=step)
    return make(backbone, failed=True, status="diverged", error=error, **changes)


@pytest.fixture
def shown(make: Any) -> Board:
    """Two questions: "lost" diverged at one and was never asked the other, "broken" failed, "sound" has both."""
    return board([
        make("sound", 0.5), make("sound", 0.5, task="x"), diverged(make, "lost"), make("broken", failed=True),
        make("other", 0.4), make("other", 0.4, task="x"),
    ])  # fmt: skip


def test_the_board_counts_it_as_a_failure(shown: Board) -> None:
    rows = {row.backbone: row for row in shown.rows}
    assert [entry.status for entry in rows["lost"].entries] == ["diverged", "missing"]
    assert [entry.failure for entry in rows["lost"].entries] == ["diverged at step 12", ""]
    assert [entry.failure for entry in rows["broken"].entries] == ["failed: ValueError", ""]
    assert {name: (row.failed, row.missing) for name, row in rows.items()} == {
        "sound": (0, 0), "other": (0, 0), "lost": (1, 2), "broken": (1, 2),
    }  # fmt: skip
    assert {row.backbone for row in shown.rows[:2]} == {"sound", "other"}
    assert rows["lost"].rank is None
    assert any(
        line.startswith("diverged at step 12: lost, retrieval digits, seed 0: Diverged") for line in shown.remarks
    )


def test_csv_and_json(shown: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(renderer("csv")(shown))))
    told = {(line["backbone"], line["setting"]): (line["status"], line["failure"], line["value"]) for line in lines}
    assert told["lost", "retrieval digits"] == ("diverged", "diverged at step 12", "")
    assert told["lost", "x digits"] == ("missing", "", "")
    assert told["broken", "retrieval digits"] == ("failed", "failed: ValueError", "")
    assert {line["backbone"]: line["failed_settings"] for line in lines} == {
        "sound": "0", "other": "0", "lost": "1", "broken": "1",
    }  # fmt: skip
    rows = {row["backbone"]: row for row in json.loads(renderer("json")(shown))["rows"]}
    assert [entry["failure"] for entry in rows["lost"]["entries"]] == ["diverged at step 12", ""]
    assert rows["lost"]["failed"] == 1


@pytest.mark.parametrize("name", ["markdown", "html", "latex"])
def test_formats_for_people(shown: Board, name: str) -> None:
    row = next(line for line in renderer(name)(shown).split("lost", 1)[1].split("broken")[:1])
    assert "diverged at step 12" in row
    assert "—" in row or "--" in row
    assert "failed: ValueError" in renderer(name)(shown)


def test_terminal(shown: Board, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_board(shown)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.lstrip("│ ").startswith("lost"))
    assert "diverged at step 12" in row
    assert "—" in row


def test_one_seed_of_three_is_told_as_such(make: Any) -> None:
    cells = [make("a", 0.5), diverged(make, "a", 7, seed=1), make("a", failed=True, seed=2), make("b", 0.1)]
    (entry,) = next(row.entries for row in board(cells).rows if row.backbone == "a")
    assert (entry.status, entry.failure) == ("diverged", "diverged at step 7 (2 of 3 seeds)")
    assert len(entry.warnings) == 2
    assert entry.value is None


def test_a_later_success_stands(make: Any) -> None:
    found = board([diverged(make, "a", created="2027"), make("a", 0.5)])
    assert [row.entries[0].status for row in found.rows] == ["done"]
