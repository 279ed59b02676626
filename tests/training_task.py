"""Tasks that really train, a line through points; slowly while there is a file ``slow`` where they run.

While there is a file ``hold`` no training goes on after two steps.

For tests of what surrounds a training: installed into a folder, ``bob`` processes that run there find it by its name.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from backbones.base import Backbone
from backbones.training.curves import draw_curves
from backbones.training.execution import LOGS, Execution
from backbones.training.logs import Logs
from backbones.training.loop import fit
from backbones.training.outcomes import Fitted
from backbones.training.recipe import Recipe
from backbones.training.trainee import Trainee
from tasks.base import Data, Note, Score, Task, Tools
from tasks.logged_fit import below
from tasks.race import Choice
from tasks.search import Search, find
from tasks.training_notes import search_notes

NAME = "fake.training"
STEPS = 24


class Points:
    names: Sequence[str] = [str(row) for row in range(32)]

    def __init__(self) -> None:
        self.loaded = 0

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int, epoch: int) -> float:
        time.sleep(0.02 * Path("slow").exists())
        while self.loaded == 8 and Path("hold").exists():
            time.sleep(0.01)
        self.loaded += 1
        return index / 32 + epoch / 100

    def batch(self, items: Sequence[float], step: int, device: torch.device) -> Any:
        return torch.tensor(items, device=device)[:, None]


class Line(Trainee):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, batch: Any) -> torch.Tensor:
        return ((self.line(batch) - torch.cos(3 * batch)) ** 2).mean()

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return [("line", list(self.line.parameters()))]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FakeTraining(Task):
    name: ClassVar[str] = NAME
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "fit"
    learning_rate: float = 0.1

    def uses_seed(self, data: Data) -> bool:
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Note]:
        fitted = self.fitted(tools.execution, self.learning_rate, 3, seed)
        yield Score("fit", judged(fitted.model)["val fit"])
        yield Note("weights", [parameter.flatten().tolist() for parameter in fitted.model.parameters()])
        yield Note("resumed", fitted.notes.get("resumed", []))

    def fitted(self, execution: Execution, learning_rate: float, epochs: int, seed: int) -> Fitted:
        recipe = Recipe(
            epochs=epochs,
            global_batch=4,
            optimiser="sgd",
            learning_rate=learning_rate,
            warmup_epochs=0,
            average_decay=0.9,
        )
        execution = replace(execution, workers=0)
        assert execution.folder is not None
        with Logs(execution.folder / LOGS) as logs:
            fitted = fit(Line(), Points(), recipe, execution, seed, evaluate=judged, log=logs)
        draw_curves(execution.folder / LOGS)
        return fitted


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FakeSearch(Search, FakeTraining):
    """Chooses its learning rate first. A line of ``trained.txt``: trial, process, the steps it was gone on with at."""

    name: ClassVar[str] = "fake.search"
    trials: int = 4
    space: Mapping[str, tuple[float, ...]] = Field(default_factory=lambda: {"learning_rate": (0.03, 0.3, 1e6)})

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Note]:
        def train(choice: Choice, epochs: int, name: str) -> float:
            rate = choice.get("learning_rate", self.learning_rate)
            fitted = self.fitted(below(tools.execution, name), rate, epochs, seed)
            with Path("trained.txt").open("a") as file:
                file.write(json.dumps([name, os.getpid(), fitted.notes.get("resumed", [])]) + "\n")
            return judged(fitted.model)["val fit"]

        found = find(self, 4, seed, train, tools.race)
        rate = found.choice.get("learning_rate", self.learning_rate)
        fitted = self.fitted(below(tools.execution, "final"), rate, 3, seed)
        yield Score("fit", judged(fitted.model)["val fit"])
        yield Note("weights", [parameter.flatten().tolist() for parameter in fitted.model.parameters()])
        yield from search_notes(found)


def judged(model: Trainee) -> dict[str, float]:
    with torch.no_grad():
        return {"val fit": 1 / (1 + float(model(torch.linspace(0, 1, 9)[:, None])))}


def install(folder: Path) -> None:
    """Make it a package of that folder."""
    shutil.copy(__file__, folder / "training_task.py")
    facts = folder / "fake_training-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-training\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        f"[bob.tasks]\n{NAME} = training_task:FakeTraining\nfake.search = training_task:FakeSearch\n"
    )
