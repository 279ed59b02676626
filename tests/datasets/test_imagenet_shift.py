"""ImageNet's shifted test sets as their archives unpack, a few images of the official classes."""

import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.imagenet import wordnet_ids

NUMBERS = (0, 1, 2, 10, 100, 999)
FOLDER = "imagenetv2-matched-frequency-format-val"


def labels_of(dataset):
    (split,) = dataset.splits
    images = dataset.splits[split]
    return {
        name.rpartition("/")[2]: dataset.classes[label]
        for name, label in zip(images.images.names, images.labels, strict=True)
    }


def test_v2s_folders_are_numbers_of_classes_not_texts(tmp_path, options, make_tree):
    """Sorted as text 10 comes before 2, and class 2 would be taken for class 10."""
    make_tree(tmp_path / FOLDER, [f"{number}/image-{number}.jpeg" for number in NUMBERS])
    dataset = open_dataset("imagenet-v2", options)
    assert list(dataset.splits) == ["test"], "nothing is ever learnt from it"
    assert labels_of(dataset) == {f"image-{number}.jpeg": wordnet_ids()[number] for number in NUMBERS}
    assert dataset.classes == tuple(wordnet_ids()[number] for number in NUMBERS)
    assert wordnet_ids()[0] == "n01440764"
    assert wordnet_ids()[10] == "n01530575"
    assert "test has 6 images, officially 10,000" in dataset.warnings


@pytest.mark.parametrize(("part", "folder"), [("threshold-0.7", "threshold0.7"), ("top-images", "top-images")])
def test_the_other_selections_of_v2(part, folder, tmp_path, options, make_tree):
    make_tree(tmp_path / f"imagenetv2-{folder}-format-val", ["2/a.jpeg", "10/b.jpeg"])
    dataset = open_dataset(f"imagenet-v2#{part}", options)
    assert labels_of(dataset) == {"a.jpeg": wordnet_ids()[2], "b.jpeg": wordnet_ids()[10]}


@pytest.mark.parametrize(
    ("name", "folder"), [("imagenet-a", "imagenet-a"), ("imagenet-r", "imagenet-r"), ("imagenet-sketch", "sketch")]
)
def test_wordnet_ids_are_classes_and_only_those_that_are_there(name, folder, tmp_path, options, make_tree):
    ids = [wordnet_ids()[number] for number in (999, 6, 10)]
    make_tree(tmp_path / folder, [f"{wordnet_id}/x_{wordnet_id}.jpg" for wordnet_id in ids])
    (tmp_path / folder / "README.txt").write_text("n01498041 stingray")
    dataset = open_dataset(name, options)
    assert list(dataset.splits) == ["test"]
    assert dataset.classes == tuple(wordnet_ids()[number] for number in (6, 10, 999)), "the official order"
    assert labels_of(dataset) == {f"x_{wordnet_id}.jpg": wordnet_id for wordnet_id in ids}


def test_numbers_and_ids_zip_and_folder_are_one_set(tmp_path, options, make_tree, make_zip):
    make_tree(tmp_path / "numbers" / "wrapper", ["2/a.jpg", "10/b.jpg"])
    make_zip(tmp_path / "ids.zip", [f"{wordnet_ids()[2]}/a.jpg", f"{wordnet_ids()[10]}/b.jpg"])
    found = [open_dataset(f"imagenet_shift:{path}", options) for path in ("numbers", "ids.zip")]
    assert found[0].manifest_sha256 == found[1].manifest_sha256


@pytest.mark.parametrize("folder", ["1000", "n00000000", "cat"])
def test_a_folder_that_is_no_class_is_named(folder, tmp_path, options, make_tree):
    make_tree(tmp_path / "set", ["2/a.jpg", "10/b.jpg", f"{folder}/c.jpg"])
    with pytest.raises(ValueError, match=rf"of 3 class folders are neither WordNet ids .*{folder}"):
        open_dataset("imagenet_shift:set", options)
