"""Virtual-logit matching: what of a feature lies outside the space that most of the training images span."""

import numpy as np
from jaxtyping import Float32, Float64

from tasks.ood.scores.base import Learnt, Method, Parameter, Scorer, Seen, Values, by_block, log_sum_exp
from tasks.rows import runs


def virtual_logit(learnt: Learnt) -> Scorer:
    """log sum_k exp(l_k) - a ||R'(f - o)|| (Wang et al. 2022).

    o = -W^+ b is where the logits are equal up to what no feature reaches; R spans all but the D directions in which
    the training features about o are largest; a makes the mean virtual logit of training images that of their largest
    logits. The paper's score, the probability of the virtual logit, falls where this rises. A virtual logit needs
    something left: D is at most one less than the dim.
    """
    origin = -(np.linalg.pinv(learnt.seen.head.weights.astype(np.float64)) @ learnt.seen.head.intercepts)
    directions = np.linalg.eigh(_squares(learnt.features, origin))[1]  # the smallest first
    largest = float(learnt.seen.logits.max(1).mean(dtype=np.float64))

    def score(seen: Seen, dimension: float) -> Values:
        rest = directions[:, : max(1, len(origin) - int(dimension))].astype(np.float32)
        usual = float(_norms(learnt.features, origin, rest).mean())
        scale = largest / usual if usual > 0 else 0.0
        return log_sum_exp(seen.logits) - scale * _norms(seen.features, origin, rest)

    return lambda seen, values: [score(seen, value) for value in values]


def published(learnt: Learnt) -> float:
    """The paper's 1000 for features of more than 1500 numbers and 512 otherwise; half of fewer than 1024."""
    dim = learnt.features.shape[1]
    return 1000.0 if dim > 1500 else float(min(512, dim // 2))


def tried(learnt: Learnt) -> tuple[float, ...]:
    """The published dimension and eighths of the dim."""
    dim = learnt.features.shape[1]
    return (published(learnt), *(float(max(1, dim * share // 8)) for share in (1, 2, 4, 6, 7)))


def _squares(
    features: Float32[np.ndarray, "n dim"], origin: Float64[np.ndarray, " dim"]
) -> Float64[np.ndarray, "dim dim"]:
    total = np.zeros((len(origin), len(origin)))
    for run in runs(*features.shape):
        rows = features[run] - origin
        total += rows.T @ rows
    return total


def _norms(
    features: Float32[np.ndarray, "n dim"], origin: Float64[np.ndarray, " dim"], rest: Float32[np.ndarray, "dim left"]
) -> Values:
    def norms(rows: Float32[np.ndarray, "b dim"]) -> Values:
        left = (rows - origin).astype(np.float32) @ rest
        return np.asarray(np.linalg.norm(left.astype(np.float64), axis=1))

    return by_block(norms, features)


METHODS = {"vim": Method(virtual_logit, Parameter("dimension", published, tried))}
