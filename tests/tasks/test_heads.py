"""Many heads at once against each head alone under torch's SGD and timm's LARS."""

from collections.abc import Sequence

import pytest
import torch
from timm.optim import Lars
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from tasks.classification import heads as module
from tasks.classification.heads import Heads

DIM, STEPS, BATCH = 12, 30, 20
RATES, DECAYS, FACTORS = [0.02, 0.3, 1.5], [0.0, 0.1, 0.01], [0.0, 0.5, 1.0, 0.7]


def lessons(classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Batches with labels that follow the features, and weights to start from; in float64, so that steps must agree."""
    generator = torch.Generator().manual_seed(0)
    features, truth, start = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((STEPS, BATCH, DIM), (DIM, classes), (classes, DIM))
    )
    return features, (features @ truth).argmax(2), 0.1 * start


def alone(rate: float, decay: float, optimiser: str, momentum: float, classes: int) -> nn.Linear:
    """One head, an autograd step at a time; the optimiser's own learning rate is set before each step."""
    features, labels, start = lessons(classes)
    head = nn.Linear(DIM, classes, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(start)
        head.bias.zero_()
    groups = [{"params": [head.weight], "weight_decay": decay}, {"params": [head.bias], "weight_decay": 0.0}]
    made: Optimizer
    if optimiser == "sgd":
        made = SGD(groups, lr=rate, momentum=momentum)
    else:
        groups[0]["always_adapt"] = True
        made = Lars(groups, lr=rate, momentum=momentum)
    for step in range(STEPS):
        for group in made.param_groups:
            group["lr"] = rate * FACTORS[step % len(FACTORS)]
        made.zero_grad()
        nn.functional.cross_entropy(head(features[step]), labels[step]).backward()
        made.step()
    return head


def together(rates: Sequence[float], decays: Sequence[float], optimiser: str, momentum: float, classes: int) -> Heads:
    features, labels, start = lessons(classes)
    made = Heads(start, rates, decays, optimiser, momentum)
    for step in range(STEPS):
        made.step(features[step], labels[step], FACTORS[step % len(FACTORS)])
    return made


@pytest.mark.parametrize("classes", [3, 2 * module.FEW_CLASSES])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_every_head_is_what_it_would_be_alone(optimiser: str, momentum: float, classes: int) -> None:
    rates = [rate * (30 if optimiser == "lars" else 1) for rate in RATES]  # the trust ratio is a thousandth or so
    made = together(rates, DECAYS, optimiser, momentum, classes)
    start, features = lessons(classes)[2], lessons(classes)[0][0]
    for index, (rate, decay) in enumerate(zip(rates, DECAYS, strict=True)):
        expected, found = alone(rate, decay, optimiser, momentum, classes), made.head(index)
        assert (expected.weight - start).abs().max() > 1e-3  # it did move
        torch.testing.assert_close(found.weights, expected.weight.detach(), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(found.bias, expected.bias.detach(), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(made.logits(features)[:, index], expected(features).detach(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_a_batch_taken_in_turns_is_the_same_batch(optimiser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = together(RATES, DECAYS, optimiser, 0.9, 5)
    monkeypatch.setattr(module, "LOGITS", 7 * 5 * len(RATES))  # 7 rows of 20 at once
    parted = together(RATES, DECAYS, optimiser, 0.9, 5)
    for index in range(len(RATES)):
        torch.testing.assert_close(parted.head(index).weights, whole.head(index).weights, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(parted.head(index).bias, whole.head(index).bias, rtol=1e-9, atol=1e-11)


def test_lars_moves_weights_of_zero_by_the_plain_step() -> None:
    features, labels, start = lessons(4)
    made = Heads(torch.zeros_like(start), [0.5], [0.0], "lars", 0.0)
    made.step(features[0], labels[0], 1.0)
    plain = Heads(torch.zeros_like(start), [0.5], [0.0], "sgd", 0.0)
    plain.step(features[0], labels[0], 1.0)
    torch.testing.assert_close(made.head(0).weights, plain.head(0).weights)


@pytest.mark.parametrize("classes", [3, 40])
def test_a_head_that_ends_in_infinity_leaves_the_others_alone(classes: int) -> None:
    calm = together([0.1], [0.0], "sgd", 0.9, classes)
    beside = together([1e30, 0.1], [1e30, 0.0], "sgd", 0.9, classes)
    scores = beside.logits(lessons(classes)[0][0])
    assert scores.isfinite().all(2).all(0).tolist() == [False, True]
    torch.testing.assert_close(beside.head(1).weights, calm.head(0).weights, rtol=1e-9, atol=1e-11)


def test_rates_and_decays_must_pair_up() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        Heads(torch.zeros(2, 3), [0.1, 0.2], [0.0], "sgd", 0.9)
