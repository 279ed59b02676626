"""Rectified activations: large ones are cut before the head sees them."""

from collections.abc import Sequence

import numpy as np

from tasks.ood.scores.base import Learnt, Method, Parameter, Scorer, Seen, Values, by_block, constant, log_sum_exp


def rectified_energy(learnt: Learnt) -> Scorer:
    """log sum_k exp(W min(f, c) + b)_k, c the p-th percentile of all training activations (Sun et al. 2021)."""

    def energy(seen: Seen, cut: np.float32) -> Values:
        return by_block(lambda rows: log_sum_exp(seen.head(np.minimum(rows, cut))), seen.features)

    def scores(seen: Seen, percentiles: Sequence[float]) -> list[Values]:
        return [energy(seen, cut) for cut in np.percentile(learnt.features, percentiles).astype(np.float32)]

    return scores


METHODS = {
    "react": Method(
        rectified_energy, Parameter("percentile", constant(90.0), lambda learnt: (90.0, 80.0, 85.0, 95.0, 99.0))
    )
}
