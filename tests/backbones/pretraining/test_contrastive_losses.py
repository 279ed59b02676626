"""DCL, DCLW and losses of queries and keys: closed forms, the gradients' identity, lightly's, and what is refused."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from backbones.pretraining.losses.contrastive import dcl, dclw, info_nce, pair_weights, query_key, similarities


def two_views(images: int, dim: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(2, images, dim, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    first, second = normalize(drawn, dim=-1)
    return first, second


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_two_images_in_closed_form(temperature: float) -> None:
    eye = torch.eye(2, dtype=torch.float64)
    expected = -1 / temperature + math.log(2)
    assert float(dcl(eye, eye, temperature)) == pytest.approx(expected, abs=1e-12)
    assert float(dclw(eye, eye, temperature, 0.5)) == pytest.approx(expected, abs=1e-12)
    assert float(query_key(eye, eye, temperature)) == pytest.approx(math.log1p(math.exp(-1 / temperature)), abs=1e-12)
    assert float(query_key(eye, eye, temperature, decoupled=True)) == pytest.approx(-1 / temperature, abs=1e-12)


def test_dcl_and_dclw_against_a_loop() -> None:
    views = two_views(5, 7, 0)
    closeness = [math.exp(float(views[0][image] @ views[1][image]) / 0.4) for image in range(5)]
    plain = weighted = 0.0
    for own in range(2):
        for anchor in range(5):
            others = [views[view][image] for view in range(2) for image in range(5) if image != anchor]
            negatives = math.log(sum(math.exp(float(views[own][anchor] @ other) / 0.3) for other in others))
            positive = float(views[own][anchor] @ views[1 - own][anchor]) / 0.3
            plain += negatives - positive
            weighted += negatives - (2 - 5 * closeness[anchor] / sum(closeness)) * positive
    assert float(dcl(*views, 0.3)) == pytest.approx(plain / 10, abs=1e-12)
    assert float(dclw(*views, 0.3, 0.4)) == pytest.approx(weighted / 10, abs=1e-12)


def test_an_anchors_gradient_of_info_nce_is_that_of_dcl_times_the_share_of_negatives() -> None:
    first, second = two_views(6, 5, 1)
    first.requires_grad_()
    positives, negatives = similarities(first, second, 0.5)
    assert float(info_nce(first, second, 0.5).detach()) == pytest.approx(
        float((torch.logaddexp(positives, negatives) - positives).mean().detach()), abs=1e-14
    )
    for anchor in range(6):
        mine = positives[anchor], negatives[anchor]
        coupled = torch.autograd.grad(torch.logaddexp(*mine) - mine[0], first, retain_graph=True)[0][anchor]
        decoupled = torch.autograd.grad(mine[1] - mine[0], first, retain_graph=True)[0][anchor]
        share = torch.sigmoid(mine[1] - mine[0]).detach()
        assert float((coupled - share * decoupled).abs().max()) < 1e-14


def test_the_same_of_queries_and_keys() -> None:
    queries, keys = two_views(6, 5, 2)
    queries.requires_grad_()
    coupled, decoupled = (
        torch.autograd.grad(query_key(queries, keys, 0.2, each), queries)[0] for each in (False, True)
    )
    logits = (queries @ keys.T / 0.2).detach()
    shares = 1 - logits.softmax(1).diagonal()
    assert float((coupled - shares[:, None] * decoupled).abs().max()) < 1e-14


def test_the_share_of_negatives_of_two_images() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    positives, negatives = similarities(eye, eye, 0.5)
    assert torch.sigmoid(negatives - positives).tolist() == pytest.approx([2 / (math.exp(2) + 2)] * 4, abs=1e-12)


def test_weights_have_mean_one_no_gradient_and_can_be_negative() -> None:
    first, second = two_views(16, 8, 3)
    first.requires_grad_()
    weights = pair_weights(first, second, 0.5)
    assert float(weights.mean()) == pytest.approx(1, abs=1e-14)
    assert not weights.requires_grad
    close = first.detach().clone()
    close[1:] *= -1
    assert float(pair_weights(first, close, 0.1)[0]) < 0  # the only pair that is close


def test_the_order_of_images_does_not_matter() -> None:
    first, second = two_views(9, 4, 4)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    for loss in (lambda a, b: dcl(a, b, 0.1), lambda a, b: dclw(a, b, 0.1, 0.5), lambda a, b: query_key(a, b, 0.1)):
        assert float(loss(first[shuffled], second[shuffled])) == pytest.approx(float(loss(first, second)), abs=1e-12)


def test_equal_lightlys() -> None:
    """Its losses too are means over images and both directions, and its weights are detached."""
    lightly = pytest.importorskip("lightly.loss")
    first, second = two_views(16, 32, 6, torch.float32)
    assert float(dcl(first, second, 0.2)) == pytest.approx(
        float(lightly.DCLLoss(temperature=0.2)(first, second)), abs=1e-5
    )
    assert float(dclw(first, second, 0.2, 0.4)) == pytest.approx(
        float(lightly.DCLWLoss(temperature=0.2, sigma=0.4)(first, second)), abs=1e-5
    )


def test_query_key_is_cross_entropy() -> None:
    queries, keys = two_views(7, 5, 7)
    expected = torch.nn.functional.cross_entropy(queries @ keys.T / 0.2, torch.arange(7))
    assert float(query_key(queries, keys, 0.2)) == pytest.approx(float(expected), abs=1e-12)


def test_a_single_image_is_refused_by_all() -> None:
    one = torch.ones(1, 4)
    for loss in (
        lambda: info_nce(one, one, 0.1), lambda: dcl(one, one, 0.1), lambda: dclw(one, one, 0.1, 0.5),
        lambda: query_key(one, one, 0.1), lambda: query_key(one, one, 0.1, decoupled=True),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="at least 2 images in a batch"):
            loss()
