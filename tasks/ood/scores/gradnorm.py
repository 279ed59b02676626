"""The size of the gradient by which a uniform answer would change the head, in closed form."""

import numpy as np

from tasks.classification.metrics import softmax
from tasks.ood.scores.base import Seen, Values, plain


def gradient_norm(seen: Seen) -> Values:
    """||d KL(uniform || softmax(W f + b)) / dW||_1 (Huang, Geng and Li 2021).

    The gradient is (softmax - 1/K) f', so its norm is the product of two, ||softmax - 1/K||_1 and ||f||_1, as
    the paper shows too: no backward pass is needed.
    """
    apart = np.abs(softmax(seen.logits) - 1 / seen.logits.shape[1]).sum(1)
    return np.asarray(apart * np.abs(seen.features).sum(1, dtype=np.float64))


METHODS = {"gradnorm": plain(gradient_norm)}
