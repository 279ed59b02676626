"""VOC's and ADE20K's maps as their archives unpack, against what was written."""

import numpy as np
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.label_maps import VOID
from tasks.datasets.partition import partition
from tests.pixel_fakes import class_map, encoded, picture, write

STEMS = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}


def voc():
    files = {"VOC2012/ImageSets/Main/train.txt": "nothing_of_it", "VOC2012/ImageSets/Segmentation/test.txt": "2008_1\n"}
    for name, stems in {**STEMS, "trainval": [*STEMS["train"], *STEMS["val"]]}.items():
        files[f"VOC2012/ImageSets/Segmentation/{name}.txt"] = "".join(f"{stem}\n" for stem in stems)
    for seed, stem in enumerate([*STEMS["train"], *STEMS["val"]]):
        files[f"VOC2012/JPEGImages/{stem}.jpg"] = picture(seed)
        values = class_map(seed, (0, 1, 15, 20, 255))
        files[f"VOC2012/SegmentationClass/{stem}.png"] = encoded(values, palette=True)
    return files


@pytest.mark.parametrize("reference", ["VOCdevkit#VOC2012", "VOCdevkit/VOC2012", "VOCdevkit"])
def test_vocs_palette_indices_are_its_classes(reference, tmp_path, options):
    write(tmp_path / "VOCdevkit", voc())
    dataset = open_dataset(f"voc_segmentation:{reference}", options)
    assert (dataset.target, len(dataset.classes), dataset.classes[15]) == ("pixels", 21, "person")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 2, "val": 1}
    np.testing.assert_array_equal(dataset.splits["val"].maps.read(0), class_map(2, (0, 1, 15, 20, 255)))
    assert any("nothing is said of any of their images" in line for line in dataset.warnings)
    assert partition(dataset, 0).notes["test"] == "the official val split, since there is no test split"


def test_vocs_maps_are_checked(tmp_path, options):
    files = voc()
    write(tmp_path / "VOCdevkit", files | {"VOC2012/SegmentationClass/2007_000033.png": encoded(class_map(0, (0, 21)))})
    with pytest.raises(ValueError, match=r"2007_000033\.png: holds 21, which the list of classes does not name"):
        open_dataset("voc_segmentation:VOCdevkit", options)
    del files["VOC2012/SegmentationClass/2007_000032.png"]
    write(tmp_path / "lost", files)
    with pytest.raises(ValueError, match=r"1 files of 2 that say .*SegmentationClass/2007_000032\.png"):
        open_dataset("voc_segmentation:lost", options)
    write(tmp_path / "none", {"VOC2012/readme.txt": ""})
    with pytest.raises(ValueError, match=r"no ImageSets/Segmentation/train\.txt"):
        open_dataset("voc_segmentation:none", options)


NAMES = ["wall", "building, edifice", "sky", "door", "door, screen"]


def ade():
    rows = [f"{place}\t0.1\t10\t1\t0\t{name}\n" for place, name in enumerate(NAMES, 1)]
    files = {"objectInfo150.txt": "Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(rows), "sceneCategories.txt": "x"}
    for seed, name in enumerate(("training/ADE_train_00000001", "training/ADE_train_00000002", "validation/ADE_val_1")):
        files[f"images/{name}.jpg"] = picture(seed)
        files[f"annotations/{name}.png"] = encoded(class_map(seed, range(6)))
    return files


@pytest.mark.parametrize("top", ["", "ADEChallengeData2016/"])
def test_ades_zero_is_of_no_class(top, tmp_path, options):
    write(tmp_path / "ade", {f"{top}{name}": content for name, content in ade().items()})
    dataset = open_dataset("ade:ade", options)
    assert dataset.classes == tuple(NAMES)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 2, "val": 1}
    stored, read = class_map(2, range(6)), dataset.splits["val"].maps.read(0)
    np.testing.assert_array_equal(read, np.where(stored == 0, VOID, stored.astype(int) - 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectInfo150.txt": None}, r"no objectInfo150\.txt in .*; it is in the archive"),
        ({"objectInfo150.txt": "a,b\n1,2\n"}, "no table with the columns Idx and Name"),
        ({"objectInfo150.txt": "Idx\tName\n1\tdoor\n2\tdoor\n"}, "gives two classes one name"),
        ({"annotations/training/ADE_train_00000002.png": None}, r"1 maps of classes are missing:\n.*00000002\.png"),
        ({"annotations/validation/ADE_val_1.png": encoded(class_map(0, (9,)))}, r"ADE_val_1\.png: holds 9, which"),
        ({"annotations/validation/ADE_val_1.png": encoded(class_map(0, (1,), 9, 9))}, "is 9 x 9 pixels, but its image"),
    ],
)
def test_ades_table_and_maps_are_checked(changes, message, tmp_path, options):
    write(tmp_path / "ade", {name: content for name, content in (ade() | changes).items() if content is not None})
    with pytest.raises(ValueError, match=message):
        open_dataset("ade:ade", options)
    with pytest.raises(ValueError, match="part 'train'; it has none"):
        open_dataset("ade:ade#train", options)
