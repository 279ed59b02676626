"""Case 9: after a change of settings, weights or data nothing old is reused, and ``bob plan`` says what changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of noise of different brightness."""
    generator = np.random.default_rng(0)
    for name, level in [("dark", 60), ("light", 180)]:
        for index in range(12):
            path = tmp_path / "data" / name / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(level - 50, level + 50, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def test_every_change_is_noticed_and_named(bob: Any, tiny_backbones: list[str], folder: Path) -> None:
    ask = ["--backbones", tiny_backbones[0], "--tasks", "classification.knn", "--datasets", "images:data"]
    assert bob("run", *ask)[0] == 0
    assert "1 done" in bob("plan", *ask)[1]

    Image.new("RGB", (16, 16), "red").save(folder / "dark" / "03.png")
    assert "1 stale" in (log := bob("plan", *ask)[1])
    assert "images:data" in log
    assert "changed" in log
    assert "1 cells computed" in bob("run", *ask)[1]

    mine = bob.folder / "mine.py"
    mine.write_text(mine.read_text().replace("_build(1)", "_build(7)"))
    assert "weights" in bob("plan", *ask)[1]
    assert "1 cells computed" in bob("run", *ask)[1]

    mine.write_text(mine.read_text().replace("0.5, 0.5, 0.5), std", "0.4, 0.4, 0.4), std"))
    assert "1 stale" in bob("plan", *ask)[1]
    assert "1 cells computed" in bob("run", *ask)[1]
    assert "1 found done" in bob("run", *ask, "--workers", "1", "--storage", "float16")[1]
    assert "1 stale" in bob("plan", *ask, "--precision", "bfloat16")[1]
