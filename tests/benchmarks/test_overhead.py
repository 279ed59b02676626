"""What the harness itself costs: a cell that computes nothing, and the first line of help, against importing torch."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from backbones.features import Extractor, ExtractSettings
from backbones.places import Places
from bob.gauntlet import Gauntlet
from bob.plan import Cell, Question
from bob.roster import Roster
from results.record import Identity
from results.store import Store
from tasks.base import Data, Extract, Outputs, Score, Task

pytestmark = pytest.mark.slow
ITEMS = 1000


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Nothing(Task):
    """Answers at once, with as much to keep per item as a real question has."""

    name: ClassVar[str] = "nothing"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"

    def uses_seed(self, data: Data) -> bool:
        return True

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        return None

    def run(self, backbone: Backbone, data: Data, extract: Extract, seed: int) -> Iterator[Score | Outputs]:
        correct = np.random.default_rng(seed).random(ITEMS) < 0.7
        yield Score("top1", float(correct.mean()), correct.astype(float))
        yield Outputs({"item": np.array([f"image-{i}.jpg" for i in range(ITEMS)]), "confidence": correct * 0.5})


def test_a_cell_that_computes_nothing(tmp_path: Path) -> None:
    roster = Roster(Places((tmp_path,)))
    backbone = roster.get("pixels")
    gauntlet = Gauntlet(
        roster, Store(tmp_path / "store"), Extractor(ExtractSettings(tmp_path / "cache")), lambda _: None
    )
    identity = Identity(
        weights_sha256=backbone.card.weights_sha256, manifests={}, protocol_version=1, precision="float32"
    )
    cells = [Cell("pixels", "pixels", Question(Nothing(), {}, {}), seed, identity, None) for seed in range(120)]
    gauntlet.run(cells[:20])
    start = time.perf_counter()
    summary = gauntlet.run(cells[20:])
    overhead = (time.perf_counter() - start) / 100
    print(f"\nharness overhead: {1000 * overhead:.1f} ms a cell")
    assert summary.computed == 100
    assert not summary.failures
    assert overhead < 0.020


def test_first_line_of_help() -> None:
    def fastest(code: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
            times.append(time.perf_counter() - start)
        return min(times)

    torch = fastest("import torch")
    for arguments in (["--help"], ["list", "backbones"], ["list", "tasks"], ["list", "datasets"]):
        ours = fastest(f"import sys; sys.argv = ['bob', *{arguments!r}]; from bob.cli import main; main()")
        print(f"\nbob {' '.join(arguments)}: {ours:.2f} s; importing torch alone: {torch:.2f} s")
        assert ours < 0.2
