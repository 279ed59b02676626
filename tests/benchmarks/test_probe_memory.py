"""The streamed probe: what it holds of a matrix on disk, and its speed against a loop over heads in dinov2's style."""

import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones.training.execution import Execution
from backbones.training.order import epoch_order
from tasks.classification.linear_sgd import StreamedProbe, train_heads
from tasks.classification.streamed import Known
from tasks.datasets.partition import Part
from tasks.features import features_of, rows_of
from tasks.rows import Rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROWS, DIM, CLASSES = 150_000, 2048, 10
MEGABYTE = 2**20


@pytest.fixture(autouse=True)
def no_shape_checks() -> Any:
    """Shapes are checked in tests only, so a user does not pay for them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def anonymous() -> int:
    """Bytes of this process that are no pages of a file: what was allocated, by numpy, torch or anybody."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def peaks(work: Callable[[], object]) -> tuple[int, int]:
    """The most anonymous memory while it works, above that before, looked at every 2 ms; the most numpy allocated."""
    before, most, done = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, anonymous() - before)

    watcher = threading.Thread(target=watch)
    tracemalloc.start()
    watcher.start()
    kept = work()
    done.set()
    watcher.join()
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del kept
    return most, traced


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_nothing_of_the_order_of_the_matrix_is_allocated(tmp_path: Path) -> None:
    """1.2 GB on disk: less than a hundredth of it between cache and probe, a tenth in the whole of a training."""
    generator = np.random.default_rng(0)
    matrix = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float32, (ROWS, DIM))
    for begin in range(0, ROWS, 5000):
        matrix[begin : begin + 5000] = generator.normal(size=(5000, DIM))
    matrix.flush()
    mapped: Any = np.load(tmp_path / "features.npy", mmap_mode="r")
    labels = generator.integers(0, CLASSES, ROWS)

    class Nameless:
        names = tuple(map(str, range(ROWS)))

    part: Any = Part("train", Nameless(), np.arange(ROWS), labels)  # type: ignore[arg-type]
    assert len(part.names) == ROWS
    backbone: Any = None
    handed = peaks(lambda: features_of(backbone, part, lambda *_: mapped))
    copied = peaks(lambda: np.asarray(mapped[part.rows], dtype=np.float32))
    settings = StreamedProbe(batch=1024, epochs=1)

    def streamed() -> object:
        known = Known(rows_of(backbone, part, lambda *_: mapped), labels)
        return train_heads(settings, CLASSES, 0, Execution(device="cpu"), known, settings.grid())

    trained = peaks(streamed)
    print(f"\nmatrix {mapped.nbytes / MEGABYTE:.0f} MB; most allocated above what was there, in all and by numpy:")
    for name, (most, traced) in {"handed out": handed, "copied, as it was": copied, "trained": trained}.items():
        print(f"{name:20} {most / MEGABYTE:7.0f} MB {traced / MEGABYTE:7.0f} MB")
    assert copied[0] > 0.9 * mapped.nbytes  # the measurement sees a copy
    assert max(handed) < 0.01 * mapped.nbytes
    assert max(trained) < 0.1 * mapped.nbytes


def loop_of_heads(features: Tensor, labels: Tensor, settings: StreamedProbe, classes: int) -> list[nn.Linear]:
    """A head a pair of the grid, one SGD over all, as dinov2's linear evaluation does; the batches of ours."""
    heads = [nn.Linear(features.shape[1], classes) for _ in settings.grid()]
    for head in heads:
        nn.init.trunc_normal_(head.weight, std=0.01, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(head.bias)
    groups = [
        {
            "params": [parameter],
            "weight_decay": decay if parameter.ndim > 1 else 0.0,
            "rate": rate * settings.batch / 256,
        }
        for head, (rate, decay) in zip(heads, settings.grid(), strict=True)
        for parameter in head.parameters()
    ]
    optimiser = torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum)
    steps = len(labels) // settings.batch
    for epoch in range(settings.epochs):
        order = torch.from_numpy(epoch_order(len(labels), 0, epoch))
        for step in range(steps):
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * settings.factor(epoch + step / steps)
            batch, truth = features[rows], labels[rows]
            loss = torch.stack([nn.functional.cross_entropy(head(batch), truth) for head in heads]).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return heads


@pytest.mark.parametrize(
    ("rows", "dim", "classes", "batch", "least"),
    [
        (12_800, 384, 10, 128, 3.0),
        (6_400, 768, 10, 128, 3.0),
        (6_400, 768, 100, 128, 1.0),
        (2_048, 768, 1000, 256, 1.0),
    ],
)
def test_heads_a_second_against_a_loop(rows: int, dim: int, classes: int, batch: int, least: float) -> None:
    """52 heads, as many as dinov2 tries. With many classes the loop is at the processor's limit, and so are we."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(rows, dim)).astype(np.float32)
    labels = (features @ generator.normal(size=(dim, classes))).argmax(1)
    rates = tuple(float(rate) for rate in np.geomspace(1e-3, 0.3, 13))
    settings = StreamedProbe(
        learning_rates=rates, weight_decays=(0.0, 1e-5, 1e-4, 1e-3), batch=batch, epochs=2, scaling="none"
    )
    known, execution = Known(Rows(((features, np.arange(rows)),)), labels), Execution(device="cpu")
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(3):
        begin = time.perf_counter()
        scorer = train_heads(settings, classes, 0, execution, known, settings.grid())
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        heads = loop_of_heads(torch.from_numpy(features), torch.from_numpy(labels), settings, classes)
        theirs.append(time.perf_counter() - begin)
    expected = torch.stack([head(torch.from_numpy(features[:100])) for head in heads], 1).detach().numpy()
    np.testing.assert_allclose(scorer(features[:100]), expected, rtol=1e-2, atol=1e-3)
    gigaflops = [
        4 * len(heads) * dim * classes * settings.epochs * (rows // batch) * batch / 1e9 / min(each)
        for each in (ours, theirs)
    ]
    ratio = float(np.median(theirs) / np.median(ours))
    print(
        f"\n{rows} x {dim}, {classes} classes, batch {batch}: ours {len(heads) / np.median(ours):.1f} heads/s "
        f"({gigaflops[0]:.0f} GFLOP/s), loop {len(heads) / np.median(theirs):.1f} ({gigaflops[1]:.0f}): {ratio:.1f} x"
    )
    assert ratio >= least
