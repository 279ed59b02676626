"""What is drawn for a view against what torchvision draws: the same distributions, by two-sample tests."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chi2_contingency, ks_1samp, ks_2samp, uniform
from torchvision.transforms import ColorJitter, GaussianBlur, RandomResizedCrop

from backbones.pretraining.views.draws import NUMBERS, draw
from backbones.pretraining.views.parameters import NONE, Parameters, crop_boxes, parameters
from backbones.pretraining.views.settings import ViewGroup, colour

COUNT = 2000
UNLIKELY = 1e-3
"""Seeds are fixed: a test that passes always passes."""
GROUP = ViewGroup(blur=0.3, solarise=0.2, **colour(0.5, 0.4))


def numbers(seed: int = 0, count: int = COUNT) -> np.ndarray:
    return np.concatenate([draw(seed, 0, index, 1) for index in range(count)])


def of_square_images(group: ViewGroup, size: int = 32) -> Parameters:
    side = np.full(COUNT, 48)
    return parameters(numbers(), side, side, group, size)


def test_numbers_are_uniform_and_independent() -> None:
    table = np.stack([draw(5, epoch, index, 3) for epoch in range(4) for index in range(500)]).reshape(2000, -1)
    assert table.min() >= 0
    assert table.max() < 1
    assert ks_1samp(table.ravel(), uniform.cdf).pvalue > UNLIKELY
    beside = np.concatenate([np.corrcoef(table.T)[np.triu_indices(3 * NUMBERS, 1)]])
    after = [np.corrcoef(table[:-1, column], table[1:, column])[0, 1] for column in range(3 * NUMBERS)]
    assert np.abs([*beside, *after]).max() < 5 / np.sqrt(2000)


def test_numbers_belong_to_seed_epoch_and_item() -> None:
    one = draw(5, 3, 7, 2)
    assert np.array_equal(one, draw(5, 3, 7, 2))
    assert np.array_equal(one, draw(5, 3, 7, 4)[:2])
    others = [draw(6, 3, 7, 2), draw(5, 4, 7, 2), draw(5, 3, 8, 2), draw(3, 5, 7, 2)]
    assert all(np.abs(one - other).min() > 0 for other in others)
    assert one[0, :2].tolist() == [0.30996351422106017, 0.8189677159999335]  # for ever


@pytest.mark.parametrize(
    ("shape", "scale", "ratio"),
    [
        ((32, 32), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((375, 500), (0.05, 0.14), (3 / 4, 4 / 3)),
        ((24, 300), (0.2, 1.0), (3 / 4, 4 / 3)),
        ((300, 24), (0.2, 1.0), (1 / 3, 3.0)),
        ((64, 80), (1.0, 1.0), (1.0, 1.0)),
    ],
)
def test_crops_are_torchvisions(shape: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    """The strips have fall-backs, which fit in the middle."""
    torch.manual_seed(0)
    image = torch.empty(1, *shape)
    theirs = np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(COUNT)])
    height, width = np.full(COUNT, shape[0]), np.full(COUNT, shape[1])
    mine = crop_boxes(numbers(), height, width, scale, ratio)
    assert (mine[:, :2] >= 0).all()
    assert (mine[:, 2:] > 0).all()
    assert (mine[:, :2] + mine[:, 2:] <= shape).all()
    for one, other in zip(_facts(mine), _facts(theirs), strict=True):
        assert ks_2samp(one, other, method="asymp").pvalue > UNLIKELY


def _facts(boxes: np.ndarray) -> list[np.ndarray]:
    """Areas, aspects, tops and lefts."""
    top, left, height, width = boxes.T
    return [height * width, width / height, top, left]


def test_jitter_is_torchvisions() -> None:
    torch.manual_seed(0)
    jitter = ColorJitter(0.4, 0.4, 0.2, 0.1)
    drawn = [
        ColorJitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) for _ in range(COUNT)
    ]
    mine = of_square_images(GROUP)
    done = mine.order[:, 0] != NONE
    assert binomtest(int(done.sum()), COUNT, 0.8).pvalue > UNLIKELY
    for place in range(4):
        assert ks_2samp(mine.factors[:, place], [each[1 + place] for each in drawn]).pvalue > UNLIKELY
    orders = [tuple(order) for order in mine.order[done].tolist()]
    theirs = [tuple(each[0].tolist()) for each in drawn]
    every = sorted(set(theirs))
    assert len(every) == 24
    table = [[sample.count(order) for order in every] for sample in (orders, theirs)]
    assert sum(table[0]) == done.sum()
    assert chi2_contingency(table).pvalue > UNLIKELY


def test_an_operation_without_strength_is_left_out() -> None:
    order = of_square_images(ViewGroup(jitter=1.0, brightness=0.4, hue=0.1)).order
    assert {tuple(sorted(row)) for row in order.tolist()} == {(NONE, NONE, 0, 3)}
    assert (of_square_images(ViewGroup(brightness=0.4)).order == NONE).all()


def test_shares_are_as_asked() -> None:
    mine = of_square_images(GROUP)
    for found, share in ((mine.flip, 0.5), (mine.grey, 0.2), (mine.sigma > 0, 0.3), (mine.solarise, 0.2)):
        assert binomtest(int(found.sum()), COUNT, share).pvalue > UNLIKELY
    everything = of_square_images(ViewGroup(flip=1.0, grey=1.0, solarise=1.0, blur=1.0))
    assert everything.flip.all()
    assert everything.grey.all()
    assert everything.solarise.all()
    assert (everything.sigma > 0).all()
    nothing = of_square_images(ViewGroup(flip=0.0))
    assert not np.concatenate([nothing.flip, nothing.grey, nothing.solarise, nothing.sigma]).any()


def test_sigmas_are_torchvisions_and_shrink_with_the_view() -> None:
    torch.manual_seed(0)
    theirs = [GaussianBlur.get_params(0.1, 2.0) for _ in range(COUNT)]
    mine = of_square_images(ViewGroup(blur=1.0), size=56).sigma
    assert ks_2samp(4 * mine, theirs).pvalue > UNLIKELY
