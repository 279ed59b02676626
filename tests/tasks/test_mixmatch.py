"""MixMatch: guesses averaged and sharpened as the paper has it, and the loss against a loop over what is mixed."""

import numpy as np
import pytest
import torch

from backbones.pretraining.method import Progress
from tasks.classification.semi_supervised.methods.mixmatch import MixMatch, averaged, sharpened
from tests.semi_supervised_fakes import Bent, noise_batch


def test_sharpening_in_closed_form() -> None:
    given = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    squares = np.asarray([0.25, 0.09, 0.04])
    np.testing.assert_allclose(sharpened(given, 0.5)[0], squares / squares.sum(), atol=1e-12)
    torch.testing.assert_close(sharpened(given, 1.0), given)
    torch.testing.assert_close(sharpened(given, 0.01)[0].round(), torch.tensor([1.0, 0, 0], dtype=torch.float64))


def test_guesses_are_averaged_as_probabilities() -> None:
    first, second = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    expected = (torch.softmax(first, 1) + 0.5) / 2
    torch.testing.assert_close(averaged([first, second]), expected)


def by_hand(settings: MixMatch) -> float:
    """The loss of :func:`noise_batch`, pair by pair of items and entry by entry."""
    batch, weight = noise_batch(settings), Bent().weight.detach().numpy()

    def chances(image: np.ndarray) -> np.ndarray:
        raised = np.exp(3 * np.tanh(image.mean((1, 2)) @ weight.T))
        return raised / raised.sum()

    views, labelled = [view.numpy() for view in batch.unlabelled], batch.labelled.numpy()
    entries, draws = 2 + 2 * settings.ratio * settings.guesses, np.random.default_rng(0)
    share = draws.beta(0.75, 0.75)
    share, order = max(share, 1 - share), draws.permutation(entries)
    of_labels, of_guesses = [], []
    for pair in range(2):
        known = [(labelled[row], np.eye(2)[row % 2]) for row in (2 * pair, 2 * pair + 1)]
        rows = range(2 * pair * settings.ratio, 2 * (pair + 1) * settings.ratio)
        raised = {row: np.mean([chances(view[row]) for view in views], axis=0) ** 2 for row in rows}
        guessed = [(view[row], raised[row] / raised[row].sum()) for view in views for row in rows]
        everything = known + guessed
        for place, (image, wanted) in enumerate(everything):
            other_image, other_wanted = everything[order[place]]
            target = share * wanted + (1 - share) * other_wanted
            answer = chances(share * image + (1 - share) * other_image)
            if place < 2:
                of_labels.append(-(target * np.log(answer)).sum())
            else:
                of_guesses.append(np.mean((target - answer) ** 2))
    return float(np.mean(of_labels) + settings.weight_at(batch.progress) * np.mean(of_guesses))


@pytest.mark.parametrize(("ratio", "guesses"), [(1, 2), (2, 2), (1, 3)])
def test_the_loss_is_that_of_a_loop(ratio: int, guesses: int) -> None:
    settings = MixMatch(ratio=ratio, guesses=guesses)
    loss = float(settings.build(Bent()).loss(noise_batch(settings)).detach())
    assert loss == pytest.approx(by_hand(settings), abs=1e-4)
    assert abs(loss - by_hand(MixMatch(ratio=ratio, guesses=guesses, weight=0.0))) > 1e-2


def test_no_gradient_flows_through_guesses() -> None:
    """With every answer forgotten but the guesses' there is none."""
    settings, network = MixMatch(), Bent()
    method = settings.build(network)
    seen: list[bool] = []
    network.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    method.loss(noise_batch(settings))
    assert seen == [False, True]


def test_the_weight_grows_in_a_line() -> None:
    settings = MixMatch(weight=75.0, ramp_up=0.5)
    values = [settings.weight_at(Progress(step, 100, 10)) for step in (0, 25, 50, 99)]
    assert values == pytest.approx([0.0, 37.5, 75.0, 75.0])
    assert MixMatch(ramp_up=0.0).weight_at(Progress(0, 100, 10)) == 75.0
