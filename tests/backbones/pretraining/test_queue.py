"""The queue: first in, first out, around its end, without gradients; its nearest vector."""

import pytest
import torch
from torch.nn.functional import normalize

from backbones.pretraining.parts.queue import Queue


def numbered(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("counts", [(2, 2, 2), (3, 3, 3, 3), (5,), (4, 7), (12,), (1,) * 11])
def test_the_newest_take_the_places_of_the_oldest(counts: tuple[int, ...]) -> None:
    queue, kept = Queue(5, 1), []
    for count in counts:
        queue.add(numbered(len(kept), count))
        kept += range(len(kept), len(kept) + count)
        assert int(queue.added) == len(kept)
        assert queue.full == (len(kept) >= 5)
        assert {float(value) for value in kept[-5:]} <= set(queue.vectors.flatten().tolist())
    places = {number % 5: float(number) for number in kept}  # every number's place is its own modulo the size
    assert all(float(queue.vectors[place, 0]) == number for place, number in places.items())


def test_begins_with_random_unit_vectors() -> None:
    queue = Queue(64, 3)
    assert torch.allclose(queue.vectors.norm(dim=1), torch.ones(64))
    assert not queue.full
    assert float(queue.vectors.mean(0).norm()) < 0.5


def test_has_no_gradient() -> None:
    queue, grown = Queue(4, 2), torch.randn(3, 2, requires_grad=True)
    queue.add(grown * 2)
    assert not queue.vectors.requires_grad
    assert queue.vectors.grad_fn is None
    assert not queue.nearest(grown).requires_grad


def test_nearest_is_what_a_loop_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    queue = Queue(40, 6)
    queue.add(normalize(torch.randn(40, 6, generator=generator), dim=1))
    asked = torch.randn(9, 6, generator=generator)
    for vector, found in zip(asked, queue.nearest(asked), strict=True):
        assert torch.equal(found, max(queue.vectors, key=lambda entry: float(entry @ vector)))


def test_equals_lightlys_memory_bank() -> None:
    """Its bank is transposed, and drops what is left of a batch at its end: here batches fit."""
    module = pytest.importorskip("lightly.models.modules").NNMemoryBankModule(size=(12, 5))
    generator = torch.Generator().manual_seed(1)
    queue = Queue(12, 5)
    for step in range(5):
        newest = normalize(torch.randn(4, 5, generator=generator), dim=1)
        theirs = module(newest, update=True)
        if step >= 3:  # both are full of the same
            assert torch.allclose(theirs, queue.nearest(newest))
        queue.add(newest)


def test_several_vectors_of_an_image_stay_together() -> None:
    queue, pairs = Queue(3, 2, 4), torch.randn(5, 2, 4)
    queue.add(pairs)
    assert torch.equal(queue.vectors[[2, 0, 1]], pairs[2:])
