import pytest

from backbones.catalogue import load
from tasks.catalogue import open_dataset, task_class

NAMES = ["b.png", "deep/er/a.png", "train/c.PNG", "notes.txt", ".hidden/d.png", "__MACOSX/._a.png"]


def test_every_image_below_a_folder_or_in_a_zip_whatever_its_folder_is_called(tmp_path, options, make_tree, make_zip):
    make_tree(tmp_path / "folder", NAMES)
    make_zip(tmp_path / "packed.zip", NAMES)
    folder, packed = (open_dataset(f"unlabelled:{path}", options) for path in ("folder", "packed.zip"))
    assert folder.manifest_sha256 == packed.manifest_sha256
    assert list(folder.splits["all"].images.names) == ["b.png", "deep/er/a.png", "train/c.PNG"]
    assert folder.splits["all"].labels.tolist() == [-1, -1, -1]
    assert folder.classes == ()
    assert folder.warnings == ("1 files that are no images were ignored: notes.txt",)


def test_a_part_of_it(tmp_path, options, make_tree):
    make_tree(tmp_path / "folder", NAMES)
    assert list(open_dataset("unlabelled:folder#deep", options).splits["all"].images.names) == ["deep/er/a.png"]


def test_no_images_are_refused_and_so_are_questions(tmp_path, options, make_tree):
    make_tree(tmp_path / "folder", ["notes.txt"])
    with pytest.raises(ValueError, match="no images among 1 files"):
        open_dataset("unlabelled:folder", options)
    make_tree(tmp_path / "photos", NAMES)
    dataset = open_dataset("unlabelled:photos", options)
    for name in ("classification.knn", "classification.linear", "retrieval"):
        why = task_class(name)().refusal(load("pixels"), {"dataset": [dataset]})
        assert why is not None
        assert "no labels" in why
