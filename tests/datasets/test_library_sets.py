"""The readers over other libraries, on small files of the real formats, against the libraries' own objects."""

import io
import struct

import numpy as np
import pytest
import torchvision
from PIL import Image

from tasks.catalogue import open_dataset


def write_mnist(root):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", 30), ("t10k", 12)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


def test_mnist_is_what_torchvision_hands_out(tmp_path, options):
    write_mnist(tmp_path)
    dataset = open_dataset("torchvision:MNIST", options)
    for split, is_train in (("train", True), ("test", False)):
        theirs = torchvision.datasets.MNIST(str(tmp_path), train=is_train)
        ours = dataset.splits[split]
        assert len(ours) == len(theirs)
        for index, (image, label) in enumerate(theirs):
            assert dataset.classes[ours.labels[index]] == theirs.classes[label]
            np.testing.assert_array_equal(
                np.asarray(Image.open(io.BytesIO(ours.images.read(index)))), np.asarray(image)
            )


def test_file_backed_sets_keep_their_bytes(tmp_path, options, make_tree):
    root = make_tree(tmp_path / "torchvision" / "eurosat" / "2750", ["Forest/a.png", "River/b.png"])
    dataset = open_dataset("torchvision:EuroSAT", options)
    assert dataset.classes == ("Forest", "River")
    assert dataset.splits["all"].images.read(1) == (root / "River" / "b.png").read_bytes()
    (root / "River" / "b.png").write_bytes((root / "Forest" / "a.png").read_bytes())
    assert open_dataset("torchvision:EuroSAT", options).manifest_sha256 != dataset.manifest_sha256
    (root / "River" / "b.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 2 images cannot be read"):
        open_dataset("torchvision:EuroSAT", options)


def test_without_a_network_the_error_names_the_files_and_the_place(options, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", refuse)
    with pytest.raises(OSError, match=r"no network.*cifar-10-python\.tar\.gz.*torchvision") as caught:
        open_dataset("torchvision:CIFAR10", options)
    assert "\n" not in str(caught.value)


def test_unknown_torchvision_set(options):
    with pytest.raises(ValueError, match="did you mean 'CIFAR10"):
        open_dataset("torchvision:CIFAR1", options)
