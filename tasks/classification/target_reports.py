"""What tasks yield for targets beyond one class: several labels an image, an ordered class, a number."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, Real

from tasks.base import Note, Outputs, Score
from tasks.classification.metrics import mean_per_class
from tasks.classification.weighted_metrics import (
    Weights,
    average_precision,
    bootstrap,
    cohen_kappa,
    interval,
    quadratic_kappa,
    roc_auc,
)

Ranking = Callable[[Float[np.ndarray, " m"], Bool[np.ndarray, " m"], Weights], Float64[np.ndarray, " draws"]]
RANKINGS: dict[str, Ranking] = {"auc": roc_auc, "average_precision": average_precision}


def report_multilabel(
    outputs: Float[np.ndarray, "n k"],
    targets: Float32[np.ndarray, "n k"],
    classes: Sequence[str],
    items: Sequence[str],
    split: str = "test",
) -> Iterator[Score | Outputs | Note]:
    """mean_auc and auc:LABEL, mean_average_precision and average_precision:LABEL; then every output and target.

    An item whose target is NaN (unknown) does not count for that label. A label whose known targets are all alike has
    neither number: it is left out of the means and named in a note. Raises ``ValueError`` where no label has one.
    """
    _refuse_not_finite(outputs)
    told = rankable(targets)
    if not told.any():
        raise ValueError(f"the known targets of every label are all alike in {split}: there is nothing to rank")
    if not told.all():
        alike = ", ".join(name for name, keep in zip(classes, told, strict=True) if not keep)
        yield Note(f"labels_left_out:{split}", f"their known targets are all alike: {alike}", warning=True)
    kept = np.flatnonzero(told)
    for metric, ranking in RANKINGS.items():
        values = by_label(ranking, outputs[:, kept], targets[:, kept], np.ones((1, len(outputs))))[:, 0]
        draws = bootstrap(partial(by_label, ranking, outputs[:, kept], targets[:, kept]), len(outputs))
        yield Score(f"mean_{metric}", float(values.mean()), None, split, interval=interval(draws.mean(0)))
        for label, value, drawn in zip(kept.tolist(), values.tolist(), draws, strict=True):
            yield Score(f"{metric}:{classes[label]}", value, None, split, interval=interval(drawn))
    columns = {"item": np.asarray(items, dtype=object)}
    for label, name in enumerate(classes):
        columns |= {f"target:{name}": targets[:, label], f"output:{name}": outputs[:, label]}
    yield Outputs(columns, split)


def mean_auc(outputs: Float[np.ndarray, "n k"], targets: Float32[np.ndarray, "n k"]) -> float:
    """Mean ROC-AUC of the labels that have one; 0.5, which is chance, where none has."""
    kept = np.flatnonzero(rankable(targets))
    if not len(kept):
        return 0.5
    return float(by_label(roc_auc, outputs[:, kept], targets[:, kept], np.ones((1, len(outputs)))).mean())


def rankable(targets: Float32[np.ndarray, "n k"]) -> Bool[np.ndarray, " k"]:
    """The labels that some image is known to have and some is known to lack.

    >>> rankable(np.array([[1, 1, np.nan], [0, 1, 0]], np.float32)).tolist()
    [True, False, False]
    """
    return np.asarray((targets == 1).any(0) & (targets == 0).any(0))


def by_label(
    ranking: Ranking, outputs: Float[np.ndarray, "n k"], targets: Float32[np.ndarray, "n k"], weights: Weights
) -> Float64[np.ndarray, "k draws"]:
    """The metric of each label over the items where it is known."""
    known = np.isfinite(targets)
    return np.stack(
        [
            ranking(outputs[rows, label], targets[rows, label] == 1, weights[:, rows])
            for label, rows in enumerate(known.T)
        ]
    )


def report_ordinal(
    outputs: Float[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    classes: int,
    items: Sequence[str],
    split: str = "test",
) -> Iterator[Score | Outputs | Note]:
    """quadratic_kappa, mae (in classes) and mean_per_class (balanced accuracy) of the class nearest to each output.

    Outputs are numbers on the scale of the class numbers 0..classes - 1.
    """
    _refuse_not_finite(outputs)
    predictions = nearest_class(outputs, classes)
    correct = (predictions == labels).astype(np.float64)
    weighted = mean_per_class(correct, labels)
    yield from ordinal_scores(predictions, labels, split)
    yield Score("mean_per_class", float(weighted.mean()), weighted, split)
    columns = {"item": np.asarray(items, dtype=object), "label": labels, "prediction": predictions, "output": outputs}
    yield Outputs({**columns, "correct": correct}, split)


def ordinal_scores(
    predictions: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], split: str = "test"
) -> Iterator[Score | Note]:
    """What the order of the classes adds: quadratic_kappa, and mae, the mean distance in classes."""
    distance = np.abs(predictions - labels).astype(np.float64)
    yield from _agreement("quadratic_kappa", quadratic_kappa, labels, predictions, split)
    yield Score("mae", float(distance.mean()), distance, split, higher_is_better=False, unit="classes")


def kappa_score(
    predictions: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"], split: str = "test"
) -> Iterator[Score | Note]:
    """kappa, Cohen's: agreement beyond chance, whatever the order of the classes."""
    yield from _agreement("kappa", cohen_kappa, labels, predictions, split)


def report_value(
    outputs: Float[np.ndarray, " n"], values: Float32[np.ndarray, " n"], items: Sequence[str], split: str = "test"
) -> Iterator[Score | Outputs | Note]:
    """concordance (Lin 1989: quadratic kappa on real values) and mae, in the value's own unit."""
    _refuse_not_finite(outputs)
    distance = np.abs(outputs.astype(np.float64) - values)
    yield from _agreement("concordance", quadratic_kappa, values.astype(np.float64), outputs.astype(np.float64), split)
    yield Score("mae", float(distance.mean()), distance, split, higher_is_better=False, unit="value")
    columns = {"item": np.asarray(items, dtype=object), "target": values, "output": outputs, "distance": distance}
    yield Outputs(columns, split)


def nearest_class(outputs: Float[np.ndarray, " n"], classes: int) -> Int64[np.ndarray, " n"]:
    """The class number nearest to each output.

    >>> nearest_class(np.array([-3.0, 0.4, 1.6, 9.0]), 4).tolist()
    [0, 0, 2, 3]
    """
    return np.asarray(np.clip(np.rint(outputs), 0, classes - 1), dtype=np.int64)


def agreement(targets: Real[np.ndarray, " n"], predictions: Real[np.ndarray, " n"]) -> float:
    """Quadratic kappa (on real values: concordance); 0, which is chance, where both are one constant."""
    return float(np.nan_to_num(quadratic_kappa(targets, predictions, np.ones((1, len(targets))))[0]))


def _agreement(
    metric: str,
    measure: Callable[[Real[np.ndarray, " n"], Real[np.ndarray, " n"], Weights], Float64[np.ndarray, " draws"]],
    targets: Real[np.ndarray, " n"],
    predictions: Real[np.ndarray, " n"],
    split: str,
) -> Iterator[Score | Note]:
    value = float(measure(targets, predictions, np.ones((1, len(targets))))[0])
    if not np.isfinite(value):
        told = "targets and predictions are one and the same constant, so agreement beyond chance is undefined"
        yield Note(f"{metric}_left_out:{split}", told, warning=True)
        return
    draws = bootstrap(lambda weights: measure(targets, predictions, weights)[None], len(targets))
    yield Score(metric, value, None, split, unit="kappa", interval=interval(draws[0]))


def _refuse_not_finite(outputs: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(1))
    if len(bad):
        raise FloatingPointError(
            f"the outputs of {len(bad)} of {len(outputs)} items hold NaN or infinity (first: row {bad[0]}); "
            "no metric is computed from them"
        )
