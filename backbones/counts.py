"""Counts as people write them: ``100M`` parameters, ``1.28M`` images."""

import re

FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9}
"""Thousand, million, billion (10^9)."""


def read_count(text: str) -> float:
    """The number meant. Raises ``ValueError`` saying how counts are written.

    >>> read_count("100M"), read_count("1.5k"), read_count("0.3B"), read_count("12")
    (100000000.0, 1500.0, 300000000.0, 12.0)
    """
    written = re.fullmatch(r"(\d+(?:\.\d+)?)([KMB]?)", text.strip().upper(), re.ASCII)
    if written is None:
        raise ValueError(f"{text!r} is no count; write a number with K, M or B after it (250K, 100M, 1.5B), or without")
    return float(written[1]) * FACTORS[written[2]]
