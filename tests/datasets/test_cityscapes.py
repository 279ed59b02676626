"""Cityscapes as it unpacks, objects and pixels, against maps painted by hand from the same polygons."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.cityscapes_labels import EVALUATED, NUMBERS, WITH_INSTANCES
from tasks.datasets.label_maps import VOID
from tasks.datasets.outlines import box_of, mask_of
from tasks.datasets.partition import partition
from tests.pixel_fakes import class_map, encoded, picture, write

HEIGHT, WIDTH = 12, 16


def rectangle(label, left, top, right, bottom, **more):
    """A polygon through the centres of its corner pixels, all of them inside."""
    return {"label": label, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]], **more}


SCENE = [
    rectangle("road", 0, 0, 15, 11),
    rectangle("car", 1, 1, 6, 5),
    rectangle("cargroup", 8, 8, 12, 10),
    rectangle("license plate", 2, 2, 5, 4),
    rectangle("person", 2, 7, 3, 9),
    rectangle("car", 4, 3, 9, 6),
    rectangle("pole", 2, 6, 4, 10),
    rectangle("bus", 9, 0, 10, 1, deleted=1),
    rectangle("truck", 12, 2, 20, 3),
]


def painted():
    """(name, crowd, mask) of what is seen, pixel by pixel."""
    front = np.full((HEIGHT, WIDTH), -1)
    for place, each in enumerate(SCENE):
        if each["label"] == "license plate" or each.get("deleted"):
            continue
        (left, top), _, (right, bottom), _ = each["polygon"]
        for row in range(top, bottom + 1):
            for column in range(left, min(right, WIDTH - 1) + 1):
                front[row, column] = place
    found = []
    for place, each in enumerate(SCENE):
        name = each["label"].removesuffix("group")
        if name in WITH_INSTANCES and (front == place).any():
            found.append((name, each["label"].endswith("group"), (front == place).astype(np.uint8)))
    return found


def polygons(objects=SCENE, size=(HEIGHT, WIDTH)):
    return json.dumps({"imgHeight": size[0], "imgWidth": size[1], "objects": objects})


PLACES = ("train/aachen/aachen_000000_000019", "train/bremen/bremen_000001_000019", "val/ulm/ulm_000000_000019")


def kept():
    files = {}
    for seed, place in enumerate((*PLACES, "test/bonn/bonn_000000_000019")):
        files[f"leftImg8bit/{place}_leftImg8bit.png"] = picture(seed, HEIGHT, WIDTH)
        files[f"gtFine/{place}_gtFine_polygons.json"] = polygons()
        files[f"gtFine/{place}_gtFine_labelIds.png"] = encoded(class_map(seed, range(34), HEIGHT, WIDTH))
        files[f"gtFine/{place}_gtFine_color.png"] = picture(seed)
    return files


@pytest.mark.parametrize("again", [False, True], ids=["painted", "remembered"])
def test_objects_are_what_is_seen_of_them(again, tmp_path, options):
    write(tmp_path / "cityscapes", kept())
    dataset = open_dataset("cityscapes:cityscapes", options)
    if again:
        options = replace(options)
        first, dataset = dataset, open_dataset("cityscapes:cityscapes", options)
        assert first.manifest_sha256 == dataset.manifest_sha256
    assert (dataset.target, dataset.classes) == ("objects", WITH_INSTANCES)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 2, "test": 1}
    expected = painted()
    assert [name for name, _, _ in expected] == ["car", "car", "car", "truck"]
    for own in (*dataset.splits["train"].objects, *dataset.splits["test"].objects):
        assert [dataset.classes[label] for label in own.labels] == [name for name, _, _ in expected]
        assert own.crowd.tolist() == [crowd for _, crowd, _ in expected]
        for place, (_, _, mask) in enumerate(expected):
            np.testing.assert_array_equal(mask_of(own.outlines[place], own.size), mask)
            np.testing.assert_array_equal(own.boxes[place], box_of(mask))
            assert own.areas[place] == mask.sum()


def test_cars_alone_and_a_val_carved_from_train(tmp_path, options):
    write(tmp_path / "cityscapes", kept())
    dataset = open_dataset("cityscapes:cityscapes#car", options)
    assert dataset.classes == ("car",)
    assert [len(own) for own in dataset.splits["test"].objects] == [sum(name == "car" for name, _, _ in painted())]
    assert partition(dataset, seed=0).test.names == [f"leftImg8bit/{PLACES[2]}_leftImg8bit.png"]
    assert open_dataset("cityscapes:cityscapes#bus,car", options).classes == ("bus", "car")
    with pytest.raises(ValueError, match="did you mean 'car'"):
        open_dataset("cityscapes:cityscapes#cars", options)


def test_pixels_are_of_the_evaluated_classes_or_of_none(tmp_path, options):
    write(tmp_path / "cityscapes", kept())
    dataset = open_dataset("cityscapes_segmentation:cityscapes", options)
    assert (dataset.classes, [*dataset.splits]) == (EVALUATED, ["train", "test"])
    stored, read = class_map(2, range(34), HEIGHT, WIDTH), dataset.splits["test"].maps.read(0)
    names = {number: name for name, number in NUMBERS.items()}
    for value in range(34):
        name = names[value]
        expected = EVALUATED.index(name) if name in EVALUATED else VOID
        assert (read[stored == value] == expected).all(), name


def test_the_numbers_are_those_of_the_published_maps():
    assert (NUMBERS["road"], NUMBERS["person"], NUMBERS["car"], NUMBERS["bicycle"]) == (7, 24, 26, 33)
    assert {"ego vehicle": 1, "polegroup": 18, "caravan": 29, "trailer": 30}.items() <= NUMBERS.items()
    assert set(EVALUATED) <= set(NUMBERS)


def test_a_zip_is_the_same_dataset(tmp_path, options):
    write(tmp_path / "cityscapes", kept())
    with zipfile.ZipFile(tmp_path / "cityscapes.zip", "w") as archive:
        for name, content in kept().items():
            archive.writestr(name, content)
    for reader in ("cityscapes", "cityscapes_segmentation"):
        folder, zipped = (open_dataset(f"{reader}:{name}", options) for name in ("cityscapes", "cityscapes.zip"))
        assert folder.manifest_sha256 == zipped.manifest_sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"1 images have no polygons: gtFine/train/aachen"),
        ("{", r"1 files of polygons cannot be read: .*is no file of polygons \(JSONDecodeError"),
        ("[]", r"is no file of polygons \(TypeError"),
        (polygons([rectangle("kar", 1, 1, 2, 2)]), r"has an object of an unknown label, 'kar'"),
        (polygons([{"label": "car", "polygon": [[1, 2, 3]]}]), r"1 files of polygons cannot be read"),
        (polygons([], (10**6, 10**6)), r"says that its image is 1000000 x 1000000"),
        (polygons(SCENE, (WIDTH, HEIGHT)), r"1 of 2 images in train are not of their stated size"),
    ],
)
def test_polygons_that_are_none_are_named(content, message, tmp_path, options):
    files = kept() | {f"gtFine/{PLACES[0]}_gtFine_polygons.json": content}
    write(tmp_path / "cityscapes", {name: data for name, data in files.items() if data is not None})
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            open_dataset("cityscapes:cityscapes", options)


def test_maps_and_images_that_are_not_there_are_named(tmp_path, options):
    files = kept()
    del files[f"gtFine/{PLACES[1]}_gtFine_labelIds.png"]
    write(tmp_path / "cityscapes", files)
    with pytest.raises(ValueError, match=r"1 maps of classes are missing:\n  gtFine/train/bremen.*is not there"):
        open_dataset("cityscapes_segmentation:cityscapes", options)
    write(tmp_path / "empty", {"readme.txt": "no"})
    for reader in ("cityscapes", "cityscapes_segmentation"):
        with pytest.raises(ValueError, match="no images like leftImg8bit/train/CITY"):
            open_dataset(f"{reader}:empty", options)
