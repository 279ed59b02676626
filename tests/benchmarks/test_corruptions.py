"""Every corruption against the imagecorruptions package's, level by level: 224 x 224, one thread each, taking turns."""

import time
from collections.abc import Callable
from statistics import median

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from tasks.datasets.corruptions.catalogue import CORRUPTIONS, LEVELS
from tests.imagecorruptions_oracle import corrupt as oracle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIDE = 224
ROUNDS = {"glass_blur": 2}
"""Of the others 25: only the package's glass_blur takes half a second."""


@pytest.fixture
def one_thread_and_no_shape_checks():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(before)


def photograph(files) -> np.ndarray:
    """The middle of a JPEG of the benchmarks."""
    whole = np.asarray(Image.open(files.paths[0]).convert("RGB"))
    return np.ascontiguousarray(whole[75 : 75 + SIDE, 138 : 138 + SIDE])


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def test_every_function_is_faster_at_every_level(files, one_thread_and_no_shape_checks) -> None:
    theirs = oracle()
    import cv2

    cv2.setNumThreads(1)
    image, generator = photograph(files), np.random.Generator(np.random.SFC64(0))
    slower, lines = [], []
    for name, ours in CORRUPTIONS.items():
        ratios, times = [], []
        for level in LEVELS:
            pairs = []
            for turn in range(ROUNDS.get(name, 25) + 1):
                one = seconds(lambda: ours(image, level, generator))  # noqa: B023
                other = seconds(lambda: theirs(image, level, name))  # noqa: B023
                if turn:  # the first warms up
                    pairs.append((one, other))
            mine, rivals = (median(column) for column in zip(*pairs, strict=True))
            ratios.append(rivals / mine)
            times.append(1000 * mine)
        lines.append(
            f"{name:18} {' '.join(f'{value:6.2f}' for value in times)} ms   "
            f"theirs over ours {' '.join(f'{ratio:7.2f}' for ratio in ratios)}"
        )
        if min(ratios) <= 1:
            slower.append(name)
    print("\n" + "\n".join(lines))
    assert not slower
