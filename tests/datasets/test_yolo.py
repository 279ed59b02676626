"""YOLO's text labels as its tools write them, against what was written; and lines that are none."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets.outlines import mask_of
from tests.pixel_fakes import picture, write

HEIGHT, WIDTH = 20, 40
BOXES = {  # class, left, top, right, bottom in pixels
    "a": [(0, 4, 2, 12, 10), (1, 0, 0, 40, 20)],
    "b": [(1, 10, 5, 11, 19)],
    "c": [],
}
SPLIT = {"a": "train", "b": "val", "c": "train"}


def line(label, left, top, right, bottom):
    parts = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT)
    return f"{label} " + " ".join(map(repr, parts))


def kept(images="images/{}/", labels="labels/{}/", listing="names: [cat, dog]", split=SPLIT, name="data.yaml"):
    files = {name: listing}
    for seed, stem in enumerate(BOXES):
        files[f"{images.format(split[stem])}{stem}.png"] = picture(seed, HEIGHT, WIDTH)
        if BOXES[stem]:
            files[f"{labels.format(split[stem])}{stem}.txt"] = "\n".join(line(*box) for box in BOXES[stem]) + "\n"
    return files


def found_in(dataset):
    """By split and image, the objects as they were written."""
    return {
        (split, name.rpartition("/")[2].partition(".")[0]): [
            (label, *np.round(box, 4)) for label, box in zip(own.labels.tolist(), own.boxes.tolist(), strict=True)
        ]
        for split, part in dataset.splits.items()
        for name, own in zip(part.images.names, part.objects, strict=True)
    }


WRITTEN = {(SPLIT[stem], stem): boxes for stem, boxes in BOXES.items()}
DATA = "path: /content/elsewhere\ntrain: {}\nval: {}\nnc: 2\nnames:\n  0: cat\n  1: dog\n"


@pytest.mark.parametrize(
    "files",
    [
        kept(),
        kept(listing=DATA.format("images/train", "images/val")),
        kept(listing=DATA.format("./images/train/", "[images/val]")),
        kept(listing=DATA.format("../mine/images/train", "/content/data/images/val")),
        kept("{}/images/", "{}/labels/", DATA.format("../train/images", "../valid/images"), {**SPLIT, "b": "valid"}),
        kept("{}/", "{}/"),
        kept(listing=DATA.format("train.txt", "val.txt"))
        | {"train.txt": "./images/train/a.png\nimages/train/c.png\n", "val.txt": "/content/mine/images/val/b.png"},
        {f"mine/{name}": content for name, content in kept().items()},
    ],
    ids=["words", "yaml", "dots", "elsewhere", "split first", "beside", "lists", "wrapped"],
)
def test_boxes_are_read_from_parts_of_the_image(files, tmp_path, options):
    write(tmp_path / "mine", files)
    dataset = open_dataset("yolo:mine", options)
    assert dataset.classes == ("cat", "dog")
    assert found_in(dataset) == WRITTEN
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    assert open_dataset("yolo:mine.zip", options).manifest_sha256 == dataset.manifest_sha256


def test_an_image_without_labels_is_a_negative(tmp_path, options):
    write(tmp_path / "mine", kept() | {"images/val/d.png": picture(9, HEIGHT, WIDTH), "labels/val/d.txt": "\n"})
    dataset = open_dataset("yolo:mine", options)
    assert found_in(dataset) == WRITTEN | {("val", "d"): []}
    assert dataset.splits["train"].objects[1].size == (HEIGHT, WIDTH)


TRIANGLE = "0 0.1 0.1 0.5 0.1 0.1 0.6"


def test_outlines_are_kept_where_every_object_has_one(tmp_path, options):
    files = {name: content for name, content in kept().items() if not name.startswith("labels")}
    write(tmp_path / "mine", files | {"labels/train/a.txt": TRIANGLE})
    own = open_dataset("yolo:mine", options).splits["train"].objects[0]
    np.testing.assert_allclose(own.outlines[0][0], [4, 2, 20, 2, 4, 12], rtol=1e-6)
    np.testing.assert_allclose(own.boxes, [[4, 2, 20, 12]], rtol=1e-6)
    np.testing.assert_allclose(own.areas, [16 * 10 / 2], rtol=1e-6)
    write(tmp_path / "mine", {"labels/train/a.txt": f"{TRIANGLE}\n{line(1, 0, 0, 10, 10)}"})
    dataset = open_dataset("yolo:mine", options)
    assert dataset.splits["train"].objects[0].outlines is None
    np.testing.assert_allclose(dataset.splits["train"].objects[0].boxes, [[4, 2, 20, 12], [0, 0, 10, 10]], rtol=1e-6)
    assert any("1 objects have no outline, so those of all others are not read" in each for each in dataset.warnings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.1", r"1 lines are no object.*a\.txt line 1: '0 0\.5 0\.5 0\.1'"),
        ("0 0.5 0.5 0.1 0.1 0.9", r"1 lines are no object"),
        ("0 0.5 0.5 0.1 0.1\ncat 0.5 0.5 0.1 0.1", r"a\.txt line 2: 'cat 0\.5"),
        ("0 nan 0.5 0.1 0.1", r"a\.txt line 1: '0 nan"),
        ("7 0.5 0.5 0.1 0.1", r"1 objects in train are of an unknown category \(there are 2\): .*a\.png: 7"),
        ("0 0.5 0.5 0 0.1", r"1 of 1 objects in train have a box without width or height"),
        ("0 20 10 8 8", r"1 of 1 objects in train have a box outside their image"),
        (b"\xff\xfe\x00", r"1 lines are no object"),
    ],
)
def test_lines_that_are_no_object_are_named(text, message, tmp_path, options):
    write(tmp_path / "mine", kept() | {"labels/train/a.txt": text})
    with pytest.raises(ValueError, match=message):
        open_dataset("yolo:mine", options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.yaml": None}, "no list of classes; say #FILE, or put a data.yaml"),
        ({"data.yaml": "nc: 2"}, r"data\.yaml has no classes"),
        ({"data.yaml": "names: !!python/name:os.system"}, "could not determine a constructor"),
        ({"data.yaml": DATA.format("images/training", "images/val")}, "no image below 'images/training'"),
        (
            {"data.yaml": DATA.format("train.txt", "images/val"), "train.txt": "x.png"},
            r"train\.txt names 1 images .*'x",
        ),
        ({"data.yaml": DATA.format("3", "images/val")}, "train: 3 is no folder or list of images"),
        ({"other.yml": "names: [a]"}, "2 files may list the classes"),
        ({"images/train/a.png": b"none"}, r"1 images cannot be read.*images/train/a\.png"),
    ],
)
def test_what_is_missing_is_told(changes, message, tmp_path, options):
    files = {name: content for name, content in (kept() | changes).items() if content is not None}
    write(tmp_path / "mine", files)
    with pytest.raises(ValueError, match=message):
        open_dataset("yolo:mine", options)


def test_what_is_to_spare_and_what_may_be_left_out(tmp_path, options):
    files = kept() | {"labels/train/z.txt": TRIANGLE, "images/train/d.png": b"none", "labels/train/d.txt": "0 1 1 1 1"}
    write(tmp_path / "mine", files | {"other.yml": "names: [a]"})
    dataset = open_dataset("yolo:mine#data.yaml", replace(options, skip_unreadable=True))
    assert found_in(dataset) == WRITTEN
    assert any("1 label files have no image of their name" in each and "z.txt" in each for each in dataset.warnings)
    assert (dataset.n_total, dataset.n_used) == (4, 3)


def test_a_label_changes_the_identity(tmp_path, options):
    write(tmp_path / "one", kept())
    write(tmp_path / "two", kept() | {"labels/val/b.txt": line(1, 10, 5, 12, 19)})
    write(tmp_path / "three", kept() | {"labels/train/c.txt": line(1, 10, 5, 12, 19)})
    found = [open_dataset(f"yolo:{name}", options).manifest_sha256 for name in ("one", "two", "three")]
    assert len({*found}) == 3


def test_real_boxes_and_outlines_are_those_of_cocos_reader(real_options, tmp_path):
    """COCO's polygons of one part, written as YOLO's, are the same objects."""
    theirs = open_dataset("coco:coco_mini.zip#instances_seg", real_options)
    part = theirs.splits["val"]
    files = {"data.yaml": "names:\n" + "".join(f"  {row}: '{name}'\n" for row, name in enumerate(theirs.classes))}
    for row, (name, own) in enumerate(zip(part.images.names, part.objects, strict=True)):
        height, width = own.size
        lines = [
            f"{label} " + " ".join(map(repr, (outline[0].reshape(-1, 2) / [width, height]).reshape(-1).tolist()))
            for label, outline in zip(own.labels, own.outlines, strict=True)
        ]
        files |= {name.replace("val/", "images/val/"): part.images.read(row)}
        files |= {name.replace("val/", "labels/val/").replace(".jpg", ".txt"): "\n".join(lines)}
    write(tmp_path / "mine", files)
    options = replace(real_options, places=Places((tmp_path,)))
    ours = open_dataset("yolo:mine", options)
    assert ours.classes == theirs.classes
    assert sum(len(own) for own in part.objects) == 418
    for one, other in zip(ours.splits["val"].objects, part.objects, strict=True):
        assert (one.size, one.labels.tolist()) == (other.size, other.labels.tolist())
        for mine, stated in zip(one.outlines, other.outlines, strict=True):
            np.testing.assert_allclose(mine[0], stated[0], atol=1e-3)
            np.testing.assert_array_equal(mask_of(mine, one.size), mask_of(stated, one.size))
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1)
