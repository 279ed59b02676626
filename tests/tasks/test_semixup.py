"""Semixup and the mixup it shares with its supervised twin: every term by hand, bounds, and where gradients go."""

import numpy as np
import pytest
import torch
from scipy.stats import beta

from tasks.classification.semi_supervised.consistency import consistency
from tasks.classification.semi_supervised.methods.semixup import Semixup
from tasks.classification.semi_supervised.methods.supervised import Supervised
from tasks.classification.semi_supervised.mixing import own_share
from tests.semi_supervised_fakes import Bent, noise_batch

NO_UNLABELLED = {"in_manifold_weight": 0.0, "interpolation_weight": 0.0, "out_of_manifold_weight": 0.0}


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits)
    return raised / raised.sum(1, keepdims=True)


def test_consistency_is_a_symmetric_distance_that_pulls_at_both_sides() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(6, 4, generator=generator, requires_grad=True) for _ in range(2))
    assert consistency(one, one) == 0
    assert consistency(one, other) == consistency(other, one)
    expected = np.mean((softmax(one.detach().numpy()) - softmax(other.detach().numpy())) ** 2)
    assert float(consistency(one, other).detach()) == pytest.approx(expected, abs=1e-6)
    consistency(one, other).backward()
    for side in (one, other):
        assert side.grad is not None
        assert (side.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("least", [0.5, 0.55, 0.7])
def test_the_share_stays_within_its_bounds_and_meets_the_lower_one_as_often_as_beta_says(least: float) -> None:
    draws = np.random.default_rng(0)
    shares = np.asarray([own_share(draws, 0.75, least) for _ in range(10_000)])
    assert shares.min() >= least
    assert shares.max() <= 1
    at_the_bound = beta(0.75, 0.75).cdf(least) - beta(0.75, 0.75).cdf(1 - least)
    assert (shares == least).mean() == pytest.approx(at_the_bound, abs=0.015)
    assert (shares < 0.9).mean() == pytest.approx(1 - 2 * beta(0.75, 0.75).cdf(0.1), abs=0.015)


def by_hand(settings: Semixup, of_logits: bool = True) -> float:
    """The loss of :func:`noise_batch`, one image after the other."""
    batch, weight = noise_batch(settings), Bent().weight.detach().numpy()

    def answer(image: np.ndarray) -> np.ndarray:
        return 3 * np.tanh(image.mean((1, 2)) @ weight.T)

    def chances(logits: np.ndarray) -> np.ndarray:
        return softmax(logits[None])[0]

    draws = np.random.default_rng(0)
    ours, share = (max(value, 1 - value, least) for least in (0.7, 0.55) for value in [draws.beta(0.75, 0.75)])
    labelled, plain, varied = (each.numpy() for each in (batch.labelled, *batch.unlabelled))
    total = 0.0
    for row in range(4):
        partner = row ^ 1
        mixed = chances(answer(ours * labelled[row] + (1 - ours) * labelled[partner]))
        total -= ours * np.log(mixed[row % 2]) + (1 - ours) * np.log(mixed[partner % 2])
    for row in range(len(plain)):
        partner = row ^ 1
        of_mix = chances(answer(share * plain[row] + (1 - share) * plain[partner]))
        if of_logits:
            of_both = chances(share * answer(plain[row]) + (1 - share) * answer(plain[partner]))
        else:
            of_both = share * chances(answer(plain[row])) + (1 - share) * chances(answer(plain[partner]))
        of_plain, of_varied = chances(answer(plain[row])), chances(answer(varied[row]))
        pairs = ((2, of_varied, of_plain), (4, of_mix, of_both), (2, of_mix, of_varied), (2, of_plain, of_mix))
        total += sum(weight * np.mean((one - other) ** 2) for weight, one, other in pairs) / settings.ratio
    return total / 4


@pytest.mark.parametrize("ratio", [1, 2])
def test_the_loss_is_that_of_a_loop_over_images_which_mixes_logits_not_probabilities(ratio: int) -> None:
    settings = Semixup(ratio=ratio)
    loss = float(settings.build(Bent()).loss(noise_batch(settings)).detach())
    assert loss == pytest.approx(by_hand(settings), abs=1e-5)
    assert abs(loss - by_hand(settings, of_logits=False)) > 1e-3


def test_without_unlabelled_weight_it_is_supervised_mixup_and_with_it_it_is_not() -> None:
    plain = Supervised(varied=Semixup().varied, alpha=0.75)
    gradients = {}
    for name, settings in (("plain", plain), ("none", Semixup(**NO_UNLABELLED)), ("whole", Semixup())):
        network = Bent()
        settings.build(network).loss(noise_batch(settings)).backward()
        gradients[name] = network.weight.grad
    torch.testing.assert_close(gradients["none"], gradients["plain"])
    assert not torch.allclose(gradients["whole"], gradients["plain"], atol=1e-3)


def test_supervised_without_mixing_is_cross_entropy() -> None:
    settings, network = Supervised(), Bent()
    batch = noise_batch(settings)
    expected = torch.nn.functional.cross_entropy(network(batch.labelled), batch.labels)
    assert float(settings.build(network).loss(batch).detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
