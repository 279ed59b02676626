import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tasks.catalogue import open_dataset
from tasks.datasets.digits import SHIFTS
from tasks.datasets.lossless_png import encode_png


def pixels(split, index):
    return np.asarray(Image.open(io.BytesIO(split.images.read(index))))


def test_every_digit_is_there_once_with_its_label(options):
    digits = load_digits()
    dataset = open_dataset("digits", options)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 1198, "test": 599}
    rows = set()
    for split in dataset.splits.values():
        for index, name in enumerate(split.images.names):
            row = int(name[-8:-4])
            rows.add(row)
            assert split.labels[index] == digits.target[row]
            if index % 40 == 0:
                np.testing.assert_array_equal(pixels(split, index), np.round(digits.images[row] * 255 / 16))
    assert rows == set(range(1797))


@pytest.mark.parametrize("variant", SHIFTS)
def test_shifts_hold_the_test_images_changed(variant, options):
    plain, shifted = open_dataset("digits", options), open_dataset(f"digits#{variant}", options)
    assert list(shifted.splits) == ["test"]
    assert shifted.splits["test"].images.names == plain.splits["test"].images.names
    assert set(shifted.splits["test"].sha256).isdisjoint(plain.splits["train"].sha256 + plain.splits["test"].sha256)
    assert open_dataset(f"digits#{variant}", options).manifest_sha256 == shifted.manifest_sha256


def test_retrieval_asks_with_test_for_train(options):
    plain, retrieval = open_dataset("digits", options), open_dataset("digits#retrieval", options)
    assert retrieval.splits["query"].sha256 == plain.splits["test"].sha256
    assert retrieval.splits["gallery"].sha256 == plain.splits["train"].sha256


def test_unknown_variant(options):
    with pytest.raises(ValueError, match="did you mean 'rotated'"):
        open_dataset("digits#rotate", options)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 300), (9, 4, 3), (200, 250, 3)])
def test_png_is_read_back_exactly_by_pillow(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    opened = Image.open(io.BytesIO(encode_png(image)))
    assert opened.mode == ("L" if len(shape) == 2 else "RGB")
    np.testing.assert_array_equal(np.asarray(opened), image)
