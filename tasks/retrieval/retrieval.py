"""Image retrieval by cosine: do the images of the same class come first?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from backbones.base import Backbone, resolve_device
from tasks.base import Data, Note, Outputs, Score, Task, Tools
from tasks.datasets.base import Dataset
from tasks.datasets.partition import Part, evaluated_on, evaluation_part, whole_part
from tasks.datasets.targets import target_refusal
from tasks.retrieval.lines import Asked, nearest, ranked
from tasks.retrieval.ranking import Blocks, average_precision, first_place, hit, precision
from tasks.retrieval.refined import Compared, Refined
from tasks.retrieval.search import rankings, top_k

SHOWN = 5
"""Images ranked first that the outputs name."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Retrieval(Refined, Task):
    """Rank a gallery by the dot product of unit-length float32 features; a right answer has the query's class.

    With splits query and gallery each query ranks the gallery; any other dataset is asked leaving one out: each image
    of its evaluation part ranks all the others. Means over the queries that have a right answer:

    - mAP: average precision, the mean over right answers of the precision at their rank (no trapezoids);
    - mrr: one over the rank of the first right answer;
    - recall@k, for each k of ``cutoffs``: whether any right answer is among the first k (as metric learning counts
      it, not the share found);
    - precision@k: the share of right answers among the first k (k stays the divisor where fewer are right).

    Equal similarities (to 1e-6) are taken in every order and averaged; among them are all those of a query or gallery
    image whose features are zeros, which is at a right angle to everything. Queries without a right answer are counted.
    ``nearest_1`` to ``nearest_5`` of the outputs name the images ranked first, of equals the earlier in the gallery,
    and ``right_1`` to ``right_5`` say which of them are right answers.
    What else may be done to the features or the ranking is off unless asked for, and named by ``Refined``.
    """

    name: ClassVar[str] = "retrieval"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "mAP"
    roles: ClassVar[Mapping[str, Literal["one", "many", "any"]]] = {"dataset": "one", "whitening": "any"}

    cutoffs: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 5, 10), min_length=1)

    @field_validator("cutoffs")
    @classmethod
    def _cutoffs_differ(cls, cutoffs: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(cutoffs)) < len(cutoffs):
            raise ValueError(f"cutoffs must differ from one another, got {', '.join(map(str, cutoffs))}")
        return cutoffs

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
        device = resolve_device(tools.execution.device)
        device = device if device.type == "cuda" else torch.device("cpu")  # others lack whole numbers of 64 bits
        found, rows = self._searched(compared, queries, gallery, device)
        yield Note("protocol", "leave one out" if alone else "query and gallery")
        if alone:
            yield Note("test_part", evaluated_on(queries))
        if hopeless := sum(ranking is None for ranking in found):
            yield Note("queries_without_answer", f"{hopeless} of {len(found)} queries are left out", True)
        yield from _report(queries, found, self.cutoffs, _shown(queries, gallery, rows))

    def _searched(
        self, compared: Compared, queries: Part, gallery: Part, device: torch.device
    ) -> tuple[list[Blocks | None], Int64[np.ndarray, "q k"]]:
        """Each query's ranking, and the rows ranked first; beyond the gallery's end where there are no more."""
        alone = compared.leave_one_out
        if not self.rerank:
            asked = (compared.queries, queries.labels, compared.gallery, gallery.labels)
            first = top_k(compared.queries, compared.gallery, min(SHOWN + alone, len(gallery)), device)[1]
            return list(rankings(*asked, alone, device)), _without_self(first) if alone else first
        found, rows = list[Blocks | None](), list[Int64[np.ndarray, " k"]]()
        for query, line in enumerate(self.lines(compared)):
            itself = np.arange(query, query + alone)
            answers = np.flatnonzero(gallery.labels == queries.labels[query])
            found += ranked(line, [Asked(np.setdiff1d(answers, itself), itself)])
            first = nearest(line, itself, SHOWN)
            rows.append(np.pad(first, (0, SHOWN - len(first)), constant_values=len(gallery)))
        return found, np.stack(rows)


def _sides(dataset: Dataset) -> tuple[Part, Part]:
    """Queries and gallery: the same object where each image is to find the others."""
    if {"query", "gallery"} <= set(dataset.splits):
        for split in ("query", "gallery"):
            if not len(dataset.splits[split]):
                raise ValueError(f"dataset {dataset.name!r}: its {split} split is empty")
        query, gallery = (whole_part(split, dataset.splits[split]) for split in ("query", "gallery"))
        return query, gallery
    whole = evaluation_part(dataset)
    return whole, whole


def _without_self(rows: Int64[np.ndarray, "q k"]) -> Int64[np.ndarray, "q less"]:
    """Every row without its own number, else without its last one.

    >>> _without_self(np.array([[2, 0], [1, 0], [0, 1]])).tolist()
    [[2], [0], [0]]
    """
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(1), -1] = True
    return np.asarray(rows[~own].reshape(len(rows), -1))


def _shown(queries: Part, gallery: Part, rows: Int64[np.ndarray, "q k"]) -> dict[str, np.ndarray]:
    """The columns ``nearest_i`` and ``right_i``; no name, and not right, where the gallery has no more."""
    names = np.array([*gallery.names, ""], dtype=object)
    labels = np.append(gallery.labels, np.iinfo(np.int64).min)
    rows = np.pad(rows, ((0, 0), (0, SHOWN - rows.shape[1])), constant_values=len(gallery))
    nearest = {f"nearest_{place}": names[rows[:, place - 1]] for place in range(1, SHOWN + 1)}
    right = {f"right_{place}": labels[rows[:, place - 1]] == queries.labels for place in range(1, SHOWN + 1)}
    return nearest | right


def _report(
    queries: Part, found: list[Blocks | None], cutoffs: Sequence[int], shown: Mapping[str, np.ndarray]
) -> Iterator[Score | Outputs]:
    kept = [(row, ranking) for row, ranking in enumerate(found) if ranking is not None]
    values = {"mAP": np.array([average_precision(ranking) for _, ranking in kept])}
    places = [first_place(ranking) for _, ranking in kept]
    values["mrr"] = np.array([reciprocal for reciprocal, _ in places])
    for k in cutoffs:
        values[f"recall@{k}"] = np.array([hit(ranking, k) for _, ranking in kept])
        values[f"precision@{k}"] = np.array([precision(ranking, k) for _, ranking in kept])
    for metric, column in values.items():
        yield Score(metric, float(column.mean()), column)
    rows = [row for row, _ in kept]
    yield Outputs(
        {
            "item": np.array([queries.names[row] for row in rows], dtype=object),
            "label": queries.labels[rows],
            "average_precision": values["mAP"],
            "reciprocal_rank": values["mrr"],
            "first_rank": np.array([rank for _, rank in places]),
            "n_positives": np.array([ranking.right.sum() for _, ranking in kept]),
            **{name: column[rows] for name, column in shown.items()},
        }
    )


TASKS = {"retrieval": Retrieval}
