"""Backbones over settings by their ranks alone: Friedman's test, and how far apart mean ranks must be (Demsar 2006)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from results.statistics.scores import ranks
from results.statistics.student import LEVEL


@dataclass(frozen=True)
class Friedman:
    """``p`` is that of all backbones being alike; mean ranks further apart than ``critical`` differ (Nemenyi, 5 %)."""

    mean_ranks: Float[np.ndarray, " backbones"]
    statistic: float
    p: float
    critical: float

    def differ(self) -> Bool[np.ndarray, "backbones backbones"]:
        """Which pairs do."""
        return np.asarray(np.abs(self.mean_ranks[:, None] - self.mean_ranks[None, :]) > self.critical)


def friedman(scores: Float[np.ndarray, "settings backbones"]) -> Friedman:
    """Compare at least three backbones over at least two settings; higher is better, ties share their mean rank.

    Settings count as independent draws of what could be asked. Raises ``ValueError`` for fewer, and for a missing
    number: ranks among others are not comparable.
    """
    from scipy.special import chdtrc

    settings, backbones = scores.shape
    if settings < 2 or backbones < 3:
        raise ValueError(f"Friedman's test needs 2 settings and 3 backbones at least; got {settings} and {backbones}")
    if not np.isfinite(scores).all():
        raise ValueError("Friedman's test needs every backbone's number in every setting")
    placed = np.stack([ranks(row) for row in scores])
    mean = placed.mean(axis=0)
    spread = placed.var(axis=1, ddof=1).sum()  # of ranks within settings, less where there are ties
    across = (settings**2) * ((mean - (backbones + 1) / 2) ** 2).sum()
    statistic = float(across / spread) if spread > 0 else 0.0
    return Friedman(mean, statistic, float(chdtrc(backbones - 1, statistic)), critical_difference(settings, backbones))


def critical_difference(settings: int, backbones: int, level: float = LEVEL) -> float:
    """Nemenyi's: the studentised range over sqrt(2), times the standard error of a difference of mean ranks.

    >>> round(critical_difference(14, 4), 2)
    1.25
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, backbones, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(backbones * (backbones + 1) / (6 * settings)))
