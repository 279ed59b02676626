"""Loads the items of micro-batches, in order, ahead of their use."""

from collections.abc import Generator, Iterable
from typing import Any

from backbones.training.stream import Stream
from backbones.training.workers import Wanted, Workers, load_item

__all__ = ["Wanted", "load"]


def load(
    stream: Stream, wanted: Iterable[Wanted], workers: int, stall_seconds: float = 300.0
) -> Generator[list[Any], None, None]:
    """The items of each micro-batch, in order, loaded by ``workers`` processes, or with 0 by this one.

    ``wanted`` is read ahead of what is handed out. Processes begin with the first item and are gone when the generator
    is closed or exhausted (``contextlib.closing`` closes it at once). Raises what the stream raises, with a note that
    names the item, ``WorkerLost`` for a process that was killed and ``LoadingStalled`` where one item takes longer
    than ``stall_seconds``.
    """
    if workers == 0:
        for each in wanted:
            yield [load_item(stream, row, each.epoch) for row in each.rows]
        return
    with Workers(stream, workers, stall_seconds) as processes:
        yield from processes.load(wanted)
