"""Class folders as queries and gallery by the rule of 2023, in the layouts of the sets it was made for."""

import pytest

from tasks.catalogue import open_dataset

SPECIES = ["00000_A_b_c_d_e_f_g", "00001_A_b_c_d_e_f_h"]


def names(dataset, split):
    return list(dataset.splits[split].images.names)


def by_the_rule(files, most=None):
    """Written as the study's notes say it: int(0.2 n) of the sorted files, after the cut."""
    kept = sorted(files)[:most]
    return kept[: int(0.2 * len(kept))], kept[int(0.2 * len(kept)) :]


@pytest.mark.parametrize("most", [None, 5, 7, 50])
def test_the_first_fifth_of_each_class_asks(most, tmp_path, options, make_tree):
    sizes = {"ant": 11, "bee": 5, "cow": 4, "dog": 23}
    files = {name: [f"{name}/{n}.png" for n in range(count)] for name, count in sizes.items()}
    make_tree(tmp_path / "set", [file for several in files.values() for file in several])
    dataset = open_dataset(f"class_retrieval:set{f'?most={most}' if most else ''}", options)
    expected = {name: by_the_rule(several, most) for name, several in files.items()}
    assert names(dataset, "query") == sorted(file for query, _ in expected.values() for file in query)
    assert names(dataset, "gallery") == sorted(file for _, gallery in expected.values() for file in gallery)
    for split in ("query", "gallery"):
        labels = [dataset.classes[label] for label in dataset.splits[split].labels]
        assert labels == [name.partition("/")[0] for name in names(dataset, split)]
    assert "1 of 4 classes have no image in query: cow" in dataset.warnings


def test_the_sets_of_2023_by_name(tmp_path, options, make_tree):
    birds = [f"images/{bird}/{n}.png" for bird in ("001.Albatross", "002.Auklet") for n in range(10)]
    make_tree(tmp_path / "CUB_200_2011", [*birds, "segmentations/001.Albatross/0.png", "sizes.txt"])
    make_tree(tmp_path / "inat2021" / "val", [f"{name}/{n}.png" for name in SPECIES for n in range(10)])
    make_tree(tmp_path / "inat2021" / "train", [f"{name}/{n}.png" for name in SPECIES for n in range(10)])
    instre = [
        f"{name}/{n:03}.{ending}" for name in ("01a_book", "02a_box") for n in range(60) for ending in ("jpg", "txt")
    ]
    make_tree(tmp_path / "INSTRE-S1", instre)
    make_tree(
        tmp_path / "objectnet-1.0" / "images",
        [f"{name}/{n:02}.png" for name in ("air_freshener", "vase") for n in range(55)],
    )
    counts = {"cub-200-2011": (4, 16), "inaturalist-2021": (2, 8), "instre-s1": (20, 80), "objectnet": (20, 80)}
    for name, (queries, gallery) in counts.items():
        dataset = open_dataset(f"{name}#2023", options)
        assert (len(dataset.splits["query"]), len(dataset.splits["gallery"])) == (queries, gallery), name
        assert any("classes have images, officially" in line for line in dataset.warnings)
        told = any("images, officially" in line and "classes" not in line for line in dataset.warnings)
        assert told == (name == "inaturalist-2021"), "only its counts by split are known"
    assert names(open_dataset("inaturalist-2021#2023", options), "query") == [f"val/{name}/0.png" for name in SPECIES]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("set?most=1", "most='1'; it takes a whole number from 2 up"),
        ("set?most=few", "most='few'"),
        ("set?most=4", "no class has 5 images"),
        ("set?least=4", "did you mean 'most'|unknown setting"),
        ("parts", r"it has folders of splits \(test, train\); choose one, as in #test"),
        ("set#photo", "no images below #photo; there are: ant, bee"),
    ],
)
def test_what_is_no_class_retrieval(reference, message, tmp_path, options, make_tree):
    make_tree(tmp_path / "set", [f"{name}/{n}.png" for name in ("ant", "bee") for n in range(6)])
    make_tree(tmp_path / "parts", [f"{part}/{name}/a.png" for part in ("train", "test") for name in ("ant", "bee")])
    with pytest.raises(ValueError, match=message):
        open_dataset(f"class_retrieval:{reference}", options)
