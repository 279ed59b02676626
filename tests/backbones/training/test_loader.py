"""Items come in order and exact, whoever loads them; nothing stays behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.training import shared_memory
from backbones.training.loader import Wanted, load
from backbones.training.shared_memory import pack, unpack

RUNS = (range(6), range(6, 9), range(9, 17))
WANTED = [Wanted(epoch, tuple(run)) for epoch in (0, 1) for run in RUNS]


class Numbers:
    """Items of every shape and kind that a stream may have; ``at`` is called with each index first."""

    def __init__(self, count=64, at=lambda index: None):
        self.count, self.at = count, at
        self.names = [f"number-{index}" for index in range(count)]

    def __len__(self):
        return self.count

    def load(self, index, epoch):
        self.at(index)
        chance = np.random.default_rng((index, epoch))
        return {
            "pixels": torch.from_numpy(chance.integers(0, 256, (index + 1, 7, 3), dtype=np.uint8)),
            "boxes": chance.normal(size=(index % 4, 4)).astype(np.float32),
            "half": torch.full((3, index), 0.5, dtype=torch.float16),
            "view": torch.from_numpy(chance.normal(size=(5, 6))).T,
            "who": (index, epoch, f"{index}", np.int64(index)),
        }

    def batch(self, items, step, device):
        return items


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | torch.Tensor):
        assert one.dtype == other.dtype
        return one.shape == other.shape and bool((one == other).all())
    return one == other


def children():
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_every_item_in_order_whoever_loads_it(workers):
    stream, before = Numbers(), children()
    expected = [[stream.load(row, each.epoch) for row in each.rows] for each in WANTED]
    assert same(list(load(stream, WANTED, workers)), expected)
    assert children() == before


def test_a_large_micro_batch_and_many_of_one():
    stream = Numbers(3000)
    large = Wanted(0, tuple(range(3000)))
    assert [item["who"][0] for item in next(load(stream, [large], 2))] == list(range(3000))
    ones = [Wanted(0, (row,)) for row in range(50)]
    assert [item["who"][0] for (item,) in load(stream, ones, 3)] == list(range(50))
    assert list(load(stream, [], 2)) == []


def test_items_outlive_the_loader_and_can_be_written_to():
    items = next(load(Numbers(), WANTED, 2))
    gc.collect()
    items[3]["pixels"] += 1
    assert same(items[4], Numbers().load(4, 0))
    assert (items[3]["pixels"] == Numbers().load(3, 0)["pixels"] + 1).all()


def test_it_is_read_ahead_but_not_far():
    taken = []

    def wanted():
        for each in range(100):
            taken.append(each)
            yield Wanted(0, tuple(range(8)))

    with closing(load(Numbers(), wanted(), 2)) as batches:
        next(batches)
        assert taken == [0, 1, 2]


def test_closing_ends_the_workers_at_once_and_frees_descriptors():
    def slow(index):
        time.sleep(60 if index == 30 else 0)

    before, descriptors = children(), len(os.listdir("/proc/self/fd"))
    batches = load(Numbers(at=slow), [Wanted(0, (row,)) for row in range(28, 40)], 2)
    next(batches)
    assert len(children()) == len(before) + 2
    started = time.monotonic()
    batches.close()
    assert time.monotonic() - started < 2
    assert children() == before
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_stream_raises_is_raised_and_names_the_item(workers):
    class BrokenError(ValueError):
        """Cannot be rebuilt from its message."""

        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def fail(index):
        if index == 7:
            raise ConnectionResetError("gone")  # of the disk's network, not of the worker
        if index == 12:
            raise BrokenError(1, 2)

    batches = load(Numbers(at=fail), WANTED, workers)
    next(batches)
    with pytest.raises(ConnectionResetError, match="gone") as caught:
        list(batches)
    assert any("item 7 ('number-7') of epoch 0" in note for note in caught.value.__notes__)
    with pytest.raises((BrokenError, RuntimeError), match="1 and 2") as caught:
        list(load(Numbers(at=fail), [Wanted(3, (12,))], workers))
    assert any("item 12 ('number-12') of epoch 3" in note for note in caught.value.__notes__)


def test_signals_of_the_group_reach_the_parent_alone():
    """What a terminal or a scheduler sends to every process must not look like a lost worker."""
    others = set(children())
    with closing(load(Numbers(), WANTED, 2)) as batches:
        first = next(batches)
        for pid in set(children()) - others:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                os.kill(pid, number)
        assert same([first, *batches], list(load(Numbers(), WANTED, 0)))


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from backbones.training.loader import Wanted, load\n"
        "class Slow:\n"
        "    names = ['slow'] * 9\n"
        "    def load(self, index, epoch): return index\n"
        "batches = load(Slow(), [Wanted(0, (0, 1))] * 3, 2)\n"
        "next(batches)\n"
        "print(Path(f'/proc/self/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pids = parent.stdout.readline().split()
        parent.kill()
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers went on without a parent"
        time.sleep(0.1)


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def test_packing_says_how_much_memory_there_was_not(monkeypatch):
    monkeypatch.setattr(shared_memory, "_unnamed_memory", lambda: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError, match=r"no memory to hand over 1\.0 MiB for 1 items.*No space left.*fewer workers"):
        pack([np.zeros(2**20, np.uint8)])


def test_packed_arrays_are_aligned():
    items = [np.arange(count, dtype=np.float64) for count in (1, 3, 5)]
    for array, found in zip(items, unpack(*pack(items)), strict=True):
        assert found.ctypes.data % shared_memory.ALIGNMENT == 0
        np.testing.assert_array_equal(array, found)
