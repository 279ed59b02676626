"""iNaturalist 2019 and 2021 as their archives unpack and as torchvision renames them, against what was written.

torchvision's own class reads the same folders as an independent answer.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torchvision

from tasks.catalogue import open_dataset
from tasks.datasets.partition import partition

SPECIES = [
    "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
    "00001_Animalia_Annelida_Polychaeta_Sabellida_Sabellidae_Sabella_spallanzanii",
    "00002_Plantae_Tracheophyta_Magnoliopsida_Asterales_Asteraceae_Bellis_perennis",
]
SPLITS_2021 = {
    "train": ["train", "2021_train"],
    "val": ["val", "2021_valid"],
    "mini": ["train_mini", "2021_train_mini"],
}


def found_in(dataset, split):
    part = dataset.splits[split]
    return {part.images.read(row): dataset.classes[label] for row, label in enumerate(part.labels)}


@pytest.fixture(params=[0, 1], ids=["archive", "torchvision"])
def of_2021(request, tmp_path, make_png):
    """Writes each split; its truth is {bytes: class}."""
    truth = {}
    for number, (split, names) in enumerate(SPLITS_2021.items()):
        for row, (species, file) in enumerate([(2, "a"), (0, "b"), (1, "c"), (0, "d")]):
            path = tmp_path / "inat2021" / names[request.param] / SPECIES[species] / f"{file}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_png(10 * number + row))
            truth.setdefault(split, {})[path.read_bytes()] = SPECIES[species]
    return truth


@pytest.mark.parametrize(("name", "train"), [("inaturalist-2021", "train"), ("inaturalist-2021#mini", "mini")])
def test_2021_is_what_was_written(name, train, of_2021, options):
    dataset = open_dataset(name, options)
    assert dataset.classes == tuple(SPECIES)
    assert found_in(dataset, "train") == of_2021[train]
    assert found_in(dataset, "val") == of_2021["val"]
    assert partition(dataset, 0).test.split == "val"


@pytest.mark.parametrize("of_2021", [1], indirect=True, ids=["torchvision"])
def test_2021_has_torchvisions_labels(of_2021, tmp_path, options):
    dataset = open_dataset("inaturalist-2021", options)
    library = torchvision.datasets.INaturalist(str(tmp_path / "inat2021"), "2021_valid", loader=str)
    theirs = {os.path.basename(path): label for path, label in library}
    ours = dataset.splits["val"]
    assert {
        name.rpartition("/")[2]: label for name, label in zip(ours.images.names, ours.labels, strict=True)
    } == theirs


@pytest.mark.parametrize("folder", ["Lumbricus", "0_Animalia_a_b_c_d_e_f", "00003_Animalia_Annelida"])
def test_2021_a_folder_that_is_no_class(folder, of_2021, tmp_path, options, make_png):
    place = next(path for path in (tmp_path / "inat2021").iterdir() if path.name in SPLITS_2021["val"])
    (place / folder).mkdir()
    (place / folder / "x.jpg").write_bytes(make_png(99))
    with pytest.raises(ValueError, match=rf"'{folder}' is no class of iNaturalist 2021"):
        open_dataset("inaturalist-2021", options)


def test_2021_without_val(tmp_path, options, make_tree):
    make_tree(tmp_path / "inaturalist" / "train", [f"{SPECIES[0]}/a.jpg"])
    with pytest.raises(FileNotFoundError, match=r"no folder val or 2021_valid in .*inat_comp/tree/master/2021"):
        open_dataset("inaturalist-2021", replace(options, download=False))


def test_2021_is_downloaded_by_torchvision_once(options, make_tree, monkeypatch):
    """Its archives unpack to ``train_mini`` and ``val``, which torchvision itself renames."""
    fetched = []

    def fetch(url, root, filename, md5):
        fetched.append(filename)
        make_tree(Path(root) / url.rpartition("/")[2].removesuffix(".tar.gz"), [f"{SPECIES[0]}/{filename}.jpg"])

    monkeypatch.setattr(torchvision.datasets.inaturalist, "download_and_extract_archive", fetch)
    with pytest.raises(
        FileNotFoundError, match="or have it fetched: bob data check 'inaturalist-2021#mini' --download"
    ):
        open_dataset("inaturalist-2021#mini", options)  # a plan alone fetches no such amount
    assert not fetched
    for _ in range(2):
        dataset = open_dataset("inaturalist-2021#mini", replace(options, large_downloads=True))
        assert {split: len(images) for split, images in dataset.splits.items()} == {"train": 1, "val": 1}
    assert fetched == ["2021_train_mini.tgz", "2021_valid.tgz"]


def test_2021_that_cannot_be_downloaded_says_where_it_is(options, monkeypatch):
    def refuse(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.inaturalist, "download_and_extract_archive", refuse)
    with pytest.raises(
        FileNotFoundError, match=r"2021_train cannot be downloaded \(no network\).*inat_comp/tree/master/2021"
    ):
        open_dataset("inaturalist-2021", replace(options, large_downloads=True))


IMAGES_2019 = {  # file: id of its category; the order of ids is neither that of files nor of names
    "train2019.json": {"Plants/2/b.jpg": 2, "Birds/0/a.jpg": 0, "Birds/10/c.jpg": 10},
    "val2019.json": {"Birds/10/d.jpg": 10},
}
CATEGORIES = [{"id": 10, "name": "Anas acuta"}, {"id": 0, "name": "Corvus corax"}, {"id": 2, "name": "Bellis perennis"}]


def write_2019(root, make_tree, folder="train_val2019", categories=CATEGORIES):
    make_tree(root / folder, [file for files in IMAGES_2019.values() for file in files])
    for number, (name, files) in enumerate(IMAGES_2019.items()):
        ids = {file: 100 * number + row for row, file in enumerate(files)}
        table = {
            "images": [{"id": ids[file], "file_name": f"train_val2019/{file}"} for file in files],
            "annotations": [
                {"id": i, "image_id": ids[file], "category_id": files[file]} for i, file in enumerate(files)
            ][::-1],
            "categories": categories,
        }
        (root / name).write_text(json.dumps(table))
    return root


@pytest.mark.parametrize("folder", ["train_val2019", "2019"])
def test_2019_is_what_was_written(folder, tmp_path, options, make_tree):
    root = write_2019(tmp_path / "inat2019", make_tree, folder)
    dataset = open_dataset("inaturalist-2019", options)
    assert dataset.classes == ("Corvus corax", "Bellis perennis", "Anas acuta")
    name = {each["id"]: each["name"] for each in CATEGORIES}
    for split, files in (("train", "train2019.json"), ("val", "val2019.json")):
        assert found_in(dataset, split) == {
            (root / folder / file).read_bytes(): name[number] for file, number in IMAGES_2019[files].items()
        }


def test_2019_names_published_later_win_and_obfuscated_ones_become_numbers(tmp_path, options, make_tree):
    hidden = [{**each, "name": "?"} for each in CATEGORIES]
    root = write_2019(tmp_path / "inat2019", make_tree, categories=hidden)
    assert open_dataset("inaturalist-2019", options).classes == ("0", "2", "10")
    (root / "categories.json").write_text(json.dumps(CATEGORIES))
    assert open_dataset("inaturalist-2019", options).classes == ("Corvus corax", "Bellis perennis", "Anas acuta")


@pytest.mark.parametrize("name", ["train2019.json", "val2019.json", "train_val2019"])
def test_2019_a_missing_file_is_named_and_where_to_get_it(name, tmp_path, options, make_tree):
    root = write_2019(tmp_path / "inat2019", make_tree)
    (root / name).rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=rf"no (file|folder) {name}.* in .*inat2019.*inat_comp/tree/master/2019"
    ):
        open_dataset("inaturalist-2019", options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table["annotations"][0].update(category_id=3), "has category 3, which is none of the 3"),
        (lambda table: table["annotations"].pop(), "has category None, which is none of the 3"),
        (lambda table: table["images"][0].update(file_name="train_val2019/../../x.jpg"), "outside the set's folder"),
        (
            lambda table: table["images"][0].update(file_name="train_val2019/Birds/0/z.jpg"),
            "1 of 4 images cannot be read",
        ),
        (lambda table: table["images"][0].pop("id"), "has no field 'id'"),
    ],
)
def test_2019_lists_that_do_not_fit(change, message, tmp_path, options, make_tree):
    path = write_2019(tmp_path / "inat2019", make_tree) / "train2019.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match=message):
        open_dataset("inaturalist-2019", options)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_2019_a_damaged_list_is_named(content, tmp_path, options, make_tree):
    path = write_2019(tmp_path / "inat2019", make_tree) / "val2019.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"val2019\.json (is damaged|holds a list, not a dict)"):
        open_dataset("inaturalist-2019", options)


def test_unknown_year(tmp_path, options):
    with pytest.raises(ValueError, match="year '2018'; choose from 2019, 2021, 2021-mini"):
        open_dataset("inaturalist:somewhere#2018", options)
