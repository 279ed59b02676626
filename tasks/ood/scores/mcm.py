"""Maximum concept matching: zero-shot, by the prompts of the in-distribution classes alone."""

import numpy as np

from tasks.classification.metrics import softmax
from tasks.ood.scores.base import Learnt, Method, Parameter, Seen, Values, constant, each


def maximum_match(seen: Seen, temperature: float) -> Values:
    """max_k softmax(cosine / T)_k over the classes' prompts, T = 1 (Ming et al. 2022).

    The scale a model has learnt for its cosines is not applied: the paper finds that T = 1 tells more.
    """
    return np.asarray(softmax(seen.cosines / np.float32(temperature)).max(1))


def _mute(learnt: Learnt) -> str | None:
    return "there are no prompts to compare images with" if learnt.seen.prompts is None else None


METHODS = {
    "mcm": Method(
        lambda learnt: each(maximum_match),
        Parameter("temperature", constant(1.0), lambda learnt: (1.0, 10.0, 0.1, 0.01)),
        _mute,
    )
}
