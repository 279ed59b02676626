"""Corrupted sets made while they are read: what they hold, what they are called, and what is refused."""

import pickle

import numpy as np
import pytest
import torch

from backbones.images import decode, decode_row
from tasks.catalogue import open_dataset
from tasks.datasets import corrupted
from tasks.datasets.corruptions import catalogue

TREE = [f"{split}/{label}/{row}.png" for split in ("train", "test") for label in ("cat", "dog") for row in range(4)]


def pixels(images, row: int) -> np.ndarray:
    return decode_row(images, row).permute(1, 2, 0).numpy()


@pytest.fixture
def animals(tmp_path, make_tree):
    make_tree(tmp_path / "animals", TREE)
    return "corrupted:images:animals"


def test_digits_are_there_under_every_corruption_at_every_level(options):
    whole, digits = open_dataset("corrupted:digits", options), open_dataset("digits", options)
    assert list(whole.splits) == [f"{name}/{level}" for name in catalogue.CORRUPTIONS for level in range(1, 6)]
    for split in whole.splits.values():
        assert (split.labels == digits.splits["test"].labels).all()
        assert split.images.names == digits.splits["test"].images.names
        assert split.sha256 == digits.splits["test"].sha256
    assert whole.classes == digits.classes
    assert whole.n_used == 95 * len(digits.splits["test"])
    assert len({split.images.identity for split in whole.splits.values()}) == 95


def test_what_is_read_is_the_corruption_of_what_is_inside(options, animals):
    dataset, inner = open_dataset(f"{animals}?seed=3", options), open_dataset("images:animals", options).splits["test"]
    for name in ("fog", "jpeg_compression", "impulse_noise"):
        images = dataset.splits[f"{name}/2"].images
        for row in range(len(images)):
            wanted = catalogue.corrupt(pixels(inner.images, row), name, 2, 3, inner.sha256[row])
            assert (pixels(images, row) == wanted).all()
            assert images.read(row) == images.read(row)
    again = pickle.loads(pickle.dumps(images))
    assert again.read(1) == images.read(1)
    assert again.identity == images.identity


def test_no_pixel_is_looked_at_when_it_is_opened(options, animals, monkeypatch):
    open_dataset("images:animals", options)  # that the images decode is found out once and remembered

    def never(*arguments):
        raise AssertionError("decoded")

    monkeypatch.setattr("backbones.images.decode", never)
    monkeypatch.setattr(corrupted, "decode_row", never)
    dataset = open_dataset(animals, options)
    assert dataset.splits["fog/1"].images.identity
    with pytest.raises(AssertionError, match="decoded"):
        dataset.splits["fog/1"].images.read(0)


def test_a_subset_holds_the_pixels_of_the_whole(options, animals):
    whole = open_dataset(animals, options)
    some = open_dataset(f"{animals}?corruptions=snow,gaussian_noise&levels=3,1&per_class=2", options)
    assert list(some.splits) == ["gaussian_noise/1", "gaussian_noise/3", "snow/1", "snow/3"]
    for name, split in some.splits.items():
        assert np.bincount(split.labels).tolist() == [2, 2]
        everything = whole.splits[name].images
        for row, image in enumerate(split.images.names):
            assert split.images.read(row) == everything.read(everything.names.index(image))


def test_identity_covers_all_that_changes_a_pixel(options, animals, monkeypatch, tmp_path, make_png):
    def named(reference: str) -> tuple[str, str]:
        dataset = open_dataset(reference, options)
        return dataset.manifest_sha256, dataset.splits["fog/1"].images.identity

    first = named(animals)
    assert named(f"{animals}?seed=0") == first
    others = [named(f"{animals}?{setting}") for setting in ("seed=1", "per_class=2", "size=8")]
    assert named(f"{animals}?levels=1")[0] != first[0]
    assert named(f"{animals}?levels=1")[1] == first[1]
    monkeypatch.setattr(corrupted, "VERSION", 99)
    others.append(named(animals))
    monkeypatch.undo()
    (tmp_path / "animals" / "test" / "cat" / "0.png").write_bytes(make_png(77))
    others.append(named(animals))
    assert len({first[0], *(manifest for manifest, _ in others)}) == 6
    assert len({first[1], *(identity for _, identity in others)}) == 6


def test_the_images_are_those_a_probe_never_saw_unless_all_are_asked_for(tmp_path, options, make_tree):
    make_tree(tmp_path / "flat", [f"{label}/{row}.png" for label in ("a", "b") for row in range(10)])
    assert len(open_dataset("corrupted:images:flat?levels=1", options).splits["fog/1"]) == 4
    assert len(open_dataset("corrupted:images:flat?levels=1&of=all", options).splits["fog/1"]) == 20


def test_settings_of_the_set_inside_are_its_own(tmp_path, options, make_tree):
    make_tree(tmp_path / "mini", [f"{label}_{row}.png" for label in ("a", "b") for row in range(10)])
    dataset = open_dataset("corrupted:images:mini?levels=2&label=file-prefix&corruptions=fog", options)
    assert list(dataset.splits) == ["fog/2"]
    assert dataset.classes == ("a", "b")


def test_a_part_of_the_set_inside(options):
    dataset = open_dataset("corrupted:digits#inverted?corruptions=fog&levels=1", options)
    inner = open_dataset("digits#inverted", options)
    assert dataset.splits["fog/1"].sha256 == inner.splits["test"].sha256


def test_size_cuts_the_middle_as_imagenet_c_did():
    """Against torchvision's Resize and CenterCrop, which made it."""
    from torchvision.transforms import v2

    for shape in ((300, 400), (120, 90), (500, 375)):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        recipe = v2.Compose([v2.ToPILImage(), v2.Resize(256), v2.CenterCrop(224)])
        wanted = np.asarray(recipe(torch.from_numpy(image).permute(2, 0, 1)))
        assert (corrupted.cut(image, 224) == wanted).all()
        assert corrupted.cut(image, 32).shape == (32, 32, 3)


def test_grey_files_come_out_as_colour(options):
    data = open_dataset("corrupted:digits?corruptions=gaussian_noise&levels=5", options).splits["gaussian_noise/5"]
    assert decode(data.images.read(0)).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("corrupted:digits?corruptions=fogg", "unknown corruption 'fogg'; did you mean 'fog'"),
        ("corrupted:digits?levels=1,6", "unknown corruption level '6'; there are: 1, 2, 3, 4, 5"),
        ("corrupted:digits?level=1", "unknown setting of dataset .*'level'; did you mean 'levels'"),
        ("corrupted:digits?per_class=0", "per_class='0' of a corrupted set must be a whole number from 1 on"),
        ("corrupted:digits?seed=-1", "seed='-1'"),
        ("corrupted:digits?size=2.5", "size='2.5'"),
        ("corrupted:digits?of=train", "unknown value of 'of' 'train'; there are: test, all"),
        ("corrupted:digits#retrieval", "has splits query, gallery; none to classify"),
        ("corrupted:corrupted:digits", "none to classify"),
        ("corrupted:", "names no dataset; write corrupted:NAME"),
        ("corrupted:digitz", "did you mean 'digits'"),
    ],
)
def test_bad_references_are_told(reference, message, options):
    with pytest.raises(ValueError, match=message):
        open_dataset(reference, options)
