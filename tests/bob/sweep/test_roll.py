"""The roll: read back as it was written, whole or not at all, and sweeps are found by name."""

import json
import os
from pathlib import Path

import pytest

from bob.sweep.roll import ROLL, Listed, ListedQuestion, Roll, find_sweep, known_sweeps, read_roll, sweep_folder

QUESTIONS = (ListedQuestion("retrieval", "retrieval digits", {"task": "retrieval", "dataset": ["digits"], "k": 5}),)


def roll(name: str = "one", cells: int = 3) -> Roll:
    listed = tuple(Listed(f"{number:032x}", number % 2, 0, number) for number in range(cells))
    return Roll(name, "plan.yaml", "2026-01-01T00:00:00+00:00", "c0de", {"folder": "."}, ("a", "b"), QUESTIONS, listed)


def test_read_back_as_written(tmp_path: Path) -> None:
    roll().write(tmp_path)
    assert read_roll(tmp_path) == roll()
    roll(cells=5).write(tmp_path)
    assert len(read_roll(tmp_path).cells) == 5
    assert os.listdir(tmp_path) == [ROLL]
    keys = [f"{number:032x}" for number in (2, 0)]
    assert [cell.seed for cell in read_roll(tmp_path).chosen(keys)] == [2, 0]
    with pytest.raises(KeyError):
        list(read_roll(tmp_path).chosen(["f" * 32]))


def test_a_disk_that_is_full_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roll().write(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        roll(cells=9).write(tmp_path)
    assert read_roll(tmp_path) == roll()
    assert os.listdir(tmp_path) == [ROLL]


def test_another_releases_is_refused(tmp_path: Path) -> None:
    roll().write(tmp_path)
    body = json.loads((tmp_path / ROLL).read_text())
    (tmp_path / ROLL).write_text(json.dumps({**body, "form": 7}))
    with pytest.raises(ValueError, match="form 7, this release reads 1"):
        read_roll(tmp_path)


def test_sweeps_are_found_by_name_or_the_newest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sweep in"):
        find_sweep(tmp_path, None)
    for age, name in enumerate(["spring", "autumn"]):
        roll(name).write(sweep_folder(tmp_path, name))
        os.utime(sweep_folder(tmp_path, name) / ROLL, (age, age))
    assert known_sweeps(tmp_path) == ["autumn", "spring"]
    assert find_sweep(tmp_path, None) == tmp_path / "sweeps" / "autumn"
    assert find_sweep(tmp_path, "spring") == tmp_path / "sweeps" / "spring"
    with pytest.raises(ValueError, match="did you mean 'spring'"):
        find_sweep(tmp_path, "sprung")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 101, "a\nb"])
def test_what_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a sweep"):
        sweep_folder(tmp_path, name)
