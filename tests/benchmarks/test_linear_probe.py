"""The whole grid of the linear probe against scikit-learn at each strength, and a dinov2-style training of heads."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from tasks.classification.logistic import solve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROWS, TESTED, DIM, CLASSES, STRENGTHS, TOLERANCE = 10_000, 4_000, 512, 100, 20, 1e-5
GRID = torch.logspace(-4, 1, STRENGTHS)


@pytest.fixture(scope="module")
def features() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Class means in correlated noise of decaying spectrum, rectified as a ReLU does, z-scored; top-1 near 75 %."""
    generator = np.random.default_rng(0)
    spectrum = np.arange(1, DIM + 1) ** -0.5
    rotation, _ = np.linalg.qr(generator.normal(size=(DIM, DIM)))
    means = generator.normal(size=(CLASSES, DIM)) * spectrum * 0.6 / np.linalg.norm(spectrum)
    labels = generator.integers(0, CLASSES, ROWS + TESTED)
    rows = (means[labels] + generator.normal(size=(ROWS + TESTED, DIM)) * spectrum) @ rotation
    rows = np.maximum(rows, -0.2 * rows.std())
    rows = ((rows - rows[:ROWS].mean(0)) / rows[:ROWS].std(0)).astype(np.float32)
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)
    return x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:]


def test_ten_times_scikit_learn_and_as_accurate(features: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    """Time against scikit-learn in float32, its faster way; accuracy against it in float64, where it keeps its word.

    In float32 it also stops where the loss no longer falls, above the tolerance asked for, and where differs between
    runs: at l = 3 it was seen with a gradient of 3e-4 and 0.55 points of top-1 off the optimum, and with one of 4e-5
    and 0.15 points off. Its gap is printed. In float64 with our tolerance its gradient is within it at every strength.
    So accuracy is held against two float64 fits of every strength: one to our tolerance, and one to 1e-8.
    """
    x, y, tested, truth = features
    solve(x[:500], y[:500], CLASSES, GRID[:2])
    our_seconds = float(np.median([seconds(lambda: solve(x, y, CLASSES, GRID, TOLERANCE)) for _ in range(3)]))
    ours = solve(x, y, CLASSES, GRID, TOLERANCE)
    assert ours.converged.all()
    accuracy = (ours.logits(tested).argmax(-1) == truth).float().mean(1).tolist()
    their_seconds, gaps = 0.0, []
    for strength, our_accuracy in zip(GRID.tolist(), accuracy, strict=True):
        begin = time.perf_counter()
        quick = scikit_learn(strength, TOLERANCE, x, y)
        their_seconds += time.perf_counter() - begin
        same, optimum = (scikit_learn(strength, tolerance, x.double(), y) for tolerance in (TOLERANCE, 1e-8))
        assert largest_gradient(same, strength, x, y) <= 1.01 * TOLERANCE
        scores = [rival.score(tested.double().numpy(), truth.numpy()) for rival in (quick, same, optimum)]
        gaps.append([abs(score - our_accuracy) for score in scores])
        print(
            f"strength {strength:.1e}: ours {our_accuracy:.4f}, scikit-learn {scores[1]:.4f}, optimum {scores[2]:.4f}, "
            f"float32 {scores[0]:.4f} at gradient {largest_gradient(quick, strength, x, y):.0e}"
        )
    worst = np.max(gaps, axis=0)
    print(f"worst gap to float32 {worst[0]:.4f}, float64 {worst[1]:.4f}, the optimum {worst[2]:.4f}")
    print(f"ours {our_seconds:.1f} s, scikit-learn {their_seconds:.1f} s: {their_seconds / our_seconds:.1f} x")
    assert worst[1] <= 0.003
    assert worst[2] <= 0.003
    assert their_seconds / our_seconds >= 10


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def scikit_learn(strength: float, tolerance: float, x: Tensor, y: Tensor) -> LogisticRegression:
    return LogisticRegression(C=1 / (strength * ROWS), tol=tolerance, max_iter=20_000).fit(x.numpy(), y.numpy())


def largest_gradient(model: LogisticRegression, strength: float, x: Tensor, y: Tensor) -> float:
    """Of the objective both minimise, in float64."""
    weights, rows = torch.from_numpy(model.coef_).double(), x.double()
    chances = torch.softmax(rows @ weights.T + torch.from_numpy(model.intercept_).double(), 1)
    errors = (chances - nn.functional.one_hot(y, CLASSES)) / len(rows)
    return max(float((errors.T @ rows + strength * weights).abs().max()), float(errors.sum(0).abs().max()))


def dinov2_style(x: Tensor, y: Tensor, heads: int, iterations: int, batch: int = 128) -> nn.ModuleList:
    """As many linear heads as learning rates, one SGD with momentum over all and a cosine schedule, on ready features.

    The protocol of dinov2's linear evaluation (12,500 iterations of batch 128, 13 rates), without its image decoding.
    """
    made = nn.ModuleList([nn.Linear(DIM, CLASSES) for _ in range(heads)])
    rates = np.geomspace(1e-3, 1, heads)
    optimiser = torch.optim.SGD(
        [{"params": head.parameters(), "lr": rate} for head, rate in zip(made, rates, strict=True)],
        momentum=0.9, weight_decay=0,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in range(iterations):
        rows = torch.randint(0, len(x), (batch,))
        loss = sum(nn.functional.cross_entropy(head(x[rows]), y[rows]) for head in made)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return made


def test_three_times_a_dinov2_style_training_of_as_many_heads(
    features: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    """Ten epochs: the harshest reading. The rival's best head is then short of our best model on the tested rows.

    dinov2 trains for a fixed 12,500 iterations, which are ten epochs of ImageNet at its batch of 1,024 and 160 of
    these rows at one of 128; that would take sixteen times as long as what is measured here.
    """
    x, y, tested, truth = features
    ratios = []
    iterations = 10 * ROWS // 128
    for _ in range(3):
        ours = seconds(lambda: solve(x, y, CLASSES, GRID, TOLERANCE))
        theirs = seconds(lambda: dinov2_style(x, y, STRENGTHS, iterations))
        ratios.append(theirs / ours)
        print(f"ours {ours:.2f} s, dinov2-style {theirs:.2f} s")
    heads = dinov2_style(x, y, STRENGTHS, iterations)
    best = max(float((head(tested).argmax(1) == truth).float().mean()) for head in heads)
    exact = solve(x, y, CLASSES, GRID, TOLERANCE).logits(tested)
    print(f"dinov2-style over ours: {np.median(ratios):.1f} x ({', '.join(f'{ratio:.1f}' for ratio in ratios)})")
    print(f"best top-1: dinov2-style {best:.4f}, ours {float((exact.argmax(-1) == truth).float().mean(1).max()):.4f}")
    assert np.median(ratios) >= 3
