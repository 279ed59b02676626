"""Contenders take turns (A B C, A B C, ...), so that a machine that is busy for a while is busy for all of them."""

import time
from collections.abc import Callable
from statistics import median


def in_turns(contenders: dict[str, Callable[[], int]], rounds: int = 5) -> dict[str, float]:
    """Median images a second of each, over rounds in which every one has its turn."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            started = time.perf_counter()
            done = contender()
            speeds[name].append(done / (time.perf_counter() - started))
    medians = {name: median(values) for name, values in speeds.items()}
    print("\n" + "\n".join(f"{name:24} {value:8.1f} images/s" for name, value in medians.items()))
    return medians
