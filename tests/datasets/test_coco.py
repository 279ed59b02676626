"""Sets of COCO's format in every layout, against what was written and against pycocotools, and what must be mended."""

import gc
import io
import pickle
import zipfile
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tasks.catalogue import open_dataset
from tasks.datasets.base import OpenOptions
from tasks.datasets.coco_tables import CocoTable
from tasks.datasets.outlines import box_of, mask_of, outline_of
from tasks.datasets.partition import partition
from tests.object_sets import SIZES, SOUND, annotation, picture, table, write_set

LAYOUTS = {
    "official": (
        {"annotations/instances_train2017.json": SOUND, "annotations/instances_val2017.json": SOUND},
        {"train": "train2017", "val": "val2017"},
    ),
    "flat": ({"train.json": SOUND, "val.json": SOUND}, {"train": "images/train", "val": "images/val"}),
    "a folder a split": (
        {"train/_annotations.coco.json": SOUND, "valid/_annotations.coco.json": SOUND},
        {"train": "train", "val": "valid"},
    ),
    "among others": (
        {
            "annotations/instances_train2017.json": SOUND,
            "annotations/instances_val2017.json": SOUND,
            "annotations/captions_train2017.json": {},
            "annotations/person_keypoints_val2017.json": {},
        },
        {"train": "images/train2017", "val": "images/val2017"},
    ),
}


def objects_of(dataset, split="train"):
    part = dataset.splits[split]
    return {name.rpartition("/")[2]: own for name, own in zip(part.images.names, part.objects, strict=True)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_what_was_written(layout, tmp_path, options):
    write_set(tmp_path / "set", *LAYOUTS[layout])
    dataset = open_dataset("coco:set", options)
    assert dataset.classes == ("cat", "dog", "toothbrush")
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 3, "val": 3}
    assert dataset.target == "objects"
    assert dataset.warnings == tuple(
        f"1 of 3 classes have no object in {split}: toothbrush" for split in ("train", "val")
    ), "there is a crowd of toothbrushes alone"
    found = objects_of(dataset, "val")
    assert {name: own.size for name, own in found.items()} == {name: size[::-1] for name, size in SIZES.items()}
    assert found["a.png"].boxes.tolist() == [[0, 0, 40, 30], [3, 4, 8, 10]]
    assert found["a.png"].labels.tolist() == [2, 1]
    assert found["a.png"].crowd.tolist() == [True, False]
    assert len(found["b.png"]) == 0
    assert found["c.png"].boxes.tolist() == [[1.5, 2, 11.5, 22.25], [30, 30, 32, 32]]
    assert found["c.png"].areas.tolist() == [150.5, 4]
    assert all(own.outlines is None and own.absent is None and own.incomplete is None for own in found.values())
    assert dataset.splits["val"].images.read(0) == picture(10, SIZES["a.png"])
    kept = partition(dataset, 0)
    assert kept.test.split == "val"
    assert [own.sha256 for own in kept.test.objects] == [own.sha256 for own in dataset.splits["val"].objects]


def test_a_zip_and_zips_beside_annotations_are_the_same_set(tmp_path, options):
    root = write_set(tmp_path / "set", *LAYOUTS["official"])
    identity = open_dataset("coco:set", options).manifest_sha256
    whole, half = tmp_path / "set.zip", tmp_path / "half"
    with zipfile.ZipFile(whole, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, file.relative_to(root))
    (half / "annotations").mkdir(parents=True)
    for file in (root / "annotations").iterdir():
        (half / "annotations" / file.name).write_bytes(file.read_bytes())
    for folder in ("train2017", "val2017"):
        with zipfile.ZipFile(half / f"{folder}.zip", "w") as archive:
            for file in sorted((root / folder).iterdir()):
                archive.write(file, f"{folder}/{file.name}")
    assert open_dataset("coco:set.zip", options).manifest_sha256 == identity
    packed = open_dataset("coco:half", options)
    assert packed.manifest_sha256 == identity
    images = packed.splits["val"].images
    assert pickle.loads(pickle.dumps(images)).read(2) == picture(12, SIZES["c.png"])
    (half / "train2017.zip").unlink()
    (half / "val2017.zip").unlink()
    assert open_dataset("coco:half?images=set", options).manifest_sha256 == identity


def test_annotations_are_chosen_by_name(tmp_path, options):
    other = table(annotation(1, 10, 3, [1, 1, 4, 4]))
    write_set(tmp_path / "set", {"ours_train.json": SOUND, "theirs_train.json": other}, {"train": "train"})
    with pytest.raises(ValueError, match="choose one by #NAME: ours, theirs"):
        open_dataset("coco:set", options)
    with pytest.raises(ValueError, match="did you mean 'ours'"):
        open_dataset("coco:set#our", options)
    assert len(objects_of(open_dataset("coco:set#theirs", options))["a.png"]) == 1
    assert len(objects_of(open_dataset("coco:set#ours_train", options))["a.png"]) == 2


def test_one_file_is_a_set_without_splits(tmp_path, options):
    write_set(tmp_path / "set", {"annotations.json": SOUND}, {"all": "images"})
    dataset = open_dataset("coco:set", options)
    assert list(dataset.splits) == ["all"]
    assert sum(map(len, dataset.splits["all"].objects)) == 4


def test_any_change_of_an_annotation_is_another_set(tmp_path, options):
    def identity(change):
        changed = deepcopy(SOUND)
        change(changed)
        write_set(tmp_path / "set", {"train.json": changed}, {"train": "train"})
        return open_dataset("coco:set", options).manifest_sha256

    changes = {
        "none": lambda found: None,
        "number": lambda found: found["annotations"][0].update(id=1000),
        "box": lambda found: found["annotations"][0].update(bbox=[1.5, 2, 10, 20.5]),
        "class": lambda found: found["annotations"][0].update(category_id=7),
        "crowd": lambda found: found["annotations"][0].update(iscrowd=1),
        "area": lambda found: found["annotations"][0].update(area=151),
        "name": lambda found: found["categories"].__setitem__(0, {"id": 7, "name": "wolf"}),
    }
    identities = {name: identity(change) for name, change in changes.items()}
    assert identities.pop("number") == identities["none"]
    assert len({*identities.values()}) == len(changes) - 1


def square(left, top, side):
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def test_outlines_are_pycocotools_masks(tmp_path, options):
    plain = np.zeros((30, 40), np.uint8)
    plain[4:20, 6:9] = plain[2, 30] = 1
    runs = [int(length) for length in _plain_runs(plain)]
    packed = outline_of(np.flip(plain).copy())
    given = table(
        annotation(1, 10, 3, [5, 5, 20, 10], segmentation=[square(5, 5, 10), square(15.5, 5, 9.5), [1, 2, 3, 4]]),
        annotation(2, 10, 3, [6, 2, 25, 18], segmentation={"size": [30, 40], "counts": runs}, iscrowd=1),
        annotation(3, 10, 7, [9, 10, 25, 18], segmentation={"size": [30, 40], "counts": packed.counts.decode()}),
        annotation(4, 12, 7, [3, 3, 9, 9], segmentation=[square(3, 3, 9)]),
    )
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    dataset = open_dataset("coco:set", options)
    assert not any("outline" in line for line in dataset.warnings)
    oracle = COCO(tmp_path / "set" / "train.json")
    for name, numbers in (("a.png", [1, 2, 3]), ("c.png", [4])):
        own = objects_of(dataset)[name]
        for outline, number in zip(own.outlines, numbers, strict=True):
            assert (mask_of(outline, own.size) == oracle.annToMask(oracle.anns[number])).all()
    assert objects_of(dataset)["b.png"].outlines == ()
    assert box_of(mask_of(objects_of(dataset)["a.png"].outlines[1], (30, 40))).tolist() == [6, 2, 31, 20]


def _plain_runs(mask):
    """Lengths of the runs of zeros, ones, zeros, ... down the columns, counted one by one."""
    lengths, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            lengths.append(0)
            value = pixel
        lengths[-1] += 1
    return lengths


BAD_OUTLINES = {
    "two corners": [[1, 1, 5, 5]],
    "far away": [[0, 0, 1e9, 0, 1e9, 1e9]],
    "not finite": [[0, 0, float("nan"), 0, 5, 5]],
    "no numbers": [["x", "y", 1, 2, 3, 4]],
    "too short": {"size": [30, 40], "counts": [3, 4]},
    "negative": {"size": [30, 40], "counts": [-5, 1205]},
    "another size": {"size": [40, 30], "counts": [1200]},
    "no runs": {"size": [30, 40], "counts": "\x7f~~"},
    "cut": {"size": [30, 40], "counts": "34"},
    "nothing": {"counts": None},
    "a number": 5,
}


@pytest.mark.parametrize("kind", BAD_OUTLINES)
def test_an_outline_that_is_none_is_told_or_dropped(kind, tmp_path, options):
    sound = annotation(1, 10, 3, [5, 5, 10, 10], segmentation=[square(5, 5, 10)])
    broken = annotation(2, 10, 3, [5, 5, 10, 10], segmentation=BAD_OUTLINES[kind])
    write_set(tmp_path / "set", {"train.json": table(sound, broken)}, {"train": "train"})
    with pytest.raises(
        ValueError, match=r"1 of 2 objects in train have an outline that is none.*annotation 2 of a\.png"
    ):
        open_dataset("coco:set", options)
    dropped = open_dataset("coco:set", replace(options, drop_bad_boxes=True))
    assert len(objects_of(dropped)["a.png"]) == 1
    assert any("outline that is none; dropped: annotation 2" in line for line in dropped.warnings)


def test_outlines_of_some_objects_are_those_of_none(tmp_path, options):
    sound = annotation(1, 10, 3, [5, 5, 10, 10], segmentation=[square(5, 5, 10)])
    write_set(tmp_path / "set", {"train.json": table(sound, annotation(2, 10, 3, [1, 1, 4, 4]))}, {"train": "train"})
    dataset = open_dataset("coco:set", options)
    assert any(line.startswith("1 objects have no segmentation") for line in dataset.warnings)
    assert all(own.outlines is None for own in dataset.splits["train"].objects)


def test_an_outline_of_something_else_is_told(tmp_path, options):
    there = annotation(4, 10, 3, [25, 15, 10, 10], segmentation=[square(5, 5, 10)])
    small = annotation(5, 10, 3, [5, 5, 3, 3], segmentation=[square(5, 5, 1.5)])
    write_set(tmp_path / "set", {"train.json": table(there, small)}, {"train": "train"})
    warning = open_dataset("coco:set", options).warnings[0]
    assert warning.startswith("1 of 2 outlines in train do not match their box")
    assert warning.endswith("annotation 4 of a.png")


BAD_BOXES = {
    "without width": ([5, 5, 0, 4], "without width or height"),
    "of negative height": ([5, 5, 4, -1], "without width or height"),
    "of NaN": ([5, float("nan"), 4, 4], "not four finite numbers"),
    "of three": ([5, 5, 4], "not four finite numbers"),
    "missing": (None, "not four finite numbers"),
    "of text": (["a", 5, 4, 4], "not four finite numbers"),
    "endless": ([5, 5, 10**400, 4], "not four finite numbers"),
    "elsewhere": ([50, 5, 4, 4], "outside their image"),
    "hair": ([5, 5, 1e-9, 4], "too thin"),
}


@pytest.mark.parametrize("kind", BAD_BOXES)
def test_a_bad_box_is_told_or_dropped_and_counted(kind, tmp_path, options):
    box, what = BAD_BOXES[kind]
    given = table(annotation(1, 10, 3, [1, 1, 4, 4]), annotation(77, 12, 3, box))
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    with pytest.raises(
        ValueError, match=rf"1 of 2 objects in train have a box.*{what}.*--drop-bad-boxes.*77 of c\.png"
    ):
        open_dataset("coco:set", options)
    dropped = open_dataset("coco:set", replace(options, drop_bad_boxes=True))
    assert any(what in line and line.startswith("1 of 2 objects in train") for line in dropped.warnings)
    assert [len(own) for own in dropped.splits["train"].objects] == [1, 0, 0]


def test_boxes_that_leave_the_image_are_clipped_and_told(tmp_path, options):
    given = table(annotation(1, 10, 3, [-5, 2, 20, 40]), annotation(2, 10, 3, [30, 20, 10.5, 10.5]))
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    dataset = open_dataset("coco:set", options)
    assert dataset.warnings[0] == (
        "1 boxes in train leave their image by more than a pixel; clipped: annotation 1 of a.png"
    )
    assert objects_of(dataset)["a.png"].boxes.tolist() == [[0, 2, 15, 30], [30, 20, 40, 30]]


def test_everything_is_told_at_once(tmp_path, options):
    train, val = deepcopy(SOUND), deepcopy(SOUND)
    train["annotations"] += [
        annotation(9, 10, 7, [1, 1, 2, 2]),
        annotation(20, 10, 4, [1, 1, 2, 2]),
        annotation(21, 99, 7, [1, 1, 2, 2]),
        annotation(22, 10, 7, [1, 1, 0, 2]),
        annotation(23, 10, 7, [30, 1, 20, 2]),
    ]
    train["images"] += [
        {"id": 10, "file_name": "gone.png"},
        {"id": 30, "file_name": "a.png"},
        {"id": 31, "file_name": "d.png"},
    ]
    train["images"][2]["width"] = 33
    val["categories"] = [{"id": 7, "name": "dog"}, {"id": 3, "name": "tiger"}, {"id": 91, "name": "brush"}]
    write_set(tmp_path / "set", {"train.json": train, "val.json": val}, {"train": "train", "val": "val"})
    (tmp_path / "set" / "train" / "d.png").write_bytes(b"")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its whole text is looked at
        open_dataset("coco:set", options)
    told = str(caught.value)
    for line in [
        "3 categories differ between train and val; give both splits one list: 3 is 'cat' and 'tiger', "
        "90 ('toothbrush') is in train alone, 91 ('brush') is in val alone",
        "1 numbers of images of train are given twice: 10",
        "1 images of train are listed twice: train/a.png",
        "1 numbers of annotations of train are given twice: 9",
        "1 annotations of train are of an image that is not listed: annotation 21 of image 99",
        "1 objects in train are of an unknown category (there are 3): annotation 20 of a.png: 4",
        "1 of 8 objects in train have a box without width or height; mend them, or leave them out with "
        "--drop-bad-boxes: annotation 22 of a.png",
        "1 of 6 images in train are not of their stated size (width x height), so that boxes may be elsewhere; mend "
        "the annotations, or remove the size from them if the boxes are right: c.png: 32 x 32, stated 33 x 32",
        f"1 of 6 images of train are not in {tmp_path / 'set'}: train/gone.png",
        "1 images cannot be read (mend or remove them, or leave them out with --skip-unreadable): train/d.png: "
        "is empty (0 bytes)",
        "warning: 1 boxes in train leave their image by more than a pixel; clipped: annotation 23 of a.png",
    ]:
        assert f"\n  {line}" in told


def test_what_cannot_be_read_is_left_out_where_that_is_asked(tmp_path, options):
    given = deepcopy(SOUND)
    given["images"].append({"id": 31, "file_name": "gone.png", "width": 9, "height": 9})
    given["annotations"].append(annotation(50, 31, 3, [1, 1, 2, 2]))
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    (tmp_path / "set" / "train" / "a.png").write_bytes(b"")
    dataset = open_dataset("coco:set", replace(options, skip_unreadable=True))
    assert (dataset.n_total, dataset.n_used) == (4, 2)
    assert [len(own) for own in dataset.splits["train"].objects] == [0, 2]


def test_a_photograph_that_exif_turns_has_the_size_it_is_decoded_to(tmp_path, options):
    given = table(annotation(1, 10, 3, [1, 1, 4, 20]), names=["a.png"])
    given["images"][0] |= {"file_name": "a.jpg", "width": 20, "height": 30}
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    turned, file = Image.Exif(), io.BytesIO()
    turned[0x0112] = 6
    Image.new("RGB", (30, 20)).save(file, "JPEG", exif=turned)
    (tmp_path / "set" / "train" / "a.jpg").write_bytes(file.getvalue())
    assert open_dataset("coco:set", options).splits["train"].objects[0].size == (30, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("[]", "holds a list"),
        ('{"images": [], "annotations": {}, "categories": []}', "no list 'annotations'"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        ('{"images": [], "annotations": [], "categories": []}', "has no categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "lists no images"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "no field 'name'"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "no field 'coco_url'"),
    ],
)
def test_what_is_no_set_is_told(text, message, tmp_path, options):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.json").write_text(text)
    with pytest.raises(ValueError, match=rf"train\.json.*{message}"):
        open_dataset("coco:set", options)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "train\\..\\..\\secret.png"])
def test_no_image_is_read_from_outside(name, tmp_path, options):
    given = deepcopy(SOUND)
    given["images"][0]["file_name"] = name
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    (tmp_path / "secret.png").write_bytes(picture(0, (40, 30)))
    with pytest.raises(ValueError, match="outside the set's folder"):
        open_dataset("coco:set", options)


def test_images_in_two_splits_are_a_leak(tmp_path, options):
    root = write_set(tmp_path / "set", *LAYOUTS["flat"])
    (root / "images/val/a.png").write_bytes((root / "images/train/a.png").read_bytes())
    assert any(line.startswith("leak: 1 of 3 images of val") for line in open_dataset("coco:set", options).warnings)


def test_classes_without_an_object_are_told(tmp_path, options):
    given = table(annotation(1, 10, 3, [1, 1, 4, 4]), annotation(2, 10, 7, [1, 1, 4, 4], iscrowd=1))
    write_set(tmp_path / "set", {"train.json": given}, {"train": "train"})
    assert "2 of 3 classes have no object in train: dog, toothbrush" in open_dataset("coco:set", options).warnings


def test_corrupted_images_keep_their_objects(tmp_path, options):
    write_set(tmp_path / "set", *LAYOUTS["official"])
    inner = open_dataset("coco:set", options)
    dataset = open_dataset("corrupted:coco:set?levels=3&corruptions=fog,snow", options)
    assert list(dataset.splits) == ["snow/3", "fog/3"]
    assert objects_of(dataset, "fog/3")["c.png"].boxes.tolist() == objects_of(inner, "val")["c.png"].boxes.tolist()
    assert [own.sha256 for own in dataset.splits["fog/3"].objects] == [
        own.sha256 for own in inner.splits["val"].objects
    ]
    assert (dataset.classes, dataset.target) == (inner.classes, "objects")
    write_set(tmp_path / "set", {"annotations/instances_val2017.json": table(annotation(1, 10, 3, [1, 1, 4, 4]))}, {})
    other = open_dataset("corrupted:coco:set?levels=3&corruptions=fog,snow", options)
    assert other.manifest_sha256 != dataset.manifest_sha256


def test_named_coco_is_held_against_its_official_counts(tmp_path, options):
    write_set(tmp_path / "coco2017", *LAYOUTS["among others"])
    warnings = open_dataset("coco-2017", options).warnings
    assert warnings[:3] == (
        "train has 3 images, officially 118,287",
        "val has 3 images, officially 5,000",
        "3 classes have images, officially 80",
    )
    with pytest.raises(FileNotFoundError, match=r"cocodataset\.org"):
        open_dataset("coco-2017", OpenOptions(replace(options.places, roots=(tmp_path / "annotations",))))


REAL = {
    "coco:bccd_detection.zip": (3, {"train": (205, 2804), "val": (87, 1137), "test": (72, 945)}, None),
    "coco:coco_mini.zip#instances_box": (80, {"train": (100, 741), "val": (60, 414)}, None),
    "coco:coco_mini.zip#instances_seg": (80, {"train": (100, 746), "val": (60, 418)}, tuple),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_the_counts_of_their_readme(name, real_options):
    classes, counts, outlined = REAL[name]
    dataset = open_dataset(name, real_options)
    assert len(dataset.classes) == classes
    assert {split: (len(each), sum(map(len, each.objects))) for split, each in dataset.splits.items()} == counts
    own = dataset.splits["val"].objects[0]
    assert outlined is None or isinstance(own.outlines, outlined)
    assert not any("box" in line or "outline" in line for line in dataset.warnings)


def test_boxes_of_a_table_are_the_same_by_both_ways():
    """The quick way takes lists of four numbers alone; one that is none sends all of them the other way."""
    rows = np.random.default_rng(0).uniform(0, 100, (20, 4)).tolist()
    quick, slow = (
        CocoTable("x", [], [{"bbox": row} for row in given], {}, None).boxes for given in (rows, [*rows, None])
    )
    assert (quick == slow[:-1]).all()
    assert np.isnan(slow[-1]).all()
    assert quick[3].tolist() == pytest.approx(
        [rows[3][0], rows[3][1], rows[3][0] + rows[3][2], rows[3][1] + rows[3][3]]
    )


def test_reading_leaves_the_collector_as_it_was(tmp_path, options):
    write_set(tmp_path / "set", *LAYOUTS["flat"])
    open_dataset("coco:set", options)
    assert gc.isenabled()
    (tmp_path / "set" / "train.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        open_dataset("coco:set", options)
    assert gc.isenabled()
