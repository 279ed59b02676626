"""How much a task computes, counted in images: what its time is estimated by before it has ever run."""

from dataclasses import dataclass

from tasks.search import Search, candidates, rounds

BACKWARD = 2
"""What the backward pass costs, in forward passes: gradients of the activations and of the weights."""


@dataclass(frozen=True)
class Work:
    """Images that go through the backbone to be looked at (``forward``), and images in steps of training it.

    ``side``: pixels a side of those images, where the task and not the backbone decides it. ``batch``: images of a step
    of training, which are in memory together.
    """

    forward: int
    trained: int = 0
    side: int | None = None
    batch: int = 0

    @property
    def passes(self) -> int:
        """Forward passes of one image that cost as much.

        >>> Work(forward=10, trained=100).passes
        310
        """
        return self.forward + (1 + BACKWARD) * self.trained


def tried(search: Search, epochs: int) -> tuple[int, int]:
    """(trainings, epochs of all of them together) that a search makes before the training that is tested.

    >>> tried(Search(4, "halving", {"learning_rate": (0.1, 0.2, 0.3)}), epochs=8)
    (6, 16)
    """
    count = len(candidates(search, seed=0))
    planned = rounds(search, count, epochs) if count > 1 else []
    return sum(size for size, _ in planned), sum(size * length for size, length in planned)
