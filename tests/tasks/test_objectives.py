"""Objectives and reports of every kind of target, against scikit-learn and sums written out."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    mean_absolute_error,
    roc_auc_score,
)

from tasks.base import Note, Outputs, Score
from tasks.classification.objectives import MultiLabel, OneClass, Ordinal, Value, objective_of
from tasks.classification.target_reports import mean_auc, report_multilabel, report_ordinal, report_value
from tasks.classification.weighted_metrics import (
    average_precision,
    bootstrap,
    cohen_kappa,
    interval,
    quadratic_kappa,
    roc_auc,
)
from tasks.datasets.partition import Part
from tasks.datasets.sources import MemoryFiles, SourceImages

ONES = np.ones((1, 120))


def tied(seed, n=120):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 25, n) / 8 - 1, generator.random(n) < 0.3


def scores_of(answers):
    return {one.metric: one for one in answers if isinstance(one, Score)}


@pytest.mark.parametrize("seed", range(8))
def test_rankings_with_ties_and_weights_are_scikit_learns(seed):
    scores, positive = tied(seed)
    weights = np.random.default_rng(seed).multinomial(120, np.full(120, 1 / 120), size=3).astype(float)
    for metric, oracle in ((roc_auc, roc_auc_score), (average_precision, average_precision_score)):
        assert metric(scores, positive, ONES)[0] == pytest.approx(oracle(positive, scores), abs=1e-12)
        expected = [oracle(positive, scores, sample_weight=row) for row in weights]
        np.testing.assert_allclose(metric(scores, positive, weights), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_kappa_is_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, 120)
    predictions = np.clip(labels + generator.integers(-2, 3, 120), 0, 4)
    weights = generator.integers(0, 4, (3, 120)).astype(float)
    for measure, kind in ((quadratic_kappa, "quadratic"), (cohen_kappa, None)):
        expected = cohen_kappa_score(labels, predictions, weights=kind)
        assert measure(labels, predictions, ONES)[0] == pytest.approx(expected, abs=1e-12)
        expected = [cohen_kappa_score(labels, predictions, weights=kind, sample_weight=row) for row in weights]
        np.testing.assert_allclose(measure(labels, predictions, weights), expected, atol=1e-12)


def test_what_is_undefined_is_nan_and_never_a_number():
    scores = np.arange(4.0)
    for positive in (np.zeros(4, bool), np.ones(4, bool)):
        assert np.isnan(roc_auc(scores, positive, np.ones((1, 4)))).all()
        assert np.isnan(average_precision(scores, positive, np.ones((1, 4)))).all()
    assert np.isnan(quadratic_kappa(np.ones(4), np.ones(4), np.ones((1, 4)))).all()
    assert quadratic_kappa(np.ones(4), np.arange(4), np.ones((1, 4)))[0] == pytest.approx(0)
    one = np.ones(4, np.int64)
    assert np.isnan(cohen_kappa(one, one, np.ones((1, 4)))).all()
    assert cohen_kappa(one, np.arange(4), np.ones((1, 4)))[0] == pytest.approx(0)
    assert interval(np.full(5, np.nan)) is None


def test_constant_scores_are_at_chance():
    _, positive = tied(0)
    assert roc_auc(np.zeros(120), positive, ONES)[0] == 0.5
    assert average_precision(np.zeros(120), positive, ONES)[0] == pytest.approx(positive.mean())


def test_the_interval_is_that_of_resampled_items_counted_pair_by_pair():
    scores, positive = tied(1)
    generator, slow = np.random.default_rng(7), []
    for _ in range(2000):
        rows = generator.integers(0, 120, 120)
        above, below = scores[rows[positive[rows]]][:, None], scores[rows[~positive[rows]]]
        slow.append(((above > below) + (above == below) / 2).mean())
    found = interval(bootstrap(lambda weights: roc_auc(scores, positive, weights)[None], 120)[0])
    np.testing.assert_allclose(found, np.quantile(slow, [0.025, 0.975]), atol=0.015)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Scores N(0, 1) and N(1, 1): the AUC is Phi(1 / sqrt 2) = 0.7602. 95 % of 200 is 190, with a deviation of 3.1."""
    hits = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        positive = generator.random(150) < 0.4
        scores = generator.normal(size=150) + positive
        low, high = interval(bootstrap(lambda w, s=scores, p=positive: roc_auc(s, p, w)[None], 150)[0])
        hits += low <= 0.76025 <= high
    assert 178 <= hits <= 199


def multilabel(seed=0, n=200):
    generator = np.random.default_rng(seed)
    targets = (generator.random((n, 3)) < [0.2, 0.5, 0.7]).astype(np.float32)
    outputs = (targets + generator.normal(size=(n, 3))).astype(np.float32)
    targets[generator.random((n, 3)) < 0.1] = np.nan
    return outputs, targets


def test_multilabel_report_is_scikit_learns_over_what_is_known():
    outputs, targets = multilabel()
    answers = list(report_multilabel(outputs, targets, "abc", [f"{row}.png" for row in range(200)]))
    scores = scores_of(answers)
    for metric, oracle in (("auc", roc_auc_score), ("average_precision", average_precision_score)):
        expected = []
        for label, name in enumerate("abc"):
            known = np.isfinite(targets[:, label])
            expected.append(oracle(targets[known, label], outputs[known, label]))
            assert scores[f"{metric}:{name}"].value == pytest.approx(expected[-1], abs=1e-9)
        assert scores[f"mean_{metric}"].value == pytest.approx(np.mean(expected), abs=1e-9)
    for score in scores.values():
        assert score.per_sample is None
        assert score.interval[0] < score.value < score.interval[1]
    widths = {name: score.interval[1] - score.interval[0] for name, score in scores.items()}
    assert widths["mean_auc"] < min(widths["auc:a"], widths["auc:b"], widths["auc:c"])
    (table,) = [one.columns for one in answers if isinstance(one, Outputs)]
    np.testing.assert_array_equal(table["target:b"], targets[:, 1])
    np.testing.assert_array_equal(table["output:c"], outputs[:, 2])
    assert not any(isinstance(one, Note) for one in answers)


@pytest.mark.parametrize("constant", [0, 1, np.nan])
def test_a_label_with_one_value_is_left_out_of_the_mean_and_named(constant):
    outputs, targets = multilabel()
    targets[:, 1] = constant
    answers = list(report_multilabel(outputs, targets, "abc", ["x"] * 200))
    scores = scores_of(answers)
    assert "auc:b" not in scores
    assert scores["mean_auc"].value == pytest.approx((scores["auc:a"].value + scores["auc:c"].value) / 2)
    assert mean_auc(outputs, targets) == pytest.approx(scores["mean_auc"].value)
    (note,) = [one for one in answers if isinstance(one, Note)]
    assert note.warning
    assert note.value.endswith("b")
    targets[:] = 0
    with pytest.raises(ValueError, match="nothing to rank"):
        list(report_multilabel(outputs, targets, "abc", ["x"] * 200))
    assert mean_auc(outputs, targets) == 0.5


def test_ordinal_report_is_scikit_learns():
    generator = np.random.default_rng(0)
    labels = np.append(generator.integers(0, 4, 299), 4)
    outputs = labels + generator.normal(size=300)
    scores = scores_of(report_ordinal(outputs, labels, 5, ["x"] * 300))
    predictions = np.clip(np.floor(outputs + 0.5), 0, 4).astype(int)
    expected = cohen_kappa_score(labels, predictions, weights="quadratic")
    assert scores["quadratic_kappa"].value == pytest.approx(expected, abs=1e-9)
    assert scores["quadratic_kappa"].interval[0] < expected < scores["quadratic_kappa"].interval[1]
    assert scores["mean_per_class"].value == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert scores["mean_per_class"].per_sample.mean() == pytest.approx(scores["mean_per_class"].value)
    assert scores["mae"].value == pytest.approx(mean_absolute_error(labels, predictions))
    assert not scores["mae"].higher_is_better


def test_agreement_beyond_chance_of_constants_is_left_out_and_noted():
    answers = list(report_ordinal(np.ones(20), np.ones(20, dtype=np.int64), 3, ["x"] * 20))
    assert "quadratic_kappa" not in scores_of(answers)
    assert any(isinstance(one, Note) and one.warning and "undefined" in one.value for one in answers)


def test_concordance_is_lins_formula():
    generator = np.random.default_rng(0)
    values = generator.normal(size=200).astype(np.float32) * 30 + 1e4
    outputs = values + generator.normal(size=200) * 10 + 5
    scores = scores_of(report_value(outputs, values, ["x"] * 200))
    covariance = np.cov(values, outputs, bias=True)
    expected = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (values.mean() - outputs.mean()) ** 2)
    assert scores["concordance"].value == pytest.approx(expected, abs=1e-5)
    assert scores["mae"].value == pytest.approx(np.abs(values - outputs).mean(), rel=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nothing_is_computed_from_nan(poison):
    outputs, targets = multilabel()
    outputs[17, 1] = poison
    for report in (
        lambda: report_multilabel(outputs, targets, "abc", ["x"] * 200),
        lambda: report_ordinal(outputs[:, 1], np.zeros(200, np.int64), 3, ["x"] * 200),
        lambda: report_value(outputs[:, 1], np.zeros(200, np.float32), ["x"] * 200),
    ):
        with pytest.raises(FloatingPointError, match="row 17"):
            list(report())


def part(labels=(), targets=None):
    count = len(labels) or len(targets)
    labels = np.asarray(labels if len(labels) else [-1] * count, dtype=np.int64)
    files = tuple(f"{row}.png" for row in range(count))
    return Part("train", SourceImages(MemoryFiles("m", {}), files, files), np.arange(count), labels, targets)


def objectives():
    generator = np.random.default_rng(3)
    labels, (_, targets) = generator.integers(0, 4, 24), multilabel(n=24)
    values = generator.normal(size=(24, 1)).astype(np.float32) * 7 + 50
    yield OneClass(4, 0.1), part(labels)
    yield MultiLabel(("a", "b", "c")), part(targets=targets)
    yield Ordinal(4, Value(1.5, 1.2)), part(labels)
    yield Value(50.0, 7.0), part(targets=values)


@pytest.mark.parametrize("case", list(objectives()), ids=lambda case: type(case[0]).__name__)
def test_the_loss_of_a_batch_is_that_of_its_parts_however_it_is_divided(case):
    objective, data = case
    outputs = torch.randn(24, objective.outputs, generator=torch.Generator().manual_seed(0))
    soft = objective.soft(objective.wanted(data))
    assert soft.shape == outputs.shape
    whole = objective.loss(outputs, soft)
    for cut in (1, 8, 17):
        parts = [objective.loss(o, s) * len(o) / 24 for o, s in zip(outputs.split(cut), soft.split(cut), strict=True)]
        torch.testing.assert_close(sum(parts), whole)
    assert objective.loss(outputs.bfloat16(), soft).dtype == torch.float32


@pytest.mark.parametrize("case", list(objectives()), ids=lambda case: type(case[0]).__name__)
def test_gradient_descent_on_the_loss_raises_the_merit_to_its_best(case):
    """On the training items themselves, each with an output of its own, the loss's minimum is a perfect answer."""
    objective, data = case
    outputs = torch.zeros(24, objective.outputs, requires_grad=True)
    optimiser = torch.optim.Adam([outputs], lr=0.3)
    soft = objective.soft(objective.wanted(data))
    before = objective.merit(outputs.detach().numpy(), data)
    for _ in range(200):
        optimiser.zero_grad()
        objective.loss(outputs, soft).backward()
        optimiser.step()
    after = objective.merit(outputs.detach().numpy(), data)
    assert before < 0.6
    assert after > 0.99
    scores = scores_of(objective.report(outputs.detach().numpy(), data))
    assert scores[objective.headline].value == pytest.approx(after)


def test_class_loss_is_torchs_with_label_smoothing():
    labels = torch.arange(12) % 4
    outputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    objective = OneClass(4, 0.1)
    expected = torch.nn.functional.cross_entropy(outputs, labels, label_smoothing=0.1)
    torch.testing.assert_close(objective.loss(outputs, objective.soft(labels)), expected)


def test_unknown_labels_pull_on_nothing_and_stay_unknown_when_mixed():
    objective = MultiLabel(("a", "b"))
    wanted = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    outputs = torch.zeros(2, 2, requires_grad=True)
    loss = objective.loss(outputs, objective.soft(wanted))
    loss.backward()
    assert loss.item() == pytest.approx(3 * np.log(2) / 4)
    np.testing.assert_allclose(outputs.grad, [[-0.125, 0], [0.125, -0.125]])
    mixed = 0.3 * objective.soft(wanted) + 0.7 * objective.soft(wanted).flip(0)
    assert mixed.isnan().tolist() == [[False, True], [False, True]]


def test_numbers_are_standardised_by_train_alone(world):
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(50, 1)) * 7 + 50).astype(np.float32)
    data = world.targeted("v", "value", ("age",), {"train": (np.zeros((50, 2)), values)})
    objective = objective_of(data, part(targets=values))
    assert objective.soft(torch.from_numpy(values)).mean().item() == pytest.approx(0, abs=1e-5)
    assert objective.soft(torch.from_numpy(values)).std(correction=0).item() == pytest.approx(1, abs=1e-5)
    constant = objective_of(data, part(targets=np.full((4, 1), 3, np.float32)))
    assert constant.soft(torch.full((4, 1), 3.0)).tolist() == [[0.0]] * 4
