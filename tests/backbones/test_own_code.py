"""A file of the user's own: what it imports from beside it counts, and two folders are never confused."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from backbones.catalogue import load
from backbones.own_code import run
from backbones.places import Places

MINE = """
from torch import nn
from helper import FACTOR
class Scaled(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) * FACTOR
build = Scaled
"""


def write(folder: Path, factor: int, mine: str = MINE) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "mine.py").write_text(mine)
    (folder / "helper.py").write_text(f"FACTOR = {factor}\n")
    return folder


def answer(folder: Path) -> tuple[float, str]:
    """What the backbone of that folder says of white, and its identity."""
    backbone = load("file:mine.py:build", Places((folder,)))
    return float(backbone.embed(torch.ones(1, 3, 8, 8))[0, 0]), backbone.card.weights_sha256


def test_an_edited_helper_is_run_and_is_another_backbone(tmp_path: Path) -> None:
    """The edits keep the file's size and its time, which is all that Python's compiled files look at."""
    identities = set()
    for factor in (2, 3, 4):
        write(tmp_path, factor)
        os.utime(tmp_path / "helper.py", (1_700_000_000, 1_700_000_000))
        value, identity = answer(tmp_path)
        assert value == factor
        assert answer(tmp_path) == (value, identity)
        identities.add(identity)
    assert len(identities) == 3


def test_two_folders_with_files_of_the_same_names(tmp_path: Path) -> None:
    one, other = (load("file:mine.py:build", Places((write(tmp_path / str(n), n),))) for n in (2, 3))
    white = torch.ones(1, 3, 8, 8)
    assert [float(each.embed(white)[0, 0]) for each in (one, other)] == [2, 3]
    assert one.card.weights_sha256 != other.card.weights_sha256


def test_where_the_folder_lies_does_not_matter(tmp_path: Path) -> None:
    assert answer(write(tmp_path / "here", 2)) == answer(write(tmp_path / "there", 2))


def test_helpers_of_helpers_packages_and_other_folders_count(tmp_path: Path) -> None:
    start = (
        "import sys, os\n"
        "sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lib'))\n"
        "from torch import nn\n"
        "def build():\n"
        "    import parts.first\n"  # within the factory, and through a package without __init__.py
        "    return nn.Flatten()\n"
    )
    folder = write(tmp_path / "mine", 2, start)
    files = {"parts/first.py": "from parts import second", "parts/second.py": "import deep", "lib/deep.py": "DEPTH = 1"}
    places = {name: (tmp_path if name.startswith("lib") else folder) / name for name in files}
    for name, path in places.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[name] + "\n")

    def identity() -> str:
        return load("file:mine.py:build", Places((folder,))).card.weights_sha256

    seen = {identity()}
    for path in places.values():
        path.write_text(path.read_text() + "# changed\n")
        seen.add(identity())
    assert len(seen) == 4
    (folder / "helper.py").write_text("FACTOR = 'nobody imports this one'\n")
    assert identity() in seen


def test_installed_packages_and_the_order_of_loads_do_not_count(tmp_path: Path) -> None:
    """A library that is imported for the first time here, and one of ours, leave the identity as it is."""
    text = "from torch import nn\nimport colorsys, backbones.adapters.maps, timm.data.mixup\nbuild = nn.Flatten\n"
    (tmp_path / "mine.py").write_text(text)
    for name in ("colorsys", "timm.data.mixup"):
        sys.modules.pop(name, None)
    first, again = (load("file:mine.py:build", Places((tmp_path,))).card.weights_sha256 for _ in range(2))
    assert first == again
    assert "colorsys" in sys.modules


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, path = write(tmp_path, 2), list(sys.path)
    beside = ModuleType("helper")
    beside.__file__ = str(folder / "helper.py")
    monkeypatch.setitem(sys.modules, "helper", beside)  # imported by somebody else before
    with run(folder / "mine.py") as code:
        assert sys.modules["helper"] is not beside
    assert sys.modules["helper"] is beside
    assert sys.path == path
    assert code.module.FACTOR == 2
    (folder / "mine.py").write_text("import helper\nraise KeyError('mine')\n")
    with pytest.raises(KeyError) as caught, run(folder / "mine.py"):
        pass
    assert str(folder / "mine.py") in caught.value.__notes__[0]
    assert sys.modules["helper"] is beside
    assert sys.path == path


def test_dataclasses_with_annotations_as_text_work(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\n"
        "@dataclass\nclass Settings:\n    width: int = 3\nbuild = nn.Flatten\n"
    )
    (tmp_path / "mine.py").write_text(text)
    assert load("file:mine.py:build", Places((tmp_path,))).card.parameters == 0


def test_a_checkpoints_architecture_counts_its_helpers(tmp_path: Path) -> None:
    text = "from torch import nn\nfrom helper import FACTOR\ndef build():\n    return nn.Linear(3, 4)\n"
    write(tmp_path, 2, text)
    save_file({"weight": torch.zeros(4, 3), "bias": torch.zeros(4)}, tmp_path / "weights.safetensors")
    card = {
        "name": "mine",
        "weights": "weights.safetensors",
        "library": "file",
        "architecture": "mine.py:build",
        "preprocess": {
            "size": [8, 8],
            "resize": 8,
            "crop": "squash",
            "interpolation": "bilinear",
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "family": "supervised",
        "pretraining": {"method": "none", "data": "none"},
        "licence": "mit",
        "revision": "1",
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(card))
    before = load("checkpoint:mine.yaml", Places((tmp_path,))).card.weights_sha256
    assert load("checkpoint:mine.yaml", Places((tmp_path,))).card.weights_sha256 == before
    (tmp_path / "helper.py").write_text("FACTOR = 30\n")
    assert load("checkpoint:mine.yaml", Places((tmp_path,))).card.weights_sha256 != before
