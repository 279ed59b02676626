"""Simplified Hopfield energy: the match with the stored pattern of the predicted class."""

from collections.abc import Callable

import numpy as np

from tasks.ood.scores.base import Learnt, Seen, Values, fitted, means_of


def stored_pattern(learnt: Learnt) -> Callable[[Seen], Values]:
    """f' S_c, c the predicted class and S_c the mean feature of its rightly predicted images (Zhang et al. 2023).

    A class none of whose images is predicted rightly stores the mean of all of them, one without images nothing.
    """
    predicted = learnt.seen.logits.argmax(1)
    right = predicted == learnt.labels
    usable = right | ~np.isin(learnt.labels, learnt.labels[right])
    stored, places = np.unique(learnt.labels[usable], return_inverse=True)
    patterns = np.zeros(learnt.seen.head.weights.shape)
    patterns[stored] = means_of(learnt.features[usable], places)

    def score(seen: Seen) -> Values:
        found = patterns[seen.logits.argmax(1)]
        return np.asarray(np.einsum("nd,nd->n", seen.features, found))

    return score


METHODS = {"she": fitted(stored_pattern)}
