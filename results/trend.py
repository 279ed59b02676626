"""Effective robustness: accuracy under shift beyond what accuracy at home predicts, by a line over other backbones.

The line is logit(abroad) = a logit(at home) + b, by least squares over the board's backbones, baselines apart (Taori
et al. 2020; Miller et al. 2021). A backbone is held against the line of the OTHERS, so that it cannot pull the line
to itself.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from results.record import Record, ScoreRow
from results.statistics import NORMAL_FROM, RESAMPLES

FEWEST = 5
"""Other backbones a line takes; with fewer there is none."""

DRAWN_AT_ONCE = 100

AT_HOME, ABROAD = "id_top1", "top1"
"""Scores of one test set (a split): on images of train's domain of the same classes, and on its own."""

ValuesOf = Callable[[Record, ScoreRow], NDArray[np.float64] | None]


@dataclass(frozen=True)
class Robustness:
    """``expected`` is the accuracy that the others' line gives at ``at_home``; ``logits`` is logit(abroad) minus its.

    ``low`` and ``high`` are its 95 % interval, of images at home and abroad drawn anew for all backbones together.
    """

    backbone: str
    at_home: float
    abroad: float
    expected: float
    logits: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Trend:
    """The backbones of a setting on one test set, the most robust first, and the line through all of them."""

    setting: str
    test_set: str
    slope: float
    intercept: float
    backbones: tuple[Robustness, ...]


def trends(records: Sequence[Record], values_of: ValuesOf = lambda record, row: None) -> list[Trend]:
    """A trend for each setting and test set that has enough candidates; of several seeds their means.

    ``records`` are those of one board that are done and to be believed. ``values_of`` gives what each item gave to a
    score, in the order of the items, which is the same for every backbone (:func:`results.items.score_values`); where
    any is not known there are no intervals.
    """
    found: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.status == "done" and not record.backbone.baseline:
            for test_set in _test_sets(record):
                found[record.cell.setting(), test_set][record.cell.backbone].append(record)
    drawn = [_trend(*place, dict(sorted(asked.items())), values_of) for place, asked in sorted(found.items())]
    return [trend for trend in drawn if trend is not None]


def logits(shares: Float[np.ndarray, "*n"], items: int) -> Float[np.ndarray, "*n"]:
    """Log odds of accuracies over so many items, kept half an item away from 0 and 1.

    >>> logits(np.array([0.0, 0.5, 1.0]), 10).round(2).tolist()
    [-2.94, 0.0, 2.94]
    """
    kept = np.clip(shares, 0.5 / items, 1 - 0.5 / items)
    return np.asarray(np.log(kept / (1 - kept)))


def line(x: Float[np.ndarray, "*n b"], y: Float[np.ndarray, "*n b"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and intercept of the least-squares line along the last axis; NaN where ``x`` does not vary."""
    across = x - x.mean(-1, keepdims=True)
    spread = (across**2).sum(-1)
    slope = (across * y).sum(-1) / np.where(_varies(x, spread), spread, np.nan)
    return np.asarray(slope), np.asarray(y.mean(-1) - slope * x.mean(-1))


def left_out_residuals(x: Float[np.ndarray, "*n b"], y: Float[np.ndarray, "*n b"]) -> Float[np.ndarray, "*n b"]:
    """Each point's height above the line fitted without it: e / (1 - h), its residual over one minus its leverage.

    NaN where the others' ``x`` do not vary. (Allen 1974, the prediction sum of squares.)
    """
    slope, intercept = line(x, y)
    across = x - x.mean(-1, keepdims=True)
    spread = (across**2).sum(-1, keepdims=True)
    leverage = 1 / x.shape[-1] + across**2 / np.where(spread > 0, spread, np.nan)
    alone = 1 - leverage
    residual = y - slope[..., None] * x - intercept[..., None]
    return np.asarray(residual / np.where(alone > 1e-9, alone, np.nan))


def _varies(x: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(spread > 1e-12 * np.maximum(1.0, (x**2).sum(-1)))


def _test_sets(record: Record) -> list[str]:
    held = {(row.metric, row.split) for row in record.scores if row.value is not None and row.n}
    return sorted(split for metric, split in held if metric == ABROAD and (AT_HOME, split) in held)


def _trend(setting: str, test_set: str, asked: Mapping[str, Sequence[Record]], values_of: ValuesOf) -> Trend | None:
    if len(asked) <= FEWEST:
        return None
    shares = {
        metric: np.array([_mean(each, metric, test_set) for each in asked.values()]) for metric in (AT_HOME, ABROAD)
    }
    items = {
        metric: min(_row(r, metric, test_set).n or 1 for each in asked.values() for r in each) for metric in shares
    }
    x, y = (logits(shares[metric], items[metric]) for metric in (AT_HOME, ABROAD))
    above = left_out_residuals(x, y)
    if not np.isfinite(above).all():
        return None
    low, high = _interval(asked, test_set, values_of)
    slope, intercept = line(x, y)
    rows = [
        Robustness(
            name,
            float(shares[AT_HOME][i]),
            float(shares[ABROAD][i]),
            float(1 / (1 + np.exp(above[i] - y[i]))),
            float(above[i]),
            low[i],
            high[i],
        )
        for i, name in enumerate(asked)
    ]
    rows.sort(key=lambda row: (-row.logits, row.backbone))
    return Trend(setting, test_set, float(slope), float(intercept), tuple(rows))


def _row(record: Record, metric: str, split: str) -> ScoreRow:
    return next(row for row in record.scores if (row.metric, row.split) == (metric, split))


def _mean(records: Sequence[Record], metric: str, split: str) -> float:
    return float(np.mean([_row(record, metric, split).value or 0.0 for record in records]))


def _interval(asked: Mapping[str, Sequence[Record]], test_set: str, values_of: ValuesOf) -> list[list[float | None]]:
    """Percentiles of the residuals over bootstrap draws of the images at home and, apart from them, abroad.

    Two lists, the lower and the upper ends; a draw in which the others' accuracy at home does not vary counts in none.
    """
    drawn = []
    for seed, metric in enumerate((AT_HOME, ABROAD)):
        values = _values(asked, metric, test_set, values_of)
        if values is None:
            return [[None] * len(asked)] * 2
        drawn.append(logits(_resampled_means(values, seed), len(values)))
    above = left_out_residuals(*drawn)
    finite = [column[np.isfinite(column)] for column in above.T]
    ends = [np.quantile(each, [0.025, 0.975]).tolist() if len(each) else [None, None] for each in finite]
    return [list(end) for end in zip(*ends, strict=True)]


def _values(
    asked: Mapping[str, Sequence[Record]], metric: str, split: str, values_of: ValuesOf
) -> Float[np.ndarray, "n b"] | None:
    """What each item gave, a column a backbone, its seeds' mean; None unless all have the same number of items."""
    columns = []
    for records in asked.values():
        held = [values_of(record, _row(record, metric, split)) for record in records]
        known = [one for one in held if one is not None]
        if len(known) < len(held) or len({len(one) for one in known}) > 1:
            return None
        columns.append(np.mean(known, axis=0))
    return np.stack(columns, 1) if len({len(column) for column in columns}) == 1 else None


def _resampled_means(values: Float[np.ndarray, "n b"], seed: int) -> Float[np.ndarray, "r b"]:
    """Means over items drawn anew, the same draw for every backbone; of many items their normal limit."""
    generator = np.random.default_rng(seed)
    if len(values) >= NORMAL_FROM:
        spread = np.cov(values.T, bias=True) / len(values)
        return np.asarray(generator.multivariate_normal(values.mean(0), spread, RESAMPLES, method="eigh"))
    return np.concatenate([_drawn(values, generator, DRAWN_AT_ONCE) for _ in range(RESAMPLES // DRAWN_AT_ONCE)])


def _drawn(values: Float[np.ndarray, "n b"], generator: np.random.Generator, times: int) -> Float[np.ndarray, "r b"]:
    """Means over items drawn so many times. As a multinomial, 10,000 items of 30 backbones took 2.4 s, so 0.6 s."""
    count = len(values)
    drawn = generator.integers(0, count, (times, count)) + count * np.arange(times)[:, None]
    often = np.bincount(drawn.ravel(), minlength=times * count).reshape(times, count).astype(np.float64)
    return np.asarray(often @ values / count)
