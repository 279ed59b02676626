"""Tiny models in folders, as many tests of ``huggingface:`` share them: saved and loaded once."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.base import Backbone
from backbones.catalogue import load
from backbones.places import Places
from backbones.reference import REFERENCES


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small wait for threads a hundred times longer than they compute (measured on a shared machine)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    from tests.backbones.tiny_transformers import save

    root, made = tmp_path_factory.mktemp("huggingface"), {}
    return lambda name: made[name] if name in made else made.setdefault(name, save(root / name, name))


@pytest.fixture(scope="session")
def loaded(folders: Callable[[str], Path]) -> Callable[[str], Backbone]:
    kept: dict[str, Backbone] = {}
    return lambda name: copy.deepcopy(kept.get(name) or kept.setdefault(name, load(f"huggingface:{folders(name)}")))


@pytest.fixture(scope="session")
def upstream(folders: Callable[[str], Path]) -> Callable[[str], Any]:
    kept: dict[str, Any] = {}
    make = REFERENCES.load("huggingface")
    return lambda name: kept.get(name) or kept.setdefault(name, make(str(folders(name)), Places()))
