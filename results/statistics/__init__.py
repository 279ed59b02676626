"""Three sources of noise (test items, seeds, the choice of tasks), and what is known in spite of them.

Pure functions over arrays. What boards need at once is here by name; the rest is in the modules.
"""

from results.statistics.bootstrap import NORMAL_FROM, RESAMPLES, Z95, bootstrap_interval
from results.statistics.paired import paired_margin
from results.statistics.scores import ranks, z_scores

__all__ = ["NORMAL_FROM", "RESAMPLES", "Z95", "bootstrap_interval", "paired_margin", "ranks", "z_scores"]
