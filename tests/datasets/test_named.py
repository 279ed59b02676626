"""The catalogue of datasets, and what a name means when there is something, nothing or something else on disk."""

import re
from dataclasses import replace

import pytest

from tasks import catalogue as tasks_catalogue
from tasks.catalogue import DATASETS, known_dataset, open_dataset
from tasks.datasets import named
from tasks.datasets.catalogue import CORRUPTED_BY, NamedSet, named_sets
from tasks.datasets.corruption_splits import corruption_and_level
from tasks.datasets.corruptions.catalogue import CORRUPTIONS, LEVELS
from tasks.datasets.partition import partition

ASKED = [
    *("imagenet-1k", "imagenet-1k#1%", "imagenet-1k#10%", "cifar-10", "cifar-100", "flowers-102", "fgvc-aircraft"),
    *("stanford-cars", "food-101", "oxford-pets", "dtd", "caltech-101", "sun397", "eurosat"),
    *("inaturalist-2019", "inaturalist-2021"),
]


@pytest.mark.parametrize("name", sorted({*ASKED, *named_sets()}))
def test_entries_are_complete_and_lead_somewhere(name):
    entry = named_sets()[name]
    assert entry.licence
    assert "https://" in entry.where or "somebody kept" in entry.where
    known = {"train", "val", "test", "query", "gallery", "all"}
    assert all(split in known or corruption_and_level(split) for split in entry.images)
    assert all(known_dataset(layout)[0] in DATASETS.found for layout in entry.layouts)
    assert bool(entry.folders) == any("{folder}" in layout for layout in entry.layouts)
    assert all(re.fullmatch("[0-9a-f]{64}", manifest) for manifest in entry.manifests)
    assert name.partition("#")[0] not in DATASETS.found, "a reader would hide it"


def test_a_set_with_a_val_of_its_own_says_so():
    for entry in named_sets().values():
        assert ("official train, val and test" in entry.split) == (set(entry.images) == {"train", "val", "test"})


def test_a_field_that_is_none_is_named(monkeypatch, tmp_path):
    path = tmp_path / "catalogue.yaml"
    path.write_text("mine: {title: t, licence: l, where: w, split: s, classes: 2, images: {}, layout: []}")
    monkeypatch.setattr("tasks.datasets.catalogue.__file__", str(path))
    with pytest.raises(ValueError, match=r"catalogue\.yaml: entry 'mine': .*layout"):
        named_sets.__wrapped__()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10", "did you mean 'cifar-10'"),
        ("imagenet-1k#2%", "did you mean 'imagenet-1k#1%'"),
        ("named:cifar", "did you mean 'cifar-10'"),
        ("digit", "did you mean 'digits'"),
    ],
)
def test_unknown_names(name, message, options):
    with pytest.raises(ValueError, match=message):
        open_dataset(name, options)


@pytest.fixture
def vehicles(monkeypatch):
    """A catalogue of one set, so that a few images are all there officially are."""
    entry = NamedSet(
        name="vehicles",
        title="Vehicles",
        licence="CC0",
        where="https://example.org, unpacked to vehicles/",
        split="official train and test",
        classes=2,
        images={"train": 2, "test": 2},
        folders=("vehicles", "Vehicles"),
        layouts=("images:{folder}", "images:vehicles.zip"),
    )
    for module in (named, tasks_catalogue):
        monkeypatch.setattr(module, "named_sets", lambda: {"vehicles": entry})
    return entry


WHOLE = ["train/car/a.png", "train/bus/b.png", "test/car/c.png", "test/bus/d.png"]


def test_whatever_layout_is_there_is_the_same_set(tmp_path, options, make_tree, make_zip, vehicles):
    make_zip(tmp_path / "vehicles.zip", WHOLE)
    zipped = open_dataset("vehicles", options)
    make_tree(tmp_path / "Vehicles", WHOLE)
    folder = open_dataset("vehicles", options)
    assert zipped.manifest_sha256 == folder.manifest_sha256
    assert (zipped.source, folder.source) == ("vehicles.zip", "Vehicles")
    assert (folder.name, folder.licence, folder.warnings) == ("vehicles", "CC0", ())


def test_other_counts_are_told_in_every_record(tmp_path, options, make_tree, vehicles):
    make_tree(tmp_path / "vehicles", [*WHOLE[:3], "train/tram/e.png"])
    lines = open_dataset("vehicles", options).warnings
    assert lines[:3] == (
        "train has 3 images, officially 2",
        "test has 1 images, officially 2",
        "3 classes have images, officially 2",
    )


def test_what_is_not_here_is_told_with_where_it_was_looked_for_and_where_to_get_it(tmp_path, options, vehicles):
    with pytest.raises(FileNotFoundError) as caught:
        open_dataset("vehicles", options)
    said = str(caught.value)
    assert f"folders looked for in {tmp_path}: vehicles, Vehicles" in said
    assert "no folder or zip of images 'vehicles.zip'" in said
    assert said.endswith("get it: https://example.org, unpacked to vehicles/")


def test_something_else_in_its_place_is_no_reason_to_look_on(tmp_path, options, make_zip, vehicles):
    (tmp_path / "vehicles").mkdir()
    (tmp_path / "vehicles" / "readme.txt").write_text("not unpacked yet")
    make_zip(tmp_path / "vehicles.zip", WHOLE)
    with pytest.raises(ValueError, match=r"vehicles is damaged or something else: .*no images among 1 files"):
        open_dataset("vehicles", replace(options, download=False))


@pytest.mark.parametrize("name", ["cifar-10", "eurosat"])
def test_class_folders_do_where_torchvisions_files_are_not(name, tmp_path, options, make_tree):
    folder = tmp_path / named_sets()[name].folders[0]
    splits = ["train/", "test/"] if name == "cifar-10" else [""]
    make_tree(folder, [f"{split}{label}/{row}.png" for split in splits for label in ("a", "b") for row in range(3)])
    dataset = open_dataset(name, options)
    assert {split: len(images) for split, images in dataset.splits.items()} == (
        {"train": 6, "test": 6} if name == "cifar-10" else {"all": 6}
    )


def test_eurosat_is_divided_as_its_entry_says(tmp_path, options, make_tree):
    make_tree(
        tmp_path / "eurosat" / "2750", [f"{label}/{row}.png" for label in ("Forest", "River") for row in range(10)]
    )
    dataset = open_dataset("eurosat", options)
    first, second = (partition(dataset, seed) for seed in (0, 1))
    assert len(first.test) == 4
    assert first.test.rows.tolist() == second.test.rows.tolist()
    assert first.val.rows.tolist() != second.val.rows.tolist()


def test_a_full_disk_is_not_taken_for_a_missing_set(tmp_path, options, make_tree, monkeypatch, vehicles):
    def full(*arguments):
        raise OSError(28, "cannot write the dataset cache: No space left on device")

    make_tree(tmp_path / "vehicles", WHOLE)
    monkeypatch.setattr("tasks.datasets.readable.save_table", full)
    with pytest.raises(OSError, match="No space left") as caught:
        open_dataset("vehicles", options)
    assert "not here" not in str(caught.value)


def test_sets_of_corruptions_have_a_split_for_each_of_those_made_here() -> None:
    assert tuple(CORRUPTIONS) == CORRUPTED_BY
    assert named_sets()["imagenet-c"].images == {f"{name}/{level}": 50_000 for name in CORRUPTIONS for level in LEVELS}
