from dataclasses import replace

import numpy as np
import pytest

from tasks.datasets.base import Dataset, Split, carve, carve_groups
from tasks.datasets.partition import evaluation_part, partition
from tasks.datasets.sources import MemoryFiles, SourceImages


def dataset(**labels):
    splits = {}
    for name, values in labels.items():
        files = tuple(f"{name}{index}" for index in range(len(values)))
        splits[name] = Split(
            SourceImages(MemoryFiles("m", {}), files, files), np.asarray(values, dtype=np.int64), files
        )
    return Dataset("d", ("a", "b", "c"), splits, "0", "", "", 0, 0)


MANY = [0] * 20 + [1] * 10 + [2] * 5


@pytest.mark.parametrize("seed", range(20))
def test_carve_is_a_stratified_partition(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 8, generator.integers(1, 120)).astype(np.int64)
    fraction = float(generator.uniform(0.05, 0.9))
    kept, carved = carve(labels, fraction, seed)
    assert sorted([*kept, *carved]) == list(range(len(labels)))
    for label in set(labels.tolist()):
        n = int((labels == label).sum())
        expected = 0 if n == 1 else min(max(1, round(fraction * n)), n - 1)
        assert (labels[carved] == label).sum() == expected


@pytest.mark.parametrize("labels", [[], [3], [0, 1, 2]])
def test_carve_of_nothing_or_of_single_images_keeps_all(labels):
    kept, carved = carve(np.asarray(labels, dtype=np.int64), 0.2, 0)
    assert kept.tolist() == list(range(len(labels)))
    assert carved.tolist() == []
    assert kept.dtype == carved.dtype == np.int64


@pytest.mark.parametrize("seed", range(20))
def test_carve_groups_divides_none_and_stops_where_it_has_enough(seed):
    generator = np.random.default_rng(seed)
    groups = [f"g{number}" for number in generator.integers(0, generator.integers(2, 40), 100)]
    fraction = float(generator.uniform(0.05, 0.9))
    kept, carved = carve_groups(groups, fraction, seed)
    assert sorted([*kept, *carved]) == list(range(100))
    ours, theirs = ({groups[row] for row in rows} for rows in (kept, carved))
    assert not ours & theirs
    assert len(ours) >= 1
    largest = max(groups.count(group) for group in theirs)
    assert len(carved) >= round(fraction * 100) or len(ours) == 1
    assert len(carved) - largest < round(fraction * 100) or len(theirs) == 1


def test_one_group_cannot_be_divided():
    assert carve_groups(["g"] * 5, 0.2, 0)[1].tolist() == []
    assert carve_groups([], 0.2, 0)[0].tolist() == []
    one = dataset(all=[0] * 5)
    one = replace(one, splits={"all": replace(one.splits["all"], groups=("g",) * 5)})
    with pytest.raises(ValueError, match="all images are of one group"):
        partition(one, 0)


def test_images_without_a_class_are_shuffled_and_keep_their_targets():
    plain = dataset(all=[-1] * 50)
    targets = np.arange(100, dtype=np.float32).reshape(50, 2)
    data = replace(plain, target="multilabel", splits={"all": replace(plain.splits["all"], targets=targets)})
    one, other = partition(data, 0), partition(data, 1)
    assert [len(one.train), len(one.val), len(one.test)] == [32, 8, 10]
    assert one.test.rows.tolist() == other.test.rows.tolist()
    assert one.val.rows.tolist() != other.val.rows.tolist()
    for part in (one.train, one.val, one.test):
        np.testing.assert_array_equal(part.targets, targets[part.rows])
    assert one.notes["test"] == "carved from all: 20 %, shuffled, the same for every seed"


def test_official_splits_stay_and_no_seed_matters():
    parts = partition(dataset(train=MANY, val=[0, 1], test=[2]), 3)
    assert (parts.train.split, parts.val.split, parts.test.split, parts.seeded) == ("train", "val", "test", False)
    assert [len(parts.train), len(parts.val), len(parts.test)] == [35, 2, 1]


def test_val_is_carved_from_train_by_seed():
    data = dataset(train=MANY, test=[0, 1])
    one, other = partition(data, 0), partition(data, 1)
    assert one.seeded
    assert np.bincount(one.val.labels).tolist() == [4, 2, 1]
    assert not set(one.train.rows) & set(one.val.rows)
    assert sorted([*one.train.rows, *one.val.rows]) == list(range(35))
    assert one.val.rows.tolist() != other.val.rows.tolist()
    assert partition(data, 0).val.rows.tolist() == one.val.rows.tolist()
    assert "seed 0" in one.notes["val"]


def test_val_without_test_becomes_the_test():
    parts = partition(dataset(train=MANY, val=[0, 1]), 0)
    assert (parts.test.split, parts.val.split) == ("val", "train")
    assert "official val" in parts.notes["test"]


@pytest.mark.parametrize("name", ["all", "train"])
def test_one_split_gives_every_seed_the_same_test(name):
    data = dataset(**{name: MANY})
    one, other = partition(data, 0), partition(data, 1)
    assert one.test.rows.tolist() == other.test.rows.tolist()
    assert one.val.rows.tolist() != other.val.rows.tolist()
    assert sorted([*one.train.rows, *one.val.rows, *one.test.rows]) == list(range(35))
    for part in (one.train, one.val, one.test):
        assert part.labels.tolist() == [MANY[row] for row in part.rows]
        assert part.names == [f"{name}{row}" for row in part.rows]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(all=[0, 1, 2]), "no class has two images"),
        (dataset(train=[], test=[0]), "its train split is empty"),
        (dataset(query=[0], gallery=[0]), "splits query, gallery"),
        (dataset(test=[0]), "to learn from it takes train or all"),
    ],
)
def test_what_cannot_be_learnt_from_says_why(data, message):
    with pytest.raises(ValueError, match=message):
        partition(data, 0)


def test_everything_in_one_class():
    parts = partition(dataset(all=[0] * 10), 0)
    assert [len(parts.train), len(parts.val), len(parts.test)] == [6, 2, 2]


def test_what_a_test_only_set_is_tested_on():
    assert evaluation_part(dataset(train=MANY, val=[1], test=[0])).split == "test"
    assert evaluation_part(dataset(train=MANY, val=[1])).split == "val"
    assert len(evaluation_part(dataset(all=MANY))) == 35
    with pytest.raises(ValueError, match="none to classify"):
        evaluation_part(dataset(query=[0], gallery=[0]))
