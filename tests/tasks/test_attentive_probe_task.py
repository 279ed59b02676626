"""The attentive probe: its pooling against torch's attention, many against one, and what only attention can see."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones.training.execution import Execution
from tasks.classification.attentive import AttentivePooling, AttentiveProbe, train_probes
from tasks.classification.linear_sgd import StreamedProbe
from tasks.classification.streamed import Known
from tasks.rows import Rows

CELLS, CHANNELS = 9, 8


def test_pooling_is_torchs_multi_head_attention() -> None:
    """Its keys and values are ours; the query goes in as it is, and the output is not projected."""
    pooling = AttentivePooling(12, 3, torch.Generator().manual_seed(0))
    for parameter in pooling.parameters():
        nn.init.normal_(parameter)
    cells = torch.randn(5, 7, 12)
    rival = nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
    with torch.no_grad():
        rival.in_proj_weight.copy_(torch.cat([torch.eye(12), pooling.keys.weight, pooling.values.weight]))
        rival.out_proj.weight.copy_(torch.eye(12))
    expected = rival(pooling.query.reshape(1, 1, 12).expand(5, 1, 12), cells, cells)[0][:, 0]
    torch.testing.assert_close(pooling(cells), expected, rtol=1e-4, atol=1e-5)


def test_heads_may_be_more_than_channels() -> None:
    assert AttentivePooling(8, 12, torch.Generator())(torch.randn(2, 3, 8)).shape == (2, 12)


def hidden(rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One cell of nine, marked by a large last channel, holds the class; the others hold another's, eight times over.

    The mean of the cells is the same whatever the class, but for noise: what is left out of the others is in the one.
    """
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(rows) % classes)
    cells = 0.3 * generator.normal(size=(rows, CELLS, CHANNELS))
    marked = generator.integers(0, CELLS, rows)
    cells[:, :, :classes] -= np.eye(classes)[labels][:, None] / (CELLS - 1)
    cells[np.arange(rows), marked, :classes] = np.eye(classes)[labels] + 0.3 * generator.normal(size=(rows, classes))
    cells[np.arange(rows), marked, -1] += 3
    return cells.reshape(rows, -1).astype(np.float32), labels


@pytest.fixture
def dense(world: Any) -> Any:
    """A backbone with maps of nine cells; the deepest has the largest stride."""

    class Dense(type(world.nobody)):  # type: ignore[misc]
        preprocess = type("Size", (), {"size": (48, 48)})

        def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
            assert not self.training
            return {8: torch.zeros(len(images), 2, 6, 6), 16: torch.zeros(len(images), CHANNELS, 3, 3)}

    return Dense()


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_cell_that_matters(seed: int, world: Any, dense: Any) -> None:
    """The linear probe of the cells' mean is at chance (a quarter); the attentive probe is above 0.8."""
    parts = {name: hidden(rows, 4, at) for at, (name, rows) in enumerate([("train", 800), ("val", 200), ("test", 400)])}
    pooled = {name: (each.reshape(-1, CELLS, CHANNELS).mean(1), y) for name, (each, y) in parts.items()}
    mean = world.run(StreamedProbe(batch=64), seed, dataset=world.dataset("mean", tuple("abcd"), pooled))
    task = AttentiveProbe(learning_rates=[1e-2, 3e-2], epochs=30, batch=64, attention_heads=2)
    answers = world.run(task, seed, backbone=dense, dataset=world.dataset("cells", tuple("abcd"), parts))
    assert mean["top1"] == pytest.approx(0.25, abs=0.12)
    assert answers["top1"] > 0.8
    assert answers.notes["cells"].value == {"cells": CELLS, "channels": CHANNELS}
    assert len(answers.notes["val_top1"].value) == 2


def test_every_probe_is_what_it_would_be_alone_and_the_seed_decides() -> None:
    features, labels = hidden(200, 4, 1)
    known = Known(Rows(((features, np.arange(200)),)), labels)
    task, execution = AttentiveProbe(batch=32, epochs=3), Execution(device="cpu")
    grid = [(1e-2, 0.0), (1e-1, 0.1)]
    asked = hidden(20, 4, 2)[0]
    both = train_probes(task, CHANNELS, 4, 7, execution, known, grid)(asked)
    for index, pair in enumerate(grid):
        alone = train_probes(task, CHANNELS, 4, 7, execution, known, [pair])(asked)
        np.testing.assert_allclose(both[:, index], alone[:, 0], rtol=1e-4, atol=1e-5)
    assert np.abs(both[:, 0] - both[:, 1]).max() > 0.1
    other = train_probes(task, CHANNELS, 4, 8, execution, known, grid)(asked)
    assert not np.allclose(both, other)


def test_refusals(world: Any, dense: Any) -> None:
    dataset = world.dataset("d", tuple("abcd"), {"train": hidden(40, 4, 1), "test": hidden(8, 4, 2)})
    assert "lower batch" in (AttentiveProbe(batch=64).refusal(dense, {"dataset": [dataset]}) or "")
    one = world.dataset("d", tuple("abcd"), {"train": (hidden(40, 4, 1)[0], np.zeros(40)), "test": hidden(8, 4, 2)})
    assert "one class only" in (AttentiveProbe(batch=8).refusal(dense, {"dataset": [one]}) or "")
