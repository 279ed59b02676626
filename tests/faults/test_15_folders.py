"""Case 15: empty class folders, classes of one split only, leaked files, and the order a disk lists files in."""

import os

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets.base import OpenOptions


@pytest.fixture
def options(tmp_path):
    return OpenOptions(Places((tmp_path,)), tmp_path / "cache")


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)


def test_empty_class_folder_and_class_only_in_val(tmp_path, options):
    write(tmp_path / "set/train/cat/a.png", 0)
    write(tmp_path / "set/val/cat/b.png", 1)
    write(tmp_path / "set/val/dog/c.png", 2)
    (tmp_path / "set/train/dog").mkdir()
    (tmp_path / "set/train/bird").mkdir()
    dataset = open_dataset("images:set", options)
    assert dataset.classes == ("cat", "dog")
    assert dataset.splits["val"].labels.tolist() == [0, 1]
    assert "1 empty class folders are no classes: bird" in dataset.warnings
    assert "1 of 2 classes have no image in train: dog" in dataset.warnings


def test_identical_files_in_train_and_test_are_reported(tmp_path, options):
    write(tmp_path / "set/train/cat/a.png", 0)
    write(tmp_path / "set/test/cat/copy.png", 0)
    write(tmp_path / "set/test/cat/new.png", 1)
    dataset = open_dataset("images:set", options)
    assert dataset.warnings == ("leak: 1 of 2 images of test are also in train: test/cat/copy.png",)


def test_class_names_that_differ_only_in_case_stay_apart(tmp_path, options):
    write(tmp_path / "set/Cat/a.png", 0)
    write(tmp_path / "set/cat/b.png", 1)
    dataset = open_dataset("images:set", options)
    assert dataset.classes == ("Cat", "cat")
    assert dataset.warnings == ("classes Cat and cat differ only in case; they are kept apart",)


def test_listing_order_changes_nothing(tmp_path, options, monkeypatch):
    for seed in range(12):
        write(tmp_path / f"set/{'abc'[seed % 3]}/{seed}.png", seed)
    before = open_dataset("images:set", options)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = list(scandir(path))[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    after = open_dataset("images:set", options)
    assert after.manifest_sha256 == before.manifest_sha256
    assert after.splits["all"].images.names == before.splits["all"].images.names


def test_no_images_is_an_error(tmp_path, options):
    (tmp_path / "set" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"'images:set': no images among 0 files"):
        open_dataset("images:set", options)
