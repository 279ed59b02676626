"""A cell's key is the hash of one JSON document, whatever way it is put together; it never changes by itself."""

import hashlib
import json
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from bob.plan import Cell, Question
from results.record import Identity
from tasks.base import Data, Task


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Ask(Task):
    name: ClassVar[str] = "ask"
    protocol_version: ClassVar[int] = 3
    headline: ClassVar[str] = "top1"
    k: int = 20
    rates: tuple[float, ...] = (0.1, float("inf"))
    space: dict[str, Any] | None = None

    def uses_seed(self, data: Data) -> bool:
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        return None

    def run(self, *_: Any) -> Any:
        raise AssertionError("only its key is asked for")


class Shown:
    """As much of a dataset as a key needs."""

    def __init__(self, name: str) -> None:
        self.name, self.manifest_sha256 = name, hashlib.sha256(name.encode()).hexdigest()


def slowly(cell: Cell) -> str:
    """The definition."""
    parts = {
        "backbone": cell.backbone,
        "weights": cell.identity.weights_sha256,
        "preprocess": cell.identity.preprocess,
        "task": cell.question.task.name,
        "protocol_version": cell.identity.protocol_version,
        "manifests": {role: [data.manifest_sha256 for data in sets] for role, sets in cell.question.data.items()},
        "settings": cell.question.settings,
        "precision": cell.identity.precision,
        "seed": cell.seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cell_of(name: str, task: Task, data: Any, seed: int, **identity: Any) -> Cell:
    facts = {"weights_sha256": "0" * 64, "manifests": {}, "protocol_version": 3, "precision": "float32", **identity}
    return Cell(name, name, Question(task, data, {}), seed, Identity(**facts), None)


SETS = {"train": [Shown("a"), Shown("b")], "dataset": [Shown("é")]}
SHOWN = {"size": (32, 32), "resize": 36, "crop": "center", "mean": (0.5, 0.25, 1 / 3), "std": (1.0, 1e-9, 0.1)}


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        (cell_of("pixels", Ask(), {}, 0), "8198a96628acd1f651239f7b8f7373b5"),
        (
            cell_of('a "quoted" \\ näme', Ask(k=3, space={"z": [1, None], "a": "ü"}), SETS, -1),
            "3f74710cb5edfeb6aadc1ca4c719db6d",
        ),
        (cell_of("timm:b", Ask(), SETS, 7, preprocess=SHOWN, precision="bfloat16"), "9275e9916dfa2b14e9ace0f6762108c1"),
    ],
)
def test_keys_are_frozen(cell: Cell, key: str) -> None:
    assert cell.key == slowly(cell) == key
