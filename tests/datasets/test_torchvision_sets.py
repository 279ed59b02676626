"""The reader over torchvision, on small files in each set's real format, against what was written into them.

Nothing of torchvision is replaced: its own classes read the files. Where one carries MD5 sums of the real files, the
test puts the small files' sums in their place, so that its check still runs.
"""

import hashlib
import io
import json
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torchvision
from PIL import Image

from tasks.catalogue import open_dataset
from tasks.datasets.catalogue import named_sets
from tasks.datasets.partition import partition
from tasks.datasets.torchvision_sets import KNOWN

WRITERS = {}
"""By set: writes it below a folder and returns its truth, {split: [(class name, bytes of a file or pixels)]}."""


def writes(*names):
    def register(writer):
        WRITERS.update(dict.fromkeys(names, writer))
        return writer

    return register


def pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(path, seed, kind="JPEG"):
    """A small photo; the answer is its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, 9, 7, 3)).save(path, kind)
    return path.read_bytes()


def text(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_pickle(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return [path.name, md5(path)]


def write_cifar(folder, batches, key, names, meta, monkeypatch, library):
    """Rows of 3072 bytes: 1024 red, 1024 green, 1024 blue."""
    truth, sums = {}, {"train": [], "test": []}
    for split, file, seed, labels in batches:
        images = pixels(seed, len(labels), 32, 32, 3)
        rows = images.transpose(0, 3, 1, 2).reshape(len(labels), 3072)
        sums[split].append(write_pickle(folder / file, {"data": rows, key: labels}))
        truth.setdefault(split, []).extend((names[i], image) for i, image in zip(labels, images, strict=True))
    file, sum_of_meta = write_pickle(folder / library.meta["filename"], {meta: names})
    monkeypatch.setattr(library, "train_list", sums["train"])
    monkeypatch.setattr(library, "test_list", sums["test"])
    monkeypatch.setattr(library, "meta", {"filename": file, "key": meta, "md5": sum_of_meta})
    return truth


@writes("CIFAR10")
def write_cifar10(root, monkeypatch):
    batches = [("train", f"data_batch_{i}", i, [2, i % 3, 0]) for i in range(1, 6)] + [("test", "test_batch", 9, [1])]
    names = ["airplane", "automobile", "bird"]
    library = torchvision.datasets.CIFAR10
    return write_cifar(root / "cifar-10-batches-py", batches, "labels", names, "label_names", monkeypatch, library)


@writes("CIFAR100")
def write_cifar100(root, monkeypatch):
    batches = [("train", "train", 1, [1, 0, 1]), ("test", "test", 2, [0])]
    library = torchvision.datasets.CIFAR100
    folder, names = root / "cifar-100-python", ["apple", "aquarium_fish"]
    return write_cifar(folder, batches, "fine_labels", names, "fine_label_names", monkeypatch, library)


@writes("MNIST", "FashionMNIST", "KMNIST")
def write_mnist(root, monkeypatch, name="MNIST"):
    raw, truth = root / name / "raw", {}
    raw.mkdir(parents=True)
    names = getattr(torchvision.datasets, name).classes
    for split, part, count in (("train", "train", 13), ("test", "t10k", 11)):
        images, labels = pixels(count, count, 28, 28), np.arange(count, dtype=np.uint8)[::-1] % 10
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
        truth[split] = [(names[label], image) for label, image in zip(labels, images, strict=True)]
    return truth


@writes("STL10")
def write_stl10(root, monkeypatch):
    """Labels from 1; images by channel, and within a channel by column."""
    folder, truth, library = root / "stl10_binary", {}, torchvision.datasets.STL10
    names = ["airplane", "bird", "car"]
    text(folder / "class_names.txt", names)
    for split, labels in (("train", [3, 1, 2]), ("test", [2, 3])):
        images = pixels(len(labels), len(labels), 96, 96, 3)
        (folder / f"{split}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{split}_y.bin").write_bytes(bytes(labels))
        truth[split] = [(names[label - 1], image) for label, image in zip(labels, images, strict=True)]
    (folder / "unlabeled_X.bin").write_bytes(pixels(0, 3, 96, 96).tobytes())
    monkeypatch.setattr(library, "train_list", [[n, md5(folder / n)] for n, _ in library.train_list])
    monkeypatch.setattr(library, "test_list", [[n, md5(folder / n)] for n, _ in library.test_list])
    return truth


@writes("SVHN")
def write_svhn(root, monkeypatch):
    """The label 10 is the digit 0; images along the last axis."""
    sums, truth = {}, {}
    for split, labels in (("train", [10, 1, 9]), ("test", [5, 10])):
        images = pixels(len(labels), len(labels), 32, 32, 3)
        path = root / f"{split}_32x32.mat"
        scipy.io.savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": np.array(labels, dtype=np.uint8)[:, None]})
        sums[split] = [None, path.name, md5(path)]
        truth[split] = [(str(label % 10), image) for label, image in zip(labels, images, strict=True)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", sums)
    return truth


@writes("Flowers102")
def write_flowers(root, monkeypatch):
    """Labels from 1 for every image; three lists of image numbers, unsorted as the real ones."""
    folder, library = root / "flowers-102", torchvision.datasets.Flowers102
    labels, sets = [77, 1, 102, 5, 5, 1], {"trnid": [6, 1], "valid": [3, 2], "tstid": [5, 4]}
    photos = [photo(folder / "jpg" / f"image_{number:05d}.jpg", number) for number in range(1, 7)]
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    scipy.io.savemat(folder / "setid.mat", {key: np.array([ids], dtype=np.uint16) for key, ids in sets.items()})
    known = {key: (name, md5(folder / name) if key != "image" else "") for key, (name, _) in library._file_dict.items()}
    monkeypatch.setattr(library, "_file_dict", known)
    return {
        split: [(library.classes[labels[number - 1] - 1], photos[number - 1]) for number in sets[key]]
        for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))
    }


@writes("StanfordCars")
def write_cars(root, monkeypatch):
    """Rows of a MATLAB struct: a box, a class from 1 and a file's name; the official order is not alphabetical."""
    folder, truth = root / "stanford_cars", {}
    names = ["AM General Hummer SUV 2000", "smart fortwo Convertible 2012", "Acura RL Sedan 2012"]
    (folder / "devkit").mkdir(parents=True)
    scipy.io.savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array(names, dtype=object)})
    files = {"train": folder / "devkit" / "cars_train_annos.mat", "test": folder / "cars_test_annos_withlabels.mat"}
    for seed, (split, labels) in enumerate({"train": [3, 1, 2], "test": [2, 2]}.items()):
        photos = [photo(folder / f"cars_{split}" / f"{i:05}.jpg", 10 * seed + i) for i in range(len(labels))]
        write_cars_labels(files[split], labels)
        truth[split] = [(names[label - 1], data) for label, data in zip(labels, photos, strict=True)]
    return truth


def write_cars_labels(path, labels):
    rows = [(39, 116, 569, 375, label, f"{i:05}.jpg") for i, label in enumerate(labels)]
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    annotations = np.array(rows, dtype=[(field, object) for field in fields])
    scipy.io.savemat(path, {"annotations": annotations})


@writes("FGVCAircraft")
def write_aircraft(root, monkeypatch):
    """Class names with spaces and slashes, not in alphabetical order; a line an image."""
    data, truth = root / "fgvc-aircraft-2013b" / "data", {}
    text(data / "variants.txt", ["F/A-18", "707-320", "Falcon 900"])
    parts = {"train": ["Falcon 900", "F/A-18"], "val": ["707-320"], "test": ["F/A-18", "707-320"]}
    for seed, (split, names) in enumerate(parts.items()):
        numbers = [f"{1000 + 10 * seed + i}" for i in range(len(names))]
        text(data / f"images_variant_{split}.txt", [f"{n} {name}" for n, name in zip(numbers, names, strict=True)])
        truth[split] = [
            (name, photo(data / "images" / f"{n}.jpg", int(n))) for n, name in zip(numbers, names, strict=True)
        ]
    return truth


@writes("DTD")
def write_dtd(root, monkeypatch):
    """A list of paths a split. The classes differ here between the splits, which the library numbers one by one."""
    folder, truth = root / "dtd" / "dtd", {}
    lists = {"train": ["woven/w_1", "banded/b_1"], "val": ["woven/w_2"], "test": ["dotted/d_1", "woven/w_3"]}
    for seed, (split, names) in enumerate(lists.items()):
        text(folder / "labels" / f"{split}1.txt", [f"{name}.jpg" for name in names])
        truth[split] = [
            (name.partition("/")[0], photo(folder / "images" / f"{name}.jpg", 10 * seed + i))
            for i, name in enumerate(names)
        ]
    return truth


@writes("OxfordIIITPet")
def write_pets(root, monkeypatch):
    """``name class species breed``; here photos are lossless, since the library hands out pixels."""
    folder, truth = root / "oxford-iiit-pet", {}
    names = {"Abyssinian": 1, "american_bulldog": 2, "Bengal": 3}
    shown = {"Abyssinian": "Abyssinian", "american_bulldog": "American Bulldog", "Bengal": "Bengal"}
    for seed, (split, file) in enumerate((("train", "trainval"), ("test", "test"))):
        ids = [f"{name}_{10 * seed + i}" for i, name in enumerate(["Bengal", "american_bulldog", "Abyssinian"])]
        text(folder / "annotations" / f"{file}.txt", [f"{i} {names[i.rsplit('_', 1)[0]]} 1 1" for i in ids])
        truth[split] = []
        for number, name in enumerate(ids):
            photo(folder / "images" / f"{name}.jpg", 10 * seed + number, "PNG")
            truth[split].append((shown[name.rsplit("_", 1)[0]], pixels(10 * seed + number, 9, 7, 3)))
    return truth


@writes("Food101")
def write_food(root, monkeypatch):
    folder, truth = root / "food-101", {}
    parts = {"train": {"waffles": ["waffles/1", "waffles/2"], "apple_pie": ["apple_pie/3"]}}
    parts["test"] = {"waffles": ["waffles/4"], "apple_pie": ["apple_pie/5"]}
    for split, lists in parts.items():
        text(folder / "meta" / f"{split}.json", [json.dumps(lists)])
        truth[split] = [
            (name, photo(folder / "images" / f"{path}.jpg", int(path[-1]))) for name in lists for path in lists[name]
        ]
    return truth


@writes("Country211")
def write_countries(root, monkeypatch):
    return {
        split: [
            (code, photo(root / "country211" / folder / code / f"{i}.jpg", 10 * seed + i))
            for i, code in enumerate(["AD", "ZW"])
        ]
        for seed, (split, folder) in enumerate((("train", "train"), ("val", "valid"), ("test", "test")))
    }


@writes("EuroSAT")
def write_eurosat(root, monkeypatch):
    names = ["AnnualCrop", "Forest", "Forest", "River"]
    return {
        "all": [(name, photo(root / "eurosat" / "2750" / name / f"{name}_{i}.jpg", i)) for i, name in enumerate(names)]
    }


def write(name, root, monkeypatch):
    writer = WRITERS[name]
    return writer(root, monkeypatch, name) if writer is write_mnist else writer(root, monkeypatch)


@pytest.mark.parametrize("name", KNOWN)
def test_every_set_is_what_was_written(name, tmp_path, options, monkeypatch):
    truth = write(name, tmp_path, monkeypatch)
    dataset = open_dataset(f"torchvision:{name}", options)
    assert set(dataset.splits) == set(truth)
    for split, expected in truth.items():
        ours = dataset.splits[split]
        assert [dataset.classes[label] for label in ours.labels] == [class_name for class_name, _ in expected]
        for row, (_, content) in enumerate(expected):
            if isinstance(content, bytes):
                assert ours.images.read(row) == content
            else:
                np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(ours.images.read(row)))), content)
    again = open_dataset(f"torchvision:{name}", options)
    assert again.manifest_sha256 == dataset.manifest_sha256


NAMED = {
    layout.partition(":")[2]: entry
    for entry in named_sets().values()
    for layout in entry.layouts
    if layout.startswith("torchvision:")
}


@pytest.mark.parametrize("name", NAMED)
def test_a_name_of_the_catalogue_is_the_same_set(name, tmp_path, options, monkeypatch):
    entry = NAMED[name]
    write(name, tmp_path, monkeypatch)
    one, other = (open_dataset(each, options) for each in (entry.name, f"torchvision:{name}"))
    assert one.manifest_sha256 == other.manifest_sha256
    assert (one.name, one.licence, one.classes) == (entry.name, entry.licence, other.classes)
    assert set(one.splits) == set(entry.images)
    for split, count in entry.images.items():  # it is a small copy, and every record will say so
        assert f"{split} has {len(one.splits[split])} images, officially {count:,}" in one.warnings


@pytest.mark.parametrize("name", ["flowers-102", "fgvc-aircraft"])
def test_official_val_chooses_and_official_test_tests(name, tmp_path, options, monkeypatch):
    write(named_sets()[name].layouts[0].partition(":")[2], tmp_path, monkeypatch)
    dataset = open_dataset(name, options)
    parts = partition(dataset, seed=0)
    assert not parts.seeded
    for split in ("train", "val", "test"):
        part = getattr(parts, split)
        assert parts.notes[split] == "official"
        assert [part.images.sha256[row] for row in part.rows] == list(dataset.splits[split].sha256)


@pytest.mark.parametrize("folder", ["cifar-10", "CIFAR10", "torchvision", "cifar_10"])
def test_a_folder_called_like_the_set_is_looked_in(folder, tmp_path, options, monkeypatch):
    write("CIFAR10", tmp_path / folder, monkeypatch)
    assert len(open_dataset("cifar-10", options).splits["train"]) == 15


@pytest.mark.parametrize("labels", [[1, 0, 2], [1, 4, 2]])
def test_labels_outside_the_classes(labels, tmp_path, options, monkeypatch):
    write_cars(tmp_path, monkeypatch)
    write_cars_labels(tmp_path / "stanford_cars" / "devkit" / "cars_train_annos.mat", labels)
    with pytest.raises(ValueError, match=rf"train/0000001 has label {labels[1] - 1}, outside its 3 classes"):
        open_dataset("stanford-cars", options)


def test_a_missing_file_is_named_and_where_to_get_it(tmp_path, options, monkeypatch):
    write_aircraft(tmp_path, monkeypatch)
    (tmp_path / "fgvc-aircraft-2013b" / "data" / "images_variant_val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"images_variant_val\.txt.*https://www\.robots\.ox\.ac\.uk") as caught:
        open_dataset("fgvc-aircraft", replace(options, download=False))
    assert "\n" not in str(caught.value)


def test_the_same_image_in_two_splits_is_reported(tmp_path, options, monkeypatch):
    write_dtd(tmp_path, monkeypatch)
    images = tmp_path / "dtd" / "dtd" / "images"
    (images / "dotted" / "d_1.jpg").write_bytes((images / "woven" / "w_1.jpg").read_bytes())
    assert any(
        line.startswith("leak: 1 of 2 images of test are also in train")
        for line in open_dataset("dtd", options).warnings
    )


def test_cars_are_not_to_be_had_from_torchvision(options):
    with pytest.raises(FileNotFoundError, match=r"torchvision cannot download it; put devkit/.* below .*torchvision"):
        open_dataset("torchvision:StanfordCars", options)


def test_nothing_is_downloaded_where_that_was_said(options, monkeypatch):
    def fail(*arguments, **keywords):
        raise AssertionError("downloads")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    with pytest.raises(FileNotFoundError, match="have it fetched: bob data check 'cifar-10' --download"):
        open_dataset("cifar-10", replace(options, download=False))


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_a_pickle_with_another_sum_is_never_loaded(name, tmp_path, options, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError("no network")

    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "it ran"), "w")

    write(name, tmp_path, monkeypatch)
    library = getattr(torchvision.datasets, name)
    write_pickle(tmp_path / library.base_folder / library.train_list[0][0], Hostile())
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", refuse)
    with pytest.raises(OSError, match="is not here and cannot be downloaded"):
        open_dataset(f"torchvision:{name}", options)
    assert not (tmp_path / "it ran").exists()


def test_a_damaged_list_is_named(tmp_path, options, monkeypatch):
    write_aircraft(tmp_path, monkeypatch)
    text(tmp_path / "fgvc-aircraft-2013b" / "data" / "images_variant_val.txt", ["1010 Zeppelin"])
    with pytest.raises(ValueError, match=r"torchvision:FGVCAircraft in .* is damaged \(KeyError: 'Zeppelin'\)"):
        open_dataset("torchvision:FGVCAircraft", options)


def test_stl10_without_class_names(tmp_path, options, monkeypatch):
    write_stl10(tmp_path, monkeypatch)
    (tmp_path / "stl10_binary" / "class_names.txt").unlink()
    with pytest.raises(ValueError, match=r"STL10 in .* has lost its class names"):
        open_dataset("torchvision:STL10", options)


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
