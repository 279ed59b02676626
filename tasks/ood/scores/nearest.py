"""The distance to the k-th nearest image learnt from."""

from collections.abc import Sequence

import numpy as np

from tasks.classification.neighbours import nearest
from tasks.features import normalised
from tasks.ood.scores.base import Learnt, Method, Parameter, Scorer, Seen, Values, constant

TRIED = (50.0, 1.0, 5.0, 10.0, 20.0, 100.0, 200.0)


def kth_neighbour(learnt: Learnt) -> Scorer:
    """z' z_(k), the k-th highest cosine with an image learnt from, of all of them: no subset (Sun et al. 2022).

    Of features z of length one the paper's -||z - z_(k)|| is a rising function of it, so every metric is the same.
    k is 50, the paper's on CIFAR; fewer images than k have all of them as neighbours, the last one the k-th.
    """
    bank = normalised(learnt.features)

    def scores(seen: Seen, values: Sequence[float]) -> list[Values]:
        places = [min(int(value), len(bank)) for value in values]
        similarities, _ = nearest(normalised(seen.features), bank, max(places))
        return [similarities[:, place - 1].astype(np.float64) for place in places]

    return scores


METHODS = {"knn": Method(kth_neighbour, Parameter("k", constant(50.0), lambda learnt: TRIED))}
