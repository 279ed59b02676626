"""Calibration metrics against torchmetrics, scikit-learn, pairs counted one by one, and data of known calibration."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from tasks.classification.calibration import (
    Binned,
    brier,
    classwise_error,
    equal_mass,
    equal_width,
    error_intervals,
)
from tasks.classification.metrics import expected_calibration_error, negative_log_likelihood, softmax
from tasks.classification.temperature import RANGE, fit_temperature


def calibrated(rows: int, seed: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits whose softmax at temperature ``sharpness`` is the truth, that truth, and labels drawn from it."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 5)) * 2
    truth = softmax(logits)
    labels = (truth.cumsum(1) > generator.random((rows, 1))).argmax(1)
    return logits * sharpness, truth, labels


def binned(chances: np.ndarray, labels: np.ndarray, place=equal_width) -> Binned:
    confidence = chances.max(1)
    return Binned((chances.argmax(1) == labels) - confidence, place(confidence))


@pytest.mark.parametrize("bins", [5, 15])
def test_equal_width_error_is_torchmetrics(bins: int) -> None:
    _, chances, labels = calibrated(800, 0)
    theirs = multiclass_calibration_error(torch.tensor(chances**2 / (chances**2).sum(1, keepdims=True)),
                                          torch.tensor(labels), 5, n_bins=bins)  # fmt: skip
    sharp = chances**2 / (chances**2).sum(1, keepdims=True)
    confidence, correct = sharp.max(1), (sharp.argmax(1) == labels).astype(float)
    ours = Binned(correct - confidence, equal_width(confidence, bins), bins).error()
    assert ours == pytest.approx(float(theirs), abs=1e-6)
    assert ours == pytest.approx(expected_calibration_error(confidence, correct, bins))
    assert ours > 0.1


def test_equal_mass_bins_hold_as_many_each_and_never_divide_equals() -> None:
    generator = np.random.default_rng(0)
    assert np.bincount(equal_mass(generator.random(150))).tolist() == [10] * 15
    ties = generator.integers(0, 40, 500) / 40
    place, order = equal_mass(ties), generator.permutation(500)
    assert all(len(set(place[ties == value])) == 1 for value in set(ties))
    assert (np.diff(place[np.argsort(ties, kind="stable")]) >= 0).all()
    assert (equal_mass(ties[order]) == place[order]).all()
    assert np.bincount(place).max() <= 2 * 500 / 15


def test_a_constant_predictor_is_off_by_its_distance_from_the_share_of_right() -> None:
    gaps = np.array([1.0] * 30 + [0.0] * 70) - 0.9
    for place in (equal_width, equal_mass):
        found = Binned(gaps, place(np.full(100, 0.9)))
        assert found.error() == pytest.approx(0.6)
    assert Binned(np.array([0.5, -0.5]), np.zeros(2, int)).error() == 0


def test_root_mean_square_is_the_mean_over_pairs_of_different_items() -> None:
    _, chances, labels = calibrated(300, 1, 1)
    found = binned(chances**3 / (chances**3).sum(1, keepdims=True), labels, equal_mass)
    total = used = 0.0
    for bin_ in range(15):
        own = found.gaps[found.place == bin_]
        pairs = [own[i] * own[j] for i in range(len(own)) for j in range(len(own)) if i != j]
        total, used = total + len(own) * np.mean(pairs), used + len(own)
    assert found.root_mean_square_error() == pytest.approx(np.sqrt(total / used))
    confident = np.full(40, 0.8)
    alike = Binned((np.arange(40) % 2) - confident, np.zeros(40, int))
    kumar = (0.5 - 0.8) ** 2 - 0.5 * 0.5 / 39
    assert alike.root_mean_square_error() == pytest.approx(np.sqrt(kumar))
    assert Binned(np.array([0.3, -0.4]), np.array([0, 1])).root_mean_square_error() == 0  # no bin of two


def test_the_plug_in_error_is_biased_where_calibration_is_perfect_and_the_pairs_are_not() -> None:
    plug_in, squared = [], []
    for seed in range(60):
        _, chances, labels = calibrated(200, seed)
        found = binned(chances, labels, equal_mass)
        plug_in.append(found.error())
        squared.append(found.root_mean_square_error())
    assert np.mean(plug_in) > 0.05
    assert np.median(squared) < 0.02


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_intervals_hold_the_error_of_very_many_images(power: float) -> None:
    def of(rows: int, seed: int) -> Binned:
        _, chances, labels = calibrated(rows, seed)
        sharp = chances**power
        return binned(sharp / sharp.sum(1, keepdims=True), labels)

    truth, held = of(400_000, 99).error(), 0
    for seed in range(40):
        found = of(200, seed)
        low, high = error_intervals({"ece": found})["ece"]
        assert low <= found.error() <= high
        held += low <= truth <= high
    assert held >= 36
    assert high - low < 0.3


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    chance, labels = generator.random(100), generator.integers(0, 2, 100)
    both = np.stack([1 - chance, chance], 1)
    assert brier(both, labels).mean() == pytest.approx(2 * brier_score_loss(labels, chance))
    _, chances, labels = calibrated(50, 0)
    by_hand = [sum((p - (k == y)) ** 2 for k, p in enumerate(row)) for row, y in zip(chances, labels, strict=True)]
    assert brier(chances, labels) == pytest.approx(by_hand)


def test_classwise_error_is_the_mean_of_the_classes_own() -> None:
    _, chances, labels = calibrated(120, 0)
    by_hand = []
    for column in range(5):
        total = 0.0
        for bin_ in range(15):
            inside = (chances[:, column] > bin_ / 15) & (chances[:, column] <= (bin_ + 1) / 15)
            total += abs(((labels == column)[inside] - chances[inside, column]).sum()) / 120
        by_hand.append(total)
    assert classwise_error(chances, labels) == pytest.approx(np.mean(by_hand))
    assert classwise_error(np.array([[0.8, 0.2]] * 5), np.array([0, 0, 0, 0, 1])) == pytest.approx(0)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0, 250.0])
def test_temperature_is_that_of_a_grid_and_undoes_what_was_done(sharpness: float) -> None:
    logits, _, labels = calibrated(4000, 0, sharpness)
    found = fit_temperature(logits, labels)

    def loss(log_t: float) -> float:
        return float(negative_log_likelihood(logits / np.exp(log_t), labels).mean())

    grid = np.linspace(np.log(sharpness / 5), np.log(sharpness * 5), 200)
    coarse = min(grid, key=loss)
    fine = minimize_scalar(loss, bounds=(coarse - 0.05, coarse + 0.05), method="bounded", options={"xatol": 1e-9})
    assert found.bound is None
    assert found.value == pytest.approx(np.exp(fine.x), rel=1e-5)
    assert found.value == pytest.approx(sharpness, rel=0.05)
    assert loss(np.log(found.value)) <= fine.fun + 1e-12


def test_temperature_of_scaled_and_shifted_logits_is_scaled() -> None:
    logits, _, labels = calibrated(300, 3)
    found, shifted = fit_temperature(logits, labels), logits * 1e6 + np.arange(300)[:, None] * 1e6
    assert fit_temperature(shifted, labels).value == pytest.approx(found.value * 1e6, rel=1e-6)


def test_temperature_at_a_bound_is_said() -> None:
    logits, labels = np.random.default_rng(0).normal(size=(50, 4)), np.zeros(50, int)
    spread = np.sqrt(np.mean((logits - logits.mean(1, keepdims=True)) ** 2))
    right, wrong = fit_temperature(logits, logits.argmax(1)), fit_temperature(logits, logits.argmin(1))
    assert (right.bound, wrong.bound) == ("lowest", "highest")
    assert right.value == pytest.approx(spread / RANGE)
    assert wrong.value == pytest.approx(spread * RANGE)
    flat = fit_temperature(np.repeat(logits[:, :1], 4, 1) * 1e5, labels)
    assert (flat.value, flat.bound) == (1.0, "flat")
    assert fit_temperature(logits[:1], logits[:1].argmax(1)).bound == "lowest"


def test_two_classes_by_hand() -> None:
    """Logits (a, 0), a share s right: sigmoid(a / T) = s."""
    logits, labels = np.array([[3.0, 0.0]] * 10), np.array([0] * 8 + [1] * 2)
    assert fit_temperature(logits, labels).value == pytest.approx(3 / np.log(0.8 / 0.2))


def test_bad_scores_are_refused() -> None:
    with pytest.raises(FloatingPointError, match="1 of 2 items"):
        fit_temperature(np.array([[1.0, np.nan], [0.0, 1.0]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="no items"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ValueError, match=r"must be in 0\.\.1"):
        brier(np.array([[0.5, 0.5]]), np.array([2]))
