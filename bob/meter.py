"""What a cell cost: seconds and the peak of memory while it ran."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Measured:
    """Filled when the block ends. ``peak_memory_mb`` is the device's on a GPU, else the process's (model included)."""

    seconds: float = 0.0
    peak_memory_mb: float | None = None


@contextmanager
def measure(device: torch.device) -> Iterator[Measured]:
    """Measure the block."""
    measured, start = Measured(), time.perf_counter()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _reset_peak()
    try:
        yield measured
    finally:
        measured.seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated(device) if on_gpu else _peak()
        measured.peak_memory_mb = round(peak / 2**20, 1)


def _reset_peak() -> None:
    """Linux forgets the process's high-water mark when asked; elsewhere the peak is that since the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
