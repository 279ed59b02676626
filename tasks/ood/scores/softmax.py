"""Scores of the logits alone: maximum softmax probability, maximum logit, energy, and ODIN's temperature."""

import numpy as np

from tasks.classification.metrics import softmax
from tasks.ood.scores.base import Method, Parameter, Seen, Values, constant, each, log_sum_exp, plain


def maximum_probability(seen: Seen, temperature: float = 1.0) -> Values:
    """max_k softmax(l / T)_k, with T = 1 (Hendrycks and Gimpel 2017).

    ODIN (Liang, Li and Srikant 2018) is the same with T = 1000. Its other half, a small step on the image
    along the gradient, is not taken: it needs a backward pass through the backbone, and from stored
    features there is none.
    """
    return np.asarray(softmax(seen.logits / np.float32(temperature)).max(1))


def maximum_logit(seen: Seen) -> Values:
    """max_k l_k (Hendrycks et al. 2022, Scaling Out-of-Distribution Detection for Real-World Settings)."""
    return np.asarray(seen.logits.max(1), dtype=np.float64)


def energy(seen: Seen) -> Values:
    """log sum_k exp(l_k), the negative free energy with T = 1 (Liu et al. 2020)."""
    return log_sum_exp(seen.logits)


METHODS = {
    "msp": plain(maximum_probability),
    "max_logit": plain(maximum_logit),
    "energy": plain(energy),
    "odin": Method(
        lambda learnt: each(maximum_probability),
        Parameter("temperature", constant(1000.0), lambda learnt: (1000.0, 100.0, 10.0, 2.0)),
    ),
}
