"""The five import names are plain words; another package that ships one of them would overwrite ours silently."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["bob", "backbones", "tasks", "results", "slurm"])
def test_name_imports_from_this_tree(name: str) -> None:
    assert Path(import_module(name).__file__ or "").parent == ROOT / name
