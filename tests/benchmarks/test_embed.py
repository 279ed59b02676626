"""``embed`` of each family against the upstream library's own forward pass to the same vector; ratios of one run.

Random weights, the same memory for both, on one batch of two that lies ready. The two take turns, in alternating order,
and the median of the pairs' ratios counts, so that a machine that is busy for a while is busy for both.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.embed_contest import PAIRS_OF

pytestmark = pytest.mark.slow

LIBRARIES = {"huggingface": "transformers"}


@pytest.mark.parametrize("name", PAIRS_OF)
def test_as_fast_as_the_library(name: str) -> None:
    source = name.partition(" ")[0]
    pytest.importorskip(LIBRARIES.get(source, source))
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.embed_contest", name],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, ratio = done.stdout.splitlines()[-2:]
    print(f"\n{name}: {said}")
    assert float(ratio) <= 1.03


def test_diffusion_executes_no_block_after_the_one_read() -> None:
    """That the prompt is encoded once, when the model is loaded, is counted in ``test_diffusers_models.py``."""
    pytest.importorskip("diffusers")
    from tests.backbones.full_size_denoisers import denoiser, saved

    for name in ("sd15", "sdxl", "dit-xl-2"):
        default = denoiser(name).default
        share = saved(name, [default])[default]
        print(f"{name} read at {default}: {100 * share:.1f} % of the denoiser's operations saved")
        assert share >= 0.4
