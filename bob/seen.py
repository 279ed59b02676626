"""What past records tell of time and memory, by task and question, ready to be asked about backbones of any size."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from results.record import Record

SMALLEST = 1e6
"""Floating-point operations below which a backbone (pixel statistics) costs no less."""
PATCH = 128
"""Pixels a parameter is used for once (a patch of 16 x 16, two operations each): where operations were not counted."""
FITTED = 4
"""Backbones of different size that it takes to fit how time grows with size; below that it grows as size does."""


@dataclass(frozen=True)
class Seen:
    """A finished cell. ``size`` is its backbone's, ``memory_gb`` the process's or ``gpu_memory_gb`` a GPU's.

    ``at_most`` are the seconds it would have taken had its features not come from the cache.
    """

    backbone: str
    size: float
    seconds: float
    at_most: float
    memory_gb: float | None
    gpu_memory_gb: float | None


@dataclass(frozen=True)
class Group:
    """Everything seen of one question, by size. ``data`` are its datasets, sorted; ``settings`` all of its task's."""

    data: tuple[str, ...]
    images: int
    settings: Mapping[str, Any] | None
    seen: tuple[Seen, ...]

    @cached_property
    def _by_backbone(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for each in self.seen:
            found.setdefault(each.backbone, []).append(each)
        return found

    @cached_property
    def _sizes(self) -> list[float]:
        return [each.size for each in self.seen]

    @cached_property
    def slope(self) -> float:
        """The power of size that time grows with, by least squares on logarithms, within [0, 1]; 1 where unknown.

        What a task does beside the backbone's passes does not grow; a probe on cached features hardly does.
        """
        if len(set(self._sizes)) < FITTED:
            return 1.0
        times = [math.log(each.seconds) for each in self.seen]
        middle, mean = sum(self._sizes) / len(times), sum(times) / len(times)
        across = sum((size - middle) ** 2 for size in self._sizes)
        along = sum((size - middle) * (time - mean) for size, time in zip(self._sizes, times, strict=True))
        return min(1.0, max(0.0, along / across))

    def of(self, backbone: str) -> list[Seen]:
        """Those of one backbone."""
        return self._by_backbone.get(backbone, [])

    def nearest(self, size: float | None, count: int) -> list[Seen]:
        """So many of nearest size; spread over all sizes where none is known."""
        if size is None:
            return list(self.seen[:: -(-len(self.seen) // count)])
        at = bisect_left(self._sizes, size)
        around = self.seen[max(0, at - count) : at + count]
        return sorted(around, key=lambda each: abs(each.size - size))[:count]

    def growth(self, seen: Seen, size: float | None) -> float:
        """How many times the time of a cell it takes with a backbone of that size."""
        return 1.0 if size is None else math.exp(self.slope * (size - seen.size))


class Past:
    """Records in the order of their tasks and questions. ``sizes`` are of backbones, as they were last seen."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.sizes: dict[str, float] = {}
        listed: dict[str, dict[str, list[Record]]] = {}
        for each in sorted(records, key=lambda each: each.provenance.created):
            if each.cost is not None and each.status == "done":
                counted, facts = each.cost.flops, each.backbone
                self.sizes[each.cell.backbone] = size_of(counted, facts.parameters, each.identity.preprocess)
                listed.setdefault(each.cell.task, {}).setdefault(each.cell.setting(), []).append(each)
        self._groups = {
            task: {setting: self._group(several) for setting, several in settings.items()}
            for task, settings in listed.items()
        }

    def groups(self, task: str) -> Mapping[str, Group]:
        """What was seen of a task, by the column of the question."""
        return self._groups.get(task, {})

    def _group(self, records: list[Record]) -> Group:
        newest = records[-1]
        return Group(
            data=tuple(sorted(name for names in newest.cell.datasets.values() for name in names)),
            images=_images(newest),
            settings=newest.notes.get("settings"),
            seen=tuple(sorted(map(self._seen, records), key=lambda each: each.size)),
        )

    def _seen(self, record: Record) -> Seen:
        assert record.cost is not None
        peak = record.cost.peak_memory_mb
        memory = None if peak is None else peak / 1024
        gpu = record.provenance.hardware.get("gpus", "none") != "none"
        seconds, speed = max(record.cost.seconds, 1e-3), record.cost.images_per_second
        looking = _images(record) / speed if speed else 0.0
        return Seen(
            record.cell.backbone,
            self.sizes[record.cell.backbone],
            seconds,
            seconds if seconds > looking else seconds + looking,
            None if gpu else memory,
            memory if gpu else None,
        )


def _images(record: Record) -> int:
    """In all of its data."""
    return sum(counts[0] for counts in record.notes.get("images used of total", {}).values())


def size_of(flops: float | None, parameters: float, preprocess: Mapping[str, Any] | None) -> float:
    """The logarithm of the floating-point operations of one image: as counted, else guessed from the parameters.

    Of ViT-B/16 at 224 pixels 35.1 thousand million are counted, and 33.6 guessed.

    >>> round(math.exp(size_of(None, 85.8e6, {"size": (224, 224)})) / 1e9, 1)
    33.6
    """
    height, width = preprocess["size"] if preprocess else (224, 224)
    return math.log(max(SMALLEST, flops or parameters * height * width / PATCH))
