"""Pascal VOC's XML as VOC, its kin and people keep it, against what was written; and what may be wrong with it."""

import json
import time
import zipfile
from collections import defaultdict
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.safe_xml import parse_xml
from tests.pixel_fakes import picture, write


def xml(objects, size=(6, 5), extra=""):
    """An annotation: (name, difficult, (xmin, ymin, xmax, ymax)) an object; ``size`` is (height, width)."""
    parts = [
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        + "".join(
            f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox></object>"
        for name, difficult, box in objects
    ]
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    return f"<annotation><filename>other.jpg</filename>{stated}{extra}{''.join(parts)}</annotation>"


SAID = {
    "000001": [("dog", 0, (1, 1, 5, 6)), ("cat", 1, (2, 3, 4, 4))],
    "000002": [("cat", 0, (1, 2, 2, 6))],
    "000003": [],
    "000004": [("dog", 0, (3, 3, 5, 5))],
}
LISTS = {
    "train": ["000001"],
    "val": ["000002", "000003"],
    "test": ["000004"],
    "trainval": ["000001", "000002", "000003"],
}


def devkit(folder="VOCdevkit/VOC2007/", lists=LISTS, said=SAID, seed=0):
    """The files of a year."""
    files = {f"{folder}ImageSets/Main/{name}.txt": "\n".join(stems) + "\n" for name, stems in lists.items()}
    files[f"{folder}ImageSets/Main/dog_train.txt"] = "000001  1\n"
    for place, (stem, objects) in enumerate(said.items()):
        files[f"{folder}JPEGImages/{stem}.png"] = picture(place + seed)
        files[f"{folder}Annotations/{stem}.xml"] = xml(objects)
    return files


def found_in(dataset, split):
    """The objects by the image's name, boxes as VOC writes them."""
    part = dataset.splits[split]
    return {
        name.rpartition("/")[2].partition(".")[0]: [
            (dataset.classes[label], int(crowd), (left + 1, top + 1, right, bottom))
            for label, crowd, (left, top, right, bottom) in zip(own.labels, own.crowd, own.boxes.tolist(), strict=True)
        ]
        for name, own in zip(part.images.names, part.objects, strict=True)
    }


def chosen(stems):
    return {stem: SAID[stem] for stem in stems}


@pytest.mark.parametrize("reference", ["VOCdevkit", "VOCdevkit/VOC2007", "VOCdevkit#VOC2007", "voc.zip"])
def test_the_official_lists_are_the_splits(reference, tmp_path, options):
    write(tmp_path, devkit())
    with zipfile.ZipFile(tmp_path / "voc.zip", "w") as archive:
        for name, content in devkit().items():
            archive.writestr(name, content)
    dataset = open_dataset(f"voc:{reference}", options)
    assert (dataset.target, dataset.classes) == ("objects", ("cat", "dog"))
    assert {split: found_in(dataset, split) for split in dataset.splits} == {
        split: chosen(LISTS[split]) for split in ("train", "val", "test")
    }
    assert dataset.splits["train"].images.read(0) == picture(0)
    assert dataset.manifest_sha256 == open_dataset("voc:VOCdevkit", options).manifest_sha256


def test_pixels_are_numbered_from_one_and_the_last_is_inside(tmp_path, options):
    write(tmp_path, devkit())
    objects = open_dataset("voc:VOCdevkit", options).splits["train"].objects[0]
    np.testing.assert_array_equal(objects.boxes, [[0, 0, 5, 6], [1, 2, 4, 4]])
    np.testing.assert_array_equal(objects.areas, [30, 6])
    assert objects.crowd.tolist() == [False, True]
    assert objects.size == (6, 5)


def test_years_are_read_together_and_a_test_that_is_not_published_is_none(tmp_path, options):
    later = {stem.replace("0000", "2012_"): objects for stem, objects in SAID.items()}
    lists = {name: [stem.replace("0000", "2012_") for stem in stems] for name, stems in LISTS.items()}
    files = devkit() | devkit("VOCdevkit/VOC2012/", lists, later, seed=10)
    del files["VOCdevkit/VOC2012/Annotations/2012_04.xml"]
    write(tmp_path, files)
    dataset = open_dataset("voc:VOCdevkit", options)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 2, "val": 4, "test": 1}
    assert dataset.splits["train"].images.names == (
        "VOC2007/JPEGImages/000001.png",
        "VOC2012/JPEGImages/2012_01.png",
    )
    assert any("nothing is said of any of their images: VOC2012" in line for line in dataset.warnings)
    assert set(open_dataset("voc:VOCdevkit#VOC2012", options).splits) == {"train", "val"}


def test_clipart_has_train_and_test_and_trainval_stands_in_for_train(tmp_path, options):
    for name, lists in {
        "clipart": {"train": ["000001", "000002"], "test": ["000003", "000004"]},
        "other": {"trainval": ["000001", "000002"], "test": ["000003", "000004"]},
    }.items():
        write(tmp_path, devkit(f"{name}/", lists))
        dataset = open_dataset(f"voc:{name}", options)
        assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 2, "test": 2}
        assert found_in(dataset, "test") == chosen(["000003", "000004"])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ("images/{}/", "annotations_voc/{}/"),
        ("{}/", "{}/"),
        ("set/{}/images/", "set/{}/xml/"),
        ("imgs/{}/", "Labels/{}/"),
    ],
)
def test_images_and_xml_of_a_users_own(images, said, tmp_path, options):
    files = {}
    for place, (stem, split) in enumerate({"000001": "train", "000002": "valid", "000003": "train"}.items()):
        files |= {
            f"{images.format(split)}{stem}.png": picture(place),
            f"{said.format(split)}{stem}.xml": xml(SAID[stem]),
        }
    write(tmp_path / "mine", files)
    dataset = open_dataset("voc:mine", options)
    assert found_in(dataset, "train") == chosen(["000001", "000003"])
    assert found_in(dataset, "val") == chosen(["000002"])
    assert len(dataset.splits["train"].objects[1]) == 0, "an image without objects is a negative"


def test_classes_asked_for_are_kept_in_that_order(tmp_path, options):
    write(tmp_path, devkit())
    dataset = open_dataset("voc:VOCdevkit?classes=dog", options)
    assert dataset.classes == ("dog",)
    assert found_in(dataset, "train") == {"000001": [SAID["000001"][0]]}
    assert found_in(dataset, "val") == {"000002": [], "000003": []}
    assert any("1 classes were not asked for; their 2 objects are left out: cat" in line for line in dataset.warnings)
    assert open_dataset("voc:VOCdevkit?classes=dog,cat", options).classes == ("dog", "cat")
    with pytest.raises(ValueError, match=r"1 classes asked for have no object \(there are: cat, dog\): cow"):
        open_dataset("voc:VOCdevkit?classes=cow", options)


def test_sim10k_is_cars_to_learn_from(tmp_path, options):
    said = {"3384645": [("car", 0, (1, 1, 3, 3)), ("person", 0, (2, 2, 3, 4))], "3384827": [("car", 0, (1, 1, 5, 6))]}
    write(tmp_path / "sim10k", devkit("VOC2012/", {"trainval10k_0.1": []}, said))
    dataset = open_dataset("sim10k:sim10k", options)
    assert (dataset.classes, [*dataset.splits]) == (("car",), ["train"])
    assert found_in(dataset, "train") == {"3384645": said["3384645"][:1], "3384827": said["3384827"]}
    assert open_dataset("sim10k:sim10k?classes=person,car", options).classes == ("person", "car")


WRONG = {
    "clicked": ([("cat", 0, (2, 2, 2, 2))], "1 of 5 objects in train have a box without width or height"),
    "thin": ([("cat", 0, (2, 2, 2, 5))], "1 of 5 objects in train have a box without width or height"),
    "outside": ([("cat", 0, (9, 2, 12, 4))], "1 of 5 objects in train have a box outside their image"),
    "no number": ([("cat", 0, ("a", 2, 3, 4))], "1 of 5 objects in train have a box that is not four finite numbers"),
    "NaN": ([("cat", 0, ("nan", 2, 3, 4))], "1 of 5 objects in train have a box that is not four finite numbers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_boxes_that_are_none_are_told_and_dropped_if_that_is_said(kind, tmp_path, options):
    objects, message = WRONG[kind]
    sound = [("dog", 0, (1, 1, 2, 2))] * 3
    lists = {"train": ["1", "2"], "val": ["3"]}
    write(tmp_path, devkit(lists=lists, said={"1": sound, "2": [*objects, sound[0]], "3": sound}))
    with pytest.raises(ValueError, match=f"{message}.*--drop-bad-boxes: object 1 of JPEGImages/2.png"):
        open_dataset("voc:VOCdevkit", options)
    dataset = open_dataset("voc:VOCdevkit", replace(options, drop_bad_boxes=True))
    assert found_in(dataset, "train")["2"] == [sound[0]]
    assert any(message in line and "dropped" in line for line in dataset.warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Annotations/000001.xml": None}, r"1 files of 1 that say .* not there: .*Annotations/000001\.xml"),
        ({"JPEGImages/000002.png": None}, r"1 of 2 images of .*val\.txt are not there: 000002"),
        ({"JPEGImages/000002.png": b"none"}, r"1 images cannot be read .*000002\.png"),
        ({"Annotations/000001.xml": xml([], (5, 6))}, r"1 of 1 images in train are not of their stated size .*5 x 6"),
        (
            {"Annotations/000001.xml": "<annotation><object>"},
            r"000001\.xml: is no well-formed XML: no element|unclosed",
        ),
        ({"Annotations/000001.xml": "<html/>"}, r"000001\.xml: is XML of <html>, and no <annotation>"),
        ({"Annotations/000001.xml": xml([("", 0, (1, 1, 2, 2))])}, r"000001\.xml: object 1 has no name"),
        ({"ImageSets/Main/train.txt": "../../secret\n"}, r"names '\.\./\.\./secret'; a name has no folders"),
        ({"ImageSets/Main/train.txt": "000001\n000001\n"}, r"train\.txt names 1 images more than once"),
    ],
)
def test_what_is_missing_or_damaged_is_named(changes, message, tmp_path, options):
    files = devkit() | {f"VOCdevkit/VOC2007/{name}": content for name, content in changes.items()}
    write(tmp_path, {name: content for name, content in files.items() if content is not None})
    with pytest.raises(ValueError, match=message):
        open_dataset("voc:VOCdevkit", options)


def test_pairs_that_are_none_are_named(tmp_path, options):
    write(tmp_path / "mine", {"a/1.png": picture(1), "a/1.xml": xml([]), "a/2.png": picture(2), "a/3.xml": xml([])})
    with pytest.raises(ValueError, match=r"1 images have no XML of their name(.|\n)*: a/2\.png(.|\n)*: a/3\.xml"):
        open_dataset("voc:mine", options)
    write(tmp_path / "two", {"a/1.png": picture(1), "a/1.jpg": picture(2), "a/1.xml": xml([("x", 0, (1, 1, 2, 2))])})
    with pytest.raises(ValueError, match=r"1 files have the name of another: a/1\."):
        open_dataset("voc:two", options)
    write(tmp_path / "none", {"readme.txt": "no"})
    with pytest.raises(ValueError, match="no image with an XML"):
        open_dataset("voc:none", options)


def test_a_changed_box_or_class_changes_the_identity(tmp_path, options):
    identities = set()
    for objects in ([("dog", 0, (1, 1, 4, 6))], [("dog", 0, (1, 1, 5, 6))], [("dog", 1, (1, 1, 5, 6))]):
        write(tmp_path, devkit(said={**SAID, "000001": objects}))
        identities.add(open_dataset("voc:VOCdevkit", options).manifest_sha256)
    assert len(identities) == 3


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotation>&l11;</annotation>', "declares a document type"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "document type"),
        ('<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><annotation/>', "document type"),
        ("<annotation>&l11;</annotation>", "undefined entity"),
        ("<a>" * 100_000, "nested more than 64 elements deep"),
        ('<?xml version="1.0" encoding="none-such"?><annotation/>', "unknown encoding"),
        ("", "no element found"),
    ],
)
def test_hostile_xml_is_refused_at_once(data, message, tmp_path, options):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        parse_xml(data.encode())
    assert time.perf_counter() - start < 1
    write(tmp_path, devkit() | {"VOCdevkit/VOC2007/Annotations/000001.xml": data})
    with pytest.raises(ValueError, match=rf"1 annotation files cannot be read: .*000001\.xml: .*{message}"):
        open_dataset("voc:VOCdevkit", options)


def test_sound_xml_is_what_the_standard_library_reads():
    text = '<?xml version="1.0" encoding="latin-1"?><a b="1">\u00e9 &amp; <c/>tail<![CDATA[<x>]]></a>'.encode("latin-1")
    assert ElementTree.tostring(parse_xml(text)) == ElementTree.tostring(ElementTree.fromstring(text))


def test_real_xml_holds_the_boxes_of_its_json(real_options):
    """BCCD's JSON kept xmin and xmax as they were: left and right are within the one pixel of VOC's numbering."""
    with pytest.raises(ValueError, match=r"2 of 4,888 objects in all have a box without width or height.*00338.*00343"):
        open_dataset("voc:bccd_detection.zip", real_options)
    dataset = open_dataset("voc:bccd_detection.zip", replace(real_options, drop_bad_boxes=True))
    part = dataset.splits["all"]
    assert (len(part), dataset.classes) == (364, ("Platelets", "RBC", "WBC"))
    stated = defaultdict(list)
    with zipfile.ZipFile(real_options.places.roots[0] / "bccd_detection.zip") as archive:
        for split in ("train", "val", "test"):
            content = json.loads(archive.read(f"{split}.json"))
            names = {image["id"]: image["file_name"] for image in content["images"]}
            classes = {each["id"]: each["name"] for each in content["categories"]}
            for each in content["annotations"]:
                left, top, width, height = each["bbox"]
                stated[names[each["image_id"]]].append(
                    (classes[each["category_id"]], (left, top, left + width, top + height))
                )
    assert sum(map(len, stated.values())) == 4886
    for name, own in zip(part.images.names, part.objects, strict=True):
        assert [dataset.classes[label] for label in own.labels] == [label for label, _ in stated[name]]
        boxes = np.asarray([box for _, box in stated[name]]).reshape(-1, 4)
        np.testing.assert_array_equal(own.boxes, np.maximum(boxes - [1, 1, 0, 0], 0))
