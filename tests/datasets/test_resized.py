"""Sets at another size: the pixels, what stays as it was, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from backbones.images import decode_row, to_pil
from tasks.catalogue import open_dataset


@pytest.fixture
def animals(tmp_path, make_tree):
    """Images of 5 x 6 pixels."""
    make_tree(
        tmp_path / "animals", [f"{split}/{label}/a.png" for split in ("train", "test") for label in ("cat", "dog")]
    )
    return "images:animals"


@pytest.mark.parametrize(("side", "size"), [(5, (5, 6)), (10, (10, 12)), (2, (2, 2))])
def test_the_shorter_side_is_as_asked_and_the_pixels_are_pillows(animals, options, side, size):
    inner, small = open_dataset(animals, options), open_dataset(f"resized:{animals}?side={side}", options)
    for split in inner.splits:
        for row in range(2):
            expected = to_pil(decode_row(inner.splits[split].images, row)).resize(size, Image.Resampling.BICUBIC)
            found = decode_row(small.splits[split].images, row).permute(1, 2, 0).numpy()
            assert np.array_equal(found, np.asarray(expected))


def test_all_else_is_the_inner_sets_and_the_identity_is_its_own(animals, options):
    inner = open_dataset(animals, options)
    small, large = (open_dataset(f"resized:{animals}?side={side}", options) for side in (3, 9))
    assert small.classes == inner.classes
    assert small.splits["test"].labels.tolist() == inner.splits["test"].labels.tolist()
    assert small.splits["test"].sha256 == inner.splits["test"].sha256  # the same images, so that leaks are found
    assert small.splits["test"].images.names == inner.splits["test"].images.names
    assert len({each.manifest_sha256 for each in (inner, small, large)}) == 3
    assert len({each.splits["test"].images.identity for each in (inner, small, large)}) == 3
    again = open_dataset(f"resized:{animals}?side=3", options)
    assert again.manifest_sha256 == small.manifest_sha256


def test_inner_settings_pass_and_it_stacks_with_corruptions(animals, options):
    fog = open_dataset(f"resized:corrupted:{animals}?corruptions=fog&levels=1&side=4", options)
    assert list(fog.splits) == ["fog/1"]
    assert min(decode_row(fog.splits["fog/1"].images, 0).shape[1:]) == 4


@pytest.mark.parametrize("told", ["", "?side=", "?side=0", "?side=2.5", "?side=-3", "?side=3&side=4"])
def test_a_side_that_is_none_is_refused(animals, options, told):
    with pytest.raises(ValueError, match=r"write resized:NAME\?side=32"):
        open_dataset(f"resized:{animals}{told}", options)
