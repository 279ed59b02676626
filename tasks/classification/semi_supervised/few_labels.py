"""Which images have labels, and which do not."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from backbones.training.chance import seed_of
from tasks.classification.few_shot import drawn
from tasks.datasets.partition import Part

POOL = 1
"""What a number drawn from the seed is for, beside the labelled images' draw."""


@dataclass(frozen=True)
class FewLabels:
    """``labelled`` with their labels; ``pool``, rows of the same images, those of the labelled ones among them."""

    labelled: Part
    pool: Int64[np.ndarray, " m"]


def few_labels(train: Part, labels: int | float, unlabelled: float | None, seed: int) -> FewLabels:
    """So many of each class (or such a share of it) with labels, drawn as in few-shot classification.

    ``unlabelled`` images for each labelled one join them in the pool, drawn without a look at their class; None: all.
    """
    at = drawn(train.labels, labels, seed, 0)
    rest = np.setdiff1d(np.arange(len(train)), at)
    if unlabelled is not None:
        order = np.random.default_rng(seed_of(seed, POOL, 0)).permutation(rest)
        rest = order[: round(unlabelled * len(at))]
    return FewLabels(train.only(at), train.rows[np.sort(np.concatenate([at, rest]))])
