"""LVIS: images named by their address, searched for some classes only, and classes by their frequency."""

from copy import deepcopy

import pytest

from tasks.catalogue import open_dataset
from tests.object_sets import SOUND, write_set


def searched(given):
    found = deepcopy(given)
    for image in found["images"]:
        name = image.pop("file_name")
        image |= {
            "coco_url": f"http://images.cocodataset.org/train2017/{name}",
            "neg_category_ids": [90, 3] if name == "b.png" else [],
            "not_exhaustive_category_ids": [7] if name == "a.png" else [],
        }
    for category, frequency in zip(found["categories"], "fcr", strict=True):
        category["frequency"] = frequency
    return found


LVIS = searched(SOUND)
TABLES = {"lvis_v1_train.json": LVIS, "lvis_v1_val.json": LVIS}


@pytest.mark.parametrize("beside", [True, False])
def test_what_was_searched_for_is_known(beside, tmp_path, options):
    write_set(tmp_path / "coco", {"annotations/instances_train2017.json": SOUND}, {"train": "train2017"})
    tables = {f"annotations/{name}": each for name, each in TABLES.items()} if beside else TABLES
    write_set(tmp_path / ("coco" if beside else "lvis"), tables, {})
    dataset = open_dataset("lvis:coco" if beside else "lvis:lvis?images=coco", options)
    assert dataset.classes == ("cat", "dog", "toothbrush")
    assert dataset.frequency == ("c", "f", "r")
    split = dataset.splits["val"]
    assert split.images.names == ("train2017/a.png", "train2017/b.png", "train2017/c.png")
    assert [own.absent for own in split.objects] == [(), (0, 2), ()]
    assert [own.incomplete for own in split.objects] == [(1,), (), ()]
    assert open_dataset("corrupted:lvis:coco?levels=1" if beside else "lvis-v1", options).frequency == dataset.frequency


def test_frequency_and_what_was_searched_for_are_part_of_the_identity(tmp_path, options):
    def identity(change):
        changed = deepcopy(LVIS)
        change(changed)
        write_set(tmp_path / "lvis", {"lvis_v1_train.json": changed}, {"train": "train2017"})
        return open_dataset("lvis:lvis", options).manifest_sha256

    found = {
        identity(lambda table: None),
        identity(lambda table: table["categories"][0].update(frequency="r")),
        identity(lambda table: table["images"][0].update(neg_category_ids=[90])),
        identity(lambda table: table["images"][0].update(not_exhaustive_category_ids=[])),
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table["images"][1].pop("neg_category_ids"),
            r"1 images of train have no neg_category_ids.*b\.png",
        ),
        (
            lambda table: table["images"][1].update(neg_category_ids=[4]),
            r"unknown category.*b\.png \(neg_category_ids\)",
        ),
        (lambda table: table["categories"][1].update(frequency="x"), "frequency of r, c or f"),
        (lambda table: table["images"][1].update(coco_url="http://x/../a.png"), "outside the set's folder"),
    ],
)
def test_what_is_not_lvis_is_told(change, message, tmp_path, options):
    changed = deepcopy(LVIS)
    change(changed)
    write_set(tmp_path / "lvis", {"lvis_v1_train.json": changed}, {"train": "train2017"})
    with pytest.raises(ValueError, match=message):
        open_dataset("lvis:lvis", options)
