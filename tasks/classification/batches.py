"""Batches of stored features in the order of an epoch, read from disk while the one before is learnt from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int64

from backbones.training.order import epoch_order
from tasks.rows import Rows

Item = TypeVar("Item")
Batch = tuple[Float32[np.ndarray, "b dim"], Int64[np.ndarray, " b"]]


def shuffled(
    rows: Rows, labels: Int64[np.ndarray, " n"], batch: int, epochs: int, seed: int
) -> Iterator[tuple[float, Batch]]:
    """Every batch of every epoch, with the time (in epochs) at which it is learnt from."""
    steps = len(rows) // batch
    for epoch in range(epochs):
        order = epoch_order(len(rows), seed, epoch)
        for step in range(steps):
            wanted = np.sort(order[step * batch : (step + 1) * batch])  # a batch is a set; sorted it is read forwards
            yield epoch + step / steps, (rows.take(wanted), labels[wanted])


def in_order(rows: Rows, labels: Int64[np.ndarray, " n"], batch: int) -> Iterator[Batch]:
    """Every row once."""
    for begin in range(0, len(rows), batch):
        wanted = np.arange(begin, min(begin + batch, len(rows)))
        yield rows.take(wanted), labels[wanted]


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; the next is made in a thread while one is used, so that two are held at once."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
