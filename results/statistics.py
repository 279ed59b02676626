"""Intervals, z-scores and ranks. Pure functions; missing values are NaN and never averaged over silently."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
NORMAL_FROM = 20_000
"""From this many different-valued items on, the interval is the normal one: the bootstrap's own limit, at no cost."""

Z95 = 1.959963984540054


def bootstrap_interval(per_sample: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of ``per_sample`` (n,), drawn over items.

    Items of few distinct values (right or wrong) are resampled by their counts, which is the same draw and fast. The
    same input gives the same interval. Raises ``ValueError`` for no items or a value that is not finite.
    """
    values = np.asarray(per_sample, dtype=np.float64).ravel()
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite per-item values, at least one; got {len(values)}")
    generator = np.random.default_rng(seed)
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= 64:
        means = generator.multinomial(len(values), counts / len(values), size=RESAMPLES) @ levels / len(values)
    elif len(values) < NORMAL_FROM:
        means = np.concatenate([_resample(values, generator, 100) for _ in range(RESAMPLES // 100)])
    else:
        margin = Z95 * values.std() / np.sqrt(len(values))
        return float(values.mean() - margin), float(values.mean() + margin)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def paired_margin(differences: ArrayLike) -> float | None:
    """What the mean of ``differences`` (n,) must exceed to be above zero by more than noise: 5 %, one-sided.

    The one-sided t-test of paired items: Student's quantile times the standard error of the mean. None for fewer than
    two items, which have no spread.
    """
    from scipy.special import stdtrit  # a tenth of a second to import, and most boards need none of it

    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return None
    return float(stdtrit(len(values) - 1, 0.95) * values.std(ddof=1) / np.sqrt(len(values)))


def z_scores(values: ArrayLike) -> NDArray[np.float64]:
    """Distance to the column's mean in (population) standard deviations, (n,); missing stay NaN; no spread gives 0.

    >>> z_scores([1.0, 2.0, 3.0, float("nan")]).round(2).tolist()
    [-1.22, 0.0, 1.22, nan]
    """
    column = np.asarray(values, dtype=np.float64)
    present = column[np.isfinite(column)]
    if len(present) == 0:
        return np.full_like(column, np.nan)
    spread = present.std()
    # Equal values have a spread of rounding errors, which must not be blown up to a ranking.
    if spread <= 1e-12 * max(1.0, float(np.abs(present).max())):
        return np.where(np.isfinite(column), 0.0, np.nan)
    return np.asarray((column - present.mean()) / spread)


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks with 1 the highest value, ties sharing their mean rank; missing stay NaN.

    >>> ranks([0.5, 0.9, 0.5, float("nan")]).tolist()
    [2.5, 1.0, 2.5, nan]
    """
    column = np.asarray(values, dtype=np.float64)
    above = (column[None, :] > column[:, None]).sum(axis=1)
    equal = (column[None, :] == column[:, None]).sum(axis=1)
    return np.where(np.isfinite(column), above + (equal + 1) / 2, np.nan)


def _resample(values: NDArray[np.float64], generator: np.random.Generator, times: int) -> NDArray[np.float64]:
    drawn = generator.integers(0, len(values), size=(times, len(values)), dtype=np.int32)
    return np.asarray(values[drawn].mean(axis=1))
