"""k nearest neighbours by cosine on frozen features; nothing is learnt and nothing is chosen."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.classification.metrics import top_k_correct
from tasks.classification.neighbours import nearest
from tasks.classification.parts import is_seeded, learning_refusal, partition_notes
from tasks.classification.report import report
from tasks.datasets.partition import Partition, partition
from tasks.features import collapse_notes, features_of, normalised
from tasks.readouts import ChosenReading


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NearestNeighbours(ChosenReading, Task):
    """top1, top5 and mean_per_class of a vote of the ``k`` nearest of train and val.

    A neighbour's vote weighs exp(cosine / temperature), as in Wu et al. 2018 and DINO. Of neighbours equally near the
    earlier image votes; classes with equal votes share the credit.
    """

    name: ClassVar[str] = "classification.knn"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "top1"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}

    k: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.07, ge=0.001)

    def uses_seed(self, data: Data) -> bool:
        """Train and val vote together and test is the same for every seed, so only where a readout is chosen on val."""
        return self.select == "val" and is_seeded(data["dataset"][0])

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset without parts or of a single class, or more neighbours asked for than there are images."""
        if why := self.unreadable(backbone):
            return why
        dataset = data["dataset"][0]
        if why := learning_refusal(dataset):
            return why
        parts = partition(dataset, 0)
        if self.k > (size := len(parts.train) + len(parts.val)):
            return f"dataset {dataset.name!r}: k = {self.k}, but only {size} images can be neighbours; lower k"
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Find the neighbours of every test image and let them vote."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset = data["dataset"][0]
        parts = partition(dataset, seed)
        yield from partition_notes(parts)
        extract, notes = self.chosen(backbone, tools.extract, lambda at: self._on_val(backbone, parts, at))
        yield from notes
        known = [features_of(backbone, part, extract) for part in (parts.train, parts.val)]
        rows = np.concatenate([parts.train.rows, parts.val.rows])
        # What was carved goes back to its place, so that "the earlier image" is the same for every seed.
        order = np.argsort(rows) if parts.train.split == parts.val.split else np.arange(len(rows))
        gallery = np.concatenate(known)[order]
        labels = np.concatenate([parts.train.labels, parts.val.labels])[order]
        yield from collapse_notes(gallery, "gallery")
        queries = features_of(backbone, parts.test, extract)
        similarities, neighbours = nearest(normalised(queries), normalised(gallery), self.k)
        votes = vote(similarities, labels[neighbours], len(dataset.classes), self.temperature)
        yield from report(votes, parts.test.labels, parts.test.names, calibrated=False)

    def _on_val(self, backbone: Backbone, parts: Partition, extract: Extract) -> float:
        """top1 of val by the neighbours in train."""
        gallery, queries = (normalised(features_of(backbone, part, extract)) for part in (parts.train, parts.val))
        similarities, neighbours = nearest(queries, gallery, min(self.k, len(gallery)))
        classes = 1 + int(max(parts.train.labels.max(), parts.val.labels.max()))
        votes = vote(similarities, parts.train.labels[neighbours], classes, self.temperature)
        return float(top_k_correct(votes, parts.val.labels, 1).mean())


def vote(
    similarities: Float32[np.ndarray, "q k"], labels: Int64[np.ndarray, "q k"], classes: int, temperature: float
) -> Float64[np.ndarray, "q classes"]:
    """Each class's share of the neighbours' weights exp(similarity / temperature).

    >>> vote(np.array([[0.9, 0.9]], np.float32), np.array([[2, 0]]), 3, 0.07)
    array([[0.5, 0. , 0.5]])
    """
    # Shares do not change with a common factor, and the nearest neighbour's weight of one cannot underflow.
    weights = np.exp((similarities - similarities.max(1, keepdims=True)).astype(np.float64) / temperature)
    votes = np.zeros((len(labels), classes))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return np.asarray(votes / votes.sum(1, keepdims=True))


TASKS = {"classification.knn": NearestNeighbours}
