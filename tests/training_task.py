"""A task that really trains, a line through points; while there is a file ``slow`` where it runs, slowly.

For tests of what surrounds a training: installed into a folder, ``bob`` processes that run there find it by its name.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import nn

from backbones.base import Backbone
from backbones.training.curves import draw_curves
from backbones.training.execution import LOGS
from backbones.training.logs import Logs
from backbones.training.loop import fit
from backbones.training.recipe import Recipe
from backbones.training.trainee import Trainee
from tasks.base import Data, Note, Score, Task, Tools

NAME = "fake.training"
STEPS = 24


class Points:
    names: Sequence[str] = [str(row) for row in range(32)]

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int, epoch: int) -> float:
        time.sleep(0.02 * Path("slow").exists())
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
        recipe = Recipe(
            epochs=3,
            global_batch=4,
            optimiser="sgd",
            learning_rate=self.learning_rate,
            warmup_epochs=0,
            average_decay=0.9,
        )
        execution = replace(tools.execution, workers=0)
        assert execution.folder is not None
        with Logs(execution.folder / LOGS) as logs:
            fitted = fit(Line(), Points(), recipe, execution, seed, evaluate=judged, log=logs)
        draw_curves(execution.folder / LOGS)
        yield Score("fit", judged(fitted.model)["val fit"])
        yield Note("weights", [parameter.flatten().tolist() for parameter in fitted.model.parameters()])
        yield Note("resumed", fitted.notes.get("resumed", []))


def judged(model: Trainee) -> dict[str, float]:
    with torch.no_grad():
        return {"val fit": 1 / (1 + float(model(torch.linspace(0, 1, 9)[:, None])))}


def install(folder: Path) -> None:
    """Make it a package of that folder."""
    shutil.copy(__file__, folder / "training_task.py")
    facts = folder / "fake_training-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-training\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[bob.tasks]\n{NAME} = training_task:FakeTraining\n")
