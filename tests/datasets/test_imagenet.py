"""ImageNet-1k in every layout people have, a few images of the official classes, against what was written."""

import csv
import io
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import scipy.io

from tasks.catalogue import open_dataset
from tasks.datasets.imagenet import wordnet_ids
from tasks.datasets.partition import partition

IDS = ("n01440764", "n01443537", "n15075141")
TRAIN = [f"{wordnet_id}/{wordnet_id}_{number}.JPEG" for wordnet_id in IDS for number in (7, 10026, 31)]
VAL = {1: IDS[2], 2: IDS[0], 3: IDS[2], 4: IDS[1]}
"""Label by number of the val image."""


def val_name(number):
    return f"ILSVRC2012_val_{number:08}.JPEG"


def seed(name):
    return sum(map(ord, name))


def put(make_png, root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_png(seed(path.name)))


def tar(path, contents):
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path.read_bytes()


def class_folders(root, make_png):
    put(make_png, root / "train", TRAIN)
    put(make_png, root / "val", [f"{label}/{val_name(number)}" for number, label in VAL.items()])


def kit_files():
    """The kit numbers the classes in an order of its own, and has inner nodes of the tree among them."""
    rows = [
        (3, "n00001740", "entity", 860),
        (1, IDS[2], "tissue", 0),
        (2, IDS[0], "tench", 0),
        (4, IDS[1], "goldfish", 0),
    ]
    fields = ["ILSVRC2012_ID", "WNID", "words", "num_children"]
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": np.array(rows, dtype=[(field, object) for field in fields])[:, None]})
    number = {row[1]: row[0] for row in rows}
    truth = "".join(f"{number[VAL[row]]}\n" for row in sorted(VAL))
    return {"meta.mat": file.getvalue(), "ILSVRC2012_validation_ground_truth.txt": truth.encode()}


def flat_with_kit(root, make_png):
    put(make_png, root / "train", TRAIN)
    put(make_png, root / "val", map(val_name, VAL))
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    for name, content in kit_files().items():
        (data / name).write_bytes(content)


def kaggle(root, make_png):
    base = root / "ILSVRC" / "Data" / "CLS-LOC"
    put(make_png, base / "train", TRAIN)
    put(make_png, base / "val", map(val_name, VAL))
    put(make_png, base / "test", ["ILSVRC2012_test_00000001.JPEG"])
    with (root / "LOC_val_solution.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "PredictionString"])
        writer.writerows([val_name(n).removesuffix(".JPEG"), f"{label} 1 2 30 40 "] for n, label in VAL.items())


def archives(root, make_png):
    root.mkdir(parents=True)
    by_class = {}
    for name in TRAIN:
        label, _, file = name.partition("/")
        by_class.setdefault(label, {})[file] = make_png(seed(file))
    inner = {f"{label}.tar": tar(root / "inner", files) for label, files in by_class.items()}
    (root / "inner").unlink()
    tar(root / "ILSVRC2012_img_train.tar", inner)
    tar(root / "ILSVRC2012_img_val.tar", {val_name(n): make_png(seed(val_name(n))) for n in VAL})
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        for name, data in {"readme.txt": b"x", **{f"data/{k}": v for k, v in kit_files().items()}}.items():
            entry = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


LAYOUTS = {"class folders": class_folders, "flat val": flat_with_kit, "kaggle": kaggle, "archives": archives}


@pytest.fixture
def imagenet(tmp_path, make_png):
    class_folders(tmp_path / "imagenet", make_png)
    return tmp_path / "imagenet"


def by_name(dataset, split):
    part = dataset.splits[split]
    return {
        name.rpartition("/")[2]: (dataset.classes[label], part.images.read(row))
        for row, (name, label) in enumerate(zip(part.images.names, part.labels, strict=True))
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_dataset(layout, tmp_path, options, make_png):
    LAYOUTS[layout](tmp_path / "ImageNet", make_png)
    dataset = open_dataset("imagenet-1k", options)
    assert by_name(dataset, "train") == {
        name.partition("/")[2]: (name.partition("/")[0], make_png(seed(name.partition("/")[2]))) for name in TRAIN
    }
    assert by_name(dataset, "val") == {
        val_name(number): (label, make_png(seed(val_name(number)))) for number, label in VAL.items()
    }
    assert set(dataset.splits) == {"train", "val"}
    class_folders(tmp_path / "other" / "imagenet", make_png)
    same = open_dataset(f"imagenet:{tmp_path / 'other' / 'imagenet'}", options)
    assert same.manifest_sha256 == dataset.manifest_sha256


def test_classes_are_the_official_thousand_in_order(imagenet, options):
    dataset = open_dataset("imagenet-1k", options)
    assert len(dataset.classes) == 1000
    assert list(dataset.classes) == sorted(set(dataset.classes))
    assert dataset.classes == wordnet_ids()
    labels = {dataset.classes[label]: label for label in dataset.splits["train"].labels}
    assert labels == {IDS[0]: 0, IDS[1]: 1, IDS[2]: 999}  # tench, goldfish, toilet tissue in every published head


def test_val_is_the_test_and_chooses_nothing(imagenet, options):
    dataset = open_dataset("imagenet-1k", options)
    parts = partition(dataset, seed=3)
    assert (parts.test.split, len(parts.test)) == ("val", 4)
    assert parts.train.split == parts.val.split == "train"
    assert len(parts.val) == 3


def test_nothing_is_unpacked_beside_the_archives(tmp_path, options, make_png):
    archives(tmp_path / "imagenet", make_png)
    before = sorted((tmp_path / "imagenet").rglob("*"))
    open_dataset("imagenet-1k", options)
    assert sorted((tmp_path / "imagenet").rglob("*")) == before


def test_archives_reach_loading_processes_and_a_changed_one_is_noticed(tmp_path, options, make_png):
    archives(tmp_path / "imagenet", make_png)
    images = open_dataset("imagenet-1k", options).splits["val"].images
    packed = pickle.dumps(images)
    assert pickle.loads(packed).read(2) == images.read(2)
    archive = tmp_path / "imagenet" / "ILSVRC2012_img_val.tar"
    archive.write_bytes(archive.read_bytes() + bytes(512))
    with pytest.raises(OSError, match="changed while it was in use"):
        pickle.loads(packed)


LISTED = {"1%": ("1percent.txt", TRAIN[4:5]), "10%": ("10percent.txt", [TRAIN[8], TRAIN[0], TRAIN[3]])}


@pytest.mark.parametrize("place", ["imagenet_subsets", "imagenet/imagenet_subsets", "imagenet"])
@pytest.mark.parametrize("part", LISTED)
def test_simclrs_lists_keep_part_of_train_and_all_of_val(part, place, imagenet, tmp_path, options):
    file, names = LISTED[part]
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / file).write_text("".join(f"{name.partition('/')[2]}\n" for name in names))
    dataset = open_dataset(f"imagenet-1k#{part}", options)
    assert dataset.name == f"imagenet-1k#{part}"
    assert set(by_name(dataset, "train")) == {name.partition("/")[2] for name in names}
    assert len(dataset.splits["val"]) == len(VAL)
    assert dataset.manifest_sha256 != open_dataset("imagenet-1k", options).manifest_sha256


def test_a_missing_list_is_named_and_where_to_get_it(imagenet, options):
    with pytest.raises(FileNotFoundError, match=r"no file 1percent\.txt in .*github\.com/google-research/simclr"):
        open_dataset("imagenet-1k#1%", options)


def test_a_listed_image_that_is_not_there(imagenet, options):
    (imagenet / "1percent.txt").write_text(f"{TRAIN[0].partition('/')[2]}\nn01440764_99.JPEG\n")
    with pytest.raises(ValueError, match=r"1 of 2 images that .*1percent\.txt lists are not in train: n01440764_99"):
        open_dataset("imagenet-1k#1%", options)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_of_another_set_is_refused(split, imagenet, options, make_png):
    put(make_png, imagenet / split, ["n99999999/n99999999_1.JPEG"])
    with pytest.raises(ValueError, match="'n99999999' is none of the 1,000 WordNet ids"):
        open_dataset("imagenet-1k", options)


def test_a_flat_val_without_labels_names_the_files_that_have_them(tmp_path, options, make_png):
    put(make_png, tmp_path / "imagenet" / "val", map(val_name, VAL))
    with pytest.raises(
        FileNotFoundError, match=r"ILSVRC2012_devkit_t12\.tar\.gz in .*image-net\.org.*LOC_val_solution"
    ):
        open_dataset("imagenet-1k", replace(options, download=False))


def test_val_images_beyond_the_labels(tmp_path, options, make_png):
    flat_with_kit(tmp_path / "imagenet", make_png)
    put(make_png, tmp_path / "imagenet" / "val", [val_name(5)])
    with pytest.raises(ValueError, match=r"1 images of .*val have no label .*ILSVRC2012_val_00000005"):
        open_dataset("imagenet-1k", options)


@pytest.mark.parametrize("damage", ["meta.mat", "kit", "columns"])
def test_damaged_labels_are_named(damage, tmp_path, options, make_png):
    root = tmp_path / "imagenet"
    (kaggle if damage == "columns" else archives if damage == "kit" else flat_with_kit)(root, make_png)
    if damage == "meta.mat":
        (root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"no matrix")
    elif damage == "kit":
        kit = root / "ILSVRC2012_devkit_t12.tar.gz"
        kit.write_bytes(kit.read_bytes()[:200])
    else:
        (root / "LOC_val_solution.csv").write_text("id,label\n1,2\n")
    with pytest.raises(ValueError, match=r"is damaged|needs the columns ImageId and PredictionString"):
        open_dataset("imagenet-1k", options)


def test_a_folder_without_anything_of_it(tmp_path, options):
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(FileNotFoundError, match=r"imagenet has neither train/ nor val/.*image-net\.org"):
        open_dataset("imagenet-1k", replace(options, download=False))


def test_one_split_alone_is_opened_and_told(tmp_path, options, make_png):
    class_folders(tmp_path / "all", make_png)
    (tmp_path / "all" / "val").rename(tmp_path / "val")
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "val").rename(tmp_path / "imagenet" / "val")
    dataset = open_dataset("imagenet-1k", options)
    assert set(dataset.splits) == {"val"}
    assert "train has 0 images, officially 1,281,167" in dataset.warnings


def test_the_hubs_copy_gets_the_official_classes(tmp_path, options, make_png):
    """Saved as the hub has it: labels by number, classes called by words that are not all different elsewhere."""
    import datasets

    words = [f"word {number}" for number in range(1000)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=words)})
    rows = {"train": [0, 999], "validation": [1], "test": [-1]}
    tables = {
        split: datasets.Dataset.from_dict(
            {"image": [{"bytes": make_png(10 * i + j), "path": None} for j in range(len(labels))], "label": labels},
            features=features,
        )
        for i, (split, labels) in enumerate(rows.items())
    }
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "ILSVRC" / "imagenet-1k"))
    dataset = open_dataset("imagenet-1k", replace(options, download=False))
    assert [dataset.classes[label] for label in dataset.splits["train"].labels] == [IDS[0], IDS[2]]
    assert [dataset.classes[label] for label in dataset.splits["val"].labels] == [IDS[1]]
    assert "1 of 1 images of test have no label and are left out" in dataset.warnings


def test_unknown_part(imagenet, options):
    with pytest.raises(ValueError, match="part '5%'; choose from 1%, 10%"):
        open_dataset(f"imagenet:{imagenet}#5%", options)
