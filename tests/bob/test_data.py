"""``bob data check``, ``list datasets`` and ``show`` of a set by name, as a person types them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bob import data
from bob.data import check
from bob.listing import COLUMNS, Filters, lines_of
from bob.show import describe
from tasks.datasets import named
from tasks.datasets.base import OpenOptions
from tasks.datasets.catalogue import NamedSet, named_sets
from tests.object_sets import annotation, table, write_set

Write = Callable[..., None]


def write(folder: Path, split: str, label: str, count: int, start: int = 0) -> None:
    for row in range(start, start + count):
        path = folder / split / label / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        seed = [row, *split.encode(), *label.encode()]
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(file, "PNG")
        path.write_bytes(file.getvalue())


def test_what_is_not_here_is_exit_code_2_with_where_to_get_it(bob: Any) -> None:
    for name, where in {
        "cifar-10": "https://www.cs.toronto.edu/~kriz/cifar.html",
        "imagenet-1k": "ILSVRC2012_img_train.tar",
        "inaturalist-2019": "train2019.json.tar.gz",
        "sun397": "Partitions.zip",
    }.items():
        code, text = bob("data", "check", name)
        assert code == 2, text
        assert f"error: {name} is not here" in text
        assert where in text
    assert ("--download" in bob("data", "check", "cifar-10")[1]) is True
    assert ("--download" in bob("data", "check", "sun397")[1]) is False


def test_other_counts_are_exit_code_1(bob: Any) -> None:
    for split in ("train", "test"):
        for label in ("airplane", "cat"):
            write(bob.folder / "cifar-10", split, label, 2)
    code, text = bob("data", "check", "cifar-10")
    assert code == 1, text
    assert "split train: 4 images" in text
    assert "differs: train has 4 images, officially 50,000" in text
    assert "differs: 2 classes have images, officially 10" in text
    assert "NOT as it should be: cifar-10" in text
    assert not list(bob.folder.glob("outputs/store/datasets/*"))


def test_unknown_names_are_mistakes(bob: Any) -> None:
    code, text = bob("data", "check", "cifar10")
    assert code == 2
    assert "did you mean 'cifar-10'" in text


def test_a_set_of_ones_own_is_held_against_its_first_check(bob: Any) -> None:
    write(bob.folder / "mine", "train", "cat", 3)
    write(bob.folder / "mine", "train", "dog", 3)
    code, text = bob("data", "check", "images:mine")
    assert code == 0, text
    assert "as it should be: images:mine" in text
    (kept,) = bob.folder.glob("outputs/store/datasets/*.json")
    assert json.loads(kept.read_text())["manifest_sha256"] in text
    write(bob.folder / "mine", "train", "cat", 1, start=99)
    code, text = bob("data", "check", "images:mine")
    assert code == 1, text
    assert "differs: manifest: it was" in text
    kept.unlink()
    assert bob("data", "check", "images:mine")[0] == 0


def test_everything_amiss_with_objects_is_told_before_training(bob: Any) -> None:
    given = table(annotation(0, 10, 3, [1, 1, 4, 4]), annotation(8, 11, 3, [1, 1, 0, 4]), annotation(9, 12, 5, [0] * 4))
    write_set(bob.folder / "mine", {"train.json": given}, {"train": "train"})
    code, text = bob("data", "check", "coco:mine")
    assert code == 1, text
    assert "have a box without width or height" in text
    assert "annotation 8 of b.png" in text
    assert "unknown category" in text
    given["annotations"].pop()
    write_set(bob.folder / "mine", {"train.json": given}, {})
    code, text = bob("data", "check", "coco:mine", "--drop-bad-boxes")
    assert code == 0, text
    assert "split train: 3 images, 1 objects" in text
    assert "warning: 1 of 2 objects in train have a box without width or height; dropped" in text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[list[str], bool]]:
    """Checks a set that officially has two classes of two and one images; its manifest may be known."""
    write(tmp_path / "small", "train", "cat", 2)
    write(tmp_path / "small", "train", "dog", 2)
    write(tmp_path / "small", "test", "cat", 1)
    write(tmp_path / "small", "test", "dog", 1)

    def run(*manifests: str, skip_unreadable: bool = False) -> tuple[list[str], bool]:
        entry = NamedSet(
            "small", "Small", "CC0", "https://example.org", "official", 2, {"train": 4, "test": 2},
            layouts=("images:{folder}",), folders=("small",), manifests=manifests,
        )  # fmt: skip
        for module in (named, data):
            monkeypatch.setattr(module, "named_sets", lambda: {"small": entry})
        monkeypatch.setattr("tasks.catalogue.named_sets", lambda: {"small": entry})
        from backbones.places import Places

        opening = OpenOptions(Places((tmp_path,)), tmp_path / "cache", skip_unreadable=skip_unreadable)
        return check("small", opening, tmp_path / "store")

    return run


def test_a_sound_set_is_kept_and_a_known_manifest_is_held_against(small: Any) -> None:
    lines, sound = small()
    assert sound
    assert lines[-1] == "as it should be: small"
    (manifest,) = [line.removeprefix("manifest: ") for line in lines if line.startswith("manifest: ")]
    assert small("0" * 64, manifest)[1]
    lines, sound = small("0" * 64)
    assert not sound
    assert f"differs: manifest: none of those known for small: {'0' * 64}" in lines


def test_damaged_and_swapped_images_and_leaks_are_told(small: Any, tmp_path: Path) -> None:
    assert small()[1]
    image = tmp_path / "small" / "test" / "dog" / "0.png"
    good = image.read_bytes()
    image.write_bytes((tmp_path / "small" / "train" / "dog" / "1.png").read_bytes())
    lines, sound = small()
    assert not sound
    assert any(line.startswith("differs: manifest: it was") for line in lines)
    assert any(line.startswith("warning: leak: 1 of 2 images of test are also in train") for line in lines)
    image.write_bytes(good[:40])
    lines, sound = small()
    assert not sound
    assert "test/dog/0.png" in lines[0]
    lines, sound = small(skip_unreadable=True)
    assert not sound
    assert "differs: 1 of 6 images could not be read" in lines


def test_the_list_has_licences_and_sizes() -> None:
    lines = lines_of("datasets", "*", Filters())
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].split() == ["DATASET", "IMAGES", "CLASSES", "LICENCE"]
    assert [line.split()[0] for line in lines[1 : 1 + len(named_sets())]] == list(named_sets())
    (_, line) = lines_of("datasets", "flowers", Filters())
    assert line.split(maxsplit=3) == ["flowers-102", "8,189", "102", "not stated"]
    assert lines_of("datasets", "digits", Filters())[0].startswith("digits")


@pytest.mark.parametrize("name", ["cifar-10", "imagenet-1k#1%", "caltech-101"])
def test_show_opens_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bob.show.open_dataset", None)
    text, entry = describe(name, OpenOptions()), named_sets()[name]
    assert text.startswith(f"{name}: {entry.title}\n")
    assert all(each in text for each in (entry.licence, entry.where, entry.split, f"bob data check '{name}'"))
