"""Case 16 of object sets: annotation id 0, unknown categories, gaps between numbers, an image without any object."""

from copy import deepcopy
from pathlib import Path

import pytest

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets.base import OpenOptions
from tests.object_sets import SOUND, annotation, table, write_set


@pytest.fixture
def options(tmp_path: Path) -> OpenOptions:
    return OpenOptions(Places((tmp_path,)), tmp_path / "cache")


def test_an_annotation_of_number_zero_is_like_any_other(tmp_path: Path, options: OpenOptions) -> None:
    """COCO's own evaluation takes a match with number 0 for none; so no number leaves the reader."""
    identities = set()
    for number in (0, 1, 2**40):
        given = table(annotation(number, 10, 3, [1, 2, 10, 10]))
        write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
        dataset = open_dataset("coco:set", options)
        assert dataset.splits["train"].objects is not None
        assert dataset.splits["train"].objects[0].boxes.tolist() == [[1, 2, 11, 12]]
        identities.add(dataset.manifest_sha256)
    assert len(identities) == 1


def test_image_and_category_of_number_zero_are_like_any_other(tmp_path: Path, options: OpenOptions) -> None:
    given = deepcopy(SOUND)
    given["images"][0]["id"] = given["categories"][2]["id"] = 0
    for each in given["annotations"]:
        each["image_id"] = {10: 0}.get(each["image_id"], each["image_id"])
        each["category_id"] = {90: 0}.get(each["category_id"], each["category_id"])
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    dataset = open_dataset("coco:set", options)
    assert dataset.classes == ("toothbrush", "cat", "dog")
    assert [own.labels.tolist() for own in dataset.splits["train"].objects or ()] == [[0, 2], [], [1, 2]]


@pytest.mark.parametrize("category", [0, 4, -1, 10**30, "3", None, 3.5])
def test_an_unknown_category_is_a_named_error(category: object, tmp_path: Path, options: OpenOptions) -> None:
    given = deepcopy(SOUND)
    given["annotations"][0]["category_id"] = category
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    for opening in (options, OpenOptions(options.places, options.cache, drop_bad_boxes=True)):
        with pytest.raises(ValueError, match=r"1 objects in train are of an unknown category.*annotation 0 of c\.png"):
            open_dataset("coco:set", opening)


def test_a_set_without_any_object_opens_as_negatives(tmp_path: Path, options: OpenOptions) -> None:
    write_set(tmp_path / "set", {"train.json": table()}, {"train": "train"})
    dataset = open_dataset("coco:set", options)
    assert [len(own) for own in dataset.splits["train"].objects or ()] == [0, 0, 0]
    assert dataset.warnings == ("3 of 3 classes have no object in train: cat, dog, toothbrush",)
