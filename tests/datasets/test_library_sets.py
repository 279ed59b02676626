"""The readers over other libraries, on small files of the real formats, against the libraries' own objects."""

import io
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision
from PIL import Image

from tasks.catalogue import open_dataset
from tasks.datasets import content_hashes


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


class HubImage:
    def __init__(self, decode=True):
        self.decode = decode


class HubLabel:
    names = ("cat", "dog")


class HubTable(list):
    cache_files = ()
    features = {"picture": HubImage(), "animal": HubLabel()}  # noqa: RUF012

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def cast_column(self, name, feature):
        assert (name, feature.decode) == ("picture", False)
        return self


def hub(monkeypatch, load):
    library = SimpleNamespace(Image=HubImage, ClassLabel=HubLabel, load_dataset=load)
    monkeypatch.setitem(sys.modules, "datasets", library)


def test_hub_rows_with_bytes_and_with_paths(options, monkeypatch, tmp_path, make_png):
    (tmp_path / "x.png").write_bytes(make_png(1))
    rows = [
        {"picture": {"bytes": make_png(0), "path": None}, "animal": 1},
        {"picture": {"bytes": None, "path": str(tmp_path / "x.png")}, "animal": 0},
        {"picture": {"bytes": make_png(2), "path": None}, "animal": -1},
    ]
    asked = []

    def load(*arguments, **keywords):
        asked.append((arguments, keywords))
        return {"train": HubTable(rows), "validation": HubTable([rows[1]])}

    hub(monkeypatch, load)
    dataset = open_dataset("huggingface:me/pets@v1#small", options)
    assert asked == [(("me/pets", "small"), {"revision": "v1"})]
    assert dataset.splits["train"].labels.tolist() == [1, 0]
    assert [dataset.splits["train"].images.read(i) for i in (0, 1)] == [make_png(0), make_png(1)]
    assert any(warning.startswith("leak: 1 of 1 images of val are also in train") for warning in dataset.warnings)


def test_hub_without_network_or_library(options, monkeypatch):
    def refuse(*arguments, **keywords):
        raise ConnectionError("offline")

    hub(monkeypatch, refuse)
    with pytest.raises(OSError, match=r"me/pets.*offline.*images:PATH"):
        open_dataset("huggingface:me/pets", options)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"battle-of-the-backbones\[huggingface\]"):
        open_dataset("huggingface:me/pets", options)


def test_hub_tables_on_disk_are_hashed_once_until_their_files_change(options, monkeypatch, tmp_path, make_png):
    monkeypatch.setattr(content_hashes, "SETTLED_SECONDS", 0.0)
    arrow = tmp_path / "table.arrow"
    arrow.write_bytes(b"first")
    rows = [{"picture": {"bytes": make_png(0), "path": None}, "animal": 1}]
    table = HubTable(rows)
    table.cache_files = [{"filename": str(arrow)}]
    hub(monkeypatch, lambda *arguments, **keywords: {"train": table})
    first = open_dataset("huggingface:me/pets", options)
    rows[0]["picture"]["bytes"] = make_png(1)  # the table's file says nothing changed, so nothing is read
    assert open_dataset("huggingface:me/pets", options).manifest_sha256 == first.manifest_sha256
    arrow.write_bytes(b"second")
    assert open_dataset("huggingface:me/pets", options).manifest_sha256 != first.manifest_sha256
