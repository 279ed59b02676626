"""All pairs of 50 backbones on 50,000 items by 10,000 resamples."""

import time

import numpy as np
import pytest

from results.statistics.pairs import paired_bootstrap

pytestmark = pytest.mark.slow


def test_all_pairs_of_50_backbones() -> None:
    generator = np.random.default_rng(0)
    values = (generator.random((50, 50_000)) < generator.beta(2, 1, 50_000)).astype(np.float32)
    start = time.perf_counter()
    found = paired_bootstrap(values, resamples=10_000)
    seconds = time.perf_counter() - start
    one = values[0] - values[1].astype(np.float64)
    margin = 1.96 * one.std() / np.sqrt(len(one))
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx(
        (one.mean() - margin, one.mean() + margin), abs=margin / 20
    )
    print(f"\n1,225 pairs, 50,000 items, 10,000 resamples: {seconds:.1f} s")
    assert seconds < 30
