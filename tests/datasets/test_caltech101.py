"""Caltech-101 as its archive unpacks, and the rule that divides it."""

import numpy as np
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.partition import partition

SIZES = {"accordion": 55, "Faces": 43, "Leopards": 31, "BACKGROUND_Google": 4}


@pytest.fixture(params=["caltech-101", "caltech101", "101_ObjectCategories"])
def images(request, tmp_path, make_tree):
    root = tmp_path / request.param
    root = root if root.name == "101_ObjectCategories" else root / "101_ObjectCategories"
    return make_tree(root, [f"{name}/image_{n:04}.jpg" for name, size in SIZES.items() for n in range(1, size + 1)])


def test_thirty_a_class_are_train_and_all_others_test(images, options):
    dataset = open_dataset("caltech-101", options)
    assert dataset.classes == ("Faces", "Leopards", "accordion")
    assert np.bincount(dataset.splits["train"].labels).tolist() == [30, 30, 30]
    assert np.bincount(dataset.splits["test"].labels).tolist() == [13, 1, 25]
    names = [name for split in dataset.splits.values() for name in split.images.names]
    assert sorted(names) == sorted(str(p.relative_to(images)) for p in images.rglob("*.jpg") if "BACK" not in str(p))
    for split in dataset.splits.values():
        for row, (name, label) in enumerate(zip(split.images.names, split.labels, strict=True)):
            assert name.startswith(f"{dataset.classes[label]}/")
            assert split.images.read(row) == (images / name).read_bytes()


def test_the_rule_draws_and_does_not_follow_the_order_of_names(images, options):
    names = [name for name in open_dataset("caltech-101", options).splits["train"].images.names if "accordion" in name]
    assert names != [f"accordion/image_{n:04}.jpg" for n in range(1, 31)]


def test_the_test_is_the_same_for_every_seed_and_machine(images, options):
    one, other = (partition(open_dataset("caltech-101", options), seed) for seed in (0, 1))
    assert list(one.test.names) == list(other.test.names)
    assert one.val.names != other.val.names
    (leopard,) = [name for name in one.test.names if name.startswith("Leopards")]
    assert leopard == "Leopards/image_0026.jpg"  # the last of the 31 in `printf NAME | sha256sum`, sorted


def test_a_folder_without_the_images_names_what_is_missing(tmp_path, options):
    (tmp_path / "caltech-101").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"has no folder 101_ObjectCategories; get it from https://data\.caltech"
    ):
        open_dataset("caltech-101", options)
