"""What a column says of each of its rows: its distance to the mean, its place. Missing values are NaN and stay so."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
