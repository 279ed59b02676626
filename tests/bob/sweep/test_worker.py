"""Workers rebuild from the roll the cells that were launched: what changed meanwhile is told, not run."""

import os
from pathlib import Path

import pytest

from backbones.places import Places
from bob.options import Asked, RunOptions, Storage, TrainingOptions
from bob.plan import Cell, read_plan, resolve
from bob.roster import Roster
from bob.sweep.asked import packed, unpacked
from bob.sweep.launching import roll_of
from bob.sweep.roll import Roll, read_roll
from bob.sweep.worker import ChangedError, rebuilt
from tasks.datasets.base import OpenOptions


def opening(folder: Path) -> OpenOptions:
    return OpenOptions(Places((folder,)), folder / "cache")


def launched(plan: Path) -> tuple[Roll, list[Cell]]:
    """The roll of a plan, written and read back, and its cells."""
    roster = Roster(Places((plan.parent,)))
    cells = resolve(read_plan(Asked(plan=plan), []), roster, opening(plan.parent), "float32", [])
    roll_of("sweep", str(plan), {}, cells).write(plan.parent / "sweep")
    return read_roll(plan.parent / "sweep"), cells


def test_every_cell_is_what_was_launched(tiny_plan: Path) -> None:
    roll, cells = launched(tiny_plan)
    assert [each.key for each in roll.cells] == [cell.key for cell in cells]
    wanted = [roll.cells[number] for number in (8, 1, 3)]
    found = list(rebuilt(roll, wanted, Roster(Places((tiny_plan.parent,))), opening(tiny_plan.parent), "float32"))
    assert [listed for listed, _ in found] == wanted
    for listed, cell in found:
        assert isinstance(cell, Cell)
        assert cell.key == listed.key
        assert cell.backbone.startswith(roll.backbones[listed.backbone][:6])
        assert cell.address.setting() == roll.questions[listed.question].setting


def test_a_backbone_that_changed_is_told_and_the_others_are_run(tiny_plan: Path) -> None:
    roll, _ = launched(tiny_plan)
    own = tiny_plan.parent / "mine.py"
    own.write_text(own.read_text().replace("_build(2)", "_build(3)"))
    roster = Roster(Places((tiny_plan.parent,)))
    for listed, cell in rebuilt(roll, roll.cells, roster, opening(tiny_plan.parent), "float32"):
        if roll.backbones[listed.backbone] == "pixels":
            assert isinstance(cell, Cell)
        else:  # the file is the identity of both
            assert isinstance(cell, ChangedError)
            assert "is not what was launched" in str(cell)


def test_a_backbone_that_is_gone_takes_no_other_with_it(tiny_plan: Path) -> None:
    roll, _ = launched(tiny_plan)
    (tiny_plan.parent / "mine.py").unlink()
    roster = Roster(Places((tiny_plan.parent,)))
    found = list(rebuilt(roll, roll.cells, roster, opening(tiny_plan.parent), "float32"))
    assert sum(isinstance(cell, Cell) for _, cell in found) == 3
    assert all("mine.py" in str(cell) for _, cell in found if isinstance(cell, ChangedError))


def test_options_come_back_as_they_were_in_the_folder_they_were_typed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = RunOptions(store=Path("here/store"), device="cpu", workers=3, storage=Storage.FLOAT16)
    training = TrainingOptions(devices=2, checkpoint_minutes=1.5)
    carried = packed(options, training)
    monkeypatch.chdir("/")
    assert unpacked(carried) == (options, training)
    assert os.getcwd() == str(tmp_path)
