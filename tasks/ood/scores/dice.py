"""Directed sparsification: only the head's weights that contribute most to training images are kept."""

import numpy as np

from tasks.ood.scores.base import Head, Learnt, Method, Parameter, Scorer, Seen, Values, constant, each, log_sum_exp


def sparse_energy(learnt: Learnt) -> Scorer:
    """log sum_k exp((W * M) f + b)_k, M the (100 - p) % largest of W * mean(f) (Sun and Li 2022).

    p is the paper's 70 for ImageNet.
    """
    contributions = learnt.seen.head.weights * learnt.features.mean(0, dtype=np.float64)

    def score(seen: Seen, percentile: float) -> Values:
        kept = contributions >= np.percentile(contributions, percentile)
        return log_sum_exp(Head(seen.head.weights * kept, seen.head.intercepts)(seen.features))

    return each(score)


METHODS = {
    "dice": Method(
        sparse_energy, Parameter("percentile", constant(70.0), lambda learnt: (70.0, 10.0, 30.0, 50.0, 90.0))
    )
}
