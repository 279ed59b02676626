"""The batched solver against scikit-learn in float64, strength by strength."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tasks.classification.logistic import solve

STRENGTHS = torch.logspace(-4, 1, 6)
REGIMES = {  # rows, dim, classes, distance between class means
    "noisy": (300, 12, 5, 0.5),
    "separable": (200, 10, 4, 6.0),
    "wide": (40, 120, 4, 0.5),
    "two classes": (150, 8, 2, 1.0),
}


def sample(rows: int, dim: int, classes: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rows + dim)
    labels = np.arange(rows) % classes
    features = generator.normal(size=(classes, dim))[labels] * distance + generator.normal(size=(rows, dim))
    return (features - features.mean(0)).astype(np.float32), labels


def assert_same_as_sklearn(features: np.ndarray, labels: np.ndarray, classes: int) -> None:
    ours = solve(torch.from_numpy(features), torch.from_numpy(labels), classes, STRENGTHS, tolerance=2e-6)
    assert ours.converged.all()
    for index, strength in enumerate(STRENGTHS.double().tolist()):
        # Two classes: scikit-learn fits one difference w with l/2 |w|^2; two vectors +-w/2 are penalised half as much.
        scale = 2 if classes == 2 else 1
        rival = LogisticRegression(C=scale / (strength * len(labels)), tol=1e-9, max_iter=20000)
        rival.fit(features.astype(np.float64), labels)
        weights, bias = rival.coef_, rival.intercept_
        if classes == 2:
            weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        expected = objective(features, labels, weights, bias, strength)
        # Strong convexity bounds the gap at |gradient|^2 / (2 l), 1e-5 at the weakest strength; a tenth of it is asked.
        assert float(ours.objective[index]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
        # A gradient of 2e-6 an entry is a step of at most that over the strength.
        np.testing.assert_allclose(ours.weights[index], weights, atol=2e-3 + 2e-6 / strength * 0.5)


def objective(x: np.ndarray, y: np.ndarray, weights: np.ndarray, bias: np.ndarray, strength: float) -> float:
    logits = x.astype(np.float64) @ weights.T + bias
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), y]
    return float(losses.mean() + strength / 2 * (weights**2).sum())


@pytest.mark.parametrize("regime", REGIMES)
def test_objective_and_coefficients_are_scikit_learns(regime: str) -> None:
    rows, dim, classes, distance = REGIMES[regime]
    assert_same_as_sklearn(*sample(rows, dim, classes, distance), classes)


def test_strengths_in_any_order_and_twice_are_each_solved_alone() -> None:
    features, labels = (torch.from_numpy(part) for part in sample(*REGIMES["noisy"]))
    strengths = torch.tensor([0.3, 1e-3, 30.0, 0.3, 1e-2, 2e-3])
    together = solve(features, labels, 5, strengths, tolerance=2e-6)
    assert together.converged.all()
    for index in range(len(strengths)):
        alone = solve(features, labels, 5, strengths[index : index + 1], tolerance=2e-6)
        # Two gradients of 2e-6 an entry are at most their sum over the strength apart.
        bound = 1e-5 + 4e-6 / float(strengths[index])
        np.testing.assert_allclose(together.weights[index], alone.weights[0], atol=bound)
        assert float(together.objective[index]) == pytest.approx(float(alone.objective[0]), abs=2e-6)


def test_a_warm_start_at_the_solution_needs_one_pass() -> None:
    features, labels = (torch.from_numpy(part) for part in sample(*REGIMES["noisy"]))
    cold = solve(features, labels, 5, STRENGTHS, tolerance=1e-5)
    warm = solve(features, labels, 5, STRENGTHS, tolerance=2e-5, start=cold)
    assert warm.converged.all()
    assert warm.iterations == len(STRENGTHS)


def test_a_start_shifted_alike_in_all_classes_is_the_same_start() -> None:
    features, labels = (torch.from_numpy(part) for part in sample(*REGIMES["noisy"]))
    cold = solve(features, labels, 5, STRENGTHS, tolerance=1e-5)
    shifted = replace(cold, weights=cold.weights + 3.0, intercepts=cold.intercepts - 7.0)
    warm = solve(features, labels, 5, STRENGTHS, tolerance=2e-5, start=shifted)
    assert warm.converged.all()
    np.testing.assert_allclose(warm.weights.sum(1), 0, atol=1e-4)


def test_constant_features_and_a_class_of_one() -> None:
    features, labels = sample(101, 6, 4, 1.0)
    features[:, 2] = 0
    labels[:] = labels % 3
    labels[-1] = 3
    assert_same_as_sklearn(features, labels, 4)


def test_all_zero_features_give_the_class_shares() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    solution = solve(torch.zeros(4, 5), labels, 2, torch.tensor([0.1]), tolerance=1e-6)
    shares = torch.softmax(solution.logits(torch.zeros(1, 5))[0, 0], -1)
    np.testing.assert_allclose(shares, [0.75, 0.25], atol=1e-5)


def test_not_finite_features_and_foreign_labels_are_refused() -> None:
    features, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1"):
        solve(features, labels, 2, STRENGTHS)
    features[2, 1] = float("nan")
    with pytest.raises(FloatingPointError, match="NaN"):
        solve(features, labels, 3, STRENGTHS)
