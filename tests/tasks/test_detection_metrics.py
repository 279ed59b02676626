"""Detection's metrics against scikit-learn's, their intervals against what they promise, and what ties count."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from tasks.ood.detection_metrics import METRICS, aupr_in, aupr_out, auroc, fpr95


def by_sklearn(known: np.ndarray, unknown: np.ndarray) -> dict[str, float]:
    truth, values = np.repeat([1, 0], [len(known), len(unknown)]), np.concatenate([known, unknown])
    false, true, _ = roc_curve(truth, values, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(truth, values),
        "aupr_in": average_precision_score(truth, values),
        "aupr_out": average_precision_score(1 - truth, -values),
        "fpr95": false[np.argmax(true >= 0.95)],
    }


@pytest.mark.parametrize("levels", [0, 5, 40])
@pytest.mark.parametrize(("knowns", "unknowns"), [(20, 60), (133, 21), (1, 7), (7, 1), (400, 400)])
def test_values_are_those_of_scikit_learn(levels: int, knowns: int, unknowns: int) -> None:
    generator = np.random.default_rng(knowns + levels)
    known, unknown = generator.normal(0.7, 1, knowns), generator.normal(0, 1, unknowns)
    if levels:  # ties, within and between
        known, unknown = (np.round(each * levels / 4) for each in (known, unknown))
    for metric, expected in by_sklearn(known, unknown).items():
        assert METRICS[metric](known, [unknown]).value == pytest.approx(expected, abs=1e-12), metric


def test_a_constant_score_is_chance() -> None:
    known, unknown = np.zeros(30), np.zeros(90)
    found = {name: metric(known, [unknown]) for name, metric in METRICS.items()}
    assert {name: each.value for name, each in found.items()} == {
        "auroc": 0.5,
        "aupr_in": 0.25,
        "aupr_out": 0.75,
        "fpr95": 1.0,
    }
    for each in found.values():
        assert each.interval is not None
        assert each.interval[0] <= each.value <= each.interval[1]


def test_perfect_and_opposite_scores_keep_an_interval() -> None:
    """No pair out of order leaves the variance at zero, and yet one of the next may be."""
    for known, unknown, value in ((np.ones(40), np.zeros(40), 1.0), (np.zeros(40), np.ones(40), 0.0)):
        found = auroc(known, [unknown])
        assert found.value == value
        assert found.interval is not None
        assert found.interval[1] - found.interval[0] == pytest.approx(1 - 0.025 ** (1 / 40))
    assert fpr95(np.ones(400), [np.zeros(40)]).value == 0
    assert aupr_in(np.ones(40), [np.zeros(40)]).value == aupr_out(np.ones(40), [np.zeros(40)]).value == 1


def test_too_few_images_for_an_interval() -> None:
    assert auroc(np.ones(1), [np.zeros(9)]).interval is None
    assert aupr_in(np.ones(9), [np.zeros(9), np.zeros(1)]).interval is None


def test_delongs_variance_by_hand() -> None:
    """DeLong, DeLong and Clarke-Pearson 1988: the variances of the placements over their numbers."""
    generator = np.random.default_rng(0)
    known, unknown = generator.normal(1, 1, 17).round(1), generator.normal(0, 1, 23).round(1)
    kernel = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in unknown] for x in known])
    value = kernel.mean()
    error = np.sqrt(kernel.mean(1).var(ddof=1) / 17 + kernel.mean(0).var(ddof=1) / 23)
    margin = 1.959964 * error / (value * (1 - value))
    expected = [1 / (1 + np.exp(-(np.log(value / (1 - value)) + sign * margin))) for sign in (-1, 1)]
    assert auroc(known, [unknown]).interval == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("metric", ["aupr_in", "aupr_out"])
def test_derivatives_of_average_precision_by_differences(metric: str) -> None:
    """The jackknife's standard error against finite differences of scikit-learn's weighted average precision."""
    generator = np.random.default_rng(1)
    known, unknown = generator.normal(1, 1, 14).round(1), generator.normal(0, 1, 22).round(1)
    truth, values = np.repeat([True, False], [14, 22]), np.concatenate([known, unknown])
    if metric == "aupr_out":
        truth, values = ~truth, -values

    def weighted(weights: np.ndarray) -> float:
        return float(average_precision_score(truth, values, sample_weight=weights))

    step = 1e-5
    slopes = np.array([(weighted(1 + step * one) - weighted(1 - step * one)) / (2 * step) for one in np.eye(36)])
    variance = sum(len(group) * group.var(ddof=1) for group in (slopes[:14], slopes[14:]))
    found = METRICS[metric](known, [unknown])
    assert found.interval is not None
    logits = [np.log(end / (1 - end)) for end in found.interval]
    error = (logits[1] - logits[0]) / (2 * 1.959964) * found.value * (1 - found.value)
    assert error == pytest.approx(np.sqrt(variance), rel=1e-4)


def test_the_mean_over_sets_weighs_them_and_knows_that_they_share_the_known_images() -> None:
    generator = np.random.default_rng(0)
    known, one, other = generator.normal(1, 1, 90), generator.normal(0, 1, 50), generator.normal(-1, 1, 400)
    for name, metric in METRICS.items():
        alone = [metric(known, [each]).value for each in (one, other)]
        assert metric(known, [one, other]).value == pytest.approx(np.mean(alone)), name
        assert metric(known, [one, other], [0.3, 0.7]).value == pytest.approx(np.dot([0.3, 0.7], alone)), name
        twice, once = metric(known, [one, one]).interval, metric(known, [one]).interval
        assert twice is not None
        assert once is not None
        # The same set twice brings no new unknown images, but as two sets they count as independent: narrower, and
        # yet not by as much as if the known images were new as well.
        width = (twice[1] - twice[0]) / (once[1] - once[0])
        assert 1 / np.sqrt(2) < width < 1, name


@pytest.mark.parametrize(
    ("knowns", "unknowns", "gap"),
    [
        (100, 400, 0.3),
        pytest.param(150, 150, 1.0, marks=pytest.mark.slow),
        pytest.param(400, 100, 2.0, marks=pytest.mark.slow),
    ],
)
def test_intervals_cover_what_they_promise(knowns: int, unknowns: int, gap: float) -> None:
    """Over 600 draws of normal scores 95 % intervals hold the truth in 95 %, give or take; the truth is of 10^6 images.

    AUPR depends on the numbers of images, and FPR's interval is made of two that are each exact: it may be wide.
    """
    generator = np.random.default_rng(7)
    many = generator.normal(gap, 1, 10**6 // 2), generator.normal(0, 1, 10**6 // 2)
    truth = {
        "auroc": auroc(many[0], [many[1]]).value,
        "aupr_in": aupr_in(many[0][: 10**3 * knowns], [many[1][: 10**3 * unknowns]]).value,
        "aupr_out": aupr_out(many[0][: 10**3 * knowns], [many[1][: 10**3 * unknowns]]).value,
        "fpr95": fpr95(many[0], [many[1]]).value,
    }
    held = dict.fromkeys(METRICS, 0)
    for _ in range(600):
        known, unknown = generator.normal(gap, 1, knowns), generator.normal(0, 1, unknowns)
        for name, metric in METRICS.items():
            low, high = metric(known, [unknown]).interval or (np.nan, np.nan)
            held[name] += low <= truth[name] <= high
    rates = {name: count / 600 for name, count in held.items()}
    print(rates)
    assert all(0.92 <= rates[name] <= 0.98 for name in ("auroc", "aupr_in", "aupr_out")), rates
    assert rates["fpr95"] >= 0.93, rates
