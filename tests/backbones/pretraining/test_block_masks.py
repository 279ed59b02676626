"""Block-wise masks: an exact count, neighbours together, no place preferred, and chance only from the generator."""

import math

import pytest
import torch
from torch import Tensor

from backbones.pretraining.parts.block_masks import block_masks


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [0, 1, 3, 5, 40, 95, 96])
def test_every_image_has_exactly_the_count(count: int) -> None:
    assert block_masks((8, 12), count, 20, _seeded()).sum(1).tolist() == [count] * 20


def test_images_can_have_counts_of_their_own() -> None:
    counts = torch.tensor([0, 7, 30, 64])
    masks = block_masks((8, 8), counts, 4, _seeded())
    assert torch.equal(masks.sum(1), counts)


def test_the_generator_alone_decides() -> None:
    one, same, other = (block_masks((14, 14), 60, 6, _seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len({tuple(mask.tolist()) for mask in one}) == 6


def test_without_a_generator_torchs_own() -> None:
    torch.manual_seed(5)
    drawn = block_masks((6, 6), 10, 3)
    assert torch.equal(drawn, block_masks((6, 6), 10, 3, _seeded(5)))


def test_neighbours_are_masked_together() -> None:
    """Of scattered patches, a masked one's right neighbour is masked as often as any: 59 of 195."""
    masks = block_masks((14, 14), 60, 200, _seeded()).view(200, 14, 14)
    assert _right_neighbour_too(masks) > 0.65
    scattered = torch.rand(200, 196, generator=_seeded()).argsort(1).argsort(1).view(200, 14, 14) < 60
    assert _right_neighbour_too(scattered) == pytest.approx(59 / 195, abs=0.02)


def _right_neighbour_too(masks: Tensor) -> float:
    first = masks[:, :, :-1]
    return float((first & masks[:, :, 1:]).sum() / first.sum())


def test_no_side_is_preferred() -> None:
    """Mirrored or turned, masks are as likely: opposite cells are masked equally often, within four sigma."""
    images = 4000
    often = block_masks((6, 6), 11, images, _seeded()).view(images, 6, 6).double().mean(0)
    four = 4 * math.sqrt(2 * 0.25 / images)
    for turned in (often.flip(0), often.flip(1), often.T):
        assert float((often - turned).abs().max()) < four


def test_a_single_block_keeps_its_shape() -> None:
    """Four patches are one block of 4 x 1, 2 x 2 or 1 x 4, unless rounding made it smaller or too large: half are."""
    masks = block_masks((14, 14), 4, 400, _seeded()).view(400, 14, 14)
    rows, columns = masks.any(2).sum(1), masks.any(1).sum(1)
    assert float((rows * columns == 4).double().mean()) > 0.4


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot mask 17 to 17 of 16 patches"):
        block_masks((4, 4), 17, 2)
