"""ImageNet-C and CIFAR-C as their archives unpack, on small files of the same format, against what was written."""

import pickle

import numpy as np
import pytest

from backbones.images import decode
from tasks.catalogue import open_dataset

WNIDS = ("n01440764", "n01443537")
GROUPED = {"noise/gaussian_noise": (1, 2), "weather/fog": (3,), "extra/saturate": (5,)}


def names(grouped: bool) -> list[str]:
    return [
        f"{folder if grouped else folder.partition('/')[2]}/{level}/{wnid}/ILSVRC2012_val_0000000{row}.JPEG"
        for folder, levels in GROUPED.items()
        for level in levels
        for wnid in WNIDS
        for row in (1, 2)
    ]


@pytest.mark.parametrize("grouped", [True, False])
def test_imagenet_c_is_what_was_written(grouped, tmp_path, options, make_tree):
    make_tree(tmp_path / "imagenet-c", [*names(grouped), "extra/readme.txt", "labels.txt"])
    dataset = open_dataset("imagenet-c", options)
    assert list(dataset.splits) == ["fog/3", "gaussian_noise/1", "gaussian_noise/2", "saturate/5"]
    assert len(dataset.classes) == 1000
    for split in dataset.splits.values():
        assert [dataset.classes[label] for label in split.labels] == [WNIDS[0]] * 2 + [WNIDS[1]] * 2
        for row, name in enumerate(split.images.names):
            assert split.images.read(row) == (tmp_path / "imagenet-c" / name).read_bytes()
    assert "fog/3 has 4 images, officially 50,000" in dataset.warnings
    assert not any(line.startswith("leak") for line in dataset.warnings)


def test_groups_change_no_manifest_and_a_choice_opens_less(tmp_path, options, make_tree):
    make_tree(tmp_path / "one", names(True))
    make_tree(tmp_path / "two", names(False))
    grouped, flat = (open_dataset(f"imagenet-c-files:{folder}", options) for folder in ("one", "two"))
    assert grouped.manifest_sha256 == flat.manifest_sha256
    some = open_dataset("imagenet-c-files:one?corruptions=gaussian_noise&levels=2", options)
    assert list(some.splits) == ["gaussian_noise/2"]


def test_imagenet_c_that_is_not_there_or_something_else(tmp_path, options, make_tree):
    with pytest.raises(FileNotFoundError, match="zenodo"):
        open_dataset("imagenet-c", options)
    make_tree(tmp_path / "imagenet-c", ["fog/1/cat/a.JPEG"])
    with pytest.raises(ValueError, match="'cat' is none of the 1,000 WordNet ids"):
        open_dataset("imagenet-c", options)
    with pytest.raises(FileNotFoundError, match="no folder snow, neither directly nor in noise, blur"):
        open_dataset("imagenet-c-files:imagenet-c?corruptions=fog,snow", options)
    with pytest.raises(ValueError, match="did you mean 'levels'"):
        open_dataset("imagenet-c-files:imagenet-c?level=1", options)


@pytest.fixture
def cifar(tmp_path):
    """Four images, five levels, two corruptions."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    arrays = {
        name: np.random.default_rng(seed).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        for seed, name in enumerate(("fog", "snow"))
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "labels.npy", np.tile(np.array([3, 0, 9, 3], dtype=np.uint8), 5))
    return folder, arrays


def test_cifar_c_is_what_was_written(cifar, options):
    _, arrays = cifar
    dataset = open_dataset("cifar-10-c", options)
    assert list(dataset.splits) == [f"{name}/{level}" for name in ("fog", "snow") for level in range(1, 6)]
    for name, array in arrays.items():
        for level in range(1, 6):
            split = dataset.splits[f"{name}/{level}"]
            assert [dataset.classes[label] for label in split.labels] == ["cat", "airplane", "truck", "cat"]
            for row in range(4):
                wanted = array[(level - 1) * 4 + row]
                assert (decode(split.images.read(row)).permute(1, 2, 0).numpy() == wanted).all()
    assert len(pickle.dumps(split.images)) < 5000, "an array went along"
    assert open_dataset("cifar-c:CIFAR-10-C?corruptions=snow&levels=4", options).splits.keys() == {"snow/4"}


def test_cifar_100_c_has_its_own_classes(cifar, options):
    folder, _ = cifar
    np.save(folder / "labels.npy", np.tile(np.array([99, 0, 52, 1]), 5))
    dataset = open_dataset("cifar-c:CIFAR-10-C#100", options)
    assert [dataset.classes[label] for label in dataset.splits["fog/1"].labels] == [
        *("worm", "apple", "oak_tree", "aquarium_fish")
    ]
    with pytest.raises(ValueError, match=r"labels 0\.\.99, but the classes are 0\.\.9; write #100"):
        open_dataset("cifar-c:CIFAR-10-C#10", options)


class Hostile:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "fog.npy",
            np.zeros((20, 32, 32), np.uint8),
            r"fog\.npy holds uint8 of shape \(20, 32, 32\); it must be uint8",
        ),
        ("fog.npy", np.zeros((15, 32, 32, 3), np.uint8), r"must be uint8 of shape \(20, height, width, 3\)"),
        ("fog.npy", np.zeros((20, 32, 32, 3), np.float32), "holds float32"),
        (
            "fog.npy",
            np.array([Hostile()], dtype=object),
            r"fog\.npy is no array that numpy can read without running code",
        ),
        ("fog.npy", b"not numpy", r"fog\.npy is no array"),
        ("fog.npy", b"", r"fog\.npy is no array"),
        ("labels.npy", np.zeros(21, np.uint8), "for 5 levels of as many images each"),
        ("labels.npy", np.zeros(20), "holds float64"),
        ("labels.npy", np.arange(20) % 10, "the levels have other labels than the first"),
        ("labels.npy", np.full(20, -1), "labels -1..-1"),
    ],
)
def test_arrays_that_are_something_else(file, content, message, cifar, options):
    folder, _ = cifar
    if isinstance(content, bytes):
        (folder / file).write_bytes(content)
    else:
        np.save(folder / file, content, allow_pickle=content.dtype == object)
    with pytest.raises(ValueError, match=message):
        open_dataset("cifar-c:CIFAR-10-C", options)


def test_cifar_c_that_is_not_there(cifar, options):
    folder, _ = cifar
    with pytest.raises(FileNotFoundError, match=r"lacks brightness\.npy; get it from"):
        open_dataset("cifar-c:CIFAR-10-C?corruptions=brightness,fog", options)
    with pytest.raises(ValueError, match=r"unknown part .* '20'"):
        open_dataset("cifar-c:CIFAR-10-C#20", options)
    (folder / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.npy"):
        open_dataset("cifar-c:CIFAR-10-C", options)
