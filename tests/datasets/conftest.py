"""Small folders of real PNG files to open."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from tasks.datasets.base import OpenOptions


def png(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_tree(root: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(seed))
    return root


def write_zip(path: Path, names: list[str], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, png(seed))
    return path


@pytest.fixture
def make_tree():
    return write_tree


@pytest.fixture
def make_zip():
    return write_zip


@pytest.fixture
def make_png():
    return png


@pytest.fixture
def options(tmp_path):
    return OpenOptions(Places((tmp_path,)), tmp_path / "cache")


@pytest.fixture(scope="session")
def real_options(tmp_path_factory):
    if "BOB_DATA" not in os.environ:
        pytest.skip("BOB_DATA does not say where the real data is")
    return OpenOptions(Places((Path(os.environ["BOB_DATA"]),)), tmp_path_factory.mktemp("cache"))
