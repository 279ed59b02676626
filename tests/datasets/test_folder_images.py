import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from backbones.images import Images
from tasks.catalogue import open_dataset
from tasks.datasets.class_folders import read_layout

NAMES = ["train/cat/a.png", "train/dog/b.png", "Validation/cat/c.png", "testing/dog/d.png"]


def test_folder_stored_zip_and_deflated_zip_are_one_dataset(tmp_path, options, make_tree, make_zip, make_png):
    make_tree(tmp_path / "folder", NAMES)
    make_zip(tmp_path / "stored.zip", NAMES)
    make_zip(tmp_path / "deflated.zip", NAMES, zipfile.ZIP_DEFLATED)
    found = [open_dataset(f"images:{path}", options) for path in ("folder", "stored.zip", "deflated.zip")]
    assert len({dataset.manifest_sha256 for dataset in found}) == 1
    for dataset in found:
        assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 2, "val": 1, "test": 1}
        images = dataset.splits["train"].images
        assert isinstance(images, Images)
        assert [images.read(0), images.read(1)] == [make_png(0), make_png(1)]
        assert pickle.loads(pickle.dumps(images)).read(1) == make_png(1)


def test_many_threads_read_their_own_bytes(tmp_path, options, make_zip, make_png):
    make_zip(tmp_path / "a.zip", [f"c{i % 2}/{i:03}.png" for i in range(50)])
    images = open_dataset("images:a.zip", options).splits["all"].images
    expected = [images.read(i) for i in range(50)]
    assert sorted(expected) == sorted(make_png(i) for i in range(50))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(images.read, [i % 50 for i in range(2000)])) == [expected[i % 50] for i in range(2000)]


@pytest.mark.parametrize(
    ("names", "splits", "classes"),
    [
        (["set/cat/a.png", "set/dog/b.png"], {"all"}, {"cat", "dog"}),
        (["set/TRAIN/cat/a.png", "set/valid/dog/b.png"], {"train", "val"}, {"cat", "dog"}),
        (["train/cat/a.png"], {"train"}, {"cat"}),
        (["train/a.png", "plane/b.png"], {"all"}, {"train", "plane"}),  # train is a vehicle here
        (["cat/a.png"], {"all"}, {"cat"}),
        (["cat/deep/er/a.png", "dog/b.png"], {"all"}, {"cat", "dog"}),
        (["cat/a.png", "cat/.DS_Store", "__MACOSX/cat/._a.png", "dog/b.JPEG", "Thumbs.db"], {"all"}, {"cat", "dog"}),
    ],
)
def test_layouts(names, splits, classes):
    layout = read_layout(names, [], "", label_from_file=False)
    assert {item.split for item in layout.items} == splits
    assert {item.class_name for item in layout.items} == classes
    assert read_layout(names[::-1], [], "", label_from_file=False) == layout
    assert layout.warnings == ()


def test_label_from_file_names():
    layout = read_layout(["images/n01_gold_fish.jpg", "images/n02_owl.jpg"], [], "", label_from_file=True)
    assert [item.class_name for item in layout.items] == ["n01", "n02"]
    with pytest.raises(ValueError, match=r"'x\.jpg' has no class"):
        read_layout(["x.jpg"], [], "", label_from_file=True)


@pytest.mark.parametrize(
    ("names", "part", "message"),
    [
        (["a.txt"], "", "no images among 1 files"),
        (["cat/a.png"], "photo", "no images below #photo; there are: cat"),
        (["a.png"], "", "none in a class folder"),
        (["val/c/a.png", "valid/c/a.png"], "", "val and valid both mean the val split"),
    ],
)
def test_layouts_that_make_no_sense(names, part, message):
    with pytest.raises(ValueError, match=message):
        read_layout(names, [], part, label_from_file=False)


def test_unicode_and_spaces_in_paths(tmp_path, options, make_tree, make_zip):
    names = ["grüne Äpfel/bild 1.png", "梨/пример.png"]
    make_tree(tmp_path / "mein ordner ü", names)
    make_zip(tmp_path / "mein ordner ü.zip", names)
    folder, zipped = (open_dataset(f"images:mein ordner ü{end}", options) for end in ("", ".zip"))
    assert folder.classes == zipped.classes == ("grüne Äpfel", "梨")
    assert folder.manifest_sha256 == zipped.manifest_sha256


def test_links_are_followed_and_a_loop_ends(tmp_path, options, make_tree):
    make_tree(tmp_path / "elsewhere", ["a.png"])
    root = make_tree(tmp_path / "set", ["dog/b.png"])
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    (root / "dog" / "again").symlink_to(root)
    dataset = open_dataset("images:set", options)
    assert dataset.classes == ("cat", "dog")
    assert dataset.n_total == 2


def test_names_nobody_knows_are_refused_with_the_choices(tmp_path, options):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_dataset("images:nowhere", options)
    with pytest.raises(ValueError, match=r"lable.*did you mean 'label'"):
        open_dataset("images:x?lable=folder", options)
    with pytest.raises(ValueError, match="names no path"):
        open_dataset("images:", options)
    (tmp_path / "not.zip").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="not a readable zip"):
        open_dataset("images:not.zip", options)
