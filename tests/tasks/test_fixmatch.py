"""FixMatch: only what is sure is learnt, by its own guess, through which no gradient flows."""

import numpy as np
import pytest
import torch

from tasks.classification.semi_supervised.methods.fixmatch import FixMatch, sure_cross_entropy
from tasks.classification.semi_supervised.methods.supervised import Supervised
from tests.semi_supervised_fakes import Bent, noise_batch


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.95, 1.0])
def test_against_a_loop_over_images(threshold: float) -> None:
    generator = torch.Generator().manual_seed(0)
    guessed, answered = (3 * torch.randn(40, 3, generator=generator) for _ in range(2))
    total = 0.0
    for guess, answer in zip(guessed.double().numpy(), answered.double().numpy(), strict=True):
        chances = np.exp(guess) / np.exp(guess).sum()
        if chances.max() >= threshold:
            total -= answer[chances.argmax()] - np.log(np.exp(answer).sum())
    assert float(sure_cross_entropy(guessed, answered, threshold)) == pytest.approx(total / 40, abs=1e-5)


def test_a_guess_has_no_gradient_and_what_is_unsure_gives_none() -> None:
    guessed = torch.tensor([[9.0, 0.0], [0.1, 0.0]], requires_grad=True)
    answered = torch.zeros(2, 2, requires_grad=True)
    sure_cross_entropy(guessed, answered, 0.95).backward()
    assert guessed.grad is None
    assert answered.grad is not None
    torch.testing.assert_close(answered.grad, torch.tensor([[-0.25, 0.25], [0.0, 0.0]]))


def test_the_loss_adds_the_weighted_term_to_that_of_the_labels() -> None:
    network = Bent()
    losses = {}
    for name, settings in (
        ("plain", Supervised()),
        ("none", FixMatch(weight=0.0, threshold=0.0)),
        ("one", FixMatch(threshold=0.0)),
        ("two", FixMatch(threshold=0.0, weight=2.0)),
    ):
        losses[name] = float(settings.build(network).loss(noise_batch(settings)).detach())
    weak, strong = noise_batch(FixMatch()).unlabelled
    term = float(sure_cross_entropy(network(weak), network(strong), 0.0).detach())
    assert losses["none"] == pytest.approx(losses["plain"], abs=1e-6)
    assert losses["one"] - losses["none"] == pytest.approx(term, abs=1e-5)
    assert losses["two"] - losses["none"] == pytest.approx(2 * term, abs=1e-5)


def test_the_papers_numbers() -> None:
    settings = FixMatch()
    assert (settings.threshold, settings.weight, settings.ratio) == (0.95, 1.0, 7)
    assert [len(view) for view in noise_batch(settings).unlabelled] == [28, 28]
