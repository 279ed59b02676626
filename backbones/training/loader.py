"""Loads the items of micro-batches, in order, ahead of their use."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from backbones.training.stream import Stream


@dataclass(frozen=True)
class Wanted:
    """The rows of one micro-batch, in order, and the epoch they are read in."""

    epoch: int
    rows: tuple[int, ...]


def load(stream: Stream, wanted: Iterable[Wanted], workers: int) -> Iterator[list[Any]]:
    """The items of each micro-batch, in order; ``workers`` 0 loads in this process."""
    for each in wanted:
        yield [stream.load(row, each.epoch) for row in each.rows]
