"""Schedules of a method's own numbers, pure functions of how far the training is."""

import math


def cosine(start: float, end: float, share: float) -> float:
    """From ``start`` at 0 along half a cosine to ``end`` at 1; beyond it stays there.

    >>> cosine(0.99, 1.0, 0.0), cosine(0.5, 1.0, 0.5), cosine(0.99, 1.0, 1.0)
    (0.99, 0.75, 1.0)
    """
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


def linear(start: float, end: float, share: float) -> float:
    """From ``start`` at 0 in a line to ``end`` at 1; beyond it stays there.

    >>> linear(0.04, 0.08, 0.5), linear(0.04, 0.08, 3.0)
    (0.06, 0.08)
    """
    return start + (end - start) * min(max(share, 0.0), 1.0)
