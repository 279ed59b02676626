"""Temperature scaling: one number that logits are divided by, fitted so that held-out labels are most likely.

Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2: minimise over T > 0

    mean_i nll(softmax(z_i / T), y_i),

which is convex in b = 1 / T: its slope is mean_i (E_p z_i - z_iy), p = softmax(b z_i), and its curvature, the mean
variance of z_i under p, is not negative. So the slope rises with b, and its one zero is found by Newton steps kept in a
bracket. No accuracy changes: the order of the classes stays.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from tasks.classification.metrics import refuse_invalid, softmax
from tasks.rows import blocks_of

RANGE = 100.0
"""T is sought from 1 / 100 to 100 times the logits' spread: from certain of the highest class to sure of nothing.

At the lowest a spread of one class from the others makes e^100 : 1 of their chances. Labels that logits separate
perfectly (every highest class right) would be most likely at T = 0, and labels that logits tell nothing of at infinity.
"""
TOLERANCE = 1e-10
"""Of b, relative."""


@dataclass(frozen=True)
class Temperature:
    """``bound`` says which end of the range the likelihood still rose at, where it did; ``flat``: no T changes it."""

    value: float
    bound: Literal["lowest", "highest", "flat"] | None = None


def fit_temperature(logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> Temperature:
    """The most likely temperature within :data:`RANGE` of the logits' spread; of scaled logits it is the scaled one.

    Raises ``FloatingPointError`` on NaN or infinity, ``ValueError`` for no items or labels that are no column.
    """
    refuse_invalid(logits, labels)
    centred = logits.astype(np.float64) - logits.mean(1, keepdims=True, dtype=np.float64)
    spread = float(np.sqrt(np.square(centred).mean()))
    if spread <= 1e-12 * max(1.0, float(np.abs(logits).max())):  # rounding of constant rows
        return Temperature(1.0, "flat")
    scaled = centred / spread
    if _slope(scaled, labels, RANGE)[0] <= 0:
        return Temperature(spread / RANGE, "lowest")
    if _slope(scaled, labels, 1 / RANGE)[0] >= 0:
        return Temperature(spread * RANGE, "highest")
    return Temperature(spread / _root(scaled, labels))


def _root(logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> float:
    low, high, at = 1 / RANGE, RANGE, 1.0
    while high - low > TOLERANCE * low:
        slope, curvature = _slope(logits, labels, at)
        if slope == 0:
            return at
        low, high = (at, high) if slope < 0 else (low, at)
        step = at - slope / curvature if curvature > 0 else 0.0
        if abs(step - at) <= TOLERANCE * at:
            return at
        at = step if low < step < high else float(np.sqrt(low * high))
    return at


def _slope(
    logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], inverse: float
) -> tuple[float, float]:
    """First and second derivative of the mean loss by the inverse temperature."""
    slope = curvature = 0.0
    begin = 0
    for block in blocks_of(logits):
        rows = np.arange(len(block))
        chances = softmax(inverse * block)
        # Above the right class's logit: no term of a row that is right is positive, whatever the rounding.
        above = block - block[rows, labels[begin : begin + len(block)]][:, None]
        mean = (chances * above).sum(1)
        slope += float(mean.sum())
        curvature += float((chances * (above - mean[:, None]) ** 2).sum())
        begin += len(block)
    return slope / len(logits), curvature / len(logits)
