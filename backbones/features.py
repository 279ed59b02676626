"""Features: extract once, evaluate many. Images in, a read-only (n, dim) matrix out, from the cache if it is there."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, resolve_device
from backbones.feature_cache import Building, FeatureCache, Layout, block_rows, digest
from backbones.feature_checks import check_finite
from backbones.feature_health import Health, health
from backbones.feature_run import FeatureRun
from backbones.images import Images
from backbones.inference import Layer, call_of

FEATURES_VERSION = 3
"""Part of every cache key: raise it when a change to decoding, preprocessing or extraction changes features."""

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``, in images."""


def usable_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class ExtractSettings:
    """Execution fields: how features are made and kept. ``batch_size`` None chooses one by device.

    ``precision`` other than float32 is autocast; ``storage`` float16 halves the files.
    """

    cache: Path
    device: str = "auto"
    workers: int = field(default_factory=usable_cores)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    storage: Literal["float32", "float16"] = "float32"
    batch_size: int | None = None


@dataclass(frozen=True)
class FeatureFacts:
    """How one matrix came to be. Speed is that of the run which computed it, also when it now came from the cache.

    ``images_per_second`` and ``seconds`` cover reading, decoding, preprocessing, the model and writing.
    ``images`` is the identity of what they are features of.
    ``decoding`` is ``fast`` where it was found within tolerance of the library's PIL transform, else ``pil``.
    """

    images_per_second: float
    seconds: float
    dim: int
    storage: str
    precision: str
    batch_size: int
    decoding: Literal["fast", "pil"]
    folded: bool
    warnings: tuple[str, ...]
    images: str
    layer: Layer
    health: Health
    from_cache: bool = False


class Extractor:
    """Computes features at most once, over all processes that share a cache. ``used`` lists the facts of every call."""

    def __init__(self, settings: ExtractSettings, progress: Progress | None = None) -> None:
        self.settings, self.progress = settings, progress
        self.cache = FeatureCache(settings.cache / "features")
        self.used: list[FeatureFacts] = []

    def __call__(self, backbone: Backbone, images: Images, layer: Layer = "pooled") -> NDArray[Any]:
        """The (n, dim) features, read-only and memory-mapped.

        Raises ``TypeError`` or ``ValueError`` where outputs break the contract, ``FloatingPointError`` for NaN,
        ``UnreadableImage`` naming an image, ``OSError`` naming the file when the disk is full.
        """
        call_of(backbone, layer)
        if len(images) == 0:
            raise ValueError(f"there are no images to extract features of {backbone.card.name} from")
        made_of = self._made_of(backbone, images, layer)
        key = digest(made_of)
        with self.cache.locked(key):
            found = self.cache.open(key)
            if found is None:
                computed = self._compute(key, made_of, backbone, images, layer)
                matrix, facts = self.cache.reopened(key)[0], replace(computed, from_cache=False)
            else:
                matrix, facts = found[0], _facts(found[1])
        self.used.append(facts)
        return matrix

    def facts(self, backbone: Backbone, images: Images, layer: Layer = "pooled") -> FeatureFacts | None:
        """What is known of features in the cache; None when they are not there."""
        key = digest(self._made_of(backbone, images, layer))
        with self.cache.locked(key):
            found = self.cache.open(key)
        return None if found is None else _facts(found[1])

    def _made_of(self, backbone: Backbone, images: Images, layer: Layer) -> dict[str, Any]:
        """All that decides the numbers in a matrix. How fast they are computed does not."""
        return {
            "version": FEATURES_VERSION,
            "weights": backbone.card.weights_sha256,
            "architecture": backbone.card.architecture,
            "library": backbone.card.source,
            "preprocess": json.loads(json.dumps(asdict(backbone.preprocess))),
            "images": images.identity,
            "layer": layer,
            "precision": self.settings.precision,
            "storage": self.settings.storage,
        }

    def _compute(
        self, key: str, made_of: dict[str, Any], backbone: Backbone, images: Images, layer: Layer
    ) -> FeatureFacts:
        building = self.cache.build(key)
        started = time.perf_counter()
        try:
            run, computed = self._fill(building, backbone, images, layer)
        except (FloatingPointError, TypeError, ValueError):
            self.cache.discard(building)  # what broke the contract once may have done so before, unseen
            raise
        assert building.layout is not None
        seconds = time.perf_counter() - started
        facts = FeatureFacts(
            images_per_second=computed / seconds,
            seconds=seconds,
            dim=building.layout.dim,
            storage=self.settings.storage,
            precision=self.settings.precision,
            batch_size=run.forward.batch_size,
            decoding=run.decoding,
            folded=run.frozen.folded,
            warnings=tuple(run.forward.notes),
            images=images.identity,
            layer=layer,
            health=health(
                building.blocks(building.layout),
                len(images),
                [building.checksums[index] for index in range(building.layout.blocks)],
                run.sample.numpy(force=True),
            ),
        )
        self.cache.finish(key, building, made_of, asdict(facts))
        return facts

    def _fill(self, building: Building, backbone: Backbone, images: Images, layer: Layer) -> tuple[FeatureRun, int]:
        """Write every block that is not there yet; also returns how many images were put through the model."""
        device, per_block = resolve_device(self.settings.device), block_rows(len(images))
        blocks = [range(start, min(len(images), start + per_block)) for start in range(0, len(images), per_block)]
        missing = [index for index in range(len(blocks)) if index not in building.checksums]
        done = len(images) - sum(len(blocks[index]) for index in missing)
        with FeatureRun(
            backbone, images, layer, device, self.settings.workers, self.settings.precision, self.settings.batch_size
        ) as run:
            outputs = run.outputs([blocks[index] for index in missing])
            batches = self._reported(outputs, backbone.card.name, done, len(images))
            for index, values in zip(
                missing, _regroup(batches, [len(blocks[index]) for index in missing]), strict=True
            ):
                with np.errstate(over="ignore"):  # an infinity is reported, with its image, by the next line
                    stored = values.astype(self.settings.storage, copy=False)
                check_finite(stored, images.names[blocks[index].start : blocks[index].stop], backbone.card.name)
                layout = Layout(len(images), stored.shape[1], stored.dtype.str, per_block)
                building.write(layout, index, stored)
        return run, sum(len(blocks[index]) for index in missing)

    def _reported(
        self, batches: Iterator[NDArray[np.float32]], name: str, done: int, total: int
    ) -> Iterator[NDArray[np.float32]]:
        dim = None
        for batch in batches:
            dim = batch.shape[1] if dim is None else dim
            if batch.shape[1] != dim:
                raise ValueError(f"{name} must give every batch the same dim; it gave {dim}, then {batch.shape[1]}")
            done += len(batch)
            if self.progress is not None:
                self.progress(name, done, total)
            yield batch


def _regroup(batches: Iterator[NDArray[np.float32]], sizes: list[int]) -> Iterator[NDArray[np.float32]]:
    """The rows of the batches in blocks of these sizes; never more than a block and a batch are held."""
    rest: NDArray[np.float32] | None = None
    for size in sizes:
        block: NDArray[np.float32] | None = None
        filled = 0
        while filled < size:
            batch = next(batches) if rest is None else rest
            block = np.empty((size, batch.shape[1]), np.float32) if block is None else block
            taken = batch[: size - filled]
            block[filled : filled + len(taken)] = taken
            filled += len(taken)
            rest = batch[len(taken) :] if len(taken) < len(batch) else None
        assert block is not None
        yield block


def _facts(kept: dict[str, Any]) -> FeatureFacts:
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept["health"].items()
    }
    return FeatureFacts(**{**kept, "warnings": tuple(kept["warnings"]), "health": Health(**said), "from_cache": True})
