"""Image retrieval by cosine: do the images of the same class come first?"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, evaluated_on, evaluation_part
from tasks.datasets.targets import target_refusal
from tasks.retrieval.lines import Asked, ranked
from tasks.retrieval.ranking import Blocks, average_precision, first_place, hit, precision
from tasks.retrieval.refined import Compared, Refined
from tasks.retrieval.search import rankings

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Retrieval(Refined, Task):
    """Rank a gallery by the dot product of unit-length float32 features; a right answer has the query's class.

    With splits query and gallery each query ranks the gallery; any other dataset is asked leaving one out: each image
    of its evaluation part ranks all the others. Means over the queries that have a right answer:

    - mAP: average precision, the mean over right answers of the precision at their rank (no trapezoids);
    - mrr: one over the rank of the first right answer;
    - recall@k: whether any right answer is among the first k (as metric learning counts it, not the share found);
    - precision@k: the share of right answers among the first k (k stays the divisor where fewer are right).

    Equal similarities (to 1e-6) are taken in every order and averaged. Queries without a right answer are counted.
    What else may be done to the features or the ranking is off unless asked for, and named by ``Refined``.
    """

    name: ClassVar[str] = "retrieval"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mAP"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"dataset": "one", "whitening": "any"}

    def uses_seed(self, data: Data) -> bool:
        """Never: nothing is drawn."""
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset in which no query has a right answer, or a readout the backbone does not have."""
        if why := self.unreadable(backbone):
            return why
        dataset = data["dataset"][0]
        if why := target_refusal(dataset):
            return why
        try:
            queries, gallery = _sides(dataset)
        except ValueError as error:
            return str(error)
        needed = 2 if queries is gallery else 1
        counts = np.unique_counts(gallery.labels)
        findable = counts.values[counts.counts >= needed]
        if not np.isin(queries.labels, findable).any():
            return f"dataset {dataset.name!r}: no query has a right answer in the gallery"
        return self.unrefinable(backbone, data, (queries, gallery))

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Rank the gallery for every query."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        queries, gallery = _sides(data["dataset"][0])
        alone = queries is gallery
        compared, notes = self.compared(backbone, data, (queries, gallery), tools.extract)
        yield from notes
        found = list(self._rankings(compared, queries, gallery))
        yield Note("protocol", "leave one out" if alone else "query and gallery")
        if alone:
            yield Note("test_part", evaluated_on(queries))
        if hopeless := sum(ranking is None for ranking in found):
            yield Note("queries_without_answer", f"{hopeless} of {len(found)} queries are left out", True)
        yield from _report(queries, found)

    def _rankings(self, compared: Compared, queries: Part, gallery: Part) -> Iterator[Blocks | None]:
        alone = compared.leave_one_out
        if not self.rerank:
            yield from rankings(compared.queries, queries.labels, compared.gallery, gallery.labels, alone)
            return
        for query, line in enumerate(self.lines(compared)):
            itself = np.arange(query, query + alone)
            answers = np.flatnonzero(gallery.labels == queries.labels[query])
            yield from ranked(line, [Asked(np.setdiff1d(answers, itself), itself)])


def _sides(dataset: Dataset) -> tuple[Part, Part]:
    """Queries and gallery: the same object where each image is to find the others."""
    if {"query", "gallery"} <= set(dataset.splits):
        for split in ("query", "gallery"):
            if not len(dataset.splits[split]):
                raise ValueError(f"dataset {dataset.name!r}: its {split} split is empty")
        query, gallery = (
            Part(
                split, dataset.splits[split].images, np.arange(len(dataset.splits[split])), dataset.splits[split].labels
            )
            for split in ("query", "gallery")
        )
        return query, gallery
    whole = evaluation_part(dataset)
    return whole, whole


def _report(queries: Part, found: list[Blocks | None]) -> Iterator[Score | Outputs]:
    kept = [(row, ranking) for row, ranking in enumerate(found) if ranking is not None]
    values = {"mAP": np.array([average_precision(ranking) for _, ranking in kept])}
    places = [first_place(ranking) for _, ranking in kept]
    values["mrr"] = np.array([reciprocal for reciprocal, _ in places])
    for k in CUTOFFS:
        values[f"recall@{k}"] = np.array([hit(ranking, k) for _, ranking in kept])
        values[f"precision@{k}"] = np.array([precision(ranking, k) for _, ranking in kept])
    for metric, column in values.items():
        yield Score(metric, float(column.mean()), column)
    yield Outputs(
        {
            "item": np.array([queries.names[row] for row, _ in kept], dtype=object),
            "label": queries.labels[[row for row, _ in kept]],
            "average_precision": values["mAP"],
            "reciprocal_rank": values["mrr"],
            "first_rank": np.array([rank for _, rank in places]),
            "n_positives": np.array([ranking.right.sum() for _, ranking in kept]),
        }
    )


TASKS = {"retrieval": Retrieval}
