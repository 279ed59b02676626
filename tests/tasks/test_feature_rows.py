"""Features between cache and task: nothing is copied that need not be, and what is read block by block is the same."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import rows as rows_module
from tasks.classification.linear_sgd import StreamedProbe
from tasks.classification.probe import scaling_of
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, partition
from tasks.features import collapse_notes, features_of, rows_of
from tasks.moments import moments
from tasks.rows import Rows, blocks_of


@pytest.fixture
def mapped(tmp_path: Path) -> Any:
    """``mapped(matrix)`` from a file, as the feature cache hands it out."""

    def write(matrix: np.ndarray) -> np.ndarray:
        np.save(tmp_path / "features.npy", matrix)
        return np.load(tmp_path / "features.npy", mmap_mode="r")

    return write


def part_of(dataset: Dataset, split: str, rows: np.ndarray | None = None) -> Part:
    found = dataset.splits[split]
    rows = np.arange(len(found)) if rows is None else rows
    return Part(split, found.images, rows, found.labels[rows])


def test_a_whole_split_in_float32_is_the_file_itself(world: Any, mapped: Any) -> None:
    matrix = mapped(np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32))
    dataset = world.dataset("d", ("a", "b"), {"train": (matrix, np.arange(30) % 2)})
    found = features_of(world.nobody, part_of(dataset, "train"), world.extract)
    assert np.shares_memory(found, matrix)
    assert found.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


@pytest.mark.parametrize("kept", [np.float16, np.float32])
@pytest.mark.parametrize("rows", [np.array([3, 1, 7]), np.arange(30)[::-1], np.arange(29)])
def test_other_rows_and_other_storage_are_copied_right(kept: Any, rows: np.ndarray, world: Any, mapped: Any) -> None:
    matrix = mapped(np.random.default_rng(0).normal(size=(30, 5)).astype(kept))
    dataset = world.dataset("d", ("a", "b"), {"train": (matrix, np.arange(30) % 2)})
    part = part_of(dataset, "train", rows)
    np.testing.assert_array_equal(features_of(world.nobody, part, world.extract), matrix[rows].astype(np.float32))
    streamed = rows_of(world.nobody, part, world.extract)
    np.testing.assert_array_equal(streamed.take(np.arange(len(rows))), matrix[rows].astype(np.float32))


def test_rows_of_several_matrices_are_counted_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK", 8)
    one, two = np.arange(20.0).reshape(5, 4), -np.arange(12.0, dtype=np.float16).reshape(3, 4)
    both = Rows(((one, np.array([4, 0, 2])),)).joined(Rows(((two, np.array([2, 1])),)))
    expected = np.concatenate([one[[4, 0, 2]], two[[2, 1]]]).astype(np.float32)
    assert (len(both), both.dim) == (5, 4)
    np.testing.assert_array_equal(both.take(np.array([4, 1, 1, 3])), expected[[4, 1, 1, 3]])
    blocks = list(both.blocks())
    assert [len(block) for block in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    with pytest.raises(ValueError, match=r"got dims \[4, 5\]"):
        both.joined(Rows(((np.ones((2, 5)), np.arange(2)),)))


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_moments_of_blocks_are_those_of_the_whole(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK", 50)
    matrix = (np.random.default_rng(0).normal(size=(103, 7)) + offset).astype(np.float32)
    matrix[:, 2] = 3
    found = moments(blocks_of(matrix))
    np.testing.assert_allclose(found.mean, matrix.astype(np.float64).mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.std, matrix.astype(np.float64).std(0), rtol=1e-9)
    assert found.std[2] == 0
    assert scaling_of(matrix).factor[2] == 0
    with pytest.raises(ValueError, match="no rows"):
        moments([])


def test_collapse_is_seen_in_rows_as_in_a_matrix() -> None:
    alike = np.ones((40, 3), np.float32) + 1e-6 * np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    for features, count in ((alike, 1), (np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), 0)):
        assert len(list(collapse_notes(features, "train"))) == count
        assert len(list(collapse_notes(Rows(((features, np.arange(40)),)), "train"))) == count


def test_a_streamed_probe_never_holds_the_matrix(world: Any, mapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """41 MB of features on disk, a batch of 0.13 MB: everything numpy allocates stays below 6 MB."""
    monkeypatch.setattr(rows_module, "BLOCK", 2**17)
    matrix = mapped(np.random.default_rng(0).normal(size=(20_000, 512)).astype(np.float32))
    labels = np.arange(20_000) % 3
    test = np.ones((9, 512), np.float32) * np.arange(9)[:, None].astype(np.float32), np.arange(9) % 3
    dataset = world.dataset("d", ("a", "b", "c"), {"train": (matrix, labels), "test": test})
    partition(dataset, 0)
    tracemalloc.start()
    world.run(StreamedProbe(batch=64, epochs=1, learning_rates=[0.01, 0.1]), dataset=dataset)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6
    assert matrix.nbytes > 40e6
