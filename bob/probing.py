"""A short probe: a few images of the data through a backbone on this machine, timed, and what it takes of memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from backbones.base import Backbone, resolve_device
from backbones.feature_run import FeatureRun
from backbones.features import ExtractSettings
from backbones.images import Images
from bob.estimate import Probe
from bob.meter import measure
from bob.plan import Cell
from bob.roster import Roster

BATCHES = 3
"""Timed, after one that is not; only that one, where it was slow enough to tell."""
BATCH_SIZES = {"cpu": 8, "cuda": 64, "mps": 32}
SLOW_S = 2.0


class Prober:
    """Probes each backbone once on each dataset. What cannot be probed is told to ``say``, and is None."""

    def __init__(self, roster: Roster, settings: ExtractSettings, say: Callable[[str], None]) -> None:
        self.roster, self.say = roster, say
        self.settings = replace(settings, batch_size=BATCH_SIZES.get(resolve_device(settings.device).type, 8))
        self._probed: dict[tuple[str, str], Probe | None] = {}

    def __call__(self, cell: Cell) -> Probe | None:
        """What the cell's backbone takes for the images of the first of its datasets."""
        data = next(each for sets in cell.question.data.values() for each in sets)
        name = (cell.loaded_as, data.manifest_sha256)
        if name not in self._probed:
            images = max(data.splits.values(), key=len).images
            try:
                self._probed[name] = probe(self.roster.get(cell.loaded_as), images, self.settings)
            except Exception as error:  # whatever it is, the cell itself will tell of it; others are still estimated
                self.say(f"no probe of {cell.backbone} on {data.name}: {type(error).__name__}: {error}")
                self._probed[name] = None
        return self._probed[name]


def probe(backbone: Backbone, images: Images, settings: ExtractSettings) -> Probe:
    """Seconds an image and peak memory of a pass as features are extracted, and what training would keep."""
    device = resolve_device(settings.device)
    assert settings.batch_size is not None
    with (
        measure(torch.device("cpu")) as host,
        measure(device) as there,
        FeatureRun(
            backbone, images, "pooled", device, settings.workers, settings.precision, settings.batch_size
        ) as run,
    ):
        rows = np.linspace(0, len(images) - 1, BATCHES * settings.batch_size).astype(int).tolist()
        seconds = _seconds(run, rows[: settings.batch_size])
        if seconds < SLOW_S:
            seconds = _seconds(run, rows) / BATCHES
        image = run.sample[:1]
    weights = sum(each.numel() * each.element_size() for each in backbone.parameters())
    assert host.peak_memory_mb is not None
    return Probe(
        seconds=seconds / settings.batch_size,
        memory_gb=host.peak_memory_mb / 1024,
        gpu_memory_gb=None if device.type != "cuda" or there.peak_memory_mb is None else there.peak_memory_mb / 1024,
        weights_gb=weights / 2**30,
        kept_gb=kept_bytes(backbone, image) / 2**30,
    )


def _seconds(run: FeatureRun, rows: list[int]) -> float:
    start = time.perf_counter()
    for _ in run.outputs([rows]):
        pass
    return time.perf_counter() - start


def kept_bytes(backbone: Backbone, images: Tensor) -> int:
    """What autograd keeps of a forward pass for the backward pass, the parameters aside: each storage once."""
    weights = {each.untyped_storage().data_ptr() for each in backbone.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with _trainable(backbone), torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
        output = backbone.embed(images.clone())  # held: what is kept must not be freed and its address used again
    del output
    return sum(kept.values())


@contextmanager
def _trainable(backbone: Backbone) -> Iterator[None]:
    """Gradients of all parameters, for a moment."""
    before = [(each, each.requires_grad) for each in backbone.parameters()]
    for each, _ in before:
        each.requires_grad_(True)
    try:
        yield
    finally:
        for each, wanted in before:
            each.requires_grad_(wanted)
