"""Intervals of a mean by resampling its items."""

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

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


def clustered_interval(
    per_sample: Float[np.ndarray, " items"], groups: Shaped[np.ndarray, " items"], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over items that come in groups, which are drawn whole.

    ``groups`` holds each item's: frames of one video, crops of one image, pictures of one patient. Items of a group are
    alike, so that there are fewer independent draws than items. The interval is too narrow below about 20 groups.
    Raises ``ValueError`` for fewer than two groups or a value that is not finite.
    """
    values = np.asarray(per_sample, dtype=np.float64)
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    if len(sizes) < 2 or not np.isfinite(values).all():
        raise ValueError(f"an interval over groups needs finite values of at least two groups; got {len(sizes)}")
    sums = np.bincount(group, weights=values)
    generator = np.random.default_rng(seed)
    pairs = np.stack([sums, sizes.astype(np.float64)])
    totals = np.concatenate([_resample(pairs, generator, 100) for _ in range(RESAMPLES // 100)], axis=1)
    low, high = np.quantile(totals[0] / totals[1], [0.025, 0.975])
    return float(low), float(high)


def draw_counts(generator: np.random.Generator, number: int) -> Int[np.ndarray, " number"]:
    """How often each of ``number`` things is in one resample of as many.

    The multinomial draw by counting what was drawn: 10,000 resamples of 50,000 take 5 s, numpy's own multinomial 52 s.
    """
    return np.bincount(generator.integers(0, number, number), minlength=number)


def _resample(
    values: Float[np.ndarray, "*rows items"], generator: np.random.Generator, times: int
) -> Float[np.ndarray, "*rows times"]:
    drawn = generator.integers(0, values.shape[-1], size=(times, values.shape[-1]), dtype=np.int32)
    return np.asarray(values[..., drawn].mean(axis=-1))
