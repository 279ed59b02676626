"""How a training is run is asked on the command line, reaches the task, and is part of no question."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from backbones.training.execution import Execution
from bob.commands.opening import execution_of
from bob.gauntlet import Gauntlet
from bob.options import Precision, RunOptions, Strategy, TrainingOptions
from bob.plan import Cell, Question
from bob.progress import Progress
from bob.roster import Roster
from results.record import Identity
from results.store import Store
from tasks.base import Data, Score, Task, Tools
from tasks.catalogue import TASKS, task_class
from tests.training_task import FakeTraining

EXECUTION = {field.name for field in fields(Execution)}


@pytest.mark.parametrize("name", TASKS.found)
def test_no_task_has_a_setting_of_how_it_is_run(name: str) -> None:
    settings = {field.name for field in fields(task_class(name))}  # type: ignore[arg-type]
    assert not settings & EXECUTION


def test_every_option_reaches_theexecution_of() -> None:
    options = RunOptions(device="cpu", workers=3, precision=Precision.BFLOAT16)
    training = TrainingOptions(2, Strategy.FSDP, 8, True, True, 2.5)
    progress = Progress()
    made = execution_of(options, training, progress)
    assert made == Execution(
        device="cpu",
        devices=2,
        strategy="fsdp",
        precision="bfloat16",
        workers=3,
        device_batch=8,
        compile=True,
        gradient_checkpointing=True,
        checkpoint_minutes=2.5,
        report=progress.advance,
    )
    assert {field.name for field in fields(TrainingOptions)} <= EXECUTION
    assert execution_of(RunOptions(), TrainingOptions(), progress).device_batch == Execution().device_batch


@pytest.mark.parametrize("option", ["--devices=0", "--device-batch=0", "--checkpoint-minutes=-1", "--strategy=dp"])
def test_impossible_options_are_refused(bob: Any, option: str) -> None:
    code, log = bob("run", option)
    assert code == 2
    assert option.partition("=")[0] in log


class Seen(FakeTraining):
    """Keeps what it is handed."""

    tools: list[Tools] = []  # noqa: RUF012 - shared on purpose

    def run(self, backbone: Any, data: Data, tools: Tools, seed: int) -> Any:
        self.tools.append(tools)
        yield Score("fit", 0.5)


def test_the_key_does_not_know_how_it_is_run(tmp_path: Path) -> None:
    """A cell is a question: its key is there before anybody says how to run it, and is a folder's name in the end."""
    identity = Identity(weights_sha256="0", manifests={}, protocol_version=1, precision="float32", preprocess={})
    task: Task = Seen()
    cell = Cell("pixels", "pixels", Question(task, {}, {}), 0, identity, None)
    keys = []
    for number, execution in enumerate([Execution(), Execution(devices=4, device_batch=1, compile=True, workers=9)]):
        store = Store(tmp_path / f"store{number}")
        extractor = Extractor(ExtractSettings(tmp_path / "cache"))
        Gauntlet(Roster(Places((tmp_path,))), store, extractor, lambda _: None, execution).run([cell])
        keys += [record.key for record in store.records()]
        handed = Seen.tools[-1].execution
        assert handed.folder is not None
        assert handed.folder.name.startswith(cell.key)
        assert {**vars(handed), "folder": None} == vars(execution)
    assert keys == [cell.key, cell.key]
    assert not list(tmp_path.glob("store*/work/*")), "who trains nothing leaves no folder"
