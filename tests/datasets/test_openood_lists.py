"""Image lists in OpenOOD's format: splits, class names, unknown images, and mistakes that name the line."""

import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.partition import evaluation_part, partition

TRAIN = "c/train/cat/1.png 1\nc/train/ant/2.png 0\nc/train/cat/3.png 1\nc/train/ant/4.png 0\n"
TEST = "c/test/cat/5.png 1\nc/test/ant/6.png 0\n"
OTHERS = "tin/cat/7.png -1\ntin/n01443537/8.png -1\n9.png -1\n"


@pytest.fixture
def lists(tmp_path, make_tree):
    """Writes lists into ``lists/`` and the images they name below ``images/``."""

    def write(**texts):
        for folder in ("lists", "images"):
            (tmp_path / folder).mkdir(exist_ok=True)
        files = [line.rpartition(" ")[0] for text in texts.values() for line in text.splitlines()]
        make_tree(tmp_path / "images", [file for file in files if file.endswith(".png") and ".." not in file])
        for name, text in texts.items():
            (tmp_path / "lists" / f"{name}.txt").write_text(text)

    return write


def test_a_star_is_every_split_and_folders_name_the_classes(lists, options):
    lists(train_c=TRAIN, test_c=TEST, val_other="x.png 0\n")
    dataset = open_dataset("imglist:lists/*_c.txt#images", options)
    assert dataset.classes == ("ant", "cat")
    assert list(dataset.splits) == ["train", "test"]
    train = dataset.splits["train"]
    assert list(zip(train.images.names, train.labels.tolist(), strict=True)) == [
        ("c/train/ant/2.png", 0),
        ("c/train/ant/4.png", 0),
        ("c/train/cat/1.png", 1),
        ("c/train/cat/3.png", 1),
    ]
    assert partition(dataset, 0).notes["test"] == "official"


def test_a_list_alone_is_the_split_of_its_name(lists, options):
    lists(test_c=TEST, val_c=TEST, openset=TEST)
    for name, split in (("test_c", "test"), ("val_c", "val"), ("openset", "all")):
        dataset = open_dataset(f"imglist:lists/{name}.txt#images", options)
        assert list(dataset.splits) == [split]
        assert evaluation_part(dataset).labels.tolist() == [0, 1]


def test_images_beside_their_list_or_in_a_zip_are_the_same(lists, options, tmp_path, make_zip):
    lists(test_c=TEST)
    first = open_dataset("imglist:lists/test_c.txt#images", options)
    files = [line.rpartition(" ")[0] for line in TEST.splitlines()]
    make_zip(tmp_path / "images.zip", files)
    assert open_dataset("imglist:lists/test_c.txt#images.zip", options).manifest_sha256 == first.manifest_sha256
    (tmp_path / "images" / "test_c.txt").write_text(TEST)
    assert open_dataset("imglist:images/test_c.txt", options).manifest_sha256 == first.manifest_sha256


def test_numbers_name_classes_whose_folders_do_not(lists, options):
    """ImageNet's val lies in one folder; with train's list its classes have names."""
    lists(train_i="i/n1/1.png 0\ni/n2/2.png 10\n", val_i="i/val/3.png 10\ni/val/4.png 0\ni/val/5.png 9\n")
    assert open_dataset("imglist:lists/val_i.txt#images", options).classes == ("0", "9", "10")
    both = open_dataset("imglist:lists/*_i.txt#images", options)
    assert both.classes == ("n1", "9", "n2")
    assert both.splits["val"].labels.tolist() == [2, 0, 1]


def test_unknown_images_are_called_by_their_folder(lists, options):
    lists(test_tin=OTHERS)
    dataset = open_dataset("imglist:lists/test_tin.txt#images", options)
    assert dataset.classes == ("cat", "n01443537", "unknown")
    split = dataset.splits["test"]
    assert [dataset.classes[label] for label in split.labels.tolist()] == ["unknown", "cat", "n01443537"]


def test_an_unknown_image_beside_known_ones_is_never_of_their_class(lists, options):
    lists(test_mixed="a/cat/1.png 0\nb/cat/2.png -1\nb/dog/3.png -1\n")
    dataset = open_dataset("imglist:lists/test_mixed.txt#images", options)
    assert dataset.classes == ("cat", "dog", "unknown")
    assert dataset.splits["test"].labels.tolist() == [0, 2, 1]


def test_detection_leaves_out_what_a_folder_says_is_known(lists, options):
    from tasks.ood.sifting import asked_sets

    lists(train_c=TRAIN, test_c=TEST, test_tin=OTHERS)
    home, far = (open_dataset(f"imglist:lists/{name}.txt#images", options) for name in ("*_c", "test_tin"))
    (sifted,) = asked_sets({"train": [home], "far": [far]}, ())["far"]
    assert list(sifted.part.names) == ["9.png", "tin/n01443537/8.png"]
    assert sifted.left_out == {"are of in-distribution classes": (1, ["cat"])}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.png\n", "test_x.txt image 1: 'a/1.png' is no path and class number"),
        ("a/1.png 0\n\na/2.png cat\n", "test_x.txt image 2: 'a/2.png cat' is no path"),
        ("a/1.png -2\n", "is no path and class number"),
        ("a/1.png 1.5\n", "is no path and class number"),
        ("../1.png 0\n", "names '../1.png', which is outside the set's folder"),
        ("/etc/passwd 0\n", "names '/etc/passwd', which is outside the set's folder"),
        ("a/1.png 0\nb/2.png 1\na/1.png 1\n", "image 3: 'a/1.png' is also image 1"),
        ("", "holds no images"),
    ],
)
def test_errors_name_the_line(lists, options, text, message):
    lists(test_x=text)
    with pytest.raises(ValueError, match=message):
        open_dataset("imglist:lists/test_x.txt#images", options)


def test_what_is_not_there_is_named(lists, options):
    lists(test_c=TEST)
    with pytest.raises(FileNotFoundError, match=r"no list of images 'lists/gone\.txt'"):
        open_dataset("imglist:lists/gone.txt#images", options)
    with pytest.raises(FileNotFoundError, match=r"no list '\*_gone.txt' in .*train, val, test for the star"):
        open_dataset("imglist:lists/*_gone.txt#images", options)
    with pytest.raises(FileNotFoundError, match="no folder or zip of images 'nowhere'"):
        open_dataset("imglist:lists/test_c.txt#nowhere", options)
