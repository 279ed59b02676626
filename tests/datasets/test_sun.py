"""SUN397 as its archives unpack, with its first partition, against what was written."""

import pytest

from tasks.catalogue import open_dataset

CLASSES = ["/a/abbey", "/a/apartment_building/outdoor", "/b/bank_vault"]
LISTS = {
    "Training_01.txt": ["/b/bank_vault/sun_b.jpg", "/a/abbey/sun_a.jpg", "/a/apartment_building/outdoor/sun_c.jpg"],
    "Testing_01.txt": ["/a/abbey/sun_d.jpg"],
}
NAMES = {
    "/a/abbey": "abbey",
    "/a/apartment_building/outdoor": "apartment_building/outdoor",
    "/b/bank_vault": "bank_vault",
}


@pytest.fixture(params=["", "Partitions"])
def lists(request, tmp_path, make_tree):
    """The folder of the lists; an image in no list is there too, as most are."""
    make_tree(tmp_path / "SUN397", [*(line[1:] for lines in LISTS.values() for line in lines), "a/abbey/sun_e.jpg"])
    folder = tmp_path / "SUN397" / request.param
    folder.mkdir(exist_ok=True)
    for name, lines in {**LISTS, "ClassName.txt": CLASSES}.items():
        (folder / name).write_text("".join(f"{line}\r\n" for line in lines))
    return folder


def test_the_partition_is_what_was_written(lists, tmp_path, options):
    dataset = open_dataset("sun397", options)
    assert dataset.classes == ("abbey", "apartment_building/outdoor", "bank_vault")
    for split, file in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        part = dataset.splits[split]
        found = {
            name: (dataset.classes[label], part.images.read(row))
            for row, (name, label) in enumerate(zip(part.images.names, part.labels, strict=True))
        }
        assert found == {
            line[1:]: (NAMES[line.rpartition("/")[0]], (tmp_path / "SUN397" / line[1:]).read_bytes())
            for line in LISTS[file]
        }


@pytest.mark.parametrize("name", ["ClassName.txt", "Training_01.txt", "Testing_01.txt"])
def test_a_missing_list_is_named_and_where_to_get_it(name, lists, options):
    (lists / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"no file {name} in .*Partitions\.zip of https://vision"):
        open_dataset("sun397", options)


def test_a_listed_image_that_is_not_there(lists, tmp_path, options):
    (tmp_path / "SUN397" / "a" / "abbey" / "sun_d.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 images cannot be read(.|\n)*a/abbey/sun_d\.jpg: .*No such file"):
        open_dataset("sun397", options)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/c/castle/sun_a.jpg", "whose class '/c/castle' is not in ClassName.txt"),
        ("/a/abbey/../../../secret.jpg", "which is outside the set's folder"),
        ("//etc/passwd", "whose class '//etc' is not in ClassName.txt"),
    ],
)
def test_lines_that_lead_elsewhere(line, message, lists, options):
    (lists / "Testing_01.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=message):
        open_dataset("sun397", options)


def test_the_same_image_in_both_lists_is_reported(lists, options):
    (lists / "Testing_01.txt").write_text("/a/abbey/sun_a.jpg\n")
    assert any(
        line.startswith("leak: 1 of 1 images of test are also in train")
        for line in open_dataset("sun397", options).warnings
    )
