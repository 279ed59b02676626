"""CUB-200-2011 as its archive unpacks, against what was written."""

import pytest

from tasks.catalogue import open_dataset
from tasks.datasets.partition import evaluation_part

CLASSES = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "010.Auklet"]
IMAGES = [  # class, file, whether it is train
    (1, "Black_0001.png", 0),
    (1, "Black_0002.png", 1),
    (2, "Laysan_0001.png", 1),
    (3, "Sooty 0001.png", 0),
    (4, "Auklet_0001.png", 1),
    (4, "Auklet_0002.png", 0),
]


@pytest.fixture
def cub(tmp_path, make_tree):
    root = tmp_path / "CUB_200_2011"
    files = [f"{CLASSES[number - 1]}/{name}" for number, name, _ in IMAGES]
    make_tree(root, [f"images/{file}" for file in files])
    lists = {
        "classes.txt": [f"{number} {name}" for number, name in enumerate(CLASSES, 1)],
        "images.txt": [f"{image} {file}" for image, file in enumerate(files, 1)],
        "image_class_labels.txt": [f"{image} {number}" for image, (number, _, _) in enumerate(IMAGES, 1)],
        "train_test_split.txt": [f"{image} {train}" for image, (_, _, train) in enumerate(IMAGES, 1)],
    }
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def found_in(dataset, split):
    part = dataset.splits[split]
    return {
        name: (dataset.classes[label], part.images.read(row))
        for row, (name, label) in enumerate(zip(part.images.names, part.labels, strict=True))
    }


def written(root, chosen):
    return {
        f"images/{CLASSES[number - 1]}/{name}": (
            CLASSES[number - 1],
            (root / "images" / CLASSES[number - 1] / name).read_bytes(),
        )
        for number, name, train in IMAGES
        if chosen(number, train)
    }


def test_the_official_split(cub, options):
    dataset = open_dataset("cub-200-2011", options)
    assert dataset.classes == tuple(CLASSES)
    assert found_in(dataset, "train") == written(cub, lambda number, train: train)
    assert found_in(dataset, "test") == written(cub, lambda number, train: not train)


def test_metric_learning_is_tested_on_other_classes(cub, options):
    (cub / "train_test_split.txt").unlink()  # nothing of it is needed
    dataset = open_dataset("cub-200-2011#metric", options)
    assert found_in(dataset, "train") == written(cub, lambda number, train: number <= 2)
    assert found_in(dataset, "test") == written(cub, lambda number, train: number > 2)
    assert evaluation_part(dataset).split == "test"


@pytest.mark.parametrize("name", ["classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt"])
def test_a_missing_list_is_named_and_where_to_get_it(name, cub, options):
    (cub / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"no file {name} in .*data\.caltech\.edu"):
        open_dataset("cub-200-2011", options)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("images.txt", "7 ../../secret.png", "outside the set's folder"),
        ("images.txt", "7", "is no number and a word"),
        ("images.txt", "6 010.Auklet/x.png", "has a number twice"),
        (
            "images.txt",
            "7 010.Auklet/x.png",
            r"image_class_labels\.txt lacks 1 images of images\.txt, the first of them 7",
        ),
        ("train_test_split.txt", "7 2", "'2'; each image is 1 .train. or 0 .test."),
    ],
)
def test_lines_that_do_not_fit(name, line, message, cub, options):
    with (cub / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=message):
        open_dataset("cub-200-2011", options)


def test_an_image_listed_twice_and_a_class_that_is_none(cub, options):
    (cub / "images.txt").write_text((cub / "images.txt").read_text().replace("Black_0002", "Black_0001"))
    with pytest.raises(ValueError, match=r"images\.txt names 1 images more than once"):
        open_dataset("cub-200-2011", options)
    (cub / "classes.txt").write_text("1 only\n")
    with pytest.raises(ValueError, match=r"image 3 has class 2, which is not in .*classes\.txt"):
        open_dataset("cub-200-2011", options)
    with pytest.raises(ValueError, match="part 'train'; choose metric"):
        open_dataset("cub:CUB_200_2011#train", options)
