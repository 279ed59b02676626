"""``bob logs``: which cell is meant, who tried it, and its own lines of a log that many cells share."""

from pathlib import Path
from typing import Any

import pytest

from bob.sweep.finding import find_cell
from bob.sweep.logs import begin_mark, end_mark, lines_between


def test_cells_by_key_and_by_words(sweep: Any) -> None:
    key = sweep.keys[1, 0, 1]
    assert find_cell(sweep.roll, [key]).key == key
    assert find_cell(sweep.roll, [key[:4]]).key == key
    assert find_cell(sweep.roll, ["TWO", "retrieval", "seed 1"]).key == key
    with pytest.raises(ValueError, match=r"2 cells of sweep mine are called 'two knn':\n  110aaaaaaaaa  timm:two"):
        find_cell(sweep.roll, ["two", "knn"])
    with pytest.raises(ValueError, match="no cell of sweep mine is called 'three'"):
        find_cell(sweep.roll, ["three"])


def test_lines_of_the_newest_attempt(tmp_path: Path) -> None:
    key, other = "a" * 32, "b" * 32
    log = tmp_path / "log"
    parts = [
        begin_mark(key, 1), "old", end_mark(key, "killed"),
        begin_mark(other, 1), "foreign", end_mark(other, "done"),
        begin_mark(key, 2), "\x1b[31mred\x1b[0m", "10%\r100%", "a\x07b", end_mark(key, "out of memory"), "after",
    ]  # fmt: skip
    log.write_bytes("\n".join(parts).encode() + b"\xff\n")
    assert list(lines_between(log, key, 1)) == ["old"]
    assert list(lines_between(log, key, 2)) == ["red", "100%", "a·b"]
    assert list(lines_between(log, key, 3)) == []


def test_a_log_that_ends_in_the_middle(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"{begin_mark('a' * 32, 1)}\nstep 1\nstep 2")
    assert list(lines_between(log, "a" * 32, 1)) == ["step 1", "step 2"]


def test_attempts_and_log(bob: Any, sweep: Any, tmp_path: Path) -> None:
    where, log = (0, 0, 1), tmp_path / "worker.log"
    log.write_text(f"{begin_mark(sweep.keys[where], 2)}\nits own line\n{end_mark(sweep.keys[where], 'killed')}\n")
    sweep.end(where, "preempted", job="12_3")
    sweep.end(where, "killed", exit_code=-9, message="[b]signal 9[/b]", log=str(log))
    code, printed = bob("logs", sweep.keys[where][:6], "--store", str(sweep.root))
    assert code == 0
    lines = [line.split() for line in printed.splitlines()]
    assert lines[0] == [sweep.keys[where], "timm:one", "retrieval", "digits", "seed", "1"]
    assert [line[:1] + line[2:] for line in lines[2:4]] == [
        ["1", "node1", "12_3", "preempted"],
        ["2", "node1", "killed", "-9", "[b]signal", "9[/b]"],
    ]
    assert ["its", "own", "line"] in lines


def test_what_is_left_without_a_log(bob: Any, sweep: Any) -> None:
    sweep.end((0, 0, 0), "killed", log="/gone", tail="kept\n")
    printed = bob("logs", "one", "retrieval", "seed 0", "--store", str(sweep.root))[1]
    assert "cannot be read" in printed
    assert "kept" in printed
    assert "nobody has begun it" in bob("logs", "two", "retrieval", "seed 0", "--store", str(sweep.root))[1]
    assert bob("logs", "two", "--store", str(sweep.root))[0] == 2
