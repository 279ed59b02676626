"""One measurement of ``test_planning.py``, in a process of its own: ``python -m tests.benchmarks.planning STORE``.

100,000 cells: 250 backbones, 20 datasets of 2,000 images without a val split, 4 settings of linear with 5 seeds.
"""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from torch import Tensor, nn

from backbones.base import Backbone, Card, Preprocess
from bob.plan import Cell, Plan, resolve
from bob.states import states
from results.store import Store
from tasks.datasets.base import Dataset, OpenOptions, Split
from tests.conftest import make_record

PREPROCESS = Preprocess((224, 224), 256, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LABELS = np.arange(1000, dtype=np.int64) % 10


class Nobody(Backbone):
    """Weights that differ by name alone."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.card = Card(name, "supervised", "none", 1, "none", "none", "tests", "0", "none", digest(name))
        self.preprocess = PREPROCESS

    def embed(self, images: Tensor) -> Tensor:
        raise AssertionError("planning runs no backbone")

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        raise AssertionError("planning runs no backbone")

    def layers(self) -> list[tuple[str, list[nn.Parameter]]]:
        return []


class Backbones:
    """A roster of them."""

    def get(self, name: str) -> Backbone:
        return Nobody(name)


class Images:
    """Names without pixels."""

    identity = "benchmark"
    names = tuple(f"{row:04}.jpg" for row in range(len(LABELS)))

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        raise AssertionError("planning reads no image")


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def dataset(name: str, options: OpenOptions) -> Dataset:
    split = Split(Images(), LABELS, tuple(map(digest, Images.names)))
    splits = {"train": split, "test": split}
    return Dataset(name, tuple("0123456789"), splits, digest(name), "none", "tests", 2000, 2000)


def planned() -> list[Cell]:
    """Every cell of the plan."""
    sets = [f"images:set_{number}" for number in range(20)]
    asked = [{"task": "classification.linear", "strengths": each} for each in (5, 10, 20, 40)]
    plan = Plan(
        backbones=[f"timm:backbone_{number:03}" for number in range(250)],
        tasks=[{**each, "dataset": sets} for each in asked],
        seeds=[0, 1, 2, 3, 4],
    )
    with patch("bob.plan.open_dataset", dataset):
        return resolve(plan, Backbones(), OpenOptions(), "float32", [])  # type: ignore[arg-type]


def answer(cells: list[Cell], store: Store) -> None:
    """60,000 done, 500 failed, 200 records of older versions."""
    for cell in cells[:60_000]:
        (store.root / "cells" / cell.key).mkdir(parents=True)
    for cell in cells[60_000:60_500]:
        store.fail(make_record(failed=True, key=cell.key, cell=cell.address))
    for cell in cells[-200:]:
        store.commit(make_record(cell=cell.address, key=digest(cell.key)))


def main() -> None:
    """Print what was measured."""
    started = time.perf_counter()
    cells = planned()
    resolve_s = time.perf_counter() - started
    store = Store(Path(sys.argv[1]))
    answer(cells, store)
    started = time.perf_counter()
    found = [state.value for _, state, _ in states(cells, store)]
    states_s = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = {state: found.count(state) for state in sorted(set(found))}
    print(json.dumps({"resolve_s": resolve_s, "states_s": states_s, "peak_mb": peak_mb, "counts": counts}))


if __name__ == "__main__":
    main()
