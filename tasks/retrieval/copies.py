"""Copy detection: which gallery image a query was made from, if from any, by one threshold for all queries."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from backbones.base import Backbone
from tasks.base import Data, Extract, Note, Outputs, Score, Task, Tools
from tasks.datasets.base import Dataset
from tasks.datasets.partition import whole_part
from tasks.datasets.relevance import RowLists
from tasks.datasets.targets import ONE_CLASS, target_refusal
from tasks.features import collapse_notes, rows_of
from tasks.readouts import Reading
from tasks.retrieval.pairs import PairRanking, rank_pairs
from tasks.retrieval.search import top_k
from tasks.unit_rows import UnitRows

SIDES = ("query", "gallery")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Copies(Reading, Task):
    """Every pair of a query and a gallery image in one ranking by score, the cosine; right pairs are copies.

    Right are the pairs that the dataset's relevance names, else those of one class. A query may have no copy: its pairs
    are wrong ones like any others, and rank among them (Douze et al. 2021).

    - micro_ap: average precision of that ranking over all pairs of all queries, none left out;
    - recall@precision90: the largest share of copies found by a threshold at which 90 % of the accepted are right;
    - recall@1: over queries that have a copy, whether one comes first.

    Pairs of equal score (to 1e-6) are accepted together, so that a constant encoder has a micro_ap of the share of
    pairs that are right. With ``beta`` a query's scores are lowered by ``beta`` times its mean cosine with the
    ``neighbours`` nearest images of the train split, which makes queries comparable that are near to everything (Pizzi
    et al. 2022).
    """

    name: ClassVar[str] = "retrieval.copies"
    protocol_version: ClassVar[int] = 1
    headline: ClassVar[str] = "micro_ap"
    roles: ClassVar[Mapping[str, Literal["one", "many"]]] = {"dataset": "one"}

    beta: float = Field(default=0.0, ge=0, le=4)
    neighbours: int = Field(default=10, ge=1)

    def uses_seed(self, data: Data) -> bool:
        """Never: nothing is drawn."""
        return False

    def refusal(self, backbone: Backbone, data: Data) -> str | None:
        """A dataset without queries and gallery, without a copy among them, or without what ``beta`` needs."""
        if why := self.unreadable(backbone):
            return why
        dataset = data["dataset"][0]
        if why := target_refusal(dataset, (*ONE_CLASS, "relevance")):
            return why
        if lacking := [split for split in SIDES if not len(dataset.splits.get(split, ()))]:
            return (
                f"dataset {dataset.name!r} has no images in {' and '.join(lacking)}; copies are looked for among both"
            )
        if not len(_right(dataset).rows):
            return f"dataset {dataset.name!r}: no query has a copy in the gallery"
        train = len(dataset.splits.get("train", ()))
        if self.beta and train < self.neighbours:
            return (
                f"dataset {dataset.name!r} has {train} images in train, and beta {self.beta} needs {self.neighbours} "
                "(neighbours) or more to lower scores by"
            )
        return None

    def run(self, backbone: Backbone, data: Data, tools: Tools, seed: int) -> Iterator[Score | Outputs | Note]:
        """Score all pairs."""
        if why := self.refusal(backbone, data):
            raise ValueError(why)
        dataset, extract = data["dataset"][0], self.reading(tools.extract)
        queries, gallery = (rows_of(backbone, whole_part(split, dataset.splits[split]), extract) for split in SIDES)
        yield from collapse_notes(gallery, "gallery")
        right = _right(dataset)
        lowered = self._lowered(UnitRows(queries), backbone, dataset, extract)
        junk = dataset.relevance.junk if dataset.relevance is not None else None
        ranking = rank_pairs(UnitRows(queries), UnitRows(gallery), right, lowered, junk)
        copied = np.diff(right.starts) > 0
        yield Note("pairs", f"{len(queries) * len(gallery)}, of which {len(right.rows)} are copies")
        yield Note("queries_without_copy", f"{int((~copied).sum())} of {len(copied)} rank with the others")
        for metric, value, (less, more) in zip(
            ("micro_ap", "recall@precision90"),
            (ranking.thresholds.average_precision(), ranking.thresholds.recall_at_precision(0.9)),
            ranking.grouped.intervals(0.9),
            strict=True,
        ):
            yield Score(metric, value, interval=(max(0.0, value + min(0.0, less)), min(1.0, value + max(0.0, more))))
        yield Score("recall@1", float(ranking.hits[copied].mean()), ranking.hits[copied])
        yield Outputs(_columns(dataset, ranking, right, copied))
        if not copied.all():
            yield Outputs(_columns(dataset, ranking, right, ~copied), "without_copy")

    def _lowered(
        self, queries: UnitRows, backbone: Backbone, dataset: Dataset, extract: Extract
    ) -> Float[np.ndarray, " q"]:
        """What each query's scores are lowered by."""
        if not self.beta:
            return np.zeros(len(queries))
        train = UnitRows(rows_of(backbone, whole_part("train", dataset.splits["train"]), extract))
        return np.asarray(self.beta * top_k(queries, train, self.neighbours)[0].mean(1, dtype=np.float64))


def _right(dataset: Dataset) -> RowLists:
    """The gallery rows that are right for each query."""
    if dataset.relevance is not None:
        return RowLists.of(dataset.relevance.right(query).tolist() for query in range(len(dataset.splits["query"])))
    labels = dataset.splits["gallery"].labels
    order = np.argsort(labels, kind="stable")
    asked = dataset.splits["query"].labels
    starts, ends = (np.searchsorted(labels[order], asked, side) for side in ("left", "right"))
    return RowLists.of(order[start:end].tolist() for start, end in zip(starts, ends, strict=True))


def _columns(
    dataset: Dataset, ranking: PairRanking, right: RowLists, chosen: NDArray[np.bool_]
) -> dict[str, NDArray[np.generic]]:
    names, found = dataset.splits["query"].images.names, dataset.splits["gallery"].images.names
    rows = np.flatnonzero(chosen).tolist()
    return {
        "item": np.array([names[row] for row in rows], dtype=object),
        "n_positives": np.diff(right.starts)[chosen],
        "nearest_1": np.array([found[row] for row in ranking.best[chosen].tolist()], dtype=object),
        "score_1": ranking.scores[chosen],
        "right_1": np.array([ranking.best[row] in right.of_query(row) for row in rows]),
    }


TASKS = {"retrieval.copies": Copies}
