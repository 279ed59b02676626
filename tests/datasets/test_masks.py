"""Image and map folders as people keep them, against what was written; and every way a map can be wrong."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backbones.places import Places
from tasks.catalogue import open_dataset
from tasks.datasets.label_maps import VOID
from tasks.datasets.partition import partition
from tests.pixel_fakes import class_map, encoded, picture, write

CLASSES = "classes:\n  0: unlabeled\n  1: road\n  3: car\n  7: sky\n"
SEED = {"train/a": 0, "train/b": 1, "val/c": 2}
WAYS = {  # what people call the folders: of images, of maps
    "as ADE20K": ("images/{split}/", "annotations/{split}/"),
    "as this project's zip": ("{split}/", "semantic_{split}/"),
    "split first": ("{split}/images/", "{split}/masks/"),
    "wrapped, subfolders": ("set_masks/img/{split}/town/", "set_masks/labels/{split}/town/"),
}


def kept(way="as ADE20K", classes=CLASSES, values=(0, 1, 3, 7), file="classes.yaml"):
    """The files of a set."""
    images, maps = WAYS[way]
    files = {"set_masks/" * way.startswith("wrapped") + file: classes}
    for name, seed in SEED.items():
        split, stem = name.split("/")
        files[f"{images.format(split=split)}{stem}.png"] = picture(seed)
        files[f"{maps.format(split=split)}{stem}.png"] = encoded(class_map(seed, values))
    return files


@pytest.mark.parametrize("way", WAYS)
def test_each_image_has_the_map_of_its_name(way, tmp_path, options):
    write(tmp_path / "mine", kept(way))
    dataset = open_dataset("masks:mine", options)
    assert (dataset.target, dataset.classes) == ("pixels", ("road", "car", "sky"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 2, "val": 1}
    classes = {0: VOID, 1: 0, 3: 1, 7: 2}
    for name, split in dataset.splits.items():
        for row, image in enumerate(split.images.names):
            seed = SEED[f"{name}/{image.rpartition('/')[2].removesuffix('.png')}"]
            assert split.images.read(row) == picture(seed)
            expected = np.vectorize(classes.__getitem__)(class_map(seed, (0, 1, 3, 7)))
            np.testing.assert_array_equal(split.maps.read(row), expected)
    assert dataset.warnings == ("pixels of value 0 (unlabeled) are of no class; ?void= says otherwise",)


def test_a_zip_of_it_is_the_same_dataset(tmp_path, options):
    write(tmp_path / "mine", kept())
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name, content in kept().items():
            archive.writestr(name, content)
    folder, zipped = (open_dataset(f"masks:{name}", options) for name in ("mine", "mine.zip"))
    assert folder.manifest_sha256 == zipped.manifest_sha256


def test_one_byte_of_a_map_or_a_name_changes_the_identity(tmp_path, options):
    files = kept()
    write(tmp_path / "one", files)
    values = class_map(0, (0, 1, 3, 7))
    values[0, 0] = 3 if values[0, 0] != 3 else 1
    write(tmp_path / "two", {**files, "annotations/train/a.png": encoded(values)})
    write(tmp_path / "three", {**files, "classes.yaml": CLASSES.replace("car", "bus")})
    found = [open_dataset(f"masks:{name}", options) for name in ("one", "two", "three")]
    assert len({dataset.manifest_sha256 for dataset in found}) == 3
    assert len({dataset.splits["train"].maps.identity for dataset in found[:2]}) == 2


@pytest.mark.parametrize(
    ("setting", "file", "content", "classes"),
    [
        ("", "classes.txt", "road\ncar\nsky\n", ("road", "car", "sky")),
        ("", "data.yaml", "names: [road, car, sky]", ("road", "car", "sky")),
        ("", "data.yaml", "{0: road, 1: car, 2: road}", ("road", "car")),
        ("?void=0", "classes.txt", "anything\ncar\nsky\n", ("car", "sky")),
        ("?void=", "classes.txt", "void\ncar\nsky\n", ("void", "car", "sky")),
        ("?classes=b.txt&void=1,255", "b.txt", "road\nwhatever\nsky\n", ("road", "sky")),
    ],
)
def test_lists_of_classes_and_what_is_void(setting, file, content, classes, tmp_path, options):
    write(tmp_path / "mine", kept(classes=content, values=(0, 1, 2), file=file) | {"more/readme.txt": "no list"})
    if "classes=" in setting:
        write(tmp_path / "mine", {"a.txt": "another"})
    dataset = open_dataset(f"masks:mine{setting}", options)
    assert dataset.classes == classes
    names = np.asarray([*classes, *[""] * (256 - len(classes))])
    by_value = {
        "road\ncar\nsky\n": ("road", "car", "sky"),
        "names: [road, car, sky]": ("road", "car", "sky"),
        "{0: road, 1: car, 2: road}": ("road", "car", "road"),
        "anything\ncar\nsky\n": ("", "car", "sky"),
        "void\ncar\nsky\n": ("void", "car", "sky"),
        "road\nwhatever\nsky\n": ("road", "", "sky"),
    }[content]
    read = names[dataset.splits["val"].maps.read(0)]
    np.testing.assert_array_equal(read, np.asarray(by_value)[class_map(2, (0, 1, 2))])


def test_a_set_without_splits_is_carved(tmp_path, options):
    files = {"classes.txt": "road\ncar"}
    for seed in range(10):
        files |= {f"images/{seed}.png": picture(seed), f"masks/{seed}.png": encoded(class_map(seed, (0, 1)))}
    write(tmp_path / "mine", files)
    parts = partition(open_dataset("masks:mine", options), seed=0)
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [6, 2, 2]
    for part in (parts.train, parts.val, parts.test):
        for row, name in zip(part.rows.tolist(), part.names, strict=True):
            seed = int(name.removeprefix("images/").removesuffix(".png"))
            np.testing.assert_array_equal(part.maps.read(row), class_map(seed, (0, 1)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_values_of_few_bits_and_of_palettes_are_as_stored(bits, tmp_path, options):
    values = class_map(5, range(min(2**bits, 20)))
    files = kept(classes="\n".join(f"class {value}" for value in range(20)), values=(0, 1), file="classes.txt")
    (tmp_path / "grey.png").write_bytes(encoded(values))
    image = Image.open(tmp_path / "grey.png").convert("P")
    image.putdata(values.reshape(-1).tolist())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(tmp_path / "palette.png", bits=bits)
    grey = _grey_png(values, bits)
    for content in (grey, (tmp_path / "palette.png").read_bytes()):
        assert content[24] == bits, "the test's own file is of these bits"
        write(tmp_path / "mine", {**files, "annotations/val/c.png": content})
        dataset = open_dataset("masks:mine", options)
        np.testing.assert_array_equal(dataset.splits["val"].maps.read(0), values)


def _grey_png(values, bits):
    """A grey PNG by hand, which Pillow writes with 1 and 8 bits only."""
    import struct
    import zlib

    height, width = values.shape
    rows = b""
    for line in values:
        text = "".join(f"{value:0{bits}b}" for value in line)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*parts, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(class_map(0, (0, 1, 3, 7), 5, 6)), r"a\.png: is 6 x 5 pixels, but its image is 5 x 6"),
        (encoded(class_map(0, (0, 1, 2, 9))), r"a\.png: holds 2, 9, which the list of classes does not name"),
        (picture(0), r"a\.png: has RGB pixels; a map of classes has one channel"),
        (encoded(class_map(0, (0, 1)), "JPEG"), r"a\.png: is a JPEG, which does not keep numbers exactly"),
        (encoded(class_map(0, (0, 1)))[:50], r"a\.png: cannot be decoded"),
        (b"", r"a\.png: cannot be decoded"),
    ],
)
def test_every_map_that_is_wrong_is_named_with_the_reason(content, message, tmp_path, options):
    write(tmp_path / "mine", {**kept(), "annotations/train/a.png": content})
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(ValueError, match=f"1 maps of classes are not as they should be:\n .*{message}"):
            open_dataset("masks:mine", options)
    write(tmp_path / "mine", kept())
    open_dataset("masks:mine", options)


def test_a_map_is_of_the_image_as_it_is_shown(tmp_path, options):
    """A photograph turned by its EXIF has a map of the turned size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    files = kept() | {"images/val/t.jpg": (tmp_path / "turned.jpg").read_bytes()}
    write(tmp_path / "mine", files | {"annotations/val/t.png": encoded(class_map(0, (1, 3), 8, 4))})
    assert len(open_dataset("masks:mine", options).splits["val"]) == 2
    write(tmp_path / "mine", {"annotations/val/t.png": encoded(class_map(0, (1, 3), 4, 8))})
    with pytest.raises(ValueError, match="is 8 x 4 pixels, but its image is 4 x 8"):
        open_dataset("masks:mine", options)


def test_an_unreadable_image_may_be_left_out_with_its_map(tmp_path, options):
    write(tmp_path / "mine", {**kept(), "images/train/a.png": b"none"})
    with pytest.raises(ValueError, match=r"1 of 3 images cannot be read"):
        open_dataset("masks:mine", options)
    dataset = open_dataset("masks:mine", replace(options, skip_unreadable=True))
    assert dataset.splits["train"].maps.images.names == ("annotations/train/b.png",)


@pytest.mark.parametrize(
    ("changes", "setting", "message"),
    [
        ({"annotations/train/a.png": None}, "", r"1 of 3 images have no map of their name: images/train/a\.png"),
        ({"masks/train/a.png": picture(0)}, "", r"annotations/train/a\.png and masks/train/a\.png are both the map"),
        ({"images/train/a.jpg": picture(0)}, "", r"images/train/a\.jpg and images/train/a\.png are both an image"),
        ({"classes.yaml": None}, "", r"no list of classes; say \?classes=FILE, or put a classes\.txt"),
        ({}, "?classes=other.yaml", "no list of classes 'other.yaml'"),
        (
            {"readme.txt": "hello"},
            "",
            r"2 files may list the classes \(classes\.yaml, readme\.txt\); say \?classes=FILE",
        ),
        ({"classes.yaml": "path: /data"}, "", r"classes\.yaml: 'path': '/data' is no number with a name"),
        ({"classes.yaml": "classes: 3"}, "", r"classes\.yaml has no classes"),
        ({"classes.yaml": "{1: car, 1: bus}"}, "", "key '1' is given twice"),
        ({"classes.yaml": "!!python/object/apply:os.system [ls]"}, "", r"classes\.yaml:.*could not determine"),
        ({"classes.yaml": "{300: car}"}, "", "maps hold values of 0 to 255, so 300 is none"),
        ({"classes.yaml": "{0: void}"}, "", "0 classes; a map tells 1 to 255 apart"),
        ({}, "?void=none", r"void='none'; give the values"),
        ({}, "#train", "part 'train'; such sets have no parts"),
        ({}, "?ignore=0", "did you mean 'void'|unknown setting"),
    ],
)
def test_what_is_missing_or_double_is_told(changes, setting, message, tmp_path, options):
    files = {name: content for name, content in {**kept(), **changes}.items() if content is not None}
    write(tmp_path / "mine", files)
    with pytest.raises(ValueError, match=message):
        open_dataset(f"masks:mine{setting}", options)


def test_no_maps_and_maps_to_spare(tmp_path, options):
    write(tmp_path / "none", {"classes.txt": "a\nb", "images/1.png": picture(1)})
    with pytest.raises(ValueError, match="no map among 1 images; maps are in folders with a word of annotation, "):
        open_dataset("masks:none", options)
    write(tmp_path / "mine", {**kept(), "annotations/train/z.png": encoded(class_map(0, (1,)))})
    assert (
        "1 maps without an image were ignored: annotations/train/z.png" in open_dataset("masks:mine", options).warnings
    )


def test_the_real_semantic_maps_and_their_unpacked_twin(real_options, tmp_path):
    dataset = open_dataset("masks:coco_mini.zip", real_options)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 100, "val": 60}
    assert dataset.classes[:3] == ("person", "bicycle", "car")
    assert "unlabeled" not in dataset.classes
    root = real_options.places.roots[0]
    with zipfile.ZipFile(root / "coco_mini.zip") as archive:
        stored = np.asarray(Image.open(archive.open("semantic_train/000000000009.png")))
        archive.extractall(tmp_path / "coco_mini")
    read = dataset.splits["train"].maps.read(0)
    np.testing.assert_array_equal(read == VOID, stored == 0)
    assert [dataset.classes[label] for label in np.unique(read[stored == 56])] == ["broccoli"]
    unpacked = open_dataset("masks:coco_mini", replace(real_options, places=Places((tmp_path,))))
    assert unpacked.manifest_sha256 == dataset.manifest_sha256
