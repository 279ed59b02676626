"""ObjectNet as its archive unpacks: its own mappings, its red border, and classes coarser than ImageNet's."""

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from backbones.images import decode
from tasks.catalogue import open_dataset
from tasks.datasets.imagenet import wordnet_ids

FOLDERS = {"air_freshener": "Air freshener", "chair": "Chair", "banana": "Banana", "tv": "TV"}
CLASSES = {
    "Chair": "barber chair; folding chair; rocking chair, rocker",
    "Banana": "banana",
    "TV": "monitor; screen, CRT screen",
}
LABELS = {  # by ImageNet's number; lines of imagenet_to_label_2012_v2 are in another order
    423: "barber chair",
    559: "folding chair",
    765: "rocking chair, rocker",
    954: "banana",
    664: "monitor",
    782: "screen, CRT screen",
}


def bordered(seed):
    """An image with two red pixels around it, and what is inside."""
    inside = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pixels = np.zeros((11, 13, 3), dtype=np.uint8)
    pixels[..., 0] = 255
    pixels[2:-2, 2:-2] = inside
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), inside


@pytest.fixture
def objectnet(tmp_path):
    root = tmp_path / "objectnet-1.0"
    for seed, name in enumerate(FOLDERS):
        (root / "images" / name).mkdir(parents=True)
        (root / "images" / name / f"{seed}.png").write_bytes(bordered(seed)[0])
    lines = np.random.default_rng(0).permutation(1000).tolist()
    text = [""] * 1000
    for number in range(1000):
        text[lines[number]] = LABELS.get(number, f"class of {number}")
    mappings = root / "mappings"
    mappings.mkdir()
    (mappings / "folder_to_objectnet_label.json").write_text(json.dumps(FOLDERS))
    (mappings / "objectnet_to_imagenet_1k.json").write_text(json.dumps(CLASSES))
    (mappings / "pytorch_to_imagenet_2012_id.json").write_text(json.dumps({str(n): lines[n] for n in range(1000)}))
    (mappings / "imagenet_to_label_2012_v2").write_text("\n".join(text) + "\n")
    return root


def ids(*numbers):
    return "|".join(sorted(wordnet_ids()[number] for number in numbers))


def test_classes_are_those_of_imagenet_that_its_own_mappings_name(objectnet, options):
    dataset = open_dataset("objectnet", options)
    test = dataset.splits["test"]
    assert list(dataset.splits) == ["test"], "its terms forbid learning from it"
    assert {name: dataset.classes[label] for name, label in zip(test.images.names, test.labels, strict=True)} == {
        "chair/1.png": ids(423, 559, 765),
        "banana/2.png": ids(954),
        "tv/3.png": ids(664, 782),
    }
    assert ids(954) == "n07753592"


def test_the_border_is_gone_and_no_pixel_inside_has_changed(objectnet, options):
    images = open_dataset("objectnet", options).splits["test"].images
    for row, name in enumerate(images.names):
        inside = bordered(int(name.rpartition("/")[2].removesuffix(".png")))[1]
        for source in (images, pickle.loads(pickle.dumps(images))):
            np.testing.assert_array_equal(decode(source.read(row)).permute(1, 2, 0).numpy(), inside)


def test_all_has_its_own_names(objectnet, options):
    dataset = open_dataset("objectnet#all", options)
    assert dataset.classes == ("Air freshener", "Banana", "Chair", "TV")
    assert len(dataset.splits["test"]) == 4


def test_an_image_that_is_all_border_and_a_foreign_folder_are_told(objectnet, options):
    file = io.BytesIO()
    Image.new("RGB", (4, 9)).save(file, "PNG")
    (objectnet / "images" / "chair" / "small.png").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=r"chair/small\.png: .*4 x 9, all of it border"):
        open_dataset("objectnet_images:objectnet-1.0", options)
    (objectnet / "images" / "chair" / "small.png").unlink()
    (objectnet / "images" / "robot").mkdir()
    (objectnet / "images" / "robot" / "a.png").write_bytes(bordered(9)[0])
    with pytest.raises(ValueError, match=r"1 folders are not in folder_to_objectnet_label\.json: robot"):
        open_dataset("objectnet_images:objectnet-1.0", options)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("objectnet_to_imagenet_1k.json", '{"Chair": "throne of nobody"}', "'throne of nobody', which .* has 0 times"),
        ("objectnet_to_imagenet_1k.json", "{", "is no JSON"),
        ("pytorch_to_imagenet_2012_id.json", '{"0": 1}', "are not of 1000 classes"),
    ],
)
def test_mappings_that_do_not_agree_are_named(file, change, message, objectnet, options):
    (objectnet / "mappings" / file).write_text(change)
    with pytest.raises(ValueError, match=message):
        open_dataset("objectnet_images:objectnet-1.0", options)


def test_a_missing_mapping_is_named_and_where_to_get_it(objectnet, options):
    (objectnet / "mappings" / "folder_to_objectnet_label.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file folder_to_objectnet_label\.json in .*https://objectnet\.dev"):
        open_dataset("objectnet", options)
