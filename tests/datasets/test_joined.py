"""Parts put together: the same rows whoever carved them, and two sources one after the other."""

import numpy as np

from backbones.images import Images
from tasks.datasets.base import Dataset, Split
from tasks.datasets.joined import join
from tasks.datasets.partition import partition


class Numbered:
    def __init__(self, name: str, count: int) -> None:
        self.identity, self.names = name, tuple(f"{name}-{row}" for row in range(count))

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        return self.names[index].encode()


def dataset(**splits: tuple[int, int]) -> Dataset:
    made = {}
    for name, (count, first) in splits.items():
        images: Images = Numbered(name, count)
        made[name] = Split(images, (np.arange(count) + first) % 3, tuple(images.names))
    return Dataset("d", ("a", "b", "c"), made, "m", "none", "tests", 1, 1)


def test_what_was_carved_goes_back_to_its_place_whatever_the_seed() -> None:
    data = dataset(train=(30, 0), test=(6, 0))
    for seed in range(3):
        parts = partition(data, seed)
        whole = join(parts.train, parts.val)
        assert whole.rows.tolist() == list(range(30))
        np.testing.assert_array_equal(whole.labels, data.splits["train"].labels)
        assert whole.images is data.splits["train"].images


def test_two_splits_keep_each_image_with_its_label() -> None:
    parts = partition(dataset(train=(9, 0), val=(4, 1), test=(3, 0)), 0)
    whole = join(parts.train, parts.val)
    assert len(whole.images) == len(whole) == 13
    assert isinstance(whole.images, Images)
    for row, label, name in zip(whole.rows.tolist(), whole.labels.tolist(), whole.names, strict=True):
        split, number = name.split("-")
        assert whole.images.read(row).decode() == name
        assert label == (int(number) + (split == "val")) % 3
    assert whole.images.identity not in (parts.train.images.identity, parts.val.images.identity)
