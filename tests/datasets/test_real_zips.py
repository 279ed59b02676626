"""The real zips of BOB_DATA: counts as their README says, and the same identity when they are unpacked."""

import zipfile
from dataclasses import replace

import pytest

from backbones.places import Places
from tasks.catalogue import open_dataset

EXPECTED = {
    "images:cifar10_subset.zip": (10, {"train": 5000, "test": 2000}),
    "images:tiny_imagenet_subset.zip": (200, {"train": 5000, "val": 1000}),
    "images:pacs_subset.zip#photo": (7, {"all": 175}),
    "images:imagenet_mini.zip?label=file-prefix": (100, {"all": 100}),
    "images:cifar10_shift_tinyimagenet.zip": (6, {"all": 600}),
    "retrieval:grocery_retrieval.zip": (81, {"query": 486, "gallery": 81}),
    "class_retrieval:pacs_subset.zip#photo?most=20": (7, {"query": 28, "gallery": 112}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_counts_are_those_of_the_readme(name, real_options):
    dataset = open_dataset(name, real_options)
    assert (len(dataset.classes), {split: len(rows) for split, rows in dataset.splits.items()}) == EXPECTED[name]
    assert dataset.n_used == dataset.n_total
    assert dataset.name == name


def test_labels_are_the_folders_and_a_coarser_column_can_be_asked_for(real_options):
    photo = open_dataset("images:pacs_subset.zip#photo", real_options)
    split = photo.splits["all"]
    assert all(
        f"/{photo.classes[label]}/" in name for label, name in zip(split.labels, split.images.names, strict=True)
    )
    coarse = open_dataset("retrieval:grocery_retrieval.zip?class=coarse_id", real_options)
    assert coarse.classes == tuple(map(str, range(len(coarse.classes))))


def test_unpacked_zip_is_the_same_dataset(real_options, tmp_path):
    root = real_options.places.roots[0]
    for file, name in [("imagenet_mini", "images:{}?label=file-prefix"), ("grocery_retrieval", "retrieval:{}")]:
        with zipfile.ZipFile(root / f"{file}.zip") as archive:
            archive.extractall(tmp_path / file)
        zipped = open_dataset(name.format(f"{file}.zip"), real_options)
        unpacked = open_dataset(name.format(file), replace(real_options, places=Places((tmp_path,))))
        assert unpacked.manifest_sha256 == zipped.manifest_sha256
        for split in zipped.splits:
            assert unpacked.splits[split].images.identity == zipped.splits[split].images.identity
