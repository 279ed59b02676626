"""Official lists of paths and numbers: DomainNet's and VisDA's layouts, and sets of domains in class folders."""

import pytest

from tasks.catalogue import open_dataset

VISDA = ["aeroplane", "train", "truck"]


def labels_of(split, classes):
    return {name: classes[label] for name, label in zip(split.images.names, split.labels, strict=True)}


@pytest.fixture
def domainnet(tmp_path, make_tree):
    root = tmp_path / "domainnet"
    lists = {
        "clipart_train.txt": ["clipart/zebra/clipart_343_1.jpg 2", "clipart/ant/clipart_001_1.jpg 0"],
        "clipart_test.txt": ["clipart/ant/clipart_001_2.jpg 0", "clipart/bee hive/clipart_002_1.jpg 1"],
    }
    make_tree(root, [line.rpartition(" ")[0] for lines in lists.values() for line in lines])
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def test_domainnets_lists_are_its_splits_and_numbers_its_classes_order(domainnet, options):
    dataset = open_dataset("domainnet#clipart", options)
    assert dataset.classes == ("ant", "bee hive", "zebra")
    assert labels_of(dataset.splits["train"], dataset.classes) == {
        "clipart/zebra/clipart_343_1.jpg": "zebra",
        "clipart/ant/clipart_001_1.jpg": "ant",
    }
    assert labels_of(dataset.splits["test"], dataset.classes) == {
        "clipart/ant/clipart_001_2.jpg": "ant",
        "clipart/bee hive/clipart_002_1.jpg": "bee hive",
    }
    assert "train has 2 images, officially 33,525" in dataset.warnings


def test_without_its_lists_a_domain_is_its_class_folders_and_held_against_the_whole(domainnet, options):
    for path in domainnet.glob("*.txt"):
        path.unlink()
    dataset = open_dataset("domainnet#clipart", options)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"all": 4}
    assert "all has 4 images, officially 48,129" in dataset.warnings


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["clipart/ant/a.jpg"], r"clipart_test\.txt image 1: 'clipart/ant/a\.jpg' is no path and class number"),
        (["clipart/ant/clipart_001_2.jpg 0", "a.jpg 0"], "says 0 of 'a.jpg', which is in no folder"),
        (["clipart/ant/clipart_001_2.jpg 5"], "says 5 of .*others of 'ant' are 0"),
        (["clipart/bee hive/clipart_002_1.jpg 0"], "give 0 to 'ant' and to 'bee hive'"),
        (["clipart/ant/a.jpg 0", "clipart/ant/a.jpg 0"], "image 2: .* is also image 1"),
        (["../ant/a.jpg 0"], "outside the set's folder"),
        (["clipart/ant/gone.jpg 0"], r"1 of 3 images cannot be read(.|\n)*gone\.jpg"),
    ],
)
def test_lines_that_are_wrong(lines, message, domainnet, options):
    (domainnet / "clipart_test.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        open_dataset("image_lists:domainnet?train=clipart_train.txt&test=clipart_test.txt", options)


@pytest.mark.parametrize("reference", ["domainnet", "domainnet#clipart?train=clipart_train.txt"])
def test_a_reference_without_lists_says_what_to_write(reference, domainnet, options):
    with pytest.raises(ValueError, match=r"write image_lists:FOLDER\?train=LIST"):
        open_dataset(f"image_lists:{reference}", options)


@pytest.fixture(params=["lists", "class folders"])
def visda(request, tmp_path, make_tree):
    """A class of VisDA's is called train, and lies in the folder train."""
    for folder in ("train", "validation"):
        names = [f"{name}/{folder}_{number}.png" for name in VISDA for number in range(2)]
        make_tree(tmp_path / "visda-2017" / folder, names)
        if request.param == "lists":
            lines = [f"{name} {VISDA.index(name.partition('/')[0])}" for name in reversed(names)]
            (tmp_path / "visda-2017" / folder / "image_list.txt").write_text("\n".join(lines) + "\n")
    return request.param


def test_visda_by_its_lists_and_by_its_folders(visda, options):
    synthetic, real = (open_dataset(f"visda-17#{part}", options) for part in ("synthetic", "real"))
    for dataset, folder in ((synthetic, "train"), (real, "validation")):
        assert dataset.classes == tuple(VISDA)
        (split,) = dataset.splits.values()
        found = {name.removeprefix(f"{folder}/"): label for name, label in labels_of(split, dataset.classes).items()}
        assert found == {f"{name}/{folder}_{number}.png": name for name in VISDA for number in range(2)}
    assert list(real.splits) == (["test"] if visda == "lists" else ["all"])


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("pacs#photo", "PACS/photo"),
        ("pacs#art_painting", "PACS/kfold/art_painting"),
        ("vlcs#SUN09", "VLCS/SUN09"),
        ("office-home#real-world", "OfficeHomeDataset_10072016/Real World"),
        ("office-home#art", "office_home/Art"),
        ("terra-incognita#location_38", "terra_incognita/location_38"),
    ],
)
def test_domains_in_class_folders(name, folder, tmp_path, options, make_tree):
    make_tree(tmp_path / folder, ["dog/a.jpg", "house/b.jpg"])
    make_tree(tmp_path / folder.rpartition("/")[0] / "another domain", ["dog/c.jpg"])
    dataset = open_dataset(name, options)
    assert dataset.name == name
    assert dataset.classes == ("dog", "house")
    assert len(dataset.splits["all"]) == 2
    stated = [line for line in dataset.warnings if "officially" in line and "images" in line.partition(",")[0]]
    assert any("all has 2 images" in line for line in stated) == ("terra" not in name), "whose counts nobody agrees on"
